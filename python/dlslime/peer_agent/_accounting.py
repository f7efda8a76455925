# SPDX-License-Identifier: BSD-3-Clause
"""Snapshots of an agent's traffic for those who look on, schema 1.

The agent's own thread sends them to the control plane with each renewal, so a PeerAgent starts no
reporter. ObsReporter is for programs that make one, for an object with a Redis client.
"""

import json
import os
import socket
import threading
import time

from dlslime._contract.obs import obs_snapshot
from dlslime.logging import get_logger

_ALPHA = 0.3
_TTL_LEAST_MS, _TTL_STOPPED_MS = 180_000, 10_000

logger = get_logger("obs")


def _step_ms():
    try:
        return max(int(os.environ.get("DLSLIME_OBS_TIME_STEP_MS", "1000")), 10)
    except ValueError:
        return 1000


class ObsReporter:
    """Writes snapshots of AGENT to its `_redis_client`; without one there is nothing to start."""

    def __init__(self, agent):
        self._agent = agent
        self._session_id = f"{agent.alias}:{os.getpid()}:{int(time.time() * 1000)}"
        self._step = _step_ms()
        self._thread = None
        self._stop = threading.Event()
        self._before = None     # time, bytes
        self._rate = 0.0

    def start(self):
        if self._thread is None and self._agent._redis_client is not None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="dlslime-obs", daemon=True)
            self._thread.start()

    def stop(self):
        """End the thread; the last snapshot says that it stopped."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join(2)
            self._report({"status": "stopped", "ewma_bandwidth_bps": 0.0},
                         max(3 * self._step, _TTL_STOPPED_MS))

    def _run(self):
        while not self._stop.wait(self._step / 1000):
            self._report({}, max(3 * self._step, _TTL_LEAST_MS))

    def _report(self, more, ttl_ms):
        scope = self._agent._scope
        key = f"{scope}:obs:peer:{self._agent.alias}" if scope else f"obs:peer:{self._agent.alias}"
        try:
            pipe = self._agent._redis_client.pipeline(transaction=False)
            pipe.set(key, json.dumps({**self.snapshot(), **more}))
            pipe.pexpire(key, ttl_ms)
            pipe.execute()
        except Exception as e:   # the client's own kinds; the next snapshot may get there
            logger.warning("a snapshot of '%s' was not written: %s", self._agent.alias, e)

    def snapshot(self):
        """The document: counters (of this process, where DLSLIME_OBS=1) and connections."""
        counted = obs_snapshot()
        summary = counted.get("summary", {})
        now, done = time.monotonic(), summary.get("completed_bytes_total", 0)
        if self._before is not None and now > self._before[0]:
            rate = 8 * (done - self._before[1]) / (now - self._before[0])
            self._rate = _ALPHA * rate + (1 - _ALPHA) * self._rate
        self._before = now, done
        return {"schema_version": 1, "session_id": self._session_id, "peer_id": self._agent.alias,
                "host": socket.gethostname(), "pid": os.getpid(),
                "reported_at_ms": int(time.time() * 1000), "summary": summary,
                "nics": counted.get("nics", []), "ewma_bandwidth_bps": self._rate,
                "connections": self._gather_connections()}

    def _gather_connections(self):
        with self._agent._connections_lock:
            conns = [c for of_peer in self._agent._connections.values() for c in of_peer.values()]
        return [{"conn_id": c.conn_id, "peer": c.peer_alias, "local_nic": c.local_nic,
                 "remote_nic": c.remote_nic, "state": c.state,
                 "connected": self._agent._is_connection_connected(c.conn_id)} for c in conns]
