/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_close.c - closing, and destroying in any order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"

/* One of each kind on S, reporting to CQ as user_data BASE + 0 .. 5; returns how many were taken.
 */
static int start_one_of_each(struct side *s, slime_cq *cq, uint64_t base, uint64_t len)
{
	struct slime_submit how = {.size = sizeof(how), .cq = cq, .user_data = base};
	struct slime_seg seg = seg_of(s, 0, 0, len);
	struct slime_span span = span_of(s, 0, len);

	CHECK_OK(slime_ep_recv(s->ep, &span, &how, NULL));
	how.user_data++;
	CHECK_OK(slime_ep_recv_imm(s->ep, &how, NULL));
	how.user_data++;
	CHECK_OK(slime_ep_read(s->ep, &seg, 1, &how, NULL));
	how.user_data++;
	CHECK_OK(slime_ep_write(s->ep, &seg, 1, &how, NULL));
	how.user_data++;
	CHECK_OK(slime_ep_write_imm(s->ep, &seg, 1, 1, &how, NULL));
	how.user_data++;
	span.off = len;
	CHECK_OK(slime_ep_send(s->ep, &span, &how, NULL));
	return 6;
}

/* After close() each of these ends once, with what it had or -ECANCELED. */
static void close_ends_everything_in_flight_once(void)
{
	enum { EACH = 8, N = EACH * 6 };
	struct pair *p = pair_create(&(struct pair_opts){.len = 4 * MIB});
	struct slime_result res[N + 1];
	bool seen[N] = {false};
	slime_cq *cq = NULL;

	CHECK_OK(slime_cq_create(p->a.ctx, N, &cq, &test_err));
	for (uint64_t i = 0; i < EACH; i++)
		(void)start_one_of_each(&p->a, cq, i * 6, i % 2 ? 100 : 2 * MIB);
	slime_ep_close(p->a.ep);
	slime_ep_close(p->a.ep);
	pair_take(p, cq, res, N);
	for (int i = 0; i < N; i++) {
		CHECK(res[i].user_data < N && !seen[res[i].user_data]);
		seen[res[i].user_data] = true;
		CHECK(res[i].status == 0 || res[i].status == -ECANCELED);
		if (res[i].user_data % 6 < 2) /* nothing was sent to these */
			CHECK_EQ(res[i].status, -ECANCELED);
	}
	pair_linger(p, 20 * NS_PER_MS);
	CHECK_EQ(slime_cq_take(cq, res, 1), 0);
	slime_cq_destroy(cq);
	pair_destroy(p);
}

static void close_returns_at_once_and_memory_is_quiet(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 24 * MIB});
	slime_op *write, *read;
	int64_t began;

	fill(p->a.mem, 24 * MIB, 1);
	write = start_write(&p->a, 0, 0, 12 * MIB);
	read = start_read(&p->a, 12 * MIB, 12 * MIB, 12 * MIB);
	began = now_ns();
	slime_ep_close(p->a.ep);
	CHECK(now_ns() - began < 50 * NS_PER_MS + slack_ns());
	(void)pair_finish(p, write, NULL);
	(void)pair_finish(p, read, NULL);
	fill(p->a.mem, 24 * MIB, 3);
	/* a socket that is reset orders nothing that ThreadSanitizer knows of */
	tsan_blind(true);
	fill(p->b.mem, 24 * MIB, 4);
	tsan_blind(false);
	pair_linger(p, 100 * NS_PER_MS);
	CHECK_FILLED(p->a.mem, 24 * MIB, 3);
	tsan_blind(true);
	CHECK_FILLED(p->b.mem, 24 * MIB, 4);
	tsan_blind(false);
	pair_destroy(p);
}

