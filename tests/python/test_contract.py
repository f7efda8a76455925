# SPDX-License-Identifier: BSD-3-Clause
"""The contract word by word: every public name, its parameters and defaults, and its sentences.

The tables are written from the description of what came before (release 0.1.23 and the generation
before it). Where the two differ, both are here.
"""

import ast
import importlib
import inspect
import os
import re

import pytest

import dlslime
from conftest import run_python

# ---- names

NAMES = """
dlslime: Assignment DeviceSignal OpCode PeerAgent RDMAContext RDMAEndpoint RDMAMemoryPool RDMAWorker
    SlimeImmRecvFuture SlimeReadWriteFuture SlimeRecvFuture SlimeSendFuture SlimeTcpReadWriteFuture
    SlimeTcpRecvFuture SlimeTcpSendFuture TcpEndpoint TcpMemoryPool NVLinkEndpoint AscendDirectEndpoint
    NanoCtrlClient available_nic ctrl discover_topology get_cmake_dir get_logger logging obs_enabled
    obs_register_nic_for_test obs_reset_for_test obs_snapshot os peer_agent set_log_level socket_id
    start_peer_agent _slime_c
dlslime._slime_c: Assignment DeviceSignal OpCode RDMAContext RDMAEndpoint RDMAMemoryPool RDMAWorker
    SlimeImmRecvFuture SlimeReadWriteFuture SlimeRecvFuture SlimeSendFuture SlimeTcpReadWriteFuture
    SlimeTcpRecvFuture SlimeTcpSendFuture TcpEndpoint TcpMemoryPool available_nic discover_topology
    obs_enabled obs_register_nic_for_test obs_reset_for_test obs_snapshot socket_id _BUILD_RDMA
    _BUILD_TCP _BUILD_NVLINK _BUILD_INTRA_OPS _BUILD_INTER_OPS _BUILD_RPC _resolve_rdma_link_type
    _IBV_LINK_LAYER_INFINIBAND _IBV_LINK_LAYER_ETHERNET
dlslime.logging: get_logger set_log_level
dlslime.ctrl: NanoCtrlClient
dlslime.ctrl.client: NanoCtrlClient
nanoctrl: NanoCtrlClient
nanoctrl.client: NanoCtrlClient
dlslime.peer_agent: PeerAgent start_peer_agent
dlslime.peer_agent._accounting: ObsReporter
dlslime.peer_agent._agent: PeerAgent start_peer_agent RdmaResourceKey TcpResourceKey NvlinkResourceKey
    ResourceKey PeerMemoryRegion LogicalMemoryRegion PeerConnection available_nic _TcpEndpoint
    _NVLinkEndpoint
dlslime.OpCode: READ WRITE SEND RECV WRITE_WITH_IMM_DATA __members__
dlslime.Assignment: mr_key remote_mr_key target_offset source_offset length
dlslime.PeerAgent: _redis_client __enter__ __exit__ __del__
"""


def names():
    where = None
    for word in NAMES.split():
        if word.endswith(":"):
            where = word[:-1]
        else:
            yield where, word


@pytest.mark.parametrize("where, name", [*names()])
def test_a_name_is_there(where, name):
    assert hasattr(find(where), name)


def find(path):
    """A module, or something in one."""
    try:
        return importlib.import_module(path)
    except ImportError:
        where, _, name = path.rpartition(".")
        return getattr(find(where), name)


# ---- parameters: names, order, kinds and defaults

