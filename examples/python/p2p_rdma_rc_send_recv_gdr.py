# SPDX-License-Identifier: BSD-3-Clause
"""A message of 256 KiB from one NIC to another: of GPU memory where that can be reached, else of the
host's, and then it says why."""

import dlslime

BYTES = 256 << 10


class HostMemory:
    def __init__(self, value):
        self._memory = dlslime.alloc(BYTES)
        self.addr = self._memory.addr
        memoryview(self._memory)[:] = bytes([value]) * BYTES

    def holds(self, value):
        return bytes(memoryview(self._memory)) == bytes([value]) * BYTES


class GpuMemory:
    def __init__(self, torch, value):
        self._tensor = torch.full((BYTES,), value, dtype=torch.uint8, device="cuda")
        torch.cuda.synchronize()
        self.addr = self._tensor.data_ptr()
        dlslime.register(self._tensor).close()   # raises if transfers cannot reach it

    def holds(self, value):
        return bool((self._tensor == value).all())


def two_buffers():
    """What is sent, what is received into, and where they are."""
    why = "there is no GPU"
    try:
        import torch

        if torch.cuda.is_available():
            return GpuMemory(torch, 7), GpuMemory(torch, 0), "the GPU's"
    except ImportError:
        why = "torch is not installed"
    except (dlslime.Error, ValueError) as e:
        why = f"that of the GPU cannot be reached: {e}"
    return HostMemory(7), HostMemory(0), f"the host's ({why})"


def main():
    nics = dlslime.available_nic() or [""]   # none: RDMAEndpoint() says so
    sender, receiver = dlslime.RDMAEndpoint(nics[0]), dlslime.RDMAEndpoint(nics[-1])
    sender.connect(receiver.endpoint_info())
    receiver.connect(sender.endpoint_info())

    source, target, where = two_buffers()
    print(f"from {nics[0]} to {nics[-1]}, memory is {where}")
    received = receiver.recv((target.addr, 0, BYTES))
    sent = sender.send((source.addr, 0, BYTES))
    assert sent.wait() == 0, sent.reason()
    assert received.wait() == 0, received.reason()
    assert target.holds(7), "these are not the sender's bytes"
    print(f"{BYTES} bytes sent and received over {sender.info['transport']}")
    for endpoint in (sender, receiver):
        endpoint.shutdown()


if __name__ == "__main__":
    main()
