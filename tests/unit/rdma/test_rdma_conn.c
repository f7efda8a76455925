/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;

static void the_lane_says_what_it_goes_over(void **state)
{
	char name[128];

	(void)state;
	pair_connected(&p, NULL);
	rdma->conn_name(p.a.conn, name, sizeof(name));
	assert_non_null(strstr(name, "fake0:1"));
	rdma->conn_name(p.a.conn, name, 10);
	assert_int_equal(strlen(name), 9);
	check_works(&p);
	pair_end(&p);
}

static void a_peer_that_calls_first_is_known_before_we_connect(void **state)
{
	struct sl_blob b;

	(void)state;
	pair_begin(&p, NULL);
	b = blob_of(&p.b);
	assert_int_equal(rdma->connect(p.a.conn, &b, NULL), 0);
	UNTIL(&p, rdma->conn_ready(p.b.conn, NULL) == SL_CONN_CALLED);
	assert_int_equal(rdma->conn_ready(p.a.conn, NULL), SL_CONN_WAITING);
	pair_end(&p);
}

static void addresses_that_are_none_are_refused(void **state)
{
	struct slime_error err = {0};
	struct sl_blob b;

	(void)state;
	pair_begin(&p, NULL);
	b = blob_of(&p.b);
	b.bytes[0] ^= 1;
	assert_int_equal(rdma->connect(p.a.conn, &b, &err), -EPROTO);
	b = blob_of(&p.b);
	b.len = RDMA_LANE_LEN - RDMA_MAIL_LEN; /* as that of a further lane */
	b.bytes[2] = 0;
	assert_int_equal(rdma->connect(p.a.conn, &b, &err), -EPROTO);
	assert_non_null(strstr(err.text, "before"));
	pair_end(&p);
}

static void a_stranger_is_told_that_we_have_another_peer(void **state)
{
	struct sl_conn_opts opts = {.depth = 16};
	struct slime_error err = {0};
	struct sl_conn *third = NULL;
	struct sl_blob b;

	(void)state;
	pair_connected(&p, NULL);
	assert_int_equal(rdma->conn_create(p.a.dom, &opts, &third, NULL), 0);
	b = blob_of(&p.b);
	assert_int_equal(rdma->connect(third, &b, NULL), 0);
	UNTIL(&p, rdma->conn_ready(third, &err) < 0);
	assert_int_equal(rdma->conn_ready(third, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "gone"));
	check_works(&p);
	rdma->conn_close(third);
	rdma->conn_destroy(third);
	pair_end(&p);
}

static void an_end_that_is_gone_refuses_at_once(void **state)
{
	struct slime_error err = {0};
	struct sl_blob b;
	int64_t began;

	(void)state;
	pair_begin(&p, NULL);
	b = blob_of(&p.b);
	rdma->conn_close(p.b.conn);
	rdma->conn_destroy(p.b.conn);
	p.b.conn = NULL;
	began = sl_clock_ns();
	assert_int_equal(rdma->connect(p.a.conn, &b, NULL), 0);
	UNTIL(&p, rdma->conn_ready(p.a.conn, &err) < 0);
	assert_int_equal(rdma->conn_ready(p.a.conn, &err), -ECONNREFUSED);
	assert_true(sl_clock_ns() - began < 500 * SL_NS_PER_MS); /* without waiting for silence */
	pair_end(&p);
}

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

/* Both ends make a channel anew at once, again and again, with transfers on the way. */
static void both_ends_may_begin_anew_at_once(void **state)
{
	static struct job imm[40], got[40], send[40], recv[40];

	(void)state;
	pair_connected(&p, NULL);
	for (uint32_t i = 0; i < 40; i++) {
		job_make(&got[i], SL_OP_RECV_IMM);
		start(&p.b, &got[i]);
		start_one(&p.b, &recv[i], SL_OP_RECV, 100 * i, 0, 100);
		job_make(&imm[i], SL_OP_WRITE_IMM);
		imm[i].op.imm = i;
		start(&p.a, &imm[i]);
		p.a.mem[100 * i] = (char)i;
		start_one(&p.a, &send[i], SL_OP_SEND, 100 * i, 0, 100);
		sl_rdma_conn_strike(p.a.conn, i % 2, 0);
		if (i % 3)
			sl_rdma_conn_strike(p.b.conn, i % 2, 0);
		for (uint32_t k = 0; k < i % 5; k++)
			step(&p);
	}
	UNTIL(&p, got[39].done && recv[39].done && imm[39].done && send[39].done);
	for (uint32_t i = 0; i < 40; i++) {
		assert_int_equal(imm[i].done + got[i].done + send[i].done + recv[i].done, 4);
		assert_int_equal(imm[i].status | got[i].status | send[i].status | recv[i].status,
		                 0);
		assert_int_equal(got[i].imm, i);
		assert_int_equal(p.b.mem[100 * i], (char)i);
	}
	check_works(&p);
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
	    cmocka_unit_test(the_lane_says_what_it_goes_over),
	    cmocka_unit_test(a_peer_that_calls_first_is_known_before_we_connect),
	    cmocka_unit_test(addresses_that_are_none_are_refused),
	    cmocka_unit_test(a_stranger_is_told_that_we_have_another_peer),
	    cmocka_unit_test(an_end_that_is_gone_refuses_at_once),
	    cmocka_unit_test(silence_is_refused_in_the_end_and_says_what_it_may_be),
	    cmocka_unit_test(both_ends_may_begin_anew_at_once),
	    cmocka_unit_test(a_peer_whose_program_is_silent_is_given_up),
	    cmocka_unit_test(a_stopped_write_does_not_wait_for_a_peer_that_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
