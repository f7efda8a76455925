/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls in turn, against server.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/ctrl_client.h"
#include "server.h"

#define THREE                                                                           \
	"{\"responses\":[{\"status\":200,\"body\":{\"n\":1}},{\"status\":410,\"body\":" \
	"{\"code\":\"ESTALE\",\"message\":\"gone\"}},{\"status\":200,\"body\":{\"n\":3}}]}"
#define TWO \
	"{\"responses\":[{\"status\":200,\"body\":{\"n\":1}},{\"status\":200,\"body\":{\"n\":2}}]}"

static char answer[1024];

static const char *ok(const char *body)
{
	(void)snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
	               strlen(body), body);
	return answer;
}

static struct sl_ctrl_call *post(const char *path, struct outcome *out)
{
	struct sl_ctrl_call *call =
	    sl_ctrl_send(client, "POST", path, json_pack("{ss}", "to", path), 5000, on_done, out);

	assert_non_null(call);
	return call;
}

static void run_until(const unsigned *count, unsigned n)
{
	while (*count < n)
		(void)event_base_loop(loop, EVLOOP_ONCE);
}

static void a_lone_one_goes_as_it_is(void **state)
{
	struct outcome o = {0};

	(void)state;
	serve(&(const struct script){.answer = OK_JSON}, 1);
	(void)post("/a", &o);
	assert_int_equal(o.times, 0); /* never from within */
	run_until(&o.times, 1);
	assert_int_equal(o.n, 17);
	assert_non_null(strstr(seen, "POST /a HTTP/1.1\r\n"));
	assert_non_null(strstr(seen, "{\"to\":\"/a\"}"));
}

static void several_go_as_one_and_each_has_its_own_answer(void **state)
{
	const struct script s = {.answer = ok(THREE)};
	struct outcome o[3] = {{0}};

	(void)state;
	serve(&s, 1);
	(void)post("/a", &o[0]);
	(void)post("/b", &o[1]);
	(void)post("/c", &o[2]);
	run_until(&o[2].times, 1);
	assert_int_equal(requests, 1);
	assert_non_null(strstr(seen, "POST /v1/batch HTTP/1.1\r\n"));
	assert_non_null(strstr(seen, "{\"requests\":[{\"method\":\"POST\",\"path\":\"/a\",\"body\":"
	                             "{\"to\":\"/a\"}},"));
	assert_true(o[0].times == 1 && o[0].status == 0 && o[0].n == 1);
	assert_true(o[1].times == 1 && o[1].status == -ESTALE && o[1].http == 410);
	assert_string_equal(o[1].text, "gone");
	assert_true(o[2].status == 0 && o[2].n == 3);
}

static void what_is_asked_meanwhile_waits_and_goes_together(void **state)
{
	const struct script s[] = {{.answer = OK_JSON}, {.answer = ok(TWO)}};
	struct outcome o[3] = {{0}};

	(void)state;
	serve(s, 2);
	(void)post("/a", &o[0]);
	run_until(&requests, 1);
	(void)post("/b", &o[1]);
	(void)post("/c", &o[2]);
	run_until(&o[2].times, 1);
	assert_int_equal(requests, 2);
	assert_int_equal(connections, 1);
	assert_true(o[0].n == 17 && o[1].n == 1 && o[2].n == 2);
}

static void one_without_a_body_goes_behind_those_before_it(void **state)
{
	const struct script s[] = {{.answer = ok(TWO)}, {.answer = OK_JSON}};
	struct outcome o[3] = {{0}};

	(void)state;
	serve(s, 2);
	(void)post("/a", &o[0]);
	(void)post("/b", &o[1]);
	assert_non_null(sl_ctrl_send(client, "DELETE", "/c", NULL, 5000, on_done, &o[2]));
	run_until(&o[2].times, 1);
	assert_true(o[0].times == 1 && o[1].times == 1);
	assert_int_equal(requests, 2);
	assert_non_null(strstr(seen, "DELETE /c HTTP/1.1\r\n"));
}

