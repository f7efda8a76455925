/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;
static struct job job, other;

static void nothing_is_accepted_before_and_after(void **state)
{
	static const enum sl_opcode codes[] = {SL_OP_READ, SL_OP_WRITE, SL_OP_WRITE_IMM,
	                                       SL_OP_SEND, SL_OP_RECV,  SL_OP_RECV_IMM};

	(void)state;
	pair_begin(&p, NULL);
	for (int i = 0; i < 6; i++) {
		job_make(&job, codes[i]);
		assert_int_equal(rdma->submit(p.a.conn, &job.op), -ENOTCONN);
	}
	pair_connect(&p);
	rdma->conn_close(p.a.conn);
	for (int i = 0; i < 6; i++) {
		job_make(&job, codes[i]);
		assert_int_equal(rdma->submit(p.a.conn, &job.op), -ECANCELED);
	}
	UNTIL(&p, p.b.conn->broken);
	for (int i = 0; i < 6; i++) {
		job_make(&job, codes[i]);
		assert_int_equal(rdma->submit(p.b.conn, &job.op), -ECONNRESET);
	}
	assert_int_equal(job.done, 0);
	pair_end(&p);
}

static void an_immediate_of_a_peer_that_went_is_still_there(void **state)
{
	(void)state;
	pair_connected(&p, NULL);
	job_make(&job, SL_OP_WRITE_IMM);
	job.op.imm = 5;
	run(&p, &p.a, &job, 0);
	rdma->conn_close(p.a.conn);
	UNTIL(&p, p.b.conn->broken);
	job_make(&other, SL_OP_RECV_IMM);
	run(&p, &p.b, &other, 0);
	assert_int_equal(other.imm, 5);
	assert_int_equal(rdma->submit(p.b.conn, &other.op), -ECONNRESET);
	pair_end(&p);
}

static void what_waits_here_ends_at_once_when_it_is_stopped(void **state)
{
	(void)state;
	pair_connected(&p, NULL);
	start_one(&p.a, &job, SL_OP_SEND, 0, 0, 100); /* no receive yet */
	stop(&p.a, &job);
	assert_int_equal(job.status, -ECANCELED);
	job_make(&job, SL_OP_RECV_IMM);
	start(&p.a, &job);
	stop(&p.a, &job);
	assert_int_equal(job.status, -ECANCELED);
	assert_int_equal(p.a.conn->chan[RDMA_DATA].gen, 1);
	assert_int_equal(p.a.conn->chan[RDMA_MSG].gen, 1);
	pair_end(&p);
}

/* The first time that it is asked a transfer gets the chance to end by itself. */
static void what_is_on_the_wire_is_broken_off_at_the_second_asking(void **state)
{
	(void)state;
	pair_connected(&p, NULL);
	fake_verbs_hold(0);
	start_one(&p.a, &job, SL_OP_READ, 0, 0, 100000);
	start_one(&p.a, &other, SL_OP_WRITE, 200000, 200000, 100);
	atomic_fetch_or(&job.op.state, UINT64_C(1) << SL_OP_STOP_SHIFT);
	rdma->cancel(p.a.conn, &job.op);
	assert_int_equal(p.a.conn->chan[RDMA_DATA].phase, RDMA_UP);
	rdma->cancel(p.a.conn, &job.op);
	assert_int_equal(p.a.conn->chan[RDMA_DATA].phase, RDMA_DRAIN);
	fake_verbs_release(0);
	UNTIL(&p, job.done && other.done);
	assert_int_equal(job.status, -ECANCELED);
	assert_int_equal(other.status, 0); /* nobody asked it to stop */
	check_works(&p);
	pair_end(&p);
}

static void an_op_that_was_not_asked_to_stop_does_not(void **state)
{
	(void)state;
	pair_connected(&p, NULL);
	start_one(&p.a, &job, SL_OP_RECV, 0, 0, 100);
	for (int i = 0; i < 3; i++)
		rdma->cancel(p.a.conn, &job.op);
	for (int i = 0; i < 20; i++)
		step(&p);
	assert_int_equal(job.done, 0);
	assert_int_equal(p.a.conn->chan[RDMA_MSG].gen, 1);
	stop(&p.a, &job);
	UNTIL(&p, job.done);
	rdma->cancel(p.a.conn, &job.op); /* too late, and harmless */
	assert_int_equal(job.done, 1);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_accepted_before_and_after),
	    cmocka_unit_test(an_immediate_of_a_peer_that_went_is_still_there),
	    cmocka_unit_test(what_waits_here_ends_at_once_when_it_is_stopped),
	    cmocka_unit_test(what_is_on_the_wire_is_broken_off_at_the_second_asking),
	    cmocka_unit_test(an_op_that_was_not_asked_to_stop_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
