# SPDX-License-Identifier: BSD-3-Clause
"""Eight agents, each connected to all others: 56 reads by name.

Needs a control plane: `nanoctrl start`.
"""

import argparse
import contextlib
import os
import time

import dlslime

AGENTS, BYTES = 8, 1 << 16


@contextlib.contextmanager
def timed(what):
    began = time.perf_counter()
    yield
    print(f"[TIME] {what}: {(time.perf_counter() - began) * 1e3:.1f} ms")


def pairs(agents):
    return [(a, b) for a in agents for b in agents if a is not b]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ctrl", help="control plane (default: $DLSLIME_CTRL, or that of this host)")
    ctrl = parser.parse_args().ctrl
    scope = f"mesh-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        with timed("start"):
            agents = [stack.enter_context(dlslime.start_peer_agent(ctrl, f"agent-{i}", scope=scope))
                      for i in range(AGENTS)]
        with timed("connect_to"):
            connections = [a.connect_to(b.alias, transport="rdma") for a, b in pairs(agents)]
        with timed("conn.wait"):
            for connection in connections:
                connection.wait()

        # Each has one region for the others, and room for what it reads of each.
        memory = {a.alias: dlslime.alloc((1 + AGENTS) * BYTES) for a in agents}
        with timed("register"):
            for i, agent in enumerate(agents):
                memoryview(memory[agent.alias])[:BYTES] = bytes([i + 1]) * BYTES
                agent.register_memory_region("shared", memory[agent.alias].addr, 0, BYTES)
                agent.register_memory_region("room", memory[agent.alias].addr + BYTES, 0,
                                             AGENTS * BYTES)
        with timed("read"):
            reads = [a.read(b.alias, ("room", "shared", agents.index(b) * BYTES, 0, BYTES))
                     for a, b in pairs(agents)]
            for future in reads:
                future.wait()

        for a, b in pairs(agents):
            i = agents.index(b)
            got = memoryview(memory[a.alias])[(1 + i) * BYTES:(2 + i) * BYTES]
            assert got == bytes([i + 1]) * BYTES, f"{a.alias} read something else of {b.alias}"
        print(f"{len(reads)} reads are as expected")


if __name__ == "__main__":
    main()
