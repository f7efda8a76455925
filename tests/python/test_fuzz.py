# SPDX-License-Identifier: BSD-3-Clause
"""Wrong things for every parameter of the whole API: an exception with a sentence, never a crash.

Runs in processes of their own, so that a crash is a failure of one test; the seed is printed.
"""

import os

import pytest

from conftest import run_python

# Under ASan it is malloc: then ASan sees Python's objects too.
MALLOC = os.environ.get("PYTHONMALLOC", "debug")

COMMON = """
    import gc, random, sys, threading, dlslime
    seed, rounds = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    try:
        import numpy as np
        arrays = [np.zeros((3, 3), np.int64), np.zeros(5, np.int64)[::2], np.zeros(4, np.float64),
                  np.full((2, 3), -1), np.zeros((2, 2), np.uint64), np.zeros(3, np.int32),
                  np.full(3, 2**63, np.uint64), np.array(3), np.int64(8)]
    except ImportError:
        arrays = []

    class Evil:
        def __index__(self): raise KeyError("index")
        def __len__(self): raise KeyError("len")
        def __getitem__(self, i): raise KeyError("item")
        def __float__(self): raise KeyError("float")

    def pair(cls, **kw):
        a, b = cls(**kw), cls(**kw)
        if cls is dlslime.Endpoint:
            a.connect(b.export(), timeout=0); b.connect(a.export())
        else:
            a.connect(b.endpoint_info()); b.connect(a.endpoint_info())
        return a, b

    a, b = pair(dlslime.Endpoint, depth=64)
    memory = dlslime.alloc(4096)
    region = dlslime.register(memory)
    remote = b.import_region(region.export())
    closed_region = dlslime.register(bytearray(10)); closed_region.close()
    closed_remote = b.import_region(region.export()); closed_remote.close()
    closed_endpoint = dlslime.Endpoint(); closed_endpoint.close()
    foreign_region = dlslime.Region(bytearray(64), context=dlslime.Context())
    # Memory that its owner took away; nothing else gets its addresses.
    import ctypes, mmap
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    taken = libc.mmap(None, 8192, mmap.PROT_READ | mmap.PROT_WRITE,
                      mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    taken_region = dlslime.register_address(taken, 8192)
    taken_remote = b.import_region(taken_region.export())
    def take(): libc.mprotect(taken, 8192, 0)
    never = [cls.__new__(cls) for cls in (dlslime.Endpoint, dlslime.Region, dlslime.RemoteRegion,
             dlslime.Future, dlslime.Transfer, dlslime.Memory, dlslime.Context)]
    values = [None, True, 0, 1, -1, 7, 4096, 2**31, 2**32, 2**63, 2**64 - 1, 2**64, 2**200, -2**63, 0.5,
              float("nan"), float("inf"), "", "x", "rw", "auto", "read", b"", b"x" * 3000, bytearray(8),
              (), [], {}, [()], [(0, 0, 0)], [(1, 2)], [(0, 0, 0, 0, 8)], [(0, 0, 2**64 - 1, 0, 2)],
              [(0, 0, 0, 0, 2**63)] * 3, (2**64 - 8, 16, 8), (0, 0, 0), range(3), object(), Evil(), int,
              memoryview(bytes(10))[::2], region, region[0:8], remote, remote[0:8], closed_region,
              closed_remote, closed_endpoint, foreign_region, memory, a, b, region.export(),
              taken, taken_region, taken_region[0:8], taken_remote, taken_remote[0:8],
              lambda *x: None, slice(1, 2), slice(5, 1), slice(None, None, 2), *never, *arrays]

    def some(n):
        return [rng.choice(values) for _ in range(rng.randrange(n))]

    def call(thing, name, keywords):
        args = some(5)
        kw = {k: rng.choice(values) for k in keywords if rng.random() < 0.3}
        try:
            got = getattr(thing, name)(*args, **kw)
            if isinstance(got, dlslime.Future):
                got.status_after(0)
                got.cancel()
        except (SystemExit, KeyboardInterrupt, SystemError):
            raise
        except Exception as e:
            assert str(e) or isinstance(e, (IndexError, AssertionError)), repr(e)
"""

