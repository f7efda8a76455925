# SPDX-License-Identifier: BSD-3-Clause
"""TcpEndpoint and TcpMemoryPool: endpoints that know each other by host and port.

Behind a TcpEndpoint are endpoints of the library, one for each peer it met (a session). A listener
of our own swaps their descriptions (rendezvous.py), so that connect() on one side is enough for that
side to read, write and send. Messages are received from the peer that this side connected to, or,
before it did, from the first that came.
"""

import uuid
from _thread import allocate_lock, start_new_thread

from dlslime import _core, _errors
from dlslime._contract import rendezvous
from dlslime._contract.futures import (
    SlimeTcpReadWriteFuture, SlimeTcpRecvFuture, SlimeTcpSendFuture,
)
from dlslime._contract.pool import KEY, decode, encode, text_name
from dlslime._contract.rdma import _chunk, region_for
from dlslime.logging import get_logger

_READ, _WRITE, _SEND, _RECV = 0, 1, 4, 5
_ENOTCONN = 107
_NOT_CONNECTED = "the endpoint is not connected"


class _Regions:
    """Handles of TCP regions: as the contract's pool, but a larger region gets a new handle."""

    def __init__(self):
        self.regions, self.names, self._handles = [], {}, {}
        self._lock = allocate_lock()

    def register(self, addr, length, name):
        if not name or name in self.names:
            return -1
        with self._lock:
            handle = self._handles.get(addr)
            if handle is None or self.regions[handle].nbytes < length:
                region = _core.register_address(addr, length) if length else None
                handle = len(self.regions)
                self.regions.append(region)
                if region is not None:
                    self._handles[addr] = handle
            self.names[name] = handle
            return handle

    def find(self, addr, length):
        handle = self._handles.get(addr)
        region = None if handle is None else self.regions[handle]
        return region if region is not None and region.nbytes >= length else None

    def info(self):
        out = {}
        for name, handle in sorted(self.names.items()):
            region = self.regions[handle]
            if region is not None:
                out[name] = {"addr": region.addr, "length": region.nbytes, "name": name,
                             KEY: encode(region.export())}
        return out


def _peer_entry(entry, what):
    if not isinstance(entry, dict):
        raise TypeError(f"{what} is {type(entry).__name__}, not a dict")
    for key in ("addr", "length"):
        if key not in entry:
            raise RuntimeError(f"{what} has no '{key}'")
        _core.unsigned(entry[key], f"'{key}' of {what}")
    return decode(entry[KEY], what) if KEY in entry else None


class TcpMemoryPool:
    """Bookkeeping of regions; no endpoint takes one."""

    def __init__(self):
        self._mine, self._theirs = _Regions(), {}

    def register_memory_region(self, addr, length, name):
        return self._mine.register(_core.unsigned(addr, "addr"), _core.unsigned(length, "length"),
                                   text_name(name))

    def register_remote_memory_region(self, mr_info, name=None):
        _peer_entry(mr_info, "mr_info")
        key = text_name(name) if name is not None else f"auto_{len(self._theirs)}"
        return self._theirs.setdefault(key, len(self._theirs))

    def get_mr_handle(self, name):
        return self._mine.names.get(text_name(name), -1)

    def mr_info(self):
        return self._mine.info()


