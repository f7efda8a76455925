/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that wait: for mail, for a lease, for changes; and batches, which do not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
	caller_close();
	return 0;
}

static long long make_agent(const char *alias)
{
	return reply_number(caller_ask("POST", "/v1/agents", "{'alias':'%s','ttl_ms':5000}", alias),
	                    "incarnation");
}

static const struct reply *send_mail(long long from, const char *message)
{
	return caller_ask("POST", "/v1/agents/b/mailbox",
	                  "{'from':'a','from_incarnation':%lld,'messages':[%s]}", from, message);
}

static struct reply *read_mail(long long incarnation, long long after, long long ack, int wait_ms)
{
	return caller_send(
	    "GET",
	    caller_text("/v1/agents/b/mailbox?incarnation=%lld&after=%lld&ack=%lld&wait_ms=%d",
	                incarnation, after, ack, wait_ms),
	    NULL);
}

static json_t *messages_of(const struct reply *reply)
{
	return json_object_get(reply->json, "messages");
}

static size_t n_messages(long long incarnation, long long after, long long ack)
{
	struct reply *reply = read_mail(incarnation, after, ack, 0);
	size_t n;

	assert_true(caller_wait(reply));
	assert_int_equal(reply->status, 200);
	n = json_array_size(messages_of(reply));
	reply_free(reply);
	return n;
}

static void mail_is_there_until_it_is_acknowledged(void **state)
{
	long long a = make_agent("a"), b = make_agent("b"), first, second;

	(void)state;
	first = reply_number(send_mail(a, "{'n':1},{'n':2}"), "position");
	second = reply_number(send_mail(a, "{'n':3}"), "position");
	assert_true(second > first);
	assert_int_equal(n_messages(b, 0, 0), 3);
	assert_int_equal(n_messages(b, first, 0), 1);
	assert_int_equal(n_messages(b, 0, first), 1);
	assert_int_equal(n_messages(b, 0, second), 0);
}

static void mail_says_who_sent_it(void **state)
{
	long long a = make_agent("a"), b = make_agent("b");
	struct reply *reply;
	json_t *message;

	(void)state;
	(void)send_mail(a, "{'n':1}");
	reply = read_mail(b, 0, 0, 0);
	assert_true(caller_wait(reply));
	message = json_array_get(messages_of(reply), 0);
	assert_string_equal(json_string_value(json_object_get(message, "from")), "a");
	assert_int_equal(json_integer_value(json_object_get(message, "from_incarnation")), a);
	assert_true(json_integer_value(json_object_get(message, "at_ms")) > 0);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(message, "message"), "n")), 1);
	reply_free(reply);
}

static void who_waits_for_mail_gets_it_when_it_comes(void **state)
{
	long long a = make_agent("a"), b = make_agent("b");
	struct reply *reply = read_mail(b, 0, 0, 60000);

	(void)state;
	caller_settle();
	assert_int_equal(reply->status, 0);
	(void)send_mail(a, "{'n':1}");
	assert_true(caller_wait(reply));
	assert_int_equal(json_array_size(messages_of(reply)), 1);
	reply_free(reply);
}

static void mail_that_comes_while_we_look_is_not_missed(void **state)
{
	long long a = make_agent("a"), b = make_agent("b");
	struct reply *reply = read_mail(b, 0, 0, 60000); /* its look is under way */

	(void)state;
	(void)send_mail(a, "{'n':1}");
	assert_true(caller_wait(reply));
	assert_int_equal(json_array_size(messages_of(reply)), 1);
	reply_free(reply);
}

static void a_wait_for_mail_ends_empty(void **state)
{
	long long b = make_agent("b");
	struct reply *reply = read_mail(b, 0, 0, 20);

	(void)state;
	assert_true(caller_wait(reply));
	assert_true(reply_is(reply, 200, "{'messages':[]}"));
	reply_free(reply);
}

static void a_wait_for_mail_ends_with_its_agent(void **state)
{
	long long b = make_agent("b");
	struct reply *reply = read_mail(b, 0, 0, 60000);

	(void)state;
	caller_settle();
	fake_store_advance(nanoctrl.store, 5001);
	assert_true(caller_wait(reply));
	assert_int_equal(reply->status, 404);
	reply_free(reply);
}

