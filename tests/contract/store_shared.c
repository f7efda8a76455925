/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/store_shared.c - Redis: what others see there, other daemons, a server that goes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_rig.h"

static void only_on_redis(void)
{
	if (!on_redis())
		test_skip("only Redis is seen by others");
}

static void check_says(const char *command, const char *want)
{
	const char *have = redis_says(command);

	if (strcmp(have, want))
		test_fail("'%s' says '%s', not '%s'", command, have, want);
}

static void the_reference_finds_entities_where_it_looks(void)
{
	struct rig *r = rig_create();
	struct store_op op = put_of(key_of(STORE_ENTITY, "s", "service", "cache:0"),
	                            "{\"entity_type\":\"service\",\"entity_id\":\"cache:0\","
	                            "\"kind\":\"cache\",\"endpoint\":{\"port\":1},\"metadata\":{},"
	                            "\"resource\":null}");
	long ttl;

	only_on_redis();
	op.kind = "cache";
	op.ttl_ms = 60000;
	CHECK_ASK(r, op, 0);
	check_says("hget s:service:cache:0 info", op.value);
	check_says("hget s:service:cache:0 entity_type", "service");
	check_says("hget s:service:cache:0 entity_id", "cache:0");
	check_says("hget s:service:cache:0 kind", "cache");
	check_says("hget s:service:cache:0 endpoint", "{\"port\":1}");
	check_says("hget s:service:cache:0 metadata", "{}");
	check_says("hget s:service:cache:0 resource", "");
	check_says("hlen s:service:cache:0", "7");
	ttl = strtol(redis_says("ttl s:service:cache:0"), NULL, 10);
	CHECK(ttl > 55 && ttl <= 60);
	check_says("get s:nano_meta:service_revision", "1");
	CHECK_ASK(r, del_of(op.key), 0);
	check_says("exists s:service:cache:0", "0");
	check_says("get s:nano_meta:service_revision", "2");
	/* Nothing of ours looks like a key of the reference's. */
	CHECK_ASK(r, op, 0);
	check_says("--scan --pattern '*nanoctrl*:*'", "");
	rig_close(r);
}

static void the_reference_finds_agents_and_their_things(void)
{
	struct rig *r = rig_create();
	struct store_op op = put_of(key_of(STORE_AGENT, "", "", "a"),
	                            "{\"addr\":\"10.0.0.1\",\"updated_at\":1700000000,"
	                            "\"memory_keys\":[],\"ib_port\":1,\"resource\":{\"nics\":[]},"
	                            "\"process\":{\"pid\":1}}");

	only_on_redis();
	op.ttl_ms = 60000;
	CHECK_ASK(r, op, 0);
	check_says("hget agent:a addr", "10.0.0.1");
	check_says("hget agent:a updated_at", "1700000000");
	check_says("hget agent:a memory_keys", "[]");
	check_says("hget agent:a resource", "{\"nics\":[]}");
	check_says("hlen agent:a", "5");
	op = put_of(key_of(STORE_REGION, "", "a", "kv"),
	            "{\"addr\":1,\"length\":2,\"rkey\":3,\"lkey\":0}");
	CHECK_ASK(r, op, 0);
	check_says("get mr:a:kv", op.value);
	check_says("ttl mr:a:kv", "-1");
	op = put_of(key_of(STORE_SPEC, "", "", "a"), "{\"target_peers\":[\"b\"]}");
	CHECK_ASK(r, op, 0);
	check_says("get spec:topology:a", op.value);
	op = (struct store_op){.verb = STORE_APPEND,
	                       .key = key_of(STORE_STREAM, "", "", "a"),
	                       .value = "{\"type\":\"connect_peer\",\"peer\":\"b\"}"};
	CHECK_ASK(r, op, 0);
	CHECK(strstr(redis_says("xrange stream:a - +"), "type\nconnect_peer\npeer\nb") != NULL);
	for (int i = 0; i < 1300; i++)
		CHECK_ASK(r, op, 0);
	CHECK(strtol(redis_says("xlen stream:a"), NULL, 10) < 1200);
	op.key.class = STORE_INBOX;
	CHECK_ASK(r, op, 0);
	check_says("lindex inbox:a 0", op.value);
	op = (struct store_op){.verb = STORE_NEXT,
	                       .key = key_of(STORE_AGENT, "s", "", "agent_name_counter")};
	CHECK_ASK(r, op, 0);
	check_says("get s:agent_name_counter", "1");
	op = put_of(key_of(STORE_OBS, "s", "", "a"), "{\"schema_version\":1}");
	op.ttl_ms = 180000;
	CHECK_ASK(r, op, 0);
	check_says("get s:obs:peer:a", op.value);
	rig_close(r);
}

