# SPDX-License-Identifier: BSD-3-Clause
"""Who gets in to nanoctrl, and who may do what: TLS, client certificates, tokens."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess

import pytest
from nanoctrl_daemon import (
    BEAT,
    DEADLINE_S,
    ENTITY,
    GET,
    Daemon,
    ask,
    free_port,
    make_certificates,
    post,
    read_all,
    read_answer,
    statuses,
    tls_context,
    wait_until,
)



def test_tls_is_spoken(tmp_path):
    where = make_certificates(tmp_path)
    files = ["--tls-cert", where / "server.pem", "--tls-key", where / "server.key"]
    with Daemon(tmp_path, *files, "--request-timeout", 2) as d:
        assert d.url.startswith("https://")
        context = tls_context(where)
        connection = http.client.HTTPSConnection("127.0.0.1", d.port, context=context, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            for _ in range(3):
                assert ask(connection, "POST", "/register", ENTITY).status == 200
            large = {"entity_id": "large", "kind": "k", "metadata": {"x": "y" * 1_000_000}}
            assert ask(connection, "POST", "/register", large).status == 200
            listed = ask(connection, "POST", "/list_entities", {}).json["entities"]
            assert {e["id"] for e in listed} == {"cache:0", "large"}
        # in pieces that do not fall together with TLS's, two requests at once
        with context.wrap_socket(d.connect(), server_hostname="localhost") as s:
            s.sendall(GET + GET[:5])
            assert read_answer(s)[0] == 200
            s.sendall(GET[5:])
            assert read_answer(s)[0] == 200
        # who does not speak it
        assert d.raw(GET) == b"" or b"200" not in d.raw(GET)
        with d.connect() as s:
            s.sendall(b"\x16\x03\x01" + os.urandom(300))
            read_all(s)
        connection.connect()
        with contextlib.closing(connection):
            assert ask(connection, "GET", "/").status == 200


def test_with_a_client_authority_only_its_clients_come_in(tmp_path):
    where = make_certificates(tmp_path)
    files = ["--tls-cert", "server.pem", "--tls-key", "server.key", "--tls-client-ca", "ca.pem"]
    with Daemon(tmp_path, *files, cwd=where) as d:

        def get(context):
            connection = http.client.HTTPSConnection("127.0.0.1", d.port, context=context, timeout=DEADLINE_S)
            with contextlib.closing(connection):
                return ask(connection, "GET", "/").status

        assert get(tls_context(where, client=True)) == 200
        with pytest.raises(OSError):
            get(tls_context(where))


@pytest.fixture
def redis_with_tls(tmp_path):
    """The directory of a certificate, the port of a Redis that has it, and its port without TLS."""
    if not shutil.which("redis-server"):
        pytest.skip("there is no redis-server here (package redis-server)")
    where = make_certificates(tmp_path)
    port, plain = free_port(), free_port()
    files = ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem"]
    rules = ["--tls-auth-clients", "no", "--bind", "127.0.0.1 127.0.0.2", "--save", ""]
    with open(where / "redis.log", "wb") as log:
        server = subprocess.Popen(
            ["redis-server", "--port", str(plain), "--tls-port", str(port), *files, *rules],
            cwd=where,
            stdout=log,
            stderr=log,
        )
    try:
        text = (where / "redis.log").read_text
        wait_until("Redis to be ready", lambda: "Ready to accept" in text() or server.poll() is not None)
        if server.poll() is not None:
            pytest.skip(f"this redis-server has no TLS: {text()[-200:]}")
        yield where, port, plain
    finally:
        server.kill()
        server.wait()


def test_redis_is_reached_over_tls_and_its_certificate_looked_at(tmp_path, redis_with_tls):
    where, port, plain = redis_with_tls
    trust = {"SSL_CERT_FILE": str(where / "ca.pem")}
    large = {"entity_id": "large", "kind": "k", "metadata": {"x": "y" * 500_000}}
    with Daemon(tmp_path, "--redis-url", f"rediss://localhost:{port}", db=None, env=trust) as d:
        assert d.post("/register", large).status == 200
        assert d.post("/heartbeat", {**BEAT, "entity_id": "large"}).json["status"] == "ok"
        got = d.post("/get_entity_info", {"entity_id": "large"}).json["entity_info"]
        assert got["metadata"] == large["metadata"]
    with pytest.raises(AssertionError, match="no answer"):  # it does not go on in the clear
        Daemon(tmp_path, "--redis-url", f"rediss://localhost:{plain}", db=None, env=trust).__exit__()
    for env, host in (({}, "localhost"), (trust, "127.0.0.2")):  # not trusted; not its name
        with pytest.raises(AssertionError, match="certificate verify failed"):
            Daemon(tmp_path, "--redis-url", f"rediss://{host}:{port}", db=None, env=env).__exit__()


# --- who may do what


TOKENS = {
    "tokens": [
        {"name": "reader", "token": "reader-0123456789", "rights": ["read"]},
        {"name": "worker", "token": "worker-0123456789", "rights": ["read", "register"], "scopes": ["a"]},
        {"name": "boss", "sha256": "", "rights": ["admin"]},
    ]
}


def write_tokens(path, boss):
    import hashlib

    TOKENS["tokens"][2]["sha256"] = hashlib.sha256(boss.encode()).hexdigest()
    path.write_text(json.dumps(TOKENS))
    path.chmod(0o600)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_with_tokens_only_the_root_and_healthz_are_open(tmp_path):
    write_tokens(tmp_path / "tokens.json", "boss-0123456789abc")
    with Daemon(tmp_path, "--token-file", tmp_path / "tokens.json") as d:
        assert d.get("/").status == 200 and d.get("/healthz").status == 200
        for method, path in [("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/v1/agents"), ("POST", "/register")]:
            answer = d.request(method, path, b"{}" if method == "POST" else None)
            assert answer.status == 401, (path, answer)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json["status"] == "error"
        for wrong in ("reader-012345678", "reader-01234567890", "Reader-0123456789", "", " ", "x" * 5000):
            assert d.request("GET", "/readyz", headers=bearer(wrong)).status == 401
        assert d.request("GET", "/readyz", headers={"Authorization": "Basic reader-0123456789"}).status == 401
        assert d.request("GET", "/readyz", headers=bearer("reader-0123456789")).status == 200
        assert d.post("/register", ENTITY, headers=bearer("reader-0123456789")).status == 403
        assert d.post("/register", {**ENTITY, "scope": "a"}, headers=bearer("worker-0123456789")).status == 200
        assert d.post("/register", {**ENTITY, "scope": "b"}, headers=bearer("worker-0123456789")).status == 403
        assert d.post("/register", {**ENTITY, "scope": "b"}, headers=bearer("boss-0123456789abc")).status == 200


def test_a_body_is_not_read_from_who_may_not_send_it(tmp_path):
    write_tokens(tmp_path / "tokens.json", "boss-0123456789abc")
    with Daemon(tmp_path, "--token-file", tmp_path / "tokens.json") as d:
        assert statuses(d.raw(post("/register", b"", "Content-Length: 1000000"))) == [401]


def test_sighup_reads_the_tokens_again(tmp_path):
    write_tokens(tmp_path / "tokens.json", "old-boss-0123456789")
    with Daemon(tmp_path, "--token-file", tmp_path / "tokens.json") as d:
        assert d.request("GET", "/readyz", headers=bearer("old-boss-0123456789")).status == 200
        write_tokens(tmp_path / "tokens.json", "new-boss-0123456789")
        d.signal(signal.SIGHUP)
        wait_until("the new one", lambda: d.request("GET", "/readyz", headers=bearer("new-boss-0123456789")).status == 200)
        assert d.request("GET", "/readyz", headers=bearer("old-boss-0123456789")).status == 401
        (tmp_path / "tokens.json").write_text("{")
        d.signal(signal.SIGHUP)
        wait_until("the complaint", lambda: any("tokens stay as they were" in line for line in d.lines()))
        assert d.request("GET", "/readyz", headers=bearer("new-boss-0123456789")).status == 200
