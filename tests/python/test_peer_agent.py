# SPDX-License-Identifier: BSD-3-Clause
"""PeerAgent: the methods, attributes and texts of the contract, two agents in one process."""

import asyncio
import re
import threading
import time

import pytest
from peers import PATIENCE, Daemon, ctrl, make_certificates, until  # noqa: F401
from conftest import run_python

import dlslime
from dlslime import PeerAgent, start_peer_agent
from dlslime.peer_agent import _agent
from dlslime.peer_agent._agent import NvlinkResourceKey, RdmaResourceKey, TcpResourceKey


class Side:
    """An agent with memory."""

    def __init__(self, url, alias, n=256, seed=0):
        self.agent = PeerAgent(url, alias)
        self.memory = dlslime.alloc(n)
        self.view = memoryview(self.memory)
        self.view[:] = bytes((seed + i) & 0xFF for i in range(n))

    def kv(self, name="kv"):
        return self.agent.register_memory_region(name, self.memory.addr, 0, len(self.view))


@pytest.fixture
def pair(ctrl):
    a, b = Side(ctrl.url, "a", seed=0), Side(ctrl.url, "b", seed=100)
    yield a, b
    a.agent.shutdown()
    b.agent.shutdown()


@pytest.fixture
def ab(pair):
    """Two agents with a region "kv" each, connected by a."""
    a, b = pair
    a.kv()
    b.kv()
    a.agent.connect_to("b").wait(PATIENCE)
    return a, b


# ---- being there


def test_the_url_is_taken_under_both_names_and_without_a_scheme(ctrl):
    bare = ctrl.url.removeprefix("http://")
    for make in (lambda: PeerAgent(ctrl.url), lambda: PeerAgent(ctrl_url=ctrl.url),
                 lambda: PeerAgent(nanoctrl_url=ctrl.url), lambda: PeerAgent(bare),
                 lambda: start_peer_agent(ctrl.url, None, None, None),
                 lambda: start_peer_agent(nanoctrl_url=bare)):
        with make() as agent:
            assert agent.ctrl_url == agent.nanoctrl_url == ctrl.url
            assert agent.alias == agent.list_agents()[0]
    with pytest.raises(TypeError, match="give one"):
        PeerAgent(ctrl.url, nanoctrl_url=ctrl.url)


def test_over_tls_the_daemon_is_trusted_and_a_certificate_shown(tmp_path):
    files = make_certificates(tmp_path)
    ca, cert, key = (str(files / name) for name in ("ca.pem", "client.pem", "client.key"))
    both = files / "both.pem"
    both.write_bytes((files / "client.pem").read_bytes() + (files / "client.key").read_bytes())
    server = ["--tls-cert", files / "server.pem", "--tls-key", files / "server.key", "--tls-client-ca", ca]
    with Daemon(args=server) as daemon:
        for shown in ((cert, key), str(both)):
            with PeerAgent(daemon.url, "a", ca=ca, cert=shown) as agent:
                assert agent.list_agents() == ["a"]
        with pytest.raises(dlslime.Error, match="wants a client certificate"):
            PeerAgent(daemon.url, ca=ca)
        with pytest.raises(dlslime.Error, match="not trusted here"):
            PeerAgent(daemon.url, cert=(cert, key))
        with pytest.raises(ValueError, match="nothing.pem"):
            PeerAgent(daemon.url, ca=ca, cert=str(tmp_path / "nothing.pem"))
        with pytest.raises(TypeError, match="cert is bytes"):
            PeerAgent(daemon.url, ca=ca, cert=b"x")


def test_a_default_url_is_the_environments_or_where_a_daemon_answers(ctrl, monkeypatch):
    monkeypatch.setenv("DLSLIME_CTRL", ctrl.url)
    with PeerAgent() as agent:
        assert agent.ctrl_url == ctrl.url
    monkeypatch.delenv("DLSLIME_CTRL")
    monkeypatch.setattr(_agent, "_DEFAULT_PORTS", (1, ctrl.port))
    with PeerAgent() as agent:
        assert agent.ctrl_url == ctrl.url
    monkeypatch.setattr(_agent, "_DEFAULT_PORTS", (1, 2))
    assert _agent._default_url() == "http://127.0.0.1:1"


def test_an_alias_in_use_is_a_conflict_at_once(pair, ctrl):
    with pytest.raises(RuntimeError, match="^PeerAgent 'a' registration conflict: .*'a'"):
        PeerAgent(ctrl.url, "a")
    pair[0].agent.shutdown()
    PeerAgent(ctrl.url, "a").shutdown()


def test_without_a_daemon_registration_is_tried_five_times(monkeypatch):
    pauses = []
    monkeypatch.setattr(_agent.time, "sleep", pauses.append)
    with pytest.raises(ConnectionError, match="127.0.0.1:1"):
        PeerAgent("http://127.0.0.1:1", "a")
    assert pauses == [1, 2, 4, 8]


