# SPDX-License-Identifier: BSD-3-Clause
"""What idle and many endpoints cost. Figures hold for a build without sanitizers."""

import time

import pytest

from processes import SANITIZED, Tool, connect, pair

only_plain = pytest.mark.skipif(SANITIZED, reason="a sanitizer changes what things cost")


@only_plain
@pytest.mark.parametrize("transport", ["shm", "tcp"])
def test_a_hundred_idle_endpoints_cost_next_to_nothing(transport):
    with pair(transport, count=100) as (a, b):
        for i in range(100):
            assert a.run("write", i, 4096).status == "0"
        a.start("recv", 0, 100)  # something to wait for
        before = [tool.stat() for tool in (a, b)]
        time.sleep(5)  # the time that is measured
        after = [tool.stat() for tool in (a, b)]
        for was, now in zip(before, after):
            assert now["cpu_us"] - was["cpu_us"] < 5000  # 0.1 % of 5 s
            assert now["rss_kib"] < 64 * 1024
        assert b.run("send", 0, 100).status == "0"
        assert a.wait().status == "0"
        a.quit()
        b.quit()


@only_plain
def test_a_thousand_tcp_endpoints_connect_in_two_seconds_at_64_kib_each():
    n = 1000
    with Tool("tcp", count=n) as a, Tool("tcp", count=n) as b, Tool("tcp") as c, Tool("tcp") as d:
        connect(c, d)
        took = connect(a, b)
        assert took <= 2000, f"{took} ms"
        for i in range(0, n, 50):
            assert a.run("write", i, 4096).status == "0"
            assert b.run("read", i, 4096).status == "0"
        for many, one in ((a, c), (b, d)):
            each = (many.stat()["rss_kib"] - one.stat()["rss_kib"]) / (n - 1)
            assert each <= 64, f"{each:.1f} KiB each"
        for tool in (a, b, c, d):
            tool.quit()

