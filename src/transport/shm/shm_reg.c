/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions. One in memory of slime_mem_alloc() is named by the key of its memfd.
 * The peer asks for the memfd on the control socket, maps all of it, and shares
 * the mapping among its regions and connections; nobody waits for that: until
 * it is there ops use CMA, or wait where CMA is off.
 *
 * After unreg() this process's library does not touch the memory, and an honest
 * peer sees that it is gone (shm_live.c). The kernel lets a peer in even so that
 * has the memory mapped, or may use CMA: rights are checked by who submits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "transport/shm/shm_impl.h"

int sl_shm_reg(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access, struct sl_reg **out,
               struct slime_error *err)
{
	struct sl_reg *reg;

	if (mem->kind != SLIME_MEM_HOST)
		return sl_fail(err, -EOPNOTSUPP, "shm reaches host memory only");
	reg = calloc(1, sizeof(*reg));
	if (!reg)
		return sl_fail(err, -ENOMEM, "no memory for a region");
	reg->dom = dom;
	reg->addr = mem->addr;
	reg->len = mem->len;
	reg->access = access;
	reg->checked = mem->checked;
	if (sl_shm_live_add(dom, &reg->live_slot, &reg->live_number)) {
		free(reg);
		return sl_fail(err, -ENOMEM, "there are %d regions already", SHM_REGIONS);
	}
	reg->mem = sl_shm_mem_hold(mem->addr, mem->len);
	*out = reg;
	return 0;
}

void sl_shm_unreg(struct sl_reg *reg)
{
	if (!reg)
		return;
	sl_shm_live_remove(reg->dom, reg->live_slot);
	sl_shm_mem_drop(reg->mem);
	free(reg);
}

int sl_shm_reg_pack(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err)
{
	struct shm_ticket t = {
	    .access = reg->access,
	    .proc = reg->dom->card.proc,
	    .addr = (uintptr_t)reg->addr,
	    .len = reg->len,
	    .live_slot = reg->live_slot,
	    .live_number = reg->live_number,
	};

	if (reg->mem) {
		t.shared = true;
		t.off = (uint64_t)(reg->addr - reg->mem->addr);
		memcpy(t.key, reg->mem->key, sizeof(t.key));
	} else if (reg->dom->no_cma) {
		return sl_fail(err, -EACCES,
		               "the region is not in memory of slime_mem_alloc(), and the context "
		               "refuses CMA");
	}
	sl_shm_ticket_put(&t, out);
	return 0;
}

static bool same_proc(const struct shm_proc *a, const struct shm_proc *b)
{
	return a->pid == b->pid && a->start == b->start && a->pidns == b->pidns;
}

/* The mapping of KEY of PROC, counted for the caller; NULL: there is none. */
static struct shm_map *map_find(struct sl_dom *dom, const struct shm_proc *proc,
                                const uint8_t key[SHM_ID_LEN])
{
	struct shm_map *map;

	sl_lock_take(&dom->lock);
	for (map = dom->maps; map; map = map->next)
		if (same_proc(&map->proc, proc) && !memcmp(map->key, key, SHM_ID_LEN))
			break;
	if (map)
		map->refs++;
	sl_lock_drop(&dom->lock);
	return map;
}

void sl_shm_map_hold(struct sl_dom *dom, struct shm_map *map)
{
	sl_lock_take(&dom->lock);
	map->refs++;
	sl_lock_drop(&dom->lock);
}

void sl_shm_map_put(struct sl_dom *dom, struct shm_map *map)
{
	bool last;

	if (!map)
		return;
	sl_lock_take(&dom->lock);
	last = --map->refs == 0;
	for (struct shm_map **p = &dom->maps; last && *p; p = &(*p)->next) {
		if (*p == map) {
			*p = map->next;
			break;
		}
	}
	sl_lock_drop(&dom->lock);
	if (last) {
		(void)munmap(map->base, map->len);
		free(map);
	}
}

/* Map what the peer gave. It must not be able to shrink it under our hands. */
static int map_fd(int fd, int prot, struct shm_map *map)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) || st.st_size <= 0)
		return -EPROTO;
	map->len = (size_t)st.st_size;
	map->base = mmap(NULL, map->len, prot, MAP_SHARED, fd, 0);
	return map->base == MAP_FAILED ? -errno : 0;
}

