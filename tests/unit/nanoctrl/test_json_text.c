/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json_text.h"

static json_t *parse(const char *text)
{
	return json_text_parse(text, strlen(text), JSON_DECODE_ANY, NULL);
}

/* TEXT comes back as WANT. */
static void check(const char *text, const char *want)
{
	json_t *json = parse(text);
	char *back = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	assert_non_null(back);
	assert_string_equal(back, want);
	free(back);
	json_decref(json);
}

static void integers_of_64_bits_stay_what_they_are(void **state)
{
	(void)state;
	check("[9223372036854775807,-9223372036854775808,1000000000000000000,0]",
	      "[9223372036854775807,-9223372036854775808,1000000000000000000,0]");
}

static void integers_beyond_64_bits_become_the_nearest_double(void **state)
{
	(void)state;
	check("9223372036854775808", "9.2233720368547758e18");
	check("-9223372036854775809", "-9.2233720368547758e18");
	check("{\"a\":[18446744073709551615,1],\"b\":-20000000000000000000000}",
	      "{\"a\":[1.8446744073709552e19,1],\"b\":-2e22}");
	check(" 100000000000000000000 ", "1e20");
}

static void digits_in_strings_and_reals_are_left_alone(void **state)
{
	(void)state;
	check("[\"99999999999999999999\",99999999999999999999]", "[\"99999999999999999999\",1e20]");
	check("[\"\\\"99999999999999999999\\\\\",99999999999999999999]",
	      "[\"\\\"99999999999999999999\\\\\",1e20]");
	check("[1.99999999999999999999999,99999999999999999999]", "[2.0,1e20]");
	check("[1E-00000000000000000000001,99999999999999999999]", "[0.10000000000000001,1e20]");
}

static void a_thousand_long_integers_fit(void **state)
{
	static const char number[] = "9999999999999999999,";
	size_t len = sizeof(number) - 1;
	char *text = malloc(1000 * len + 2);
	json_t *json;

	(void)state;
	assert_non_null(text);
	text[0] = '[';
	for (size_t i = 0; i < 1000; i++)
		memcpy(text + 1 + i * len, number, len);
	text[1000 * len] = ']';
	json = json_text_parse(text, 1000 * len + 1, 0, NULL);
	assert_int_equal(json_array_size(json), 1000);
	assert_true(json_is_real(json_array_get(json, 999)));
	json_decref(json);
	free(text);
}

static void what_no_double_holds_is_an_error(void **state)
{
	char text[402];
	json_error_t error;

	(void)state;
	memset(text, '9', 400);
	text[400] = '\0';
	assert_null(json_text_parse(text, 400, JSON_DECODE_ANY, &error));
	assert_int_equal(json_error_code(&error), json_error_numeric_overflow);
	assert_null(parse("1e999"));
	assert_null(parse("[99999999999999999999,1e999]"));
}

static void other_errors_stay_errors(void **state)
{
	static const char *const texts[] = {"",
	                                    "[99999999999999999999",
	                                    "[99999999999999999999,\"",
	                                    "[99999999999999999999,\"\\",
	                                    "[99999999999999999999 1]",
	                                    "99999999999999999999x",
	                                    "[+99999999999999999999]",
	                                    "[99999999999999999999-]",
	                                    "[099999999999999999999]",
	                                    "[99999999999999999999,\"\xff\"]"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_null(parse(texts[i]));
}

static void a_nul_in_a_string_is_kept(void **state)
{
	(void)state;
	check("{\"a\":\"x\\u0000y\",\"b\":99999999999999999999}",
	      "{\"a\":\"x\\u0000y\",\"b\":1e20}");
}

static void a_nul_in_the_name_of_a_member_is_an_error_of_its_own(void **state)
{
	static const char text[] = "{\"x\\u0000y\":1}";
	json_error_t error;

	(void)state;
	assert_null(json_text_parse(text, sizeof(text) - 1, 0, &error));
	assert_int_equal(json_error_code(&error), json_error_null_byte_in_key);
}

static void levels_are_counted_in_lists_and_objects(void **state)
{
	json_t *json = parse("{\"a\":1,\"b\":[[],{\"c\":[2]}]}"), *flat = parse("3");

	(void)state;
	assert_false(json_text_is_deeper(json, 4));
	assert_true(json_text_is_deeper(json, 3));
	assert_true(json_text_is_deeper(json, 0));
	assert_false(json_text_is_deeper(flat, 0));
	json_decref(json);
	json_decref(flat);
}

static void only_whole_text_is_text(void **state)
{
	json_t *json = parse("[\"x\\u0000y\",\"x\",\"\",1]");

	(void)state;
	assert_null(json_text_whole(json_array_get(json, 0)));
	assert_string_equal(json_text_whole(json_array_get(json, 1)), "x");
	assert_string_equal(json_text_whole(json_array_get(json, 2)), "");
	assert_null(json_text_whole(json_array_get(json, 3)));
	assert_null(json_text_whole(NULL));
	json_decref(json);
}

static void an_integer_may_be_written_as_a_real(void **state)
{
	static const struct {
		const char *text;
		bool is;
		int64_t value;
	} cases[] = {
	    {"7", true, 7},        {"7.0", true, 7},
	    {"-1e3", true, -1000}, {"-9223372036854775808.0", true, INT64_MIN},
	    {"7.5", false, 0},     {"9223372036854775808", false, 0},
	    {"-1e300", false, 0},  {"\"7\"", false, 0},
	    {"null", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = parse(cases[i].text);
		int64_t value = 0;

		assert_int_equal(json_text_integer(json, &value), cases[i].is);
		assert_int_equal(value, cases[i].value);
		json_decref(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers_of_64_bits_stay_what_they_are),
	    cmocka_unit_test(integers_beyond_64_bits_become_the_nearest_double),
	    cmocka_unit_test(digits_in_strings_and_reals_are_left_alone),
	    cmocka_unit_test(a_thousand_long_integers_fit),
	    cmocka_unit_test(what_no_double_holds_is_an_error),
	    cmocka_unit_test(other_errors_stay_errors),
	    cmocka_unit_test(a_nul_in_a_string_is_kept),
	    cmocka_unit_test(a_nul_in_the_name_of_a_member_is_an_error_of_its_own),
	    cmocka_unit_test(levels_are_counted_in_lists_and_objects),
	    cmocka_unit_test(only_whole_text_is_text),
	    cmocka_unit_test(an_integer_may_be_written_as_a_real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
