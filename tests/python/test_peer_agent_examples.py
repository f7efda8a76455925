# SPDX-License-Identifier: BSD-3-Clause
"""The examples with a control plane, run as programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from peers import ctrl  # noqa: F401

HERE = Path(os.environ.get("DLSLIME_SOURCE", Path(__file__).resolve().parents[2]))


@pytest.mark.parametrize("name, says", [
    ("p2p_rdma_rc_read_ctrl_plane.py", ["agents: initiator, target", "read: [0, 0"]),
    ("p2p_rdma_multi_agents_ctrl_plane.py", ["[TIME] start: ", "[TIME] connect_to: ", "[TIME] conn.wait: ",
                                             "[TIME] register: ", "[TIME] read: ",
                                             "56 reads are as expected"]),
])
def test_an_example_with_a_control_plane_ends_well(ctrl, name, says):
    done = subprocess.run([sys.executable, HERE / "examples" / "python" / name], text=True,
                          capture_output=True, timeout=60, env={**os.environ, "DLSLIME_CTRL": ctrl.url})
    assert done.returncode == 0, done.stderr
    for text in says:
        assert text in done.stdout
