# SPDX-License-Identifier: BSD-3-Clause
"""The processes of one run, and how they tell each other things.

Under torchrun it is torch.distributed over gloo. With RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
in the environment and no torch, rank 0 listens there. With none of it, the script starts its ranks
itself, on this host. Traffic of the bench itself does not go this way.
"""

import json
import os
import socket
import subprocess
import sys
import threading

PATIENCE = 600   # seconds that a rank waits for the others


class TorchRanks:
    def __init__(self):
        import torch.distributed as dist

        dist.init_process_group("gloo")
        self._dist, self.rank, self.size = dist, dist.get_rank(), dist.get_world_size()

    def gather(self, value):
        """What each rank gave, in order."""
        out = [None] * self.size
        self._dist.all_gather_object(out, value)
        return out

    def barrier(self):
        self._dist.barrier()

    def close(self):
        self._dist.destroy_process_group()


class SocketRanks:
    """Lines of JSON to a hub and back."""

    def __init__(self, rank, size, address, hub=None):
        self.rank, self.size, self._hub = rank, size, hub
        self._socket = _call(address)
        self._lines = self._socket.makefile("rw")

    def gather(self, value):
        self._lines.write(json.dumps([self.rank, value]) + "\n")
        self._lines.flush()
        line = self._lines.readline()
        if not line:
            sys.exit(f"rank {self.rank}: another rank ended early")
        return json.loads(line)

    def barrier(self):
        self.gather(None)

    def close(self):
        self._lines.close()
        self._socket.close()
        if self._hub:
            self._hub.join(PATIENCE)


def _call(address):
    """Connect; rank 0 may not listen yet."""
    import time

    until = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(address, PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                sys.exit(f"nobody listens at {address[0]}:{address[1]}: did rank 0 start?")
            time.sleep(0.05)


def _serve(listener, size):
    """Answer a line of each rank with all of them, until one is gone."""
    with listener:
        peers = [listener.accept()[0] for _ in range(size)]
    lines = [peer.makefile("rw") for peer in peers]
    try:
        while True:
            got = [line.readline() for line in lines]
            if not all(got):
                break
            values = [value for _, value in sorted(map(json.loads, got), key=lambda item: item[0])]
            for line in lines:
                line.write(json.dumps(values) + "\n")
                line.flush()
    except (OSError, ValueError):
        pass
    for peer in peers:
        peer.close()


def start_hub(listener, size):
    hub = threading.Thread(target=_serve, args=(listener, size), daemon=True)
    hub.start()
    return hub


def _has_torch():
    from importlib.util import find_spec

    return find_spec("torch") is not None


def join(n_ranks):
    """This process's place among the ranks. Without one, start N_RANKS of it, and end as they do."""
    rank, address = os.environ.get("RANK"), os.environ.get("MASTER_ADDR")
    if rank is None:
        sys.exit(_start(n_ranks))
    rank, size = int(rank), int(os.environ["WORLD_SIZE"])
    if "DLSLIME_BENCH_HUB" in os.environ:
        host, port = os.environ["DLSLIME_BENCH_HUB"].rsplit(":", 1)
        return SocketRanks(rank, size, (host, int(port)))
    if _has_torch():
        return TorchRanks()
    address = (address, int(os.environ["MASTER_PORT"]))
    hub = start_hub(socket.create_server(address), size) if rank == 0 else None
    return SocketRanks(rank, size, address, hub)


def _start(n_ranks):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    start_hub(listener, n_ranks)
    ranks = []
    for rank in range(n_ranks):
        env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(n_ranks), "LOCAL_RANK": str(rank),
               "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",
               "DLSLIME_BENCH_HUB": f"127.0.0.1:{port}"}
        ranks.append(subprocess.Popen([sys.executable, *sys.argv], env=env))
    try:
        return max(abs(rank.wait()) for rank in ranks)
    finally:
        for rank in ranks:
            rank.kill()
