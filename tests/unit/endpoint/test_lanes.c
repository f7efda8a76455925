/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/endpoint/test_lanes.c - large ops go in parts, and are one op again in the end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"
#include "fixture.h"

enum { LEN = 4 << 20 };

static struct fixture f;

static int setup(void **state)
{
	(void)state;
	fake_reset();
	fixture_create(&f, LEN, FAKE_LANES);
	fixture_connect(&f);
	assert_int_equal(f.a.rc, 0);
	for (size_t i = 0; i < LEN; i++)
		f.a.mem[i] = (char)(i * 7 + i / 256);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_destroy(&f);
	return 0;
}

static slime_op *write_all(uint32_t *imm)
{
	struct slime_seg seg = fixture_seg(&f, 0, LEN);
	slime_op *op = NULL;

	if (imm)
		assert_int_equal(slime_ep_write_imm(f.a.ep, &seg, 1, *imm, NULL, &op), 0);
	else
		assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
	return op;
}

static void end_all(unsigned from, int status)
{
	for (unsigned n = fake.nops, i = from; i < n; i++)
		if (!fake.ops[i].over)
			fake_end(i, status);
}

static void a_large_write_uses_every_lane_once(void **state)
{
	slime_op *op = write_all(NULL);
	uint64_t bytes = 0;
	unsigned lanes = 0;
	struct slime_result res;

	(void)state;
	assert_int_equal(fake.nops, FAKE_LANES);
	for (unsigned i = 0; i < fake.nops; i++) {
		lanes |= 1u << fake.ops[i].lane;
		bytes += fake.ops[i].bytes;
		assert_int_equal(fake.ops[i].code, SL_OP_WRITE);
	}
	assert_int_equal(lanes, (1u << FAKE_LANES) - 1);
	assert_int_equal(bytes, LEN);
	assert_int_equal(slime_op_wait(op, 0, NULL), -ETIMEDOUT);
	end_all(1, 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), -ETIMEDOUT); /* one is still out */
	fake_end(0, 0);
	assert_int_equal(slime_op_wait(op, 0, &res), 0);
	assert_int_equal(res.bytes, LEN);
	assert_memory_equal(f.a.mem, f.b.mem, LEN);
	slime_op_release(op);
}

static void a_small_write_stays_whole(void **state)
{
	struct slime_seg seg = fixture_seg(&f, 0, 1000);
	slime_op *op = NULL;

	(void)state;
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
	assert_int_equal(fake.nops, 1);
	end_all(0, 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), 0);
	slime_op_release(op);
}

/* Pieces that do not end where the parts do. */
static void strided_segments_are_cut_where_it_falls(void **state)
{
	struct slime_seg segs[3] = {fixture_seg(&f, 1, 70001), fixture_seg(&f, 2000000, 0),
	                            fixture_seg(&f, 2100000, 999)};
	slime_op *op = NULL;

	(void)state;
	segs[0].count = 20;
	segs[0].local_stride = segs[0].remote_stride = 80000;
	segs[2].count = 500;
	segs[2].local_stride = segs[2].remote_stride = 1001;
	assert_int_equal(slime_ep_write(f.a.ep, segs, 3, NULL, &op), 0);
	assert_true(fake.nops > 1);
	end_all(0, 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), 0);
	for (size_t i = 0; i < LEN; i++) {
		size_t one = i - 1, three = i - 2100000;
		int in = (i >= 1 && one / 80000 < 20 && one % 80000 < 70001) ||
		         (i >= 2100000 && three / 1001 < 500 && three % 1001 < 999);

		if (f.b.mem[i] != (in ? f.a.mem[i] : 0))
			fail_msg("byte %zu is wrong", i);
	}
	slime_op_release(op);
}

static void the_first_error_of_a_part_is_that_of_the_op(void **state)
{
	slime_op *op = write_all(NULL);

	(void)state;
	fake_end(2, -EACCES);
	fake_end(0, -ECONNRESET);
	fake_end(3, 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), -ETIMEDOUT); /* part 1 may still move bytes */
	fake_end(1, 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), -EACCES);
	slime_op_release(op);
}

static void a_part_that_is_refused_fails_the_op_when_the_others_are_over(void **state)
{
	slime_op *op;

	(void)state;
	fake.refuse_op = 3;
	fake.refuse_op_rc = -ECONNRESET;
	op = write_all(NULL);
	assert_int_equal(fake.nops, FAKE_LANES - 1);
	assert_int_equal(slime_op_wait(op, 0, NULL), -ETIMEDOUT);
	end_all(0, 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), -ECONNRESET);
	slime_op_release(op);
}

