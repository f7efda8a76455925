/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/lanes.c - from an op to the transport: which lane, and what if it cannot carry it.
 *
 * Messages, receives and immediates belong to lane 0, which keeps their order.
 * Other ops take the lanes in turn, or if they are large all at once, in parts
 * (parts.c). A lane that cannot carry an op says -ENETDOWN (see submit() in
 * transport.h): the op goes to the next one, and the lane is left alone for a
 * moment. When none is left the op ends with -EHOSTUNREACH.
 */
#include <errno.h>

#include "endpoint/internal.h"

/* Below twice this many bytes an op stays whole: a lane costs a request and an answer. */
static const uint64_t part_min = 128 * 1024;

/* How long a lane is left alone that said that it can carry nothing. */
static const int64_t out_ns = 10 * SL_NS_PER_MS;

uint32_t sl_lanes_good(slime_ep *ep)
{
	uint32_t all = (UINT32_C(1) << ep->nlanes) - 1;
	uint32_t out = atomic_load_explicit(&ep->lanes_out, memory_order_relaxed);

	if (!out)
		return all;
	if (sl_clock_ns() >= atomic_load_explicit(&ep->lanes_retry_ns, memory_order_relaxed)) {
		atomic_store_explicit(&ep->lanes_out, 0, memory_order_relaxed);
		return all;
	}
	return out == all ? all : all & ~out;
}

void sl_lane_out(slime_ep *ep, uint32_t lane)
{
	atomic_store_explicit(&ep->lanes_retry_ns, sl_clock_after(out_ns), memory_order_relaxed);
	atomic_fetch_or_explicit(&ep->lanes_out, UINT32_C(1) << lane, memory_order_relaxed);
}

int sl_lane_post(slime_ep *ep, slime_op *op, uint32_t lane)
{
	struct sl_ctx_stats *s = &ep->dom[lane]->stats;
	uint64_t bytes = op->base.bytes;
	int rc;

	atomic_store_explicit(&op->lane, lane, memory_order_relaxed);
	rc = ep->tr->submit(ep->conn[lane], &op->base);
	if (rc) {
		atomic_fetch_add_explicit(&s->post_failures, 1, memory_order_relaxed);
		return rc;
	}
	atomic_fetch_add_explicit(&s->posts, 1, memory_order_relaxed);
	if (bytes)
		atomic_fetch_add_explicit(&s->post_bytes, bytes, memory_order_relaxed);
	return 0;
}

void sl_iov_aim(const slime_ep *ep, struct sl_iov *iov, const struct sl_hold *holds,
                uint32_t nholds, uint32_t lane)
{
	size_t dom = (size_t)(ep->dom[lane] - ep->ctx->doms);

	for (const struct sl_hold *h = holds; h < holds + nholds; h++) {
		struct sl_reg *reg = atomic_load_explicit(&h->mr->reg[dom], memory_order_acquire);

		for (uint32_t i = 0; i < h->niov; i++, iov++) {
			iov->reg = reg;
			iov->rreg = h->rmr ? h->rmr->rreg[lane] : NULL;
		}
	}
}

static inline void aim(slime_ep *ep, slime_op *op, uint32_t lane)
{
	slime_xfer *xfer = op->xfer;

	if (xfer && xfer->aimed != lane) {
		sl_iov_aim(ep, xfer->iov, xfer->holds, xfer->nholds, lane);
		xfer->aimed = lane;
	} else if (!xfer && op->aimed != lane) {
		sl_iov_aim(ep, op->block ? op->block : op->iov, op->holds, op->nholds, lane);
		op->aimed = lane;
	}
}

void sl_op_aim(struct sl_op *base, uint32_t lane)
{
	slime_op *op = (slime_op *)base; /* base is the first member */

	aim(atomic_load_explicit(&op->ep, memory_order_relaxed), op, lane);
}

/* May several lanes carry it? */
static bool is_free(const slime_ep *ep, const slime_op *op)
{
	return ep->nlanes > 1 && op->base.code <= SL_OP_WRITE;
}

