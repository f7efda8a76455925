# SPDX-License-Identifier: BSD-3-Clause
"""An initiator reads the memory of a target's NPU. The target has --is_target and the ports the other
way round. It listens at its --local_port for what each must know of the other; the engines have the
ports after theirs. Says why, and ends with 1, where that is not possible.
"""

import argparse
import json
import socket
import sys
import time

import dlslime

BYTES = 16


def no(reason):
    sys.exit(f"p2p_ascend_read.py cannot run here: {reason}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--is_target", action="store_true", help="be read (default: read)")
    parser.add_argument("--local_port", type=int, default=17000)
    parser.add_argument("--remote_port", type=int, default=17001)
    parser.add_argument("--localhost", default="127.0.0.1", help="address of both")
    parser.add_argument("--device", type=int, default=0, help="number of the NPU")
    return parser.parse_args()


def call(address, patience=60):
    """Connect to the target, which may not be there yet."""
    until = time.monotonic() + patience
    while True:
        try:
            return socket.create_connection(address, patience)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                sys.exit(f"no target at {address[0]}:{address[1]} after {patience} s")
            time.sleep(0.1)


def swap(line, args):
    """Give the peer LINE for its own."""
    if args.is_target:
        with socket.create_server((args.localhost, args.local_port)) as listener:
            peer = listener.accept()[0]
    else:
        peer = call((args.localhost, args.remote_port))
    lines = peer.makefile("rw")
    lines.write(line + "\n")
    lines.flush()
    return lines.readline(), lines


def main():
    args = arguments()
    try:
        endpoint = dlslime.AscendDirectEndpoint()
    except RuntimeError as e:
        no(e)
    try:
        import torch
        import torch_npu  # noqa: F401  adds the device "npu"
    except ImportError as e:
        no(f"{e.name} is not installed, and the memory is tensors")

    if endpoint.init(args.localhost, args.local_port + 1):
        no(f"the engine does not start at {args.localhost}:{args.local_port + 1}")
    value = 1 if args.is_target else 0
    buffer = torch.full((BYTES,), value, dtype=torch.uint8, device=f"npu:{args.device}")
    endpoint.register_memory_region(buffer.data_ptr(), 0, BYTES, "buffer")
    theirs, lines = swap(json.dumps(endpoint.endpoint_info()), args)
    if args.is_target:
        lines.readline()   # ends when the initiator does
        return
    endpoint.connect(json.loads(theirs))
    endpoint.read([("buffer", "buffer", 8, 0, 8)]).wait()
    assert buffer.tolist() == [1] * 8 + [0] * 8, "these are not the peer's bytes"
    print("read:", buffer.tolist())


if __name__ == "__main__":
    main()
