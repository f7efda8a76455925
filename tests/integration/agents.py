# SPDX-License-Identifier: BSD-3-Clause
"""A nanoctrl of our own, and processes with agents (agent_tool.c), for the tests of agents."""

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path

BIN = Path(os.environ["DLSLIME_BIN"])
SANITIZED = bool(os.environ.get("DLSLIME_SANITIZE"))
DEADLINE_S = 60


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
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

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


class Daemon(Process):
    """nanoctrl on a port of the system's choice; the second life of one takes the port of the first."""

    def __init__(self, db=":memory:", port=0, args=()):
        self.db, self.args = db, args
        super().__init__(BIN / "nanoctrl", "--host", "127.0.0.1", "--port", port, "--db", db,
                         "--log-level", "warn", *args)
        words = self.line().split()
        assert words[0] == "ready", words
        self.url = words[1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def again(self):
        return Daemon(self.db, self.port, self.args)


class Tool(Process):
    """One agent_tool: ask() it, and ok() what must go well."""

    def __init__(self, url, **popen):
        super().__init__(BIN / "tests" / "agent_tool", url, **popen)

    def ask(self, *words, timeout=DEADLINE_S):
        self.say(*words)
        return self.line(timeout)

    def ok(self, *words, timeout=DEADLINE_S):
        answer = self.ask(*words, timeout=timeout)
        assert not answer.startswith(("error", "wrong")), f"{words}: {answer}"
        return answer

    def agent(self, index, alias="-", scope="-", ttl_ms=0, memory=1 << 16, seed=1, listen=()):
        name = self.ok("agent", index, alias, scope, ttl_ms, *([listen] if listen else [])).split()[1]
        self.ok("memory", index, memory, seed)
        return name

    def ticket(self, index):
        word, text = self.ok("ticket", index).split()
        assert word == "ticket"
        return text

    def read(self, index, peer, region, length, timeout_ms=5000):
        """The status of a read by name ("0", or an errno's name) and the seconds that it took."""
        word, status, ns = self.ask("read", index, peer, region, length, timeout_ms).split()
        assert word == "end"
        return status, int(ns) / 1e9

    def expect(self, index, peer, region, seed, length=4096):
        assert self.read(index, peer, region, length)[0] == "0"
        self.ok("check", index, length, seed)
