/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

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
	    cmocka_unit_test(a_peer_whose_program_is_silent_is_given_up),
	    cmocka_unit_test(a_stopped_write_does_not_wait_for_a_peer_that_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
