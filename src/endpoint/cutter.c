/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint/cutter.c - the bytes of an op, cut where parts, lanes and limits want it. */
#include "endpoint/internal.h"

struct sl_cutter sl_cutter_on(const slime_op *op)
{
	const struct sl_hold *holds = op->xfer ? op->xfer->holds : op->holds;

	return (struct sl_cutter){
	    .iov = op->base.iov,
	    .hold = holds,
	    .niov = op->base.niov,
	    .of_hold = holds->niov,
	};
}

static void next_iov(struct sl_cutter *c)
{
	c->iov++;
	c->niov--;
	c->done = 0;
	if (--c->of_hold == 0 && c->niov)
		c->of_hold = (++c->hold)->niov;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* At most WANT bytes that one iov can name: whole runs, or some of one; returns how many. */
static uint64_t cut(struct sl_cutter *c, uint64_t max_len, uint64_t want, struct sl_iov *out)
{
	const struct sl_iov *v = c->iov;
	uint64_t run = c->done / v->len;
	uint64_t in = c->done % v->len;
	uint64_t len = min(v->len - in, want);

	*out = *v;
	out->addr += run * v->stride + in;
	out->roff += run * v->rstride + in;
	if (len > max_len) {
		out->count = len / max_len;
		out->len = out->stride = out->rstride = max_len;
	} else if (len < v->len) {
		out->count = 1;
		out->len = len;
	} else {
		out->count = min(v->count - run, want / v->len);
	}
	c->done += out->len * out->count;
	if (c->done == v->len * v->count)
		next_iov(c);
	return out->len * out->count;
}

uint32_t sl_cutter_take(struct sl_cutter *c, const slime_ep *ep, uint32_t lane, uint64_t *bytes,
                        uint32_t cap, struct sl_iov *out)
{
	uint64_t want = *bytes;
	uint32_t n = 0;

	while (want && c->niov && n < cap) {
		const struct sl_hold *hold = c->hold;
		struct sl_iov one;

		if (!c->iov->len) {
			next_iov(c);
			continue;
		}
		want -= cut(c, ep->tr->max_len, want, &one);
		if (out) {
			sl_iov_aim(ep, &one, &(struct sl_hold){hold->mr, hold->rmr, 1}, 1, lane);
			out[n] = one;
		}
		n++;
	}
	*bytes -= want;
	return n;
}
