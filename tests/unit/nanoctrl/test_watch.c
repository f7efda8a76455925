/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "watch.h"

static struct event_base *loop;
static struct watch *watch;

static int setup(void **state)
{
	(void)state;
	loop = event_base_new();
	watch = watch_create(loop);
	return !watch;
}

static int teardown(void **state)
{
	(void)state;
	watch_destroy(watch);
	event_base_free(loop);
	return 0;
}

static void tell(enum store_class class, const char *scope, const char *type, const char *id,
                 uint64_t revision, const char *value)
{
	const struct store_event event = {.change = STORE_WAS_PUT,
	                                  .revision = revision,
	                                  .key = {class, scope, type, id},
	                                  .kind = "k",
	                                  .value = value};

	watch_event(watch, &event);
}

static void run_loop(void)
{
	(void)event_base_loop(loop, EVLOOP_NONBLOCK);
}

struct seen {
	size_t n, stop_at;
	uint64_t first, last;
};

static bool see(void *arg, const struct store_event *event)
{
	struct seen *seen = arg;

	if (!seen->n++)
		seen->first = event->revision;
	seen->last = event->revision;
	return seen->n != seen->stop_at;
}

static void events_are_kept_in_order_with_their_words(void **state)
{
	struct seen seen = {0};

	(void)state;
	tell(STORE_AGENT, "s", "", "a", 3, "{}");
	tell(STORE_REGION, "s", "a", "r", 5, NULL);
	assert_int_equal(watch_read(watch, 0, see, &seen), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.first, 3);
	seen = (struct seen){0};
	assert_int_equal(watch_read(watch, 3, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.last, 5);
	seen = (struct seen){.stop_at = 1};
	assert_int_equal(watch_read(watch, 0, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(watch_revision(watch), 5);
}

static void the_oldest_of_65536_events_goes_and_is_missed(void **state)
{
	struct seen seen = {0};

	(void)state;
	for (uint64_t i = 1; i <= 65537; i++)
		tell(STORE_ENTITY, "", "t", "e", i, "{}");
	assert_int_equal(watch_read(watch, 0, see, &seen), -ESTALE);
	assert_int_equal(seen.n, 0);
	assert_int_equal(watch_read(watch, 1, see, &seen), 0);
	assert_int_equal(seen.n, 65536);
	assert_int_equal(seen.first, 2);
}

static void large_values_leave_room_for_fewer_events(void **state)
{
	char *value = calloc(1, 1 << 20);
	struct seen seen = {0};

	(void)state;
	assert_non_null(value);
	memset(value, 'x', (1 << 20) - 1);
	for (uint64_t i = 1; i <= 100; i++)
		tell(STORE_ENTITY, "", "t", "e", i, value);
	free(value);
	assert_int_equal(watch_read(watch, 50, see, &seen), -ESTALE);
	assert_int_equal(watch_read(watch, 90, see, &seen), 0);
	assert_int_equal(seen.n, 10);
}

static void a_gap_forgets_what_was_before_it(void **state)
{
	struct seen seen = {0};

	(void)state;
	for (uint64_t i = 1; i <= 9; i++)
		tell(STORE_ENTITY, "", "t", "e", i, "{}");
	watch_gap(watch, 5);
	assert_int_equal(watch_read(watch, 4, see, &seen), -ESTALE);
	assert_int_equal(watch_read(watch, 5, see, &seen), 0);
	assert_int_equal(seen.n, 4);
	watch_gap(watch, 20);
	assert_int_equal(watch_revision(watch), 20);
	assert_int_equal(watch_read(watch, 9, see, &seen), -ESTALE);
}

struct heard {
	struct waiter *waiter;
	size_t n;
	enum ring last;
};

static void count_ring(void *arg, enum ring ring)
{
	struct heard *heard = arg;

	heard->n++;
	heard->last = ring;
	if (ring == RING_END)
		waiter_destroy(heard->waiter);
}

static void hear(struct heard *heard, enum bell bell, const char *scope, const char *name)
{
	*heard = (struct heard){.waiter = waiter_create(watch, count_ring, heard)};
	assert_non_null(heard->waiter);
	assert_int_equal(waiter_hear(heard->waiter, bell, scope, name), 0);
}

static void a_bell_rings_for_those_who_hear_it_only(void **state)
{
	struct heard scope, other, agent, mail, lease;

	(void)state;
	hear(&scope, BELL_SCOPE, "s", "");
	hear(&other, BELL_SCOPE, "", "");
	hear(&agent, BELL_AGENT, "s", "a");
	hear(&mail, BELL_MAIL, "s", "a");
	hear(&lease, BELL_LEASE, "s", "l");
	tell(STORE_AGENT, "s", "", "a", 1, "{}");
	run_loop();
	assert_true(scope.n == 1 && agent.n == 1 && !other.n && !mail.n && !lease.n);
	tell(STORE_REGION, "s", "a", "r", 2, "{}");
	tell(STORE_REGION, "s", "b", "r", 3, "{}");
	run_loop();
	assert_true(scope.n == 2 && agent.n == 2); /* once for both */
	tell(STORE_BOX, "s", "1", "a", 4, "{}");
	tell(STORE_LEASE, "s", "", "l", 5, "{}");
	tell(STORE_OBS, "", "", "a", 6, "{}");
	run_loop();
	assert_true(mail.n == 1 && lease.n == 1 && scope.n == 3 && !other.n);
	waiter_destroy(scope.waiter);
	waiter_destroy(other.waiter);
	waiter_destroy(agent.waiter);
	waiter_destroy(mail.waiter);
	waiter_destroy(lease.waiter);
}

static void mail_bells_ring_when_the_agent_is_gone(void **state)
{
	const struct store_event gone = {.change = STORE_HAS_EXPIRED,
	                                 .revision = 1,
	                                 .key = {STORE_AGENT, "", "", "a"},
	                                 .kind = ""};
	struct heard mail;

	(void)state;
	hear(&mail, BELL_MAIL, "", "a");
	watch_event(watch, &gone);
	run_loop();
	assert_int_equal(mail.n, 1);
	waiter_destroy(mail.waiter);
}

static void who_is_destroyed_while_due_is_not_called(void **state)
{
	struct heard first, second;

	(void)state;
	hear(&first, BELL_SCOPE, "", "");
	hear(&second, BELL_SCOPE, "", "");
	tell(STORE_ENTITY, "", "t", "e", 1, "{}");
	waiter_destroy(first.waiter);
	run_loop();
	assert_int_equal(first.n, 0);
	assert_int_equal(second.n, 1);
	waiter_destroy(second.waiter);
}

static void a_deadline_rings_once(void **state)
{
	struct heard heard;

	(void)state;
	hear(&heard, BELL_SCOPE, "", "");
	waiter_deadline(heard.waiter, 1);
	(void)event_base_loop(loop, EVLOOP_ONCE);
	assert_int_equal(heard.n, 1);
	assert_int_equal(heard.last, RING_TIME);
	run_loop();
	assert_int_equal(heard.n, 1);
	waiter_destroy(heard.waiter);
}

static void the_end_is_told_to_everybody(void **state)
{
	struct heard first, second;

	(void)state;
	hear(&first, BELL_SCOPE, "", "");
	hear(&second, BELL_AGENT, "", "a");
	watch_destroy(watch);
	assert_true(first.n == 1 && second.n == 1 && first.last == RING_END);
	watch = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static size_t read_of(uint64_t after, struct seen *seen, const char *a, const char *b)
{
	const char *const names[] = {a, b};
	const struct watch_names of = {"s", names, b ? 2 : 1};

	assert_int_equal(watch_read_of(watch, after, &of, see, seen), 0);
	return seen->n;
}

static void the_events_of_some_agents_are_read_without_the_others(void **state)
{
	struct seen seen = {0};

	(void)state;
	tell(STORE_AGENT, "s", "", "a", 1, "{}");
	tell(STORE_AGENT, "s", "", "b", 2, "{}");
	tell(STORE_AGENT, "other", "", "a", 3, "{}");
	tell(STORE_ENTITY, "s", "a", "a", 4, "{}");
	tell(STORE_REGION, "s", "a", "r", 5, "{}");
	for (uint64_t revision = 6; revision < 50000; revision++) { /* in all buckets */
		char name[24];

		(void)snprintf(name, sizeof(name), "x%llu", (unsigned long long)revision);
		tell(STORE_AGENT, "s", "", name, revision, "{}");
	}
	assert_int_equal(read_of(0, &seen, "a", NULL), 2);
	assert_true(seen.first == 1 && seen.last == 5);
	seen = (struct seen){0};
	assert_int_equal(read_of(0, &seen, "b", "a"), 3);
	assert_true(seen.first == 1 && seen.last == 5);
	seen = (struct seen){.stop_at = 2};
	assert_int_equal(read_of(0, &seen, "b", "a"), 2);
	assert_int_equal(seen.last, 2);
	seen = (struct seen){0};
	assert_int_equal(read_of(1, &seen, "a", "a"), 1); /* each once */
	seen = (struct seen){0};
	assert_int_equal(read_of(5, &seen, "a", "nobody"), 0);
}

static void of_agents_whose_events_are_gone_none_are_read(void **state)
{
	const char *const names[] = {"a"};
	const struct watch_names of = {"s", names, 1};
	struct seen seen = {0};

	(void)state;
	tell(STORE_AGENT, "s", "", "a", 1, "{}");
	for (uint64_t revision = 2; revision < 70000; revision++)
		tell(STORE_AGENT, "s", "", "b", revision, "{}");
	assert_int_equal(watch_read_of(watch, 0, &of, see, &seen), -ESTALE);
	assert_int_equal(read_of(69000, &seen, "a", NULL), 0);
	tell(STORE_AGENT, "s", "", "a", 70000, "{}");
	assert_int_equal(read_of(69000, &seen, "a", NULL), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(events_are_kept_in_order_with_their_words),
	    TEST(the_oldest_of_65536_events_goes_and_is_missed),
	    TEST(large_values_leave_room_for_fewer_events),
	    TEST(the_events_of_some_agents_are_read_without_the_others),
	    TEST(of_agents_whose_events_are_gone_none_are_read),
	    TEST(a_gap_forgets_what_was_before_it),
	    TEST(a_bell_rings_for_those_who_hear_it_only),
	    TEST(mail_bells_ring_when_the_agent_is_gone),
	    TEST(who_is_destroyed_while_due_is_not_called),
	    TEST(a_deadline_rings_once),
	    TEST(the_end_is_told_to_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
