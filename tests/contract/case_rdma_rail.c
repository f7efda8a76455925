/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/case_rdma_rail.c - the rail of lane 0 dies, with immediates and messages on their
 * way: they take the other one, once, in order, and after their bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rig_rdma.h"

enum { MANY = 16, PIECE = 5000, IMMS_AT = 0, MSGS_AT = 256 * 1024 };

static const struct pair_opts two_rails = {
    .lanes = 2, .device = "fake0,fake1", .peer_timeout_ms = 4000};

/* What goes from one side to the other: immediates and messages, of which the receiver has all
 * receives posted. */
struct flow {
	struct side *from, *to;
	uint64_t seed;
	slime_op *imms[MANY], *sends[MANY], *recv_imms[MANY], *recvs[MANY];
};

static void flow_await(struct flow *f, struct side *from, struct side *to, uint64_t seed)
{
	*f = (struct flow){.from = from, .to = to, .seed = seed};
	for (uint64_t i = 0; i < MANY; i++) {
		f->recv_imms[i] = start_recv_imm(to);
		f->recvs[i] = start_recv(to, MSGS_AT + i * PIECE, PIECE);
	}
}

static void flow_start(struct flow *f)
{
	fill(f->from->mem + 2 * MSGS_AT, (size_t)MANY * PIECE, f->seed);
	memset(f->to->mem + IMMS_AT, 0, (size_t)MANY * PIECE);
	memset(f->to->mem + MSGS_AT, 0, (size_t)MANY * PIECE);
	for (uint64_t i = 0; i < MANY; i++) {
		uint64_t at = 2 * MSGS_AT + i * PIECE;

		f->imms[i] = start_write_imm(f->from, at, IMMS_AT + i * PIECE, PIECE, (uint32_t)i);
		f->sends[i] = start_send(f->from, at, PIECE);
	}
}

/* Nothing more comes than what was sent. */
static void no_more(struct pair *p, struct flow *f)
{
	slime_op *imm = start_recv_imm(f->to), *msg = start_recv(f->to, MSGS_AT, PIECE);

	pair_pending(p, imm);
	pair_pending(p, msg);
	slime_op_cancel(imm);
	slime_op_cancel(msg);
	CHECK_ENDS(p, imm, -ECANCELED);
	CHECK_ENDS(p, msg, -ECANCELED);
}

static void flow_arrives(struct pair *p, struct flow *f)
{
	for (uint32_t i = 0; i < MANY; i++) {
		struct slime_result res;

		CHECK_ENDS(p, f->imms[i], 0);
		CHECK_ENDS(p, f->sends[i], 0);
		CHECK_OK(pair_finish(p, f->recv_imms[i], &res));
		CHECK_EQ(res.imm, i);
		CHECK_EQ(res.bytes, PIECE);
		CHECK_OK(pair_finish(p, f->recvs[i], &res));
		CHECK_EQ(res.bytes, PIECE);
	}
	CHECK_FILLED(f->to->mem + IMMS_AT, (size_t)MANY * PIECE, f->seed);
	CHECK_FILLED(f->to->mem + MSGS_AT, (size_t)MANY * PIECE, f->seed);
	no_more(p, f);
}

static void carried(uint64_t n)
{
	CHECK(fake_verbs_await(FAKE_CARRIED, n, patience_ns()));
}

/* No packet passes any more, and whoever waits for one has waited long enough. */
static void die(unsigned dev)
{
	uint64_t before = fake_verbs_count(FAKE_UNANSWERED);

	fake_verbs_cut(dev);
	fake_verbs_release(dev);
	if (fake_verbs_await(FAKE_UNANSWERED, before + 1, 100 * NS_PER_MS))
		fake_verbs_expire();
}

static void before_anything_was_posted(void)
{
	struct pair *p = rig_begin(NULL, &two_rails);
	struct flow f;

	fake_verbs_cut(0);
	flow_await(&f, &p->a, &p->b, 1);
	flow_start(&f);
	die(0);
	flow_arrives(p, &f);
	rig_works(p);
	fake_verbs_heal(0);
	rig_end(p);
}

