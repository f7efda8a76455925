/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connections of a domain, by slot (for events) and by id (for hellos). All
 * changes are made with dom->lock held, and a connection leaves only by who holds
 * the progress lock: so progress() reads the slots without any.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "transport/shm/shm_impl.h"

enum { SLOTS_MIN = 16 }; /* a power of two, as are all that follow */

/* Ids are random numbers of ours, so any part of them spreads well. */
static struct sl_conn **bucket_of(struct sl_conn **buckets, uint32_t n,
                                  const uint8_t id[SHM_ID_LEN])
{
	uint32_t hash;

	memcpy(&hash, id, sizeof(hash));
	return &buckets[hash & (n - 1)];
}

static void hang_in(struct sl_conn **buckets, uint32_t n, struct sl_conn *conn)
{
	struct sl_conn **place = bucket_of(buckets, n, conn->id);

	conn->same_bucket = *place;
	*place = conn;
}

/* Twice the room of OLD, which is full; NULL: the first. */
static int grow_locked(struct sl_dom *dom, struct shm_slots *old) SL_REQUIRES(dom->lock)
{
	uint32_t n = old ? 2 * old->n : SLOTS_MIN;
	struct shm_slots *slots = calloc(1, sizeof(*slots) + n * sizeof(slots->conn[0]));
	struct sl_conn **buckets = calloc(n, sizeof(struct sl_conn *));

	if (!slots || !buckets) {
		free(slots);
		free(buckets);
		return -ENOMEM;
	}
	slots->n = n;
	slots->outgrown = old;
	for (uint32_t i = 0; old && i < old->n; i++) {
		struct sl_conn *conn = atomic_load_explicit(&old->conn[i], memory_order_relaxed);

		atomic_init(&slots->conn[i], conn);
		hang_in(buckets, n, conn);
	}
	free(dom->by_id);
	dom->by_id = buckets;
	atomic_store_explicit(&dom->slots, slots, memory_order_release);
	return 0;
}

static bool is_taken(struct shm_slots *slots, uint32_t slot)
{
	return atomic_load_explicit(&slots->conn[slot], memory_order_relaxed);
}

int sl_shm_conn_enter(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;
	struct shm_slots *slots;
	int rc = 0;

	sl_lock_take(&dom->lock);
	slots = atomic_load_explicit(&dom->slots, memory_order_relaxed);
	while (slots && dom->free_slot < slots->n && is_taken(slots, dom->free_slot))
		dom->free_slot++;
	if (!slots || dom->free_slot == slots->n)
		rc = grow_locked(dom, slots);
	if (!rc) {
		slots = atomic_load_explicit(&dom->slots, memory_order_relaxed);
		conn->slot = dom->free_slot++;
		conn->gen = ++dom->next_gen & 0xffffff;
		hang_in(dom->by_id, slots->n, conn);
		atomic_store_explicit(&slots->conn[conn->slot], conn, memory_order_release);
		atomic_fetch_add(&dom->n_conns, 1);
	}
	sl_lock_drop(&dom->lock);
	return rc;
}

void sl_shm_conn_leave(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;
	struct shm_slots *slots;
	struct sl_conn **place;

	sl_lock_take(&dom->lock);
	slots = atomic_load_explicit(&dom->slots, memory_order_relaxed);
	place = bucket_of(dom->by_id, slots->n, conn->id);
	while (*place != conn)
		place = &(*place)->same_bucket;
	*place = conn->same_bucket;
	atomic_store_explicit(&slots->conn[conn->slot], NULL, memory_order_relaxed);
	if (conn->slot < dom->free_slot)
		dom->free_slot = conn->slot;
	atomic_fetch_sub(&dom->n_conns, 1);
	sl_lock_drop(&dom->lock);
}

struct sl_conn *sl_shm_conn_find(struct sl_dom *dom, const uint8_t id[SHM_ID_LEN],
                                 const uint8_t secret[SHM_ID_LEN])
{
	struct sl_conn *conn = NULL;
	struct shm_slots *slots;

	sl_lock_take(&dom->lock);
	slots = atomic_load_explicit(&dom->slots, memory_order_relaxed);
	if (slots)
		conn = *bucket_of(dom->by_id, slots->n, id);
	while (conn && (memcmp(conn->id, id, SHM_ID_LEN) != 0 ||
	                !sl_same_secret(conn->secret, secret, SHM_ID_LEN)))
		conn = conn->same_bucket;
	if (conn)
		sl_shm_conn_ref(conn);
	sl_lock_drop(&dom->lock);
	return conn;
}

struct sl_conn *sl_shm_conn_at(struct sl_dom *dom, uint32_t gen, uint32_t slot)
{
	struct shm_slots *slots = atomic_load_explicit(&dom->slots, memory_order_acquire);
	struct sl_conn *conn = NULL;

	if (slots && slot < slots->n)
		conn = atomic_load_explicit(&slots->conn[slot], memory_order_acquire);
	return conn && conn->gen == gen ? conn : NULL;
}

struct sl_conn *sl_shm_conn_next(struct sl_dom *dom, uint32_t *slot)
{
	struct shm_slots *slots = atomic_load_explicit(&dom->slots, memory_order_acquire);
	struct sl_conn *conn = NULL;

	while (slots && !conn && *slot < slots->n)
		conn = atomic_load_explicit(&slots->conn[(*slot)++], memory_order_acquire);
	return conn;
}

void sl_shm_table_free(struct sl_dom *dom)
{
	struct shm_slots *slots = atomic_load(&dom->slots);

	while (slots) {
		struct shm_slots *outgrown = slots->outgrown;

		free(slots);
		slots = outgrown;
	}
	free(dom->by_id);
}

void sl_shm_conn_ref(struct sl_conn *conn)
{
	atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);
}

/* The last may let go after the domain is closed, so nothing of it is touched here. */
void sl_shm_conn_unref(struct sl_conn *conn)
{
	if (atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) > 1)
		return;
	sl_ring_close(&conn->ring);
	sl_lock_free(&conn->lock);
	sl_imm_free(&conn->imms);
	free(conn);
}
