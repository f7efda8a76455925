/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/futex.h"
#include "endpoint/internal.h"

static const int64_t patience_ns = 20 * SL_NS_PER_S;

/* Is the library thread of CTX asked to leave the driving to who polls? */
static bool is_watching(slime_ctx *ctx)
{
	return atomic_load(&ctx->engine.watch_ns) != 0;
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

static void take_one(slime_cq *cq)
{
	struct slime_result res = {0};

	assert_int_equal(sl_cq_reserve(cq), 0);
	sl_cq_post(cq, &res);
	assert_int_equal(slime_cq_take(cq, &res, 1), 1);
}

/* Likewise from a queue; but who has its descriptor may sleep on that any moment. */
static void who_finds_each_result_in_his_queue_already_drives(void **state)
{
	int64_t until = sl_clock_after(patience_ns);
	struct slime_error err;
	slime_ctx *ctx;
	slime_cq *cq;

	(void)state;
	assert_int_equal(slime_ctx_create(NULL, &ctx, &err), 0);
	assert_int_equal(slime_cq_create(ctx, 0, &cq, &err), 0);
	while (!is_watching(ctx) && sl_clock_ns() < until)
		take_one(cq);
	assert_true(is_watching(ctx));
	while (is_watching(ctx) && sl_clock_ns() < until)
		(void)sched_yield();
	assert_true(slime_cq_fd(cq) >= 0);
	for (int i = 0; i < 1000; i++) {
		take_one(cq);
		assert_false(is_watching(ctx));
	}
	slime_cq_destroy(cq);
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

/* A thread that waits in sl_drive() until somebody reaches its goal, as one that waits for an op.
 */
struct waiter {
	slime_ctx *ctx;
	pthread_t thread;
	int64_t until;
	_Atomic uint32_t reached;
	_Atomic bool returned;
};

static bool is_reached(void *arg)
{
	return atomic_load(&((struct waiter *)arg)->reached);
}

static void mark(void *arg, bool as_driver)
{
	(void)arg;
	(void)as_driver;
}

static void sleep_on(void *arg, int64_t until_ns)
{
	sl_futex_wait(&((struct waiter *)arg)->reached, 0, until_ns);
}

static void *wait_main(void *arg)
{
	struct waiter *w = arg;
	struct sl_goal goal = {.reached = is_reached, .mark = mark, .sleep = sleep_on, .arg = w};

	(void)sl_drive(w->ctx, &goal, w->until);
	atomic_store(&w->returned, true);
	return NULL;
}

static void start(struct waiter *w, slime_ctx *ctx, int64_t until)
{
	w->ctx = ctx;
	w->until = until;
	atomic_store(&w->reached, 0);
	atomic_store(&w->returned, false);
	assert_int_equal(pthread_create(&w->thread, NULL, wait_main, w), 0);
}

static void reach(struct waiter *w)
{
	atomic_store(&w->reached, 1);
	sl_futex_wake(&w->reached, INT_MAX);
	sl_driver_wake(w->ctx);
}

/* Until one of them sleeps as driver; the library thread may be it as well, now and then. */
static void let_one_drive(slime_ctx *ctx)
{
	int64_t until = sl_clock_after(20 * SL_NS_PER_MS);

	while (!atomic_load(&ctx->engine.driver_sleeps) && sl_clock_ns() < until)
		(void)sched_yield();
}

/* Who let go for somebody was blocked until the waiter that had come in between was content. */
static void who_lets_go_does_not_wait_for_who_drives_next(void **state)
{
	int64_t until = sl_clock_after(patience_ns);
	struct waiter first, next;
	struct slime_error err;
	slime_ctx *ctx;

	(void)state;
	assert_int_equal(slime_ctx_create(NULL, &ctx, &err), 0);
	for (int i = 0; i < 50; i++) {
		start(&first, ctx, until);
		let_one_drive(ctx);
		sl_progress_enter(ctx);
		start(&next, ctx, until);
		while (atomic_load(&ctx->engine.drivers) < 2 && sl_clock_ns() < until)
			;
		sl_progress_exit(ctx); /* for the one that polls, most likely */
		let_one_drive(ctx);
		reach(&first);
		while (!atomic_load(&first.returned) && sl_clock_ns() < until)
			(void)sched_yield();
		assert_true(sl_clock_ns() < until);
		reach(&next);
		(void)pthread_join(first.thread, NULL);
		(void)pthread_join(next.thread, NULL);
	}
	slime_ctx_destroy(ctx);
}

/* A goal of which somebody finds the mark at once and wakes, but which is reached a moment later.
 */
struct early {
	slime_ctx *ctx;
	unsigned marks;
};

static bool is_marked_twice(void *arg)
{
	return ((struct early *)arg)->marks > 1;
}

static void take_the_mark(void *arg, bool as_driver)
{
	struct early *e = arg;

	if (as_driver && !e->marks++)
		sl_driver_wake(e->ctx);
}

static void sleep_not(void *arg, int64_t until_ns)
{
	(void)arg;
	(void)until_ns;
}

/*
 * As two who post to a queue: the later place is filled first, and who fills it takes the mark.
 * The other finds none, so the driver has to look again by itself. It slept.
 */
static void who_is_woken_before_it_sleeps_looks_again(void **state)
{
	struct early early = {0};
	struct sl_goal goal = {
	    .reached = is_marked_twice, .mark = take_the_mark, .sleep = sleep_not, .arg = &early};
	struct slime_error err;

	(void)state;
	assert_int_equal(slime_ctx_create(NULL, &early.ctx, &err), 0);
	assert_true(sl_drive(early.ctx, &goal, sl_clock_after(patience_ns)));
	slime_ctx_destroy(early.ctx);
}

static bool is_second_look(void *arg)
{
	return (*(unsigned *)arg)++ > 0;
}

/* A wait that drives, once if the library thread lets it, and finds what it waits for. */
static void wait_once(slime_ctx *ctx)
{
	unsigned looks = 0;
	struct sl_goal goal = {
	    .reached = is_second_look, .mark = mark, .sleep = sleep_not, .arg = &looks};

	assert_true(sl_drive(ctx, &goal, sl_clock_after(patience_ns)));
}

/* What it saves are two system calls a wait. On a core of its own it is not worth the peers' time.
 */
static void who_waits_again_and_again_drives_where_the_core_is_contended(void **state)
{
	int64_t until = sl_clock_after(patience_ns);
	struct slime_error err;
	slime_ctx *ctx;

	(void)state;
	assert_int_equal(slime_ctx_create(NULL, &ctx, &err), 0);
	for (int i = 0; i < 1000; i++) {
		wait_once(ctx);
		assert_false(is_watching(ctx));
	}
	atomic_store(&ctx->engine.no_spin_until, until);
	while (!is_watching(ctx) && sl_clock_ns() < until)
		wait_once(ctx);
	assert_true(is_watching(ctx));
	while (is_watching(ctx) && sl_clock_ns() < until)
		(void)sched_yield();
	assert_false(is_watching(ctx));
	slime_ctx_destroy(ctx);
}

static bool posts_always(const struct sl_dom *dom)
{
	(void)dom;
	return true;
}

static void close_nothing(struct sl_dom *dom)
{
	(void)dom;
}

/* A post may take longer than what is left between the polls of one who does nothing else. */
static void who_is_in_a_post_is_still_there_for_a_while(void **state)
{
	static const struct sl_transport slow = {.dom_posts = posts_always,
	                                         .dom_close = close_nothing};
	int64_t until = sl_clock_after(patience_ns), began;
	struct slime_error err;
	slime_ctx *ctx;

	(void)state;
	assert_int_equal(slime_ctx_create(NULL, &ctx, &err), 0);
	ctx->doms[0].tr = &slow;
	ctx->doms[0].fd = -1;
	atomic_store(&ctx->ndoms, 1);
	do
		began = sl_clock_ns();
	while (!sl_progress_poll(ctx) && !is_watching(ctx) && began < until);
	while (is_watching(ctx) && sl_clock_ns() < until)
		(void)sched_yield();
	assert_true(sl_clock_ns() - began >= 5 * SL_NS_PER_MS); /* and not only one */
	assert_false(is_watching(ctx));
	do { /* from here on, looks that are so far apart are polls */
		began = sl_clock_ns();
		sl_progress_polled(ctx);
		while (sl_clock_ns() - began < 3 * SL_NS_PER_MS)
			(void)sched_yield();
		sl_progress_polled(ctx);
	} while (!is_watching(ctx) && sl_clock_ns() < until);
	assert_true(is_watching(ctx));
	slime_ctx_destroy(ctx);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_polls_for_what_is_there_already_drives),
	    cmocka_unit_test(who_finds_each_result_in_his_queue_already_drives),
	    cmocka_unit_test(nobody_stands_back_where_there_is_no_library_thread),
	    cmocka_unit_test(who_lets_go_does_not_wait_for_who_drives_next),
	    cmocka_unit_test(who_is_woken_before_it_sleeps_looks_again),
	    cmocka_unit_test(who_waits_again_and_again_drives_where_the_core_is_contended),
	    cmocka_unit_test(who_is_in_a_post_is_still_there_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
