# SPDX-License-Identifier: BSD-3-Clause
"""RDMAContext, RDMAMemoryPool, RDMAEndpoint, RDMAWorker.

On a real NIC an endpoint is forced to the rdma transport and that device; on a soft one the library
chooses. The documents that peers swap have the contract's keys and one of ours, 'slime', with what
the library exported; nothing else in them is needed to connect.
"""

import functools
import os
import random
import sys

from dlslime import _core, _errors
from dlslime._contract import nics, obs
from dlslime._contract.futures import (
    SlimeImmRecvFuture, SlimeReadWriteFuture, SlimeRecvFuture, SlimeSendFuture,
)
from dlslime._contract.pool import KEY, Pool, decode, encode, exported_of, remember, text_name

_QP_MOST = 63

# Endpoints that are connected live until shutdown(), as ever: a target that nobody refers to any
# more still serves its peer.
_alive = set()

_limit = os.environ.get("DLSLIME_CONNECT_TIMEOUT")
if _limit:
    try:
        _core.set_connect_limit(float(_limit))
    except ValueError:
        raise ValueError(f"DLSLIME_CONNECT_TIMEOUT is '{_limit}', not a number of seconds") from None


def _also(name, parameter):
    """The overloads of one call differ in the name of a PARAMETER: NAME is another keyword for it."""
    def wrap(method):
        @functools.wraps(method)
        def call(*args, **kwargs):
            if name in kwargs:
                if parameter in kwargs:
                    raise TypeError(f"{parameter} and {name} are the same argument: give one")
                kwargs[parameter] = kwargs.pop(name)
            return method(*args, **kwargs)

        return call

    return wrap


class RDMAContext:
    """A NIC that was chosen."""

    def __init__(self):
        self._name = None
        self._port = 1
        self._kind = None

    def init(self, device_name, ib_port=1, link_type="auto"):
        """Choose the NIC. 0; what is wrong with it raises."""
        if self._name is not None:
            raise RuntimeError("RDMAContext is already initialized")
        if not isinstance(device_name, str):
            raise TypeError(f"device_name is {type(device_name).__name__}, not str")
        nics.normal_link_type(link_type)
        if not nics.available_nic():
            raise RuntimeError("No RDMA devices found")
        self._kind = nics.open_nic(device_name, ib_port, link_type)
        self._port = ib_port.__index__()
        self._name = device_name
        return 0

    def launch_future(self):
        """Nothing to do: the library's thread runs as long as it is needed."""

    def stop_future(self):
        """Nothing to do, as launch_future()."""


class RDMAMemoryPool:
    """Registered memory that endpoints may share."""

    def __init__(self, context):
        if context is None:
            raise ValueError("RDMA context cannot be null")
        if not isinstance(context, RDMAContext):
            raise TypeError(f"context is {type(context).__name__}, not RDMAContext")
        if context._name is None:
            raise RuntimeError("the RDMAContext is not initialized: call init() first")
        self._context = context
        self._pool = Pool()

    def register_memory_region(self, data_ptr, length, name=None):
        """The handle; -1 if NAME means another region."""
        if name is not None:
            text_name(name)
        return self._pool.register(_core.unsigned(data_ptr, "data_ptr"),
                                   _core.unsigned(length, "length"), name)

    def register_dmabuf_memory_region(self, fd, offset, length, iova, name=None):
        """Not possible in this version; says so after the checks of the contract."""
        if isinstance(fd, bool) or not isinstance(fd, int):
            raise TypeError(f"fd is {type(fd).__name__}, not int")
        if fd < 0:
            raise ValueError("dma-buf fd must be non-negative")
        offset, length = _core.unsigned(offset, "offset"), _core.unsigned(length, "length")
        iova = _core.unsigned(iova, "iova")
        if not length:
            raise ValueError("dma-buf MR length must be greater than zero")
        if offset % 4096 != iova % 4096:
            raise ValueError("dma-buf offset and iova must have the same host-page offset")
        if name is not None and text_name(name) in self._pool.names:
            raise ValueError(f"dma-buf MR name is already registered with a different range: {name}")
        raise RuntimeError(f"ibv_reg_dmabuf_mr failed: fd={fd}, offset={offset}, length={length}, "
                           f"iova={iova}, errno=95 (Operation not supported)")

    def get_handle(self, name):
        """The handle of a name, or -1."""
        return self._pool.names.get(text_name(name), -1)

    def unregister_memory_region(self, key):
        """0, or -1 for what is not registered. KEY is a handle or a name."""
        return self._pool.unregister(key)

    def mr_info(self):
        """The named regions for a peer, or None if there are none."""
        return self._pool.info() or None


