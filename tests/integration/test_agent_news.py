# SPDX-License-Identifier: BSD-3-Clause
"""News that overtake the answer to a question, and news that are none."""

import json
import threading
import time
import urllib.request

import pytest
from agents import DEADLINE_S, Daemon, Tool
from between import Between, Gate

KV = "GET /v1/agents/b/regions/kv"


@pytest.fixture
def three():
    """An agent behind a gate with a link to another, whose region it has not asked for yet."""
    with Daemon() as ctrl, Gate(ctrl) as gate, Tool(gate.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a", seed=1)
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        a.ok("connect", 0, "b", "-")
        a.ok("wait", 0, "b", 10000)
        yield gate, a, b


def overtaken(gate, a, change):
    """A's first read of kv, which is answered after the news of CHANGE; its status."""
    gate.hold(KV)
    a.say("read", 0, "b", "kv", 4096, 5000)
    gate.wait_held()
    asked = gate.seen("GET /v1/watch")
    change()
    gate.wait_seen("GET /v1/watch", asked + 1)  # it asks for more, so these it has read
    gate.hold(None)
    return a.line().split()[1]


def test_a_region_that_moves_while_it_is_asked_for_is_read_where_it_is(three):
    gate, a, b = three

    def move():
        b.ok("memory", 0, 1 << 16, 3)  # the old one stays where it is, readable
        b.ok("publish", 0, "kv")

    assert overtaken(gate, a, move) == "0"
    a.ok("check", 0, 4096, 3)


def test_a_region_that_is_withdrawn_while_it_is_asked_for_is_not_read(three):
    gate, a, b = three
    assert overtaken(gate, a, lambda: b.ok("withdraw", 0, "kv")) == "ESTALE"


def test_news_of_other_regions_cost_no_second_question(three):
    gate, a, b = three
    assert overtaken(gate, a, lambda: b.ok("publish", 0, "other")) == "0"
    a.ok("check", 0, 4096, 2)
    assert gate.seen(KV) == 1


def test_a_peer_that_has_our_call_is_not_called_again_when_we_hear_that_it_is_there():
    with Daemon() as ctrl, Gate(ctrl) as gate, Tool(gate.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a")
        b.agent(0, "b")  # behind a, which will hear of it
        gate.hold("GET /v1/agents/a/mailbox")
        a.ok("connect", 0, "b", "-")
        gate.wait_seen("GET /v1/watch", 2)  # it has heard
        gate.wait_held()
        gate.hold(None)
        a.ok("wait", 0, "b", 10000)
        assert gate.seen("POST /v1/agents/b/mailbox") == 1


def test_an_agent_that_leaves_says_so_to_each_of_its_peers_before():
    with Daemon() as ctrl, Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a")
        peers = range(12)
        for i in peers:
            b.agent(i, f"b{i}")
            b.ok("connect", i, "a", "-")
        for i in peers:
            b.ok("wait", i, "a", 10000)
        a.ok("drop", 0)
        until = time.monotonic() + DEADLINE_S
        while any(b.ok("info", i, "a").split()[1] != "idle" for i in peers):
            assert time.monotonic() < until, [b.ok("info", i, "a") for i in peers]


class SecondRegions(Between):
    """Answers the second request about b's regions half a second late, and knows if a third came before."""

    def __init__(self, ctrl):
        self.asks, self.answers, self.third = 0, 0, threading.Event()
        self.overtaken = None
        super().__init__(ctrl)
        self.change = self.look

    def asked(self, line):
        if line.startswith("POST /v1/agents/b/regions"):
            self.asks += 1
            if self.asks == 3:
                self.third.set()

    def look(self, method, path, status, body):
        if method == "POST" and path.startswith("/v1/agents/b/regions"):
            self.answers += 1
            if self.answers == 2 and self.overtaken is None:
                self.overtaken = self.third.wait(0.5)
        return status, body


def test_who_was_forgotten_publishes_what_it_had_before_what_is_new():
    with Daemon() as ctrl, SecondRegions(ctrl) as between, Tool(between.url) as b:
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        url = f"{ctrl.url}/v1/agents/b"
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            url += f"?incarnation={json.load(answer)['agent']['incarnation']}"
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=DEADLINE_S).close()
        between.asks = between.answers = 0
        b.ok("publish", 0, "more")  # it is not known: it registers, and publishes both
        assert between.asks == 3 and between.overtaken is False
