/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lifetimes.h"

#define MS INT64_C(1000000)

static struct store_key lease(const char *id)
{
	return (struct store_key){STORE_LEASE, "s", "", id};
}

static void begin(struct lifetimes *all, const char *id, const char *parent, int64_t ttl_ms,
                  int64_t now)
{
	struct life life = {.what = LIFE_BEGINS, .key = lease(id), .ttl_ms = ttl_ms, .born = 7};

	if (parent)
		life.parent = lease(parent);
	assert_int_equal(lifetimes_apply(all, &life, now), 0);
}

static void end(struct lifetimes *all, const char *id)
{
	struct life life = {.what = LIFE_ENDS, .key = lease(id)};

	assert_int_equal(lifetimes_apply(all, &life, 0), 0);
}

static void touch(struct lifetimes *all, const char *id, int64_t once_ms, int64_t now)
{
	struct store_key key = lease(id);

	lifetimes_touch(all, &key, once_ms, now);
}

static int look(struct lifetimes *all, const char *id)
{
	struct store_key key = lease(id);
	uint64_t revision, born;

	return lifetimes_look(all, &key, &revision, &born);
}

#define CHECK_DUE(all, now, want)                                           \
	do {                                                                \
		const struct store_key *due = lifetimes_take_due(all, now); \
		const char *id = due ? due->id : "nothing";                 \
		assert_string_equal(id, want);                              \
	} while (0)

static void what_nobody_touches_is_due_in_order(void **state)
{
	struct lifetimes *all = lifetimes_create();

	(void)state;
	begin(all, "b", NULL, 20, 0);
	begin(all, "a", NULL, 10, 0);
	begin(all, "for ever", NULL, 0, 0);
	assert_int_equal(lifetimes_next_ns(all), 10 * MS);
	CHECK_DUE(all, 9 * MS, "nothing");
	CHECK_DUE(all, 20 * MS, "a");
	CHECK_DUE(all, 20 * MS, "b");
	CHECK_DUE(all, 1000 * MS, "nothing");
	assert_int_equal(look(all, "a"), -ENOENT);
	assert_int_equal(look(all, "for ever"), -ESRCH);
	lifetimes_destroy(all);
}

static void a_touch_puts_the_end_off(void **state)
{
	struct lifetimes *all = lifetimes_create();

	(void)state;
	begin(all, "a", NULL, 10, 0);
	touch(all, "a", 0, 5 * MS);
	CHECK_DUE(all, 14 * MS, "nothing");
	assert_int_equal(look(all, "a"), 0);
	touch(all, "a", 2, 14 * MS); /* nearer than it was */
	assert_int_equal(lifetimes_next_ns(all), 15 * MS);
	CHECK_DUE(all, 16 * MS, "a");
	touch(all, "a", 0, 17 * MS); /* too late */
	assert_int_equal(look(all, "a"), -ENOENT);
	lifetimes_destroy(all);
}

static void to_touch_a_parent_touches_its_children(void **state)
{
	struct lifetimes *all = lifetimes_create();

	(void)state;
	begin(all, "child", "parent", 10, 0); /* the parent itself lives for ever */
	touch(all, "parent", 0, 5 * MS);
	CHECK_DUE(all, 14 * MS, "nothing");
	CHECK_DUE(all, 15 * MS, "child");
	end(all, "child");
	begin(all, "child", "parent", 10, 20 * MS);
	begin(all, "parent", NULL, 10, 20 * MS);
	end(all, "parent");
	end(all, "child");
	assert_int_equal(lifetimes_next_ns(all), -1);
	lifetimes_destroy(all);
}

static void what_is_held_is_not_due(void **state)
{
	struct lifetimes *all = lifetimes_create();
	struct store_key key = lease("a");

	(void)state;
	lifetimes_hold(all, &key); /* before it is there */
	begin(all, "a", NULL, 10, 0);
	CHECK_DUE(all, 100 * MS, "nothing");
	lifetimes_release(all, &key);
	CHECK_DUE(all, 1000 * MS, "a");
	lifetimes_revive(all, &key, 2000 * MS);
	assert_int_equal(look(all, "a"), 0);
	CHECK_DUE(all, 1999 * MS, "nothing");
	CHECK_DUE(all, 2000 * MS, "a");
	lifetimes_destroy(all);
}

static void what_a_file_says_changes_nothing_that_is_known(void **state)
{
	struct lifetimes *all = lifetimes_create();
	struct life old = {.what = LIFE_BEGINS, .key = lease("a"), .ttl_ms = 1000};

	(void)state;
	begin(all, "a", NULL, 10, 0);
	assert_int_equal(lifetimes_found(all, &old, 0), 0);
	CHECK_DUE(all, 10 * MS, "a");
	lifetimes_destroy(all);
}

/* Against a list that is searched from end to end. */
static void many_come_and_go_at_random(void **state)
{
	enum { N = 3000, STEPS = 60000 };
	struct lifetimes *all = lifetimes_create();
	int64_t *due = calloc(N, sizeof(*due)), now = 0;
	unsigned int seed = 1;

	(void)state;
	for (int step = 0; step < STEPS; step++) {
		int i = rand_r(&seed) % N, ttl = 1 + rand_r(&seed) % 50;
		const struct store_key *key;
		char id[16];

		(void)snprintf(id, sizeof(id), "%d", i);
		now += MS / 100;
		switch (rand_r(&seed) % 3) {
		case 0:
			begin(all, id, NULL, ttl, now);
			due[i] = now + ttl * MS;
			break;
		case 1:
			touch(all, id, ttl, now);
			due[i] = due[i] ? now + ttl * MS : 0;
			break;
		default:
			end(all, id);
			due[i] = 0;
		}
		while ((key = lifetimes_take_due(all, now))) {
			long k = strtol(key->id, NULL, 10);

			assert_true(due[k] && due[k] <= now);
			due[k] = 0;
			(void)snprintf(id, sizeof(id), "%ld", k);
			end(all, id);
		}
		for (int k = 0; step % 500 == 0 && k < N; k++)
			assert_true(!due[k] || due[k] > now);
	}
	free(due);
	lifetimes_destroy(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_nobody_touches_is_due_in_order),
	    cmocka_unit_test(a_touch_puts_the_end_off),
	    cmocka_unit_test(to_touch_a_parent_touches_its_children),
	    cmocka_unit_test(what_is_held_is_not_due),
	    cmocka_unit_test(what_a_file_says_changes_nothing_that_is_known),
	    cmocka_unit_test(many_come_and_go_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
