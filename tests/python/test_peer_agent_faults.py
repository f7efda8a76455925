# SPDX-License-Identifier: BSD-3-Clause
"""PeerAgent between processes: peers that die and come back, a daemon that does, many at once."""

import os
import signal
import time

import pytest
from peers import Failed, Peer, ctrl, until  # noqa: F401


@pytest.fixture
def a(ctrl):
    with Peer(ctrl.url, "a") as peer:
        peer.kv()
        yield peer


def server(ctrl, seed, alias="b"):
    peer = Peer(ctrl.url, alias)
    peer.kv(seed=seed)
    return peer


def read(peer, of="b", n=64):
    """What PEER reads of a region "kv", or the sentence of the failure."""
    try:
        peer(f"agent.read({of!r}, ('kv', 0, 0, {n})).wait()")
    except Failed as e:
        return str(e)
    return peer(f"bytes(v_kv[:{n}])")


def content(seed, n=64):
    return bytes((seed + i) & 0xFF for i in range(n))


@pytest.mark.parametrize("transport", ["auto", "tcp"])
def test_two_processes_move_memory_and_messages(ctrl, a, transport):
    with server(ctrl, 7) as b:
        a(f"conn = agent.connect_to('b', transport={transport!r}).wait()")
        assert a("conn.endpoint._link.info['transport']") == {"auto": "shm"}.get(transport, transport)
        assert read(a) == content(7)
        a("agent.write('b', ('kv', 0, 1024, 64)).wait()")
        assert b("bytes(v_kv[1024:1088])") == content(7)
        b("got = agent.recv('a', (m_kv.addr, 0, 16))")
        assert a("agent.send('b', (m_kv.addr, 32, 16)).wait()") == 0 == b("got.wait()")
        assert b("bytes(v_kv[:16])") == content(7 + 32, 16)


def test_a_killed_peer_that_comes_back_is_reconnected_with_its_new_memory(ctrl, a):
    b = server(ctrl, 1)
    a("conn = agent.connect_to('b').wait()")
    assert read(a) == content(1)
    a("h = agent.get_handle('kv', 'b')")
    a("pending = [agent.imm_recv('b') for _ in range(10)]")
    for turn in range(2, 6):
        b.kill()
        b = server(ctrl, turn * 16)   # at once: its name is not waited for
        began = time.monotonic()
        # the first may still be the old connection's, and fails; it never reads other bytes
        assert until(lambda: read(a) == content(turn * 16))
        assert time.monotonic() - began < 5
        # the handle, too, means the region of that name
        a("v_kv[:64] = bytes(64)")
        assert a("agent.read('b', [(0, h, 0, 0, 64)]).wait()") == 0
        assert a("bytes(v_kv[:64])") == content(turn * 16)
        assert a("conn.is_connected() and conn is agent.connect_to('b')")
    assert set(a("[f.wait(20) for f in pending]")) == {403}
    b.kill()


def test_what_is_in_flight_when_a_peer_dies_ends(ctrl, a):
    with server(ctrl, 1) as b:
        a("conn = agent.connect_to('b').wait()")
        a("futures = [agent.recv('b', (m_kv.addr, 0, 8)), agent.imm_recv('b')]")
        b("agent.list_agents()")
        b.kill()
        assert a("[f.wait(20) for f in futures]") == [403, 403]
        assert until(lambda: a("conn.state") == "connecting")
        assert not a("conn.is_connected()")
        with pytest.raises(Failed, match="TimeoutError: Timeout waiting for connection"):
            a("conn.wait(0.1)")
    # messages wait for the peer that comes back
    a.ask("agent.send('b', (m_kv.addr, 0, 8)).wait()")
    with server(ctrl, 9) as b:
        b("conn = agent.connect_to('a')")
        assert b("agent.recv('a', (m_kv.addr, 0, 8)).wait()") == 0 == a.answer()
        assert until(lambda: read(a)[8:] == content(9)[8:])


def test_restarts_of_a_peer_leave_nothing_behind(ctrl, a):
    def descriptors():
        return len(os.listdir(f"/proc/{a.pid}/fd"))

    counts = []
    for turn in range(8):
        with server(ctrl, turn) as b:
            if not turn:
                a("conn = agent.connect_to('b').wait()")
            assert until(lambda: read(a) == content(turn))
            b("agent.get_connections()")
        if turn >= 3:
            counts.append(descriptors())
            threads = len(os.listdir(f"/proc/{a.pid}/task"))
            assert threads < 12
    # a lost connection is kept for half a second, so that what was in flight tells its own end
    assert until(lambda: descriptors() <= counts[0] + 4), counts


