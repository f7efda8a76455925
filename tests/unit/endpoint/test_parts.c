/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/endpoint/test_parts.c - limits of the transport, and lanes that die and come back.
 *
 * What the fake transport checks of each op holds in all of these: see fake.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"
#include "fixture.h"

enum { LEN = 4 << 20 };

static struct fixture f;

/* LANES over DEVICES devices, with memory that is not the same anywhere. */
static void begin(uint32_t lanes, unsigned devices)
{
	static const struct sl_dev_info dev[FAKE_DEVICES] = {
	    {.name = "d0", .numa = -1, .up = true},
	    {.name = "d1", .numa = -1, .up = true},
	    {.name = "d2", .numa = -1, .up = true},
	    {.name = "d3", .numa = -1, .up = true},
	};

	fake.ndevices = devices;
	memcpy(fake.device, dev, sizeof(dev));
	if (devices)
		fake_fast.caps |= SL_CAP_RAILS;
	fixture_create(&f, LEN, lanes);
	fixture_connect(&f);
	assert_int_equal(f.a.rc, 0);
	for (size_t i = 0; i < LEN; i++) {
		f.a.mem[i] = (char)(i * 7 + i / 256);
		f.b.mem[i] = (char)(i * 3 + i / 512);
	}
}

static int setup(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_destroy(&f);
	fake_reset();
	return 0;
}

/* End what is out, and what comes of it, until nothing is. */
static void end_all(void)
{
	for (unsigned i = 0; i < fake.nops; i++)
		if (!fake.ops[i].over)
			fake_end(i, 0);
}

static slime_op *write_all(const struct slime_submit *how)
{
	struct slime_seg seg = fixture_seg(&f, 0, LEN);
	slime_op *op = NULL;

	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, how, &op), 0);
	return op;
}

static void check_moved(slime_op *op, uint64_t bytes)
{
	struct slime_result res = {0};

	assert_int_equal(slime_op_wait(op, 0, &res), 0);
	assert_int_equal(res.bytes, bytes);
	slime_op_release(op);
}

/*
 * Limits.
 */

static void within_the_limits_nothing_is_split(void **state)
{
	struct slime_seg segs[16];
	slime_op *op = NULL;

	(void)state;
	fake_fast.max_iov = 16;
	fake_fast.max_len = 1000;
	begin(1, 0);
	for (size_t i = 0; i < 16; i++)
		segs[i] = fixture_seg(&f, i * 2000, 1000);
	assert_int_equal(slime_ep_write(f.a.ep, segs, 16, NULL, &op), 0);
	assert_int_equal(fake.nops, 1);
	assert_int_equal(fake.ops[0].niov, 16);
	end_all();
	check_moved(op, 16000);
}

static void too_many_segments_go_in_several_ops_one_after_the_other(void **state)
{
	struct slime_seg segs[17];
	slime_op *op = NULL;

	(void)state;
	fake_fast.max_iov = 5;
	begin(1, 0);
	for (size_t i = 0; i < 17; i++)
		segs[i] = fixture_seg(&f, i * 2000, i == 3 ? 0 : 1000); /* nothing takes no place */
	assert_int_equal(slime_ep_write(f.a.ep, segs, 17, NULL, &op), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(fake.nops, i + 1);
		assert_int_equal(fake.ops[i].niov, i < 3 ? 5 : 1);
		assert_int_equal(slime_op_wait(op, 0, NULL), -ETIMEDOUT);
		fake_end(i, 0);
	}
	assert_int_equal(fake.nops, 4);
	check_moved(op, 16000);
	for (size_t i = 0; i < 17; i++)
		assert_memory_equal(f.b.mem + i * 2000, f.a.mem + i * 2000, i == 3 ? 0 : 1000);
}

static void too_many_segments_of_nothing_move_nothing(void **state)
{
	struct slime_seg segs[17];
	slime_op *op = NULL;

	(void)state;
	fake_fast.max_iov = 5;
	begin(1, 0);
	for (size_t i = 0; i < 17; i++)
		segs[i] = fixture_seg(&f, 0, 0);
	assert_int_equal(slime_ep_write(f.a.ep, segs, 17, NULL, &op), 0);
	end_all();
	check_moved(op, 0);
}

