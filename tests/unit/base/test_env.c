/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/env.h"

static char heard[512];
static int n_heard;

static void hear(void *arg, enum slime_log_level level, const char *line)
{
	(void)arg;
	assert_int_equal(level, SLIME_LOG_WARN);
	n_heard++;
	strncpy(heard, line, sizeof(heard) - 1);
}

static int setup(void **state)
{
	struct slime_env list[SL_ENV_COUNT];

	(void)state;
	assert_int_equal(slime_env_list(list, SL_ENV_COUNT), SL_ENV_COUNT);
	for (size_t i = 0; i < SL_ENV_COUNT; i++)
		(void)unsetenv(list[i].name);
	slime_log_set(hear, NULL, SLIME_LOG_WARN);
	n_heard = 0;
	return 0;
}

static void what_is_not_set_has_its_default(void **state)
{
	(void)state;
	assert_int_equal(sl_env_int(SL_ENV_GID_INDEX), -1);
	assert_int_equal(sl_env_int(SL_ENV_MAX_SEND_WR), 256);
	assert_null(sl_env_text(SL_ENV_TRANSPORT));
	assert_int_equal(setenv("SLIME_GID_INDEX", "", 1), 0);
	assert_int_equal(sl_env_int(SL_ENV_GID_INDEX), -1);
	assert_int_equal(n_heard, 0);
}

static void numbers_in_their_range_are_taken(void **state)
{
	static const struct {
		const char *text;
		int value;
	} good[] = {{"0", 0}, {"-1", -1}, {"65535", 65535}, {"+3", 3}, {" 7", 7}};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(setenv("SLIME_GID_INDEX", good[i].text, 1), 0);
		assert_int_equal(sl_env_int(SL_ENV_GID_INDEX), good[i].value);
	}
	assert_int_equal(n_heard, 0);
}

static void nonsense_is_the_default_and_one_line_in_the_log(void **state)
{
	static const char *const bad[] = {
	    "x", "3x", "-2", "65536", "99999999999999999999", "0x10", "1,2", "3 ", " ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(setenv("SLIME_GID_INDEX", bad[i], 1), 0);
		assert_int_equal(sl_env_int(SL_ENV_GID_INDEX), -1);
	}
	assert_int_equal(n_heard, 1);
	assert_string_equal(heard, "SLIME_GID_INDEX is 'x', which is no whole number from -1 to "
	                           "65535: the default is taken, -1");
	assert_int_equal(setenv("SLIME_SERVICE_LEVEL", "16", 1), 0); /* another has its own line */
	assert_int_equal(sl_env_int(SL_ENV_SERVICE_LEVEL), 0);
	assert_int_equal(n_heard, 2);
}

static void huge_values_are_cut_in_the_log(void **state)
{
	char *huge = malloc(100000);

	(void)state;
	assert_non_null(huge);
	memset(huge, '9', 99999);
	huge[99999] = '\0';
	assert_int_equal(setenv("SLIME_POLL_COUNT", huge, 1), 0);
	free(huge);
	assert_int_equal(sl_env_int(SL_ENV_POLL_COUNT), 256);
	assert_int_equal(n_heard, 1);
	assert_in_range(strlen(heard), 60, 250);
}

static void a_list_has_whole_words(void **state)
{
	(void)state;
	assert_true(sl_env_lists(SL_ENV_TRANSPORT, "tcp")); /* unset: all */
	assert_int_equal(setenv("DLSLIME_TRANSPORT", "shm,tcp", 1), 0);
	assert_true(sl_env_lists(SL_ENV_TRANSPORT, "shm"));
	assert_true(sl_env_lists(SL_ENV_TRANSPORT, "tcp"));
	assert_false(sl_env_lists(SL_ENV_TRANSPORT, "tc"));
	assert_false(sl_env_lists(SL_ENV_TRANSPORT, "tcpx"));
	assert_false(sl_env_lists(SL_ENV_TRANSPORT, "hm"));
	assert_false(sl_env_lists(SL_ENV_TRANSPORT, "rdma"));
	assert_int_equal(setenv("DLSLIME_TRANSPORT", ",,tcp,", 1), 0);
	assert_true(sl_env_lists(SL_ENV_TRANSPORT, "tcp"));
	assert_false(sl_env_lists(SL_ENV_TRANSPORT, "shm"));
}

static void the_list_explains_each_variable_once(void **state)
{
	struct slime_env list[SL_ENV_COUNT + 1] = {{0}};

	(void)state;
	assert_int_equal(slime_env_list(NULL, 0), SL_ENV_COUNT);
	assert_int_equal(slime_env_list(NULL, 1), -EINVAL);
	assert_int_equal(slime_env_list(list, 1), SL_ENV_COUNT);
	assert_null(list[1].name);
	assert_int_equal(slime_env_list(list, SL_ENV_COUNT + 1), SL_ENV_COUNT);
	assert_null(list[SL_ENV_COUNT].name);
	for (size_t i = 0; i < SL_ENV_COUNT; i++) {
		assert_true(strlen(list[i].name) && strlen(list[i].fallback));
		assert_true(strlen(list[i].help) > 10);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(list[i].name, list[k].name);
	}
}

#define ENV_TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    ENV_TEST(what_is_not_set_has_its_default),
	    ENV_TEST(numbers_in_their_range_are_taken),
	    ENV_TEST(nonsense_is_the_default_and_one_line_in_the_log),
	    ENV_TEST(huge_values_are_cut_in_the_log),
	    ENV_TEST(a_list_has_whole_words),
	    ENV_TEST(the_list_explains_each_variable_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
