# SPDX-License-Identifier: BSD-3-Clause
"""Two agents over TCP: the first reads the second's memory, by its name.

Needs a control plane: `nanoctrl start`.
"""

import argparse
import os

import dlslime

BYTES = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ctrl", help="control plane (default: $DLSLIME_CTRL, or that of this host)")
    ctrl = parser.parse_args().ctrl
    scope = f"example-{os.getpid()}"   # agents see only agents of their scope
    with dlslime.start_peer_agent(ctrl, "initiator", scope=scope) as initiator, \
            dlslime.start_peer_agent(ctrl, "target", scope=scope) as target:
        mine, theirs = dlslime.alloc(BYTES), dlslime.alloc(BYTES)
        memoryview(theirs)[:] = bytes(range(BYTES))
        initiator.register_memory_region("kv", mine.addr, 0, BYTES)
        target.register_memory_region("kv", theirs.addr, 0, BYTES)

        connection = initiator.connect_to("target", transport="tcp").wait()
        print(f"{connection.conn_id} over {connection.transport}")

        # (region, local offset, remote offset, length)
        assert initiator.read("target", [("kv", 8, 0, 8)]).wait() == 0
        assert bytes(memoryview(mine)) == bytes(8) + bytes(range(8)), "these are not the peer's bytes"
        print("read:", list(memoryview(mine)))


if __name__ == "__main__":
    main()