@pytest.mark.parametrize("args, error", [
    ((7,), TypeError), (("",), ValueError), (("ftp://x",), ValueError), (("http://",), ValueError),
    ((None, 7), TypeError), ((None, "a" * 1000), ValueError), ((None, "a\nb"), ValueError),
    ((None, "a\0b"), ValueError), ((None, "\ud800"), ValueError), ((None, "a", 7), TypeError),
    ((None, "a", None, 7), TypeError), ((None, "a", None, "s\n"), ValueError),
])
def test_wrong_arguments_of_the_constructor_say_so(ctrl, args, error):
    with pytest.raises(error):
        PeerAgent(args[0] if args[0] is not None else ctrl.url, *args[1:])


def test_agents_without_a_name_get_one(ctrl):
    with PeerAgent(ctrl.url) as a, PeerAgent(ctrl.url) as b:
        assert a.alias != b.alias and a.list_agents() == sorted([a.alias, b.alias])


def test_scopes_do_not_see_each_other(ctrl):
    with PeerAgent(ctrl.url, "a", scope="s") as a, PeerAgent(ctrl.url, "a", scope="t") as b, \
            PeerAgent(ctrl.url, "c", scope="s") as c:
        assert a.list_agents() == ["a", "c"] and b.list_agents() == ["a"]
        assert a._redis_key_prefix == "s" and c._scope == "s"
        a.connect_to("c").wait(PATIENCE)
        with pytest.raises(TimeoutError):
            b.connect_to("c").wait(0.2)


def test_the_name_is_free_after_shutdown_which_may_be_called_again(ctrl):
    agent = PeerAgent(ctrl.url, "a")
    threads = [threading.Thread(target=agent.shutdown) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE)
    agent.shutdown()
    with pytest.raises(dlslime.Cancelled, match="shut down"):
        agent.list_agents()
    with PeerAgent(ctrl.url, "a") as again:
        assert again.list_agents() == ["a"]
    del agent


def test_a_forgotten_agent_takes_leave(ctrl, pair):
    PeerAgent(ctrl.url, "forgotten")
    assert until(lambda: "forgotten" not in pair[0].agent.list_agents())


def test_nothing_is_printed_to_stdout_and_exit_without_shutdown_is_clean(ctrl, pair):
    done = run_python("""
        import dlslime, sys
        a = dlslime.PeerAgent(sys.argv[1], "x")
        b = dlslime.PeerAgent(sys.argv[1], "y")
        conn = a.connect_to("y").wait()
        a.imm_recv("y")
    """, ctrl.url)
    assert done.stdout == "" and done.stderr.count("\n") <= 1   # the soft NIC's line
    assert pair[0].agent.list_agents() == ["a", "b"]


def test_a_forked_child_is_refused_and_leaves_the_parents_agent_alone(ctrl, pair):
    run_python("""
        import dlslime, os, sys
        a = dlslime.PeerAgent(sys.argv[1], "parent")
        pid = os.fork()
        if not pid:
            try:
                a.list_agents()
            except dlslime.ForkError:
                a.shutdown()
                with dlslime.PeerAgent(sys.argv[1], "child") as own:
                    assert own.list_agents() == ["a", "b", "child", "parent"]
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert a.list_agents() == ["a", "b", "parent"]
    """, ctrl.url)


def test_an_agent_works_where_there_is_no_nic_at_all(ctrl):
    run_python("""
        import dlslime, sys
        a = dlslime.PeerAgent(sys.argv[1], "x")
        b = dlslime.PeerAgent(sys.argv[1], "y")
        assert dlslime.available_nic() == [] == a.get_resource()["nics"]
        try:
            a.connect_to("y", transport="rdma")
            raise SystemExit("rdma without a NIC")
        except RuntimeError as e:
            assert str(e) == ("No usable RDMA resource found (device=None, ib_port=1, "
                              "link_type=None)"), e
        m = dlslime.alloc(64)
        for agent in (a, b):
            agent.register_memory_region("kv", m.addr, 0, 64)
        conn = a.connect_to("y").wait()
        assert a.read("y", ("kv", 0, 32, 32)).wait() == 0
        assert a.get_mr_info("y", "kv")["link_type"] == "TCP"
    """, ctrl.url, DLSLIME_SOFT_NIC="0")


def test_a_build_without_agents_says_what_is_missing():
    run_python("""
        import sys
        from dlslime import _core
        _core.has_agent = lambda: False
        import dlslime
        from dlslime import PeerAgent
        for make in (PeerAgent, dlslime.start_peer_agent):
            try:
                make("x")
                sys.exit("it was made")
            except ImportError as e:
                assert str(e).startswith("PeerAgent requires libdlslime-agent")
                assert "libevent-dev" in str(e) and "libjansson-dev" in str(e)
    """)


# ---- who is there


