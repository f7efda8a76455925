# SPDX-License-Identifier: BSD-3-Clause
"""Memory that was given back to the system while it was registered: an error, in neither process a
crash. Only memory that was registered by its address can be; a buffer is kept.
"""

import gc
import subprocess
import sys
import textwrap

import pytest

import dlslime

COMMON = """
    import ctypes, mmap, sys
    import dlslime
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    N = 1 << 20

    def pages():
        return libc.mmap(None, N, mmap.PROT_READ | mmap.PROT_WRITE,
                         mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)

    def swap(mine):
        sys.stdout.write(mine.hex() + "\\n"); sys.stdout.flush()
        return bytes.fromhex(sys.stdin.readline())

    stays, goes = pages(), pages()
    regions = [dlslime.register_address(a, N, "rw") for a in (stays, goes)]
    endpoint = dlslime.Endpoint(sys.argv[1])
"""

# Serves both regions; frees the second when told.
PEER = COMMON + """
    endpoint.connect(swap(endpoint.export()), timeout=20)
    for r in regions: print(r.export().hex(), flush=True)
    sys.stdin.readline()
    libc.munmap(goes, N)
    print("freed", flush=True)
    sys.stdin.readline()
    message = endpoint.send(regions[sys.argv[2] == "peer"])
    endpoint.send(b"hello").wait(20)
    message.status_after(20)
    endpoint.recv(regions[0]).wait(20)
    sys.stdin.readline()
    print("alive", flush=True)
"""


USER = COMMON + """
    import subprocess
    peer = subprocess.Popen([sys.executable, "-X", "faulthandler", "-c", sys.argv[2], *sys.argv[1::2]],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    def say(text):
        peer.stdin.write(text + "\\n"); peer.stdin.flush()
    def hear():
        return peer.stdout.readline().strip()
    theirs = bytes.fromhex(hear())
    say(endpoint.export().hex())
    endpoint.connect(theirs, timeout=20)
    there = [endpoint.import_region(bytes.fromhex(hear())) for _ in range(2)]
    failed = 0
    def fails(future):
        global failed
        try:
            future.wait(20)
        except dlslime.TimeoutError:
            raise
        except dlslime.Error as e:
            assert str(e), repr(e)
            failed += 1

    assert endpoint.read(regions[0], there[0]).wait(20) == N
    if sys.argv[3] == "peer":
        say("free"); assert hear() == "freed"
        for op in (endpoint.read, endpoint.write):
            fails(op(regions[0], there[1]))
        say("message")
        fails(endpoint.recv(regions[0]))         # sent from memory that is gone
        assert endpoint.recv(regions[0]).wait(20) == 5
        endpoint.send(b"hello").wait(20)
    else:
        libc.munmap(goes, N)
        for op in (endpoint.read, endpoint.write):
            fails(op(regions[1], there[0]))
        say("free"); assert hear() == "freed"
        say("message")
        fails(endpoint.recv(regions[1]))         # received into memory that is gone
        assert endpoint.recv(regions[0]).wait(20) == 5
        endpoint.send(b"hello").wait(20)
    assert failed == 3, failed
    # Both go on with what is there.
    for op in (endpoint.read, endpoint.write):
        assert op(regions[0], there[0]).wait(20) == N
    say("go"); assert hear() == "alive"
    peer.wait(20)
"""


@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize("side", ["peer", "own"])
def test_memory_that_is_gone_is_an_error(side, transport):
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(USER), transport,
                           textwrap.dedent(PEER), side], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]


ONE_PROCESS = COMMON + """
    import errno
    other = dlslime.Endpoint(sys.argv[1])
    described = other.export()
    endpoint.connect(described, timeout=0)
    other.connect(endpoint.export(), timeout=20)
    endpoint.connect(described, timeout=20)   # it may not have heard yet
    there = [endpoint.import_region(r.export()) for r in regions]
    assert endpoint.read(regions[0], there[1]).wait(20) == N
    libc.munmap(goes, N)
    codes = []
    def fails(future):
        try:
            future.wait(20)
        except dlslime.TimeoutError:
            raise
        except dlslime.Error as e:
            assert str(e), repr(e)
            codes.append(e.errno)
        else:
            codes.append(0)
    for op in (endpoint.read, endpoint.write):
        fails(op(regions[0], there[1]))
        fails(op(regions[1], there[0]))
    assert set(codes) <= {errno.EFAULT, errno.EREMOTEIO} and errno.EFAULT in codes, codes
    del codes[:]
    for mine, theirs in ((0, 1), (1, 0)):
        got = other.recv(regions[theirs])
        fails(endpoint.send(regions[mine]))
        fails(got)
    assert errno.EFAULT in codes, codes
    got = other.recv(regions[0])
    endpoint.send(b"hello").wait(20)
    assert got.wait(20) == 5
    assert endpoint.read(regions[0], there[0]).wait(20) == N
"""


@pytest.mark.parametrize("transport", ["loopback", "tcp"])
def test_memory_that_is_gone_is_an_error_in_one_process(transport):
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(ONE_PROCESS),
                           transport], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]


CONTRACT = COMMON + """
    kind = sys.argv[2]
    make = dlslime.RDMAEndpoint if kind == "rdma" else dlslime.TcpEndpoint
    a, b = make(), make()
    for e in (a, b):
        e.register_memory_region("a", stays, 0, N)
        e.register_memory_region("b", goes, 0, N)
    a.connect(b.endpoint_info())
    b.connect(a.endpoint_info())
    assert a.read([(0, 1, 0, 0, N)]).wait(20) == 0
    libc.munmap(goes, N)
    failed = 0
    for op in (a.read, a.write):
        for pair in ((0, 1), (1, 0)):
            try:
                failed += op([(*pair, 0, 0, N)]).wait(20) != 0
            except RuntimeError as e:
                assert "completion failed" in str(e)
                failed += 1
    assert failed == 4, failed
    got = b.recv((stays, 0, N))
    assert a.send((stays, 0, N)).wait(20) == 0 and got.wait(20) == 0
    got, sent = b.recv((stays, 0, N)), None
    try:
        sent = a.send((goes, 0, N))
    except (OSError, ValueError) as e:
        assert "are not memory of this process" in str(e), e
    assert sent is None or sent.wait(20) != 0
    assert a.read([(0, 0, 0, 0, N)]).wait(20) == 0 and a.is_connected()
    a.shutdown(); b.shutdown()
"""


@pytest.mark.parametrize("kind", ["rdma", "tcp"])
def test_memory_that_is_gone_fails_transfers_of_the_contract(kind):
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(CONTRACT),
                           "loopback", kind], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]


def test_memory_of_alloc_is_kept_by_a_region_that_has_its_address():
    memory = dlslime.alloc(1 << 16)
    region = dlslime.register_address(memory.addr + 4096, 4096)
    with pytest.raises(BufferError):
        memory.close()
    del memory
    gc.collect()
    with dlslime.Endpoint() as a, dlslime.Endpoint() as b:
        a.connect(b.export(), timeout=0)
        b.connect(a.export(), timeout=10)
        assert b.read(region, b.import_region(region.export())).wait(10) == 4096
    region.close()
    memory = dlslime.alloc(1 << 16)
    dlslime.register_address(memory.addr, 1 << 16).close()
    memory.close()
