/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base64.h"
#include "agent/ticket.h"

static struct sl_ticket sample(void)
{
	struct sl_ticket t = {.alias = "a \"b\"/\\ \xc3\xa4",
	                      .scope = "s",
	                      .life = "00112233445566778899aabbccddeeff",
	                      .secret = "ffeeddccbbaa99887766554433221100",
	                      .nplaces = 2,
	                      .place = {"127.0.0.1:1", "[fd00::2]:65535"}};

	return t;
}

static void a_ticket_comes_back_as_it_was(void **state)
{
	struct sl_ticket t = sample(), back;
	char *text = sl_ticket_text(&t), spaced[4096];

	(void)state;
	assert_non_null(text);
	assert_null(strchr(text, '\n'));
	assert_int_equal(sl_ticket_read(text, strlen(text), &back, NULL), 0);
	assert_memory_equal(&t, &back, sizeof(t));
	(void)snprintf(spaced, sizeof(spaced), " \t%s\r\n", text); /* as it is pasted */
	assert_int_equal(sl_ticket_read(spaced, strlen(spaced), &back, NULL), 0);
	assert_memory_equal(&t, &back, sizeof(t));
	free(text);
}

static void the_longest_names_fit(void **state)
{
	struct sl_ticket t = sample(), back;
	char *text;

	(void)state;
	memset(t.alias, '"', sizeof(t.alias) - 1); /* two characters of JSON each */
	memset(t.scope, '\\', sizeof(t.scope) - 1);
	for (t.nplaces = 0; t.nplaces < SL_TICKET_PLACES; t.nplaces++)
		(void)snprintf(t.place[t.nplaces], SL_TICKET_PLACE,
		               "[1111:2222:3333:4444:5555:6666:7777:%04u]:65535", t.nplaces);
	text = sl_ticket_text(&t);
	assert_true(text && strlen(text) <= SL_TICKET_MAX);
	assert_int_equal(sl_ticket_read(text, strlen(text), &back, NULL), 0);
	assert_memory_equal(&t, &back, sizeof(t));
	free(text);
}

static void a_cut_one_is_refused_with_a_sentence(void **state)
{
	struct sl_ticket t = sample(), back;
	char *text = sl_ticket_text(&t);
	struct slime_error err;

	(void)state;
	for (size_t len = 0; len < strlen(text); len++) {
		err.text[0] = '\0';
		assert_true(sl_ticket_read(text, len, &back, &err) < 0);
		assert_true(strlen(err.text) > 10);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_ticket_comes_back_as_it_was),
	    cmocka_unit_test(the_longest_names_fit),
	    cmocka_unit_test(a_cut_one_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
