# SPDX-License-Identifier: BSD-3-Clause
"""Agents in two network namespaces, over a link that delays, loses, and carries nothing for a while."""

import contextlib
import os
import time

import pytest

from agents import SANITIZED, Daemon, Tool
from link import NetemLink, TapLink

LENGTH = 1 << 16
SCRATCH = 99  # what lies behind the bytes that are read
SLACK_S = float(os.environ.get("DLSLIME_TEST_SLACK_MS", 1000 if SANITIZED else 200)) / 1000


@pytest.fixture(params=[NetemLink, TapLink], ids=["netem", "tap"])
def link(request):
    with request.param(delay_ms=5, loss=0.02) as link:
        yield link


@contextlib.contextmanager
def peer(ctrl, link, seed, ttl_ms=0):
    """Agent b, on the other side of LINK than nanoctrl."""
    with Tool(ctrl.url, prefix=link.exec(1)) as b:
        b.agent(0, "b", ttl_ms=ttl_ms, memory=LENGTH, seed=seed)
        b.ok("publish", 0, "kv")
        yield b


@contextlib.contextmanager
def agents(link, ttl_ms=0):
    """nanoctrl and agent a on one side, agent b on the other, and a link over tcp between them."""
    with Daemon(host="10.77.0.1", prefix=link.exec(0)) as ctrl, Tool(ctrl.url, prefix=link.exec(0)) as a:
        a.agent(0, "a", ttl_ms=ttl_ms, memory=LENGTH, seed=1)
        with peer(ctrl, link, 2, ttl_ms) as b:
            a.ok("connect", 0, "b", "tcp")
            a.ok("wait", 0, "b", 20000)
            yield ctrl, a, b


def read(a, seed, timeout_ms=15000):
    """Its bytes are right, and nothing lies behind them that was not there. The seconds that it took."""
    a.ok("scratch", 0, SCRATCH)
    status, seconds = a.read(0, "b", "kv", LENGTH, timeout_ms)
    assert status == "0", (status, seconds)
    a.ok("check", 0, LENGTH, seed)
    a.ok("canary", 0, LENGTH, SCRATCH)
    return seconds


def write(a, b, seed):
    """A's scratch goes there and comes back."""
    a.ok("scratch", 0, seed)
    answer = a.ask("write", 0, "b", "kv", LENGTH, 15000)
    assert answer.startswith("end 0"), answer
    read(a, seed)


def all_is_lost(link, a, seconds):
    """For so long nothing gets through, and nothing hangs: each read ends in the time that it has."""
    link.lose(1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        status, took = a.read(0, "b", "kv", LENGTH, timeout_ms=500)
        assert status != "0" and took < 1.5 + SLACK_S, (status, took)
    link.lose(0.02)


def test_bytes_are_right_and_links_heal(link):
    with agents(link) as (_, a, b):
        for seed in range(10, 14):
            read(a, seed=2 if seed == 10 else seed - 1)
            write(a, b, seed)
        all_is_lost(link, a, 3)
        slowest = max(read(a, 13) for _ in range(3))
        assert slowest < 10 + SLACK_S
        write(a, b, 14)
        b.ok("publish", 0, "more")
        assert a.ok("regions", 0, "b").split()[2:] == ["kv", "more"]


def test_who_was_forgotten_meanwhile_is_known_again(link):
    with agents(link, ttl_ms=1000) as (_, a, b):
        read(a, 2)
        all_is_lost(link, a, 3)
        b.ok("publish", 0, "more")  # it registers first, which publishes kv again
        read(a, 2)
        assert a.ok("regions", 0, "b").split()[2:] == ["kv", "more"]


def test_a_peer_that_died_behind_a_dead_link_is_met_anew(link):
    with agents(link) as (ctrl, a, b):
        read(a, 2)
        link.lose(1)
        b.kill()
        status, took = a.read(0, "b", "kv", LENGTH, timeout_ms=500)
        assert status != "0" and took < 1.5 + SLACK_S
        link.lose(0.02)
        with peer(ctrl, link, 3):
            read(a, 3)