/* A run is cut into equal ones and a rest, and so is each of a strided segment. */
static void long_runs_are_cut(void **state)
{
	struct slime_seg segs[2];
	slime_op *op = NULL;

	(void)state;
	fake_fast.max_len = 1000;
	begin(1, 0);
	segs[0] = fixture_seg(&f, 1, 123456);
	segs[1] = fixture_seg(&f, 200000, 3500);
	segs[1].count = 100;
	segs[1].local_stride = 4000;
	segs[1].remote_stride = 5000;
	assert_int_equal(slime_ep_read(f.a.ep, segs, 2, NULL, &op), 0);
	assert_int_equal(fake.nops, 1);
	assert_int_equal(fake.ops[0].niov, 2 + 2 * 100);
	end_all();
	check_moved(op, 123456 + 350000);
	assert_memory_equal(f.a.mem + 1, f.b.mem + 1, 123456);
	for (size_t i = 0; i < 100; i++)
		assert_memory_equal(f.a.mem + 200000 + 4000 * i, f.b.mem + 200000 + 5000 * i, 3500);
}

static void both_limits_and_lanes_go_together(void **state)
{
	uint64_t bytes = 0;
	slime_op *op;

	(void)state;
	fake_fast.max_len = 10007;
	fake_fast.max_iov = 1;
	begin(FAKE_LANES, 0);
	op = write_all(NULL);
	assert_int_equal(fake.nops, FAKE_LANES);
	end_all();
	for (unsigned i = 0; i < fake.nops; i++)
		bytes += fake.ops[i].bytes;
	assert_int_equal(bytes, LEN);
	check_moved(op, LEN);
	assert_memory_equal(f.a.mem, f.b.mem, LEN);
}

static void thousands_of_pieces_that_are_over_at_once_need_no_deep_stack(void **state)
{
	slime_op *op;

	(void)state;
	fake_fast.max_len = 1024; /* two iovs of each of 1024 runs: 1024 ops */
	fake_fast.max_iov = 1;
	fake.at_once = true;
	begin(1, 0);
	struct slime_seg seg = fixture_seg(&f, 0, 1025);
	seg.count = 2000;
	seg.local_stride = seg.remote_stride = 1025;
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
	check_moved(op, 2000 * 1025);
	assert_int_equal(fake.nops, 4000);
	assert_int_equal(fake.deepest, 1);
	assert_memory_equal(f.a.mem, f.b.mem, 2000 * 1025);
}

static void a_prepared_transfer_is_split_each_time(void **state)
{
	struct slime_seg segs[3];
	slime_xfer *xfer = NULL;
	slime_op *op = NULL;

	(void)state;
	fake_fast.max_iov = 2;
	fake_fast.max_len = 5000;
	begin(FAKE_LANES, 2);
	for (size_t i = 0; i < 3; i++)
		segs[i] = fixture_seg(&f, i * 100000, 12345);
	assert_int_equal(slime_xfer_prepare(f.a.ep, SLIME_DIR_READ, segs, 3, &xfer, NULL), 0);
	for (int turn = 0; turn < 3; turn++) {
		memset(f.a.mem, turn, LEN);
		assert_int_equal(slime_xfer_post(xfer, NULL, &op), 0);
		assert_int_equal(slime_xfer_post(xfer, NULL, NULL), -EBUSY);
		end_all();
		check_moved(op, 3 * 12345);
		for (size_t i = 0; i < 3; i++)
			assert_memory_equal(f.a.mem + i * 100000, f.b.mem + i * 100000, 12345);
	}
	slime_xfer_release(xfer);
}

static void the_immediate_follows_the_last_piece(void **state)
{
	struct slime_seg seg;
	slime_op *op = NULL;

	(void)state;
	fake_fast.max_len = 4096;
	fake_fast.max_iov = 1;
	begin(1, 0);
	seg = fixture_seg(&f, 0, 10000);
	assert_int_equal(slime_ep_write_imm(f.a.ep, &seg, 1, 7, NULL, &op), 0);
	end_all();
	assert_int_equal(fake.nops, 3);
	assert_int_equal(fake.ops[0].code, SL_OP_WRITE);
	assert_int_equal(fake.ops[1].code, SL_OP_WRITE);
	assert_int_equal(fake.ops[2].code, SL_OP_WRITE_IMM);
	assert_int_equal(fake.ops[2].niov, 0);
	assert_int_equal(fake.ops[2].op->imm_bytes, 10000);
	check_moved(op, 10000);
}

