/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/pair.c - two connected endpoints in this process. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "contract.h"

slime_ctx *context_create(bool manual, uint32_t peer_timeout_ms)
{
	struct slime_ctx_opts opts = {
	    .size = sizeof(opts),
	    .flags = manual ? SLIME_CTX_MANUAL_PROGRESS : 0,
	    .peer_timeout_ms = peer_timeout_ms,
	};
	slime_ctx *ctx = NULL;

	CHECK_OK(slime_ctx_create(&opts, &ctx, &test_err));
	CHECK(ctx != NULL);
	return ctx;
}

static void memory_create(struct side *s)
{
	void *mem = NULL;

	s->malloced = env.variant == VAR_MALLOC;
	if (s->malloced) {
		mem = malloc(s->len);
		CHECK(mem != NULL);
		memset(mem, 0, s->len);
	} else {
		CHECK_OK(slime_mem_alloc(s->ctx, s->len, NULL, &mem, &test_err));
	}
	s->mem = mem;
}

void side_create(struct side *s, slime_ctx *ctx, const char *transport,
                 const struct pair_opts *opts)
{
	uint32_t lanes = env.variant == VAR_LANES ? 4 : 0;
	struct slime_ep_opts ep_opts = {
	    .size = sizeof(ep_opts),
	    .transport = transport,
	    .device = opts->device,
	    .depth = opts->depth,
	    .lanes = opts->lanes ? opts->lanes : lanes,
	};
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = SLIME_ACCESS_REMOTE};

	*s = (struct side){.ctx = ctx, .len = opts->len ? opts->len : MIB};
	memory_create(s);
	CHECK_OK(slime_mr_register(ctx, s->mem, s->len, &mr_opts, &s->mr, &test_err));
	CHECK_OK(slime_ep_create(ctx, &ep_opts, &s->ep, &test_err));
}

void side_destroy(struct side *s)
{
	slime_rmr_release(s->rmr);
	slime_ep_destroy(s->ep);
	slime_mr_deregister(s->mr);
	if (s->malloced)
		free(s->mem);
	else
		slime_mem_free(s->ctx, s->mem);
	*s = (struct side){0};
}

void side_describe(const struct side *s, struct slime_desc *ep, struct slime_desc *mr)
{
	CHECK_OK(slime_ep_export(s->ep, ep, &test_err));
	CHECK_OK(slime_mr_export(s->mr, mr, &test_err));
}

/* One end's connect(), for a thread. */
struct caller {
	slime_ep *ep;
	struct slime_desc peer;
};

static void *connect_one(void *arg)
{
	struct caller *c = arg;

	CHECK_OK(slime_ep_connect(c->ep, &c->peer, patience_ns(), &test_err));
	return NULL;
}