static void who_hangs_up_waits_no_more(void **state)
{
	long long a = make_agent("a"), b = make_agent("b");
	struct reply *reply = read_mail(b, 0, 0, 60000);

	(void)state;
	caller_settle();
	caller_hang_up(reply);
	(void)send_mail(a, "{'n':1}");
	caller_settle();
	assert_int_equal(reply->status, 0);
	reply_free(reply);
	reply = read_mail(b, 0, 0, 60000);
	caller_hang_up(reply); /* in the middle of the look */
	caller_settle();
	reply_free(reply);
}

static void mail_of_a_fenced_sender_or_to_a_fenced_receiver_is_refused(void **state)
{
	long long a = make_agent("a"), b = make_agent("b"), new;

	(void)state;
	new = reply_number(caller_ask("POST", "/v1/agents", "{'alias':'a','replace':%lld}", a),
	                   "incarnation");
	assert_int_equal(send_mail(a, "{}")->status, 410);
	assert_int_equal(send_mail(new, "{}")->status, 200);
	assert_int_equal(caller_ask("POST", "/v1/agents/b/mailbox",
	                            "{'from':'a','from_incarnation':%lld,'to_incarnation':%lld,"
	                            "'messages':[{}]}",
	                            new, b + 1)
	                     ->status,
	                 410);
	assert_int_equal(caller_ask("POST", "/v1/agents/nobody/mailbox",
	                            "{'from':'a','from_incarnation':%lld,'messages':[{}]}", new)
	                     ->status,
	                 404);
	assert_int_equal(
	    caller_ask("POST", "/v1/agents/nobody/mailbox",
	               "{'from':'a','from_incarnation':%lld,'to_incarnation':9,'messages':[{}]}",
	               new)
		->status,
	    404);
	assert_int_equal(caller_ask("POST", "/v1/agents/b/mailbox",
	                            "{'from':'nobody','from_incarnation':1,'messages':[{}]}")
	                     ->status,
	                 410);
}

static void mail_goes_to_whoever_the_receiver_is_by_now_and_says_so(void **state)
{
	long long a = make_agent("a"), b = make_agent("b"), new;

	(void)state;
	assert_int_equal(reply_number(send_mail(a, "{}"), "incarnation"), b);
	assert_int_equal(reply_number(send_mail(a, "{}"), "incarnation"), b);
	new = reply_number(caller_ask("POST", "/v1/agents", "{'alias':'b','replace':%lld}", b),
	                   "incarnation");
	assert_int_equal(reply_number(send_mail(a, "{}"), "incarnation"), new);
	assert_int_equal(n_messages(new, 0, 0), 1);
	assert_int_equal(
	    caller_ask("DELETE", caller_text("/v1/agents/b?incarnation=%lld", new), NULL)->status,
	    200);
	assert_int_equal(send_mail(a, "{}")->status, 404);
	new = make_agent("b");
	assert_int_equal(reply_number(send_mail(a, "{}"), "incarnation"), new);
}

static void mail_is_read_in_a_batch_too(void **state)
{
	long long a = make_agent("a"), b = make_agent("b");
	const struct reply *reply;
	json_t *body;

	(void)state;
	assert_int_equal(send_mail(a, "{'n':1},{'n':2}")->status, 200);
	reply = caller_ask("POST", "/v1/batch",
	                   "{'requests':[{'method':'GET','path':"
	                   "'/v1/agents/b/mailbox?incarnation=%lld'}]}",
	                   b);
	body =
	    json_object_get(json_array_get(json_object_get(reply->json, "responses"), 0), "body");
	assert_int_equal(json_array_size(json_object_get(body, "messages")), 2);
}

static void a_mailbox_is_bounded(void **state)
{
	static char large[70 << 10];
	long long a = make_agent("a"), b = make_agent("b");

	(void)state;
	nanoctrl.quota.box_messages = 2;
	assert_int_equal(send_mail(a, "{},{}")->status, 200);
	assert_int_equal(send_mail(a, "{}")->status, 429);
	assert_int_equal(n_messages(b, 0, 0), 2);
	memset(large, 'x', sizeof(large) - 1);
	assert_int_equal(send_mail(a, caller_text("{'l':'%.1000s'}", large))->status, 429);
	assert_int_equal(caller_ask("POST", "/v1/agents/b/mailbox",
	                            "{'from':'a','from_incarnation':%lld,'messages':[{'l':'%s'}]}",
	                            a, large)
	                     ->status,
	                 413);
}

