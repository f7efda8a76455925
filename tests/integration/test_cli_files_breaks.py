# SPDX-License-Identifier: BSD-3-Clause
"""dlslime get when something goes wrong half-way: a whole file or none, and on from what is there."""

import ctypes
import json
import os
import re
import signal
import struct
import subprocess
from pathlib import Path

import pytest
from cli import (  # noqa: F401 (source and target are fixtures)
    MIB,
    Process,
    failed,
    file_server,
    get,
    leftovers,
    make,
    need,
    same,
    source,
    state_of,
    stopped_half_way,
    target,
    wait_until,
)


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


def test_a_file_that_changes_and_keeps_its_time_is_another_one(source, target):
    """As rsync --inplace -t and cp -p leave it."""
    path = make(source / "file", 3 * MIB)
    server, (ticket,) = file_server(path)
    with server:
        assert get(ticket, "-o", target).returncode == 0
        stat = path.stat()
        with open(path, "r+b") as f:
            f.seek(MIB)
            f.write(b"changed")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        done = get(ticket, "-o", target, "--force")
        assert done.returncode == 0, done.stderr
        assert same(path, target / "file")


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


def forge_part(target, name, size, mtime_ns):
    """As if a get of a file of zeros had been killed before its last block, without its minutes."""
    xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    xxh3.restype, xxh3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
    state = struct.pack("<QQQQ", 0x31545241504C5344, size, mtime_ns, size - MIB)
    part = target / f".{name}.part-{xxh3(name.encode(), len(name)) & 0xFFFFFFFF:08x}"
    with open(part, "wb") as f:
        f.truncate(size)
    Path(f"{part}.state").write_bytes(state + struct.pack("<Q", xxh3(state, len(state))))


def test_what_is_there_may_take_long_to_be_checked(source, target):
    """The server waits ten seconds for who has been let in."""
    path = source / "zeros"
    with open(path, "wb") as f:
        f.truncate(1 << 30)
    forge_part(target, "zeros", 1 << 30, path.stat().st_mtime_ns)
    server, (ticket,) = file_server(path)
    threads = Path(f"/proc/{server.pid}/task")
    with server:
        idle = len(os.listdir(threads))
        with Process("get", ticket, "-o", str(target), "--json") as reader:
            wait_until("the reader to be let in", lambda: len(os.listdir(threads)) > idle)
            reader.stop()
            wait_until("the server to give it up", lambda: len(os.listdir(threads)) == idle)
            reader.signal(signal.SIGCONT)
            done = reader.done()
            assert done.returncode == 0, done.stderr
            assert done.stderr == "" and json.loads(done.stdout)["resumed_from"] == (1 << 30) - MIB


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


def test_a_part_of_somebody_else_is_not_gone_on_with(big, target):
    """In a directory for all, who made the part would be the owner of the copy."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of somebody else's")
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target) as reader:
        reader.signal(signal.SIGKILL)
        reader.done()
        for name in leftovers(target):
            os.chown(target / name, 65534, 65534)
        before = leftovers(target)
        os.truncate(target / min(before), 0)
        assert "user 65534" in failed(get(ticket, "-o", target))
        assert leftovers(target) == before


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


def test_a_file_that_is_larger_than_the_disk_takes_nothing_of_it(source, target):
    disk = os.statvfs(target)
    path = source / "file"
    try:
        with open(path, "wb") as f:
            f.truncate(2 * disk.f_blocks * disk.f_frsize)
        server, (ticket,) = file_server(path)
    except OSError as e:
        pytest.skip(f"no file can be so large here: {e}")
    with server:
        sentence = failed(get(ticket, "-o", target))
        free, unit = re.search(r"the disk has ([\d.]+) (\S+) free", sentence).groups()
        assert float(free) * 1024 ** "BKMGT".index(unit[0]) > disk.f_bavail * disk.f_frsize / 2, sentence
    assert leftovers(target) == []


def test_sigterm_ends_the_server_with_readers_connected(big, target):
    server, (ticket,) = file_server(big)
    with server, stopped_half_way(ticket, target, "--timeout", "0"):
        server.signal(signal.SIGTERM)
        assert server.done(timeout=20).returncode == 0
