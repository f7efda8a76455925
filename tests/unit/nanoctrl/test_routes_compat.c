/* SPDX-License-Identifier: BSD-3-Clause */
/* The answers are word for word those of the contract: nanoctrl.md 4.2. */
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
	caller_use_tokens(NULL);
	caller_close();
	return 0;
}

#define CACHE                                                                           \
	"{'entity_type':'service','entity_id':'cache:0','id':'cache:0','kind':'cache'," \
	"'endpoint':{'host':'h'},'metadata':{},'resource':null}"
#define NO_CACHE "{'status':'not_found','entity_info':null}"
#define ID       "{'entity_id':'cache:0'}"

static void put_cache(void)
{
	assert_true(reply_is(
	    caller_ask("POST", "/register",
	               "{'entity_id':'cache:0','kind':'cache','endpoint':{'host':'h'},'more':1}"),
	    200, "{'status':'ok','message':'Entity service:cache:0 registered successfully'}"));
}

static void the_root_says_who_it_is(void **state)
{
	(void)state;
	assert_string_equal(caller_ask("GET", "/", NULL)->text, "NanoCtrl Server Running");
}

static void metadata_that_is_null_stays_null(void **state)
{
	(void)state;
	(void)caller_ask("POST", "/register", "{'entity_id':'n','kind':'k','metadata':null}");
	assert_true(reply_is(
	    caller_ask("POST", "/get_entity_info", "{'entity_id':'n'}"), 200,
	    "{'status':'ok','entity_info':{'entity_type':'service','entity_id':'n','id':'n',"
	    "'kind':'k','endpoint':null,'metadata':null,'resource':null}}"));
}

static void an_entity_is_there_until_it_is_unregistered(void **state)
{
	(void)state;
	assert_true(reply_is(caller_ask("POST", "/get_entity_info", ID), 200, NO_CACHE));
	put_cache();
	assert_true(reply_is(caller_ask("POST", "/get_entity_info", ID), 200,
	                     "{'status':'ok','entity_info':" CACHE "}"));
	assert_true(reply_is(caller_ask("POST", "/list_entities", "{}"), 200,
	                     "{'status':'ok','entities':[" CACHE "]}"));
	for (int i = 0; i < 2; i++) /* also when it is not there */
		assert_true(reply_is(
		    caller_ask("POST", "/unregister", ID), 200,
		    "{'status':'ok','message':'Entity service:cache:0 unregistered successfully'}"));
	assert_true(reply_is(caller_ask("POST", "/get_entity_info", ID), 200, NO_CACHE));
}

static void to_register_again_replaces(void **state)
{
	(void)state;
	put_cache();
	(void)caller_ask("POST", "/register",
	                 "{'entity_id':'cache:0','kind':'b','metadata':{'m':1},'resource':[2]}");
	assert_true(reply_is(
	    caller_ask("POST", "/list_entities", "{}"), 200,
	    "{'status':'ok','entities':[{'entity_type':'service','entity_id':'cache:0','id':'cache:0',"
	    "'kind':'b','endpoint':null,'metadata':{'m':1},'resource':[2]}]}"));
}

static void an_entity_lives_60_seconds_behind_its_last_heartbeat(void **state)
{
	static const char beat[] = "{'entity_type':'service','entity_id':'cache:0'}";

	(void)state;
	put_cache();
	fake_store_advance(nanoctrl.store, 59000);
	assert_true(
	    reply_is(caller_ask("POST", "/heartbeat", beat), 200,
	             "{'status':'ok','message':'Heartbeat successful for service cache:0'}"));
	fake_store_advance(nanoctrl.store, 59000);
	assert_true(reply_is(caller_ask("POST", "/get_entity_info", ID), 200, NULL));
	assert_int_equal(json_object_size(caller_ask("POST", "/get_entity_info", ID)->json), 2);
	fake_store_advance(nanoctrl.store, 1001);
	assert_true(reply_is(caller_ask("POST", "/get_entity_info", ID), 200, NO_CACHE));
	assert_true(reply_is(caller_ask("POST", "/heartbeat", beat), 200,
	                     "{'status':'not_found','message':"
	                     "'service cache:0 not found. Please register first.'}"));
}

static size_t n_entities(const char *body)
{
	return json_array_size(
	    json_object_get(caller_ask("POST", "/list_entities", "%s", body)->json, "entities"));
}

static void lists_are_by_scope_type_and_kind(void **state)
{
	(void)state;
	put_cache();
	(void)caller_ask("POST", "/register", "{'entity_id':'w','kind':'worker'}");
	(void)caller_ask("POST", "/register",
	                 "{'entity_type':'t','entity_id':'w','kind':'worker'}");
	(void)caller_ask("POST", "/register", "{'entity_id':'w','kind':'worker','scope':'s'}");
	assert_int_equal(n_entities("{}"), 3);
	assert_int_equal(n_entities("{\"scope\":null,\"entity_type\":null,\"kind\":null}"), 3);
	assert_int_equal(n_entities("{\"entity_type\":\"service\"}"), 2);
	assert_int_equal(n_entities("{\"entity_type\":\"t\"}"), 1);
	assert_int_equal(n_entities("{\"kind\":\"worker\"}"), 2);
	assert_int_equal(n_entities("{\"scope\":\"s\"}"), 1);
	assert_int_equal(n_entities("{\"scope\":\"other\"}"), 0);
}

