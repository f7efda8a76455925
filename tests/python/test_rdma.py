# SPDX-License-Identifier: BSD-3-Clause
"""The RDMA classes of the contract, on soft NICs: names, handles, statuses, sentences."""

import ctypes
import json
import pickle
import threading

import pytest

import dlslime
from conftest import PATIENCE, Side, run_python, until


def test_a_script_of_the_reference_runs_in_one_thread():
    """Both ends in one thread, connected one after the other, read as the shipped example does."""
    nic = dlslime.available_nic()[0]
    mine, theirs = bytearray(16), bytearray(range(16))
    addr = [ctypes.addressof((ctypes.c_char * 16).from_buffer(m)) for m in (mine, theirs)]
    initiator = dlslime.RDMAEndpoint(nic, 1, "RoCE")
    target = dlslime.RDMAEndpoint(device_name=nic, ib_port=1, link_type="RoCE", num_qp=1)
    h = initiator.register_memory_region("buffer", addr[0], 0, 16)
    target.register_memory_region("buffer", addr[1], 0, 16)
    initiator.connect(json.loads(json.dumps(target.endpoint_info())))
    target.connect(json.loads(json.dumps(initiator.endpoint_info())))
    hr = initiator.register_remote_memory_region("buffer", target.mr_info()["buffer"])
    assert (h, hr) == (0, 0)
    future = initiator.read([(h, hr, 0, 8, 8)], None)
    assert future.wait() == 0 and future.wait() == 0
    assert mine == bytes(8) + bytes(range(8))
    for endpoint in (initiator, target):
        endpoint.shutdown()


def test_write_goes_from_the_source_offset_to_the_target_offset(sides):
    a, b = sides
    a.view[8:16] = b"contract"
    assert a.endpoint.write([(0, 0, 0, 8, 8)]).wait() == 0
    assert b.view[:8].tobytes() == b"contract" and b.view[8] == 0


def test_a_list_of_many_tuples_completes_as_one(sides):
    a, b = sides
    b.view[:] = bytes(range(256)) * 16
    for n in (1, 2, 64, 4097, 70_000):
        assert a.endpoint.read([(0, 0, i % 4096, i % 4096, 1) for i in range(n)]).wait() == 0
        assert a.view[: min(n, 4096)] == b.view[: min(n, 4096)]
    assert a.endpoint.read([]).wait() == 0
    assert a.endpoint.read([(0, 0, 0, 0, 0)]).wait() == 0


def test_transfers_submitted_before_connect_start_after_it():
    a, b = Side(), Side()
    b.view[:4] = b"wait"
    early = [a.endpoint.read([(0, 0, 0, 0, 4)]), a.endpoint.imm_recv()]
    a.endpoint.connect(b.endpoint.endpoint_info())
    early.append(a.endpoint.read([(0, 0, 0, 4, 4)]))
    assert not any(f.done() for f in early)
    b.endpoint.connect(a.endpoint.endpoint_info())
    b.endpoint.write_with_imm([(0, 0, 8, 0, 4)], imm_data=-7)
    assert [f.wait() for f in early] == [0, 0, 0] and early[1].imm_data() == -7
    assert a.view[:12].tobytes() == b"waitwaitwait"
    a.endpoint.shutdown()
    b.endpoint.shutdown()


def test_a_peer_that_never_comes_ends_the_wait():
    run_python("""
        import dlslime
        a, b = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()
        unconnected = a.imm_recv()
        assert unconnected.wait() == 403 and "connect() was not called" in unconnected.reason()
        a.connect(b.endpoint_info())
        late = a.imm_recv()
        assert late.wait() == 403 and "did not connect in time" in late.reason(), late.reason()
    """, DLSLIME_CONNECT_TIMEOUT="0.2")


def test_handles_are_dense_and_the_same_address_is_the_same_handle():
    side = Side(4096)
    e, addr = side.endpoint, side.memory.addr
    other = dlslime.alloc(8192)
    assert e.register_memory_region("second", addr, 100, 50) == 1
    assert e.register_memory_region(7, other.addr, 0, 100) == 2
    assert e.register_memory_region("alias", addr, 0, 1000) == 0        # smaller: an alias
    assert e.register_memory_region("memory", other.addr, 500, 10) == -1  # the name is taken
    assert e.register_memory_region("third", other.addr, 500, 10) == 3  # and nothing had leaked
    assert set(e.mr_info()) == {"memory", "second", "mr_7", "alias", "third"}
    before = e.mr_info()["mr_7"]
    assert e.register_memory_region(7, other.addr, 0, 8192) == 2        # grown, under its handle
    after = e.mr_info()["mr_7"]
    assert (after["handle"], after["length"]) == (2, 8192) and after["rkey"] != before["rkey"]
    pool = e.get_pool()
    assert pool.unregister_memory_region("mr_7") == 0 and pool.unregister_memory_region(2) == -1
    assert pool.get_handle("mr_7") == -1 and pool.get_handle("alias") == 0
    assert e.register_memory_region("new", other.addr, 0, 64) == 4      # holes are not filled
    assert e.unregister_memory_region("nothing") == -1
    e.shutdown()


