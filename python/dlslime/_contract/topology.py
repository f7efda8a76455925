# SPDX-License-Identifier: BSD-3-Clause
"""discover_topology(): what sysfs says about the NICs of this host."""

import os
import socket
import time

from dlslime import _core
from dlslime._contract import nics


def _host():
    name = socket.gethostname()
    try:
        found = [a[4][0] for a in socket.getaddrinfo(name, None, socket.AF_INET)]
    except OSError:
        found = []
    outside = [a for a in found if not a.startswith("127.")]
    return {"hostname": name, "address": (outside or found or [name])[0]}


def _listed(sysfs_root):
    try:
        return os.listdir(f"{sysfs_root}/class/infiniband")
    except OSError:
        return []


def _allowed(names):
    visible = [v.strip() for v in os.environ.get("SLIME_VISIBLE_DEVICES", "").split(",") if v.strip()]
    return [n for n in names if not visible or n in visible]


def _link(text):
    if not text:
        return "UNKNOWN"
    return {"ethernet": "RoCE", "roce": "RoCE", "infiniband": "IB", "ib": "IB"}.get(text.lower(), text)


def _port(name, port, preferred, root):
    state = nics.read_port(name, port, "state", root)
    state = state.split(":", 1)[-1].strip().upper() if state else "UNKNOWN"
    link = _link(nics.read_port(name, port, "link_layer", root))
    if link == "UNKNOWN" and preferred:
        link = _link(preferred)
    out = {"port": port, "state": "ACTIVE" if state == "UNKNOWN" else state, "link_type": link}
    try:
        out["active_mtu"] = int(nics.read_port(name, port, "active_mtu", root) or "")
    except ValueError:
        pass
    return out


def _nic(name, port, preferred, root):
    device = f"{root}/class/infiniband/{name}/device"
    try:
        with open(f"{device}/numa_node") as f:
            numa = int(f.read())
    except (OSError, ValueError):
        numa = -1
    ports = [_port(name, port, preferred, root)]
    return {"name": name, "health": "AVAILABLE" if ports[0]["state"] == "ACTIVE" else "DEGRADED",
            "numa_node": numa, "pci_bus_id": os.path.basename(os.path.realpath(device)), "ports": ports}


def _soft_nic(name, port, preferred):
    link = _link(preferred)
    return {"name": name, "health": "AVAILABLE", "numa_node": 0, "pci_bus_id": "soft",
            "ports": [{"port": port, "state": "ACTIVE",
                       "link_type": "RoCE" if link == "UNKNOWN" else link, "active_mtu": 4096}]}


def discover_topology(preferred_device=None, ib_port=1, preferred_link_type=None, sysfs_root="/sys",
                      devices=None):
    """The NICs of this host with health, NUMA node and port, as a dict of plain values."""
    for value, what in ((preferred_device, "preferred_device"),
                        (preferred_link_type, "preferred_link_type")):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{what} is {type(value).__name__}, not str")
    if not isinstance(sysfs_root, str):
        raise TypeError(f"sysfs_root is {type(sysfs_root).__name__}, not str")
    if isinstance(devices, (str, bytes)):
        raise TypeError("devices is a list of names")
    port = _core.unsigned(ib_port, "ib_port")
    soft = nics.nics()[1] if sysfs_root == "/sys" else []
    names = _listed(sysfs_root) if devices is None else list(devices)
    if not all(isinstance(n, str) for n in names):
        raise TypeError("devices is a list of names")
    names = sorted({n for n in _allowed(names) if n not in soft})
    wanted_soft = soft if devices is None else [n for n in devices if n in soft]
    found = [_nic(n, port, preferred_link_type, sysfs_root) for n in names]
    found += [_soft_nic(n, port, preferred_link_type) for n in wanted_soft]
    found.sort(key=lambda nic: nic["name"] != preferred_device)
    sysfs = devices is not None or os.path.isdir(f"{sysfs_root}/class/infiniband")
    return {
        "schema_version": 1,
        "host": _host(),
        "nics": found,
        "accelerators": [],
        "memory_keys": [],
        "topology_backends": {"sysfs": "AVAILABLE" if sysfs else "UNAVAILABLE", "cuda": "NOT_BUILT",
                              "nvml": "NOT_BUILT"},
        "topology_epoch": int(time.time()),
    }
