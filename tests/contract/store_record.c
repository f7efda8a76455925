/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/store_record.c - records: what is put is got, and nothing else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_rig.h"

#define ENTITY                                                                       \
	"{\"entity_type\":\"service\",\"entity_id\":\"cache:0\",\"id\":\"cache:0\"," \
	"\"kind\":\"cache\",\"endpoint\":{\"host\":\"h\",\"port\":1},"               \
	"\"metadata\":{\"n\":18446744073709551615},\"resource\":null}"

static void a_record_comes_back_as_it_was_put(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_ENTITY, "s", "service", "cache:0");
	struct store_op op = put_of(key, ENTITY);
	const struct store_row *row;
	uint64_t revision;

	op.kind = "cache";
	op.owner = "token one";
	op.ttl_ms = 60000;
	CHECK_ASK(r, op, 0);
	CHECK(!r->answer.res[0].found);
	revision = r->answer.res[0].number;
	CHECK(is_there(r, key));
	row = r->answer.row;
	CHECK(!strcmp(row->value, ENTITY));
	CHECK(!strcmp(row->kind, "cache"));
	CHECK(!strcmp(row->owner, "token one"));
	CHECK(!strcmp(row->key.scope, "s") && !strcmp(row->key.type, "service"));
	CHECK(!strcmp(row->key.id, "cache:0"));
	CHECK_EQ(row->revision, revision);
	CHECK_EQ(row->born, revision);
	CHECK_EQ(row->ttl_ms, 60000);
	CHECK(row->at_ms > INT64_C(1700000000000));
	CHECK(r->store->table->revision(r->store) >= revision);
	rig_close(r);
}

/* A value of every class that has records. */
static void each_class_keeps_its_values(void)
{
	static const struct {
		enum store_class class;
		const char *type, *value;
	} some[] = {
	    {STORE_AGENT, "",
	     "{\"addr\":\"10.0.0.1\",\"updated_at\":1700000000,\"memory_keys\":[\"a\",\"b\"],"
	     "\"resource\":{\"nics\":[]},\"topology\":{\"nics\":[]},\"device\":\"mlx5_0\","
	     "\"ib_port\":1,\"link_type\":\"RoCE\",\"process\":{\"pid\":7}}"},
	    {STORE_AGENT, "", "{\"process\":{\"pid\":9223372036854775807},\"addr\":\"x\"}"},
	    {STORE_REGION, "owner",
	     "{\"addr\":9223372036854775807,\"length\":9007199254740993,\"rkey\":4294967295,"
	     "\"lkey\":0}"},
	    {STORE_SPEC, "", "{\"target_peers\":[\"b\",\"c:d\"],\"min_bw\":null}"},
	    {STORE_OBS, "", "{\"schema_version\":1,\"ewma_bandwidth_bps\":1.5,\"nics\":[]}"},
	    {STORE_BOX, "12", "{}"},
	    {STORE_LEASE, "", "{\"holder\":\"a\",\"empty\":{},\"none\":[]}"},
	};
	struct rig *r = rig_create();

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		struct store_key key = key_of(some[i].class, "s", some[i].type, "x");

		(void)put(r, key, some[i].value);
		CHECK(is_there(r, key));
		CHECK_JSON(r->answer.row->value, some[i].value);
		CHECK_EQ(r->answer.row->key.class, some[i].class);
		CHECK_ASK(r, del_of(key), 0);
		CHECK(r->answer.res[0].found);
		CHECK(!is_there(r, key));
	}
	rig_close(r);
}

