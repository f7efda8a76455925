# SPDX-License-Identifier: BSD-3-Clause
"""Rank 0 reads the memory of rank 1's GPU: torchrun --nproc_per_node=2 examples/python/p2p_nvlink.py

Says why, and ends with 1, where that is not possible.
"""

import os
import sys

import dlslime


def no(reason):
    sys.exit(f"p2p_nvlink.py cannot run here: {reason}")


def main():
    try:
        endpoint = dlslime.NVLinkEndpoint()
    except RuntimeError as e:
        no(e)
    try:
        import torch
        import torch.distributed as dist
    except ImportError:
        no("torch is not installed, and the memory is tensors")
    if not torch.cuda.is_available():
        no("torch sees no CUDA device")
    if os.environ.get("WORLD_SIZE") != "2":
        no("it is two processes: torchrun --nproc_per_node=2 examples/python/p2p_nvlink.py")

    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.cuda.set_device(rank % torch.cuda.device_count())
    buffer = torch.full((16,), rank, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    endpoint.register_memory_region(buffer.data_ptr(), 0, 16, "buffer")
    infos = [None, None]
    dist.all_gather_object(infos, endpoint.endpoint_info())
    endpoint.connect(infos[1 - rank])
    if rank == 0:
        # (region, remote region, remote offset, local offset, length)
        endpoint.read([("buffer", "buffer", 8, 0, 8)]).wait()
        torch.cuda.synchronize()
        assert buffer.tolist() == [1] * 8 + [0] * 8, "these are not the peer's bytes"
        print("read:", buffer.tolist())
    dist.barrier()   # the peer's memory stays until it was read
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
