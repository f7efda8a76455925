/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/torture/test_memory.c - the n-th allocation fails, for each n. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "torture.h"

static void loopback_survives(void **state)
{
	(void)state;
	assert_true(torture(WRAP_MEMORY, "loopback") > 0);
}

static void shm_survives(void **state)
{
	(void)state;
	assert_true(torture(WRAP_MEMORY, "shm") > 0);
}

static void tcp_survives(void **state)
{
	(void)state;
	assert_true(torture(WRAP_MEMORY, "tcp") > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(loopback_survives),
	    cmocka_unit_test(shm_survives),
	    cmocka_unit_test(tcp_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