/* An entity that registers again: the same, then each thing about it that may be another one. */
static void what_is_put_again_is_changed_and_was_born_once(void)
{
	static const struct {
		const char *kind, *owner, *value;
		int64_t ttl_ms;
	} next[] = {
	    {"k", "o", "{\"endpoint\":{\"port\":1},\"n\":1}", 60000},
	    {"k", "o", "{\"endpoint\":{\"port\":2},\"n\":2}", 60000},
	    {"other", "o", "{\"n\":3}", 60000},
	    {"other", "another", "{\"n\":4}", 60000},
	    {"other", "another", "{\"n\":5}", 50000},
	    {"", "", "{\"n\":\"\\\"\\\\},{\"}", 0},
	    {"k", "o", "{}", 60000},
	};
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_ENTITY, "s", "t", "a\"b\\\x01/c");
	uint64_t born = 0, revision = 0;
	size_t at = 0;

	for (size_t i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
		struct store_op op = put_of(key, next[i].value);
		struct store_op list = {.verb = STORE_LIST, .key = {STORE_ENTITY, "s", "t", NULL}};
		const struct seen *s;

		op.kind = next[i].kind;
		op.owner = next[i].owner;
		op.ttl_ms = next[i].ttl_ms;
		CHECK_ASK(r, op, 0);
		CHECK_EQ(r->answer.res[0].found, i > 0);
		CHECK(r->answer.res[0].number > revision);
		revision = r->answer.res[0].number;
		born = i ? born : revision;
		s = rig_event(r, &at, key.id);
		CHECK_EQ(s->change, STORE_WAS_PUT);
		CHECK_EQ(s->revision, revision);
		CHECK_EQ(s->born, born);
		CHECK_EQ(s->ttl_ms, op.ttl_ms);
		CHECK(!strcmp(s->kind, op.kind));
		CHECK_JSON(s->value, op.value);
		CHECK(is_there(r, key));
		CHECK_EQ(r->answer.row->born, born);
		CHECK_EQ(r->answer.row->revision, revision);
		CHECK_EQ(r->answer.row->ttl_ms, op.ttl_ms);
		CHECK(!strcmp(r->answer.row->owner, op.owner));
		CHECK_JSON(r->answer.row->value, op.value);
		list.kind = op.kind;
		CHECK_ASK(r, list, 0);
		CHECK_EQ(r->answer.n, *op.kind ? 1 : 0);
	}
	rig_close(r);
}

static void what_is_not_there_is_an_answer_and_not_an_error(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_AGENT, "", "", "nobody");

	CHECK(!is_there(r, key));
	CHECK_ASK(r, del_of(key), 0);
	CHECK(!r->answer.res[0].found);
	CHECK_ASK(r, touch_of(key), 0);
	CHECK(!r->answer.res[0].found);
	rig_close(r);
}

static void a_put_again_keeps_the_birth_and_gets_a_new_revision(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_AGENT, "s", "", "a");
	uint64_t born = put(r, key, "{\"addr\":\"1\"}"), revision;

	revision = put(r, key, "{\"addr\":\"2\"}");
	CHECK(r->answer.res[0].found);
	CHECK(revision > born);
	CHECK(is_there(r, key));
	CHECK_EQ(r->answer.row->born, born);
	CHECK_EQ(r->answer.row->revision, revision);
	CHECK_JSON(r->answer.row->value, "{\"addr\":\"2\"}");
	CHECK_ASK(r, del_of(key), 0);
	CHECK(put(r, key, "{}") > revision);
	CHECK(is_there(r, key));
	CHECK(r->answer.row->born > revision);
	rig_close(r);
}

static void expectations_are_held_by_every_verb(void)
{
	static const enum store_verb verbs[] = {STORE_GET, STORE_PUT, STORE_DEL, STORE_TOUCH};
	struct rig *r = rig_create();
	struct store_key there = key_of(STORE_AGENT, "s", "", "a");
	uint64_t born = put(r, there, "{}"), revision = put(r, there, "{\"addr\":\"x\"}");

	for (size_t i = 0; i < 4; i++) {
		struct store_op op = put_of(there, "{\"addr\":\"y\"}");

		op.verb = verbs[i];
		op.expect = STORE_ABSENT;
		CHECK_ASK(r, op, -EEXIST);
		op.expect = (int64_t)born; /* no longer its revision */
		CHECK_ASK(r, op, -ESTALE);
		op.expect = STORE_ANY;
		op.born = revision; /* never its birth */
		CHECK_ASK(r, op, -ESTALE);
		op.key.id = "nobody";
		CHECK_ASK(r, op, -ENOENT);
		op.born = 0;
		op.expect = STORE_PRESENT;
		CHECK_ASK(r, op, -ENOENT);
		op.expect = (int64_t)revision;
		CHECK_ASK(r, op, -ENOENT);
	}
	CHECK(is_there(r, there));
	CHECK_EQ(r->answer.row->revision, revision);
	for (size_t i = 0; i < 4; i++) {
		struct store_op op = put_of(there, "{\"addr\":\"z\"}");

		op.verb = verbs[i];
		op.born = born;
		op.expect = STORE_PRESENT;
		CHECK_ASK(r, op, verbs[i] == STORE_TOUCH ? -ENOENT : 0); /* deleted before it */
	}
	rig_close(r);
}

