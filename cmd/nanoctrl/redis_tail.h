/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_tail.h - what the stream of events gets, from whichever daemon: a connection
 * that waits for it.
 *
 * Threads: the loop's only.
 */
#ifndef NANOCTRL_REDIS_TAIL_H
#define NANOCTRL_REDIS_TAIL_H

#include "redis_url.h"
#include "store.h"

struct redis_tail;

/* Begins to connect; tells OPTS' event and gap. NULL: no memory. */
struct redis_tail *redis_tail_create(const struct store_opts *opts, const struct redis_url *url);
void redis_tail_destroy(struct redis_tail *tail); /* NULL is fine */

/* From then on nothing is missed, or a gap is told. */
bool redis_tail_has_caught_up(const struct redis_tail *tail);
/* Why it cannot, "" where nothing is wrong. */
const char *redis_tail_reason(const struct redis_tail *tail);
uint64_t redis_tail_revision(const struct redis_tail *tail); /* the last one that was told */

#endif