/* LANE could not carry OP: one that perhaps can, or -EHOSTUNREACH. */
static int other_lane(slime_ep *ep, slime_op *op, uint32_t lane)
{
	uint32_t untried, good;

	sl_lane_out(ep, lane);
	op->tried |= UINT32_C(1) << lane;
	untried = ((UINT32_C(1) << ep->nlanes) - 1) & ~op->tried;
	if (!untried || !is_free(ep, op))
		return -EHOSTUNREACH;
	good = untried & sl_lanes_good(ep);
	return __builtin_ctz(good ? good : untried);
}

/* The whole of OP goes to LANE, or to another one that can carry it. */
static int post_whole(slime_ep *ep, slime_op *op, int lane)
{
	while (lane >= 0) {
		int rc;

		aim(ep, op, (uint32_t)lane);
		rc = sl_lane_post(ep, op, (uint32_t)lane);
		if (rc != -ENETDOWN)
			return rc;
		lane = other_lane(ep, op, (uint32_t)lane);
	}
	return lane;
}

/* EP has one lane, at which the iovs of its ops are aimed from the start. */
static int post_only(slime_ep *ep, slime_op *op)
{
	int rc = sl_lane_post(ep, op, 0);

	return rc == -ENETDOWN ? -EHOSTUNREACH : rc;
}

int sl_op_resend(slime_op *op)
{
	slime_ep *ep = atomic_load_explicit(&op->ep, memory_order_relaxed);
	int lane = other_lane(ep, op, atomic_load_explicit(&op->lane, memory_order_relaxed));
	int stop = sl_op_stop(&op->base);

	return stop ? stop : post_whole(ep, op, lane);
}

/* The first of the lanes GOOD from FROM on, round and round. */
static uint32_t lane_from(uint32_t good, uint32_t from)
{
	uint32_t behind = good >> from << from;

	return (uint32_t)__builtin_ctz(behind ? behind : good);
}

static uint32_t pick_lane(slime_ep *ep, slime_op *op, uint32_t good)
{
	uint32_t turn;

	if (!is_free(ep, op))
		return 0;
	if (op->xfer) /* its iovs are aimed already */
		return lane_from(good, op->xfer->aimed);
	turn = atomic_fetch_add_explicit(&ep->next_lane, 1, memory_order_relaxed);
	return lane_from(good, turn % ep->nlanes);
}

/* Of the lanes GOOD, those over which OP shall go. */
static uint32_t lanes_for(slime_ep *ep, slime_op *op, uint32_t good)
{
	uint64_t most = op->base.bytes / part_min;
	uint32_t lanes = 0;

	if (op->base.code > SL_OP_WRITE_IMM)
		return 1;
	if (ep->nlanes == 1 || most < 2)
		return UINT32_C(1) << pick_lane(ep, op, good);
	while (good && most--) {
		lanes |= good & -good;
		good &= good - 1;
	}
	return lanes;
}

int sl_op_dispatch(slime_op *op)
{
	slime_ep *ep = atomic_load_explicit(&op->ep, memory_order_relaxed);
	int stop = sl_op_stop(&op->base);
	uint32_t lanes;
	bool whole;

	if (stop) { /* its deadline passed on the way here: accepted, and over */
		sl_op_finish(op, stop, 0, 0);
		return 0;
	}
	if (ep->nlanes == 1 && !op->split)
		return post_only(ep, op);
	lanes = lanes_for(ep, op, sl_lanes_good(ep));
	if (op->split && !op->base.bytes)
		op->base.niov = 0; /* too many of nothing */
	else if (op->split)
		return sl_parts_start(op, lanes);
	whole = is_free(ep, op) ? !(lanes & (lanes - 1)) : lanes == 1;
	if (!whole && sl_parts_start(op, lanes) == 0)
		return 0;
	return post_whole(ep, op, is_free(ep, op) ? __builtin_ctz(lanes) : 0);
}
