# SPDX-License-Identifier: BSD-3-Clause
"""What dlslime shows on terminals of any width: a line never takes more than one."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from cli import BIN, DEADLINE_S, MIB, file_server, make, need, state_of

WIDTHS = [20, 8, 40, 80, 132]


class Terminal:
    """A program on a terminal of COLUMNS; what it shows is text."""

    def __init__(self, columns, *args):
        self.screen, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.popen = subprocess.Popen([BIN, *args], stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        self.shown = ""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.popen.kill()
        self.popen.wait()
        os.close(self.screen)

    def read(self, timeout):
        """False at its end."""
        if not select.select([self.screen], [], [], timeout)[0]:
            return True
        try:
            more = os.read(self.screen, 65536)
        except OSError:  # nobody has the other side any more
            return False
        self.shown += more.decode(errors="replace")
        return bool(more)

    def be_slow(self, target):
        """A bar is drawn ten times a second, so what is faster has none: freeze it half-way for that long."""
        until = time.monotonic() + DEADLINE_S
        while state_of(target) == 0:
            assert time.monotonic() < until and self.popen.poll() is None
        self.popen.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED)
        time.sleep(0.2)
        self.popen.send_signal(signal.SIGCONT)

    def finish(self):
        until = time.monotonic() + DEADLINE_S
        while self.read(1):
            assert time.monotonic() < until, self.shown
        return self.popen.wait(DEADLINE_S)


def lines(shown):
    """What stands in each line; a move to a column is blanks."""

    def blanks(match):
        return " " * max(0, int(match[2]) - 1 - len(match[1]))

    shown = re.sub(r"(?<=[\r\n])([^\r\n\x1b]*)\x1b\[(\d+)G", lambda m: m[1] + blanks(m), shown)
    return [re.sub(r"\x1b\[\d*[KJH]", "", line) for line in re.split(r"[\r\n]+", shown) if line]


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_bar_of_get_fits(tmp_path, columns):
    """The name is longer than many terminals, and not ASCII."""
    need("tcp")
    name = "wörterbuch-größe-" * 4
    server, (ticket,) = file_server(make(tmp_path / name, 256 * MIB), options=["--transport", "tcp"])
    (tmp_path / "copy").mkdir()
    with server, Terminal(columns, "get", ticket, "-o", str(tmp_path / "copy")) as get:
        get.be_slow(tmp_path / "copy")
        assert get.finish() == 0
        bars = [line for line in lines(get.shown) if "%" in line]
        assert bars, get.shown
        for bar in bars:
            assert len(bar) < columns and "\ufffd" not in bar, bar
        assert columns < 20 or all("w" in bar for bar in bars)
        assert columns < 132 or any("[" in bar and "left" in bar for bar in bars)


def test_links_fit():
    agents = pytest.importorskip("agents")
    if not (agents.BIN / "nanoctrl").exists():
        pytest.skip("this build has no nanoctrl (BUILD_CTRL)")
    with agents.Daemon() as ctrl, agents.Tool(ctrl.url) as a, agents.Tool(ctrl.url) as b:
        names = ["ä" * 100, "b" * 100]
        a.agent(0, names[0], ttl_ms=1000)
        b.agent(0, names[1], ttl_ms=1000)
        a.ok("connect", 0, names[1], "-")
        a.ok("wait", 0, names[1], 10000)
        until = time.monotonic() + DEADLINE_S
        while True:  # until both have told of their link
            done = subprocess.run([BIN, "links", "--ctrl", ctrl.url], capture_output=True, text=True)
            if done.stdout.count(" connected ") == 2:
                break
            assert time.monotonic() < until, done
        assert names[0] in done.stdout and names[1] in done.stdout  # whole, where there is no terminal
        for columns in WIDTHS:
            with Terminal(columns, "links", "--ctrl", ctrl.url) as links:
                assert links.finish() == 0
                rows = lines(links.shown)
                assert len(rows) == 3 and all(len(row) < columns for row in rows), rows
                if columns >= 20:
                    assert all("ä" in row and "bbb" in row and "connected" in row for row in rows[1:]), rows
                assert ("AGE S" in rows[0]) == (columns == 132)
