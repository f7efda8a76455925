/* SPDX-License-Identifier: BSD-3-Clause */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "endpoint/internal.h"

static const int64_t patience_ns = 20 * SL_NS_PER_S;

/* Is the library thread of CTX asked to leave the driving to who polls? */
static bool is_watching(slime_ctx *ctx)
{
	return atomic_load(&ctx->engine.watching);
}

/* His polls never drive, as the library thread was faster each time: it has to stand back. */
static void who_polls_for_what_is_there_already_drives(void **state)
{
	int64_t until = sl_clock_after(patience_ns);
	struct slime_error err;
	slime_ctx *ctx;

	(void)state;
	assert_int_equal(slime_ctx_create(NULL, &ctx, &err), 0);
	sl_progress_polled(ctx);
	assert_false(is_watching(ctx)); /* once is no polling */
	while (!is_watching(ctx) && sl_clock_ns() < until)
		sl_progress_polled(ctx);
	assert_true(is_watching(ctx));
	while (is_watching(ctx) && sl_clock_ns() < until)
		(void)sched_yield();
	assert_false(is_watching(ctx)); /* nobody polls any more */
	slime_ctx_destroy(ctx);
}

static void nobody_stands_back_where_there_is_no_library_thread(void **state)
{
	struct slime_ctx_opts opts = {.size = sizeof(opts), .flags = SLIME_CTX_MANUAL_PROGRESS};
	struct slime_error err;
	slime_ctx *ctx;

	(void)state;
	assert_int_equal(slime_ctx_create(&opts, &ctx, &err), 0);
	for (int i = 0; i < 100; i++)
		sl_progress_polled(ctx);
	assert_false(is_watching(ctx));
	slime_ctx_destroy(ctx);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_polls_for_what_is_there_already_drives),
	    cmocka_unit_test(nobody_stands_back_where_there_is_no_library_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