static void colons_do_not_lead_into_another_scope_or_type(void **state)
{
	(void)state;
	(void)caller_ask("POST", "/register", "{'scope':'a','entity_id':'b:c','kind':'k'}");
	assert_true(reply_is(caller_ask("POST", "/get_entity_info",
	                                "{'scope':'a:service','entity_id':'c','entity_type':'b'}"),
	                     200, NO_CACHE));
	assert_true(reply_is(
	    caller_ask("POST", "/get_entity_info", "{'entity_type':'a','entity_id':'service:b:c'}"),
	    200, NO_CACHE));
}

static void an_entity_of_the_type_agent_can_beat_too(void **state)
{
	(void)state;
	(void)caller_ask("POST", "/register", "{'entity_type':'agent','entity_id':'e','kind':'k'}");
	assert_true(
	    reply_is(caller_ask("POST", "/heartbeat", "{'entity_type':'agent','entity_id':'e'}"),
	             200, "{'status':'ok','message':'Heartbeat successful for agent e'}"));
}

static void a_store_out_of_reach_is_503(void **state)
{
	(void)state;
	fake_store_fail(nanoctrl.store, -EAGAIN);
	assert_int_equal(caller_ask("POST", "/get_entity_info", ID)->status, 503);
	assert_int_equal(caller_ask("POST", "/list_entities", "{}")->status, 503);
	fake_store_fail(nanoctrl.store, -EDQUOT);
	assert_int_equal(caller_ask("POST", "/register", "{'entity_id':'e','kind':'k'}")->status,
	                 507);
}

#define TOKENS                                                                                            \
	"{\"tokens\":["                                                                                   \
	"{\"name\":\"alice\",\"token\":\"alice-0123456789\",\"rights\":[\"register\"]},"                  \
	"{\"name\":\"bob\",\"token\":\"bob-0123456789abc\",\"rights\":[\"register\"],\"scopes\":[\"\"]}," \
	"{\"name\":\"root\",\"token\":\"root-0123456789ab\",\"rights\":[\"admin\"]}]}"

static void an_entity_is_changed_by_its_token_or_an_admin_only(void **state)
{
	static const char beat[] = "{'entity_type':'service','entity_id':'cache:0'}";

	(void)state;
	caller_use_tokens(TOKENS);
	assert_int_equal(caller_ask("POST", "/get_entity_info", ID)->status, 401);
	caller_be("alice-0123456789");
	put_cache();
	put_cache();
	assert_true(reply_is(caller_ask("POST", "/heartbeat", beat), 200, NULL));
	caller_be("bob-0123456789abc");
	assert_true(reply_is(caller_ask("POST", "/get_entity_info", ID), 200, NULL));
	assert_true(reply_is(
	    caller_ask("POST", "/unregister", ID), 403,
	    "{'status':'error','message':'\\u0027cache:0\\u0027 was registered with another token'}"));
	assert_int_equal(caller_ask("POST", "/heartbeat", beat)->status, 403);
	assert_int_equal(
	    caller_ask("POST", "/register", "{'entity_id':'cache:0','kind':'k'}")->status, 403);
	assert_int_equal(
	    caller_ask("POST", "/register", "{'entity_id':'e','kind':'k','scope':'s'}")->status,
	    403);
	caller_be("root-0123456789ab");
	assert_int_equal(caller_ask("POST", "/unregister", ID)->status, 200);
}

static void a_scope_has_so_many_records_and_no_more(void **state)
{
	(void)state;
	nanoctrl.quota.records = 2;
	put_cache();
	assert_int_equal(caller_ask("POST", "/start_peer_agent", "{'address':'1.2.3.4'}")->status,
	                 200);
	assert_int_equal(caller_ask("POST", "/register", "{'entity_id':'e','kind':'k'}")->status,
	                 429);
	assert_int_equal(caller_ask("POST", "/start_peer_agent", "{'address':'1.2.3.4'}")->status,
	                 429);
	put_cache(); /* what is there already has its place */
	assert_int_equal(
	    caller_ask("POST", "/register", "{'entity_id':'e','kind':'k','scope':'s'}")->status,
	    200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_root_says_who_it_is),
	    TEST(metadata_that_is_null_stays_null),
	    TEST(an_entity_is_there_until_it_is_unregistered),
	    TEST(to_register_again_replaces),
	    TEST(an_entity_lives_60_seconds_behind_its_last_heartbeat),
	    TEST(lists_are_by_scope_type_and_kind),
	    TEST(colons_do_not_lead_into_another_scope_or_type),
	    TEST(an_entity_of_the_type_agent_can_beat_too),
	    TEST(a_store_out_of_reach_is_503),
	    TEST(an_entity_is_changed_by_its_token_or_an_admin_only),
	    TEST(a_scope_has_so_many_records_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
