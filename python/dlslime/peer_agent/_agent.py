# SPDX-License-Identifier: BSD-3-Clause
"""PeerAgent: a name at the control plane, memory under names, connections to peers by name.

The C agent does the work: it registers, beats, follows the peers, connects and reconnects; no
transfer asks the control plane for a region that it knows. Here are the contract's methods.
"""

import errno
import json
import os
import threading
import time

from dlslime import _core, _errors
from dlslime._contract import nics
from dlslime._contract.nics import available_nic  # noqa: F401  a name of the contract
from dlslime._contract.pool import KEY, text_name
from dlslime._contract.tcp import TcpEndpoint as _TcpEndpoint  # noqa: F401  a name of the contract
from dlslime._contract.topology import discover_topology
from dlslime.logging import get_logger
from dlslime.peer_agent._connection import PeerConnection, conn_id_of, make_endpoint
from dlslime.peer_agent._endpoints import _OnLink, entry_of
from dlslime.peer_agent._keys import (  # noqa: F401  names of the contract
    NvlinkResourceKey, RdmaResourceKey, ResourceKey, TcpResourceKey, choose_local, choose_peer,
)
from dlslime.peer_agent._memory import LogicalMemoryRegion, Memory, PeerMemoryRegion  # noqa: F401
from dlslime.peer_agent._twins import AsyncTwins, in_a_thread

_ATTEMPTS, _TRANSPORTS = 5, ("auto", "rdma", "tcp", "nvlink")
_DEFAULT_PORTS = (4479, 3000)   # of dlslime-ctrl and of nanoctrl

_NVLinkEndpoint = None   # a name of the contract: not built

logger = get_logger("peer_agent")


def _default_url():
    """DLSLIME_CTRL, or where a daemon of this host answers."""
    import socket

    given = os.environ.get("DLSLIME_CTRL")
    if given:
        return given
    for port in _DEFAULT_PORTS:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return f"http://127.0.0.1:{port}"
        except OSError:
            pass
    return f"http://127.0.0.1:{_DEFAULT_PORTS[0]}"


def _url(ctrl_url, nanoctrl_url):
    if ctrl_url is not None and nanoctrl_url is not None:
        raise TypeError("ctrl_url and nanoctrl_url are the same thing: give one")
    url = ctrl_url if ctrl_url is not None else nanoctrl_url
    if url is None:
        return _default_url()
    if not isinstance(url, str):
        raise TypeError(f"ctrl_url is {type(url).__name__}, not str")
    if not url:
        raise ValueError("ctrl_url is empty")
    return url if "://" in url or url.startswith("unix:") else f"http://{url}"


def _text_or_none(value, what):
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{what} is {type(value).__name__}, not str or None")
    return value or None


