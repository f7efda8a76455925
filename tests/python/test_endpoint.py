# SPDX-License-Identifier: BSD-3-Clause
"""The new API: endpoints, regions, transfers."""

import ctypes
import errno
import gc
import threading

import numpy as np
import pytest

import dlslime
from conftest import PATIENCE, until

KIB = 1024


@pytest.fixture
def field(ends):
    """(a, b, a's memory, a's region, b's remote view of it, b's memory, b's region)."""
    a, b = ends
    mine, theirs = bytearray(64 * KIB), np.zeros(64 * KIB, np.uint8)
    mine[:] = bytes(range(256)) * 256
    region = dlslime.register(mine)
    return a, b, mine, region, b.import_region(region.export()), theirs, dlslime.register(theirs)


def test_a_read_of_a_slice_brings_these_bytes_and_no_others(field):
    _, b, mine, _, remote, theirs, local = field
    assert b.read(local[8:16], remote[256:264]).wait(PATIENCE) == 8
    assert theirs[8:16].tobytes() == bytes(range(8)) and not theirs[16:].any() and not theirs[:8].any()


def test_a_write_goes_the_other_way(field):
    _, b, mine, _, remote, theirs, local = field
    theirs[:4] = 9
    assert b.write(local[0:4], remote[4:8]).wait(PATIENCE) == 4
    assert mine[:9] == bytes([0, 1, 2, 3, 9, 9, 9, 9, 8])


def test_segments_may_be_tuples_or_an_array(field):
    _, b, mine, _, remote, theirs, local = field
    segments = [(0, 10, 2), (100, 20, 3)]
    for given in (segments, np.array(segments), np.array(segments, np.uint64), segments[:],
                  memoryview(np.array(segments))):
        theirs[:] = 0
        assert b.read(local, remote, given).wait(PATIENCE) == 5
        assert theirs[0:2].tobytes() == mine[10:12] and theirs[100:103].tobytes() == mine[20:23]


def test_segments_count_from_the_slices(field):
    _, b, mine, _, remote, theirs, local = field
    b.read(local[1000:2000], remote[512:1024], [(1, 2, 3)]).wait(PATIENCE)
    assert theirs[1001:1004].tobytes() == mine[514:517] and theirs.sum() == sum(mine[514:517])


def test_offsets_may_be_arrays_lists_and_numbers(field):
    _, b, mine, _, remote, theirs, local = field
    to, where = [0, 50, 99], np.array([7, 70, 170])
    assert b.read(local, remote, local_offsets=to, remote_offsets=where, length=5).wait() == 15
    assert theirs[50:55].tobytes() == mine[70:75]
    lengths = np.array([1, 2, 3])
    assert b.read(local, remote, local_offsets=where[::-1], remote_offsets=0, length=lengths).wait() == 6


def test_a_stride_reads_a_column(field):
    _, b, mine, _, remote, theirs, local = field
    f = b.read(local, remote, length=4, count=16, local_stride=4, remote_stride=1024)
    assert f.wait(PATIENCE) == 64
    assert theirs[:64].tobytes() == b"".join(mine[i * 1024:i * 1024 + 4] for i in range(16))


def test_pairs_of_different_regions_go_in_one_call(field):
    a, b, mine, region, remote, theirs, local = field
    other = bytearray(16)
    pairs = [(local[0:4], remote[4:8]), (dlslime.register(other)[0:8], remote[8:16])]
    assert b.read(pairs).wait(PATIENCE) == 12
    assert other[:8] == mine[8:16]


class Tensor:
    """As torch's: no buffer, but it gives an array."""

    def __init__(self, array):
        self._array, self.ndim = array, array.ndim

    def __array__(self, dtype=None, copy=None):
        return self._array


def test_offsets_and_segments_may_be_tensors(field):
    _, b, mine, _, remote, theirs, local = field
    offsets = Tensor(np.arange(4) * 16)
    assert b.read(local, remote, local_offsets=offsets, remote_offsets=offsets,
                  length=8).wait(PATIENCE) == 32
    assert theirs[16:24].tobytes() == mine[16:24]
    rows = Tensor(np.array([[0, 16, 8], [8, 32, 8]]))
    assert b.read(local, remote, rows).wait(PATIENCE) == 16
    with pytest.raises(TypeError, match="int64"):
        b.read(local, remote, Tensor(np.zeros((2, 3), np.float32)))


def test_a_hundred_thousand_offsets_in_an_array_are_one_transfer(field):
    _, b, mine, _, remote, theirs, local = field
    offsets = np.random.default_rng(1).integers(0, 64 * KIB - 1, 100_000)
    assert b.read(local, remote, local_offsets=offsets, remote_offsets=offsets, length=1).wait() == 100_000
    expected = np.zeros_like(theirs)
    expected[offsets] = np.frombuffer(mine, np.uint8)[offsets]
    assert (theirs == expected).all()


