/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_end.c - deadlines and cancelling, and that memory is quiet afterwards. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "contract.h"

enum { ROUNDS = 7, DEADLINE_MS = 20 };

/* Takes a while, but not so long to fill and to check that a peer which we drive goes silent. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BIG (6 * MIB)
#endif
#endif
#ifndef BIG
#define BIG (24 * MIB)
#endif

static const struct slime_submit soon = {
    .size = sizeof(soon),
    .timeout_ns = DEADLINE_MS * NS_PER_MS,
};

/* Submits something with SOON that cannot be done in time. */
typedef slime_op *late_fn(struct pair *p);

/*
 * The deadline is met within 5 ms, as the middle of some rounds: a single one
 * may be late because the machine was busy.
 */
static void honours_deadline(struct pair *p, late_fn *start)
{
	int64_t over_ns[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		int64_t began = now_ns();

		CHECK_ENDS(p, start(p), -ETIME);
		over_ns[i] = now_ns() - began - soon.timeout_ns;
		CHECK(over_ns[i] >= 0);
	}
	if (median(over_ns, ROUNDS) > 5 * NS_PER_MS + slack_ns())
		test_fail("a deadline is missed by %lld us", (long long)over_ns[ROUNDS / 2] / 1000);
}

static slime_op *late_recv(struct pair *p)
{
	struct slime_span span = span_of(&p->a, 0, 100);
	slime_op *op = NULL;

	CHECK_OK(slime_ep_recv(p->a.ep, &span, &soon, &op));
	return op;
}

static slime_op *late_recv_imm(struct pair *p)
{
	slime_op *op = NULL;

	CHECK_OK(slime_ep_recv_imm(p->a.ep, &soon, &op));
	return op;
}

static slime_op *late_send(struct pair *p)
{
	struct slime_span span = span_of(&p->a, 0, BIG);
	slime_op *op = NULL;

	CHECK_OK(slime_ep_send(p->a.ep, &span, &soon, &op));
	return op;
}

static void recv_ends_at_its_deadline(void)
{
	struct pair *p = pair_create(NULL);

	honours_deadline(p, late_recv);
	pair_ping(p, 1000);
	pair_destroy(p);
}

static void recv_imm_ends_at_its_deadline(void)
{
	struct pair *p = pair_create(NULL);

	honours_deadline(p, late_recv_imm);
	CHECK_ENDS(p, start_write_imm(&p->b, 0, 0, 8, 1), 0);
	CHECK_ENDS(p, start_recv_imm(&p->a), 0);
	pair_destroy(p);
}

/* Far more than any transport would keep for a receive that may come. */
static void large_send_without_a_receive_ends_at_its_deadline(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = BIG});

	honours_deadline(p, late_send);
	pair_ping(p, 1000);
	pair_destroy(p);
}

/* A fenced transfer behind one that does not end cannot start. */
static void held(struct pair *p, bool write)
{
	struct slime_submit how = soon;
	struct slime_seg seg = seg_of(&p->a, 0, 0, 100);
	slime_op *before = block_begin(p), *op = NULL;
	int64_t began = now_ns();

	how.flags = SLIME_SUBMIT_FENCE;
	fill(p->a.mem, 100, 1);
	memset(p->b.mem, 0, 100);
	if (write)
		CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, &how, &op));
	else
		CHECK_OK(slime_ep_read(p->a.ep, &seg, 1, &how, &op));
	CHECK_ENDS(p, op, -ETIME);
	CHECK(now_ns() - began < 500 * NS_PER_MS + slack_ns());
	block_end(p, before);
	pair_linger(p, 20 * NS_PER_MS);
	CHECK_FILLED(p->a.mem, 100, 1);
	CHECK_EQ(p->b.mem[50], 0);
	pair_ping(p, 10);
}

static void held_transfers_end_at_their_deadline_and_never_start(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = HELD_UP + MIB});

	held(p, true);
	held(p, false);
	pair_destroy(p);
}

/* Nobody waits for the transfer: the library itself keeps the time. */
static void deadline_is_kept_while_nobody_waits(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_submit how = soon;
	struct slime_span span = span_of(&p->a, 0, 100);
	int64_t over_ns[ROUNDS];
	slime_cq *cq = NULL;

	CHECK_OK(slime_cq_create(p->a.ctx, 4, &cq, &test_err));
	how.cq = cq;
	for (int i = 0; i < ROUNDS; i++) {
		struct pollfd fd = {.fd = slime_cq_fd(cq), .events = POLLIN};
		struct slime_result res;
		int64_t began = now_ns();

		CHECK_OK(slime_ep_recv(p->a.ep, &span, &how, NULL));
		CHECK_EQ(poll(&fd, 1, 5000), 1);
		over_ns[i] = now_ns() - began - soon.timeout_ns;
		CHECK_EQ(slime_cq_take(cq, &res, 1), 1);
		CHECK_EQ(res.status, -ETIME);
		CHECK_EQ(slime_cq_take(cq, &res, 1), 0);
	}
	CHECK(median(over_ns, ROUNDS) <= 5 * NS_PER_MS + slack_ns());
	slime_cq_destroy(cq);
	pair_destroy(p);
}