def test_a_resource_is_shaped_as_discover_topology(pair):
    a, b = pair
    topology = dlslime.discover_topology()
    mine = a.agent.get_resource()
    assert mine is a.agent.get_resource("a")
    theirs = a.agent.get_resource("b")
    for resource in (mine, theirs):
        assert topology.keys() <= resource.keys() and resource["schema_version"] == 1
        assert resource["nics"] == topology["nics"] and resource["memory_keys"] == []
    a.kv("one")
    b.kv("two")
    assert a.agent.get_resource()["memory_keys"] == ["one"]
    assert a.agent.get_resource("b")["memory_keys"] == a.agent.list_mem_keys("b") == ["two"]
    assert a.agent.list_mem_keys() == a.agent.list_mem_keys("a") == ["one"]
    assert a.agent.get_resource("nobody") is None and a.agent.list_mem_keys("nobody") == []


def test_an_agent_of_the_reference_is_listed_and_not_connected_to(ctrl, pair):
    pytest.importorskip("httpx", reason="the reference's registration needs httpx")
    from dlslime.ctrl import NanoCtrlClient

    with NanoCtrlClient(ctrl.url) as client:
        client.register_peer(alias="old", address="1.2.3.4:5", resource={"nics": []})
        client.register_peer(alias="older", address="1.2.3.4:5", device="mlx5_0", ib_port=1)
    agent = pair[0].agent
    assert agent.list_agents() == ["a", "b", "old", "older"]
    assert agent.get_resource("older")["nics"] == []
    for alias in ("old", "older"):
        with pytest.raises(RuntimeError, match=f"'{alias}' is an agent of another implementation"):
            agent.connect_to(alias)


# ---- connections


def test_a_connection_tells_what_it_is(pair):
    a, b = pair
    conn = a.agent.connect_to("b", qp_num=2)
    assert conn.conn_id == "a:slime0:port1->b:slime0:port1#qp2"
    assert conn.wait() is conn and conn.is_connected() and conn.state == "connected"
    assert (conn.peer_alias, conn.local_nic, conn.remote_nic) == ("b", "slime0", "slime0")
    assert conn.local_key == conn.peer_key == RdmaResourceKey("slime0", 1, "RoCE")
    assert conn.transport == conn.endpoint.info["transport"] == "loopback"
    assert conn.selection_reason.startswith("auto: loopback: ")
    assert isinstance(conn.endpoint, dlslime.RDMAEndpoint) and conn.endpoint.is_connected()
    assert a.agent.connect_to("b", qp_num=2) is conn
    assert a.agent.get_connections() == {"b": {conn.conn_id: conn}}
    assert a.agent.query_connection("b") is conn
    assert a.agent.query_connection("b", local_nic="slime0", remote_nic="slime0") is conn
    assert a.agent.query_connection("b", local_nic="slime1") is None
    assert a.agent.query_connection("c") is None
    assert a.agent._get_connection("b") is conn and a.agent._get_endpoint("b") is conn.endpoint
    assert a.agent._is_connection_connected(conn.conn_id)
    with pytest.raises(RuntimeError, match="exists with qp_num 2, not 1"):
        a.agent.connect_to("b")
    a.agent.shutdown()
    assert conn.state == "failed" and not conn.is_connected()
    with pytest.raises(RuntimeError, match=r"^Connection '.*' failed: "):
        conn.wait(1)


def test_explicit_transports_are_what_was_asked_for(pair):
    a, b = pair
    rdma = a.agent.connect_to("b", transport="RDMA").wait(PATIENCE)
    assert (rdma.transport, rdma.selection_reason) == ("rdma", "explicit_request")
    tcp = a.agent.connect_to("b", transport="tcp", local_host="127.0.0.1").wait(PATIENCE)
    assert (tcp.transport, tcp.selection_reason) == ("tcp", "explicit_request")
    assert tcp.conn_id == "a:tcp:127.0.0.1:0->b:tcp:0.0.0.0:0#qp1"
    assert (tcp.local_nic, tcp.remote_nic) == ("tcp:127.0.0.1:0", "tcp:0.0.0.0:0")
    assert tcp._link.info["transport"] == "tcp"
    assert isinstance(tcp.endpoint, dlslime.TcpEndpoint)
    with pytest.raises(RuntimeError, match="No MNNVL-ready CUDA accelerator found"):
        a.agent.connect_to("b", transport="nvlink")
    with pytest.raises(ValueError, match=r"^connect_to: unsupported transport 'carrier' \(expected "
                                         r"'auto', 'rdma', 'tcp', or 'nvlink'\)$"):
        a.agent.connect_to("b", transport="carrier")


def test_the_last_resort_of_auto_is_told_once(ctrl):
    done = run_python("""
        import dlslime, sys
        with dlslime.PeerAgent(sys.argv[1], "x") as a, dlslime.PeerAgent(sys.argv[1], "y"), \\
                dlslime.PeerAgent(sys.argv[1], "z"):
            conn = a.connect_to("y").wait()
            assert conn.transport == "tcp" and conn.selection_reason.startswith("auto: tcp: ")
            a.connect_to("z").wait()
    """, ctrl.url, DLSLIME_TRANSPORT="tcp")
    assert done.stderr.count("the last resort of transport='auto'") == 1
    assert "'y' is reached over TCP" in done.stderr


