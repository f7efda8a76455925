/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/lease.h - the record of a lease, as /v1 shows it. */
#ifndef NANOCTRL_LEASE_H
#define NANOCTRL_LEASE_H

#include <jansson.h>

#include "store.h"

/* Name, holder, fence and TTL. NULL: no memory. */
json_t *lease_json(const struct store_row *row);

#endif
