# SPDX-License-Identifier: BSD-3-Clause
"""TcpEndpoint: the class of release 0.1.23."""

import contextlib
import json
import socket
import threading

import pytest

import dlslime
from conftest import PATIENCE, run_python, until


class End:
    def __init__(self, *args):
        self.memory = dlslime.alloc(4096)
        self.view = memoryview(self.memory)
        self.endpoint = dlslime.TcpEndpoint(*args)
        self.handle = self.endpoint.register_memory_region("memory", self.memory.addr, 0, 4096)


@pytest.fixture
def pair():
    a, b = End(), End("127.0.0.1", 0)
    infos = [json.loads(json.dumps(e.endpoint.endpoint_info())) for e in (a, b)]
    a.endpoint.connect(infos[1])
    b.endpoint.connect(infos[0])
    yield a, b
    a.endpoint.shutdown()
    b.endpoint.shutdown()


def test_one_sided_transfers_move_and_are_acknowledged(pair):
    a, b = pair
    b.view[8:12] = b"peer"
    assert a.endpoint.read([(0, 0, 8, 100, 4)]).wait() == 0 and a.view[100:104].tobytes() == b"peer"
    a.view[:4] = b"mine"
    for i in range(50):
        assert b.view[i * 8 + 64] == 0
        assert a.endpoint.write([(0, 0, i * 8 + 64, 0, 4)], None, 5000).wait() == 0
        assert b.view[i * 8 + 64:i * 8 + 68].tobytes() == b"mine"   # there when wait() returns


def test_messages_go_both_ways_and_may_be_shorter(pair):
    a, b = pair
    for x, y in (pair, pair[::-1]):
        receive = y.endpoint.recv((y.memory.addr, 8, 64))
        x.view[:5] = b"hello"
        assert x.endpoint.send((x.memory.addr, 0, 5)).wait() == 0
        assert receive.wait() == 0 and y.view[8:13].tobytes() == b"hello"
        exact = y.endpoint.recv((y.memory.addr, 0, 64), exact_size=True)
        x.endpoint.send((x.memory.addr, 0, 5))
        assert exact.wait() == -1


