/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/wire.h"

static void integers_are_little_endian(void **state)
{
	static const uint8_t want[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04};
	uint8_t buf[7];
	struct sl_wire w = sl_wire_on(buf, sizeof(buf));

	(void)state;
	sl_wire_put_uint(&w, 0x01, 1);
	sl_wire_put_uint(&w, 0x0203, 2);
	sl_wire_put_uint(&w, 0x04050607, 4);
	assert_false(w.bad);
	assert_int_equal(sl_wire_left(&w), 0);
	assert_memory_equal(buf, want, sizeof(want));
	w = sl_wire_on(buf, sizeof(buf));
	assert_int_equal(sl_wire_get_uint(&w, 1), 0x01);
	assert_int_equal(sl_wire_get_uint(&w, 2), 0x0203);
	assert_int_equal(sl_wire_get_uint(&w, 4), 0x04050607);
	assert_false(w.bad);
}

static void eight_bytes_keep_every_bit(void **state)
{
	static const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_C(0x8000000000000001)};
	uint8_t buf[8];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct sl_wire w = sl_wire_on(buf, sizeof(buf));

		sl_wire_put_uint(&w, values[i], 8);
		w = sl_wire_on(buf, sizeof(buf));
		assert_true(sl_wire_get_uint(&w, 8) == values[i]);
	}
}

static void a_step_over_the_end_is_remembered_and_writes_nothing(void **state)
{
	uint8_t buf[4] = {9, 9, 9, 9};
	struct sl_wire w = sl_wire_on(buf, 3);

	(void)state;
	sl_wire_put_uint(&w, UINT64_MAX, 4);
	assert_true(w.bad);
	assert_int_equal(buf[0], 9);
	sl_wire_put(&w, "x", 1); /* would fit, but all is lost by now */
	assert_int_equal(buf[0], 9);
	assert_true(w.bad);
}

static void reading_over_the_end_gives_zeroes(void **state)
{
	uint8_t buf[3] = {1, 2, 3}, out[8] = {7, 7, 7, 7, 7, 7, 7, 7};
	struct sl_wire w = sl_wire_on(buf, sizeof(buf));

	(void)state;
	assert_true(sl_wire_get_uint(&w, 8) == 0);
	assert_true(w.bad);
	sl_wire_get(&w, out, sizeof(out));
	assert_true(sl_wire_is_zero(out, sizeof(out)));
	assert_null(sl_wire_skip(&w, 1));
}

static void skipping_more_than_there_is_does_not_wrap(void **state)
{
	uint8_t buf[3] = {0};
	struct sl_wire w = sl_wire_on(buf, sizeof(buf));

	(void)state;
	assert_null(sl_wire_skip(&w, SIZE_MAX));
	assert_true(w.bad);
	w = sl_wire_on(buf, sizeof(buf));
	assert_ptr_equal(sl_wire_skip(&w, 3), buf);
	assert_ptr_equal(sl_wire_skip(&w, 0), buf + 3);
	assert_false(w.bad);
}

static void zero_is_recognised(void **state)
{
	uint8_t buf[3] = {0, 0, 1};

	(void)state;
	assert_true(sl_wire_is_zero(buf, 0));
	assert_true(sl_wire_is_zero(buf, 2));
	assert_false(sl_wire_is_zero(buf, 3));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers_are_little_endian),
	    cmocka_unit_test(eight_bytes_keep_every_bit),
	    cmocka_unit_test(a_step_over_the_end_is_remembered_and_writes_nothing),
	    cmocka_unit_test(reading_over_the_end_gives_zeroes),
	    cmocka_unit_test(skipping_more_than_there_is_does_not_wrap),
	    cmocka_unit_test(zero_is_recognised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
