# SPDX-License-Identifier: BSD-3-Clause
"""The routes of nanoctrl over the network: what waits, what streams, and what the OpenAPI file says."""

import contextlib
import http.client
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

from nanoctrl_daemon import DEADLINE_S, Daemon, Redis

DOCS = Path(os.environ["DLSLIME_SOURCE"]) / "docs"


@pytest.fixture(params=["sqlite", "redis"])
def daemon(request, tmp_path):
    with contextlib.ExitStack() as stack:
        args, db = [], ":memory:"
        if request.param == "redis":
            db, args = None, ["--redis-url", stack.enter_context(Redis()).url]
        yield stack.enter_context(Daemon(tmp_path, *args, db=db))


def register(daemon, alias, **more):
    answer = daemon.post("/v1/agents", {"alias": alias, **more})
    assert answer.status == 200, answer
    return answer.json["incarnation"]


class Later:
    """A request under way in a thread."""

    def __init__(self, daemon, method, path, body=None):
        self.answer = None
        self.thread = threading.Thread(target=self.run, args=(daemon, method, path, body))
        self.thread.start()

    def run(self, daemon, method, path, body):
        self.answer = daemon.request(method, path, body)
        self.at = time.monotonic()

    def get(self):
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive(), "no answer"
        return self.answer


class Events:
    """An event stream; each event is (id, event, data)."""

    def __init__(self, daemon, path, **headers):
        self.connection = http.client.HTTPConnection(daemon.host, daemon.port, timeout=DEADLINE_S)
        self.connection.request("GET", path, headers={"Accept": "text/event-stream", **headers})
        self.reply = self.connection.getresponse()
        assert self.reply.status == 200
        assert self.reply.getheader("Content-Type") == "text/event-stream"

    def next(self):
        fields = {}
        while True:
            line = self.reply.readline().decode().rstrip("\n")
            assert line or fields or not self.reply.closed
            if not line and "data" in fields:
                return int(fields["id"]), fields["event"], json.loads(fields["data"])
            if ": " in line:
                name, _, value = line.partition(": ")
                fields[name] = value

    def close(self):
        self.reply.close()
        self.connection.close()


def test_expiry_is_seen_within_a_second_of_the_ttl(daemon):
    incarnation = register(daemon, "a", ttl_ms=1000)
    began = time.monotonic()
    watch = Later(daemon, "GET", f"/v1/watch?class=agent&wait_ms=20000&after={incarnation}")
    (event,) = watch.get().json["events"]
    assert (event["change"], event["id"]) == ("expire", "a")
    assert 0.9 < watch.at - began < 2.5


def test_events_stream_and_resume_at_the_last_one_seen(daemon):
    with contextlib.closing(Events(daemon, "/v1/watch?after=0")) as events:
        incarnation = register(daemon, "a")
        last, change, data = events.next()
        assert (change, data["id"], data["value"]["incarnation"]) == ("put", "a", incarnation)
    daemon.post("/register", {"entity_id": "e", "kind": "k"})
    resumed = Events(daemon, "/v1/watch?after=0", **{"Last-Event-ID": str(last)})
    with contextlib.closing(resumed):
        assert resumed.next()[2]["id"] == "e"


def test_events_are_gone_after_a_restart_and_it_says_so(tmp_path):
    with Daemon(tmp_path, db=tmp_path / "db") as daemon:
        register(daemon, "a")
        register(daemon, "b")
        daemon.stop()
    with Daemon(tmp_path, db=tmp_path / "db") as daemon:
        answer = daemon.get("/v1/watch?after=1")
        assert (answer.status, answer.json["code"]) == (410, "ESTALE")
        listed = daemon.get("/v1/agents").json
        assert [a["alias"] for a in listed["agents"]] == ["a", "b"]
        c = register(daemon, "c")
        events = daemon.get(f"/v1/watch?after={listed['revision']}").json
        assert [e["revision"] for e in events["events"]] == [c]


def test_a_message_wakes_the_one_who_reads(daemon):
    a, b = register(daemon, "a"), register(daemon, "b")
    reading = Later(daemon, "GET", f"/v1/agents/b/mailbox?incarnation={b}&wait_ms=20000")
    body = {"from": "a", "from_incarnation": a, "messages": [{"n": 1}, {"n": 2}]}
    sent = daemon.post("/v1/agents/b/mailbox", body)
    assert sent.status == 200
    messages = reading.get().json["messages"]
    assert messages[0]["message"] == {"n": 1} and messages[0]["from"] == "a"
    rest = daemon.get(f"/v1/agents/b/mailbox?incarnation={b}&ack={sent.json['position']}")
    assert rest.json == {"messages": []}