/*
 * 64 GiB, all from and to the same 64 KiB, take seconds at best. Given up in the middle they
 * neither keep who submits them, nor what comes after them.
 */
static void a_huge_transfer_that_is_given_up_holds_nobody(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg = seg_of(&p->a, 0, 0, 64 * KIB);

	seg.count = MIB;
	for (int i = 0; i < 4; i++) {
		int64_t began = now_ns();
		slime_op *op = NULL;

		CHECK_OK(i % 2 ? slime_ep_write(p->a.ep, &seg, 1, &soon, &op)
		               : slime_ep_read(p->a.ep, &seg, 1, &soon, &op));
		CHECK_ENDS(p, op, -ETIME);
		CHECK_ENDS(p, start_read(&p->a, 64 * KIB, 64 * KIB, 8), 0);
		CHECK(now_ns() - began < 2 * 1000 * NS_PER_MS + slack_ns());
	}
	pair_destroy(p);
}

static void transfers_in_time_do_not_notice_their_deadline(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_submit how = {.size = sizeof(how), .timeout_ns = patience_ns()};
	struct slime_seg seg = seg_of(&p->a, 0, 0, 5000);
	struct slime_span span = span_of(&p->b, 0, 100);

	for (int i = 0; i < 200; i++) {
		slime_op *write = NULL, *read = NULL, *recv = NULL;

		CHECK_OK(slime_ep_recv(p->b.ep, &span, &how, &recv));
		CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, &how, &write));
		CHECK_OK(slime_ep_read(p->a.ep, &seg, 1, &how, &read));
		CHECK_ENDS(p, write, 0);
		CHECK_ENDS(p, read, 0);
		CHECK_ENDS(p, start_send(&p->a, 0, 100), 0);
		CHECK_ENDS(p, recv, 0);
	}
	pair_destroy(p);
}

static void wait_that_times_out_changes_nothing(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *recv = start_recv(&p->a, 0, 100);
	struct slime_result res;
	int64_t began = now_ns();

	CHECK_RC(slime_op_wait(recv, 30 * NS_PER_MS, &res), -ETIMEDOUT);
	CHECK(now_ns() - began >= 30 * NS_PER_MS);
	for (int i = 0; i < 100; i++)
		CHECK_RC(slime_op_wait(recv, 0, &res), -ETIMEDOUT);
	CHECK_RC(slime_op_wait(recv, -1, &res), -ETIMEDOUT);
	CHECK_ENDS(p, start_send(&p->b, 0, 60), 0);
	CHECK_OK(pair_finish(p, recv, &res));
	CHECK_EQ(res.bytes, 60);
	pair_destroy(p);
}

static void wait_may_be_repeated_after_the_end(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *write = start_write(&p->a, 0, 0, 100);
	struct slime_result res;
	int64_t end = now_ns() + patience_ns();

	while (slime_op_wait(write, 0, NULL) == -ETIMEDOUT && now_ns() < end)
		pair_drive(p);
	for (int i = 0; i < 3; i++) {
		CHECK_OK(slime_op_wait(write, SLIME_FOREVER, &res));
		CHECK_EQ(res.bytes, 100);
	}
	slime_op_cancel(write); /* too late, and harmless */
	CHECK_OK(slime_op_wait(write, 0, &res));
	slime_op_release(write);
	pair_destroy(p);
}

static void cancelled_receives_end_and_lose_nothing(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *recv = start_recv(&p->b, 0, 100), *imm = start_recv_imm(&p->b);
	int64_t began = now_ns();

	slime_op_cancel(recv);
	slime_op_cancel(recv);
	slime_op_cancel(imm);
	CHECK_ENDS(p, recv, -ECANCELED);
	CHECK_ENDS(p, imm, -ECANCELED);
	CHECK(now_ns() - began < 100 * NS_PER_MS + slack_ns());
	pair_ping(p, 100);
	CHECK_ENDS(p, start_write_imm(&p->a, 0, 0, 8, 6), 0);
	CHECK_ENDS(p, start_recv_imm(&p->b), 0);
	pair_destroy(p);
}

