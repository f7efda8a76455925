# SPDX-License-Identifier: BSD-3-Clause
"""What agents tell about themselves when something is stuck: flight recorder, log, counters."""

import json
import os
import select
import signal
import socket
import subprocess
import time

import pytest
from agents import BIN, DEADLINE_S, Daemon, Tool


@pytest.fixture
def ctrl():
    with Daemon() as daemon:
        yield daemon


@pytest.fixture
def two(ctrl):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a")
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        a.ok("connect", 0, "b", "-")
        a.expect(0, "b", "kv", seed=2)
        yield a, b


def doctor(pid):
    return subprocess.run(
        [BIN / "dlslime", "doctor", "--pid", str(pid)], capture_output=True, text=True, timeout=DEADLINE_S
    )


def test_doctor_asks_a_running_process(two):
    a, _ = two
    done = doctor(a.pid)
    assert done.returncode == 0, done.stderr
    assert "agent 'a'" in done.stdout and "link to 'b' is up" in done.stdout
    assert "idle -> resolving" in done.stdout and "connecting -> up" in done.stdout


def test_doctor_says_so_when_nobody_answers(two):
    a, _ = two
    assert "no agent" in doctor(os.getpid()).stderr
    for wrong in ("", "x", "-1", "99999999999999"):
        done = doctor(wrong)
        assert done.returncode == 2 and "process id" in done.stderr
    a.signal(signal.SIGSTOP)
    try:
        done = doctor(a.pid)
        assert done.returncode == 1 and "stuck" in done.stderr
    finally:
        a.signal(signal.SIGCONT)


def door_of(pid):
    line = next(x for x in open("/proc/net/unix") if f"@dlslime-agent/{pid}/" in x)
    return "\0" + line.split("@", 1)[1].strip()


def test_many_who_ask_and_do_not_read_are_no_burden(two):
    a, _ = two
    crowd = []
    for _ in range(50):
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        s.connect_ex(door_of(a.pid))
        crowd.append(s)
    a.expect(0, "b", "kv", seed=2)
    for s in crowd:
        s.close()
    assert doctor(a.pid).returncode == 0


def test_who_asks_at_once_with_others_is_answered(two):
    a, _ = two
    a.signal(signal.SIGSTOP)
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(5)]  # as many as wait at the door
    for s in crowd:
        s.settimeout(DEADLINE_S)
        s.connect(door_of(a.pid))
    a.signal(signal.SIGCONT)
    for s in crowd:
        with s, s.makefile("rb") as text:
            assert b"agent 'a'" in text.read()


def test_a_program_tells_on_sigusr2(ctrl):
    links = subprocess.Popen(
        [BIN / "dlslime", "links", "--ctrl", ctrl.url, "--every", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert links.stdout.readline().startswith(b"AGENT")
        links.send_signal(signal.SIGUSR2)
        assert select.select([links.stderr], [], [], DEADLINE_S)[0]
        assert b"agent 'dlslime-cli" in links.stderr.readline()
        links.send_signal(signal.SIGINT)
        assert links.wait(DEADLINE_S) == 0
    finally:
        links.kill()
        links.wait()


def test_a_loss_and_a_deadline_are_in_the_log_once(ctrl, tmp_path):
    log = tmp_path / "log"
    with open(log, "wb") as err:
        a = Tool(ctrl.url, stderr=err, env={**os.environ, "SLIME_LOG_LEVEL": "1"})
    with a:
        with Tool(ctrl.url) as b:
            a.agent(0, "a")
            b.agent(0, "b", seed=2)
            b.ok("publish", 0, "kv")
            a.expect(0, "b", "kv", seed=2)
        for _ in range(20):
            assert a.read(0, "b", "kv", 64, timeout_ms=20)[0] in ("ENOTCONN", "ECONNRESET")
        a.ok("connect", 0, "nobody", "-")
        assert a.read(0, "nobody", "kv", 64, timeout_ms=20)[0] == "ENOTCONN"
    warnings = [x for x in log.read_text().splitlines() if "warning" in x]
    lost = [x for x in warnings if "link to 'b'" in x]
    assert len(lost) == 1 and "lost" in lost[0], warnings
    assert [x for x in warnings if "'nobody'" in x and "time was over" in x]
    assert "connecting -> up" in log.read_text()


def test_a_lookup_that_nobody_answers_is_told_from_a_link_that_is_down(ctrl, two):
    a, _ = two
    ctrl.signal(signal.SIGSTOP)
    assert a.read(0, "b", "other", 64)[0] == "ENOTCONN"
    a.say("flight", 0)
    flight = list(iter(a.line, "ok"))
    assert [x for x in flight if "link to 'b' is up" in x]
    assert [x for x in flight if "'other' was asked for" in x and "did not answer in time" in x]


def test_transfers_are_counted(two):
    a, _ = two
    before = [int(x) for x in a.ok("counts", 0, "b").split()[1:]]
    for _ in range(10):
        a.expect(0, "b", "kv", seed=2)
    assert a.read(0, "b", "kv", 1 << 30)[0] == "ERANGE"
    after = [int(x) for x in a.ok("counts", 0, "b").split()[1:]]
    transfers, moved, failed, at_once, waited = [x - y for x, y in zip(after, before)]
    assert (transfers, moved, failed, at_once, waited) == (10, 40960, 1, 11, 0)
    assert before[4] >= 1  # the first of all waited for the link or the region


def test_snapshots_have_the_counters_of_links(ctrl, two):
    done = None
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        done = subprocess.run(
            [BIN / "dlslime", "links", "--ctrl", ctrl.url, "--json"], capture_output=True, text=True
        )
        links = [c for s in json.loads(done.stdout) if s["peer_id"] == "a" for c in s["connections"]]
        if links and links[0]["transfers_total"]:
            break
        time.sleep(0.2)  # it tells every 5 s
    assert links[0]["bytes_total"] >= 4096 and len(links[0]["waited_us_log2"]) == 24
