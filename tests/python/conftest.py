# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the Python package share."""

import os
import subprocess
import sys
import textwrap
import time

import pytest

import dlslime

PATIENCE = 10   # seconds that a test waits for what should come at once


def run_python(code, *args, check=True, timeout=60, **env):
    """Run CODE in a Python of its own; an environment value of None removes the variable."""
    full = {k: v for k, v in {**os.environ, **env}.items() if v is not None}
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *args],
                          env=full, capture_output=True, text=True, timeout=timeout)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def until(true):
    """Look until TRUE() is true, for as long as a test waits."""
    deadline = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)
    return true()


@pytest.fixture
def ends():
    """Two connected endpoints of the new API, in this process."""
    with dlslime.Endpoint() as a, dlslime.Endpoint() as b:
        a.connect(b.export(), timeout=0)
        b.connect(a.export(), timeout=PATIENCE)
        assert until(lambda: a.connected)
        yield a, b


class Side:
    """An RDMAEndpoint with memory under handle 0."""

    def __init__(self, nbytes=4096, **kwargs):
        self.memory = dlslime.alloc(nbytes)
        self.view = memoryview(self.memory)
        self.endpoint = dlslime.RDMAEndpoint(**kwargs)
        self.handle = self.endpoint.register_memory_region("memory", self.memory.addr, 0, nbytes)


@pytest.fixture
def sides():
    """Two connected RDMAEndpoints on soft NICs."""
    a, b = Side(), Side()
    a.endpoint.connect(b.endpoint.endpoint_info())
    b.endpoint.connect(a.endpoint.endpoint_info())
    yield a, b
    a.endpoint.shutdown()
    b.endpoint.shutdown()


# A peer in another process: it connects, exports a region of 1 MiB of 'p', and stays until told.
PEER = """
    import sys, dlslime
    def swap(mine):
        sys.stdout.write(mine.hex() + "\\n"); sys.stdout.flush()
        return bytes.fromhex(sys.stdin.readline())
    memory = dlslime.alloc(1 << 20)
    memoryview(memory)[:] = b"p" * (1 << 20)
    region = dlslime.register(memory)
    endpoint = dlslime.Endpoint(sys.argv[1])
    endpoint.connect(swap(endpoint.export()), timeout=20)
    sys.stdout.write(region.export().hex() + "\\n"); sys.stdout.flush()
    sys.stdin.readline()
    print(memoryview(memory)[0:8].tobytes())
"""


@pytest.fixture
def peer():
    """peer(transport) -> (endpoint here, RemoteRegion, process)."""
    made = []

    def start(transport="auto"):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PEER), transport],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        endpoint = dlslime.Endpoint(transport)
        made.append((process, endpoint))
        theirs = bytes.fromhex(process.stdout.readline())
        process.stdin.write(endpoint.export().hex() + "\n")
        process.stdin.flush()
        endpoint.connect(theirs, timeout=20)
        return endpoint, endpoint.import_region(bytes.fromhex(process.stdout.readline())), process

    yield start
    for process, endpoint in made:
        endpoint.close()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
