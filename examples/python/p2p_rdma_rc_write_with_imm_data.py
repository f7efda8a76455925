# SPDX-License-Identifier: BSD-3-Clause
"""A write that also tells the peer a number: when imm_recv() has it, the bytes are there too."""

import dlslime

BYTES, IMM = 16, 1


def main():
    initiator, target = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()   # on the first NIC
    mine, theirs = dlslime.alloc(BYTES), dlslime.alloc(BYTES)
    memoryview(mine)[:] = bytes(range(BYTES))
    handle = initiator.register_memory_region("buffer", mine.addr, 0, BYTES)
    target.register_memory_region("buffer", theirs.addr, 0, BYTES)

    initiator.connect(target.endpoint_info())
    target.connect(initiator.endpoint_info())
    remote_handle = initiator.register_remote_memory_region("buffer", target.mr_info()["buffer"])

    # The one may come before or after the other.
    told = target.imm_recv()
    written = initiator.write_with_imm([(handle, remote_handle, 0, 0, BYTES)], IMM)
    assert told.wait() == 0, told.reason()
    assert bytes(memoryview(theirs)) == bytes(range(BYTES)), "the number came before the bytes"
    assert told.imm_data() == IMM
    written.wait()
    print(f"over {initiator.info['transport']}")
    print("imm:", told.imm_data())
    print("written:", list(memoryview(theirs)))
    for endpoint in (initiator, target):
        endpoint.shutdown()


if __name__ == "__main__":
    main()
