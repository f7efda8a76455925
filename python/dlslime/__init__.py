# SPDX-License-Identifier: BSD-3-Clause
"""DLSlime: move memory between processes, over RDMA, shared memory or TCP.

`alloc`, `register`, `Endpoint` are the API for new programs. RDMAEndpoint, TcpEndpoint and their
companions are the API of the DLSlime that came before, kept for programs written for it. What is
not needed is not imported: names are looked up when they are first used.
"""

import os  # noqa: F401  a name of the contract

from dlslime import _core
from dlslime._core import (
    Context, Endpoint, Future, Memory, Region, RemoteRegion, Transfer, alloc, context, register,
    register_address, version,
)
from dlslime._errors import (  # noqa: F401
    AccessDenied, Cancelled, Error, ForkError, MessageTooLong, NotConnected, OutOfRange, PeerGone,
    ProtocolError, TimeoutError, Unreachable, Unsupported,
)

__version__ = version()

_new = (
    "Context", "Endpoint", "Future", "Memory", "Region", "RemoteRegion", "Transfer", "alloc",
    "context", "register", "register_address", "version",
    "AccessDenied", "Cancelled", "Error", "ForkError", "MessageTooLong", "NotConnected",
    "OutOfRange", "PeerGone", "ProtocolError", "TimeoutError", "Unreachable", "Unsupported",
)

# Where the names of the contract live.
_lazy = {
    "Assignment": "_contract.assignment",
    "OpCode": "_contract.assignment",
    "DeviceSignal": "_contract.assignment",
    "RDMAContext": "_contract.rdma",
    "RDMAMemoryPool": "_contract.rdma",
    "RDMAEndpoint": "_contract.rdma",
    "RDMAWorker": "_contract.rdma",
    "SlimeSendFuture": "_contract.futures",
    "SlimeRecvFuture": "_contract.futures",
    "SlimeReadWriteFuture": "_contract.futures",
    "SlimeImmRecvFuture": "_contract.futures",
    "SlimeTcpSendFuture": "_contract.futures",
    "SlimeTcpRecvFuture": "_contract.futures",
    "SlimeTcpReadWriteFuture": "_contract.futures",
    "TcpEndpoint": "_contract.tcp",
    "TcpMemoryPool": "_contract.tcp",
    "NVLinkEndpoint": "_contract.absent",
    "SlimeNVLinkFuture": "_contract.absent",
    "AscendDirectEndpoint": "_contract.absent",
    "SlimeAscendFuture": "_contract.absent",
    "PeerAgent": "peer_agent",
    "start_peer_agent": "peer_agent",
    "start_peer_agent_async": "peer_agent",
    "available_nic": "_contract.nics",
    "socket_id": "_contract.nics",
    "discover_topology": "_contract.topology",
    "obs_enabled": "_contract.obs",
    "obs_snapshot": "_contract.obs",
    "obs_reset_for_test": "_contract.obs",
    "obs_register_nic_for_test": "_contract.obs",
    "get_logger": "logging",
    "set_log_level": "logging",
}

# Modules that are attributes. The last ones say on import what is missing.
_modules = ("ctrl", "logging", "peer_agent", "_slime_c")
_missing_modules = ("cache", "rpc")

__all__ = [*_new, *_lazy, "get_cmake_dir", "logging"]


def get_cmake_dir():
    """Where find_package(dlslime) finds the C library that came with this package."""
    # Of an editable install these files are with the extension, not with the sources.
    return os.path.join(os.path.dirname(os.path.abspath(_core.__file__)), "share", "cmake", "dlslime")


def __getattr__(name):
    from importlib import import_module

    if name in _lazy:
        value = getattr(import_module("dlslime." + _lazy[name]), name)
        globals()[name] = value
        return value
    if name in _modules or name in _missing_modules:
        return import_module("dlslime." + name)
    if name == "NanoCtrlClient":
        return import_module("dlslime.ctrl").NanoCtrlClient
    raise AttributeError(f"module 'dlslime' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *__all__, *_modules})