static void what_others_write_in_redis_is_seen(void)
{
	struct rig *r = rig_create();
	struct store_key agent = key_of(STORE_AGENT, "s", "", "a");
	struct store_key entity = key_of(STORE_ENTITY, "s", "t", "e");
	struct store_op list = {.verb = STORE_LIST, .key = {STORE_ENTITY, "s", "t", NULL}};

	only_on_redis();
	(void)put(r, agent, "{\"addr\":\"1\",\"memory_keys\":[],\"process\":{\"pid\":1}}");
	(void)redis_says("hset s:agent:a memory_keys '[\"kv\"]' topology '{\"n\":1}'");
	CHECK(is_there(r, agent));
	CHECK_JSON(r->answer.row->value, "{\"addr\":\"1\",\"memory_keys\":[\"kv\"],"
	                                 "\"topology\":{\"n\":1},\"process\":{\"pid\":1}}");
	(void)redis_says("set s:mr:a:kv '{\"addr\":1}'");
	CHECK(is_there(r, key_of(STORE_REGION, "s", "a", "kv")));
	CHECK_JSON(r->answer.row->value, "{\"addr\":1}");
	/* An entity of the reference's daemon is taken over by its first heartbeat. */
	(void)redis_says("hset s:t:e entity_type t entity_id e kind k info '{\"kind\":\"k\"}'");
	CHECK(is_there(r, entity));
	CHECK_ASK(r, list, 0);
	CHECK_EQ(r->answer.n, 0);
	CHECK_ASK(r, touch_of(entity), 0);
	CHECK(r->answer.res[0].found);
	CHECK_ASK(r, list, 0);
	CHECK_EQ(r->answer.n, 1);
	CHECK(!strcmp(r->answer.row->kind, "k"));
	/* Gone behind our back. */
	(void)redis_says("del s:agent:a s:t:e");
	CHECK(!is_there(r, agent));
	CHECK_ASK(r, list, 0);
	CHECK_EQ(r->answer.n, 0);
	(void)put(r, agent, "{\"addr\":\"2\"}");
	CHECK(is_there(r, agent));
	rig_close(r);
}

/* Whatever became of its key meanwhile, an entity that registers again is one, or is refused. */
static void an_entity_registers_again_over_what_others_left(void)
{
	struct rig *r = rig_create();
	struct store_op op =
	    put_of(key_of(STORE_ENTITY, "s", "t", "e"),
	           "{\"endpoint\":{\"port\":1},\"metadata\":{},\"resource\":null}");
	uint64_t born;
	size_t at = 0;

	only_on_redis();
	op.kind = "k";
	op.ttl_ms = 60000;
	CHECK_ASK(r, op, 0);
	born = r->answer.res[0].number;
	CHECK_EQ(rig_event(r, &at, "e")->change, STORE_WAS_PUT);
	/* Some fields are gone. */
	(void)redis_says("hdel s:t:e metadata endpoint");
	(void)redis_says("expire s:t:e 9");
	CHECK_ASK(r, op, 0);
	CHECK(r->answer.res[0].found);
	CHECK_EQ(rig_event(r, &at, "e")->born, born);
	check_says("hget s:t:e endpoint", "{\"port\":1}");
	check_says("hlen s:t:e", "7");
	CHECK(strtol(redis_says("ttl s:t:e"), NULL, 10) > 55);
	check_says("get s:nano_meta:t_revision", "2");
	/* All of it: as if it had expired. */
	(void)redis_says("del s:t:e");
	CHECK_ASK(r, op, 0);
	CHECK(!r->answer.res[0].found);
	CHECK_EQ(rig_event(r, &at, "e")->change, STORE_HAS_EXPIRED);
	CHECK(rig_event(r, &at, "e")->born > born);
	check_says("hlen s:t:e", "7");
	CHECK(strtol(redis_says("ttl s:t:e"), NULL, 10) > 55);
	/* Something else has its name. */
	(void)redis_says("set s:t:e 1");
	CHECK_ASK(r, op, -EEXIST);
	check_says("get s:t:e", "1");
	check_says("ttl s:t:e", "-1");
	rig_close(r);
}