@pytest.mark.parametrize("peer", [None, 7, "", b"b"])
def test_a_peer_without_a_name_is_a_type_error(pair, peer):
    with pytest.raises(TypeError, match="requires a non-empty peer alias string"):
        pair[0].agent.connect_to(peer)


def test_an_agent_does_not_connect_to_itself(pair):
    with pytest.raises(ValueError, match="cannot target this agent's own alias"):
        pair[0].agent.connect_to("a")


@pytest.mark.parametrize("kwargs, error", [
    ({"local_device": 7}, TypeError), ({"local_device": "no such"}, RuntimeError),
    ({"peer_device": "no such"}, RuntimeError), ({"ib_port": 9}, RuntimeError),
    ({"ib_port": "1"}, TypeError), ({"ib_port": -1}, TypeError), ({"qp_num": 0}, ValueError),
    ({"qp_num": 1 << 70}, TypeError), ({"qp_num": 64}, ValueError), ({"transport": 7}, ValueError),
    ({"local_host": 7}, TypeError), ({"local_port": 65536}, ValueError),
    ({"local_port": "x"}, TypeError),
])
def test_wrong_arguments_of_connect_to_say_so(pair, kwargs, error):
    with pytest.raises(error):
        pair[0].agent.connect_to("b", **kwargs)
    assert pair[0].agent.get_connections() == {}


def test_waiting_has_an_end_and_says_for_what(pair):
    conn = pair[0].agent.connect_to("nobody")
    assert conn.state == "connecting" and not conn.is_connected()
    assert conn.transport == "auto" and conn.peer_endpoint_info is None
    with pytest.raises(TimeoutError, match="^Timeout waiting for connection .*nobody.*0.05 s: "):
        conn.wait(0.05)
    with pytest.raises(TimeoutError):
        conn.wait(timeout=0)
    with pytest.raises(ValueError, match=re.escape("device names belong in connect_to(), not wait()")):
        conn.wait("mlx5_0")
    for wrong, error in ((-1, ValueError), (float("nan"), ValueError), (True, TypeError),
                         ([], TypeError)):
        with pytest.raises(error):
            conn.wait(wrong)


def test_a_peer_that_comes_late_is_connected(ctrl, pair):
    conn = pair[0].agent.connect_to("late")
    early = pair[0].agent.send("late", (pair[0].memory.addr, 0, 8))
    late = Side(ctrl.url, "late")
    got = late.agent.connect_to("a").endpoint.recv((late.memory.addr, 0, 8))
    assert early.wait(PATIENCE) == got.wait(PATIENCE) == 0
    assert conn.is_connected()
    late.agent.shutdown()


def test_one_side_is_enough(ab):
    a, b = ab
    conns = b.agent.get_connections()
    (conn,) = conns["a"].values()
    assert conn.selection_reason == "peer_selected" and conn.wait(PATIENCE).is_connected()
    assert conn.conn_id == "b:slime0:port1->a:slime0:port1#qp1"
    assert b.agent.read("a", ("kv", 0, 8, 8)).wait() == 0
    assert bytes(b.view[:8]) == bytes(a.view[8:16])
    assert b.agent.connect_to("a") is conn


def test_both_sides_at_once_converge_on_one_link(pair):
    for turn in range(5):
        a, b = (Side(pair[0].agent.ctrl_url, f"{n}{turn}") for n in "xy")
        conns = []
        threads = [threading.Thread(target=lambda s=s, p=p: conns.append(s.agent.connect_to(p.agent.alias)))
                   for s, p in ((a, b), (b, a))]
        for t in threads:
            t.start()
        for t in threads:
            t.join(PATIENCE)
        for c in conns:
            c.wait(PATIENCE)
        got = b.agent.recv(a.agent.alias, (b.memory.addr, 0, 8))
        assert a.agent.send(b.agent.alias, (a.memory.addr, 0, 8)).wait(PATIENCE) == 0
        assert got.wait(PATIENCE) == 0
        a.agent.shutdown()
        b.agent.shutdown()


def test_a_connection_can_be_awaited(pair):
    a, b = pair
    b.kv()
    a.kv()

    async def main():
        conn = await a.agent.connect_to("b")
        assert conn.is_connected()
        await asyncio.gather(*(a.agent.read("b", ("kv", 0, 0, 8)) for _ in range(50)))
        with pytest.raises(TimeoutError, match="Timeout waiting for connection"):
            await a.agent.connect_to("nobody").wait_async(0.05)
        async with PeerAgent(a.agent.ctrl_url, "c") as c:
            await c.connect_to("b")

    asyncio.run(main())


def test_waiting_threads_are_woken_by_shutdown(pair):
    conn = pair[0].agent.connect_to("nobody")
    pending = pair[0].agent.imm_recv("nobody")
    said = []

    def wait():
        try:
            conn.wait(60)
        except RuntimeError as e:
            said.append(str(e))

    threads = [threading.Thread(target=wait), threading.Thread(target=lambda: said.append(pending.wait()))]
    for t in threads:
        t.start()
    began = time.monotonic()
    pair[0].agent.shutdown()
    for t in threads:
        t.join(PATIENCE)
    assert time.monotonic() - began < 5
    assert 403 in said and any("failed" in str(s) for s in said)


