# SPDX-License-Identifier: BSD-3-Clause
"""From the rows of bench/run to the generated part of docs/performance.md."""
import glob
import json
import os

BEGIN = "<!-- begin of what bench/run writes -->"
END = "<!-- end of what bench/run writes -->"
KIB, MIB = 1 << 10, 1 << 20
NAMES = {"split": "one core each", "same": "both on one core", "none": "the scheduler decides"}
ORDER = ["split", "same", "none"]


# ---------------------------------------------------------------- files
def load(results, date):
    runs = []
    for pin in ORDER:
        for path in glob.glob(os.path.join(results, f"{date}-{pin}.json")):
            with open(path) as f:
                runs.append(json.load(f))
    if not runs:
        raise SystemExit(f"error: no results of {date} in {results}")
    return runs


def dump(run):
    """JSON with a row a line, so that a diff can be read."""
    rows = ",\n  ".join(json.dumps(r) for r in run["rows"])
    head = json.dumps({k: v for k, v in run.items() if k != "rows"}, indent=1)[:-2]
    return f'{head},\n "rows": [\n  {rows}\n ]\n}}\n'


def write(document, runs):
    runs = sorted(runs, key=lambda r: ORDER.index(r["placement"]))
    text = f"{BEGIN}\n\n{header(runs)}\n{goals(runs)}\n{figures(runs)}\n{END}"
    before = after = ""
    if os.path.exists(document):
        with open(document) as f:
            old = f.read()
        before, rest = old.split(BEGIN) if BEGIN in old else (old + "\n", END + "\n")
        after = rest.split(END)[1]
    with open(document, "w") as f:
        f.write(before + text + (after or "\n"))


# ---------------------------------------------------------------- looking things up
class Rows:
    """The rows of one placement."""

    def __init__(self, run):
        self.rows = [r for r in run["rows"] if r["metric"] != "failed"]
        self.failed = [r for r in run["rows"] if r["metric"] == "failed"]

    def find(self, group, peer, what, size, depth, metric):
        for r in self.rows:
            if (r["group"], r["peer"], r["what"], r["size"], r["depth"], r["metric"]) == \
                    (group, peer, what, size, depth, metric):
                return r
        return None

    def best(self, group, cell, wanted):
        """The best median among the peers for which WANTED says so."""
        what, size, depth, metric = cell
        rows = [r for r in self.rows if wanted(r["peer"]) and r["group"] == group and
                (r["what"], r["size"], r["depth"], r["metric"]) == (what, size, depth, metric)]
        pick = max if metric in ("bw", "share") else min
        return pick(rows, key=lambda r: r["value"], default=None)

    def ours(self, group, cell, name):
        return self.best(group, cell, lambda p: p.startswith("ours " + name))

    def peer(self, group, cell):
        return self.best(group, cell, lambda p: not p.startswith(("ours", "floor", "iperf")))

    def cost(self, what, metric):
        for r in self.rows:
            if r["group"] == "cost" and (r["what"], r["metric"]) == (what, metric):
                return r
        return None


def number(v):
    return f"{v:,.0f}" if v >= 1000 else f"{v:.3g}" if v >= 0.01 or v == 0 else f"{v:.2g}"


def shown(r, unit=False):
    """median (min–max) unit"""
    if not r:
        return "-"
    spread = f" ({number(r['min'])}–{number(r['max'])})" if r["runs"] > 1 else ""
    return f"{number(r['value'])}{spread}" + (f" {r['unit'].replace('us', 'µs')}" if unit else "")


# ---------------------------------------------------------------- the goals
class Goal:
    """WHAT shall be AT_LEAST; judge() gives (text, reached or None) for the rows of a placement."""

    def __init__(self, what, at_least, judge, once=False):
        self.what, self.at_least, self.judge, self.once = what, at_least, judge, once


def verdict(mine, yardsticks, good):
    """Ours against [(name, row or limit)]; a yardstick that was not measured is left out."""
    if not mine:
        return "not measured", None
    there = [(n, y) for n, y in yardsticks if y is not None]
    text = shown(mine, True) + "".join(f"; {n} {number(y)}" for n, y in there)
    return text, all(good(mine["value"], y) for _, y in there) if there else None


def value(r, factor=1.0):
    return r["value"] * factor if r else None


def name_of(r):
    return r["peer"] if r else "peer"


