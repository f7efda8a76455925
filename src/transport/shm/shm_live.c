/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which regions exist: a memfd with a word for each, that peers map to read, and
 * before them the one of shm_life.c.
 * The word holds the region's number while it is registered, and 0 afterwards.
 * Who names a region looks there before each piece, so an old name reaches
 * nothing. A peer that looked just before may still finish that piece.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "transport/shm/shm_impl.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

int sl_shm_live_open(struct sl_dom *dom, struct slime_error *err)
{
	void *map;
	int rc;

	dom->live_fd = memfd_create("dlslime-regions", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (dom->live_fd < 0)
		return sl_fail(err, -errno, "cannot make a memfd: %s", strerror(errno));
	rc = sl_file_resize(dom->live_fd, SHM_LIVE_LEN);
	if (rc)
		return sl_fail(err, rc, "cannot size a memfd: %s", strerror(-rc));
	map = mmap(NULL, SHM_LIVE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, dom->live_fd, 0);
	if (map == MAP_FAILED)
		return sl_fail(err, -errno, "cannot map a memfd: %s", strerror(errno));
	dom->live = map;
	/* an old kernel may not know the one that keeps peers from writing: they are of our user */
	(void)fcntl(dom->live_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
	if (fcntl(dom->live_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return sl_fail(err, -errno, "cannot seal a memfd: %s", strerror(errno));
	return 0;
}

void sl_shm_live_close(struct sl_dom *dom)
{
	if (dom->live)
		(void)munmap(dom->live, SHM_LIVE_LEN);
	if (dom->live_fd >= 0)
		(void)close(dom->live_fd);
}

int sl_shm_live_add(struct sl_dom *dom, uint32_t *out_slot, uint64_t *out_number)
{
	int rc = -ENOSPC;

	sl_lock_take(&dom->lock);
	for (uint32_t i = 0; rc && i < SHM_REGIONS; i++) {
		uint32_t slot = SHM_LIFE + 1 + (dom->live_next + i) % SHM_REGIONS;

		if (atomic_load_explicit(&dom->live[slot], memory_order_relaxed))
			continue;
		*out_slot = slot;
		*out_number = ++dom->live_number;
		atomic_store_explicit(&dom->live[slot], *out_number, memory_order_relaxed);
		dom->live_next = slot - SHM_LIFE;
		rc = 0;
	}
	sl_lock_drop(&dom->lock);
	return rc;
}

void sl_shm_live_remove(struct sl_dom *dom, uint32_t slot)
{
	sl_lock_take(&dom->lock);
	atomic_store(&dom->live[slot], 0);
	if (slot - SHM_LIFE - 1 < dom->live_next)
		dom->live_next = slot - SHM_LIFE - 1; /* keep to the first pages */
	sl_lock_drop(&dom->lock);
}