def test_the_immediate_of_a_huge_batch_comes_once_and_last(field):
    a, b, mine, _, remote, theirs, local = field
    theirs[:] = 5
    n = 70_000
    offsets = np.arange(n) % (64 * KIB)
    got = a.recv_imm()
    assert b.write_imm(7, local, remote, local_offsets=offsets, remote_offsets=offsets,
                       length=1).wait(PATIENCE) == n
    assert got.wait(PATIENCE) == 7 and mine == b"\5" * (64 * KIB)
    late = a.recv_imm()
    with pytest.raises(dlslime.TimeoutError):
        late.wait(0)
    late.cancel()


def test_nothing_at_all_completes(field):
    _, b, _, _, remote, _, local = field
    assert b.read([]).wait(PATIENCE) == 0
    assert b.read(local, remote, []).wait(PATIENCE) == 0
    assert b.read(local, remote, np.zeros((0, 3), np.int64)).wait(PATIENCE) == 0
    assert b.read(local, remote, length=8, count=0).wait(PATIENCE) == 0
    assert b.read(local[5:5], remote[5:5]).wait(PATIENCE) == 0


def test_an_immediate_without_bytes_arrives(field):
    a, b, *_ = field
    assert b.write_imm(0xFFFFFFFF).wait(PATIENCE) == 0
    assert a.recv_imm().wait(PATIENCE) == 0xFFFFFFFF


def test_messages_match_in_order_and_tell_their_length(field):
    a, b, mine, region, *_ = field
    receives = [a.recv(region[i * 16:i * 16 + 16]) for i in range(3)]
    sends = [b.send(b"x" * (i + 1)) for i in range(3)]
    assert [f.wait(PATIENCE) for f in receives] == [1, 2, 3]
    assert [f.wait(PATIENCE) for f in sends] == [1, 2, 3]


def test_a_message_that_is_too_long_is_an_error(field):
    a, b, _, region, *_ = field
    receive, send = a.recv(region[0:4]), b.send(b"12345")
    with pytest.raises(dlslime.MessageTooLong):
        receive.wait(PATIENCE)
    with pytest.raises(dlslime.MessageTooLong):
        send.wait(PATIENCE)


def test_more_transfers_than_any_depth_are_held_in_order(field):
    a, b, mine, region, remote, _, local = field
    n = 20_000
    numbers = [a.recv_imm() for _ in range(n)]
    writes = [b.write_imm(i, local[0:1], remote[0:1]) for i in range(n)]
    assert all(f.wait(PATIENCE) == 1 for f in writes)
    assert [f.wait(PATIENCE) for f in numbers] == list(range(n))


def test_receives_beyond_any_depth_leave_room_for_sends(field):
    a, b, _, region, _, _, local = field
    n = 6000
    ra, rb = [a.recv(region[0:8]) for _ in range(n)], [b.recv(local[0:8]) for _ in range(n)]
    assert a.send(b"12345678").wait(PATIENCE) == 8 and rb[0].wait(PATIENCE) == 8
    for i in range(1, n):
        a.send(b"abc")
    for i in range(n):
        b.send(b"ab")
    assert [f.wait(PATIENCE) for f in ra] == [2] * n
    assert [f.wait(PATIENCE) for f in rb[1:]] == [3] * (n - 1)


def test_a_prepared_transfer_is_posted_many_times(field):
    _, b, mine, _, remote, theirs, local = field
    with b.prepare("read", local[0:8], remote[16:24]) as transfer:
        for i in range(10):
            mine[16] = i
            assert transfer.post().wait(PATIENCE) == 8 and theirs[0] == i
    with pytest.raises(ValueError, match="closed"):
        transfer.post()


def test_a_deadline_ends_a_transfer_and_a_wait_does_not(field):
    a, _, _, region, *_ = field
    first = a.recv(region, timeout=0.05)
    with pytest.raises(dlslime.TimeoutError) as e:
        first.wait()
    assert e.value.errno == errno.ETIME and first.done()
    second = a.recv(region)
    with pytest.raises(TimeoutError) as e:
        second.wait(0.02)
    assert e.value.errno == errno.ETIMEDOUT and not second.done()
    assert second.cancel()
    with pytest.raises(dlslime.Cancelled):
        second.wait(PATIENCE)


def test_cancel_takes_the_right_one(field):
    a, b, _, region, *_ = field
    receives = [a.recv(region[0:8]) for _ in range(3)]
    receives[1].cancel()
    assert until(receives[1].done) and not receives[0].done()
    b.send(b"1")
    b.send(b"22")
    assert (receives[0].wait(PATIENCE), receives[2].wait(PATIENCE)) == (1, 2)


