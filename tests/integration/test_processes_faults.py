# SPDX-License-Identifier: BSD-3-Clause
"""A peer that is killed, or frozen, in the middle of transfers."""

import signal
import statistics
import time

import pytest

from processes import SLACK_S, End, Tool, connect, pair

TRANSPORTS = ["shm", "tcp"]
OPS = ["read", "write", "send"]
GONE = {"ECONNRESET"}
LENGTH = 4 << 20


def let_it_run(a, op):
    """Start a loop of transfers, and let many of them happen."""
    a.say("loop", op, 0, LENGTH)
    time.sleep(0.05)  # any moment in the middle will do: it is what the test is about


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("op", OPS)
def test_a_peer_killed_in_the_middle_is_an_error_within_50_ms(transport, op):
    took = []
    for _ in range(3):
        with pair(transport, length=LENGTH) as (a, b):
            if op == "send":
                b.say("loop", "recv", 0, LENGTH)
            let_it_run(a, op)
            killed = b.kill()
            end = End(a.line())
            assert end.status in GONE, end.status
            took.append(end.at - killed)
            assert a.run("write", 0, 8).status in GONE
            a.quit()
    assert statistics.median(took) < 0.050 + SLACK_S, took


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_waiting_receive_hears_of_a_killed_peer_within_50_ms(transport):
    took = []
    for _ in range(3):
        with pair(transport) as (a, b):
            a.start("recv", 0, 100)
            a.start("recv_imm", 0, 0)
            killed = b.kill()
            ends = [a.wait(), a.wait()]
            assert {end.status for end in ends} == GONE
            took.append(max(end.at for end in ends) - killed)
            a.quit()
    assert statistics.median(took) < 0.050 + SLACK_S, took


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_other_peers_do_not_notice_a_killed_one(transport):
    with Tool(transport, count=1) as a, pair(transport) as (c, d):
        with Tool(transport) as b:
            connect(a, b)
            c.say("loop", "write", 0, 65536)
            a.say("loop", "write", 0, 65536)
            b.kill()
            assert End(a.line()).status in GONE
        c.say("stat")
        assert End(c.line()).status == "0"
        c.line()
        c.quit()
        d.quit()
        a.quit()


def test_a_frozen_tcp_peer_is_given_up_in_time_and_the_process_goes_on():
    with pair("tcp", length=LENGTH, peer_timeout_ms=500) as (a, b), pair("tcp") as (c, d):
        let_it_run(a, "read")
        b.signal(signal.SIGSTOP)
        frozen = time.monotonic()
        end = End(a.line(timeout=10))
        assert end.status in GONE
        assert end.at - frozen < 0.500 + 0.300 + SLACK_S
        assert c.run("write", 0, 65536, 100).status == "0"
        b.signal(signal.SIGCONT)
        assert b.run("read", 0, 8).status in GONE  # it learns of it, and lives
        for tool in (a, b, c, d):
            tool.quit()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_waiting_receive_ends_when_the_peer_is_frozen(transport):
    with pair(transport, peer_timeout_ms=500) as (a, b):
        a.start("recv", 0, 100)
        b.signal(signal.SIGSTOP)
        frozen = time.monotonic()
        end = a.wait(timeout=10)
        assert end.status in GONE
        assert 0.1 < end.at - frozen < 0.500 + 0.500 + SLACK_S
        b.signal(signal.SIGCONT)
        a.quit()
        b.quit()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_peer_frozen_for_a_moment_loses_nothing(transport):
    with pair(transport, length=LENGTH, peer_timeout_ms=3000) as (a, b):
        assert a.ask("fill", 7) == "ok"
        a.start("write", 0, LENGTH)
        b.signal(signal.SIGSTOP)
        time.sleep(0.3)  # the freeze itself
        b.signal(signal.SIGCONT)
        assert a.wait().status == "0"
        assert b.ask("check", LENGTH, 7) == "ok"
        a.quit()
        b.quit()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_peer_that_leaves_properly_is_a_reset(transport):
    with pair(transport) as (a, b):
        a.start("recv", 0, 100)
        b.quit()
        assert a.wait().status in GONE
        a.quit()
