# SPDX-License-Identifier: BSD-3-Clause
"""The examples with a control plane, run as programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from peers import PATIENCE, ctrl  # noqa: F401
from test_docs import blocks

HERE = Path(os.environ.get("DLSLIME_SOURCE", Path(__file__).resolve().parents[2]))
EXAMPLES = HERE / "examples" / "python"
MOVED = {"read": "read: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]",
         "written": "written: [8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0]"}


def start(name, *args, **env):
    full = {k: v for k, v in {**os.environ, **env}.items() if v is not None}
    return subprocess.Popen([sys.executable, EXAMPLES / name, *args], text=True, env=full,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process):
    """What it said; it ends well."""
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize("name, says", [
    ("p2p_rdma_rc_read_ctrl_plane.py", ["agents: initiator, target", MOVED["read"]]),
    ("p2p_rdma_multi_agents_ctrl_plane.py", ["[TIME] start: ", "[TIME] connect_to: ", "[TIME] conn.wait: ",
                                             "[TIME] register: ", "[TIME] read: ",
                                             "56 reads are as expected"]),
    ("p2p_tcp_send_recv_peer_agent.py", ["a -> b: 4096 bytes", "b -> a: 4096 bytes"]),
    ("p2p_tcp_rc_read_peer_agent.py", [" over tcp", MOVED["read"]]),
    ("p2p_tcp_rc_write_peer_agent.py", [" over tcp", MOVED["written"]]),
])
@pytest.mark.parametrize("how", ["flag", "environment"])
def test_an_example_with_a_control_plane_ends_well(ctrl, name, says, how):
    if how == "flag":
        out = end(start(name, "--ctrl", ctrl.url, DLSLIME_CTRL=None))
    else:
        out = end(start(name, DLSLIME_CTRL=ctrl.url))
    for text in says:
        assert text in out


TWO = "p2p_tcp_rc_read_peer_agent_two_process.py"


@pytest.mark.parametrize("flag", ["--ctrl", "--ctrl_address"])
def test_two_processes_find_each_other_in_either_order(ctrl, flag):
    for roles in (("target", "initiator"), ("initiator", "target")):
        both = {role: start(TWO, "--role", role, flag, ctrl.url, "--local_host", "127.0.0.1",
                            "--local_port", "0", "--connect_timeout", str(PATIENCE))
                for role in roles}
        said = {role: end(process) for role, process in both.items()}
        assert "read 1048576 bytes over tcp" in said["initiator"]
        assert "the initiator has read all" in said["target"]


def test_the_initiator_alone_says_who_did_not_come(ctrl):
    process = start(TWO, "--role", "initiator", "--ctrl", ctrl.url, "--connect_timeout", "0.2")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("the target did not come: Timeout waiting for connection")


def test_the_tour_s_agents_read_by_name(ctrl, monkeypatch):
    import dlslime

    monkeypatch.setenv("DLSLIME_CTRL", ctrl.url)
    code = [code for _, code in blocks("python.md") if "start_peer_agent" in code]
    assert len(code) == 1
    exec(code[0], {"dlslime": dlslime})
