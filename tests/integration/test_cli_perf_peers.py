# SPDX-License-Identifier: BSD-3-Clause
"""dlslime perf when something goes wrong: peers that die or freeze, strangers at the door."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from cli import QUICK, Process, cpu_seconds, failed, measure, need, perf_server, port_of, run, wait_until


def test_sigint_ends_the_server_in_good_order_with_a_client_connected():
    server, address = perf_server()
    with server, Process("perf", "run", address, "--seconds", "60", "--footprint", "4M") as client:
        wait_until("the client to measure", lambda: cpu_seconds(client.pid) > 0.2)
        server.signal(signal.SIGINT)
        assert server.done(timeout=20).returncode == 0
        failed(client.done(timeout=20))


def ended_by(how, server, client):
    """How CLIENT ends, in time, after the signal HOW to SERVER, once it measures."""
    wait_until("the client to measure", lambda: cpu_seconds(client.pid) > 0.3)
    server.signal(how)
    before = time.monotonic()
    done = client.done(timeout=20)
    assert time.monotonic() - before < (12 if how == signal.SIGSTOP else 5)
    return done


@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("wait", ["--poll", "--block"])
def test_when_the_peer_goes_or_freezes_the_run_fails(transport, how, wait):
    need(transport)
    server, address = perf_server()
    with server, Process(
        *["perf", "run", address, "--transport", transport, "--seconds", "60", "--footprint", "4M", "--depth", "4", wait]
    ) as client:
        done = ended_by(how, server, client)
        failed(done)
        assert done.stdout == ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_when_the_peer_goes_or_freezes_between_operations_that_are_verified_too(how):
    server, address = perf_server()
    with server, Process(
        *["perf", "run", address, "--op", "write", "--verify", "--seconds", "100", "--size", "4M", "--footprint", "8M"]
    ) as client:
        assert address in failed(ended_by(how, server, client))


def test_a_server_frozen_from_the_start_is_a_sentence():
    server, address = perf_server()
    with server:
        server.stop()
        assert "silent" in failed(run("perf", "run", address, timeout=30))


def test_the_server_survives_clients_that_die():
    server, address = perf_server()
    with server:
        for _ in range(3):
            with Process("perf", "run", address, "--seconds", "60", "--footprint", "4M", "--op", "write_imm", "--size", "4K") as client:
                wait_until("the client to measure", lambda: cpu_seconds(client.pid) > 0.2)
                client.signal(signal.SIGKILL)
                client.done()
        assert measure("perf", "run", address, "--verify", *QUICK)["verified"] is True


NOISE = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "another-version": b"DLSPERF2",
    "zeroes": b"\0" * 100,
    "frame-of-4-gib": b"DLSPERF1" + b"\xff" * 64,
    "empty-frame": b"DLSPERF1" + b"\0\0\0\0",
    "wish-cut-off": b"DLSPERF1" + b"\x05\0\0\0\x02abcd",
    "unknown-message": b"DLSPERF1" + b"\x01\0\0\0\x63",
    "wish-of-zeroes": b"DLSPERF1" + b"\x01\x10\0\0\x02" + bytes(4096),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_strangers_lose_their_connection_and_nobody_else(noise):
    server, address = perf_server()
    with server:
        with socket.create_connection(port_of(address)) as s:
            s.sendall(noise)
            s.settimeout(20)
            try:
                while s.recv(65536):
                    pass
            except ConnectionResetError:
                pass
        assert measure("perf", "run", address, *QUICK)["ops"] == 200
        assert server.popen.poll() is None


def test_silent_strangers_keep_nobody_out():
    server, address = perf_server()
    strangers = []
    with server:
        try:
            for i in range(300):
                s = socket.create_connection(port_of(address))
                s.sendall(b"DLSPERF"[: i % 8])
                strangers.append(s)
            assert measure("perf", "run", address, *QUICK)["ops"] == 200
            assert len(os.listdir(f"/proc/{server.pid}/fd")) < 150
            assert len(os.listdir(f"/proc/{server.pid}/task")) < 20
        finally:
            for s in strangers:
                s.close()


def test_the_server_of_a_killed_perf_local_ends_with_it():
    with Process("perf", "local", "--seconds", "60", "--footprint", "4M") as local:
        wait_until("it to measure", lambda: cpu_seconds(local.pid) > 0.2)
        children = Path(f"/proc/{local.pid}/task/{local.pid}/children").read_text().split()
        assert len(children) == 1
        stat = Path(f"/proc/{children[0]}/stat")
        local.signal(signal.SIGKILL)
        local.done()

        def gone():
            try:
                return stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except FileNotFoundError:
                return True

        wait_until("the server to end", gone, timeout=20)