SIGNATURES = """
dlslime.get_cmake_dir()
dlslime.get_logger(name=None)
dlslime.set_log_level(level, *, logger_name='slime', configure_handler=True)
dlslime.available_nic()
dlslime.socket_id(device_name)
dlslime.discover_topology(preferred_device=None, ib_port=1, preferred_link_type=None, sysfs_root='/sys', devices=None)
dlslime.obs_enabled()
dlslime.obs_snapshot()
dlslime.obs_reset_for_test()
dlslime.obs_register_nic_for_test(name)
dlslime._slime_c._resolve_rdma_link_type(requested, link_layer)

dlslime.RDMAContext()
dlslime.RDMAContext.init(device_name, ib_port=1, link_type='auto')
dlslime.RDMAContext.launch_future()
dlslime.RDMAContext.stop_future()
dlslime.RDMAMemoryPool(context)
dlslime.RDMAMemoryPool.register_memory_region(data_ptr, length, name=None)
dlslime.RDMAMemoryPool.register_dmabuf_memory_region(fd, offset, length, iova, name=None)
dlslime.RDMAMemoryPool.get_handle(name)
dlslime.RDMAMemoryPool.unregister_memory_region(key)
dlslime.RDMAMemoryPool.mr_info()
dlslime.RDMAEndpoint.connect(remote_info)
dlslime.RDMAEndpoint.endpoint_info()
dlslime.RDMAEndpoint.mr_info()
dlslime.RDMAEndpoint.get_pool()
dlslime.RDMAEndpoint.register_memory_region(mr_key, data_ptr, offset, length)
dlslime.RDMAEndpoint.register_remote_memory_region(name, mr_info)
dlslime.RDMAEndpoint.read(assign, stream=None)
dlslime.RDMAEndpoint.write(assign, stream=None)
dlslime.RDMAEndpoint.write_with_imm(assign, imm_data=0, stream=None)
dlslime.RDMAEndpoint.imm_recv(stream=None)
dlslime.RDMAEndpoint.send(chunk, stream_handler=None)
dlslime.RDMAEndpoint.recv(chunk, stream_handler=None)
dlslime.RDMAEndpoint.process()
dlslime.RDMAEndpoint.shutdown()
dlslime.RDMAWorker.start()
dlslime.RDMAWorker.stop()
dlslime.RDMAWorker.add_endpoint(endpoint)
dlslime.DeviceSignal.wait(target_mask)

dlslime.SlimeSendFuture.wait()
dlslime.SlimeRecvFuture.wait()
dlslime.SlimeReadWriteFuture.wait()
dlslime.SlimeImmRecvFuture.wait()
dlslime.SlimeImmRecvFuture.imm_data()
dlslime.SlimeImmRecvFuture.time_trace_enabled()
dlslime.SlimeImmRecvFuture.time_trace_start_ns()
dlslime.SlimeImmRecvFuture.time_trace_end_ns()
dlslime.SlimeImmRecvFuture.time_trace_elapsed_ns()
dlslime.SlimeTcpSendFuture.wait()
dlslime.SlimeTcpSendFuture.wait_for(timeout_seconds)
dlslime.SlimeTcpRecvFuture.wait()
dlslime.SlimeTcpRecvFuture.wait_for(timeout_seconds)
dlslime.SlimeTcpReadWriteFuture.wait()
dlslime.SlimeTcpReadWriteFuture.wait_for(timeout_seconds)

dlslime.TcpMemoryPool()
dlslime.TcpMemoryPool.register_memory_region(addr, length, name)
dlslime.TcpMemoryPool.register_remote_memory_region(mr_info, name=None)
dlslime.TcpMemoryPool.get_mr_handle(name)
dlslime.TcpMemoryPool.mr_info()
dlslime.TcpEndpoint(ip='0.0.0.0', port=0)
dlslime.TcpEndpoint.endpoint_info()
dlslime.TcpEndpoint.mr_info()
dlslime.TcpEndpoint.connect(remote_info)
dlslime.TcpEndpoint.is_connected()
dlslime.TcpEndpoint.register_memory_region(name, data_ptr, offset, length)
dlslime.TcpEndpoint.register_remote_memory_region(name, mr_info)
dlslime.TcpEndpoint.send(chunk, stream=None, timeout_ms=30000)
dlslime.TcpEndpoint.recv(chunk, stream=None, exact_size=False)
dlslime.TcpEndpoint.read(assign, stream=None, timeout_ms=30000)
dlslime.TcpEndpoint.write(assign, stream=None, timeout_ms=30000)
dlslime.TcpEndpoint.async_send(chunk, stream=None, timeout_ms=30000)
dlslime.TcpEndpoint.async_recv(chunk, stream=None, exact_size=False)
dlslime.TcpEndpoint.async_read(assign, stream=None, timeout_ms=30000)
dlslime.TcpEndpoint.async_write(assign, stream=None, timeout_ms=30000)
dlslime.TcpEndpoint.write_with_imm(assign, imm_data=0, stream=None)
dlslime.TcpEndpoint.imm_recv(stream=None)
dlslime.TcpEndpoint.shutdown()
dlslime.NVLinkEndpoint(device_index=-1)
dlslime.AscendDirectEndpoint()

dlslime.PeerAgent(ctrl_url=None, alias=None, device=None, scope=None)
dlslime.start_peer_agent(ctrl_url=None, alias=None, device=None, scope=None)
dlslime.PeerAgent.list_agents()
dlslime.PeerAgent.get_resource(peer_alias=None)
dlslime.PeerAgent.list_mem_keys(peer_alias=None)
dlslime.PeerAgent.connect_to(peer_alias, local_device=None, peer_device=None, ib_port=1, qp_num=1, min_bw=None, transport='auto', local_host=None, local_port=0)
dlslime.PeerAgent.get_connections()
dlslime.PeerAgent.query_connection(peer_alias, *, local_nic=None, remote_nic=None)
dlslime.PeerAgent.register_memory_region(mr_name, ptr, offset, length)
dlslime.PeerAgent.register_dmabuf_memory_region(mr_name, fd, offset, length, iova)
dlslime.PeerAgent.allocate_memory_region(name, length, *, memory_kind='cuda_fabric', local_device=None)
dlslime.PeerAgent.unregister_memory_region(mr_name)
dlslime.PeerAgent.get_mr_info(peer_alias, mr_name, resource_key=None, *, validate_cache=False)
dlslime.PeerAgent.get_handle(mr_name, peer_alias=None, resource_key=None, endpoint=None)
dlslime.PeerAgent.read(peer_alias, assign, stream=None, *, local_nic=None, remote_nic=None)
dlslime.PeerAgent.write(peer_alias, assign, stream=None, *, local_nic=None, remote_nic=None)
dlslime.PeerAgent.write_with_imm(peer_alias, assign, imm_data=0, stream=None, *, local_nic=None, remote_nic=None)
dlslime.PeerAgent.send(peer_alias, chunk, stream=None, *, local_nic=None, remote_nic=None)
dlslime.PeerAgent.recv(peer_alias, chunk, stream=None, *, local_nic=None, remote_nic=None)
dlslime.PeerAgent.imm_recv(peer_alias, stream=None, *, local_nic=None, remote_nic=None)
dlslime.PeerAgent.shutdown()
dlslime.PeerAgent._get_endpoint(peer_alias)
dlslime.PeerAgent._get_connection(peer_alias)
dlslime.PeerAgent._is_connection_connected(conn_id)
dlslime.peer_agent._agent.PeerConnection.wait(timeout=60.0)
dlslime.peer_agent._agent.PeerConnection.is_connected()
dlslime.peer_agent._agent.PeerConnection.sync_memory_regions(timeout=60.0)
dlslime.peer_agent._agent.RdmaResourceKey(device, ib_port, link_type)
dlslime.peer_agent._agent.RdmaResourceKey.redis_suffix()
dlslime.peer_agent._agent.TcpResourceKey(host='0.0.0.0', port=0)
dlslime.peer_agent._agent.NvlinkResourceKey(uuid, device_index, cluster_uuid, clique_id)
dlslime.peer_agent._agent.LogicalMemoryRegion(name, ptr, offset, length)
dlslime.peer_agent._accounting.ObsReporter(agent)
dlslime.peer_agent._accounting.ObsReporter.start()
dlslime.peer_agent._accounting.ObsReporter.stop()

CLIENT(address, scope=None)
CLIENT.check_connection()
CLIENT.register(entity_id, kind, *, entity_type='service', endpoint=None, metadata=None, resource=None)
CLIENT.unregister()
CLIENT.heartbeat()
CLIENT.get_redis_url()
CLIENT.get_entity_info(entity_id, *, entity_type='service')
CLIENT.list_entities(*, entity_type='service', kind=None)
CLIENT.start_heartbeat(interval=15.0, on_not_found=None, name='nanoctrl-hb')
CLIENT.stop_heartbeat(timeout=2.0)
CLIENT.stop(timeout=2.0)
CLIENT.register_peer(*, alias, address, resource=None, device=None, ib_port=None, link_type=None)
CLIENT.cleanup_peer(agent_name)
CLIENT.heartbeat_peer(agent_name)
CLIENT.set_desired_topology(alias, *, target_peers, min_bw=None, symmetric=False)
CLIENT.query_peers()
"""


