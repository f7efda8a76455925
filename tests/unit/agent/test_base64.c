/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base64.h"

static void the_examples_of_the_rfc(void **state)
{
	static const char *const pairs[][2] = {{"f", "Zg=="},         {"fo", "Zm8="},
	                                       {"foo", "Zm9v"},       {"foob", "Zm9vYg=="},
	                                       {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
	char back[8];

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char *text = sl_base64_text(pairs[i][0], strlen(pairs[i][0]));

		assert_string_equal(text, pairs[i][1]);
		assert_int_equal(sl_base64_read(text, strlen(text), back, sizeof(back)),
		                 strlen(pairs[i][0]));
		assert_memory_equal(back, pairs[i][0], strlen(pairs[i][0]));
		free(text);
	}
}

static void every_byte_comes_back(void **state)
{
	uint8_t all[256], back[256];
	char *text;

	(void)state;
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)(255 - i);
	text = sl_base64_text(all, sizeof(all));
	assert_int_equal(sl_base64_read(text, strlen(text), back, sizeof(back)), sizeof(all));
	assert_memory_equal(all, back, sizeof(all));
	free(text);
}

static void what_is_not_base64_is_refused(void **state)
{
	static const char *const bad[] = {
	    "", "Z", "Zg", "Zg=", "Z===", "====", "Zm9v!m9v", "Zg==Zg==", "Zm 9"};
	char back[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(sl_base64_read(bad[i], strlen(bad[i]), back, sizeof(back)) < 0);
	assert_true(sl_base64_read("Zm\0v", 4, back, sizeof(back)) < 0);
	assert_true(sl_base64_read("Zm9vZm9v", 8, back, 5) < 0); /* no room */
	assert_int_equal(sl_base64_read("Zm9vZm9v", 8, back, 6), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_examples_of_the_rfc),
	    cmocka_unit_test(every_byte_comes_back),
	    cmocka_unit_test(what_is_not_base64_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