class TcpEndpoint:
    """Listens at once on ip and port (0: any); connect() to a peer's endpoint_info()."""

    def __init__(self, ip="0.0.0.0", port=0):
        if not isinstance(ip, str):
            raise TypeError(f"ip is {type(ip).__name__}, not str")
        if _core.unsigned(port, "port") > 65535:
            raise TypeError(f"port is {port}: it must be in 0..65535")
        self._ip, self._id = ip, uuid.uuid4().hex
        self._mine, self._names, self._theirs = _Regions(), {}, []
        self._lock = allocate_lock()
        self._dialing = []      # ids of the peers that are called just now; None: not known whose
        self._sessions = {}     # peer's id -> port
        self._connected = False
        self._closed = False
        self._listener = rendezvous.listen(ip, port)
        self._bound = self._listener.getsockname()[1]
        self._current = self._new_port()   # what send and recv use
        # The thread holds what it needs, not the endpoint: who drops that ends the thread.
        import weakref

        start_new_thread(_serve, (self._listener, weakref.WeakMethod(self._answer)))

    def _new_port(self):
        try:
            return _core.Port(_core.context(), "tcp", None, 0, self._mine.regions)
        except _errors.Error as e:
            raise RuntimeError(str(e)) from e

    def __del__(self):
        if getattr(self, "_current", None) is not None:
            self.shutdown()

    # ---- meeting

    def endpoint_info(self):
        """The document for the peer's connect()."""
        return {"host": self._ip, "mr_info": self.mr_info(), "port": self._bound, KEY: self._id}

    def connect(self, remote_info):
        """Connect to the peer at remote_info's host and port; nobody there: a warning, no exception."""
        if not isinstance(remote_info, dict):
            raise TypeError(f"remote_info is {type(remote_info).__name__}, not a dict")
        host, port = remote_info.get("host", ""), remote_info.get("port", 0)
        regions = remote_info.get("mr_info") or {}
        if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int) \
                or not isinstance(regions, dict):
            raise RuntimeError("type error in remote_info: host is a str, port an int, mr_info a dict")
        for name, entry in regions.items():
            _peer_entry(entry, f"mr_info of '{name}'")
        if self._closed:
            raise RuntimeError("the endpoint is shut down")
        reached = self._reach(host, port, remote_info.get(KEY))
        for name, entry in sorted(regions.items()):
            self.register_remote_memory_region(name, entry)
        if reached is not None:
            self._use(reached)

    def _reach(self, host, port, peer_id):
        """The port of a session with that peer, or None with a warning."""
        peer_id = peer_id if isinstance(peer_id, str) else None
        with self._lock:
            # The peer may be calling, too: one of the two calls makes the session.
            if peer_id in self._sessions:
                return self._sessions[peer_id]
            self._dialing.append(peer_id)
            fresh = not self._sessions and not self._current.begun
            port_of_mine = self._current if fresh else self._new_port()
        try:
            answer = rendezvous.call(host, port, {"id": self._id,
                                                  KEY: encode(port_of_mine.export())})
            return self._settle(answer, port_of_mine)
        except (OSError, OverflowError, rendezvous.Stranger, RuntimeError, ValueError) as e:
            import socket

            with self._lock:   # what did not come is no session: another connect() tries anew
                for peer in [p for p, s in self._sessions.items() if s is port_of_mine]:
                    del self._sessions[peer]
            if isinstance(e, socket.gaierror):
                raise RuntimeError("resolve: Host not found (authoritative)") from e
            get_logger("tcp").warning("connect to %s port %s failed: %s", host, port, e)
            return None
        finally:
            with self._lock:
                self._dialing.remove(peer_id)

    def _settle(self, answer, port_of_mine):
        peer = answer["id"]
        if answer.get("wait") or answer.get("known"):
            import time

            until = time.monotonic() + 10
            while peer not in self._sessions and time.monotonic() < until:
                time.sleep(0.002)
            if peer not in self._sessions:
                raise RuntimeError("the peer did not come")
            return self._sessions[peer]
        port_of_mine.connect(decode(answer.get(KEY), "the peer's answer"))
        self._sessions[peer] = port_of_mine
        if not port_of_mine.connect_wait(10):
            raise RuntimeError("the peer did not come")
        return port_of_mine

    def _answer(self, question):
        """To a caller: called by the thread that listens."""
        peer = question["id"]
        with self._lock:
            if peer in self._sessions:
                return {"id": self._id, "known": True}
            if self._id < peer and (peer in self._dialing or None in self._dialing):
                return {"id": self._id, "wait": True}
            fresh = not self._sessions and not self._current.begun and not self._dialing
            port = self._current if fresh else self._new_port()
            port.connect(decode(question.get(KEY), "a caller's question"))
            self._sessions[peer] = port
            return {"id": self._id, KEY: encode(port.export())}

    def _use(self, port):
        """From now on this is the peer that transfers are with."""
        if port is not self._current or not port.remote_count:
            for i in range(port.remote_count, len(self._theirs)):
                port.add_remote(self._theirs[i])
        self._current = port
        self._connected = True

    def is_connected(self):
        """Whether connect() once worked and shutdown() was not called."""
        return self._connected and not self._closed

    # ---- memory

    def mr_info(self):
        """The regions for a peer; {} if there are none."""
        return self._mine.info()

    def register_memory_region(self, name, data_ptr, offset, length):
        """Register [data_ptr + offset, + length): a handle, or -1 for an empty or known name."""
        addr = _core.unsigned(data_ptr, "data_ptr") + _core.unsigned(offset, "offset")
        try:
            return self._mine.register(addr, _core.unsigned(length, "length"), text_name(name))
        except ValueError as e:
            raise RuntimeError(str(e)) from e

    def register_remote_memory_region(self, name, mr_info):
        """The handle of a peer's region; of a known name the same, with the new entry."""
        exported = _peer_entry(mr_info, f"mr_info of '{text_name(name)}'")
        handle = self._names.setdefault(name, len(self._theirs))
        if handle == len(self._theirs):
            self._theirs.append(exported)
        else:
            self._theirs[handle] = exported
        port = self._current
        if handle < port.remote_count:
            port.set_remote(handle, exported)
        else:
            for i in range(port.remote_count, len(self._theirs)):
                port.add_remote(self._theirs[i])
        return handle

    # ---- transfers

    def read(self, assign, stream=None, timeout_ms=30000):
        """Tuples (handle, remote handle, remote offset, local offset, length)."""
        return self._one_sided("read", _READ, assign, timeout_ms)

    def write(self, assign, stream=None, timeout_ms=30000):
        """As read(), the other way; done when the bytes are in the peer's memory."""
        return self._one_sided("write", _WRITE, assign, timeout_ms)

    def _one_sided(self, what, kind, assign, timeout_ms):
        seconds = _core.unsigned(timeout_ms, "timeout_ms") / 1000
        if hasattr(assign, "__len__") and not len(assign):
            raise RuntimeError(f"TcpEndpoint::{what}: empty assignment")
        if not self.is_connected():
            return self._current.failed(SlimeTcpReadWriteFuture, kind, -_ENOTCONN, _NOT_CONNECTED)
        try:
            return getattr(self._current, what)(SlimeTcpReadWriteFuture, assign, None, seconds)
        except ValueError as e:
            raise RuntimeError(f"TcpEndpoint::{what}: invalid MR handle: {e}") from e

    def send(self, chunk, stream=None, timeout_ms=30000):
        """Send (data_ptr, offset, length) to a recv() of the peer."""
        seconds = _core.unsigned(timeout_ms, "timeout_ms") / 1000
        addr, length = _chunk(chunk)
        if not self.is_connected():
            return self._current.failed(SlimeTcpSendFuture, _SEND, -_ENOTCONN, _NOT_CONNECTED)
        region = region_for(self._mine, addr, length)
        return self._current.message(SlimeTcpSendFuture, True, region, 0, length, None, seconds)

    def recv(self, chunk, stream=None, exact_size=False):
        """Receive a message into (data_ptr, offset, length); with exact_size any other size is -1."""
        addr, length = _chunk(chunk)
        region = region_for(self._mine, addr, length)
        return self._current.message(SlimeTcpRecvFuture, False, region, 0, length,
                                     length if exact_size else None)

    # What they were called first.
    async_read, async_write, async_send, async_recv = read, write, send, recv

    def write_with_imm(self, assign, imm_data=0, stream=None):
        raise NotImplementedError("TCP transport does not support write_with_imm; this is RDMA-only.")

    def imm_recv(self, stream=None):
        raise NotImplementedError("TCP transport does not support imm_recv; this is RDMA-only.")

    def shutdown(self):
        """Stop listening and end everything that is pending. Any thread, also twice."""
        self._closed = True
        try:
            # Wakes the thread that accepts. SHUT_RDWR: at the interpreter's end nothing is imported.
            self._listener.shutdown(2)
        except OSError:
            pass
        self._listener.close()
        for port in {self._current, *self._sessions.values()}:
            port.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.shutdown()


def _serve(listener, weak_answer):
    def answer(question):
        method = weak_answer()
        if method is None:
            raise RuntimeError("the endpoint is gone")
        return method(question)

    rendezvous.serve(listener, answer)
