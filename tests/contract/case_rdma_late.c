/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/case_rdma_late.c - a packet of a write is still on its way when the queue pair
 * that sent it is gone. A write that ends, or goes over another lane, waits until nobody takes it.
 */
#include <errno.h>
#include <stdlib.h>

#include "rig_rdma.h"

enum { PIECE = 5000, SEGS = 40, SEEN = 1, NEWER = 2, RAIL_LEN = 4 * 1024 * 1024 };

static void strayed(void)
{
	CHECK(fake_verbs_await(FAKE_UNANSWERED, 1, patience_ns()));
	CHECK_EQ(fake_verbs_faults_left(), 0);
}

/* What is on its way arrives, where there are newer bytes by now. */
static void nobody_takes_it(struct pair *p)
{
	fill(p->b.mem, p->b.len, NEWER);
	CHECK_EQ(fake_verbs_arrive(), 0);
	CHECK_FILLED(p->b.mem, p->b.len, NEWER);
}

/*
 * A write that moves: A's first port goes down.
 */

typedef size_t start_fn(struct pair *p, slime_op **ops);

/* Over each of two lanes one. */
static size_t two_writes(struct pair *p, slime_op **ops)
{
	for (uint64_t i = 0; i < 2; i++)
		ops[i] = start_write(&p->a, i * PIECE, i * PIECE, PIECE);
	return 2;
}

static size_t one_in_parts(struct pair *p, slime_op **ops)
{
	ops[0] = start_write(&p->a, 0, 0, RAIL_LEN);
	return 1;
}

/* More requests than the queue pair has room for. */
static size_t one_begun(struct pair *p, slime_op **ops)
{
	struct slime_seg segs[SEGS];

	for (uint64_t i = 0; i < SEGS; i++)
		segs[i] = seg_of(&p->a, 2 * i * PIECE, 2 * i * PIECE, PIECE);
	CHECK_OK(slime_ep_write_imm(p->a.ep, segs, SEGS, 1, NULL, &ops[0]));
	return 1;
}

static bool all_are_over(slime_op **ops, size_t n)
{
	while (n && slime_op_wait(ops[n - 1], 0, NULL) != -ETIMEDOUT)
		n--;
	return !n;
}

/* B's program does nothing: its queue pair takes packets, and nobody says otherwise. */
static struct pair *goes_down_asleep(start_fn *start, slime_op **ops, size_t *n)
{
	struct pair *p;

	CHECK_EQ(setenv("SLIME_MAX_SEND_WR", "16", 1), 0);
	p = rig_four(&(struct pair_opts){.lanes = 2,
	                                 .device = "fake0,fake1",
	                                 .len = 2 * RAIL_LEN,
	                                 .peer_timeout_ms = 2000,
	                                 .b_manual = true});
	fill(p->a.mem, p->a.len, SEEN);
	pair_linger(p, 5 * NS_PER_MS);
	p->b_asleep = true;
	fake_verbs_stray(0, 0, 1);
	*n = start(p, ops);
	strayed();
	fake_verbs_set_port(0, 1, IBV_PORT_DOWN);
	pair_linger(p, 50 * NS_PER_MS);
	CHECK(!all_are_over(ops, *n));
	return p;
}

static void a_write_that_moves_waits_for_the_old_queue_pair(void)
{
	static start_fn *const starts[] = {two_writes, one_in_parts, one_begun};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		slime_op *ops[2];
		size_t n;
		struct pair *p = goes_down_asleep(starts[i], ops, &n);

		p->b_asleep = false;
		for (size_t k = 0; k < n; k++)
			CHECK_ENDS(p, ops[k], 0);
		CHECK_FILLED(p->b.mem, PIECE, SEEN);
		nobody_takes_it(p);
		if (starts[i] == one_begun)
			CHECK_ENDS(p, start_recv_imm(&p->b), 0);
		rig_works(p);
		rig_end(p);
	}
}

static void a_write_that_would_move_ends_when_the_peer_says_nothing(void)
{
	slime_op *ops[2];
	size_t n;
	struct pair *p = goes_down_asleep(one_in_parts, ops, &n);
	int rc = rig_ends(p, ops[0]);

	CHECK(rc == -EHOSTUNREACH || rc == -ECONNRESET);
	p->b_asleep = false;
	rig_end(p);
}

/*
 * A write that ends. The peer hears of it 15 ms late, as the first datagrams are lost.
 */

static struct pair *one_strays(const struct slime_submit *how, slime_op **op)
{
	struct slime_seg seg;
	struct pair *p =
	    rig_begin(NULL, &(struct pair_opts){.device = "fake0", .b_device = "fake1"});

	rig_works(p);
	fill(p->a.mem, p->a.len, SEEN);
	fake_verbs_stray(0, 0, 1);
	seg = seg_of(&p->a, 0, 0, PIECE);
	CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, how, op));
	strayed();
	for (unsigned i = 1; i <= 4; i++)
		fake_verbs_fail_datagram(0, FAKE_DROP, i);
	return p;
}

static void a_write_that_is_taken_back_waits_for_the_peer(void)
{
	slime_op *op;
	struct pair *p = one_strays(NULL, &op);

	slime_op_cancel(op);
	CHECK_ENDS(p, op, -ECANCELED);
	nobody_takes_it(p);
	rig_works(p);
	rig_end(p);
}

static void a_write_past_its_deadline_waits_for_the_peer(void)
{
	const struct slime_submit soon = {.size = sizeof(soon), .timeout_ns = 100 * NS_PER_MS};
	slime_op *op;
	struct pair *p = one_strays(&soon, &op);

	CHECK_ENDS(p, op, -ETIME);
	nobody_takes_it(p);
	rig_works(p);
	rig_end(p);
}

/* Twice asked, which it is while its old queue pair is gone and the peer has not said so. */
static void a_write_that_is_taken_back_in_doubt_waits_for_the_peer(void)
{
	slime_op *op;
	struct pair *p = one_strays(NULL, &op);
	uint64_t lost = fake_verbs_count(FAKE_LOST);

	fake_verbs_expire();
	CHECK(fake_verbs_await(FAKE_LOST, lost + 2, patience_ns()));
	slime_op_cancel(op);
	CHECK_ENDS(p, op, -ECANCELED);
	nobody_takes_it(p);
	rig_works(p);
	rig_end(p);
}

static void a_write_that_is_closed_away_waits_for_the_peer(void)
{
	slime_op *op;
	struct pair *p = one_strays(NULL, &op);

	slime_ep_close(p->a.ep);
	CHECK_ENDS(p, op, -ECANCELED);
	nobody_takes_it(p);
	rig_end(p);
}

#define CASE(name)             \
	{                      \
#name, name, 1 \
	}
const struct contract_case rdma_late_cases[] = {
    CASE(a_write_that_moves_waits_for_the_old_queue_pair),
    CASE(a_write_that_would_move_ends_when_the_peer_says_nothing),
    CASE(a_write_that_is_taken_back_waits_for_the_peer),
    CASE(a_write_past_its_deadline_waits_for_the_peer),
    CASE(a_write_that_is_taken_back_in_doubt_waits_for_the_peer),
    CASE(a_write_that_is_closed_away_waits_for_the_peer),
    {0},
};
