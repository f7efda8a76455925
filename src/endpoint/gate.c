/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/gate.c - fences: ops that wait until what was submitted before is over.
 *
 * While anything is held, every later op but a receive queues behind it, so that
 * no op overtakes. SL_EP_HELD in the endpoint's count says that there is a queue;
 * it lives in the same word as the number of active ops, so a fence that looks
 * for active ops and a completion that looks for a queue cannot miss each other.
 */
#include "endpoint/internal.h"

static void push_locked(slime_ep *ep, slime_op *op)
{
	op->base.next = NULL;
	if (ep->held_last)
		ep->held_last->base.next = &op->base;
	else
		ep->held_first = op;
	ep->held_last = op;
}

static slime_op *pop_locked(slime_ep *ep)
{
	slime_op *op = ep->held_first;

	ep->held_first = (slime_op *)op->base.next;
	if (!ep->held_first)
		ep->held_last = NULL;
	return op;
}

bool sl_gate_queue(slime_ep *ep, slime_op *op)
{
	uint64_t old;
	bool held;

	sl_lock_take(&ep->gate);
	old = atomic_fetch_or(&ep->count, SL_EP_HELD);
	held = ep->held_first || ep->releasing || old >= SL_EP_ACTIVE;
	if (held)
		push_locked(ep, op);
	else
		atomic_fetch_add(&ep->count, SL_EP_ACTIVE - SL_EP_HELD);
	sl_lock_drop(&ep->gate);
	return held;
}

/* The next op that may go: the first, if nothing is active or it is no fence. */
static slime_op *next_locked(slime_ep *ep)
{
	slime_op *op = ep->held_first;

	if (!op || (op->fence && atomic_load(&ep->count) >= SL_EP_ACTIVE))
		return NULL;
	atomic_fetch_add(&ep->count, SL_EP_ACTIVE);
	return pop_locked(ep);
}

void sl_gate_release(slime_ep *ep)
{
	slime_op *op;

	sl_lock_take(&ep->gate);
	if (ep->releasing) { /* an op that we let go was over at once: the loop below goes on */
		sl_lock_drop(&ep->gate);
		return;
	}
	ep->releasing = true;
	while ((op = next_locked(ep))) {
		int rc;

		sl_lock_drop(&ep->gate);
		rc = sl_op_dispatch(op);
		if (rc)
			sl_op_finish(op, rc, 0, 0);
		sl_lock_take(&ep->gate);
	}
	ep->releasing = false;
	if (!ep->held_first)
		atomic_fetch_and(&ep->count, ~SL_EP_HELD);
	sl_lock_drop(&ep->gate);
}

bool sl_gate_remove(slime_ep *ep, slime_op *op)
{
	slime_op *before = NULL;
	slime_op *at;

	if (!(atomic_load(&ep->count) & SL_EP_HELD))
		return false;
	sl_lock_take(&ep->gate);
	for (at = ep->held_first; at && at != op; at = (slime_op *)at->base.next)
		before = at;
	if (at && !sl_op_stop(&op->base))
		at = NULL;
	if (at) {
		if (before)
			before->base.next = op->base.next;
		else
			ep->held_first = (slime_op *)op->base.next;
		if (ep->held_last == op)
			ep->held_last = before;
		atomic_fetch_add(&ep->count, SL_EP_ACTIVE); /* as finish() expects */
	}
	sl_lock_drop(&ep->gate);
	return at != NULL;
}
