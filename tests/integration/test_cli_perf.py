# SPDX-License-Identifier: BSD-3-Clause
"""dlslime perf between real processes: every operation, its figures, its verification, its options."""

import json
import signal
import socket
import subprocess
import time

import pytest
from cli import BIN, QUICK, Process, failed, measure, need, perf_server, run

KEYS = ["op", "transport", "size", "depth", "batch", "bytes", "seconds", "GBps", "ops_per_s"]
KEYS += ["latency_us", "verified", "version"]


@pytest.mark.parametrize("transport", ["shm", "tcp", "loopback"])
@pytest.mark.parametrize("op", ["read", "write", "write_imm", "send"])
@pytest.mark.parametrize("mem", ["alloc", "malloc"])
def test_every_operation_moves_every_byte(transport, op, mem):
    if transport != "loopback":
        need(transport)
    for extra in (["--depth", "1"], ["--depth", "16", "--poll"]):
        j = measure(
            "perf", "local", "--transport", transport, "--op", op, "--mem", mem, "--size", "4000", "--verify",
            *QUICK, *extra,
        )  # fmt: skip
        assert all(key in j for key in KEYS)
        assert j["transport"] == transport and j["op"] == op and j["mem"] == mem
        assert j["verified"] is True
        assert j["ops"] == 200 and j["bytes"] == 200 * 4000
        assert 0 < j["latency_us"]["p50"] <= j["latency_us"]["p90"] <= j["latency_us"]["p99"]
        assert j["latency_us"]["p99"] <= j["latency_us"]["max"]
        assert abs(j["GBps"] - j["bytes"] / j["seconds"] / 1e9) <= 0.01 * j["GBps"] + 1e-6


@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize(
    "shape",
    [
        ["--size", "1"],
        ["--size", "3", "--batch", "100"],
        ["--size", "100", "--batch", "64", "--stride", "1000"],
        ["--size", "8", "--batch", "4096", "--stride", "64", "--iters", "20"],
        ["--size", "1M", "--depth", "3", "--iters", "20"],
        ["--size", "10M", "--batch", "2", "--iters", "3"],
        ["--size", "64K", "--threads", "3", "--depth", "2", "--lanes", "2"],
    ],
)
def test_shapes_arrive_whole(transport, shape):
    need(transport)
    for op in ("read", "write"):
        j = measure("perf", "local", "--transport", transport, "--op", op, "--verify", *QUICK, *shape)
        assert j["verified"] is True and j["bytes"] == j["ops"] * j["size"] * j["batch"]


def test_not_asked_for_verified_is_null():
    assert measure("perf", "local", *QUICK)["verified"] is None


def test_seconds_are_kept_to():
    before = time.monotonic()
    j = measure("perf", "local", "--seconds", "0.3", "--warmup", "0", "--footprint", "4M", "--size", "64K")
    assert 0.29 < j["seconds"] < 5
    assert time.monotonic() - before < 20


def test_threads_that_take_turns_are_not_counted_as_if_they_did_not():
    """On one cpu the operations of shm, which are copies, come one after the other."""
    figures = measure("perf", "local", "--transport", "shm", "--cpu", "0", "--threads", "16", "--iters", "800", "--size", "64K")
    assert figures["seconds"] * 1e6 > figures["ops"] * figures["latency_us"]["p50"] / 2


def test_people_are_told_the_transport_and_why():
    out = run("perf", "local", *QUICK, "--verify").stdout
    assert "over     " in out and "because  " in out and "verified yes" in out


def test_two_command_lines_are_enough():
    server, address = perf_server()
    with server:
        assert address.startswith("127.0.0.1:")
        assert measure("perf", "run", address, "--verify", *QUICK)["verified"] is True
        server.signal(signal.SIGTERM)
        done = server.done()
        assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_server_binds_where_it_is_told(host):
    server, address = perf_server("--bind", host)
    with server:
        assert address.rsplit(":", 1)[0] == (f"[{host}]" if ":" in host else host)
        assert measure("perf", "run", address, *QUICK)["ops"] == 200


def test_a_port_that_is_taken_is_a_sentence():
    server, address = perf_server()
    with server:
        done = run("perf", "serve", "--bind", "127.0.0.1", "--port", address.rsplit(":", 1)[1])
        assert "in use" in failed(done)


def test_many_clients_at_once():
    server, address = perf_server()
    with server:
        clients = [Process("perf", "run", address, "--verify", "--json", "--size", "64K", *QUICK) for _ in range(6)]
        for client in clients:
            with client:
                done = client.done()
                assert done.returncode == 0, done.stderr
                assert json.loads(done.stdout)["verified"] is True


@pytest.mark.parametrize(
    "args",
    [
        ["--size", "0"],
        ["--size", "-1"],
        ["--size", "64X"],
        ["--size", ""],
        ["--size", "99999999999999999999"],
        ["--size", "2T"],
        ["--size"],
        ["--depth", "0"],
        ["--depth", "1000000"],
        ["--batch", "0"],
        ["--batch", "65537"],
        ["--stride", "10", "--size", "11", "--batch", "2"],
        ["--threads", "0"],
        ["--threads", "1e3"],
        ["--lanes", "0"],
        ["--op", "jump"],
        ["--op", "send", "--batch", "2"],
        ["--mem", "gpu"],
        ["--seconds", "0"],
        ["--seconds", "-1"],
        ["--seconds", "nan"],
        ["--iters", "0"],
        ["--iters", "1", "--threads", "2"],
        ["--warmup", "x"],
        ["--footprint", "0"],
        ["--cpu", "100000"],
        ["--transport", ""],
        ["--frobnicate"],
        ["one-too-many"],
    ],
)
def test_wrong_options_are_a_sentence_and_status_2(args):
    for action in (["run", "127.0.0.1:1"], ["local"]):
        failed(run("perf", *action, *args), status=2)


def test_a_cpu_for_a_server_that_is_not_ours_is_a_sentence():
    assert "--peer-cpu" in failed(run("perf", "run", "127.0.0.1:1", "--peer-cpu", "0"), status=2)


@pytest.mark.parametrize("address", ["", "host", "host:", "host:0", "host:99999", "::1:80", "[::1]", ":80"])
def test_wrong_addresses_are_a_sentence_and_status_2(address):
    failed(run("perf", "run", address), status=2)


def test_more_memory_than_there_is_is_a_sentence():
    done = run("perf", "local", "--size", "1T")
    assert "memory" in failed(done)


def test_a_transport_that_does_not_exist_is_a_sentence():
    assert "nope" in failed(run("perf", "local", "--transport", "nope"))


def test_a_server_whose_address_nobody_can_see_ends():
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN, "perf", "serve", "--bind", "127.0.0.1"], stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 1 and b"standard output" in done.stderr


def test_nobody_listening_is_a_sentence_at_once():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
        before = time.monotonic()
        sentence = failed(run("perf", "run", address))
    assert address in sentence and "refused" in sentence
    assert time.monotonic() - before < 5


def test_one_cpu_is_enough():
    j = measure("perf", "local", "--cpu", "0", "--poll", "--size", "4K", "--iters", "50", "--warmup", "0", "--verify")
    assert j["verified"] is True
