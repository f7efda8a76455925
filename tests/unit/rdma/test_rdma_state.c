/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;

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

/* A is ready and B is not, when B refuses. */
static void an_end_that_refuses_takes_nothing_any_more(void **state)
{
	struct sl_blob a, b;

	(void)state;
	pair_begin(&p, NULL);
	a = blob_of(&p.a);
	b = blob_of(&p.b);
	for (unsigned n = 3; n <= 20; n++)
		fake_verbs_fail_datagram(0, FAKE_DROP, n);
	assert_int_equal(rdma->connect(p.a.conn, &b, NULL), 0);
	assert_int_equal(rdma->connect(p.b.conn, &a, NULL), 0);
	UNTIL(&p, rdma->conn_ready(p.a.conn, NULL) == SL_CONN_READY);
	assert_int_equal(p.b.conn->chan[RDMA_DATA].phase, RDMA_LINKED);
	sl_rdma_lane_fail(p.b.conn, -EPROTO, "no");
	sl_rdma_tell(p.b.conn, RDMA_GONE);
	UNTIL(&p, p.a.conn->gone);
	for (int i = 0; i < RDMA_CHANS; i++)
		assert_int_equal(p.b.conn->chan[i].phase, RDMA_NONE);
	assert_int_equal(rdma->conn_ready(p.b.conn, NULL), -EPROTO);
	pair_end(&p);
}

/* A was connected to B's queue pair and gave that up before B heard of it. */
static void a_queue_pair_that_was_given_up_unheard_is_not_waited_for(void **state)
{
	(void)state;
	for (unsigned lost = 1; lost < 10; lost++) {
		struct sl_blob a, b;

		pair_begin(&p, NULL);
		a = blob_of(&p.a);
		b = blob_of(&p.b);
		for (unsigned n = 1; n <= lost; n++)
			fake_verbs_fail_datagram(0, FAKE_DROP, n);
		assert_int_equal(rdma->connect(p.a.conn, &b, NULL), 0);
		assert_int_equal(rdma->connect(p.b.conn, &a, NULL), 0);
		UNTIL(&p, p.a.conn->chan[RDMA_MSG].phase == RDMA_LINKED ||
		              p.a.conn->chan[RDMA_MSG].phase == RDMA_UP);
		sl_rdma_conn_strike(p.a.conn, RDMA_MSG, 0);
		UNTIL(&p, rdma->conn_ready(p.a.conn, NULL) == SL_CONN_READY &&
		              rdma->conn_ready(p.b.conn, NULL) == SL_CONN_READY);
		pair_end(&p);
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_peer_that_calls_first_is_known_before_we_connect),
	    cmocka_unit_test(a_stranger_is_told_that_we_have_another_peer),
	    cmocka_unit_test(an_end_that_is_gone_refuses_at_once),
	    cmocka_unit_test(an_end_that_refuses_takes_nothing_any_more),
	    cmocka_unit_test(a_queue_pair_that_was_given_up_unheard_is_not_waited_for),
	    cmocka_unit_test(both_ends_may_begin_anew_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
