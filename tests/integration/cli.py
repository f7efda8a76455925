# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the dlslime program share: processes with deadlines, and what to wait for."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

BIN = Path(os.environ["DLSLIME_BIN"]) / "dlslime"
DEADLINE_S = 60
# for 'perf': enough to see that it works
QUICK = ["--iters", "200", "--warmup", "0", "--footprint", "4M"]
MIB = 1 << 20
TEXT = {"encoding": "utf-8", "errors": "surrogateescape"}


def run(*args, timeout=DEADLINE_S, **kwargs):
    """Run dlslime to its end; its output is text."""
    return subprocess.run([BIN, *args], capture_output=True, timeout=timeout, **TEXT, **kwargs)


def measure(*args):
    """The figures of a 'perf' that succeeds."""
    done = run(*args, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def get(ticket, *args, **kwargs):
    return run("get", ticket, *args, **kwargs)


def failed(done, status=1):
    """The sentence with which DONE failed."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert lines and lines[0].startswith("dlslime: "), done.stderr
    return done.stderr


def make(path, size, seed=1):
    """A file of SIZE bytes that repeat nowhere near."""
    block = bytearray(os.urandom(MIB))
    with open(path, "wb") as f:
        for i in range(0, size, MIB):
            block[0:8] = (i * 7919 + seed).to_bytes(8, "little")
            f.write(block[: min(MIB, size - i)])
    return path


def same(a, b):
    return subprocess.run(["cmp", "-s", a, b]).returncode == 0


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


def wait_until(what, happened, timeout=DEADLINE_S):
    """Poll HAPPENED until it returns something true."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        value = happened()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError(f"waited {timeout} s for {what}")


def cpu_seconds(pid):
    """What PID has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Process:
    """dlslime in the background. Left behind, it is killed."""

    def __init__(self, *args, **kwargs):
        self.popen = subprocess.Popen(
            [BIN, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **kwargs
        )
        self.pid = self.popen.pid
        self.ahead = {self.popen.stdout: b"", self.popen.stderr: b""}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.send_signal(signal.SIGCONT)
        self.popen.communicate()

    def line(self, stream="stdout", timeout=DEADLINE_S):
        """The next line of its output, or what there is of it at its end."""
        pipe = getattr(self.popen, stream)
        until = time.monotonic() + timeout
        while b"\n" not in self.ahead[pipe]:
            ready, _, _ = select.select([pipe], [], [], max(0, until - time.monotonic()))
            assert ready, f"no line within {timeout} s"
            more = os.read(pipe.fileno(), 65536)
            if not more:
                break
            self.ahead[pipe] += more
        line, _, self.ahead[pipe] = self.ahead[pipe].partition(b"\n")
        return line.decode(**TEXT)

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self):
        """Freeze it, and return when it is frozen."""
        self.signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        wait_until("the process to stop", lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T")

    def done(self, timeout=DEADLINE_S):
        """Wait for its end; as run()."""
        out, err = self.popen.communicate(timeout=timeout)
        out = (self.ahead[self.popen.stdout] + out).decode(**TEXT)
        err = (self.ahead[self.popen.stderr] + err).decode(**TEXT)
        return subprocess.CompletedProcess(self.popen.args, self.popen.returncode, out, err)


def started(server, read):
    """What READ makes of the first lines of SERVER, which is killed if that fails."""
    try:
        return server, read()
    except BaseException:
        with server:
            raise


def perf_server(*args):
    """A 'perf serve', and where it is."""
    server = Process("perf", "serve", *(args or ("--bind", "127.0.0.1")))

    def address():
        line = server.line()
        assert re.fullmatch(r"ready \S+:\d+", line), line
        return line.split()[1]

    return started(server, address)


def file_server(*files, options=()):
    """A 'serve' of FILES, and their tickets."""
    server = Process("serve", "--bind", "127.0.0.1", *options, "--", *map(str, files))

    def ticket():
        words = server.line().split()
        assert words and words[0].startswith("slime:"), words
        return words[0]

    return started(server, lambda: [ticket() for _ in files])


def state_of(target):
    """How many bytes the part file in TARGET is known to have."""
    for name in os.listdir(target):
        if name.endswith(".state"):
            with open(target / name, "rb") as f:
                return int.from_bytes(f.read(40)[24:32], "little")
    return 0


def stopped_half_way(ticket, target, *args, **kwargs):
    """A 'get' that is frozen after some of the bytes, and has not got them all."""
    reader = Process("get", ticket, "-o", str(target), *args, **kwargs)
    until = time.monotonic() + 60
    while state_of(target) == 0:
        assert time.monotonic() < until
        assert reader.popen.poll() is None, "it was too fast to be stopped"
    reader.stop()
    return reader


def port_of(address):
    """HOST:PORT, or a ticket, as a pair for socket.connect()."""
    match = re.match(r"(?:slime:)?(.*):(\d+)(?:/|$)", address)
    return match.group(1).strip("[]"), int(match.group(2))


def transports():
    """Those that two processes of this host can use; tcp may have been left out of the build."""
    devices = json.loads(run("info", "--json").stdout)["devices"]
    return [d["transport"] for d in devices if d["usable"] and d["transport"] != "loopback"]


def need(transport):
    """Skip where the build has no such transport."""
    if transport not in transports():
        devices = json.loads(run("info", "--json").stdout)["devices"]
        reasons = [d["reason"] for d in devices if d["transport"] == transport]
        if any("BUILD_" in reason for reason in reasons):
            pytest.skip(reasons[0])
        pytest.fail(f"{transport} should work here: {reasons}")