static void a_lease_has_one_holder(void **state)
{
	long long a = make_agent("a"), b = make_agent("b"), fence;
	const struct reply *reply;

	(void)state;
	fence = reply_number(caller_ask("POST", "/v1/leases/l",
	                                "{'holder':'a','incarnation':%lld,'ttl_ms':1000}", a),
	                     "fence");
	assert_true(fence > 0);
	assert_int_equal(
	    reply_number(caller_ask("POST", "/v1/leases/l",
	                            "{'holder':'a','incarnation':%lld,'ttl_ms':1000}", a),
	                 "fence"),
	    fence);
	reply = caller_ask("POST", "/v1/leases/l", "{'holder':'b','incarnation':%lld}", b);
	assert_int_equal(reply->status, 409);
	assert_string_equal(json_string_value(json_object_get(reply->json, "holder")), "a");
	assert_true(reply_is(caller_ask("POST", "/v1/leases/l/renew", "{'fence':%lld}", fence), 200,
	                     "{'ttl_ms':1000}"));
	assert_int_equal(
	    caller_ask("POST", "/v1/leases/l/renew", "{'fence':%lld}", fence + 1)->status, 410);
	assert_int_equal(
	    caller_ask("DELETE", caller_text("/v1/leases/l?fence=%lld", fence), NULL)->status, 200);
	assert_true(
	    reply_number(caller_ask("POST", "/v1/leases/l", "{'holder':'b','incarnation':%lld}", b),
	                 "fence") > fence);
	assert_int_equal(
	    json_array_size(json_object_get(caller_ask("GET", "/v1/leases", NULL)->json, "leases")),
	    1);
}

static void who_waits_for_a_lease_gets_it_when_it_is_free(void **state)
{
	long long a = make_agent("a"), b = make_agent("b"), fence;
	struct reply *reply;

	(void)state;
	fence = reply_number(
	    caller_ask("POST", "/v1/leases/l", "{'holder':'a','incarnation':%lld}", a), "fence");
	reply = caller_send("POST", "/v1/leases/l",
	                    caller_text("{'holder':'b','incarnation':%lld,'wait_ms':60000}", b));
	caller_settle();
	assert_int_equal(reply->status, 0);
	(void)caller_ask("DELETE", caller_text("/v1/agents/a?incarnation=%lld", a), NULL);
	assert_true(caller_wait(reply));
	assert_true(reply_number(reply, "fence") > fence);
	reply_free(reply);
}

static void a_wait_for_a_lease_ends_with_its_holder(void **state)
{
	long long a = make_agent("a"), b = make_agent("b");
	struct reply *reply;

	(void)state;
	(void)caller_ask("POST", "/v1/leases/l", "{'holder':'a','incarnation':%lld}", a);
	reply = caller_send("POST", "/v1/leases/l",
	                    caller_text("{'holder':'b','incarnation':%lld,'wait_ms':20}", b));
	assert_true(caller_wait(reply));
	assert_int_equal(reply->status, 409);
	assert_string_equal(json_string_value(json_object_get(reply->json, "holder")), "a");
	reply_free(reply);
}

static const char *ids(const struct reply *reply)
{
	static char text[256];
	json_t *events = json_object_get(reply->json, "events");

	text[0] = '\0';
	for (size_t i = 0; i < json_array_size(events); i++) {
		json_t *event = json_array_get(events, i);
		size_t len = strlen(text);

		(void)snprintf(text + len, sizeof(text) - len, "%s:%s ",
		               json_string_value(json_object_get(event, "change")),
		               json_string_value(json_object_get(event, "id")));
	}
	return text;
}

static void a_watcher_sees_what_changed_behind_its_revision(void **state)
{
	long long a = make_agent("a");
	const struct reply *reply;

	(void)state;
	(void)caller_ask("POST", "/register", "{'entity_id':'e','kind':'k'}");
	(void)caller_ask("DELETE", caller_text("/v1/agents/a?incarnation=%lld", a), NULL);
	assert_string_equal(ids(caller_ask("GET", "/v1/watch?after=0", NULL)),
	                    "put:a put:e delete:a ");
	assert_string_equal(ids(caller_ask("GET", "/v1/watch?after=1", NULL)), "put:e delete:a ");
	assert_string_equal(ids(caller_ask("GET", "/v1/watch?after=0&kind=k", NULL)), "put:e ");
	assert_string_equal(ids(caller_ask("GET", "/v1/watch?after=0&class=region,agent", NULL)),
	                    "put:a delete:a ");
	assert_string_equal(ids(caller_ask("GET", "/v1/watch?after=0&scope=s", NULL)), "");
	reply = caller_ask("GET", "/v1/watch?after=0&limit=1", NULL);
	assert_string_equal(ids(reply), "put:a ");
	assert_int_equal(reply_number(reply, "revision"), 1);
	assert_int_equal(
	    json_integer_value(json_object_get(
		json_object_get(json_array_get(json_object_get(reply->json, "events"), 0), "value"),
		"incarnation")),
	    a);
}

