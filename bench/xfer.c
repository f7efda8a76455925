/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One-sided transfers between two processes: the cells of bench/peers, by our public API.
 *
 *	xfer tcp|shm alloc|malloc poll|wait
 *
 * alloc: memory of slime_mem_alloc() on both sides; malloc: any other. poll:
 * both sides keep looking, as the spinning peers do; wait: both sleep when
 * there is nothing to do, with the library's defaults.
 *
 * XFER_CELLS is a mask of the cells to measure (1: 8 B, 2: 4 KiB, 4: 64 KiB,
 * 8: 1 MiB, 16: 1 MiB with 16 in flight, 32: 64 MiB); all by default.
 *
 * Blocks rotate over 64 MiB. Every cell is compared byte for byte: what it
 * read, or, by the server, what is in its memory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pair.h"

enum { WINDOW = 64 * MIB, DEPTH_MAX = 16, WARM_OPS = 50, LIMIT_S = 120 };
enum { SEED_SERVER = 7, SEED_CLIENT = 8 };

static const uint32_t spin_forever_us = 3600u * 1000000u;

struct bench {
	struct side side;
	slime_cq *cq;
	bool poll;
};

struct cell {
	bool write;
	uint64_t size;
	uint32_t depth;
	bool latency;
};

struct run {
	uint64_t ops;   /* in the time that counts */
	uint64_t total; /* with those of the warm-up */
	int64_t ns;
};

/* What the client asks the server to do with the first LEN bytes of its memory. */
struct question {
	char what; /* 'c'lear, 's'ame as the client's? */
	uint64_t len;
};

static void serve(struct side *s, const char *transport)
{
	struct question q;
	uint64_t good;

	fill(s->mem, s->len, SEED_SERVER);
	side_connect(s, transport);
	for (;;) {
		if (take(s, &q, sizeof(q)) != sizeof(q) || q.len > s->len)
			give_up("not a question");
		good = q.len;
		if (q.what == 'c')
			memset(s->mem, 0, q.len);
		else
			good = same_prefix(s->mem, q.len, SEED_CLIENT);
		give(s, &good, sizeof(good));
	}
}

static uint64_t ask(struct bench *b, char what, uint64_t len)
{
	struct question q = {.what = what, .len = len};
	uint64_t good;

	give(&b->side, &q, sizeof(q));
	(void)take(&b->side, &good, sizeof(good));
	return good;
}

static int submit(struct bench *b, const struct cell *c, uint64_t i, slime_op **op)
{
	struct slime_submit how = {.size = sizeof(how), .cq = op ? NULL : b->cq};
	uint64_t off = i % (WINDOW / c->size) * c->size;
	struct slime_seg seg = {.local = b->side.mr,
	                        .remote = b->side.rmr,
	                        .local_off = off,
	                        .remote_off = off,
	                        .len = c->size};

	return c->write ? slime_ep_write(b->side.ep, &seg, 1, &how, op)
	                : slime_ep_read(b->side.ep, &seg, 1, &how, op);
}

static int64_t one(struct bench *b, const struct cell *c, uint64_t i)
{
	int64_t began = now_ns();
	slime_op *op;
	int rc;

	must_do(submit(b, c, i, &op), "submit");
	do
		rc = slime_op_wait(op, b->poll ? 0 : SLIME_FOREVER, NULL);
	while (rc == -ETIMEDOUT);
	must_do(rc, "transfer");
	slime_op_release(op);
	return now_ns() - began;
}

/* One in flight, until UNTIL_NS or MAX_OPS. */
static void run_single(struct bench *b, const struct cell *c, int64_t ns, uint64_t max_ops,
                       struct run *r, struct samples *s)
{
	int64_t began = now_ns();

	for (r->ops = 0; r->ops < max_ops && (r->ops == 0 || now_ns() - began < ns); r->ops++) {
		int64_t took = one(b, c, r->total++);

		if (s)
			samples_add(s, took);
	}
	r->ns = now_ns() - began;
}

static uint64_t collect(struct bench *b)
{
	struct slime_result res[DEPTH_MAX];
	int n;

	do
		n = b->poll ? slime_cq_take(b->cq, res, DEPTH_MAX)
		            : slime_cq_wait(b->cq, res, DEPTH_MAX, SLIME_FOREVER);
	while (n == 0 || n == -ETIMEDOUT);
	must_do(n, "take completions");
	for (int i = 0; i < n; i++)
		must_do(res[i].status, "transfer");
	return (uint64_t)n;
}