def test_mail_survives_a_restart(tmp_path):
    with Daemon(tmp_path, db=tmp_path / "db") as daemon:
        a, b = register(daemon, "a"), register(daemon, "b")
        body = {"from": "a", "from_incarnation": a, "messages": [{"n": 1}]}
        assert daemon.post("/v1/agents/b/mailbox", body).status == 200
        daemon.popen.kill()
        daemon.popen.wait()
    with Daemon(tmp_path, db=tmp_path / "db") as daemon:
        (message,) = daemon.get(f"/v1/agents/b/mailbox?incarnation={b}").json["messages"]
        assert message["message"] == {"n": 1}


def test_a_lease_goes_to_who_waits_when_its_holder_dies(daemon):
    a, b = register(daemon, "a", ttl_ms=1000), register(daemon, "b")
    held = daemon.post("/v1/leases/l", {"holder": "a", "incarnation": a}).json
    waiting = Later(
        daemon, "POST", "/v1/leases/l", {"holder": "b", "incarnation": b, "wait_ms": 20000}
    )
    taken = waiting.get()
    assert taken.status == 200 and taken.json["fence"] > held["fence"]


def test_sigterm_answers_those_who_wait(daemon):
    b = register(daemon, "b")
    waiting = http.client.HTTPConnection(daemon.host, daemon.port, timeout=DEADLINE_S)
    waiting.request("GET", f"/v1/agents/b/mailbox?incarnation={b}&wait_ms=60000")
    streaming = Events(daemon, "/v1/watch?after=0")  # answered: what was sent before is under way
    assert streaming.next()[2]["id"] == "b"
    assert daemon.stop() == 0
    answer = waiting.getresponse()
    assert (answer.status, json.loads(answer.read())) == (200, {"messages": []})
    assert streaming.reply.read() == b""
    streaming.close()
    waiting.close()


def test_a_hundred_watchers_of_single_agents_hear_of_their_own(daemon):
    names = [f"a{i}" for i in range(100)]
    watches = [Later(daemon, "GET", f"/v1/watch?after=0&of={name}&wait_ms=20000") for name in names]
    for name in names:
        register(daemon, name)
    for name, watch in zip(names, watches):
        assert [e["id"] for e in watch.get().json["events"]] == [name]


def test_a_batch_is_one_request(daemon):
    requests = [
        {"method": "POST", "path": "/v1/agents", "body": {"alias": f"a{i}"}} for i in range(256)
    ]
    responses = daemon.post("/v1/batch", {"requests": requests}).json["responses"]
    assert [r["status"] for r in responses] == [200] * 256
    assert [r["body"]["alias"] for r in responses] == [f"a{i}" for i in range(256)]


def test_4096_regions_are_put_in_one_request(daemon):
    a = register(daemon, "a")
    put = [{"name": f"r{i}", "length": i, "desc": "AAEC" * 50} for i in range(4096)]
    assert daemon.post("/v1/agents/a/regions", {"incarnation": a, "put": put}).status == 200
    more = {"incarnation": a, "put": put, "delete": ["r0"]}
    assert daemon.post("/v1/agents/a/regions", more).status == 422
    names, after = [], ""
    while after is not None:
        page = daemon.get(f"/v1/agents/a/regions?limit=1000&after={after}").json
        names += [r["name"] for r in page["regions"]]
        after = page["next"]
    assert sorted(names) == sorted(r["name"] for r in put)


# --- values that are at the edge of JSON


EDGE = {"text": "x\0y", "more": ["\0", {"": "\0\0"}], "large": 10**30, "small": -(2**63) - 1, "word": 2**63 - 1}
SEEN = {**EDGE, "large": 1e30, "small": -(2.0**63)}


