/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/foreign.h"

enum { PAGE = 4096, LEN = 4 * PAGE };

/* LEN bytes, of which page 2 has the rights PROT only. */
static char *map_with(int prot)
{
	char *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	memset(p, 7, LEN);
	assert_int_equal(mprotect(p + 2 * PAGE, PAGE, prot), 0);
	return p;
}

static void what_is_there_is_copied_whole(void **state)
{
	char *from = map_with(PROT_READ), *to = map_with(PROT_READ | PROT_WRITE);

	(void)state;
	assert_int_equal(sl_foreign_check(), 0);
	memset(to, 0, LEN);
	assert_int_equal(sl_foreign_copy(to + 1, from + 3, LEN - 3), SL_HOLE_NONE);
	assert_int_equal(to[0], 0);
	assert_memory_equal(to + 1, from + 3, LEN - 3);
	assert_int_equal(sl_foreign_copy(to, from, 0), SL_HOLE_NONE);
	assert_int_equal(munmap(from, LEN) | munmap(to, LEN), 0);
}

static void a_hole_is_told_by_which_side_it_is_on(void **state)
{
	char *whole = map_with(PROT_READ | PROT_WRITE);
	char *holed = map_with(PROT_NONE), *fixed = map_with(PROT_READ);

	(void)state;
	assert_int_equal(sl_foreign_copy(whole, holed, LEN), SL_HOLE_SRC);
	assert_int_equal(sl_foreign_copy(holed, whole, LEN), SL_HOLE_DST);
	assert_int_equal(sl_foreign_copy(fixed, whole, LEN), SL_HOLE_DST);
	assert_int_equal(sl_foreign_copy(holed + 2 * PAGE, whole, 1), SL_HOLE_DST);
	assert_int_equal(sl_foreign_copy(whole, holed + 3 * PAGE - 1, 2), SL_HOLE_SRC);
	assert_int_equal(sl_foreign_copy(whole, holed, 2 * PAGE), SL_HOLE_NONE);
	assert_int_equal(munmap(whole, LEN) | munmap(holed, LEN) | munmap(fixed, LEN), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_there_is_copied_whole),
	    cmocka_unit_test(a_hole_is_told_by_which_side_it_is_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
