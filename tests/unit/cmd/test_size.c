/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../../cmd/dlslime/say.c"
#include "../../../cmd/dlslime/size.c"

static uint64_t good(const char *text)
{
	struct slime_error err;
	uint64_t v = 42;

	assert_int_equal(size_parse("--size", text, 0, UINT64_MAX, &v, &err), 0);
	return v;
}

static void sizes_with_and_without_units(void **state)
{
	(void)state;
	assert_int_equal(good("0"), 0);
	assert_int_equal(good("4096"), 4096);
	assert_int_equal(good("64K"), 65536);
	assert_int_equal(good("64k"), 65536);
	assert_int_equal(good("64KiB"), 65536);
	assert_int_equal(good("1M"), 1 << 20);
	assert_int_equal(good("3G"), (uint64_t)3 << 30);
	assert_int_equal(good("1T"), (uint64_t)1 << 40);
	assert_true(good("18446744073709551615") == UINT64_MAX);
}

static void what_is_no_size_is_einval_and_writes_nothing(void **state)
{
	static const char *const texts[] = {"",
	                                    " ",
	                                    "-1",
	                                    "+1",
	                                    " 1",
	                                    "1 ",
	                                    "64X",
	                                    "K",
	                                    "1.5M",
	                                    "0x10",
	                                    "1KB",
	                                    "1KiBs",
	                                    "1K1",
	                                    "1MM",
	                                    "1e6",
	                                    "1\n",
	                                    "99999999999999999999999"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct slime_error err = {0};
		uint64_t v = 42;

		assert_int_equal(size_parse("--size", texts[i], 0, UINT64_MAX, &v, &err), -EINVAL);
		assert_int_equal(v, 42);
		assert_non_null(strstr(err.text, "--size"));
	}
}

static void what_is_out_of_range_or_wraps_is_erange(void **state)
{
	struct slime_error err = {0};
	uint64_t v = 42;

	(void)state;
	assert_int_equal(size_parse("--size", "0", 1, 1024, &v, &err), -ERANGE);
	assert_int_equal(size_parse("--size", "1025", 1, 1024, &v, &err), -ERANGE);
	/* 2^24 * 2^40: would wrap to 0 */
	assert_int_equal(size_parse("--size", "16777216T", 0, UINT64_MAX, &v, &err), -ERANGE);
	assert_int_equal(v, 42);
	assert_string_equal(err.text,
	                    "--size: '16777216T' is not within 0 to 18446744073709551615");
}

static void numbers_take_no_units(void **state)
{
	struct slime_error err;
	uint64_t v = 42;

	(void)state;
	assert_int_equal(number_parse("--depth", "7", 1, 10, &v, &err), 0);
	assert_int_equal(v, 7);
	assert_int_equal(number_parse("--depth", "1K", 1, 4096, &v, &err), -EINVAL);
	assert_int_equal(number_parse("--depth", "-1", 0, 10, &v, &err), -EINVAL);
	assert_int_equal(number_parse("--depth", "11", 1, 10, &v, &err), -ERANGE);
}

static void seconds_are_finite_and_in_range(void **state)
{
	static const char *const bad[] = {"", "x", "1s", "nan", "inf", "0x1", " 1", "-"};
	struct slime_error err;
	double v = 42;

	(void)state;
	assert_int_equal(seconds_parse("--seconds", "0.5", 0, &v, &err), 0);
	assert_true(v > 0.49 && v < 0.51);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(seconds_parse("--seconds", bad[i], 0, &v, &err), -EINVAL);
	assert_int_equal(seconds_parse("--seconds", "-1", 0, &v, &err), -ERANGE);
	assert_int_equal(seconds_parse("--seconds", "1e9", 0, &v, &err), -ERANGE);
}

static void sizes_are_printed_as_they_are_read(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(size_exact(0, buf, sizeof(buf)), "0");
	assert_string_equal(size_exact(1023, buf, sizeof(buf)), "1023");
	assert_string_equal(size_exact(65536, buf, sizeof(buf)), "64K");
	assert_string_equal(size_exact((uint64_t)5 << 40, buf, sizeof(buf)), "5T");
	assert_string_equal(size_human(1023, buf, sizeof(buf)), "1023 B");
	assert_string_equal(size_human(1536, buf, sizeof(buf)), "1.5 KiB");
	assert_string_equal(size_human((uint64_t)200 << 30, buf, sizeof(buf)), "200 GiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes_with_and_without_units),
	    cmocka_unit_test(what_is_no_size_is_einval_and_writes_nothing),
	    cmocka_unit_test(what_is_out_of_range_or_wraps_is_erange),
	    cmocka_unit_test(numbers_take_no_units),
	    cmocka_unit_test(seconds_are_finite_and_in_range),
	    cmocka_unit_test(sizes_are_printed_as_they_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
