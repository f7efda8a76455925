# SPDX-License-Identifier: BSD-3-Clause
"""Importing the package: quick, and nothing that is not needed."""

import subprocess
import sys

import dlslime
from conftest import run_python

NAMES = """Assignment DeviceSignal OpCode RDMAContext RDMAEndpoint RDMAMemoryPool RDMAWorker
SlimeImmRecvFuture SlimeReadWriteFuture SlimeRecvFuture SlimeSendFuture available_nic
discover_topology get_cmake_dir get_logger logging obs_enabled obs_register_nic_for_test
obs_reset_for_test obs_snapshot os set_log_level socket_id start_peer_agent PeerAgent _slime_c
TcpEndpoint TcpMemoryPool SlimeTcpSendFuture SlimeTcpRecvFuture SlimeTcpReadWriteFuture
NVLinkEndpoint AscendDirectEndpoint""".split()


def test_every_name_of_the_contract_is_there():
    for name in NAMES:
        assert getattr(dlslime, name) is not None, name
        assert name in dir(dlslime), name


def test_a_star_import_gives_the_names_of_the_contract():
    space = {}
    exec("from dlslime import *", space)
    assert {"RDMAEndpoint", "available_nic", "NVLinkEndpoint", "Endpoint"} <= space.keys()


def test_an_unknown_attribute_is_told_as_by_the_reference():
    try:
        dlslime.nothing
    except AttributeError as e:
        assert str(e) == "module 'dlslime' has no attribute 'nothing'"


def test_importing_brings_in_nothing_that_is_not_needed():
    run_python("""
        import sys, dlslime
        heavy = {"torch", "numpy", "httpx", "asyncio", "logging", "socket", "json"} & set(sys.modules)
        assert not heavy, heavy
    """)


def test_importing_takes_less_than_60_ms():
    code = "import time; t = time.perf_counter(); import dlslime; print(time.perf_counter() - t)"
    best = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5))
    assert best < 0.060


def test_importing_makes_no_thread_and_opens_nothing():
    run_python("""
        import os
        before = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        import dlslime
        assert before == (len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))
    """)


def test_the_build_flags_are_those_of_a_build_for_rdma_and_tcp():
    c = dlslime._slime_c
    assert (c._BUILD_RDMA, c._BUILD_TCP, c._BUILD_NVLINK, c._BUILD_ASCEND_DIRECT, c._BUILD_INTRA_OPS,
            c._BUILD_INTER_OPS) == (True, True, False, False, False, False)
    assert (c._IBV_LINK_LAYER_INFINIBAND, c._IBV_LINK_LAYER_ETHERNET) == (1, 2)
    assert c._resolve_rdma_link_type("auto", 1) == "IB"
    assert c._resolve_rdma_link_type(" rocev2 ", 2) == "RoCE"


def test_what_is_missing_says_so_when_it_is_used():
    for module in ("cache", "rpc"):
        try:
            __import__("dlslime." + module)
        except ImportError as e:
            assert f"dlslime.{module} is not part of this version yet" in str(e)
    for cls in (dlslime.NVLinkEndpoint, dlslime.AscendDirectEndpoint):
        try:
            cls()
            raise AssertionError
        except RuntimeError as e:
            assert "not part of this version" in str(e)


def test_a_subinterpreter_is_refused_with_a_sentence():
    done = run_python("""
        try:
            import _interpreters as sub
            run = lambda code: sub.exec(sub.create(), code)
        except ImportError:
            import _xxsubinterpreters as sub
            run = lambda code: sub.run_string(sub.create(), code)
        import dlslime
        code = '''
        try:
            import dlslime
            print("imported")
        except ImportError as e:
            print("refused:", e)
        '''
        import textwrap
        run(textwrap.dedent(code))
    """)
    assert "refused:" in done.stdout


def test_the_loggers_are_below_slime():
    log = dlslime.get_logger
    assert [log(n).name for n in (None, "", "slime", "slime.a", "a")] == [
        "slime", "slime", "slime", "slime.a", "slime.a"]
    assert dlslime.set_log_level("DEBUG").level == 10
    assert any(h.formatter and h.formatter._fmt == "%(asctime)s %(levelname)s [%(name)s] %(message)s"
               for h in log().handlers)
