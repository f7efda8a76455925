# SPDX-License-Identifier: BSD-3-Clause
"""nanoctrl where the machine around it has an edge: a disk that is full, a file that is damaged, a clock that jumps, the limit
of a scope, a terminal, another daemon."""

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import pty
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from nanoctrl_daemon import BIN, DEADLINE_S, Daemon, Redis, free_port, wait_until

SANITIZED = bool(os.environ.get("DLSLIME_SANITIZE"))
KIB = 1024
INFINITY = resource.RLIM_INFINITY


# --- the disk


def test_a_full_disk_is_507_and_the_old_state_stays(tmp_path):
    large = {"entity_id": "large", "kind": "k", "metadata": {"x": "y" * 1000 * KIB}}
    args = {"db": tmp_path / "db", "restore_signals": False}  # SIGXFSZ stays ignored, as it is here
    with Daemon(tmp_path, "--log-level", "warn", **args) as d:
        assert d.post("/register", {"entity_id": "old", "kind": "k"}).status == 200
        resource.prlimit(d.pid, resource.RLIMIT_FSIZE, (256 * KIB, INFINITY))
        for _ in range(3):
            answer = d.post("/register", large)
            assert answer.status == 507 and "db" in answer.json["message"], answer
        assert d.post("/get_entity_info", {"entity_id": "large"}).json["status"] == "not_found"
        assert d.post("/get_entity_info", {"entity_id": "old"}).json["status"] == "ok"
        assert d.post("/heartbeat", {"entity_type": "service", "entity_id": "old"}).json["status"] == "ok"
        resource.prlimit(d.pid, resource.RLIMIT_FSIZE, (INFINITY, INFINITY))
        assert d.post("/register", large).status == 200
    with Daemon(tmp_path, **args) as d:
        assert {e["entity_id"] for e in d.post("/list_entities", {}).json["entities"]} == {"old", "large"}


