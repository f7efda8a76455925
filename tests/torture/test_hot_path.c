/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/torture/test_hot_path.c - the budget of a transfer of up to 16 segments:
 * no allocation, no log line, one lock to submit and one to complete.
 *
 * What is counted is what this thread does, which drives both sides. Set-up and
 * a first round of transfers are not counted: pools may grow there.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fakes/fakes.h"
#include "scenario.h"
#include "wrap.h"

enum { SEGS = 16, WARM = 300, ROUNDS = 300 };

static struct scenario s;

enum what { WRITE, READ, WRITE_IMM, RECV_IMM, SEND, RECV, N_WHAT };
static const char *const name_of[N_WHAT] = {"write",    "read", "write_imm",
                                            "recv_imm", "send", "recv"};

static int submit(enum what what, slime_op **out)
{
	struct slime_span src = {.mr = s.a.mr, .len = 64}, dst = {.mr = s.b.mr, .len = 64};
	struct slime_seg segs[SEGS];

	for (uint64_t i = 0; i < SEGS; i++)
		segs[i] = (struct slime_seg){
		    .local = s.a.mr,
		    .remote = s.a.rmr,
		    .local_off = i * 128,
		    .remote_off = i * 256,
		    .len = 64,
		};
	switch (what) {
	case WRITE:
		return slime_ep_write(s.a.ep, segs, SEGS, NULL, out);
	case READ:
		return slime_ep_read(s.a.ep, segs, SEGS, NULL, out);
	case WRITE_IMM:
		return slime_ep_write_imm(s.a.ep, segs, SEGS, 1, NULL, out);
	case RECV_IMM:
		return slime_ep_recv_imm(s.b.ep, NULL, out);
	case SEND:
		return slime_ep_send(s.a.ep, &src, NULL, out);
	default:
		return slime_ep_recv(s.b.ep, &dst, NULL, out);
	}
}

struct budget {
	uint64_t allocs, logs, submit_locks, complete_locks; /* the most that one transfer took */
};

static void note(struct budget *b, const struct wrap_counts *c, uint64_t *locks)
{
	b->allocs += c->allocs;
	b->logs += c->logs;
	if (c->locks > *locks)
		*locks = c->locks;
}

/* Wait until OP is done; what counts is the look that found it so. */
static void complete(struct budget *b, slime_op *op)
{
	struct wrap_counts c;
	int rc = -ETIMEDOUT;

	for (long i = 0; rc == -ETIMEDOUT && i < 100000000; i++) {
		wrap_reset();
		rc = slime_op_wait(op, 0, NULL);
		c = wrap_counts();
		b->allocs += c.allocs;
		b->logs += c.logs;
		wrap_reset();
		if (rc == -ETIMEDOUT)
			(void)slime_ctx_progress(s.b.ctx);
		b->allocs += wrap_counts().allocs;
		b->logs += wrap_counts().logs;
	}
	assert_int_equal(rc, 0);
	note(b, &c, &b->complete_locks);
	wrap_reset();
	slime_op_release(op);
	c = wrap_counts();
	note(b, &c, &b->complete_locks);
}

static slime_op *start(struct budget *b, enum what what)
{
	struct wrap_counts c;
	slime_op *op = NULL;

	wrap_reset();
	assert_int_equal(submit(what, &op), 0);
	c = wrap_counts();
	note(&b[what], &c, &b[what].submit_locks);
	return op;
}

/* Receives come first, so that the sends need not be kept. */
static void one_round(struct budget *b)
{
	slime_op *recv;

	complete(&b[WRITE], start(b, WRITE));
	complete(&b[READ], start(b, READ));
	recv = start(b, RECV_IMM);
	complete(&b[WRITE_IMM], start(b, WRITE_IMM));
	complete(&b[RECV_IMM], recv);
	recv = start(b, RECV);
	complete(&b[SEND], start(b, SEND));
	complete(&b[RECV], recv);
}

/*
 * One lock each is the budget. What is received over shm or rdma is found, in the ring or the
 * completion queue, by the one who waits, who takes the progress lock and the connection's.
 */
static struct budget most(const char *transport, int what)
{
	struct budget one = {.submit_locks = 1, .complete_locks = 1};

	if ((!strcmp(transport, "rdma") || !strcmp(transport, "shm")) &&
	    (what == RECV || what == RECV_IMM))
		one.complete_locks = 2;
	return one;
}

static void keeps_its_budget(const char *transport)
{
	struct budget warm[N_WHAT] = {{0}}, b[N_WHAT] = {{0}};

	wrap_fail(WRAP_MEMORY, 0);
	s.peer_timeout_ms = 600000; /* looking after peers now and then is no transfer's */
	if (scenario_begin(&s, transport))
		fail_msg("%s: %s: %s", transport, s.step, s.err.text);
	for (int i = 0; i < WARM; i++)
		one_round(warm);
	for (int i = 0; i < ROUNDS; i++)
		one_round(b);
	scenario_end(&s);
	for (int i = 0; i < N_WHAT; i++)
		print_message("%-8s %-9s %llu allocations, %llu log lines, locks: %llu to submit, "
		              "%llu to complete\n",
		              transport, name_of[i], (unsigned long long)b[i].allocs,
		              (unsigned long long)b[i].logs, (unsigned long long)b[i].submit_locks,
		              (unsigned long long)b[i].complete_locks);
	for (int i = 0; i < N_WHAT; i++) {
		assert_int_equal(b[i].allocs, 0);
		assert_int_equal(b[i].logs, 0);
		assert_true(b[i].submit_locks <= most(transport, i).submit_locks);
		assert_true(b[i].complete_locks <= most(transport, i).complete_locks);
	}
}

static void loopback_keeps_its_budget(void **state)
{
	(void)state;
	keeps_its_budget("loopback");
}

static void shm_keeps_its_budget(void **state)
{
	(void)state;
	keeps_its_budget("shm");
}

static void tcp_keeps_its_budget(void **state)
{
	(void)state;
	if (!fakes_install("tcp", true))
		skip(); /* a build without it */
	keeps_its_budget("tcp");
}

static void rdma_keeps_its_budget(void **state)
{
	(void)state;
	if (!fakes_install("rdma", true))
		skip(); /* a build without it */
	keeps_its_budget("rdma");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(loopback_keeps_its_budget),
	    cmocka_unit_test(shm_keeps_its_budget),
	    cmocka_unit_test(tcp_keeps_its_budget),
	    cmocka_unit_test(rdma_keeps_its_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
