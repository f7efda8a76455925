# SPDX-License-Identifier: BSD-3-Clause
"""What was the extension module of the DLSlime that came before: its names and build flags."""

from dlslime import _core
from dlslime._contract.absent import AscendDirectEndpoint, NVLinkEndpoint  # noqa: F401
from dlslime._contract.assignment import Assignment, DeviceSignal, OpCode  # noqa: F401
from dlslime._contract.futures import (  # noqa: F401
    SlimeImmRecvFuture, SlimeReadWriteFuture, SlimeRecvFuture, SlimeSendFuture,
    SlimeTcpReadWriteFuture, SlimeTcpRecvFuture, SlimeTcpSendFuture,
)
from dlslime._contract.nics import (  # noqa: F401
    IBV_LINK_LAYER_ETHERNET as _IBV_LINK_LAYER_ETHERNET,
    IBV_LINK_LAYER_INFINIBAND as _IBV_LINK_LAYER_INFINIBAND,
    available_nic,
    resolve_link_type as _resolve_rdma_link_type,
    socket_id,
)
from dlslime._contract.obs import (  # noqa: F401
    obs_enabled, obs_register_nic_for_test, obs_reset_for_test, obs_snapshot,
)
from dlslime._contract.rdma import (  # noqa: F401
    RDMAContext, RDMAEndpoint, RDMAMemoryPool, RDMAWorker,
)
from dlslime._contract.tcp import TcpEndpoint, TcpMemoryPool  # noqa: F401
from dlslime._contract.topology import discover_topology  # noqa: F401

_BUILD_RDMA = _core.built()["rdma"]
_BUILD_TCP = _core.built()["tcp"]
_BUILD_NVLINK = False
_BUILD_ASCEND_DIRECT = False
_BUILD_INTRA_OPS = False
_BUILD_INTER_OPS = False
_BUILD_RPC = False


def __getattr__(name):
    if name in ("cache", "rpc"):
        raise ImportError(f"dlslime._slime_c.{name} is not part of this version yet")
    raise AttributeError(f"module 'dlslime._slime_c' has no attribute '{name}'")
