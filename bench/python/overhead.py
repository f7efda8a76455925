#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What Python adds to the library's own time, one JSON line a figure.

    overhead.py [libdlslime.a]      the library to compile overhead.c against; default build/lib

Each figure is the median of 5 rounds; `over_c` is the difference to the same calls in C.
"""

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

import dlslime

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ROUNDS, MOST = 5, 100_000


def tell(what, value, unit, **more):
    print(json.dumps({"what": what, "value": round(value, 3), "unit": unit, **more}), flush=True)


def in_c(library):
    """{segments: microseconds}, by overhead.c."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "overhead")
        subprocess.run(["cc", "-O2", "-std=c11", "-D_GNU_SOURCE", f"-I{ROOT}/include", "-o", program,
                        f"{HERE}/overhead.c", library, "-lpthread", "-ldl"], check=True)
        lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {int(n): float(us) for n, us in (line.split() for line in lines.splitlines())}


def median_us(call, times):
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(times):
            call()
        rounds.append((time.perf_counter() - begun) / times * 1e6)
    return statistics.median(rounds)


def imports():
    code = "import time; t = time.perf_counter(); import dlslime; print(time.perf_counter() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(11)]
    tell("import dlslime", statistics.median(times) * 1e3, "ms")


def calls(baseline):
    size = 1 << 20
    a, b = dlslime.Endpoint(), dlslime.Endpoint()
    a.connect(b.export(), timeout=0)
    b.connect(a.export())
    theirs, mine = dlslime.register(bytearray(size)), dlslime.register(bytearray(size))
    remote = b.import_region(theirs.export())
    here, there = mine[0:8], remote[0:8]
    offsets = np.arange(MOST, dtype=np.int64) * 8
    tuples = [(i * 8, i * 8, 8) for i in range(64)]
    rows = [("Endpoint.read of a slice", 1, lambda: b.read(here, there).wait(), 20_000),
            ("Endpoint.read of 64 tuples", 64, lambda: b.read(mine, remote, tuples).wait(), 5_000),
            ("Endpoint.read of 100,000 numpy offsets", MOST, lambda: b.read(
                mine, remote, local_offsets=offsets, remote_offsets=offsets, length=8).wait(), 20)]
    c, d = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()
    memory = dlslime.alloc(size)
    for e in (c, d):
        e.register_memory_region("memory", memory.addr, 0, size)
    c.connect(d.endpoint_info())
    d.connect(c.endpoint_info())
    one, many = [(0, 0, 0, 8, 8)], [(0, 0, i * 8, i * 8, 8) for i in range(64)]
    rows += [("RDMAEndpoint.read of 1 tuple", 1, lambda: c.read(one).wait(), 20_000),
             ("RDMAEndpoint.read of 64 tuples", 64, lambda: c.read(many).wait(), 5_000)]
    for what, n, call, times in rows:
        us = median_us(call, times)
        more = {"c": baseline[n], "over_c": round(us - baseline[n], 3)}
        if n == MOST:
            more["over_c_ns_per_segment"] = round((us - baseline[n]) * 1e3 / n, 2)
        tell(what, us, "us", **more)
    for e in (a, b):
        e.close()
    for e in (c, d):
        e.shutdown()


PEER = """
import sys, dlslime
memory = dlslime.alloc(1 << 20); region = dlslime.register(memory)
e = dlslime.Endpoint("shm")
print(e.export().hex(), flush=True)
e.connect(bytes.fromhex(sys.stdin.readline()))
print(region.export().hex(), flush=True)
sys.stdin.readline()
"""


def in_flight_over_shm():
    """1,000 tasks that await one read after the other on one loop."""
    with subprocess.Popen([sys.executable, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as peer:
        e = dlslime.Endpoint("shm")
        theirs = bytes.fromhex(peer.stdout.readline())
        peer.stdin.write(e.export().hex() + "\n")
        peer.stdin.flush()
        e.connect(theirs)
        remote = e.import_region(bytes.fromhex(peer.stdout.readline()))
        memory = dlslime.alloc(1 << 20)
        local = dlslime.register(memory)
        each = 50

        async def task(i):
            mine, other = local[i * 64:i * 64 + 64], remote[i * 64:i * 64 + 64]
            for _ in range(each):
                await e.read(mine, other)

        async def burst():
            """All submitted before the first is awaited."""
            spans = [(local[i * 64:i * 64 + 64], remote[i * 64:i * 64 + 64]) for i in range(1000)]
            for _ in range(each):
                await asyncio.gather(*[e.read(m, o) for m, o in spans])

        async def tasks():
            await asyncio.gather(*[task(i) for i in range(1000)])

        for what, main in (("1,000 tasks", tasks), ("gather of 1,000", burst)):
            rates = []
            for _ in range(ROUNDS):
                begun = time.perf_counter()
                asyncio.run(main())
                rates.append(1000 * each / (time.perf_counter() - begun))
            tell(f"asyncio over shm, {what}", statistics.median(rates), "transfers/s")
        e.close()
        peer.stdin.write("\n")
        peer.stdin.flush()


def idle_waits():
    a, b = dlslime.Endpoint(), dlslime.Endpoint()
    a.connect(b.export(), timeout=0)
    b.connect(a.export())
    futures = [a.recv_imm() for _ in range(8)]
    threads = [threading.Thread(target=f.status_after) for f in futures]
    for t in threads:
        t.start()
    time.sleep(0.3)   # by then they sleep without end
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    time.sleep(3)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    tell("8 threads that wait", used / (time.perf_counter() - begun) * 100, "% of a core")
    a.close()
    for t in threads:
        t.join()


if __name__ == "__main__":
    baseline = in_c(sys.argv[1] if len(sys.argv) > 1 else f"{ROOT}/build/lib/libdlslime.a")
    imports()
    calls(baseline)
    in_flight_over_shm()
    idle_waits()
