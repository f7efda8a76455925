# SPDX-License-Identifier: BSD-3-Clause
"""What endpoint_io_bench.py and endpoint_sendrecv_bench.py share: two endpoints of one process, one
operation at a time, sizes that double, and a table."""

import argparse
import sys
import time

import dlslime
from buffers import HostBuffer, kind_for, parse_size, size_text, sizes


def arguments(doc, iters):
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="whose memory")
    parser.add_argument("--qp", type=int, default=1, help="queue pairs of an endpoint")
    parser.add_argument("--iters", type=int, default=iters, help="transfers of a size, at most")
    parser.add_argument("--seconds", type=float, default=5,
                        help="and no more of a size after so many seconds")
    parser.add_argument("--max-size", type=parse_size, default=1 << 30,
                        help="largest size, such as 64M (1G)")
    args = parser.parse_args()
    if args.iters < 1 or args.max_size < 1:
        parser.error("--iters and --max-size must be at least 1")
    return args


class Pair:
    """Two connected endpoints, each with a buffer under handle `source` or `target`."""

    def __init__(self, args):
        nics = dlslime.available_nic()
        if not nics:
            sys.exit("no NIC: unset DLSLIME_SOFT_NIC for a soft one")
        self.a = dlslime.RDMAEndpoint(nics[0], num_qp=args.qp)
        self.b = dlslime.RDMAEndpoint(nics[-1], num_qp=args.qp)
        buffer, why_not = kind_for(args.device)
        if why_not:
            print(why_not, file=sys.stderr)
        self.where = "memory of the host" if buffer is HostBuffer else "memory of the GPU"
        self.source, self.target = buffer(args.max_size), buffer(args.max_size)
        self.handle = self.a.register_memory_region("buffer", self.source.addr, 0, args.max_size)
        self.b.register_memory_region("buffer", self.target.addr, 0, args.max_size)
        self.a.connect(self.b.endpoint_info())
        self.b.connect(self.a.endpoint_info())
        self.remote = self.a.register_remote_memory_region("buffer", self.b.mr_info()["buffer"])

    def close(self):
        self.a.shutdown()
        self.b.shutdown()


def run(args, title, smallest, step):
    """step(pair, nbytes) is one transfer from source to target, waited for at both ends."""
    pair = Pair(args)
    pair.source.fill(7)
    print(f"{title}, {args.qp} QP, {pair.where}")
    print(f"{'size':>9} {'iters':>6} {'us':>12} {'GB/s':>9}  check")
    bad = 0
    for nbytes in sizes(smallest, args.max_size):
        pair.target.zero()
        step(pair, nbytes)   # warm: registrations, page tables, the connection itself
        done, began = 0, time.perf_counter()
        until = began + args.seconds
        while done < args.iters and (not done or time.perf_counter() < until):
            step(pair, nbytes)
            done += 1
        seconds = (time.perf_counter() - began) / done
        same = pair.target.holds(7, nbytes)
        bad += not same
        print(f"{size_text(nbytes):>9} {done:>6} {seconds * 1e6:>12.2f} {nbytes / seconds / 1e9:>9.3f}"
              f"  {'ok' if same else 'WRONG BYTES'}", flush=True)
    print(f"over {pair.a.info['transport']}: {pair.a.info['reason']}")
    pair.close()
    sys.exit(1 if bad else 0)