def signatures():
    for line in SIGNATURES.strip().splitlines():
        if line.startswith("CLIENT"):
            for module in ("dlslime.ctrl", "nanoctrl"):
                yield line.replace("CLIENT", f"{module}.NanoCtrlClient")
        elif line:
            yield line


def said_of(signature):
    """What a table's line says: path, positional (name, default), keyword-only {name: default}."""
    path, _, arguments = signature.partition("(")
    args = ast.parse(f"def f({arguments}: pass").body[0].args
    none = [inspect.Parameter.empty] * (len(args.args) - len(args.defaults))
    positional = list(zip((a.arg for a in args.args),
                          none + [ast.literal_eval(d) for d in args.defaults]))
    keyword = {a.arg: inspect.Parameter.empty if d is None else ast.literal_eval(d)
               for a, d in zip(args.kwonlyargs, args.kw_defaults)}
    return path, positional, keyword


@pytest.mark.parametrize("signature", [*signatures()])
def test_a_call_takes_what_the_contract_says(signature):
    path, positional, keyword = said_of(signature)
    thing = find(path)
    parameters = list(inspect.signature(thing).parameters.values())
    if parameters and parameters[0].name == "self":
        del parameters[0]
    ours = [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert ours[:len(positional)] == positional
    by_name = {p.name: p.default for p in parameters}
    assert {name: by_name.get(name) for name in keyword} == keyword
    more = [p for p in parameters if p.name not in dict(positional) and p.name not in keyword]
    assert all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
               for p in more), f"{path} wants more than the contract's arguments"


