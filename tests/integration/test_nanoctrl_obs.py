# SPDX-License-Identifier: BSD-3-Clause
"""nanoctrl obs and top: what agents report of themselves, from Redis as those of the reference write it, and from a daemon."""

import contextlib
import json
import os
import socket
import subprocess
import time

import pytest

from nanoctrl_daemon import BIN, DEADLINE_S, Daemon, Redis

KIB = 1024


def snapshot(peer, age_ms=0, **more):
    """Schema 1, as the contract has it."""
    return {
        "schema_version": 1,
        "session_id": f"{peer}:7:1",
        "peer_id": peer,
        "host": "node-1",
        "pid": 7,
        "reported_at_ms": int(time.time() * 1000) - age_ms,
        "summary": {
            "assign_total": 10,
            "batch_total": 4,
            "completed_bytes_total": 1536 * KIB,
            "pending_ops": 2,
            "error_total": 1,
        },
        "nics": [{"nic": "mlx5_0", "assign_total": 5, "post_bytes_total": 2048, "cq_errors_total": 3, "ewma_bandwidth_bps": 2.5e6}],
        "ewma_bandwidth_bps": 1.25e9,
        "connections": [
            {"conn_id": "c1", "peer": "b", "local_nic": "mlx5_0", "remote_nic": "mlx5_1", "state": "connected", "connected": True}
        ],
        **more,
    }


class ReportedTo(Redis):
    def report(self, *snapshots, scope=""):
        for each in snapshots:
            self.set(f"{scope}{':' if scope else ''}obs:peer:{each['peer_id']}", json.dumps(each))


@pytest.fixture
def redis():
    with ReportedTo() as server:
        yield server


