# SPDX-License-Identifier: BSD-3-Clause
"""python/nanoctrl against a daemon, and against none."""

import logging
import os
import sys
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# The package may not be installed; what is shall be found first.
sys.path.append(os.environ.get("DLSLIME_SOURCE", str(HERE.parent.parent)) + "/python")
sys.path.append(str(HERE.parent / "integration"))

httpx = pytest.importorskip("httpx", reason="the client needs httpx (pip install httpx)")
if "DLSLIME_BIN" not in os.environ:
    pytest.skip("DLSLIME_BIN does not say where nanoctrl is", allow_module_level=True)

from nanoctrl import NanoCtrlClient  # noqa: E402
from nanoctrl_daemon import Daemon  # noqa: E402

PATIENCE = 10
NOBODY = "127.0.0.1:1"
TOKEN = "0123456789abcdef"


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path) as d:
        yield d


@pytest.fixture
def client(daemon):
    with NanoCtrlClient(f"{daemon.host}:{daemon.port}", scope="s") as c:
        yield c


def test_an_entity_is_registered_found_and_taken_back(client):
    client.check_connection()
    assert client.heartbeat() == "error"
    assert client.unregister() is False
    assert client.register("e", "k", endpoint={"host": "h"}, metadata={"m": 1})
    assert client.registered and client.heartbeat() == "ok"
    info = client.get_entity_info("e")
    assert (info["kind"], info["endpoint"], info["metadata"]) == ("k", {"host": "h"}, {"m": 1})
    assert client.list_entities() == client.list_entities(entity_type=None, kind="k") == [info]
    assert client.list_entities(kind="other") == client.list_entities(entity_type="other") == []
    assert client.unregister() and not client.registered
    assert client.heartbeat() == "not_found"
    assert client.get_entity_info("e") is None


def test_scopes_do_not_see_each_other(daemon, client):
    client.register("e", "k")
    with NanoCtrlClient(daemon.url) as unscoped:
        assert unscoped.get_entity_info("e") is None
        assert unscoped.list_entities(entity_type=None) == []


def test_peers_are_registered_once(client):
    assert client.register_peer(alias="a/b", address="1.2.3.4:5", resource={"r": 1}) == {
        "status": "ok", "name": "a/b", "redis_address": "", "resource": {"r": 1},
    }
    with pytest.raises(httpx.HTTPStatusError) as error:
        client.register_peer(alias="a/b", address="1.2.3.4:5")
    assert error.value.response.status_code == 409
    assert client.register_peer(alias=None, address="x")["name"] == "agent-1"
    assert client.heartbeat_peer("a/b")["status"] == "ok"
    assert client.heartbeat_peer("nobody")["status"] == "not_found"
    topology = client.set_desired_topology("a/b", target_peers=["c"], min_bw="1G", symmetric=True)
    assert topology == {"status": "ok"}
    assert [peer["name"] for peer in client.query_peers()] == ["a/b", "agent-1"]
    assert client.cleanup_peer("a/b")["status"] == "ok"
    assert [peer["name"] for peer in client.query_peers()] == ["agent-1"]


def test_without_redis_there_is_no_url(client):
    assert client.get_redis_url() is None


def test_what_cannot_be_reached_is_an_answer_for_services_and_an_error_for_peers(caplog):
    with NanoCtrlClient(NOBODY) as client:
        with pytest.raises(RuntimeError, match="Cannot reach NanoCtrl at http://127.0.0.1:1: "):
            client.check_connection()
        with caplog.at_level(logging.ERROR, "nanoctrl"):
            assert client.register("e", "k") is False and client.registered is False
        assert "Failed to register entity service:e" in caplog.text
        assert client.heartbeat() == "error"
        assert client.unregister() is False
        assert client.get_entity_info("e") is None
        assert client.list_entities() == []
        assert client.get_redis_url() is None
        with pytest.raises(httpx.ConnectError):
            client.query_peers()


def test_what_is_no_json_is_an_answer_too(client):
    assert client.register("e", object()) is False
    assert client.register("", "k") is False


def test_the_thread_beats_and_calls_when_the_entity_is_forgotten(client):
    lost = threading.Event()
    client.register("e", "k")
    client.start_heartbeat(interval=0.01, on_not_found=lost.set)
    assert "nanoctrl-hb" in [thread.name for thread in threading.enumerate()]
    client.start_heartbeat(interval=0.01)  # one is enough
    assert [thread.name for thread in threading.enumerate()].count("nanoctrl-hb") == 1
    client.unregister()
    assert lost.wait(PATIENCE)
    client.stop_heartbeat()
    assert "nanoctrl-hb" not in [thread.name for thread in threading.enumerate()]


def test_a_callback_that_fails_or_stops_does_not_stop_the_others(client):
    calls, enough = [], threading.Event()

    def lost():
        calls.append(1)
        if len(calls) == 2:
            client.stop_heartbeat()  # from its own thread
            enough.set()
        raise ValueError("a callback's own fault")

    client.register("e", "k")
    client.unregister()
    client.start_heartbeat(interval=0.01, on_not_found=lost)
    assert enough.wait(PATIENCE)
    assert len(calls) == 2


def test_stop_unregisters(daemon):
    client = NanoCtrlClient(daemon.url)
    client.register("e", "k")
    client.start_heartbeat()
    client.stop()
    assert not client.registered and client.get_entity_info("e") is None
    client.stop()
    client.close()


def test_connections_are_kept_and_not_shared_with_a_child(client):
    first = client._client()
    assert client._client() is first
    client.register("e", "k")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if client.heartbeat() == "ok" and client._client() is not first else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert client.heartbeat() == "ok" and client._client() is first


def test_a_token_is_sent(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text('{"tokens":[{"name":"t","token":"%s","rights":["register"]}]}' % TOKEN)
    tokens.chmod(0o600)
    with Daemon(tmp_path, "--token-file", tokens) as daemon:
        with NanoCtrlClient(daemon.url) as stranger, NanoCtrlClient(daemon.url, token=TOKEN) as known:
            assert stranger.register("e", "k") is False
            assert known.register("e", "k") is True
            stranger.check_connection()
