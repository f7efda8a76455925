/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/store_list.c - lists, counts and events. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store_rig.h"

static void put_entity(struct rig *r, const char *scope, const char *type, const char *id,
                       const char *kind)
{
	struct store_op op = put_of(key_of(STORE_ENTITY, scope, type, id), "{\"metadata\":{}}");

	op.kind = kind;
	CHECK_ASK(r, op, 0);
}

/* The ids of the list, one after the other. */
static const char *ids(struct rig *r, const char *scope, const char *type, const char *kind,
                       const char *after, uint32_t limit)
{
	static char text[4096];
	struct store_op op = {.verb = STORE_LIST,
	                      .key = key_of(STORE_ENTITY, scope, type, after),
	                      .kind = kind,
	                      .limit = limit};
	size_t n = 0;

	CHECK_ASK(r, op, 0);
	text[0] = '\0';
	for (size_t i = 0; i < r->answer.n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ", r->answer.row[i].key.id);
	return text;
}

#define CHECK_IDS(have, want)                                                                \
	do {                                                                                 \
		const char *ids_have = (have);                                               \
		if (strcmp(ids_have, want))                                                  \
			test_fail("line %d: the list is '%s', not '%s'", __LINE__, ids_have, \
			          want);                                                     \
	} while (0)

static void lists_select_by_scope_type_and_kind_in_order(void)
{
	struct rig *r = rig_create();

	put_entity(r, "s", "service", "b", "cache");
	put_entity(r, "s", "service", "a", "router");
	put_entity(r, "s", "service", "B", "cache");
	put_entity(r, "s", "service", "\xc3\xa9", "cache");
	put_entity(r, "s", "other", "x", "cache");
	put_entity(r, "s", "other", "y", "");
	put_entity(r, "t", "service", "z", "cache");
	put_entity(r, "", "service", "w", "cache");
	(void)put(r, key_of(STORE_AGENT, "s", "", "agent"), "{\"addr\":\"1\"}");
	CHECK_IDS(ids(r, "s", NULL, NULL, NULL, 0), "x y B a b \xc3\xa9 ");
	CHECK_IDS(ids(r, "s", "service", NULL, NULL, 0), "B a b \xc3\xa9 ");
	CHECK_IDS(ids(r, "s", "service", "cache", NULL, 0), "B b \xc3\xa9 ");
	CHECK_IDS(ids(r, "s", NULL, "cache", NULL, 0), "x B b \xc3\xa9 ");
	CHECK_IDS(ids(r, "s", "service", "nothing", NULL, 0), "");
	CHECK_IDS(ids(r, "", NULL, NULL, NULL, 0), "w ");
	CHECK_IDS(ids(r, "nowhere", NULL, NULL, NULL, 0), "");
	/* A kind that changes. */
	put_entity(r, "s", "service", "b", "router");
	CHECK_IDS(ids(r, "s", "service", "cache", NULL, 0), "B \xc3\xa9 ");
	CHECK_IDS(ids(r, "s", "service", "router", NULL, 0), "a b ");
	CHECK_ASK(r, del_of(key_of(STORE_ENTITY, "s", "service", "a")), 0);
	CHECK_IDS(ids(r, "s", "service", "router", NULL, 0), "b ");
	rig_close(r);
}

static void a_list_goes_on_behind_an_id(void)
{
	struct rig *r = rig_create();
	char id[16], after[16] = "";
	int n = 0;

	for (int i = 0; i < 25; i++) {
		(void)snprintf(id, sizeof(id), "e%02d", i * 7 % 25);
		put_entity(r, "s", "t", id, i % 2 ? "odd" : "even");
	}
	for (;;) {
		(void)ids(r, "s", "t", NULL, *after ? after : NULL, 4);
		if (r->answer.n == 0)
			break;
		CHECK(r->answer.n <= 4);
		for (size_t i = 0; i < r->answer.n; i++) {
			(void)snprintf(id, sizeof(id), "e%02d", n++);
			CHECK(!strcmp(r->answer.row[i].key.id, id));
		}
		(void)snprintf(after, sizeof(after), "%s", id);
	}
	CHECK_EQ(n, 25);
	CHECK_IDS(ids(r, "s", "t", NULL, "e21", 0), "e22 e23 e24 ");
	CHECK_IDS(ids(r, "s", "t", NULL, "e215", 1), "e22 "); /* behind one that is not there */
	(void)ids(r, "s", "t", "odd", "e", 3);
	CHECK_EQ(r->answer.n, 3);
	for (size_t i = 0; i < 3; i++)
		CHECK(!strcmp(r->answer.row[i].kind, "odd"));
	rig_close(r);
}

static void regions_of_one_agent_are_listed_by_it(void)
{
	struct rig *r = rig_create();
	struct store_op list = {.verb = STORE_LIST, .key = {STORE_REGION, "s", "a", NULL}};
	const char *value = "{\"addr\":1,\"length\":2,\"rkey\":3,\"lkey\":0}";

	(void)put(r, key_of(STORE_REGION, "s", "a", "m:2"), value);
	(void)put(r, key_of(STORE_REGION, "s", "a", "m:1"), value);
	if (!on_redis()) /* the same key there as a's m:1 */
		(void)put(r, key_of(STORE_REGION, "s", "a:m", "1"), value);
	(void)put(r, key_of(STORE_REGION, "s", "b", "m"), value);
	CHECK_ASK(r, list, 0);
	CHECK_EQ(r->answer.n, 2);
	CHECK(!strcmp(r->answer.row[0].key.id, "m:1"));
	CHECK(!strcmp(r->answer.row[1].key.id, "m:2"));
	CHECK_JSON(r->answer.row[1].value, value);
	rig_close(r);
}

static uint64_t count(struct rig *r, enum store_class class, const char *scope)
{
	struct store_op op = {.verb = STORE_COUNT, .key = {.class = class, .scope = scope}};

	CHECK_ASK(r, op, 0);
	return r->answer.res[0].number;
}

static void a_count_follows_what_comes_and_goes(void)
{
	struct rig *r = rig_create();
	struct store_key a = key_of(STORE_AGENT, "s", "", "a"), lease = {STORE_LEASE, "s", "", "l"};
	struct store_op op = put_of(lease, "{}");

	CHECK_EQ(count(r, STORE_AGENT, "s"), 0);
	(void)put(r, a, "{}");
	(void)put(r, a, "{}");
	(void)put(r, key_of(STORE_AGENT, "t", "", "a"), "{}");
	CHECK_EQ(count(r, STORE_AGENT, "s"), 1);
	CHECK_ASK(r, (struct store_op){.verb = STORE_CENSUS}, 0);
	CHECK_EQ(r->answer.n, 2);
	for (size_t i = 0; i < 2; i++) {
		CHECK_EQ(r->answer.row[i].key.class, STORE_AGENT);
		CHECK_EQ(r->answer.row[i].revision, 1);
	}
	CHECK(!strcmp(r->answer.row[0].key.scope, "s"));
	CHECK(!strcmp(r->answer.row[1].key.scope, "t"));
	op.parent = &a;
	CHECK_ASK(r, op, 0);
	CHECK_EQ(count(r, STORE_LEASE, "s"), 1);
	CHECK_ASK(r, del_of(a), 0);
	CHECK_EQ(count(r, STORE_AGENT, "s"), 0);
	CHECK_EQ(count(r, STORE_LEASE, "s"), 0);
	CHECK_EQ(count(r, STORE_AGENT, "t"), 1);
	rig_close(r);
}

static void each_change_is_told_once_in_order_with_its_value(void)
{
	struct rig *r = rig_create();
	struct store_op op =
	    put_of(key_of(STORE_ENTITY, "s", "t", "e"), "{\"metadata\":{\"a\":1}}");
	struct store_key agent = key_of(STORE_AGENT, "s", "", "p");
	const struct seen *s;
	uint64_t revision;
	size_t at = 0;

	op.kind = "k";
	op.ttl_ms = 60000;
	CHECK_ASK(r, op, 0);
	revision = r->answer.res[0].number;
	s = rig_event(r, &at, "e");
	CHECK_EQ(at, 1);
	CHECK_EQ(s->change, STORE_WAS_PUT);
	CHECK_EQ(s->class, STORE_ENTITY);
	CHECK_EQ(s->revision, revision);
	CHECK(!strcmp(s->scope, "s") && !strcmp(s->type, "t") && !strcmp(s->kind, "k"));
	CHECK_JSON(s->value, op.value);
	CHECK_EQ(s->born, revision);
	CHECK_EQ(s->ttl_ms, 60000);
	CHECK_ASK(r, del_of(op.key), 0);
	s = rig_event(r, &at, "e");
	CHECK_EQ(s->change, STORE_WAS_DELETED);
	CHECK(s->revision > revision);
	CHECK(!strcmp(s->kind, "k"));
	CHECK(s->value != NULL);
	CHECK_JSON(s->value, op.value);
	/* A child first, then its parent. */
	(void)put(r, agent, "{\"addr\":\"1\"}");
	op = put_of(key_of(STORE_REGION, "s", "p", "m"), "{\"addr\":1}");
	op.parent = &agent;
	CHECK_ASK(r, op, 0);
	(void)rig_event(r, &at, "m");
	CHECK_ASK(r, del_of(agent), 0);
	s = rig_event(r, &at, "m");
	CHECK_EQ(s->change, STORE_WAS_DELETED);
	CHECK_EQ(rig_event(r, &at, "p")->change, STORE_WAS_DELETED);
	for (size_t i = 1; i < r->n_seen; i++)
		CHECK(r->seen[i].revision > r->seen[i - 1].revision);
	rig_close(r);
}

static void what_is_quiet_is_not_told(void)
{
	struct rig *r = rig_create();
	struct store_op op = put_of(key_of(STORE_OBS, "s", "", "quiet"), "{}");
	uint64_t before;
	size_t at = 0;

	op.quiet = true;
	CHECK_ASK(r, op, 0);
	before = r->answer.res[0].number;
	op.verb = STORE_DEL;
	CHECK_ASK(r, op, 0);
	CHECK(r->answer.res[0].number > before);
	CHECK(put(r, key_of(STORE_LEASE, "s", "", "loud"), "{}") > before + 1);
	(void)rig_event(r, &at, "loud");
	CHECK_EQ(at, 1);
	rig_close(r);
}

static void events_follow_the_revision_of_a_list(void)
{
	struct rig *r = rig_create();
	struct store_op list = {.verb = STORE_LIST, .key = {STORE_LEASE, "s", "", NULL}};
	uint64_t listed;
	size_t at = 0;

	(void)put(r, key_of(STORE_LEASE, "s", "", "before"), "{}");
	CHECK_ASK(r, list, 0);
	listed = r->answer.res[0].number;
	CHECK_EQ(r->answer.n, 1);
	(void)put(r, key_of(STORE_LEASE, "s", "", "behind"), "{}");
	CHECK(rig_event(r, &at, "before")->revision <= listed);
	CHECK(rig_event(r, &at, "behind")->revision > listed);
	rig_close(r);
}

const struct contract_case store_list_cases[] = {
    {"lists_select_by_scope_type_and_kind_in_order", lists_select_by_scope_type_and_kind_in_order,
     1},
    {"a_list_goes_on_behind_an_id", a_list_goes_on_behind_an_id, 1},
    {"regions_of_one_agent_are_listed_by_it", regions_of_one_agent_are_listed_by_it, 1},
    {"a_count_follows_what_comes_and_goes", a_count_follows_what_comes_and_goes, 1},
    {"each_change_is_told_once_in_order_with_its_value",
     each_change_is_told_once_in_order_with_its_value, 1},
    {"what_is_quiet_is_not_told", what_is_quiet_is_not_told, 1},
    {"events_follow_the_revision_of_a_list", events_follow_the_revision_of_a_list, 1},
    {0},
};