/* Of three receives the middle one is cancelled: the others keep their order. */
static void cancel_picks_the_right_one(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *recvs[3];

	for (uint64_t i = 0; i < 3; i++)
		recvs[i] = start_recv(&p->b, i * 100, 100);
	slime_op_cancel(recvs[1]);
	CHECK_ENDS(p, recvs[1], -ECANCELED);
	fill(p->a.mem, 100, 1);
	fill(p->a.mem + 100, 100, 2);
	CHECK_ENDS(p, start_send(&p->a, 0, 100), 0);
	CHECK_ENDS(p, start_send(&p->a, 100, 100), 0);
	CHECK_ENDS(p, recvs[0], 0);
	CHECK_ENDS(p, recvs[2], 0);
	CHECK_FILLED(p->b.mem, 100, 1);
	CHECK_EQ(p->b.mem[150], 0);
	CHECK_FILLED(p->b.mem + 200, 100, 2);
	pair_destroy(p);
}

static void a_held_transfer_can_be_cancelled(void)
{
	struct slime_submit fence = {.size = sizeof(fence), .flags = SLIME_SUBMIT_FENCE};
	struct pair *p = pair_create(&(struct pair_opts){.len = HELD_UP + MIB});
	struct slime_seg seg = seg_of(&p->a, 0, 0, 100);
	slime_op *before = block_begin(p), *first = NULL, *second = NULL;

	fill(p->a.mem, 200, 1);
	CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, &fence, &first));
	seg.remote_off = 300;
	CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, &fence, &second));
	slime_op_cancel(first);
	CHECK_ENDS(p, first, -ECANCELED);
	pair_pending(p, second);
	block_end(p, before);
	CHECK_ENDS(p, second, 0);
	CHECK_FILLED(p->b.mem + 300, 100, 1);
	CHECK_EQ(p->b.mem[50], 0);
	pair_destroy(p);
}

/* Kinds of large transfers to break off. */
enum kind { READ, WRITE, SEND, RECV, N_KINDS };

static slime_op *start_large(struct pair *p, enum kind kind, const struct slime_submit *how,
                             slime_op **out_other)
{
	struct slime_seg seg = seg_of(&p->a, 0, 0, BIG);
	struct slime_span a = span_of(&p->a, 0, BIG);
	slime_op *op = NULL;

	*out_other = NULL;
	if (kind == READ) {
		CHECK_OK(slime_ep_read(p->a.ep, &seg, 1, how, &op));
	} else if (kind == WRITE) {
		CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, how, &op));
	} else if (kind == SEND) {
		*out_other = start_recv(&p->b, 0, BIG);
		CHECK_OK(slime_ep_send(p->a.ep, &a, how, &op));
	} else {
		CHECK_OK(slime_ep_recv(p->a.ep, &a, how, &op));
		*out_other = start_send(&p->b, 0, BIG);
	}
	return op;
}

/* Is B's memory B's own again, too? Then FAR. */
enum watch { NEAR, FAR };

/*
 * A transfer that was broken off has ended: the memory is its owner's again. A
 * receive at B still owns B's memory, so it is ended first.
 */
static void check_quiet(struct pair *p, slime_op *other, enum watch watch)
{
	fill(p->a.mem, BIG, 3);
	if (other) {
		slime_op_cancel(other);
		p->b_asleep = false;
		(void)pair_finish(p, other, NULL);
	}
	/* a socket that is reset orders nothing that ThreadSanitizer knows of */
	tsan_blind(true);
	fill(p->b.mem, BIG, 4);
	tsan_blind(false);
	p->b_asleep = false;
	pair_linger(p, 60 * NS_PER_MS);
	CHECK_FILLED(p->a.mem, BIG, 3);
	if (watch == FAR) {
		tsan_blind(true);
		CHECK_FILLED(p->b.mem, BIG, 4);
		tsan_blind(false);
	}
}

static void still_works(struct pair *p)
{
	pair_ping(p, 10000);
	CHECK_ENDS(p, start_write(&p->a, 0, 0, MIB), 0);
	CHECK_ENDS(p, start_read(&p->a, 0, 0, MIB), 0);
}

/* Cancel after AFTER_NS; it ends soon, with or without the peer's help. */
static void cancel_after(struct pair *p, slime_op *op, int64_t after_ns)
{
	int64_t began = now_ns();
	int rc;

	while (now_ns() < began + after_ns)
		pair_drive(p);
	slime_op_cancel(op);
	began = now_ns();
	rc = pair_finish(p, op, NULL);
	if (rc && rc != -ECANCELED)
		CHECK_RC(rc, -ECANCELED);
	CHECK(now_ns() - began < 500 * NS_PER_MS + slack_ns());
}