# ---- memory


def test_handles_are_dense_and_the_same_on_every_connection(pair):
    a, b = pair
    first = a.agent.register_memory_region("one", a.memory.addr, 0, 64)
    second = a.agent.register_memory_region("two", a.memory.addr + 64, 0, 64)
    assert (first, second) == (0, 1)
    assert a.agent.get_handle("one") == a.agent.get_handle("one", "a") == 0
    assert a.agent.register_memory_region("one", a.memory.addr, 0, 64) == 0
    for transport in ("auto", "tcp"):
        endpoint = a.agent.connect_to("b", transport=transport).wait(PATIENCE).endpoint
        assert endpoint.mr_info()["two"]["addr"] == a.memory.addr + 64
        assert endpoint.register_memory_region("two", a.memory.addr, 64, 64) == 1
    with pytest.raises(RuntimeError, match="Local memory region 'none' is not registered"):
        a.agent.get_handle("none")
    assert [k.redis_suffix() for k in (RdmaResourceKey("d", 1, "IB"), TcpResourceKey("h", 5),
                                       NvlinkResourceKey("u", 0, "c", 1))] == ["d:1:IB", "tcp:h:5",
                                                                               "nvlink:u"]


def test_a_region_covers_its_offset(pair):
    a, b = pair
    b.agent.register_memory_region("kv", b.memory.addr, 64, 64)
    info = a.agent.get_mr_info("b", "kv")
    assert (info["addr"], info["length"], info["lkey"]) == (b.memory.addr, 128, 0)
    assert {"agent_name", "mr_name", "device", "ib_port", "link_type", "rkey"} <= info.keys()
    assert (info["agent_name"], info["mr_name"], info["device"]) == ("b", "kv", "slime0")
    assert a.agent.get_mr_info("b", "kv", validate_cache=True) == info
    assert a.agent.get_mr_info("b", "none") is None is a.agent.get_mr_info("nobody", "kv")


def test_a_name_said_again_means_the_new_memory(ab):
    a, b = ab
    other = dlslime.alloc(256)
    memoryview(other)[:] = b"\xEE" * 256
    assert a.agent.read("b", ("kv", 0, 0, 8)).wait() == 0
    assert b.agent.register_memory_region("kv", other.addr, 0, 256) == 1
    assert until(lambda: _reads(a, b"\xEE" * 8))
    assert b.agent.list_mem_keys() == ["kv"] and b.agent.get_handle("kv") == 1


def _reads(a, expected):
    try:
        a.agent.read("b", ("kv", 0, 0, 8)).wait(PATIENCE)
    except RuntimeError:
        return False   # of the old meaning, which is gone: never other bytes
    return bytes(a.view[:8]) == expected


def test_two_names_for_one_memory_go_one_by_one(ab):
    a, b = ab
    assert b.agent.register_memory_region("alias", b.memory.addr, 0, 256) == 0
    assert b.agent.unregister_memory_region("alias") is True
    assert a.agent.read("b", ("kv", 0, 0, 8)).wait() == 0
    assert b.agent.unregister_memory_region("alias") is False


def test_what_was_unregistered_is_not_found_any_more(ab):
    a, b = ab
    assert a.agent.read("b", ("kv", 0, 0, 8)).wait() == 0
    assert b.agent.unregister_memory_region("kv") is True
    assert b.agent.unregister_memory_region("kv") is False
    assert a.agent.list_mem_keys("b") == [] and a.agent.get_mr_info("b", "kv") is None
    with pytest.raises(RuntimeError):
        a.agent.read("b", ("kv", 0, 0, 8)).wait()
    assert until(lambda: "not published yet" in _sentence(lambda: a.agent.read("b", ("kv", 0, 0, 8))))
    with pytest.raises(RuntimeError, match="is not published yet"):
        a.agent.get_handle("kv", "b")
    # through the endpoint it is withdrawn as well
    b.kv("again")
    assert b.agent._get_endpoint("a").unregister_memory_region("again") == 0
    assert b.agent.list_mem_keys() == a.agent.list_mem_keys("b") == []


def _sentence(call):
    try:
        call().wait(PATIENCE)
    except RuntimeError as e:
        return str(e)
    return ""


