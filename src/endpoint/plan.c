/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint/plan.c - segments of the user checked and resolved into what a transport sees. */
#include <errno.h>
#include <stdlib.h>

#include "endpoint/internal.h"

/* Do COUNT runs of LEN bytes from OFF, STRIDE apart, stay inside SIZE bytes? */
static bool inside(uint64_t off, uint64_t len, uint64_t count, uint64_t stride, uint64_t size)
{
	uint64_t last;

	return !__builtin_mul_overflow(count - 1, stride, &last) &&
	       !__builtin_add_overflow(last, off, &last) && last <= size && len <= size - last;
}

static int plan_one(slime_ep *ep, enum sl_opcode code, const struct slime_seg *seg,
                    struct sl_iov *iov, uint64_t *bytes)
{
	uint32_t need = code == SL_OP_READ ? SLIME_ACCESS_REMOTE_READ : SLIME_ACCESS_REMOTE_WRITE;
	uint64_t count = seg->count ? seg->count : 1;
	uint64_t stride = count > 1 ? seg->local_stride : 0;
	uint64_t rstride = count > 1 ? seg->remote_stride : 0;
	slime_mr *mr = seg->local;
	slime_rmr *rmr = seg->remote;
	uint64_t total;

	if (!mr || mr->ctx != ep->ctx || (rmr && rmr->ep != ep))
		return -EINVAL;
	if (!inside(seg->local_off, seg->len, count, stride, mr->mem.len))
		return -ERANGE;
	if (__builtin_mul_overflow(seg->len, count, &total) ||
	    __builtin_add_overflow(*bytes, total, bytes))
		return -ERANGE;
	*iov = (struct sl_iov){
	    .addr = (char *)mr->mem.addr + seg->local_off,
	    .roff = seg->remote_off,
	    .len = seg->len,
	    .count = seg->len ? count : 1, /* nobody counts to 2^64 for no bytes */
	    .stride = stride,
	    .rstride = rstride,
	};
	if (sl_code_is_recv(code) || code == SL_OP_SEND)
		return 0;
	if (!rmr)
		return -EINVAL;
	if (!(rmr->access & need))
		return -EACCES;
	return inside(seg->remote_off, seg->len, count, rstride, rmr->len) ? 0 : -ERANGE;
}

void sl_holds_drop(const struct sl_hold *holds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		sl_mr_unref(holds[i].mr);
		if (holds[i].rmr)
			sl_rmr_unref(holds[i].rmr);
	}
}

/* Registered with every device that EP's lanes use: the transfer may go over any of them. */
static int reg_all(slime_ep *ep, slime_mr *mr, struct sl_reg **out)
{
	struct sl_reg *other;
	int rc = sl_mr_reg(mr, ep->dom[0], out, NULL);

	for (uint32_t i = 1; i < ep->ndoms && !rc; i++)
		rc = sl_mr_reg(mr, ep->dom[i], &other, NULL);
	return rc;
}

static void hold(const struct slime_seg *seg, struct sl_hold *h)
{
	atomic_fetch_add_explicit(&seg->local->refs, 1, memory_order_relaxed);
	if (seg->remote)
		atomic_fetch_add_explicit(&seg->remote->refs, 1, memory_order_relaxed);
	*h = (struct sl_hold){.mr = seg->local, .rmr = seg->remote};
}

int sl_plan_segs(slime_ep *ep, enum sl_opcode code, const struct slime_seg *segs, size_t n,
                 struct sl_plan *plan)
{
	struct sl_reg *reg = NULL;
	int rc = 0;

	plan->nholds = 0;
	plan->bytes = 0;
	plan->split = code <= SL_OP_WRITE_IMM && n > ep->tr->max_iov;
	for (size_t i = 0; i < n; i++) {
		bool same =
		    i && segs[i].local == segs[i - 1].local && segs[i].remote == segs[i - 1].remote;

		rc = plan_one(ep, code, &segs[i], &plan->iov[i], &plan->bytes);
		if (!rc && !same)
			rc = reg_all(ep, segs[i].local, &reg);
		if (rc)
			break;
		if (!same)
			hold(&segs[i], &plan->holds[plan->nholds++]);
		plan->holds[plan->nholds - 1].niov++;
		if (segs[i].len > ep->tr->max_len)
			plan->split = code <= SL_OP_WRITE_IMM;
		plan->iov[i].reg = reg;
		plan->iov[i].rreg = segs[i].remote ? segs[i].remote->rreg[0] : NULL;
	}
	if (rc)
		sl_holds_drop(plan->holds, plan->nholds);
	return rc;
}