int sl_shm_map_get(struct sl_conn *conn, const uint8_t key[SHM_ID_LEN], int fd, int prot,
                   struct shm_map **out)
{
	struct shm_map *map = map_find(conn->dom, &conn->card.proc, key);
	int rc;

	if (map) {
		*out = map;
		return 0;
	}
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	rc = map_fd(fd, prot, map);
	if (rc) {
		free(map);
		return rc;
	}
	map->proc = conn->card.proc;
	memcpy(map->key, key, SHM_ID_LEN);
	map->refs = 1;
	sl_lock_take(&conn->dom->lock);
	map->next = conn->dom->maps;
	conn->dom->maps = map;
	sl_lock_drop(&conn->dom->lock);
	*out = map;
	return 0;
}

/* Ask for the memory that somebody waits for, one at a time, so that no socket fills up. */
static void ask_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock)
{
	struct shm_msg msg = {.type = SHM_ASK};

	if (conn->asking || conn->gone || (!conn->wants && !conn->msg_wanted))
		return;
	memcpy(msg.key, conn->wants ? conn->wants->key : conn->msg_key, SHM_ID_LEN);
	memcpy(conn->ask_key, msg.key, SHM_ID_LEN);
	if (sl_shm_say(conn->fd, &msg, NULL)) {
		sl_shm_fail_locked(conn, -ECONNRESET);
		return;
	}
	conn->asking = true;
	atomic_fetch_add_explicit(&conn->dom->unsettled, 1, memory_order_relaxed);
}

/* RREG is in MAP (counted for it), or will never be mapped: STATUS. */
static void settle_rreg(struct sl_rreg *rreg, struct shm_map *map, int status)
{
	rreg->waiting = false;
	if (!status && (rreg->off > map->len || rreg->len > map->len - rreg->off)) {
		sl_shm_map_put(rreg->conn->dom, map);
		status = -EPROTO;
	}
	if (status) {
		rreg->conn->unmapped = status; /* to be logged without the lock */
		atomic_store_explicit(&rreg->status, status, memory_order_release);
		return;
	}
	rreg->map = map;
	atomic_store_explicit(&rreg->base, map->base + rreg->off, memory_order_release);
}

static void keep_msg_map_locked(struct sl_conn *conn, struct shm_map *map) SL_REQUIRES(conn->lock)
{
	struct shm_map **place = &conn->msg_map[conn->next_msg_map++ % SHM_MSG_MAPS];

	if (*place && *place == conn->dst_map) /* somebody copies there */
		place = &conn->msg_map[conn->next_msg_map++ % SHM_MSG_MAPS];
	sl_shm_map_put(conn->dom, *place);
	*place = map;
}

int sl_shm_asked_locked(struct sl_conn *conn, const struct shm_msg *msg)
{
	struct sl_shm_mem *mem = sl_shm_mem_find(msg->key);
	struct shm_msg answer = {.type = SHM_GIVE, .status = mem ? 0 : -ENOENT};
	int fds[2] = {mem ? mem->fd : -1, -1};
	int rc;

	memcpy(answer.key, msg->key, sizeof(answer.key));
	rc = sl_shm_say(conn->fd, &answer, fds);
	sl_shm_mem_drop(mem);
	return rc ? -ECONNRESET : 0;
}

int sl_shm_given_locked(struct sl_conn *conn, const struct shm_msg *msg, int fd)
{
	struct sl_rreg **p = &conn->wants;
	struct shm_map *map = NULL;
	int status = msg->status;

	if (!conn->asking || memcmp(msg->key, conn->ask_key, SHM_ID_LEN) != 0 ||
	    (status == 0 && fd < 0))
		return -EPROTO;
	conn->asking = false;
	atomic_fetch_sub_explicit(&conn->dom->unsettled, 1, memory_order_relaxed);
	if (!status)
		status = sl_shm_map_get(conn, msg->key, fd, PROT_READ | PROT_WRITE, &map);
	while (*p) {
		struct sl_rreg *rreg = *p;

		if (memcmp(rreg->key, msg->key, SHM_ID_LEN) != 0) {
			p = &rreg->next;
			continue;
		}
		*p = rreg->next;
		settle_rreg(rreg, status ? NULL : map_find(conn->dom, &conn->card.proc, rreg->key),
		            status);
	}
	if (conn->msg_wanted && !memcmp(conn->msg_key, msg->key, SHM_ID_LEN)) {
		conn->msg_wanted = false;
		conn->msg_unmappable = status != 0;
		if (!status)
			keep_msg_map_locked(conn, map);
		map = NULL;
	}
	sl_shm_map_put(conn->dom, map);
	ask_locked(conn);
	return 0;
}

