/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/pool.h - objects of one size, taken and put back by any thread without a lock.
 *
 * Memory grows in slabs of doubling size and is given back only with the whole
 * pool, so a stale pointer to an object always points to an object: what looks
 * one up by address or walks them all may race with put(), and decides by a
 * generation kept inside the object.
 */
#ifndef SL_POOL_H
#define SL_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

enum { SL_POOL_SLABS = 20 }; /* 64 objects in the first: 64 Mi in all */

struct sl_pool {
	_Atomic uint64_t head; /* tag << 32 | index + 1 of the first free object */
	_Atomic uint32_t n;    /* objects that exist, free or not */
	uint32_t stride;
	struct sl_lock grow;
	_Atomic(char *) slab[SL_POOL_SLABS];
};

/* Prepare POOL for objects of SIZE bytes and make the first slab. 0 or -ENOMEM. */
int sl_pool_init(struct sl_pool *pool, size_t size);

/* Everything is given back at once; no object may be in use. */
void sl_pool_free(struct sl_pool *pool);

/* An object, NULL if there is no memory. Zeroed when new, else as it was put back. */
void *sl_pool_get(struct sl_pool *pool);
void sl_pool_put(struct sl_pool *pool, void *obj);

/* Object I of sl_pool_count(), in use or free. */
void *sl_pool_at(struct sl_pool *pool, uint32_t i);

static inline uint32_t sl_pool_count(struct sl_pool *pool)
{
	return atomic_load_explicit(&pool->n, memory_order_acquire);
}

#endif
