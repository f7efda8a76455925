# SPDX-License-Identifier: BSD-3-Clause
"""Agents in processes of their own: names, regions, links, who comes and who goes."""

import pytest
from agents import Daemon, Tool


@pytest.fixture
def ctrl():
    with Daemon() as daemon:
        yield daemon


@pytest.fixture
def two(ctrl):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a", seed=1)
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        yield a, b


@pytest.mark.parametrize("transport", ["-", "shm", "tcp"])
def test_a_region_is_read_by_name(two, transport):
    a, _ = two
    a.ok("connect", 0, "b", transport)
    word, used, _ = a.ok("wait", 0, "b", 10000).split()
    assert word == "up" and used == ("shm" if transport == "-" else transport)
    a.expect(0, "b", "kv", seed=2)


def test_a_read_makes_the_link_that_it_needs(two):
    a, _ = two
    a.expect(0, "b", "kv", seed=2)


def test_what_is_written_by_name_is_there(two):
    a, b = two
    a.expect(0, "b", "kv", seed=2)  # the scratch of a now holds this
    b.ok("fill", 0, 77)
    assert a.ask("write", 0, "b", "kv", 4096, 5000).startswith("end 0")
    a.expect(0, "b", "kv", seed=2)


def test_the_called_side_has_the_link_as_well(two):
    a, b = two
    a.ok("publish", 0, "mine")
    a.ok("connect", 0, "b", "-")
    a.ok("wait", 0, "b", 10000)
    b.expect(0, "a", "mine", seed=1)


def test_both_sides_calling_at_once_meet_in_one_link(ctrl):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a", seed=1)
        b.agent(0, "b", seed=2)
        a.ok("publish", 0, "mine")
        b.ok("publish", 0, "kv")
        for tool, peer in ((a, "b"), (b, "a")):
            tool.say("connect", 0, peer, "-")
        assert a.line() == b.line() == "ok"
        a.ok("wait", 0, "b", 10000)
        b.ok("wait", 0, "a", 10000)
        a.expect(0, "b", "kv", seed=2)
        b.expect(0, "a", "mine", seed=1)
        assert a.ok("info", 0, "b").split()[3] == "0"
        assert b.ok("info", 0, "a").split()[3] == "0"


def test_an_agent_may_have_a_link_to_itself(ctrl):
    with Tool(ctrl.url) as a:
        a.agent(0, "a", seed=5)
        a.ok("publish", 0, "kv")
        a.ok("connect", 0, "a", "-")
        assert a.ok("wait", 0, "a", 10000).split()[1] == "loopback"
        a.expect(0, "a", "kv", seed=5)


def test_a_link_waits_for_a_peer_that_is_still_to_come(ctrl):
    with Tool(ctrl.url) as a:
        a.agent(0, "a")
        a.ok("connect", 0, "late", "-")
        answer = a.ask("wait", 0, "late", 100)
        assert answer.startswith("error ETIMEDOUT") and "late" in answer
        with Tool(ctrl.url) as late:
            late.agent(0, "late", seed=9)
            late.ok("publish", 0, "kv")
            a.ok("wait", 0, "late", 10000)
            a.expect(0, "late", "kv", seed=9)


def test_several_links_to_one_peer(two):
    a, _ = two
    a.ok("connect", 0, "b", "shm")
    a.ok("wait", 0, "b", 10000)
    a.ok("connect", 0, "b", "tcp")
    a.expect(0, "b", "kv", seed=2)
    a.ok("close", 0, "b")
    a.expect(0, "b", "kv", seed=2)  # by name there is a link again


def test_a_withdrawn_region_is_stale_and_then_unknown(two):
    a, b = two
    a.expect(0, "b", "kv", seed=2)
    b.ok("withdraw", 0, "kv")
    # what was read before the news may still be read: never anything else
    for _ in range(1000):
        status, _ = a.read(0, "b", "kv", 4096)
        if status != "0":
            break
        a.ok("check", 0, 4096, 2)
    assert status == "ESTALE"
    assert a.read(0, "b", "nothing", 16)[0] == "ENOENT"


def test_a_region_that_moved_is_found_at_its_new_place(two):
    a, b = two
    a.expect(0, "b", "kv", seed=2)
    b.agent(1, "c", seed=3)
    b.ok("withdraw", 0, "kv")
    while a.read(0, "b", "kv", 16)[0] == "0":
        pass
    b.ok("fill", 0, 4)
    b.ok("publish", 0, "kv")
    for _ in range(1000):  # until the news are there
        if a.read(0, "b", "kv", 4096)[0] == "0":
            break
    a.ok("check", 0, 4096, 4)


def test_peers_and_regions_are_listed(two):
    a, b = two
    assert a.ok("peers", 0).split()[1:] == ["1", "b"]
    b.ok("publish", 0, "second")
    assert sorted(a.ok("regions", 0, "b").split()[2:]) == ["kv", "second"]
    assert a.ask("regions", 0, "nobody").startswith("error ENOENT")


def test_a_scope_is_a_world_of_its_own(ctrl):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "same", scope="left")
        b.agent(0, "same", scope="right")
        b.agent(1, "other", scope="right")
        assert a.ok("peers", 0).split()[1] == "0"
        assert b.ok("peers", 0).split()[1:] == ["1", "other"]
        assert a.read(0, "other", "kv", 16, timeout_ms=300)[0] == "ENOTCONN"


def test_an_alias_in_use_is_refused(two, ctrl):
    with Tool(ctrl.url) as c:
        answer = c.ask("agent", 0, "a", "-", 0)
        assert answer.startswith("error EEXIST") and "a" in answer


def test_without_an_alias_one_is_given(ctrl):
    with Tool(ctrl.url) as a:
        assert a.agent(0) != a.agent(1)


def test_who_comes_and_who_goes_is_told(two, ctrl):
    a, _ = two
    a.ok("events", 0)
    with Tool(ctrl.url) as c:
        c.agent(0, "c", ttl_ms=1000)
        c.agent(1, "d")
        seen = {a.ok("event", 0, 10000), a.ok("event", 0, 10000)}
        assert {"joined c", "joined d"} <= seen | {a.ask("event", 0, 10)}
        c.ok("drop", 1)
        assert a.ok("event", 0, 10000) == "left d"
    # killed: its time to live tells
    assert a.ok("event", 0, 10000) == "left c"


@pytest.mark.parametrize("alias", ["x" * 513, "a\x01b"])
def test_names_that_are_none_are_refused_with_a_sentence(ctrl, alias):
    with Tool(ctrl.url) as a:
        answer = a.ask("agent", 0, alias, "-", 0)
        assert answer.startswith("error EINVAL") and len(answer) > 20


@pytest.mark.parametrize("alias", ["a:b", "a/b", "..", "%41", "a?b&c=d", "ä", '"', "*"])
def test_any_other_name_will_do(ctrl, alias):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, alias, seed=6)
        a.ok("publish", 0, alias)
        b.agent(0, "reader")
        b.expect(0, alias, alias, seed=6)


def test_no_daemon_is_an_error_at_once():
    with Tool("http://127.0.0.1:1") as a:
        assert a.ask("agent", 0, "a", "-", 0).startswith("error ECONNREFUSED")
