#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""As agg_transfer_bench_spmd.py, over TCP: TcpEndpoint, and mooncake's tcp transport.

    tcp_bench_spmd.py                                    two processes on this host
    torchrun --nproc-per-node 2 tcp_bench_spmd.py        the same, with torch
"""

import spmd
from engines import DlslimeTcp, Mooncake

ENGINES = {"dlslime": DlslimeTcp, "mooncake": Mooncake}

if __name__ == "__main__":
    parser = spmd.parser_of(__doc__, ENGINES)
    parser.set_defaults(device="cpu")
    spmd.main(parser, ENGINES)
