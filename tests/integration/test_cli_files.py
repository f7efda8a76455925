# SPDX-License-Identifier: BSD-3-Clause
"""dlslime serve and get between real processes: whole files or none, whatever happens."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
from cli import Process, failed, file_server, need, port_of, run, wait_until

MIB = 1 << 20


def make(path, size, seed=1):
    """SIZE bytes that repeat nowhere near."""
    block = bytearray(os.urandom(MIB))
    with open(path, "wb") as f:
        for i in range(0, size, MIB):
            block[0:8] = (i * 7919 + seed).to_bytes(8, "little")
            f.write(block[: min(MIB, size - i)])
    return path


def same(a, b):
    return subprocess.run(["cmp", "-s", a, b]).returncode == 0


def get(ticket, *args, **kwargs):
    return run("get", ticket, *args, **kwargs)


def leftovers(directory):
    return sorted(os.listdir(directory))


def directory_of(path):
    """PATH as a directory, for as long as it is needed: pytest would keep gigabytes of copies."""
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def source(tmp_path):
    yield from directory_of(tmp_path / "source")


@pytest.fixture
def target(tmp_path):
    yield from directory_of(tmp_path / "target")


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
    server, (ticket,) = file_server(path)
    with server:
        assert "--force" in failed(get(ticket, "-o", target))
        assert (target / "file").read_text() == "mine" and leftovers(target) == ["dir", "file"]
        assert get(ticket, "-o", target, "--force").returncode == 0
        assert same(path, target / "file") and leftovers(target) == ["dir", "file"]


@pytest.mark.parametrize("what", ["missing", "directory", "fifo", "forbidden"])
def test_what_cannot_be_served_is_said_before_any_ticket(source, what):
    good = make(source / "good", 10)
    bad = source / "bad"
    if what == "directory":
        bad.mkdir()
    elif what == "fifo":
        os.mkfifo(bad)
    elif what == "forbidden":
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        make(bad, 10).chmod(0)
    done = run("serve", "--bind", "127.0.0.1", good, bad)
    assert "bad'" in failed(done)
    assert done.stdout == ""


@pytest.mark.parametrize(
    "ticket",
    ["", "x", "slime:", "slime:host:1/00/x", "slime:host:1/" + "0" * 32, "slime:h:1/" + "0" * 32 + "/..",
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


def test_nobody_serving_is_a_sentence_at_once_and_leaves_nothing(source, target):
    server, (ticket,) = file_server(make(source / "file", 1000))
    with server:
        server.signal(signal.SIGKILL)
        server.done()
    before = time.monotonic()
    assert "refused" in failed(get(ticket, "-o", target))
    assert time.monotonic() - before < 5
    assert leftovers(target) == []


def state_of(target):
    """How many bytes the part file in TARGET is known to have."""
    for name in os.listdir(target):
        if name.endswith(".state"):
            with open(target / name, "rb") as f:
                return int.from_bytes(f.read(40)[24:32], "little")
    return 0


def stopped_half_way(ticket, target, *args):
    """A 'get' that is frozen after some of the bytes, and has not got them all."""
    reader = Process("get", ticket, "-o", str(target), *args)
    until = time.monotonic() + 60
    while state_of(target) == 0:
        assert time.monotonic() < until
        assert reader.popen.poll() is None, "it was too fast to be stopped"
    reader.stop()
    return reader


# large enough to be met half-way, with a last block that is small enough to be copied by hand
BIG = 256 * MIB + 10


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("big") / "file", BIG)
    yield path
    path.unlink()


def big_copy(big, source):
    """BIG under a name that a test may change."""
    subprocess.run(["cp", "--reflink=auto", big, source / "file"], check=True)
    return source / "file"


@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize("how", ["rewrite", "truncate", "remove", "replace"])
def test_a_file_that_changes_is_an_error_and_no_half_file(big, source, target, transport, how):
    need(transport)
    path = big_copy(big, source)
    other = make(source / "other", 1000)
    server, (ticket, second) = file_server(path, other)
    with server, stopped_half_way(ticket, target, "--transport", transport) as reader:
        if how == "rewrite":
            with open(path, "r+b") as f:
                f.seek(BIG - 10)
                f.write(b"changed")
        elif how == "truncate":
            os.truncate(path, 5000)
        elif how == "remove":
            path.unlink()
        else:
            make(source / "new", BIG // 2).rename(path)
        reader.signal(signal.SIGCONT)
        sentence = failed(reader.done())
        assert "changed" in sentence or "gone" in sentence or "replaced" in sentence
        assert "file" not in leftovers(target)
        # the server lives, and the others are served
        assert get(second, "-o", target, "--transport", transport).returncode == 0
        if how == "remove":
            assert "file" in failed(get(ticket, "-o", target))
        else:
            done = get(ticket, "-o", target)
            assert done.returncode == 0 and "starting over" in done.stderr
            assert same(path, target / "file")
        assert server.popen.poll() is None


def test_a_killed_get_is_resumed(big, target):
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target) as reader:
        reader.signal(signal.SIGKILL)
        reader.done()
        assert "file" not in leftovers(target)
        done = get(ticket, "-o", target, "--json")
        assert done.returncode == 0, done.stderr
        assert 0 < json.loads(done.stdout)["resumed_from"] < BIG
        assert same(big, target / "file") and leftovers(target) == ["file"]


def test_an_interrupted_get_is_resumed_from_a_server_that_was_started_anew(big, target):
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target) as reader:
        reader.signal(signal.SIGINT)
        reader.signal(signal.SIGCONT)
        assert "interrupted" in failed(reader.done())
    server, (ticket,) = file_server(big)
    with server:
        done = get(ticket, "-o", target, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["resumed_from"] > 0
        assert same(big, target / "file")


def test_a_part_of_another_version_is_not_resumed(big, source, target):
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target) as reader:
        reader.signal(signal.SIGKILL)
        reader.done()
    path = make(source / "file", 5 * MIB)
    server, (ticket,) = file_server(path)
    with server:
        done = get(ticket, "-o", target, "--json")
        assert done.returncode == 0, done.stderr
        assert "starting over" in done.stderr and json.loads(done.stdout)["resumed_from"] == 0
        assert same(path, target / "file") and leftovers(target) == ["file"]


@pytest.mark.parametrize("damage", ["bytes", "state"])
def test_a_damaged_part_is_found_and_fetched_anew(big, target, damage):
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target) as reader:
        reader.signal(signal.SIGKILL)
        reader.done()
        for name in leftovers(target):
            if name.endswith(".state") == (damage == "state"):
                with open(target / name, "r+b") as f:
                    f.seek(25 if damage == "state" else MIB)
                    f.write(b"\x7f")
        done = get(ticket, "-o", target, "--json")
        assert done.returncode == 0, done.stderr
        if damage == "bytes":
            assert "starting over" in done.stderr
        assert json.loads(done.stdout)["resumed_from"] == 0
        assert same(big, target / "file") and leftovers(target) == ["file"]


def test_two_cannot_fetch_to_the_same_place(big, target):
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target) as reader:
        assert "another process" in failed(get(ticket, "-o", target))
        reader.signal(signal.SIGCONT)
        assert reader.done().returncode == 0
        assert same(big, target / "file")


@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_when_the_server_goes_or_freezes_it_ends_and_keeps_what_is_there(big, target, transport, how):
    need(transport)
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target, "--timeout", "1", "--transport", transport) as reader:
        server.signal(how)
        reader.signal(signal.SIGCONT)
        sentence = failed(reader.done(timeout=40))
        assert "goes on from it" in sentence or "does not know this ticket" in sentence
        assert "file" not in leftovers(target) and state_of(target) > 0


def test_a_server_that_freezes_for_a_while_only_delays_it(big, target):
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target) as reader:
        server.stop()
        reader.signal(signal.SIGCONT)
        # the message that it tries again
        assert "trying again" in reader.line("stderr")
        server.signal(signal.SIGCONT)
        done = reader.done()
        assert done.returncode == 0, done.stderr
        assert same(big, target / "file")


def test_a_disk_that_is_too_small_is_said_before_and_nothing_is_left(source, target):
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", target], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"no small disk to be had: {mount.stderr.strip()}")
    try:
        server, (ticket,) = file_server(make(source / "file", 8 * MIB))
        with server:
            assert "needs 8.0 MiB" in failed(get(ticket, "-o", target))
        assert leftovers(target) == []
    finally:
        subprocess.run(["umount", target], check=True)


def test_sigterm_ends_the_server_with_readers_connected(big, target):
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target, "--timeout", "0"):
        server.signal(signal.SIGTERM)
        assert server.done(timeout=20).returncode == 0


def test_a_server_of_one_transport_refuses_another(source, target):
    need("tcp")
    server, (ticket,) = file_server(make(source / "file", 1000), options=("--transport", "tcp"))
    with server:
        assert "'tcp' only" in failed(get(ticket, "-o", target, "--transport", "shm"))
        done = get(ticket, "-o", target, "--json")
        assert json.loads(done.stdout)["transport"] == "tcp"


def test_a_transport_that_does_not_exist_is_a_sentence_on_both_sides(source, target):
    path = make(source / "file", 1000)
    assert "nope" in failed(run("serve", "--transport", "nope", path))
    server, (ticket,) = file_server(path)
    with server:
        assert "nope" in failed(get(ticket, "-o", target, "--transport", "nope"))
        assert leftovers(target) == []
