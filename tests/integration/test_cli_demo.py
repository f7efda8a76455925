# SPDX-License-Identifier: BSD-3-Clause
"""tools/demo, which 'make demo' runs, and the completion for bash."""

import os
import subprocess
from pathlib import Path

import pytest
from cli import BIN, make, need

SOURCE = Path(os.environ.get("DLSLIME_SOURCE", Path(__file__).parents[2]))


NANOCTRL = BIN.parent / "nanoctrl"


@pytest.fixture
def root(tmp_path):
    """A root whose build/bin is the one under test, and a place for temporary files."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build/bin").symlink_to(BIN.parent)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def demo(root, file):
    env = {**os.environ, "TMPDIR": str(root / "tmp")}
    done = subprocess.run([SOURCE / "tools/demo", file], cwd=root, env=env, capture_output=True, text=True, timeout=100)
    assert os.listdir(root / "tmp") == []
    return done


@pytest.mark.parametrize("name, size", [("file", 5000000), ("-with space", 5000000), ("empty", 0)])
def test_the_demo_shows_both_ways_and_that_the_copies_are_identical(root, name, size):
    need("tcp")
    path = make(root / name, size)
    done = demo(root, path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("copy     identical") == 2
    assert done.stdout.count("because  ") == 2 and done.stdout.count(" GB/s") == 2
    assert "over     tcp" in done.stdout
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    if NANOCTRL.exists():
        assert lines.count("demo-server") == 1 and lines.count(name) == 1
        links = [line for line in lines if " connected " in line]
        assert links and all("demo-server" in line for line in links)
    assert any(line.startswith("-- Python: left out, ") for line in lines)  # no package in this root


def test_the_demo_of_a_file_that_is_not_there_fails(root):
    done = demo(root, root / "missing")
    assert done.returncode == 1
    assert "missing" in done.stderr


@pytest.mark.parametrize(
    "words, want",
    [
        (["d"], ["doctor"]),
        (["perf", ""], ["serve", "run", "local", "--help"]),
        (["perf", "local", "--op", "w"], ["write", "write_imm"]),
        (["perf", "run", "h:1", "--mem", ""], ["alloc", "malloc"]),
        (["get", "--tr"], ["--transport"]),
        (["serve", "--p"], ["--port"]),
        (["serve", "--na"], ["--name"]),
        (["get", "x", "--ct"], ["--ctrl"]),
        (["info", "--"], ["--json", "--env", "--help"]),
    ],
)
def test_completion_knows_verbs_options_and_values(words, want):
    script = 'source "$0"; COMP_WORDS=(dlslime "$@"); COMP_CWORD=$#; _dlslime; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", script, SOURCE / "cmd/dlslime/completion.bash", *words], capture_output=True, text=True
    )
    assert done.stdout.split() == want


def test_completion_offers_files_to_serve(tmp_path):
    (tmp_path / "model.bin").touch()
    script = 'source "$0"; COMP_WORDS=(dlslime serve mo); COMP_CWORD=2; _dlslime 2>/dev/null; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", script, SOURCE / "cmd/dlslime/completion.bash"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["model.bin"]
