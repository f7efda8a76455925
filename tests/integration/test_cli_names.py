# SPDX-License-Identifier: BSD-3-Clause
"""dlslime serve and get by name: a nanoctrl of our own between them."""

import contextlib
import json
import os
import signal

import pytest
from agents import Daemon, Tool
from cli import (  # noqa: F401 (source and target are fixtures)
    MIB,
    Process,
    failed,
    leftovers,
    make,
    need,
    run,
    same,
    source,
    started,
    stopped_half_way,
    target,
)

# large enough to be met half-way
BIG = 256 * MIB + 10


@pytest.fixture
def ctrl(tmp_path, monkeypatch):
    with Daemon(tmp_path / "db") as daemon:
        monkeypatch.setenv("DLSLIME_CTRL", daemon.url)
        yield daemon


def named_server(name, *files, options=()):
    """A 'serve' of FILES under NAME that is ready."""
    server = Process("serve", "--bind", "127.0.0.1", "--name", name, *options, "--", *map(str, files))

    def tickets():
        for _ in files:
            assert server.line().startswith("slime:"), server.line("stderr")

    return started(server, tickets)[0]


@contextlib.contextmanager
def half_way(path, target, transport):
    """A server of PATH as 'host', and a reader that is frozen half-way."""
    with named_server("host", path) as server:
        with stopped_half_way("host", target, "--transport", transport) as reader:
            yield server, reader


@pytest.mark.parametrize("transport", [None, "shm", "tcp"])
@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 5])
def test_a_copy_by_name_is_the_file(ctrl, source, target, transport, size):
    if transport:
        need(transport)
    path = make(source / "file", size)
    with named_server("a host", path) as server:
        done = run("get", "a host", "-o", target, "--json", *(["--transport", transport] if transport else []))
        assert done.returncode == 0, done.stderr
        j = json.loads(done.stdout)
        assert same(path, target / "file") and leftovers(target) == ["file"]
        assert j["bytes"] == size and len(j["xxh3_128"]) == 32 and j["because"]
        assert j["transport"] == (transport or "shm") and j["lanes"] >= 1
        assert run("peers").stdout == "a host\n" and run("regions", "a host").stdout == "file\n"
        server.signal(signal.SIGTERM)
        done = server.done()
        assert done.returncode == 0 and done.stderr == ""
    assert run("peers").stdout == ""


def test_a_server_by_name_is_one_by_ticket_too(ctrl, source, target):
    path = make(source / "file", MIB)
    server = Process("serve", "--bind", "127.0.0.1", "--name", "host", "--", str(path))
    with server:
        ticket = server.line().split()[0]
        assert run("get", ticket, "-o", target).returncode == 0
        assert run("get", "host", "-o", target / "by-name").returncode == 0
        assert same(path, target / "file") and same(path, target / "by-name")


def test_of_several_files_one_is_to_be_named(ctrl, source, target):
    paths = [make(source / f"file{i}", 1000, seed=i) for i in range(3)]
    with named_server("host", *paths):
        sentence = failed(run("get", "host", "-o", target))
        assert "more than one" in sentence and "'file0', 'file1', 'file2'" in sentence
        for path in paths:
            assert run("get", "host", path.name, "-o", target).returncode == 0
            assert same(path, target / path.name)
        assert "file9" in failed(run("get", "host", "file9", "-o", target))
    assert "nobody" in failed(run("get", "nobody", "-o", target))
    assert "nobody" in failed(run("get", "nobody", "file0", "-o", target))


