# SPDX-License-Identifier: BSD-3-Clause
"""Which NICs there are: the devices of the rdma transport, and soft ones.

A soft NIC is a name. An endpoint on it takes the best of loopback, shm and tcp, so that programs
written for RDMA run where there is none.
"""

import os
import sys

from dlslime import _core

_warned = False


def _rdma():
    """Usable device names in the library's order, and why there are none."""
    names, reason = [], "this build has no verbs transport"
    for device in _core.context().devices():
        if device["transport"] != "rdma":
            continue
        # Of a device with several ports the library lists each: the contract's name is the device's.
        name = device["name"].removesuffix(f":{device['port']}")
        if device["usable"] and name:
            if name not in names:
                names.append(name)
        else:
            reason = device["reason"] or reason
    return names, reason


def _asked():
    """What DLSLIME_SOFT_NIC says: None if it says nothing, else a list of names."""
    text = os.environ.get("DLSLIME_SOFT_NIC", "").strip()
    if not text:
        return None
    if text.lstrip("+-").isdigit():
        n = int(text)
        if not 0 <= n <= 64:
            raise ValueError(f"DLSLIME_SOFT_NIC is {text}: 0 to 64 soft NICs are possible")
        return [f"slime{i}" for i in range(n)]
    return [name.strip() for name in text.split(",") if name.strip()]


def _visible(names):
    """SLIME_VISIBLE_DEVICES: a comma list of exact names."""
    allowed = os.environ.get("SLIME_VISIBLE_DEVICES")
    if not allowed:
        return names
    allowed = allowed.split(",")
    return [name for name in names if name in allowed]


def _warn(reason):
    global _warned
    if not _warned:
        _warned = True
        print(f"dlslime: no RDMA device ({reason}); the soft NIC slime0 moves data over shared memory "
              "and TCP instead (DLSLIME_SOFT_NIC=0: have none)", file=sys.stderr)


def nics():
    """(real names, soft names). Says once on stderr when a soft NIC stands in for a real one."""
    found, reason = _rdma()
    real, soft = _visible(found), _asked()
    if soft is None:
        soft = [] if found else ["slime0"]
        if soft:
            _warn(reason)
    return real, [name for name in soft if name not in real]


def is_soft(name):
    """Whether NAME is a soft NIC."""
    return name in nics()[1]


def available_nic():
    """The names of the NICs: verbs devices that SLIME_VISIBLE_DEVICES allows, then soft NICs."""
    real, soft = nics()
    return real + soft


def socket_id(device_name):
    """The NUMA node of a NIC, 0 if it is not known."""
    if not isinstance(device_name, str):
        raise TypeError(f"device_name is {type(device_name).__name__}, not str")
    if not device_name or "/" in device_name or "\0" in device_name:
        return 0
    try:
        with open(f"/sys/class/infiniband/{device_name}/device/numa_node") as f:
            return max(int(f.read()), 0)
    except (OSError, ValueError):
        return 0


_link_types = {
    "": "auto", "auto": "auto", "ib": "IB", "infiniband": "IB", "roce": "RoCE", "ethernet": "RoCE",
    "rocev1": "RoCE", "roce v1": "RoCE", "rocev2": "RoCE", "roce v2": "RoCE",
}
IBV_LINK_LAYER_INFINIBAND, IBV_LINK_LAYER_ETHERNET = 1, 2


def normal_link_type(text):
    """"auto", "IB" or "RoCE" for what the user wrote."""
    if not isinstance(text, str):
        raise TypeError(f"link_type is {type(text).__name__}, not str")
    try:
        return _link_types[text.strip().lower()]
    except KeyError:
        raise ValueError(f"Unsupported RDMA link type '{text}' (expected auto, IB, or RoCE)") from None


def resolve_link_type(requested, link_layer):
    """The type of a port, "IB" or "RoCE", from its link layer; it must be the requested one."""
    wanted = normal_link_type(requested)
    if link_layer not in (IBV_LINK_LAYER_INFINIBAND, IBV_LINK_LAYER_ETHERNET):
        raise RuntimeError(f"Unsupported RDMA port link layer: {link_layer}")
    found = "IB" if link_layer == IBV_LINK_LAYER_INFINIBAND else "RoCE"
    if wanted not in ("auto", found):
        raise ValueError(f"Requested RDMA link type {wanted} does not match detected {found}")
    return found


def open_nic(name, ib_port, link_type):
    """Check what an endpoint is asked to use. Returns "soft" or "rdma"."""
    port = _core.unsigned(ib_port, "ib_port")
    wanted = normal_link_type(link_type)
    if not 1 <= port <= 255:
        raise ValueError(f"RDMA port must be in range 1..255, got {port}")
    real, soft = nics()
    if name in soft:
        if port != 1:
            raise ValueError(f"RDMA port {port} is outside valid range 1..1 for device {name}")
        return "soft"
    if name not in real:
        raise ValueError(f"RDMA device '{name}' is not available")
    _check_port(name, port, wanted)
    return "rdma"


def _check_port(name, port, wanted, sysfs_root="/sys"):
    """What sysfs says against a port of a real NIC; where it says nothing the library will."""
    try:
        ports = [int(p) for p in os.listdir(f"{sysfs_root}/class/infiniband/{name}/ports")]
    except (OSError, ValueError):
        return
    if ports and port not in ports:
        raise ValueError(f"RDMA port {port} is outside valid range 1..{max(ports)} for device {name}")
    state = read_port(name, port, "state", sysfs_root)
    if state and state.split(":", 1)[-1].strip().upper() != "ACTIVE":
        raise RuntimeError(f"RDMA device {name}, port {port} is not ACTIVE")
    layer = read_port(name, port, "link_layer", sysfs_root)
    if layer:
        layers = {"infiniband": IBV_LINK_LAYER_INFINIBAND, "ethernet": IBV_LINK_LAYER_ETHERNET}
        resolve_link_type(wanted, layers.get(layer.lower(), layer))


def read_port(device, port, what, sysfs_root="/sys"):
    """A file of a port in sysfs, stripped; None if it cannot be read."""
    try:
        with open(f"{sysfs_root}/class/infiniband/{device}/ports/{port}/{what}") as f:
            return f.read().strip()
    except (OSError, ValueError):
        return None
