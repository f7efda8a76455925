# SPDX-License-Identifier: BSD-3-Clause
"""What the two ends of a connection are called, and which NIC is taken."""

from dataclasses import dataclass

from dlslime._contract import nics

_LINK_TYPES = ("RoCE", "IB")


@dataclass(frozen=True)
class RdmaResourceKey:
    device: str
    ib_port: int
    link_type: str

    def redis_suffix(self):
        return f"{self.device}:{self.ib_port}:{self.link_type}"


@dataclass(frozen=True)
class TcpResourceKey:
    host: str = "0.0.0.0"
    port: int = 0

    @property
    def device(self):
        return f"tcp:{self.host}:{self.port}"

    @property
    def ib_port(self):
        return self.port

    @property
    def link_type(self):
        return "TCP"

    def redis_suffix(self):
        return self.device


@dataclass(frozen=True)
class NvlinkResourceKey:
    uuid: str
    device_index: int
    cluster_uuid: str
    clique_id: int

    @property
    def device(self):
        return f"cuda:{self.uuid}"

    @property
    def ib_port(self):
        return 0

    @property
    def link_type(self):
        return "NVLink"

    def redis_suffix(self):
        return f"nvlink:{self.uuid}"


ResourceKey = RdmaResourceKey | TcpResourceKey | NvlinkResourceKey


def end_name(key):
    """An end as conn_id has it."""
    if isinstance(key, RdmaResourceKey):
        return f"{key.device}:port{key.ib_port}"
    return key.device


def _ports(resource, ib_port):
    """(NIC name, port record) of what may be used; a peer's document is not to be trusted."""
    for nic in resource.get("nics") or []:
        if not isinstance(nic, dict) or nic.get("health") == "UNAVAILABLE":
            continue
        for port in nic.get("ports") or []:
            if isinstance(port, dict) and port.get("port") == ib_port \
                    and port.get("state", "UNKNOWN") in ("ACTIVE", "UNKNOWN"):
                yield nic.get("name"), port


def choose(resource, device=None, ib_port=1, link_type=None, openable=None):
    """The first NIC in RESOURCE that fits. RuntimeError: none does.

    OPENABLE: the names that this process can open, where it is its own resource.
    """
    skipped = []
    for name, port in _ports(resource, ib_port):
        found = port.get("link_type")
        if (device is not None and name != device) or (link_type is not None and found != link_type):
            continue
        if openable is not None and name not in openable:
            skipped.append(name)
            continue
        if found not in _LINK_TYPES:
            raise RuntimeError(f"NIC '{name}' port {ib_port} has link type '{found}': RoCE and IB "
                               "are possible")
        return RdmaResourceKey(name, ib_port, found)
    more = f", skipped_unopenable={skipped}, libibverbs_sees={openable}" if skipped else ""
    raise RuntimeError(f"No usable RDMA resource found (device={device}, ib_port={ib_port}, "
                       f"link_type={link_type}{more})")


def choose_local(resource, device, ib_port):
    return choose(resource, device, ib_port, openable=nics.available_nic())


def choose_peer(resource, local, device, ib_port):
    """The peer's end; if nothing is known of it (RESOURCE None), it is taken to be as ours."""
    if resource is None or not any(_ports(resource, ib_port)):
        return RdmaResourceKey(device or local.device, ib_port, local.link_type)
    try:
        return choose(resource, device, ib_port, local.link_type)
    except RuntimeError:
        kinds = {port.get("link_type") for _, port in _ports(resource, ib_port)}
        if local.link_type not in kinds:
            raise RuntimeError(
                f"link types do not match: {local.link_type} here ({local.device} port "
                f"{local.ib_port}), {', '.join(sorted(map(str, kinds)))} at the peer") from None
        raise