static void a_server_that_takes_none_is_asked_one_by_one(void **state)
{
	static const struct script s[] = {
	    {.answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}, {.answer = OK_JSON}};
	struct outcome o[3] = {{0}};

	(void)state;
	serve(s, 2);
	(void)post("/a", &o[0]);
	(void)post("/b", &o[1]);
	run_until(&o[0].times, 1);
	run_until(&o[1].times, 1);
	assert_int_equal(requests, 3);
	assert_true(o[0].status == 0 && o[1].status == 0);
	(void)post("/c", &o[2]);
	run_until(&o[2].times, 1);
	assert_int_equal(requests, 4);
}

static void what_befalls_the_one_request_befalls_each(void **state)
{
	static const struct script s = {
	    .answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"};
	const struct script fewer = {.answer = ok(TWO)};
	struct outcome o[3] = {{0}};

	(void)state;
	serve(&s, 1);
	(void)post("/a", &o[0]);
	(void)post("/b", &o[1]);
	run_until(&o[1].times, 1);
	assert_true(o[0].status == -EAGAIN && o[1].status == -EAGAIN);
	memset(o, 0, sizeof(o));
	serve(&fewer, 1);
	for (int i = 0; i < 3; i++)
		(void)post("/a", &o[i]);
	run_until(&o[2].times, 1);
	assert_true(o[0].n == 1 && o[1].n == 2);
	assert_int_equal(o[2].status, -EPROTO);
}

static void a_dropped_one_is_not_heard_of_and_the_others_are(void **state)
{
	const struct script s[] = {{.answer = ok(THREE)}, {.answer = OK_JSON}};
	struct sl_ctrl_call *second, *alone;
	struct outcome o[4] = {{0}};

	(void)state;
	serve(s, 2);
	(void)post("/a", &o[0]);
	second = post("/b", &o[1]);
	(void)post("/c", &o[2]);
	run_until(&requests, 1); /* it is underway */
	sl_ctrl_drop(second);
	run_until(&o[2].times, 1);
	assert_true(o[0].n == 1 && o[1].times == 0 && o[2].n == 3);
	alone = post("/d", &o[1]);
	sl_ctrl_drop(post("/e", &o[1])); /* this one had not even begun */
	run_until(&requests, 2);
	sl_ctrl_drop(alone);
	(void)post("/f", &o[3]);
	run_until(&o[3].times, 1);
	assert_int_equal(o[1].times, 0);
	assert_int_equal(connections, 1);
}

static void a_client_that_ends_ends_them_all(void **state)
{
	static const struct script s = {.silent = 1};
	struct outcome o[4] = {{0}};

	(void)state;
	serve(&s, 1);
	(void)post("/a", &o[0]);
	(void)post("/b", &o[1]);
	run_until(&requests, 1);
	(void)post("/c", &o[2]);
	(void)post("/d", &o[3]);
	assert_false(sl_ctrl_is_idle(client));
	sl_ctrl_end(client);
	while (!o[0].times || !o[3].times)
		(void)event_base_loop(loop, EVLOOP_ONCE);
	client = NULL;
	for (int i = 0; i < 4; i++)
		assert_true(o[i].times == 1 && o[i].status == -ECANCELED);
}

static void a_client_that_is_destroyed_says_nothing_of_them(void **state)
{
	static const struct script s = {.silent = 1};
	struct outcome o[4] = {{0}};

	(void)state;
	serve(&s, 1);
	for (int i = 0; i < 4; i++) {
		(void)post("/a", &o[i]);
		if (i == 1)
			run_until(&requests, 1);
	}
	sl_ctrl_destroy(client);
	client = NULL;
	for (int i = 0; i < 4; i++)
		assert_int_equal(o[i].times, 0);
}

int main(void)
{
#define WITH(t) cmocka_unit_test_setup_teardown(t, server_setup, server_teardown)
	const struct CMUnitTest tests[] = {
	    WITH(a_lone_one_goes_as_it_is),
	    WITH(several_go_as_one_and_each_has_its_own_answer),
	    WITH(what_is_asked_meanwhile_waits_and_goes_together),
	    WITH(one_without_a_body_goes_behind_those_before_it),
	    WITH(a_server_that_takes_none_is_asked_one_by_one),
	    WITH(what_befalls_the_one_request_befalls_each),
	    WITH(a_dropped_one_is_not_heard_of_and_the_others_are),
	    WITH(a_client_that_ends_ends_them_all),
	    WITH(a_client_that_is_destroyed_says_nothing_of_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