def test_mr_info_is_none_without_named_regions():
    context = dlslime.RDMAContext()
    assert context.init("slime0", 1, "RoCE") == 0
    pool = dlslime.RDMAMemoryPool(context)
    assert pool.mr_info() is None
    memory = dlslime.alloc(64)
    assert pool.register_memory_region(memory.addr, 64) == 0
    assert pool.mr_info() is None
    assert pool.register_memory_region(memory.addr, 64, "named") == 0
    entry = pool.mr_info()["named"]
    assert (entry["handle"], entry["addr"], entry["length"]) == (0, memory.addr, 64)
    assert isinstance(entry["rkey"], int)


def test_connect_registers_the_peers_regions_in_the_order_of_their_handles():
    a, b = Side(), Side()
    extra = dlslime.alloc(4096)
    for i, name in enumerate(("z", "y", "x")):
        assert b.endpoint.register_memory_region(name, extra.addr + i * 64, 0, 64) == i + 1
    a.endpoint.connect(b.endpoint.endpoint_info())
    b.endpoint.connect(a.endpoint.endpoint_info())
    info = b.endpoint.mr_info()
    assert [a.endpoint.register_remote_memory_region(n, info[n]) for n in ("memory", "z", "y", "x")] \
        == [0, 1, 2, 3]
    assert a.endpoint.register_remote_memory_region("new", info["x"]) == 4
    memoryview(extra)[128:132] = b"here"
    assert a.endpoint.read([(0, 3, 0, 0, 4)]).wait() == 0 and a.view[:4].tobytes() == b"here"
    a.endpoint.shutdown()
    b.endpoint.shutdown()


def test_a_region_registered_after_connect_is_reached_by_its_entry(sides):
    a, b = sides
    memory = dlslime.alloc(64)
    memoryview(memory)[:4] = b"late"
    b.endpoint.register_memory_region("late", memory.addr, 0, 64)
    entry = json.loads(json.dumps(b.endpoint.mr_info()["late"]))
    handle = a.endpoint.register_remote_memory_region("late", entry)
    assert a.endpoint.read([(0, handle, 0, 0, 4)]).wait() == 0 and a.view[:4].tobytes() == b"late"
    stripped = {k: entry[k] for k in ("addr", "rkey", "length")}
    handle = a.endpoint.register_remote_memory_region("stripped", stripped)
    assert a.endpoint.read([(0, handle, 0, 8, 4)]).wait() == 0 and a.view[8:12].tobytes() == b"late"


def test_endpoint_info_has_the_shape_of_the_contract_and_travels(sides):
    info = dlslime.RDMAEndpoint(num_qp=3).endpoint_info()
    assert set(info) == {"io_info", "mr_info", "msg_info", "slime"} and info["mr_info"] is None
    assert len(info["io_info"]["data_channel_info"]) == 3
    assert set(info["msg_info"]) == {"data_channel_info", "meta_channel_info", "remote_meta_base"}
    assert set(info["io_info"]["data_channel_info"][0]) == {"gid", "gidx", "lid", "qpn", "psn", "mtu"}
    assert list(info) == sorted(info)
    full = sides[0].endpoint.endpoint_info()
    assert json.loads(json.dumps(full)) == full == pickle.loads(pickle.dumps(full))


def test_the_immediates_pair_in_order_whoever_comes_first(sides):
    a, b = sides
    for i in range(100):
        a.endpoint.write_with_imm([(0, 0, 0, 0, 8)] * 3, imm_data=i)
    got = [b.endpoint.imm_recv() for _ in range(200)]
    for i in range(100, 200):
        a.endpoint.write_with_imm([], imm_data=i)
    assert [f.wait() for f in got] == [0] * 200
    assert [f.imm_data() for f in got] == list(range(200))
    future = got[-1]
    assert future.time_trace_enabled() and future.time_trace_elapsed_ns() > 0
    assert future.time_trace_end_ns() - future.time_trace_start_ns() == future.time_trace_elapsed_ns()