static void nothing_is_accepted_after_close(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg = seg_of(&p->a, 0, 0, 8);
	struct slime_span span = span_of(&p->a, 0, 8);
	slime_op *op = NULL;

	slime_ep_close(p->a.ep);
	CHECK_RC(slime_ep_read(p->a.ep, &seg, 1, NULL, &op), -ECANCELED);
	CHECK_RC(slime_ep_write(p->a.ep, &seg, 1, NULL, &op), -ECANCELED);
	CHECK_RC(slime_ep_write_imm(p->a.ep, &seg, 1, 1, NULL, &op), -ECANCELED);
	CHECK_RC(slime_ep_recv_imm(p->a.ep, NULL, &op), -ECANCELED);
	CHECK_RC(slime_ep_send(p->a.ep, &span, NULL, &op), -ECANCELED);
	CHECK_RC(slime_ep_recv(p->a.ep, &span, NULL, &op), -ECANCELED);
	CHECK(op == NULL);
	pair_destroy(p);
}

/* What waits at B when A goes: told apart from B's own closing. */
static void peer_goes(void (*go)(slime_ep *ep))
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg = seg_of(&p->b, 0, 0, 8);
	slime_op *recv, *imm, *op = NULL;
	int rc;

	pair_ping(p, 100);
	recv = start_recv(&p->b, 0, 8);
	imm = start_recv_imm(&p->b);
	pair_drive(p);
	go(p->a.ep);
	if (go == slime_ep_destroy)
		p->a.ep = NULL;
	CHECK_ENDS(p, recv, -ECONNRESET);
	CHECK_ENDS(p, imm, -ECONNRESET);
	rc = slime_ep_write(p->b.ep, &seg, 1, NULL, &op);
	if (!rc)
		rc = pair_finish(p, op, NULL);
	CHECK_RC(rc, -ECONNRESET);
	pair_destroy(p);
}

static void peer_that_closes_is_a_reset(void)
{
	peer_goes(slime_ep_close);
}

static void peer_that_is_destroyed_is_a_reset(void)
{
	peer_goes(slime_ep_destroy);
}

/* Bytes that a completed send promised are there even if the sender goes at once. */
static void what_was_sent_before_close_arrives(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *recv = start_recv(&p->b, 0, 1000), *imm = start_recv_imm(&p->b);

	fill(p->a.mem, 1000, 1);
	CHECK_ENDS(p, start_send(&p->a, 0, 1000), 0);
	CHECK_ENDS(p, start_write_imm(&p->a, 0, 2000, 1000, 1), 0);
	slime_ep_close(p->a.ep);
	CHECK_ENDS(p, recv, 0);
	CHECK_ENDS(p, imm, 0);
	CHECK_FILLED(p->b.mem, 1000, 1);
	CHECK_FILLED(p->b.mem + 2000, 1000, 1);
	pair_destroy(p);
}

/* The memory of both sides outlives the handles here, so any order is fine. */
enum handle { CTX, EP, MR, RMR, CQ, OP, XFER, N_HANDLES };

struct handles {
	struct side side;
	slime_cq *cq;
	slime_op *op;
	slime_xfer *xfer;
	char *mem;
};

static void handles_create(struct handles *h, struct side *s)
{
	struct slime_seg seg = seg_of(s, 0, 0, 4096);
	struct slime_submit how = {.size = sizeof(how)};

	h->side = *s;
	CHECK_OK(slime_cq_create(s->ctx, 8, &h->cq, &test_err));
	CHECK(slime_cq_fd(h->cq) >= 0);
	CHECK_OK(slime_xfer_prepare(s->ep, SLIME_DIR_WRITE, &seg, 1, &h->xfer, &test_err));
	CHECK_OK(slime_ep_recv_imm(s->ep, NULL, &h->op));
	how.cq = h->cq;
	CHECK_OK(slime_xfer_post(h->xfer, &how, NULL));
	CHECK_OK(slime_ep_recv(s->ep, &(struct slime_span){s->mr, 0, 64}, &how, NULL));
}

