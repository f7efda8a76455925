/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent_impl.h"

static const char mine[] = "00000000000000000000000000000001";
static const char other[] = "00000000000000000000000000000002";

static void this_process_lives_but_for_its_own_repetition(void **state)
{
	json_t *process = sl_identity_process(mine);

	(void)state;
	assert_false(sl_identity_is_dead(process, other));
	assert_true(
	    sl_identity_is_dead(process, mine)); /* the answer to our registration was lost */
	json_decref(process);
}

static void a_process_that_ended_is_dead(void **state)
{
	json_t *process;
	char line[1024];
	int fd[2], status;
	pid_t child;
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(fd), 0);
	child = fork();
	if (child == 0) {
		char *text = json_dumps(sl_identity_process(mine), JSON_COMPACT);

		_exit(write(fd[1], text, strlen(text)) < 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	n = read(fd[0], line, sizeof(line));
	assert_true(n > 0);
	process = json_loadb(line, (size_t)n, 0, NULL);
	assert_true(sl_identity_is_dead(process, other));
	json_decref(process);
	(void)close(fd[0]);
	(void)close(fd[1]);
}

static void another_process_with_the_same_pid_is_not_it(void **state)
{
	json_t *process = sl_identity_process(mine);

	(void)state;
	(void)json_object_set_new(process, "start", json_integer(1));
	assert_true(sl_identity_is_dead(process, other));
	json_decref(process);
}

static void of_another_host_nothing_is_known(void **state)
{
	json_t *process = sl_identity_process(mine);

	(void)state;
	(void)json_object_set_new(process, "pid", json_integer(999999999));
	assert_true(sl_identity_is_dead(process, other));
	(void)json_object_set_new(process, "host_id", json_string("elsewhere"));
	assert_false(sl_identity_is_dead(process, other));
	(void)json_object_del(process, "host_id");
	assert_false(sl_identity_is_dead(process, other));
	assert_false(sl_identity_is_dead(NULL, other));
	json_decref(process);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(this_process_lives_but_for_its_own_repetition),
	    cmocka_unit_test(a_process_that_ended_is_dead),
	    cmocka_unit_test(another_process_with_the_same_pid_is_not_it),
	    cmocka_unit_test(of_another_host_nothing_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