/* AFTER requests of everything that was posted went over. */
static void when_some_arrived(unsigned after, bool answered)
{
	struct pair *p = rig_begin(NULL, &two_rails);
	uint64_t before;
	struct flow f;

	flow_await(&f, &p->a, &p->b, after);
	pair_linger(p, NS_PER_MS);
	fake_verbs_hold(0);
	flow_start(&f);
	before = fake_verbs_count(FAKE_CARRIED);
	if (!answered)
		fake_verbs_fail_work(0, 0, after, IBV_WC_RETRY_EXC_ERR, true);
	fake_verbs_step(0, after);
	carried(before + after);
	die(0);
	flow_arrives(p, &f);
	CHECK_EQ(fake_verbs_faults_left(), 0);
	rig_works(p);
	fake_verbs_heal(0);
	rig_end(p);
}

static void immediates_and_messages_of_a_dead_rail_take_the_other(void)
{
	before_anything_was_posted();
	for (unsigned after = 0; after < 32; after += 5)
		when_some_arrived(after, true);
}

static void what_arrived_unanswered_over_a_dead_rail_comes_once(void)
{
	for (unsigned after = 1; after < 32; after += 5)
		when_some_arrived(after, false);
}

static void both_sides_move_to_the_other_rail_at_once(void)
{
	for (unsigned after = 0; after < 48; after += 9) {
		struct pair *p = rig_begin(NULL, &two_rails);
		struct flow f, back;
		uint64_t before;

		flow_await(&f, &p->a, &p->b, after);
		flow_await(&back, &p->b, &p->a, after + 100);
		pair_linger(p, NS_PER_MS);
		fake_verbs_hold(0);
		flow_start(&f);
		flow_start(&back);
		before = fake_verbs_count(FAKE_CARRIED);
		fake_verbs_step(0, after);
		carried(before + after);
		die(0);
		flow_arrives(p, &f);
		flow_arrives(p, &back);
		rig_works(p);
		fake_verbs_heal(0);
		rig_end(p);
	}
}

static void await_qps(struct pair *p, unsigned dev, unsigned n)
{
	int64_t end = now_ns() + patience_ns();
	struct fake_qp_info qps[16];

	while (rig_rc_qps(dev, qps, 16) < n && now_ns() < end)
		pair_linger(p, NS_PER_MS);
	CHECK_EQ(rig_rc_qps(dev, qps, 16), n);
}

static void two_rails_that_die_in_turn_lose_nothing(void)
{
	struct pair *p = rig_begin(NULL, &two_rails);
	struct fake_qp_info qps[16];
	unsigned n = rig_rc_qps(0, qps, 16);

	CHECK(n >= 2);
	for (unsigned turn = 0; turn < 6; turn++) {
		unsigned dev = turn % 2;
		struct flow f, back;

		flow_await(&f, &p->a, &p->b, turn);
		flow_start(&f);
		flow_await(&back, &p->b, &p->a, turn + 50);
		fake_verbs_cut(dev);
		flow_start(&back);
		die(dev);
		flow_arrives(p, &f);
		flow_arrives(p, &back);
		fake_verbs_heal(dev);
		await_qps(p, dev, n);
		rig_works(p);
	}
	rig_end(p);
}

/* Both are dead when the first comes back; what is in doubt is on the second. */
static void a_rail_that_is_well_again_takes_from_one_that_died_meanwhile(void)
{
	struct pair *p = rig_begin(NULL, &two_rails);
	struct fake_qp_info qps[16];
	unsigned n = rig_rc_qps(0, qps, 16);
	uint64_t before;
	struct flow f;

	flow_await(&f, &p->a, &p->b, 1);
	flow_start(&f);
	die(0);
	flow_arrives(p, &f);
	flow_await(&f, &p->a, &p->b, 2);
	pair_linger(p, NS_PER_MS);
	fake_verbs_hold(1);
	flow_start(&f);
	before = fake_verbs_count(FAKE_CARRIED);
	fake_verbs_step(1, 7);
	carried(before + 7);
	die(1);
	pair_linger(p, 300 * NS_PER_MS);
	fake_verbs_heal(0);
	await_qps(p, 0, n);
	flow_arrives(p, &f);
	rig_works(p);
	fake_verbs_heal(1);
	rig_end(p);
}

