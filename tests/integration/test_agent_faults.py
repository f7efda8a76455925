# SPDX-License-Identifier: BSD-3-Clause
"""Agents whose peers, or whose control plane, die, freeze, and come back."""

import signal
import time

import pytest
from agents import Daemon, Tool


@pytest.fixture
def ctrl(tmp_path):
    with Daemon(tmp_path / "nanoctrl.db") as daemon:
        yield daemon


def server(url, seed, alias="b"):
    tool = Tool(url)
    tool.agent(0, alias, seed=seed)
    tool.ok("publish", 0, "kv")
    return tool


@pytest.mark.parametrize("transport", ["shm", "tcp"])
def test_a_peer_killed_and_restarted_is_found_again(ctrl, transport):
    with Tool(ctrl.url) as a:
        a.agent(0, "a")
        with server(ctrl.url, 1):
            a.ok("connect", 0, "b", transport)
            a.ok("wait", 0, "b", 10000)
            a.expect(0, "b", "kv", seed=1)
        for life in range(2, 6):  # killed by the end of "with", every time
            with server(ctrl.url, life):
                status, seconds = a.read(0, "b", "kv", 4096)
                assert status == "0" and seconds < 1
                a.ok("check", 0, 4096, life)
        assert int(a.ok("info", 0, "b").split()[3]) == 4


def test_while_a_peer_is_dead_a_transfer_ends_in_its_time(ctrl):
    with Tool(ctrl.url) as a:
        a.agent(0, "a")
        with server(ctrl.url, 1):
            a.expect(0, "b", "kv", seed=1)
        status, seconds = a.read(0, "b", "kv", 64, timeout_ms=300)
        assert status in ("ECONNRESET", "ENOTCONN") and seconds < 2


def test_an_alias_is_free_as_soon_as_its_process_is_dead(ctrl):
    with server(ctrl.url, 1) as b:
        with Tool(ctrl.url) as other:
            assert other.ask("agent", 0, "b", "-", 0).startswith("error EEXIST")
            b.kill()
            began = time.monotonic()
            other.agent(0, "b")
            assert time.monotonic() - began < 5  # not its time to live, which is 15 s


def test_nanoctrl_killed_for_a_while_is_not_noticed_by_transfers(ctrl):
    with Tool(ctrl.url) as a, server(ctrl.url, 1):
        a.agent(0, "a", ttl_ms=1000)
        a.ok("connect", 0, "b", "-")
        a.expect(0, "b", "kv", seed=1)
        a.say("loop", 0, "b", "kv", 4096, 1000)
        ctrl.kill()
        time.sleep(3)  # three times to live pass: nothing else can be waited for
        with ctrl.again():
            time.sleep(2)
            looped, good, bad, worst = a.ok("stat").split()
            assert looped == "looped" and int(good) > 1000 and bad == "0"
            a.line()  # the answer to "stat"
            # registered again, both of them: a newcomer finds a and b
            with Tool(ctrl.url) as c:
                c.agent(0, "c")
                until = time.monotonic() + 20
                while sorted(c.ok("peers", 0).split()[2:]) != ["a", "b"]:
                    assert time.monotonic() < until
                c.expect(0, "b", "kv", seed=1)
            assert a.ok("info", 0, "b").split()[3] == "0"


def test_nanoctrl_that_has_forgotten_an_agent_is_told_who_it_is(ctrl):
    """Another one in its place, with nothing in its memory."""
    with Tool(ctrl.url) as a, server(ctrl.url, 1) as b:
        a.agent(0, "a")
        a.expect(0, "b", "kv", seed=1)
        ctrl.kill()
        with Daemon(port=ctrl.port):
            b.ok("publish", 0, "more")
            assert a.ok("regions", 0, "b").split()[2:] == ["kv", "more"]
            b.ok("withdraw", 0, "more")
            a.expect(0, "b", "kv", seed=1)
            b.ok("memory", 0, 1 << 16, 2)
            b.ok("publish", 0, "kv")
            until = time.monotonic() + 10  # not its long question to the one that is no more, which is 30 s
            while a.read(0, "b", "kv", 4096)[0] != "0" or a.ask("check", 0, 4096, 2) != "ok":
                assert time.monotonic() < until