static void a_request_that_fails_at_its_end_has_changed_nothing(void)
{
	struct rig *r = rig_create();
	struct store_key a = key_of(STORE_AGENT, "s", "", "a"), b = a, c = a;
	struct store_op ops[5];
	size_t events;

	b.id = "b";
	c.id = "c";
	(void)put(r, a, "{\"addr\":\"old\"}");
	events = r->n_seen;
	ops[0] = put_of(a, "{\"addr\":\"new\"}");
	ops[1] = put_of(b, "{\"addr\":\"new\"}");
	ops[2] = (struct store_op){.verb = STORE_NEXT, .key = a};
	ops[3] = (struct store_op){
	    .verb = STORE_APPEND, .key = key_of(STORE_BOX, "s", "1", "a"), .value = "{}"};
	ops[4] = del_of(c);
	ops[4].expect = STORE_PRESENT;
	CHECK_RC(ask(r, ops, 5), -ENOENT);
	CHECK_EQ(r->answer.failed, 4);
	CHECK(strstr(r->answer.err.text, "'c'") != NULL);
	CHECK(!is_there(r, b));
	CHECK(!is_there(r, ops[3].key));
	CHECK(is_there(r, a));
	CHECK_JSON(r->answer.row->value, "{\"addr\":\"old\"}");
	CHECK_ASK(r, ops[2], 0);
	CHECK_EQ(r->answer.res[0].number, 1);
	CHECK_EQ(r->n_seen, events);
	rig_close(r);
}

static void operations_of_a_request_see_those_before_them(void)
{
	struct rig *r = rig_create();
	struct store_key a = key_of(STORE_AGENT, "s", "", "a");
	struct store_key region = key_of(STORE_REGION, "s", "a", "kv");
	struct store_op ops[5];
	uint64_t born = put(r, a, "{\"addr\":\"old\"}");

	ops[0] = put_of(region, "{\"addr\":1,\"length\":1,\"rkey\":1,\"lkey\":0}");
	ops[0].parent = &a;
	CHECK_RC(ask(r, ops, 1), 0);
	ops[0] = del_of(a);
	ops[0].born = born;
	ops[1] = put_of(a, "{\"addr\":\"new\"}");
	ops[1].expect = STORE_ABSENT;
	ops[2] = get_of(a);
	ops[2].expect = STORE_PRESENT;
	ops[3] = get_of(region);
	ops[3].expect = STORE_ABSENT;
	ops[4] = touch_of(a);
	CHECK_RC(ask(r, ops, 5), 0);
	CHECK(r->answer.res[0].found);
	CHECK(!r->answer.res[1].found);
	CHECK(r->answer.res[2].found);
	CHECK(!r->answer.res[3].found);
	CHECK(r->answer.res[4].found);
	CHECK_JSON(r->answer.row->value, "{\"addr\":\"new\"}");
	CHECK(r->answer.row->born > born);
	CHECK(!is_there(r, region));
	CHECK(is_there(r, a));
	rig_close(r);
}