/* The rail that everything moved to is pulled out, after the first one has come back. */
static void a_removed_rail_leaves_the_first_one_whole(void)
{
	struct pair *p = rig_begin(NULL, &two_rails);
	struct fake_qp_info qps[16];
	unsigned n = rig_rc_qps(0, qps, 16);
	struct flow f;

	flow_await(&f, &p->a, &p->b, 4);
	flow_start(&f);
	die(0);
	flow_arrives(p, &f);
	flow_await(&f, &p->b, &p->a, 5);
	fake_verbs_heal(0);
	await_qps(p, 0, n);
	flow_start(&f);
	flow_arrives(p, &f);
	fake_verbs_remove(1);
	pair_linger(p, 50 * NS_PER_MS);
	flow_await(&f, &p->a, &p->b, 6);
	flow_start(&f);
	flow_arrives(p, &f);
	rig_end(p);
}

static void a_port_that_goes_down_sends_its_immediates_over_the_other(void)
{
	struct pair *p;
	struct flow f, back;

	for (unsigned dev = 0; dev < 4; dev += 2) { /* A's port, or B's */
		p = rig_four(&two_rails);
		flow_await(&f, &p->a, &p->b, dev);
		flow_await(&back, &p->b, &p->a, dev + 9);
		fake_verbs_set_port(dev, 1, IBV_PORT_DOWN);
		flow_start(&f);
		flow_start(&back);
		flow_arrives(p, &f);
		flow_arrives(p, &back);
		rig_works(p);
		rig_end(p);
	}
}

/* Pull GONE out, one or more of lane 0's devices, when each end had AFTER requests carried out. */
static void pull(const unsigned *gone, unsigned n, unsigned after)
{
	struct pair *p = rig_four(&two_rails);
	struct flow f, back;
	uint64_t before;

	flow_await(&f, &p->a, &p->b, after);
	flow_await(&back, &p->b, &p->a, after + 100);
	pair_linger(p, NS_PER_MS);
	fake_verbs_hold(0);
	fake_verbs_hold(2);
	flow_start(&f);
	flow_start(&back);
	before = fake_verbs_count(FAKE_CARRIED);
	fake_verbs_step(0, after);
	fake_verbs_step(2, after);
	carried(before + 2 * (uint64_t)after);
	for (unsigned i = 0; i < n; i++)
		fake_verbs_remove(gone[i]);
	for (unsigned dev = 0; dev < 4; dev += 2)
		die(dev);
	flow_arrives(p, &f);
	flow_arrives(p, &back);
	rig_works(p);
	rig_end(p);
}

static void the_first_device_is_removed_and_nothing_is_lost(void)
{
	static const unsigned both[] = {0, 2};

	for (unsigned after = 0; after < 32; after += 8) {
		pull(both, 1, after);
		pull(both + 1, 1, after);
		pull(both, 2, after);
	}
}

/* At once: a peer that is silent would have 20 s. */
static void everything_ends_with_the_last_device(void)
{
	struct pair_opts opts = two_rails;
	struct pair *p;
	struct flow f;

	opts.peer_timeout_ms = 20000;
	p = rig_four(&opts);
	flow_await(&f, &p->b, &p->a, 7);
	fake_verbs_remove(0);
	pair_linger(p, 50 * NS_PER_MS);
	fake_verbs_remove(1);
	for (int i = 0; i < MANY; i++) {
		CHECK_RC(rig_ends(p, f.recv_imms[i]), -ENODEV);
		CHECK_RC(rig_ends(p, f.recvs[i]), -ENODEV);
	}
	rig_end(p);
}

/* Nothing is under way when the rail dies, and only receives wait. */
static void a_receive_outlasts_the_rail_that_it_was_posted_on(void)
{
	struct pair_opts opts = two_rails;
	struct pair *p;
	struct flow f;

	opts.peer_timeout_ms = 800;
	p = rig_begin(NULL, &opts);
	flow_await(&f, &p->a, &p->b, 3);
	fake_verbs_cut(0);
	pair_linger(p, 2000 * NS_PER_MS);
	flow_start(&f);
	flow_arrives(p, &f);
	rig_works(p);
	fake_verbs_heal(0);
	rig_end(p);
}

static void immediates_end_when_both_rails_die(void)
{
	struct pair_opts opts = two_rails;
	struct pair *p;
	struct flow f;

	opts.peer_timeout_ms = 800;
	p = rig_begin(NULL, &opts);
	flow_await(&f, &p->a, &p->b, 3);
	fake_verbs_cut(0);
	fake_verbs_cut(1);
	flow_start(&f);
	for (int i = 0; i < MANY; i++) {
		slime_op *ops[] = {f.imms[i], f.sends[i], f.recv_imms[i], f.recvs[i]};

		for (int k = 0; k < 4; k++) {
			int rc = rig_ends(p, ops[k]);

			CHECK(rc == -EHOSTUNREACH || rc == -ECONNRESET);
		}
	}
	rig_end(p);
}

