/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/region.h - the record of a memory region, as /v1 shows it. */
#ifndef NANOCTRL_REGION_H
#define NANOCTRL_REGION_H

#include <jansson.h>

#include "store.h"

/* What was put, and its revision. NULL: no memory. */
json_t *region_json(const struct store_row *row);

#endif
