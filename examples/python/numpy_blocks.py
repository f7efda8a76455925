# SPDX-License-Identifier: BSD-3-Clause
"""Blocks of a paged KV cache: numpy arrays of block numbers become one transfer, and nothing is made
per block. The second part fetches one block of every layer, which is a stride."""

import numpy as np

import dlslime

LAYERS, BLOCKS, BLOCK = 8, 512, 4096   # a block of a layer has so many bytes
LAYER = BLOCKS * BLOCK


def cache(fill):
    """A cache [layer][block][byte], in memory that peers on this host map."""
    memory = dlslime.alloc(LAYERS * LAYER)
    view = np.asarray(memory).reshape(LAYERS, BLOCKS, BLOCK)
    view[:] = 0
    if fill:
        view[:] = np.arange(LAYERS * BLOCKS, dtype=np.uint32).view(np.uint8)[::4].reshape(
            LAYERS, BLOCKS, 1)
    return memory, view


def main():
    prefill_memory, prefill = cache(fill=True)
    decode_memory, decode = cache(fill=False)
    with dlslime.Endpoint() as decoder, dlslime.Endpoint() as prefiller:
        # Both in one process, so the first begins, and is asked again when the second is there.
        theirs = prefiller.export()
        decoder.connect(theirs, timeout=0)
        prefiller.connect(decoder.export(), timeout=10)
        decoder.connect(theirs, timeout=10)
        here = dlslime.register(decode_memory)
        shown = dlslime.register(prefill_memory, "r")   # for as long as this object lives
        there = decoder.import_region(shown.export())

        # 100 blocks of layer 0, from where they are there to where there is room here
        rng = np.random.default_rng(7)
        theirs = rng.choice(BLOCKS, 100, replace=False)
        ours = rng.choice(BLOCKS, 100, replace=False)
        moved = decoder.read(here, there, local_offsets=ours * BLOCK, remote_offsets=theirs * BLOCK,
                             length=BLOCK).wait()
        assert (decode[0, ours] == prefill[0, theirs]).all()
        print(f"{len(ours)} blocks, {moved} bytes over {decoder.info['transport']}")

        # block 5 of every layer into block 9 of every layer
        moved = decoder.read(here[9 * BLOCK:], there[5 * BLOCK:LAYERS * LAYER], length=BLOCK,
                             count=LAYERS, local_stride=LAYER, remote_stride=LAYER).wait()
        assert (decode[:, 9] == prefill[:, 5]).all()
        print(f"a block of {LAYERS} layers, {moved} bytes")


if __name__ == "__main__":
    main()
