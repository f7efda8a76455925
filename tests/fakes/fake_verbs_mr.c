/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fake_verbs_mr.c - memory regions. A key is (slot + 1) << 8, then a bit
 * for "remote" and 7 bits of the slot's generation: keys of gone regions match nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fakes/fake_verbs_impl.h"

enum { REMOTE_KEY = 0x80 };

static const int remote_rights =
    IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

static uint32_t key_of(const struct fake_table *t, unsigned slot)
{
	return (slot + 1) << 8 | (t->generation[slot] & 0x7f);
}

static struct fake_mr *find_locked(struct ibv_pd *pd, uint32_t key, uint32_t remote)
{
	const struct fake_table *t = &((struct fake_ctx *)pd->context)->dev->mrs;
	unsigned slot = (key >> 8) - 1;
	struct fake_mr *mr;

	if (key >> 8 == 0 || slot >= t->cap || !t->slot[slot] || key != (key_of(t, slot) | remote))
		return NULL;
	mr = t->slot[slot];
	return mr->ibv.pd == pd ? mr : NULL;
}

static char *at(const struct fake_mr *mr, uint64_t addr, uint64_t len, int access)
{
	uint64_t off = addr - mr->iova;

	if (addr < mr->iova || off > mr->ibv.length || len > mr->ibv.length - off)
		return NULL;
	return (mr->access & access) == access ? mr->mem + off : NULL;
}

char *fake_mr_local_locked(struct ibv_pd *pd, const struct ibv_sge *sge, uint64_t off, uint64_t len,
                           int access)
{
	const struct fake_mr *mr = find_locked(pd, sge->lkey, 0);

	return mr && at(mr, sge->addr, sge->length, access) ? at(mr, sge->addr + off, len, access)
	                                                    : NULL;
}

char *fake_mr_remote_locked(struct ibv_pd *pd, uint32_t rkey, uint64_t addr, uint64_t len,
                            int access)
{
	const struct fake_mr *mr = find_locked(pd, rkey, REMOTE_KEY);

	return mr ? at(mr, addr, len, access) : NULL;
}

/* As the kernel pins: every page must be there. */
static bool is_mapped(void *addr, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)addr & ~(page - 1);
	uintptr_t to = ((uintptr_t)addr + len + page - 1) & ~(page - 1);
	unsigned char in_core[256];

	if (to <= from)
		return false;
	while (from < to) {
		size_t step = to - from < page * 256 ? to - from : page * 256;

		if (mincore(fake_pointer(from), step, in_core))
			return false;
		from += step;
	}
	return true;
}

static int check_locked(const struct fake_device *dev, size_t len, int access)
{
	const struct fake_device_config *c = &dev->config;
	uint64_t locked = fake_verbs_count(FAKE_MR_BYTES);

	if (!len || len > c->attr.max_mr_size)
		return EINVAL;
	if ((access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) &&
	    !(access & IBV_ACCESS_LOCAL_WRITE))
		return EINVAL;
	if (access & IBV_ACCESS_ON_DEMAND)
		return c->odp.general_caps & IBV_ODP_SUPPORT ? 0 : EOPNOTSUPP;
	if (fabric.config.max_locked && locked + len > fabric.config.max_locked)
		return ENOMEM;
	return 0;
}

static int add_locked(struct fake_mr *mr, struct ibv_pd *pd, const char *call)
{
	struct fake_ctx *ctx = (struct fake_ctx *)pd->context;
	struct fake_device *dev = ctx->dev;
	int rc = fake_fault_call_locked(ctx, call);

	if (!rc)
		rc = check_locked(dev, mr->ibv.length, mr->access);
	if (!rc)
		rc = fake_table_add(&dev->mrs, mr, (unsigned)dev->config.attr.max_mr, &mr->slot);
	if (rc)
		return rc;
	mr->ibv.context = pd->context;
	mr->ibv.pd = pd;
	mr->ibv.lkey = key_of(&dev->mrs, mr->slot);
	mr->ibv.rkey = mr->access & remote_rights ? mr->ibv.lkey | REMOTE_KEY : 0;
	((struct fake_pd *)pd)->children++;
	return 0;
}

static struct ibv_mr *create(struct ibv_pd *pd, const struct fake_mr *like, const char *call)
{
	struct fake_mr *mr = malloc(sizeof(*mr));
	int rc = ENOMEM;

	if (mr) {
		*mr = *like;
		fake_lock();
		rc = add_locked(mr, pd, call);
		fake_unlock();
	}
	if (rc) {
		free(mr);
		errno = rc;
		return NULL;
	}
	fake_bump(FAKE_MRS, 1);
	fake_bump(FAKE_MR_BYTES, (int64_t)mr->ibv.length);
	return &mr->ibv;
}

struct ibv_mr *fake_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access)
{
	struct fake_mr mr = {
	    .ibv = {.addr = addr, .length = len},
	    .iova = (uintptr_t)addr,
	    .mem = addr,
	    .access = access,
	};

	if (len && !(access & IBV_ACCESS_ON_DEMAND) && !is_mapped(addr, len)) {
		errno = EFAULT;
		return NULL;
	}
	return create(pd, &mr, "reg_mr");
}

/* Any file that can be mapped does for a dma-buf. */
struct ibv_mr *fake_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t off, size_t len, uint64_t iova,
                                  int fd, int access)
{
	struct fake_mr mr = {
	    .ibv = {.length = len}, .iova = iova, .access = access, .mapped = true};
	uint64_t in_page = off % (uint64_t)sysconf(_SC_PAGESIZE);
	struct ibv_mr *made;
	void *mem;

	if (!((struct fake_ctx *)pd->context)->dev->config.dmabuf) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	mem = mmap(NULL, len + in_page, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	           (off_t)(off - in_page));
	if (mem == MAP_FAILED)
		return NULL;
	mr.mem = (char *)mem + in_page;
	made = create(pd, &mr, "reg_dmabuf_mr");
	if (!made)
		(void)munmap(mem, len + in_page);
	return made;
}

int fake_dereg_mr(struct ibv_mr *ibv)
{
	struct fake_mr *mr = (struct fake_mr *)ibv;
	uintptr_t in_page = (uintptr_t)mr->mem % (uintptr_t)sysconf(_SC_PAGESIZE);

	fake_lock();
	fake_table_remove(&((struct fake_ctx *)ibv->context)->dev->mrs, mr->slot);
	((struct fake_pd *)ibv->pd)->children--;
	fake_unlock();
	if (mr->mapped)
		(void)munmap(mr->mem - in_page, mr->ibv.length + in_page);
	fake_bump(FAKE_MRS, -1);
	fake_bump(FAKE_MR_BYTES, -(int64_t)mr->ibv.length);
	free(mr);
	return 0;
}
