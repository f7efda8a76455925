/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/rdma/rdma_reg.c - memory that the device may reach, and its keys. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "device/devices.h"
#include "transport/rdma/rdma_impl.h"

static void lock_limit(char *out, size_t cap)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY};

	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		(void)snprintf(out, cap, "no limit");
	else
		(void)snprintf(out, cap, "%llu KiB", (unsigned long long)limit.rlim_cur / 1024);
}

int sl_rdma_reg_failed(const struct sl_dom *dom, size_t len, int e, struct slime_error *err)
{
	char text[64], limit[32];

	if (len > dom->attr.orig_attr.max_mr_size)
		return sl_fail(err, -EINVAL, "%zu bytes are over the %llu that '%s' can register",
		               len, (unsigned long long)dom->attr.orig_attr.max_mr_size, dom->name);
	lock_limit(limit, sizeof(limit));
	if (e == ENOMEM || e == EAGAIN)
		return sl_fail(
		    err, -ENOMEM,
		    "'%s' cannot register %zu bytes: out of memory, or over the limit of "
		    "locked memory (%s; see 'ulimit -l' and memlock in limits.conf)",
		    dom->name, len, limit);
	if (e == EFAULT)
		return sl_fail(
		    err, -EINVAL,
		    "'%s' cannot register %zu bytes: they are not all mapped, or read-only",
		    dom->name, len);
	return sl_fail(err, -(e ? e : EIO), "'%s' cannot register %zu bytes: %s", dom->name, len,
	               sl_error_name(-(e ? e : EIO), text, sizeof(text)));
}

static int access_bits(const struct sl_dom *dom, uint32_t access)
{
	int bits = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_RELAXED_ORDERING;

	if (access & SLIME_ACCESS_REMOTE_READ)
		bits |= IBV_ACCESS_REMOTE_READ;
	if (access & SLIME_ACCESS_REMOTE_WRITE)
		bits |= IBV_ACCESS_REMOTE_WRITE;
	if (dom->env.odp && dom->attr.odp_caps.general_caps & IBV_ODP_SUPPORT)
		bits |= IBV_ACCESS_ON_DEMAND;
	return bits;
}

/* Memory of a device goes by a dma-buf; without one, by its address (peer memory drivers). */
static struct ibv_mr *reg_any(const struct sl_dom *dom, const struct sl_mem *mem, int bits)
{
	const struct sl_verbs *v = dom->v;
	const struct sl_device_ops *ops = NULL;
	struct ibv_mr *mr = NULL;
	struct sl_mem found;
	uint64_t off;
	int fd;

	if (mem->kind != SLIME_MEM_HOST && !sl_device_probe(mem->addr, mem->len, &ops, &found) &&
	    !ops->dmabuf(mem, &fd, &off)) {
		mr = v->reg_dmabuf_mr(dom->pd, off, mem->len, (uintptr_t)mem->addr, fd,
		                      bits & ~IBV_ACCESS_ON_DEMAND);
		(void)close(fd);
	}
	return mr ? mr : v->reg_mr(dom->pd, mem->addr, mem->len, bits);
}

int sl_rdma_reg(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access, struct sl_reg **out,
                struct slime_error *err)
{
	struct sl_reg *reg = calloc(1, sizeof(*reg));
	int bits = access_bits(dom, access);

	if (!reg)
		return sl_fail(err, -ENOMEM, "no memory for a region");
	errno = 0;
	if (mem->len <= dom->attr.orig_attr.max_mr_size)
		reg->mr = reg_any(dom, mem, bits);
	/* memory that may only be read can still be served to others */
	if (!reg->mr && errno == EFAULT && !(access & SLIME_ACCESS_REMOTE_WRITE))
		reg->mr = reg_any(dom, mem, bits & ~IBV_ACCESS_LOCAL_WRITE);
	if (!reg->mr) {
		int e = errno;

		free(reg);
		return sl_rdma_reg_failed(dom, mem->len, e, err);
	}
	reg->dom = dom;
	reg->addr = (uintptr_t)mem->addr;
	reg->untouched = mem->checked || mem->kind > SLIME_MEM_HOST;
	reg->len = mem->len;
	*out = reg;
	return 0;
}

void sl_rdma_unreg(struct sl_reg *reg)
{
	(void)reg->dom->v->dereg_mr(reg->mr);
	free(reg);
}

int sl_rdma_reg_pack(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err)
{
	struct rdma_region region = {.addr = reg->addr, .len = reg->len, .rkey = reg->mr->rkey};

	(void)err;
	sl_rdma_put_region(out->bytes, &region);
	out->len = RDMA_REGION_LEN;
	return 0;
}

int sl_rdma_rreg_unpack(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
                        struct slime_error *err)
{
	struct rdma_region region;
	struct sl_rreg *r;

	(void)conn;
	if (sl_rdma_get_region(blob->bytes, blob->len, &region))
		return sl_fail(err, -EPROTO, "an rdma region of %u bytes, or of another version",
		               blob->len);
	r = malloc(sizeof(*r));
	if (!r)
		return sl_fail(err, -ENOMEM, "no memory for a remote region");
	r->addr = region.addr;
	r->rkey = region.rkey;
	*out = r;
	return 0;
}

void sl_rdma_rreg_free(struct sl_rreg *rreg)
{
	free(rreg);
}