class RDMAWorker:
    """Named by the contract. Transfers move without it: by whoever waits, and by the library's thread."""

    @_also("socket_id", "dev_name")
    def __init__(self, dev_name, id):
        if isinstance(dev_name, bool) or not isinstance(dev_name, (str, int)):
            raise TypeError(f"the first argument is {type(dev_name).__name__}, not a device name or "
                            "a socket id")
        _core.unsigned(id, "id")
        self._count = 0

    def start(self):
        pass

    def stop(self):
        pass

    def add_endpoint(self, endpoint):
        """The endpoint's number here, from 0."""
        if not isinstance(endpoint, RDMAEndpoint):
            raise TypeError(f"endpoint is {type(endpoint).__name__}, not RDMAEndpoint")
        self._count += 1
        return self._count - 1


def _default_nic(device_name):
    names = nics.available_nic()
    if not names:
        error = RuntimeError("No available RDMA devices")
        if os.environ.get("DLSLIME_SOFT_NIC", "").strip() == "0":
            error = RuntimeError("No available RDMA devices (DLSLIME_SOFT_NIC=0: unset it for a soft "
                                 "NIC over shared memory and TCP)")
        raise error
    if device_name in names:
        return device_name
    if device_name:
        print(f"dlslime: no NIC '{device_name}' here, using {names[0]}", file=sys.stderr)
    return names[0]


def _check_stream(stream):
    if stream is None:
        return
    if type(stream).__name__ != "PyCapsule":
        raise TypeError(f"stream is {type(stream).__name__}: None or a capsule is possible")
    raise NotImplementedError("device streams are not part of this version: pass None")


def _chunk(chunk):
    if not isinstance(chunk, (tuple, list)) or len(chunk) != 3:
        raise TypeError("a chunk is a tuple (data_ptr, offset, length)")
    ptr, offset, length = (_core.unsigned(v, w)
                           for v, w in zip(chunk, ("data_ptr", "offset", "length")))
    if ptr + offset >= 1 << 64:
        raise ValueError(f"data_ptr {ptr:#x} plus offset {offset} leaves the address space")
    return ptr + offset, length


_nothing = None


def region_for(pool, addr, length):
    """A region for a message: the user's if he has registered it, else one for this transfer."""
    global _nothing
    if not length:
        if _nothing is None:
            _nothing = _core.register(bytearray(1))
        return _nothing
    return pool.find(addr, length) or _core.register_address(addr, length, "local")