def test_text_with_a_nul_and_large_integers_come_back_wherever_any_value_may_be(daemon):
    entity = {"entity_id": "e", "kind": "k", "endpoint": "x\0y", "metadata": EDGE, "resource": [EDGE]}
    assert daemon.post("/register", entity).status == 200
    for known in (
        daemon.post("/get_entity_info", {"entity_id": "e"}).json["entity_info"],
        daemon.post("/list_entities", {}).json["entities"][0],
        daemon.get("/v1/watch?after=0&class=entity").json["events"][0]["value"],
    ):
        assert (known["endpoint"], known["metadata"], known["resource"]) == ("x\0y", SEEN, [SEEN])
    peer = {"alias": "p", "address": "here", "resource": EDGE}
    assert daemon.post("/start_peer_agent", peer).json["resource"] == SEEN
    assert [p["resource"] for p in daemon.post("/query", {}).json] == [SEEN]
    wish = {"target_peers": ["a", "b"], "min_bw": "1\0Gbps"}
    assert daemon.post("/v1/desired_topology/p", wish).status == 200
    assert daemon.get("/v1/desired_topology/p").json["topology"]["min_bw"] == "1\0Gbps"

    process = {"host_id": "h", "more": EDGE}
    a = register(daemon, "a", resource=EDGE, process=process)
    assert daemon.get("/v1/agents/a").json["agent"]["resource"] == SEEN
    assert daemon.get("/v1/agents/a").json["agent"]["process"] == {**process, "more": SEEN}
    assert daemon.request("PUT", "/v1/agents/a/resource", {"incarnation": a, "resource": {"n": EDGE}}).status == 200
    assert {"n": SEEN} in [r["resource"] for r in daemon.get("/v1/resources").json["resources"]]
    put = [{"name": "r", "more": EDGE}]
    assert daemon.post("/v1/agents/a/regions", {"incarnation": a, "put": put}).status == 200
    assert daemon.get("/v1/agents/a/regions/r").json["region"]["more"] == SEEN
    snapshot = {"schema_version": 1, "more": EDGE}
    assert daemon.request("PUT", "/v1/agents/a/obs", {"incarnation": a, "snapshot": snapshot}).status == 200
    assert daemon.get("/v1/obs").json["snapshots"] == [{**snapshot, "more": SEEN}]
    assert daemon.post("/v1/agents/a/mailbox", {"from": "a", "from_incarnation": a, "messages": [EDGE]}).status == 200
    (message,) = daemon.get(f"/v1/agents/a/mailbox?incarnation={a}").json["messages"]
    assert message["message"] == SEEN
    batch = {"requests": [{"method": "GET", "path": "/v1/agents/a", "body": EDGE}]}
    assert daemon.post("/v1/batch", batch).json["responses"][0]["body"]["agent"]["resource"] == {"n": SEEN}


def test_a_name_with_a_nul_is_refused_and_is_nobody_elses(daemon):
    assert daemon.post("/register", {"entity_id": "e", "kind": "k"}).status == 200
    a = register(daemon, "a")
    assert daemon.post("/v1/leases/l", {"holder": "a", "incarnation": a}).status == 200
    who = {"entity_type": "service", "entity_id": "e", "scope": ""}
    peer = {"alias": "p", "address": "x", "device": "d", "link_type": "l", "name_prefix": "n"}
    region = {"agent_name": "a", "mr_name": "m", "addr": 1, "length": 1, "rkey": 1}
    for path, body, members in [
        ("/register", {**who, "kind": "k"}, "entity_id entity_type kind scope"),
        ("/unregister", who, "entity_id entity_type scope"),
        ("/heartbeat", who, "entity_id entity_type scope"),
        ("/get_entity_info", who, "entity_id entity_type scope"),
        ("/list_entities", {"entity_type": "service", "kind": "k", "scope": ""}, "entity_type kind scope"),
        ("/start_peer_agent", peer, "alias address device link_type name_prefix"),
        ("/query", {"scope": ""}, "scope"),
        ("/cleanup", {"agent_name": "a"}, "agent_name"),
        ("/register_mr", region, "agent_name mr_name"),
        ("/get_mr_info", {"src": "a", "dst": "a", "mr_name": "m"}, "src dst mr_name"),
        ("/v1/agents", {"alias": "b", "name_prefix": "n", "address": "x"}, "alias name_prefix address"),
        ("/v1/agents/a/mailbox", {"from": "a", "from_incarnation": a, "messages": [{}]}, "from"),
        ("/v1/leases/l", {"holder": "a", "incarnation": a}, "holder"),
    ]:
        for member in members.split():
            answer = daemon.post(path, {**body, member: body[member] + "\0x"})
            assert answer.status == 422 and f"'{member}' has a NUL in it" in answer.body.decode(), (path, member, answer)
    for path, body in [
        ("/v1/desired_topology/a", {"target_peers": ["a", "b\0x"]}),
        ("/v1/agents/a/regions", {"incarnation": a, "put": [{"name": "m\0x"}]}),
        ("/v1/agents/a/regions", {"incarnation": a, "put": [{"name": "m", "desc": "AAAA\0"}]}),
        ("/v1/agents/a/regions", {"incarnation": a, "delete": ["m\0x"]}),
        ("/v1/agents", {"process": {"host_id": "h\0x"}}),
        ("/v1/batch", {"requests": [{"method": "GET\0x", "path": "/v1/agents"}]}),
        ("/v1/batch", {"requests": [{"method": "GET", "path": "/v1/agents\0x"}]}),
    ]:
        assert daemon.post(path, body).status == 422, (path, body)
    for method, path in (("DELETE", f"/v1/agents/a%00x?incarnation={a}"), ("GET", "/v1/agents?scope=a%00b")):
        assert daemon.request(method, path).status == 400
    # All of it changed nothing.
    assert [e["id"] for e in daemon.post("/list_entities", {}).json["entities"]] == ["e"]
    assert [e["alias"] for e in daemon.get("/v1/agents").json["agents"]] == ["a"]
    assert daemon.get("/v1/agents/a/regions").json["regions"] == []
    assert daemon.get("/v1/leases").json["leases"][0]["holder"] == "a"
    assert daemon.get("/v1/desired_topology/a").status == 404