static void children_go_with_their_parent(void)
{
	struct rig *r = rig_create();
	struct store_key a = key_of(STORE_AGENT, "s", "", "a"),
			 b = key_of(STORE_AGENT, "s", "", "b");
	struct store_key one = key_of(STORE_REGION, "s", "a", "1");
	struct store_key two = key_of(STORE_LEASE, "s", "", "2");
	struct store_key other = key_of(STORE_REGION, "s", "b", "1");
	struct store_op op = put_of(one, "{\"addr\":1,\"length\":1,\"rkey\":1,\"lkey\":0}");

	op.parent = &a;
	CHECK_ASK(r, op, -ENOENT);
	(void)put(r, a, "{}");
	(void)put(r, b, "{}");
	CHECK_ASK(r, op, 0);
	op.key = two;
	CHECK_ASK(r, op, 0);
	op.key = other;
	op.parent = &b;
	CHECK_ASK(r, op, 0);
	(void)put(r, a, "{\"addr\":\"again\"}"); /* the same birth */
	CHECK(is_there(r, one));
	CHECK_ASK(r, del_of(a), 0);
	CHECK(!is_there(r, one));
	CHECK(!is_there(r, two));
	CHECK(is_there(r, other));
	/* A child may leave its parent. */
	op.parent = NULL;
	CHECK_ASK(r, op, 0);
	CHECK_ASK(r, del_of(b), 0);
	CHECK(is_there(r, other));
	rig_close(r);
}

static void a_parent_has_no_parent(void)
{
	struct rig *r = rig_create();
	struct store_key a = key_of(STORE_AGENT, "s", "", "a"),
			 b = key_of(STORE_LEASE, "s", "", "b");
	struct store_key c = key_of(STORE_LEASE, "s", "", "c");
	struct store_op op = put_of(b, "{}");

	(void)put(r, a, "{}");
	op.parent = &a;
	CHECK_ASK(r, op, 0);
	op = put_of(c, "{}");
	op.parent = &b;
	CHECK_ASK(r, op, -EINVAL);
	(void)put(r, c, "{}");
	op = put_of(a, "{}");
	op.parent = &c;
	CHECK_ASK(r, op, -EINVAL);
	CHECK(is_there(r, a));
	rig_close(r);
}

/* All of them are one key where names are joined by ':'. */
static void names_with_colons_never_reach_another_record(void)
{
	static const struct store_key all[] = {
	    {STORE_ENTITY, "a", "b", "c:d"},     {STORE_ENTITY, "a:b", "c", "d"},
	    {STORE_ENTITY, "", "a", "b:c:d"},    {STORE_ENTITY, "a", "b:c", "d"},
	    {STORE_AGENT, "a", "", "x:agent:y"}, {STORE_AGENT, "a:agent:x", "", "y"},
	    {STORE_ENTITY, "a", "agent", "z"},   {STORE_AGENT, "a", "", "z"},
	    {STORE_REGION, "a", "b:c", "d"},     {STORE_REGION, "a", "b", "c:d"},
	    {STORE_SPEC, "a", "", "q"},          {STORE_ENTITY, "a", "spec", "topology:q"},
	    {STORE_OBS, "a", "", "q"},           {STORE_ENTITY, "a:obs", "peer", "q"},
	    {STORE_LEASE, "a:b", "", "c"},       {STORE_LEASE, "a", "", "b:c"},
	    {STORE_BOX, "a", "1", "b:2"},        {STORE_BOX, "a", "1:b", "2"},
	};
	enum { N = sizeof(all) / sizeof(all[0]) };
	struct rig *r = rig_create();
	bool put_it[N] = {0};

	for (size_t i = 0; i < N; i++) {
		struct store_op op;
		char value[64];
		int rc;

		CHECK(!is_there(r, all[i]));
		(void)snprintf(value, sizeof(value), "{\"addr\":\"%zu\",\"length\":%zu}", i, i);
		op = put_of(all[i], value);
		op.ttl_ms = 60000;
		rc = ask1(r, op);
		/* Redis may say that it cannot have both, and then has the first. */
		CHECK(rc == 0 || (on_redis() && rc == -EEXIST));
		put_it[i] = rc == 0;
	}
	for (size_t i = 0; i < N; i++) {
		char value[64];

		CHECK_EQ(is_there(r, all[i]), put_it[i]);
		if (!put_it[i])
			continue;
		(void)snprintf(value, sizeof(value), "{\"addr\":\"%zu\",\"length\":%zu}", i, i);
		CHECK_JSON(r->answer.row->value, value);
		CHECK(!strcmp(r->answer.row->key.scope, all[i].scope));
		CHECK(!strcmp(r->answer.row->key.type, all[i].type));
	}
	for (size_t i = 0; i < N; i++) {
		CHECK_ASK(r, touch_of(all[i]), 0);
		CHECK_EQ(r->answer.res[0].found, put_it[i]);
		CHECK_ASK(r, del_of(all[i]), 0);
		CHECK_EQ(r->answer.res[0].found, put_it[i]);
		for (size_t k = i + 1; k < N; k++)
			CHECK_EQ(is_there(r, all[k]), put_it[k]);
	}
	rig_close(r);
}

