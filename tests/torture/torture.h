/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/torture/torture.h - run the scenario with the n-th call failing, for each n. */
#ifndef TORTURE_TORTURE_H
#define TORTURE_TORTURE_H

#include "wrap.h"

/* A test for each transport, as cmocka's exit status: what main() returns. */
int torture_all(enum wrap_kind kind);

#endif