def test_a_fence_starts_after_what_came_before(field):
    _, b, mine, _, remote, theirs, local = field
    for i in range(200):
        b.write(local[0:8], remote[0:8])
        theirs_before = b.read(local[8:16], remote[0:8], fence=True)
        assert theirs_before.wait(PATIENCE) == 8


def test_outside_a_region_is_refused_before_anything_moves(field):
    _, b, _, _, remote, theirs, local = field
    size = 64 * KIB
    for call in (lambda: b.read(local[0:8], remote[size:size + 8]).wait(PATIENCE),
                 lambda: b.read(local, remote, [(size - 1, 0, 2)]),
                 lambda: b.read(local, remote, length=size + 1),
                 lambda: b.read(local, remote, length=8, count=2, local_stride=size)):
        with pytest.raises(dlslime.OutOfRange):
            call()
    with pytest.raises(IndexError):
        local[0:size + 1]
    assert not theirs.any()


def test_rights_are_what_was_registered(ends):
    a, b = ends
    secret = dlslime.register(bytearray(16), "local")
    readable = dlslime.register(b"0123456789")
    assert readable.readonly and readable.access == "r"
    target = dlslime.register(bytearray(10))
    remote = b.import_region(readable.export())
    assert b.read(target, remote).wait(PATIENCE) == 10
    with pytest.raises(PermissionError):
        b.write(target, remote).wait(PATIENCE)
    with pytest.raises(dlslime.AccessDenied):
        b.read(target[0:10], b.import_region(secret.export())[0:10]).wait(PATIENCE)
    with pytest.raises(ValueError, match="read-only"):
        a.recv(readable)
    with pytest.raises(ValueError, match="read-only"):
        dlslime.register(b"abc", "rw")


def test_a_closed_region_cannot_be_used_and_lets_its_buffer_go(field):
    a, b, mine, region, remote, _, local = field
    region.close()
    with pytest.raises(ValueError, match="closed"):
        a.recv(region)
    with pytest.raises(dlslime.Error):
        b.read(local[0:8], remote[0:8]).wait(PATIENCE)
    mine.append(1)   # a bytearray with an export cannot grow


def test_a_buffer_in_flight_outlives_its_names(ends):
    a, b = ends
    buffer = bytearray(1000)
    region = dlslime.register(buffer)
    receive = a.recv(region)
    region.close()
    with pytest.raises(BufferError):
        buffer.append(1)
    del region
    gc.collect()
    b.send(b"still here")
    assert receive.wait(PATIENCE) == 10 and buffer[:10] == b"still here"
    buffer.append(1)


def test_what_is_not_contiguous_memory_is_refused():
    for bad, error in ((np.zeros(10)[::2], ValueError), (object(), TypeError), (None, TypeError),
                       (1, TypeError), (b"", ValueError), ("text", TypeError)):
        with pytest.raises(error, match="registered"):
            dlslime.register(bad)


def test_memory_is_an_array_of_bytes_in_every_library_by_reference():
    memory = dlslime.alloc(4096)
    array = np.asarray(memory)
    assert array.dtype == np.uint8 and array.shape == (4096,) and not array.any()
    array[3] = 7
    assert memoryview(memory)[3] == 7 and np.from_dlpack(memory)[3] == 7
    assert memory.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError):
        memory.close()
    del array
    gc.collect()
    memory.close()
    with pytest.raises(BufferError):
        memoryview(memory)


def test_an_array_keeps_its_memory():
    array = np.from_dlpack(dlslime.alloc(1 << 16))
    gc.collect()
    assert array.sum() == 0
    if array.flags.writeable:   # numpy before 2.1 knows the old form only, and calls it read-only
        array[:] = 3
        assert array.sum() == 3 << 16


def test_a_dlpack_capsule_that_nobody_takes_is_let_go():
    memory = dlslime.alloc(64)
    for version in (None, (1, 0)):
        capsule = memory.__dlpack__(max_version=version)
        with pytest.raises(BufferError):
            memory.close()
        del capsule
    memory.close()


def test_a_tensor_with_data_ptr_is_memory():
    class Tensor:
        def __init__(self):
            self.array = np.arange(8, dtype=np.int32)

        def data_ptr(self):
            return self.array.ctypes.data

        def numel(self):
            return 8

        def element_size(self):
            return 4

        def is_contiguous(self):
            return True

    region = dlslime.register(Tensor())
    assert region.nbytes == 32


