# SPDX-License-Identifier: BSD-3-Clause
"""Names that programs import whether they use them or not. Using one says what is missing."""


class NVLinkEndpoint:
    """Memory of NVIDIA GPUs in another process of this host."""

    def __init__(self, device_index=-1):
        raise RuntimeError("NVLinkEndpoint: the NVLink transport (cuda_ipc) is not part of this "
                           "version; dlslime._slime_c._BUILD_NVLINK tells")


class SlimeNVLinkFuture:
    def __init__(self):
        raise TypeError("futures come from transfers")


class AscendDirectEndpoint:
    """Memory of Ascend NPUs."""

    def __init__(self):
        raise RuntimeError("AscendDirectEndpoint: the Ascend Direct transport is not part of this "
                           "version; dlslime._slime_c._BUILD_ASCEND_DIRECT tells")


class SlimeAscendFuture:
    def __init__(self):
        raise TypeError("futures come from transfers")
