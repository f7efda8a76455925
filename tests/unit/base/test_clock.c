/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void the_clock_never_goes_back(void **state)
{
	int64_t last = sl_clock_ns();

	(void)state;
	for (int i = 0; i < 100000; i++) {
		int64_t now = sl_clock_ns();

		assert_true(now >= last);
		last = now;
	}
}

static void deadlines_do_not_overflow(void **state)
{
	int64_t now = sl_clock_ns();

	(void)state;
	assert_true(sl_clock_after(SL_NEVER) == SL_NEVER);
	assert_true(sl_clock_after(SL_NEVER - 1) == SL_NEVER);
	assert_true(sl_clock_after(SL_NS_PER_S) >= now + SL_NS_PER_S);
	assert_true(sl_clock_after(SL_NS_PER_S) < now + 60 * SL_NS_PER_S);
}

static void negative_timeouts_have_passed(void **state)
{
	(void)state;
	assert_true(sl_clock_after(-1) <= sl_clock_ns());
	assert_true(sl_clock_after(INT64_MIN) <= sl_clock_ns());
	assert_true(sl_clock_after(INT64_MIN) > 0);
	assert_true(sl_clock_after(0) <= sl_clock_ns());
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_clock_never_goes_back),
	    cmocka_unit_test(deadlines_do_not_overflow),
	    cmocka_unit_test(negative_timeouts_have_passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
