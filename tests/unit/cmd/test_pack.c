/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../../cmd/dlslime/pack.c"

static void fields_come_out_as_they_went_in(void **state)
{
	struct slime_desc in = {.len = 3, .bytes = {7, 8, 9}};
	struct slime_desc out;
	struct msg m;
	char text[8];

	(void)state;
	msg_begin(&m, 9);
	put_uint(&m, 0x1122334455667788, 8);
	put_uint(&m, 0xabcd, 2);
	put_text(&m, "shm");
	put_desc(&m, &in);
	assert_int_equal(m.bytes[0], 0x88);
	assert_true(get_uint(&m, 8) == 0x1122334455667788);
	assert_int_equal(get_uint(&m, 2), 0xabcd);
	get_text(&m, text, sizeof(text));
	assert_string_equal(text, "shm");
	get_desc(&m, &out);
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.bytes, in.bytes, 3);
	assert_true(msg_ok(&m));
}

static void a_step_over_the_end_is_bad_and_reads_zero(void **state)
{
	struct msg m;

	(void)state;
	msg_begin(&m, 1);
	put_uint(&m, 5, 4);
	assert_int_equal(get_uint(&m, 8), 0);
	assert_false(msg_ok(&m));
	assert_int_equal(get_uint(&m, 4), 0); /* bad stays bad */
}

static void what_is_left_over_is_bad(void **state)
{
	struct msg m;

	(void)state;
	msg_begin(&m, 1);
	put_uint(&m, 5, 4);
	(void)get_uint(&m, 2);
	assert_false(msg_ok(&m));
}

static void lengths_that_lie_are_bad(void **state)
{
	struct slime_desc desc;
	struct msg m;
	char text[8];

	(void)state;
	msg_begin(&m, 1);
	put_uint(&m, 65535, 2);
	put_bytes(&m, "abc", 3);
	get_text(&m, text, sizeof(text));
	assert_false(msg_ok(&m));
	assert_string_equal(text, "");
	msg_begin(&m, 1);
	put_uint(&m, SLIME_DESC_MAX + 1, 2);
	get_desc(&m, &desc);
	assert_false(msg_ok(&m));
	assert_int_equal(desc.len, 0);
}

static void texts_with_control_characters_are_bad(void **state)
{
	struct msg m;
	char text[8];

	(void)state;
	msg_begin(&m, 1);
	put_uint(&m, 3, 2);
	put_bytes(&m, "a\0b", 3);
	get_text(&m, text, sizeof(text));
	assert_false(msg_ok(&m));
	msg_begin(&m, 1);
	put_text(&m, "\033[2J");
	get_text(&m, text, sizeof(text));
	assert_false(msg_ok(&m));
}

static void a_message_that_grows_too_long_is_bad(void **state)
{
	static const char big[MSG_BYTES_MAX];
	struct msg m;

	(void)state;
	msg_begin(&m, 1);
	put_bytes(&m, big, MSG_BYTES_MAX);
	assert_false(m.bad);
	put_uint(&m, 1, 1);
	assert_true(m.bad);
	assert_int_equal(m.len, MSG_BYTES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_come_out_as_they_went_in),
	    cmocka_unit_test(a_step_over_the_end_is_bad_and_reads_zero),
	    cmocka_unit_test(what_is_left_over_is_bad),
	    cmocka_unit_test(lengths_that_lie_are_bad),
	    cmocka_unit_test(texts_with_control_characters_are_bad),
	    cmocka_unit_test(a_message_that_grows_too_long_is_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
