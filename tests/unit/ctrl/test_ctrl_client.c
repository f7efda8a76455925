/* SPDX-License-Identifier: BSD-3-Clause */
/* The client against server.c. */
#include <errno.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctrl/ctrl_client.h"
#include "server.h"

static void an_answer_comes_back_as_json(void **state)
{
	static const struct script s = {.answer = OK_JSON};
	struct outcome o;

	(void)state;
	serve(&s, 1);
	o = ask("POST", json_pack("{si}", "a", 1), 5000);
	assert_int_equal(o.status, 0);
	assert_int_equal(o.n, 17);
	assert_non_null(strstr(seen, "POST /v1/agents?scope= HTTP/1.1\r\n"));
	assert_non_null(strstr(seen, "Authorization: Bearer s3cret\r\n"));
	assert_non_null(strstr(seen, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(seen, "{\"a\":1}"));
}

static void an_answer_may_have_a_nul_in_its_text(void **state)
{
	static const struct script s = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n"
	                                          "{\"n\":17,\"text\":\"x\\u0000y\"}"};
	struct outcome o;

	(void)state;
	serve(&s, 1);
	o = ask("GET", NULL, 5000);
	assert_int_equal(o.status, 0);
	assert_int_equal(o.n, 17);
}

static void a_connection_is_used_again(void **state)
{
	static const struct script s = {.answer = OK_JSON};

	(void)state;
	serve(&s, 1);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask("GET", NULL, 5000).status, 0);
	assert_int_equal(requests, 5);
	assert_int_equal(connections, 1);
}

static void a_kept_connection_that_was_closed_costs_nothing_but_a_new_one(void **state)
{
	/* the second request is met by a server that has gone, and comes again */
	static const struct script s[] = {{.answer = OK_JSON}, {0}, {.answer = OK_JSON}};

	(void)state;
	serve(s, 3);
	assert_int_equal(ask("GET", NULL, 5000).status, 0);
	assert_int_equal(ask("GET", NULL, 5000).status, 0);
	assert_int_equal(requests, 3);
	assert_int_equal(connections, 2);
}

static void a_server_that_always_hangs_up_is_an_error(void **state)
{
	static const struct script s = {0};
	struct outcome o;

	(void)state;
	serve(&s, 1);
	o = ask("GET", NULL, 5000);
	assert_true(o.status == -ECONNREFUSED || o.status == -ECONNRESET);
	assert_non_null(strstr(o.text, "127.0.0.1:"));
}

static void nobody_there_is_refused(void **state)
{
	(void)state;
	evconnlistener_free(listener);
	listener = NULL;
	assert_int_equal(ask("GET", NULL, 5000).status, -ECONNREFUSED);
}

static void a_silent_server_is_timed_out(void **state)
{
	static const struct script s = {.silent = 1};

	(void)state;
	serve(&s, 1);
	assert_int_equal(ask("GET", NULL, 50).status, -ETIMEDOUT);
}

static void what_the_server_says_is_an_errno_and_its_sentence(void **state)
{
	static const char body[] =
	    "{\"code\":\"ESTALE\",\"message\":\"you were replaced\",\"n\":5}";
	char answer[256];
	struct script s = {.answer = answer};
	struct outcome o;

	(void)state;
	(void)snprintf(answer, sizeof(answer), "HTTP/1.1 410 Gone\r\nContent-Length: %zu\r\n\r\n%s",
	               strlen(body), body);
	serve(&s, 1);
	o = ask("GET", NULL, 5000);
	assert_int_equal(o.status, -ESTALE);
	assert_int_equal(o.http, 410);
	assert_int_equal(o.n, 5); /* its other members come along */
	assert_string_equal(o.text, "you were replaced");
}

