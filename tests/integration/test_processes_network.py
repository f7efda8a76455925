# SPDX-License-Identifier: BSD-3-Clause
"""tcp between two network namespaces, over a link that delays, loses, and breaks."""

import contextlib
import time

import pytest

from link import NetemLink, TapLink
from processes import SLACK_S, Tool, connect

LENGTH = 1 << 20


@pytest.fixture(params=[NetemLink, TapLink], ids=["netem", "tap"])
def link_kind(request):
    return request.param


@contextlib.contextmanager
def far_pair(link, **kwargs):
    with Tool("tcp", prefix=link.exec(0), **kwargs) as a, Tool("tcp", prefix=link.exec(1), **kwargs) as b:
        connect(a, b)
        yield a, b


def transfer_everything(a, b, rounds):
    for seed in range(rounds):
        assert a.ask("fill", seed) == "ok"
        assert a.run("write", 0, LENGTH).status == "0"
        assert b.ask("check", LENGTH, seed) == "ok"
        assert b.ask("fill", seed + 100) == "ok"
        assert a.run("read", 0, LENGTH).status == "0"
        assert a.ask("check", LENGTH, seed + 100) == "ok"
        b.start("recv", 0, LENGTH)
        assert a.ask("fill", seed + 200) == "ok"
        assert a.run("send", 0, LENGTH).status == "0"
        assert b.wait().status == "0"
        assert b.ask("check", LENGTH, seed + 200) == "ok"
        b.start("recv_imm", 0, 0)
        assert a.run("write_imm", 0, 1000).status == "0"
        assert b.wait().bytes == 1000


def test_transfers_survive_delay(link_kind):
    with link_kind(delay_ms=20) as link, far_pair(link) as (a, b):
        began = time.monotonic()
        assert a.run("read", 0, 8).status == "0"
        assert time.monotonic() - began >= 0.040  # so it did go there and back over the link
        transfer_everything(a, b, 2)
        a.quit()
        b.quit()


def test_transfers_survive_loss(link_kind):
    with link_kind(delay_ms=1, loss=0.01) as link, far_pair(link) as (a, b):
        transfer_everything(a, b, 3)
        a.quit()
        b.quit()


def test_lanes_survive_loss(link_kind):
    with link_kind(delay_ms=1, loss=0.01) as link, far_pair(link, lanes=4) as (a, b):
        transfer_everything(a, b, 2)
        a.quit()
        b.quit()


def test_a_slow_link_is_not_a_dead_peer(link_kind):
    """The round trip takes longer than half the timeout, and nothing is given up."""
    with link_kind(delay_ms=120) as link, far_pair(link, peer_timeout_ms=600) as (a, b):
        assert a.run("write", 0, 8, 3).status == "0"
        a.start("recv", 0, 100)
        time.sleep(1.5)  # more than twice the timeout, with a receive under way
        assert b.run("send", 0, 100).status == "0"
        assert a.wait().status == "0"
        a.quit()
        b.quit()


@pytest.mark.parametrize("op", ["read", "write", "recv"])
def test_a_cut_link_is_noticed_in_time(link_kind, op):
    """Nobody says goodbye: no packet comes any more."""
    with link_kind() as link, far_pair(link, peer_timeout_ms=500) as (a, b):
        assert a.run("write", 0, 8).status == "0"
        link.cut()
        cut = time.monotonic()
        a.start(op, 0, LENGTH)
        end = a.wait(timeout=20)
        assert end.status == "ECONNRESET", end.status
        assert end.at - cut < 0.500 + 0.500 + SLACK_S
        a.quit()
        b.quit()
