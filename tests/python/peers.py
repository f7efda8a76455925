# SPDX-License-Identifier: BSD-3-Clause
"""For the tests of PeerAgent: a nanoctrl of one's own, and agents in processes of their own.

Run as a program it is such a process: it has `agent` and does the Python that it reads, a line each.
"""

import os
import sys
from pathlib import Path

PATIENCE = 20   # seconds that a test waits for what should come soon


def serve(url, alias, scope):
    """Answer each line: "= repr" of what it is, or "! " and the exception."""
    import dlslime

    def memory(n, seed):
        """N bytes, and a view of them."""
        m = dlslime.alloc(n)
        view = memoryview(m)
        view[:] = bytes((seed + i) & 0xFF for i in range(n))
        return m, view

    space = {"dlslime": dlslime, "memory": memory}
    if alias:
        space["agent"] = dlslime.PeerAgent(url, alias, scope=scope or None)
    print("= ready", flush=True)
    for line in sys.stdin:
        code = eval(line)
        try:
            try:
                done = eval(compile(code, "<asked>", "eval"), space)
            except SyntaxError:
                done = exec(code, space)
            print("=", repr(done), flush=True)
        except Exception as e:
            print("!", f"{type(e).__name__}: {e}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:4])
    sys.exit()

import pytest  # noqa: E402

if "DLSLIME_BIN" not in os.environ:
    pytest.skip("DLSLIME_BIN does not say where nanoctrl is", allow_module_level=True)
if not (Path(os.environ["DLSLIME_BIN"]) / "nanoctrl").exists():
    pytest.skip("this build has no nanoctrl (BUILD_CTRL)", allow_module_level=True)

from dlslime import _core  # noqa: E402

if not _core.has_agent():
    pytest.skip("this build has no agents (libevent or jansson was missing)", allow_module_level=True)

sys.path.append(str(Path(__file__).resolve().parent.parent / "integration"))

from agents import Daemon, Process  # noqa: E402, F401
from nanoctrl_daemon import make_certificates  # noqa: E402, F401


class Failed(Exception):
    """What the other process says of an exception there."""


class Peer(Process):
    """A process with an agent; `peer("expression or statements")` does it there."""

    def __init__(self, url, alias="", scope=""):
        super().__init__(sys.executable, "-X", "faulthandler", __file__, url, alias, scope)
        self.answer()

    def __call__(self, code, timeout=PATIENCE):
        self.say(repr(code))
        return self.answer(timeout)

    def ask(self, code):
        """Begin it; answer() is to be called for what it gave."""
        self.say(repr(code))

    def answer(self, timeout=PATIENCE):
        line = self.line(timeout)
        if line.startswith("! "):
            raise Failed(line[2:])
        assert line.startswith("= "), line
        try:
            return eval(line[2:])
        except (SyntaxError, NameError):
            return line[2:]

    def kv(self, n=4096, seed=0, name="kv"):
        """Give it memory under a name."""
        self(f"m_{name}, v_{name} = memory({n}, {seed})")
        return self(f"agent.register_memory_region({name!r}, m_{name}.addr, 0, {n})")


def until(true, timeout=PATIENCE):
    """Look until TRUE() is true."""
    import time

    deadline = time.monotonic() + timeout
    while True:
        value = true()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.002)


@pytest.fixture
def ctrl():
    with Daemon() as daemon:
        yield daemon
