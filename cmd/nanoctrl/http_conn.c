/* SPDX-License-Identifier: BSD-3-Clause */
#include "http_conn.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "router.h"
#include "server.h"

enum {
	HEAD_LIMIT = 16 * 1024,
	LINES_LIMIT = 2 * HEAD_LIMIT, /* with their NULs */
	SKIP_LIMIT = 64 * 1024,       /* of a body that nobody wants: more is not waited for */
	BODIES_AT_ONCE = 64,          /* so many of the longest bodies may be half here */
	STREAM_BACKLOG = 1024 * 1024, /* that a watcher has not read yet */
	METHOD_LIMIT = 32,
	ANSWER_HEAD = 5 * 1024,
	ANSWER_BODY = 64 * 1024
};

/* An answer is put together here: the head ends where the body begins. */
static char scratch[ANSWER_HEAD + ANSWER_BODY];

static void answer_whole(void *arg, struct call_answer *answer);
static void answer_begin(void *arg, const struct call_answer *answer);
static int answer_write(void *arg, const char *bytes, size_t len);
static void answer_end(void *arg);

static const struct call_sink conn_sink = {answer_whole, answer_begin, answer_write, answer_end};

static void set_refusal(struct call *call, int status, const char *code, const char *text)
{
	if (call->refusal.status)
		return;
	call->refusal.status = status;
	call->refusal.code = code;
	(void)snprintf(call->refusal.text, sizeof(call->refusal.text), "%s", text);
}

/* What follows is not looked at any more: the answer goes out now, and the connection ends. */
static int refuse_now(struct conn *conn, int status, const char *code, const char *text)
{
	set_refusal(conn->call, status, code, text);
	conn->refuse_now = true;
	return -1;
}

static int add_line(struct conn *conn, const char *bytes, size_t len)
{
	return text_add(&conn->call->lines, bytes, len, LINES_LIMIT);
}

static struct call *new_call(struct conn *conn)
{
	conn->call = call_create(&conn_sink, conn);
	if (!conn->call)
		return NULL;
	conn->call->method = "-";
	conn->call->path = "";
	conn->call->peer = conn->peer;
	conn->in_value = false;
	conn->head_done = false;
	conn->refuse_now = false;
	conn->strange = false;
	conn->no_body = false;
	conn->keep_alive = false;
	return conn->call;
}

static int on_message_begin(http_parser *parser)
{
	struct conn *conn = parser->data;

	if (conn->phase != CONN_READING)
		conn_enter(conn, CONN_READING);
	return new_call(conn) ? 0 : -1;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
	return add_line(parser->data, at, len);
}

static int on_header_field(http_parser *parser, const char *at, size_t len)
{
	struct conn *conn = parser->data;
	struct call *call = conn->call;

	if (conn->head_done) /* behind a chunked body: of no use to anybody here */
		return 0;
	if (call->n_headers == 0 || conn->in_value) {
		if (call->n_headers == CALL_MAX_HEADERS)
			return refuse_now(conn, 431, "EINVAL", "there are more than 64 headers");
		if (add_line(conn, "", 1) < 0)
			return -1;
		call->header[call->n_headers].name_at = call->lines.len;
		call->header[call->n_headers++].value_at = call->lines.len;
		conn->in_value = false;
	}
	return add_line(conn, at, len);
}

static int on_header_value(http_parser *parser, const char *at, size_t len)
{
	struct conn *conn = parser->data;
	struct call *call = conn->call;

	if (conn->head_done)
		return 0;
	if (!conn->in_value) {
		if (add_line(conn, "", 1) < 0)
			return -1;
		call->header[call->n_headers - 1].value_at = call->lines.len;
		conn->in_value = true;
	}
	return add_line(conn, at, len);
}

/* The bytes of the head are all there and stay where they are from now on. */
static int finish_lines(struct call *call)
{
	if (text_add(&call->lines, "", 1, LINES_LIMIT) < 0)
		return -1;
	call->path = call->lines.bytes;
	call->to_parse = call_keep(call, strdup(call->path));
	return call->to_parse ? 0 : -1;
}

