/* SPDX-License-Identifier: BSD-3-Clause */
/* Agents of /v1 and all that lives and dies with them: regions, mailbox, leases, snapshots. */
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
	caller_open("");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	caller_use_tokens(NULL);
	caller_close();
	return 0;
}

/* Registers ALIAS. Returns its incarnation. */
static long long make_agent(const char *alias)
{
	const struct reply *reply = caller_ask("POST", "/v1/agents", "{'alias':'%s'}", alias);

	assert_int_equal(reply->status, 200);
	return reply_number(reply, "incarnation");
}

static const char *code_of(const struct reply *reply)
{
	return json_string_value(json_object_get(reply->json, "code"));
}

static void an_agent_is_shown_as_it_was_registered(void **state)
{
	const struct reply *reply =
	    caller_ask("POST", "/v1/agents",
	               "{'alias':'a/b','ttl_ms':5000,'address':'h:1','resource':{'n':1},"
	               "'process':{'host_id':'h','pid':7,'start':9},'unknown':1}");
	json_t *agent;

	(void)state;
	assert_true(
	    reply_is(reply, 200, "{'alias':'a/b','incarnation':1,'ttl_ms':5000,'revision':1}"));
	reply = caller_ask("GET", "/v1/agents/a%2Fb", NULL);
	agent = json_object_get(reply->json, "agent");
	assert_int_equal(reply_number(reply, "revision"), 1);
	assert_true(json_integer_value(json_object_get(agent, "registered_at_ms")) > 0);
	(void)json_object_del(agent, "registered_at_ms");
	(void)json_object_del(reply->json, "revision");
	assert_true(reply_is(reply, 200,
	                     "{'agent':{'alias':'a/b','incarnation':1,'address':'h:1','process':"
	                     "{'host_id':'h','pid':7,'start':9},'resource':{'n':1},'ttl_ms':5000,"
	                     "'revision':1}}"));
}

static void the_alias_in_use_is_answered_with_its_holder(void **state)
{
	long long incarnation = make_agent("a");
	const struct reply *reply = caller_ask("POST", "/v1/agents", "{'alias':'a'}");
	json_t *holder = json_object_get(reply->json, "holder");

	(void)state;
	assert_int_equal(reply->status, 409);
	assert_string_equal(code_of(reply), "EEXIST");
	assert_int_equal(json_integer_value(json_object_get(holder, "incarnation")), incarnation);
}

static void a_replacement_fences_the_old_incarnation(void **state)
{
	long long old = make_agent("a"), new;

	(void)state;
	assert_int_equal(caller_ask("POST", "/v1/agents/a/regions",
	                            "{'incarnation':%lld,'put':[{'name':'r'}]}", old)
	                     ->status,
	                 200);
	new = reply_number(caller_ask("POST", "/v1/agents", "{'alias':'a','replace':%lld}", old),
	                   "incarnation");
	assert_true(new > old);
	assert_string_equal(
	    code_of(caller_ask("POST", "/v1/agents/a/renew", "{'incarnation':%lld}", old)),
	    "ESTALE");
	assert_int_equal(
	    caller_ask("POST", "/v1/agents/a/renew", "{'incarnation':%lld}", new)->status, 200);
	assert_int_equal(caller_ask("GET", "/v1/agents/a/regions/r", NULL)->status, 404);
	assert_int_equal(
	    caller_ask("POST", "/v1/agents", "{'alias':'a','replace':%lld}", old)->status, 409);
}

static void who_replaces_what_is_gone_registers(void **state)
{
	(void)state;
	assert_int_equal(caller_ask("POST", "/v1/agents", "{'alias':'a','replace':77}")->status,
	                 200);
}

static void nameless_agents_get_a_name(void **state)
{
	(void)state;
	assert_string_equal(
	    json_string_value(json_object_get(
		caller_ask("POST", "/v1/agents", "{'name_prefix':'w'}")->json, "alias")),
	    "w-1");
	assert_int_equal(caller_ask("POST", "/v1/agents", "{'replace':1}")->status, 422);
}

static void a_resource_can_change_and_the_incarnation_stays(void **state)
{
	long long incarnation = make_agent("a");
	const struct reply *reply;
	json_t *agent;

	(void)state;
	reply = caller_ask("PUT", "/v1/agents/a/resource",
	                   "{'incarnation':%lld,'resource':{'n':2}}", incarnation);
	assert_true(reply_number(reply, "revision") > incarnation);
	agent = json_object_get(caller_ask("GET", "/v1/agents/a", NULL)->json, "agent");
	assert_int_equal(json_integer_value(json_object_get(agent, "incarnation")), incarnation);
	assert_true(reply_is(caller_ask("GET", "/v1/resources", NULL), 200, NULL));
	assert_string_equal(
	    code_of(caller_ask("PUT", "/v1/agents/a/resource", "{'incarnation':%lld,'resource':{}}",
	                       incarnation + 99)),
	    "ESTALE");
	assert_int_equal(
	    caller_ask("POST", "/v1/agents/a/renew", "{'incarnation':%lld}", incarnation)->status,
	    200);
}

