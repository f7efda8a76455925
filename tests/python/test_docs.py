# SPDX-License-Identifier: BSD-3-Clause
"""The pages about Python: their code runs, from top to bottom, and the reference is what there is.

A block of ```python runs; what is quoted from other systems is ```py.
"""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import dlslime
from conftest import PATIENCE

SOURCE = Path(os.environ.get("DLSLIME_SOURCE", Path(__file__).resolve().parents[2]))
DOCS = SOURCE / "docs"


def blocks(page):
    """(number of the first line, code) of each ```python block."""
    text = (DOCS / page).read_text()
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.S | re.M):
        yield text.count("\n", 0, found.start(1)) + 1, found.group(1)


def run(page, names, skip=()):
    """Run the page's blocks in one namespace; how many ran."""
    ran = 0
    with asyncio.Runner() if hasattr(asyncio, "Runner") else OldRunner() as loop:
        for line, code in blocks(page):
            if any(word in code for word in skip):
                continue
            tree = compile("\n" * (line - 1) + code, str(DOCS / page), "exec",
                           ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if tree.co_flags & inspect.CO_COROUTINE:
                loop.run(eval(tree, names))
            else:
                exec(tree, names)
            ran += 1
    return ran


class OldRunner:
    """What asyncio.Runner does, for Python 3.10."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        return self

    def __exit__(self, *exc):
        self.loop.close()

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)


class Peer:
    """The other side of the tour: it has memory, and answers a message with one."""

    def __init__(self):
        self.memory = dlslime.alloc(1 << 20)
        memoryview(self.memory)[:] = bytes(range(256)) * 4096
        self.region = dlslime.register(self.memory)
        self.endpoint = dlslime.Endpoint()
        self.imms = []

    def hear(self, exported, their_region):
        self.thread = threading.Thread(target=self.serve, args=(exported,))
        self.thread.start()

    def tell(self):
        return self.endpoint.export(), self.region.export()

    def serve(self, exported):
        self.endpoint.connect(exported, timeout=PATIENCE)
        inbox = dlslime.register(bytearray(64))
        for _ in range(2):
            self.imms.append(self.endpoint.recv_imm().wait(PATIENCE))
        assert self.endpoint.recv(inbox).wait(PATIENCE) == len(b"your turn")
        self.endpoint.send(b"mine").wait(PATIENCE)


def test_the_tour_runs_from_top_to_bottom(capsys):
    pytest.importorskip("numpy")
    peer = Peer()
    names = {"send_to_peer": peer.hear, "receive_from_peer": peer.tell}
    assert run("python.md", names, skip=["start_peer_agent"]) == 7
    peer.thread.join(PATIENCE)
    assert peer.imms == [7, 8]
    said = capsys.readouterr().out
    assert "'transport': " in said and "b'mine'" in said and "16384 r" in said
    names["ep"].close()
    peer.endpoint.close()


def test_the_migration_page_runs_from_top_to_bottom():
    names = {}
    assert run("coming-from.md", names) == 7
    assert bytes(names["mine"])[:4096] == b"k" * 4096


def test_the_blocks_of_other_systems_are_python():
    text = (DOCS / "coming-from.md").read_text()
    quoted = re.findall(r"^```py\n(.*?)^```$", text, re.S | re.M)
    assert len(quoted) == 2
    for code in quoted:
        ast.parse(code)


def test_the_reference_is_what_the_package_says():
    done = subprocess.run([sys.executable, "-B", SOURCE / "tools" / "python-reference", "--print"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (DOCS / "python-reference.md").read_text(), (
        "docs/python-reference.md is out of date: PYTHONPATH=build/python build/venv/bin/python "
        "tools/python-reference writes it")


@pytest.mark.parametrize("folder", ["examples/python", "bench/python"])
def test_the_page_names_every_program(folder):
    text = (DOCS / "python.md").read_text()
    missing = [path.name for path in (SOURCE / folder).glob("*.py")
               if "__main__" in path.read_text() and path.name not in text]
    assert missing == []
