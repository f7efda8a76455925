/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/devices.h"

static void every_kind_fills_every_slot(void **state)
{
	(void)state;
	for (size_t i = 0; sl_devices[i]; i++) {
		const struct sl_device_ops *d = sl_devices[i];

		assert_true(d->name && d->load && d->probe && d->copy && d->ipc_export);
		assert_true(d->ipc_open && d->ipc_close && d->dmabuf);
		assert_true(d->mark && d->mark_done && d->mark_free);
	}
}

static void kinds_differ_and_host_is_last(void **state)
{
	size_t n = 0;

	(void)state;
	while (sl_devices[n])
		n++;
	assert_true(n > 0);
	assert_int_equal(sl_devices[n - 1]->kind, SLIME_MEM_HOST);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(sl_devices[i]->kind, sl_devices[k]->kind);
}

static void memory_that_nobody_claims_is_the_hosts(void **state)
{
	const struct sl_device_ops *ops = NULL;
	struct sl_mem mem = {0};
	char bytes[10] = "";

	(void)state;
	assert_int_equal(sl_device_probe(bytes, sizeof(bytes), &ops, &mem), 0);
	assert_ptr_equal(ops, &sl_device_host);
	assert_ptr_equal(mem.addr, bytes);
	assert_int_equal(mem.len, sizeof(bytes));
	assert_int_equal(mem.kind, SLIME_MEM_HOST);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_kind_fills_every_slot),
	    cmocka_unit_test(kinds_differ_and_host_is_last),
	    cmocka_unit_test(memory_that_nobody_claims_is_the_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
