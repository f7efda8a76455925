/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "histogram.h"

static void bounds_grow(void **state)
{
	(void)state;
	for (size_t i = 1; i < HISTOGRAM_BUCKETS; i++)
		assert_true(histogram_bound_ns(i) > histogram_bound_ns(i - 1));
}

static void a_time_on_a_bound_is_within_it(void **state)
{
	struct histogram h = {.n = 0};

	(void)state;
	histogram_add(&h, 0);
	histogram_add(&h, histogram_bound_ns(0));
	histogram_add(&h, histogram_bound_ns(0) + 1);
	histogram_add(&h, histogram_bound_ns(HISTOGRAM_BUCKETS - 1) + 1);
	assert_int_equal(h.bucket[0], 2);
	assert_int_equal(h.bucket[1], 1);
	assert_int_equal(h.bucket[HISTOGRAM_BUCKETS], 1);
	assert_int_equal(h.n, 4);
	assert_int_equal(h.sum_ns,
	                 2 * histogram_bound_ns(0) + 2 + histogram_bound_ns(HISTOGRAM_BUCKETS - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bounds_grow),
	    cmocka_unit_test(a_time_on_a_bound_is_within_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