def nanoctrl(*args, status=0):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NANOCTRL_", "DLSLIME_CTRL_"))}
    done = subprocess.run([BIN / "nanoctrl", *args], env=clean, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stderr


def cells(table, row):
    """The words between the bars of the line of a table that has ROW in it."""
    line = next(line for line in table.splitlines() if row in line)
    return [cell.strip() for cell in line.replace("┆", "│").strip("│").split("│")]


def test_obs_adds_up_what_agents_of_the_reference_wrote(redis):
    redis.report(
        snapshot("a"),
        snapshot("b", age_ms=60_000),
        snapshot("c", age_ms=60_000, status="stopped", ewma_bandwidth_bps=0.0),
        snapshot("d", status="starting", ewma_bandwidth_bps=0.0),
    )
    text = nanoctrl("obs", "status", "--redis-url", redis.url)
    assert text.splitlines() == [
        f"Redis: {redis.url}  Scope: (none)",
        "Peers: 2 alive, 1 stale, 1 stopped",
        "Total: assign=40 batch=16 bytes=6.0MB pending=8 errors=4",
        "Estimated BW: 1.2Gbps (EWMA)",
    ]
    status = nanoctrl("obs", "status", "--redis-url", redis.url, "--json")
    assert list(json.loads(status)) == sorted(json.loads(status))
    assert json.loads(status) == {
        "alive": 2,
        "assign_total": 40,
        "completed_bytes_total": 6144 * KIB,
        "error_total": 4,
        "ewma_bandwidth_bps": 1.25e9,
        "pending_ops": 8,
        "stale": 1,
        "stopped": 1,
    }
    assert "2 alive, 0 stale" not in text
    assert "3 alive, 0 stale, 1 stopped" in nanoctrl("obs", "status", "--redis-url", redis.url, "--stale-ms", "3600000")


def test_obs_shows_peers_nics_and_links_as_tables_and_as_json(redis):
    both = [snapshot("b"), snapshot("a", age_ms=5_000)]
    redis.report(*both)
    where = ["--redis-url", redis.url]
    peers = nanoctrl("obs", "peers", *where)
    heads = "PEER HOST PID AGE STATE ASSIGN BATCH BW BYTES PENDING ERRORS".split()
    assert cells(peers, "PEER") == heads
    row = dict(zip(heads, cells(peers, "│ a ")))
    assert row.pop("AGE").startswith(("5", "6"))
    assert list(row.values()) == ["a", "node-1", "7", "alive", "10", "4", "1.2Gbps", "1.5MB", "2", "1"]
    assert peers.index("│ a ") < peers.index("│ b ")
    assert json.loads(nanoctrl("obs", "peers", *where, "--json")) == both[::-1]

    nics = nanoctrl("obs", "nics", *where)
    assert cells(nics, "PEER") == "PEER NIC AGE ASSIGN BATCH BW BYTES PENDING ERRORS POST_BYTES POST_FAIL CQ_ERR".split()
    row = cells(nics, "│ b ")
    assert row[:2] + row[3:] == ["b", "mlx5_0", "5", "0", "2.5Mbps", "0B", "0", "0", "2.0KB", "0", "3"]
    nic = json.loads(nanoctrl("obs", "nics", *where, "--json"))[0]
    assert nic["peer_id"] == "a" and nic["nic"] == "mlx5_0" and nic["age_ms"] >= 5_000

    links = nanoctrl("obs", "links", *where)
    assert cells(links, "SRC_PEER") == "SRC_PEER SRC_NIC DST_PEER DST_NIC STATE BW BYTES PENDING ERRORS".split()
    assert cells(links, "│ a ") == ["a", "mlx5_0", "b", "mlx5_1", "connected", "-", "-", "-", "-"]
    link = json.loads(nanoctrl("obs", "links", *where, "--json"))[1]
    assert link["src_peer"] == "b" and link["conn_id"] == "c1" and "age_ms" in link


def test_obs_keeps_to_its_scope_and_says_when_there_is_nothing(redis):
    where = ["--redis-url", redis.url]
    redis.report(snapshot("a", connections=[]), scope="s")
    redis.report(snapshot("x"), scope="s2")
    assert [p["peer_id"] for p in json.loads(nanoctrl("obs", "peers", *where, "--scope", "s", "--json"))] == ["a"]
    assert "(no connections reported)" in nanoctrl("obs", "links", *where, "--scope", "s")
    assert "(no obs snapshots found)" in nanoctrl("obs", "peers", *where)
    assert json.loads(nanoctrl("obs", "peers", *where, "--json")) == []
    assert "Peers: 0 alive, 0 stale, 0 stopped" in nanoctrl("obs", "status", *where)


def test_obs_survives_snapshots_that_are_none(redis):
    for name, value in {"n": "null", "t": "not JSON", "l": "[1]", "e": "{}", "deep": "[" * 100_000}.items():
        redis.set(f"obs:peer:{name}", value)
    redis.set("obs:peer:w", json.dumps({"peer_id": 3, "summary": [], "nics": {"a": 1}, "connections": [7], "pid": "x"}))
    redis.report(snapshot("evil\x1b[2J"), snapshot("good"))
    where = ["--redis-url", redis.url]
    for verb in "status", "peers", "nics", "links":
        assert "\x1b" not in nanoctrl("obs", verb, *where)
        json.loads(nanoctrl("obs", verb, *where, "--json"))
    assert "│ good " in nanoctrl("obs", "peers", *where)


def test_obs_adds_up_numbers_of_any_size_and_takes_no_name_for_another(redis):
    large = {"assign_total": 10**30, "batch_total": -(10**30), "completed_bytes_total": 2**63 - 1, "error_total": -(2**63)}
    for i in range(5):
        redis.report(snapshot(f"p{i}", summary=large, pid=1e300, reported_at_ms=-(2**63)))
    redis.report(snapshot("a\0b", status="stopped\0"))
    where = ["--redis-url", redis.url]
    total = json.loads(nanoctrl("obs", "status", *where, "--json"))
    assert total["assign_total"] > 10**18 and total["error_total"] < -(10**18) and total["stopped"] == 0
    for verb in "status", "peers", "nics", "links":
        nanoctrl("obs", verb, *where)
    assert "│ a " not in nanoctrl("obs", "peers", *where)
    peers = json.loads(nanoctrl("obs", "peers", *where, "--json"))
    assert {p["peer_id"] for p in peers} == {"a\0b", *(f"p{i}" for i in range(5))}


def test_obs_and_top_ask_a_daemon(tmp_path):
    with Daemon(tmp_path) as daemon:
        incarnation = daemon.post("/v1/agents", {"alias": "a"}).json["incarnation"]
        body = {"incarnation": incarnation, "snapshot": snapshot("a"), "ttl_ms": 60_000}
        assert daemon.request("PUT", "/v1/agents/a/obs", body).status == 200
        where = ["--address", daemon.url]
        assert "Peers: 1 alive, 0 stale, 0 stopped" in nanoctrl("obs", "status", *where)
        assert [p["peer_id"] for p in json.loads(nanoctrl("obs", "peers", *where, "--json"))] == ["a"]
        top = nanoctrl("top", "--once", *where)
        assert "1 agents, 1.2Gbps" in top
        assert cells(top, "AGENT") == "AGENT HOST AGE STATE LINKS BW OPS/S BYTES PENDING ERRORS".split()
        row = cells(top, "│ a ")
        assert row[:2] + row[3:] == ["a", "node-1", "alive", "1", "1.2Gbps", "-", "1.5MB", "2", "1"]


def test_top_reads_redis_too_and_ends_by_itself_without_a_terminal(redis):
    redis.report(snapshot("a"), snapshot("b"))
    assert "2 agents, 2.5Gbps" in nanoctrl("top", "--redis-url", redis.url)


def test_who_cannot_be_asked_is_said_by_name():
    with contextlib.closing(socket.socket()) as s:  # bound, and nobody listens
        s.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{s.getsockname()[1]}"
        assert place in nanoctrl("obs", "peers", "--redis-url", f"redis://{place}", status=1)
        assert place in nanoctrl("obs", "peers", "--address", place, status=1)
    assert "not a number" in nanoctrl("obs", "peers", "--stale-ms", "soon", status=2)
    assert "obs takes one of" in nanoctrl("obs", "everything", status=2)
