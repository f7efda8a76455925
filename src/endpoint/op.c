/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/op.c - the life of an op.
 *
 *	free ──get──► RUNNING ──finish──► DONE ──release──► free (generation + 1)
 *	                 │ release                            ▲
 *	                 ▼                                    │
 *	         RUNNING|ABANDONED ──finish───────────────────┘
 *
 * An op that nobody holds a handle of is ABANDONED from the start.
 * The pool never gives memory back, so the scan for deadlines may look at any
 * op at any time; it acts by a compare-and-swap that includes the generation.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/futex.h"
#include "endpoint/internal.h"

static const uint64_t generation = UINT64_C(1) << 32;

slime_op *sl_op_get(slime_ep *ep, enum sl_opcode code)
{
	slime_op *op = sl_pool_get(&ep->ctx->ops);

	if (!op)
		return NULL;
	op->base.code = code;
	op->base.imm = 0;
	op->base.imm_bytes = 0;
	op->base.next = NULL;
	op->ctx = ep->ctx;
	op->cq = NULL;
	op->xfer = NULL;
	atomic_store_explicit(&op->ep, ep, memory_order_relaxed);
	atomic_store_explicit(&op->parent, NULL, memory_order_relaxed);
	atomic_store_explicit(&op->lane, 0, memory_order_relaxed);
	op->tried = 0;
	op->aimed = 0;
	op->imm_due = false;
	op->fence = false;
	op->split = false;
	op->block = NULL;
	op->nholds = 0;
	op->holds = op->holds_inline;
	atomic_store_explicit(&op->part_bytes, 0, memory_order_relaxed);
	op->res = (struct slime_result){0};
	atomic_store_explicit(&op->deadline_ns, SL_NEVER, memory_order_relaxed);
	sl_ctx_ref(ep->ctx);
	return op;
}

void sl_op_put(slime_op *op)
{
	slime_ctx *ctx = op->ctx;
	uint64_t state = atomic_load_explicit(&op->base.state, memory_order_relaxed);

	free(op->block);
	atomic_store_explicit(&op->base.state, (state & ~(generation - 1)) + generation,
	                      memory_order_release);
	sl_pool_put(&ctx->ops, op);
	sl_ctx_unref(ctx);
}

/* Let go of the regions. The iovs stay until the op is put back. */
static inline void drop_memory(slime_op *op)
{
	sl_holds_drop(op->holds, op->nholds);
	op->nholds = 0;
	if (op->xfer) {
		atomic_store_explicit(&op->xfer->busy, false, memory_order_release);
		sl_xfer_unref(op->xfer);
		op->xfer = NULL;
	}
}

static void count(slime_op *op)
{
	slime_ep *ep = atomic_load_explicit(&op->ep, memory_order_relaxed);
	struct sl_ctx_stats *s = &ep->dom[0]->stats;
	int code = (int)op->base.code;

	if (op->res.status) {
		atomic_fetch_add_explicit(&s->failed[code], 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&s->completion_errors, 1, memory_order_relaxed);
		return;
	}
	atomic_fetch_add_explicit(&s->completed[code], 1, memory_order_relaxed);
	if (op->res.bytes)
		atomic_fetch_add_explicit(&s->bytes_completed[code], op->res.bytes,
		                          memory_order_relaxed);
}

/* The endpoint is done with OP; after this it may be gone. */
static inline void leave_ep(slime_op *op)
{
	slime_ep *ep = atomic_load_explicit(&op->ep, memory_order_relaxed);
	slime_ctx *ctx = op->ctx;
	uint64_t mine = 1 + (sl_code_is_recv(op->base.code) ? 0 : SL_EP_ACTIVE);
	uint64_t old = atomic_load(&ep->count);

	while (!(old & SL_EP_HELD) || mine == 1) {
		if (atomic_compare_exchange_weak(&ep->count, &old, old - mine))
			goto left;
	}
	/* ops wait at the gate: they keep EP here until we have looked after them */
	old = atomic_fetch_sub(&ep->count, SL_EP_ACTIVE);
	if (old < 2 * SL_EP_ACTIVE)
		sl_gate_release(ep);
	old = atomic_fetch_sub(&ep->count, 1);
left:
	if ((old & SL_EP_DESTROYING) && (old & SL_EP_INFLIGHT) == 1) {
		sl_futex_wake((_Atomic uint32_t *)&ep->count, INT_MAX);
		sl_driver_wake(ctx);
	}
}