/* B's program does nothing more when the rail dies: nobody tells what arrived. */
static struct pair *asleep_with_a_dead_rail(uint32_t peer_timeout_ms, struct flow *f)
{
	struct pair_opts opts = two_rails;
	struct pair *p;

	opts.b_manual = true;
	opts.peer_timeout_ms = peer_timeout_ms;
	p = rig_begin(NULL, &opts);
	flow_await(f, &p->a, &p->b, 8);
	pair_linger(p, 5 * NS_PER_MS);
	p->b_asleep = true;
	fake_verbs_hold(0);
	flow_start(f);
	fake_verbs_step(0, 3);
	die(0);
	return p;
}

static void a_peer_that_is_gone_with_its_rail_ends_everything(void)
{
	struct flow f;
	struct pair *p = asleep_with_a_dead_rail(800, &f);

	for (int i = 0; i < MANY; i++) {
		CHECK(rig_ends(p, f.imms[i]) <= 0);
		CHECK(rig_ends(p, f.sends[i]) <= 0);
	}
	p->b_asleep = false;
	for (int i = 0; i < MANY; i++) {
		(void)rig_ends(p, f.recv_imms[i]);
		(void)rig_ends(p, f.recvs[i]);
	}
	rig_end(p);
}

static void immediates_in_doubt_are_taken_back_at_once(void)
{
	struct flow f;
	struct pair *p = asleep_with_a_dead_rail(20000, &f);
	struct slime_result res;
	uint32_t last = 0;
	slime_op *op;

	for (int i = 0; i < MANY; i++) {
		slime_op_cancel(f.imms[i]);
		slime_op_cancel(f.sends[i]);
	}
	for (int i = 0; i < MANY; i++) {
		int rc = rig_ends(p, f.imms[i]);

		CHECK(rc == -ECANCELED || rc == 0);
		rc = rig_ends(p, f.sends[i]);
		CHECK(rc == -ECANCELED || rc == 0);
	}
	p->b_asleep = false;
	/* those that arrived before come first, and then the next one */
	op = start_write_imm(&p->a, 0, 0, 100, 77);
	for (int i = 0; last != 77 && i < MANY; i++) {
		CHECK_OK(pair_finish(p, f.recv_imms[i], &res));
		CHECK(res.imm == 77 || res.imm == (uint32_t)i);
		last = res.imm;
		f.recv_imms[i] = NULL;
	}
	CHECK_EQ(last, 77);
	CHECK_ENDS(p, op, 0);
	for (int i = 0; i < MANY; i++) {
		slime_op_cancel(f.recvs[i]);
		if (f.recv_imms[i])
			slime_op_cancel(f.recv_imms[i]);
	}
	for (int i = 0; i < MANY; i++) {
		(void)rig_ends(p, f.recvs[i]);
		if (f.recv_imms[i])
			CHECK_ENDS(p, f.recv_imms[i], -ECANCELED);
	}
	rig_works(p);
	fake_verbs_heal(0);
	rig_end(p);
}

#define CASE(name)             \
	{                      \
#name, name, 1 \
	}
const struct contract_case rdma_rail_cases[] = {
    CASE(immediates_and_messages_of_a_dead_rail_take_the_other),
    CASE(what_arrived_unanswered_over_a_dead_rail_comes_once),
    CASE(both_sides_move_to_the_other_rail_at_once),
    CASE(two_rails_that_die_in_turn_lose_nothing),
    CASE(a_rail_that_is_well_again_takes_from_one_that_died_meanwhile),
    CASE(a_removed_rail_leaves_the_first_one_whole),
    CASE(a_port_that_goes_down_sends_its_immediates_over_the_other),
    CASE(the_first_device_is_removed_and_nothing_is_lost),
    CASE(everything_ends_with_the_last_device),
    CASE(a_receive_outlasts_the_rail_that_it_was_posted_on),
    CASE(immediates_end_when_both_rails_die),
    CASE(a_peer_that_is_gone_with_its_rail_ends_everything),
    CASE(immediates_in_doubt_are_taken_back_at_once),
    {0},
};
