/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"

static void random_bytes_differ_and_fill_all(void **state)
{
	uint8_t a[1000], b[1000];
	size_t zeros = 0;

	(void)state;
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	assert_int_equal(sl_random(a, sizeof(a)), 0);
	assert_int_equal(sl_random(b, sizeof(b)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	for (size_t i = 0; i < sizeof(a); i++)
		zeros += a[i] == 0;
	assert_true(zeros < 100); /* about 4 are expected */
	assert_int_equal(sl_random(a, 0), 0);
}

static void random_stays_inside_its_buffer(void **state)
{
	uint8_t a[33];

	(void)state;
	memset(a, 0, sizeof(a));
	assert_int_equal(sl_random(a, 32), 0);
	assert_int_equal(a[32], 0);
}

static void secrets_are_the_same_only_if_every_byte_is(void **state)
{
	uint8_t a[SL_SECRET_LEN], b[SL_SECRET_LEN];

	(void)state;
	assert_int_equal(sl_random(a, sizeof(a)), 0);
	memcpy(b, a, sizeof(a));
	assert_true(sl_same_secret(a, b, sizeof(a)));
	for (size_t bit = 0; bit < 8 * sizeof(a); bit++) {
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(sl_same_secret(a, b, sizeof(a)));
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	b[15] ^= 1;
	assert_true(sl_same_secret(a, b, 15));
	assert_true(sl_same_secret(a, b, 0));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_bytes_differ_and_fill_all),
	    cmocka_unit_test(random_stays_inside_its_buffer),
	    cmocka_unit_test(secrets_are_the_same_only_if_every_byte_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
