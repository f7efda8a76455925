# SPDX-License-Identifier: BSD-3-Clause
"""The async twins of a PeerAgent: the loop goes on while they wait."""

import asyncio

import pytest
from peers import PATIENCE, ctrl  # noqa: F401

import dlslime
from dlslime import start_peer_agent_async


def run(main):
    asyncio.run(asyncio.wait_for(main, 2 * PATIENCE))


def test_every_call_that_waits_has_a_twin(ctrl):
    memory = dlslime.alloc(256)
    view = memoryview(memory)
    view[:] = bytes(range(256))

    async def main():
        async with await start_peer_agent_async(ctrl.url, "a") as a, \
                await start_peer_agent_async(nanoctrl_url=ctrl.url, alias="b") as b:
            assert await a.list_agents_async() == ["a", "b"]
            assert (await a.get_resource_async("b"))["schema_version"] == 1
            for agent in (a, b):
                assert await agent.register_memory_region_async("m", memory.addr, 0, 256) == 0
            conn = await a.connect_to_async("b", qp_num=2, timeout=PATIENCE)
            assert conn.is_connected() and conn.qp_num == 2
            assert await conn.sync_memory_regions_async(PATIENCE) is conn
            assert await a.list_mem_keys_async("b") == ["m"]
            assert (await a.get_mr_info_async("b", "m"))["length"] == 256
            assert await a.get_handle_async("m") == 0
            moved = await a.read("b", ("m", 0, 128, 64))
            assert moved == 64 and view[:64] == view[128:192]
            assert await b.unregister_memory_region_async("m")
            assert await a.list_mem_keys_async("b") == []
            await b.shutdown_async()
            assert "b" not in await a.list_agents_async()

    run(main())


def test_a_twin_that_waits_does_not_hold_the_loop(ctrl):
    async def main():
        async with await start_peer_agent_async(ctrl.url, "a") as a:
            waits = asyncio.ensure_future(a.connect_to_async("late", timeout=PATIENCE))
            ticks = 0
            while ticks < 20:   # the loop runs
                await asyncio.sleep(0.001)
                ticks += 1
            assert not waits.done()
            async with await start_peer_agent_async(ctrl.url, "late"):
                assert (await waits).is_connected()

    run(main())


def test_who_awaits_a_connection_does_not_look_again_and_again(ctrl, monkeypatch):
    """The loop wakes up for what happens, not for a timer of ours."""
    turns = 0

    async def main():
        nonlocal turns
        async with await start_peer_agent_async(ctrl.url, "a") as a:
            conn = a.connect_to("late")
            waits = [asyncio.ensure_future(conn.wait_async(PATIENCE)) for _ in range(2)]
            await asyncio.sleep(0.01)
            loop, real = asyncio.get_running_loop(), asyncio.get_running_loop()._run_once

            def run_once():
                nonlocal turns
                turns += 1
                real()

            monkeypatch.setattr(loop, "_run_once", run_once)
            await asyncio.sleep(0.5)
            assert turns < 5, turns
            late = await start_peer_agent_async(ctrl.url, "late")
            assert all([(await w).is_connected() for w in waits])
            gone = asyncio.ensure_future(a.connect_to("nobody").wait_async(PATIENCE))
            await asyncio.sleep(0.01)
            await a.shutdown_async()
            with pytest.raises(RuntimeError, match="failed"):
                await gone
            await late.shutdown_async()

    run(main())


def test_a_twin_raises_what_its_call_raises(ctrl):
    async def main():
        async with await start_peer_agent_async(ctrl.url, "a") as a:
            with pytest.raises(TimeoutError, match="Timeout waiting for connection"):
                await a.connect_to_async("nobody", timeout=0.05)
            with pytest.raises(ValueError, match="unsupported transport"):
                await a.connect_to_async("b", transport="pigeon")
            with pytest.raises(RuntimeError, match="registration conflict"):
                await start_peer_agent_async(ctrl.url, "a")
            with pytest.raises(TypeError):
                await a.register_memory_region_async("m", "x", 0, 1)

    run(main())


def test_a_twin_may_be_cancelled(ctrl):
    async def main():
        async with await start_peer_agent_async(ctrl.url, "a") as a:
            waits = asyncio.ensure_future(a.connect_to_async("nobody", timeout=None))
            await asyncio.sleep(0.01)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            assert await a.list_agents_async() == ["a"]

    run(main())
