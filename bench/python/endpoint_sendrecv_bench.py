#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""send from one endpoint to a recv of another in the same process: microseconds and GB/s, 512 B to
1 GiB, one at a time. Bytes are compared after each size."""

import pingpong


def step(pair, nbytes):
    received = pair.b.recv((pair.target.addr, 0, nbytes))
    sent = pair.a.send((pair.source.addr, 0, nbytes))
    if received.wait() or sent.wait():
        raise SystemExit(f"the message did not come: {received.reason() or sent.reason()}")


if __name__ == "__main__":
    pingpong.run(pingpong.arguments(__doc__, 128), "send and recv", 512, step)