static void destroy_one(struct handles *h, enum handle which)
{
	switch (which) {
	case CTX:
		slime_ctx_destroy(h->side.ctx);
		break;
	case EP:
		slime_ep_destroy(h->side.ep);
		break;
	case MR:
		slime_mr_deregister(h->side.mr);
		break;
	case RMR:
		slime_rmr_release(h->side.rmr);
		break;
	case CQ:
		slime_cq_destroy(h->cq);
		break;
	case OP:
		slime_op_release(h->op);
		break;
	default:
		slime_xfer_release(h->xfer);
		break;
	}
}

static void swap(unsigned *a, unsigned *b)
{
	unsigned t = *a;

	*a = *b;
	*b = t;
}

/* Both sides of a connected pair with work in flight, in an order chosen by SEED. */
static void destroy_in_order(unsigned seed)
{
	struct pair_opts opts = {.len = 64 * KIB};
	struct pair *p = pair_create(&opts);
	struct handles both[2];
	unsigned order[2 * N_HANDLES];
	char *mems[2] = {p->a.mem, p->b.mem};

	handles_create(&both[0], &p->a);
	handles_create(&both[1], &p->b);
	for (unsigned i = 0; i < 2 * N_HANDLES; i++)
		order[i] = i;
	for (unsigned i = 2 * N_HANDLES - 1; i > 0; i--) {
		seed = seed * 1103515245 + 12345;
		swap(&order[i], &order[(seed >> 16) % (i + 1)]);
	}
	for (unsigned i = 0; i < 2 * N_HANDLES; i++)
		destroy_one(&both[order[i] % 2], (enum handle)(order[i] / 2));
	if (env.variant == VAR_MALLOC) {
		free(mems[0]);
		free(mems[1]);
	}
	free(p);
}

/* Memory of slime_mem_alloc() goes with its context, so only the process's own is checked here. */
static void handles_go_in_any_order(void)
{
	for (unsigned seed = 0; seed < 40; seed++)
		destroy_in_order(seed * 7919);
}

static void context_goes_first_and_the_rest_still_answers(void)
{
	struct pair *p = pair_create(NULL);
	slime_ctx *a = p->a.ctx, *b = p->b.ctx;
	slime_op *recv = start_recv(&p->a, 0, 100);

	slime_ctx_destroy(a);
	if (b != a)
		slime_ctx_destroy(b);
	CHECK_RC(slime_op_wait(recv, 0, NULL), -ETIMEDOUT);
	slime_ep_destroy(p->a.ep);
	CHECK_RC(slime_op_wait(recv, patience_ns(), NULL), -ECANCELED);
	slime_op_release(recv);
	slime_mr_deregister(p->a.mr);
	slime_rmr_release(p->a.rmr);
	slime_ep_destroy(p->b.ep);
	slime_mr_deregister(p->b.mr);
	slime_rmr_release(p->b.rmr);
	if (p->a.malloced) {
		free(p->a.mem);
		free(p->b.mem);
	}
	free(p);
}

static void ops_outlive_their_endpoint(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *write = start_write(&p->a, 0, 0, 100), *recv;
	struct slime_result res;
	int64_t end = now_ns() + patience_ns();

	while (slime_op_wait(write, 0, NULL) == -ETIMEDOUT && now_ns() < end)
		pair_drive(p);
	recv = start_recv(&p->a, 0, 100);
	slime_ep_destroy(p->a.ep);
	p->a.ep = NULL;
	CHECK_OK(slime_op_wait(write, 0, &res));
	CHECK_EQ(res.bytes, 100);
	CHECK_RC(slime_op_wait(recv, 0, &res), -ECANCELED);
	slime_op_cancel(recv);
	slime_op_release(write);
	slime_op_release(recv);
	pair_destroy(p);
}

/* Looks at memory that the library may be writing, as only somebody can who gave up the handle. */
__attribute__((no_sanitize("thread"))) static bool arrived(const volatile char *mem, char want)
{
	for (int i = 0; i < 100; i++)
		if (mem[i] != want)
			return false;
	return true;
}