static size_t count_headers(const struct call *call, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < call->n_headers; i++)
		n += strcasecmp(call->lines.bytes + call->header[i].name_at, name) == 0;
	return n;
}

static int check_expect(struct conn *conn, bool wants_body)
{
	const char *expect = call_header(conn->call, "Expect");

	if (!expect || conn->parser.http_minor == 0)
		return 0;
	if (strcasecmp(expect, "100-continue") != 0)
		return refuse_now(conn, 417, "EINVAL", "the only expectation is '100-continue'");
	if (conn->call->refusal.status)
		return refuse_now(conn, conn->call->refusal.status, NULL, "");
	if (wants_body)
		conn_write(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	return 0;
}

static int on_headers_complete(http_parser *parser)
{
	struct conn *conn = parser->data;
	struct call *call = conn->call;
	bool sized = parser->content_length != UINT64_MAX;
	bool wants_body = sized ? parser->content_length > 0 : parser->uses_transfer_encoding;

	conn->head_done = true;
	parser->upgrade = 0; /* whoever offers another protocol gets this one */
	call->method =
	    conn->strange ? "(unknown)" : http_method_str((enum http_method)parser->method);
	call->head = parser->method == HTTP_HEAD;
	conn->no_body = call->head;
	if (finish_lines(call) < 0)
		return -1;
	if (parser->http_major != 1)
		return refuse_now(conn, 505, "EINVAL", "only HTTP/1.1 and HTTP/1.0 are spoken");
	if (count_headers(call, "Host") != 1 && parser->http_minor >= 1)
		return refuse_now(conn, 400, "EINVAL", "there must be one 'Host' header");
	if (count_headers(call, "Content-Length") > 1)
		return refuse_now(conn, 400, "EINVAL", "there is more than one 'Content-Length'");
	router_admit(call);
	if (sized && parser->content_length > conn->server->opts.body_limit)
		return refuse_now(conn, 413, "EMSGSIZE",
		                  "Failed to buffer the request body: length limit exceeded");
	if (call->refusal.status && sized && parser->content_length > SKIP_LIMIT)
		return refuse_now(conn, call->refusal.status, NULL, "");
	return check_expect(conn, wants_body);
}

/* Those of this connection are no longer half here. */
static void forget_body(struct conn *conn)
{
	conn->server->body_bytes -= conn->body_bytes;
	conn->body_bytes = 0;
}

static int on_body(http_parser *parser, const char *at, size_t len)
{
	struct conn *conn = parser->data;
	struct server *server = conn->server;
	struct call *call = conn->call;
	bool unwanted = call->refusal.status || !call->entry->route->body;

	conn->body_bytes += len;
	server->body_bytes += len;
	if (conn->body_bytes > (unwanted ? SKIP_LIMIT : server->opts.body_limit))
		return refuse_now(conn, 413, "EMSGSIZE",
		                  "Failed to buffer the request body: length limit exceeded");
	if (unwanted)
		return 0;
	if (server->body_bytes > BODIES_AT_ONCE * server->opts.body_limit ||
	    text_add(&call->raw_body, at, len, SIZE_MAX) < 0) {
		call_add_header(call, "Retry-After", "1");
		return refuse_now(conn, 503, "EAGAIN",
		                  "too many large requests are arriving at once");
	}
	return 0;
}

static int on_message_complete(http_parser *parser)
{
	struct conn *conn = parser->data;

	conn->keep_alive = http_should_keep_alive(parser);
	http_parser_pause(parser, 1);
	return 0;
}

static http_parser_settings settings;

void http_init(void)
{
	http_parser_settings_init(&settings);
	settings.on_message_begin = on_message_begin;
	settings.on_url = on_url;
	settings.on_header_field = on_header_field;
	settings.on_header_value = on_header_value;
	settings.on_headers_complete = on_headers_complete;
	settings.on_body = on_body;
	settings.on_message_complete = on_message_complete;
	http_parser_set_max_header_size(HEAD_LIMIT);
}

void http_begin(struct conn *conn)
{
	http_parser_init(&conn->parser, HTTP_REQUEST);
	conn->parser.data = conn;
}

void http_end(struct conn *conn)
{
	forget_body(conn);
}

static void run_call(struct conn *conn)
{
	forget_body(conn);
	conn_enter(conn, CONN_WORKING);
	router_run(conn->call); /* may answer, and thereby free it */
}

/* The bytes are not HTTP, or we had enough of them. */
static void run_refused(struct conn *conn)
{
	enum http_errno error = HTTP_PARSER_ERRNO(&conn->parser);
	char text[120];

	if (!conn->call && !new_call(conn)) {
		conn_kill(conn);
		return;
	}
	if (error == HPE_HEADER_OVERFLOW) {
		set_refusal(conn->call, 431, "EINVAL",
		            "the head of the request is larger than 16 KiB");
	} else if (!conn->refuse_now) {
		(void)snprintf(text, sizeof(text), "this is not HTTP/1.1: %s",
		               http_errno_description(error));
		conn->call->refusal.status = 0; /* what the head said counts no more */
		set_refusal(conn->call,
		            error == HPE_INVALID_VERSION  ? 505
		            : error == HPE_INVALID_METHOD ? 501
		                                          : 400,
		            "EINVAL", text);
	}
	conn->keep_alive = false;
	run_call(conn);
}

static bool is_method(const char *bytes, size_t len)
{
	for (unsigned i = 0; i <= HTTP_SOURCE; i++) {
		const char *name = http_method_str((enum http_method)i);

		if (strlen(name) == len && !memcmp(name, bytes, len))
			return true;
	}
	return false;
}

/* How long the name of a method is that the parser has never heard of; 0: there is none. */
static size_t strange_method(const char *bytes, size_t len)
{
	size_t n = 0;

	while (n < len && n <= METHOD_LIMIT &&
	       (isalpha((unsigned char)bytes[n]) || bytes[n] == '-'))
		n++;
	if (n == 0 || n > METHOD_LIMIT || len - n < 2 || bytes[n] != ' ' || bytes[n + 1] != '/')
		return 0;
	return is_method(bytes, n) ? 0 : n;
}

/*
 * A request with such a method is one as any other, and has no route: the parser is told of
 * one that it knows, and that has none either.
 */
static size_t feed_method(struct conn *conn, const char *bytes, size_t len)
{
	static const char known[] = "PATCH";
	size_t strange = conn->phase == CONN_IDLE ? strange_method(bytes, len) : 0;

	if (strange) {
		(void)http_parser_execute(&conn->parser, &settings, known, sizeof(known) - 1);
		conn->strange = true;
	}
	return strange;
}

size_t http_feed(struct conn *conn, const char *bytes, size_t len)
{
	size_t used = 0;

	conn->feeding = true;
	while (used < len && (conn->phase == CONN_IDLE || conn->phase == CONN_READING)) {
		enum http_errno error;

		used += feed_method(conn, bytes + used, len - used);
		used += http_parser_execute(&conn->parser, &settings, bytes + used, len - used);
		error = HTTP_PARSER_ERRNO(&conn->parser);
		if (error == HPE_PAUSED) {
			http_parser_pause(&conn->parser, 0);
			run_call(conn);
		} else if (error != HPE_OK) {
			run_refused(conn);
			used = len;
		}
	}
	conn->feeding = false;
	return used;
}

void http_time_out(struct conn *conn)
{
	if (!conn->call) {
		conn_kill(conn);
		return;
	}
	conn->call->refusal.status = 0;
	(void)refuse_now(conn, 408, "EINVAL", "the request did not arrive in time");
	run_refused(conn);
}

/* RFC 9110 wants one in every answer; it changes once a second. */
static const char *date_now(void)
{
	static time_t second;
	static char date[40];
	time_t now = time(NULL);
	struct tm tm;

	if (now != second) {
		second = now;
		(void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT",
		               gmtime_r(&now, &tm));
	}
	return date;
}

/* LENGTH: the line about how long the body is. Returns the length of the head. */
static size_t format_head(struct conn *conn, const struct call_answer *answer, const char *length,
                          char *out, size_t cap)
{
	const char *connection = "";
	int n;

	conn->last = conn->last || !conn->keep_alive || conn->server->draining;
	if (conn->last)
		connection = "Connection: close\r\n";
	else if (conn->parser.http_minor == 0)
		connection = "Connection: keep-alive\r\n";
	n = snprintf(out, cap, "HTTP/1.1 %d %s\r\n%s%s%s%sDate: %s\r\n%s%s\r\n", answer->status,
	             http_status_str((enum http_status)answer->status),
	             answer->type ? "Content-Type: " : "", answer->type ? answer->type : "",
	             answer->type ? "\r\n" : "", length, date_now(), connection, answer->headers);
	return n < 0 || (size_t)n >= cap ? 0 : (size_t)n;
}

/* Head and body in one piece: BODY, of LEN, is in the scratch behind the place of the head. */
static void send_small(struct conn *conn, const struct call_answer *answer, size_t len)
{
	char head[ANSWER_HEAD];
	char length[48];
	size_t n;

	(void)snprintf(length, sizeof(length), "Content-Length: %zu\r\n", len);
	n = format_head(conn, answer, length, head, sizeof(head));
	memcpy(scratch + ANSWER_HEAD - n, head, n);
	conn_write(conn, scratch + ANSWER_HEAD - n, n + (conn->no_body ? 0 : len));
}

static void send_large(struct conn *conn, const struct call_answer *answer, char *body, size_t len)
{
	char head[ANSWER_HEAD];
	char length[48];

	(void)snprintf(length, sizeof(length), "Content-Length: %zu\r\n", len);
	conn_write(conn, head, format_head(conn, answer, length, head, sizeof(head)));
	if (conn->no_body)
		free(body);
	else
		conn_write_own(conn, body, len);
}

static void send_answer(struct conn *conn, struct call_answer *answer)
{
	const struct call_answer no_memory = {.status = 500, .headers = ""};
	char *body = scratch + ANSWER_HEAD;
	size_t len = answer->len;

	if (answer->json)
		answer->len = len = json_dumpb(answer->json, body, ANSWER_BODY, JSON_COMPACT);
	else if (len && len <= ANSWER_BODY)
		memcpy(body, answer->text, len);
	if (len <= ANSWER_BODY) {
		send_small(conn, answer, len);
		return;
	}
	body = answer->json ? json_dumps(answer->json, JSON_COMPACT) : malloc(len);
	if (body && !answer->json)
		memcpy(body, answer->text, len);
	if (body)
		send_large(conn, answer, body, len);
	else
		send_small(conn, &no_memory, 0);
}

static void answer_whole(void *arg, struct call_answer *answer)
{
	struct conn *conn = arg;

	conn->call = NULL;
	send_answer(conn, answer);
	conn_answered(conn);
}

static void answer_begin(void *arg, const struct call_answer *answer)
{
	struct conn *conn = arg;
	char head[ANSWER_HEAD];

	conn->chunked = conn->parser.http_minor > 0;
	conn->keep_alive = conn->keep_alive && conn->chunked;
	conn_write(conn, head,
	           format_head(conn, answer, conn->chunked ? "Transfer-Encoding: chunked\r\n" : "",
	                       head, sizeof(head)));
}

static int answer_write(void *arg, const char *bytes, size_t len)
{
	struct conn *conn = arg;
	int n = 0;

	if (conn->broken || conn->no_body || conn_backlog(conn) + len > STREAM_BACKLOG)
		return -ENOBUFS;
	if (len == 0) /* would be the end */
		return 0;
	if (conn->chunked)
		n = snprintf(scratch, ANSWER_HEAD, "%zx\r\n", len);
	if (len + 64 > sizeof(scratch)) {
		conn_write(conn, scratch, (size_t)n);
		conn_write(conn, bytes, len);
		conn_write(conn, "\r\n", conn->chunked ? 2 : 0);
		return 0;
	}
	memcpy(scratch + n, bytes, len);
	memcpy(scratch + n + len, "\r\n", 2);
	conn_write(conn, scratch, (size_t)n + len + (conn->chunked ? 2 : 0));
	return 0;
}

static void answer_end(void *arg)
{
	struct conn *conn = arg;

	conn->call = NULL;
	if (conn->chunked && !conn->no_body)
		conn_write(conn, "0\r\n\r\n", 5);
	conn_answered(conn);
}
