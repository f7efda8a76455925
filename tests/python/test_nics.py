# SPDX-License-Identifier: BSD-3-Clause
"""Soft NICs, topology, counters."""

import json
import types

import pytest

import dlslime
from conftest import run_python
from dlslime._contract import nics

LIST = "import dlslime; print(dlslime.available_nic())"


def test_without_a_nic_a_soft_one_appears_and_one_line_says_why():
    done = run_python("""
        import dlslime
        assert dlslime.available_nic() == ["slime0"] == dlslime.available_nic()
        dlslime.RDMAEndpoint().shutdown(); dlslime.discover_topology()
    """, DLSLIME_SOFT_NIC=None)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("dlslime: no RDMA device (")
    assert "slime0" in lines[0]


@pytest.mark.parametrize("asked, names", [("0", []), ("1", ["slime0"]), ("3", ["slime0", "slime1", "slime2"]),
                                          ("a, b", ["a", "b"])])
def test_soft_nics_are_as_many_as_asked_for(asked, names):
    done = run_python(LIST, DLSLIME_SOFT_NIC=asked)
    assert done.stdout.strip() == str(names) and not done.stderr


def test_no_nic_at_all_says_how_to_go_on():
    run_python("""
        import dlslime
        for make in (dlslime.RDMAEndpoint, lambda: dlslime.RDMAEndpoint("mlx5_0")):
            try:
                make()
                raise SystemExit("no exception")
            except RuntimeError as e:
                assert str(e).startswith("No available RDMA devices") and "DLSLIME_SOFT_NIC" in str(e)
        assert dlslime.discover_topology()["nics"] == []
        try:
            dlslime.RDMAContext().init("mlx5_0")
            raise SystemExit("no exception")
        except RuntimeError as e:
            assert str(e) == "No RDMA devices found"
    """, DLSLIME_SOFT_NIC="0")


def test_a_nonsense_number_of_soft_nics_is_refused():
    for bad in ("-1", "65"):
        assert "DLSLIME_SOFT_NIC is" in run_python(LIST, DLSLIME_SOFT_NIC=bad, check=False).stderr


def test_a_device_with_two_ports_is_one_nic_and_each_port_can_be_chosen(monkeypatch):
    devices = [{"transport": "rdma", "name": f"mlx5_0:{port}", "port": port, "usable": True,
                "reason": ""} for port in (1, 2)]
    devices.append({"transport": "rdma", "name": "mlx5_1", "port": 1, "usable": True, "reason": ""})
    monkeypatch.setattr(nics._core, "context", lambda: types.SimpleNamespace(devices=lambda: devices))
    assert dlslime.available_nic() == ["mlx5_0", "mlx5_1"]
    asked = []

    def port(context, transport, device, lanes, regions):
        asked.append((transport, device, lanes))

    monkeypatch.setattr(nics._core, "Port", port)
    dlslime.RDMAEndpoint("mlx5_0", 2, "RoCE", 3)
    dlslime.RDMAEndpoint("mlx5_1")
    assert asked == [("rdma", "mlx5_0:2", 3), ("rdma", "mlx5_1:1", 1)]


def test_a_port_of_a_real_nic_is_checked_before_it_is_opened(sysfs):
    def check(device, port=1, wanted="auto"):
        nics._check_port(device, port, wanted, sysfs)

    for good in (("mlx5_1",), ("mlx5_1", 1, "IB"), ("odd",), ("not_in_sysfs", 7)):
        check(*good)
    for args, kind, sentence in (
            (("mlx5_1", 2), ValueError, "RDMA port 2 is outside valid range 1..1 for device mlx5_1"),
            (("mlx5_1", 1, "RoCE"), ValueError, "Requested RDMA link type RoCE does not match detected IB"),
            (("mlx5_0",), RuntimeError, "RDMA device mlx5_0, port 1 is not ACTIVE")):
        with pytest.raises(kind) as error:
            check(*args)
        assert str(error.value) == sentence
    with open(f"{sysfs}/class/infiniband/mlx5_1/ports/1/link_layer", "w") as f:
        f.write("Token Ring\n")
    with pytest.raises(RuntimeError, match="^Unsupported RDMA port link layer: Token Ring$"):
        check("mlx5_1")


def test_socket_id_is_0_where_it_is_not_known():
    assert [dlslime.socket_id(n) for n in ("slime0", "", "../..", "x\0y")] == [0] * 4


@pytest.fixture
def sysfs(tmp_path):
    def nic(name, state, layer, **files):
        port = tmp_path / "class/infiniband" / name / "ports/1"
        port.mkdir(parents=True)
        for file, text in {"state": state, "link_layer": layer, **files}.items():
            if text is not None:
                (port / file).write_text(text + "\n")

    nic("mlx5_1", "4: ACTIVE", "InfiniBand", active_mtu="4096")
    nic("mlx5_0", "1: down", "Ethernet")
    nic("odd", None, None)
    device = tmp_path / "devices/0000:18:00.0"
    device.mkdir(parents=True)
    (device / "numa_node").write_text("1\n")
    (tmp_path / "class/infiniband/mlx5_1/device").symlink_to(device)
    return str(tmp_path)