static void a_piece_that_fails_is_the_last(void **state)
{
	struct slime_seg seg;
	slime_op *op = NULL;

	(void)state;
	fake_fast.max_len = 1000;
	fake_fast.max_iov = 1;
	begin(1, 0);
	seg = fixture_seg(&f, 0, 3500);
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
	fake_end(0, -EACCES);
	assert_int_equal(fake.nops, 1);
	assert_int_equal(slime_op_wait(op, 0, NULL), -EACCES);
	slime_op_release(op);
}

static void cancel_between_pieces_ends_it(void **state)
{
	struct slime_seg seg;
	slime_op *op = NULL;

	(void)state;
	fake_fast.max_len = 1000;
	fake_fast.max_iov = 1;
	begin(1, 0);
	seg = fixture_seg(&f, 0, 3500);
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
	slime_op_cancel(op);
	fake_end(0, 0); /* before anybody makes progress */
	assert_int_equal(fake.nops, 1);
	assert_int_equal(slime_op_wait(op, 0, NULL), -ECANCELED);
	slime_op_release(op);
}

static void memory_of_a_kind_that_is_not_reached_is_refused(void **state)
{
	struct slime_error err = {0};
	struct slime_seg seg;
	struct slime_desc desc;
	slime_xfer *xfer = NULL;
	slime_mr *mr = NULL;

	(void)state;
	begin(1, 0);
	fake_fast.kinds = 1u << SLIME_MEM_CUDA;
	assert_int_equal(slime_mr_register(f.a.ctx, f.a.mem, 100, NULL, &mr, NULL), 0);
	seg = fixture_seg(&f, 0, 100);
	seg.local = mr;
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, NULL), -EOPNOTSUPP);
	assert_int_equal(slime_xfer_prepare(f.a.ep, SLIME_DIR_READ, &seg, 1, &xfer, &err),
	                 -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "memory"));
	assert_int_equal(slime_mr_export(mr, &desc, NULL), 0); /* 'slow' reaches it */
	slime_mr_deregister(mr);
}

/*
 * Lanes that die.
 */

static void what_a_dead_lane_carried_goes_over_the_others(void **state)
{
	(void)state;
	for (uint32_t dead = 0; dead < FAKE_LANES; dead++) {
		slime_op *op;

		fake_reset();
		begin(FAKE_LANES, 4);
		op = write_all(NULL);
		assert_int_equal(fake.nops, FAKE_LANES);
		fake_lane_down(dead);
		assert_int_equal(fake.nops, FAKE_LANES); /* each other carries its own part still */
		end_all();
		assert_int_equal(fake.nops, FAKE_LANES + 1);
		assert_int_not_equal(fake.ops[FAKE_LANES].lane, dead);
		check_moved(op, LEN);
		assert_memory_equal(f.a.mem, f.b.mem, LEN);
		assert_int_equal(fake.deepest_lane, 1);
		if (dead + 1 < FAKE_LANES)
			fixture_destroy(&f);
	}
}

/* A lane that is through with its part takes over at once. */
static void a_lane_that_is_free_takes_over_at_once(void **state)
{
	slime_op *op;

	(void)state;
	begin(FAKE_LANES, 2);
	op = write_all(NULL);
	fake_end(1, 0);
	fake_lane_down(3);
	assert_int_equal(fake.nops, FAKE_LANES + 1);
	assert_int_equal(fake.ops[FAKE_LANES].lane, 1);
	end_all();
	check_moved(op, LEN);
	assert_memory_equal(f.a.mem, f.b.mem, LEN);
}

static void one_lane_that_is_left_carries_all(void **state)
{
	slime_op *op;

	(void)state;
	begin(FAKE_LANES, 4);
	op = write_all(NULL);
	fake_lane_down(0);
	fake_lane_down(1);
	fake_lane_down(3);
	for (unsigned i = 0; i < fake.nops; i++)
		if (!fake.ops[i].over)
			assert_int_equal(fake.ops[i].lane, 2);
	end_all();
	check_moved(op, LEN);
	assert_memory_equal(f.a.mem, f.b.mem, LEN);
	assert_int_equal(fake.deepest_lane, 1);
}

