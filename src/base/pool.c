/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/pool.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_BITS = 6, FIRST = 1 << FIRST_BITS };

/* Stands before every object. */
struct head {
	_Atomic uint32_t next; /* index + 1 of the next free object */
	uint32_t index;
	uint64_t pad; /* keeps the object on 16 bytes */
};

/* Slab k holds the FIRST << k objects from index FIRST * (2^k - 1). */
static struct head *at(struct sl_pool *pool, uint32_t i)
{
	unsigned k = 31u - (unsigned)__builtin_clz((i >> FIRST_BITS) + 1);
	uint32_t in_slab = i - (((1u << k) - 1) << FIRST_BITS);
	char *slab = atomic_load_explicit(&pool->slab[k], memory_order_acquire);

	return (struct head *)(void *)(slab + (size_t)in_slab * pool->stride);
}

static void push(struct sl_pool *pool, struct head *first, struct head *last)
{
	uint64_t old = atomic_load_explicit(&pool->head, memory_order_relaxed);
	uint64_t new;

	do {
		atomic_store_explicit(&last->next, (uint32_t)old, memory_order_relaxed);
		new = (old & ~(uint64_t)UINT32_MAX) | (first->index + 1);
	} while (!atomic_compare_exchange_weak_explicit(
	    &pool->head, &old, new, memory_order_release, memory_order_relaxed));
}

/* The tag changes with every pop, so that a head seen before a pop never matches after it. */
static inline struct head *pop(struct sl_pool *pool)
{
	uint64_t old = atomic_load_explicit(&pool->head, memory_order_acquire);
	uint64_t new;
	struct head *h;

	do {
		if (!(uint32_t)old)
			return NULL;
		h = at(pool, (uint32_t)old - 1);
		new =
		    ((old >> 32) + 1) << 32 | atomic_load_explicit(&h->next, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
	    &pool->head, &old, new, memory_order_acquire, memory_order_acquire));
	return h;
}

static int grow_locked(struct sl_pool *pool)
{
	uint32_t n = atomic_load_explicit(&pool->n, memory_order_relaxed);
	unsigned k = 31u - (unsigned)__builtin_clz((n >> FIRST_BITS) + 1);
	uint32_t more = (uint32_t)FIRST << k;
	char *slab;

	if (k >= SL_POOL_SLABS)
		return -ENOMEM;
	slab = calloc(more, pool->stride);
	if (!slab)
		return -ENOMEM;
	atomic_store_explicit(&pool->slab[k], slab, memory_order_release);
	for (uint32_t i = 0; i < more; i++) {
		struct head *h = at(pool, n + i);

		h->index = n + i;
		atomic_store_explicit(&h->next, i + 1 < more ? n + i + 2 : 0, memory_order_relaxed);
	}
	atomic_store_explicit(&pool->n, n + more, memory_order_release);
	push(pool, at(pool, n), at(pool, n + more - 1));
	return 0;
}

int sl_pool_init(struct sl_pool *pool, size_t size)
{
	int rc;

	*pool =
	    (struct sl_pool){.stride = (uint32_t)((sizeof(struct head) + size + 63) & ~(size_t)63)};
	sl_lock_init(&pool->grow);
	sl_lock_take(&pool->grow);
	rc = grow_locked(pool);
	sl_lock_drop(&pool->grow);
	if (rc)
		sl_lock_free(&pool->grow);
	return rc;
}

void sl_pool_free(struct sl_pool *pool)
{
	for (int i = 0; i < SL_POOL_SLABS; i++)
		free(atomic_load_explicit(&pool->slab[i], memory_order_relaxed));
	sl_lock_free(&pool->grow);
}

static struct head *pop_grown(struct sl_pool *pool)
{
	struct head *h;

	sl_lock_take(&pool->grow);
	h = pop(pool); /* someone may have grown it, or put one back */
	if (!h && grow_locked(pool) == 0)
		h = pop(pool);
	sl_lock_drop(&pool->grow);
	return h;
}

void *sl_pool_get(struct sl_pool *pool)
{
	struct head *h = pop(pool);

	if (!h)
		h = pop_grown(pool);
	return h ? h + 1 : NULL;
}

void sl_pool_put(struct sl_pool *pool, void *obj)
{
	struct head *h = (struct head *)obj - 1;

	push(pool, h, h);
}

void *sl_pool_at(struct sl_pool *pool, uint32_t i)
{
	return at(pool, i) + 1;
}
