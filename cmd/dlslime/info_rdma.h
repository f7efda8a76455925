/* SPDX-License-Identifier: BSD-3-Clause */
/* info_rdma.h - the part of 'dlslime info' about RDMA devices. */
#ifndef DLSLIME_INFO_RDMA_H
#define DLSLIME_INFO_RDMA_H

#include "rdma_facts.h"

void info_rdma_people(const struct rdma_facts *f);

/* A JSON array. */
void info_rdma_json(const struct rdma_facts *f);

#endif