static void when_all_lanes_are_dead_the_op_says_so_once(void **state)
{
	struct slime_seg seg;
	slime_op *op;

	(void)state;
	begin(FAKE_LANES, 4);
	op = write_all(NULL);
	for (uint32_t i = 0; i < FAKE_LANES; i++) {
		assert_int_equal(slime_op_wait(op, 0, NULL), -ETIMEDOUT);
		fake_lane_down(i);
	}
	assert_int_equal(slime_op_wait(op, 0, NULL), -EHOSTUNREACH);
	slime_op_release(op);
	seg = fixture_seg(&f, 0, 100); /* and so does what comes */
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, NULL), -EHOSTUNREACH);
	for (uint32_t i = 0; i < FAKE_LANES; i++)
		fake_lane_up(i);
	op = write_all(NULL);
	end_all();
	check_moved(op, LEN);
	assert_memory_equal(f.a.mem, f.b.mem, LEN);
}

static void a_small_op_moves_to_another_lane_whole(void **state)
{
	struct slime_seg seg;
	slime_op *op = NULL;

	(void)state;
	begin(FAKE_LANES, 4);
	seg = fixture_seg(&f, 5, 1000);
	for (int i = 0; i < 10; i++) {
		unsigned at = fake.nops;
		uint32_t lane;

		memset(f.b.mem, i, LEN);
		assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
		assert_int_equal(fake.nops, at + 1);
		lane = fake.ops[at].lane;
		fake_lane_down(lane);
		assert_int_equal(fake.nops, at + 2);
		assert_int_not_equal(fake.ops[at + 1].lane, lane);
		assert_int_equal(slime_op_wait(op, 0, NULL), -ETIMEDOUT);
		end_all();
		check_moved(op, 1000);
		assert_memory_equal(f.a.mem + 5, f.b.mem + 5, 1000);
		fake_lane_up(lane);
	}
}

static void a_prepared_transfer_moves_too(void **state)
{
	struct slime_seg seg;
	slime_xfer *xfer = NULL;
	slime_op *op = NULL;

	(void)state;
	begin(FAKE_LANES, 4);
	seg = fixture_seg(&f, 5, 1000);
	assert_int_equal(slime_xfer_prepare(f.a.ep, SLIME_DIR_WRITE, &seg, 1, &xfer, NULL), 0);
	for (int i = 0; i < 20; i++) {
		uint32_t lane;

		memset(f.b.mem, i, LEN);
		assert_int_equal(slime_xfer_post(xfer, NULL, &op), 0);
		lane = fake.ops[fake.nops - 1].lane;
		fake_lane_down(lane);
		end_all();
		check_moved(op, 1000);
		assert_memory_equal(f.a.mem + 5, f.b.mem + 5, 1000);
		assert_int_equal(slime_xfer_post(xfer, NULL, &op), 0);
		assert_int_not_equal(fake.ops[fake.nops - 1].lane, lane);
		end_all();
		check_moved(op, 1000);
		fake_lane_up(lane);
	}
	slime_xfer_release(xfer);
}

static void with_one_lane_there_is_no_other(void **state)
{
	slime_op *op;

	(void)state;
	begin(1, 0);
	op = write_all(NULL);
	fake_lane_down(0);
	assert_int_equal(slime_op_wait(op, 0, NULL), -EHOSTUNREACH);
	slime_op_release(op);
}

/* Bytes over what is alive, the immediate waits for lane 0: it is the transport that does. */
static void the_immediate_comes_once_after_all_bytes_whoever_dies(void **state)
{
	(void)state;
	for (uint32_t dead = 0; dead < FAKE_LANES; dead++) {
		struct slime_seg seg;
		unsigned imms = 0;
		slime_op *op;

		fake_reset();
		begin(FAKE_LANES, 4);
		seg = fixture_seg(&f, 0, LEN);
		assert_int_equal(slime_ep_write_imm(f.a.ep, &seg, 1, 9, NULL, &op), 0);
		fake_lane_down(dead);
		for (unsigned i = 0; i < fake.nops; i++) {
			if (fake.ops[i].code == SL_OP_WRITE_IMM) {
				imms++;
				assert_memory_equal(f.a.mem, f.b.mem, LEN);
				assert_int_equal(fake.ops[i].op->imm_bytes, LEN);
			}
			if (!fake.ops[i].over)
				fake_end(i, 0);
		}
		assert_int_equal(imms, 1);
		check_moved(op, LEN);
		if (dead + 1 < FAKE_LANES)
			fixture_destroy(&f);
	}
}