NEW = """
    take()
    KEYS = "timeout fence length local_offsets remote_offsets count local_stride remote_stride".split()
    NAMES = {"read": KEYS, "write": KEYS, "write_imm": KEYS, "prepare": KEYS[2:], "send": KEYS[:2],
             "recv": KEYS[:1], "recv_imm": KEYS[:1], "connect": ["timeout"], "import_region": [],
             "poll": [], "export": [], "fileno": [], "__repr__": []}

    def hammer():
        for i in range(rounds):
            thing = rng.choice([a, b, b, b, closed_endpoint, never[0]])
            name = rng.choice(list(NAMES))
            if name == "connect" and thing in (a, b): continue
            call(thing, name, NAMES[name])
            if i % 50 == 0:
                for cls in (dlslime.Endpoint, dlslime.Region, dlslime.Memory, dlslime.Context):
                    call(dlslime, cls.__name__, ["transport", "device", "depth", "lanes", "context",
                                                 "access", "huge", "numa", "cma"])
                for fn in ("register", "register_address"):
                    call(dlslime, fn, ["access"])
                for t in (*never, closed_region, closed_remote):
                    for method in ("close", "export", "__len__", "__repr__", "wait", "done", "cancel",
                                   "result", "post", "reason", "devices", "__getitem__",
                                   "add_done_callback", "get_loop", "__dlpack__", "status_after"):
                        if hasattr(t, method): call(t, method, [])

    threads = [threading.Thread(target=hammer) for _ in range(int(sys.argv[3]))]
    for t in threads: t.start()
    for t in threads: t.join()
    gc.collect()
    x = b.read(region[0:8], remote[8:16])
    assert x.wait(10) == 8    # and all still works
"""

CONTRACT = """
    memory2 = dlslime.alloc(4096)
    c, d = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()
    for e in (c, d):
        e.register_memory_region("m", memory2.addr, 0, 4096)
        e.register_memory_region("taken", taken, 0, 8192)
    c.connect(d.endpoint_info()); d.connect(c.endpoint_info())
    take()
    values += [[(0, 1, 0, 0, 8)], [(1, 0, 0, 0, 64), (0, 1, 0, 0, 64)], (taken, 0, 8)]
    t = dlslime.TcpEndpoint("127.0.0.1")
    closed = dlslime.RDMAEndpoint(); closed.shutdown()
    early = dlslime.RDMAEndpoint()
    info = d.endpoint_info()
    values += ["m", info, info["mr_info"], info["mr_info"]["m"], {"mr_info": 3}, {"slime": "aGk="},
               {"addr": 1, "length": 2, "rkey": 3}, {"addr": -1, "length": None, "rkey": "x"}, c, closed,
               {**info, "io_info": 3}, {**info, "mr_info": {3: 4}}, c.get_pool(), dlslime.RDMAContext()]
    NAMES = ("read write write_with_imm imm_recv send recv register_memory_region process mr_info "
             "register_remote_memory_region endpoint_info get_pool unregister_memory_region "
             "is_connected __repr__").split()

    def hammer():
        for i in range(rounds):
            name = rng.choice(NAMES)
            thing = rng.choice([c, d, closed, early, t])
            if hasattr(thing, name): call(thing, name, ["stream", "imm_data", "exact_size"])
            if i % 50 == 0:
                for n in ("RDMAEndpoint", "RDMAContext", "RDMAMemoryPool", "RDMAWorker", "Assignment",
                          "OpCode", "socket_id", "discover_topology", "obs_register_nic_for_test",
                          "TcpMemoryPool", "NVLinkEndpoint", "DeviceSignal", "SlimeReadWriteFuture"):
                    call(dlslime, n, ["device_name", "num_qp", "pool", "context", "worker", "ib_port"])
                call(dlslime.RDMAContext(), "init", ["ib_port"])
                call(dlslime.RDMAEndpoint(), "connect", [])
                for n in ("register_memory_region", "get_handle", "register_dmabuf_memory_region"):
                    call(early.get_pool(), n, ["name"])

    threads = [threading.Thread(target=hammer) for _ in range(int(sys.argv[3]))]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    e, f = pair(dlslime.RDMAEndpoint)
    g = e.imm_recv(); f.write_with_imm([], 3)
    assert g.wait() == 0 and g.imm_data() == 3
    t.shutdown()
"""