static void codes_without_words_are_errnos_too(void **state)
{
	static const struct {
		const char *line;
		int status;
	} says[] = {
	    {"404 Not Found", -ENOENT},          {"401 Unauthorized", -EACCES},
	    {"403 Forbidden", -EACCES},          {"503 Service Unavailable", -EAGAIN},
	    {"500 Internal Server Error", -EIO},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
		char answer[128];
		struct script s = {.answer = answer};

		(void)snprintf(answer, sizeof(answer), "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n",
		               says[i].line);
		serve(&s, 1);
		assert_int_equal(ask("GET", NULL, 5000).status, says[i].status);
	}
}

static void what_is_not_json_is_no_control_plane(void **state)
{
	static const struct script html = {
	    .answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"};
	static const struct script noise = {.answer = "\x16\x03\x01 what?\r\n\r\n", .hang_up = 1};

	(void)state;
	serve(&html, 1);
	assert_int_equal(ask("GET", NULL, 5000).status, -EPROTO);
	serve(&noise, 1);
	assert_true(ask("GET", NULL, 5000).status < 0);
}

static void an_answer_that_is_too_long_is_refused(void **state)
{
	static const struct script s = {
	    .answer = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{"};

	(void)state;
	serve(&s, 1);
	assert_int_equal(ask("GET", NULL, 5000).status, -EPROTO);
}

static void a_dropped_call_is_not_heard_of(void **state)
{
	static const struct script s[] = {{.silent = 1}, {.answer = OK_JSON}};
	struct outcome dropped = {0};
	struct sl_ctrl_call *call;

	(void)state;
	serve(s, 2);
	call = sl_ctrl_call(client, "GET", "/x", NULL, 5000, on_done, &dropped);
	while (!requests) /* it is under way */
		(void)event_base_loop(loop, EVLOOP_ONCE);
	sl_ctrl_drop(call);
	call = sl_ctrl_call(client, "GET", "/x", NULL, 5000, on_done, &dropped);
	sl_ctrl_drop(call); /* this one had not even begun */
	assert_int_equal(ask("GET", NULL, 5000).status, 0);
	assert_int_equal(dropped.times, 0);
}

static void many_calls_at_once_share_few_connections(void **state)
{
	static const struct script s = {.silent = 1};
	struct outcome o[40] = {{0}};

	(void)state;
	(void)s;
	/* the guests' array is small on purpose: no more than sixteen may ever come */
	assert_true(GUESTS_MAX == 8);
	serve(&(const struct script){.answer = OK_JSON}, 1);
	for (size_t i = 0; i < 8; i++)
		assert_non_null(sl_ctrl_call(client, "GET", "/x", NULL, 5000, on_done, &o[i]));
	for (size_t done = 0; done < 8;) {
		(void)event_base_loop(loop, EVLOOP_ONCE);
		done = 0;
		for (size_t i = 0; i < 8; i++)
			done += o[i].times;
	}
	assert_int_equal(requests, 8);
}

static void urls_that_are_none_are_refused(void **state)
{
	static const char *const wrong[] = {
	    "",           "http://",         "ftp://host:1",  "http://host:0", "http://host:99999",
	    "http://:80", "http://ho st:80", "https://host:0"};
	struct sl_ctrl_client *none = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct sl_ctrl_opts opts = {.loop = loop, .url = wrong[i]};
		struct slime_error err = {0};

		assert_int_equal(sl_ctrl_create(&opts, &none, &err), -EINVAL);
		assert_true(strlen(err.text) > 0);
		assert_null(none);
	}
}

static void what_only_https_needs_is_refused_without_it(void **state)
{
	static const struct sl_ctrl_opts wrong[] = {
	    {.url = "http://host:1", .ca_file = "/ca.pem"},
	    {.url = "https://host:1", .cert_file = "/cert.pem"},
	    {.url = "https://host:1", .key_file = "/key.pem"},
	};
	struct sl_ctrl_client *none = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct sl_ctrl_opts opts = wrong[i];

		opts.loop = loop;
		assert_int_equal(sl_ctrl_create(&opts, &none, NULL), -EINVAL);
		assert_null(none);
	}
}

static void a_token_that_would_be_more_than_a_header_is_refused(void **state)
{
	struct sl_ctrl_opts opts = {
	    .loop = loop, .url = "host:1", .token = "x\r\nTransfer-Encoding: chunked"};
	struct sl_ctrl_client *none = NULL;

	(void)state;
	assert_int_equal(sl_ctrl_create(&opts, &none, NULL), -EINVAL);
	assert_null(none);
}

static void a_host_without_addresses_is_said_to_be_one(void **state)
{
	struct sl_ctrl_opts opts = {.loop = loop, .url = "http://no-such-host.invalid:1"};
	struct outcome o;

	(void)state;
	sl_ctrl_destroy(client);
	assert_int_equal(sl_ctrl_create(&opts, &client, NULL), 0);
	o = ask("GET", NULL, 5000);
	assert_int_equal(o.status, -ECONNREFUSED);
	assert_non_null(strstr(o.text, "has no address"));
}

static void a_name_leads_to_whichever_of_its_addresses_answers(void **state)
{
	static const struct script s = {.answer = OK_JSON};
	struct sl_ctrl_opts opts = {.loop = loop};
	char url[64];
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	(void)state;
	assert_int_equal(
	    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &len), 0);
	/* ::1 as well on most hosts, where nobody listens */
	(void)snprintf(url, sizeof(url), "localhost:%u", ntohs(sin.sin_port));
	opts.url = url;
	sl_ctrl_destroy(client);
	assert_int_equal(sl_ctrl_create(&opts, &client, NULL), 0);
	serve(&s, 1);
	assert_int_equal(ask("GET", NULL, 5000).status, 0);
}

