# SPDX-License-Identifier: BSD-3-Clause
"""'dlslime info' and 'dlslime doctor' about RDMA devices, on trees of files like the kernel's."""

import json
import os

import pytest

import cli

V4 = "0000:0000:0000:0000:0000:ffff:0a46:0001"
V4_OTHER = "0000:0000:0000:0000:0000:ffff:0a46:0002"
LINK_LOCAL = "fe80:0000:0000:0000:8ca7:61ff:fe5b:7ef1"
GLOBAL = "2001:0db8:0000:0000:0000:0000:0000:0007"
IB = "fe80:0000:0000:0000:0002:c903:0001:0002"
EMPTY = "0000:0000:0000:0000:0000:0000:0000:0000"


class Tree:
    """What stands for / of the machine."""

    def __init__(self, root):
        self.root = root

    def put(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def nic(self, device, number=1, state="4: ACTIVE", phys_state="5: LinkUp", link_layer="Ethernet", gids=(), **more):
        """Like the kernel: an entry of the GID table that is empty has no type."""
        base = f"sys/class/infiniband/{device}"
        port = f"{base}/ports/{number}"
        self.put(f"{base}/fw_ver", more.get("firmware", "28.39.1002") + "\n")
        self.put(f"{base}/device/numa_node", more.get("numa", "1") + "\n")
        self.put(f"{port}/state", state + "\n")
        self.put(f"{port}/phys_state", phys_state + "\n")
        self.put(f"{port}/link_layer", link_layer + "\n")
        self.put(f"{port}/rate", more.get("rate", "400 Gb/sec (4X NDR)") + "\n")
        self.put(f"{port}/lid", more.get("lid", "0x0") + "\n")
        (self.root / port / "gids").mkdir(exist_ok=True)
        for i, (gid, kind) in enumerate(gids):
            self.put(f"{port}/gids/{i}", gid + "\n")
            if kind:
                self.put(f"{port}/gid_attrs/types/{i}", kind + "\n")
                self.put(f"{port}/gid_attrs/ndevs/{i}", "ens1\n")
        for name, value in more.get("counters", {}).items():
            self.put(f"{port}/hw_counters/{name}", f"{value}\n")
        return port

    def run(self, *args, **env):
        return cli.run(*args, env={**os.environ, "DLSLIME_SYSROOT": str(self.root), **env})

    def ports(self, **env):
        done = self.run("info", "--json", **env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["rdma"]

    def chosen(self, **env):
        return [g["index"] for g in self.ports(**env)[0]["gids"] if g["chosen"]]

    def findings(self, **env):
        done = self.run("doctor", "--json", **env)
        assert not done.stderr, done.stderr
        return {c["name"]: c for c in json.loads(done.stdout)["checks"] if c["name"].startswith("rdma ")}


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_info_tells_all_of_a_port(tree):
    tree.nic("mlx5_0", gids=[(V4, "RoCE v2")])
    assert tree.ports() == [
        {
            "device": "mlx5_0",
            "port": 1,
            "state": "ACTIVE",
            "phys_state": "LinkUp",
            "link_layer": "Ethernet",
            "rate": "400 Gb/sec (4X NDR)",
            "firmware": "28.39.1002",
            "driver": "",
            "bits_per_s": 400000000000,
            "numa": 1,
            "lid": 0,
            "gids": [
                {
                    "index": 0,
                    "chosen": True,
                    "gid": "::ffff:10.70.0.1",
                    "type": "RoCE v2",
                    "netdev": "ens1",
                    "why": "RoCE v2 with an IPv4 address",
                }
            ],
        }
    ]
    text = tree.run("info").stdout
    assert "mlx5_0 port 1 ACTIVE, Ethernet, 400 Gb/sec (4X NDR), numa 1, firmware 28.39.1002" in text
    assert "-> gid 0   ::ffff:10.70.0.1  RoCE v2 on ens1" in text


@pytest.mark.parametrize(
    "gids, chosen",
    [
        ([(LINK_LOCAL, "IB/RoCE v1"), (LINK_LOCAL, "RoCE v2"), (V4, "IB/RoCE v1"), (V4, "RoCE v2")], [3]),
        ([(V4, "RoCE v2"), (V4_OTHER, "RoCE v2")], [0]),
        ([(GLOBAL, "RoCE v2"), (V4, "RoCE v2")], [1]),
        ([(LINK_LOCAL, "RoCE v2"), (EMPTY, ""), (GLOBAL, "RoCE v2")], [2]),
        ([(LINK_LOCAL, "RoCE v2"), (V4, "IB/RoCE v1")], []),
        ([(EMPTY, "")], []),
        ([], []),
    ],
)
def test_the_gid_is_chosen_by_the_rule(tree, gids, chosen):
    tree.nic("mlx5_0", gids=gids)
    assert tree.chosen() == chosen


def test_slime_gid_index_chooses_any_entry_that_is_in_use(tree):
    tree.nic("mlx5_0", gids=[(LINK_LOCAL, "RoCE v2"), (V4, "RoCE v2"), (EMPTY, "")])
    assert tree.chosen(SLIME_GID_INDEX="0") == [0]
    assert tree.chosen(SLIME_GID_INDEX="2") == []
    assert tree.chosen(SLIME_GID_INDEX="-1") == [1]
    assert tree.chosen(SLIME_GID_INDEX="garbage") == [1]


def test_an_infiniband_port_has_a_lid_and_its_own_gid(tree):
    tree.nic("mlx5_2", link_layer="InfiniBand", lid="0x1f", gids=[(IB, "IB/RoCE v1"), (GLOBAL, "IB/RoCE v1")])
    assert tree.chosen() == [0]
    assert tree.ports()[0]["lid"] == 31
    assert "InfiniBand lid 31" in tree.run("info").stdout


def test_ports_are_in_the_order_in_which_people_count(tree):
    for device in ("mlx5_10", "mlx5_2"):
        for number in (2, 1):
            tree.nic(device, number)
    assert [(p["device"], p["port"]) for p in tree.ports()] == [
        ("mlx5_2", 1),
        ("mlx5_2", 2),
        ("mlx5_10", 1),
        ("mlx5_10", 2),
    ]


def test_garbage_in_the_tree_is_left_out_or_made_fit_to_print(tree):
    port = tree.nic('a\x1b[31m"b', gids=[("not a gid", "RoCE v2"), (V4, "RoCE v2")], rate="nan Gb/sec", numa="-1")
    tree.nic("x" * 200, gids=[(V4, "RoCE v2")])
    tree.nic("odd", state="", phys_state="\xff\xfe", link_layer="a" * 5000, firmware="f" * 5000, rate="")
    tree.put("sys/class/infiniband/empty/nothing", "")
    tree.put("sys/class/infiniband/file", "")
    for name in ("0", "256", "-1", "99999999999999999999", "one", "1x"):
        tree.put(f"sys/class/infiniband/mlx5_0/ports/{name}/state", "4: ACTIVE\n")
    tree.put(f"{port}/gids/70000", V4)
    tree.put(f"{port}/gids/-3", V4)
    (tree.root / port / "gids" / "5").mkdir()
    os.mkfifo(tree.root / port / "gids" / "6")
    ports = tree.ports()
    assert [p["device"] for p in ports] == ["a?[31m\"b", "odd"]
    assert [g["index"] for g in ports[0]["gids"]] == [1]
    assert ports[0]["bits_per_s"] == 0 and ports[0]["numa"] == -1
    assert ports[1]["state"] == "unknown"
    assert "\x1b" not in tree.run("info").stdout
    tree.findings()


def test_a_thousand_gids_are_listed(tree):
    tree.nic("mlx5_0", gids=[(LINK_LOCAL, "RoCE v2")] * 1023 + [(V4, "RoCE v2")])
    assert tree.chosen() == [1023]


def test_without_a_nic_doctor_says_what_to_do(tree):
    assert tree.ports() == []
    assert "no device; see 'dlslime doctor'" in tree.run("info").stdout
    found = tree.findings()
    assert list(found) == ["rdma nic"]
    assert found["rdma nic"]["level"] == "better"
    assert "modprobe" in found["rdma nic"]["fix"] and "rdma link add" in found["rdma nic"]["fix"]


def test_doctor_finds_nothing_wrong_with_a_good_port(tree):
    tree.nic("mlx5_0", gids=[(V4, "RoCE v2")], counters={"out_of_sequence": 0, "np_cnp_sent": 7})
    found = tree.findings()
    assert {f["level"] for f in found.values()} == {"ok"}, found
    assert "np_cnp_sent 7" in found["rdma ecn"]["found"]


def test_doctor_says_how_to_bring_a_port_up(tree):
    tree.nic("mlx5_0", state="1: DOWN", phys_state="3: Disabled", gids=[(LINK_LOCAL, "RoCE v2")])
    tree.nic("mlx5_1", gids=[(V4, "RoCE v2")])
    found = tree.findings()["rdma port"]
    assert found["level"] == "better"
    assert found["found"] == "mlx5_0 port 1 is DOWN (Disabled); 1 of 2 are active"
    assert found["fix"].startswith("sudo ip link set ens1 up")


def test_doctor_asks_for_a_subnet_manager(tree):
    tree.nic("mlx5_0", state="2: INIT", link_layer="InfiniBand", gids=[(IB, "IB/RoCE v1")])
    assert "opensm" in tree.findings()["rdma port"]["fix"]


def test_doctor_says_that_a_port_has_no_address(tree):
    tree.nic("mlx5_0", gids=[(LINK_LOCAL, "RoCE v2"), (V4, "IB/RoCE v1")])
    found = tree.findings()["rdma gid"]
    assert found["level"] == "better" and "mlx5_0 port 1 has no address" in found["found"]
    assert "ip addr add" in found["fix"] and "ens1" in found["fix"]
    asked = tree.findings(SLIME_GID_INDEX="9")["rdma gid"]
    assert "SLIME_GID_INDEX" in asked["found"] and "9" in asked["found"]


def test_doctor_names_the_driver_that_libibverbs_lacks(tree):
    tree.nic("mlx5_0", gids=[(V4, "RoCE v2")])
    (tree.root / "sys/class/infiniband/mlx5_0/device/driver").symlink_to("../../bus/pci/drivers/mlx5_core")
    found = tree.findings()["rdma lib"]
    assert found["level"] == "better" and found["fix"].startswith("sudo apt-get install")
    tree.put("etc/libibverbs.d/mlx5.driver", "driver mlx5\n")
    if "libibverbs is there" not in tree.findings()["rdma lib"]["found"]:
        pytest.skip("libibverbs is not installed here")
    assert tree.findings()["rdma lib"]["level"] == "ok"
    assert tree.ports()[0]["driver"] == "mlx5_core"


def test_doctor_says_how_a_container_gets_the_devices(tree):
    tree.nic("mlx5_0", gids=[(V4, "RoCE v2")])
    tree.put("sys/class/infiniband_verbs/uverbs0/ibdev", "mlx5_0\n")
    found = tree.findings()["rdma access"]
    assert found["level"] == "better" and "--device /dev/infiniband" in found["fix"]
    tree.put("dev/infiniband/uverbs0", "")
    assert tree.findings()["rdma access"]["level"] == "ok"


def test_doctor_tells_lost_packets_and_what_makes_a_lossless_class(tree):
    tree.nic("mlx5_0", gids=[(V4, "RoCE v2")], counters={"out_of_sequence": 12, "local_ack_timeout_err": 3})
    found = tree.findings()["rdma loss"]
    assert found["level"] == "better"
    assert "out_of_sequence 12" in found["found"] and "local_ack_timeout_err 3" in found["found"]
    assert "mlnx_qos -i ens1" in found["fix"] and "--pfc" in found["fix"]


def test_doctor_knows_whether_gpu_memory_can_be_reached(tree):
    tree.nic("mlx5_0", gids=[(V4, "RoCE v2")])
    tree.put("sys/module/nvidia/version", "550\n")
    assert "nvidia_peermem" in tree.findings()["rdma gpu"]["fix"]
    tree.put("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550\n")
    assert "dma-buf" in tree.findings()["rdma gpu"]["found"]
    tree.put("sys/module/nvidia_peermem/version", "550\n")
    assert "nvidia_peermem" in tree.findings()["rdma gpu"]["found"]
