/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/watch.h - changes of the store, kept for a while, and who waits for them.
 *
 * The last events lie in a ring; who reads has a revision, and asks for what is
 * behind it. Waiters lie in a table by what they wait for, so that an event costs
 * nothing to those who did not ask for it; they are rung once for all that one turn of
 * the loop brought.
 *
 * Threads: the loop's only.
 */
#ifndef NANOCTRL_WATCH_H
#define NANOCTRL_WATCH_H

#include "nanoctrl.h"

/* What rings: changes of a scope; of an agent and its regions; of a lease; mail for an agent. */
enum bell { BELL_SCOPE, BELL_AGENT, BELL_LEASE, BELL_MAIL };
/* Something came; the deadline passed; the daemon ends: the waiter must be destroyed now. */
enum ring { RING_NEWS, RING_TIME, RING_END };

struct waiter;
typedef void waiter_rung(void *arg, enum ring ring);

/* NULL: no memory. RUNG is called from the loop, never from within these calls. */
struct waiter *waiter_create(struct watch *watch, waiter_rung *rung, void *arg);
/* May be called for several bells; NAME "" for BELL_SCOPE. -ENOMEM. */
int waiter_hear(struct waiter *waiter, enum bell bell, const char *scope, const char *name);
/* RING_TIME in so long, in the place of any deadline before. */
void waiter_deadline(struct waiter *waiter, int64_t after_ms);
void waiter_destroy(struct waiter *waiter);

/*
 * Shows EACH the events behind AFTER, oldest first, until it returns false. -ESTALE: they
 * are not all there any more, or the store has never come as far as AFTER.
 */
int watch_read(const struct watch *watch, uint64_t after,
               bool (*each)(void *arg, const struct store_event *event), void *arg);
/* Agents of a scope. */
struct watch_names {
	const char *scope;
	const char *const *name;
	size_t n;
};
/* Likewise those of these agents and their regions, in a time that the others do not add to.
 * -ENOMEM. */
int watch_read_of(const struct watch *watch, uint64_t after, const struct watch_names *of,
                  bool (*each)(void *arg, const struct store_event *event), void *arg);
/* The last revision that was told. */
uint64_t watch_revision(const struct watch *watch);

#endif
