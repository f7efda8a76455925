# SPDX-License-Identifier: BSD-3-Clause
"""How engines use us: each test does what the engine's connector does, with our module in its place.

LMDeploy's classes are not here; what they call, and in which order, is (what the engines' public
interfaces say). Everything runs on soft NICs.
"""

import asyncio
import ctypes
import enum
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import run_python

# As LMDeploy imports it; NVLinkEndpoint must be there though it is never made.
from dlslime import NVLinkEndpoint, RDMAEndpoint, available_nic  # noqa: F401


class LinkType(enum.Enum):
    """LMDeploy passes the name of a member."""

    IB = enum.auto()
    RoCE = enum.auto()


class Migration:
    """One link of one rank: initialise, register caches, swap documents, read blocks."""

    def __init__(self, rank, link_type=LinkType.RoCE):
        nics = available_nic()
        self.endpoint = RDMAEndpoint(device_name=nics[rank % len(nics)], ib_port=1,
                                     link_type=link_type.name)

    def register(self, mr_key, addr, offset, length):
        self.endpoint.register_memory_region(mr_key, addr, offset, length)

    def info(self):
        return json.dumps(self.endpoint.endpoint_info())

    def connect(self, text):
        self.endpoint.connect(json.loads(text))

    async def migrate(self, batch):
        """One key for both sides: remote handles are counted in the order of the peer's."""
        future = self.endpoint.read([(key, key, target, source, length)
                                     for key, target, source, length in batch])
        await asyncio.get_running_loop().run_in_executor(None, future.wait)


def cache(nbytes, fill):
    """Memory of an engine: neither ours nor page-aligned."""
    memory = (ctypes.c_char * (nbytes + 24))()
    memory[:] = bytes([fill]) * (nbytes + 24)
    return memory, ctypes.addressof(memory) + 24


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("link_type", LinkType)
def test_lmdeploy_migrates_blocks_of_layers_between_two_engines(ranks, link_type):
    layers, blocks, block = 6, 40, 512
    length = blocks * block

    async def main():
        for rank in range(ranks):
            prefill, decode = Migration(rank, link_type), Migration(rank, link_type)
            kept = []
            for layer in range(layers):   # keys are the engine's own, 0-based
                for side, fill in ((prefill, layer + 1), (decode, 0xEE)):
                    memory, addr = cache(length, fill)
                    side.register(layer, addr, 0, length)
                    kept.append(memory)
            decode.connect(prefill.info())
            prefill.connect(decode.info())
            remote, local = range(0, blocks, 2), range(blocks // 2)
            batch = [(layer, r * block, m * block, block)
                     for layer in range(layers) for r, m in zip(remote, local)]
            await decode.migrate(batch)
            for layer in range(layers):
                mine = kept[2 * layer + 1][24:]
                assert mine[:length // 2] == bytes([layer + 1]) * (length // 2)
                assert mine[length // 2:] == b"\xee" * (length // 2)
            for side in (prefill, decode):
                side.endpoint.shutdown()

    asyncio.run(main())


def test_lmdeploy_learns_of_a_failed_migration_by_an_exception():
    a, b = Migration(0), Migration(0)
    for side in (a, b):
        memory, addr = cache(4096, 1)
        side.kept = memory
        side.register(0, addr, 0, 4096)
    a.connect(b.info())
    b.connect(a.info())

    async def main():
        with pytest.raises(RuntimeError, match="^RDMA read/write completion failed$"):
            await a.migrate([(0, 0, 0, 512), (0, 4000, 0, 512)])
        await a.migrate([(0, 0, 0, 512)])   # the link goes on

    asyncio.run(main())


def test_lmdeploy_has_many_sessions_on_one_link_at_once():
    a, b = Migration(0), Migration(0)
    kept = []
    for side, fill in ((a, 0), (b, 7)):
        memory, addr = cache(1 << 16, fill)
        kept.append(memory)
        side.register(0, addr, 0, 1 << 16)
    b.connect(a.info())
    a.connect(b.info())

    async def main():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(8))
        await asyncio.gather(*(a.migrate([(0, i * 1024, i * 1024, 1024)]) for i in range(64)))

    asyncio.run(main())
    assert kept[0][24:] == b"\x07" * (1 << 16)


def test_an_encoder_names_its_regions_and_takes_them_back():
    """LMDeploy's EPD: names in place of numbers, and memory that comes and goes."""
    sender, receiver = RDMAEndpoint(), RDMAEndpoint()
    receiver.connect(json.loads(json.dumps(sender.endpoint_info())))
    sender.connect(json.loads(json.dumps(receiver.endpoint_info())))
    for i in range(50):
        source, source_addr = cache(1024, i)
        sink, sink_addr = cache(1024, 0)
        name = f"image_{i}"
        sender.register_memory_region(name, source_addr, 0, 1024)
        entry = json.loads(json.dumps(sender.mr_info()[name]))
        assert set(entry) >= {"handle", "addr", "rkey", "length"} and entry["handle"] == i
        local = receiver.register_memory_region(name, sink_addr, 0, 1024)
        remote = receiver.register_remote_memory_region(name, entry)
        assert receiver.read([(local, remote, 0, 0, 1024)]).wait() == 0
        assert sink[24:] == bytes([i]) * 1024
        for endpoint in (sender, receiver):
            unregister = getattr(endpoint, "unregister_memory_region", None) \
                or endpoint.get_pool().unregister_memory_region
            assert unregister(name) == 0
    assert sender.mr_info() is None


def test_a_weight_transport_works_below_an_agent():
    """NanoRL keeps the endpoint and the handles of a connection, and reads by number."""
    if "DLSLIME_BIN" not in os.environ:
        pytest.skip("DLSLIME_BIN does not say where nanoctrl is")
    import sys
    sys.path.append(os.path.join(os.path.dirname(__file__), "..", "integration"))
    from agents import Daemon

    with Daemon() as daemon:
        run_python("""
            import sys, dlslime
            memory = dlslime.alloc(64)
            view = memoryview(memory)
            view[:] = bytes(range(64))
            with dlslime.PeerAgent(sys.argv[1], "trainer") as trainer, \\
                    dlslime.PeerAgent(sys.argv[1], "actor") as actor:
                trainer.register_memory_region("w", memory.addr, 0, 64)
                actor.register_memory_region("w", memory.addr, 0, 64)
                actor.connect_to("trainer").wait(20)
                conn = actor._get_connection("trainer")
                endpoint = actor._get_endpoint("trainer")
                mine = actor.get_handle("w", resource_key=conn.local_key, endpoint=endpoint)
                theirs = actor.get_handle("w", "trainer", resource_key=conn.peer_key,
                                          endpoint=endpoint)
                assert endpoint.read([(mine, theirs, 0, 32, 32)]).wait() == 0
                assert view[32:] == bytes(range(32))
        """, daemon.url)


def test_an_engine_that_sees_no_nic_gets_one_where_none_is():
    """LMDeploy divides by the number of NICs."""
    done = run_python("""
        from dlslime import RDMAEndpoint, available_nic
        nics = available_nic()
        assert nics, "ZeroDivisionError in the engine"
        e = RDMAEndpoint(device_name=nics[3 % len(nics)], ib_port=1, link_type="RoCE")
        print(e.endpoint_info()["mr_info"])
    """, SLIME_VISIBLE_DEVICES=None, DLSLIME_SOFT_NIC=None)
    assert done.stdout == "None\n"
