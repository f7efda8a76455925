/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint/submit.c - the way of a transfer from the user to the gate and the lanes. */
#include <errno.h>
#include <stdlib.h>

#include "endpoint/internal.h"

/* On the way of every transfer, but with two callers, which the compiler leaves as calls. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

static const struct slime_submit plain = {.size = sizeof(plain)};

static int check_how(slime_ep *ep, enum sl_opcode code, const struct slime_submit *how)
{
	if (how->size != sizeof(*how) || (how->flags & ~(uint32_t)SLIME_SUBMIT_FENCE) ||
	    how->timeout_ns < 0 || (how->cq && how->cq->ctx != ep->ctx))
		return -EINVAL;
	if (sl_code_is_recv(code) && (how->flags & SLIME_SUBMIT_FENCE))
		return -EINVAL;
	return how->stream ? -EOPNOTSUPP : 0;
}

/* A place in flight and, if asked for, in the queue. */
static int reserve(slime_ep *ep, slime_cq *cq)
{
	int state = atomic_load_explicit(&ep->state, memory_order_acquire);
	int rc = state == SL_EP_CONNECTED ? 0 : sl_ep_usable(ep, NULL);
	uint64_t old;

	if (rc)
		return rc;
	old = atomic_fetch_add(&ep->count, 1);
	rc = (old & SL_EP_INFLIGHT) >= ep->depth ? -EAGAIN : 0;
	if (!rc && cq)
		rc = sl_cq_reserve(cq);
	if (rc)
		atomic_fetch_sub(&ep->count, 1);
	return rc;
}

static void unreserve(slime_ep *ep, slime_cq *cq)
{
	if (cq)
		sl_cq_unreserve(cq);
	atomic_fetch_sub(&ep->count, 1);
}

static int plan_op(slime_ep *ep, slime_op *op, const struct slime_seg *segs, size_t n)
{
	struct sl_plan plan = {.iov = op->iov, .holds = op->holds_inline};
	int rc;

	if (n > SL_SEGS_INLINE) {
		plan.iov = malloc(n * (sizeof(*plan.iov) + sizeof(*plan.holds)));
		if (!plan.iov)
			return -ENOMEM;
		op->block = plan.iov;
		plan.holds = (struct sl_hold *)(void *)(plan.iov + n);
	}
	rc = sl_plan_segs(ep, op->base.code, segs, n, &plan);
	if (rc)
		return rc;
	op->base.iov = plan.iov;
	op->base.niov = (uint32_t)n;
	op->base.bytes = plan.bytes;
	op->base.imm_bytes = plan.bytes;
	op->split = plan.split;
	op->holds = plan.holds;
	op->nholds = plan.nholds;
	return 0;
}

/* OP is planned and counted in flight: let it run. On refusal it is put back. */
static ALWAYS_INLINE int launch(slime_ep *ep, slime_op *op, const struct slime_submit *how,
                                slime_op **out)
{
	struct sl_ctx_stats *s = &ep->dom[0]->stats;
	int code = (int)op->base.code;
	uint64_t bytes = op->base.bytes;
	int rc = 0;

	op->cq = how->cq;
	op->res.user_data = how->user_data;
	op->fence = how->flags & SLIME_SUBMIT_FENCE;
	if (how->timeout_ns)
		atomic_store_explicit(&op->deadline_ns, sl_clock_after(how->timeout_ns),
		                      memory_order_relaxed);
	sl_op_start(op, out ? 0 : SL_OP_ABANDONED);
	if (how->timeout_ns) {
		int64_t when = atomic_load_explicit(&op->deadline_ns, memory_order_relaxed);

		sl_scan_at(ep->ctx, when);
		sl_kick_before(ep->ctx, when);
	}
	atomic_fetch_add_explicit(&s->submitted[code], 1, memory_order_relaxed);
	if (bytes)
		atomic_fetch_add_explicit(&s->bytes_submitted[code], bytes, memory_order_relaxed);
	if (out)
		*out = op; /* before it runs: it may be over when that returns */
	if (sl_code_is_recv(op->base.code) || !sl_gate_hold(ep, op))
		rc = sl_op_dispatch(op);
	if (!rc)
		return 0;
	if (out)
		*out = NULL;
	atomic_fetch_sub_explicit(&s->submitted[code], 1, memory_order_relaxed);
	if (bytes)
		atomic_fetch_sub_explicit(&s->bytes_submitted[code], bytes, memory_order_relaxed);
	sl_op_refuse(op);
	return rc;
}