static void cancel_leaves_memory_quiet(enum kind kind)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = BIG});

	for (int64_t i = 0; i < 3; i++) {
		slime_op *op, *other;

		fill(p->a.mem, BIG, 1);
		fill(p->b.mem, BIG, 2);
		op = start_large(p, kind, NULL, &other);
		cancel_after(p, op, i * i * NS_PER_MS / 2);
		check_quiet(p, other, FAR);
		still_works(p);
	}
	pair_destroy(p);
}

static void cancelled_read_leaves_memory_quiet(void)
{
	cancel_leaves_memory_quiet(READ);
}

static void cancelled_write_leaves_memory_quiet(void)
{
	cancel_leaves_memory_quiet(WRITE);
}

static void cancelled_send_leaves_memory_quiet(void)
{
	cancel_leaves_memory_quiet(SEND);
}

static void cancelled_recv_leaves_memory_quiet(void)
{
	cancel_leaves_memory_quiet(RECV);
}

/* B sleeps while all of a transfer is under way and is broken off by HOW's deadline, or cancelled.
 */
static void break_off_asleep(enum kind kind, const struct slime_submit *how, enum watch watch)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = BIG, .b_manual = true});
	int64_t began = now_ns();
	slime_op *op, *other;
	int rc;

	fill(p->a.mem, BIG, 1);
	fill(p->b.mem, BIG, 2);
	p->b_asleep = true;
	op = start_large(p, kind, how, &other);
	if (how) {
		began = now_ns();
		rc = pair_finish(p, op, NULL);
		if (over("tcp") || rc)
			CHECK_RC(rc, -ETIME);
		CHECK(now_ns() - began < how->timeout_ns + 500 * NS_PER_MS + slack_ns());
	} else {
		cancel_after(p, op, 2 * NS_PER_MS);
	}
	check_quiet(p, other, watch);
	pair_destroy(p);
}

static void cancel_does_not_need_the_peer(void)
{
	for (int kind = 0; kind < N_KINDS; kind++)
		break_off_asleep((enum kind)kind, NULL, NEAR);
}

static void deadline_does_not_need_the_peer(void)
{
	for (int kind = 0; kind < N_KINDS; kind++)
		break_off_asleep((enum kind)kind, &soon, NEAR);
}

/* What was under way when the write ended must not reach the peer's memory when the peer wakes. */
static void a_cancelled_write_does_not_come_later(void)
{
	break_off_asleep(WRITE, NULL, FAR);
}

static void a_write_past_its_deadline_does_not_come_later(void)
{
	break_off_asleep(WRITE, &soon, FAR);
}

/*
 * A peer that is slow, but there: who breaks off need not wait longer than for its
 * answer. Over tcp that is to the call on the new socket.
 */
static void a_broken_off_write_ends_when_the_peer_is_back(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = BIG, .b_manual = true});
	int64_t took[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		slime_op *op, *other;
		int64_t began;

		p->b_asleep = true;
		op = start_large(p, WRITE, NULL, &other);
		pair_linger(p, NS_PER_MS);
		slime_op_cancel(op);
		pair_linger(p, 4 * NS_PER_MS);
		p->b_asleep = false;
		began = now_ns();
		(void)pair_finish(p, op, NULL);
		took[i] = now_ns() - began;
		still_works(p);
	}
	if (median(took, ROUNDS) >= 10 * NS_PER_MS + slack_ns())
		test_fail("it took %lld us", (long long)(median(took, ROUNDS) / 1000));
	pair_destroy(p);
}

/* What breaking off costs is the library's: a lane that is reset is connected anew. */
static void the_endpoint_works_after_a_transfer_is_broken_off(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = BIG, .b_manual = true});

	for (int kind = 0; kind < N_KINDS; kind++) {
		slime_op *op, *other;

		p->b_asleep = true;
		op = start_large(p, (enum kind)kind, NULL, &other);
		cancel_after(p, op, 2 * NS_PER_MS);
		check_quiet(p, other, NEAR);
		still_works(p);
	}
	pair_destroy(p);
}

/*
 * A message that was broken off before the peer took any of it leaves the receive that it
 * was for to the next one, or ends it: it is not forgotten.
 */