static void a_lane_that_is_back_is_used_again(void **state)
{
	uint32_t lanes = 0;

	(void)state;
	begin(FAKE_LANES, 4);
	fake.at_once = true;
	fake_lane_down(2);
	for (int i = 0; i < 8; i++) {
		unsigned at = fake.nops;

		check_moved(write_all(NULL), LEN);
		assert_in_range(fake.nops - at, FAKE_LANES - 1, FAKE_LANES);
		for (; at < fake.nops; at++)
			assert_int_not_equal(fake.ops[at].lane, 2);
	}
	fake_lane_up(2);
	for (int i = 0; i < 200 && !(lanes & 1u << 2); i++) {
		struct slime_seg seg = fixture_seg(&f, 0, 100);
		struct slime_submit how = {.size = sizeof(how), .timeout_ns = 2000000};
		slime_op *op = NULL;

		/* a receive that nobody answers: time passes */
		fake.at_once = false;
		assert_int_equal(slime_ep_recv_imm(f.a.ep, &how, &op), 0);
		assert_int_equal(slime_op_wait(op, 1000000000, NULL), -ETIME);
		slime_op_release(op);
		fake.at_once = true;
		for (int k = 0; k < FAKE_LANES; k++) {
			assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
			lanes |= 1u << fake.ops[fake.nops - 1].lane;
			check_moved(op, 100);
		}
	}
	assert_true(lanes & 1u << 2);
}

static void cancel_reaches_a_part_that_waits_for_a_lane(void **state)
{
	slime_op *op;
	int rc = -ETIMEDOUT;

	(void)state;
	begin(FAKE_LANES, 4);
	op = write_all(NULL);
	fake_lane_down(1);
	fake_lane_down(2);
	slime_op_cancel(op);
	for (int i = 0; i < 1000 && rc == -ETIMEDOUT; i++)
		rc = slime_op_wait(op, 1000000, NULL);
	assert_int_equal(rc, -ECANCELED);
	for (unsigned i = 0; i < fake.nops; i++)
		assert_true(fake.ops[i].over);
	slime_op_release(op);
}

static void a_deadline_passes_while_parts_wait(void **state)
{
	struct slime_submit how = {.size = sizeof(how), .timeout_ns = 5000000};
	slime_op *op;

	(void)state;
	begin(FAKE_LANES, 4);
	op = write_all(&how);
	fake_lane_down(1);
	assert_int_equal(slime_op_wait(op, INT64_C(5000000000), NULL), -ETIME);
	slime_op_release(op);
}

static void another_error_wins_over_what_waits(void **state)
{
	slime_op *op;

	(void)state;
	begin(FAKE_LANES, 4);
	op = write_all(NULL);
	fake_lane_down(1);
	fake_end(0, -EACCES);
	fake_end(2, 0);
	fake_end(3, 0);
	assert_int_equal(fake.nops, FAKE_LANES);
	assert_int_equal(slime_op_wait(op, 0, NULL), -EACCES);
	slime_op_release(op);
}

static void lanes_that_die_in_submit_are_passed_by(void **state)
{
	slime_op *op;

	(void)state;
	begin(FAKE_LANES, 4);
	fake.at_once = true;
	fake.at_once_rc = -ENETDOWN; /* accepted, and then no: everywhere */
	op = write_all(NULL);
	assert_int_equal(slime_op_wait(op, 0, NULL), -EHOSTUNREACH);
	slime_op_release(op);
	assert_in_range(fake.nops, FAKE_LANES, FAKE_LANES * FAKE_LANES);
}

static uint64_t roll(uint64_t *seed, uint64_t n)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*seed >> 33) % n;
}

enum { CHAOS_OPS = 12 };

/* Its own place in memory for each op, so that each byte tells. */
struct chaos_op {
	slime_op *op;
	uint64_t off, len;
};

