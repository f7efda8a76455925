/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint/plan.c - segments of the user checked and resolved into what a transport sees. */
#include <errno.h>
#include <stdlib.h>

#include "endpoint/internal.h"

/* Do COUNT runs of LEN bytes from OFF, STRIDE apart, stay inside SIZE bytes? */
static bool inside(uint64_t off, uint64_t len, uint64_t count, uint64_t stride, uint64_t size)
{
	uint64_t last = off;

	if (count > 1 && (__builtin_mul_overflow(count - 1, stride, &last) ||
	                  __builtin_add_overflow(last, off, &last)))
		return false;
	return last <= size && len <= size - last;
}

static int plan_one(slime_ep *ep, enum sl_opcode code, const struct slime_seg *seg,
                    struct sl_iov *iov, uint64_t *bytes)
{
	uint32_t need = code == SL_OP_READ ? SLIME_ACCESS_REMOTE_READ : SLIME_ACCESS_REMOTE_WRITE;
	uint64_t count = seg->count > 1 ? seg->count : 1;
	slime_mr *mr = seg->local;
	slime_rmr *rmr = seg->remote;
	uint64_t total = seg->len;

	if (!mr || mr->ctx != ep->ctx || (rmr && rmr->ep != ep))
		return -EINVAL;
	if (!inside(seg->local_off, seg->len, count, seg->local_stride, mr->mem.len))
		return -ERANGE;
	if ((count > 1 && __builtin_mul_overflow(seg->len, count, &total)) ||
	    __builtin_add_overflow(*bytes, total, bytes))
		return -ERANGE;
	iov->addr = (char *)mr->mem.addr + seg->local_off;
	iov->roff = seg->remote_off;
	iov->len = seg->len;
	iov->count = seg->len ? count : 1; /* nobody counts to 2^64 for no bytes */
	iov->stride = count > 1 ? seg->local_stride : 0;
	iov->rstride = count > 1 ? seg->remote_stride : 0;
	iov->rreg = NULL;
	if (code > SL_OP_WRITE_IMM)
		return 0;
	if (!rmr)
		return -EINVAL;
	if (!(rmr->access & need))
		return -EACCES;
	iov->rreg = rmr->rreg[0];
	return inside(seg->remote_off, seg->len, count, seg->remote_stride, rmr->len) ? 0 : -ERANGE;
}

/* Registered with every device that EP's lanes use: the transfer may go over any of them. */
static int reg_all(slime_ep *ep, slime_mr *mr, struct sl_reg **out)
{
	int rc = 0;

	*out = sl_mr_reg_known(mr, ep->dom[0]);
	if (!*out)
		rc = sl_mr_reg(mr, ep->dom[0], out, NULL);
	for (uint32_t i = 1; i < ep->ndoms && !rc; i++) {
		struct sl_reg *other = sl_mr_reg_known(mr, ep->dom[i]);

		if (!other)
			rc = sl_mr_reg(mr, ep->dom[i], &other, NULL);
	}
	return rc;
}

/* Another hold, H, on the regions of SEG, registered as REG. */
static int hold(slime_ep *ep, const struct slime_seg *seg, struct sl_hold *h, struct sl_reg **reg)
{
	int rc = reg_all(ep, seg->local, reg);

	if (rc)
		return rc;
	atomic_fetch_add_explicit(&seg->local->refs, 1, memory_order_relaxed);
	if (seg->remote)
		atomic_fetch_add_explicit(&seg->remote->refs, 1, memory_order_relaxed);
	h->mr = seg->local;
	h->rmr = seg->remote;
	h->niov = 0;
	return 0;
}

int sl_plan_segs(slime_ep *ep, enum sl_opcode code, const struct slime_seg *segs, size_t n,
                 struct sl_plan *plan)
{
	uint64_t max_len = code <= SL_OP_WRITE_IMM ? ep->tr->max_len : UINT64_MAX;
	struct sl_hold *next = plan->holds, *h = NULL;
	struct sl_iov *iov = plan->iov;
	struct sl_reg *reg = NULL;
	uint64_t bytes = 0;
	int rc = 0;

	plan->split = code <= SL_OP_WRITE_IMM && n > ep->tr->max_iov;
	for (size_t i = 0; i < n; i++, iov++) {
		const struct slime_seg *seg = &segs[i];

		rc = plan_one(ep, code, seg, iov, &bytes);
		if (!rc && (!h || h->mr != seg->local || h->rmr != seg->remote)) {
			rc = hold(ep, seg, next, &reg);
			h = rc ? h : next++;
		}
		if (rc)
			break;
		h->niov++;
		iov->reg = reg;
		if (seg->len > max_len)
			plan->split = true;
	}
	plan->bytes = bytes;
	plan->nholds = (uint32_t)(next - plan->holds);
	if (rc)
		sl_holds_drop(plan->holds, plan->nholds);
	return rc;
}