def against_peers(what, size, depth, share):
    cell = (what, size, depth, "bw")

    def judge(rows):
        peer = rows.peer("tcp", cell)
        stream = rows.find("tcp", "iperf3", "stream", MIB, 1, "bw")
        return verdict(rows.ours("tcp", cell, "tcp"),
                       [(f"best peer, {name_of(peer)},", value(peer)),
                        (f"{share:.0%} of iperf3", value(stream, share))], lambda m, y: m >= y)
    return judge


def at_most(group, name, cell, limits):
    """LIMITS: a function of the rows giving yardsticks."""
    return lambda rows: verdict(rows.ours(group, cell, name), limits(rows), lambda m, y: m <= y)


def at_least(group, name, cell, limits):
    return lambda rows: verdict(rows.ours(group, cell, name), limits(rows), lambda m, y: m >= y)


def floor_row(rows, group, cell):
    return rows.best(group, cell, lambda p: p.startswith("floor"))


def ucx_wait(rows):
    return value(rows.best("tcp", ("read", 8, 1, "p50"), lambda p: p.startswith("ucx") and "wait" in p))


def no_cliff(rows):
    worst = None
    for how in ("poll", "wait"):
        for metric in ("p50", "p99"):
            r = rows.find("tcp", f"ours tcp {how}", "read", 8, 1, metric)
            if r and (worst is None or r["value"] > worst["value"]):
                worst = r
    return verdict(worst, [("limit", 1000)], lambda m, y: m <= y)


def contended(rows):
    """The slowest median of any repetition of a small transfer, of ours and of the others, while four processes compute."""
    found = [r for r in rows.rows if r["group"] == "contended" and r["size"] in (8, 4 * KIB, 64 * KIB) and
             r["metric"] == "p50"]
    worst = {}
    for r in found:
        name = r["peer"] + (" " + r["what"].split("-")[1] if "-" in r["what"] else "")
        worst[name] = max(worst.get(name, 0), r["max"])
    mine = [v for n, v in worst.items() if n.startswith("ours")]
    if not mine:
        return "not measured", None
    return "; ".join(f"{n} {number(v)} µs" for n, v in worst.items()), max(mine) <= 1000


def in_place(rows):
    checked = [r for r in rows.rows if r["peer"].startswith("ours") and r["metric"] == "checked"]
    missing = [r for r in rows.rows if r["peer"].startswith("ours") and r["metric"] == "missing"]
    if not checked:
        return "not measured", None
    n, bad = sum(r["value"] for r in checked), sum(r["value"] for r in missing)
    peers = [r for r in rows.rows if r["group"] == "check" and not r["peer"].startswith("ours") and
             r["metric"] == "share" and r["what"].startswith("write")]
    worst = min(peers, key=lambda r: r["value"], default=None)
    text = f"in place {n - bad:,.0f} of {n:,.0f}"
    if worst:
        text += f"; worst peer, {worst['peer']}, {worst['value']:.0f} % of {worst['size'] // KIB} KiB"
    return text, bad == 0


def costs(limit, *names):
    """The worst of several rows of the cost programs."""
    def judge(rows):
        found = [r for r in (rows.cost(w, m) for w, m in names) if r]
        if not found:
            return "not measured", None
        return "; ".join(f"{r['what']} {shown(r, True)}" for r in found), max(r["value"] for r in found) <= limit
    return judge


def cma(metric, factor, size):
    cell = ("cma-read", size, 1, metric)
    return lambda rows: [(f"{factor:g} × bare system call", value(floor_row(rows, "shm", cell), factor))]


def memcpy95(rows):
    return [("95 % of memcpy", value(floor_row(rows, "shm", ("memcpy", MIB, 1, "bw")), 0.95))]


def fixed(limit):
    return lambda rows: [("limit", limit)]