# Two agents, their connections and endpoints, by names and by handles.
AGENT = """
    url = sys.argv[4]
    A, B = (dlslime.PeerAgent(url, alias) for alias in "AB")
    for agent in (A, B):
        agent.register_memory_region("m", memory.addr, 0, 4096)
    conn = A.connect_to("B").wait(20)
    tcp = A.connect_to("B", transport="tcp", local_host="127.0.0.1").wait(20)
    gone = dlslime.PeerAgent(url, "gone"); gone.shutdown()
    values += ["A", "B", "m", "nobody", "tcp", "rdma", "slime0", ("m", 0, 0, 8), ("m", "m", 0, 0, 8),
               ("m", 0, 2**64 - 1, 8), ("m", "no", 0, 0, 8), [("m", 0, 0, 8)] * 3, ("m", -1, 0, 1),
               [("m", 0, 0, 8), (0, 0, 0, 0, 8)], ("m", None, 0, 8), A, B, conn, tcp, conn.local_key,
               conn.endpoint, tcp.endpoint, conn.endpoint.get_pool(), A.get_mr_info("B", "m"),
               "x" * 5000, "a\\0b", "\\udc80", b"m", "../m", "m\\n"]
    CALLS = {A: "list_agents get_resource list_mem_keys connect_to get_connections query_connection "
                "register_memory_region unregister_memory_region register_dmabuf_memory_region "
                "allocate_memory_region get_mr_info get_handle read write write_with_imm send recv "
                "imm_recv _get_endpoint _get_connection _is_connection_connected __repr__ "
                "flight_recorder".split(),
             conn: "is_connected sync_memory_regions __repr__".split(),
             conn.endpoint: "read write write_with_imm imm_recv send recv mr_info connect process "
                            "register_memory_region register_remote_memory_region named "
                            "unregister_memory_region endpoint_info".split()}
    CALLS[B] = CALLS[gone] = CALLS[A]
    CALLS[tcp] = CALLS[conn]
    CALLS[tcp.endpoint] = [n for n in CALLS[conn.endpoint] if hasattr(tcp.endpoint, n)]
    KEYS = ["transport", "local_nic", "remote_nic", "stream", "local_device", "peer_device", "ib_port",
            "qp_num", "local_host", "local_port", "min_bw", "endpoint", "resource_key", "peer_alias"]

    def hammer():
        for i in range(rounds):
            thing = rng.choice(list(CALLS))
            call(thing, rng.choice(CALLS[thing]), KEYS if rng.random() < 0.5 else [])

    threads = [threading.Thread(target=hammer) for _ in range(int(sys.argv[3]))]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    B.register_memory_region("after", memory.addr, 0, 64)
    A.register_memory_region("mine", memory.addr + 64, 0, 64)
    assert conn.wait(20).endpoint.named("read", dlslime._core.named_items(
        ("mine", "after", 0, 0, 8))).wait(20) == 0
    for agent in (A, B): agent.shutdown()
"""

# What needs no endpoint: memory, DLPack, NICs, counters, documents, the control plane's client.
REST = """
    from dlslime import ctrl
    from dlslime._contract import nics, pool as entries
    from dlslime.peer_agent import _keys
    client = ctrl.NanoCtrlClient("127.0.0.1:1")
    pair_info = dlslime.RDMAEndpoint().endpoint_info()
    values += [pair_info, "slime0", "/sys", "../..", "127.0.0.1", 2**16, {"nics": [{}]}, {"nics": 3},
               {"nics": [{"ports": [{"port": 1, "state": "ACTIVE"}]}]}, {"addr": 1}]
    transfer = b.prepare("read", region, remote)
    CALLS = [(dlslime, "socket_id available_nic obs_snapshot obs_register_nic_for_test "
                       "discover_topology Assignment OpCode DeviceSignal TcpMemoryPool get_logger "
                       "alloc register register_address NVLinkEndpoint AscendDirectEndpoint"),
             (dlslime._slime_c, "_resolve_rdma_link_type"),
             (memory, "__dlpack__ __dlpack_device__ __len__ __getitem__ __repr__"),
             (region, "export __getitem__ __len__ __repr__"), (region[0:8], "__getitem__ __len__"),
             (remote, "__getitem__ __repr__"), (remote[0:8], "__getitem__"),
             (transfer, "post"), (closed_region, "export __getitem__ close"),
             (dlslime.TcpMemoryPool(), "register_memory_region register_remote_memory_region "
                                       "get_mr_handle mr_info"),
             (entries, "decode exported_of"), (nics, "normal_link_type open_nic"),
             (_keys, "choose RdmaResourceKey TcpResourceKey NvlinkResourceKey"),
             (client, "register unregister get_entity_info list_entities heartbeat stop")]
    KEYS = ["preferred_device", "ib_port", "sysfs_root", "devices", "name", "timeout", "fence",
            "stream", "max_version", "dl_device", "copy", "entity_type", "kind", "numa"]

    def hammer():
        for i in range(rounds):
            thing, methods = rng.choice(CALLS)
            name = rng.choice(methods.split())
            if hasattr(thing, name): call(thing, name, KEYS if rng.random() < 0.5 else [])

    threads = [threading.Thread(target=hammer) for _ in range(int(sys.argv[3]))]
    for t in threads: t.start()
    for t in threads: t.join()
    assert b.read(region[0:8], remote[8:16]).wait(10) == 8
"""


