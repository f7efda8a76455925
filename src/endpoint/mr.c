/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <slime/mr.h>

#include "base/env.h"
#include "base/error.h"
#include "base/foreign.h"
#include "endpoint/internal.h"
#include "transport/transports.h"

/* Options that were compiled before FLAGS was there. */
enum { SIZE_WITHOUT_FLAGS = offsetof(struct slime_mr_opts, flags) };

static uint32_t flags_of(const struct slime_mr_opts *opts)
{
	return opts && opts->size != SIZE_WITHOUT_FLAGS ? opts->flags : 0;
}

static int check_opts(const struct slime_mr_opts *opts, struct slime_error *err)
{
	char buf[64];
	int rc;

	if (!opts)
		return 0;
	if (opts->size != sizeof(*opts) && opts->size != SIZE_WITHOUT_FLAGS)
		return sl_fail(err, -EINVAL,
		               "size of the region options is %u, this library's is %zu",
		               opts->size, sizeof(*opts));
	if (opts->access & ~(uint32_t)SLIME_ACCESS_REMOTE)
		return sl_fail(err, -EINVAL, "access flags 0x%x are not known",
		               opts->access & ~(uint32_t)SLIME_ACCESS_REMOTE);
	if (opts->kind != SLIME_MEM_AUTO && opts->kind != SLIME_MEM_HOST)
		return sl_fail(err, -ENODEV, "memory of kind %d is not known to this version",
		               opts->kind);
	if (flags_of(opts) & ~(uint32_t)SLIME_MR_CHECKED)
		return sl_fail(err, -EINVAL, "region flags 0x%x are not known",
		               flags_of(opts) & ~(uint32_t)SLIME_MR_CHECKED);
	rc = flags_of(opts) & SLIME_MR_CHECKED ? sl_foreign_check() : 0;
	return rc ? sl_fail(err, -EOPNOTSUPP,
	                    "the kernel refuses process_vm_readv, which checked memory needs: %s",
	                    sl_error_name(rc, buf, sizeof(buf)))
	          : 0;
}

int slime_mr_register(slime_ctx *ctx, void *addr, size_t len, const struct slime_mr_opts *opts,
                      slime_mr **out, struct slime_error *err)
{
	const struct sl_device_ops *ops;
	slime_mr *mr;
	int rc;

	if (!ctx || !out)
		return sl_fail(err, -EINVAL, "no context or no place for the region was given");
	if (!addr || !len || (uintptr_t)addr + len < (uintptr_t)addr)
		return sl_fail(err, -EINVAL, "%zu bytes at %p are no region", len, addr);
	rc = check_opts(opts, err);
	if (rc)
		return rc;
	mr = calloc(1, sizeof(*mr));
	if (!mr)
		return sl_fail(err, -ENOMEM, "no memory for a region");
	rc = sl_device_probe(addr, len, &ops, &mr->mem);
	if (rc) {
		free(mr);
		return sl_fail(err, rc, "nobody knows the memory at %p", addr);
	}
	mr->mem.checked = flags_of(opts) & SLIME_MR_CHECKED;
	mr->ctx = ctx;
	mr->kind = ops->name;
	mr->access = opts ? opts->access : 0;
	atomic_init(&mr->refs, 1);
	sl_lock_init(&mr->lock);
	sl_ctx_ref(ctx);
	*out = mr;
	return 0;
}

/* Registration with a domain, on first use. */
int sl_mr_reg(slime_mr *mr, struct sl_ctx_dom *dom, struct sl_reg **out, struct slime_error *err)
{
	struct sl_reg *reg = sl_mr_reg_known(mr, dom);
	uint32_t i = dom->index;
	int rc = 0;

	if (reg) {
		*out = reg;
		return 0;
	}
	sl_lock_take(&mr->lock);
	reg = atomic_load_explicit(&mr->reg[i], memory_order_relaxed);
	if (!reg && !(dom->tr->kinds & UINT32_C(1) << mr->mem.kind))
		rc = sl_fail(err, -EOPNOTSUPP, "%s does not reach %s memory", dom->tr->name,
		             mr->kind);
	if (!reg && !rc) {
		rc = dom->tr->reg(dom->dom, &mr->mem, mr->access, &reg, err);
		if (!rc) {
			atomic_store_explicit(&mr->reg[i], reg, memory_order_release);
			atomic_fetch_add_explicit(&dom->stats.regions, 1, memory_order_relaxed);
			atomic_fetch_add_explicit(&dom->stats.region_bytes, mr->mem.len,
			                          memory_order_relaxed);
		}
	}
	sl_lock_drop(&mr->lock);
	if (!rc)
		*out = reg;
	return rc;
}

void sl_mr_free(slime_mr *mr)
{
	for (size_t i = 0; i < SL_DOMS_MAX; i++) {
		struct sl_reg *reg = atomic_load(&mr->reg[i]);
		struct sl_ctx_dom *dom = &mr->ctx->doms[i];

		if (!reg)
			continue;
		dom->tr->unreg(reg);
		atomic_fetch_sub_explicit(&dom->stats.regions, 1, memory_order_relaxed);
		atomic_fetch_sub_explicit(&dom->stats.region_bytes, mr->mem.len,
		                          memory_order_relaxed);
	}
	sl_lock_free(&mr->lock);
	sl_ctx_unref(mr->ctx);
	free(mr);
}

void slime_mr_deregister(slime_mr *mr)
{
	if (mr)
		sl_mr_unref(mr);
}

