# SPDX-License-Identifier: BSD-3-Clause
"""The contract's endpoints on a link of an agent: the agent connects them, and again after a loss."""

import base64
from _thread import allocate_lock

from dlslime._contract import obs
from dlslime._contract.futures import SlimeReadWriteFuture, SlimeTcpReadWriteFuture
from dlslime._contract.pool import KEY, exported_of, remember, text_name
from dlslime._contract.rdma import RDMAEndpoint, _check_stream
from dlslime._contract.tcp import TcpEndpoint, _peer_entry

_READ, _WRITE, _WRITE_IMM = 0, 1, 2
_CONNECTED = "the endpoint is connected by its agent; use connect_to() for another"


class _OnLink:
    """What both kinds have in common. Handles of the peer's regions are of this endpoint."""

    def _take_link(self, port, peer):
        self._link, self._peer = port, peer
        self._names = {}

    def _remote_entry(self, mr_info, exported):
        """By name where that says it: then it means whatever has the name when it is used."""
        if mr_info.get("agent_name") == self._peer and isinstance(mr_info.get("mr_name"), str) \
                and (exported is not None or KEY in mr_info):
            return mr_info["mr_name"]
        return exported

    def _keep_remote(self, name, entry):
        if name in self._names:
            self._link.set_remote(self._names[name], entry)
        else:
            self._names[name] = self._link.add_remote(entry)
        return self._names[name]

    def remote_handle(self, name):
        """The handle of the peer's region that has this name whenever it is used."""
        return self._keep_remote(name, name)


class LinkEndpoint(_OnLink, RDMAEndpoint):
    """An RDMAEndpoint."""

    def __init__(self, port, pool, peer, nic, num_qp):
        self._take_link(port, peer)
        self._port, self._memory, self._num_qp = port, pool, num_qp
        self._obs = obs.slot_of(nic)

    def endpoint_info(self):
        """What there is to tell: the regions. The agents swap the rest themselves."""
        return {"io_info": {"data_channel_info": []}, "mr_info": self.mr_info(),
                "msg_info": {"data_channel_info": [], "meta_channel_info": [],
                             "remote_meta_base": {"addr": 0, "length": 0, "rkey": 0}}}

    def connect(self, remote_info):
        raise RuntimeError(_CONNECTED)

    def register_remote_memory_region(self, name, mr_info):
        text_name(name)
        exported = exported_of(mr_info, f"mr_info of '{name}'")
        if KEY in mr_info:
            remember(mr_info)
        return self._keep_remote(name, self._remote_entry(mr_info, exported))

    def named(self, op, assign, imm_data=0, stream=None):
        """OP by names: (ours, the peer's, its offset, our offset, length) each."""
        if stream is not None:
            _check_stream(stream)
        if op == "write_with_imm":
            if isinstance(imm_data, bool) or not hasattr(imm_data, "__index__") \
                    or not -(1 << 31) <= imm_data < 1 << 31:
                raise TypeError(f"imm_data is {imm_data!r}: it must be a signed int of 32 bits")
            future = self._port.named(SlimeReadWriteFuture, _WRITE_IMM, assign,
                                      imm_data.__index__() & 0xFFFFFFFF)
        else:
            future = self._port.named(SlimeReadWriteFuture, _READ if op == "read" else _WRITE, assign)
        return future if self._obs is None else self._obs.submitted(op, assign, future)


class TcpLinkEndpoint(_OnLink, TcpEndpoint):
    """A TcpEndpoint; its agent listens in its place."""

    def __init__(self, port, pool, peer, host, number):
        self._take_link(port, peer)
        self._ip, self._bound = host, number
        self._mine, self._theirs = pool._pool, []
        self._lock = allocate_lock()
        self._sessions = {}
        self._closed = False
        self._current = port

    @property
    def _connected(self):
        return self._current.connected

    def endpoint_info(self):
        return {"host": self._ip, "mr_info": self.mr_info(), "port": self._bound}

    def connect(self, remote_info):
        raise RuntimeError(_CONNECTED)

    def register_memory_region(self, name, data_ptr, offset, length):
        """As TcpEndpoint's; the agent's own regions, said again, are the handles that they are."""
        handle = self._mine.names.get(name) if isinstance(name, str) else None
        if handle is not None:
            region = self._mine.regions[handle]
            same = region.addr == data_ptr + offset and region.nbytes >= length
            return handle if same else -1
        if name == "":
            return -1
        return super().register_memory_region(name, data_ptr, offset, length)

    def register_remote_memory_region(self, name, mr_info):
        exported = _peer_entry(mr_info, f"mr_info of '{text_name(name)}'")
        return self._keep_remote(name, self._remote_entry(mr_info, exported))

    def named(self, op, assign, imm_data=0, stream=None):
        if op == "write_with_imm":
            return self.write_with_imm(assign, imm_data, stream)
        return self._current.named(SlimeTcpReadWriteFuture, _READ if op == "read" else _WRITE, assign,
                                   0, 30)

    def shutdown(self):
        self._closed = True
        self._current.close()


def entry_of(record):
    """An entry of mr_info() for a region as the control plane has it."""
    entry = {key: record.get(key, 0) for key in ("addr", "length", "rkey", "lkey")}
    entry.update((key, record[key]) for key in ("agent_name", "mr_name", "device", "ib_port",
                                                "link_type") if key in record)
    desc = record.get("desc")
    if isinstance(desc, str):
        base64.b64decode(desc, validate=True)
        entry[KEY] = desc
    return entry
