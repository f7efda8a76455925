/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;
static struct job job, got;

static uint64_t works(void)
{
	return fake_verbs_count(FAKE_WORKS);
}

static void runs_that_join_at_the_peer_are_one_request(void **state)
{
	uint64_t before;

	(void)state;
	pair_connected(&p, NULL);
	memset(p.a.mem, 5, 4000);
	job_make(&job, SL_OP_WRITE); /* four places here, one there */
	for (uint64_t i = 0; i < 4; i++)
		(void)add_run(&job, &p.a, i * 1000, 5000 + i * 300, 300);
	before = works();
	run(&p, &p.a, &job, 0);
	assert_int_equal(works() - before, 1);
	assert_memory_equal(p.a.mem, p.b.mem + 5000, 1200);
	job_make(&job, SL_OP_READ); /* in one piece on both sides, however many runs */
	for (uint64_t i = 0; i < 100; i++)
		(void)add_run(&job, &p.a, 20000 + i * 10, 5000 + i * 10, 10);
	before = works();
	run(&p, &p.a, &job, 0);
	assert_int_equal(works() - before, 1);
	assert_memory_equal(p.a.mem + 20000, p.b.mem + 5000, 1000);
	job_make(&job, SL_OP_WRITE); /* apart at the peer */
	for (uint64_t i = 0; i < 10; i++)
		(void)add_run(&job, &p.a, i * 10, i * 20, 10);
	before = works();
	run(&p, &p.a, &job, 0);
	assert_int_equal(works() - before, 10);
	pair_end(&p);
}

static void a_strided_run_goes_through_a_queue_that_is_too_short_for_it(void **state)
{
	struct sl_iov *v;

	(void)state;
	pair_connected(&p, NULL);
	for (int i = 0; i < 64 * 2000; i++)
		p.a.mem[i] = (char)i;
	job_make(&job, SL_OP_WRITE);
	v = add_run(&job, &p.a, 0, 0, 64);
	v->count = 2000;
	v->stride = 64;
	v->rstride = 256;
	job.op.bytes = 64 * 2000;
	run(&p, &p.a, &job, 0);
	assert_int_equal(job.bytes, 64 * 2000);
	for (size_t i = 0; i < 2000; i++)
		assert_memory_equal(p.a.mem + i * 64, p.b.mem + i * 256, 64);
	pair_end(&p);
}

static void a_run_longer_than_a_message_is_several_requests(void **state)
{
	static struct fake_verbs_config config;
	uint64_t before;

	(void)state;
	config_init(&config);
	config.devices[0].ports[0].max_msg = 8192;
	pair_connected(&p, &config);
	memset(p.a.mem, 3, 50000);
	before = works();
	start_one(&p.a, &job, SL_OP_WRITE, 0, 0, 50000);
	UNTIL(&p, job.done);
	assert_int_equal(works() - before, 7);
	assert_memory_equal(p.a.mem, p.b.mem, 50000);
	pair_end(&p);
}

static void nothing_to_move_is_done_at_once(void **state)
{
	uint64_t before;

	(void)state;
	pair_connected(&p, NULL);
	before = works();
	start_one(&p.a, &job, SL_OP_READ, 0, 0, 0);
	assert_int_equal(job.done, 1);
	assert_int_equal(works(), before);
	fake_verbs_hold(0); /* but not before what came first */
	start_one(&p.a, &got, SL_OP_WRITE, 0, 0, 100);
	start_one(&p.a, &job, SL_OP_WRITE, 0, 0, 0);
	assert_int_equal(job.done, 0);
	fake_verbs_release(0);
	UNTIL(&p, job.done && got.done);
	assert_int_equal(job.status | got.status, 0);
	pair_end(&p);
}

/* With the data if that is one request, in a record if not: always once, with its bytes. */
static void imm(unsigned runs, uint64_t bytes, uint64_t reports, uint64_t requests)
{
	uint64_t before = works();

	job_make(&got, SL_OP_RECV_IMM);
	start(&p.b, &got);
	job_make(&job, SL_OP_WRITE_IMM);
	for (uint64_t i = 0; i < runs; i++)
		(void)add_run(&job, &p.a, i * 4096, i * 8192, bytes);
	job.op.imm = 0xdeadbeef;
	job.op.imm_bytes = reports;
	run(&p, &p.a, &job, 0);
	UNTIL(&p, got.done);
	assert_int_equal(got.done, 1);
	assert_int_equal(got.imm, 0xdeadbeef);
	assert_int_equal(got.bytes, reports);
	assert_int_equal(works() - before, requests);
}

static void an_immediate_goes_with_the_data_or_behind_it(void **state)
{
	(void)state;
	pair_connected(&p, NULL);
	imm(1, 1000, 1000, 1);
	imm(3, 1000, 3000, 4);
	imm(0, 0, 0, 1);
	imm(0, 0, UINT64_C(1) << 40, 1); /* what went over other lanes */
	imm(1, 0, 0, 1);
	pair_end(&p);
}

static void a_full_shelf_of_immediates_holds_the_sender_back(void **state)
{
	enum { MORE = 3 * RDMA_WINDOW };
	static struct job many[MORE];
	unsigned n = 0;

	(void)state;
	pair_connected(&p, NULL);
	while (p.b.conn->group.imms.n < SL_IMM_MAX - RDMA_WINDOW) {
		job_make(&job, SL_OP_WRITE_IMM);
		run(&p, &p.a, &job, 0);
	}
	for (int i = 0; i < MORE; i++) {
		job_make(&many[i], SL_OP_WRITE_IMM);
		start(&p.a, &many[i]);
	}
	for (int i = 0; i < 200; i++)
		step(&p);
	for (int i = 0; i < MORE; i++)
		n += many[i].done != 0;
	assert_true(n < MORE);
	assert_true(p.b.conn->group.imms.n <= SL_IMM_MAX);
	for (int i = 0; i < 2 * RDMA_WINDOW || !many[MORE - 1].done; i++) {
		job_make(&got, SL_OP_RECV_IMM);
		run(&p, &p.b, &got, 0);
		step(&p);
	}
	for (int i = 0; i < MORE; i++)
		assert_int_equal(many[i].status, 0);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(runs_that_join_at_the_peer_are_one_request),
	    cmocka_unit_test(a_strided_run_goes_through_a_queue_that_is_too_short_for_it),
	    cmocka_unit_test(a_run_longer_than_a_message_is_several_requests),
	    cmocka_unit_test(nothing_to_move_is_done_at_once),
	    cmocka_unit_test(an_immediate_goes_with_the_data_or_behind_it),
	    cmocka_unit_test(a_full_shelf_of_immediates_holds_the_sender_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
