/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

static struct fake_verbs_config config;
static struct sl_dom *dom;
static char memory[8192];

static int setup(void **state)
{
	(void)state;
	config_init(&config);
	fake_verbs_install(&config);
	dom = dom_make("fake0");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rdma->dom_close(dom);
	assert_null(fake_verbs_leaks());
	fake_verbs_uninstall();
	return 0;
}

static int reg(size_t len, struct sl_reg **out, struct slime_error *err)
{
	struct sl_mem mem = {.addr = memory, .len = len, .kind = SLIME_MEM_HOST};

	return rdma->reg(dom, &mem, SLIME_ACCESS_REMOTE, out, err);
}

static void a_region_names_its_address_length_and_key(void **state)
{
	struct sl_blob blob = {0};
	struct sl_rreg *rreg = NULL;
	struct sl_reg *r = NULL;

	(void)state;
	assert_int_equal(reg(sizeof(memory), &r, NULL), 0);
	assert_int_equal(rdma->reg_pack(r, &blob, NULL), 0);
	assert_int_equal(rdma->rreg_unpack(NULL, &blob, &rreg, NULL), 0);
	assert_int_equal(rreg->addr, (uintptr_t)memory);
	assert_int_equal(rreg->rkey, r->mr->rkey);
	rdma->rreg_free(rreg);
	blob.len--;
	assert_int_equal(rdma->rreg_unpack(NULL, &blob, &rreg, NULL), -EPROTO);
	rdma->unreg(r);
}

static void memory_that_cannot_be_locked_names_the_limit(void **state)
{
	struct slime_error err = {0};
	struct sl_reg *r = NULL;

	(void)state;
	fake_verbs_fail_call("reg_mr", 1, ENOMEM);
	assert_int_equal(reg(sizeof(memory), &r, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "ulimit -l"));
	assert_non_null(strstr(err.text, "8192"));
	fake_verbs_fail_call("reg_mr", 1, EFAULT);
	assert_int_equal(reg(sizeof(memory), &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "read-only"));
	assert_null(r);
}

/* What may only be read can still be sent from, and served to peers who read. */
static void read_only_memory_is_registered_as_that(void **state)
{
	struct sl_mem mem = {.addr = memory, .len = 4096, .kind = SLIME_MEM_HOST};
	struct sl_reg *r = NULL;

	(void)state;
	fake_verbs_fail_call("reg_mr", 1, EFAULT);
	assert_int_equal(rdma->reg(dom, &mem, SLIME_ACCESS_REMOTE_READ, &r, NULL), 0);
	rdma->unreg(r);
}

static void more_than_the_device_can_is_refused_before_it_is_asked(void **state)
{
	struct slime_error err = {0};
	struct sl_reg *r = NULL;

	(void)state;
	dom->attr.orig_attr.max_mr_size = 4096;
	assert_int_equal(reg(sizeof(memory), &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "4096"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_region_names_its_address_length_and_key, setup,
	                                    teardown),
	    cmocka_unit_test_setup_teardown(memory_that_cannot_be_locked_names_the_limit, setup,
	                                    teardown),
	    cmocka_unit_test_setup_teardown(read_only_memory_is_registered_as_that, setup,
	                                    teardown),
	    cmocka_unit_test_setup_teardown(more_than_the_device_can_is_refused_before_it_is_asked,
	                                    setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
