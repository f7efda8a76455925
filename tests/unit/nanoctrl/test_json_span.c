/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "json_span.h"

static void check(const char *object, const char *name, const char *want)
{
	struct json_span span = json_span_member(object, name);

	if (!want) {
		assert_null(span.at);
		return;
	}
	assert_non_null(span.at);
	assert_int_equal(span.len, strlen(want));
	assert_memory_equal(span.at, want, span.len);
}

static void a_member_is_found_behind_others_of_any_kind(void **state)
{
	static const char text[] = "{\"a\":\"x,}\\\"]\\\\\",\"b\":[1,{\"z\":\"]\"},[]],\"n\":null,"
				   "\"t\":true,\"f\":-1.5e3,\"o\":{\"z\":{\"y\":\"}\"}},\"z\":0}";

	(void)state;
	check(text, "a", "\"x,}\\\"]\\\\\"");
	check(text, "b", "[1,{\"z\":\"]\"},[]]");
	check(text, "n", "null");
	check(text, "t", "true");
	check(text, "f", "-1.5e3");
	check(text, "o", "{\"z\":{\"y\":\"}\"}}");
	check(text, "z", "0");
	check(text, "y", NULL);
	check(text, "", NULL);
}

static void space_between_is_no_part_of_it(void **state)
{
	(void)state;
	check(" { \"a\" : { \"b\" : 1 } ,\n\t\"c\" : 2 } ", "a", "{ \"b\" : 1 }");
	check(" { \"a\" : { \"b\" : 1 } ,\n\t\"c\" : 2 } ", "c", "2");
	check("{}", "a", NULL);
}

static void what_is_no_object_has_no_member(void **state)
{
	static const char *const texts[] = {
	    "",        "[]",       "\"a\"",       "{",         "{\"a",  "{\"a\"",
	    "{\"a\":", "{\"a\":}", "{\"b\":\"\\", "{\"b\":[[", "{a:1}", "null"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check(texts[i], "a", NULL);
}

static void quoted_text_is_json(void **state)
{
	char text[64];

	(void)state;
	*json_quote(text, "a\"b\\c\x01\n\xc3\xa4/") = '\0';
	assert_string_equal(text, "\"a\\\"b\\\\c\\u0001\\u000a\xc3\xa4/\"");
	*json_quote(text, "") = '\0';
	assert_string_equal(text, "\"\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_member_is_found_behind_others_of_any_kind),
	    cmocka_unit_test(space_between_is_no_part_of_it),
	    cmocka_unit_test(what_is_no_object_has_no_member),
	    cmocka_unit_test(quoted_text_is_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
