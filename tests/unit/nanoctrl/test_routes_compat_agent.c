/* SPDX-License-Identifier: BSD-3-Clause */
/* Agents, regions and topologies of the reference. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fakes/nanoctrl/caller.h"

static int setup(void **state)
{
	(void)state;
	caller_open("redis://10.9.8.7:6379");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	caller_close();
	return 0;
}

static void make_agent(const char *alias)
{
	assert_int_equal(
	    caller_ask("POST", "/start_peer_agent", "{'alias':'%s','address':'1.2.3.4:5'}", alias)
		->status,
	    200);
}

static void nameless_agents_are_counted_in_hexadecimal(void **state)
{
	(void)state;
	for (int i = 1; i < 10; i++)
		(void)caller_ask("POST", "/start_peer_agent", "{'address':'1.2.3.4'}");
	assert_true(reply_is(caller_ask("POST", "/start_peer_agent", "{'address':'1.2.3.4'}"), 200,
	                     "{'status':'ok','name':'agent-a','redis_address':'10.9.8.7:6379'}"));
	assert_true(reply_is(
	    caller_ask("POST", "/start_peer_agent",
	               "{'address':'','name_prefix':'p','resource':{'r':1},'scope':'s'}"),
	    200,
	    "{'status':'ok','name':'p-1','redis_address':'10.9.8.7:6379','resource':{'r':1}}"));
}

static void a_number_that_somebody_took_is_passed_over(void **state)
{
	(void)state;
	make_agent("agent-1");
	assert_true(reply_is(caller_ask("POST", "/start_peer_agent", "{'address':'1.2.3.4'}"), 200,
	                     "{'status':'ok','name':'agent-2','redis_address':'10.9.8.7:6379'}"));
}

static void an_alias_in_use_is_409(void **state)
{
	(void)state;
	make_agent("a");
	assert_true(reply_is(
	    caller_ask("POST", "/start_peer_agent", "{'alias':'a','address':'1.2.3.4'}"), 409,
	    "{'status':'error','message':'Peer agent alias \\u0027a\\u0027 already exists in this "
	    "scope'}"));
	fake_store_advance(nanoctrl.store, 60001);
	make_agent("a");
}

static void a_query_lists_the_agents_of_a_scope(void **state)
{
	(void)state;
	assert_true(reply_is(caller_ask("POST", "/query", "{}"), 200, "[]"));
	(void)caller_ask("POST", "/start_peer_agent",
	                 "{'alias':'a','address':'1.2.3.4:5','device':'mlx5_0','ib_port':2,"
	                 "'link_type':'RoCE','resource':{'nics':[]}}");
	make_agent("b");
	(void)caller_ask("POST", "/v1/agents", "{'alias':'without an address'}");
	assert_true(reply_is(
	    caller_ask("POST", "/query", "{}"), 200,
	    "[{'name':'a','device':'mlx5_0','ib_port':2,'link_type':'RoCE','address':'1.2.3.4:5',"
	    "'resource':{'nics':[]},'memory_keys':[]},"
	    "{'name':'b','device':'','ib_port':1,'link_type':'','address':'1.2.3.4:5',"
	    "'resource':null,'memory_keys':[]}]"));
	assert_true(reply_is(caller_ask("POST", "/query", "{'scope':'s'}"), 200, "[]"));
}

static void an_agent_lives_60_seconds_behind_its_last_heartbeat(void **state)
{
	static const char beat[] = "{'entity_type':'agent','entity_id':'a'}";

	(void)state;
	make_agent("a");
	fake_store_advance(nanoctrl.store, 59000);
	assert_true(reply_is(caller_ask("POST", "/heartbeat", beat), 200,
	                     "{'status':'ok','message':'Heartbeat successful for agent a'}"));
	fake_store_advance(nanoctrl.store, 60001);
	assert_true(reply_is(
	    caller_ask("POST", "/heartbeat", beat), 200,
	    "{'status':'not_found','message':'agent a not found. Please register first.'}"));
}

#define MR      "{'agent_name':'a','mr_name':'m','addr':4096,'length':64,'rkey':4294967295}"
#define ASK_MR  "{'src':'b','dst':'a','mr_name':'m'}"
#define MR_INFO "{'mr_info':{'addr':4096,'length':64,'rkey':4294967295,'lkey':0}}"

static void a_region_is_four_integers(void **state)
{
	(void)state;
	make_agent("a");
	assert_true(reply_is(caller_ask("POST", "/get_mr_info", ASK_MR), 200, "{'mr_info':null}"));
	assert_true(reply_is(caller_ask("POST", "/register_mr", MR), 200, "{'status':'ok'}"));
	assert_true(reply_is(caller_ask("POST", "/get_mr_info", ASK_MR), 200, MR_INFO));
	assert_int_equal(caller_ask("POST", "/register_mr",
	                            "{'agent_name':'a','mr_name':'m','addr':1,'length':1,"
	                            "'rkey':4294967296}")
	                     ->status,
	                 422);
}

static void a_region_may_be_there_before_its_agent(void **state)
{
	(void)state;
	assert_true(reply_is(caller_ask("POST", "/register_mr", MR), 200, "{'status':'ok'}"));
	assert_true(reply_is(caller_ask("POST", "/get_mr_info", ASK_MR), 200, MR_INFO));
	assert_true(reply_is(caller_ask("POST", "/cleanup", "{'agent_name':'a'}"), 200,
	                     "{'status':'ok','message':'Cleaned up agent: a'}"));
	assert_true(reply_is(caller_ask("POST", "/get_mr_info", ASK_MR), 200, "{'mr_info':null}"));
}

static void regions_go_with_their_agent(void **state)
{
	(void)state;
	make_agent("a");
	(void)caller_ask("POST", "/register_mr", MR);
	fake_store_advance(nanoctrl.store, 60001);
	assert_true(reply_is(caller_ask("POST", "/get_mr_info", ASK_MR), 200, "{'mr_info':null}"));
}

/* The number of messages that the store has for an agent of the reference. */
static size_t n_messages(const char *alias, enum store_class class, const char *words);