class PeerAgent(AsyncTwins):
    """An agent at the control plane of `ctrl_url` (also `nanoctrl_url`), under `alias` or a name
    that it is given. It sees the agents of its `scope`. `device` is the NIC to prefer. For an https
    URL, files in PEM: `ca`, whom to trust (else what the system does), and `cert`, what to show, with
    its key in it or as (certificate, key).

    What waits for the control plane or a peer has a twin for asyncio: list_agents_async(),
    get_resource_async(), list_mem_keys_async(), register_memory_region_async(),
    unregister_memory_region_async(), get_mr_info_async(), get_handle_async(), shutdown_async(), and
    connect_to_async(), which also waits for the connection. Futures and connections are awaited."""

    # What SlimeRPC looks for; it sets its own.
    _redis_client = None

    def __init__(self, ctrl_url=None, alias=None, device=None, scope=None, *, nanoctrl_url=None,
                 token=None, ca=None, cert=None):
        self._core = None
        self.ctrl_url = self.nanoctrl_url = _url(ctrl_url, nanoctrl_url)
        alias, scope = _text_or_none(alias, "alias"), _text_or_none(scope, "scope")
        device = _text_or_none(device, "device")
        token, ca = _text_or_none(token, "token"), _text_or_none(ca, "ca")
        cert, key = cert if isinstance(cert, tuple) and len(cert) == 2 else (cert, cert)
        cert, key = _text_or_none(cert, "cert"), _text_or_none(key, "the key of cert")
        self._scope, self._redis_key_prefix = scope, scope or ""
        self._device = device
        self._connections = {}            # peer -> conn_id -> PeerConnection
        self._connections_lock = threading.RLock()
        self._local_resource = self._make_resource(device)
        self._session_started_at = int(time.time() * 1000)
        self._core = self._register(alias, dict(url=self.ctrl_url, alias=alias, scope=scope,
                                                token=token, ca=ca, cert=cert, key=key,
                                                resource=json.dumps(self._local_resource)))
        self.alias = self._core.alias
        logger.info("registered with name %s at %s", self.alias, self.ctrl_url)
        self._memory = Memory(self._core, self._memory_key())
        self._logical_regions = self._memory.logical

    @staticmethod
    def _make_resource(device):
        """discover_topology(), and what our own programs look for."""
        resource = discover_topology(preferred_device=device)
        resource["version"] = _core.version()
        resource["devices"] = _core.context().devices()
        return json.loads(json.dumps(resource, default=str))

    def _register(self, alias, options):
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _core.Agent(**options)
            except _errors.Error as e:
                if e.errno == errno.EEXIST:
                    raise RuntimeError(f"PeerAgent '{alias}' registration conflict: {e}") from e
                if e.errno == errno.EINVAL:
                    raise ValueError(str(e)) from e
                if attempt == _ATTEMPTS or e.errno in (errno.EACCES, errno.EPROTO):
                    raise
                logger.warning("registration at %s failed (%s), attempt %d of %d", self.ctrl_url, e,
                               attempt, _ATTEMPTS)
                time.sleep(2 ** (attempt - 1))

    def _memory_key(self):
        try:
            key = choose_local(self._local_resource, self._device_here(), 1)
        except RuntimeError:
            key = TcpResourceKey()
        return {"device": key.device, "ib_port": key.ib_port, "link_type": key.link_type}

    def _device_here(self):
        """The device of the constructor, if there is one of that name."""
        names = [nic["name"] for nic in self._local_resource["nics"]]
        return self._device if self._device in names else None

    # ---- who is there

    def list_agents(self):
        """The aliases of the scope's agents, this one's too, sorted."""
        return sorted({*self._core.peers(), self.alias})

    def get_resource(self, peer_alias=None):
        """What an agent tells of its host and NICs, as discover_topology() has it; None: unknown.
        Without a peer, or of this agent: the live dict."""
        if peer_alias is None or _alias(peer_alias) == self.alias:
            self._local_resource["memory_keys"] = self._memory.names()
            return self._local_resource
        resource = self._resource_of(peer_alias)
        if resource is None:
            return None
        for key, value in (("schema_version", 1), ("host", {}), ("nics", []), ("accelerators", [])):
            resource.setdefault(key, value)
        resource["memory_keys"] = self.list_mem_keys(peer_alias)
        return resource

    def _resource_of(self, peer):
        try:
            resource = json.loads(self._core.resource(peer))
        except _errors.Error as e:
            if e.errno == errno.ENOENT:
                return None
            raise
        return resource if isinstance(resource, dict) else {}

    def list_mem_keys(self, peer_alias=None):
        """The names of the regions that an agent publishes, sorted; [] of an unknown one."""
        if peer_alias is None or _alias(peer_alias) == self.alias:
            return self._memory.names()
        try:
            return sorted(self._core.regions(peer_alias))
        except _errors.Error as e:
            if e.errno == errno.ENOENT:
                return []
            raise

    # ---- connections

    def connect_to(self, peer_alias, local_device=None, peer_device=None, ib_port=1, qp_num=1,
                   min_bw=None, transport="auto", local_host=None, local_port=0):
        """The connection to a peer, begun: wait() for it, or transfer, which waits by itself.

        One side is enough. The peer need not be registered yet. `transport` is "auto" (the best of
        what both sides have; tcp is the last), "rdma" or "tcp".
        """
        if not isinstance(peer_alias, str) or not peer_alias:
            raise TypeError("connect_to() requires a non-empty peer alias string")
        if peer_alias == self.alias:
            raise ValueError(f"connect_to() cannot target this agent's own alias '{peer_alias}'")
        transport = _transport(transport)
        for value, what in ((local_device, "local_device"), (peer_device, "peer_device"),
                            (local_host, "local_host")):
            _text_or_none(value, what)
        ib_port, qp_num = _core.unsigned(ib_port, "ib_port"), _core.unsigned(qp_num, "qp_num")
        if not 1 <= qp_num <= 63:
            raise ValueError(f"qp_num is {qp_num}: 1 to 63 are possible")
        if _core.unsigned(local_port, "local_port") > 65535:
            raise ValueError(f"local_port is {local_port}: it must be in 0..65535")
        local, remote = self._ends(peer_alias, transport, local_device, peer_device, ib_port,
                                   local_host, local_port)
        with self._connections_lock:
            known = self._known(peer_alias, local, remote, qp_num)
            if known is not None:
                return known
            return self._connect(peer_alias, local, remote, qp_num, transport, local_device)

    def _ends(self, peer, transport, local_device, peer_device, ib_port, local_host, local_port):
        """The keys of the two ends."""
        resource = self._resource_of(peer)
        if resource is not None and "version" not in resource and ("nics" in resource
                                                                   or not resource):
            raise RuntimeError(f"'{peer}' is an agent of another implementation: it can be listed, and "
                               "not connected to; it must run this library too")
        if transport == "tcp":
            return TcpResourceKey(local_host or self._local_resource["host"]["address"], local_port), \
                TcpResourceKey()
        try:
            local = choose_local(self._local_resource, local_device or self._device_here(), ib_port)
        except RuntimeError:
            if transport == "rdma" or local_device is not None or self._local_resource["nics"]:
                raise
            return TcpResourceKey(), TcpResourceKey()   # no NIC at all: auto does without
        return local, choose_peer(resource, local, peer_device, ib_port)

    def _known(self, peer, local, remote, qp_num):
        """The connection between these ends, if there is one; it must have as many queue pairs."""
        for conn in self._connections.get(peer, {}).values():
            if (conn.local_key, conn.peer_key) == (local, remote) and conn.state != "failed":
                if conn.qp_num != qp_num:
                    raise RuntimeError(f"connection '{conn.conn_id}' exists with qp_num "
                                       f"{conn.qp_num}, not {qp_num}")
                return conn
        return None

    def _connect(self, peer, local, remote, qp_num, transport, local_device):
        forced, device, lanes = None, None, 0
        soft = not isinstance(local, RdmaResourceKey) or nics.is_soft(local.device)
        if transport == "tcp":
            forced = "tcp"
        elif not soft and (transport == "rdma" or local_device is not None):
            forced = "rdma"
            device = local_device and f"{local_device}:{local.ib_port}"
            lanes = min(qp_num, 16) if qp_num > 1 else 0
        pool = self._memory.pool
        port = self._core.connect(peer, forced, device, lanes, pool.regions, pool.names)
        return self._keep(peer, local, remote, qp_num, transport, port)

    def _keep(self, peer, local, remote, qp_num, asked, port):
        """Connections over one link of the agent share its endpoint."""
        for conn in self._all():
            if conn._link.id == port.id:
                port.close()
                endpoint = conn.endpoint
                break
        else:
            endpoint = make_endpoint(self._memory, port, peer, local, qp_num)
        conn = PeerConnection(self, peer, local, remote, qp_num, asked, endpoint)
        self._connections.setdefault(peer, {})[conn.conn_id] = conn
        return conn

    def _all(self):
        return [conn for conns in self._connections.values() for conn in conns.values()]

    def _adopt(self):
        """Links that peers have begun become connections when somebody asks for connections."""
        pool = self._memory.pool
        with self._connections_lock:
            known = {conn._link.id for conn in self._all()}
            for port in self._core.links(known, pool.regions, pool.names):
                look = port.look()
                try:
                    local = choose_local(self._local_resource, self._device_here(), 1)
                except RuntimeError:
                    local = TcpResourceKey()
                remote = local if isinstance(local, RdmaResourceKey) else TcpResourceKey()
                qp_num = 1
                while conn_id_of(self.alias, local, look["peer"], remote, qp_num) \
                        in self._connections.get(look["peer"], {}):
                    qp_num += 1
                self._keep(look["peer"], local, remote, qp_num, None, port)

    def get_connections(self):
        """peer alias -> conn_id -> PeerConnection, also those that peers have begun."""
        self._adopt()
        with self._connections_lock:
            return {peer: dict(conns) for peer, conns in self._connections.items()}

    def query_connection(self, peer_alias, *, local_nic=None, remote_nic=None):
        """The first connection to the peer, in the order of conn_id, that fits; or None."""
        _alias(peer_alias)
        for adopted in (False, True):
            if adopted:
                self._adopt()
            with self._connections_lock:
                conns = sorted(self._connections.get(peer_alias, {}).items())
            for _, conn in conns:
                if local_nic in (None, conn.local_nic) and remote_nic in (None, conn.remote_nic):
                    return conn
        return None

    def _get_connection(self, peer_alias, *, local_nic=None, remote_nic=None):
        conn = self.query_connection(peer_alias, local_nic=local_nic, remote_nic=remote_nic)
        if conn is None:
            raise RuntimeError(f"Connection for {peer_alias} not found. Call connect_to(peer, ...) "
                               "first.")
        return conn

    def _get_endpoint(self, peer_alias, *, local_nic=None, remote_nic=None):
        return self._get_connection(peer_alias, local_nic=local_nic, remote_nic=remote_nic).endpoint

    def _is_connection_connected(self, conn_id):
        with self._connections_lock:
            return any(c.conn_id == conn_id and c.is_connected() for c in self._all())

    # ---- memory

    def register_memory_region(self, mr_name, ptr, offset, length):
        """Publish [ptr, ptr + offset + length) under a name. Returns its handle, which is good on
        every connection of this agent."""
        return self._memory.register(mr_name, ptr, offset, length)

    def unregister_memory_region(self, mr_name):
        """Take it back: False if there is none. Let peers finish first."""
        return self._memory.unregister(mr_name)

    def register_dmabuf_memory_region(self, mr_name, fd, offset, length, iova):
        """Not possible in this version; says so after the checks of the contract."""
        if not text_name(mr_name):
            raise ValueError("mr_name must not be empty")
        for value, what in ((fd, "fd"), (offset, "offset"), (length, "length"), (iova, "iova")):
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(f"{what} is {type(value).__name__}, not int")
        if fd < 0:
            raise ValueError("dma-buf fd must be non-negative")
        if offset < 0 or iova < 0 or length <= 0:
            raise ValueError("offset/iova must be non-negative and length positive")
        if mr_name in self._logical_regions:
            raise ValueError(f"Memory region '{mr_name}' is already registered")
        raise RuntimeError("DMA-BUF memory regions require an RDMA resource; "
                           + ("registration of dma-bufs is not part of this version"
                              if nics.nics()[0] else "the agent is currently TCP-only"))

    def allocate_memory_region(self, name, length, *, memory_kind="cuda_fabric", local_device=None):
        """Not possible in this version; says so after the checks of the contract."""
        if memory_kind != "cuda_fabric":
            raise ValueError("memory_kind must be cuda_fabric")
        if not text_name(name) or isinstance(length, bool) or not isinstance(length, int) \
                or length <= 0:
            raise ValueError("name must be non-empty and length must be positive")
        if name in self._logical_regions:
            raise ValueError(f"Memory region '{name}' is already registered")
        raise RuntimeError("CUDA Fabric allocation requires BUILD_NVLINK")

    def get_mr_info(self, peer_alias, mr_name, resource_key=None, *, validate_cache=False):
        """What the control plane knows of a region: None if nothing. It is always asked, so there
        is no cache to validate; transfers by name do not need this."""
        _alias(peer_alias)
        try:
            record = json.loads(self._core.region(peer_alias, text_name(mr_name)))
        except _errors.Error as e:
            if e.errno == errno.ENOENT:
                return None
            raise
        return _info_of(peer_alias, mr_name, record)

    def _mr_infos(self, peer):
        """All regions of a peer, as an endpoint's mr_info() has them."""
        out = {}
        for name in self.list_mem_keys(peer):
            info = self.get_mr_info(peer, name)
            if info is not None:
                out[name] = {**info, "name": name}
        return out

    def get_handle(self, mr_name, peer_alias=None, resource_key=None, endpoint=None):
        """The handle of a region: this agent's, or, with a peer, the peer's on the endpoint to it."""
        text_name(mr_name)
        if peer_alias is None or _alias(peer_alias) == self.alias:
            return self._memory.handle(mr_name)
        if endpoint is None:
            endpoint = self._get_endpoint(peer_alias)
        info = self.get_mr_info(peer_alias, mr_name)
        if info is None:
            raise RuntimeError(f"Remote memory region '{mr_name}' of {peer_alias} is not published "
                               "yet: the peer must register_memory_region() it")
        if KEY not in info:
            raise RuntimeError(f"memory region '{mr_name}' of {peer_alias} is of another "
                               "implementation and cannot be reached")
        if isinstance(endpoint, _OnLink):
            return endpoint.remote_handle(mr_name)
        return endpoint.register_remote_memory_region(mr_name, info)

    # ---- transfers

    def read(self, peer_alias, assign, stream=None, *, local_nic=None, remote_nic=None):
        """Read from a peer. By name: (region, local_offset, remote_offset, length) or (local_region,
        remote_region, local_offset, remote_offset, length), or a list of these; else the endpoint's
        tuples of handles. Returns a future."""
        return self._one_sided("read", peer_alias, assign, stream, local_nic, remote_nic)

    def write(self, peer_alias, assign, stream=None, *, local_nic=None, remote_nic=None):
        """As read(), the other way."""
        return self._one_sided("write", peer_alias, assign, stream, local_nic, remote_nic)

    def write_with_imm(self, peer_alias, assign, imm_data=0, stream=None, *, local_nic=None,
                       remote_nic=None):
        """As write(); then one imm_recv() of the peer gets IMM_DATA."""
        return self._one_sided("write_with_imm", peer_alias, assign, stream, local_nic, remote_nic,
                               imm_data)

    def _one_sided(self, op, peer, assign, stream, local_nic, remote_nic, *imm):
        items = _core.named_items(assign)
        endpoint = self._get_endpoint(peer, local_nic=local_nic, remote_nic=remote_nic)
        if items is not None:
            return endpoint.named(op, items, *imm, stream=stream)
        return getattr(endpoint, op)(assign, *imm, stream)

    def send(self, peer_alias, chunk, stream=None, *, local_nic=None, remote_nic=None):
        """Send (data_ptr, offset, length) to one recv() of the peer."""
        return self._get_endpoint(peer_alias, local_nic=local_nic, remote_nic=remote_nic).send(
            chunk, stream)

    def recv(self, peer_alias, chunk, stream=None, *, local_nic=None, remote_nic=None):
        """Receive into (data_ptr, offset, length)."""
        return self._get_endpoint(peer_alias, local_nic=local_nic, remote_nic=remote_nic).recv(
            chunk, stream)

    def imm_recv(self, peer_alias, stream=None, *, local_nic=None, remote_nic=None):
        """The oldest immediate of that peer that nobody took."""
        return self._get_endpoint(peer_alias, local_nic=local_nic, remote_nic=remote_nic).imm_recv(
            stream)

    # ---- the end

    def flight_recorder(self):
        """The last events of every link, a line each: who is stuck, and on whom."""
        return self._core.flight()

    def shutdown(self):
        """Close every connection and take leave of the control plane. Any thread, also twice."""
        core = self._core
        if core is None:
            return
        with self._connections_lock:
            endpoints = {conn.endpoint for conn in self._all()}
        for endpoint in endpoints:
            endpoint.shutdown()
        core.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.shutdown()
        return False

    def __del__(self):
        if getattr(self, "_core", None) is not None:
            self.shutdown()

    def __repr__(self):
        return f"<PeerAgent '{getattr(self, 'alias', '')}' at {self.ctrl_url}>"


def _alias(peer_alias):
    if not isinstance(peer_alias, str):
        raise TypeError(f"peer_alias is {type(peer_alias).__name__}, not str")
    return peer_alias


def _transport(transport):
    name = "auto" if transport is None else transport.lower() if isinstance(transport, str) else None
    if name not in _TRANSPORTS:
        raise ValueError(f"connect_to: unsupported transport '{transport}' (expected 'auto', 'rdma', "
                         "'tcp', or 'nvlink')")
    if name == "nvlink":
        raise RuntimeError("No MNNVL-ready CUDA accelerator found: the NVLink transport is not part of "
                           "this version")
    return name


def _info_of(peer, name, record):
    info = {"agent_name": peer, "mr_name": name, "device": "", "ib_port": 0, "link_type": "",
            **entry_of(record)}
    info["agent_name"], info["mr_name"] = peer, name
    return info


def start_peer_agent(ctrl_url=None, alias=None, device=None, scope=None, **kwargs):
    """PeerAgent, as a function."""
    return PeerAgent(ctrl_url, alias, device, scope, **kwargs)


async def start_peer_agent_async(*args, **kwargs):
    """start_peer_agent(), without blocking the loop."""
    return await in_a_thread(PeerAgent, *args, **kwargs)