def test_the_name_of_a_member_with_a_nul_in_it_is_refused_with_a_sentence(daemon):
    for path, body in (("/register", {"entity_id": "e", "kind": "k"}), ("/v1/agents", {"alias": "a"})):
        for more in ({"x\0y": 1}, {"metadata": {"deep": [{"\0": 1}]}}):
            answer = daemon.post(path, {**body, **more})
            assert answer.status == 422 and "the name of a member has U+0000 in it" in answer.body.decode()
    assert daemon.post("/list_entities", {}).json["entities"] == []


def test_a_number_that_no_double_holds_is_400(daemon):
    for number in ("1e400", "-1e400", "9" * 400, "-" + "9" * 400):
        body = b'{"entity_id":"e","kind":"k","metadata":[%s]}' % number.encode()
        answer = daemon.post("/register", body)
        assert answer.status == 400 and "overflow" in answer.body.decode(), answer


def test_a_body_may_have_127_levels(daemon):
    for path, body, member in (("/register", {"entity_id": "e", "kind": "k"}, "metadata"), ("/v1/agents", {}, "resource")):
        for levels, status in ((127, 200), (128, 400), (2000, 400)):
            deep = json.dumps({**body, member: {"x": "HERE"}}).replace('"HERE"', "[" * (levels - 2) + "]" * (levels - 2))
            assert daemon.post(path, deep.encode()).status == status, (path, levels)


def test_an_integer_may_be_written_with_a_point(daemon):
    made = daemon.post("/v1/agents", b'{"alias":"a","ttl_ms":2e4}').json
    assert made["ttl_ms"] == 20000
    body = b'{"incarnation":%d.0,"obs":{"schema_version":1.0}}' % made["incarnation"]
    assert daemon.post("/v1/agents/a/renew", body).status == 200
    for number in (b"1.5", b"18446744073709551616", b"true"):
        answer = daemon.post("/v1/agents/a/renew", b'{"incarnation":%s}' % number)
        assert answer.status == 422 and "must be an integer from 1" in answer.json["message"]


def test_a_wish_that_somebody_else_wrote_into_redis_tells_nobody_of_another_name(tmp_path):
    with Redis() as redis, Daemon(tmp_path, "--redis-url", redis.url, db=None) as d:
        assert d.post("/start_peer_agent", {"alias": "a", "address": "x"}).status == 200
        for agent in "af":
            assert d.post(f"/v1/desired_topology/{agent}", {"target_peers": []}).status == 200
        redis.set("spec:topology:a", json.dumps({"target_peers": ["b\0c", "d"]}))
        redis.set("spec:topology:f", json.dumps({"target_peers": ["a\0c"]}))
        assert d.post("/cleanup", {"agent_name": "a"}).status == 200
        exist = {name: redis.command("EXISTS", f"inbox:{name}") for name in "bdf"}
        assert exist == {"b": b":0\r\n", "d": b":1\r\n", "f": b":0\r\n"}


# --- what is written of it


def test_the_openapi_file_has_every_route_and_no_other():
    documented = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, operations in json.loads((DOCS / "openapi.json").read_text())["paths"].items()
        for method in operations
    }
    tables = Path(os.environ["DLSLIME_SOURCE"]) / "cmd" / "nanoctrl"
    text = "".join((tables / f"routes_{t}.c").read_text() for t in ("compat", "v1", "ops"))
    text = text.replace('AGENT "', '"/v1/agents/{alias}').replace("AGENT,", '"/v1/agents/{alias}",')
    text = text.replace('LEASE "', '"/v1/leases/{name}').replace("LEASE,", '"/v1/leases/{name}",')
    written = {
        (method, re.sub(r"\{\w+\}", "{}", path))
        for method, path in re.findall(r'\{"([A-Z]+)", "([^"]+)", RIGHT_', text)
    }
    assert written and documented == written
