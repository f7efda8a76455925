# SPDX-License-Identifier: BSD-3-Clause
"""Two TCP endpoints in one process, a message each way. No control plane, no NIC."""

import dlslime

BYTES = 4096


def message(source, target, mine, theirs):
    received = target.recv((theirs.addr, 0, BYTES))
    sent = source.send((mine.addr, 0, BYTES))
    assert sent.wait() == 0, sent.reason()
    assert received.wait() == 0, received.reason()
    assert bytes(memoryview(theirs)) == bytes(memoryview(mine)), "these are not the sender's bytes"


def main():
    with dlslime.TcpEndpoint("127.0.0.1") as a, dlslime.TcpEndpoint("127.0.0.1") as b:
        a.connect(b.endpoint_info())
        b.connect(a.endpoint_info())
        mine, theirs = dlslime.alloc(BYTES), dlslime.alloc(BYTES)
        memoryview(mine)[:] = bytes(range(256)) * (BYTES // 256)
        message(a, b, mine, theirs)
        print(f"a -> b: {BYTES} bytes")
        memoryview(mine)[:] = bytes(BYTES)
        message(b, a, mine, theirs)
        print(f"b -> a: {BYTES} bytes")


if __name__ == "__main__":
    main()
