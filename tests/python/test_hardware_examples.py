# SPDX-License-Identifier: BSD-3-Clause
"""The examples for GPUs and NPUs, with stand-ins for the hardware: a torch whose tensors are the host's,
and endpoints over TCP with the names and arguments of the contract. It shows that the scripts are right,
and nothing about the hardware."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(os.environ.get("DLSLIME_SOURCE", Path(__file__).resolve().parents[2])) / "examples" / "python"

FILES = {
    "sitecustomize.py": """
import dlslime

class StandIn:
    def __init__(self):
        self.tcp, self.mine, self.theirs = dlslime.TcpEndpoint("127.0.0.1"), {}, {}

    def init(self, host, port):
        return 0

    def register_memory_region(self, addr, offset, length, name=None):
        self.mine[name] = self.tcp.register_memory_region(name, addr, offset, length)
        return self.mine[name]

    def endpoint_info(self):
        return self.tcp.endpoint_info()

    def connect(self, info):
        self.tcp.connect(info)
        for name, entry in info["mr_info"].items():
            self.theirs[name] = self.tcp.register_remote_memory_region(name, entry)

    def read(self, assign, stream=None):
        return self.tcp.read([(self.mine[a], self.theirs[b], *rest) for a, b, *rest in assign])

dlslime.NVLinkEndpoint = dlslime.AscendDirectEndpoint = StandIn
""",
    "torch_npu.py": "",
    "torch/__init__.py": """
import dlslime
uint8 = "uint8"

class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    set_device = synchronize = staticmethod(lambda *args: None)

class Tensor:
    def __init__(self, n, value):
        self.memory = dlslime.alloc(n)
        memoryview(self.memory)[:] = bytes([value]) * n

    def data_ptr(self):
        return self.memory.addr

    def tolist(self):
        return list(memoryview(self.memory))

def full(shape, value, *, dtype, device):
    assert dtype is uint8 and device.startswith(("cuda", "npu:"))
    return Tensor(shape[0], value)
""",
    "torch/distributed.py": """
import json, os
_lines = None

def init_process_group(backend):
    import socket
    global _lines
    assert backend == "gloo"
    _lines = socket.create_connection(("127.0.0.1", int(os.environ["HUB"])), 60).makefile("rw")

def get_rank():
    return int(os.environ["RANK"])

def all_gather_object(out, mine):
    _lines.write(json.dumps([get_rank(), mine]) + "\\n")
    _lines.flush()
    out[:] = json.loads(_lines.readline())

def barrier():
    all_gather_object([], None)

def destroy_process_group():
    _lines.close()
""",
}


@pytest.fixture
def start(tmp_path):
    """start(name, args, env): the example, with the stand-ins before everything else."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    started = []

    def start_one(name, *args, **env):
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        started.append(subprocess.Popen([sys.executable, EXAMPLES / name, *args], text=True,
                                        env={**os.environ, "PYTHONPATH": path, **env},
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def said(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_rank_0_reads_the_memory_of_rank_1(start):
    sys.path.insert(0, str(EXAMPLES.parent.parent / "bench" / "python"))
    from ranks import start_hub

    listener = socket.create_server(("127.0.0.1", 0))
    port = str(listener.getsockname()[1])
    hub = start_hub(listener, 2)
    ranks = [start("p2p_nvlink.py", RANK=str(rank), WORLD_SIZE="2", HUB=port) for rank in (0, 1)]
    assert [said(rank) for rank in ranks] == ["read: [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]\n", ""]
    hub.join(60)


def test_one_process_alone_says_how_to_start_two(start):
    process = start("p2p_nvlink.py")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.endswith("it is two processes: torchrun --nproc_per_node=2 examples/python/p2p_nvlink.py\n")


def test_the_initiator_reads_the_memory_of_the_target(start):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [str(s.getsockname()[1]) for s in (one, two)]
    initiator = start("p2p_ascend_read.py", "--local_port", ports[0], "--remote_port", ports[1])
    target = start("p2p_ascend_read.py", "--is_target", "--local_port", ports[1], "--remote_port", ports[0])
    assert said(initiator) == "read: [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]\n"
    assert said(target) == ""
