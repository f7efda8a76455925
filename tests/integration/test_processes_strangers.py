# SPDX-License-Identifier: BSD-3-Clause
"""Strangers at the tcp port: whatever they send, they get nothing and cost next to nothing."""

import contextlib
import os
import random
import socket
import struct
import time

import pytest

from processes import SANITIZED, End, Tool, connect, pair

# What growth is allowed while strangers are there, and after they are gone.
LARGER = 8 if SANITIZED else 1  # a sanitizer keeps freed memory for a while
FDS_DURING, RSS_KIB_DURING = 300, 16 * 1024 * LARGER
FDS_AFTER, RSS_KIB_AFTER = 4, 8 * 1024 * LARGER


def listening_ports(pid):
    """(family, port) of every tcp socket that PID listens at."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    ports = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/net/{name}") as table:
            for row in list(table)[1:]:
                fields = row.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    ports.append((family, int(fields[1].rsplit(":", 1)[1], 16)))
    assert ports, "no tcp port is listened at"
    return ports


def dial(port, timeout=5):
    family, number = port
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(timeout)
    try:
        s.connect(("127.0.0.1" if family == socket.AF_INET else "::1", number))
    except OSError:
        s.close()
        raise
    return s


def is_dropped(s, timeout):
    """Does the other side hang up in time? It may say why, in a few words."""
    s.settimeout(timeout)
    said = b""
    try:
        while True:
            got = s.recv(4096)
            if not got:
                return True
            said += got
            assert len(said) <= 512, said
    except (ConnectionResetError, BrokenPipeError):
        return True
    except TimeoutError:
        return False


def still_serves(a, b):
    assert a.run("write", 0, 65536, 20).status == "0"
    assert a.run("read", 0, 65536, 20).status == "0"
    b.start("recv", 0, 1000)
    assert a.run("send", 0, 1000).status == "0"
    assert b.wait().status == "0"


HELLO = b"SLIMETC1" + struct.pack("<HHI", 1, 0, 0)
NOISE = {
    "zeroes": bytes(4096),
    "ones": b"\xff" * 4096,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "another_version": b"SLIMETC1" + struct.pack("<HHI", 9, 0, 0) + bytes(48),
    "no_such_endpoint": HELLO + bytes(48),
    "wrong_secret": HELLO + struct.pack("<Q", 1) + b"x" * 16 + struct.pack("<Q", 2) + b"y" * 16,
    "hello_then_noise": HELLO + random.Random(1).randbytes(100000),
    "noise": random.Random(2).randbytes(100000),
}


@pytest.mark.parametrize("noise", NOISE)
def test_noise_is_hung_up_on(noise):
    with pair("tcp", peer_timeout_ms=500) as (a, b):
        for port in listening_ports(b.pid):
            s = dial(port)
            with contextlib.suppress(OSError):
                s.sendall(NOISE[noise])
            assert is_dropped(s, 10), "the connection is still open"
            s.close()
        still_serves(a, b)
        a.quit()
        b.quit()


@pytest.mark.parametrize("start", [b"", HELLO[:1], HELLO, HELLO + bytes(47)], ids=["nothing", "a_byte", "half", "all_but_one"])
def test_half_a_hello_is_hung_up_on_after_a_while(start):
    with pair("tcp", peer_timeout_ms=500) as (a, b):
        waiting = []
        for port in listening_ports(b.pid):
            s = dial(port)
            s.sendall(start)
            waiting.append(s)
        still_serves(a, b)
        for s in waiting:
            assert is_dropped(s, 10), "it may wait forever"
            s.close()
        a.quit()
        b.quit()


def test_a_hello_drop_by_drop_is_hung_up_on():
    """One byte now and then must not keep a connection alive for ever."""
    with pair("tcp", peer_timeout_ms=500) as (a, b):
        s = dial(listening_ports(b.pid)[0])
        gone = None
        began = time.monotonic()
        while gone is None and time.monotonic() - began < 20:
            try:
                s.sendall(HELLO[:1] if time.monotonic() == began else b"S")
                if is_dropped(s, 0.4):
                    gone = time.monotonic() - began
            except OSError:
                gone = time.monotonic() - began
        s.close()
        assert gone is not None
        still_serves(a, b)
        a.quit()
        b.quit()


def test_a_flood_of_connections_is_bounded_and_hurts_nobody():
    with pair("tcp", peer_timeout_ms=500) as (a, b):
        port = listening_ports(b.pid)[0]
        still_serves(a, b)
        before = b.stat()
        a.say("loop", "write", 0, 65536)
        flood = []
        for i in range(2000):
            with contextlib.suppress(OSError):
                s = dial(port, timeout=0.05)
                flood.append(s)
                s.setblocking(False)
                s.send(HELLO[: i % len(HELLO)] if i % 3 else b"\0" * 64)
        during = b.stat()
        assert during["fds"] - before["fds"] <= FDS_DURING
        assert during["rss_kib"] - before["rss_kib"] <= RSS_KIB_DURING
        a.say("stat")
        assert End(a.line()).status == "0"
        a.line()
        for s in flood:
            s.close()
        after = wait_for_calm(b, before)
        assert after["rss_kib"] - before["rss_kib"] <= RSS_KIB_AFTER
        still_serves(a, b)
        a.quit()
        b.quit()


def wait_for_calm(tool, before):
    """Until its descriptors are as before, or nearly."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        now = tool.stat()
        if now["fds"] - before["fds"] <= FDS_AFTER:
            return now
        time.sleep(0.05)
    raise AssertionError(f"{now['fds']} descriptors are left of {before['fds']}")


def test_a_process_out_of_descriptors_does_not_spin_and_recovers():
    """It cannot accept what the kernel says is there."""
    room = 40
    with Tool("tcp") as a, Tool("tcp", prefix=["prlimit", f"--nofile={room}"]) as b:
        connect(a, b)
        port = listening_ports(b.pid)[0]
        strangers = []
        for _ in range(2 * room):
            with contextlib.suppress(OSError):
                strangers.append(dial(port, timeout=0.2))
        before = b.stat()
        time.sleep(1)  # the time that is measured
        after = b.stat()
        assert after["cpu_us"] - before["cpu_us"] < 200000
        still_serves(a, b)
        for s in strangers:
            s.close()
        wait_for_calm(b, {"fds": room // 2})
        s = dial(port)  # and accepts again, if only to hang up
        s.sendall(NOISE["http"])
        assert is_dropped(s, 10)
        s.close()
        a.quit()
        b.quit()


def test_someone_may_still_connect_while_strangers_wait():
    with Tool("tcp", peer_timeout_ms=3000) as b:
        of_b = b.descriptions()
        port = listening_ports(b.pid)[0]
        strangers = []
        for _ in range(400):
            with contextlib.suppress(OSError):
                strangers.append(dial(port, timeout=0.2))
        with Tool("tcp") as a:
            of_a = a.descriptions()
            a.meet(of_b)
            b.meet(of_a)
            a.connected_ms()
            b.connected_ms()
            still_serves(a, b)
            a.quit()
        for s in strangers:
            s.close()
        b.quit()


def test_connections_that_come_and_go_leave_nothing():
    with pair("tcp") as (a, b):
        port = listening_ports(b.pid)[0]
        still_serves(a, b)
        before = b.stat()
        for i in range(3000):
            s = dial(port)
            if i % 2:
                # hang up with a reset
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        after = wait_for_calm(b, before)
        assert after["rss_kib"] - before["rss_kib"] <= RSS_KIB_AFTER
        still_serves(a, b)
        a.quit()
        b.quit()
