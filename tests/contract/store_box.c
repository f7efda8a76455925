/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/store_box.c - boxes: order, positions, bounds. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store_rig.h"

static const struct store_key box = {STORE_BOX, "s", "1", "a"};

static struct store_op append_of(const char *value)
{
	return (struct store_op){.verb = STORE_APPEND, .key = box, .value = value};
}

static uint64_t append(struct rig *r, int i)
{
	char value[32];

	(void)snprintf(value, sizeof(value), "{\"i\":%d}", i);
	CHECK_ASK(r, append_of(value), 0);
	return r->answer.res[0].number;
}

static size_t read_behind(struct rig *r, uint64_t position, uint32_t limit, uint64_t bytes)
{
	struct store_op op = {.verb = STORE_READ,
	                      .key = box,
	                      .position = position,
	                      .limit = limit,
	                      .limit_bytes = bytes};

	CHECK_ASK(r, op, 0);
	return r->answer.n;
}

static void trim(struct rig *r, uint64_t position)
{
	struct store_op op = {.verb = STORE_TRIM, .key = box, .position = position};

	CHECK_ASK(r, op, 0);
}

static void messages_are_read_in_order_behind_a_position(void)
{
	struct rig *r = rig_create();
	uint64_t at[20];

	CHECK_EQ(read_behind(r, 0, 0, 0), 0);
	CHECK(!r->answer.res[0].found);
	for (int i = 0; i < 20; i++) {
		at[i] = append(r, i);
		CHECK(i == 0 || at[i] > at[i - 1]);
	}
	CHECK_EQ(read_behind(r, 0, 0, 0), 20);
	CHECK(r->answer.res[0].found);
	for (int i = 0; i < 20; i++) {
		char value[32];

		(void)snprintf(value, sizeof(value), "{\"i\":%d}", i);
		CHECK(!strcmp(r->answer.row[i].value, value));
		CHECK_EQ(r->answer.row[i].revision, at[i]);
		CHECK(r->answer.row[i].at_ms > INT64_C(1700000000000));
	}
	CHECK_EQ(read_behind(r, at[4], 3, 0), 3);
	CHECK_EQ(r->answer.row[0].revision, at[5]);
	CHECK_EQ(read_behind(r, at[19], 0, 0), 0);
	CHECK_EQ(read_behind(r, UINT64_MAX, 0, 0), 0);
	CHECK_EQ(read_behind(r, 0, 0, 1), 1); /* at least one, however long */
	CHECK_EQ(read_behind(r, 0, 0, 8), 2);
	trim(r, at[17]);
	CHECK_EQ(read_behind(r, 0, 0, 0), 2);
	CHECK_EQ(r->answer.row[0].revision, at[18]);
	trim(r, UINT64_MAX);
	CHECK_EQ(read_behind(r, 0, 0, 0), 0);
	CHECK(append(r, 20) > at[19]);
	CHECK_EQ(read_behind(r, at[19], 0, 0), 1);
	rig_close(r);
}

static void a_full_box_takes_no_more(void)
{
	struct rig *r = rig_create();
	struct store_op op = append_of("{\"x\":\"0123456789\"}");

	op.limit = 3;
	for (int i = 0; i < 3; i++)
		CHECK_ASK(r, op, 0);
	CHECK_ASK(r, op, -ENOSPC);
	CHECK(strstr(r->answer.err.text, "'a'") != NULL);
	op.limit = 0;
	op.limit_bytes = 3 * strlen(op.value) + 5;
	CHECK_ASK(r, op, -ENOSPC);
	op.value = "{}";
	CHECK_ASK(r, op, 0);
	CHECK_EQ(read_behind(r, 0, 0, 0), 4);
	trim(r, r->answer.row[1].revision);
	op.limit = 3;
	op.limit_bytes = 0;
	CHECK_ASK(r, op, 0);
	CHECK_ASK(r, op, -ENOSPC);
	rig_close(r);
}