def test_both_may_connect_at_the_same_time():
    for _ in range(100):
        a, b = End(), End()
        infos = [e.endpoint.endpoint_info() for e in (b, a)]
        threads = [threading.Thread(target=e.endpoint.connect, args=(i,)) for e, i in zip((a, b), infos)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(20)
        assert a.endpoint.is_connected() and b.endpoint.is_connected()
        receive = b.endpoint.recv((b.memory.addr, 0, 8))
        assert a.endpoint.send((a.memory.addr, 0, 8)).wait() == 0 and receive.wait() == 0
        a.endpoint.shutdown()
        b.endpoint.shutdown()


def test_a_call_that_hangs_does_not_keep_other_peers_out():
    """Of two that call each other one waits for the other's call: but only for that one's."""
    a, b = sorted((End(), End()), key=lambda end: end.endpoint._id)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hangs = threading.Thread(target=a.endpoint.connect, args=(
            {"host": "127.0.0.1", "port": silent.getsockname()[1], "mr_info": {}, "slime": "x"},))
        hangs.start()
        caller, _ = silent.accept()
        b.endpoint.connect(a.endpoint.endpoint_info())
        assert b.endpoint.is_connected()
        caller.close()
        hangs.join(20)
    assert not hangs.is_alive() and not a.endpoint.is_connected()


def test_connecting_on_one_side_is_enough_to_read():
    a, b = End(), End()
    b.view[:4] = b"here"
    info = b.endpoint.endpoint_info()
    a.endpoint.connect({"host": "127.0.0.1", "port": info["port"], "mr_info": info["mr_info"]})
    assert a.endpoint.is_connected() and not b.endpoint.is_connected()
    assert a.endpoint.read([(0, 0, 0, 0, 4)]).wait() == 0 and a.view[:4].tobytes() == b"here"
    a.endpoint.shutdown()
    b.endpoint.shutdown()


def test_nobody_there_is_quiet_and_not_connected():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    a = End()
    assert a.endpoint.connect({"host": "127.0.0.1", "port": port}) is None
    assert not a.endpoint.is_connected()
    assert a.endpoint.send((a.memory.addr, 0, 8)).wait() == -1
    assert a.endpoint.read([(0, 0, 0, 0, 8)]).wait() == -1
    a.endpoint.shutdown()


def test_a_stranger_at_the_port_is_told_apart_and_harms_nobody(pair):
    a, _ = pair
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer():
            for _ in range(2):
                s = server.accept()[0]
                s.recv(100)
                s.sendall(b"\x08\0\0\0\0\0\0\0")
                s.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        fresh = dlslime.TcpEndpoint()
        for _ in range(2):
            fresh.connect({"host": "127.0.0.1", "port": server.getsockname()[1]})
            assert not fresh.is_connected()
        thread.join(PATIENCE)
        fresh.shutdown()
    port = a.endpoint.endpoint_info()["port"]
    for junk in (b"", b"{", b"{}\n", b'{"dlslime": 1}\n', b"\x08" * 17, b"[" * 5000 + b"\n",
                 b'{"dlslime": 1, "id": "x", "slime": "????"}\n',
                 b'{"dlslime": 1, "id": "x", "slime": "aGk="}\n'):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(PATIENCE)
            with contextlib.suppress(OSError):   # it may hang up at any moment
                s.sendall(junk)
                s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while s.recv(100):
                    pass
    assert a.endpoint.read([(0, 0, 0, 0, 8)]).wait() == 0


def test_texts_and_statuses_are_those_of_the_release(pair):
    a, b = pair
    e = a.endpoint
    for call, error, text in (
            (lambda: e.read([]), RuntimeError, "TcpEndpoint::read: empty assignment"),
            (lambda: e.write([]), RuntimeError, "TcpEndpoint::write: empty assignment"),
            (lambda: e.read([(9, 0, 0, 0, 1)]), RuntimeError, "TcpEndpoint::read: invalid MR handle"),
            (lambda: e.write([(0, 9, 0, 0, 1)]), RuntimeError, "TcpEndpoint::write: invalid MR handle"),
            (lambda: e.write_with_imm([(0, 0, 0, 0, 1)]), NotImplementedError,
             "TCP transport does not support write_with_imm; this is RDMA-only."),
            (lambda: e.imm_recv(), NotImplementedError,
             "TCP transport does not support imm_recv; this is RDMA-only."),
            (lambda: dlslime.TcpEndpoint("localhost"), RuntimeError, "Invalid argument"),
            (lambda: dlslime.TcpEndpoint(port=65536), TypeError, "65535"),
            (lambda: e.register_memory_region(1, a.memory.addr, 0, 1), TypeError, "int"),
            (lambda: e.connect({"host": "no.such.host.invalid", "port": 1}), RuntimeError,
             r"resolve: Host not found \(authoritative\)"),
            (lambda: e.connect({"host": 5}), RuntimeError, "host")):
        with pytest.raises(error, match=text):
            call()
    assert e.read([(0, 0, 4090, 0, 8)]).wait() == -1
    assert e.register_memory_region("", a.memory.addr, 0, 1) == -1
    assert e.register_memory_region("memory", a.memory.addr, 0, 1) == -1


def test_handles_and_infos_are_as_the_release_counts_them():
    a = End()
    e, addr = a.endpoint, a.memory.addr
    assert e.register_memory_region("alias", addr, 0, 10) == 0
    assert e.register_memory_region("zero", addr, 8, 0) == 1
    assert e.mr_info().keys() == {"memory", "alias"}
    assert {k: e.mr_info()["memory"][k] for k in ("name", "addr", "length")} == {
        "name": "memory", "addr": addr, "length": 4096}
    info = e.endpoint_info()
    assert info["host"] == "0.0.0.0" and 0 < info["port"] < 65536
    assert e.register_remote_memory_region("b", {"addr": 1, "length": 2}) == 0
    assert e.register_remote_memory_region("a", {"addr": 1, "length": 2}) == 1
    assert e.register_remote_memory_region("b", {"addr": 1, "length": 2}) == 0
    assert dlslime.TcpEndpoint().mr_info() == {}
    pool = dlslime.TcpMemoryPool()
    assert pool.mr_info() == {} and pool.register_memory_region(addr, 64, "x") == 0
    assert pool.get_mr_handle("x") == 0 and pool.get_mr_handle("y") == -1
    assert pool.register_remote_memory_region({"addr": 1, "length": 2}, "z") == 0
    e.shutdown()


def test_shutdown_ends_receives_with_minus_3_and_frees_the_port(pair):
    a, b = pair
    receives = [b.endpoint.recv((b.memory.addr, 0, 8)) for _ in range(3)]
    assert receives[0].wait_for(-1) is None and receives[0].wait_for(0.01) is None
    b.endpoint.shutdown()
    b.endpoint.shutdown()
    assert [f.wait() for f in receives] == [-3] * 3 and not b.endpoint.is_connected()
    assert b.endpoint.recv((b.memory.addr, 0, 8)).wait_for(PATIENCE) == -3
    assert until(lambda: a.endpoint.send((a.memory.addr, 0, 8)).wait_for(PATIENCE) == -1)
    port = b.endpoint.endpoint_info()["port"]
    dlslime.TcpEndpoint("127.0.0.1", port).shutdown()


def test_a_port_in_use_is_an_error_and_no_other_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        with pytest.raises(RuntimeError, match="cannot listen on 127.0.0.1"):
            dlslime.TcpEndpoint("127.0.0.1", s.getsockname()[1])


def test_a_deadline_ends_a_send_that_nobody_receives(pair):
    a, _ = pair
    assert a.endpoint.send((a.memory.addr, 0, 8), timeout_ms=50).wait() == -1


def test_a_program_that_ends_with_endpoints_open_ends_quietly():
    done = run_python("""
        import dlslime
        a, b = dlslime.TcpEndpoint(), dlslime.TcpEndpoint()
        memory = dlslime.alloc(64)
        a.connect(b.endpoint_info())
        waiting = a.recv((memory.addr, 0, 1))
    """)
    assert not done.stderr.strip(), done.stderr