GOALS = [
    Goal("tcp read 1 MiB", "every peer; 80 % of iperf3", against_peers("read", MIB, 1, 0.8)),
    Goal("tcp write 1 MiB", "every peer; 80 % of iperf3", against_peers("write", MIB, 1, 0.8)),
    Goal("tcp read 1 MiB × 16", "every peer; 95 % of iperf3", against_peers("read", MIB, 16, 0.95)),
    Goal("tcp write 1 MiB × 16", "every peer; 95 % of iperf3", against_peers("write", MIB, 16, 0.95)),
    Goal("tcp read 64 KiB", "1.5 GB/s", at_least("tcp", "tcp", ("read", 64 * KIB, 1, "bw"), fixed(1.5))),
    Goal("tcp read 8 B p50, polling", "1.15 × plain spinning sockets",
         at_most("tcp", "tcp poll", ("read", 8, 1, "p50"), lambda rows: [
             ("1.15 × floor", value(floor_row(rows, "tcp", ("read-spin", 8, 1, "p50")), 1.15))])),
    Goal("tcp read 8 B p50, sleeping", "UCX's",
         at_most("tcp", "tcp wait", ("read", 8, 1, "p50"), lambda rows: [("UCX", ucx_wait(rows))])),
    Goal("tcp read 8 B, p50 and p99, both modes: no cliff", "1 ms (peers fall to 4–16 ms)", no_cliff),
    Goal("tcp p50, worst of read and write of 8 B to 64 KiB, four processes compute on two cores: no cliff", "1 ms", contended, True),
    Goal("shm alloc 8 B p50", "0.15 µs", at_most("shm", "shm alloc", ("read", 8, 1, "p50"), fixed(0.15))),
    Goal("shm alloc 4 KiB p50", "0.45 µs", at_most("shm", "shm alloc", ("read", 4 * KIB, 1, "p50"), fixed(0.45))),
    Goal("shm alloc read 1 MiB", "95 % of memcpy", at_least("shm", "shm alloc", ("read", MIB, 1, "bw"), memcpy95)),
    Goal("shm alloc write 1 MiB", "95 % of memcpy", at_least("shm", "shm alloc", ("write", MIB, 1, "bw"), memcpy95)),
    Goal("shm any memory 8 B p50", "1.2 × the bare system call",
         at_most("shm", "shm cma", ("read", 8, 1, "p50"), cma("p50", 1.2, 8))),
    Goal("shm any memory read 1 MiB", "90 % of the bare system call",
         at_least("shm", "shm cma", ("read", MIB, 1, "bw"), cma("bw", 0.9, MIB))),
    Goal("a completed write is in the peer's memory", "every one", in_place, True),
    Goal("segment planned and posted, batch of 4096", "100 ns", costs(100, ("loopback-segment-posted", "cost")), True),
    Goal("strided segment of 4096 pieces", "one descriptor", costs(1, ("loopback-strided-posts", "posts")), True),
    Goal("deadline, lateness, worst of 200", "5 ms",
         costs(5, *[(w, "max") for w in ("tcp-deadline-lateness-recv", "tcp-deadline-lateness-read-of-frozen",
                                         "shm-deadline-lateness-recv")]), True),
    Goal("error after the peer was killed, worst", "50 ms",
         costs(50, ("tcp-error-after-kill", "max"), ("shm-error-after-kill", "max")), True),
    Goal("error after the peer froze, worst", "3 s",
         costs(3000, ("tcp-error-after-freeze", "max"), ("shm-error-after-freeze", "max")), True),
    Goal("100 idle endpoints, processor", "0.1 % of a core",
         costs(0.1, ("tcp-idle-endpoints", "cpu"), ("shm-idle-endpoints", "cpu")), True),
    Goal("100 idle endpoints, memory of the process", "64 MiB",
         costs(64, ("tcp-idle-endpoints", "rss"), ("shm-idle-endpoints", "rss")), True),
    Goal("1,000 endpoints over tcp, connect", "2 s", costs(2, ("tcp-endpoints-connect", "time")), True),
    Goal("1,000 endpoints over tcp, memory each and side", "64 KiB",
         costs(64, ("tcp-endpoints-memory", "each")), True),
    Goal("clean build of everything", "60 s", costs(60, ("clean-build", "time")), True),
]


def mark(reached):
    return {True: "yes", False: "**no**", None: "-"}[reached]


def goals(runs):
    """What the project set out to reach, for each placement."""
    placed = [(r["placement"], Rows(r)) for r in runs]
    out = ["| what | at least | " + " | ".join(f"{NAMES[p]} | " for p, _ in placed) + " |",
           "| --- | --- |" + " --- | --- |" * len(placed)]
    for goal in (g for g in GOALS if not g.once):
        cells = []
        for _, rows in placed:
            text, reached = goal.judge(rows)
            cells += [text, mark(reached)]
        out.append(f"| {goal.what} | {goal.at_least} | " + " | ".join(cells) + " |")
    out += ["", "| what | at least | ours | |", "| --- | --- | --- | --- |"]
    for goal in (g for g in GOALS if g.once):
        text, reached = max((goal.judge(rows) for _, rows in placed), key=lambda v: v[1] is not None)
        out.append(f"| {goal.what} | {goal.at_least} | {text} | {mark(reached)} |")
    return "\n".join(out) + "\n"


