/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection over a pair of sockets, with routes of our own: what clients cannot see. */
#include <errno.h>
#include <event2/event.h>
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

#include "log.h"
#include "nanoctrl.h"
#include "router.h"
#include "server.h"

static struct server *server;
static struct call *held; /* by a handler */
static int n_gone, fd;

static void hold(struct call *call)
{
	held = call;
}

static void note_gone(struct call *call, void *data)
{
	assert_ptr_equal(call, held);
	assert_ptr_equal(data, &n_gone);
	n_gone++;
}

static void hold_and_listen(struct call *call)
{
	held = call;
	call_set_data(call, &n_gone);
	call_on_gone(call, note_gone);
}

static void begin_stream(struct call *call)
{
	held = call;
	call_set_data(call, &n_gone);
	call_on_gone(call, note_gone);
	call_stream_begin(call, 200, "text/plain");
}

static void ask_within(void *arg, int status, json_t *body)
{
	json_t *answer = json_pack("{s:i,s:O?}", "status", status, "body", body);

	call_reply_json(arg, 200, answer);
}

static void within(struct call *call)
{
	call_within(call, "POST", call_query(call, "target"), call_body(call), ask_within, call);
}

static void echo(struct call *call)
{
	call_reply_json(call, 200, json_incref(call_body(call)));
}

static void two_parts(struct call *call)
{
	char text[200];

	(void)snprintf(text, sizeof(text), "%s and %s", call_part(call, "first"),
	               call_part(call, "second"));
	call_reply_text(call, 200, "text/plain", text, strlen(text));
}

static const struct route routes[] = {
    {"GET", "/hold", RIGHT_NONE, false, false, hold},
    {"GET", "/listen", RIGHT_NONE, false, false, hold_and_listen},
    {"GET", "/stream", RIGHT_NONE, false, false, begin_stream},
    {"POST", "/within", RIGHT_NONE, true, false, within},
    {"POST", "/v1/echo", RIGHT_NONE, true, true, echo},
    {"GET", "/v1/{first}/x/{second}", RIGHT_NONE, false, true, two_parts},
    {.method = NULL},
};

