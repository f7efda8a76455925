/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/endpoint/test_rails.c - which devices the lanes of an endpoint are dealt over. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"
#include "fixture.h"

enum { LEN = 2 << 20 };

static struct fixture f;
static slime_ctx *ctx;

static int setup(void **state)
{
	struct slime_ctx_opts opts = {
	    .size = sizeof(opts),
	    .flags = SLIME_CTX_MANUAL_PROGRESS,
	};

	(void)state;
	fake_reset();
	fake_fast.caps |= SL_CAP_RAILS;
	fake.ndevices = 3;
	fake.device[0] = (struct sl_dev_info){.name = "d0", .numa = -1, .up = true};
	fake.device[1] = (struct sl_dev_info){.name = "d1", .port = 1, .numa = -1, .up = true};
	fake.device[2] = (struct sl_dev_info){.name = "d1", .port = 2, .numa = -1, .up = true};
	assert_int_equal(slime_ctx_create(&opts, &ctx, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	slime_ctx_destroy(ctx);
	fake_reset();
	return 0;
}

static int create(const char *device, uint32_t lanes, slime_ep **out, struct slime_error *err)
{
	struct slime_ep_opts opts = {
	    .size = sizeof(opts), .lanes = lanes, .transport = "fast", .device = device};

	return slime_ep_create(ctx, &opts, out, err);
}

/* The endpoint opens these, in this order, and no more. */
static void check_opens(const char *device, uint32_t lanes, const char *const *names, unsigned n)
{
	slime_ep *ep = NULL;

	assert_int_equal(create(device, lanes, &ep, NULL), 0);
	assert_int_equal(fake.nopened, n);
	for (unsigned i = 0; i < n; i++)
		assert_string_equal(fake.opened[i], names[i]);
	slime_ep_destroy(ep);
}

static void one_lane_takes_one_device(void **state)
{
	(void)state;
	check_opens(NULL, 0, (const char *const[]){"d0"}, 1);
}

static void each_lane_takes_another_device_while_there_are_some(void **state)
{
	(void)state;
	check_opens(NULL, 2, (const char *const[]){"d0", "d1"}, 2);
}

static void more_lanes_than_devices_share_them(void **state)
{
	(void)state;
	check_opens(NULL, 8, (const char *const[]){"d0", "d1", "d1:2"}, 3);
}

static void devices_that_are_down_are_left_out(void **state)
{
	(void)state;
	fake.device[0].up = fake.device[2].up = false;
	check_opens(NULL, 3, (const char *const[]){"d1"}, 1);
}

static void the_nearest_come_first(void **state)
{
	unsigned cpu, node;
	cpu_set_t one;

	(void)state;
	assert_int_equal(getcpu(&cpu, &node), 0);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0); /* stay on that node */
	assert_int_equal(getcpu(&cpu, &node), 0);
	fake.device[0].numa = (int)node + 1;
	fake.device[2].numa = (int)node;
	check_opens(NULL, 3, (const char *const[]){"d1:2", "d1", "d0"}, 3);
}

static void none_that_is_up_is_an_error_that_says_so(void **state)
{
	struct slime_error err = {0};
	slime_ep *ep = NULL;

	(void)state;
	for (unsigned i = 0; i < fake.ndevices; i++)
		fake.device[i].up = false;
	assert_int_equal(create(NULL, 2, &ep, &err), -ENODEV);
	assert_non_null(strstr(err.text, "none of its 3 devices is up (d0 is down)"));
}

static void a_transport_without_rails_opens_its_best(void **state)
{
	(void)state;
	fake_fast.caps = SL_CAP_LANES;
	check_opens(NULL, 4, (const char *const[]){""}, 1);
}

static void named_devices_are_taken_as_they_are_named(void **state)
{
	(void)state;
	fake.device[1].up = false; /* who names it knows */
	check_opens("d1:2,d1", 0, (const char *const[]){"d1:2", "d1"}, 2);
}

static void every_named_device_has_a_lane(void **state)
{
	struct slime_ep_opts opts = {
	    .size = sizeof(opts), .lanes = 1, .transport = "fast", .device = "d0,d1"};
	struct slime_ep_info info = {.size = sizeof(info)};
	struct slime_desc a, b;
	slime_ep *other = NULL;
	slime_ep *ep = NULL;

	(void)state;
	assert_int_equal(slime_ep_create(ctx, &opts, &ep, NULL), 0);
	assert_int_equal(slime_ep_create(ctx, &opts, &other, NULL), 0);
	assert_int_equal(fake.nopened, 2); /* a context opens each once */
	assert_int_equal(slime_ep_export(ep, &a, NULL), 0);
	assert_int_equal(slime_ep_export(other, &b, NULL), 0);
	(void)slime_ep_connect(ep, &b, 0, NULL);
	assert_int_equal(slime_ep_connect(other, &a, 0, NULL), 0);
	assert_int_equal(slime_ep_connect(ep, &b, 0, NULL), 0);
	assert_int_equal(slime_ep_get_info(ep, &info), 0);
	assert_int_equal(info.lanes, 2);
	assert_string_equal(info.device, "fast thing, fast thing");
	slime_ep_destroy(ep);
	slime_ep_destroy(other);
}

static void lists_that_make_no_sense_are_refused(void **state)
{
	static const struct {
		const char *device;
		int rc;
		const char *says;
	} bad[] = {
	    {"d9", -ENODEV, "no device 'd9'"},
	    {"d0,d9", -ENODEV, "no device 'd9'"},
	    {"d0,d0", -EINVAL, "'d0' is named twice"},
	    {"d0,", -EINVAL, "no list"},
	    {",d0", -EINVAL, "no list"},
	    {"d0,,d1", -EINVAL, "no list"},
	    {",", -EINVAL, "no list"},
	    {"", -ENODEV, "no device ''"},
	    {"d0,1234567890123456789012345678901234567890123456789012345678901234567890", -EINVAL,
	     "no list"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct slime_error err = {0};
		slime_ep *ep = NULL;

		assert_int_equal(create(bad[i].device, 0, &ep, &err), bad[i].rc);
		if (!strstr(err.text, bad[i].says))
			fail_msg("'%s' says: %s", bad[i].device, err.text);
	}
}

static void a_list_is_refused_where_there_are_no_lanes(void **state)
{
	struct slime_error err = {0};
	slime_ep *ep = NULL;

	(void)state;
	fake_fast.caps = 0;
	assert_int_equal(create("d0,d1", 0, &ep, &err), -EINVAL);
	assert_non_null(strstr(err.text, "fast has one device at a time"));
}

/* The fake transport checks that each op has the handles of its lane. */
static void a_transfer_goes_over_all_of_them(void **state)
{
	struct slime_seg seg;
	slime_op *op = NULL;

	(void)state;
	fake.at_once = true;
	fixture_create(&f, LEN, 4);
	fixture_connect(&f);
	assert_int_equal(f.a.rc, 0);
	memset(f.a.mem, 'x', LEN);
	seg = fixture_seg(&f, 0, LEN);
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), 0);
	assert_int_equal(fake.nops, 4);
	assert_memory_equal(f.a.mem, f.b.mem, LEN);
	slime_op_release(op);
	fixture_destroy(&f);
}

