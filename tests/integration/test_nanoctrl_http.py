# SPDX-License-Identifier: BSD-3-Clause
"""nanoctrl and HTTP: what is said right, and everything that can be said wrong."""

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import time

import pytest
from nanoctrl_daemon import (
    BEAT,
    DEADLINE_S,
    ENTITY,
    GET,
    Daemon,
    ask,
    post,
    read_all,
    read_answer,
    statuses,
    wait_until,
)

SANITIZED = bool(os.environ.get("DLSLIME_SANITIZE"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    directory = tmp_path_factory.mktemp("daemon")
    with Daemon(directory, "--request-timeout", 2, "--idle-timeout", 3600) as d:
        yield d
        assert d.alive()
        assert d.stop() == 0


# --- what is said right


def test_the_root_says_what_the_reference_says(daemon):
    answer = daemon.get("/")
    assert (answer.status, answer.body) == (200, b"NanoCtrl Server Running")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Date"].endswith("GMT")


def test_head_is_get_without_the_body(daemon):
    answer = daemon.request("HEAD", "/")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == "23"


def test_a_connection_is_kept(daemon):
    connection = http.client.HTTPConnection(daemon.host, daemon.port)
    with contextlib.closing(connection):
        ask(connection, "GET", "/")
        local = connection.sock.getsockname()
        for _ in range(10):
            assert ask(connection, "POST", "/register", ENTITY).status == 200
        assert connection.sock.getsockname() == local


def test_http_1_0_closes_unless_asked_otherwise(daemon):
    assert b"Connection: close" in daemon.raw(b"GET / HTTP/1.0\r\n\r\n")
    with daemon.connect() as s:
        for _ in range(3):
            s.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert read_answer(s)[0] == 200


def test_connection_close_is_obeyed(daemon):
    assert statuses(daemon.raw(GET[:-2] + b"Connection: close\r\n\r\n" + GET)) == [200]


def test_pipelined_requests_are_answered_in_order(daemon):
    bodies = [json.dumps({"entity_id": f"p:{i}", "kind": "k"}).encode() for i in range(50)]
    requests = [post("/register", b, f"Content-Length: {len(b)}") for b in bodies]
    with daemon.connect() as s:
        s.sendall(b"".join(requests))
        rest = b""
        for i in range(50):
            status, body, rest = read_answer(s, rest)
            assert status == 200 and f"service:p:{i} " in body.decode()


def test_a_request_may_arrive_byte_by_byte(daemon):
    body = json.dumps(ENTITY).encode()
    with daemon.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post("/register", body, f"Content-Length: {len(body)}"):
            s.sendall(bytes([byte]))
        assert read_answer(s)[0] == 200


def test_a_chunked_body_is_taken(daemon):
    body = json.dumps(ENTITY).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:]))
    with daemon.connect() as s:
        s.sendall(post("/register", chunks + b"0\r\nTrailer: x\r\n\r\n", "Transfer-Encoding: chunked"))
        assert read_answer(s)[0] == 200