void pair_connect(struct pair *p)
{
	struct caller a = {.ep = p->a.ep}, b = {.ep = p->b.ep};
	pthread_t thread;

	CHECK_OK(slime_ep_export(p->a.ep, &b.peer, &test_err));
	CHECK_OK(slime_ep_export(p->b.ep, &a.peer, &test_err));
	CHECK_EQ(pthread_create(&thread, NULL, connect_one, &b), 0);
	(void)connect_one(&a);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void import_one(struct side *s, const struct side *from)
{
	struct slime_desc desc;

	CHECK_OK(slime_mr_export(from->mr, &desc, &test_err));
	CHECK_OK(slime_ep_import(s->ep, &desc, &s->rmr, &test_err));
}

void pair_import(struct pair *p)
{
	import_one(&p->a, &p->b);
	import_one(&p->b, &p->a);
}

struct pair *pair_create(const struct pair_opts *opts)
{
	static const struct pair_opts none;
	struct pair *p = calloc(1, sizeof(*p));
	bool manual = env.variant == VAR_MANUAL;
	struct pair_opts of_b;
	slime_ctx *a, *b;

	CHECK(p != NULL);
	opts = opts ? opts : &none;
	of_b = *opts;
	of_b.device = opts->b_device ? opts->b_device : opts->device;
	a = context_create(manual, opts->peer_timeout_ms);
	b = a;
	p->a_manual = manual;
	p->b_manual = manual || opts->b_manual;
	if (env.variant != VAR_ONE)
		b = context_create(p->b_manual, opts->peer_timeout_ms);
	side_create(&p->a, a, env.transport, opts);
	side_create(&p->b, b, env.transport, &of_b);
	if (opts->apart)
		return p;
	pair_connect(p);
	pair_import(p);
	return p;
}

void pair_destroy(struct pair *p)
{
	slime_ctx *a = p->a.ctx, *b = p->b.ctx;

	side_destroy(&p->a);
	side_destroy(&p->b);
	slime_ctx_destroy(a);
	if (b != a)
		slime_ctx_destroy(b);
	free(p);
}

void pair_drive(struct pair *p)
{
	if (p->a_manual)
		CHECK(slime_ctx_progress(p->a.ctx) >= 0);
	if (p->b_manual && !p->b_asleep)
		CHECK(slime_ctx_progress(p->b.ctx) >= 0);
}

/* How long a call may block: not at all when this thread has contexts to drive. */
static int64_t step_ns(const struct pair *p)
{
	return p->a_manual || (p->b_manual && !p->b_asleep) ? 0 : 100 * NS_PER_MS;
}

int pair_finish(struct pair *p, slime_op *op, struct slime_result *res)
{
	int64_t end = now_ns() + patience_ns();
	int rc;

	do {
		pair_drive(p);
		rc = slime_op_wait(op, step_ns(p), res);
	} while (rc == -ETIMEDOUT && now_ns() < end);
	if (rc == -ETIMEDOUT)
		test_fail("a transfer did not end in %lld ms",
		          (long long)(patience_ns() / NS_PER_MS));
	slime_op_release(op);
	return rc;
}

void pair_take(struct pair *p, slime_cq *cq, struct slime_result *res, size_t n)
{
	int64_t end = now_ns() + patience_ns();

	for (size_t have = 0; have < n;) {
		int rc;

		pair_drive(p);
		rc = slime_cq_wait(cq, res + have, n - have, step_ns(p));
		CHECK(rc == -ETIMEDOUT || rc > 0);
		have += rc > 0 ? (size_t)rc : 0;
		if (now_ns() > end)
			test_fail("only %zu of %zu completions came", have, n);
	}
}

void pair_linger(struct pair *p, int64_t ns)
{
	struct timespec tick = {.tv_nsec = NS_PER_MS};

	for (int64_t end = now_ns() + ns; now_ns() < end;) {
		pair_drive(p);
		if (step_ns(p))
			(void)nanosleep(&tick, NULL);
	}
}

void pair_pending(struct pair *p, slime_op *op)
{
	pair_linger(p, 20 * NS_PER_MS);
	CHECK_RC(slime_op_wait(op, 0, NULL), -ETIMEDOUT);
}

struct slime_seg seg_of(const struct side *s, uint64_t off, uint64_t roff, uint64_t len)
{
	return (struct slime_seg){
	    .local = s->mr,
	    .remote = s->rmr,
	    .local_off = off,
	    .remote_off = roff,
	    .len = len,
	};
}

struct slime_span span_of(const struct side *s, uint64_t off, uint64_t len)
{
	return (struct slime_span){.mr = s->mr, .off = off, .len = len};
}

slime_op *start_read(struct side *s, uint64_t off, uint64_t roff, uint64_t len)
{
	struct slime_seg seg = seg_of(s, off, roff, len);
	slime_op *op = NULL;

	CHECK_OK(slime_ep_read(s->ep, &seg, 1, NULL, &op));
	return op;
}

slime_op *start_write(struct side *s, uint64_t off, uint64_t roff, uint64_t len)
{
	struct slime_seg seg = seg_of(s, off, roff, len);
	slime_op *op = NULL;

	CHECK_OK(slime_ep_write(s->ep, &seg, 1, NULL, &op));
	return op;
}

slime_op *start_write_imm(struct side *s, uint64_t off, uint64_t roff, uint64_t len, uint32_t imm)
{
	struct slime_seg seg = seg_of(s, off, roff, len);
	slime_op *op = NULL;

	CHECK_OK(slime_ep_write_imm(s->ep, &seg, 1, imm, NULL, &op));
	return op;
}

slime_op *start_recv_imm(struct side *s)
{
	slime_op *op = NULL;

	CHECK_OK(slime_ep_recv_imm(s->ep, NULL, &op));
	return op;
}

slime_op *start_send(struct side *s, uint64_t off, uint64_t len)
{
	struct slime_span span = span_of(s, off, len);
	slime_op *op = NULL;

	CHECK_OK(slime_ep_send(s->ep, &span, NULL, &op));
	return op;
}

slime_op *start_recv(struct side *s, uint64_t off, uint64_t len)
{
	struct slime_span span = span_of(s, off, len);
	slime_op *op = NULL;

	CHECK_OK(slime_ep_recv(s->ep, &span, NULL, &op));
	return op;
}

slime_op *block_begin(struct pair *p)
{
	slime_op *op;

	CHECK(p->a.len >= HELD_UP && p->b.len >= HELD_UP);
	op = start_send(&p->a, p->a.len - HELD_UP, HELD_UP);
	pair_pending(p, op);
	return op;
}

void block_end(struct pair *p, slime_op *op)
{
	CHECK_ENDS(p, start_recv(&p->b, p->b.len - HELD_UP, HELD_UP), 0);
	CHECK_ENDS(p, op, 0);
}

void pair_ping(struct pair *p, uint64_t len)
{
	uint64_t seed = (uint64_t)now_ns();
	struct slime_result res;
	slime_op *recv, *send;

	fill(p->a.mem, len, seed);
	recv = start_recv(&p->b, 0, len);
	send = start_send(&p->a, 0, len);
	CHECK_ENDS(p, send, 0);
	CHECK_OK(pair_finish(p, recv, &res));
	CHECK_EQ(res.bytes, len);
	CHECK_FILLED(p->b.mem, len, seed);
}
