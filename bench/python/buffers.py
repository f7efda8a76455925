# SPDX-License-Identifier: BSD-3-Clause
"""Memory for the benches, of the host or of a GPU, with a pattern to compare."""

import random

import dlslime

MIB = 1 << 20


def pattern(seed, nbytes):
    """At most so many bytes that blocks at the wrong place differ: not a power of two of them."""
    return random.Random(seed).randbytes(min(nbytes, MIB - 1))


class HostBuffer:
    def __init__(self, nbytes):
        self.nbytes = nbytes
        self._memory = dlslime.alloc(max(nbytes, 1))
        self.addr = self._memory.addr
        self.view = memoryview(self._memory)[:nbytes]

    def fill(self, seed):
        block = pattern(seed, self.nbytes)
        for at in range(0, self.nbytes, len(block)):
            end = min(at + len(block), self.nbytes)
            self.view[at:end] = block[:end - at]

    def zero(self):
        block = bytes(min(MIB, self.nbytes))
        for at in range(0, self.nbytes, MIB):
            self.view[at:at + MIB] = block[:self.nbytes - at]

    def holds(self, seed, nbytes):
        """Whether the first NBYTES are what fill(SEED) puts there, in a buffer of this size."""
        block = pattern(seed, self.nbytes)
        return all(bytes(self.view[at:min(at + len(block), nbytes)]) == block[:nbytes - at]
                   for at in range(0, nbytes, len(block)))


class GpuBuffer:
    def __init__(self, nbytes):
        import torch

        self._torch = torch
        self.nbytes = nbytes
        self.tensor = torch.zeros(nbytes, dtype=torch.uint8, device="cuda")
        self.addr = self.tensor.data_ptr()
        torch.cuda.synchronize()

    def _pattern(self, seed):
        generator = self._torch.Generator(device="cuda").manual_seed(seed)
        return self._torch.randint(256, (self.nbytes,), dtype=self._torch.uint8, device="cuda",
                                   generator=generator)

    def fill(self, seed):
        self.tensor.copy_(self._pattern(seed))
        self._torch.cuda.synchronize()

    def zero(self):
        self.tensor.zero_()
        self._torch.cuda.synchronize()

    def holds(self, seed, nbytes):
        return bool((self.tensor[:nbytes] == self._pattern(seed)[:nbytes]).all())


def kind_for(device):
    """HostBuffer or GpuBuffer for "cpu" or "cuda", and why not the GPU's where it cannot be."""
    if device == "cpu":
        return HostBuffer, None
    try:
        import torch

        if torch.cuda.is_available():
            dlslime.register(GpuBuffer(4096).tensor).close()
            return GpuBuffer, None
        why = "torch sees no CUDA device"
    except ImportError:
        why = "torch is not installed"
    except (dlslime.Error, ValueError) as e:
        why = f"the GPU's memory cannot be reached: {e}"
    return HostBuffer, f"no GPU memory ({why}): measuring the host's, as --device cpu does"


def size_text(nbytes):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit and nbytes % unit == 0:
            return f"{nbytes // unit} {name}"
    return f"{nbytes} B"


def sizes(first, last):
    """Powers of two from FIRST to LAST."""
    while first <= last:
        yield first
        first *= 2


def parse_size(text):
    """1G, 64M, 512: bytes."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    try:
        if text[-1:].upper() in units:
            return int(text[:-1]) * units[text[-1].upper()]
        return int(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a size such as 512, 64K or 1G") from None