/* A batch counts as one: all of it fits or none. */
static void messages_of_one_request_fit_together_or_not_at_all(void)
{
	struct rig *r = rig_create();
	struct store_op ops[4];

	for (int i = 0; i < 4; i++) {
		ops[i] = append_of("{\"a\":1}");
		ops[i].limit = 3;
	}
	CHECK_RC(ask(r, ops, 4), -ENOSPC);
	CHECK_EQ(r->answer.failed, 3);
	CHECK_EQ(read_behind(r, 0, 0, 0), 0);
	CHECK_RC(ask(r, ops, 3), 0);
	CHECK_EQ(read_behind(r, 0, 0, 0), 3);
	rig_close(r);
}

static void a_box_goes_with_its_parent(void)
{
	struct rig *r = rig_create();
	struct store_key agent = key_of(STORE_AGENT, "s", "", "a");
	struct store_op op = append_of("{\"a\":1}");

	op.parent = &agent;
	CHECK_ASK(r, op, -ENOENT);
	(void)put(r, agent, "{}");
	CHECK_ASK(r, op, 0);
	CHECK_ASK(r, op, 0);
	CHECK_EQ(read_behind(r, 0, 0, 0), 2);
	CHECK(is_there(r, box));
	CHECK_ASK(r, del_of(agent), 0);
	CHECK(!is_there(r, box));
	CHECK_EQ(read_behind(r, 0, 0, 0), 0);
	CHECK_ASK(r, op, -ENOENT);
	/* Nothing is left for the next one of that name. */
	(void)put(r, agent, "{}");
	CHECK_ASK(r, op, 0);
	CHECK_EQ(read_behind(r, 0, 0, 0), 1);
	rig_close(r);
}

static void a_message_is_an_event_and_its_position_a_revision(void)
{
	struct rig *r = rig_create();
	uint64_t before = put(r, key_of(STORE_LEASE, "s", "", "l"), "{}"), position = append(r, 1);
	const struct seen *s;
	size_t at = 0;

	CHECK(position > before);
	s = rig_event(r, &at, "a");
	CHECK_EQ(s->change, STORE_WAS_APPENDED);
	CHECK_EQ(s->class, STORE_BOX);
	CHECK_EQ(s->revision, position);
	CHECK(!strcmp(s->type, "1"));
	CHECK_JSON(s->value, "{\"i\":1}");
	rig_close(r);
}

static void streams_and_inboxes_take_messages_for_others(void)
{
	struct rig *r = rig_create();
	struct store_op op = {.verb = STORE_APPEND,
	                      .key = key_of(STORE_STREAM, "s", "", "a"),
	                      .value = "{\"type\":\"connect_peer\",\"peer\":\"b\"}"};
	size_t at = 0;

	CHECK_ASK(r, op, 0);
	CHECK(r->answer.res[0].number > 0);
	CHECK_EQ(rig_event(r, &at, "a")->change, STORE_WAS_APPENDED);
	op.key.class = STORE_INBOX;
	CHECK_ASK(r, op, 0);
	op.verb = STORE_DEL;
	CHECK_ASK(r, op, 0);
	rig_close(r);
}

const struct contract_case store_box_cases[] = {
    {"messages_are_read_in_order_behind_a_position", messages_are_read_in_order_behind_a_position,
     1},
    {"a_full_box_takes_no_more", a_full_box_takes_no_more, 1},
    {"messages_of_one_request_fit_together_or_not_at_all",
     messages_of_one_request_fit_together_or_not_at_all, 1},
    {"a_box_goes_with_its_parent", a_box_goes_with_its_parent, 1},
    {"a_message_is_an_event_and_its_position_a_revision",
     a_message_is_an_event_and_its_position_a_revision, 1},
    {"streams_and_inboxes_take_messages_for_others", streams_and_inboxes_take_messages_for_others,
     1},
    {0},
};
