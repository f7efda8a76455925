# SPDX-License-Identifier: BSD-3-Clause
"""The benches with the reference's flags, run small: that they measure, compare and say what is missing.
What they measure is not looked at."""

import csv
import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

BENCHES = Path(os.environ.get("DLSLIME_SOURCE", Path(__file__).resolve().parents[2])) / "bench" / "python"
COLUMNS = ["Transfer Engine", "#Channels", "Message Size", "Batch Size", "Num Concurrency",
           "Total Transport", "Avg Latency(ms)", "Bandwidth(MB/s)"]
SMALL = ["--size", "0", "8", "13", "--num-iteration", "3", "--num-warmup-iteration", "1",
         "--num-concurrency", "4", "--batch-size", "2"]


def started(name, *args, **env):
    # -S: no torch, also where this Python has it
    return subprocess.Popen([sys.executable, "-S", BENCHES / name, *args], text=True,
                            env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process):
    try:
        process.out, process.err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process


def bench(name, *args, **env):
    return ended(started(name, *args, **env))


def rows_of(out):
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in out.splitlines() if line.startswith("|")]
    assert rows[0] == COLUMNS
    return rows[2:]


# ---- two endpoints in one process

@pytest.mark.parametrize("name, smallest", [("endpoint_io_bench.py", "128 B"),
                                            ("endpoint_sendrecv_bench.py", "512 B")])
@pytest.mark.parametrize("qp", ["1", "2"])
def test_a_pair_is_measured_and_its_bytes_compared(name, smallest, qp):
    done = bench(name, "--device", "cpu", "--qp", qp, "--iters", "3", "--max-size", "1M")
    assert done.returncode == 0, done.err
    rows = [line for line in done.out.splitlines() if line.endswith("  ok")]
    assert rows[0].split()[:3] == [*smallest.split(), "3"]
    assert rows[-1].split()[:3] == ["1", "MiB", "3"]
    assert all(re.fullmatch(r" *\d+ \w+ +3 +[\d.]+ +[\d.]+  ok", row) for row in rows)


def test_without_a_gpu_the_default_device_is_the_host_and_says_so():
    done = bench("endpoint_io_bench.py", "--iters", "1", "--max-size", "1K")
    assert done.returncode == 0
    assert done.err.splitlines()[-1] == ("no GPU memory (torch is not installed): measuring the host's, "
                                         "as --device cpu does")


@pytest.mark.parametrize("args, says", [
    (["--iters", "0"], "--iters and --max-size must be at least 1"),
    (["--max-size", "12X"], "invalid parse_size value: '12X'"),
    (["--device", "npu"], "invalid choice: 'npu'"),
])
def test_wrong_flags_of_a_pair_are_told(args, says):
    done = bench("endpoint_io_bench.py", *args)
    assert done.returncode == 2
    assert says in done.err


# ---- ranks

@pytest.mark.parametrize("name", ["agg_transfer_bench_spmd.py", "tcp_bench_spmd.py"])
@pytest.mark.parametrize("opcode", ["read", "write"])
def test_ranks_measure_and_compare_every_size(name, opcode, tmp_path):
    table = tmp_path / "table.csv"
    done = bench(name, *SMALL, "--opcode", opcode, "--save-csv", "--csv-filename", str(table))
    assert done.returncode == 0, done.err
    rows = rows_of(done.out)
    assert [row[:6] for row in rows] == [
        ["dlslime", "1", "8 B", "2", "4", "192 B"],
        ["dlslime", "1", "2 KiB", "2", "4", "48 KiB"],
        ["dlslime", "1", "64 KiB", "2", "4", "1536 KiB"]]
    assert all(float(row[6]) >= 0 and float(row[7]) > 0 for row in rows)
    assert done.out.splitlines()[-1] == "bytes: ok"
    with open(table, newline="") as f:
        assert list(csv.reader(f)) == [COLUMNS, *rows]


def test_channels_are_counted_and_their_bandwidths_summed():
    done = bench("agg_transfer_bench_spmd.py", *SMALL, "--ranks", "4", "--qp-num", "2")
    assert done.returncode == 0, done.err
    assert [row[1] for row in rows_of(done.out)] == ["2", "2", "2"]


def test_ranks_that_somebody_else_started_meet_at_the_master():
    """As a launcher has it, without torch: the address is in the environment, rank 0 listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    ranks = [started("agg_transfer_bench_spmd.py", *SMALL, RANK=str(rank), WORLD_SIZE="2",
                     MASTER_ADDR="127.0.0.1", MASTER_PORT=port) for rank in (1, 0)]
    second, first = [ended(rank) for rank in ranks]
    assert (first.returncode, second.returncode) == (0, 0), first.err + second.err
    assert len(rows_of(first.out)) == 3
    assert second.out == ""


@pytest.mark.parametrize("engine, says", [
    ("mooncake", "mooncake is not installed"),
    ("nixl", "nixl is not installed"),
    ("gloo", "gloo comes with torch, which is not installed"),
    ("nccl", "nccl comes with torch, which is not installed"),
])
def test_an_engine_that_is_not_installed_is_a_sentence(engine, says):
    if "torch" in says and importlib.util.find_spec("torch"):
        pytest.skip("torch is installed")
    done = bench("agg_transfer_bench_spmd.py", *SMALL, "--transfer-engine", engine)
    assert done.returncode == 1
    assert done.err.splitlines()[-1].startswith(f"{engine}: {says}")
    assert done.out == ""


def test_a_rank_that_dies_ends_the_others():
    done = bench("agg_transfer_bench_spmd.py", *SMALL, "--transfer-engine", "dlslime",
                 DLSLIME_SOFT_NIC="0", SLIME_VISIBLE_DEVICES="none")
    assert done.returncode == 1
    assert "dlslime: there is no NIC, and DLSLIME_SOFT_NIC=0 forbids a soft one" in done.err


@pytest.mark.parametrize("args, says", [
    (["--ranks", "3"], "--ranks must be even"),
    (["--size", "29"], "--size takes exponents from 0 (8 B) to 28 (2 GiB)"),
    (["--batch-size", "0"], "--batch-size must be at least 1"),
    (["--num-warmup-iteration", "-1"], "--num-warmup-iteration cannot be negative"),
    (["--with-imm-data", "--opcode", "read"], "--with-imm-data is for --opcode write"),
])
def test_wrong_flags_of_ranks_are_told(args, says):
    done = bench("agg_transfer_bench_spmd.py", *args)
    assert done.returncode == 2
    assert says in done.err


def test_the_reference_s_command_line_is_taken():
    done = bench("agg_transfer_bench_spmd.py", "--qp-num", "8", "--transfer-engine", "dlslime",
                 "--batch-size", "64", "--num-iteration", "2", "--num-concurrency", "8", "--size", "8",
                 "--nixl-port", "5555", "--with-imm-data")
    assert done.returncode == 0, done.err
    assert len(rows_of(done.out)) == 1