/* An op for what the user asks, checked but for its segments, and counted in flight. */
static ALWAYS_INLINE int begin(slime_ep *ep, enum sl_opcode code, const struct slime_submit *how,
                               slime_op **op)
{
	int rc = how == &plain ? 0 : check_how(ep, code, how);

	if (!rc)
		rc = reserve(ep, how->cq);
	if (rc)
		return rc;
	*op = sl_op_get(ep, code);
	if (*op)
		return 0;
	unreserve(ep, how->cq);
	return -ENOMEM;
}

static int submit(slime_ep *ep, enum sl_opcode code, const struct slime_seg *segs, size_t n,
                  uint32_t imm, const struct slime_submit *how, slime_op **out)
{
	slime_op *op;
	int rc;

	if (!ep || (n && !segs) || n > SL_SEGS_MAX)
		return -EINVAL;
	if (!how)
		how = &plain;
	rc = begin(ep, code, how, &op);
	if (rc)
		return rc;
	op->base.imm = imm;
	rc = plan_op(ep, op, segs, n);
	if (rc) {
		sl_op_put(op);
		unreserve(ep, how->cq);
		return rc;
	}
	return launch(ep, op, how, out);
}

int sl_submit_xfer(slime_xfer *xfer, const struct slime_submit *how, slime_op **out)
{
	slime_ep *ep = xfer->ep;
	slime_op *op;
	int rc;

	if (!how)
		how = &plain;
	rc = begin(ep, xfer->code, how, &op);
	if (rc)
		return rc;
	op->base.iov = xfer->iov;
	op->base.niov = xfer->niov;
	op->base.bytes = xfer->bytes;
	op->split = xfer->split;
	op->xfer = xfer;
	atomic_fetch_add_explicit(&xfer->refs, 1, memory_order_relaxed);
	return launch(ep, op, how, out);
}

int slime_ep_read(slime_ep *ep, const struct slime_seg *segs, size_t n,
                  const struct slime_submit *how, slime_op **out)
{
	return submit(ep, SL_OP_READ, segs, n, 0, how, out);
}

int slime_ep_write(slime_ep *ep, const struct slime_seg *segs, size_t n,
                   const struct slime_submit *how, slime_op **out)
{
	return submit(ep, SL_OP_WRITE, segs, n, 0, how, out);
}

int slime_ep_write_imm(slime_ep *ep, const struct slime_seg *segs, size_t n, uint32_t imm,
                       const struct slime_submit *how, slime_op **out)
{
	return submit(ep, SL_OP_WRITE_IMM, segs, n, imm, how, out);
}

int slime_ep_recv_imm(slime_ep *ep, const struct slime_submit *how, slime_op **out)
{
	return submit(ep, SL_OP_RECV_IMM, NULL, 0, 0, how, out);
}

static int submit_message(slime_ep *ep, enum sl_opcode code, const struct slime_span *span,
                          const struct slime_submit *how, slime_op **out)
{
	struct slime_seg seg;

	if (!span)
		return -EINVAL;
	seg = (struct slime_seg){.local = span->mr, .local_off = span->off, .len = span->len};
	return submit(ep, code, &seg, 1, 0, how, out);
}

int slime_ep_send(slime_ep *ep, const struct slime_span *src, const struct slime_submit *how,
                  slime_op **out)
{
	return submit_message(ep, SL_OP_SEND, src, how, out);
}

int slime_ep_recv(slime_ep *ep, const struct slime_span *dst, const struct slime_submit *how,
                  slime_op **out)
{
	return submit_message(ep, SL_OP_RECV, dst, how, out);
}
