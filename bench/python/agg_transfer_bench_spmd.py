#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Bandwidth of many transfers from one half of the ranks to the other, by dlslime and others.

    agg_transfer_bench_spmd.py                                    two processes on this host
    torchrun --nproc-per-node 2 agg_transfer_bench_spmd.py        the same, with torch
    torchrun --master-addr A --master-port 6006 --nnodes 2 --nproc-per-node 8 --node-rank R \\
        agg_transfer_bench_spmd.py --qp-num 8 --batch-size 64 --num-concurrency 8
"""

import spmd
from engines import Collective, Dlslime, Mooncake, Nccl, Nixl

ENGINES = {"dlslime": Dlslime, "mooncake": Mooncake, "nixl": Nixl, "nccl": Nccl, "gloo": Collective}


def parser():
    made = spmd.parser_of(__doc__, ENGINES)
    made.add_argument("--with-imm-data", action="store_true", help="for writes only; changes nothing")
    made.add_argument("--qp-num", type=int, default=1, help="queue pairs of an endpoint")
    made.add_argument("--nixl-port", type=int, default=5555,
                      help="taken and not needed: the ranks swap NIXL's metadata themselves")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="whose memory")
    return made


if __name__ == "__main__":
    spmd.main(parser(), ENGINES)