static void one_renewal_keeps_all_that_is_its_own(void **state)
{
	long long incarnation = make_agent("a"), fence;

	(void)state;
	(void)caller_ask("POST", "/v1/agents/a/regions",
	                 "{'incarnation':%lld,'put':[{'name':'r'}]}", incarnation);
	fence = reply_number(caller_ask("POST", "/v1/leases/l",
	                                "{'holder':'a','incarnation':%lld,'ttl_ms':15000}",
	                                incarnation),
	                     "fence");
	assert_true(fence > 0);
	for (int i = 0; i < 5; i++) {
		fake_store_advance(nanoctrl.store, 14000);
		assert_int_equal(
		    caller_ask("POST", "/v1/agents/a/renew",
		               "{'incarnation':%lld,'obs':{'schema_version':1,'i':%d}}",
		               incarnation, i)
			->status,
		    200);
	}
	assert_int_equal(caller_ask("GET", "/v1/agents/a/regions/r", NULL)->status, 200);
	assert_int_equal(caller_ask("POST", "/v1/leases/l/renew", "{'fence':%lld}", fence)->status,
	                 200);
	assert_true(reply_is(caller_ask("GET", "/v1/obs", NULL), 200, NULL));
	assert_int_equal(
	    json_array_size(json_object_get(caller_ask("GET", "/v1/obs", NULL)->json, "snapshots")),
	    1);
	fake_store_advance(nanoctrl.store, 15001);
	assert_int_equal(caller_ask("GET", "/v1/agents/a", NULL)->status, 404);
	assert_int_equal(caller_ask("POST", "/v1/leases/l/renew", "{'fence':%lld}", fence)->status,
	                 410);
}

static void deleting_needs_the_incarnation(void **state)
{
	long long incarnation = make_agent("a");

	(void)state;
	assert_int_equal(caller_ask("DELETE",
	                            caller_text("/v1/agents/a?incarnation=%lld", incarnation + 1),
	                            NULL)
	                     ->status,
	                 410);
	assert_int_equal(
	    caller_ask("DELETE", caller_text("/v1/agents/a?incarnation=%lld", incarnation), NULL)
		->status,
	    200);
	assert_int_equal(
	    caller_ask("DELETE", caller_text("/v1/agents/a?incarnation=%lld", incarnation), NULL)
		->status,
	    404);
}

static void lists_come_in_pages(void **state)
{
	const struct reply *reply;

	(void)state;
	for (int i = 0; i < 5; i++)
		(void)make_agent(caller_text("a%d", i));
	reply = caller_ask("GET", "/v1/agents?limit=2", NULL);
	assert_int_equal(json_array_size(json_object_get(reply->json, "agents")), 2);
	assert_string_equal(json_string_value(json_object_get(reply->json, "next")), "a1");
	reply = caller_ask("GET", "/v1/agents?limit=4&after=a1", NULL);
	assert_int_equal(json_array_size(json_object_get(reply->json, "agents")), 3);
	assert_true(json_is_null(json_object_get(reply->json, "next")));
	assert_int_equal(reply_number(reply, "revision"), 5);
}

static void regions_change_all_or_nothing(void **state)
{
	long long incarnation = make_agent("a");

	(void)state;
	assert_int_equal(caller_ask("POST", "/v1/agents/a/regions",
	                            "{'incarnation':%lld,'put':[{'name':'r','length':64,"
	                            "'desc':'AAEC','x':1},{'name':'s'}]}",
	                            incarnation)
	                     ->status,
	                 200);
	assert_true(reply_is(
	    caller_ask("GET", "/v1/agents/a/regions/r", NULL), 200,
	    "{'region':{'name':'r','length':64,'desc':'AAEC','x':1,'revision':2},'incarnation':1,"
	    "'revision':3}"));
	assert_int_equal(caller_ask("POST", "/v1/agents/a/regions",
	                            "{'incarnation':%lld,'put':[{'name':'t'}],'delete':['r']}",
	                            incarnation + 9)
	                     ->status,
	                 410);
	assert_int_equal(caller_ask("GET", "/v1/agents/a/regions/r", NULL)->status, 200);
	assert_int_equal(caller_ask("GET", "/v1/agents/a/regions/t", NULL)->status, 404);
	assert_int_equal(caller_ask("POST", "/v1/agents/a/regions",
	                            "{'incarnation':%lld,'put':[{'name':'t'}],'delete':['r']}",
	                            incarnation)
	                     ->status,
	                 200);
	assert_int_equal(json_array_size(json_object_get(
			     caller_ask("GET", "/v1/agents/a/regions", NULL)->json, "regions")),
	                 2);
	assert_int_equal(caller_ask("GET", "/v1/agents/b/regions", NULL)->status, 404);
}

