/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations stand in an array sorted by address, so that whose a pointer is
 * costs a few steps. One that was freed while a region still names it leaves
 * the array, but stays mapped until the last holder drops it.
 */
#include "transport/shm_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/random.h"

enum { NODES_MAX = 1024 };

struct mem {
	struct sl_shm_mem pub; /* first: holders cast */
	size_t mapped;
	uint32_t refs; /* the table's and the holders'; guarded by LOCK */
};

/* Guards the table and every refs. */
static struct sl_lock lock = SL_LOCK_INIT;
static struct mem **table SL_GUARDED_BY(lock);
static size_t n_mems SL_GUARDED_BY(lock);
static size_t cap_mems SL_GUARDED_BY(lock);

/* The number of allocations that start at or below ADDR. */
static size_t rank_locked(const void *addr) SL_REQUIRES(lock)
{
	size_t lo = 0, hi = n_mems;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (table[mid]->pub.addr <= (const char *)addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int insert_locked(struct mem *m) SL_REQUIRES(lock)
{
	size_t at = rank_locked(m->pub.addr);

	if (n_mems == cap_mems) {
		size_t cap = cap_mems ? 2 * cap_mems : 16;
		struct mem **grown = realloc(table, cap * sizeof(struct mem *));

		if (!grown)
			return -ENOMEM;
		table = grown;
		cap_mems = cap;
	}
	memmove(table + at + 1, table + at, (n_mems - at) * sizeof(struct mem *));
	table[at] = m;
	n_mems++;
	return 0;
}

static void remove_locked(size_t at) SL_REQUIRES(lock)
{
	n_mems--;
	memmove(table + at, table + at + 1, (n_mems - at) * sizeof(struct mem *));
	if (!n_mems) {
		free(table);
		table = NULL;
		cap_mems = 0;
	}
}

static void unmap(struct mem *m)
{
	(void)munmap(m->pub.addr, m->mapped);
	(void)close(m->pub.fd);
	free(m);
}

/* Make a memfd of LEN bytes rounded up to pages, sealed, so that who maps it cannot be hurt by it.
 */
static int make_memfd(size_t len, unsigned flags, size_t *out_mapped)
{
	int fd = memfd_create("dlslime-mem", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	struct statfs fs;
	size_t page;
	int rc;

	if (fd < 0)
		return -errno;
	page = flags & MFD_HUGETLB && !fstatfs(fd, &fs) ? (size_t)fs.f_bsize
	                                                : (size_t)sysconf(_SC_PAGESIZE);
	if (len > (size_t)PTRDIFF_MAX - page) {
		rc = -ENOMEM;
		goto err_close;
	}
	*out_mapped = (len + page - 1) / page * page;
	rc = sl_file_resize(fd, *out_mapped);
	if (!rc && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		rc = -errno;
	if (rc)
		goto err_close;
	return fd;

err_close:
	(void)close(fd);
	return rc;
}

static int map_memfd(struct mem *m, size_t len, unsigned flags)
{
	int fd = make_memfd(len, flags, &m->mapped);
	void *addr;
	int rc;

	if (fd < 0)
		return fd;
	addr = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (addr == MAP_FAILED) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	m->pub.addr = addr;
	m->pub.len = len;
	m->pub.fd = fd;
	return 0;
}

/* Huge pages if wanted and to be had: reserved ones, else such as the kernel can put together. */
static int map_pages(struct mem *m, size_t len, uint32_t flags)
{
	char buf[64];
	int rc;

	if (!(flags & SLIME_MEM_HUGE))
		return map_memfd(m, len, 0);
	rc = map_memfd(m, len, MFD_HUGETLB);
	if (!rc)
		return 0;
	sl_log(SLIME_LOG_INFO, "no reserved huge pages for %zu bytes (%s): using normal ones", len,
	       sl_error_name(rc, buf, sizeof(buf)));
	rc = map_memfd(m, len, 0);
	if (!rc)
		(void)madvise(m->pub.addr, m->mapped, MADV_HUGEPAGE);
	return rc;
}

static int bind_node(struct mem *m, int numa, struct slime_error *err)
{
	enum { BITS = 8 * sizeof(unsigned long) };
	unsigned long mask[NODES_MAX / BITS] = {0};
	char path[64];

	if (numa < 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", numa);
	if (numa >= NODES_MAX || access(path, F_OK))
		return sl_fail(err, -EINVAL, "there is no NUMA node %d here", numa);
	mask[numa / BITS] = 1ul << numa % BITS;
	if (syscall(SYS_mbind, m->pub.addr, m->mapped, MPOL_BIND, mask, (unsigned long)NODES_MAX,
	            0))
		return sl_fail(err, -errno, "cannot bind memory to NUMA node %d: %s", numa,
		               strerror(errno));
	return 0;
}

static int lock_pages(struct mem *m, uint32_t flags, struct slime_error *err)
{
	if (!(flags & SLIME_MEM_LOCK) || !mlock(m->pub.addr, m->mapped))
		return 0;
	if (errno == ENOMEM || errno == EPERM || errno == EAGAIN)
		return sl_fail(
		    err, -ENOMEM,
		    "cannot lock %zu bytes of memory: over the limit that 'ulimit -l' shows",
		    m->mapped);
	return sl_fail(err, -errno, "cannot lock %zu bytes of memory: %s", m->mapped,
	               strerror(errno));
}

int sl_shm_mem_alloc(size_t len, uint32_t flags, int numa, void **out, struct slime_error *err)
{
	struct mem *m;
	char buf[64];
	int rc;

	if (!len)
		return sl_fail(err, -EINVAL, "length of memory is zero");
	m = calloc(1, sizeof(*m));
	if (!m)
		return sl_fail(err, -ENOMEM, "no memory for the record of an allocation");
	m->refs = 1;
	rc = sl_random(m->pub.key, sizeof(m->pub.key));
	if (!rc)
		rc = map_pages(m, len, flags);
	if (rc) {
		free(m);
		return sl_fail(err, rc, "cannot allocate %zu bytes of shared memory: %s", len,
		               sl_error_name(rc, buf, sizeof(buf)));
	}
	rc = bind_node(m, numa, err);
	if (!rc)
		rc = lock_pages(m, flags, err);
	if (rc)
		goto err_unmap;
	sl_lock_take(&lock);
	rc = insert_locked(m);
	sl_lock_drop(&lock);
	if (rc) {
		(void)sl_fail(err, rc, "no memory for the table of allocations");
		goto err_unmap;
	}
	*out = m->pub.addr;
	return 0;

err_unmap:
	unmap(m);
	return rc;
}

int sl_shm_mem_free(void *addr)
{
	struct mem *m = NULL;
	size_t at;

	sl_lock_take(&lock);
	at = rank_locked(addr);
	if (at && table[at - 1]->pub.addr == (char *)addr) {
		m = table[at - 1];
		remove_locked(at - 1);
	}
	sl_lock_drop(&lock);
	if (!m)
		return -ENOENT;
	sl_shm_mem_drop(&m->pub);
	return 0;
}

struct sl_shm_mem *sl_shm_mem_hold(const void *addr, size_t len)
{
	struct mem *m = NULL;
	size_t at, off;

	sl_lock_take(&lock);
	at = rank_locked(addr);
	if (at) {
		off = (size_t)((const char *)addr - table[at - 1]->pub.addr);
		if (off < table[at - 1]->pub.len && len <= table[at - 1]->pub.len - off) {
			m = table[at - 1];
			m->refs++;
		}
	}
	sl_lock_drop(&lock);
	return m ? &m->pub : NULL;
}

struct sl_shm_mem *sl_shm_mem_find(const uint8_t key[SL_SHM_KEY_LEN])
{
	struct mem *m = NULL;

	sl_lock_take(&lock);
	for (size_t i = 0; i < n_mems; i++)
		if (sl_same_secret(table[i]->pub.key, key, SL_SHM_KEY_LEN))
			m = table[i];
	if (m)
		m->refs++;
	sl_lock_drop(&lock);
	return m ? &m->pub : NULL;
}

void sl_shm_mem_drop(struct sl_shm_mem *mem)
{
	struct mem *m = (struct mem *)mem; /* pub is the first member */
	bool last;

	if (!m)
		return;
	sl_lock_take(&lock);
	last = --m->refs == 0;
	sl_lock_drop(&lock);
	if (last)
		unmap(m);
}