def test_a_damaged_file_is_refused_by_name(tmp_path):
    db = tmp_path / "the.db"
    with Daemon(tmp_path, db=db) as d:
        for n in range(100):
            assert d.post("/register", {"entity_id": f"e{n}", "kind": "k", "metadata": {"x": "y" * 500}}).status == 200
        assert d.stop() == 0
    whole = db.read_bytes()
    nonsense = b"\xff" * 4096
    for damaged in (b"no database at all" * 100, whole[: len(whole) // 2 - 100], whole[:4096] + nonsense + whole[8192:], whole[:-4096] + nonsense):
        db.write_bytes(damaged)
        with pytest.raises(AssertionError, match=re.escape(str(db))):
            Daemon(tmp_path, db=db).__exit__()
        assert db.read_bytes() == damaged
    db.write_bytes(whole)
    with Daemon(tmp_path, db=db) as d:
        assert len(d.post("/list_entities", {}).json["entities"]) == 100


# --- the clock

CLOCK = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static const volatile long *ahead;
__attribute__((constructor)) static void begin(void)
{
	int fd = open(getenv("CLOCK_AHEAD"), O_RDONLY | O_CLOEXEC);
	void *at = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
	ahead = at == MAP_FAILED ? NULL : at;
	close(fd);
}
int clock_gettime(clockid_t clock, struct timespec *out)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, out);
	if (clock == CLOCK_REALTIME && ahead)
		out->tv_sec += *ahead;
	return rc;
}
time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
"""


@pytest.mark.skipif(SANITIZED, reason="a library that is loaded before it comes before the sanitizer's")
def test_a_clock_that_jumps_expires_nobody_and_keeps_nobody(tmp_path):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler here to make a clock that jumps")
    (tmp_path / "clock.c").write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "clock.so", tmp_path / "clock.c"], check=True)
    (tmp_path / "ahead").write_bytes(bytes(ctypes.sizeof(ctypes.c_long)))
    env = {"LD_PRELOAD": str(tmp_path / "clock.so"), "CLOCK_AHEAD": str(tmp_path / "ahead")}
    with open(tmp_path / "ahead", "r+b") as file, Daemon(tmp_path, env=env) as d:
        ahead = mmap.mmap(file.fileno(), 0)
        assert d.post("/v1/agents", {"alias": "short", "ttl_ms": 2000}).status == 200
        began = time.monotonic()
        assert d.post("/v1/agents", {"alias": "long", "ttl_ms": 600_000}).status == 200
        day = 86_400
        for jump in (3 * day, -3 * day, 0):
            ahead[:] = struct.pack("l", jump)
            assert d.post("/v1/agents", {"alias": f"at{jump}", "ttl_ms": 600_000}).status == 200
            said = d.get(f"/v1/agents/at{jump}").json["agent"]["registered_at_ms"] / 1000 - time.time()
            assert abs(said - jump) < 60, "the daemon's clock did not jump"
            assert d.get("/v1/agents/long").status == 200
        # It goes when its time is over, whatever the clock says meanwhile.
        ahead[:] = struct.pack("l", -3 * day)
        wait_until("the one of two seconds to expire", lambda: d.get("/v1/agents/short").status == 404)
        assert time.monotonic() - began > 1.9
        assert {a["alias"] for a in d.get("/v1/agents").json["agents"]} == {"long", f"at{3 * day}", f"at{-3 * day}", "at0"}


# --- the name server

NAMES = """
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
	while (!(hints->ai_flags & AI_NUMERICHOST) && !access(getenv("NAMES_SLOW"), F_OK)) {
		close(open(getenv("NAMES_ASKED"), O_CREAT | O_WRONLY, 0600));
		poll(NULL, 0, 10);
	}
	return real(host, port, hints, out);
}
"""


@pytest.mark.skipif(SANITIZED, reason="a library that is loaded before it comes before the sanitizer's")
def test_a_name_server_that_does_not_answer_holds_nobody_up(tmp_path):
    compiler = shutil.which("cc")
    if not compiler or not shutil.which("redis-server"):
        pytest.skip("there is no C compiler or no redis-server here")
    (tmp_path / "names.c").write_text(NAMES)
    subprocess.run([compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", tmp_path / "names.so", tmp_path / "names.c"], check=True)
    slow, asked, port = tmp_path / "slow", tmp_path / "asked", free_port()
    env = {"LD_PRELOAD": str(tmp_path / "names.so"), "NAMES_SLOW": str(slow), "NAMES_ASKED": str(asked)}

    def redis():
        args = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
        return subprocess.Popen(args, stdout=subprocess.DEVNULL)

    def answers():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True

    server = redis()
    try:
        wait_until("Redis", answers)
        with Daemon(tmp_path, "--redis-url", f"redis://localhost:{port}", db=None, env=env) as d:
            slow.touch()
            server.kill()
            server.wait()
            wait_until("the name to be looked up again", asked.exists)
            for path, status in (("/healthz", 200), ("/readyz", 503), ("/v1/agents", 503)) * 3:
                assert d.request("GET", path, timeout=5).status == status
            server = redis()
            slow.unlink()
            wait_until("it to be back", lambda: d.get("/readyz").status == 200)
            assert d.stop() == 0
    finally:
        server.kill()
        server.wait()


# --- the limits of a scope


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_each_scope_has_its_limit(tmp_path, store):
    tokens = [
        {"name": name, "token": f"{name}-0123456789abcdef", "rights": ["register"], "scopes": [name]} for name in ("one", "two")
    ]
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"tokens": tokens}))
    path.chmod(0o600)
    limits = ["--token-file", path, "--max-records", 5, "--max-box-messages", 3, "--max-box-bytes", 2000]

    def ask(d, scope, method, route, body=None):
        return d.request(method, route, body, {"Authorization": f"Bearer {scope}-0123456789abcdef"})

    def try_all(d):
        def entity(scope, name):
            return ask(d, scope, "POST", "/register", {"entity_id": name, "kind": "k", "scope": scope})

        made = ask(d, "one", "POST", "/v1/agents?scope=one", {"alias": "a", "ttl_ms": 60_000})
        assert made.status == 200, made
        assert [entity("one", f"e{n}").status for n in range(6)] == [200] * 4 + [429] * 2
        assert "5 records" in entity("one", "another").json["message"]
        full = ask(d, "one", "POST", "/v1/agents?scope=one", {"alias": "b"})
        assert full.status == 429 and full.json["code"] == "EDQUOT", full
        topology = {"target_peers": ["a"], "scope": "one"}
        assert ask(d, "one", "POST", "/v1/desired_topology/a", topology).status == 429
        assert entity("one", "e0").status == 200  # what is there may be changed
        assert entity("two", "e0").status == 200  # and others have room of their own
        assert ask(d, "one", "POST", "/unregister", {"entity_id": "e0", "scope": "one"}).status == 200
        assert entity("one", "another").status == 200
        # Its mailbox has limits, too, until what is in there is read.
        box = "/v1/agents/a/mailbox?scope=one"
        me = {"from": "a", "from_incarnation": made.json["incarnation"]}
        send = lambda *messages: ask(d, "one", "POST", box, {**me, "messages": list(messages)})  # noqa: E731
        assert send({"x": "y" * 3000}).status == 429
        sent = [send({"n": n}) for n in range(4)]
        assert [s.status for s in sent] == [200] * 3 + [429], sent
        assert sent[3].json["code"] == "ENOSPC" and sent[3].headers["Retry-After"]
        position = sent[2].json["position"]
        got = ask(d, "one", "GET", f"{box}&incarnation={me['from_incarnation']}&ack={position}&after={position}")
        assert got.json["messages"] == []
        assert send({"n": 5}).status == 200

    if store == "sqlite":
        with Daemon(tmp_path, *limits) as d:
            try_all(d)
    else:
        with Redis() as redis, Daemon(tmp_path, "--redis-url", redis.url, *limits, db=None) as d:
            try_all(d)


# --- a terminal


def test_top_lives_in_a_terminal_until_q(tmp_path):
    with Daemon(tmp_path) as d:
        made = d.post("/v1/agents", {"alias": "someone", "ttl_ms": 60_000}).json
        obs = {"schema_version": 1, "session_id": "s", "peer_id": "someone", "host": "here", "summary": {"batch_total": 1}}

        def report(batches):
            obs["summary"]["batch_total"] = batches
            obs["reported_at_ms"] = int(time.time() * 1000)
            body = {"incarnation": made["incarnation"], "obs": obs}
            assert d.post("/v1/agents/someone/renew", body).status == 200

        report(1)
        def rate():
            """What the last frame has in the column OPS/S, if it is whole."""
            frame = shown.rpartition(b"\x1b[2J")[2].decode(errors="replace")
            line = next((line for line in frame.splitlines() if "someone" in line), "")
            cells = [cell.strip() for cell in re.split("[│┆]", line)]
            return int(cells[7]) if len(cells) == 12 and cells[7].isdigit() else 0

        screen, terminal = pty.openpty()
        top = subprocess.Popen(
            [BIN / "nanoctrl", "top", "--address", f"127.0.0.1:{d.port}", "--interval", "0.1"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        try:
            shown, batches = b"", 1
            until = time.monotonic() + DEADLINE_S
            # Until it has looked twice, with batches between the looks.
            while not rate():
                assert time.monotonic() < until, shown
                batches += 1000
                report(batches)
                if select.select([screen], [], [], 0.1)[0]:
                    shown += os.read(screen, 65536)
            assert shown.startswith(b"\x1b[?1049h\x1b[?25l")
            os.write(screen, b"q")
            while not shown.endswith(b"\x1b[?25h\x1b[?1049l"):
                assert time.monotonic() < until, shown
                if select.select([screen], [], [], 0.1)[0]:
                    shown += os.read(screen, 65536)
            assert top.wait(DEADLINE_S) == 0
        finally:
            top.kill()
            top.wait()
            os.close(screen)


@pytest.mark.parametrize("columns, rows", [(20, 24), (200, 8), (20, 8), (1, 1)])
def test_top_keeps_to_its_terminal(tmp_path, columns, rows):
    with Daemon(tmp_path) as d:
        for name in ("first", "second", "third", "fourth"):
            made = d.post("/v1/agents", {"alias": name}).json
            obs = {"schema_version": 1, "peer_id": name, "reported_at_ms": int(time.time() * 1000)}
            assert d.post(f"/v1/agents/{name}/renew", {"incarnation": made["incarnation"], "obs": obs}).status == 200
        screen, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        where = ["--address", f"127.0.0.1:{d.port}", "--interval", "0.1"]
        top = subprocess.Popen([BIN / "nanoctrl", "top", *where], stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        try:
            shown, until = b"", time.monotonic() + DEADLINE_S
            while shown.count(b"\x1b[2J") < 2:
                assert time.monotonic() < until, shown
                if select.select([screen], [], [], 0.1)[0]:
                    shown += os.read(screen, 65536)
        finally:
            top.kill()
            top.wait()
            os.close(screen)
        lines = shown.split(b"\x1b[2J")[1].removesuffix(b"\x1b[H").decode().split("\r\n")
        whole = 12  # what it has to say
        assert len(lines) == min(rows, whole) and all(len(line) <= columns for line in lines)
        if rows < whole:
            assert lines[-1] == f"{whole - rows + 1} more lines"[:columns]
        if rows > 2:
            assert lines[0] == "4 agents, 0bps" and lines[2].startswith("│ AGENT  ┆ HOST"[:columns])


# --- another daemon


def test_two_daemons_on_one_redis_are_one_to_their_clients(tmp_path):
    with Redis() as redis:
        start = lambda: Daemon(tmp_path, "--redis-url", redis.url, db=None)  # noqa: E731
        with start() as a, start() as b:
            assert a.post("/register", {"entity_id": "e", "kind": "k", "scope": "s"}).status == 200
            assert b.post("/heartbeat", {"entity_type": "service", "entity_id": "e", "scope": "s"}).json["status"] == "ok"
            (entity,) = b.post("/list_entities", {"kind": "k", "scope": "s"}).json["entities"]
            assert entity["entity_id"] == "e"
            assert a.post("/start_peer_agent", {"alias": "x", "address": "1.2.3.4"}).status == 200
            assert b.post("/start_peer_agent", {"alias": "x", "address": "1.2.3.4"}).status == 409
            numbered = [d.post("/start_peer_agent", {"address": "1.2.3.4"}).json["name"] for d in (a, b, a, b)]
            assert numbered == ["agent-1", "agent-2", "agent-3", "agent-4"]
            made = b.post("/v1/agents", {"alias": "y"}).json
            watched = a.get(f"/v1/watch?after={made['revision'] - 1}&class=agent&of=y&wait_ms=10000").json["events"]
            assert [(e["id"], e["change"], e["revision"]) for e in watched] == [("y", "put", made["revision"])]
            me = {"from": "y", "from_incarnation": made["incarnation"], "messages": [{"n": 1}]}
            assert a.post("/v1/agents/y/mailbox", me).status == 200
            (mail,) = b.get(f"/v1/agents/y/mailbox?incarnation={made['incarnation']}&wait_ms=10000").json["messages"]
            assert mail["message"] == {"n": 1}
            a.signal(signal.SIGKILL)
            a.popen.wait()
            assert b.post("/get_entity_info", {"entity_id": "e", "scope": "s"}).json["status"] == "ok"
            assert b.post("/unregister", {"entity_id": "e", "scope": "s"}).status == 200
        with start() as c:
            assert c.post("/list_entities", {"scope": "s"}).json["entities"] == []
            assert c.get("/v1/agents/y").json["agent"]["incarnation"] == made["incarnation"]