@pytest.mark.parametrize("args, kwargs", [
    ((), {}), (("slime0",), {}), (("slime0", 1, "RoCE", 2), {}), (("slime0", 1, "RoCE", 2, None), {}),
    ((), dict(device_name="slime0", ib_port=1, link_type="IB", num_qp=3, worker=None)),
    (("POOL",), {}), (("POOL", 2), {}), (("POOL", 2, None), {}), ((), dict(pool="POOL", num_qp=2)),
    (("CONTEXT",), {}), ((), dict(context="CONTEXT", num_qp=1, worker="WORKER")),
    (("CONTEXT", 1, "WORKER"), {})])
def test_an_endpoint_is_made_in_three_forms(args, kwargs):
    context = dlslime.RDMAContext()
    assert context.init("slime0", 1, "RoCE") == 0
    things = {"POOL": dlslime.RDMAMemoryPool(context), "CONTEXT": context,
              "WORKER": dlslime.RDMAWorker("slime0", 0)}
    endpoint = dlslime.RDMAEndpoint(*(things.get(a, a) for a in args),
                                    **{k: things.get(v, v) for k, v in kwargs.items()})
    pairs = kwargs.get("num_qp", next((a for a in args[1:2] if args[0] in things), 1)
                       if args and args[0] in things else (args[3] if len(args) > 3 else 1))
    assert len(endpoint.endpoint_info()["io_info"]["data_channel_info"]) == pairs
    endpoint.shutdown()


def test_keywords_of_overloads_are_both_taken():
    memory = dlslime.alloc(4096)
    endpoint = dlslime.RDMAEndpoint()
    by_key = endpoint.register_memory_region(mr_key=7, data_ptr=memory.addr, offset=0, length=16)
    by_name = endpoint.register_memory_region(name="n", data_ptr=memory.addr, offset=32, length=16)
    assert (by_key, by_name) == (0, 1) and list(endpoint.mr_info()) == ["mr_7", "n"]
    with pytest.raises(TypeError):
        endpoint.register_memory_region(mr_key=1, name="n", data_ptr=memory.addr, offset=0, length=1)
    dlslime.RDMAWorker(dev_name="slime0", id=1)
    dlslime.RDMAWorker(socket_id=0, id=1)
    with pytest.raises(TypeError):
        dlslime.RDMAWorker(id=1)


def test_assignments_are_made_by_position_only():
    for args, fields in (((1, 2, 3, 4), (1, 1, 2, 3, 4)), ((1, 9, 2, 3, 4), (1, 9, 2, 3, 4))):
        a = dlslime.Assignment(*args)
        assert (a.mr_key, a.remote_mr_key, a.target_offset, a.source_offset, a.length) == fields
    a.length = 2**64 - 1
    assert a.length == 2**64 - 1
    for wrong in ((1, 2, 3), (1, 2, 3, 4, 5, 6), (-1, 0, 0, 0), (0, 0, 0, 2**64), (None, 0, 0, 0)):
        with pytest.raises(TypeError):
            dlslime.Assignment(*wrong)
    with pytest.raises(TypeError):
        dlslime.Assignment(mr_key=1, target_offset=0, source_offset=0, length=0)


