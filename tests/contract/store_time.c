/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/store_time.c - what expires, what does not, and when it is told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store_rig.h"

enum { SHORT_MS = 300 };

static struct store_op mortal(struct store_key key, int64_t ttl_ms)
{
	struct store_op op = put_of(key, "{\"addr\":\"x\"}");

	op.ttl_ms = ttl_ms;
	return op;
}

static void an_untouched_record_expires_and_is_told_within_a_second_serial(void)
{
	static const enum store_class classes[] = {STORE_AGENT, STORE_LEASE, STORE_OBS};
	struct rig *r = rig_create();

	for (size_t i = 0; i < 3; i++) {
		struct store_key key = key_of(classes[i], "s", "", "mortal");
		int64_t began = now_ns(), took;
		const struct seen *s;
		size_t at = r->n_seen;

		CHECK_ASK(r, mortal(key, SHORT_MS), 0);
		(void)rig_event(r, &at, "mortal");
		s = rig_event(r, &at, "mortal");
		took = now_ns() - began;
		CHECK_EQ(s->change, STORE_HAS_EXPIRED);
		CHECK_EQ(s->class, classes[i]);
		CHECK(s->value == NULL || strstr(s->value, "addr") != NULL);
		CHECK(took >= (SHORT_MS - 5) * NS_PER_MS);
		CHECK(took < (SHORT_MS + 1000) * NS_PER_MS + slack_ns());
		CHECK(!is_there(r, key));
		CHECK_ASK(r, touch_of(key), 0);
		CHECK(!r->answer.res[0].found);
	}
	rig_close(r);
}

static void a_touched_record_lives_on(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_ENTITY, "s", "t", "alive");
	int64_t end;
	size_t at = 0;

	CHECK_ASK(r, mortal(key, 4 * SHORT_MS), 0);
	end = now_ns() + 8 * SHORT_MS * NS_PER_MS;
	while (now_ns() < end) {
		CHECK_ASK(r, touch_of(key), 0);
		CHECK(r->answer.res[0].found);
		rig_run(r, 20 * NS_PER_MS);
	}
	CHECK(is_there(r, key));
	CHECK_EQ(r->n_seen, 1);
	(void)rig_event(r, &at, "alive");
	CHECK_EQ(rig_event(r, &at, "alive")->change, STORE_HAS_EXPIRED);
	rig_close(r);
}

static void a_touch_may_set_another_time_for_once(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_LEASE, "s", "", "once");
	struct store_op touch = touch_of(key);
	size_t at = 0;

	CHECK_ASK(r, mortal(key, 600000), 0);
	touch.ttl_ms = SHORT_MS;
	CHECK_ASK(r, touch, 0);
	CHECK(is_there(r, key));
	CHECK_EQ(r->answer.row->ttl_ms, 600000);
	(void)rig_event(r, &at, "once");
	CHECK_EQ(rig_event(r, &at, "once")->change, STORE_HAS_EXPIRED);
	rig_close(r);
}

static void a_parent_that_expires_takes_its_children_along(void)
{
	struct rig *r = rig_create();
	struct store_key agent = key_of(STORE_AGENT, "s", "", "a"),
			 one = {STORE_REGION, "s", "a", "1"};
	struct store_op op = put_of(one, "{\"addr\":1}"), message = {.verb = STORE_APPEND};
	size_t at = 0;

	message.key = key_of(STORE_BOX, "s", "1", "a");
	message.value = "{}";
	message.parent = &agent;
	CHECK_ASK(r, mortal(agent, SHORT_MS), 0);
	op.parent = &agent;
	CHECK_ASK(r, op, 0);
	CHECK_ASK(r, message, 0);
	(void)rig_event(r, &at, "1");
	CHECK_EQ(rig_event(r, &at, "1")->change, STORE_HAS_EXPIRED);
	(void)rig_event(r, &at, "a");
	CHECK(!is_there(r, one));
	CHECK(!is_there(r, agent));
	CHECK(!is_there(r, message.key));
	rig_close(r);
}

static void to_touch_a_parent_touches_its_children(void)
{
	struct rig *r = rig_create();
	struct store_key agent = key_of(STORE_AGENT, "s", "", "a"),
			 lease = {STORE_LEASE, "s", "", "l"};
	struct store_op op = mortal(lease, 4 * SHORT_MS);
	int64_t end;

	CHECK_ASK(r, mortal(agent, 600000), 0);
	op.parent = &agent;
	CHECK_ASK(r, op, 0);
	end = now_ns() + 8 * SHORT_MS * NS_PER_MS;
	while (now_ns() < end) {
		CHECK_ASK(r, touch_of(agent), 0);
		CHECK(r->answer.res[0].found);
		rig_run(r, 20 * NS_PER_MS);
	}
	CHECK(is_there(r, lease));
	rig_until(r, !is_there(r, lease));
	CHECK(is_there(r, agent));
	rig_close(r);
}

static void a_put_gives_a_new_time_or_none(void)
{
	struct rig *r = rig_create();
	struct store_key a = key_of(STORE_LEASE, "s", "", "a"),
			 b = key_of(STORE_LEASE, "s", "", "b");
	struct store_key c = key_of(STORE_LEASE, "s", "", "c");

	CHECK_ASK(r, mortal(a, SHORT_MS), 0);
	CHECK_ASK(r, mortal(a, 0), 0);
	CHECK_ASK(r, mortal(b, 0), 0);
	CHECK_ASK(r, mortal(b, SHORT_MS), 0);
	CHECK_ASK(r, mortal(c, SHORT_MS), 0);
	CHECK_ASK(r, del_of(c), 0);
	CHECK_ASK(r, mortal(c, 600000), 0);
	rig_until(r, !is_there(r, b));
	rig_run(r, SHORT_MS * NS_PER_MS);
	CHECK(is_there(r, a));
	CHECK(is_there(r, c));
	rig_close(r);
}

static void many_records_expire_together(void)
{
	struct rig *r = rig_create();
	enum { N = 3000 };
	struct store_op op = {.verb = STORE_COUNT, .key = {.class = STORE_LEASE, .scope = "s"}};
	size_t expired = 0;

	for (int i = 0; i < N; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "%d", i);
		CHECK_ASK(r, mortal(key_of(STORE_LEASE, "s", "", id), 1 + i % 500), 0);
	}
	rig_until(r, ask1(r, op) == 0 && r->answer.res[0].number == 0);
	rig_until(r, r->n_seen >= 2 * N);
	for (size_t i = 0; i < r->n_seen; i++)
		expired += r->seen[i].change == STORE_HAS_EXPIRED;
	CHECK_EQ(expired, N);
	rig_close(r);
}

const struct contract_case store_time_cases[] = {
    {"an_untouched_record_expires_and_is_told_within_a_second_serial",
     an_untouched_record_expires_and_is_told_within_a_second_serial, 1},
    {"a_touched_record_lives_on", a_touched_record_lives_on, 1},
    {"a_touch_may_set_another_time_for_once", a_touch_may_set_another_time_for_once, 1},
    {"a_parent_that_expires_takes_its_children_along",
     a_parent_that_expires_takes_its_children_along, 1},
    {"to_touch_a_parent_touches_its_children", to_touch_a_parent_touches_its_children, 1},
    {"a_put_gives_a_new_time_or_none", a_put_gives_a_new_time_or_none, 1},
    {"many_records_expire_together", many_records_expire_together, 1},
    {0},
};