static int add_dom(slime_mr *mr, unsigned i, struct slime_desc *out, struct slime_error *err)
{
	struct sl_ctx_dom *dom = &mr->ctx->doms[i];
	struct sl_blob blob = {0};
	struct sl_reg *reg;
	int rc = sl_mr_reg(mr, dom, &reg, err);

	if (!rc)
		rc = dom->tr->reg_pack(reg, &blob, err);
	if (!rc && sl_desc_add(out, dom->tr->name, i, 0, &blob))
		rc = sl_fail(err, -EMSGSIZE, "a description has no room for %s of %u devices",
		             dom->tr->name, i + 1);
	return rc;
}

/* With no endpoint yet, the domains that one would use are opened here. */
static void open_doms(slime_ctx *ctx)
{
	struct sl_ctx_dom *doms[SL_LANES_MAX];

	for (size_t i = 0; sl_transports[i]; i++)
		if (sl_env_lists(SL_ENV_TRANSPORT, sl_transports[i]->name))
			(void)sl_rails_open(ctx, sl_transports[i], NULL, 1, doms, NULL);
}

int slime_mr_export(slime_mr *mr, struct slime_desc *out, struct slime_error *err)
{
	struct sl_desc_head head = {.kind = SL_DESC_MR};
	struct slime_error first = {0};
	struct slime_desc desc;
	unsigned added = 0;
	uint32_t n;

	if (!mr || !out)
		return sl_fail(err, -EINVAL, "no region or no place for the description was given");
	if (!atomic_load(&mr->ctx->ndoms))
		open_doms(mr->ctx);
	memcpy(head.ctx_id, mr->ctx->id, sizeof(head.ctx_id));
	head.len = mr->mem.len;
	head.access = mr->access;
	head.mem_kind = (uint32_t)mr->mem.kind;
	sl_desc_begin(&desc, &head);
	n = atomic_load_explicit(&mr->ctx->ndoms, memory_order_acquire);
	for (unsigned i = 0; i < n; i++) {
		struct slime_error why = {0};

		if (add_dom(mr, i, &desc, &why) == 0)
			added++;
		else if (!first.code)
			first = why;
	}
	if (!added)
		return sl_fail(err, first.code ? first.code : -ENODEV, "%s",
		               first.code ? first.text : "no transport can be opened");
	sl_desc_end(&desc);
	out->len = desc.len;
	memcpy(out->bytes, desc.bytes, desc.len);
	return 0;
}

static int unpack_lanes(slime_ep *ep, slime_rmr *rmr, const struct sl_desc_section *sections, int n,
                        struct slime_error *err)
{
	for (uint32_t lane = 0; lane < ep->nlanes; lane++) {
		const struct sl_desc_section *s =
		    sl_desc_find(sections, n, ep->tr->name, ep->peer_dom[lane], 0);
		struct sl_blob blob = {0};
		int rc;

		if (!s)
			return sl_fail(
			    err, -ENODEV,
			    "the region is not reachable over %s: its owner must export it after creating its endpoint, and over shm without CMA it must be in memory of slime_mem_alloc()",
			    ep->tr->name);
		if (s->len > sizeof(blob.bytes))
			return sl_fail(err, -EPROTO, "the %s part of the description has %u bytes",
			               ep->tr->name, s->len);
		blob.len = s->len;
		memcpy(blob.bytes, s->bytes, s->len);
		rc = ep->tr->rreg_unpack(ep->conn[lane], &blob, &rmr->rreg[lane], err);
		if (rc)
			return rc;
	}
	return 0;
}

static void free_rregs(slime_rmr *rmr)
{
	for (size_t i = 0; i < SL_LANES_MAX; i++) {
		if (rmr->rreg[i])
			rmr->ep->tr->rreg_free(rmr->rreg[i]);
	}
}

int slime_ep_import(slime_ep *ep, const struct slime_desc *desc, slime_rmr **out,
                    struct slime_error *err)
{
	struct sl_desc_section sections[SL_DESC_SECTIONS];
	struct sl_desc_head head;
	slime_rmr *rmr;
	int rc;
	int n;

	if (!ep || !desc || !out)
		return sl_fail(err, -EINVAL,
		               "no endpoint, description or place for the region was given");
	rc = sl_ep_usable(ep, err);
	if (rc)
		return rc;
	n = sl_desc_read(desc, SL_DESC_MR, &head, sections, err);
	if (n < 0)
		return n;
	if (memcmp(head.ctx_id, ep->peer.ctx_id, sizeof(head.ctx_id)))
		return sl_fail(err, -EACCES,
		               "the region belongs to another context than the peer's");
	rmr = calloc(1, sizeof(*rmr));
	if (!rmr)
		return sl_fail(err, -ENOMEM, "no memory for a remote region");
	rmr->ep = ep;
	rmr->len = head.len;
	rmr->access = head.access;
	atomic_init(&rmr->refs, 1);
	rc = unpack_lanes(ep, rmr, sections, n, err);
	if (rc) {
		free_rregs(rmr);
		free(rmr);
		return rc;
	}
	sl_ep_ref(ep);
	*out = rmr;
	return 0;
}

void sl_rmr_free(slime_rmr *rmr)
{
	free_rregs(rmr);
	sl_ep_unref(rmr->ep);
	free(rmr);
}

void slime_rmr_release(slime_rmr *rmr)
{
	if (rmr)
		sl_rmr_unref(rmr);
}