static int set_up(void **state)
{
	static const struct route *const tables[] = {routes, NULL};
	const struct server_opts opts = {
	    .body_limit = 1000, .connection_limit = 4, .idle_s = 60, .request_s = 60};
	struct slime_error err;
	int fds[2];

	(void)state;
	nanoctrl.loop = event_base_new();
	assert_int_equal(log_open(nanoctrl.loop, "/dev/null", SLIME_LOG_INFO, &err), 0);
	assert_int_equal(router_init(tables), 0);
	assert_int_equal(server_create(nanoctrl.loop, &opts, NULL, &server, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_non_null(conn_create(server, fds[0], NULL, "peer"));
	server->n_conns = 1;
	fd = fds[1];
	n_gone = 0;
	held = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (fd >= 0)
		(void)close(fd);
	server_destroy(server);
	router_fini();
	log_close();
	event_base_free(nanoctrl.loop);
	return 0;
}

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		assert_true(event_base_loop(nanoctrl.loop, EVLOOP_NONBLOCK) >= 0);
}

static void tell(const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	turn();
}

/* What has been answered so far. */
static const char *heard(void)
{
	static char text[1 << 16];
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

static void assert_heard(const char *part)
{
	const char *text = heard();

	if (!strstr(text, part))
		fail_msg("'%s' is not in '%s'", part, text);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void the_next_request_waits_for_the_answer_to_the_one_before(void **state)
{
	struct call *first;

	(void)state;
	tell(GET("/hold") GET("/hold"));
	first = held;
	turn();
	assert_ptr_equal(held, first);
	held = NULL;
	call_reply_text(first, 200, "text/plain", "1", 1);
	turn();
	assert_non_null(held);
	call_reply_text(held, 200, "text/plain", "2", 1);
	assert_heard("\r\n\r\n2");
}

static void who_waits_is_told_once_when_the_client_hangs_up(void **state)
{
	(void)state;
	tell(GET("/listen"));
	assert_int_equal(n_gone, 0);
	(void)close(fd);
	fd = -1;
	turn();
	assert_int_equal(n_gone, 1);
	assert_int_equal(server->n_conns, 0);
	call_reply_text(held, 200, "text/plain", "x", 1); /* to nobody */
	assert_int_equal(n_gone, 1);
}

static void who_does_not_wait_still_answers_a_client_that_stopped_sending(void **state)
{
	(void)state;
	tell(GET("/hold"));
	(void)shutdown(fd, SHUT_WR);
	turn();
	assert_int_equal(server->n_conns, 1);
	call_reply_text(held, 200, "text/plain", "late", 4);
	turn();
	assert_heard("late");
	assert_int_equal(server->n_conns, 0);
}

static void an_answer_to_a_client_that_is_gone_does_nothing(void **state)
{
	(void)state;
	tell(GET("/hold"));
	(void)close(fd);
	fd = -1;
	turn();
	call_reply_text(held, 200, "text/plain", "late", 4);
	turn();
	assert_int_equal(server->n_conns, 0);
}

static void what_is_kept_lives_until_the_answer(void **state)
{
	char *kept[5];

	(void)state;
	tell(GET("/hold"));
	for (int i = 0; i < 5; i++) {
		kept[i] = call_keep(held, calloc(1, 8));
		assert_non_null(kept[i]);
	}
	for (int i = 0; i < 5; i++)
		assert_int_equal(kept[i][7], 0);
	assert_null(call_keep(held, NULL));
	call_reply_text(held, 200, "text/plain", "x", 1); /* the sanitizer sees that it is freed */
}

static void a_stream_goes_out_in_chunks_and_the_connection_goes_on(void **state)
{
	(void)state;
	tell(GET("/stream"));
	assert_int_equal(call_stream_write(held, "abc", 3), 0);
	assert_int_equal(call_stream_write(held, "", 0), 0);
	assert_heard("Transfer-Encoding: chunked\r\n");
	call_stream_end(held);
	assert_string_equal(heard(), "0\r\n\r\n");
	tell(GET("/v1/a/x/b"));
	assert_heard("a and b");
	assert_int_equal(n_gone, 0);
}

static void a_stream_that_nobody_reads_is_refused_more(void **state)
{
	static char block[64 * 1024];
	int n = 0;

	(void)state;
	tell(GET("/stream"));
	while (n < 1000 && call_stream_write(held, block, sizeof(block)) == 0)
		n++;
	assert_true(n >= 8 && n < 100);
	call_stream_end(held);
}

static void a_stream_to_http_1_0_ends_with_the_connection(void **state)
{
	(void)state;
	tell("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	(void)call_stream_write(held, "abc", 3);
	call_stream_end(held);
	turn();
	assert_heard("Connection: close\r\n");
	assert_int_equal(read(fd, &(char){0}, 1), 0);
}

static void draining_hurries_who_waits_and_ends_who_is_idle(void **state)
{
	(void)state;
	tell(GET("/listen"));
	server_drain(server, NULL, NULL);
	assert_int_equal(n_gone, 1);
	call_reply_text(held, 200, "text/plain", "so far", 6);
	turn();
	assert_heard("Connection: close\r\n");
}

static void a_request_within_a_request_is_routed_as_one_from_outside(void **state)
{
	static const struct {
		const char *target, *answer;
	} cases[] = {
	    {"/v1/echo", "{\"status\":200,\"body\":{\"a\":1}}"},
	    {"/nowhere", "{\"status\":404,\"body\":null}"},
	    {"/v1/a/x/b", "{\"status\":405,\"body\":{\"status\":\"error\",\"code\":\"EINVAL\""},
	    {"/%25zz", "{\"status\":400"},
	};
	char text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(text, sizeof(text),
		               "POST /within?target=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n"
		               "Content-Type: application/json\r\n\r\n{\"a\":1}",
		               cases[i].target);
		tell(text);
		assert_heard(cases[i].answer);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(the_next_request_waits_for_the_answer_to_the_one_before),
	    CASE(who_waits_is_told_once_when_the_client_hangs_up),
	    CASE(who_does_not_wait_still_answers_a_client_that_stopped_sending),
	    CASE(an_answer_to_a_client_that_is_gone_does_nothing),
	    CASE(what_is_kept_lives_until_the_answer),
	    CASE(a_stream_goes_out_in_chunks_and_the_connection_goes_on),
	    CASE(a_stream_that_nobody_reads_is_refused_more),
	    CASE(a_stream_to_http_1_0_ends_with_the_connection),
	    CASE(draining_hurries_who_waits_and_ends_who_is_idle),
	    CASE(a_request_within_a_request_is_routed_as_one_from_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
