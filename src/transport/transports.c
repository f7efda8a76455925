/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/transports.h"

#include <stddef.h>

#ifndef SLIME_WITH_RDMA
#define SLIME_WITH_RDMA 1
#endif
#ifndef SLIME_WITH_TCP
#define SLIME_WITH_TCP 1
#endif

const struct sl_transport *const sl_transports[] = {
    &sl_transport_loopback,
    &sl_transport_shm,
#if SLIME_WITH_RDMA
    &sl_transport_rdma,
#endif
#if SLIME_WITH_TCP
    &sl_transport_tcp,
#endif
    NULL,
};

const struct sl_transport_absent sl_transports_absent[] = {
    {"cuda_ipc", "the NVLink transport is not part of this version"},
    {"ascend", "the Ascend Direct transport is not part of this version"},
#if !SLIME_WITH_RDMA
    {"rdma", "this build was made without it (BUILD_RDMA=OFF, or libibverbs-dev was missing)"},
#endif
#if !SLIME_WITH_TCP
    {"tcp", "this build was made without it (BUILD_TCP=OFF)"},
#endif
    {NULL, NULL},
};
