# SPDX-License-Identifier: BSD-3-Clause
"""Agents without a control plane: introduced by tickets, and what comes to their doors."""

import base64
import contextlib
import http.client
import json
import signal
import socket
import time

import pytest
from agents import Daemon, Tool

HERE = "127.0.0.1:0"
PREFIX = "dlslime-agent:"


def opened(ticket):
    assert ticket.startswith(PREFIX)
    return json.loads(base64.b64decode(ticket[len(PREFIX) :]))


def sealed(members):
    return PREFIX + base64.b64encode(json.dumps(members).encode()).decode()


class Door:
    """Requests at the door of the agent of a ticket."""

    def __init__(self, ticket):
        self.members = opened(ticket)
        self.host, port = self.members["at"][0].rsplit(":", 1)
        self.port = int(port)

    def ask(self, method, tail, body=None, secret=None, scope=None, alias=None):
        c = http.client.HTTPConnection(self.host, self.port, timeout=30)
        path = f"/v1/agents/{alias or self.members['alias']}{tail}?scope={scope or self.members['scope']}"
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
        c.request(method, path, data, {"Authorization": f"Bearer {secret or self.members['secret']}"})
        reply = c.getresponse()
        text = reply.read()
        c.close()
        return reply.status, json.loads(text)


def until(what, happened, timeout=20):
    limit = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


@pytest.fixture
def two():
    with Tool("-") as a, Tool("-") as b:
        a.agent(0, "a", seed=1, listen=HERE)
        b.agent(0, "b", seed=2, listen=HERE)
        a.ok("publish", 0, "mine")
        b.ok("publish", 0, "kv")
        assert a.ok("introduce", 0, b.ticket(0)) == "met b"
        yield a, b


@pytest.mark.parametrize("transport", ["-", "shm", "tcp"])
def test_a_region_is_read_by_name_without_a_control_plane(two, transport):
    a, b = two
    a.ok("connect", 0, "b", transport)
    a.ok("wait", 0, "b", 10000)
    a.expect(0, "b", "kv", seed=2)
    b.expect(0, "a", "mine", seed=1)


def test_who_was_introduced_may_call_first(two):
    a, b = two
    b.expect(0, "a", "mine", seed=1)
    a.expect(0, "b", "kv", seed=2)


def test_who_does_not_listen_begins_to_when_it_takes_a_ticket():
    with Tool("-") as a, Tool("-") as b:
        a.agent(0, "a", seed=1)
        a.ok("publish", 0, "mine")
        answer = a.ask("ticket", 0)
        assert answer.startswith("error EINVAL") and "listen" in answer
        b.agent(0, "b", seed=2, listen=HERE)
        b.ok("publish", 0, "kv")
        a.ok("introduce", 0, b.ticket(0))
        a.expect(0, "b", "kv", seed=2)
        b.expect(0, "a", "mine", seed=1)


def test_peers_regions_and_events_are_told_as_with_a_control_plane(two):
    a, b = two
    assert a.ok("peers", 0) == "names 1 b" and b.ok("peers", 0) == "names 1 a"
    assert a.ok("regions", 0, "b") == "names 1 kv"
    assert a.ask("regions", 0, "c").startswith("error ENOENT")
    a.ok("events", 0)
    with Tool("-") as c:
        c.agent(0, "c", listen=HERE)
        c.ok("introduce", 0, a.ticket(0))
        assert a.ok("event", 0, 10000) == "joined c"


def test_both_introducing_each_other_at_once_is_as_good():
    for _ in range(5):
        with Tool("-") as a, Tool("-") as b:
            a.agent(0, "a", seed=1, listen=HERE)
            b.agent(0, "b", seed=2, listen=HERE)
            b.ok("publish", 0, "kv")
            at, bt = a.ticket(0), b.ticket(0)
            a.say("introduce", 0, bt)
            b.say("introduce", 0, at)
            assert a.line() == "met b" and b.line() == "met a"
            a.expect(0, "b", "kv", seed=2)


