/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/devices.h"

static void host_is_always_there(void **state)
{
	struct slime_error err;

	(void)state;
	assert_int_equal(sl_device_host.load(&err), 0);
	assert_int_equal(sl_device_host.load(NULL), 0);
	assert_string_equal(sl_device_host.name, "host");
}

static void copy_goes_both_ways(void **state)
{
	char there[] = "there", here[] = "here!";
	struct sl_mem mem = {.addr = there, .len = sizeof(there), .kind = SLIME_MEM_HOST};

	(void)state;
	assert_int_equal(sl_device_host.copy(&mem, here, there, 3), 0);
	assert_string_equal(here, "thee!");
	assert_int_equal(sl_device_host.copy(&mem, there, "moved", 5), 0);
	assert_string_equal(there, "moved");
}

static void host_memory_has_no_handles(void **state)
{
	struct sl_mem mem = {0};
	struct sl_ipc ipc;
	uint64_t off;
	int fd;

	(void)state;
	assert_int_equal(sl_device_host.ipc_export(&mem, &ipc), -EOPNOTSUPP);
	assert_int_equal(sl_device_host.dmabuf(&mem, &fd, &off), -EOPNOTSUPP);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(host_is_always_there),
	    cmocka_unit_test(copy_goes_both_ways),
	    cmocka_unit_test(host_memory_has_no_handles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