static void a_receive_outlives_a_send_that_is_broken_off(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = BIG, .b_manual = true});

	for (int i = 0; i < 3; i++) {
		slime_op *recv = start_recv(&p->b, 0, BIG), *send;

		pair_linger(p, 5 * NS_PER_MS); /* A hears of it */
		p->b_asleep = true;
		send = start_send(&p->a, 0, BIG);
		cancel_after(p, send, 2 * NS_PER_MS);
		p->b_asleep = false;
		pair_linger(p, 5 * NS_PER_MS);
		if (slime_op_wait(recv, 0, NULL) == -ETIMEDOUT) {
			fill(p->a.mem, 64, (uint64_t)i);
			CHECK_ENDS(p, start_send(&p->a, 0, 64), 0);
			(void)pair_finish(p, recv, NULL);
		} else {
			slime_op_release(recv);
		}
		still_works(p);
	}
	pair_destroy(p);
}

/* Exactly one end each, whoever wins. */
static void cancel_races_with_completion(void)
{
	struct pair *p = pair_create(NULL);

	for (int i = 0; i < 500; i++) {
		slime_op *write = start_write(&p->a, 0, 0, 64 * KIB);
		slime_op *read = start_read(&p->a, 128 * KIB, 0, 4096);
		int rc;

		slime_op_cancel(i % 2 ? write : read);
		slime_op_cancel(i % 3 ? write : read);
		rc = pair_finish(p, write, NULL);
		CHECK(rc == 0 || rc == -ECANCELED);
		rc = pair_finish(p, read, NULL);
		CHECK(rc == 0 || rc == -ECANCELED);
	}
	pair_ping(p, 1000);
	pair_destroy(p);
}

const struct contract_case end_cases[] = {
    {"recv_ends_at_its_deadline", recv_ends_at_its_deadline, IN_ALL},
    {"recv_imm_ends_at_its_deadline", recv_imm_ends_at_its_deadline, IN_ALL},
    {"large_send_without_a_receive_ends_at_its_deadline",
     large_send_without_a_receive_ends_at_its_deadline, IN_ALL},
    {"held_transfers_end_at_their_deadline_and_never_start",
     held_transfers_end_at_their_deadline_and_never_start, IN_ALL},
    {"deadline_is_kept_while_nobody_waits", deadline_is_kept_while_nobody_waits,
     IN_BASIC | IN(ONE)},
    {"transfers_in_time_do_not_notice_their_deadline",
     transfers_in_time_do_not_notice_their_deadline, IN_ALL},
    {"a_huge_transfer_that_is_given_up_holds_nobody", a_huge_transfer_that_is_given_up_holds_nobody,
     IN_ALL | IN(LANES)},
    {"wait_that_times_out_changes_nothing", wait_that_times_out_changes_nothing, IN_ALL},
    {"wait_may_be_repeated_after_the_end", wait_may_be_repeated_after_the_end, IN_ALL},
    {"cancelled_receives_end_and_lose_nothing", cancelled_receives_end_and_lose_nothing, IN_ALL},
    {"cancel_picks_the_right_one", cancel_picks_the_right_one, IN_ALL},
    {"a_held_transfer_can_be_cancelled", a_held_transfer_can_be_cancelled, IN_ALL},
    {"cancelled_read_leaves_memory_quiet", cancelled_read_leaves_memory_quiet, IN_MEMORY},
    {"cancelled_write_leaves_memory_quiet", cancelled_write_leaves_memory_quiet, IN_MEMORY},
    {"cancelled_send_leaves_memory_quiet", cancelled_send_leaves_memory_quiet, IN_MEMORY},
    {"cancelled_recv_leaves_memory_quiet", cancelled_recv_leaves_memory_quiet, IN_MEMORY},
    {"cancel_does_not_need_the_peer", cancel_does_not_need_the_peer, IN_MEMORY},
    {"deadline_does_not_need_the_peer", deadline_does_not_need_the_peer, IN_MEMORY},
    {"a_cancelled_write_does_not_come_later", a_cancelled_write_does_not_come_later, IN_MEMORY},
    {"a_write_past_its_deadline_does_not_come_later", a_write_past_its_deadline_does_not_come_later,
     IN_MEMORY},
    {"a_broken_off_write_ends_when_the_peer_is_back", a_broken_off_write_ends_when_the_peer_is_back,
     IN_BASIC},
    {"the_endpoint_works_after_a_transfer_is_broken_off",
     the_endpoint_works_after_a_transfer_is_broken_off, IN_MEMORY},
    {"a_receive_outlives_a_send_that_is_broken_off", a_receive_outlives_a_send_that_is_broken_off,
     IN_BASIC | IN(LANES)},
    {"cancel_races_with_completion", cancel_races_with_completion, IN_ALL},
    {0},
};