class RDMAEndpoint:
    """One connection to one peer.

    RDMAEndpoint(device_name="", ib_port=1, link_type="auto", num_qp=1, worker=None)
    RDMAEndpoint(pool, num_qp=1, worker=None)
    RDMAEndpoint(context, num_qp=1, worker=None)
    """

    def __init__(self, *args, **kwargs):
        first = args[0] if args else None
        if "pool" in kwargs or "context" in kwargs or (args and not isinstance(first, str)):
            self._on_pool(*args, **kwargs)
        else:
            self._on_device(*args, **kwargs)

    def _on_pool(self, *args, **kwargs):
        key = "context" if "context" in kwargs else "pool"
        if args:
            kwargs = {key: args[0], **dict(zip(("num_qp", "worker"), args[1:])), **kwargs}
        if len(args) > 3 or not set(kwargs) <= {key, "num_qp", "worker"}:
            raise TypeError("RDMAEndpoint takes (pool, num_qp=1, worker=None), (context, num_qp=1, "
                            "worker=None) or (device_name='', ib_port=1, link_type='auto', num_qp=1, "
                            "worker=None)")
        given = kwargs[key]
        if given is None:
            raise ValueError("RDMA context cannot be null" if key == "context"
                             else "RDMA memory pool cannot be null")
        if isinstance(given, RDMAContext):
            given = RDMAMemoryPool(given)
        if not isinstance(given, RDMAMemoryPool):
            raise TypeError(f"{type(given).__name__} is neither a pool, a context nor a device name")
        self._open(given, kwargs.get("num_qp", 1), kwargs.get("worker"))

    def _on_device(self, device_name="", ib_port=1, link_type="auto", num_qp=1, worker=None):
        if not isinstance(device_name, str):
            raise TypeError(f"device_name is {type(device_name).__name__}, not str")
        nics.normal_link_type(link_type)
        context = RDMAContext()
        context.init(_default_nic(device_name), ib_port, link_type)
        self._open(RDMAMemoryPool(context), num_qp, worker)

    def _open(self, pool, num_qp, worker):
        self._num_qp = _core.unsigned(num_qp, "num_qp")
        if not 1 <= self._num_qp <= _QP_MOST:
            raise ValueError(f"num_qp is {num_qp}: 1 to {_QP_MOST} are possible")
        if worker is not None:
            if not isinstance(worker, RDMAWorker):
                raise TypeError(f"worker is {type(worker).__name__}, not RDMAWorker")
            worker.add_endpoint(self)
        name, soft = pool._context._name, pool._context._kind == "soft"
        device = f"{name}:{pool._context._port}"
        self._memory = pool
        self._names = {}   # the peer's regions: name -> handle
        self._obs = obs.slot_of(name)
        try:
            self._port = _core.Port(_core.context(), None if soft else "rdma", None if soft else device,
                                    0 if soft else min(self._num_qp, 16), pool._pool.regions)
        except _errors.Error as e:
            raise RuntimeError(f"Failed to open RDMA device '{name}': {e}") from e

    # ---- set-up

    def endpoint_info(self):
        """The document for the peer's connect(): plain values, fit for JSON."""
        rand = random.Random(id(self))

        def queue_pair():
            return {"gid": {"interface_id": 0, "subnet_prefix": 0}, "gidx": 0, "lid": 0, "mtu": 5,
                    "psn": rand.getrandbits(24), "qpn": rand.getrandbits(24)}

        pairs = range(self._num_qp)
        return {
            "io_info": {"data_channel_info": [queue_pair() for _ in pairs]},
            "mr_info": self.mr_info(),
            "msg_info": {
                "data_channel_info": [queue_pair() for _ in pairs],
                "meta_channel_info": [queue_pair()],
                "remote_meta_base": {"addr": 0, "length": 0, "rkey": 0},
            },
            KEY: encode(self._port.export()),
        }

    def connect(self, remote_info):
        """Connect to the peer whose endpoint_info() this is; it does the same, in any order.

        Does not wait for the peer: transfers submitted before it is there start when it is.
        """
        if not isinstance(remote_info, dict):
            raise TypeError(f"remote_info is {type(remote_info).__name__}, not a dict")
        if self._port.begun:
            raise RuntimeError("the endpoint is connected already")
        if KEY not in remote_info:
            raise RuntimeError(f"remote_info has no '{KEY}' key: the peer is not of this library, or "
                               "the document was cut; it must be passed on unchanged")
        self._check_pairs(remote_info)
        exported = decode(remote_info[KEY], "remote_info")
        regions = remote_info.get("mr_info") or {}
        if not isinstance(regions, dict):
            raise TypeError(f"mr_info is {type(regions).__name__}, not a dict")
        for entry in regions.values():
            exported_of(entry, "an entry of mr_info")
        try:
            self._port.connect(exported)
        except _errors.Error as e:
            raise RuntimeError(f"connect failed: {e}") from e
        for name, entry in sorted(regions.items(), key=lambda item: item[1].get("handle", 0)):
            self.register_remote_memory_region(name, entry)
        _alive.add(self)

    def _check_pairs(self, remote_info):
        pairs = (remote_info.get("io_info") or {}).get("data_channel_info")
        if isinstance(pairs, list) and len(pairs) != self._num_qp:
            raise RuntimeError(f"the peer has {len(pairs)} queue pairs and this endpoint "
                               f"{self._num_qp}: create both with the same num_qp")

    def is_connected(self):
        """Whether the peer was there. That it still is, a transfer tells."""
        return self._port.connected

    @property
    def info(self):
        """What carries the endpoint and why; once connected."""
        return self._port.info

    # ---- memory

    def get_pool(self):
        return self._memory

    def mr_info(self):
        """The named regions for a peer, or None if there are none."""
        return self._memory.mr_info()

    @_also("name", "mr_key")
    def register_memory_region(self, mr_key, data_ptr, offset, length):
        """Register [data_ptr + offset, + length) under a name, or under a number: 'mr_<number>'."""
        if not isinstance(mr_key, str):
            if isinstance(mr_key, bool) or not hasattr(mr_key, "__index__"):
                raise TypeError(f"mr_key is {type(mr_key).__name__}, not int or str")
            mr_key = f"mr_{mr_key.__index__()}"
        addr = _core.unsigned(data_ptr, "data_ptr") + _core.unsigned(offset, "offset")
        return self._memory.register_memory_region(addr, length, mr_key)

    def unregister_memory_region(self, key):
        """As the pool's."""
        return self._memory.unregister_memory_region(key)

    def register_remote_memory_region(self, name, mr_info):
        """The handle of a peer's region; of a known name the same as before, with the new entry."""
        text_name(name)
        exported = exported_of(mr_info, f"mr_info of '{name}'")
        if KEY in mr_info:
            remember(mr_info)
        if name in self._names:
            self._port.set_remote(self._names[name], exported)
        else:
            self._names[name] = self._port.add_remote(exported)
        return self._names[name]

    # ---- transfers

    def read(self, assign, stream=None):
        """Tuples (mr_key, remote_mr_key, target_offset, source_offset, length): the target is the
        peer's region, the source ours."""
        if stream is not None:
            _check_stream(stream)
        future = self._port.read(SlimeReadWriteFuture, assign)
        return future if self._obs is None else self._obs.submitted("read", assign, future)

    def write(self, assign, stream=None):
        """As read(), the other way."""
        if stream is not None:
            _check_stream(stream)
        future = self._port.write(SlimeReadWriteFuture, assign)
        return future if self._obs is None else self._obs.submitted("write", assign, future)

    def write_with_imm(self, assign, imm_data=0, stream=None):
        """As write(); then one imm_recv() of the peer gets IMM_DATA, a signed number of 32 bits."""
        if stream is not None:
            _check_stream(stream)
        if isinstance(imm_data, bool) or not hasattr(imm_data, "__index__") \
                or not -(1 << 31) <= imm_data < 1 << 31:
            raise TypeError(f"imm_data is {imm_data!r}: it must be a signed int of 32 bits")
        future = self._port.write_imm(SlimeReadWriteFuture, assign, imm_data.__index__() & 0xFFFFFFFF)
        return future if self._obs is None else self._obs.submitted("write_with_imm", assign, future)

    def imm_recv(self, stream=None):
        """The oldest immediate that nobody took."""
        if stream is not None:
            _check_stream(stream)
        return self._port.recv_imm(SlimeImmRecvFuture)

    def send(self, chunk, stream_handler=None):
        """Send (data_ptr, offset, length); the i-th send meets the peer's i-th recv."""
        return self._message(SlimeSendFuture, True, chunk, stream_handler)

    def recv(self, chunk, stream_handler=None):
        """Receive into (data_ptr, offset, length)."""
        return self._message(SlimeRecvFuture, False, chunk, stream_handler)

    def _message(self, cls, is_send, chunk, stream):
        if stream is not None:
            _check_stream(stream)
        addr, length = _chunk(chunk)
        region = region_for(self._memory._pool, addr, length)
        return self._port.message(cls, is_send, region, 0, length)

    def process(self):
        """See what is over. 0: the work is done elsewhere."""
        self._port.poll()
        return 0

    def shutdown(self):
        """End everything that is pending, with failure. Any thread, also twice."""
        _alive.discard(self)
        self._port.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.shutdown()