def test_the_servers_transport_is_the_readers_too(ctrl, source, target):
    need("tcp")
    path = make(source / "file", 1000)
    with named_server("host", path, options=["--transport", "tcp"]):
        done = run("get", "host", "-o", target, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["transport"] == "tcp"
        assert "'tcp' only" in failed(run("get", "host", "-o", target / "x", "--transport", "shm"))


def test_two_servers_of_one_name_and_two_files_of_one_name_are_refused(ctrl, source, tmp_path):
    path = make(source / "file", 1000)
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other" / "file", 1000)
    with named_server("host", path):
        failed(run("serve", "--name", "host", path))
    assert "'file'" in failed(run("serve", "--name", "host", path, other))
    assert run("peers").stdout == ""


def test_memory_of_an_agent_is_no_file(ctrl, target):
    with Tool(ctrl.url) as tool:
        tool.agent(0, "a")
        tool.ok("publish", 0, "kv")
        assert "no 'dlslime serve'" in failed(run("get", "a", "kv", "-o", target))
        assert "no 'dlslime serve'" in failed(run("get", "a", "-o", target))
    assert leftovers(target) == []


def test_without_nanoctrl_names_are_an_error_that_says_so(source, target, monkeypatch):
    monkeypatch.setenv("DLSLIME_CTRL", "http://127.0.0.1:1")
    path = make(source / "file", 1000)
    assert "127.0.0.1:1 cannot be reached" in failed(run("get", "host", "-o", target))
    assert "127.0.0.1:1 cannot be reached" in failed(run("serve", "--name", "host", path))
    failed(run("serve", "--name", "host", "--ctrl", "ftp://x", path))
    failed(run("serve", "--name", "", path))
    failed(run("get", "--ctrl", "http://127.0.0.1:1", "--token-file", target / "none", "host"))
    failed(run("get", "a", "b", "c"), 2)


def test_a_file_that_changed_since_is_fetched_as_it_is_now(ctrl, source, target):
    path = make(source / "file", 1000)
    with named_server("host", path):
        assert run("get", "host", "-o", target).returncode == 0
        make(path, 5 * MIB, seed=2)
        done = run("get", "host", "-o", target, "--force")
        assert done.returncode == 0, done.stderr
        assert same(path, target / "file")
        path.unlink()
        assert "cannot read" in failed(run("get", "host", "-o", target, "--force"))


@pytest.mark.parametrize("transport", ["shm", "tcp"])
def test_a_get_by_name_outlives_the_server_and_nanoctrl(ctrl, source, target, transport):
    """Both are killed half-way and started anew; the server's port and secrets are others then."""
    need(transport)
    path = make(source / "file", BIG)
    with half_way(path, target, transport) as (server, reader):
        server.signal(signal.SIGKILL)
        server.done()
        ctrl.kill()
        with ctrl.again(), named_server("host", path):
            reader.signal(signal.SIGCONT)
            done = reader.done()
            assert done.returncode == 0, done.stderr
            assert "trying again" in done.stderr
            assert same(path, target / "file") and leftovers(target) == ["file"]


def test_nanoctrl_is_not_needed_while_a_file_is_fetched(ctrl, source, target):
    path = make(source / "file", BIG)
    with half_way(path, target, "shm") as (_, reader):
        ctrl.kill()
        reader.signal(signal.SIGCONT)
        done = reader.done()
        assert done.returncode == 0 and done.stderr == ""
        assert same(path, target / "file")


def test_a_file_that_changes_half_way_is_an_error_and_no_half_file(ctrl, source, target):
    path = make(source / "file", BIG)
    with half_way(path, target, "shm") as (_, reader):
        os.truncate(path, 5000)
        reader.signal(signal.SIGCONT)
        assert "changed" in failed(reader.done())
        assert "file" not in leftovers(target)


def test_scopes_and_tokens_keep_names_apart(source, target, tmp_path):
    path = make(source / "file", 1000)
    with Daemon() as ctrl:
        where = ["--ctrl", ctrl.url]
        with named_server("host", path, options=[*where, "--scope", "red"]):
            assert "host" in failed(run("get", "host", *where, "-o", target))
            assert run("get", "host", *where, "--scope", "red", "-o", target).returncode == 0
    (tmp_path / "right").write_text("right-0123456789\n")
    (tmp_path / "wrong").write_text("wrong-0123456789\n")
    rules = {"tokens": [{"name": "worker", "token": "right-0123456789", "rights": ["read", "register"]}]}
    (tmp_path / "rules").write_text(json.dumps(rules))
    with Daemon(args=["--token-file", tmp_path / "rules"]) as ctrl:
        where = ["--ctrl", ctrl.url, "--token-file", tmp_path / "right"]
        with named_server("host", path, options=where):
            failed(run("get", "host", "--ctrl", ctrl.url, "-o", target))
            failed(run("get", "host", "--ctrl", ctrl.url, "--token-file", tmp_path / "wrong", "-o", target))
            assert run("get", "host", *where, "-o", target, "--force").returncode == 0