static void names_may_hold_any_bytes(void)
{
	static const char *const names[] = {
	    "*",        "a*b?[c]",   "%",   "'",        "\"; DROP TABLE record; --",
	    "a\nb\r\n", "\x01\x7f",  " ",   "\xff\xfe", "\xc3\xa9\xf0\x9f\x98\x80",
	    "..",       "a/b",       "{x}", "%3A",      "a\\",
	    "nanoctrl", "__proto__", "-1",  "0",        "$6\r\nfoobar\r\n",
	};
	enum { N = sizeof(names) / sizeof(names[0]) };
	struct rig *r = rig_create();

	for (size_t i = 0; i < N; i++)
		(void)put(r, key_of(STORE_LEASE, names[i], "", names[N - 1 - i]), "{\"a\":1}");
	for (size_t i = 0; i < N; i++) {
		for (size_t k = 0; k < N; k++)
			CHECK_EQ(is_there(r, key_of(STORE_LEASE, names[i], "", names[k])),
			         k == N - 1 - i);
		CHECK(is_there(r, key_of(STORE_LEASE, names[i], "", names[N - 1 - i])));
		CHECK(!strcmp(r->answer.row->key.scope, names[i]));
		CHECK(!strcmp(r->answer.row->key.id, names[N - 1 - i]));
	}
	rig_close(r);
}

static char *letters(size_t n)
{
	char *text = malloc(n + 1);

	CHECK(text != NULL);
	memset(text, 'x', n);
	text[n] = '\0';
	return text;
}

static void names_that_are_too_long_are_refused(void)
{
	struct rig *r = rig_create();
	char *longest = letters(STORE_NAME_MAX), *longer = letters(STORE_NAME_MAX + 1);
	char *huge = letters(100000);

	(void)put(r, key_of(STORE_ENTITY, longest, longest, longest), "{}");
	CHECK(is_there(r, key_of(STORE_ENTITY, longest, longest, longest)));
	CHECK_ASK(r, put_of(key_of(STORE_ENTITY, "s", "t", longer), "{}"), -EMSGSIZE);
	CHECK_ASK(r, put_of(key_of(STORE_ENTITY, "s", huge, "i"), "{}"), -EMSGSIZE);
	CHECK_ASK(r, get_of(key_of(STORE_ENTITY, huge, "t", "i")), -EMSGSIZE);
	free(longest);
	free(longer);
	free(huge);
	rig_close(r);
}

static void a_large_value_comes_back_whole(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_LEASE, "s", "", "large");
	size_t len = 2 << 20;
	char *value = letters(len), *huge = letters(STORE_VALUE_MAX + 1);

	memcpy(value, "{\"x\":\"", 6);
	memcpy(value + len - 2, "\"}", 2);
	(void)put(r, key, value);
	CHECK(is_there(r, key));
	CHECK_EQ(r->answer.row->value_len, len);
	CHECK(!strcmp(r->answer.row->value, value));
	CHECK_ASK(r, put_of(key, huge), -EMSGSIZE);
	free(value);
	free(huge);
	rig_close(r);
}

