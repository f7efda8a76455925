# SPDX-License-Identifier: BSD-3-Clause
"""Two agents find each other by name, and one reads the other's memory by name.

Needs a control plane: `nanoctrl start`.
"""

import argparse
import json
import os

import dlslime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ctrl", help="control plane (default: $DLSLIME_CTRL, or that of this host)")
    ctrl = parser.parse_args().ctrl
    scope = f"example-{os.getpid()}"   # agents see only agents of their scope
    with dlslime.start_peer_agent(ctrl, alias="initiator", scope=scope) as initiator, \
            dlslime.start_peer_agent(ctrl, alias="target", scope=scope) as target:
        print("agents:", ", ".join(initiator.list_agents()))
        print("nics of the target:", json.dumps(initiator.get_resource("target")["nics"]))

        mine, theirs = dlslime.alloc(16), dlslime.alloc(16)
        memoryview(mine)[:] = bytes(16)
        memoryview(theirs)[:] = bytes(range(16))
        initiator.register_memory_region("kv", mine.addr, 0, 16)
        target.register_memory_region("kv", theirs.addr, 0, 16)

        connection = initiator.connect_to("target", ib_port=1, qp_num=1, transport="rdma")
        connection.wait()
        print(f"{connection.conn_id} over {connection.endpoint.info['transport']}")

        # (region, local offset, remote offset, length): the first half there into the second here
        initiator.read("target", [("kv", 8, 0, 8)]).wait()
        assert bytes(memoryview(mine)) == bytes(8) + bytes(range(8))
        print("read:", list(memoryview(mine)))


if __name__ == "__main__":
    main()