static void a_watcher_is_told_of_expiry(void **state)
{
	struct reply *reply;

	(void)state;
	(void)make_agent("a");
	reply = caller_send("GET", "/v1/watch?wait_ms=60000", NULL);
	caller_settle();
	assert_int_equal(reply->status, 0);
	fake_store_advance(nanoctrl.store, 5001);
	assert_true(caller_wait(reply));
	assert_string_equal(ids(reply), "expire:a ");
	reply_free(reply);
}

static void a_watcher_of_some_agents_hears_of_them_and_their_regions_only(void **state)
{
	long long a = make_agent("a");
	struct reply *reply = caller_send("GET", "/v1/watch?of=x,a%2Fb,a&wait_ms=60000", NULL);

	(void)state;
	(void)make_agent("b");
	(void)caller_ask("POST", "/register", "{'entity_id':'a','kind':'k'}");
	caller_settle();
	assert_int_equal(reply->status, 0);
	(void)caller_ask("POST", "/v1/agents/a/regions",
	                 "{'incarnation':%lld,'put':[{'name':'r'}]}", a);
	assert_true(caller_wait(reply));
	assert_string_equal(ids(reply), "put:r ");
	reply_free(reply);
}

static void a_watch_without_news_ends_where_it_began(void **state)
{
	(void)state;
	(void)make_agent("a");
	assert_true(reply_is(caller_ask("GET", "/v1/watch?after=1&wait_ms=10", NULL), 200,
	                     "{'events':[],'revision':1}"));
}

static void who_missed_events_is_told_to_list_again(void **state)
{
	const struct reply *reply;

	(void)state;
	for (int i = 0; i < 5; i++)
		(void)make_agent(caller_text("a%d", i));
	watch_gap(nanoctrl.watch, 3);
	reply = caller_ask("GET", "/v1/watch?after=2", NULL);
	assert_int_equal(reply->status, 410);
	assert_int_equal(reply_number(reply, "revision"), 5);
	assert_string_equal(ids(caller_ask("GET", "/v1/watch?after=3", NULL)), "put:a3 put:a4 ");
}

static void a_revision_that_never_was_is_gone(void **state)
{
	(void)state;
	(void)make_agent("a");
	assert_int_equal(caller_ask("GET", "/v1/watch?after=99", NULL)->status, 410);
}

static void a_gap_wakes_who_waits(void **state)
{
	struct reply *reply;

	(void)state;
	(void)make_agent("a");
	reply = caller_send("GET", "/v1/watch?after=1&wait_ms=60000", NULL);
	caller_settle();
	watch_gap(nanoctrl.watch, 7);
	assert_true(caller_wait(reply));
	assert_int_equal(reply->status, 410);
	reply_free(reply);
}

static void a_stream_goes_on_as_long_as_its_client(void **state)
{
	struct reply *reply;

	(void)state;
	(void)make_agent("a");
	caller_set_header("Accept: text/event-stream");
	reply = caller_send("GET", "/v1/watch?after=0", NULL);
	assert_int_equal(reply->status, 200);
	assert_memory_equal(reply->text, "id: 1\nevent: put\ndata: {\"revision\":1,", 37);
	caller_set_header(NULL);
	(void)make_agent("b");
	caller_settle();
	assert_non_null(strstr(reply->text, "\n\nid: 2\nevent: put\ndata: "));
	caller_hang_up(reply);
	reply_free(reply);
}

static void a_stream_says_where_it_has_a_gap(void **state)
{
	struct reply *reply;

	(void)state;
	(void)make_agent("a");
	(void)make_agent("b");
	watch_gap(nanoctrl.watch, 2);
	caller_set_header("Accept: text/event-stream");
	reply = caller_send("GET", "/v1/watch?after=1", NULL);
	assert_string_equal(reply->text, "id: 2\nevent: gap\ndata: {\"revision\":2}\n\n");
	caller_set_header(NULL);
	(void)make_agent("c");
	caller_settle();
	assert_non_null(strstr(reply->text, "id: 3\nevent: put"));
	caller_hang_up(reply);
	reply_free(reply);
}

