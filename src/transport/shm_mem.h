/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/shm_mem.h - memory that a peer on this host can map: slime_mem_alloc().
 *
 * Each allocation is a memfd of its own, known to the whole process by its
 * addresses and by a random key. A peer that tells the key gets the memfd.
 * Any thread may call all of this.
 */
#ifndef SL_SHM_MEM_H
#define SL_SHM_MEM_H

#include <stddef.h>
#include <stdint.h>

#include <slime/mr.h>

enum { SL_SHM_KEY_LEN = 16 };

/* An allocation. What it names stays mapped while somebody holds it. */
struct sl_shm_mem {
	char *addr;
	size_t len; /* as asked for */
	uint8_t key[SL_SHM_KEY_LEN];
	int fd;
};

/*
 * LEN bytes, zeroed and page aligned; FLAGS are enum slime_mem_flags, NUMA a
 * node or -1. *OUT is given back with sl_shm_mem_free(). -EINVAL: LEN is 0, or
 * there is no such node. -ENOMEM: no memory, or over the lock limit.
 */
int sl_shm_mem_alloc(size_t len, uint32_t flags, int numa, void **out, struct slime_error *err);

/* -ENOENT: ADDR did not come from sl_shm_mem_alloc(). Peers that map it keep the bytes. */
int sl_shm_mem_free(void *addr);

/* Who has LEN bytes at ADDR, held for the caller; NULL: nobody. */
struct sl_shm_mem *sl_shm_mem_hold(const void *addr, size_t len);
/* The same by KEY, compared in constant time. */
struct sl_shm_mem *sl_shm_mem_find(const uint8_t key[SL_SHM_KEY_LEN]);
void sl_shm_mem_drop(struct sl_shm_mem *mem);

#endif
