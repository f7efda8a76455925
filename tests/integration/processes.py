# SPDX-License-Identifier: BSD-3-Clause
"""Processes that answer lines; those with endpoints (ep_tool.c), and what the tests ask of them."""

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

BIN = Path(os.environ["DLSLIME_BIN"])
SANITIZED = bool(os.environ.get("DLSLIME_SANITIZE"))
DEADLINE_S = 60
# Room in every upper bound of a time.
SLACK_S = float(os.environ.get("DLSLIME_TEST_SLACK_MS", 1000 if SANITIZED else 20)) / 1000


class End:
    """How a transfer ended: an errno's name or '0', when (CLOCK_MONOTONIC, s), and its bytes."""

    def __init__(self, line):
        word, self.status, ns, count = line.split()
        assert word == "end", line
        self.at = int(ns) / 1e9
        self.bytes = int(count)


class Process:
    """A program that answers lines. Left behind, it is killed."""

    def __init__(self, *args, **popen):
        self.popen = subprocess.Popen(
            [*map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, **popen
        )
        self.ahead = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()

    @property
    def pid(self):
        return self.popen.pid

    def kill(self):
        """kill -9; returns when that was."""
        at = time.monotonic()
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return at

    def signal(self, number):
        self.popen.send_signal(number)
        if number == signal.SIGSTOP:  # it may answer until it has stopped
            os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def line(self, timeout=DEADLINE_S):
        until = time.monotonic() + timeout
        while b"\n" not in self.ahead:
            left = until - time.monotonic()
            ready = left > 0 and select.select([self.popen.stdout], [], [], left)[0]
            assert ready, f"no line in {timeout} s, only {self.ahead!r}"
            got = os.read(self.popen.stdout.fileno(), 1 << 16)
            assert got, f"the process ended with {self.popen.wait()} after {self.ahead!r}"
            self.ahead += got
        line, self.ahead = self.ahead.split(b"\n", 1)
        return line.decode()

    def say(self, *words):
        self.popen.stdin.write((" ".join(map(str, words)) + "\n").encode())

    def ask(self, *words, timeout=DEADLINE_S):
        self.say(*words)
        return self.line(timeout)


class Tool(Process):
    """One ep_tool."""

    def __init__(self, transport, count=1, length=1 << 20, peer_timeout_ms=0, lanes=0, prefix=()):
        self.count = count
        super().__init__(*prefix, BIN / "tests" / "ep_tool", transport, count, length, peer_timeout_ms, lanes)

    def line(self, timeout=DEADLINE_S):
        line = super().line(timeout)
        if "this build was made without it" in line:
            pytest.skip(line)
        assert not line.startswith("dead"), line
        return line

    def descriptions(self):
        return [self.line() for _ in range(self.count + 1)]

    def meet(self, descriptions):
        self.popen.stdin.write("".join(line + "\n" for line in descriptions).encode())

    def connected_ms(self):
        word, ms = self.line().split()
        assert word == "connected"
        return int(ms)

    def run(self, op, index, length, n=1, timeout=DEADLINE_S):
        return End(self.ask("run", op, index, length, n, timeout=timeout))

    def start(self, op, index, length):
        assert self.ask("start", op, index, length) == "ok"

    def wait(self, timeout=DEADLINE_S):
        return End(self.ask("wait", timeout=timeout))

    def stat(self):
        words = self.ask("stat").split()
        return {k: int(v) for k, v in zip(words[::2], words[1::2])}

    def quit(self):
        assert self.ask("quit") == "ok"
        assert self.popen.wait(DEADLINE_S) == 0


def connect(a, b):
    """Let two tools meet; returns the milliseconds that the slower one took."""
    of_a, of_b = a.descriptions(), b.descriptions()
    a.meet(of_b)
    b.meet(of_a)
    return max(a.connected_ms(), b.connected_ms())


@contextlib.contextmanager
def pair(transport, **kwargs):
    """Two connected tools."""
    with Tool(transport, **kwargs) as a, Tool(transport, **kwargs) as b:
        connect(a, b)
        yield a, b
