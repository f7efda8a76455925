/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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
	slime_log_set(NULL, NULL, SLIME_LOG_WARN);
}

/* Run FN with stderr in a pipe; returns what came. */
static const char *stderr_of(void (*fn)(void))
{
	static char text[4096];
	int old = dup(STDERR_FILENO);
	int ends[2];
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	assert_true(old >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
	fn();
	assert_true(dup2(old, STDERR_FILENO) >= 0);
	(void)close(old);
	(void)close(ends[1]);
	n = read(ends[0], text, sizeof(text) - 1);
	(void)close(ends[0]);
	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static void say_all(void)
{
	sl_log(SLIME_LOG_ERROR, "bad");
	sl_log(SLIME_LOG_WARN, "odd");
	sl_log(SLIME_LOG_INFO, "good");
	sl_log(SLIME_LOG_DEBUG, "more");
}

/* In a process of its own each, for the first line of a process reads the environment. */
static void say_with_environment(const char *level)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)(level ? setenv("SLIME_LOG_LEVEL", level, 1) : unsetenv("SLIME_LOG_LEVEL"));
		say_all();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void say_with_none(void)
{
	say_with_environment(NULL);
}

static void say_with_0(void)
{
	say_with_environment("0");
}

static void say_with_1(void)
{
	say_with_environment("1");
}

static void say_with_2(void)
{
	say_with_environment("2");
}

static void say_with_nonsense(void)
{
	say_with_environment("loud");
}

/* The first test: nothing was logged or set in this process before. */
static void the_environment_says_what_stderr_gets(void **state)
{
	(void)state;
	assert_string_equal(stderr_of(say_with_none),
	                    "dlslime: error: bad\ndlslime: warning: odd\n");
	assert_string_equal(stderr_of(say_with_0), "dlslime: error: bad\n");
	assert_string_equal(stderr_of(say_with_1),
	                    "dlslime: error: bad\ndlslime: warning: odd\ndlslime: info: good\n");
	assert_non_null(strstr(stderr_of(say_with_2), "dlslime: debug: more\n"));
	assert_string_equal(
	    stderr_of(say_with_nonsense),
	    "dlslime: warning: SLIME_LOG_LEVEL is 'loud', which is no whole number from 0 to 2: "
	    "the default is taken, errors and warnings\n"
	    "dlslime: error: bad\ndlslime: warning: odd\n");
}

static void no_hook_is_stderr_again(void **state)
{
	struct heard h = {0};

	(void)state;
	slime_log_set(hear, &h, SLIME_LOG_DEBUG);
	assert_string_equal(stderr_of(say_all), "");
	assert_int_equal(h.n, 4);
	slime_log_set(NULL, NULL, SLIME_LOG_ERROR);
	assert_string_equal(stderr_of(say_all), "dlslime: error: bad\n");
	slime_log_set(NULL, NULL, SLIME_LOG_WARN);
	assert_string_equal(stderr_of(say_all), "dlslime: error: bad\ndlslime: warning: odd\n");
	assert_int_equal(h.n, 4);
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
		slime_log_set(NULL, NULL, SLIME_LOG_ERROR);
		memset(&h, 0xee, sizeof(h));
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_environment_says_what_stderr_gets),
	    cmocka_unit_test(lines_up_to_the_level_arrive),
	    cmocka_unit_test(no_hook_is_stderr_again),
	    cmocka_unit_test(long_lines_are_cut),
	    cmocka_unit_test(the_hook_may_change_while_others_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
