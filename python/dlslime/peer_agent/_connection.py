# SPDX-License-Identifier: BSD-3-Clause
"""PeerConnection: what connect_to() returns."""

import sys
import threading

from dlslime import _errors
from dlslime.peer_agent._endpoints import LinkEndpoint, TcpLinkEndpoint
from dlslime.peer_agent._keys import TcpResourceKey, end_name
from dlslime.peer_agent._twins import in_a_thread

# What nanoctrl told the agent's link, as the contract has it.
_STATES = {"up": "connected", "closed": "failed"}
_warned = threading.Event()


def conn_id_of(alias, local_key, peer, peer_key, qp_num):
    return f"{alias}:{end_name(local_key)}->{peer}:{end_name(peer_key)}#qp{qp_num}"


def make_endpoint(memory, port, peer, local_key, qp_num):
    nic = local_key.device
    pool = memory.pool_of(nic)
    if isinstance(local_key, TcpResourceKey):
        return TcpLinkEndpoint(port, pool, peer, local_key.host, local_key.port)
    return LinkEndpoint(port, pool, peer, nic, qp_num)


class PeerConnection:
    """A connection to a peer; it connects, and connects again after a loss, by itself.

    `await connection` is wait() for asyncio.
    """

    profile = "default"

    def __init__(self, agent, peer_alias, local_key, peer_key, qp_num, asked, endpoint):
        self._agent = agent
        self.peer_alias = peer_alias
        self.local_key, self.peer_key = local_key, peer_key
        self.qp_num = qp_num
        self._asked = asked      # "rdma", "tcp", "auto"; None: the peer began it
        self.endpoint = endpoint
        self.conn_id = conn_id_of(agent.alias, local_key, peer_alias, peer_key, qp_num)

    local_nic = property(lambda self: self.local_key.device)
    remote_nic = property(lambda self: self.peer_key.device)
    memory_pool = property(lambda self: self.endpoint.get_pool())

    @property
    def _link(self):
        return self.endpoint._link

    @property
    def state(self):
        """"connecting" (also again, after a loss), "connected", or "failed": it is closed."""
        return _STATES.get(self._link.look()["state"], "connecting")

    def is_connected(self):
        return self.state == "connected"

    @property
    def transport(self):
        """What was asked for; of "auto", what carries it, once connected."""
        if self._asked in ("rdma", "tcp"):
            return self._asked
        return self._link.look()["transport"] or "auto"

    @property
    def selection_reason(self):
        """Why this transport."""
        if self._asked is None:
            return "peer_selected"
        if self._asked != "auto":
            return "explicit_request"
        link = self._link.look()
        if not link["transport"]:
            return "auto"
        if link["transport"] == "rdma":
            return "compatible_rdma_fallback"
        return f"auto: {link['transport']}: {link['because']}"

    @property
    def peer_endpoint_info(self):
        """The peer's regions as a document with 'mr_info'; None before it is connected. Asks the
        control plane, so it is what is published now."""
        if not self.is_connected():
            return None
        info = {"mr_info": self._agent._mr_infos(self.peer_alias)}
        if isinstance(self.peer_key, TcpResourceKey):
            info.update(host=self.peer_key.host, port=self.peer_key.port)
        return info

    def wait(self, timeout=60.0):
        """Block until connected. Returns the connection."""
        _check_timeout(timeout)
        try:
            waits_for = self._link.connect_wait(timeout)
        except _errors.Error as e:
            raise RuntimeError(f"Connection '{self.conn_id}' failed: {e}") from e
        if waits_for is not None:
            raise self._late(timeout, waits_for)
        self._tell_tcp()
        return self

    def _late(self, timeout, waits_for):
        return TimeoutError(f"Timeout waiting for connection '{self.conn_id}' after {timeout} s: "
                            f"{waits_for or 'the peer did not answer yet'}")

    async def wait_async(self, timeout=60.0):
        """As wait(), for asyncio."""
        import time

        _check_timeout(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        while not self._link.connected:
            if self.state == "failed":
                raise RuntimeError(f"Connection '{self.conn_id}' failed: the link is closed")
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise self._late(timeout, self._link.look()["because"])
            await self._link.comes(left)
        self._tell_tcp()
        return self

    def __await__(self):
        return self.wait_async().__await__()

    def _tell_tcp(self):
        """The last resort is told once."""
        if self._asked != "auto" or _warned.is_set():
            return
        link = self._link.look()
        if link["transport"] == "tcp":
            _warned.set()
            print(f"dlslime: '{self.peer_alias}' is reached over TCP, the last resort of "
                  f"transport='auto' ({link['because']}); transport='tcp' asks for it without this "
                  "line", file=sys.stderr)

    def sync_memory_regions(self, timeout=60.0):
        """Wait until the peer can find all regions of this agent. They are published when they are
        registered, so there is nothing to send; returns the connection."""
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout is {type(timeout).__name__}, not a number of seconds")
        if not timeout > 0:
            raise ValueError("timeout must be positive")
        return self.wait(timeout)

    async def sync_memory_regions_async(self, timeout=60.0):
        """As sync_memory_regions(), for asyncio."""
        return await in_a_thread(self.sync_memory_regions, timeout)

    def __repr__(self):
        return f"<PeerConnection {self.conn_id}, {self.state}>"


def _check_timeout(timeout):
    if isinstance(timeout, str):
        raise ValueError(f"wait() takes a timeout in seconds, not '{timeout}': device names belong in "
                         "connect_to(), not wait()")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
        raise TypeError(f"timeout is {type(timeout).__name__}, not a number of seconds or None")
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout is {timeout!r}: it cannot be negative")
