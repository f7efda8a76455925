# SPDX-License-Identifier: BSD-3-Clause
"""dlslime serve and get between real processes: copies, names, tickets, strangers."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time

import pytest
from cli import (  # noqa: F401 (source and target are fixtures)
    BIN,
    MIB,
    Process,
    failed,
    file_server,
    get,
    leftovers,
    make,
    need,
    port_of,
    run,
    same,
    source,
    target,
)


@pytest.mark.parametrize("transport", [None, "shm", "tcp"])
@pytest.mark.parametrize("size", [0, 1, 4097, MIB, 3 * MIB + 5, 50 * MIB])
def test_a_copy_is_the_file(source, target, transport, size):
    if transport:
        need(transport)
    path = make(source / "file", size)
    server, (ticket,) = file_server(path)
    with server:
        done = get(ticket, "-o", target, "--json", *(["--transport", transport] if transport else []))
        assert done.returncode == 0, done.stderr
        j = json.loads(done.stdout)
        assert same(path, target / "file") and leftovers(target) == ["file"]
        assert j["bytes"] == size and j["resumed_from"] == 0 and len(j["xxh3_128"]) == 32
        assert j["transport"] == (transport or j["transport"]) and j["because"]
        server.signal(signal.SIGTERM)
        done = server.done()
        assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize(
    "name", ["with space", "-dash", "umlaut-\u00e4\u20ac", "100%", "a'b\"c$d", "new\nline", "x" * 255, b"\xff\xfe"],
    ids=["space", "dash", "utf-8", "percent", "quotes", "newline", "long", "not-utf-8"],
)
def test_names_come_through(source, target, name):
    name = os.fsencode(name)
    path = os.path.join(os.fsencode(source), name)
    make(path, 1000)
    with Process("serve", "--bind", "127.0.0.1", "--", path) as server:
        ticket = server.line().split()[0]
        done = get(ticket, "-o", target)
        assert done.returncode == 0, done.stderr
        assert os.listdir(os.fsencode(target)) == [name]
        assert same(path, os.path.join(os.fsencode(target), name))


def test_many_readers_at_once_and_each_file_has_its_ticket(source, target):
    paths = [make(source / f"file{i}", 5 * MIB, seed=i) for i in range(3)]
    server, tickets = file_server(*paths)
    assert len(set(tickets)) == 3
    with server:
        readers = []
        for i in range(12):
            (target / str(i)).mkdir()
            readers.append(Process("get", tickets[i % 3], "-o", str(target / str(i))))
        for i, reader in enumerate(readers):
            with reader:
                done = reader.done()
                assert done.returncode == 0, done.stderr
            assert same(paths[i % 3], target / str(i) / f"file{i % 3}")


def test_tickets_may_name_ipv6_addresses(source, target):
    path = make(source / "file", 1000)
    with Process("serve", "--bind", "::1", str(path)) as server:
        ticket = server.line().split()[0]
        assert ticket.startswith("slime:[::1]:")
        assert get(ticket, "-o", target).returncode == 0
        assert same(path, target / "file")


def test_output_is_a_directory_or_a_name(source, target):
    path = make(source / "file", 1000)
    server, (ticket,) = file_server(path)
    with server:
        assert get(ticket, cwd=target).returncode == 0
        assert get(ticket, "-o", target / "other").returncode == 0
        assert get(ticket, "--output", "third", cwd=target).returncode == 0
        assert leftovers(target) == ["file", "other", "third"]
        assert "no directory" in failed(get(ticket, "-o", f"{target}/missing/"))
        assert "no directory" in failed(get(ticket, "-o", target / "missing" / "x"))
        assert leftovers(target) == ["file", "other", "third"]


def test_a_file_that_is_there_is_only_replaced_by_force(source, target):
    path = make(source / "file", 1000)
    (target / "file").write_text("mine")
    (target / "dir").mkdir()
    os.mkfifo(target / "fifo")
    server, (ticket,) = file_server(path)
    with server:
        assert "--force" in failed(get(ticket, "-o", target))
        assert (target / "file").read_text() == "mine" and leftovers(target) == ["dir", "fifo", "file"]
        assert get(ticket, "-o", target, "--force").returncode == 0
        assert same(path, target / "file") and leftovers(target) == ["dir", "fifo", "file"]
        # with a device it would be the machine's
        assert "not a regular file" in failed(get(ticket, "-o", target / "fifo", "--force"))
        assert (target / "fifo").is_fifo()


@pytest.mark.parametrize("what", ["missing", "directory", "fifo", "forbidden", "endless"])
def test_what_cannot_be_served_is_said_before_any_ticket(source, what):
    good = make(source / "good", 10)
    bad = source / "bad"
    if what == "directory":
        bad.mkdir()
    elif what == "fifo":
        os.mkfifo(bad)
    elif what == "endless":
        bad.symlink_to("/proc/cpuinfo")  # it has content, and says that it has no byte
    elif what == "forbidden":
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        make(bad, 10).chmod(0)
    done = run("serve", "--bind", "127.0.0.1", good, bad)
    assert "bad'" in failed(done)
    assert done.stdout == ""


@pytest.mark.parametrize(
    "ticket",
    ["slime:", "slime:host:1/00/x", "slime:host:1/" + "0" * 32, "slime:h:1/" + "0" * 32 + "/..",
     "slime:h:0/" + "0" * 32 + "/x", "slime:h:1/" + "0" * 32 + "/a%2Fb"],
)  # fmt: skip
def test_what_is_no_ticket_is_a_usage_error(target, ticket):
    failed(get(ticket, cwd=target), status=2)
    assert leftovers(target) == []


def test_a_wrong_secret_gets_nothing(source, target):
    server, (ticket,) = file_server(make(source / "file", 1000))
    with server:
        digit = "1" if "/0" in ticket else "0"
        at = ticket.index("/") + 1
        wrong = ticket[:at] + digit + ticket[at + 1 :]
        assert "ticket" in failed(get(wrong, "-o", target))
        assert leftovers(target) == []
        with socket.create_connection(port_of(ticket)) as s:
            s.sendall(b"DLSGET01" + bytes(16))
            s.settimeout(20)
            assert s.recv(100) == b""
        assert get(ticket, "-o", target).returncode == 0


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.0\r\n\r\n" + bytes(30), bytes(24), b"DLSGET0", b"\xff" * 100],
    ids=["http", "zeroes", "half-a-hello", "ones"],
)
def test_strangers_do_not_disturb(source, target, noise):
    path = make(source / "file", MIB)
    server, (ticket,) = file_server(path)
    with server:
        strangers = [socket.create_connection(port_of(ticket)) for _ in range(100)]
        for s in strangers:
            s.sendall(noise)
        assert get(ticket, "-o", target).returncode == 0
        assert same(path, target / "file")
        for s in strangers:
            s.close()
        assert server.popen.poll() is None


NONSENSE = {
    "frame-of-4-gib": b"\xff\xff\xff\xff",
    "empty-frame": b"\0\0\0\0",
    "question-cut-off": b"\x03\0\0\0\x02\0\0",
    "question-with-a-lie": b"\x05\0\0\0\x02\xff\xff\xff\xff",
    "unknown-message": b"\x01\0\0\0\x63",
}


@pytest.mark.parametrize("noise", NONSENSE.values(), ids=NONSENSE.keys())
def test_a_reader_with_a_ticket_that_talks_nonsense_loses_only_its_own_connection(source, target, noise):
    path = make(source / "file", MIB)
    server, (ticket,) = file_server(path)
    secret = bytes.fromhex(ticket.split("/")[1])
    with server:
        with socket.create_connection(port_of(ticket)) as s:
            s.sendall(b"DLSGET01" + secret + noise)
            s.settimeout(30)
            try:
                while s.recv(65536):
                    pass
            except ConnectionResetError:
                pass
        assert get(ticket, "-o", target).returncode == 0
        assert same(path, target / "file")


def test_a_server_whose_tickets_nobody_can_see_ends(source):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [BIN, "serve", "--bind", "127.0.0.1", make(source / "file", 1000)], stdout=full, stderr=subprocess.PIPE, timeout=30
        )
    assert done.returncode == 1 and b"standard output" in done.stderr


def test_nobody_serving_is_a_sentence_at_once_and_leaves_nothing(source, target):
    server, (ticket,) = file_server(make(source / "file", 1000))
    with server:
        server.signal(signal.SIGKILL)
        server.done()
    before = time.monotonic()
    assert "refused" in failed(get(ticket, "-o", target))
    assert time.monotonic() - before < 5
    assert leftovers(target) == []


def test_a_server_that_is_alive_and_grants_nothing_is_given_up(target):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ticket = f"slime:127.0.0.1:{listener.getsockname()[1]}/{'0' * 32}/file"
        with Process("get", ticket, "-o", str(target), "--timeout", "0") as reader:
            with listener.accept()[0] as s:
                alive = b"\x01\0\0\0\x08"
                until = time.monotonic() + 30
                with contextlib.suppress(OSError):
                    while reader.popen.poll() is None and time.monotonic() < until:
                        s.sendall(alive)
                        select.select([reader.popen.stderr], [], [], 0.2)
            assert "answered" in failed(reader.done(timeout=5))
        assert leftovers(target) == []


def test_a_server_of_one_transport_refuses_another(source, target):
    need("tcp")
    server, (ticket,) = file_server(make(source / "file", 1000), options=("--transport", "tcp"))
    with server:
        assert "'tcp' only" in failed(get(ticket, "-o", target, "--transport", "shm"))
        done = get(ticket, "-o", target, "--json")
        assert json.loads(done.stdout)["transport"] == "tcp"


def test_a_transport_that_cannot_be_is_a_sentence_at_once(source, target):
    """Loopback does not leave a process; there is no use in trying again."""
    path = make(source / "file", 1000)
    assert "one process" in failed(run("serve", "--transport", "loopback", path), status=2)
    server, (ticket,) = file_server(path)
    with server:
        before = time.monotonic()
        sentence = failed(get(ticket, "-o", target, "--transport", "loopback"))
        assert "another process" in sentence and "again" not in sentence
        assert time.monotonic() - before < 15
        assert leftovers(target) == []


def test_a_transport_that_does_not_exist_is_a_sentence_on_both_sides(source, target):
    path = make(source / "file", 1000)
    assert "nope" in failed(run("serve", "--transport", "nope", path))
    server, (ticket,) = file_server(path)
    with server:
        assert "nope" in failed(get(ticket, "-o", target, "--transport", "nope"))
        assert leftovers(target) == []
