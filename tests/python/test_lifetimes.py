# SPDX-License-Identifier: BSD-3-Clause
"""What is closed and when, and memory that torch shares."""

import pytest

import dlslime
from conftest import PATIENCE, run_python, until


def test_everything_that_can_be_closed_is_closed_by_with():
    with dlslime.Context() as context:
        with context.alloc(64) as memory, context.register(bytearray(64)) as region, \
                dlslime.Endpoint(context=context) as a, dlslime.Endpoint(context=context) as b:
            a.connect(b.export(), timeout=0)
            b.connect(a.export(), timeout=PATIENCE)
            assert until(lambda: a.connected)
            with a.import_region(region.export()) as remote, \
                    a.prepare("read", region, remote) as transfer:
                assert transfer.post().wait(PATIENCE) == 64
            with pytest.raises(ValueError, match="closed"):
                transfer.post()
            with pytest.raises(ValueError, match="closed"):
                a.read(region, remote)
    assert a.closed and b.closed
    with pytest.raises(BufferError):
        memoryview(memory)
    with pytest.raises(ValueError, match="closed"):
        region.export()
    for make in (lambda: dlslime.Endpoint(context=context), lambda: context.alloc(8),
                 lambda: context.register(bytearray(8))):
        with pytest.raises(ValueError, match="^this context is closed$"):
            make()


def test_the_context_of_the_process_is_made_anew_after_a_close():
    run_python("""
        import dlslime
        old = dlslime.alloc(8)
        with dlslime.context() as first:
            pass
        assert dlslime.context() is not first and dlslime.alloc(8) and memoryview(old)[0] == 0
    """)


def test_torch_shares_memory_by_dlpack_and_its_tensors_are_registered(ends):
    torch = pytest.importorskip("torch")
    a, b = ends
    memory = dlslime.alloc(4096)
    shared = torch.from_dlpack(memory)
    assert shared.dtype == torch.uint8 and shared.data_ptr() == memory.addr
    source = torch.arange(1024, dtype=torch.int32)
    region = dlslime.register(source)
    assert a.read(dlslime.register(memory), a.import_region(region.export())).wait(PATIENCE) == 4096
    assert torch.equal(shared.view(torch.int32), source)
    with pytest.raises(ValueError, match="not contiguous"):
        dlslime.register(torch.zeros(8, 8)[:, ::2])
    del memory
    assert int(shared[4]) == 1   # the tensor keeps it
