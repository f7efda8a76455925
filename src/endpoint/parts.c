/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/parts.c - an op in parts: a share of its bytes for each of several lanes.
 *
 *	           ┌──next piece──┐
 *	share ──► a lane carries it ──► over             all over: the op is, after its immediate
 *	           ▲     │ the lane cannot
 *	           └── waits for one that its op leaves free
 *
 * A lane carries one part of an op at a time, so no connection gets more ops than
 * it was made for. A part over the transport's limits goes in pieces, one after the
 * other. What a lane cannot carry (-ENETDOWN) another one gets: at once if the op
 * leaves one free, else when a lane is through with its own part.
 *
 * A write with immediate goes as plain writes; when all are over, the immediate
 * follows on lane 0 without data.
 */
#include <errno.h>
#include <stdlib.h>

#include "endpoint/internal.h"

/* Who goes on when a piece is over: who posted it, if he is still about that, else who ends it. */
enum sl_turn { TURN_POSTING, TURN_POSTED, TURN_OVER };

static slime_op *make_part(slime_ep *ep, slime_op *op, struct sl_cutter *c, uint64_t bytes)
{
	slime_op *part = sl_op_get(ep, op->base.code);
	uint32_t n;

	if (!part)
		return NULL;
	if (part->base.code == SL_OP_WRITE_IMM)
		part->base.code = SL_OP_WRITE;
	part->at = *c;
	part->left = bytes;
	n = sl_cutter_take(c, ep, 0, &bytes, UINT32_MAX, NULL);
	part->cap = n < ep->tr->max_iov ? n : ep->tr->max_iov;
	if (part->cap > SL_SEGS_INLINE) {
		part->block = malloc(part->cap * sizeof(*part->iov));
		if (!part->block) {
			sl_op_put(part);
			return NULL;
		}
	}
	part->base.iov = part->block ? part->block : part->iov;
	atomic_store_explicit(&part->parent, op, memory_order_relaxed);
	return part;
}

/* The next piece of PART, for LANE. */
static void load_piece(slime_ep *ep, slime_op *part, uint32_t lane)
{
	struct sl_iov *iov = part->block ? part->block : part->iov;
	uint64_t bytes = part->left;

	part->next = part->at;
	part->base.niov = sl_cutter_take(&part->next, ep, lane, &bytes, part->cap, iov);
	part->base.bytes = bytes;
}

/* No lane carries a part and none waits: the op is over, but for its immediate. */
static void all_over(slime_ep *ep, slime_op *op)
{
	int status = atomic_load(&op->first_error);

	if (op->imm_due && !status) {
		op->imm_due = false;
		op->base.imm_bytes = atomic_load(&op->part_bytes);
		op->base.niov = 0;
		op->base.bytes = 0;
		status = sl_lane_post(ep, op, 0);
		if (!status)
			return;
	}
	sl_op_finish(op, status, atomic_load(&op->part_bytes), 0);
}

static void push_waiting(slime_op *op, slime_op *first, slime_op *last)
{
	slime_op *old = atomic_load(&op->waiting);

	do {
		last->base.next = (struct sl_op *)old;
	} while (!atomic_compare_exchange_weak(&op->waiting, &old, first));
}

/* All are taken and all but one put back, so that none is seen twice in between. */
static slime_op *pop_waiting(slime_op *op)
{
	slime_op *first = atomic_exchange(&op->waiting, NULL);
	slime_op *last, *rest;

	rest = first ? (slime_op *)first->base.next : NULL;
	for (last = rest; last && last->base.next;)
		last = (slime_op *)last->base.next;
	if (rest)
		push_waiting(op, rest, last);
	return first;
}

/* A lane that carries nothing of OP now, and that PART may try, becomes busy: which? Or -1. */
static int claim_lane(slime_ep *ep, slime_op *op, const slime_op *part)
{
	uint32_t lanes = (UINT32_C(1) << ep->nlanes) - 1;
	uint32_t busy = atomic_load(&op->busy);

	for (;;) {
		uint32_t idle = lanes & ~(busy | part->tried);
		uint32_t good = idle & sl_lanes_good(ep);
		uint32_t bit = good ? good & -good : idle & -idle;

		if (!idle)
			return -1;
		if (atomic_compare_exchange_weak(&op->busy, &busy, busy | bit))
			return __builtin_ctz(bit);
	}
}

static void fail(slime_op *op, int status)
{
	int none = 0;

	(void)atomic_compare_exchange_strong(&op->first_error, &none, status);
}

/* Why PART need not go on: it was asked to stop, another one failed, or no lane is left for it. */
static int reason_to_end(slime_ep *ep, slime_op *op, const slime_op *part)
{
	int stop = sl_op_stop(&part->base);

	if (!stop)
		stop = sl_op_stop(&op->base);
	if (!stop)
		stop = atomic_load(&op->first_error);
	if (!stop && part->tried == (UINT32_C(1) << ep->nlanes) - 1)
		stop = -EHOSTUNREACH;
	return stop;
}

