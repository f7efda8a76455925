/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/obs_http.c - ask a daemon; one request, which may block for some seconds. */
#include <errno.h>
#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "json_text.h"
#include "obs.h"
#include "probe.h"
#include "sentence.h"

enum { TIMEOUT_MS = 5000, BODY_MAX = 256 << 20 };

struct reply {
	char *body;
	size_t len, cap;
	bool over;
};

static int take_body(http_parser *parser, const char *bytes, size_t len)
{
	struct reply *r = parser->data;

	if (r->len + len + 1 > r->cap) {
		size_t cap = 2 * (r->len + len) + 4096;
		char *body = cap <= BODY_MAX ? realloc(r->body, cap) : NULL;

		if (!body)
			return -1;
		r->body = body;
		r->cap = cap;
	}
	memcpy(r->body + r->len, bytes, len);
	r->len += len;
	return 0;
}

static int take_end(http_parser *parser)
{
	((struct reply *)parser->data)->over = true;
	return 0;
}

static int ask(int fd, const char *target, const char *token)
{
	char text[8192];
	int n = snprintf(text, sizeof(text),
	                 "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s%s%s\r\n",
	                 target, token ? "Authorization: Bearer " : "", token ? token : "",
	                 token ? "\r\n" : "");

	if (n < 0 || (size_t)n >= sizeof(text))
		return -EMSGSIZE;
	return send(fd, text, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -errno;
}

/* The status, or a negative errno. */
static int hear(int fd, struct reply *reply)
{
	static const http_parser_settings settings = {.on_body = take_body,
	                                              .on_message_complete = take_end};
	http_parser parser;
	char bytes[16384];

	http_parser_init(&parser, HTTP_RESPONSE);
	parser.data = reply;
	while (!reply->over) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (http_parser_execute(&parser, &settings, bytes, (size_t)n) != (size_t)n)
			return -EPROTO;
		if (n == 0 && !reply->over)
			return -ECONNRESET;
	}
	return (int)parser.status_code;
}

/* The body's JSON, if it is the answer to the question. */
static json_t *judge(const char *address, int status, const struct reply *reply,
                     struct slime_error *err)
{
	json_t *json =
	    status > 0 && reply->len ? json_text_parse(reply->body, reply->len, 0, NULL) : NULL;

	if (status == 200 && json_is_object(json))
		return json;
	if (status < 0)
		(void)refuse(err, status, "%.120s does not answer: %s", address, strerror(-status));
	else
		(void)refuse(err, -EPROTO, "%.120s answers with status %d%s%.100s", address, status,
		             json ? ": " : "", obs_text(json, "message"));
	json_decref(json);
	return NULL;
}

json_t *obs_http_get(const char *address, const char *token, const char *target,
                     struct slime_error *err)
{
	struct reply reply = {0};
	char why[160];
	json_t *json;
	int fd, rc;

	if (!strncmp(address, "https://", 8)) {
		(void)refuse(err, -EOPNOTSUPP,
		             "this verb does not speak TLS: name the daemon's "
		             "address on this host, or its unix socket");
		return NULL;
	}
	fd = probe_connect(address, TIMEOUT_MS, why, sizeof(why));
	if (fd < 0) {
		(void)refuse(err, fd, "no daemon at %.100s: %.100s", address, why);
		return NULL;
	}
	rc = ask(fd, target, token);
	if (!rc)
		rc = hear(fd, &reply);
	(void)close(fd);
	json = judge(address, rc, &reply, err);
	free(reply.body);
	return json;
}