@pytest.mark.parametrize("args, error", [
    ((7, 0, 0, 8), TypeError), (("", 4096, 0, 8), ValueError), (("x", -1, 0, 8), TypeError),
    (("x", 1 << 64, 0, 8), TypeError), (("x", "p", 0, 8), TypeError), (("x", 4096, None, 8), TypeError),
    (("x", 4096, 0, 0), RuntimeError), (("x", 0, 0, 8), RuntimeError),
    (("x", (1 << 64) - 8, 0, 64), RuntimeError), (("x" * 100000, None, 0, 8), ValueError),
    (("a\nb", None, 0, 8), ValueError), (("a\0b", None, 0, 8), ValueError), (("x", 4096), TypeError),
])
def test_wrong_regions_say_so_and_leave_nothing(pair, args, error):
    a, _ = pair
    args = tuple(a.memory.addr if v is None and i == 1 else v for i, v in enumerate(args))
    with pytest.raises(error):
        try:
            a.agent.register_memory_region(*args)
        except dlslime.Error as e:
            raise ValueError(str(e)) from e
    assert a.agent.list_mem_keys() == [] and a.kv() >= 0


def test_memory_of_other_kinds_says_what_is_missing(pair):
    agent = pair[0].agent
    pair[0].kv()
    for args, text in ((("", 3, 0, 1, 0), "mr_name must not be empty"),
                       (("x", -1, 0, 1, 0), "dma-buf fd must be non-negative"),
                       (("x", 3, -1, 1, 0), "offset/iova must be non-negative and length positive"),
                       (("x", 3, 0, 0, 0), "offset/iova must be non-negative and length positive"),
                       (("kv", 3, 0, 1, 0), "Memory region 'kv' is already registered")):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            agent.register_dmabuf_memory_region(*args)
    with pytest.raises(RuntimeError, match="^DMA-BUF memory regions require an RDMA resource; "):
        agent.register_dmabuf_memory_region("x", 3, 0, 4096, 0)
    for args, kwargs, text in ((("x", 1), {"memory_kind": "host"}, "memory_kind must be cuda_fabric"),
                               (("", 1), {}, "name must be non-empty and length must be positive"),
                               (("x", 0), {}, "name must be non-empty and length must be positive"),
                               (("kv", 1), {}, "Memory region 'kv' is already registered")):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            agent.allocate_memory_region(*args, **kwargs)
    with pytest.raises(RuntimeError, match="^CUDA Fabric allocation requires BUILD_NVLINK$"):
        agent.allocate_memory_region("x", 1)


# ---- transfers


def test_named_tuples_put_the_local_offset_first(ab):
    a, b = ab
    b.agent.register_memory_region("far", b.memory.addr, 0, 256)
    assert a.agent.read("b", ("kv", 8, 0, 4)).wait() == 0
    assert bytes(a.view[8:12]) == bytes(b.view[:4])
    assert a.agent.read("b", [("kv", "far", 16, 4, 4), ["kv", "far", 20, 8, 4]]).wait() == 0
    assert bytes(a.view[16:24]) == bytes(b.view[4:12])
    assert a.agent.write("b", [("kv", 8, 100, 4)]).wait() == 0
    assert bytes(b.view[100:104]) == bytes(a.view[8:12])
    got = b.agent.imm_recv("a")
    assert a.agent.write_with_imm("b", [("kv", 16, 104, 4)], imm_data=-3).wait() == 0
    assert got.wait(PATIENCE) == 0 and got.imm_data() == -3
    assert bytes(b.view[104:108]) == bytes(a.view[16:20])
    assert a.agent.read("b", [("kv", i % 256, i % 256, 1) for i in range(20000)]).wait(PATIENCE) == 0
    assert bytes(a.view) == bytes(b.view)


def test_numeric_tuples_pass_through(ab):
    a, b = ab
    conn = a.agent.query_connection("b")
    mine = a.agent.get_handle("kv", resource_key=conn.local_key)
    theirs = a.agent.get_handle("kv", "b", resource_key=conn.peer_key, endpoint=conn.endpoint)
    assert (mine, theirs) == (0, 0) and a.agent.get_handle("kv", "b") == 0
    assert a.agent.read("b", [(mine, theirs, 0, 32, 8)]).wait() == 0
    assert bytes(a.view[32:40]) == bytes(b.view[:8])
    assert a.agent.read("b", []).wait() == 0
    other = conn.endpoint.register_remote_memory_region("own name", a.agent.get_mr_info("b", "kv"))
    assert other == 1
    assert a.agent.write("b", [(mine, other, 64, 32, 8)]).wait() == 0
    assert bytes(b.view[64:72]) == bytes(a.view[32:40])
    foreign = conn.endpoint.register_remote_memory_region("raw", b.agent._get_endpoint(
        "a").mr_info()["kv"])
    assert a.agent.read("b", [(mine, foreign, 0, 0, 8)]).wait() == 0
    strange = conn.endpoint.register_remote_memory_region("s", {"addr": 1, "length": 2, "rkey": 3})
    with pytest.raises(ValueError, match="cannot be reached"):
        a.agent.read("b", [(mine, strange, 0, 0, 1)])


