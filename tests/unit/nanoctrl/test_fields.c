/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fakes/nanoctrl/caller.h"
#include "fields.h"

static int setup(void **state)
{
	(void)state;
	caller_open("");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	caller_close();
	return 0;
}

static void names_are_1_to_512_bytes_without_control_characters(void **state)
{
	char name[600];

	(void)state;
	memset(name, 'n', sizeof(name));
	assert_null(name_fault("cache:0", 7));
	assert_null(name_fault("\xc3\xa4/\xe2\x82\xac", 6));
	assert_null(name_fault(name, NAME_MAX_BYTES));
	assert_non_null(name_fault("", 0));
	assert_non_null(name_fault(name, NAME_MAX_BYTES + 1));
	assert_non_null(name_fault("a\nb", 3));
	assert_non_null(name_fault("a\x7f", 2));
	assert_non_null(name_fault("\xc2\x9b", 2)); /* U+009B begins a terminal's command */
}

static void numbers_are_digits_within_their_limits(void **state)
{
	int64_t out = 0;

	(void)state;
	assert_true(number_of("9223372036854775807", 0, INT64_MAX, &out));
	assert_true(out == INT64_MAX);
	assert_false(number_of("9223372036854775808", 0, INT64_MAX, &out));
	assert_false(number_of("", 0, 9, &out));
	assert_false(number_of(" 1", 0, 9, &out));
	assert_false(number_of("+1", 0, 9, &out));
	assert_false(number_of("1x", 0, 9, &out));
	assert_false(number_of("-1", 0, 9, &out));
	assert_false(number_of("0x1", 0, 9, &out));
	assert_true(out == INT64_MAX);
}

static void what_a_legacy_route_lacks_is_422_in_plain_text(void **state)
{
	(void)state;
	assert_true(reply_is(caller_ask("POST", "/register", "{'kind':'k'}"), 422, NULL));
	assert_string_equal(caller_ask("POST", "/register", "{'kind':'k'}")->text,
	                    "'entity_id' is missing");
	assert_string_equal(caller_ask("POST", "/register", "{'entity_id':'e'}")->text,
	                    "'kind' is missing");
	assert_string_equal(caller_ask("POST", "/register", "{'entity_id':7,'kind':'k'}")->text,
	                    "'entity_id' must be a string");
	assert_string_equal(
	    caller_ask("POST", "/heartbeat", "{'entity_id':'e','entity_type':null}")->text,
	    "'entity_type' is missing");
	assert_string_equal(
	    caller_ask("POST", "/register", "{'entity_id':'e','kind':'k','scope':[]}")->text,
	    "'scope' must be a string");
}

static void what_a_v1_route_lacks_is_422_with_a_code(void **state)
{
	const struct reply *reply = caller_ask("POST", "/v1/agents", "{'ttl_ms':999}");

	(void)state;
	assert_int_equal(reply->status, 422);
	assert_string_equal(json_string_value(json_object_get(reply->json, "code")), "EINVAL");
	assert_string_equal(json_string_value(json_object_get(reply->json, "message")),
	                    "'ttl_ms' must be an integer from 1000 to 600000");
}

static void a_bad_query_is_400(void **state)
{
	(void)state;
	assert_true(reply_is(caller_ask("GET", "/v1/agents?limit=0", NULL), 400, NULL));
	assert_true(reply_is(caller_ask("GET", "/v1/agents?limit=ten", NULL), 400, NULL));
	assert_true(reply_is(caller_ask("GET", "/v1/watch?class=agents", NULL), 400, NULL));
	assert_true(reply_is(caller_ask("GET", "/v1/watch?of=a,,b", NULL), 400, NULL));
	assert_true(reply_is(caller_ask("DELETE", "/v1/agents/a", NULL), 400, NULL));
}

static void a_name_of_100_kb_is_refused_with_a_reason(void **state)
{
	static char body[100 * 1024 + 64];
	size_t len = 0;

	(void)state;
	len += (size_t)sprintf(body, "{\"kind\":\"k\",\"entity_id\":\"");
	memset(body + len, 'x', 100 * 1024);
	memcpy(body + len + 100 * 1024, "\"}", 3);
	assert_string_equal(caller_ask("POST", "/register", "%s", body)->text,
	                    "'entity_id' is longer than 512 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_1_to_512_bytes_without_control_characters),
	    cmocka_unit_test(numbers_are_digits_within_their_limits),
	    cmocka_unit_test_setup_teardown(what_a_legacy_route_lacks_is_422_in_plain_text, setup,
	                                    teardown),
	    cmocka_unit_test_setup_teardown(what_a_v1_route_lacks_is_422_with_a_code, setup,
	                                    teardown),
	    cmocka_unit_test_setup_teardown(a_bad_query_is_400, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_name_of_100_kb_is_refused_with_a_reason, setup,
	                                    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
