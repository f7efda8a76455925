# SPDX-License-Identifier: BSD-3-Clause
"""Two agents find each other by name and send a message each way over TCP.

Needs a control plane: `nanoctrl start`.
"""

import argparse
import os

import dlslime

BYTES = 4096


def message(source, target, mine, theirs):
    received = target.recv(source.alias, (theirs.addr, 0, BYTES))
    sent = source.send(target.alias, (mine.addr, 0, BYTES))
    assert sent.wait() == 0, sent.reason()
    assert received.wait() == 0, received.reason()
    assert bytes(memoryview(theirs)) == bytes(memoryview(mine)), "these are not the sender's bytes"
    print(f"{source.alias} -> {target.alias}: {BYTES} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ctrl", help="control plane (default: $DLSLIME_CTRL, or that of this host)")
    ctrl = parser.parse_args().ctrl
    scope = f"example-{os.getpid()}"   # agents see only agents of their scope
    with dlslime.start_peer_agent(ctrl, "a", scope=scope) as a, \
            dlslime.start_peer_agent(ctrl, "b", scope=scope) as b:
        for connection in (a.connect_to("b", transport="tcp"), b.connect_to("a", transport="tcp")):
            connection.wait()
        mine, theirs = dlslime.alloc(BYTES), dlslime.alloc(BYTES)
        memoryview(mine)[:] = bytes(range(256)) * (BYTES // 256)
        message(a, b, mine, theirs)
        memoryview(mine)[:] = bytes(BYTES)
        message(b, a, mine, theirs)


if __name__ == "__main__":
    main()
