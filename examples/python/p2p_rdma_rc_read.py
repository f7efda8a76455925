# SPDX-License-Identifier: BSD-3-Clause
"""Two endpoints in one process: the first reads eight bytes of the second.

Runs with what is here: RDMA where there is a NIC, else shared memory. Needs nothing but dlslime; a
tensor's memory is as good as dlslime.alloc()'s, its address is tensor.data_ptr().
"""

import dlslime

BYTES = 16


def main():
    initiator, target = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()   # on the first NIC
    mine, theirs = dlslime.alloc(BYTES), dlslime.alloc(BYTES)
    memoryview(theirs)[:] = bytes(range(BYTES))
    handle = initiator.register_memory_region("buffer", mine.addr, 0, BYTES)
    target.register_memory_region("buffer", theirs.addr, 0, BYTES)

    # The documents are plain values: between processes they go as JSON.
    initiator.connect(target.endpoint_info())
    target.connect(initiator.endpoint_info())
    remote_handle = initiator.register_remote_memory_region("buffer", target.mr_info()["buffer"])

    # (handle, remote handle, remote offset, local offset, length)
    initiator.read([(handle, remote_handle, 0, 8, 8)]).wait()
    assert bytes(memoryview(mine)) == bytes(8) + bytes(range(8)), "these are not the peer's bytes"
    print(f"over {initiator.info['transport']}")
    print("read:", list(memoryview(mine)))
    for endpoint in (initiator, target):
        endpoint.shutdown()


if __name__ == "__main__":
    main()