# ---------------------------------------------------------------- all figures
CELLS = [("8 B µs", 8, 1, "p50"), ("4 KiB µs", 4 * KIB, 1, "p50"), ("64 KiB", 64 * KIB, 1, "bw"),
         ("1 MiB", MIB, 1, "bw"), ("1 MiB × 16", MIB, 16, "bw"), ("64 MiB", 64 * MIB, 1, "bw")]
FLOORS = {  # what the floors call it: the name of the line
    ("tcp", "read"): [("read-spin", "floor: plain sockets, spinning"), ("read-block", "floor: plain sockets, blocking")],
    ("tcp", "write"): [("write-spin", "floor: plain sockets, spinning"), ("write-block", "floor: plain sockets, blocking")],
    ("shm", "read"): [("memcpy", "floor: memcpy (mean)"), ("cma-read", "floor: bare process_vm_readv")],
    ("shm", "write"): [("memcpy", "floor: memcpy (mean)")],
}


def line(name, version, found):
    return f"| {name} | {version} | " + " | ".join(shown(r) for r in found) + " |"


def floor_lines(rows, group, op):
    for what, name in FLOORS[group, op]:
        found = []
        for _, size, depth, metric in CELLS:
            metrics = (metric, "mean") if metric == "p50" else (metric,)
            found.append(next((r for r in (floor_row(rows, group, (what, size, depth, m)) for m in metrics) if r), None))
        if any(found):
            yield line(name, "", found)
    streams = [rows.find("tcp", "iperf3", "stream", MIB, n, "bw") for n in (1, 2)]
    if group == "tcp" and any(streams):
        yield line("iperf3, one stream, and two", "", [None, None, None, streams[0], streams[1], None])


def figure_table(rows, group, op):
    out = ["| | version | " + " | ".join(c[0] for c in CELLS) + " |", "| --- | --- |" + " ---: |" * len(CELLS)]
    seen = []
    for r in rows.rows:
        if r["group"] == group and r["what"] == op and r["peer"] not in seen:
            seen.append(r["peer"])
    for peer in sorted(seen, key=lambda p: (not p.startswith("ours"), p)):
        found = [rows.find(group, peer, op, size, depth, metric) for _, size, depth, metric in CELLS]
        name = f"**{peer}**" if peer.startswith("ours") else peer
        out.append(line(name, next(r["version"] for r in found if r), found))
    return "\n".join(out + list(floor_lines(rows, group, op))) + "\n"


def cost_table(rows):
    out = ["| what | size | depth or number | | |", "| --- | ---: | ---: | --- | ---: |"]
    for r in rows.rows:
        if r["group"] == "cost":
            size = f"{r['size']} B" if r["size"] else ""
            out.append(f"| {r['what']} | {size} | {r['depth']:,} | {r['metric']} | {shown(r, True)} |")
    return "\n".join(out) + "\n"


def figures(runs):
    out = []
    for run in runs:
        rows = Rows(run)
        if run["placement"] == "none" and len(runs) > 2:
            continue  # in the JSON
        out.append(f"### {NAMES[run['placement']].capitalize()}\n")
        for group in ("tcp", "shm"):
            for op in ("read", "write"):
                out.append(f"{'Over tcp' if group == 'tcp' else 'On the same host'}, {op}: µs, and GB/s from 64 KiB on\n")
                out.append(figure_table(rows, group, op))
        for r in rows.failed:
            out.append(f"- failed: {r['peer']} {r['version']}: {r['error'].strip() or 'no output'}")
    out.append("### What has no peer\n")
    out += [cost_table(Rows(run)) for run in runs if any(r["group"] == "cost" for r in run["rows"])]
    return "\n".join(out)


def header(runs):
    m, first = runs[0]["machine"], runs[0]
    loads = [x for r in runs for row in r["rows"] for x in row["load"] if row["metric"] != "failed"]
    return (f"Measured {first['date']}, version {first['version']}, on {m['cores']} cores of {m['cpu']} (L3 {m['l3']}), "
            f"{m['memory_gib']} GiB, Linux {m['kernel']}, {m['compiler']}. {first['reps']} repetitions, "
            f"{first['seconds']} s a cell, median (min–max). Load {min(loads):.1f}–{max(loads):.1f}, "
            f"{first['load_before']} before the start; the bench itself makes about 1.5.\n")