static json_t *topology(const char *alias)
{
	const struct reply *reply =
	    caller_ask("GET", caller_text("/v1/desired_topology/%s", alias), NULL);

	return json_object_get(reply->json, "topology");
}

static bool is_topology(const char *alias, const char *json)
{
	json_t *wanted = json_loads(json, 0, NULL);
	bool same = json_equal(topology(alias), wanted);

	json_decref(wanted);
	return same;
}

struct count {
	size_t n;
	bool done;
	const char *words;
};

static void counted(void *arg, int status, size_t failed, const struct store_res *res,
                    const struct slime_error *err)
{
	struct count *count = arg;

	(void)failed;
	(void)err;
	assert_int_equal(status, 0);
	for (size_t i = 0; i < res->n; i++)
		count->n += strstr(res->row[i].value, count->words) != NULL;
	count->done = true;
}

static size_t n_messages(const char *alias, enum store_class class, const char *words)
{
	struct count count = {.words = words};
	const struct store_op op = {.verb = STORE_READ, .key = {class, "", "", alias}};

	assert_int_equal(nanoctrl.store->table->run(nanoctrl.store, &op, 1, counted, &count, NULL),
	                 0);
	caller_settle();
	assert_true(count.done);
	return count.n;
}

static void a_wish_is_kept_and_told_to_its_agent(void **state)
{
	(void)state;
	assert_true(reply_is(
	    caller_ask("POST", "/v1/desired_topology/a", "{'target_peers':['b','c'],'min_bw':1.5}"),
	    200, "{'status':'ok'}"));
	assert_true(is_topology(
	    "a", "{\"target_peers\":[\"b\",\"c\"],\"min_bw\":1.5,\"symmetric\":false}"));
	assert_null(topology("b"));
	assert_int_equal(n_messages("a", STORE_STREAM, "connect_peer"), 2);
	assert_int_equal(n_messages("a", STORE_STREAM, "\"peer\":\"c\""), 1);
	assert_int_equal(n_messages("b", STORE_STREAM, ""), 0);
}