/* DEPTH in flight, one completion queue. */
static void run_queue(struct bench *b, const struct cell *c, int64_t ns, uint64_t max_ops,
                      struct run *r)
{
	int64_t began = now_ns();
	uint64_t submitted = 0;

	r->ops = 0;
	while (r->ops < max_ops) {
		bool more = submitted == 0 || now_ns() - began < ns;

		if (!more && r->ops == submitted)
			break;
		while (more && submitted < max_ops && submitted - r->ops < c->depth) {
			must_do(submit(b, c, r->total++, NULL), "submit");
			submitted++;
		}
		r->ops += collect(b);
	}
	r->ns = now_ns() - began;
}

static void run(struct bench *b, const struct cell *c, int64_t ns, uint64_t max_ops, struct run *r,
                struct samples *s)
{
	if (c->depth == 1)
		run_single(b, c, ns, max_ops, r, s);
	else
		run_queue(b, c, ns, max_ops, r);
}

static void verify(struct bench *b, const struct cell *c, uint64_t ops)
{
	uint64_t len = ops < WINDOW / c->size ? ops * c->size : WINDOW;
	uint64_t good = c->write ? ask(b, 's', len) : same_prefix(b->side.mem, len, SEED_SERVER);

	if (good == len)
		return;
	figure(c->write ? "verify-write-WRONG" : "verify-read-WRONG", c->size, c->depth, "bytes",
	       (double)good, "B");
	give_up("the bytes are not what they should be");
}

static void measure(struct bench *b, const struct cell *c, struct samples *samples)
{
	const char *what = c->write ? "write" : "read";
	uint64_t warm = c->size > MIB ? 1 : WARM_OPS;
	struct run r = {0};

	if (c->write)
		(void)ask(b, 'c', WINDOW);
	else
		memset(b->side.mem, 0, WINDOW);
	samples->n = 0;
	run(b, c, s_ns / 5, warm, &r, NULL);
	run(b, c, cell_ns(), UINT64_MAX, &r, samples);
	verify(b, c, r.total);
	if (c->latency)
		figure_latency(what, c->size, c->depth, samples);
	if (c->size >= 64 * KIB)
		figure(what, c->size, c->depth, "bw", (double)(r.ops * c->size) / (double)r.ns,
		       "GB/s");
}

static void measure_all(struct bench *b)
{
	static const struct cell cells[] = {
	    {.size = 8, .depth = 1, .latency = true},
	    {.size = 4 * KIB, .depth = 1, .latency = true},
	    {.size = 64 * KIB, .depth = 1, .latency = true},
	    {.size = MIB, .depth = 1, .latency = true},
	    {.size = MIB, .depth = DEPTH_MAX},
	    {.size = WINDOW, .depth = 1},
	};
	uint64_t wanted = env_number("XFER_CELLS", UINT64_MAX);
	struct samples samples = {0};

	for (int write = 0; write < 2; write++) {
		if (write)
			fill(b->side.mem, WINDOW, SEED_CLIENT);
		for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
			struct cell c = cells[i];

			c.write = write;
			if (wanted >> i & 1)
				measure(b, &c, &samples);
		}
	}
	samples_free(&samples);
}

int main(int argc, char **argv)
{
	struct bench b = {0};
	struct slime_error err;
	bool alloc, server;

	if (argc != 4) {
		fprintf(stderr, "usage: xfer tcp|shm alloc|malloc poll|wait\n");
		return 2;
	}
	alloc = strcmp(argv[2], "alloc") == 0;
	b.poll = strcmp(argv[3], "poll") == 0;
	server = pair_fork(&b.side);
	(void)alarm(LIMIT_S);
	side_context(&b.side, b.poll ? spin_forever_us : 0, 0);
	side_memory(&b.side, WINDOW, alloc);
	if (server)
		serve(&b.side, argv[1]);
	side_connect(&b.side, argv[1]);
	must(slime_cq_create(b.side.ctx, DEPTH_MAX, &b.cq, &err), &err);
	measure_all(&b);
	slime_cq_destroy(b.cq);
	side_end(&b.side);
	return 0;
}
