# SPDX-License-Identifier: BSD-3-Clause
"""A thousand reads in flight on one event loop: a future of a transfer is awaited like any other."""

import asyncio

import dlslime

READS, BYTES = 1000, 256


async def main():
    theirs = bytearray(i % 251 for i in range(READS * BYTES))
    mine = bytearray(READS * BYTES)
    async with dlslime.Endpoint() as reader, dlslime.Endpoint() as owner:
        # Each gives the other what export() returns, by any means; here it is one process.
        await asyncio.gather(reader.connect_async(owner.export(), timeout=10),
                             owner.connect_async(reader.export(), timeout=10))
        region = dlslime.register(mine)
        shown = dlslime.register(theirs, "r")   # for as long as this object lives
        remote = reader.import_region(shown.export())

        moved = await asyncio.gather(*[reader.read(region[i:i + BYTES], remote[i:i + BYTES])
                                       for i in range(0, len(mine), BYTES)])
        assert mine == theirs, "these are not the owner's bytes"
        print(f"{len(moved)} reads, {sum(moved)} bytes over {reader.info['transport']}")

        # A transfer that takes too long ends like any awaitable; its memory is quiet then.
        try:
            await asyncio.wait_for(reader.recv_imm(), 0.05)
        except asyncio.TimeoutError:
            print("nobody sent a number")


if __name__ == "__main__":
    asyncio.run(main())