def test_an_immediate_is_signed_and_of_32_bits(sides):
    a, b = sides
    for value in (0, 1, -1, 2**31 - 1, -2**31):
        a.endpoint.write_with_imm([(0, 0, 0, 0, 1)], value)
        got = b.endpoint.imm_recv()
        assert got.wait() == 0 and got.imm_data() == value
    for bad in (2**31, -2**31 - 1, 1.5, None, "1", True):
        with pytest.raises(TypeError, match="imm_data"):
            a.endpoint.write_with_imm([(0, 0, 0, 0, 1)], bad)


def test_sends_meet_receives_in_order_and_the_offset_counts(sides):
    a, b = sides
    a.view[:16] = b"0123456789abcdef"
    send = a.endpoint.send((a.memory.addr, 4, 4))
    receive = b.endpoint.recv((b.memory.addr, 100, 4), None)
    assert (send.wait(), receive.wait()) == (0, 0)
    assert b.view[100:104].tobytes() == b"4567"
    pairs = [(b.endpoint.recv((b.memory.addr, i, 1)), a.endpoint.send((a.memory.addr, i, 1)))
             for i in range(16)]
    assert all(r.wait() == s.wait() == 0 for r, s in pairs)
    assert b.view[:16] == a.view[:16]
    empty = b.endpoint.recv((0, 0, 0))
    assert a.endpoint.send((a.memory.addr, 0, 0)).wait() == empty.wait() == 0


def test_far_more_operations_than_any_depth_may_be_outstanding(sides):
    a, b = sides
    n = 10_000
    receives = [b.endpoint.recv((b.memory.addr, 0, 8)) for _ in range(n)]
    numbers = [b.endpoint.imm_recv() for _ in range(n)]
    sends = [a.endpoint.send((a.memory.addr, 0, 8)) for _ in range(n)]
    writes = [a.endpoint.write_with_imm([(0, 0, 0, 0, 8)], i) for i in range(n)]
    assert {f.wait() for f in receives + sends + writes + numbers} == {0}
    assert [f.imm_data() for f in numbers] == list(range(n))


def test_failures_are_403_or_the_runtime_error_of_the_contract(sides):
    a, b = sides
    outside = a.endpoint.read([(0, 0, 4090, 0, 8)])
    with pytest.raises(RuntimeError, match="^RDMA read/write completion failed$") as e:
        outside.wait()
    assert isinstance(e.value.__cause__, dlslime.OutOfRange)
    assert a.endpoint.read([(0, 0, 0, 0, 8)]).wait() == 0    # and the endpoint goes on
    long = a.endpoint.send((a.memory.addr, 0, 100)), b.endpoint.recv((b.memory.addr, 0, 10))
    assert [f.wait() for f in long] == [403, 403] and "longer" in long[0].reason()


def test_shutdown_wakes_everybody_with_the_statuses_of_the_contract(sides):
    a, b = sides
    pending = [b.endpoint.imm_recv(), b.endpoint.recv((b.memory.addr, 0, 8)),
               b.endpoint.send((b.memory.addr, 0, 8))]
    results = []
    threads = [threading.Thread(target=lambda f=f: results.append(f.wait())) for f in pending]
    for t in threads:
        t.start()
    b.endpoint.shutdown()
    b.endpoint.shutdown()
    for t in threads:
        t.join(5)
    assert results == [403] * 3
    with pytest.raises(RuntimeError, match="RDMA read/write completion failed"):
        b.endpoint.read([(0, 0, 0, 0, 8)]).wait()
    assert b.endpoint.imm_recv().wait() == 403
    assert b.endpoint.send((b.memory.addr, 0, 8)).wait() == 403


def test_waits_may_be_bounded_and_awaited(sides):
    a, b = sides
    waiting = b.endpoint.imm_recv()
    assert waiting.wait_for(0) is None and waiting.wait_for(-1) is None and not waiting.done()
    with pytest.raises(TimeoutError):
        waiting.wait(0.01)
    a.endpoint.write_with_imm([], 1)
    assert waiting.wait_for(PATIENCE) == 0

    import asyncio

    async def main():
        return await a.endpoint.read([(0, 0, 0, 0, 8)])

    assert asyncio.run(main()) == 8


