# SPDX-License-Identifier: BSD-3-Clause
"""Threads that wait: signals, timeouts, what ends a wait from outside, and what an idle wait costs."""

import os
import resource
import signal
import threading
import time

import pytest

import dlslime
from conftest import PATIENCE, run_python, until

LONG = 0.4   # by then a thread that waits sleeps without end


def later(seconds, call):
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer


@pytest.fixture
def handler():
    """Calls of the handler of SIGUSR1; it raises what is in `raises`."""

    class Calls(list):
        raises = None

    calls = Calls()

    def handle(number, frame):
        calls.append(time.monotonic())
        if calls.raises:
            raise calls.raises

    old = signal.signal(signal.SIGUSR1, handle)
    yield calls
    signal.signal(signal.SIGUSR1, old)


@pytest.mark.parametrize("after", [0.03, LONG])
def test_ctrl_c_ends_a_wait_of_the_main_thread_at_once(ends, after):
    a, b = ends
    waiting = a.recv_imm()
    sent = []
    with pytest.raises(KeyboardInterrupt):
        later(after, lambda: (sent.append(time.monotonic()), os.kill(os.getpid(), signal.SIGINT)))
        waiting.wait(PATIENCE)
    assert time.monotonic() - sent[0] < 0.1
    b.write_imm(4)   # the transfer went on
    assert waiting.wait(PATIENCE) == 4


@pytest.mark.parametrize("after", [0.03, LONG])
def test_a_handler_runs_at_once_and_the_wait_goes_on(ends, handler, after):
    a, b = ends
    waiting = a.recv_imm()
    sent = []
    timers = [later(after, lambda: (sent.append(time.monotonic()),
                                    os.kill(os.getpid(), signal.SIGUSR1))),
              later(after + 0.2, lambda: b.write_imm(1))]
    assert waiting.wait(PATIENCE) == 1
    assert len(handler) == 1 and handler[0] - sent[0] < 0.1
    for t in timers:
        t.join()


