/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/torture/torture.h - run the scenario with the n-th call failing, for each n. */
#ifndef TORTURE_TORTURE_H
#define TORTURE_TORTURE_H

#include "wrap.h"

/*
 * Run over TRANSPORT with n = 1, 2, ... until a run ends without a failure. Each
 * run must end, with success or an error that is documented, and leave neither
 * memory nor descriptors behind. Returns how many runs failed at something.
 */
unsigned torture(enum wrap_kind kind, const char *transport);

#endif