/* Released before it completes: it goes on, unobserved. */
static void a_released_op_goes_on(void)
{
	struct pair *p = pair_create(NULL);
	int64_t end = now_ns() + patience_ns();

	slime_op_release(start_recv(&p->b, 0, 100));
	memset(p->a.mem, 'x', 100);
	CHECK_ENDS(p, start_send(&p->a, 0, 100), 0);
	while (!arrived(p->b.mem, 'x') && now_ns() < end)
		pair_linger(p, NS_PER_MS);
	CHECK(arrived(p->b.mem, 'x'));
	pair_destroy(p);
}

static void a_region_deregistered_in_flight_keeps_what_it_needs(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *recv = start_recv(&p->b, 0, 100);

	slime_mr_deregister(p->b.mr);
	p->b.mr = NULL;
	fill(p->a.mem, 100, 1);
	CHECK_ENDS(p, start_send(&p->a, 0, 100), 0);
	CHECK_ENDS(p, recv, 0);
	CHECK_FILLED(p->b.mem, 100, 1);
	pair_destroy(p);
}

static void null_handles_are_fine_to_give_back(void)
{
	slime_ctx *ctx = context_create(false, 0);

	slime_ep_close(NULL);
	slime_ep_destroy(NULL);
	slime_mr_deregister(NULL);
	slime_rmr_release(NULL);
	slime_op_release(NULL);
	slime_op_cancel(NULL);
	slime_cq_destroy(NULL);
	slime_xfer_release(NULL);
	slime_mem_free(ctx, NULL);
	slime_ctx_destroy(NULL);
	slime_ctx_destroy(ctx);
}

/* Over and over: nothing may pile up that makes the last one fail. */
static void endpoints_come_and_go(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 64 * KIB});

	for (int i = 0; i < 60; i++) {
		struct pair q = *p;

		side_create(&q.a, p->a.ctx, env.transport, &(struct pair_opts){.len = 64 * KIB});
		side_create(&q.b, p->b.ctx, env.transport, &(struct pair_opts){.len = 64 * KIB});
		pair_connect(&q);
		pair_import(&q);
		pair_ping(&q, 1000);
		if (i % 2)
			(void)start_one_of_each(&q.a, NULL, 0, 1000);
		side_destroy(i % 4 < 2 ? &q.a : &q.b);
		side_destroy(i % 4 < 2 ? &q.b : &q.a);
	}
	pair_ping(p, 1000);
	pair_destroy(p);
}

const struct contract_case close_cases[] = {
    {"close_ends_everything_in_flight_once", close_ends_everything_in_flight_once, IN_ALL},
    {"close_returns_at_once_and_memory_is_quiet", close_returns_at_once_and_memory_is_quiet,
     IN_ALL},
    {"nothing_is_accepted_after_close", nothing_is_accepted_after_close, IN_BASIC | IN(MANUAL)},
    {"peer_that_closes_is_a_reset", peer_that_closes_is_a_reset, IN_ALL},
    {"peer_that_is_destroyed_is_a_reset", peer_that_is_destroyed_is_a_reset, IN_ALL},
    {"what_was_sent_before_close_arrives", what_was_sent_before_close_arrives, IN_ALL},
    {"handles_go_in_any_order", handles_go_in_any_order, IN(MALLOC) | IN(LANES)},
    {"context_goes_first_and_the_rest_still_answers", context_goes_first_and_the_rest_still_answers,
     IN_ALL},
    {"ops_outlive_their_endpoint", ops_outlive_their_endpoint, IN_ALL},
    {"a_released_op_goes_on", a_released_op_goes_on, IN_ALL},
    {"a_region_deregistered_in_flight_keeps_what_it_needs",
     a_region_deregistered_in_flight_keeps_what_it_needs, IN_ALL},
    {"null_handles_are_fine_to_give_back", null_handles_are_fine_to_give_back, IN_BASIC},
    {"endpoints_come_and_go", endpoints_come_and_go, IN_BASIC | IN(ONE) | IN(LANES)},
    {0},
};