static void an_answer_in_pieces_is_put_together(void **state)
{
	static const struct script chunks = {
	    .answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		      "4\r\n{\"n\"\r\n5\r\n: 17}\r\n0\r\n\r\n"};
	static const struct script until_end = {.answer = "HTTP/1.1 200 OK\r\n\r\n{\"n\": 17}",
	                                        .hang_up = 1};
	static const struct script cut = {
	    .answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"n\"", .hang_up = 1};

	(void)state;
	serve(&chunks, 1);
	assert_int_equal(ask("GET", NULL, 5000).n, 17);
	serve(&until_end, 1);
	assert_int_equal(ask("GET", NULL, 5000).n, 17);
	serve(&cut, 1);
	assert_true(ask("GET", NULL, 5000).status < 0);
}

static void names_are_quoted_for_urls(void **state)
{
	char *quoted = sl_ctrl_quote("a/b c:\xc3\xa4?&");

	(void)state;
	assert_string_equal(quoted, "a%2Fb%20c%3A%C3%A4%3F%26");
	free(quoted);
}

int main(void)
{
#define WITH(t) cmocka_unit_test_setup_teardown(t, server_setup, server_teardown)
	const struct CMUnitTest tests[] = {
	    WITH(an_answer_comes_back_as_json),
	    WITH(an_answer_may_have_a_nul_in_its_text),
	    WITH(a_connection_is_used_again),
	    WITH(a_kept_connection_that_was_closed_costs_nothing_but_a_new_one),
	    WITH(a_server_that_always_hangs_up_is_an_error),
	    WITH(nobody_there_is_refused),
	    WITH(a_silent_server_is_timed_out),
	    WITH(what_the_server_says_is_an_errno_and_its_sentence),
	    WITH(codes_without_words_are_errnos_too),
	    WITH(what_is_not_json_is_no_control_plane),
	    WITH(an_answer_that_is_too_long_is_refused),
	    WITH(a_dropped_call_is_not_heard_of),
	    WITH(many_calls_at_once_share_few_connections),
	    WITH(urls_that_are_none_are_refused),
	    WITH(what_only_https_needs_is_refused_without_it),
	    WITH(a_token_that_would_be_more_than_a_header_is_refused),
	    WITH(a_host_without_addresses_is_said_to_be_one),
	    WITH(a_name_leads_to_whichever_of_its_addresses_answers),
	    WITH(an_answer_in_pieces_is_put_together),
	    WITH(names_are_quoted_for_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
