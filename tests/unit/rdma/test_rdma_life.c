/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"

static struct pair p;

static void silence_is_refused_in_the_end_and_says_what_it_may_be(void **state)
{
	struct slime_error err = {0};
	struct sl_blob b;

	(void)state;
	pair_begin(&p, NULL);
	b = blob_of(&p.b);
	fake_verbs_cut(1);
	assert_int_equal(rdma->connect(p.a.conn, &b, NULL), 0);
	UNTIL(&p, rdma->conn_ready(p.a.conn, &err) < 0);
	assert_int_equal(rdma->conn_ready(p.a.conn, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "mailbox"));
	pair_end(&p);
}

/* Let A make progress, B none, for MS milliseconds. */
static void alone_for(int64_t ms)
{
	int64_t until = sl_clock_after(ms * SL_NS_PER_MS);

	while (sl_clock_ns() < until)
		(void)rdma->progress(p.a.dom, 64);
}

static void connect(struct side *side, struct side *to)
{
	struct sl_blob blob = blob_of(to);

	assert_int_equal(rdma->connect(side->conn, &blob, NULL), 0);
}

static void how_long_a_first_answer_may_take_can_be_said(void **state)
{
	struct slime_error err = {0};

	(void)state;
	assert_int_equal(setenv("DLSLIME_FIRST_ANSWER_MS", "50", 1), 0);
	pair_begin(&p, NULL);
	connect(&p.a, &p.b);
	alone_for(400);
	assert_int_equal(rdma->conn_ready(p.a.conn, &err), -ECONNREFUSED);
	pair_end(&p);

	assert_int_equal(setenv("DLSLIME_FIRST_ANSWER_MS", "60000", 1), 0);
	pair_begin(&p, NULL);
	connect(&p.a, &p.b);
	alone_for(1000);
	assert_int_equal(rdma->conn_ready(p.a.conn, NULL), SL_CONN_WAITING);
	connect(&p.b, &p.a);
	UNTIL(&p, rdma->conn_ready(p.a.conn, NULL) == SL_CONN_READY);
	pair_end(&p);
	assert_int_equal(unsetenv("DLSLIME_FIRST_ANSWER_MS"), 0);
}

/* Neither end gets a processor for longer than a first answer may take. */
static void who_was_away_has_not_been_waiting_for_an_answer(void **state)
{
	struct timespec away = {.tv_nsec = 900 * SL_NS_PER_MS};

	(void)state;
	pair_begin(&p, NULL);
	connect(&p.a, &p.b);
	(void)nanosleep(&away, NULL);
	alone_for(100);
	assert_int_equal(rdma->conn_ready(p.a.conn, NULL), SL_CONN_WAITING);
	connect(&p.b, &p.a);
	UNTIL(&p, rdma->conn_ready(p.a.conn, NULL) == SL_CONN_READY);
	pair_end(&p);
}

static void a_peer_whose_program_is_silent_is_given_up(void **state)
{
	static struct job recv;
	int64_t began = sl_clock_ns();

	(void)state;
	pair_connected(&p, NULL);
	start_one(&p.a, &recv, SL_OP_RECV, 0, 0, 100);
	while (!recv.done && sl_clock_ns() - began < 5 * SL_NS_PER_S)
		(void)rdma->progress(p.a.dom, 64); /* B's device works, its program does not */
	assert_int_equal(recv.done, 1);
	assert_int_equal(recv.status, -ECONNRESET);
	assert_true(sl_clock_ns() - began < 2500 * SL_NS_PER_MS); /* its timeout is 2 s */
	pair_end(&p);
}

/* A write that was stopped ends when the peer has let go of the old queue pair, or soon. */
static void a_stopped_write_does_not_wait_for_a_peer_that_sleeps(void **state)
{
	static struct job write;
	int64_t began;

	(void)state;
	pair_connected(&p, NULL);
	fake_verbs_hold(0);
	start_one(&p.a, &write, SL_OP_WRITE, 0, 0, 100000);
	stop(&p.a, &write);
	fake_verbs_release(0);
	began = sl_clock_ns();
	while (!write.done && sl_clock_ns() - began < SL_NS_PER_S)
		(void)rdma->progress(p.a.dom, 64);
	assert_int_equal(write.done, 1);
	assert_int_equal(write.status, -ECANCELED);
	check_works(&p);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(silence_is_refused_in_the_end_and_says_what_it_may_be),
	    cmocka_unit_test(how_long_a_first_answer_may_take_can_be_said),
	    cmocka_unit_test(who_was_away_has_not_been_waiting_for_an_answer),
	    cmocka_unit_test(a_peer_whose_program_is_silent_is_given_up),
	    cmocka_unit_test(a_stopped_write_does_not_wait_for_a_peer_that_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
