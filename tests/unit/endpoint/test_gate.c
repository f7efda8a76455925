/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/endpoint/test_gate.c - what a fence lets through to the transport, and when. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake.h"
#include "fixture.h"

static struct fixture f;

static int setup(void **state)
{
	(void)state;
	fake_reset();
	fixture_create(&f, 65536, 1);
	fixture_connect(&f);
	assert_int_equal(f.a.rc, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_destroy(&f);
	return 0;
}

static slime_op *put(uint64_t bytes, uint32_t flags)
{
	struct slime_submit how = {.size = sizeof(how), .flags = flags};
	struct slime_seg seg = fixture_seg(&f, 0, bytes);
	slime_op *op = NULL;

	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, &how, &op), 0);
	return op;
}

static void check_done(slime_op *op, int status)
{
	assert_int_equal(slime_op_wait(op, 0, NULL), status);
	slime_op_release(op);
}

static void a_fence_with_nothing_before_it_goes_at_once(void **state)
{
	slime_op *op = put(1, SLIME_SUBMIT_FENCE);

	(void)state;
	assert_int_equal(fake.nops, 1);
	fake_end(0, 0);
	check_done(op, 0);
}

static void a_fence_waits_for_all_before_it_in_any_order(void **state)
{
	slime_op *ops[4] = {put(1, 0), put(2, 0), put(3, 0), put(4, SLIME_SUBMIT_FENCE)};

	(void)state;
	assert_int_equal(fake.nops, 3);
	fake_end(1, 0);
	fake_end(2, -EACCES); /* over is over */
	assert_int_equal(fake.nops, 3);
	fake_end(0, 0);
	assert_int_equal(fake.nops, 4);
	assert_int_equal(fake.ops[3].bytes, 4);
	fake_end(3, 0);
	check_done(ops[0], 0);
	check_done(ops[1], 0);
	check_done(ops[2], -EACCES);
	check_done(ops[3], 0);
}

/* What comes behind a held fence does not overtake it, but need not wait for it either. */
static void later_ops_queue_behind_a_held_fence(void **state)
{
	slime_op *ops[4] = {put(1, 0), put(2, SLIME_SUBMIT_FENCE), put(3, 0), put(4, 0)};

	(void)state;
	assert_int_equal(fake.nops, 1);
	fake_end(0, 0);
	assert_int_equal(fake.nops, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(fake.ops[i].bytes, i + 1);
	for (unsigned i = 1; i < 4; i++)
		fake_end(i, 0);
	for (int i = 0; i < 4; i++)
		check_done(ops[i], 0);
}

static void fences_in_a_row_go_one_by_one(void **state)
{
	slime_op *ops[4];

	(void)state;
	for (uint64_t i = 0; i < 4; i++)
		ops[i] = put(i + 1, SLIME_SUBMIT_FENCE);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(fake.nops, i + 1);
		fake_end(i, 0);
	}
	for (int i = 0; i < 4; i++)
		check_done(ops[i], 0);
}

/* The transport ends them inside submit(), so letting one go lets the next one go: in a loop. */
static void many_held_fences_need_no_deep_stack(void **state)
{
	enum { N = 60 };
	slime_op *first = put(1, 0), *ops[N];

	(void)state;
	for (int i = 0; i < N; i++)
		ops[i] = put(2, SLIME_SUBMIT_FENCE);
	assert_int_equal(fake.nops, 1);
	fake.at_once = true;
	fake_end(0, 0);
	assert_int_equal(fake.nops, N + 1);
	assert_int_equal(fake.deepest, 1);
	check_done(first, 0);
	for (int i = 0; i < N; i++)
		check_done(ops[i], 0);
}

static void a_held_op_that_the_transport_refuses_ends_with_that(void **state)
{
	slime_op *first = put(1, 0), *held = put(2, SLIME_SUBMIT_FENCE), *after = put(3, 0);

	(void)state;
	fake.refuse_op = 2;
	fake.refuse_op_rc = -ECONNRESET;
	fake_end(0, 0);
	check_done(first, 0);
	check_done(held, -ECONNRESET);
	assert_int_equal(fake.nops, 2); /* and what was behind it went on */
	fake_end(1, 0);
	check_done(after, 0);
}

static void a_held_op_can_be_taken_out_of_the_middle(void **state)
{
	slime_op *ops[4] = {put(1, 0), put(2, SLIME_SUBMIT_FENCE), put(3, SLIME_SUBMIT_FENCE),
	                    put(4, SLIME_SUBMIT_FENCE)};
	int rc = -ETIMEDOUT;

	(void)state;
	slime_op_cancel(ops[2]);
	for (int i = 0; i < 1000 && rc == -ETIMEDOUT; i++)
		rc = slime_op_wait(ops[2], 1000000, NULL);
	assert_int_equal(rc, -ECANCELED);
	slime_op_release(ops[2]);
	assert_int_equal(fake.nops, 1);
	fake_end(0, 0);
	fake_end(1, 0);
	fake_end(2, 0);
	assert_int_equal(fake.nops, 3);
	assert_int_equal(fake.ops[2].bytes, 4);
	check_done(ops[0], 0);
	check_done(ops[1], 0);
	check_done(ops[3], 0);
}

static void close_ends_what_is_held(void **state)
{
	slime_op *first = put(1, 0), *held = put(2, SLIME_SUBMIT_FENCE), *after = put(3, 0);

	(void)state;
	slime_ep_close(f.a.ep);
	assert_int_equal(slime_op_wait(after, INT64_C(5000000000), NULL), -ECANCELED);
	assert_int_equal(slime_op_wait(held, INT64_C(5000000000), NULL), -ECANCELED);
	assert_int_equal(slime_op_wait(first, INT64_C(5000000000), NULL), -ECANCELED);
	assert_int_equal(fake.nops, 1);
	slime_op_release(first);
	slime_op_release(held);
	slime_op_release(after);
}

/* A receive waits for the peer, maybe for ever: a fence does not wait for it. */
static void receives_neither_hold_nor_are_held(void **state)
{
	struct slime_span span = {.mr = f.a.mr, .len = 100};
	slime_op *recv = NULL, *again = NULL, *first, *fence;

	(void)state;
	assert_int_equal(slime_ep_recv(f.a.ep, &span, NULL, &recv), 0);
	first = put(1, SLIME_SUBMIT_FENCE);
	assert_int_equal(fake.nops, 2);
	fence = put(2, SLIME_SUBMIT_FENCE);
	assert_int_equal(slime_ep_recv(f.a.ep, &span, NULL, &again), 0);
	assert_int_equal(fake.nops, 3);
	assert_int_equal(fake.ops[2].code, SL_OP_RECV);
	fake_end(1, 0);
	fake_end(3, 0);
	fake_end(2, 0);
	fake_end(0, 0);
	check_done(first, 0);
	check_done(fence, 0);
	check_done(recv, 0);
	check_done(again, 0);
}

#define GATE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    GATE_TEST(a_fence_with_nothing_before_it_goes_at_once),
	    GATE_TEST(a_fence_waits_for_all_before_it_in_any_order),
	    GATE_TEST(later_ops_queue_behind_a_held_fence),
	    GATE_TEST(fences_in_a_row_go_one_by_one),
	    GATE_TEST(many_held_fences_need_no_deep_stack),
	    GATE_TEST(a_held_op_that_the_transport_refuses_ends_with_that),
	    GATE_TEST(a_held_op_can_be_taken_out_of_the_middle),
	    GATE_TEST(close_ends_what_is_held),
	    GATE_TEST(receives_neither_hold_nor_are_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
