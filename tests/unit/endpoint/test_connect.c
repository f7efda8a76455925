/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/endpoint/test_connect.c - which of two transports it is, and what is said about it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"
#include "fixture.h"

static struct fixture f;

static struct slime_ep_info info_of(const struct end *e)
{
	struct slime_ep_info info = {.size = sizeof(info)};

	assert_int_equal(slime_ep_get_info(e->ep, &info), 0);
	return info;
}

static void check_both(const char *transport)
{
	struct slime_ep_info a, b;

	assert_int_equal(f.a.rc, 0);
	assert_int_equal(f.b.rc, 0);
	a = info_of(&f.a);
	b = info_of(&f.b);
	assert_string_equal(a.transport, transport);
	assert_string_equal(b.transport, transport);
}

/* That it works is that its write gets to the transport it says. */
static void check_works(void)
{
	struct slime_seg seg = fixture_seg(&f, 0, 100);
	slime_op *op = NULL;

	fake.at_once = true;
	memset(f.a.mem, 'x', 100);
	assert_int_equal(slime_ep_write(f.a.ep, &seg, 1, NULL, &op), 0);
	assert_int_equal(slime_op_wait(op, 0, NULL), 0);
	assert_memory_equal(f.a.mem, f.b.mem, 100);
	slime_op_release(op);
}

static void begin(void)
{
	fixture_create(&f, 4096, 1);
	fixture_connect(&f);
}

static void the_preferred_one_is_used_when_nobody_objects(void **state)
{
	struct slime_ep_info info;

	(void)state;
	fake_reset();
	begin();
	check_both("fast");
	info = info_of(&f.a);
	assert_string_equal(info.device, "fast thing");
	assert_null(strstr(info.because, "not fast"));
	check_works();
	fixture_destroy(&f);
}

/* Whichever side objects, and however late: both end up with the other one. */
static void a_refusal_moves_both_sides_on(void **state)
{
	(void)state;
	for (int side = 0; side < FAKE_SIDES; side++) {
		for (int late = 0; late < 2; late++) {
			struct slime_ep_info info;

			fake_reset();
			if (late)
				fake.refuse_when_ready[side] = true;
			else
				fake.refuse_to_connect[side] = true;
			begin();
			check_both("slow");
			info = info_of(side ? &f.b : &f.a);
			assert_non_null(strstr(info.because, "not fast"));
			assert_non_null(strstr(info.because, late ? "its check has failed"
			                                          : "its rules forbid it"));
			info = info_of(side ? &f.a : &f.b); /* the other one knows that, not why */
			assert_non_null(strstr(info.because, "not fast"));
			check_works();
			fixture_destroy(&f);
		}
	}
}

static void a_device_that_is_missing_on_one_side_leaves_the_other_transport(void **state)
{
	(void)state;
	for (int side = 0; side < FAKE_SIDES; side++) {
		struct slime_ep_info info;

		fake_reset();
		fake.refuse_to_open[side] = true;
		begin();
		check_both("slow");
		info = info_of(side ? &f.b : &f.a);
		assert_non_null(strstr(info.because, "its device is not plugged in"));
		info = info_of(side ? &f.a : &f.b);
		assert_non_null(strstr(info.because, "not fast"));
		check_works();
		fixture_destroy(&f);
	}
}

static slime_ep *only_fast(slime_ctx *ctx)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "fast"};
	slime_ep *ep = NULL;

	assert_int_equal(slime_ep_create(ctx, &opts, &ep, NULL), 0);
	return ep;
}

static void without_another_the_refusal_is_the_error(void **state)
{
	struct slime_desc peer;
	slime_ep *ep;

	(void)state;
	fake_reset();
	fake.refuse_to_connect[0] = true;
	fixture_create(&f, 4096, 1);
	ep = only_fast(f.a.ctx);
	assert_int_equal(slime_ep_export(f.b.ep, &peer, NULL), 0);
	assert_int_equal(slime_ep_connect(ep, &peer, 0, &f.a.err), -EACCES);
	assert_non_null(strstr(f.a.err.text, "fast"));
	assert_non_null(strstr(f.a.err.text, "its rules forbid it"));
	slime_ep_destroy(ep);
	fixture_destroy(&f);
}

static void lanes_are_as_many_as_both_have(void **state)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .lanes = 2};
	struct slime_ep_info info;

	(void)state;
	fake_reset();
	fixture_create(&f, 4096, 4);
	slime_ep_destroy(f.b.ep);
	assert_int_equal(slime_ep_create(f.b.ctx, &opts, &f.b.ep, NULL), 0);
	fixture_connect(&f);
	check_both("fast");
	info = info_of(&f.a);
	assert_int_equal(info.lanes, 2);
	info = info_of(&f.b);
	assert_int_equal(info.lanes, 2);
	check_works();
	fixture_destroy(&f);
}

static void names_that_nobody_has_are_told_apart(void **state)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "gone"};
	struct slime_error err = {0};
	slime_ep *ep = NULL;

	(void)state;
	fake_reset();
	fixture_create(&f, 4096, 1);
	assert_int_equal(slime_ep_create(f.a.ctx, &opts, &ep, &err), -ENODEV);
	assert_non_null(strstr(err.text, "it is not part of this test"));
	opts.transport = "nonsense";
	assert_int_equal(slime_ep_create(f.a.ctx, &opts, &ep, &err), -ENODEV);
	assert_non_null(strstr(err.text, "nonsense"));
	fixture_destroy(&f);
}

static void the_environment_restricts_the_choice_but_no_order(void **state)
{
	struct slime_ep_info info;
	slime_ctx *ctx = NULL;
	slime_ep *ep = NULL;

	(void)state;
	fake_reset();
	assert_int_equal(setenv("DLSLIME_TRANSPORT", "slow,other", 1), 0);
	begin();
	check_both("slow");
	info = info_of(&f.a);
	assert_non_null(strstr(info.because, "not fast: DLSLIME_TRANSPORT does not list it"));
	check_works();
	ep = only_fast(f.a.ctx); /* what the program names is not chosen */
	slime_ep_destroy(ep);
	fixture_destroy(&f);
	assert_int_equal(setenv("DLSLIME_TRANSPORT", "nonsense", 1), 0);
	assert_int_equal(slime_ctx_create(NULL, &ctx, NULL), 0);
	assert_int_equal(slime_ep_create(ctx, NULL, &ep, &f.a.err), -ENODEV);
	assert_non_null(strstr(f.a.err.text, "DLSLIME_TRANSPORT does not list it"));
	slime_ctx_destroy(ctx);
	assert_int_equal(unsetenv("DLSLIME_TRANSPORT"), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_preferred_one_is_used_when_nobody_objects),
	    cmocka_unit_test(a_refusal_moves_both_sides_on),
	    cmocka_unit_test(a_device_that_is_missing_on_one_side_leaves_the_other_transport),
	    cmocka_unit_test(without_another_the_refusal_is_the_error),
	    cmocka_unit_test(lanes_are_as_many_as_both_have),
	    cmocka_unit_test(names_that_nobody_has_are_told_apart),
	    cmocka_unit_test(the_environment_restricts_the_choice_but_no_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
