/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
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
		               "%063u.%063u.%063u.%057u.eu:65535", t.nplaces, 1u, 2u, 3u);
	text = sl_ticket_text(&t);
	assert_true(text && strlen(text) <= SL_TICKET_MAX);
	assert_int_equal(sl_ticket_read(text, strlen(text), &back, NULL), 0);
	assert_memory_equal(&t, &back, sizeof(t));
	free(text);
}

/* What is said of a ticket whose only place is PLACE; "": it is taken. */
static const char *said_of(const char *place)
{
	static struct slime_error err;
	struct sl_ticket t = sample(), back;
	char *text;
	int rc;

	t.nplaces = 1;
	(void)snprintf(t.place[0], sizeof(t.place[0]), "%s", place);
	text = sl_ticket_text(&t);
	err.text[0] = '\0';
	rc = sl_ticket_read(text, strlen(text), &back, &err);
	free(text);
	assert_int_equal(rc, err.text[0] ? -EPROTO : 0);
	return err.text;
}

static void addresses_and_names_are_places(void **state)
{
	static const char *const places[] = {
	    "127.0.0.1:1",         "[::1]:65535",          "[fe80::1%eth0.7]:4000",
	    "[::ffff:10.0.0.1]:1", "node7:4000",           "localhost:1",
	    "a.b-c.example.:80",   "under_score.local:80", "7node.rack3:1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		assert_string_equal(said_of(places[i]), "");
}

static void what_is_no_place_is_refused_with_its_reason(void **state)
{
	static const char *const wrong[][2] = {
	    {"::1:4000", "stands in brackets"},
	    {"fe80::1%eth0:4000", "stands in brackets"},
	    {"[::1:4000", "not closed"},
	    {"[127.0.0.1]:4000", "no address of IPv6"},
	    {"[::1%]:4000", "no address of IPv6"},
	    {"[::1%e/x]:4000", "no address of IPv6"},
	    {"node7", "not of the form host:port"},
	    {"node7:", "not of the form host:port"},
	    {":4000", "not of the form host:port"},
	    {"node7:65536", "not of the form host:port"},
	    {"node7:-1", "not of the form host:port"},
	    {"node7:0", "has the port 0"},
	    {"300.1.1.1:4000", "neither an address nor a name"},
	    {"node 7:4000", "neither an address nor a name"},
	    {"user@node7:4000", "neither an address nor a name"},
	    {"node7/x:4000", "neither an address nor a name"},
	    {"a..b:4000", "neither an address nor a name"},
	    {"-a:4000", "neither an address nor a name"},
	};
	char host[SL_TICKET_PLACE];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_non_null(strstr(said_of(wrong[i][0]), wrong[i][1]));
	memset(host, 'a', 254);
	(void)strcpy(host + 254, ":4000");
	assert_non_null(strstr(said_of(host), "more than 253"));
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
	    cmocka_unit_test(addresses_and_names_are_places),
	    cmocka_unit_test(what_is_no_place_is_refused_with_its_reason),
	    cmocka_unit_test(a_cut_one_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
