# SPDX-License-Identifier: BSD-3-Clause
"""The spmd benches: the first half of the ranks moves bytes to or from the second half, each from its
own partner. All transfers are to offset 0 of one buffer, as the reference's bench has it."""

import argparse
import collections
import csv
import sys
import time

from buffers import kind_for, size_text
from engines import Missing
from ranks import join

COLUMNS = ("Transfer Engine", "#Channels", "Message Size", "Batch Size", "Num Concurrency",
           "Total Transport", "Avg Latency(ms)", "Bandwidth(MB/s)")


def parser_of(doc, engines):
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1, help="transfers of a call")
    parser.add_argument("--size", type=int, nargs="+", default=list(range(8, 20)),
                        help="exponents: a transfer has (2 << n) * 4 bytes (8 to 19: 2 KiB to 4 MiB)")
    parser.add_argument("--num-concurrency", type=int, default=16, help="calls in flight")
    parser.add_argument("--num-iteration", type=int, default=100,
                        help="so many times --num-concurrency calls are measured")
    parser.add_argument("--num-warmup-iteration", type=int, default=10, help="and so many before")
    parser.add_argument("--opcode", choices=("read", "write"), default="write")
    parser.add_argument("--save-csv", action="store_true")
    parser.add_argument("--csv-filename", default="./output.csv")
    parser.add_argument("--transfer-engine", choices=engines, default="dlslime")
    parser.add_argument("--host", default="127.0.0.1",
                        help="this host's address, for engines that listen (127.0.0.1)")
    parser.add_argument("--ranks", type=int, default=2,
                        help="processes to start here when nothing else starts them (2)")
    return parser


def check(parser, args):
    for name in ("batch_size", "num_concurrency", "num_iteration"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.num_warmup_iteration < 0:
        parser.error("--num-warmup-iteration cannot be negative")
    if not all(0 <= n <= 28 for n in args.size):
        parser.error("--size takes exponents from 0 (8 B) to 28 (2 GiB)")
    if getattr(args, "with_imm_data", False) and args.opcode != "write":
        parser.error("--with-imm-data is for --opcode write")
    if args.ranks < 2 or args.ranks % 2:
        parser.error("--ranks must be even: each initiator has a target")


def windowed(engine, batches, n, window):
    """Start BATCHES, with so many in flight at most, and see all to their end."""
    flying = collections.deque()
    for _ in range(batches):
        if len(flying) == window:
            engine.finish(flying.popleft())
        flying.append(engine.start(n))
    while flying:
        engine.finish(flying.popleft())


def part(engine, args, iterations):
    batches = iterations * args.num_concurrency
    if engine.initiator:
        windowed(engine, batches, args.batch_size, args.num_concurrency)
    else:
        engine.serve(batches, args.batch_size)


def measure(ranks, engine, buffer, args):
    """One size: (seconds, whether the bytes are right) of each channel."""
    source = engine.initiator == (args.opcode == "write")
    if source:
        buffer.fill(7)
    else:
        buffer.zero()
    ranks.barrier()
    part(engine, args, args.num_warmup_iteration)
    ranks.barrier()
    began = time.perf_counter()
    part(engine, args, args.num_iteration)
    seconds = time.perf_counter() - began
    ranks.barrier()
    return ranks.gather([seconds, source or buffer.holds(7, args.nbytes)])


def row(args, channels, results):
    calls = args.num_iteration * args.num_concurrency
    moved = calls * args.batch_size * args.nbytes
    seconds = [s for s, _ in results[:channels]]
    latency = sum(seconds) / channels / calls
    bandwidth = sum(moved / s for s in seconds)
    return (args.transfer_engine, channels, size_text(args.nbytes), args.batch_size,
            args.num_concurrency, size_text(moved * channels), f"{latency * 1e3:.4f}",
            f"{bandwidth / 1e6:.1f}")


def table(rows):
    widths = [max(len(str(r[i])) for r in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    for r in [COLUMNS, ["-" * w for w in widths], *rows]:
        print("| " + " | ".join(str(v).rjust(w) for v, w in zip(r, widths)) + " |")


def connect(ranks, engines, buffer, args):
    """The engine, or None where some rank has none; then rank 0 has said why."""
    engine, why = None, None
    try:
        engine = engines[args.transfer_engine](ranks, buffer, args)
    except Missing as e:
        why = str(e)
    reasons = ranks.gather(why)
    if any(reasons):
        if ranks.rank == 0:
            print(f"{args.transfer_engine}: {next(filter(None, reasons))}", file=sys.stderr)
        return None
    engine.meet(ranks.gather(engine.tell())[engine.peer])
    return engine


def run(ranks, engines, args):
    """Measure all sizes; the exit status."""
    if ranks.size % 2:
        sys.exit(f"{ranks.size} ranks: it must be an even number, each initiator has a target")
    kind, why_not = kind_for("cpu" if args.transfer_engine == "gloo" else args.device)
    if why_not and ranks.rank == 0:
        print(why_not, file=sys.stderr)
    buffer = kind((2 << max(args.size)) * 4)
    engine = connect(ranks, engines, buffer, args)
    if engine is None:
        return 1
    rows, right = [], True
    for exponent in args.size:
        args.nbytes = (2 << exponent) * 4
        results = measure(ranks, engine, buffer, args)
        right = right and all(same for _, same in results)
        rows.append(row(args, ranks.size // 2, results))
    if ranks.rank == 0:
        table(rows)
        if args.save_csv:
            with open(args.csv_filename, "w", newline="") as f:
                csv.writer(f).writerows([COLUMNS, *rows])
        print("bytes: ok" if right else "bytes: WRONG")
    ranks.barrier()
    engine.close()
    return 0 if right else 1


def main(parser, engines):
    args = parser.parse_args()
    check(parser, args)
    ranks = join(args.ranks)
    status = run(ranks, engines, args)
    ranks.close()
    sys.exit(status)
