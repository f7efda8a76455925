# SPDX-License-Identifier: BSD-3-Clause
"""What moves the bytes in the spmd benches. An engine of an initiator moves to or from its target.

    Engine(ranks, buffer, args)     Missing says why it cannot be here
    tell()                          what the peer needs, fit for JSON
    meet(told)                      with what the peer told
    start(n)                        begin n transfers of args.nbytes in one batch; a handle
    finish(handle)                  until it is over; raises if it failed
    serve(batches, n)               the target's part of so many batches; most engines have none
"""

import os
from concurrent.futures import ThreadPoolExecutor

NAME = "buffer"


class Missing(Exception):
    """Why an engine cannot be used here."""


class Engine:
    def __init__(self, ranks, buffer, args):
        self.buffer, self.args = buffer, args
        self.initiator = ranks.rank < ranks.size // 2
        self.peer = (ranks.rank + ranks.size // 2) % ranks.size

    def serve(self, batches, n):
        pass

    def close(self):
        pass


class Dlslime(Engine):
    """RDMAEndpoint: on a NIC, or a soft one."""

    def __init__(self, ranks, buffer, args):
        import dlslime

        super().__init__(ranks, buffer, args)
        nics = dlslime.available_nic()
        if not nics:
            raise Missing("there is no NIC, and DLSLIME_SOFT_NIC=0 forbids a soft one")
        self.endpoint = dlslime.RDMAEndpoint(nics[ranks.rank % len(nics)], num_qp=args.qp_num)
        self.handle = self.endpoint.register_memory_region(NAME, buffer.addr, 0, buffer.nbytes)

    def tell(self):
        return self.endpoint.endpoint_info()

    def meet(self, told):
        self.endpoint.connect(told)
        self.remote = self.endpoint.register_remote_memory_region(NAME, told["mr_info"][NAME])

    def start(self, n):
        move = self.endpoint.read if self.args.opcode == "read" else self.endpoint.write
        return move([(self.handle, self.remote, 0, 0, self.args.nbytes)] * n)

    def finish(self, handle):
        handle.wait()

    def close(self):
        self.endpoint.shutdown()


class DlslimeTcp(Engine):
    """TcpEndpoint."""

    def __init__(self, ranks, buffer, args):
        import dlslime

        super().__init__(ranks, buffer, args)
        self.endpoint = dlslime.TcpEndpoint(args.host)
        self.handle = self.endpoint.register_memory_region(NAME, buffer.addr, 0, buffer.nbytes)

    def tell(self):
        return self.endpoint.endpoint_info()

    def meet(self, told):
        if not self.initiator:
            return
        self.endpoint.connect(told)
        self.remote = self.endpoint.register_remote_memory_region(NAME, told["mr_info"][NAME])

    start = Dlslime.start

    def finish(self, handle):
        status = handle.wait()
        if status:
            raise RuntimeError(f"{self.args.opcode} ended with {status}: {handle.reason()}")

    close = Dlslime.close


class Mooncake(Engine):
    """Its calls block, so what is in flight is threads."""

    def __init__(self, ranks, buffer, args):
        super().__init__(ranks, buffer, args)
        try:
            from mooncake.engine import TransferEngine
        except ImportError as e:
            raise Missing(f"mooncake is not installed ({e}): pip install "
                          "mooncake-transfer-engine-non-cuda") from None
        self.engine = TransferEngine()
        protocol = os.environ.get("MOONCAKE_PROTOCOL", "tcp")
        if self.engine.initialize(args.host, "P2PHANDSHAKE", protocol, ""):
            raise Missing(f"mooncake's engine does not start at {args.host} over {protocol}")
        if self.engine.register_memory(buffer.addr, buffer.nbytes):
            raise Missing("mooncake does not register the memory")
        self.threads = ThreadPoolExecutor(args.num_concurrency)

    def tell(self):
        return {"session": f"{self.args.host}:{self.engine.get_rpc_port()}", "addr": self.buffer.addr}

    def meet(self, told):
        self.session, self.there = told["session"], told["addr"]

    def _move(self, n):
        move = (self.engine.batch_transfer_sync_read if self.args.opcode == "read"
                else self.engine.batch_transfer_sync_write)
        status = move(self.session, [self.buffer.addr] * n, [self.there] * n, [self.args.nbytes] * n)
        if status:
            raise RuntimeError(f"mooncake's {self.args.opcode} ended with {status}")

    def start(self, n):
        return self.threads.submit(self._move, n)

    def finish(self, handle):
        handle.result()

    def close(self):
        self.threads.shutdown()


class Nixl(Engine):
    """Its UCX backend. Who waits polls, as its interface wants it.

    With the wheel nixl-cu12 1.5.1 over tcp a rank dies of SIGSEGV when the process ends, behind the
    table; releasing everything first, as close() does, did not change that.
    """

    def __init__(self, ranks, buffer, args):
        super().__init__(ranks, buffer, args)
        try:
            try:
                from nixl._api import nixl_agent, nixl_agent_config
            except ImportError:
                from nixl_cu12._api import nixl_agent, nixl_agent_config
        except ImportError as e:
            raise Missing(f"nixl is not installed ({e}): pip install --no-deps nixl-cu12") from None
        self.agent = nixl_agent(f"rank{ranks.rank}", nixl_agent_config(backends=["UCX"]))
        self.kind = "DRAM" if type(buffer).__name__ == "HostBuffer" else "VRAM"
        self.memory = self.agent.register_memory([(buffer.addr, buffer.nbytes, 0, NAME)], self.kind)
        self.free = {}   # descriptors are prepared once: that is its fast way

    def tell(self):
        return {"metadata": self.agent.get_agent_metadata().hex(), "addr": self.buffer.addr}

    def meet(self, told):
        name = self.agent.add_remote_agent(bytes.fromhex(told["metadata"]))
        self.name = name.decode() if isinstance(name, bytes) else name
        self.there = told["addr"]
        if self.initiator:
            self.agent.make_connection(self.name)

    def _prepare(self, n):
        mine, theirs = (self.agent.get_xfer_descs([(addr, self.args.nbytes, 0)] * n, self.kind)
                        for addr in (self.buffer.addr, self.there))
        return self.agent.initialize_xfer(self.args.opcode.upper(), mine, theirs, self.name)

    def start(self, n):
        key = self.args.nbytes, n
        ready = self.free.setdefault(key, [])
        transfer = ready.pop() if ready else self._prepare(n)
        return [key, transfer, self.agent.transfer(transfer)]

    def finish(self, handle):
        key, transfer, state = handle
        while state == "PROC":
            state = self.agent.check_xfer_state(transfer)
        if state != "DONE":
            raise RuntimeError(f"nixl's {self.args.opcode} ended with {state}")
        self.free[key].append(transfer)

    def close(self):
        for transfer in [t for ready in self.free.values() for t in ready]:
            self.agent.release_xfer_handle(transfer)
        self.agent.remove_remote_agent(self.name)
        self.agent.deregister_memory(self.memory)
        del self.agent


class Collective(Engine):
    """torch.distributed: messages, so both sides take part."""

    backend = "gloo"

    def __init__(self, ranks, buffer, args):
        super().__init__(ranks, buffer, args)
        try:
            import torch
            import torch.distributed as dist
        except ImportError:
            raise Missing(f"{self.backend} comes with torch, which is not installed") from None
        self._look(torch)
        self.dist, self.group = dist, self._join(ranks, dist)
        self.tensor = getattr(buffer, "tensor", None)
        if self.tensor is None:
            self.tensor = torch.frombuffer(buffer.view, dtype=torch.uint8)

    def _look(self, torch):
        pass

    def _join(self, ranks, dist):
        """A group of the backend: under torchrun beside that of the ranks, else torch is new to them."""
        if dist.is_initialized():
            return dist.new_group(backend=self.backend)
        host = os.environ["MASTER_ADDR"]
        if ranks.rank == 0:
            store = dist.TCPStore(host, 0, ranks.size, True, wait_for_workers=False)
        port = ranks.gather(store.port if ranks.rank == 0 else None)[0]
        if ranks.rank:
            store = dist.TCPStore(host, port, ranks.size, False)
        dist.init_process_group(self.backend, store=store, rank=ranks.rank, world_size=ranks.size)
        return None

    def tell(self):
        return None

    def meet(self, told):
        pass

    def _messages(self, n, sends):
        part = self.tensor[:self.args.nbytes]
        move = self.dist.isend if sends else self.dist.irecv
        return [move(part, self.peer, group=self.group) for _ in range(n)]

    def start(self, n):
        return self._messages(n, self.args.opcode == "write")

    def finish(self, handle):
        for message in handle:
            message.wait()

    def serve(self, batches, n):
        window = []
        for _ in range(batches):
            window.append(self._messages(n, self.args.opcode == "read"))
            if len(window) == self.args.num_concurrency:
                self.finish(window.pop(0))
        for handle in window:
            self.finish(handle)

    def close(self):
        if self.group is None:
            self.dist.destroy_process_group()


class Nccl(Collective):
    backend = "nccl"

    def _look(self, torch):
        if not torch.cuda.is_available():
            raise Missing("nccl moves memory of GPUs, and torch sees no CUDA device; on CPU the "
                          "same bench is --transfer-engine gloo")