static void report(slime_op *op)
{
	const uint64_t waited_for = SL_OP_SLEEPER | SL_OP_DRIVER;
	slime_ctx *ctx = op->ctx;
	uint64_t old = atomic_load_explicit(&op->base.state, memory_order_relaxed);
	bool kept = false;

	do {
		/* who waits may see it done, and destroy all, before we have woken him */
		if (!kept && (old & waited_for)) {
			sl_ctx_ref(ctx);
			kept = true;
		}
	} while (!atomic_compare_exchange_weak(&op->base.state, &old, old | SL_OP_DONE));
	if (old & SL_OP_ABANDONED) {
		sl_op_put(op);
	} else {
		if (old & SL_OP_SLEEPER)
			sl_futex_wake((_Atomic uint32_t *)&op->base.state, INT_MAX);
		if (old & waited_for)
			sl_driver_wake(ctx);
	}
	if (kept)
		sl_ctx_unref(ctx);
}

void sl_op_finish(slime_op *op, int status, uint64_t bytes, uint32_t imm)
{
	struct slime_result res;
	slime_cq *cq = op->cq;

	op->res.status = status;
	op->res.bytes = bytes;
	if (op->base.code == SL_OP_RECV_IMM && !status) {
		op->res.imm = imm;
		op->res.flags = SLIME_RESULT_IMM;
	}
	drop_memory(op);
	count(op);
	leave_ep(op);
	if (op->ctx->flags & SLIME_CTX_MANUAL_PROGRESS)
		atomic_fetch_add_explicit(&op->ctx->finished, 1, memory_order_relaxed);
	if (cq)
		res = op->res;
	report(op); /* who kept a handle to cancel by still has to release it */
	if (cq)
		sl_cq_post(cq, &res);
}

void sl_op_refuse(slime_op *op)
{
	slime_cq *cq = op->cq;

	drop_memory(op);
	leave_ep(op);
	sl_op_put(op);
	if (cq)
		sl_cq_unreserve(cq);
}

void sl_op_done(struct sl_op *base, int status, uint64_t bytes, uint32_t imm)
{
	slime_op *op = (slime_op *)base; /* base is the first member */

	if (atomic_load_explicit(&op->parent, memory_order_relaxed)) {
		sl_part_done(op, status, bytes);
		return;
	}
	if (status == -ENETDOWN) {
		status = sl_op_resend(op);
		if (!status)
			return;
	}
	sl_op_finish(op, status,
	             bytes + atomic_load_explicit(&op->part_bytes, memory_order_relaxed), imm);
}

static bool is_done(void *arg)
{
	slime_op *op = arg;

	return atomic_load_explicit(&op->base.state, memory_order_acquire) & SL_OP_DONE;
}

static void mark(void *arg, bool as_driver)
{
	slime_op *op = arg;

	atomic_fetch_or(&op->base.state, as_driver ? SL_OP_DRIVER : SL_OP_SLEEPER);
}

/* The futex is the half of the state that holds the flags: the lower, this is little-endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the futex of an op is its lower half");

static void sleep_on(void *arg, int64_t until_ns)
{
	slime_op *op = arg;
	uint64_t state = atomic_load(&op->base.state);

	if (!(state & SL_OP_DONE))
		sl_futex_wait((_Atomic uint32_t *)&op->base.state, (uint32_t)state, until_ns);
}

static void drive_until_done(slime_op *op, int64_t timeout_ns)
{
	struct sl_goal goal = {.reached = is_done, .mark = mark, .sleep = sleep_on, .arg = op};

	(void)sl_drive(op->ctx, &goal, sl_clock_after(timeout_ns));
}

int slime_op_wait(slime_op *op, int64_t timeout_ns, struct slime_result *res)
{
	if (!op)
		return -EINVAL;
	if (!is_done(op)) {
		if (timeout_ns <= 0)
			(void)sl_progress_poll(op->ctx);
		else
			drive_until_done(op, timeout_ns);
		if (!is_done(op))
			return -ETIMEDOUT;
	} else if (timeout_ns <= 0 && !op->cq) { /* who has a queue may sleep on its descriptor */
		sl_progress_polled(op->ctx);
	}
	if (res)
		*res = op->res;
	return op->res.status;
}