def test_a_link_waits_for_the_introduction():
    with Tool("-") as a, Tool("-") as b:
        a.agent(0, "a")
        a.ok("connect", 0, "b", "-")
        answer = a.ask("wait", 0, "b", 100)
        assert answer.startswith("error ETIMEDOUT") and "introduced" in answer
        b.agent(0, "b", seed=2, listen=HERE)
        b.ok("publish", 0, "kv")
        a.ok("introduce", 0, b.ticket(0))
        a.ok("wait", 0, "b", 10000)
        a.expect(0, "b", "kv", seed=2)


def test_a_withdrawn_region_is_stale_and_a_moved_one_is_found(two):
    a, b = two
    a.expect(0, "b", "kv", seed=2)
    b.ok("withdraw", 0, "kv")
    for _ in range(100000):
        status, _ = a.read(0, "b", "kv", 4096)
        if status != "0":
            break
        a.ok("check", 0, 4096, 2)
    assert status == "ESTALE"
    b.ok("fill", 0, 4)
    b.ok("publish", 0, "kv")
    a.expect(0, "b", "kv", seed=4)
    assert a.read(0, "b", "nothing", 16)[0] == "ENOENT"


def test_the_news_of_a_withdrawal_reach_a_peer_that_was_frozen(two):
    a, b = two
    a.expect(0, "b", "kv", seed=2)
    a.signal(signal.SIGSTOP)
    b.ok("withdraw", 0, "kv")
    a.signal(signal.SIGCONT)
    until("the news", lambda: a.read(0, "b", "kv", 64)[0] == "ESTALE")


def test_a_peer_that_restarts_has_another_ticket(two):
    a, b = two
    old = b.ticket(0)
    port = opened(old)["at"][0]
    a.expect(0, "b", "kv", seed=2)
    b.kill()
    assert a.ask("introduce", 0, sealed({**opened(old), "alias": "b2"})).startswith("error ECONNREFUSED")
    with Tool("-") as again:
        again.agent(0, "b", seed=3, listen=port)
        again.ok("publish", 0, "kv")
        answer = a.ask("introduce", 0, sealed({**opened(old), "alias": "b2"}))
        assert answer.startswith("error EACCES") and "new one" in answer
        assert a.read(0, "b", "kv", 64, timeout_ms=300)[0] in ("ENOTCONN", "ECONNRESET")
        answer = a.ask("wait", 0, "b", 100)
        a.ok("introduce", 0, again.ticket(0))
        a.expect(0, "b", "kv", seed=3)


def test_a_restarted_peer_may_come_back_by_itself(two):
    a, b = two
    b.expect(0, "a", "mine", seed=1)
    a.expect(0, "b", "kv", seed=2)
    ticket = a.ticket(0)
    b.kill()
    with Tool("-") as again:
        again.agent(0, "b", seed=3, listen=HERE)
        again.ok("publish", 0, "kv")
        until("the old one to be gone", lambda: again.ask("introduce", 0, ticket) == "met a")
        a.expect(0, "b", "kv", seed=3)


def test_the_alias_of_a_living_peer_is_not_taken_over(two):
    a, b = two
    a.expect(0, "b", "kv", seed=2)
    with Tool("-") as thief:
        thief.agent(0, "b", seed=3, listen=HERE)
        answer = thief.ask("introduce", 0, a.ticket(0))
        assert answer.startswith("error EEXIST") and "alive" in answer
        a.expect(0, "b", "kv", seed=2)


def test_another_scope_is_refused_with_a_sentence(two):
    _, b = two
    with Tool("-") as c:
        c.agent(0, "c", scope="elsewhere", listen=HERE)
        answer = c.ask("introduce", 0, b.ticket(0))
        assert answer.startswith("error EACCES") and "elsewhere" in answer
        lie = sealed({**opened(b.ticket(0)), "scope": "elsewhere"})
        answer = c.ask("introduce", 0, lie)
        assert answer.startswith("error EACCES") and "another scope" in answer


def test_a_ticket_beside_a_control_plane():
    with Daemon() as ctrl, Tool(ctrl.url) as a, Tool("-") as b:
        a.agent(0, "a", seed=1, listen=HERE)
        b.agent(0, "b", seed=2, listen=HERE)
        a.ok("publish", 0, "mine")
        b.ok("publish", 0, "kv")
        with Tool(ctrl.url) as c:
            c.agent(0, "c", seed=3)
            c.ok("publish", 0, "kv")
            b.ok("introduce", 0, a.ticket(0))
            a.expect(0, "b", "kv", seed=2)
            a.expect(0, "c", "kv", seed=3)
            b.expect(0, "a", "mine", seed=1)
            assert sorted(a.ok("peers", 0).split()[2:]) == ["b", "c"]
        ctrl.kill()
        a.expect(0, "b", "kv", seed=2)