@pytest.fixture
def ctrl():
    from peers import Daemon   # skips where there is none

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LD_PRELOAD", raising=False)   # ASan's; the daemon has its own
        daemon = Daemon()
    with daemon:
        yield daemon


def run(code, seed, rounds, threads, *more):
    run_python(COMMON + code, str(seed), str(rounds), str(threads), *more, timeout=120,
               PYTHONMALLOC=MALLOC, DLSLIME_CONNECT_TIMEOUT="1")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("threads", [1, 4])
def test_nonsense_said_to_agents_is_an_exception_too(ctrl, seed, threads):
    run(AGENT, seed, 600, threads, ctrl.url)


@pytest.mark.parametrize("seed", range(3))
def test_nonsense_said_to_everything_else_is_an_exception_too(seed):
    run(REST, seed, 2000, 2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("code", [NEW, CONTRACT], ids=["new", "contract"])
@pytest.mark.parametrize("threads", [1, 4])
def test_nonsense_is_an_exception_and_never_a_crash(code, seed, threads):
    run(code, seed, 1500, threads)


def test_nonsense_in_a_forked_child_is_an_exception_too():
    run_python(COMMON + """
    import os
    pid = os.fork()
    if pid:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code == 0, code
    else:
        for _ in range(3000):
            call(rng.choice([a, b, region, remote, memory]), rng.choice(
                ["read", "write", "send", "recv", "export", "info", "close", "import_region", "connect"]
            ), []) if rng.random() < 0.9 else gc.collect()
        os._exit(0)
    """.replace("a, b, region, remote, memory]", "a, b]"), "5", "0", "0", PYTHONMALLOC=MALLOC)


def test_lists_and_tuples_that_change_while_they_are_read_are_no_crash():
    run_python("""
        import dlslime
        memory = dlslime.alloc(4096)
        a, b = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()
        for e in (a, b): e.register_memory_region("m", memory.addr, 0, 4096)
        a.connect(b.endpoint_info()); b.connect(a.endpoint_info())
        a.write([(0, 0, 0, 0, 8)]).wait()
        c, d = dlslime.Endpoint(), dlslime.Endpoint()
        c.connect(d.export(), timeout=0); d.connect(c.export())
        region = dlslime.register(memory)
        remote = d.import_region(region.export())

        class Shrinks:
            def __init__(self, *lists): self.lists = lists
            def __index__(self):
                for l in self.lists: l.clear()
                return 0

        for end in (lambda l: a.read(l), lambda l: a.write_with_imm(l),
                    lambda l: d.read(region, remote, l), lambda l: d.write(region, remote, l)):
            for n in (3, 5):
                for k in range(n):
                    many, inner = [], [0] * n
                    inner[k] = Shrinks(many, inner)
                    many.extend([tuple(inner)] * 1000 + [inner] * 1000)
                    try:
                        end(many).wait(5)
                    except (IndexError, TypeError, ValueError, RuntimeError, dlslime.Error):
                        pass
    """, PYTHONMALLOC=MALLOC)
