/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "redis_words.h"

static void check(const struct redis_words *words, int n, const char *want)
{
	assert_false(words->broken);
	assert_int_equal(words->n, n);
	assert_int_equal(words->len, strlen(want));
	assert_memory_equal(words->bytes, want, words->len);
}

static void words_are_as_redis_reads_them(void **state)
{
	struct redis_words words = {0};

	(void)state;
	redis_words_add_text(&words, "SET");
	redis_words_add(&words, "a\r\nb", 4);
	redis_words_add_text(&words, "");
	redis_words_add_text(&words, NULL);
	check(&words, 4, "$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n$0\r\n\r\n");
	redis_words_free(&words);
}

static void numbers_are_whole(void **state)
{
	struct redis_words words = {0};

	(void)state;
	redis_words_add_number(&words, 0);
	redis_words_add_number(&words, -2);
	redis_words_add_number(&words, INT64_MAX);
	redis_words_add_number(&words, INT64_MIN);
	check(
	    &words, 4,
	    "$1\r\n0\r\n$2\r\n-2\r\n$19\r\n9223372036854775807\r\n$20\r\n-9223372036854775808\r\n");
	redis_words_free(&words);
}

static void others_are_appended_and_memory_grows(void **state)
{
	struct redis_words words = {0}, more = {0};
	char large[10000];

	(void)state;
	memset(large, 'x', sizeof(large));
	redis_words_add(&more, large, sizeof(large));
	for (int i = 0; i < 10; i++)
		redis_words_append(&words, &more);
	assert_int_equal(words.n, 10);
	assert_int_equal(words.len, 10 * (sizeof(large) + strlen("$10000\r\n\r\n")));
	assert_memory_equal(words.bytes + 9 * more.len, more.bytes, more.len);
	redis_words_empty(&words);
	redis_words_add_text(&words, "a");
	check(&words, 1, "$1\r\na\r\n");
	redis_words_free(&words);
	redis_words_free(&more);
}

static void what_is_broken_stays_so_and_passes_it_on(void **state)
{
	struct redis_words words = {.broken = true}, all = {0};

	(void)state;
	redis_words_add_text(&words, "a");
	assert_int_equal(words.n, 0);
	assert_null(words.bytes);
	redis_words_add_text(&all, "b");
	redis_words_append(&all, &words);
	assert_true(all.broken);
	assert_int_equal(all.n, 1);
	redis_words_empty(&all);
	assert_false(all.broken);
	redis_words_free(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_are_as_redis_reads_them),
	    cmocka_unit_test(numbers_are_whole),
	    cmocka_unit_test(others_are_appended_and_memory_grows),
	    cmocka_unit_test(what_is_broken_stays_so_and_passes_it_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
