/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "target.h"

static struct target target;
static struct slime_error err;

static int parse(const char *text)
{
	static char copy[512];

	(void)snprintf(copy, sizeof(copy), "%s", text);
	return target_parse(copy, &target, &err);
}

static void a_path_is_cut_at_its_slashes(void **state)
{
	(void)state;
	assert_int_equal(parse("/v1/agents/a"), 0);
	assert_int_equal(target.n_parts, 3);
	assert_string_equal(target.part[0], "v1");
	assert_string_equal(target.part[2], "a");
	assert_int_equal(parse("/"), 0);
	assert_int_equal(target.n_parts, 1);
	assert_string_equal(target.part[0], "");
	assert_int_equal(parse("/a/"), 0);
	assert_int_equal(target.n_parts, 2);
	assert_string_equal(target.part[1], "");
}

static void an_encoded_slash_stays_in_its_part(void **state)
{
	(void)state;
	assert_int_equal(parse("/a%2Fb/c+d%2b"), 0);
	assert_int_equal(target.n_parts, 2);
	assert_string_equal(target.part[0], "a/b");
	assert_string_equal(target.part[1], "c+d+");
}

static void a_host_before_the_path_is_skipped(void **state)
{
	(void)state;
	assert_int_equal(parse("http://h:1/a?b=c"), 0);
	assert_int_equal(target.n_parts, 1);
	assert_string_equal(target.part[0], "a");
	assert_string_equal(target_query(&target, "b"), "c");
	assert_int_equal(parse("http://h"), 0);
	assert_string_equal(target.part[0], "");
	assert_int_equal(parse("http://h?b=/"), 0);
	assert_string_equal(target_query(&target, "b"), "/");
}

static void a_query_is_decoded_and_the_first_of_a_name_counts(void **state)
{
	(void)state;
	assert_int_equal(parse("/?a=1+2%20%e2%82%ac&b&=c&&a=3"), 0);
	assert_string_equal(target_query(&target, "a"), "1 2 \xe2\x82\xac");
	assert_string_equal(target_query(&target, "b"), "");
	assert_null(target_query(&target, "c"));
}

static void what_cannot_be_decoded_is_refused(void **state)
{
	static const char *const wrong[] = {
	    "/%",      "/%4",        "/%zz",          "/%00",    "/a?b=%0", "/%80",
	    "/%c0%80", "/%ed%a0%80", "/%f4%90%80%80", "/%e2%82", "/\xff",   "/a?\xc3=1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(parse(wrong[i]), -EINVAL);
		assert_true(strlen(err.text) > 10);
	}
}

static void too_many_parts_are_no_path_and_too_many_queries_refused(void **state)
{
	char text[400] = "/?";

	(void)state;
	assert_int_equal(parse("/a/b/c/d/e/f/g/h"), 0);
	assert_int_equal(parse("/a/b/c/d/e/f/g/h/i"), -ENOENT);
	for (int i = 0; i < TARGET_MAX_QUERIES; i++)
		(void)strcat(text, "a=1&");
	assert_int_equal(parse(text), 0);
	(void)strcat(text, "b=2");
	assert_int_equal(parse(text), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_path_is_cut_at_its_slashes),
	    cmocka_unit_test(an_encoded_slash_stays_in_its_part),
	    cmocka_unit_test(a_host_before_the_path_is_skipped),
	    cmocka_unit_test(a_query_is_decoded_and_the_first_of_a_name_counts),
	    cmocka_unit_test(what_cannot_be_decoded_is_refused),
	    cmocka_unit_test(too_many_parts_are_no_path_and_too_many_queries_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