static void an_op_that_is_refused_whole_was_never_there(void **state)
{
	struct slime_seg seg = fixture_seg(&f, 0, 1000);
	slime_op *op = NULL;

	(void)state;
	fake.refuse_op = 1;
	fake.refuse_op_rc = -ECONNRESET;
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), -ECONNRESET);
	assert_null(op);
	fake.at_once = true;
	for (int i = 0; i < 50; i++) { /* and took no place */
		assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
		assert_int_equal(slime_op_wait(op, 0, NULL), 0);
		slime_op_release(op);
	}
}

static void the_immediate_follows_when_every_part_is_over(void **state)
{
	uint32_t imm = 99;
	slime_op *op = write_all(&imm);
	struct slime_result res;

	(void)state;
	assert_int_equal(fake.nops, FAKE_LANES);
	for (unsigned i = 0; i < FAKE_LANES; i++) {
		assert_int_equal(fake.nops, FAKE_LANES);
		assert_int_equal(fake.ops[i].code, SL_OP_WRITE);
		fake_end(i, 0);
	}
	assert_int_equal(fake.nops, FAKE_LANES + 1);
	assert_int_equal(fake.ops[FAKE_LANES].code, SL_OP_WRITE_IMM);
	assert_int_equal(fake.ops[FAKE_LANES].lane, 0);
	assert_int_equal(fake.ops[FAKE_LANES].op->imm, 99);
	assert_int_equal(fake.ops[FAKE_LANES].op->imm_bytes, LEN);
	assert_int_equal(fake.ops[FAKE_LANES].niov, 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), -ETIMEDOUT);
	fake_end(FAKE_LANES, 0);
	assert_int_equal(slime_op_wait(op, 0, &res), 0);
	assert_int_equal(res.bytes, LEN);
	slime_op_release(op);
}

static void no_immediate_follows_a_part_that_failed(void **state)
{
	uint32_t imm = 99;
	slime_op *op = write_all(&imm);

	(void)state;
	end_all(1, 0);
	fake_end(0, -EACCES);
	assert_int_equal(fake.nops, FAKE_LANES);
	assert_int_equal(slime_op_wait(op, 0, NULL), -EACCES);
	slime_op_release(op);
}

static void an_immediate_that_is_refused_is_the_ops_error(void **state)
{
	uint32_t imm = 99;
	slime_op *op = write_all(&imm);

	(void)state;
	fake.refuse_op = FAKE_LANES + 1;
	fake.refuse_op_rc = -ECONNRESET;
	end_all(0, 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), -ECONNRESET);
	slime_op_release(op);
}

static void cancel_reaches_every_part(void **state)
{
	slime_op *op = write_all(NULL);
	int rc = -ETIMEDOUT;

	(void)state;
	fake_end(1, 0);
	slime_op_cancel(op);
	for (int i = 0; i < 1000 && rc == -ETIMEDOUT; i++)
		rc = slime_op_wait(op, 1000000, NULL);
	assert_int_equal(rc, -ECANCELED);
	for (unsigned i = 0; i < fake.nops; i++)
		assert_true(fake.ops[i].over);
	slime_op_release(op);
}

static void close_ends_every_part(void **state)
{
	slime_op *op = write_all(NULL);

	(void)state;
	slime_ep_close(f.a.ep);
	assert_int_equal(slime_op_wait(op, INT64_C(5000000000), NULL), -ECANCELED);
	slime_op_release(op);
}

static void messages_and_immediates_stay_on_the_first_lane(void **state)
{
	struct slime_span span = {.mr = f.a.mr, .len = LEN};
	slime_op *op = NULL;

	(void)state;
	fake.at_once = true;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(slime_ep_send(f.a.ep, &span, NULL, &op), 0);
		slime_op_release(op);
		assert_int_equal(slime_ep_recv(f.a.ep, &span, NULL, &op), 0);
		slime_op_release(op);
		assert_int_equal(slime_ep_write_imm(f.a.ep, NULL, 0, 1, NULL, &op), 0);
		slime_op_release(op);
	}
	for (unsigned i = 0; i < fake.nops; i++)
		assert_int_equal(fake.ops[i].lane, 0);
}

#define LANES_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    LANES_TEST(a_large_write_uses_every_lane_once),
	    LANES_TEST(a_small_write_stays_whole),
	    LANES_TEST(strided_segments_are_cut_where_it_falls),
	    LANES_TEST(the_first_error_of_a_part_is_that_of_the_op),
	    LANES_TEST(a_part_that_is_refused_fails_the_op_when_the_others_are_over),
	    LANES_TEST(an_op_that_is_refused_whole_was_never_there),
	    LANES_TEST(the_immediate_follows_when_every_part_is_over),
	    LANES_TEST(no_immediate_follows_a_part_that_failed),
	    LANES_TEST(an_immediate_that_is_refused_is_the_ops_error),
	    LANES_TEST(cancel_reaches_every_part),
	    LANES_TEST(close_ends_every_part),
	    LANES_TEST(messages_and_immediates_stay_on_the_first_lane),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