/* *LANE carries nothing of OP any more: a part that waits goes on, or the op is over. */
static slime_op *next_part(slime_ep *ep, slime_op *op, int *lane, bool good)
{
	slime_op *part;

	while ((part = good ? pop_waiting(op) : NULL)) {
		int status = reason_to_end(ep, op, part);

		if (!status)
			return part;
		fail(op, status);
		sl_op_put(part);
	}
	if (atomic_fetch_and(&op->busy, ~(UINT32_C(1) << *lane)) != UINT32_C(1) << *lane)
		return NULL;
	/* the last one: nobody else looks after those that wait */
	while ((part = pop_waiting(op))) {
		int status = reason_to_end(ep, op, part);

		if (!status) {
			*lane = claim_lane(ep, op, part);
			return part;
		}
		fail(op, status);
		sl_op_put(part);
	}
	all_over(ep, op);
	return NULL;
}

/* A piece of PART is over on *LANE. Which part is next, and where? NULL: none. */
static slime_op *piece_over(slime_ep *ep, slime_op *op, slime_op *part, int *lane)
{
	int status = part->ended;
	int other;

	if (status == -ENETDOWN) {
		part->tried |= UINT32_C(1) << *lane;
		sl_lane_out(ep, (uint32_t)*lane);
		other = reason_to_end(ep, op, part) ? -1 : claim_lane(ep, op, part);
		if (other >= 0) {
			/* busy there, so that LANE is not the last */
			(void)atomic_fetch_and(&op->busy, ~(UINT32_C(1) << *lane));
			*lane = other;
			return part;
		}
		push_waiting(op, part, part);
		return next_part(ep, op, lane, false);
	}
	atomic_fetch_add(&op->part_bytes, part->ended_bytes);
	if (!status) {
		part->tried = 0;
		part->at = part->next;
		part->left -= part->base.bytes;
		if (part->left)
			status = reason_to_end(ep, op, part);
		if (part->left && !status)
			return part;
	}
	if (status)
		fail(op, status);
	sl_op_put(part);
	return next_part(ep, op, lane, !status);
}

/* Post PART on LANE, and what follows as long as that is over before its submit() returns. */
static void carry(slime_ep *ep, slime_op *op, slime_op *part, int lane)
{
	while (part) {
		int rc;

		load_piece(ep, part, (uint32_t)lane);
		atomic_store(&part->turn, TURN_POSTING);
		rc = sl_lane_post(ep, part, (uint32_t)lane);
		if (!rc && atomic_exchange(&part->turn, TURN_POSTED) == TURN_POSTING)
			return;
		if (rc) {
			part->ended = rc;
			part->ended_bytes = 0;
		}
		part = piece_over(ep, op, part, &lane);
	}
}

void sl_part_done(slime_op *part, int status, uint64_t bytes)
{
	slime_op *op = atomic_load_explicit(&part->parent, memory_order_relaxed);
	slime_ep *ep = atomic_load_explicit(&part->ep, memory_order_relaxed);
	int lane = (int)atomic_load_explicit(&part->lane, memory_order_relaxed);

	part->ended = status;
	part->ended_bytes = bytes;
	if (atomic_exchange(&part->turn, TURN_OVER) == TURN_POSTING)
		return;
	part = piece_over(ep, op, part, &lane);
	if (part)
		carry(ep, op, part, lane);
}

int sl_parts_start(slime_op *op, uint32_t lanes)
{
	slime_ep *ep = atomic_load_explicit(&op->ep, memory_order_relaxed);
	uint64_t n = (uint64_t)__builtin_popcount(lanes);
	uint64_t each = (op->base.bytes / n + 4095) & ~UINT64_C(4095);
	struct sl_cutter c = sl_cutter_on(op);
	uint64_t left = op->base.bytes;
	slime_op *part[SL_LANES_MAX];
	uint32_t made = 0;

	for (; made < n && left; made++) {
		uint64_t bytes = made + 1 == n || left < each ? left : each;

		part[made] = make_part(ep, op, &c, bytes);
		if (!part[made])
			break;
		left -= bytes;
	}
	if (left) {
		while (made)
			sl_op_put(part[--made]);
		return -ENOMEM;
	}
	while (made < (uint32_t)__builtin_popcount(lanes))
		lanes &= lanes - 1;
	op->imm_due = op->base.code == SL_OP_WRITE_IMM;
	atomic_store(&op->first_error, 0);
	atomic_store(&op->waiting, NULL);
	atomic_store(&op->busy, lanes);
	for (uint32_t i = 0; i < made; i++, lanes &= lanes - 1) {
		sl_op_start(part[i], SL_OP_ABANDONED);
		carry(ep, op, part[i], __builtin_ctz(lanes));
	}
	return 0;
}
