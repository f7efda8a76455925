/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/devices.h"

static void what_a_kind_cannot_do_says_so_and_writes_nothing(void **state)
{
	struct sl_mem mem = {0};
	struct sl_ipc ipc = {.base = 1};
	struct sl_mark *mark = NULL;
	void *base = &mem;
	uint64_t off = 2;
	int fd = 3;

	(void)state;
	assert_int_equal(sl_dev_no_ipc_export(&mem, &ipc), -EOPNOTSUPP);
	assert_int_equal(sl_dev_no_ipc_open(&ipc, 0, &base), -EOPNOTSUPP);
	assert_int_equal(sl_dev_no_dmabuf(&mem, &fd, &off), -EOPNOTSUPP);
	assert_int_equal(sl_dev_no_mark(0, NULL, &mark), -EOPNOTSUPP);
	assert_int_equal(sl_dev_no_mark_done(mark), -EOPNOTSUPP);
	assert_true(ipc.base == 1 && base == &mem && off == 2 && fd == 3 && !mark);
	sl_dev_no_ipc_close(NULL);
	sl_dev_no_mark_free(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_a_kind_cannot_do_says_so_and_writes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