static void a_symmetric_wish_is_merged_into_those_of_its_targets(void **state)
{
	(void)state;
	(void)caller_ask("POST", "/v1/desired_topology/b",
	                 "{'target_peers':['x'],'min_bw':'100Gbps'}");
	(void)caller_ask("POST", "/v1/desired_topology/a",
	                 "{'target_peers':['b','c','b','a'],'symmetric':true}");
	assert_true(is_topology(
	    "b", "{\"target_peers\":[\"x\",\"a\"],\"min_bw\":null,\"symmetric\":false}"));
	assert_true(
	    is_topology("c", "{\"target_peers\":[\"a\"],\"min_bw\":null,\"symmetric\":false}"));
	(void)caller_ask("POST", "/v1/desired_topology/a",
	                 "{'target_peers':['c'],'symmetric':true}");
	assert_true(
	    is_topology("c", "{\"target_peers\":[\"a\"],\"min_bw\":null,\"symmetric\":false}"));
	assert_int_equal(n_messages("c", STORE_STREAM, "\"peer\":\"a\""), 2);
}

static void two_symmetric_wishes_at_once_both_take_effect(void **state)
{
	struct reply *a = caller_send("POST", "/v1/desired_topology/a",
	                              "{'target_peers':['t'],'symmetric':true}");
	struct reply *b = caller_send("POST", "/v1/desired_topology/b",
	                              "{'target_peers':['t'],'symmetric':true}");

	(void)state;
	assert_true(caller_wait(a) && caller_wait(b));
	assert_int_equal(a->status, 200);
	assert_int_equal(b->status, 200);
	assert_int_equal(json_array_size(json_object_get(topology("t"), "target_peers")), 2);
	reply_free(a);
	reply_free(b);
}

static void cleanup_tells_those_who_wanted_it_and_those_whom_it_wanted(void **state)
{
	(void)state;
	make_agent("a");
	(void)caller_ask("POST", "/v1/desired_topology/a", "{'target_peers':['b']}");
	(void)caller_ask("POST", "/v1/desired_topology/c", "{'target_peers':['a','d']}");
	(void)caller_ask("POST", "/v1/desired_topology/e", "{'target_peers':['d']}");
	assert_true(reply_is(caller_ask("POST", "/cleanup", "{'agent_name':'a'}"), 200,
	                     "{'status':'ok','message':'Cleaned up agent: a'}"));
	assert_int_equal(n_messages("b", STORE_INBOX, "{\"type\":\"cleanup\",\"peer\":\"a\"}"), 1);
	assert_int_equal(n_messages("c", STORE_INBOX, "{\"type\":\"cleanup\",\"peer\":\"a\"}"), 1);
	assert_int_equal(n_messages("e", STORE_INBOX, ""), 0);
	assert_null(topology("a"));
	assert_int_equal(n_messages("a", STORE_STREAM, ""), 1); /* this persona keeps it */
	make_agent("a");
}

static void everybody_is_told_where_redis_is(void **state)
{
	(void)state;
	assert_true(reply_is(caller_ask("POST", "/get_redis_address", "{}"), 200,
	                     "{'status':'ok','redis_address':'redis://10.9.8.7:6379'}"));
	nanoctrl.public_redis = "redis://5.6.7.8:1";
	assert_true(reply_is(caller_ask("POST", "/get_redis_address", "{}"), 200,
	                     "{'status':'ok','redis_address':'redis://5.6.7.8:1'}"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(nameless_agents_are_counted_in_hexadecimal),
	    TEST(a_number_that_somebody_took_is_passed_over),
	    TEST(an_alias_in_use_is_409),
	    TEST(a_query_lists_the_agents_of_a_scope),
	    TEST(an_agent_lives_60_seconds_behind_its_last_heartbeat),
	    TEST(a_region_is_four_integers),
	    TEST(a_region_may_be_there_before_its_agent),
	    TEST(regions_go_with_their_agent),
	    TEST(a_wish_is_kept_and_told_to_its_agent),
	    TEST(a_symmetric_wish_is_merged_into_those_of_its_targets),
	    TEST(two_symmetric_wishes_at_once_both_take_effect),
	    TEST(cleanup_tells_those_who_wanted_it_and_those_whom_it_wanted),
	    TEST(everybody_is_told_where_redis_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
