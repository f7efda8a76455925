/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../../cmd/dlslime/say.c"

static void is_json(const char *text, const char *want)
{
	char *out = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&out, &len);

	assert_non_null(f);
	print_json_string(f, text);
	(void)fclose(f);
	assert_string_equal(out, want);
	free(out);
}

static void json_strings_escape_what_must_be(void **state)
{
	(void)state;
	is_json("", "\"\"");
	is_json("a\"b\\c", "\"a\\\"b\\\\c\"");
	is_json("\n\t\x7f", "\"\\u000a\\u0009\\u007f\"");
	is_json("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

static void json_strings_are_utf8_whatever_comes(void **state)
{
	(void)state;
	is_json("\xff", "\"\\ufffd\"");
	is_json("\xc0\x80", "\"\\ufffd\\ufffd\"");                       /* overlong */
	is_json("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");            /* a surrogate */
	is_json("\xe2\x82", "\"\\ufffd\\ufffd\"");                       /* cut off */
	is_json("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* past the last */
	is_json("\xc3", "\"\\ufffd\"");
}

static void names_of_errors_begin_small_unless_they_are_names(void **state)
{
	char buf[64];

	(void)state;
	assert_string_equal(errno_name(-ECONNREFUSED, buf, sizeof(buf)), "connection refused");
	assert_string_equal(errno_name(-EDOTDOT, buf, sizeof(buf)), "RFS specific error");
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
	char text[] = "a\033[2Jb\nc";

	(void)state;
	plain_text(text);
	assert_string_equal(text, "a?[2Jb?c");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(json_strings_escape_what_must_be),
	    cmocka_unit_test(json_strings_are_utf8_whatever_comes),
	    cmocka_unit_test(names_of_errors_begin_small_unless_they_are_names),
	    cmocka_unit_test(control_characters_do_not_reach_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