def test_transfers_go_on_while_the_daemon_is_away_and_all_is_known_when_it_is_back(ctrl, a):
    with server(ctrl, 3) as b:
        a("conn = agent.connect_to('b').wait()")
        assert read(a) == content(3)
        ctrl.kill()
        for _ in range(100):
            assert read(a) == content(3)
        assert a("conn.is_connected()")
        with pytest.raises(Failed, match="ConnectionError|Unreachable|TimeoutError"):
            a("agent.list_agents()")
        with ctrl.again():
            assert until(lambda: listed(a) == ["a", "b"], 30)
            assert until(lambda: a("agent.list_mem_keys('b')") == ["kv"])
            b.kv(seed=50, name="new")
            assert until(lambda: a("agent.get_mr_info('b', 'new')") is not None)
            assert a("agent.read('b', ('kv', 'new', 0, 0, 64)).wait()") == 0
            assert a("bytes(v_kv[:64])") == content(50)


def listed(peer):
    try:
        return peer("agent.list_agents()")
    except Failed:
        return None


def test_a_frozen_peer_is_waited_for(ctrl, a):
    with server(ctrl, 3) as b:
        a("conn = agent.connect_to('b', transport='tcp').wait()")
        assert read(a) == content(3)
        b.signal(signal.SIGSTOP)
        assert until(lambda: open(f"/proc/{b.pid}/stat").read().split()[2] == "T")
        a("f = agent.read('b', ('kv', 0, 0, 64))")
        assert a("f.status_after(0.3)") is None
        b.signal(signal.SIGCONT)
        assert until(lambda: read(a) == content(3))


def test_both_processes_at_once_converge(ctrl):
    for turn in range(5):
        with server(ctrl, 1, f"x{turn}") as x, server(ctrl, 2, f"y{turn}") as y:
            x.ask(f"conn = agent.connect_to('y{turn}').wait()")
            y.ask(f"conn = agent.connect_to('x{turn}').wait()")
            x.answer()
            y.answer()
            x(f"got = agent.recv('y{turn}', (m_kv.addr, 0, 8))")
            assert y(f"agent.send('x{turn}', (m_kv.addr, 0, 8)).wait()") == 0 == x("got.wait()")
            assert read(x, f"y{turn}") == content(2)


def test_a_mesh_of_eight_processes_reads_everything_from_everybody(ctrl):
    peers = [Peer(ctrl.url, f"m{i}") for i in range(8)]
    try:
        for i, peer in enumerate(peers):
            peer.kv(seed=i * 31)
        for i, peer in enumerate(peers):
            peer.ask(f"conns = [agent.connect_to(f'm{{j}}') for j in range(8) if j != {i}]; "
                     "all(c.wait() for c in conns)")
        for peer in peers:
            peer.answer()
        for i, peer in enumerate(peers):
            for j in range(8):
                if i != j:
                    peer(f"v{j} = dlslime.alloc(64)")
                    peer(f"agent.register_memory_region('in{j}', v{j}.addr, 0, 64)")
        for i, peer in enumerate(peers):
            others = [j for j in range(8) if j != i]
            peer.ask(f"[agent.read(f'm{{j}}', (f'in{{j}}', 'kv', 0, 0, 64)).wait() for j in {others}]")
        for peer in peers:
            assert peer.answer() == [0] * 7
        for i, peer in enumerate(peers):
            for j in range(8):
                if i != j:
                    assert peer(f"bytes(memoryview(v{j}))") == content(j * 31)
    finally:
        for peer in peers:
            peer.kill()


def test_who_waits_takes_no_processor_time_and_lets_other_threads_run(ctrl, a):
    a("""
import threading, time, resource
conn = agent.connect_to('nobody')
pending = agent.imm_recv('nobody')
def waiter():
    try:
        conn.wait(60)
    except Exception:
        pass
threads = [threading.Thread(target=waiter) for _ in range(4)] + [threading.Thread(target=pending.wait)]
[t.start() for t in threads]
def used():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime
""".strip().replace("'", '"'))
    before = a("used()")
    time.sleep(1)   # the time over which it is measured
    assert a("used()") - before < 0.1
    a("agent.shutdown()")
    assert a("[t.join(20) for t in threads] and any(t.is_alive() for t in threads)") is False


def test_an_alias_of_a_process_that_died_is_free_at_once(ctrl, a):
    b = server(ctrl, 1)
    b.kill()
    began = time.monotonic()
    with server(ctrl, 2):
        assert time.monotonic() - began < 10
        assert a("agent.list_agents()") == ["a", "b"]
    with pytest.raises(Failed, match="RuntimeError: PeerAgent 'a' registration conflict"):
        a("dlslime.PeerAgent(agent.ctrl_url, 'a')")


def test_a_region_published_when_only_tcp_was_used_is_reached_over_shm_too(ctrl, a):
    with Peer(ctrl.url, "b") as b:
        a("agent.connect_to('b', transport='tcp').wait()")
        b.kv(seed=5)
        a("conn = agent.connect_to('b').wait()")
        assert a("conn.transport") == "shm"
        assert a("agent.read('b', ('kv', 0, 0, 64), local_nic=conn.local_nic).wait()") == 0
        assert a("bytes(v_kv[:64])") == content(5)