def test_operation_codes_have_their_numbers():
    assert {m.name: m.value for m in dlslime.OpCode.__members__.values()} == {
        "READ": 0, "WRITE": 1, "SEND": 2, "RECV": 3, "WRITE_WITH_IMM_DATA": 5}
    assert dlslime.OpCode(5) is dlslime.OpCode.WRITE_WITH_IMM_DATA
    with pytest.raises(ValueError):
        dlslime.OpCode(4)


# ---- sentences

def endpoint(**kwargs):
    return dlslime.RDMAEndpoint(**kwargs)


def context(*args):
    made = dlslime.RDMAContext()
    made.init(*args)
    return made


def pool():
    return dlslime.RDMAMemoryPool(context("slime0"))


def twice():
    context("slime0").init("slime0")


def tcp(call):
    with dlslime.TcpEndpoint("127.0.0.1") as t:
        call(t)


def failing():
    """A read of what is not there any more."""
    memory = dlslime.alloc(64)
    a, b = endpoint(), endpoint()
    for e in (a, b):
        e.register_memory_region("m", memory.addr, 0, 64)
    a.connect(b.endpoint_info())
    b.connect(a.endpoint_info())
    a.read([(0, 0, 60, 0, 32)]).wait()


SENTENCES = [
    (lambda: dlslime.nothing, AttributeError, "module 'dlslime' has no attribute 'nothing'"),
    (lambda: endpoint(ib_port=0), ValueError, "RDMA port must be in range 1..255, got 0"),
    (lambda: endpoint(ib_port=256), ValueError, "RDMA port must be in range 1..255, got 256"),
    (lambda: endpoint(ib_port=2), ValueError,
     "RDMA port 2 is outside valid range 1..1 for device slime0"),
    (lambda: context("mlx5_7"), ValueError, "RDMA device 'mlx5_7' is not available"),
    (twice, RuntimeError, "RDMAContext is already initialized"),
    (lambda: endpoint(link_type="token ring"), ValueError,
     "Unsupported RDMA link type 'token ring' (expected auto, IB, or RoCE)"),
    (lambda: context("slime0", 1, "x"), ValueError,
     "Unsupported RDMA link type 'x' (expected auto, IB, or RoCE)"),
    (lambda: dlslime._slime_c._resolve_rdma_link_type("IB", 2), ValueError,
     "Requested RDMA link type IB does not match detected RoCE"),
    (lambda: dlslime._slime_c._resolve_rdma_link_type("auto", 3), RuntimeError,
     "Unsupported RDMA port link layer: 3"),
    (lambda: endpoint(pool=None), ValueError, "RDMA memory pool cannot be null"),
    (lambda: dlslime.RDMAEndpoint(None), ValueError, "RDMA memory pool cannot be null"),
    (lambda: endpoint(context=None), ValueError, "RDMA context cannot be null"),
    (lambda: dlslime.RDMAMemoryPool(None), ValueError, "RDMA context cannot be null"),
    (lambda: pool().register_memory_region(4096, 8), RuntimeError,
     "ibv_reg_mr failed for address 0x1000: errno=14 (Bad address)..."),
    (lambda: pool().register_dmabuf_memory_region(-1, 0, 1, 0), ValueError,
     "dma-buf fd must be non-negative"),
    (lambda: pool().register_dmabuf_memory_region(0, 0, 0, 0), ValueError,
     "dma-buf MR length must be greater than zero"),
    (lambda: pool().register_dmabuf_memory_region(0, 1, 8, 2), ValueError,
     "...must have the same host-page offset"),
    (lambda: pool().register_dmabuf_memory_region(0, 0, 8, 0), RuntimeError,
     "ibv_reg_dmabuf_mr failed: fd=0, offset=0, length=8, iova=0, errno=95 (Operation not supported)"),
    (failing, RuntimeError, "RDMA read/write completion failed"),
    (lambda: dlslime.TcpEndpoint("localhost"), RuntimeError, "Invalid argument"),
    (lambda: dlslime.TcpEndpoint("127.0.0.1", 65536), TypeError, "..."),
    (lambda: tcp(lambda t: t.read([])), RuntimeError, "TcpEndpoint::read: empty assignment"),
    (lambda: tcp(lambda t: t.write([])), RuntimeError, "TcpEndpoint::write: empty assignment"),
    (lambda: tcp(lambda t: t.write_with_imm([], 1)), NotImplementedError,
     "TCP transport does not support write_with_imm; this is RDMA-only."),
    (lambda: tcp(lambda t: t.imm_recv()), NotImplementedError,
     "TCP transport does not support imm_recv; this is RDMA-only."),
    (lambda: tcp(lambda t: t.register_memory_region(3, 0, 0, 0)), TypeError, "..."),
    (lambda: dlslime.SlimeReadWriteFuture(), TypeError, "..."),
    (lambda: dlslime.DeviceSignal(), TypeError, "...No constructor defined!"),
]