def test_who_expects_100_continue_gets_it(daemon):
    body = json.dumps(ENTITY).encode()
    with daemon.connect() as s:
        s.sendall(post("/register", b"", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(body)
        assert read_answer(s)[0] == 200


def test_who_expects_100_continue_for_nothing_is_told_at_once(daemon):
    wrong = post("/nowhere", b"", "Content-Length: 100", "Expect: 100-continue")
    assert statuses(daemon.raw(wrong)) == [404]
    assert statuses(daemon.raw(post("/register", b"", "Content-Length: 9", "Expect: a-tip"))) == [417]


def test_the_target_may_name_the_host(daemon):
    with daemon.connect() as s:
        s.sendall(b"GET http://some.host:80/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(s)[:2] == (200, b"ok\n")


def test_an_offered_upgrade_is_not_taken(daemon):
    with daemon.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert read_answer(s)[0] == 200
        s.sendall(GET)
        assert read_answer(s)[0] == 200


def test_who_stops_sending_is_still_answered(daemon):
    with daemon.connect() as s:
        s.sendall(GET + GET)
        s.shutdown(socket.SHUT_WR)
        assert statuses(read_all(s)) == [200, 200]


# --- what is said wrong


@pytest.mark.parametrize(
    "status, request_",
    [
        (501, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        (501, b"hello\r\n\r\n"),
        (501, b"QUERY x HTTP/1.1\r\nHost: x\r\n\r\n"),
        (501, b"QUE:RY / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (501, b"Q" * 40 + b" / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost : x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
        (400, post("/register", b"{}", "Content-Length: 2", "Content-Length: 20")),
        (400, post("/register", b"{}", "Content-Length: 2", "Content-Length: 2")),
        (400, post("/register", b"{}", "Content-Length: 2, 20")),
        (400, post("/register", b"{}", "Content-Length: -2")),
        (400, post("/register", b"{}", "Content-Length: 0x2")),
        (400, post("/register", b"{}", "Content-Length: 99999999999999999999")),
        (400, post("/register", b"0\r\n\r\n", "Content-Length: 2", "Transfer-Encoding: chunked")),
        (400, post("/register", b"0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 2")),
        (400, post("/register", b"{}", "Transfer-Encoding: gzip")),
        (400, post("/register", b"zz\r\n", "Transfer-Encoding: chunked")),
        (413, post("/register", b"", "Content-Length: 2097153")),
        (413, post("/register", b"", "Content-Length: 9223372036854775807")),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20000 + b"\r\n\r\n"),
        (431, b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100 + b"\r\n"),
        (505, b"GET /\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, bytes) else str(value),
)
def test_what_is_not_http_is_refused_and_the_connection_ends(daemon, status, request_):
    answer = daemon.raw(request_)
    assert statuses(answer) == [status], answer
    assert answer.split(b"\r\n\r\n", 1)[1].strip(), "it should say why"


@pytest.mark.parametrize("path", ["/%zz", "/%4", "/%", "/%00", "/%ff", "/%ed%a0%80", "/v1/agents?after=%c0%80"])
def test_a_path_that_cannot_be_decoded_is_400_and_says_why(daemon, path):
    answer = daemon.get(path)
    assert answer.status == 400 and answer.body


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_a_wrong_method_is_told_the_right_one(daemon, method):
    answer = daemon.request(method, "/register")
    assert (answer.status, answer.headers["Allow"], answer.body) == (405, "POST", b"")


def test_a_method_that_nobody_knows_is_a_wrong_one(daemon):
    body = b"Content-Length: 2\r\n\r\n{}"
    requests = [
        b"QUERY /register HTTP/1.1\r\nHost: x\r\n" + body,
        b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"X-YZ /no/such/path HTTP/1.1\r\nHost: x\r\n\r\n",
        b"QUERY /heartbeat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ]
    answer = daemon.raw(b"".join(requests))
    assert statuses(answer) == [405, 405, 404, 405]  # and the connection goes on
    assert answer.count(b"Allow: POST\r\n") == 2 and answer.count(b"Allow: GET,HEAD\r\n") == 1


def test_a_path_with_two_methods_allows_both(daemon):
    answer = daemon.request("DELETE", "/v1/desired_topology/a")
    assert answer.status == 405
    assert sorted(answer.headers["Allow"].split(",")) == ["GET", "HEAD", "POST"]


@pytest.mark.parametrize("path", ["/nope", "/register/", "//register", "/register/x", "/a/b/c/d/e/f/g/h/i/j/k", "*"])
def test_an_unknown_path_is_an_empty_404(daemon, path):
    answer = daemon.request("POST", path, b"{}")
    assert (answer.status, answer.body) == (404, b"")


def test_an_unknown_path_of_ours_is_a_404_in_json(daemon):
    answer = daemon.get("/v1/nope")
    assert answer.status == 404 and answer.json["code"] == "ENOENT"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json", "application/"]
)
def test_a_body_of_another_type_is_415(daemon, kind):
    for path in ("/register", "/v1/agents"):
        assert daemon.post(path, b"{}", headers={"Content-Type": kind}).status == 415


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
def test_json_has_several_names(daemon, kind):
    assert daemon.post("/register", ENTITY, headers={"Content-Type": kind}).status == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"entity_id":}', b"{'a':1}", b"\xff", b'"\xc3"', b"[" * 100_000, b"{" * 5000, b'{"a":1e999}', b"nul"],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_not_json_is_400(daemon, body):
    answer = daemon.post("/register", body)
    assert answer.status == 400 and answer.headers["Content-Type"].startswith("text/plain")
    answer = daemon.post("/v1/agents", body)
    assert answer.status == 400 and answer.json["code"] == "EINVAL"


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"x"', b"true"])
def test_json_that_is_no_object_is_422(daemon, body):
    assert daemon.post("/register", body).status == 422
    assert daemon.post("/v1/agents", body).json["code"] == "EINVAL"


def test_a_body_just_below_the_limit_is_looked_at_and_one_above_is_not(daemon):
    assert daemon.post("/register", b" " * 2097152).status == 400
    answer = daemon.raw(post("/register", b" " * 2097153, "Content-Length: 2097153"))
    assert statuses(answer) == [413]


def test_a_chunked_body_above_the_limit_is_cut_off(daemon):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with daemon.connect() as s:
        s.sendall(post("/register", b"", "Transfer-Encoding: chunked"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(64):
                s.sendall(chunk)
        assert statuses(read_all(s)) == [413]


def test_a_body_that_nobody_wants_is_skipped(daemon):
    with daemon.connect() as s:
        s.sendall(post("/nowhere", b"x" * 1000, "Content-Length: 1000") + GET)
        status, _, rest = read_answer(s)
        assert status == 404
        assert read_answer(s, rest)[0] == 200


def test_half_a_request_is_given_up(daemon):
    for part in (b"G", b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Le", post("/register", b"{", "Content-Length: 9")):
        begin = time.monotonic()
        assert statuses(daemon.raw(part)) == [408]
        assert 1.5 < time.monotonic() - begin < 20


def test_a_request_that_drips_has_one_deadline(daemon):
    begin = time.monotonic()
    with daemon.connect() as s:
        s.settimeout(0.2)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 1000:
                s.sendall(bytes([byte]))
                try:
                    if not s.recv(1000):
                        break
                except TimeoutError:
                    pass
                assert time.monotonic() - begin < 20
    assert time.monotonic() - begin > 1.5


def test_ends_in_the_middle_harm_nobody(daemon):
    request = post("/register", json.dumps(ENTITY).encode(), "Content-Length: 100")
    for n in range(0, len(request), 7):
        with daemon.connect() as s:
            s.sendall(request[:n])
            if n % 2:  # a reset instead of an end
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert daemon.alive()


def test_random_bytes_harm_nobody(daemon):
    for _ in range(100):
        with daemon.connect() as s, contextlib.suppress(OSError):
            s.sendall(os.urandom(500))
            s.shutdown(socket.SHUT_WR)
            read_all(s)
    assert daemon.alive()


def test_who_asks_much_and_reads_nothing_is_not_answered_without_bound(daemon):
    for i in range(200):
        daemon.post("/register", {"entity_id": f"big:{i}", "kind": "big", "metadata": {"x": "y" * 5000}})
    request = post("/list_entities", b'{"kind":"big"}', "Content-Length: 14")
    with daemon.connect() as s:
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(10_000):
                s.sendall(request)
        assert daemon.alive()
        memory = int(open(f"/proc/{daemon.pid}/statm").read().split()[1]) * resource.getpagesize()
        assert memory < (1 << 30 if SANITIZED else 100 << 20)


def test_a_client_that_stops_reading_loses_its_connection(tmp_path):
    with Daemon(tmp_path, "--request-timeout", 1) as d:
        for i in range(100):
            d.post("/register", {"entity_id": f"big:{i}", "kind": "big", "metadata": {"x": "y" * 50000}})
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect((d.host, d.port))
            s.sendall(post("/list_entities", b"{}", "Content-Length: 2"))
            wait_until("it to be given up", lambda: metric(d, "connections") == 1)


# --- many of them


def metric(daemon, name):
    for line in daemon.get("/metrics").body.decode().splitlines():
        if line.startswith(f"nanoctrl_{name} "):
            return int(line.split()[1])
    raise AssertionError(f"no metric {name}")


def test_nobody_notices_ten_thousand_idle_connections(tmp_path):
    wanted = 2000 if SANITIZED else 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted + 200:
        pytest.skip(f"this process may have only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + 200, hard))
    try:
        with Daemon(tmp_path) as d, contextlib.ExitStack() as stack:
            for i in range(wanted):
                s = stack.enter_context(socket.socket())
                s.connect((d.host, d.port))
                if i % 2:  # half of them in the middle of a request
                    s.send(b"GET / HT")
            d.post("/register", ENTITY)
            connection = http.client.HTTPConnection(d.host, d.port)
            with contextlib.closing(connection):
                times = []
                for _ in range(200):
                    begin = time.monotonic()
                    assert ask(connection, "POST", "/heartbeat", BEAT).status == 200
                    times.append(time.monotonic() - begin)
            assert metric(d, "connections") >= wanted
            assert sorted(times)[len(times) // 2] < 0.01
            memory = int(open(f"/proc/{d.pid}/statm").read().split()[1]) * resource.getpagesize()
            assert SANITIZED or memory < 64 << 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_at_the_limit_the_one_that_was_idle_longest_goes(tmp_path):
    with Daemon(tmp_path, "--connection-limit", 10) as d, contextlib.ExitStack() as stack:
        idle = []
        for _ in range(10):
            s = stack.enter_context(d.connect())
            s.sendall(GET)
            read_answer(s)
            idle.append(s)
        idle[0].sendall(GET)  # no longer the oldest
        read_answer(idle[0])
        late = stack.enter_context(d.connect())
        late.sendall(GET)
        assert read_answer(late)[0] == 200
        assert idle[1].recv(1) == b""
        idle[0].sendall(GET)
        assert read_answer(idle[0])[0] == 200


def test_when_all_are_busy_a_new_one_is_turned_away(tmp_path):
    with Daemon(tmp_path, "--connection-limit", 3) as d, contextlib.ExitStack() as stack:
        for _ in range(3):
            s = stack.enter_context(d.connect())
            s.sendall(GET + b"GET /v1/watch?wait_ms=20000 HTTP/1.1\r\nHost: x\r\n\r\n")
            read_answer(s)  # so the watch, in the same bytes, has begun
        assert statuses(d.raw(b"")) == [503]
        assert metric_is_back(d, stack)


def metric_is_back(daemon, busy):
    """With one of the busy ones gone, there is room."""
    busy.pop_all().close()
    return wait_until("room", lambda: statuses(daemon.raw(GET[:-2] + b"Connection: close\r\n\r\n")) == [200])


def test_an_idle_connection_ends_in_time(tmp_path):
    with Daemon(tmp_path, "--idle-timeout", 1) as d, d.connect() as fresh, d.connect() as used:
        used.sendall(GET)
        read_answer(used)
        assert fresh.recv(1) == b"" and used.recv(1) == b""


# --- other ways to listen


def test_a_unix_socket_and_ipv6_are_listened_on(tmp_path):
    path = tmp_path / "ctrl.sock"
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"this host has no IPv6: {error}")
    with Daemon(tmp_path, "--listen", f"unix:{path}", "--listen", "[::1]:0", port=None) as d:
        assert d.addresses[0] == f"unix:{path}" and d.addresses[1].startswith("http://[::1]:")
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            s.sendall(GET)
            assert read_answer(s)[0] == 200
        port = int(d.addresses[1].rsplit(":", 1)[1])
        with socket.create_connection(("::1", port), DEADLINE_S) as s:
            s.sendall(GET)
            assert read_answer(s)[0] == 200
        d.popen.kill()
        d.popen.wait()
    with Daemon(tmp_path, "--listen", f"unix:{path}", port=None) as d:  # what was left is no obstacle
        assert d.stop() == 0
        assert not path.exists()


# --- its end


def test_sigterm_lets_who_waits_answer(tmp_path):
    with Daemon(tmp_path) as d, d.connect() as s, d.connect() as half, d.connect() as idle:
        idle.sendall(GET)
        read_answer(idle)
        s.sendall(b"GET /v1/watch?wait_ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        half.sendall(GET[:10])
        # all three have been read when this is answered
        assert d.alive()
        d.signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        answer = read_all(s)
        assert statuses(answer) == [200] and b"Connection: close" in answer
        half.sendall(GET[10:])
        assert statuses(read_all(half)) == [200]
        assert d.popen.wait(DEADLINE_S) == 0
        with pytest.raises(OSError):
            d.connect()


def test_who_does_not_end_is_cut_off(tmp_path):
    with Daemon(tmp_path, "--drain-timeout", 1) as d, d.connect() as s:
        s.sendall(GET[:10])
        assert d.alive()
        begin = time.monotonic()
        assert d.stop() == 0
        assert 0.8 < time.monotonic() - begin < 20
        assert any("cut off" in line for line in d.lines())