def test_its_own_ticket_introduces_nobody(two):
    a, _ = two
    assert a.ask("introduce", 0, a.ticket(0)).startswith("error EEXIST")


@pytest.mark.parametrize("text", ["x", PREFIX, PREFIX + "AAAA", PREFIX + "!", "slime:h:1/00/x", PREFIX + "A" * 100000])
def test_what_is_no_ticket_is_refused_with_a_sentence(two, text):
    answer = two[0].ask("introduce", 0, text)
    assert answer.startswith("error EPROTO") and "ticket" in answer


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"alias": ""},
        {"alias": 7},
        {"alias": "x" * 513},
        {"alias": "a\nb"},
        {"scope": None},
        {"secret": "00"},
        {"secret": "g" * 32},
        {"life": "A" * 32},
        {"at": []},
        {"at": ["host"]},
        {"at": ["h:0"]},
        {"at": ["h:65536"]},
        {"at": ["u@h:1"]},
        {"at": ["h/x:1"]},
        {"at": ["127.0.0.1:1"] * 9},
        {"at": [1]},
    ],
)
def test_a_ticket_with_a_wrong_member_is_refused(two, change):
    a, b = two
    assert a.ask("introduce", 0, sealed({**opened(b.ticket(0)), **change})).startswith("error EPROTO")


def test_a_ticket_s_second_address_is_tried_as_well(two):
    a, b = two
    with Tool("-") as c:
        c.agent(0, "c")
        members = opened(b.ticket(0))
        assert c.ok("introduce", 0, sealed({**members, "at": ["127.0.0.1:1", *members["at"]]})) == "met b"
        c.expect(0, "b", "kv", seed=2)


def test_strangers_learn_nothing_at_the_door(two):
    a, b = two
    door = Door(b.ticket(0))
    for secret in ("0" * 32, "", "0", door.members["secret"][:-1] + "x", door.members["secret"] + "0"):
        for method, tail in (("GET", ""), ("GET", "/regions/kv"), ("POST", "/mailbox")):
            status, body = door.ask(method, tail, b"{}" if method == "POST" else None, secret=secret or " ")
            assert status == 401 and set(body) == {"status", "code", "message"}
    assert door.ask("GET", "")[0] == 200
    assert door.ask("GET", "", alias="other")[0] == 404
    assert door.ask("GET", "", scope="other")[0] == 403
    assert door.ask("GET", "/regions/kv")[1]["region"]["name"] == "kv"
    assert door.ask("GET", "/regions/no")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"from":"a"}',
        b'{"from":"a","messages":{}}',
        b'{"from":"a","messages":[1,null,{},{"type":"moved"},{"type":7,"life":[]}]}',
        b'{"from":7,"messages":[]}',
        b'{"from":"nobody","messages":[{}]}',
        b'{"ticket":7}',
        b'{"ticket":"dlslime-agent:AAAA"}',
        b"[" * 100000,
    ],
)
def test_nonsense_with_the_right_secret_harms_nothing(two, body):
    a, b = two
    door = Door(b.ticket(0))
    for tail in ("/mailbox", "/introduce", "/regions", ""):
        assert door.ask("POST", tail, body)[0] in (200, 400, 404, 422)
    a.expect(0, "b", "kv", seed=2)


def test_a_message_of_who_only_knows_the_name_is_passed_over(two):
    a, b = two
    a.ok("connect", 0, "b", "-")
    a.expect(0, "b", "kv", seed=2)
    door = Door(b.ticket(0))
    life = "0" * 32
    link = json.dumps({"type": "bye", "life": life, "link": life, "attempt": 1, "seq": 9999})
    assert door.ask("POST", "/mailbox", b'{"from":"a","messages":[%s]}' % link.encode())[0] == 200
    for _ in range(20):
        a.expect(0, "b", "kv", seed=2)
    assert a.ok("info", 0, "b").split()[1] == "up"


