# SPDX-License-Identifier: BSD-3-Clause
"""Forks, exits and threads: nobody hangs, nobody crashes."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import dlslime
from conftest import PATIENCE, run_python, until


def test_in_a_forked_child_every_call_says_what_to_do():
    run_python("""
        import os, dlslime
        a, b = dlslime.Endpoint(), dlslime.Endpoint()
        a.connect(b.export(), timeout=0); b.connect(a.export())
        memory = dlslime.alloc(4096)
        region = dlslime.register(memory)
        remote = b.import_region(region.export())
        waiting = b.recv_imm()
        prepared = b.prepare("read", region, remote)
        compat = dlslime.RDMAEndpoint()
        pid = os.fork()
        if pid == 0:
            calls = [a.export, lambda: a.connect(b""  b"x"), lambda: a.info, a.recv_imm, waiting.wait,
                     waiting.done, waiting.cancel, region.export, lambda: b.read(region, remote),
                     prepared.post, lambda: compat.read([(0, 0, 0, 0, 1)]), compat.endpoint_info,
                     compat.imm_recv, a.fileno, a.poll]
            for i, call in enumerate(calls):
                try:
                    call()
                    os._exit(100 + i)
                except dlslime.ForkError as e:
                    assert "fork" in str(e)
                except BaseException as e:
                    print(i, repr(e), flush=True)
                    os._exit(50 + i)
            for thing in (a, b, compat, region, remote, prepared):
                getattr(thing, "close", getattr(thing, "shutdown", None))()
            c, d = dlslime.Endpoint(), dlslime.Endpoint()     # new ones work
            c.connect(d.export(), timeout=0); d.connect(c.export())
            assert c.write_imm(4).wait(5) == 0 and d.recv_imm().wait(5) == 4
            del a, b, compat, region, remote, prepared, waiting, memory
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        a.write_imm(9)                                        # the parent goes on
        assert waiting.wait(5) == 9
    """)


def test_multiprocessing_by_fork_and_by_spawn_has_an_endpoint_of_its_own():
    for method in ("fork", "spawn"):
        done = run_python(f"""
            import multiprocessing as m, dlslime
            assert dlslime.available_nic()
            with m.get_context("{method}").Pool(2) as pool:
                print(pool.map(len, ["a", "bb"]))
        """)
        assert done.stdout == "[1, 2]\n"


@pytest.mark.parametrize("way", ["pass", "raise SystemExit(0)", "import os; os._exit(0)",
                                 "import threading; threading.Thread(target=f.status_after, daemon=True).start()",
                                 "f.add_done_callback(print)", "del a"])
def test_exit_with_transfers_in_flight_is_clean_and_prompt(way):
    done = run_python(f"""
        import dlslime
        a, b = dlslime.Endpoint(), dlslime.Endpoint()
        a.connect(b.export(), timeout=0); b.connect(a.export())
        buffer = bytearray(1 << 20)
        f = a.recv(dlslime.register(buffer))
        g = [a.recv_imm() for _ in range(6000)]
        c = dlslime.RDMAEndpoint(); d = dlslime.RDMAEndpoint()
        c.connect(d.endpoint_info()); h = c.imm_recv()
        t = dlslime.TcpEndpoint(); i = t.recv((0, 0, 0))
        {way}
    """, timeout=20)
    assert "Traceback" not in done.stderr and "Fatal" not in done.stderr


def test_ctrl_c_ends_a_wait():
    code = """
        import dlslime
        a, b = dlslime.Endpoint(), dlslime.Endpoint()
        a.connect(b.export(), timeout=0); b.connect(a.export())
        f = a.recv_imm()
        try:
            print("waiting", flush=True)
            f.wait()
        except KeyboardInterrupt:
            b.write_imm(3)
            print("interrupted", f.wait(5), flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted 3\n"


def test_waiting_threads_cost_nothing_and_leave_the_gil(ends):
    a, b = ends
    futures = [a.recv_imm() for _ in range(8)]
    threads = [threading.Thread(target=f.wait) for f in futures]
    for t in threads:
        t.start()
    used, begun, loops = time.process_time(), time.monotonic(), 0
    while time.monotonic() < begun + 0.5:
        time.sleep(0.01)
        loops += 1
    used = time.process_time() - used
    for _ in futures:
        b.write_imm(1)
    for t in threads:
        t.join(PATIENCE)
    assert used < 0.05 and loops > 20


def test_many_threads_on_one_endpoint_get_each_his_own(ends):
    a, b = ends
    source, errors = bytes(range(256)), []
    shown = dlslime.register(source)
    remote = b.import_region(shown.export())

    def work(i):
        target = bytearray(8)
        region = dlslime.register(target)
        try:
            for n in range(300):
                off = (i * 31 + n) % 248
                assert b.read(region, remote[off:off + 8]).wait(PATIENCE) == 8
                assert target == source[off:off + 8]
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert not errors and not any(t.is_alive() for t in threads)


def test_many_threads_may_wait_for_one_future(ends):
    a, b = ends
    future, got = a.recv_imm(), []
    threads = [threading.Thread(target=lambda: got.append(future.wait(PATIENCE))) for _ in range(16)]
    for t in threads:
        t.start()
    b.write_imm(6)
    for t in threads:
        t.join(PATIENCE)
    assert got == [6] * 16


def test_endpoints_and_transfers_leave_nothing_behind():
    run_python("""
        import gc, os, resource, dlslime

        def once():
            a, b = dlslime.Endpoint(), dlslime.Endpoint()
            a.connect(b.export(), timeout=0); b.connect(a.export())
            r = dlslime.register(bytearray(4096))
            q = b.import_region(r.export())
            for _ in range(50): b.read(r, q, length=8).wait()
            a.recv(r); a.fileno()

        for _ in range(20): once()
        gc.collect()
        fds, rss = len(os.listdir("/proc/self/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(300): once()
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= fds + 2
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss
        assert grown < 20_000, grown
    """)


def test_closing_from_many_threads_under_load_is_clean():
    run_python("""
        import threading, dlslime
        for _ in range(20):
            a, b = dlslime.Endpoint(depth=64), dlslime.Endpoint(depth=64)
            a.connect(b.export(), timeout=0); b.connect(a.export())
            r = dlslime.register(bytearray(1 << 16)); q = b.import_region(r.export())

            def work():
                try:
                    while True:
                        fs = [b.read(r, q) for _ in range(4)] + [b.write_imm(1), a.recv_imm()]
                        for f in fs: f.wait(5)
                except (dlslime.Error, ValueError):
                    pass

            threads = [threading.Thread(target=work) for _ in range(4)]
            threads += [threading.Thread(target=e.close) for e in (b, a, b)]
            for t in threads: t.start()
            for t in threads:
                t.join(20)
                assert not t.is_alive()
    """)