/* One side has three devices, the other one. */
static void sides_may_have_different_devices(void **state)
{
	struct slime_ep_opts opts = {
	    .size = sizeof(opts), .lanes = 4, .transport = "fast", .device = "d0"};
	struct slime_seg seg;
	slime_op *op = NULL;

	(void)state;
	fake.at_once = true;
	fixture_create(&f, LEN, 4);
	slime_ep_destroy(f.b.ep);
	assert_int_equal(slime_ep_create(f.b.ctx, &opts, &f.b.ep, NULL), 0);
	fixture_connect(&f);
	assert_int_equal(f.a.rc, 0);
	memset(f.a.mem, 'x', LEN);
	seg = fixture_seg(&f, 0, LEN);
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), 0);
	assert_memory_equal(f.a.mem, f.b.mem, LEN);
	slime_op_release(op);
	fixture_destroy(&f);
}

static void a_region_exported_before_its_endpoint_lacks_devices_and_says_so(void **state)
{
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = SLIME_ACCESS_REMOTE};
	struct slime_desc early, a, b;
	struct slime_error err = {0};
	slime_ep *ep = NULL, *other = NULL;
	slime_rmr *rmr = NULL;
	char mem[64];
	slime_mr *mr;

	(void)state;
	assert_int_equal(slime_mr_register(ctx, mem, sizeof(mem), &mr_opts, &mr, NULL), 0);
	assert_int_equal(slime_mr_export(mr, &early, NULL), 0);
	assert_int_equal(create(NULL, 3, &ep, NULL), 0);
	assert_int_equal(create(NULL, 3, &other, NULL), 0);
	assert_int_equal(slime_ep_export(ep, &a, NULL), 0);
	assert_int_equal(slime_ep_export(other, &b, NULL), 0);
	(void)slime_ep_connect(ep, &b, 0, NULL);
	assert_int_equal(slime_ep_connect(other, &a, 0, NULL), 0);
	assert_int_equal(slime_ep_connect(ep, &b, 0, NULL), 0);
	assert_int_equal(slime_ep_import(ep, &early, &rmr, &err), -ENODEV);
	assert_non_null(strstr(err.text, "export it after creating its endpoint"));
	assert_int_equal(slime_mr_export(mr, &early, NULL), 0);
	assert_int_equal(slime_ep_import(ep, &early, &rmr, &err), 0);
	slime_rmr_release(rmr);
	slime_ep_destroy(ep);
	slime_ep_destroy(other);
	slime_mr_deregister(mr);
}

#define RAILS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    RAILS_TEST(one_lane_takes_one_device),
	    RAILS_TEST(each_lane_takes_another_device_while_there_are_some),
	    RAILS_TEST(more_lanes_than_devices_share_them),
	    RAILS_TEST(devices_that_are_down_are_left_out),
	    RAILS_TEST(the_nearest_come_first),
	    RAILS_TEST(none_that_is_up_is_an_error_that_says_so),
	    RAILS_TEST(a_transport_without_rails_opens_its_best),
	    RAILS_TEST(named_devices_are_taken_as_they_are_named),
	    RAILS_TEST(every_named_device_has_a_lane),
	    RAILS_TEST(lists_that_make_no_sense_are_refused),
	    RAILS_TEST(a_list_is_refused_where_there_are_no_lanes),
	    RAILS_TEST(a_transfer_goes_over_all_of_them),
	    RAILS_TEST(sides_may_have_different_devices),
	    RAILS_TEST(a_region_exported_before_its_endpoint_lacks_devices_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
