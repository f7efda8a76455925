/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/routes_ops.h - what /readyz has to know. The loop's thread only. */
#ifndef NANOCTRL_ROUTES_OPS_H
#define NANOCTRL_ROUTES_OPS_H

#include <stdbool.h>

/* REASON is a sentence; copied. */
void ops_store_health(bool up, const char *reason);
/* From now on not ready. */
void ops_drain(void);

#endif
