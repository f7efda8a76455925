# SPDX-License-Identifier: BSD-3-Clause
"""Control planes and peers that answer nonsense, lie, repeat themselves, or never end."""

import base64
import contextlib
import http.client
import json
import os
import socket
import threading
import time

import pytest
from agents import DEADLINE_S, Daemon, Tool
from between import Between


def until(what, happened, timeout=20):
    limit = time.monotonic() + timeout
    while not (found := happened()):
        assert time.monotonic() < limit, what
        time.sleep(0.01)
    return found


class Raw:
    """Answers every connection with the same bytes, and hangs up or not."""

    def __init__(self, data, forever=False, hold=False):
        self.data, self.forever, self.hold = data, forever, hold
        self.n = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.held = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listener.accept()
                self.n += 1
                self.held.append(s)
                threading.Thread(target=self.answer, args=(s,), daemon=True).start()

    def answer(self, s):
        with contextlib.suppress(OSError):
            s.recv(65536)
            s.sendall(self.data)
            while self.forever:
                s.sendall(b"x" * 65536)
            if not self.hold:
                s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.close()
        for s in self.held:
            s.close()


@pytest.fixture
def ctrl():
    with Daemon() as daemon:
        yield daemon


@pytest.fixture
def between(ctrl):
    with Between(ctrl) as b:
        yield b


def http_answer(body, head=b"200 OK"):
    return b"HTTP/1.1 " + head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 1000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n",
        http_answer(b""),
        http_answer(b"null"),
        http_answer(b"[]"),
        http_answer(b"{}"),
        http_answer(b'{"alias":7,"incarnation":"x"}'),
        http_answer(b'{"alias":"%s","incarnation":1}' % (b"x" * 600)),
        http_answer(b'{"alias":"a","incarnation":-1}'),
        http_answer(b'{"alias":"a","incarnation":' + b"9" * 50 + b"}"),
        http_answer(b"[" * 100000),
        http_answer(b'{"status":"error","code":7,"message":{}}', b"409 Conflict"),
        http_answer(b"<html>", b"502 Bad Gateway"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 999 No\r\n\r\n",
    ],
)
def test_what_is_no_control_plane_is_an_error_in_time(data):
    with Raw(data) as plane, Tool(plane.url) as a:
        began = time.monotonic()
        answer = a.ask("agent", 0, "a", "-", 0)
        assert answer.startswith("error ") and len(answer) > 25, answer
        assert time.monotonic() - began < 15


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_an_answer_that_never_ends_is_cut(head):
    with Raw(head, forever=True) as plane, Tool(plane.url) as a:
        assert a.ask("agent", 0, "a", "-", 0).startswith("error ")
        assert int(a.ok("stat").split()[1]) < 400 << 10  # KiB


def test_a_control_plane_that_says_nothing_is_waited_for_so_long_only():
    with Raw(b"", hold=True) as plane, Tool(plane.url) as a:
        began = time.monotonic()
        assert a.ask("agent", 0, "a", "-", 0).startswith("error ETIMEDOUT")
        assert 4 < time.monotonic() - began < 20


