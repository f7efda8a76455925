# SPDX-License-Identifier: BSD-3-Clause
"""Two processes, on one host or two: the target shows memory under a name, the initiator reads it.

    p2p_tcp_rc_read_peer_agent_two_process.py --role target
    p2p_tcp_rc_read_peer_agent_two_process.py --role initiator

Needs a control plane that both reach: `nanoctrl start`. The target ends when it was read.
"""

import argparse
import sys

import dlslime

BYTES, SCOPE = 1 << 20, "two-process-example"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=("initiator", "target"), required=True)
    parser.add_argument("--ctrl_address", "--ctrl", dest="ctrl",
                        help="control plane (default: $DLSLIME_CTRL, or that of this host)")
    parser.add_argument("--local_host", help="address that the peer is to call (default: found out)")
    parser.add_argument("--local_port", type=int, default=0, help="port that it is to call (any)")
    parser.add_argument("--connect_timeout", type=float, default=60, help="seconds")
    return parser.parse_args()


def expected():
    return bytes(range(256)) * (BYTES // 256)


def initiate(agent, connection, note):
    memory = dlslime.alloc(BYTES)
    agent.register_memory_region("buffer", memory.addr, 0, BYTES)
    assert agent.recv("target", note).wait() == 0   # its memory is there
    assert agent.read("target", [("buffer", 0, 0, BYTES)]).wait() == 0
    assert bytes(memoryview(memory)) == expected(), "these are not the target's bytes"
    print(f"read {BYTES} bytes over {connection.transport}")
    agent.send("target", note).wait()   # the target may leave before it confirms its last message


def serve(agent, note):
    memory = dlslime.alloc(BYTES)
    memoryview(memory)[:] = expected()
    agent.register_memory_region("buffer", memory.addr, 0, BYTES)
    assert agent.send("initiator", note).wait() == 0
    assert agent.recv("initiator", note).wait() == 0
    print("the initiator has read all")


def main():
    args = arguments()
    other = "target" if args.role == "initiator" else "initiator"
    with dlslime.start_peer_agent(args.ctrl, args.role, scope=SCOPE) as agent:
        connection = agent.connect_to(other, transport="tcp", local_host=args.local_host,
                                      local_port=args.local_port)
        try:
            connection.wait(args.connect_timeout)
        except TimeoutError as e:
            sys.exit(f"the {other} did not come: {e}")
        print(f"{args.role}: connected to {other}", flush=True)
        memory = dlslime.alloc(8)
        note = (memory.addr, 0, 8)   # (address, offset, length): a message that says "go on"
        if args.role == "initiator":
            initiate(agent, connection, note)
        else:
            serve(agent, note)


if __name__ == "__main__":
    main()