static void a_wrong_request_is_refused_at_once(void)
{
	static const struct store_op wrong[] = {
	    {.verb = STORE_GET},
	    {.verb = STORE_GET, .key = {.class = STORE_AGENT, .id = ""}},
	    {.verb = STORE_GET, .key = {.class = STORE_CLASSES, .id = "a"}},
	    {.verb = (enum store_verb)99, .key = {.class = STORE_AGENT, .id = "a"}},
	    {.verb = STORE_PUT, .key = {.class = STORE_AGENT, .id = "a"}},
	    {.verb = STORE_PUT,
	     .key = {.class = STORE_AGENT, .id = "a"},
	     .value = "{}",
	     .ttl_ms = -1},
	    {.verb = STORE_PUT,
	     .key = {.class = STORE_AGENT, .id = "a"},
	     .value = "{}",
	     .expect = -3},
	    {.verb = STORE_APPEND, .key = {.class = STORE_AGENT, .id = "a"}, .value = "{}"},
	    {.verb = STORE_READ, .key = {.class = STORE_LEASE, .id = "a"}},
	    {.verb = STORE_READ, .key = {.class = STORE_STREAM, .id = "a"}},
	    {.verb = STORE_LIST, .key = {.class = STORE_ENTITY, .id = "a"}},
	};
	struct rig *r = rig_create();

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_ASK(r, wrong[i], -EINVAL);
	CHECK_RC(ask(r, wrong, 0), -EINVAL);
	rig_run(r, 20 * NS_PER_MS);
	CHECK(!r->answer.done);
	rig_close(r);
}

static void counters_count_from_one_in_each_scope(void)
{
	struct rig *r = rig_create();
	struct store_op next = {.verb = STORE_NEXT, .key = {STORE_AGENT, "s", "", "agent"}};

	for (uint64_t i = 1; i < 20; i++) {
		CHECK_ASK(r, next, 0);
		CHECK_EQ(r->answer.res[0].number, i);
	}
	next.key.scope = "";
	CHECK_ASK(r, next, 0);
	CHECK_EQ(r->answer.res[0].number, 1);
	rig_close(r);
}

const struct contract_case store_record_cases[] = {
    {"a_record_comes_back_as_it_was_put", a_record_comes_back_as_it_was_put, 1},
    {"each_class_keeps_its_values", each_class_keeps_its_values, 1},
    {"what_is_put_again_is_changed_and_was_born_once",
     what_is_put_again_is_changed_and_was_born_once, 1},
    {"what_is_not_there_is_an_answer_and_not_an_error",
     what_is_not_there_is_an_answer_and_not_an_error, 1},
    {"a_put_again_keeps_the_birth_and_gets_a_new_revision",
     a_put_again_keeps_the_birth_and_gets_a_new_revision, 1},
    {"expectations_are_held_by_every_verb", expectations_are_held_by_every_verb, 1},
    {"a_request_that_fails_at_its_end_has_changed_nothing",
     a_request_that_fails_at_its_end_has_changed_nothing, 1},
    {"operations_of_a_request_see_those_before_them", operations_of_a_request_see_those_before_them,
     1},
    {"children_go_with_their_parent", children_go_with_their_parent, 1},
    {"a_parent_has_no_parent", a_parent_has_no_parent, 1},
    {"names_with_colons_never_reach_another_record", names_with_colons_never_reach_another_record,
     1},
    {"names_may_hold_any_bytes", names_may_hold_any_bytes, 1},
    {"names_that_are_too_long_are_refused", names_that_are_too_long_are_refused, 1},
    {"a_large_value_comes_back_whole", a_large_value_comes_back_whole, 1},
    {"a_wrong_request_is_refused_at_once", a_wrong_request_is_refused_at_once, 1},
    {"counters_count_from_one_in_each_scope", counters_count_from_one_in_each_scope, 1},
    {0},
};