static void a_stream_that_nobody_reads_is_ended(void **state)
{
	struct reply *reply;

	(void)state;
	caller_set_header("Accept: text/event-stream");
	reply = caller_send("GET", "/v1/watch", NULL);
	caller_set_header(NULL);
	reply->is_full = true;
	(void)make_agent("a");
	caller_settle();
	assert_true(reply->ended);
	reply_free(reply);
}

static void the_end_of_the_daemon_answers_who_waits(void **state)
{
	struct reply *poll = caller_send("GET", "/v1/watch?wait_ms=60000", NULL), *stream;

	(void)state;
	caller_set_header("Accept: text/event-stream");
	stream = caller_send("GET", "/v1/watch", NULL);
	caller_close();
	assert_true(reply_is(poll, 200, "{'events':[],'revision':0}"));
	assert_true(stream->ended);
	reply_free(poll);
	reply_free(stream);
	caller_open("");
}

static void a_batch_answers_each_request_on_its_own(void **state)
{
	const struct reply *reply = caller_ask(
	    "POST", "/v1/batch",
	    "{'requests':[{'method':'POST','path':'/v1/agents','body':{'alias':'a'}},"
	    "{'method':'GET','path':'/v1/agents/nobody?scope=x'},"
	    "{'method':'POST','path':'/v1/agents','body':{'alias':7}},"
	    "{'method':'PUT','path':'/v1/agents'},{'method':'POST','path':'/v1/agents'}]}");
	json_t *responses = json_object_get(reply->json, "responses");
	static const int wanted[] = {200, 404, 422, 405, 400};

	(void)state;
	assert_int_equal(reply->status, 200);
	assert_int_equal(json_array_size(responses), 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(
		    json_integer_value(json_object_get(json_array_get(responses, i), "status")),
		    wanted[i]);
}

static void a_batch_takes_what_answers_at_once(void **state)
{
	static const char *const requests[] = {
	    "[]",
	    "[3]",
	    "[{}]",
	    "[{'method':'GET','path':'/query'}]",
	    "[{'method':'GET','path':'/v1/watch'}]",
	    "[{'method':'POST','path':'/v1/batch','body':{}}]",
	    "[{'method':'PATCH','path':'/v1/agents'}]",
	    "[{'method':'GET','path':'/v1/agents/a/mailbox?incarnation=1&wait_ms=9'}]",
	    "[{'method':'POST','path':'/v1/leases/l','body':{'wait_ms':9}}]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		assert_int_equal(
		    caller_ask("POST", "/v1/batch", "{'requests':%s}", requests[i])->status, 422);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(mail_is_there_until_it_is_acknowledged),
	    TEST(mail_says_who_sent_it),
	    TEST(who_waits_for_mail_gets_it_when_it_comes),
	    TEST(mail_that_comes_while_we_look_is_not_missed),
	    TEST(a_wait_for_mail_ends_empty),
	    TEST(a_wait_for_mail_ends_with_its_agent),
	    TEST(who_hangs_up_waits_no_more),
	    TEST(mail_of_a_fenced_sender_or_to_a_fenced_receiver_is_refused),
	    TEST(mail_goes_to_whoever_the_receiver_is_by_now_and_says_so),
	    TEST(mail_is_read_in_a_batch_too),
	    TEST(a_mailbox_is_bounded),
	    TEST(a_lease_has_one_holder),
	    TEST(who_waits_for_a_lease_gets_it_when_it_is_free),
	    TEST(a_wait_for_a_lease_ends_with_its_holder),
	    TEST(a_watcher_sees_what_changed_behind_its_revision),
	    TEST(a_watcher_is_told_of_expiry),
	    TEST(a_watcher_of_some_agents_hears_of_them_and_their_regions_only),
	    TEST(a_watch_without_news_ends_where_it_began),
	    TEST(who_missed_events_is_told_to_list_again),
	    TEST(a_revision_that_never_was_is_gone),
	    TEST(a_gap_wakes_who_waits),
	    TEST(a_stream_goes_on_as_long_as_its_client),
	    TEST(a_stream_says_where_it_has_a_gap),
	    TEST(a_stream_that_nobody_reads_is_ended),
	    TEST(the_end_of_the_daemon_answers_who_waits),
	    TEST(a_batch_answers_each_request_on_its_own),
	    TEST(a_batch_takes_what_answers_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
