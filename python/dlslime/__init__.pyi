# SPDX-License-Identifier: BSD-3-Clause
from dlslime import logging as logging
from dlslime._contract.absent import (
    AscendDirectEndpoint as AscendDirectEndpoint,
    NVLinkEndpoint as NVLinkEndpoint,
    SlimeAscendFuture as SlimeAscendFuture,
    SlimeNVLinkFuture as SlimeNVLinkFuture,
)
from dlslime._contract.assignment import (
    Assignment as Assignment,
    DeviceSignal as DeviceSignal,
    OpCode as OpCode,
)
from dlslime._contract.futures import (
    SlimeImmRecvFuture as SlimeImmRecvFuture,
    SlimeReadWriteFuture as SlimeReadWriteFuture,
    SlimeRecvFuture as SlimeRecvFuture,
    SlimeSendFuture as SlimeSendFuture,
    SlimeTcpReadWriteFuture as SlimeTcpReadWriteFuture,
    SlimeTcpRecvFuture as SlimeTcpRecvFuture,
    SlimeTcpSendFuture as SlimeTcpSendFuture,
)
from dlslime._contract.nics import available_nic as available_nic, socket_id as socket_id
from dlslime._contract.obs import (
    obs_enabled as obs_enabled,
    obs_register_nic_for_test as obs_register_nic_for_test,
    obs_reset_for_test as obs_reset_for_test,
    obs_snapshot as obs_snapshot,
)
from dlslime._contract.rdma import (
    RDMAContext as RDMAContext,
    RDMAEndpoint as RDMAEndpoint,
    RDMAMemoryPool as RDMAMemoryPool,
    RDMAWorker as RDMAWorker,
)
from dlslime._contract.tcp import TcpEndpoint as TcpEndpoint, TcpMemoryPool as TcpMemoryPool
from dlslime._contract.topology import discover_topology as discover_topology
from dlslime._core import (
    Context as Context,
    Endpoint as Endpoint,
    Future as Future,
    Memory as Memory,
    Region as Region,
    RemoteRegion as RemoteRegion,
    Transfer as Transfer,
    alloc as alloc,
    context as context,
    register as register,
    register_address as register_address,
    version as version,
)
from dlslime._errors import (
    AccessDenied as AccessDenied,
    Cancelled as Cancelled,
    Error as Error,
    ForkError as ForkError,
    MessageTooLong as MessageTooLong,
    NotConnected as NotConnected,
    OutOfRange as OutOfRange,
    PeerGone as PeerGone,
    ProtocolError as ProtocolError,
    TimeoutError as TimeoutError,
    Unreachable as Unreachable,
    Unsupported as Unsupported,
)
from dlslime.ctrl import NanoCtrlClient as NanoCtrlClient
from dlslime.logging import get_logger as get_logger, set_log_level as set_log_level
from dlslime.peer_agent import (
    PeerAgent as PeerAgent,
    start_peer_agent as start_peer_agent,
    start_peer_agent_async as start_peer_agent_async,
)

__version__: str

def get_cmake_dir() -> str: ...