def test_the_constructors_come_in_three_forms():
    context = dlslime.RDMAContext()
    context.init(device_name="slime0", ib_port=1, link_type="auto")
    pool = dlslime.RDMAMemoryPool(context)
    endpoints = [dlslime.RDMAEndpoint(pool), dlslime.RDMAEndpoint(pool=pool, num_qp=2, worker=None),
                 dlslime.RDMAEndpoint(context, 2), dlslime.RDMAEndpoint(context=context),
                 dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint("slime0", 1, "RoCE", 2, None),
                 dlslime.RDMAEndpoint("", link_type=" Ethernet ")]
    assert endpoints[0].get_pool() is pool is endpoints[1].get_pool()
    worker = dlslime.RDMAWorker("slime0", 0)
    worker.start()
    assert [worker.add_endpoint(e) for e in endpoints[:3]] == [0, 1, 2]
    worker.stop()
    dlslime.RDMAWorker(0, 1)
    memory = dlslime.alloc(64)
    endpoints[0].register_memory_region("shared", memory.addr, 0, 64)
    assert endpoints[1].mr_info().keys() == {"shared"}
    assert all(e.process() == 0 for e in endpoints)
    for e in endpoints:
        e.shutdown()


def test_what_the_reference_aborted_on_is_an_exception_with_its_text():
    E, C, P = dlslime.RDMAEndpoint, dlslime.RDMAContext, dlslime.RDMAMemoryPool
    ready = C()
    ready.init("slime0")
    for call, error, text in (
            (lambda: E(None), ValueError, "RDMA memory pool cannot be null"),
            (lambda: E(pool=None), ValueError, "RDMA memory pool cannot be null"),
            (lambda: E(context=None), ValueError, "RDMA context cannot be null"),
            (lambda: P(None), ValueError, "RDMA context cannot be null"),
            (lambda: P(C()), RuntimeError, "not initialized"),
            (lambda: ready.init("slime0"), RuntimeError, "RDMAContext is already initialized"),
            (lambda: C().init("mlx5_77"), ValueError, "RDMA device 'mlx5_77' is not available"),
            (lambda: C().init("slime0", 256), ValueError, "RDMA port must be in range 1..255, got 256"),
            (lambda: E("slime0", 9), ValueError,
             "RDMA port 9 is outside valid range 1..1 for device slime0"),
            (lambda: E("slime0", 1, "token ring"), ValueError,
             r"Unsupported RDMA link type 'token ring' \(expected auto, IB, or RoCE\)"),
            (lambda: E(num_qp=0), ValueError, "num_qp"), (lambda: E(num_qp=64), ValueError, "num_qp"),
            (lambda: E(3), TypeError, "int"), (lambda: E(worker=3), TypeError, "RDMAWorker")):
        with pytest.raises(error, match=text):
            call()


def test_an_unknown_device_name_takes_the_first_nic_and_says_so(capfd):
    dlslime.RDMAEndpoint("mlx5_bond_0").shutdown()
    assert "no NIC 'mlx5_bond_0' here, using slime0" in capfd.readouterr().err


def test_connecting_wrongly_is_an_exception(sides):
    a, b = sides
    with pytest.raises(RuntimeError, match="connected already"):
        a.endpoint.connect(b.endpoint.endpoint_info())
    fresh = dlslime.RDMAEndpoint()
    info = b.endpoint.endpoint_info()
    for bad, error, text in (
            ({}, RuntimeError, "not of this library"), (None, TypeError, "NoneType"),
            ({**info, "slime": "?"}, ValueError, "base64"), ({**info, "slime": 3}, ValueError, "str"),
            ({**info, "slime": "aGVsbG8="}, RuntimeError, "connect failed"),
            ({**info, "mr_info": {"x": {"addr": 1}}}, ValueError, "has no 'length'"),
            ({**info, "mr_info": {"x": 1}}, TypeError, "not a dict")):
        with pytest.raises(error, match=text):
            fresh.connect(bad)
    with pytest.raises(RuntimeError, match="create both with the same num_qp"):
        dlslime.RDMAEndpoint(num_qp=2).connect(info)
    with pytest.raises(RuntimeError, match="own description"):
        fresh.connect(fresh.endpoint_info())


