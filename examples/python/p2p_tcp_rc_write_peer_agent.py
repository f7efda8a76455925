# SPDX-License-Identifier: BSD-3-Clause
"""Two agents over TCP: the first writes into the second's memory, by handles.

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
        memoryview(mine)[:] = bytes(range(BYTES))
        target.register_memory_region("kv", theirs.addr, 0, BYTES)

        connection = initiator.connect_to("target", transport="tcp").wait()
        print(f"{connection.conn_id} over {connection.transport}")
        endpoint, there = connection.endpoint, connection.peer_endpoint_info["mr_info"]
        handle = endpoint.register_memory_region("source", mine.addr, 0, BYTES)
        remote_handle = endpoint.register_remote_memory_region("kv", there["kv"])

        # (handle, remote handle, remote offset, local offset, length); done when the bytes are there
        assert endpoint.write([(handle, remote_handle, 0, 8, 8)]).wait() == 0
        assert bytes(memoryview(theirs)) == bytes(range(8, 16)) + bytes(8), "these are not our bytes"
        print("written:", list(memoryview(theirs)))


if __name__ == "__main__":
    main()
