# SPDX-License-Identifier: BSD-3-Clause
"""Memory that was given back to the system while it was registered: over shm an error, in neither
process a crash. Only memory that was registered by its address can be; a buffer is kept.

Loopback and tcp copy in the process itself, so there it is on the caller, as for memcpy().
"""

import subprocess
import sys
import textwrap

import pytest

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
    print("alive", flush=True)
"""


USER = COMMON + """
    import subprocess
    peer = subprocess.Popen([sys.executable, "-X", "faulthandler", "-c", sys.argv[2], sys.argv[1]],
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
    else:
        libc.munmap(goes, N)
        for op in (endpoint.read, endpoint.write):
            fails(op(regions[1], there[0]))
        say("free"); assert hear() == "freed"
    assert failed == 2, failed
    # Both go on with what is there.
    for op in (endpoint.read, endpoint.write):
        assert op(regions[0], there[0]).wait(20) == N
    say("go"); assert hear() == "alive"
    peer.wait(20)
"""


@pytest.mark.parametrize("side", ["peer", "own"])
def test_memory_that_is_gone_is_an_error(side):
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(USER), "shm",
                           textwrap.dedent(PEER), side], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
