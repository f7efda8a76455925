/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/lifetimes.h - when records go away that nobody touches: in memory,
 * by a clock that no one sets. For the SQLite store: to touch a record costs no
 * disk and no query, and after a restart every TTL begins anew.
 *
 * Threads: one.
 */
#ifndef NANOCTRL_LIFETIMES_H
#define NANOCTRL_LIFETIMES_H

#include "store_request.h"

struct lifetimes;

/* NULL: no memory. */
struct lifetimes *lifetimes_create(void);
void lifetimes_destroy(struct lifetimes *all);

/*
 * Take in what a request did, from now (NOW_NS, of any steady clock) on. Only
 * records with a TTL, and those that have such children, are kept. -ENOMEM: it is
 * not kept, and does not expire before the next start.
 */
int lifetimes_apply(struct lifetimes *all, const struct life *life, int64_t now_ns);

/* As LIFE_BEGINS, unless it is known already: from a file, where nobody touched it. */
int lifetimes_found(struct lifetimes *all, const struct life *life, int64_t now_ns);

/*
 * Is KEY alive, and what are its numbers? 0, -ENOENT (it has expired), or -ESRCH: not
 * known here, which does not say that there is none.
 */
int lifetimes_look(const struct lifetimes *all, const struct store_key *key, uint64_t *revision,
                   uint64_t *born);
/* Touch KEY, which is alive, and its children; ONCE_MS: for so long, 0: as it was put. */
void lifetimes_touch(struct lifetimes *all, const struct store_key *key, int64_t once_ms,
                     int64_t now_ns);

/* A request that may put or touch KEY is under way: until released it does not expire. */
void lifetimes_hold(struct lifetimes *all, const struct store_key *key);
void lifetimes_release(struct lifetimes *all, const struct store_key *key);

/* When to ask for what is due; negative: nothing will be. It may turn out too early. */
int64_t lifetimes_next_ns(const struct lifetimes *all);
/*
 * One that is due: from now on it is expired, until LIFE_ENDS or lifetimes_revive(). Valid
 * until then. NULL: no more.
 */
const struct store_key *lifetimes_take_due(struct lifetimes *all, int64_t now_ns);
/* It could not be deleted: it lives until DUE_NS. */
void lifetimes_revive(struct lifetimes *all, const struct store_key *key, int64_t due_ns);

#endif
