# SPDX-License-Identifier: BSD-3-Clause
"""A nanoctrl that is killed under load, again and again: what it has answered is there when it comes back."""

import contextlib
import http.client
import threading

import pytest

from nanoctrl_daemon import DEADLINE_S, Daemon, Redis, ask

ROUNDS = 4
WORKERS = 6
ENTITIES = 25  # of each worker
ANSWERS = 400  # of all workers in a round, before the daemon is killed
GONE = None


class Worker(threading.Thread):
    """Registers, changes and unregisters entities of its own until the daemon is gone."""

    def __init__(self, number, tally):
        super().__init__(daemon=True)
        self.number, self.tally = number, tally
        self.answered = {}  # id: the number last registered, or GONE
        self.asked = None  # the id and number in flight when the daemon went: either may be
        self.wrong = None

    def run(self):
        connection = http.client.HTTPConnection(self.tally.host, self.tally.port, timeout=DEADLINE_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            for n in range(1_000_000):
                self.one(connection, f"w{self.number}:{n % ENTITIES}", n if n % 6 else GONE)

    def one(self, connection, name, n):
        self.asked = name, n
        if n is GONE:
            path, body = "/unregister", {"entity_id": name}
        else:
            path, body = "/register", {"entity_id": name, "kind": f"k{n % 3}", "metadata": {"n": n}}
        answer = ask(connection, "POST", path, body)
        if answer.status != 200 or answer.json["status"] != "ok":
            self.wrong = answer
            raise OSError
        self.answered[name] = n
        self.asked = None
        self.tally.count()


class Tally:
    def __init__(self, daemon):
        self.host, self.port = daemon.host, daemon.port
        self.n, self.enough = 0, threading.Event()
        self.lock = threading.Lock()

    def count(self):
        with self.lock:
            self.n += 1
            if self.n >= ANSWERS:
                self.enough.set()


def load_and_kill(daemon, may_be):
    """MAY_BE: what each entity may be, a set of numbers or GONE; brought up to date."""
    tally = Tally(daemon)
    workers = [Worker(i, tally) for i in range(WORKERS)]
    for worker in workers:
        worker.start()
    assert tally.enough.wait(DEADLINE_S), f"{tally.n} answers of {ANSWERS}: {[w.wrong for w in workers]}"
    daemon.popen.kill()
    for worker in workers:
        worker.join(DEADLINE_S)
    assert [w.wrong for w in workers if w.wrong] == []
    may_be.update({name: {n} for worker in workers for name, n in worker.answered.items()})
    for name, n in (worker.asked for worker in workers if worker.asked):
        may_be.setdefault(name, {GONE}).add(n)


def found(daemon):
    entities = daemon.post("/list_entities", {}).json["entities"]
    return {entity["entity_id"]: entity["metadata"]["n"] for entity in entities}


def kill_in_a_loop(start):
    may_be = {}
    for number in range(ROUNDS):
        with start() as daemon:
            load_and_kill(daemon, may_be)
        with start() as daemon:
            there = found(daemon)
            by_kind = {e["entity_id"] for k in range(3) for e in daemon.post("/list_entities", {"kind": f"k{k}"}).json["entities"]}
            one = next(iter(there))
            assert daemon.post("/get_entity_info", {"entity_id": one}).json["entity_info"]["metadata"]["n"] == there[one]
        lost = {name: (there.get(name, GONE), ns) for name, ns in may_be.items() if there.get(name, GONE) not in ns}
        assert lost == {}, f"round {number}: what was answered is not there"
        assert there.keys() == by_kind
        assert there.keys() <= may_be.keys()
        # From now on what was in flight is one or the other.
        may_be = {name: {there.get(name, GONE)} for name in may_be}


def test_on_sqlite_nothing_that_was_answered_is_lost(tmp_path):
    kill_in_a_loop(lambda: Daemon(tmp_path, db=tmp_path / "db"))


@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside_another"])
def test_on_redis_nothing_that_was_answered_is_lost(tmp_path, others):
    """With OTHERS a second daemon on the same Redis lives on, and sees the same."""
    with Redis() as redis, contextlib.ExitStack() as stack:
        start = lambda: Daemon(tmp_path, "--redis-url", redis.url, db=None)  # noqa: E731
        if others:
            other = stack.enter_context(start())
        kill_in_a_loop(start)
        if others:
            with start() as daemon:
                assert found(other) == found(daemon)
