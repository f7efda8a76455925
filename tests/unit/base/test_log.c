/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

struct heard {
	int n;
	enum slime_log_level level;
	char line[1024];
};

static void hear(void *arg, enum slime_log_level level, const char *line)
{
	struct heard *h = arg;

	h->n++;
	h->level = level;
	strncpy(h->line, line, sizeof(h->line) - 1);
}

static void lines_up_to_the_level_arrive(void **state)
{
	struct heard h = {0};

	(void)state;
	slime_log_set(hear, &h, SLIME_LOG_INFO);
	sl_log(SLIME_LOG_DEBUG, "unheard");
	assert_int_equal(h.n, 0);
	sl_log(SLIME_LOG_INFO, "%s %d", "line", 1);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.level, SLIME_LOG_INFO);
	assert_string_equal(h.line, "line 1");
	sl_log(SLIME_LOG_ERROR, "worse");
	assert_int_equal(h.n, 2);
	slime_log_set(NULL, NULL, SLIME_LOG_DEBUG);
}

static void nowhere_is_a_place_to_log_to(void **state)
{
	struct heard h = {0};

	(void)state;
	slime_log_set(hear, &h, SLIME_LOG_DEBUG);
	slime_log_set(NULL, &h, SLIME_LOG_DEBUG);
	sl_log(SLIME_LOG_ERROR, "unheard");
	assert_int_equal(h.n, 0);
}

static void long_lines_are_cut(void **state)
{
	struct heard h = {0};
	char text[5000];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	slime_log_set(hear, &h, SLIME_LOG_ERROR);
	sl_log(SLIME_LOG_ERROR, "%s", text);
	assert_int_equal(h.n, 1);
	assert_in_range(strlen(h.line), 100, sizeof(h.line) - 1);
	slime_log_set(NULL, NULL, SLIME_LOG_ERROR);
}

static void *talk(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++)
		sl_log(SLIME_LOG_WARN, "line %d", i);
	return NULL;
}

/* A hook that was replaced is not in use any more: its argument may go. */
static void the_hook_may_change_while_others_log(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, talk, NULL), 0);
	for (int i = 0; i < 500; i++) {
		struct heard h = {0};

		slime_log_set(hear, &h, SLIME_LOG_WARN);
		slime_log_set(NULL, NULL, SLIME_LOG_WARN);
		memset(&h, 0xee, sizeof(h));
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_up_to_the_level_arrive),
	    cmocka_unit_test(nowhere_is_a_place_to_log_to),
	    cmocka_unit_test(long_lines_are_cut),
	    cmocka_unit_test(the_hook_may_change_while_others_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
