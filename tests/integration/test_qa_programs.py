# SPDX-License-Identifier: BSD-3-Clause
"""What a stranger to the programs does to them: files that are none, limits, ports that are too large."""

import os
import resource
import socket
import subprocess

import pytest

import cli

NANOCTRL = cli.BIN.with_name("nanoctrl")
needs_nanoctrl = pytest.mark.skipif(not NANOCTRL.exists(), reason="this build has no nanoctrl (BUILD_CTRL)")


def nanoctrl(*args, **kwargs):
    return subprocess.run([NANOCTRL, *args], capture_output=True, timeout=cli.DEADLINE_S, **cli.TEXT, **kwargs)


@pytest.fixture
def served(tmp_path):
    """A file of 1 MiB, and its ticket."""
    server, (ticket,) = cli.file_server(cli.make(tmp_path / "file", cli.MIB))
    with server:
        yield ticket


def only_small_files(limit=1024):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def test_a_file_past_the_limit_of_file_sizes_is_a_sentence(tmp_path):
    """The memory of 'get' is within the limit, its file is not."""
    server, (ticket,) = cli.file_server(cli.make(tmp_path / "file", 20 * cli.MIB))
    with server:
        done = cli.get(ticket, "-o", tmp_path / "copy", preexec_fn=lambda: only_small_files(17 * cli.MIB))
    assert "File too large" in cli.failed(done)


def test_memory_past_the_limit_of_file_sizes_is_a_sentence_and_not_a_signal():
    example = cli.BIN.with_name("examples") / "01_read"
    if not example.exists():
        pytest.skip("this build has no examples")
    done = subprocess.run(
        [example], capture_output=True, timeout=cli.DEADLINE_S, preexec_fn=only_small_files, **cli.TEXT
    )
    assert done.returncode == 1, done
    assert "cannot allocate 1048576 bytes of shared memory: file too large" in done.stderr, done.stderr


@needs_nanoctrl
def test_a_database_past_the_limit_of_file_sizes_is_a_sentence(tmp_path):
    done = nanoctrl("--port", "0", "--db", tmp_path / "state.db", preexec_fn=only_small_files)
    assert done.returncode == 1, done
    assert done.stderr.startswith("nanoctrl: "), done.stderr


def test_an_empty_name_for_the_output_fetches_nothing(served, tmp_path):
    done = cli.get(served, "-o", "", cwd=tmp_path)
    assert "--output is empty" in cli.failed(done, 2)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "path, sentence",
    [
        ("/dev/zero", "is no token"),
        ("/dev/null", "is no token"),
        ("/", "Is a directory"),
        ("/nonexistent/token", "No such file"),
    ],
)
def test_a_token_file_that_is_none_is_a_sentence(path, sentence):
    done = cli.run("peers", "--token-file", path)
    assert sentence in cli.failed(done)


@needs_nanoctrl
def test_the_daemon_waits_for_no_token_file(tmp_path):
    fifo = tmp_path / "tokens"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, "/dev/zero"):
        done = nanoctrl("--port", "0", "--db", ":memory:", "--token-file", path)
        assert done.returncode == 1, done
        assert "is no regular file" in done.stderr, done.stderr


@needs_nanoctrl
@pytest.mark.parametrize("verb", [("status",), ("top", "--once"), ("obs", "status")])
def test_a_port_that_is_too_large_is_not_another_one(verb, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"127.0.0.1:{listener.getsockname()[1] + 65536}"
        env = {**os.environ, "NANOCTRL_RUNTIME_DIR": str(tmp_path)}
        done = nanoctrl(*verb, "--address", address, env=env)
        assert done.returncode == 1, done
        assert f"'{address}' names no port" in done.stdout + done.stderr, done
        with pytest.raises(BlockingIOError):  # nobody has called
            listener.accept()


@pytest.mark.parametrize(
    "name", ["01_read", "02_write_imm", "03_messages", "04_queue", "05_strided", "06_prepared", "07_deadline_cancel", "read"]
)
def test_an_example_says_when_nobody_hears_it(name):
    example = cli.BIN.with_name("examples") / name
    if not example.exists():
        pytest.skip("this build has no examples")
    with open("/dev/full", "w") as full:
        done = subprocess.run([example], stdout=full, stderr=subprocess.PIPE, timeout=cli.DEADLINE_S, **cli.TEXT)
    assert done.returncode == 1, done
    assert "standard output" in done.stderr, done.stderr
