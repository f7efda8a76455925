/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../../cmd/dlslime/pack.c"
#include "../../../cmd/dlslime/perf_shape.c"
#include "../../../cmd/dlslime/say.c"
#include "../../../cmd/dlslime/size.c"

static const uint64_t limit = (uint64_t)1 << 34;

static struct perf_shape shape(uint64_t size, uint32_t batch, uint64_t stride, uint32_t depth)
{
	struct perf_shape s = {.depth = depth,
	                       .batch = batch,
	                       .size = size,
	                       .stride = stride ? stride : size,
	                       .strided = stride != 0,
	                       .seed = 7,
	                       .transport = "shm"};

	perf_shape_plan(&s, 64 << 20);
	return s;
}

static void blocks_fill_the_footprint_and_serve_the_depth(void **state)
{
	struct perf_shape s = shape(1 << 20, 1, 0, 1);

	(void)state;
	assert_int_equal(s.blocks, 64);
	s = shape(1 << 20, 1, 0, 100);
	assert_int_equal(s.blocks, 100);
	s = shape(8, 1, 0, 1);
	assert_int_equal(perf_step(&s), 64);
	s = shape(100, 10, 1000, 1);
	assert_int_equal(perf_step(&s), 9152); /* 9 * 1000 + 100, in whole cache lines */
}

static void what_a_stranger_asks_is_checked_without_wrapping(void **state)
{
	struct perf_shape good = shape(4096, 4, 0, 4);
	struct slime_error err;
	struct perf_shape s;

	(void)state;
	assert_int_equal(perf_shape_check(&good, limit, &err), 0);
	s = good;
	s.size = 0;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = good;
	s.size = PERF_SIZE_MAX + 1;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = good;
	s.batch = 0;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = good;
	s.batch = UINT32_MAX;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = good;
	s.depth = 0;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = good;
	s.stride = UINT64_MAX;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = good;
	s.stride = s.size - 1;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = good;
	s.blocks = 3;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = good;
	s.blocks = UINT64_MAX;
	assert_int_equal(perf_shape_check(&s, limit, &err), -ENOMEM);
	s = good;
	s.op = PERF_SEND;
	assert_int_equal(perf_shape_check(&s, limit, &err), -EINVAL);
	s = shape(PERF_SIZE_MAX, PERF_BATCH_MAX, PERF_SIZE_MAX, PERF_DEPTH_MAX);
	assert_int_equal(perf_shape_check(&s, limit, &err), -ENOMEM);
}

static void a_shape_survives_its_message(void **state)
{
	struct perf_shape in = shape(4096, 4, 8192, 4);
	struct perf_shape out = {0};
	struct msg m;

	(void)state;
	in.verify = true;
	in.op = PERF_WRITE_IMM;
	in.mem = PERF_MALLOC;
	msg_begin(&m, 2);
	perf_shape_put(&m, &in);
	perf_shape_get(&m, &out);
	assert_true(msg_ok(&m));
	assert_int_equal(out.op, in.op);
	assert_int_equal(out.mem, in.mem);
	assert_int_equal(out.stride, 8192);
	assert_int_equal(out.blocks, in.blocks);
	assert_string_equal(out.transport, "shm");
	m.bytes[0] = PERF_N_OPS;
	m.pos = 0;
	perf_shape_get(&m, &out);
	assert_false(msg_ok(&m));
}

static void each_bit_that_is_wrong_is_found(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t batch;
		uint64_t stride;
	} shapes[] = {{1, 1, 0}, {7, 3, 0}, {8, 1, 0}, {13, 5, 17}, {64, 2, 100}};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct perf_shape s = shape(shapes[i].size, shapes[i].batch, shapes[i].stride, 1);
		char *base;

		s.blocks = 3;
		base = calloc(1, perf_region_len(&s));
		assert_non_null(base);
		perf_fill(&s, base, 1, 5);
		assert_true(perf_right(&s, base, 1, 5));
		for (uint32_t piece = 0; piece < s.batch; piece++) {
			for (uint64_t byte = 0; byte < s.size; byte++) {
				char *at = base + perf_step(&s) + piece * s.stride + byte;

				*at = (char)(*at ^ 0x10);
				assert_false(perf_right(&s, base, 1, 5));
				*at = (char)(*at ^ 0x10);
			}
		}
		perf_spoil(&s, base, 1);
		assert_false(perf_right(&s, base, 1, 5));
		free(base);
	}
}

static void words_differ_by_place_and_operation(void **state)
{
	struct perf_shape s = shape(4096, 1, 0, 1);
	char *a = calloc(1, perf_region_len(&s));
	char *b = calloc(1, perf_region_len(&s));

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	perf_fill(&s, a, 0, 1);
	perf_fill(&s, b, 0, 2);
	for (size_t i = 0; i < 4096; i += 8) {
		assert_memory_not_equal(a + i, b + i, 8);
		if (i)
			assert_memory_not_equal(a + i, a + i - 8, 8);
	}
	free(a);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(blocks_fill_the_footprint_and_serve_the_depth),
	    cmocka_unit_test(what_a_stranger_asks_is_checked_without_wrapping),
	    cmocka_unit_test(a_shape_survives_its_message),
	    cmocka_unit_test(each_bit_that_is_wrong_is_found),
	    cmocka_unit_test(words_differ_by_place_and_operation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
