/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/lanes.c - from an op to the transport: whole on one lane, or in parts on several.
 *
 * Messages, receives and immediates belong to lane 0, which keeps their order.
 * A large write with immediate goes in parts as plain writes; when the last is
 * over, the immediate follows on lane 0 without data.
 */
#include <errno.h>
#include <stdlib.h>

#include "endpoint/internal.h"

/* Below twice this many bytes an op stays whole: a lane costs a request and an answer. */
static const uint64_t part_min = 128 * 1024;

static int post(slime_ep *ep, slime_op *op, uint32_t lane)
{
	struct sl_ctx_stats *s = &ep->dom->stats;
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

/* A place in the bytes that a list of iovs names. */
struct cutter {
	const struct sl_iov *iov;
	uint32_t left;
	uint64_t done; /* bytes of the first that are behind us */
};

/* The next piece of at most WANT bytes that one iov can name; returns its bytes. */
static uint64_t cut_one(struct cutter *c, uint64_t want, struct sl_iov *out)
{
	const struct sl_iov *v = c->iov;
	uint64_t run = c->done / v->len;
	uint64_t in = c->done % v->len;
	uint64_t bytes;

	*out = *v;
	out->addr += run * v->stride + in;
	out->roff += run * v->rstride + in;
	if (in || want < v->len) {
		out->len = v->len - in < want ? v->len - in : want;
		out->count = 1;
	} else {
		out->count = v->count - run < want / v->len ? v->count - run : want / v->len;
	}
	bytes = out->len * out->count;
	c->done += bytes;
	if (c->done == v->len * v->count) {
		c->iov++;
		c->left--;
		c->done = 0;
	}
	return bytes;
}

/* Cut WANT bytes into OUT (NULL: only count); returns how many iovs that takes. */
static uint32_t cut(struct cutter *c, uint64_t want, struct sl_iov *out)
{
	struct sl_iov one;
	uint32_t n = 0;

	while (want && c->left) {
		if (!c->iov->len) {
			c->iov++;
			c->left--;
			continue;
		}
		want -= cut_one(c, want, out ? &out[n] : &one);
		n++;
	}
	return n;
}

/* Remote handles differ by lane. Runs of equal handles stand in HOLDS in the order of IOV. */
static void on_lane(struct sl_iov *iov, uint32_t n, const struct sl_hold *holds, uint32_t lane)
{
	for (uint32_t i = 0; i < n; i++) {
		while (holds->rmr->rreg[0] != iov[i].rreg)
			holds++;
		iov[i].rreg = holds->rmr->rreg[lane];
	}
}

static slime_op *make_part(slime_ep *ep, slime_op *op, struct cutter *c, uint64_t bytes,
                           uint32_t lane)
{
	const struct sl_hold *holds = op->xfer ? op->xfer->holds : op->holds;
	struct cutter look = *c;
	uint32_t n = cut(&look, bytes, NULL);
	struct sl_iov *iov = malloc(n * sizeof(*iov));
	slime_op *part = iov ? sl_op_get(ep, op->base.code) : NULL;

	if (!part) {
		free(iov);
		return NULL;
	}
	if (part->base.code == SL_OP_WRITE_IMM)
		part->base.code = SL_OP_WRITE;
	(void)cut(c, bytes, iov);
	if (lane)
		on_lane(iov, n, holds, lane);
	part->block = iov;
	part->base.iov = iov;
	part->base.niov = n;
	part->base.bytes = bytes;
	atomic_store_explicit(&part->parent, op, memory_order_relaxed);
	return part;
}

static int dispatch_parts(slime_ep *ep, slime_op *op, uint32_t n)
{
	struct cutter c = {.iov = op->base.iov, .left = op->base.niov};
	uint64_t each = (op->base.bytes / n + 4095) & ~UINT64_C(4095);
	uint64_t left = op->base.bytes;
	slime_op *part[SL_LANES_MAX];
	uint32_t made;

	for (made = 0; made < n && left; made++) {
		uint64_t bytes = made + 1 == n || left < each ? left : each;

		part[made] = make_part(ep, op, &c, bytes, made);
		if (!part[made])
			break;
		left -= bytes;
	}
	if (left) {
		while (made)
			sl_op_put(part[--made]);
		return -ENOMEM;
	}
	op->imm_due = op->base.code == SL_OP_WRITE_IMM;
	atomic_store(&op->first_error, 0);
	atomic_store(&op->parts_left, made);
	for (uint32_t i = 0; i < made; i++) {
		int rc;

		sl_op_start(part[i], SL_OP_ABANDONED);
		rc = post(ep, part[i], i);
		if (rc)
			sl_op_part_done(part[i], rc, 0);
	}
	return 0;
}

/* All parts are over: so is the op, but for its immediate. */
static void parts_over(slime_op *op)
{
	slime_ep *ep = atomic_load_explicit(&op->ep, memory_order_relaxed);
	int status = atomic_load(&op->first_error);

	if (op->imm_due && !status) {
		op->imm_due = false;
		op->base.imm_bytes = atomic_load(&op->part_bytes);
		op->base.niov = 0;
		op->base.bytes = 0;
		status = post(ep, op, 0);
		if (!status)
			return;
	}
	sl_op_finish(op, status, atomic_load(&op->part_bytes), 0);
}

void sl_op_part_done(slime_op *part, int status, uint64_t bytes)
{
	slime_op *op = atomic_load_explicit(&part->parent, memory_order_relaxed);
	int none = 0;

	if (status)
		(void)atomic_compare_exchange_strong(&op->first_error, &none, status);
	atomic_fetch_add(&op->part_bytes, bytes);
	sl_op_put(part);
	if (atomic_fetch_sub(&op->parts_left, 1) == 1)
		parts_over(op);
}

static uint32_t parts_of(const slime_ep *ep, const slime_op *op)
{
	uint64_t most = op->base.bytes / part_min;

	if (ep->nlanes == 1 || op->base.code > SL_OP_WRITE_IMM || most < 2)
		return 1;
	return most < ep->nlanes ? (uint32_t)most : ep->nlanes;
}

static uint32_t pick_lane(slime_ep *ep, slime_op *op)
{
	uint32_t lane;

	/* a prepared transfer's iovs are shared, so they stay as they are */
	if (ep->nlanes == 1 || op->base.code > SL_OP_WRITE || op->xfer)
		return 0;
	lane = atomic_fetch_add_explicit(&ep->next_lane, 1, memory_order_relaxed) % ep->nlanes;
	if (lane)
		on_lane(op->block ? op->block : op->iov, op->base.niov, op->holds, lane);
	return lane;
}

int sl_op_dispatch(slime_op *op)
{
	slime_ep *ep = atomic_load_explicit(&op->ep, memory_order_relaxed);
	uint32_t parts = parts_of(ep, op);
	int stop = sl_op_stop(&op->base);

	if (stop) { /* its deadline passed on the way here: accepted, and over */
		sl_op_finish(op, stop, 0, 0);
		return 0;
	}
	if (parts > 1 && dispatch_parts(ep, op, parts) == 0)
		return 0;
	return post(ep, op, pick_lane(ep, op));
}