@pytest.mark.parametrize("assign", [
    ("kv",), ("kv", 0, 0), ("kv", 0, 0, 8, 9, 10), [("kv", 0, 0, 8), ("kv", 0, 0)],
    [("kv", 0, 0, 8), (0, 0, 0, 0, 8)], ("kv", "kv", 0, 8), ("kv", 0, "x", 8), ("kv", -1, 0, 8),
    ("kv", 0, 0, 1 << 64), ("kv", 0, 0, None), [("kv", 0, 0, 8), None], None, 7, "kv", [7], [None],
    [()], {"kv": 1}, ("kv", 7, 0, 0, 8),
])
def test_wrong_assignments_are_type_errors(ab, assign):
    for op in (ab[0].agent.read, ab[0].agent.write, ab[0].agent.write_with_imm):
        with pytest.raises(TypeError):
            op("b", assign)


@pytest.mark.parametrize("wrong", [[()], [("kv",)], [("kv", "kv", 0)], [(0, 0, 0, 0, 8)], [None], None,
                                   [("kv", 1, 0, 0, 8)], [["kv", "kv", 0, 0, 8]]])
@pytest.mark.parametrize("transport", ["auto", "tcp"])
def test_an_endpoint_takes_names_only_as_the_agent_gives_them(ab, transport, wrong):
    endpoint = ab[0].agent.connect_to("b", transport=transport).wait(PATIENCE).endpoint
    with pytest.raises(TypeError):
        endpoint.named("read", wrong)


def test_a_named_tuple_of_a_wrong_length_says_what_is_right(ab):
    with pytest.raises(TypeError, match="^named RDMA assign must be "):
        ab[0].agent.read("b", ("kv", 0, 8))


def test_offsets_outside_a_region_move_nothing(ab):
    a, _ = ab
    before = bytes(a.view)
    for item in (("kv", 250, 0, 8), ("kv", 0, 250, 8), ("kv", 0, (1 << 64) - 4, 8)):
        with pytest.raises(RuntimeError):
            a.agent.read("b", item).wait(PATIENCE)
    assert bytes(a.view) == before


def test_names_that_are_not_there_say_whose_they_are(ab):
    with pytest.raises(RuntimeError, match="Local memory region 'none' is not registered"):
        ab[0].agent.read("b", ("none", "kv", 0, 0, 8))
    with pytest.raises(RuntimeError, match="'none' is not published yet"):
        ab[0].agent.read("b", ("kv", "none", 0, 0, 8))


def test_without_a_connection_every_transfer_says_so(pair):
    agent = pair[0].agent
    for call in (lambda: agent.read("b", ("kv", 0, 0, 1)), lambda: agent.write("b", []),
                 lambda: agent.write_with_imm("b", []), lambda: agent.send("b", (0, 0, 0)),
                 lambda: agent.recv("b", (0, 0, 0)), lambda: agent.imm_recv("b"),
                 lambda: agent._get_endpoint("b"), lambda: agent.read("b", [], local_nic="x")):
        with pytest.raises(RuntimeError, match=re.escape(
                "Connection for b not found. Call connect_to(peer, ...) first.")):
            call()


def test_messages_and_immediates_of_an_agent(ab):
    a, b = ab
    got = b.agent.recv("a", (b.memory.addr, 128, 64))
    assert a.agent.send("b", (a.memory.addr, 64, 64)).wait(PATIENCE) == 0 == got.wait(PATIENCE)
    assert bytes(b.view[128:192]) == bytes(a.view[64:128])
    waiting = [b.agent.imm_recv("a") for _ in range(3000)]
    for i in range(3000):
        a.agent.write_with_imm("b", ("kv", 0, 0, 1), i)
    assert [f.wait(PATIENCE) or f.imm_data() for f in waiting] == list(range(3000))
    for wrong in (1 << 31, None, "x", True):
        with pytest.raises(TypeError):
            a.agent.write_with_imm("b", ("kv", 0, 0, 1), wrong)
    for chunk in (None, (1, 2), (0, 0, "x"), (-1, 0, 8)):
        with pytest.raises(TypeError):
            a.agent.send("b", chunk)
    with pytest.raises(TypeError):
        a.agent.read("b", ("kv", 0, 0, 1), stream=7)


def test_a_tcp_connection_has_the_tcp_endpoints_ways(pair):
    a, b = pair
    a.kv()
    b.kv()
    conn = a.agent.connect_to("b", transport="tcp").wait(PATIENCE).sync_memory_regions()
    endpoint = conn.endpoint
    assert endpoint.is_connected() and endpoint.endpoint_info()["mr_info"].keys() == {"kv"}
    mine = endpoint.register_memory_region("kv", a.memory.addr, 0, 256)
    theirs = endpoint.register_remote_memory_region("kv:b", conn.peer_endpoint_info["mr_info"]["kv"])
    assert endpoint.read([(mine, theirs, 0, 8, 8)]).wait() == 0
    assert bytes(a.view[8:16]) == bytes(b.view[:8])
    assert a.agent.write("b", ("kv", 8, 64, 8)).wait() == 0 and bytes(b.view[64:72]) == bytes(b.view[:8])
    (back,) = b.agent.get_connections()["a"].values()
    got = back.endpoint.recv((b.memory.addr, 0, 8))
    assert endpoint.send((a.memory.addr, 0, 8)).wait() == 0 and got.wait(PATIENCE) == 0
    with pytest.raises(NotImplementedError):
        a.agent.write_with_imm("b", ("kv", 0, 0, 1))
    with pytest.raises(NotImplementedError):
        endpoint.imm_recv()
    with pytest.raises(RuntimeError, match="by its agent"):
        endpoint.connect({})
    # what is registered after the handshake reaches the peer too, and what goes is gone
    b.kv("later")
    assert "later" in conn.peer_endpoint_info["mr_info"]
    b.agent.unregister_memory_region("kv")
    b.agent.unregister_memory_region("later")
    assert _fails(lambda: endpoint.read([(mine, theirs, 0, 8, 8)]).wait())
    endpoint.shutdown()
    assert not conn.is_connected() and conn.state == "failed"
    with pytest.raises(ValueError, match="timeout must be positive"):
        conn.sync_memory_regions(0)


