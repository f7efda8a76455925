/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/nanoctrl/fake_store.h - a store in memory, for tests of what uses one.
 *
 * It keeps the contract of nanoctrl/store.h and passes its tests; answers and events come from
 * the loop. Its clock can be put forward.
 */
#ifndef FAKES_FAKE_STORE_H
#define FAKES_FAKE_STORE_H

#include "store.h"

/* WHERE of its options is what it answers as its URL. */
extern const struct store_table store_fake;

/* As if so long had passed; events of what expires come from the loop. */
void fake_store_advance(struct store *store, int64_t ms);
/* From now on each request fails with STATUS; 0: no more. */
void fake_store_fail(struct store *store, int status);
/* How many operations were asked for so far. */
size_t fake_store_ops(const struct store *store);

#endif
