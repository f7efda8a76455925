# SPDX-License-Identifier: BSD-3-Clause
"""Two endpoints in one process: the first writes eight bytes into the second's memory."""

import dlslime

BYTES = 16


def main():
    initiator, target = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()   # on the first NIC
    mine, theirs = dlslime.alloc(BYTES), dlslime.alloc(BYTES)
    memoryview(mine)[:] = bytes(range(BYTES))
    handle = initiator.register_memory_region("buffer", mine.addr, 0, BYTES)
    target.register_memory_region("buffer", theirs.addr, 0, BYTES)

    initiator.connect(target.endpoint_info())
    target.connect(initiator.endpoint_info())
    remote_handle = initiator.register_remote_memory_region("buffer", target.mr_info()["buffer"])

    # (handle, remote handle, remote offset, local offset, length); done when the bytes are there
    initiator.write([(handle, remote_handle, 0, 8, 8)]).wait()
    assert bytes(memoryview(theirs)) == bytes(range(8, 16)) + bytes(8), "these are not our bytes"
    print(f"over {initiator.info['transport']}")
    print("written:", list(memoryview(theirs)))
    for endpoint in (initiator, target):
        endpoint.shutdown()


if __name__ == "__main__":
    main()
