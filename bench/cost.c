/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a call costs: segments of a batch, strided pieces, one small transfer.
 *
 *	cost
 *
 * Over loopback nothing but our own code and an 8-byte copy a segment is in
 * the time; every one of the 4096 segments is 64 bytes from the last.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pair.h"

enum { BATCH = 4096, PIECE = 8, STEP = 64, SPAN = BATCH * STEP, WARM_OPS = 50, LIMIT_S = 60 };

/* Two endpoints of one context. */
struct loop {
	struct side a, b;
};

static struct slime_desc export_ep(slime_ep *ep)
{
	struct slime_desc desc;
	struct slime_error err;

	must(slime_ep_export(ep, &desc, &err), &err);
	return desc;
}

static void loop_open(struct loop *l)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "loopback"};
	struct slime_desc a, b, mr;
	struct slime_error err;
	int rc;

	*l = (struct loop){0};
	side_context(&l->a, 0, 0);
	l->b.ctx = l->a.ctx;
	side_memory(&l->a, SPAN, false);
	side_memory(&l->b, SPAN, false);
	must(slime_ep_create(l->a.ctx, &opts, &l->a.ep, &err), &err);
	must(slime_ep_create(l->a.ctx, &opts, &l->b.ep, &err), &err);
	a = export_ep(l->a.ep);
	b = export_ep(l->b.ep);
	rc = slime_ep_connect(l->a.ep, &b, 0, &err); /* starts; the other side is still to come */
	if (rc != -ETIMEDOUT)
		must(rc, &err);
	must(slime_ep_connect(l->b.ep, &a, s_ns, &err), &err);
	rc = slime_ep_connect(l->a.ep, &b, s_ns, &err);
	if (rc != -EISCONN)
		must(rc, &err);
	must(slime_mr_export(l->b.mr, &mr, &err), &err);
	must(slime_ep_import(l->a.ep, &mr, &l->a.rmr, &err), &err);
}

static void loop_close(struct loop *l)
{
	slime_rmr_release(l->a.rmr);
	slime_ep_destroy(l->a.ep);
	slime_ep_destroy(l->b.ep);
	slime_mr_deregister(l->a.mr);
	slime_mr_deregister(l->b.mr);
	slime_ctx_destroy(l->a.ctx);
}

/* Post and wait, again and again; the time of the call alone, and until completion. */
static void measure(const struct side *s, const struct slime_seg *segs, size_t n,
                    struct samples *post, struct samples *whole)
{
	int64_t until = now_ns() + cell_ns();

	post->n = whole->n = 0;
	for (uint64_t i = 0; i < WARM_OPS || now_ns() < until; i++) {
		int64_t began = now_ns(), posted;
		slime_op *op;

		must_do(slime_ep_write(s->ep, segs, n, NULL, &op), "submit");
		posted = now_ns();
		must_do(slime_op_wait(op, SLIME_FOREVER, NULL), "write");
		slime_op_release(op);
		if (i < WARM_OPS)
			continue;
		samples_add(post, posted - began);
		samples_add(whole, now_ns() - began);
	}
}

static double median_ns(struct samples *s)
{
	return (double)samples_at(s, 0.5);
}

static uint64_t posts(slime_ctx *ctx)
{
	struct slime_stats stats[8];
	int n = slime_ctx_stats(ctx, stats, 8);
	uint64_t sum = 0;

	for (int i = 0; i < n && i < 8; i++)
		sum += stats[i].posts;
	return sum;
}

static void check_copied(struct loop *l)
{
	for (size_t i = 0; i < BATCH; i++) {
		if (memcmp(l->a.mem + i * STEP, l->b.mem + i * STEP, PIECE) != 0)
			give_up("a piece did not arrive");
	}
	memset(l->b.mem, 1, SPAN);
}

static void segments(struct loop *l, struct samples *post, struct samples *whole)
{
	static struct slime_seg segs[BATCH];

	for (uint64_t i = 0; i < BATCH; i++)
		segs[i] = (struct slime_seg){.local = l->a.mr,
		                             .remote = l->a.rmr,
		                             .local_off = i * STEP,
		                             .remote_off = i * STEP,
		                             .len = PIECE};
	measure(&l->a, segs, BATCH, post, whole);
	check_copied(l);
	figure("loopback-segment-posted", PIECE, BATCH, "cost", median_ns(post) / BATCH, "ns");
	figure("loopback-segment-completed", PIECE, BATCH, "cost", median_ns(whole) / BATCH, "ns");
}

static void strided(struct loop *l, struct samples *post, struct samples *whole)
{
	struct slime_seg seg = {.local = l->a.mr,
	                        .remote = l->a.rmr,
	                        .len = PIECE,
	                        .count = BATCH,
	                        .local_stride = STEP,
	                        .remote_stride = STEP};
	uint64_t before = posts(l->a.ctx);
	slime_op *op;

	must_do(slime_ep_write(l->a.ep, &seg, 1, NULL, &op), "submit");
	must_do(slime_op_wait(op, SLIME_FOREVER, NULL), "write");
	slime_op_release(op);
	figure("loopback-strided-posts", PIECE, BATCH, "posts", (double)(posts(l->a.ctx) - before),
	       "posts");
	measure(&l->a, &seg, 1, post, whole);
	check_copied(l);
	figure("loopback-strided-completed", PIECE, BATCH, "cost", median_ns(whole) / BATCH, "ns");
}

static void small(const struct side *s, const char *what, struct samples *post,
                  struct samples *whole)
{
	struct slime_seg seg = {.local = s->mr, .remote = s->rmr, .len = PIECE};

	measure(s, &seg, 1, post, whole);
	figure(what, PIECE, 1, "cost", median_ns(whole), "ns");
}

static void small_shm(bool alloc, const char *what, struct samples *post, struct samples *whole)
{
	struct side s;
	bool server = pair_fork(&s);
	char byte;

	side_context(&s, 0, 0);
	side_memory(&s, SPAN, alloc);
	side_connect(&s, "shm");
	while (server)
		(void)take(&s, &byte, 1);
	small(&s, what, post, whole);
	side_end(&s);
}

int main(void)
{
	struct samples post = {0}, whole = {0};
	struct loop l;

	(void)alarm(LIMIT_S);
	small_shm(true, "shm-alloc-submit-and-complete", &post, &whole);
	small_shm(false, "shm-malloc-submit-and-complete", &post, &whole);
	loop_open(&l);
	fill(l.a.mem, SPAN, 8);
	segments(&l, &post, &whole);
	strided(&l, &post, &whole);
	small(&l.a, "loopback-submit-and-complete", &post, &whole);
	loop_close(&l);
	samples_free(&post);
	samples_free(&whole);
	return 0;
}