def test_another_nanoctrl_counts_from_the_beginning(ctrl):
    """The lives of peers have smaller numbers with it, and are met all the same."""
    with Tool(ctrl.url) as a:
        a.agent(0, "a")
        for life in range(1, 6):
            with server(ctrl.url, life):
                a.expect(0, "b", "kv", seed=life)
        with server(ctrl.url, 6) as b:
            a.expect(0, "b", "kv", seed=6)
            ctrl.kill()
            with Daemon(port=ctrl.port) as other:
                b.ok("publish", 0, "more")
                b.kill()
                for life in (7, 8):
                    with server(other.url, life):
                        a.expect(0, "b", "kv", seed=life)


def until_stale(tool, region):
    """The news of B come in order: what it did before REGION was withdrawn is known as well."""
    until = time.monotonic() + 20
    while (status := tool.read(0, "b", region, 64)[0]) != "ESTALE":
        assert status == "0" and time.monotonic() < until


def withdraw_mark_and_cut_off(reader, owner, ctrl):
    owner.ok("withdraw", 0, "mark")
    until_stale(reader, "mark")
    ctrl.kill()
    reader.expect(0, "b", "kv", seed=1)


def test_a_region_published_again_as_it_was_is_not_asked_for_again(ctrl):
    with Tool(ctrl.url) as a, server(ctrl.url, 1) as b:
        a.agent(0, "a")
        b.ok("publish", 0, "mark")
        a.expect(0, "b", "mark", seed=1)
        a.expect(0, "b", "kv", seed=1)
        b.ok("publish", 0, "kv")  # as an agent does that nanoctrl forgot
        withdraw_mark_and_cut_off(a, b, ctrl)


def test_nanoctrl_that_goes_away_again_at_once_is_not_noticed_by_transfers(ctrl):
    with Tool(ctrl.url) as a, server(ctrl.url, 1) as b:
        a.agent(0, "a")
        b.ok("publish", 0, "mark")
        a.expect(0, "b", "mark", seed=1)
        a.expect(0, "b", "kv", seed=1)
        ctrl.kill()
        with ctrl.again() as second:  # which has no events of its first life
            withdraw_mark_and_cut_off(a, b, second)


def test_what_was_withdrawn_while_nobody_heard_it_is_found_out(ctrl):
    with Tool(ctrl.url) as a, server(ctrl.url, 1) as b:
        a.agent(0, "a")
        a.expect(0, "b", "kv", seed=1)
        a.signal(signal.SIGSTOP)
        ctrl.kill()
        with ctrl.again() as second:
            b.ok("withdraw", 0, "kv")
            second.kill()
            with second.again():  # the event is gone with the second life
                a.signal(signal.SIGCONT)
                until_stale(a, "kv")


def test_a_frozen_peer_is_met_again_when_it_thaws(ctrl):
    with Tool(ctrl.url) as a, server(ctrl.url, 1) as b:
        a.agent(0, "a")
        a.ok("connect", 0, "b", "tcp")
        a.ok("wait", 0, "b", 10000)
        a.expect(0, "b", "kv", seed=1)
        b.signal(signal.SIGSTOP)
        status, seconds = a.read(0, "b", "kv", 64, timeout_ms=200)
        assert status != "0" and seconds < 5
        b.signal(signal.SIGCONT)
        a.expect(0, "b", "kv", seed=1)


def test_a_frozen_process_whose_alias_was_taken_does_not_come_between(ctrl):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as old:
        a.agent(0, "a")
        old.agent(0, "b", ttl_ms=1000, seed=1)
        old.ok("publish", 0, "kv")
        a.expect(0, "b", "kv", seed=1)
        old.signal(signal.SIGSTOP)
        until = time.monotonic() + 20
        while a.ok("peers", 0).split()[1] != "0":  # its time to live passes
            assert time.monotonic() < until
        with server(ctrl.url, 2):
            until = time.monotonic() + 20
            while a.ask("check", 0, 64, 2) != "ok":
                a.read(0, "b", "kv", 64)
                assert time.monotonic() < until
            old.signal(signal.SIGCONT)
            for _ in range(50):
                a.expect(0, "b", "kv", seed=2)


def test_a_rolling_restart_of_a_mesh(ctrl):
    names = [f"m{i}" for i in range(4)]
    seeds = {name: i for i, name in enumerate(names)}
    tools = {name: server(ctrl.url, seeds[name], name) for name in names}
    try:
        for turn in range(len(names) * 2):
            for reader in names:
                for owner in names:
                    if owner != reader:
                        tools[reader].expect(0, owner, "kv", seed=seeds[owner])
            victim = names[turn % len(names)]
            tools[victim].kill()
            seeds[victim] += 100
            tools[victim] = server(ctrl.url, seeds[victim], victim)
    finally:
        for tool in tools.values():
            tool.kill()
