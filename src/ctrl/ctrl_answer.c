/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctrl/ctrl_answer.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int stop(struct sl_answer *a, int error)
{
	a->error = error;
	return -1;
}

static int take_head(http_parser *parser)
{
	struct sl_answer *a = parser->data;

	/* 101: what follows would be no HTTP, and nobody asked for it */
	if (parser->http_major != 1 || parser->status_code < 100 || parser->status_code > 599 ||
	    parser->status_code == 101)
		return stop(a, -EPROTO);
	if (parser->content_length != ULLONG_MAX && parser->content_length > SL_ANSWER_BODY_MAX)
		return stop(a, -EMSGSIZE);
	return 0;
}

static int take_chunk_size(http_parser *parser)
{
	struct sl_answer *a = parser->data;

	return parser->content_length > SL_ANSWER_BODY_MAX - a->len ? stop(a, -EMSGSIZE) : 0;
}

static int take_body(http_parser *parser, const char *bytes, size_t len)
{
	struct sl_answer *a = parser->data;
	size_t cap = a->cap ? a->cap : 512;
	char *body;

	if (len > SL_ANSWER_BODY_MAX - a->len)
		return stop(a, -EMSGSIZE);
	while (cap < a->len + len)
		cap *= 2;
	if (cap != a->cap) {
		body = realloc(a->body, cap);
		if (!body)
			return stop(a, -ENOMEM);
		a->body = body;
		a->cap = cap;
	}
	memcpy(a->body + a->len, bytes, len);
	a->len += len;
	return 0;
}

static int take_end(http_parser *parser)
{
	struct sl_answer *a = parser->data;

	if (parser->status_code < 200) /* the answer proper comes after it */
		return 0;
	a->http = (int)parser->status_code;
	a->keep = http_should_keep_alive(parser);
	a->over = true;
	http_parser_pause(parser, 1); /* what comes behind is not its own */
	return 0;
}

static size_t execute(struct sl_answer *a, const char *bytes, size_t len)
{
	static const http_parser_settings settings = {.on_headers_complete = take_head,
	                                              .on_chunk_header = take_chunk_size,
	                                              .on_body = take_body,
	                                              .on_message_complete = take_end};

	if (!a->begun) {
		http_parser_init(&a->parser, HTTP_RESPONSE);
		a->parser.data = a;
		a->begun = true;
	}
	return http_parser_execute(&a->parser, &settings, bytes, len);
}

int sl_answer_feed(struct sl_answer *a, const char *bytes, size_t len, size_t *used)
{
	*used = 0;
	if (a->over || !len) /* no bytes would be the end */
		return a->over;
	*used = execute(a, bytes, len);
	if (a->over)
		return 1;
	if (a->error)
		return a->error;
	switch (HTTP_PARSER_ERRNO(&a->parser)) {
	case HPE_OK:
		return 0;
	case HPE_HEADER_OVERFLOW:
		return -EMSGSIZE;
	default:
		return -EPROTO;
	}
}

int sl_answer_end(struct sl_answer *a)
{
	if (a->begun && !a->over)
		(void)execute(a, NULL, 0);
	return a->over;
}

void sl_answer_clear(struct sl_answer *a)
{
	free(a->body);
	memset(a, 0, sizeof(*a));
}