def matches(said, wanted):
    """WANTED may have ... for what is left open."""
    return re.fullmatch(".*".join(re.escape(part) for part in wanted.split("...")), said, re.DOTALL)


@pytest.mark.parametrize("case", range(len(SENTENCES)), ids=[s[2][:50] for s in SENTENCES])
def test_an_error_has_the_contracts_type_and_sentence(case):
    call, kind, sentence = SENTENCES[case]
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind, repr(error.value)
    assert matches(str(error.value), sentence), str(error.value)


def test_without_any_nic_the_sentences_are_those_of_the_contract():
    run_python("""
        import dlslime
        assert dlslime.available_nic() == []
        for call, sentence in ((dlslime.RDMAEndpoint, "No available RDMA devices"),
                               (lambda: dlslime.RDMAContext().init("mlx5_0", 1, "RoCE"),
                                "No RDMA devices found")):
            try:
                call()
                raise SystemExit("no error")
            except RuntimeError as e:
                assert str(e).startswith(sentence), e
        assert dlslime.discover_topology()["nics"] == []
    """, DLSLIME_SOFT_NIC="0", SLIME_VISIBLE_DEVICES="none_of_them")


# ---- the environment

@pytest.mark.parametrize("name", """SLIME_LOG_MUTEX SLIME_QP_NUM SLIME_CQ_NUM SLIME_AGG_QP_NUM
    SLIME_BYPASS_DEVICE_SIGNAL SLIME_MAX_MSG_FIFO_DEPTH SLIME_MAX_IO_FIFO_DEPTH SLIME_RPC_MAX_INFLIGHT
    SLIME_RPC_SERVER_WORKERS DLSLIME_TIMING SLIME_MAX_LENGTH_PER_ASSIGNMENT SLIME_MAX_SEND_WR
    SLIME_MAX_RECV_WR SLIME_POLL_COUNT SLIME_MAX_RD_ATOMIC SLIME_MAX_DEST_RD_ATOMIC SLIME_SERVICE_LEVEL
    SLIME_GID_INDEX SLIME_MAX_CQ_DEPTH SLIME_LOG_LEVEL""".split())
def test_a_variable_of_the_contract_is_accepted(name):
    run_python("""
        import dlslime
        a, b = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()
        a.connect(b.endpoint_info()); b.connect(a.endpoint_info())
        got = b.imm_recv()
        a.write_with_imm([], 3)
        assert got.wait() == 0 and got.imm_data() == 3
    """, **{name: "1"})


def test_time_traces_may_be_turned_off():
    code = """
        import dlslime
        a, b = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()
        a.connect(b.endpoint_info()); b.connect(a.endpoint_info())
        got = b.imm_recv()
        a.write_with_imm([], 3)
        got.wait()
        start, end = got.time_trace_start_ns(), got.time_trace_end_ns()
        print(got.time_trace_enabled(), 0 < start <= end, got.time_trace_elapsed_ns() == end - start)
    """
    assert run_python(code, SLIME_WITH_TIME_TRACE="1").stdout == "True True True\n"
    assert run_python(code, SLIME_WITH_TIME_TRACE="0").stdout == "False False True\n"


def test_the_cmake_directory_is_below_the_package():
    assert dlslime.get_cmake_dir().endswith(os.path.join("dlslime", "share", "cmake", "dlslime"))