/* Whoever listens in Redis is told in JSON, whatever the names hold. */
static void who_listens_in_redis_is_told_of_entities(void)
{
	struct rig *r = rig_create();
	struct store_op op = put_of(key_of(STORE_ENTITY, "s", "t", "a\"\\\x01"), "{\"n\":1}");
	const char *told, *json;
	FILE *listener;
	char line[1024], command[600];

	only_on_redis();
	(void)snprintf(command, sizeof(command),
	               "redis-cli -s '%s' subscribe s:nano_events:t_update 2>&1",
	               rig_file("redis.sock"));
	listener = popen(command, "r");
	CHECK(listener != NULL);
	for (int i = 0; i < 3; i++) /* it listens */
		CHECK(fgets(line, sizeof(line), listener) != NULL);
	op.kind = "k\"";
	op.ttl_ms = 60000;
	for (int i = 1; i <= 2; i++) {
		char want[512];

		CHECK_ASK(r, op, 0);
		for (int l = 0; l < 3; l++)
			CHECK(fgets(line, sizeof(line), listener) != NULL);
		json = strchr(line, '{');
		told = json ? strstr(json, "\"timestamp\":") : NULL;
		CHECK(told && strtoll(told + 12, NULL, 10) > 1700000000);
		(void)snprintf(want, sizeof(want),
		               "{\"event_type\":\"ADD\",\"entity_type\":\"t\","
		               "\"entity_id\":\"a\\\"\\\\\\u0001\",\"kind\":\"k\\\"\","
		               "\"timestamp\":%lld,\"revision\":%d,\"payload\":{\"n\":1}}",
		               strtoll(told + 12, NULL, 10), i);
		CHECK_JSON(json, want);
	}
	(void)redis_says("client kill type pubsub");
	(void)pclose(listener);
	rig_close(r);
}

/* A heartbeat for "spec:topology" must not put a time on a topology. */
static void a_touch_reaches_no_key_of_another_kind(void)
{
	struct rig *r = rig_create();

	only_on_redis();
	(void)put(r, key_of(STORE_SPEC, "", "", "x"), "{\"target_peers\":[]}");
	(void)redis_says("set foreign:key 1");
	CHECK_ASK(r, touch_of(key_of(STORE_ENTITY, "", "spec", "topology:x")), 0);
	CHECK(!r->answer.res[0].found);
	CHECK_ASK(r, touch_of(key_of(STORE_ENTITY, "", "foreign", "key")), 0);
	CHECK(!r->answer.res[0].found);
	CHECK_ASK(r, del_of(key_of(STORE_ENTITY, "", "foreign", "key")), 0);
	CHECK(!r->answer.res[0].found);
	check_says("ttl spec:topology:x", "-1");
	check_says("ttl foreign:key", "-1");
	rig_close(r);
}

static void two_daemons_on_one_redis_are_one(void)
{
	struct rig *a, *b;
	struct store_key key = key_of(STORE_ENTITY, "s", "t", "e");
	struct store_op op = put_of(key, "{\"metadata\":{\"x\":1}}");
	const struct seen *s;
	size_t at_a = 0, at_b = 0;

	only_on_redis();
	a = rig_create();
	b = rig_again();
	op.expect = STORE_ABSENT;
	op.ttl_ms = 1000;
	CHECK_ASK(a, op, 0);
	CHECK_ASK(b, op, -EEXIST);
	CHECK(is_there(b, key));
	s = rig_event(b, &at_b, "e");
	CHECK_EQ(s->change, STORE_WAS_PUT);
	CHECK_JSON(s->value, op.value);
	CHECK_EQ(s->revision, rig_event(a, &at_a, "e")->revision);
	CHECK_ASK(b, touch_of(key), 0);
	CHECK(b->answer.res[0].found);
	/* Told once by each, whoever found that it was due. */
	CHECK_EQ(rig_event(a, &at_a, "e")->change, STORE_HAS_EXPIRED);
	CHECK_EQ(rig_event(b, &at_b, "e")->change, STORE_HAS_EXPIRED);
	rig_run(a, 600 * NS_PER_MS);
	rig_run(b, 100 * NS_PER_MS);
	CHECK_EQ(a->n_seen, 2);
	CHECK_EQ(b->n_seen, 2);
	rig_close(a);
	CHECK(!is_there(b, key));
	rig_close(b);
}