def test_a_crowd_of_strangers_does_not_lock_out_a_peer(two):
    a, b = two
    door = Door(b.ticket(0))
    crowd = []
    fds = int(b.ok("stat").split()[2])
    try:
        for _ in range(300):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((door.host, door.port))
            crowd.append(s)
        a.expect(0, "b", "kv", seed=2)  # a new link, while they stand there
        until("few of them in", lambda: int(b.ok("stat").split()[2]) < fds + 120)
        # and who says nothing is sent away
        until("none of them in", lambda: int(b.ok("stat").split()[2]) < fds + 30)
    finally:
        for s in crowd:
            s.close()


def test_too_much_is_not_read(two):
    a, b = two
    door = Door(b.ticket(0))
    for head in (b"GET /" + b"x" * 1000000, b"POST /v1/agents/b/mailbox HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"):
        with socket.create_connection((door.host, door.port), 30) as s:
            try:
                s.sendall(head + b"x" * 1000000)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    a.expect(0, "b", "kv", seed=2)


def test_an_agent_that_left_says_so(two):
    a, b = two
    a.expect(0, "b", "kv", seed=2)
    b.expect(0, "a", "mine", seed=1)
    b.ok("drop", 0)
    assert a.read(0, "b", "kv", 64, timeout_ms=300)[0] in ("ENOTCONN", "ECONNRESET")


@pytest.mark.parametrize("place", ["nowhere", "127.0.0.1", "127.0.0.1:", ":1", "192.0.2.1:0", "no.such.host.invalid:0"])
def test_a_place_where_it_cannot_listen_is_an_error(place):
    with Tool("-") as a:
        answer = a.ask("agent", 0, "a", "-", 0, place)
        assert answer.startswith(("error EINVAL", "error EADDRNOTAVAIL")) and "listen" in answer


def test_who_hangs_up_within_an_answer_does_not_end_the_process(two):
    """A write to who reads no more is SIGPIPE, which is not for the thread of a library."""
    a, b = two
    door = Door(b.ticket(0))
    for i in range(200):
        b.ok("publish", 0, f"{i}-" + "x" * 400)
    request = (
        f"GET /v1/agents/b/regions?scope=%s HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {door.members['secret']}\r\n\r\n" % door.members["scope"]
    ).encode()
    for _ in range(30):
        with socket.create_connection((door.host, door.port)) as s:
            s.sendall(request * 40)
            s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                s.recv(1)
    a.expect(0, "b", "kv", seed=2)


def test_a_ticket_may_have_host_names():
    with Tool("-") as a, Tool("-") as b, Tool("-") as c:
        a.agent(0, "a", seed=1)
        b.agent(0, "b", seed=2, listen="localhost:0")
        b.ok("publish", 0, "kv")
        members = opened(b.ticket(0))
        assert members["at"][0].startswith("localhost:") and len(members["at"]) == 2
        assert a.ok("introduce", 0, sealed({**members, "at": members["at"][:1]})) == "met b"
        a.expect(0, "b", "kv", seed=2)
        nobody = "no-such-host.invalid:4000"
        c.agent(0, "c", seed=3)
        answer = c.ask("introduce", 0, sealed({**members, "at": [nobody]}))
        assert answer.startswith("error EHOSTUNREACH") and nobody in answer
        assert c.ok("introduce", 0, sealed({**members, "at": [nobody, *members["at"]]})) == "met b"
        c.expect(0, "b", "kv", seed=2)
        # now that it listens, the name is dialled and not only asked for the way back
        answer = c.ask("introduce", 0, sealed({**members, "alias": "d", "at": [nobody]}))
        assert answer.startswith("error ECONNREFUSED") and "has no address" in answer


@pytest.mark.parametrize("place, sentence", [("::1:0", "brackets"), ("nowhere", "host:port"), ("[::1]:70000", "host:port")])
def test_a_place_to_listen_that_is_none_is_refused_with_its_reason(place, sentence):
    with Tool("-") as a:
        answer = a.ask("agent", 0, "a", "-", 0, place)
        assert answer.startswith("error EINVAL") and sentence in answer and place in answer
