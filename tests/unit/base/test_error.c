/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void fail_returns_the_code_and_writes_the_sentence(void **state)
{
	struct slime_error err = {0};

	(void)state;
	assert_int_equal(sl_fail(&err, -EINVAL, "%d is no '%s'", 7, "x"), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err.text, "7 is no 'x'");
}

static void fail_needs_no_place_for_the_sentence(void **state)
{
	(void)state;
	assert_int_equal(sl_fail(NULL, -ENOMEM, "%s", "unread"), -ENOMEM);
}

static void fail_cuts_what_does_not_fit(void **state)
{
	struct slime_error err;
	char text[2 * sizeof(err.text)];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memset(&err, 0xff, sizeof(err));
	(void)sl_fail(&err, -EPROTO, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void error_names_fit_into_a_sentence(void **state)
{
	char buf[64], tiny[4];

	(void)state;
	assert_string_equal(sl_error_name(-ECONNREFUSED, buf, sizeof(buf)), "connection refused");
	assert_string_equal(sl_error_name(-EDOTDOT, buf, sizeof(buf)), "RFS specific error");
	assert_ptr_equal(sl_error_name(-ENOENT, tiny, sizeof(tiny)), tiny);
	assert_string_equal(tiny, "no ");
	assert_true(strlen(sl_error_name(-99999, buf, sizeof(buf))) > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fail_returns_the_code_and_writes_the_sentence),
	    cmocka_unit_test(fail_needs_no_place_for_the_sentence),
	    cmocka_unit_test(fail_cuts_what_does_not_fit),
	    cmocka_unit_test(error_names_fit_into_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
