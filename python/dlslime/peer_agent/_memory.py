# SPDX-License-Identifier: BSD-3-Clause
"""An agent's regions: one table of handles for all its endpoints, and their names for peers."""

import json
import threading
from dataclasses import dataclass

from dlslime import _core
from dlslime._contract.pool import Pool, text_name
from dlslime._contract.rdma import RDMAContext, RDMAMemoryPool


@dataclass
class LogicalMemoryRegion:
    name: str
    ptr: int
    offset: int
    length: int


class PeerMemoryRegion:
    """What allocate_memory_region() would give where there are CUDA fabric allocations."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError("CUDA Fabric allocation requires BUILD_NVLINK")


class AgentPool(Pool):
    """A region that peers may know is never changed in place: more memory at its address is another
    handle, and it is withdrawn before it goes."""

    def __init__(self, withdraw):
        super().__init__()
        self._withdraw = withdraw

    def register(self, addr, length, name):
        with self._lock:
            handle = self._handles.get(addr)
            if handle is not None and self.regions[handle].nbytes < length:
                if name is not None and name in self.names:
                    return -1
                del self._handles[addr]
        return super().register(addr, length, name)

    def unregister(self, key):
        if isinstance(key, str):
            key = self.names.get(key, -1)
        self._withdraw([name for name, handle in list(self.names.items()) if handle == key])
        return super().unregister(key)

    def rkey(self, handle):
        return self._rkeys[handle]

    def info(self):
        out = super().info()
        for name, entry in out.items():
            entry["name"] = name   # TCP's entries have it
        return out


class _MemoryPool(RDMAMemoryPool):
    """What get_pool() of an agent's endpoint gives."""

    def __init__(self, nic, pool):
        self._context = RDMAContext()
        self._context._name, self._context._kind = nic, "agent"
        self._pool = pool


class Memory:
    """The regions that an agent publishes."""

    def __init__(self, agent, where):
        self._agent = agent
        self._where = where      # the contract's keys about the NIC, for entries
        self._lock = threading.RLock()
        self.pool = AgentPool(self._withdraw)
        self.logical = {}        # name -> LogicalMemoryRegion

    def pool_of(self, nic):
        return _MemoryPool(nic, self.pool)

    def names(self):
        return sorted(self.logical)

    def handle(self, name):
        handle = self.pool.names.get(name) if name in self.logical else None
        if handle is None:
            raise RuntimeError(f"Local memory region '{name}' is not registered")
        return handle

    def register(self, name, ptr, offset, length):
        """Publish [ptr, ptr + offset + length) as NAME; of a known name it is a new meaning."""
        if not text_name(name):
            raise ValueError("the name of a memory region must not be empty")
        ptr, offset, length = (_core.unsigned(v, w) for v, w in
                               ((ptr, "ptr"), (offset, "offset"), (length, "length")))
        with self._lock:
            old = self.pool.names.get(name)
            if old is not None and name not in self.logical:
                raise RuntimeError(f"memory region '{name}' is registered on an endpoint only: "
                                   "unregister it there first")
            handle = self.pool.register(ptr, offset + length, None)
            if handle != old:
                try:
                    self._agent.publish(name, self.pool.regions[handle], self._note(name, handle))
                except BaseException:
                    self._drop(handle)
                    raise
                self.pool.names[name] = handle
            self.logical[name] = LogicalMemoryRegion(name, ptr, offset, length)
            if old is not None and old != handle:
                self._drop(old)
            return handle

    def _note(self, name, handle):
        region = self.pool.regions[handle]
        return json.dumps({"agent_name": self._agent.alias, "mr_name": name, **self._where,
                           "addr": region.addr, "length": region.nbytes,
                           "rkey": self.pool.rkey(handle), "lkey": 0})

    def _drop(self, handle):
        """Nobody's any more, unless another name has it."""
        if handle not in self.pool.names.values():
            self.pool.unregister(handle)

    def unregister(self, name):
        """False: there is no such region."""
        text_name(name)
        with self._lock:
            if name not in self.logical:
                return False
            handle = self.handle(name)
            self._withdraw([name])
            others = [n for n, h in self.pool.names.items() if h == handle]
            if not others:
                rc = self.pool.unregister(handle)
                if rc:
                    raise RuntimeError(f"Failed to unregister memory region '{name}': underlying "
                                       f"memory pool returned {rc} for handle {handle}")
            return True

    def _withdraw(self, names):
        with self._lock:
            for name in names:
                if name in self.logical:
                    self._agent.withdraw(name)
                    del self.logical[name]
                    del self.pool.names[name]