static void regions_of_the_wrong_kind_are_refused(void **state)
{
	static const char *const puts[] = {"3",
	                                   "{}",
	                                   "[3]",
	                                   "[{}]",
	                                   "[{'name':''}]",
	                                   "[{'name':'r','length':-1}]",
	                                   "[{'name':'r','length':1.5}]",
	                                   "[{'name':'r','desc':'A'}]",
	                                   "[{'name':'r','desc':'A==='}]",
	                                   "[{'name':'r','desc':'A,BC'}]"};
	long long incarnation = make_agent("a");

	(void)state;
	for (size_t i = 0; i < sizeof(puts) / sizeof(puts[0]); i++)
		assert_int_equal(caller_ask("POST", "/v1/agents/a/regions",
		                            "{'incarnation':%lld,'put':%s}", incarnation, puts[i])
		                     ->status,
		                 422);
}

static void snapshots_are_kept_while_they_are_fresh(void **state)
{
	long long incarnation = make_agent("a");

	(void)state;
	assert_int_equal(caller_ask("PUT", "/v1/agents/a/obs",
	                            "{'incarnation':%lld,'snapshot':{'schema_version':2}}",
	                            incarnation)
	                     ->status,
	                 422);
	assert_true(reply_is(
	    caller_ask("PUT", "/v1/agents/a/obs",
	               "{'incarnation':%lld,'snapshot':{'schema_version':1},'ttl_ms':1000}",
	               incarnation),
	    200, "{'status':'ok'}"));
	assert_int_equal(
	    json_array_size(json_object_get(caller_ask("GET", "/v1/obs", NULL)->json, "snapshots")),
	    1);
	fake_store_advance(nanoctrl.store, 1001);
	assert_int_equal(
	    json_array_size(json_object_get(caller_ask("GET", "/v1/obs", NULL)->json, "snapshots")),
	    0);
}

#define TOKENS                                                                           \
	"{\"tokens\":["                                                                  \
	"{\"name\":\"alice\",\"token\":\"alice-0123456789\",\"rights\":[\"register\"]}," \
	"{\"name\":\"bob\",\"token\":\"bob-0123456789abc\",\"rights\":[\"register\"]},"  \
	"{\"name\":\"root\",\"token\":\"root-0123456789ab\",\"rights\":[\"admin\"]}]}"

static void an_agent_is_changed_by_its_token_only(void **state)
{
	long long i;

	(void)state;
	caller_use_tokens(TOKENS);
	caller_be("alice-0123456789");
	i = make_agent("a");
	caller_be("bob-0123456789abc");
	assert_int_equal(
	    caller_ask("POST", "/v1/agents/a/renew", "{'incarnation':%lld}", i)->status, 403);
	assert_int_equal(caller_ask("POST", "/v1/agents/a/regions",
	                            "{'incarnation':%lld,'put':[{'name':'r'}]}", i)
	                     ->status,
	                 403);
	assert_int_equal(
	    caller_ask("POST", "/v1/agents", "{'alias':'a','replace':%lld}", i)->status, 403);
	assert_int_equal(
	    caller_ask("GET", caller_text("/v1/agents/a/mailbox?incarnation=%lld", i), NULL)
		->status,
	    403);
	assert_int_equal(
	    caller_ask("POST", "/v1/leases/l", "{'holder':'a','incarnation':%lld}", i)->status,
	    403);
	assert_int_equal(caller_ask("POST", "/v1/agents/a/mailbox",
	                            "{'from':'a','from_incarnation':%lld,'messages':[{}]}", i)
	                     ->status,
	                 403);
	assert_int_equal(
	    caller_ask("DELETE", caller_text("/v1/agents/a?incarnation=%lld", i), NULL)->status,
	    403);
	assert_int_equal(caller_ask("GET", "/v1/agents/a", NULL)->status, 200);
	caller_be("alice-0123456789");
	assert_int_equal(
	    caller_ask("POST", "/v1/agents/a/renew", "{'incarnation':%lld}", i)->status, 200);
	assert_int_equal(
	    caller_ask("POST", "/v1/agents/a/renew", "{'incarnation':%lld}", i + 1)->status, 410);
	caller_be("root-0123456789ab");
	assert_int_equal(
	    caller_ask("DELETE", caller_text("/v1/agents/a?incarnation=%lld", i), NULL)->status,
	    200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_agent_is_shown_as_it_was_registered),
	    TEST(the_alias_in_use_is_answered_with_its_holder),
	    TEST(a_replacement_fences_the_old_incarnation),
	    TEST(who_replaces_what_is_gone_registers),
	    TEST(nameless_agents_get_a_name),
	    TEST(a_resource_can_change_and_the_incarnation_stays),
	    TEST(one_renewal_keeps_all_that_is_its_own),
	    TEST(deleting_needs_the_incarnation),
	    TEST(lists_come_in_pages),
	    TEST(regions_change_all_or_nothing),
	    TEST(regions_of_the_wrong_kind_are_refused),
	    TEST(snapshots_are_kept_while_they_are_fresh),
	    TEST(an_agent_is_changed_by_its_token_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
