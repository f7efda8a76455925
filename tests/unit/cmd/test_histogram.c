/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../../../cmd/dlslime/histogram.c"

static struct histogram h;

static void an_empty_one_says_zero(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	assert_int_equal(histogram_at(&h, 0.5), 0);
	assert_int_equal(histogram_at(&h, 1), 0);
}

static void small_values_are_exact(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	for (uint64_t v = 1; v <= 100; v++)
		histogram_add(&h, v);
	assert_int_equal(histogram_at(&h, 0.5), 50);
	assert_int_equal(histogram_at(&h, 0.9), 90);
	assert_int_equal(histogram_at(&h, 0.99), 99);
	assert_int_equal(histogram_at(&h, 1), 100);
	assert_int_equal(histogram_at(&h, 0), 1);
}

static void every_value_is_kept_within_half_a_percent(void **state)
{
	(void)state;
	for (uint64_t v = 1; v < (uint64_t)1 << 41; v += v / 97 + 1) {
		uint64_t got;
		double off;

		memset(&h, 0, sizeof(h));
		histogram_add(&h, v);
		histogram_add(&h, UINT64_MAX >> 1); /* so that the maximum does not hide it */
		got = histogram_at(&h, 0.5);
		off = ((double)got - (double)v) / (double)v;
		assert_true(off < 0.005 && off > -0.005);
	}
}

static void buckets_grow_with_the_values(void **state)
{
	unsigned last = 0;

	(void)state;
	for (uint64_t v = 0; v < (uint64_t)1 << 42; v += v / 300 + 1) {
		unsigned bucket = bucket_of(v);

		assert_true(bucket >= last);
		assert_true(bucket < HISTOGRAM_BUCKETS);
		last = bucket;
	}
	assert_int_equal(bucket_of(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void merging_adds_up(void **state)
{
	static struct histogram other;

	(void)state;
	memset(&h, 0, sizeof(h));
	for (uint64_t v = 1; v <= 50; v++)
		histogram_add(&h, v);
	for (uint64_t v = 51; v <= 100; v++)
		histogram_add(&other, v);
	histogram_merge(&h, &other);
	assert_int_equal(h.n, 100);
	assert_int_equal(h.max, 100);
	assert_int_equal(histogram_at(&h, 0.75), 75);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_one_says_zero),
	    cmocka_unit_test(small_values_are_exact),
	    cmocka_unit_test(every_value_is_kept_within_half_a_percent),
	    cmocka_unit_test(buckets_grow_with_the_values),
	    cmocka_unit_test(merging_adds_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