static void start_one(struct chaos_op *c, uint64_t at, uint64_t *seed)
{
	struct slime_seg segs[3];
	uint64_t n = 1 + roll(seed, 3);

	c->off = at;
	c->len = 0;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t len = roll(seed, 100000);

		segs[i] = fixture_seg(&f, at + c->len, len);
		c->len += len;
	}
	memset(f.b.mem + at, 0, c->len);
	if (roll(seed, 3))
		assert_int_equal(slime_ep_write(f.a.ep, segs, n, NULL, &c->op), 0);
	else
		assert_int_equal(slime_ep_write_imm(f.a.ep, segs, n, 1, NULL, &c->op), 0);
}

static void end_some(uint64_t *seed)
{
	unsigned n = fake.nops;

	for (unsigned i = n > 400 ? n - 400 : 0; i < n; i++)
		if (!fake.ops[i].over && !roll(seed, 3))
			fake_end(i, 0);
}

/* Lanes come and go, one at least is there: every op ends well, with every byte. */
static void chaos_loses_no_byte_and_no_completion(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 60; round++) {
		struct chaos_op ops[CHAOS_OPS] = {{0}};
		uint64_t seed = round * 77 + 1;
		unsigned done = 0;

		fake_reset();
		fake_fast.max_iov = round % 3 ? UINT32_MAX : 2;
		fake_fast.max_len = round % 2 ? UINT64_MAX : 30000;
		begin(FAKE_LANES, 1 + (unsigned)round % 4);
		for (unsigned i = 0; i < CHAOS_OPS; i++)
			start_one(&ops[i], i * 300000, &seed);
		for (int step = 0; done < CHAOS_OPS && step < 100000; step++) {
			uint32_t lane = (uint32_t)roll(&seed, FAKE_LANES);

			if (fake.lanes_down & 1u << lane)
				fake_lane_up(lane);
			else if (!fake.lanes_down && fake.nops < FAKE_OPS / 2)
				fake_lane_down(lane);
			end_some(&seed);
			for (unsigned i = 0; i < CHAOS_OPS; i++) {
				if (!ops[i].op || slime_op_wait(ops[i].op, 0, NULL) == -ETIMEDOUT)
					continue;
				check_moved(ops[i].op, ops[i].len);
				ops[i].op = NULL;
				done++;
				assert_memory_equal(f.a.mem + ops[i].off, f.b.mem + ops[i].off,
				                    ops[i].len);
			}
		}
		assert_int_equal(done, CHAOS_OPS);
		for (unsigned i = 0; i < fake.nops; i++)
			assert_true(fake.ops[i].over);
		if (round + 1 < 60)
			fixture_destroy(&f);
	}
}

#define PARTS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    PARTS_TEST(within_the_limits_nothing_is_split),
	    PARTS_TEST(too_many_segments_go_in_several_ops_one_after_the_other),
	    PARTS_TEST(too_many_segments_of_nothing_move_nothing),
	    PARTS_TEST(long_runs_are_cut),
	    PARTS_TEST(both_limits_and_lanes_go_together),
	    PARTS_TEST(thousands_of_pieces_that_are_over_at_once_need_no_deep_stack),
	    PARTS_TEST(a_prepared_transfer_is_split_each_time),
	    PARTS_TEST(the_immediate_follows_the_last_piece),
	    PARTS_TEST(a_piece_that_fails_is_the_last),
	    PARTS_TEST(cancel_between_pieces_ends_it),
	    PARTS_TEST(memory_of_a_kind_that_is_not_reached_is_refused),
	    PARTS_TEST(what_a_dead_lane_carried_goes_over_the_others),
	    PARTS_TEST(a_lane_that_is_free_takes_over_at_once),
	    PARTS_TEST(one_lane_that_is_left_carries_all),
	    PARTS_TEST(when_all_lanes_are_dead_the_op_says_so_once),
	    PARTS_TEST(a_small_op_moves_to_another_lane_whole),
	    PARTS_TEST(a_prepared_transfer_moves_too),
	    PARTS_TEST(with_one_lane_there_is_no_other),
	    PARTS_TEST(the_immediate_comes_once_after_all_bytes_whoever_dies),
	    PARTS_TEST(a_lane_that_is_back_is_used_again),
	    PARTS_TEST(cancel_reaches_a_part_that_waits_for_a_lane),
	    PARTS_TEST(a_deadline_passes_while_parts_wait),
	    PARTS_TEST(another_error_wins_over_what_waits),
	    PARTS_TEST(lanes_that_die_in_submit_are_passed_by),
	    PARTS_TEST(chaos_loses_no_byte_and_no_completion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
