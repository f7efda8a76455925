#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""write_with_imm from one endpoint to another in the same process, until imm_recv has the number:
microseconds and GB/s, 128 B to 1 GiB, one at a time. Bytes are compared after each size."""

import pingpong


def step(pair, nbytes):
    told = pair.b.imm_recv()
    written = pair.a.write_with_imm([(pair.handle, pair.remote, 0, 0, nbytes)], 7)
    if told.wait() or told.imm_data() != 7:
        raise SystemExit(f"the immediate did not come: {told.reason()}")
    written.wait()


if __name__ == "__main__":
    pingpong.run(pingpong.arguments(__doc__, 200), "write_with_imm", 128, step)