def _fails(call):
    try:
        return call() != 0
    except RuntimeError:
        return True


def test_the_flight_recorder_tells_of_every_link(ab):
    text = ab[0].agent.flight_recorder()
    assert text.startswith("agent 'a'") and "link to 'b' is up" in text


@pytest.mark.parametrize("name", ["list_mem_keys", "get_resource", "query_connection"])
def test_peers_that_are_no_text_are_type_errors(pair, name):
    for wrong in (7, b"b", ["b"]):
        with pytest.raises(TypeError):
            getattr(pair[0].agent, name)(wrong)
    with pytest.raises(TypeError):
        pair[0].agent.get_mr_info(None, "kv")
    with pytest.raises(TypeError):
        pair[0].agent.get_mr_info("b", 7)
    with pytest.raises(TypeError):
        pair[0].agent.get_handle(7)
    with pytest.raises(TypeError):
        pair[0].agent.unregister_memory_region(0)


class FakeRedis:
    """Keeps what a reporter writes."""

    def __init__(self):
        self.kept, self.ttl = {}, {}

    def pipeline(self, transaction):
        return self

    def set(self, key, value):
        self.kept[key] = value

    def pexpire(self, key, ms):
        self.ttl[key] = ms

    def execute(self):
        pass


def test_a_reporter_writes_snapshots_to_a_redis_client(ab, monkeypatch):
    import json

    from dlslime.peer_agent._accounting import ObsReporter

    monkeypatch.setenv("DLSLIME_OBS_TIME_STEP_MS", "10")
    agent = ab[0].agent
    idle = ObsReporter(agent)
    idle.start()
    assert idle._thread is None
    agent._redis_client = redis = FakeRedis()
    reporter = ObsReporter(agent)
    reporter.start()
    assert until(lambda: "obs:peer:a" in redis.kept)
    snapshot = json.loads(redis.kept["obs:peer:a"])
    assert snapshot["schema_version"] == 1 and snapshot["peer_id"] == "a"
    assert snapshot["connections"] == [{
        "conn_id": "a:slime0:port1->b:slime0:port1#qp1", "peer": "b", "local_nic": "slime0",
        "remote_nic": "slime0", "state": "connected", "connected": True}]
    assert redis.ttl["obs:peer:a"] == 180000
    reporter.stop()
    assert json.loads(redis.kept["obs:peer:a"])["status"] == "stopped"
    assert redis.ttl["obs:peer:a"] == 10000


def test_a_connection_that_was_shut_down_can_be_made_again(ab):
    a, b = ab
    old = a.agent.query_connection("b")
    old.endpoint.shutdown()
    assert old.state == "failed"
    assert old.endpoint.imm_recv().wait() == 403
    new = a.agent.connect_to("b").wait(PATIENCE)
    assert new is not old and a.agent.get_connections()["b"] == {new.conn_id: new}
    assert a.agent.read("b", ("kv", 0, 0, 8)).wait() == 0
    assert bytes(a.view[:8]) == bytes(b.view[:8])


def test_soft_nics_are_ends_of_connections_of_their_own(ctrl):
    run_python("""
        import dlslime, sys
        with dlslime.PeerAgent(sys.argv[1], "x", device="slime1") as a, \\
                dlslime.PeerAgent(sys.argv[1], "y") as b:
            one = a.connect_to("y").wait()
            two = a.connect_to("y", local_device="slime0", peer_device="slime1").wait()
            assert one.conn_id == "x:slime1:port1->y:slime0:port1#qp1", one
            assert two.conn_id == "x:slime0:port1->y:slime1:port1#qp1", two
            assert one is a.query_connection("y", local_nic="slime1")
            assert two is a.query_connection("y", remote_nic="slime1")
            m = dlslime.alloc(64)
            a.register_memory_region("kv", m.addr, 0, 64)
            b.register_memory_region("kv", m.addr, 0, 64)
            for nic in ("slime0", "slime1"):
                assert a.read("y", ("kv", 0, 32, 32), local_nic=nic).wait() == 0
    """, ctrl.url, DLSLIME_SOFT_NIC="2")