def test_topology_is_read_from_sysfs_as_the_contract_says(sysfs, monkeypatch):
    top = dlslime.discover_topology("mlx5_1", sysfs_root=sysfs, preferred_link_type="ib")
    assert json.loads(json.dumps(top)) == top
    first, second, odd = top["nics"]
    assert first == {"name": "mlx5_1", "health": "AVAILABLE", "numa_node": 1,
                     "pci_bus_id": "0000:18:00.0",
                     "ports": [{"port": 1, "state": "ACTIVE", "link_type": "IB", "active_mtu": 4096}]}
    assert second == {"name": "mlx5_0", "health": "DEGRADED", "numa_node": -1, "pci_bus_id": "device",
                      "ports": [{"port": 1, "state": "DOWN", "link_type": "RoCE"}]}
    assert odd["ports"] == [{"port": 1, "state": "ACTIVE", "link_type": "IB"}]
    assert top["topology_backends"] == {"sysfs": "AVAILABLE", "cuda": "NOT_BUILT", "nvml": "NOT_BUILT"}
    assert (top["schema_version"], top["accelerators"], top["memory_keys"]) == (1, [], [])
    monkeypatch.setenv("SLIME_VISIBLE_DEVICES", " mlx5_0 ,")
    assert [n["name"] for n in dlslime.discover_topology(sysfs_root=sysfs)["nics"]] == ["mlx5_0"]


def test_topology_without_a_nic_is_empty(tmp_path):
    top = dlslime.discover_topology(sysfs_root=str(tmp_path))
    assert top["nics"] == [] and top["topology_backends"]["sysfs"] == "UNAVAILABLE"


def test_the_soft_nic_is_in_the_topology():
    nic, = dlslime.discover_topology()["nics"]
    assert nic["name"] == "slime0" and nic["health"] == "AVAILABLE"
    assert nic["ports"] == [{"port": 1, "state": "ACTIVE", "link_type": "RoCE", "active_mtu": 4096}]


def test_wrong_types_are_told():
    for kwargs in ({"preferred_device": 1}, {"ib_port": "1"}, {"ib_port": -1}, {"devices": "mlx5_0"},
                   {"devices": [1]}, {"sysfs_root": None}, {"preferred_link_type": 2}):
        with pytest.raises(TypeError):
            dlslime.discover_topology(**kwargs)


def test_counters_are_off_unless_asked_for():
    assert run_python("import dlslime; print(dlslime.obs_enabled(), dlslime.obs_snapshot())",
                      DLSLIME_OBS="true").stdout == "False {'enabled': False}\n"


def test_counters_count_each_call_of_the_user_once():
    run_python("""
        import dlslime
        m = dlslime.alloc(4096)
        a, b = dlslime.RDMAEndpoint(num_qp=2), dlslime.RDMAEndpoint(num_qp=2)
        for e in (a, b): e.register_memory_region("m", m.addr, 0, 4096)
        a.connect(b.endpoint_info()); b.connect(a.endpoint_info())
        a.read([(0, 0, 0, 0, 8)] * 3).wait(); a.write([(0, 0, 0, 0, 8)]).wait()
        a.write_with_imm([(0, 0, 0, 0, 16)], 1).wait(); b.imm_recv().wait()
        try: a.read([(0, 0, 4095, 0, 8)]).wait()
        except RuntimeError: pass
        import time
        deadline = time.monotonic() + 5
        while dlslime.obs_snapshot()["summary"]["pending_ops"] and time.monotonic() < deadline:
            time.sleep(0.001)
        s = dlslime.obs_snapshot()
        assert s["enabled"] is True
        want = {"assign_total": 6, "batch_total": 4, "submitted_bytes_total": 56,
                "completed_bytes_total": 48, "failed_bytes_total": 8, "pending_ops": 0,
                "error_total": 1, "user_mr_count": 2, "mr_count": 2, "mr_bytes": 8192}
        got = {k: s["summary"][k] for k in want}
        assert got == want, got
        assert set(s["summary"]["pending_by_op"]) == {"read", "write", "write_with_imm", "send",
                                                       "recv", "imm_recv"}
        nic, = s["nics"]
        assert nic["nic"] == "slime0" and nic["nic_bdf"] == ""
        assert set(nic["by_op"]) == {"read", "write", "write_with_imm"}
        assert nic["by_op"]["read"]["assign"] == 4 and nic["by_op"]["read"]["errors"] == 1
        dlslime.obs_reset_for_test()
        s = dlslime.obs_snapshot()
        assert s["summary"]["assign_total"] == 0 and [n["nic"] for n in s["nics"]] == ["slime0"]
        slots = [dlslime.obs_register_nic_for_test(f"n{i}") for i in range(16)]
        assert slots == [*range(1, 16), -1] and dlslime.obs_register_nic_for_test("n3") == 4
    """, DLSLIME_OBS="1")