static void a_redis_that_goes_is_said_and_found_again(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_LEASE, "s", "", "l");
	uint64_t before, after;
	size_t at = 0;

	only_on_redis();
	before = put(r, key, "{}");
	(void)rig_event(r, &at, "l");
	redis_kill();
	rig_until(r, !r->up);
	CHECK(strstr(r->reason, "redis.sock") != NULL);
	CHECK_ASK(r, get_of(key), -EAGAIN);
	CHECK(strstr(test_err.text, "redis.sock") != NULL);
	redis_start();
	rig_until(r, r->up);
	/* It came back empty: everybody lists again, and revisions still grow. */
	CHECK(!is_there(r, key));
	after = put(r, key, "{\"again\":1}");
	CHECK(after > before);
	rig_until(r, r->gap > 0 || r->n_seen > at);
	rig_close(r);
}

static void what_is_in_flight_when_redis_goes_is_answered(void)
{
	struct rig *r = rig_create();
	struct store_op op = put_of(key_of(STORE_LEASE, "s", "", "l"), "{}");

	only_on_redis();
	redis_stop(true);
	CHECK_ASK(r, op, -EAGAIN); /* no answer for so long is none */
	redis_stop(false);
	rig_until(r, r->up);
	CHECK_ASK(r, op, 0);
	rig_close(r);
}

static void urls_name_socket_password_and_database(void)
{
	struct rig *r = rig_create(), *second = NULL;
	char url[400];

	only_on_redis();
	(void)snprintf(url, sizeof(url), "unix://%s?db=3", rig_file("redis.sock"));
	CHECK_OK(rig_try(url, &second));
	(void)put(second, key_of(STORE_LEASE, "s", "", "l"), "{}");
	CHECK(!is_there(r, key_of(STORE_LEASE, "s", "", "l")));
	rig_close(second);
	(void)redis_says("config set requirepass 'p@ss:w/rd'");
	CHECK(rig_try(url, &second) < 0);
	CHECK(strstr(test_err.text, "redis.sock") != NULL);
	CHECK(strstr(test_err.text, "AUTH") || strstr(test_err.text, "uthentication"));
	(void)snprintf(url, sizeof(url), "unix://:wrong@%s", rig_file("redis.sock"));
	CHECK(rig_try(url, &second) < 0);
	CHECK(!strstr(test_err.text, "wrong"));
	(void)snprintf(url, sizeof(url), "unix://:p%%40ss%%3Aw%%2Frd@%s?db=3",
	               rig_file("redis.sock"));
	CHECK_OK(rig_try(url, &second));
	CHECK(is_there(second, key_of(STORE_LEASE, "s", "", "l")));
	rig_close(second);
	rig_close(r);
}

static void a_place_without_redis_is_refused_by_name(void)
{
	struct rig *r = NULL;
	int64_t began = now_ns();

	only_on_redis();
	CHECK(rig_try("redis://127.0.0.1:1/0", &r) < 0);
	CHECK(strstr(test_err.text, "127.0.0.1:1") != NULL);
	CHECK(rig_try("http://127.0.0.1/", &r) == -EINVAL);
	CHECK(rig_try("redis://", &r) == -EINVAL);
	CHECK(now_ns() - began < 10000 * NS_PER_MS);
}

static void a_redis_without_memory_is_said_and_changes_nothing(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_LEASE, "s", "", "l");

	only_on_redis();
	(void)put(r, key, "{\"a\":1}");
	(void)redis_says("config set maxmemory 1");
	CHECK_ASK(r, put_of(key, "{\"a\":2}"), -EDQUOT);
	CHECK(is_there(r, key));
	CHECK_JSON(r->answer.row->value, "{\"a\":1}");
	(void)redis_says("config set maxmemory 0");
	CHECK_ASK(r, put_of(key, "{\"a\":2}"), 0);
	rig_close(r);
}

static void a_redis_that_forgot_the_script_gets_it_again(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_LEASE, "s", "", "l");

	only_on_redis();
	(void)put(r, key, "{\"a\":1}");
	for (int i = 0; i < 3; i++) {
		(void)redis_says("function flush");
		(void)redis_says("script flush");
		CHECK_ASK(r, put_of(key, "{\"a\":2}"), 0);
		CHECK(is_there(r, key));
	}
	CHECK(strstr(redis_says("function list"), "nanoctrl_") != NULL);
	rig_close(r);
}