@pytest.mark.parametrize("after", [0.03, LONG])
def test_what_a_handler_raises_comes_out_of_the_wait(ends, handler, after):
    a, b = ends
    handler.raises = LookupError("mine")
    waiting = a.recv_imm()
    with pytest.raises(LookupError, match="mine"):
        later(after, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        waiting.wait(PATIENCE)
    b.write_imm(5)
    assert waiting.wait(PATIENCE) == 5


def test_signals_do_not_disturb_a_wait_of_another_thread(ends, handler):
    a, b = ends
    got = []
    waiter = threading.Thread(target=lambda: got.append(a.recv_imm().wait(PATIENCE)))
    waiter.start()
    begun = time.monotonic()
    while time.monotonic() < begun + LONG:
        signal.pthread_kill(waiter.ident, signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
    assert len(handler) > 10 and not got
    b.write_imm(6)
    waiter.join(PATIENCE)
    assert got == [6]


def test_the_main_thread_sees_signals_while_another_thread_takes(ends, handler):
    a, b = ends
    other = a.recv_imm()
    waiter = threading.Thread(target=other.wait)
    waiter.start()
    mine = a.recv_imm()
    handler.raises = LookupError("mine")
    timer = later(LONG, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(LookupError):
        mine.wait(PATIENCE)
    timer.join()
    for i in range(2):
        b.write_imm(i)
    assert mine.wait(PATIENCE) == 1
    waiter.join(PATIENCE)


@pytest.mark.parametrize("seconds", [0.02, 0.3])
def test_a_wait_ends_when_its_time_is_over(ends, seconds):
    a, b = ends
    waiting = a.recv_imm()
    begun = time.monotonic()
    with pytest.raises(dlslime.TimeoutError):
        waiting.wait(seconds)
    assert seconds <= time.monotonic() - begun < seconds + 0.2
    b.write_imm(7)
    assert waiting.wait(PATIENCE) == 7


def test_who_sleeps_for_long_gets_his_completion(ends):
    a, b = ends
    got = []
    threads = [threading.Thread(target=lambda: got.append(a.recv_imm().wait(PATIENCE)))
               for _ in range(8)]
    for t in threads:
        t.start()
    time.sleep(LONG)
    for i in range(8):
        b.write_imm(i)
    for t in threads:
        t.join(PATIENCE)
    assert sorted(got) == list(range(8))


def test_closing_ends_every_long_wait(ends):
    a, b = ends
    c, d = dlslime.Endpoint(), dlslime.Endpoint()
    c.connect(d.export(), timeout=0)
    d.connect(c.export())
    called = []
    c.recv_imm().add_done_callback(called.append)   # a thread of ours that sleeps for long
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(a.recv_imm().status_after()))
               for _ in range(4)]
    for t in threads:
        t.start()
    time.sleep(LONG)
    begun = time.monotonic()
    a.close()
    for t in threads:
        t.join(PATIENCE)
    c.close()
    assert time.monotonic() - begun < 1 and len(statuses) == 4 and until(lambda: called)
    d.close()


def test_cancelling_ends_the_long_wait_of_another_thread(ends):
    a, b = ends
    held = [a.recv_imm() for _ in range(5000)]   # more than fit: the last is held
    for future in (held[0], held[-1]):
        statuses = []
        thread = threading.Thread(target=lambda f: statuses.append(f.status_after()), args=(future,))
        thread.start()
        time.sleep(LONG)
        begun = time.monotonic()
        future.cancel()
        thread.join(PATIENCE)
        assert len(statuses) == 1 and statuses[0] < 0 and time.monotonic() - begun < 1


def test_transfers_held_before_connect_go_on_when_the_peer_comes():
    """Nobody does more than wait meanwhile."""
    a, b = dlslime.RDMAEndpoint(), dlslime.RDMAEndpoint()
    got = []
    waiting = a.imm_recv()
    waiter = threading.Thread(target=lambda: got.append(waiting.wait(PATIENCE)))
    waiter.start()
    time.sleep(LONG)
    a.connect(b.endpoint_info())
    time.sleep(0.1)
    b.connect(a.endpoint_info())
    b.write_with_imm([], 8).wait(PATIENCE)
    waiter.join(PATIENCE)
    assert got == [0] and waiting.imm_data() == 8
    a.shutdown()
    b.shutdown()


def test_idle_waits_cost_nothing(ends):
    """Of the main thread too; and of the thread that waits for the sake of a callback."""
    a, b = ends
    c, d = dlslime.Endpoint(), dlslime.Endpoint()
    c.connect(d.export(), timeout=0)
    d.connect(c.export())
    c.recv_imm().add_done_callback(lambda f: None)
    threads = [threading.Thread(target=a.recv_imm().status_after) for _ in range(8)]
    for t in threads:
        t.start()
    switches = []
    timers = [later(LONG + seconds, call) for seconds, call in (
        (0, lambda: switches.append(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw)),
        (2, lambda: switches.append(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw)),
        (2.1, a.close))]
    a.recv_imm().status_after()
    for t in (*threads, *timers):
        t.join()
    c.close()
    d.close()
    # A look of each of the ten every 100 ms would be two hundred.
    assert switches[1] - switches[0] < 60, switches


def test_waits_go_on_when_there_are_no_descriptors_left():
    run_python("""
        import resource, threading
        import dlslime
        a, b = dlslime.Endpoint(), dlslime.Endpoint()
        a.connect(b.export(), timeout=0)
        b.connect(a.export())
        futures = [a.recv_imm() for _ in range(4)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        threads = [threading.Thread(target=f.wait) for f in futures[1:]]
        for t in threads:
            t.start()
        timer = threading.Timer(0.4, lambda: [b.write_imm(i) for i in range(4)])
        timer.start()
        assert futures[0].wait(10) == 0
        for t in (*threads, timer):
            t.join(10)
            assert not t.is_alive()
    """)
