# SPDX-License-Identifier: BSD-3-Clause
"""Futures under asyncio, uvloop and concurrent threads."""

import asyncio
import contextvars
import threading
import time

import pytest

import dlslime
from conftest import PATIENCE, until

try:
    import uvloop
except ImportError:
    uvloop = None


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    if request.param == "asyncio":
        return asyncio.run
    if uvloop is None:
        pytest.skip("uvloop is not installed")

    def run_uv(coroutine):
        loop = uvloop.new_event_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(coroutine, 60))
        finally:
            loop.close()

    return run_uv


@pytest.fixture
def field(ends):
    a, b = ends
    region = dlslime.register(bytearray(4096))
    return a, b, region, b.import_region(region.export())


def test_a_transfer_is_awaited(run, field):
    a, b, region, remote = field

    async def main():
        assert await b.read(region[0:8], remote[8:16]) == 8
        waiting = asyncio.ensure_future(a.recv_imm())
        await asyncio.sleep(0)
        assert not waiting.done()
        b.write_imm(5)
        assert await asyncio.wait_for(waiting, PATIENCE) == 5

    run(main())


def test_a_thousand_in_flight_are_gathered(run, field):
    a, b, region, remote = field

    async def main():
        waits = [a.recv_imm() for _ in range(1000)]
        results = asyncio.gather(*waits)
        await asyncio.gather(*[b.write_imm(i, region[0:4], remote[0:4]) for i in range(1000)])
        assert await results == list(range(1000))

    run(main())


def test_awaiting_does_not_block_the_loop(run, field):
    a = field[0]

    async def main():
        waiting = asyncio.ensure_future(a.recv_imm())
        ticks = 0
        for _ in range(10):
            await asyncio.sleep(0.001)
            ticks += 1
        assert ticks == 10 and not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(main())


def test_cancelling_a_task_cancels_its_transfer(run, field):
    a, b, region, _ = field

    async def main():
        async def wait():
            await a.recv(region)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        second = a.recv(region)   # the cancelled one takes no message
        await b.send(b"abc")
        assert await second == 3

    run(main())


def test_wait_for_ends_a_transfer_that_takes_too_long(run, field):
    a, _, region, _ = field

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(a.recv(region), 0.02)

    run(main())


def test_errors_come_out_of_await(run, field):
    a, b, region, remote = field

    async def main():
        waiting = [asyncio.ensure_future(a.recv(region)) for _ in range(3)]
        await asyncio.sleep(0)
        a.close()
        for w in waiting:
            with pytest.raises(dlslime.Cancelled):
                await w

    run(main())


def test_connect_async_leaves_the_loop_free(run):
    async def main():
        async with dlslime.Endpoint() as a, dlslime.Endpoint() as b:
            await asyncio.gather(a.connect_async(b.export()), b.connect_async(a.export()))
            assert a.connected and b.connected

    run(main())


def test_a_connect_that_is_cancelled_lets_the_loop_end(run):
    async def main():
        with dlslime.Endpoint() as a, dlslime.Endpoint() as nobody:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(a.connect_async(nobody.export(), timeout=60), 0.05)
            with pytest.raises(dlslime.TimeoutError):
                await a.connect_async(nobody.export(), timeout=0.05)

    begun = time.monotonic()
    run(main())
    assert time.monotonic() - begun < PATIENCE


def test_closing_ends_a_connect_that_is_awaited(run):
    async def main():
        with dlslime.Endpoint() as a, dlslime.Endpoint() as nobody:
            waits = asyncio.ensure_future(a.connect_async(nobody.export(), timeout=60))
            await asyncio.sleep(0.01)
            a.close()
            with pytest.raises(dlslime.Cancelled):
                await asyncio.wait_for(waits, PATIENCE)

    run(main())


def test_one_endpoint_serves_loops_one_after_the_other(field):
    a, b, _, _ = field

    async def main(i):
        got = a.recv_imm()
        b.write_imm(i)
        return await got

    assert [asyncio.run(main(i)) for i in range(5)] == list(range(5))


def test_a_future_made_in_a_loop_may_be_waited_for_in_a_thread(field):
    a, b, _, _ = field

    async def main():
        got = a.recv_imm()
        waiting = asyncio.get_running_loop().run_in_executor(None, got.wait, PATIENCE)
        await asyncio.sleep(0.01)
        b.write_imm(9)
        return await waiting

    assert asyncio.run(main()) == 9


def test_two_loops_in_two_threads_share_an_endpoint(field):
    a, b, _, _ = field
    results = []

    def loop():
        async def main():
            return [await a.recv_imm() for _ in range(50)]

        results.extend(asyncio.run(main()))

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for t in threads:
        t.start()
    for i in range(100):
        b.write_imm(i)
    for t in threads:
        t.join(PATIENCE)
    assert sorted(results) == list(range(100))


def test_callbacks_without_a_loop_are_called_once_though_nobody_waits(field):
    a, b, _, _ = field
    called = []
    for i in range(100):
        a.recv_imm().add_done_callback(lambda f: called.append(f.result()))
    for i in range(100):
        b.write_imm(i)
    assert until(lambda: len(called) == 100) and called == list(range(100))
    done = b.write_imm(0)
    done.wait(PATIENCE)
    done.add_done_callback(called.append)
    assert called[-1] is done


def test_a_callback_that_raises_harms_nobody(field, monkeypatch):
    a, b, _, _ = field
    seen = []
    monkeypatch.setattr("sys.unraisablehook", seen.append)

    def bad(future):
        raise KeyError("mine")

    waiting = a.recv_imm()
    waiting.add_done_callback(bad)
    b.write_imm(1)
    assert waiting.wait(PATIENCE) == 1 and until(lambda: seen)
    assert isinstance(seen[0].exc_value, KeyError)


def test_a_removed_callback_is_not_called(field):
    a, b, _, _ = field
    called = []
    waiting = a.recv_imm()
    waiting.add_done_callback(called.append)
    assert waiting.remove_done_callback(called.append) == 1
    b.write_imm(1)
    assert waiting.wait(PATIENCE) == 1 and not called


def test_the_context_of_a_callback_is_kept(field):
    a, b, _, _ = field
    name = contextvars.ContextVar("name", default="outer")

    async def main():
        name.set("inner")
        seen = asyncio.get_running_loop().create_future()
        context = contextvars.copy_context()
        a.recv_imm().add_done_callback(lambda f: seen.set_result(name.get()), context=context)
        name.set("later")
        b.write_imm(1)
        assert await asyncio.wait_for(seen, PATIENCE) == "inner"

    asyncio.run(main())


def test_the_descriptor_is_readable_when_something_is_over(field):
    import select

    a, b, _, _ = field
    waiting = a.recv_imm()
    assert not select.select([a], [], [], 0)[0]
    b.write_imm(1)
    assert select.select([a], [], [], PATIENCE)[0] == [a]
    a.poll()
    assert waiting.done() and not select.select([a], [], [], 0)[0]