struct shm_map *sl_shm_msg_map_locked(struct sl_conn *conn, const uint8_t key[SHM_ID_LEN])
{
	struct shm_map *map;

	for (int i = 0; i < SHM_MSG_MAPS; i++) {
		map = conn->msg_map[i];
		if (map && !memcmp(map->key, key, SHM_ID_LEN))
			return map;
	}
	map = map_find(conn->dom, &conn->card.proc, key);
	if (map) {
		keep_msg_map_locked(conn, map);
	} else if (!conn->msg_wanted && !conn->msg_unmappable) {
		conn->msg_wanted = true;
		memcpy(conn->msg_key, key, SHM_ID_LEN);
		ask_locked(conn);
	}
	return map;
}

static int check_ticket(const struct sl_conn *conn, const struct shm_ticket *t,
                        struct slime_error *err)
{
	if (atomic_load_explicit(&conn->state, memory_order_acquire) != SHM_OPEN)
		return sl_fail(err, -ENOTCONN, "the connection of the region is not open");
	if (!same_proc(&t->proc, &conn->card.proc))
		return sl_fail(err, -EACCES,
		               "the region belongs to process %u, the endpoint leads to process %u",
		               t->proc.pid, conn->card.proc.pid);
	if (!t->shared && !conn->cma_pid)
		return sl_fail(
		    err, -EACCES,
		    "the region is not in memory of slime_mem_alloc(), and CMA is refused "
		    "by the context or by the peer's");
	return 0;
}

static void want_map(struct sl_rreg *rreg)
{
	struct sl_conn *conn = rreg->conn;
	struct sl_rreg **end = &conn->wants;
	struct shm_map *map;

	sl_lock_take(&conn->lock);
	map = map_find(conn->dom, &conn->card.proc, rreg->key);
	if (map) {
		settle_rreg(rreg, map, 0);
	} else {
		while (*end)
			end = &(*end)->next;
		*end = rreg;
		rreg->waiting = true;
		ask_locked(conn);
	}
	sl_lock_drop(&conn->lock);
}

int sl_shm_rreg_unpack(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
                       struct slime_error *err)
{
	struct shm_ticket t;
	struct sl_rreg *rreg;
	int rc;

	if (sl_shm_ticket_get(blob, &t) || t.live_slot >= SHM_LIVE_MAX || !t.live_number)
		return sl_fail(err, -EPROTO, "not a description of a shm region");
	rc = check_ticket(conn, &t, err);
	if (rc)
		return rc;
	rreg = calloc(1, sizeof(*rreg));
	if (!rreg)
		return sl_fail(err, -ENOMEM, "no memory for a remote region");
	rreg->addr = t.addr;
	rreg->len = t.len;
	rreg->off = t.off;
	rreg->access = t.access;
	memcpy(rreg->key, t.key, sizeof(rreg->key));
	rreg->live = (const _Atomic uint64_t *)(const void *)conn->live->base + t.live_slot;
	rreg->live_number = t.live_number;
	rreg->conn = conn;
	rreg->live_map = conn->live;
	sl_shm_map_hold(conn->dom, rreg->live_map);
	sl_shm_conn_ref(conn);
	if (t.shared)
		want_map(rreg);
	*out = rreg;
	return 0;
}

void sl_shm_rreg_free(struct sl_rreg *rreg)
{
	struct sl_conn *conn;

	if (!rreg)
		return;
	conn = rreg->conn;
	sl_lock_take(&conn->lock);
	for (struct sl_rreg **p = &conn->wants; rreg->waiting && *p; p = &(*p)->next) {
		if (*p == rreg) {
			*p = rreg->next;
			break;
		}
	}
	sl_lock_drop(&conn->lock);
	sl_shm_map_put(conn->dom, rreg->map);
	sl_shm_map_put(conn->dom, rreg->live_map);
	free(rreg);
	sl_shm_conn_unref(conn);
}