def test_wrong_handles_are_told_at_once(sides):
    a, _ = sides
    for bad in ([(9, 0, 0, 0, 1)], [(0, 9, 0, 0, 1)], [(2**40, 0, 0, 0, 1)]):
        with pytest.raises(ValueError, match="handle"):
            a.endpoint.read(bad)
    for bad in ([(0, 0, 0, 0)], [(0, 0, -1, 0, 1)], [(0, 0, 0, 0, 2**64)], [("a",) * 5], 5, None, "x",
                [5], [(0.0, 0, 0, 0, 1)], [(None,) * 5]):
        with pytest.raises(TypeError):
            a.endpoint.read(bad)
    with pytest.raises(TypeError, match="capsule"):
        a.endpoint.read([(0, 0, 0, 0, 1)], 12345)


def test_memory_that_is_not_there_is_told_at_registration():
    e = dlslime.RDMAEndpoint()
    with pytest.raises(RuntimeError, match="ibv_reg_mr failed for address 0x1000"):
        e.register_memory_region("x", 0x1000, 0, 4096)
    with pytest.raises(TypeError):
        e.register_memory_region("x", -1, 0, 4096)
    with pytest.raises(TypeError):
        e.register_memory_region(None, 1, 0, 4096)
    assert e.mr_info() is None


def test_dma_buf_arguments_are_checked_as_the_contract_says():
    pool = dlslime.RDMAEndpoint().get_pool()
    for args, error, text in (((-1, 0, 1, 0), ValueError, "dma-buf fd must be non-negative"),
                              ((3, 0, 0, 0), ValueError, "dma-buf MR length must be greater than zero"),
                              ((3, 1, 1, 0), ValueError, "must have the same host-page offset"),
                              ((3, 0, 1, 0), RuntimeError, "ibv_reg_dmabuf_mr failed: fd=3")):
        with pytest.raises(error, match=text):
            pool.register_dmabuf_memory_region(*args)


def test_a_connected_endpoint_serves_its_peer_though_nobody_refers_to_it():
    import gc

    a, b = Side(), Side()
    a.endpoint.connect(b.endpoint.endpoint_info())
    b.endpoint.connect(a.endpoint.endpoint_info())
    b.endpoint = None
    gc.collect()
    assert a.endpoint.read([(0, 0, 0, 0, 8)]).wait() == 0
    a.endpoint.shutdown()


def test_an_assignment_is_a_plain_value():
    a = dlslime.Assignment(1, 2, 3, 4)
    assert (a.mr_key, a.remote_mr_key, a.target_offset, a.source_offset, a.length) == (1, 1, 2, 3, 4)
    assert dlslime.Assignment(1, 9, 2, 3, 4).remote_mr_key == 9
    a.length = 2**64 - 1
    for bad in (-1, 2**64, "x", None):
        with pytest.raises(TypeError):
            a.length = bad
    with pytest.raises(TypeError):
        dlslime.Assignment(1, 2)
    op = dlslime.OpCode
    assert [op.READ.value, op.WRITE.value, op.SEND.value, op.RECV.value,
            op.WRITE_WITH_IMM_DATA.value] == [0, 1, 2, 3, 5]
    assert op(5).name == "WRITE_WITH_IMM_DATA" and "READ" in op.__members__
    with pytest.raises(TypeError, match="No constructor defined"):
        dlslime.DeviceSignal()


def test_two_processes_of_a_script_swap_documents_as_json():
    code = """
        import json, sys, dlslime
        memory = dlslime.alloc(4096); memoryview(memory)[:5] = b"peer!"
        e = dlslime.RDMAEndpoint(dlslime.available_nic()[0], 1, "RoCE")
        e.register_memory_region(0, memory.addr, 0, 4096)
        print(json.dumps(e.endpoint_info()), flush=True)
        e.connect(json.loads(sys.stdin.readline()))
        got = e.imm_recv()
        assert got.wait() == 0
        print(got.imm_data(), memoryview(memory)[8:12].tobytes(), flush=True)
    """
    import subprocess
    import sys
    import textwrap

    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        side = Side()
        side.view[:4] = b"mine"
        side.endpoint.connect(json.loads(process.stdout.readline()))
        process.stdin.write(json.dumps(side.endpoint.endpoint_info()) + "\n")
        process.stdin.flush()
        assert side.endpoint.read([(0, 0, 0, 100, 5)]).wait() == 0
        assert side.view[100:105].tobytes() == b"peer!"
        assert side.endpoint.write_with_imm([(0, 0, 8, 0, 4)], 42).wait() == 0
        assert process.stdout.readline() == "42 b'mine'\n"
        assert side.endpoint.info["transport"] == "shm" and until(side.endpoint.is_connected)
        side.endpoint.shutdown()