void slime_op_release(slime_op *op)
{
	/* what is done changes no more, so only who lets go before has to say so */
	if (op && (is_done(op) || atomic_fetch_or(&op->base.state, SL_OP_ABANDONED) & SL_OP_DONE))
		sl_op_put(op);
}

bool sl_op_ask_stop(slime_op *op, uint64_t seen, int status)
{
	uint64_t stop = (status == -ETIME ? UINT64_C(2) : UINT64_C(1)) << SL_OP_STOP_SHIFT;

	while ((seen & (SL_OP_RUNNING | SL_OP_DONE | SL_OP_STOP_MASK)) == SL_OP_RUNNING) {
		uint64_t now = seen;

		if (atomic_compare_exchange_strong(&op->base.state, &now, seen | stop))
			return true;
		if ((now ^ seen) >> 32)
			return false; /* another op by now */
		seen = now;
	}
	return false;
}

int sl_op_overdue(struct sl_op *base)
{
	slime_op *op = (slime_op *)base; /* base is the first member */
	slime_op *parent = atomic_load_explicit(&op->parent, memory_order_relaxed);
	int64_t deadline =
	    atomic_load_explicit(&(parent ? parent : op)->deadline_ns, memory_order_relaxed);
	int stop = sl_op_stop(base);

	if (stop || deadline == SL_NEVER || sl_clock_ns() < deadline)
		return stop;
	(void)sl_op_ask_stop(op, atomic_load(&base->state), -ETIME);
	return sl_op_stop(base);
}

void slime_op_cancel(slime_op *op)
{
	if (!op || !sl_op_ask_stop(op, atomic_load(&op->base.state), -ECANCELED))
		return;
	atomic_store(&op->ctx->engine.work, true);
	sl_kick(op->ctx);
}

enum { ASK_AGAIN_MS = 1 };

/* Hand the wish to where OP is now: at the gate, or at a transport. */
static void stop_op(slime_ep *ep, slime_op *op)
{
	if (sl_gate_remove(ep, op))
		sl_op_finish(op, sl_op_stop(&op->base), 0, 0);
	else
		ep->tr->cancel(ep->conn[atomic_load(&op->lane)], &op->base);
}

/*
 * Returns when to look at OP again. Who is asked to stop is asked again every
 * millisecond until he does, so that a wish which meets an op on its way into
 * the transport is not lost. Holding the progress lock keeps the endpoint of a
 * running op: it is freed under that lock.
 */
static int64_t scan_one(slime_op *op, int64_t now)
{
	uint64_t seen = atomic_load_explicit(&op->base.state, memory_order_acquire);
	int64_t deadline = atomic_load_explicit(&op->deadline_ns, memory_order_relaxed);
	slime_op *parent = atomic_load_explicit(&op->parent, memory_order_relaxed);
	slime_ep *ep = atomic_load_explicit(&op->ep, memory_order_relaxed);
	int status = parent ? sl_op_stop(&parent->base) : 0;

	if ((seen & (SL_OP_RUNNING | SL_OP_DONE)) != SL_OP_RUNNING)
		return SL_NEVER;
	if (seen & SL_OP_STOP_MASK) {
		if (atomic_load(&op->base.state) != seen) /* EP may be another op's */
			return now;
	} else {
		if (!status && deadline > now)
			return deadline;
		if (!sl_op_ask_stop(op, seen, status ? status : -ETIME))
			return now;
	}
	stop_op(ep, op);
	return now + ASK_AGAIN_MS * SL_NS_PER_MS;
}

void sl_ops_scan(slime_ctx *ctx)
{
	uint32_t n = sl_pool_count(&ctx->ops);
	int64_t now = sl_clock_ns();
	int64_t next = SL_NEVER;

	atomic_store(&ctx->engine.next_scan, SL_NEVER); /* who submits meanwhile lowers it */
	for (uint32_t i = 0; i < n; i++) {
		int64_t when = scan_one(sl_pool_at(&ctx->ops, i), now);

		next = when < next ? when : next;
	}
	sl_scan_at(ctx, next);
}

void sl_scan_at(slime_ctx *ctx, int64_t when_ns)
{
	int64_t old = atomic_load(&ctx->engine.next_scan);

	while (when_ns < old) {
		if (atomic_compare_exchange_weak(&ctx->engine.next_scan, &old, when_ns))
			break;
	}
}