def test_memory_by_address_must_be_of_this_process():
    buffer = ctypes.create_string_buffer(64)
    assert dlslime.register_address(ctypes.addressof(buffer), 64).nbytes == 64
    for addr in (0, 8, (1 << 64) - 4096):
        with pytest.raises(ValueError, match="not memory of this process"):
            dlslime.register_address(addr, 64)


def test_an_endpoint_that_is_dropped_cancels_what_is_in_flight():
    a, b = dlslime.Endpoint(), dlslime.Endpoint()
    a.connect(b.export(), timeout=0)
    b.connect(a.export())
    assert until(lambda: a.connected)
    receive = a.recv(dlslime.register(bytearray(8)))
    del a
    gc.collect()
    with pytest.raises(dlslime.Cancelled):
        receive.wait(PATIENCE)
    with pytest.raises(dlslime.Error):
        b.send(b"x").wait(PATIENCE)


def test_close_wakes_everybody_who_waits(ends):
    a, _ = ends
    region = dlslime.register(bytearray(8))
    receives = [a.recv(region) for _ in range(8)]
    outcomes = []

    def wait(future):
        try:
            future.wait()
        except dlslime.Cancelled:
            outcomes.append("cancelled")

    threads = [threading.Thread(target=wait, args=(f,)) for f in receives for _ in range(2)]
    for t in threads:
        t.start()
    a.close()
    for t in threads:
        t.join(PATIENCE)
    assert outcomes == ["cancelled"] * 16
    a.close()
    with pytest.raises(dlslime.Cancelled):
        a.recv(region)


def test_another_peer_is_refused_while_the_first_is_waited_for():
    with dlslime.Endpoint() as a, dlslime.Endpoint() as b, dlslime.Endpoint() as c:
        a.connect(b.export(), timeout=0)
        with pytest.raises(dlslime.Error, match="connecting to another peer") as e:
            a.connect(c.export(), timeout=PATIENCE)
        assert e.value.errno == errno.EISCONN
        assert not a.connected
        b.connect(a.export(), timeout=PATIENCE)
        assert until(lambda: a.connected)


def test_before_connect_a_transfer_is_refused_and_meanwhile_it_is_held():
    with dlslime.Endpoint() as a, dlslime.Endpoint() as b:
        with pytest.raises(dlslime.NotConnected, match="call connect"):
            a.recv_imm()
        a.connect(b.export(), timeout=0)
        early = a.write_imm(3)
        assert not early.done()
        b.connect(a.export())
        assert b.recv_imm().wait(PATIENCE) == 3 and early.wait(PATIENCE) == 0


def test_a_peer_that_does_not_come_is_told_in_time():
    with dlslime.Endpoint() as a, dlslime.Endpoint() as b:
        with pytest.raises(TimeoutError, match="did not connect in 0.05 s"):
            a.connect(b.export(), timeout=0.05)
        b.connect(a.export())
        assert until(lambda: a.connected)
        with pytest.raises(dlslime.Error, match="already"):
            a.connect(b.export())


def test_descriptions_of_strangers_are_refused(ends):
    with dlslime.Endpoint() as a:
        for bad in (b"", b"x", b"\0" * 2048, b"\xff" * 5000):
            with pytest.raises(dlslime.ProtocolError):
                a.connect(bad, timeout=0.1)
    with pytest.raises(dlslime.ProtocolError):
        ends[0].import_region(b"nonsense")


def test_info_says_why_this_transport(ends):
    info = ends[0].info
    assert info["transport"] == "loopback" and "best that both sides can use" in info["reason"]
    with dlslime.Endpoint() as fresh, pytest.raises(dlslime.NotConnected):
        fresh.info
    with pytest.raises(dlslime.Unsupported):
        dlslime.Endpoint("carrier pigeon")


@pytest.mark.parametrize("transport", ["shm", "tcp", "auto"])
def test_a_peer_in_another_process_is_read_and_written(peer, transport):
    endpoint, remote, process = peer(transport)
    memory = dlslime.alloc(1 << 20)
    local = dlslime.register(memory)
    assert endpoint.info["transport"] == ("shm" if transport == "auto" else transport)
    assert endpoint.read(local, remote).wait(PATIENCE) == 1 << 20
    assert memoryview(memory)[:4].tobytes() == b"pppp"
    memoryview(memory)[:8] = b"written!"
    endpoint.write(local[0:8], remote[0:8]).wait(PATIENCE)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "b'written!'\n"


@pytest.mark.parametrize("transport", ["shm", "tcp"])
def test_a_peer_that_dies_ends_what_waits_for_it(peer, transport):
    endpoint, remote, process = peer(transport)
    receive = endpoint.recv(dlslime.register(bytearray(8)))
    process.kill()
    with pytest.raises(dlslime.PeerGone):
        receive.wait(PATIENCE)