NONSENSE = [
    b"",
    b"x",
    b"null",
    b"[]",
    b"{}",
    b'{"revision":"x","events":7,"messages":{},"agents":1,"regions":"x","region":[],"next":"a"}',
    b'{"revision":-5,"events":[1,null,{},{"class":1},{"class":"agent","id":"b","change":"put","value":7}],'
    b'"messages":[1,{},{"position":"x"},{"position":-1,"from":"b","from_incarnation":1,"message":[]}],'
    b'"agents":[null,{"alias":1}],"regions":[{}],"region":{"desc":7},"next":7}',
    b'{"region":{"desc":"AAAA","life":"x"},"next":"a","regions":[],"agents":[]}',
]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_control_plane_gone_mad_harms_no_link_and_takes_no_processor(ctrl, between, nonsense):
    with Tool(between.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a")
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        a.ok("events", 0)
        a.ok("connect", 0, "b", "-")
        a.expect(0, "b", "kv", seed=2)
        between.change = lambda method, path, status, body: (200, nonsense)
        for words in (("peers", 0), ("regions", 0, "b"), ("publish", 0, "x"), ("regions", 0, "nobody")):
            a.ask(*words)
        assert a.read(0, "b", "other", 64, timeout_ms=300)[0] != "0"
        cpu, n = int(a.ok("stat").split()[3]), between.n
        time.sleep(1)  # what it does by itself is what is measured
        assert between.n - n < 300 and int(a.ok("stat").split()[3]) - cpu < 700000
        a.expect(0, "b", "kv", seed=2)
        between.change = lambda method, path, status, body: (status, body)
        a.expect(0, "b", "kv", seed=2)


def test_a_list_without_an_end_is_given_up(ctrl, between):
    with Tool(between.url) as a:
        a.agent(0, "a")
        page = json.dumps({"agents": [{"alias": "x"}], "next": "x"}).encode()
        between.change = lambda m, path, s, body: (200, page) if "/v1/agents?" in path else (s, body)
        assert a.ask("peers", 0, timeout=120).startswith("error EPROTO")


@pytest.mark.parametrize(
    "change",
    [
        {"desc": None},
        {"desc": ""},
        {"desc": "!!!!"},
        {"desc": "AAAA"},
        {"desc": base64.b64encode(os.urandom(300)).decode()},
        {"desc": "A" * 100000},
        {"life": "0" * 32},
        {"life": 7},
        {"life": "x" * 1000},
    ],
)
def test_a_lie_about_a_region_reads_nothing(ctrl, between, change):
    with Tool(between.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a")
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        b.ok("publish", 0, "good")

        def lie(method, path, status, body):
            if "/regions/kv" not in path or status != 200:
                return status, body
            body = json.loads(body)
            body["region"].update(change)
            return status, body

        between.change = lie
        a.ok("connect", 0, "b", "-")
        status, seconds = a.read(0, "b", "kv", 64, timeout_ms=500)
        assert seconds < 5
        if "life" not in change or len(str(change["life"])) >= 32:
            assert status != "0"
        assert between.n < 400  # it does not ask again and again as fast as it can
        a.expect(0, "b", "good", seed=2)


class Peer:
    """A peer without an agent: registered, it says what it likes."""

    def __init__(self, ctrl, alias):
        self.ctrl, self.alias, self.seq, self.life = ctrl, alias, 0, "c" * 32
        self.incarnation = self.ask("POST", "/v1/agents", {"alias": alias, "process": {"life": self.life}})[1]["incarnation"]

    def ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.ctrl.port, timeout=60)
        c.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        reply = c.getresponse()
        answer = reply.status, json.loads(reply.read() or b"null")
        c.close()
        return answer

    def say(self, to, *messages):
        return self.ask(
            "POST",
            f"/v1/agents/{to}/mailbox",
            {"from": self.alias, "from_incarnation": self.incarnation, "messages": list(messages)},
        )

    def message(self, type, **more):
        self.seq += 1
        base = {"type": type, "life": self.life, "link": "d" * 32, "attempt": 1, "seq": self.seq}
        call = {"key": "//0/0", "transport": "", "lanes": 0, "depth": 0, "desc": "AAAA"}
        return {**base, **(call if type == "call" else {}), **more}

    def mail(self, wait_ms=0):
        path = f"/v1/agents/{self.alias}/mailbox?incarnation={self.incarnation}&limit=256&wait_ms={wait_ms}"
        return [m["message"] for m in self.ask("GET", path)[1]["messages"]]


def test_descriptions_that_are_garbage_are_refused_and_do_not_tie_up_the_agent(ctrl):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a")
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        evil = Peer(ctrl, "evil")
        for desc in ("AAAA", base64.b64encode(os.urandom(500)).decode(), base64.b64encode(bytes(2048)).decode()):
            for i in range(5):
                evil.say("a", evil.message("call", desc=desc, attempt=i + 1))
        evil.say("a", evil.message("call", desc=7), {}, 7 and {"type": "call"}, evil.message("call", lanes=1 << 40))
        evil.say("a", evil.message("call", transport="no such", link="e" * 32, key="x"))
        until("a refusal", lambda: any(m["type"] == "refuse" for m in evil.mail()))
        a.expect(0, "b", "kv", seed=2)


def test_an_answer_after_a_refusal_of_the_same_call_is_passed_over(ctrl):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a")
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        evil = Peer(ctrl, "evil")
        a.ok("connect", 0, "evil", "-")
        call = until("the call", lambda: [m for m in evil.mail(1000) if m["type"] == "call"])[0]
        mine = {"link": call["link"], "attempt": call["attempt"]}
        evil.say("a", evil.message("refuse", reason="no", **mine), evil.message("answer", desc=call["desc"], **mine))
        until("the next call", lambda: any(m["attempt"] > call["attempt"] for m in evil.mail(1000)))
        a.expect(0, "b", "kv", seed=2)


def test_old_messages_played_again_change_nothing(ctrl, between):
    with Tool(between.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a", seed=1)
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        a.ok("publish", 0, "mine")
        heard = []

        def remember(method, path, status, body):
            if "/v1/agents/a/mailbox" in path and method == "GET" and status == 200:
                answer = json.loads(body)
                fresh = answer["messages"]
                answer["messages"] = heard[-50:] + fresh  # the old ones before the new
                heard.extend(fresh)
                return status, answer
            return status, body

        between.change = remember
        a.ok("connect", 0, "b", "-")
        a.expect(0, "b", "kv", seed=2)
        b.expect(0, "a", "mine", seed=1)
        for _ in range(3):  # messages of links that come and go
            b.ok("connect", 0, "a", "tcp")
            b.ok("wait", 0, "a", 10000)
            b.ok("close", 0, "a")
            a.expect(0, "b", "kv", seed=2)
        assert a.ok("info", 0, "b").split()[1] == "up"


def test_a_flood_of_calls_makes_few_links_and_leaves_the_rest_alone(ctrl):
    with Tool(ctrl.url) as a, Tool(ctrl.url) as b:
        a.agent(0, "a")
        b.agent(0, "b", seed=2)
        b.ok("publish", 0, "kv")
        a.ok("connect", 0, "b", "-")
        a.expect(0, "b", "kv", seed=2)
        evil = Peer(ctrl, "evil")
        before = int(a.ok("stat").split()[2])
        full = 0
        for i in range(40):
            many = [
                evil.message("call", link="%032x" % (i * 64 + k), key=f"k{i}-{k}", transport="tcp")
                for k in range(64)
            ]
            full += evil.say("a", *many)[0] == 429
        a.expect(0, "b", "kv", seed=2)
        assert int(a.ok("stat").split()[2]) - before < 400
        a.ok("flight", 0)
        while a.line() != "ok":
            pass


def test_a_full_mailbox_is_met_with_patience(ctrl):
    with Tool(ctrl.url) as a:
        a.agent(0, "a")
        deaf = Peer(ctrl, "deaf")  # it registers and never reads
        while deaf.say("deaf", *[deaf.message("bye")] * 256)[0] == 200:
            pass
        a.ok("connect", 0, "deaf", "-")
        answer = a.ask("wait", 0, "deaf", 500)
        assert answer.startswith("error ETIMEDOUT") and "deaf" in answer
        # once it reads, the call comes
        path = f"/v1/agents/deaf/mailbox?incarnation={deaf.incarnation}&limit=256&after=1000000&ack=1000000"
        deaf.ask("GET", path)
        until("the call", lambda: any(m["type"] == "call" for m in deaf.mail(1000)))


@pytest.mark.parametrize("name", ["x" * 100000, "a\x7fb"])
def test_a_region_s_name_that_is_none_is_refused(ctrl, name):
    with Tool(ctrl.url) as a:
        a.agent(0, "a")
        assert a.ask("publish", 0, name).startswith("error EINVAL")
        assert a.ask("regions", 0, name).startswith("error EINVAL")


def test_a_name_that_is_not_utf_8_is_refused_with_a_sentence(ctrl):
    with Tool(ctrl.url) as a:
        a.popen.stdin.write(b"agent 0 a\xff\xfe - 0\n")
        answer = a.line()
        assert answer.startswith("error EINVAL") and "UTF-8" in answer


def test_two_processes_that_claim_an_alias_at_once(ctrl):
    with contextlib.ExitStack() as stack:
        tools = [stack.enter_context(Tool(ctrl.url)) for _ in range(6)]
        for t in tools:
            t.say("agent", 0, "same", "-", 0)
        answers = [t.line(DEADLINE_S) for t in tools]
        assert sum(x.startswith("alias same") for x in answers) == 1
        assert sum(x.startswith("error EEXIST") for x in answers) == 5
