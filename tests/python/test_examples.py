# SPDX-License-Identifier: BSD-3-Clause
"""The examples, run as the documents say: as programs, on what NICs there are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(os.environ.get("DLSLIME_SOURCE", Path(__file__).resolve().parents[2]))
EXAMPLES = SOURCE / "examples" / "python"


def example(name, *args, python=(), **env):
    full = {k: v for k, v in {**os.environ, **env}.items() if v is not None}
    return subprocess.run([sys.executable, *python, EXAMPLES / name, *args], env=full, text=True,
                          capture_output=True, timeout=60)


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


ALONE = [
    ("p2p_rdma_rc_read.py", ["read: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]"]),
    ("p2p_rdma_rc_write.py", ["written: [8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0]"]),
    ("p2p_rdma_rc_write_with_imm_data.py", [
        "imm: 1", "written: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]"]),
    ("p2p_rdma_rc_send_recv_gdr.py", ["262144 bytes sent and received over"]),
    ("p2p_tcp_rc_send_recv.py", ["a -> b: 4096 bytes", "b -> a: 4096 bytes"]),
    ("asyncio_read.py", ["1000 reads, 256000 bytes over", "nobody sent a number"]),
    ("numpy_blocks.py", ["100 blocks, 409600 bytes over", "a block of 8 layers, 32768 bytes"]),
]


@pytest.mark.parametrize("name, says", ALONE)
def test_an_example_says_what_it_moved(name, says):
    if name == "numpy_blocks.py":
        pytest.importorskip("numpy")
    lines = lines_of(example(name))
    for text in says:
        assert any(line.startswith(text) for line in lines), lines


@pytest.mark.parametrize("name", [name for name, _ in ALONE if name != "numpy_blocks.py"])
def test_an_example_needs_the_standard_library_and_dlslime_only(name):
    lines_of(example(name, python=["-S"]))


@pytest.mark.parametrize("name", [name for name, _ in ALONE if name.startswith("p2p_rdma")])
def test_an_rdma_example_moves_between_two_nics(name):
    lines_of(example(name, DLSLIME_SOFT_NIC="2"))


@pytest.mark.parametrize("name", [name for name, _ in ALONE if name.startswith("p2p_rdma")])
def test_an_rdma_example_without_any_nic_says_how_to_go_on(name):
    done = example(name, DLSLIME_SOFT_NIC="0", SLIME_VISIBLE_DEVICES="none")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "RuntimeError: No available RDMA devices (DLSLIME_SOFT_NIC=0: unset it for a soft NIC over "
        "shared memory and TCP)")


def test_the_message_without_a_gpu_says_so():
    lines = lines_of(example("p2p_rdma_rc_send_recv_gdr.py", python=["-S"]))
    assert lines[0].endswith("memory is the host's (torch is not installed)")


@pytest.mark.parametrize("name, args", [
    ("p2p_nvlink.py", []),
    ("p2p_ascend_read.py", []),
    ("p2p_ascend_read.py", ["--is_target", "--local_port", "17001", "--remote_port", "17000",
                            "--localhost", "127.0.0.1", "--device", "0"]),
])
def test_an_example_that_cannot_run_says_why(name, args):
    done = example(name, *args)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"{name} cannot run here: ")
    assert "is not part of this version" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_topology_is_told_for_people_and_as_json():
    import json

    document = json.loads(example("discover_cuda_topology.py", "--json").stdout)
    assert document["schema_version"] == 1
    lines = lines_of(example("discover_cuda_topology.py"))
    assert lines[0] == f"host: {document['host']['hostname']} ({document['host']['address']})"
    assert f"NICs: {len(document['nics'])}" in lines
    assert f"GPUs: {len(document['accelerators'])}" in lines
    for nic in document["nics"]:
        assert any(line.startswith(f"  {nic['name']}: ") for line in lines)


def test_every_example_is_run_here_or_with_the_control_plane():
    tests = "".join((Path(__file__).parent / name).read_text()
                    for name in ("test_examples.py", "test_peer_agent_examples.py"))
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tests] == []