static void a_redis_without_functions_runs_scripts(void)
{
	struct rig *r = rig_create(), *second;
	struct store_key key = key_of(STORE_LEASE, "s", "", "l");

	only_on_redis();
	(void)put(r, key, "{\"a\":1}");
	(void)redis_says("function flush");
	(void)redis_says("acl setuser default -function -fcall");
	second = rig_again();
	CHECK(is_there(second, key));
	(void)put(second, key, "{\"a\":2}");
	(void)redis_says("script flush");
	(void)put(second, key, "{\"a\":3}");
	CHECK_JSON((ask1(second, get_of(key)), second->answer.row->value), "{\"a\":3}");
	/* A script without memory fails at its first command that needs some. */
	(void)redis_says("config set maxmemory 1");
	CHECK_ASK(second, put_of(key, "{\"a\":4}"), -EDQUOT);
	CHECK(is_there(second, key));
	CHECK_JSON(second->answer.row->value, "{\"a\":3}");
	(void)redis_says("config set maxmemory 0");
	(void)put(second, key, "{\"a\":5}");
	rig_close(second);
	rig_close(r);
}

static bool redis_has(const char *key)
{
	char command[200];

	(void)snprintf(command, sizeof(command), "exists %s", key);
	return strchr(redis_says(command), '1') != NULL;
}

static void a_purge_takes_what_others_wrote_for_the_agent_and_no_more(void)
{
	static const char *const of_a[] = {"s:exchange:a:b", "s:exchange:b:a", "s:mr:a:kv"};
	static const char *const of_others[] = {"s:exchange:b:c", "exchange:a:b", "s:mr:b:a",
	                                        "s:mr:ab:x"};
	struct rig *r = rig_create();
	struct store_op op = del_of(key_of(STORE_AGENT, "s", "", "a"));
	char command[200];

	only_on_redis();
	for (size_t i = 0; i < 7; i++) {
		(void)snprintf(command, sizeof(command), "set %s x",
		               i < 3 ? of_a[i] : of_others[i - 3]);
		(void)redis_says(command);
	}
	(void)put(r, key_of(STORE_REGION, "s", "a:b", "kv"), "{\"addr\":1}"); /* s:mr:a:b:kv */
	(void)redis_says("eval \"for i=1,5000 do redis.call('set','filler'..i,1) end\" 0");
	(void)put(r, key_of(STORE_AGENT, "s", "", "a"), "{\"addr\":\"h\"}");
	op.purge = true;
	CHECK_ASK(r, op, 0);
	for (size_t i = 0; i < 3; i++)
		CHECK(!redis_has(of_a[i]));
	for (size_t i = 0; i < 4; i++)
		CHECK(redis_has(of_others[i]));
	CHECK(is_there(r, key_of(STORE_REGION, "s", "a:b", "kv")));
	rig_close(r);
}

const struct contract_case store_shared_cases[] = {
    {"the_reference_finds_entities_where_it_looks", the_reference_finds_entities_where_it_looks, 1},
    {"the_reference_finds_agents_and_their_things", the_reference_finds_agents_and_their_things, 1},
    {"what_others_write_in_redis_is_seen", what_others_write_in_redis_is_seen, 1},
    {"an_entity_registers_again_over_what_others_left",
     an_entity_registers_again_over_what_others_left, 1},
    {"who_listens_in_redis_is_told_of_entities", who_listens_in_redis_is_told_of_entities, 1},
    {"a_touch_reaches_no_key_of_another_kind", a_touch_reaches_no_key_of_another_kind, 1},
    {"two_daemons_on_one_redis_are_one", two_daemons_on_one_redis_are_one, 1},
    {"a_redis_that_goes_is_said_and_found_again", a_redis_that_goes_is_said_and_found_again, 1},
    {"what_is_in_flight_when_redis_goes_is_answered", what_is_in_flight_when_redis_goes_is_answered,
     1},
    {"urls_name_socket_password_and_database", urls_name_socket_password_and_database, 1},
    {"a_place_without_redis_is_refused_by_name", a_place_without_redis_is_refused_by_name, 1},
    {"a_redis_without_memory_is_said_and_changes_nothing",
     a_redis_without_memory_is_said_and_changes_nothing, 1},
    {"a_redis_that_forgot_the_script_gets_it_again", a_redis_that_forgot_the_script_gets_it_again,
     1},
    {"a_redis_without_functions_runs_scripts", a_redis_without_functions_runs_scripts, 1},
    {"a_purge_takes_what_others_wrote_for_the_agent_and_no_more",
     a_purge_takes_what_others_wrote_for_the_agent_and_no_more, 1},
    {0},
};
