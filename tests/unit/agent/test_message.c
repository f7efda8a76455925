/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/message.h"

static struct sl_message call_message(uint32_t desc_len)
{
	struct sl_message msg = {
	    .type = SL_MSG_CALL, .attempt = 3, .seq = 9, .lanes = 4, .depth = 256};

	assert_int_equal(sl_hex_random(msg.life, SL_LIFE_LEN - 1), 0);
	assert_int_equal(sl_hex_random(msg.link, SL_LINK_ID_LEN - 1), 0);
	(void)strcpy(msg.key, "tcp//4/256");
	(void)strcpy(msg.transport, "tcp");
	msg.desc.len = desc_len;
	for (uint32_t i = 0; i < desc_len; i++)
		msg.desc.bytes[i] = (uint8_t)(i * 37 + desc_len);
	return msg;
}

static void a_call_comes_back_as_it_went(void **state)
{
	(void)state;
	/* each remainder that base64 knows, and the longest */
	for (uint32_t len = 1; len <= SLIME_DESC_MAX; len = len < 9 ? len + 1 : len * 3 + 1) {
		struct sl_message out,
		    in = call_message(len < SLIME_DESC_MAX ? len : SLIME_DESC_MAX);
		json_t *json = sl_message_pack(&in);

		assert_non_null(json);
		assert_int_equal(sl_message_read(json, &out, NULL), 0);
		json_decref(json);
		assert_int_equal(out.type, SL_MSG_CALL);
		assert_string_equal(out.life, in.life);
		assert_string_equal(out.link, in.link);
		assert_string_equal(out.key, in.key);
		assert_string_equal(out.transport, in.transport);
		assert_true(out.attempt == 3 && out.seq == 9 && out.lanes == 4 && out.depth == 256);
		assert_int_equal(out.desc.len, in.desc.len);
		assert_memory_equal(out.desc.bytes, in.desc.bytes, in.desc.len);
	}
}

static void a_refusal_carries_its_reason(void **state)
{
	struct sl_message out, in = call_message(8);
	json_t *json;

	(void)state;
	in.type = SL_MSG_REFUSE;
	(void)strcpy(in.reason, "there is no such device here");
	json = sl_message_pack(&in);
	assert_int_equal(sl_message_read(json, &out, NULL), 0);
	json_decref(json);
	assert_int_equal(out.type, SL_MSG_REFUSE);
	assert_string_equal(out.reason, in.reason);
}

static void expect_refused(json_t *json)
{
	struct slime_error err = {0};
	struct sl_message out;

	assert_non_null(json);
	assert_int_equal(sl_message_read(json, &out, &err), -EPROTO);
	assert_int_equal(err.code, -EPROTO);
	assert_true(strlen(err.text) > 0);
}

static void each_member_is_needed_and_has_its_type(void **state)
{
	static const char *const members[] = {"type", "life", "link",      "attempt", "seq",
	                                      "key",  "desc", "transport", "lanes",   "depth"};
	struct sl_message in = call_message(100);

	(void)state;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		json_t *wrong[] = {NULL,
		                   json_null(),
		                   json_true(),
		                   json_real(1.5),
		                   json_integer(-1),
		                   json_integer(INT64_MIN),
		                   json_string("\x01\x7f"),
		                   json_stringn("a\0b", 3),
		                   json_array(),
		                   json_object()};

		for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
			json_t *json = sl_message_pack(&in);

			/* a text without a rule of its own may hold any byte but NUL */
			if (k == 6 && (strcmp(members[i], "key") == 0 ||
			               strcmp(members[i], "transport") == 0)) {
				json_decref(wrong[k]);
				json_decref(json);
				continue;
			}
			if (wrong[k])
				(void)json_object_set_new(json, members[i], wrong[k]);
			else
				(void)json_object_del(json, members[i]);
			expect_refused(json);
			json_decref(json);
		}
	}
}

static void long_and_broken_texts_are_refused(void **state)
{
	static const struct {
		const char *member, *text;
	} wrong[] = {
	    {"desc", ""},
	    {"desc", "A"},
	    {"desc", "AAA"},
	    {"desc", "===="},
	    {"desc", "A==="},
	    {"desc", "AA=A"},
	    {"desc", "AA\nA"},
	    {"desc", "AAA*"},
	    {"type", "greeting"},
	    {"type", ""},
	    {"life", "0123"},
	    {"link", "zz"},
	    {"transport", "a transport with a long name"},
	};
	struct sl_message in = call_message(10);
	char big[6000];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		json_t *json = sl_message_pack(&in);

		(void)json_object_set_new(json, wrong[i].member, json_string(wrong[i].text));
		expect_refused(json);
		json_decref(json);
	}
	memset(big, 'A', sizeof(big));
	for (size_t i = 0; i < 4; i++) {
		static const char *const members[] = {"desc", "key", "life", "transport"};
		json_t *json = sl_message_pack(&in);

		(void)json_object_set_new(json, members[i], json_stringn(big, sizeof(big)));
		expect_refused(json);
		json_decref(json);
	}
}

static void what_is_no_object_is_refused(void **state)
{
	json_t *list = json_array();

	(void)state;
	expect_refused(list);
	json_decref(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_call_comes_back_as_it_went),
	    cmocka_unit_test(a_refusal_carries_its_reason),
	    cmocka_unit_test(each_member_is_needed_and_has_its_type),
	    cmocka_unit_test(long_and_broken_texts_are_refused),
	    cmocka_unit_test(what_is_no_object_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
