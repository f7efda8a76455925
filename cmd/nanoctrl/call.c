/* SPDX-License-Identifier: BSD-3-Clause */
#include "call.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "router.h"
#include "tokens.h"

int64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int text_add(struct text *text, const char *bytes, size_t len, size_t limit)
{
	if (len > limit || text->len > limit - len)
		return -EMSGSIZE;
	if (text->len + len >= text->cap) {
		size_t cap = text->cap ? text->cap : 512;
		char *grown;

		while (cap <= text->len + len)
			cap *= 2;
		grown = realloc(text->bytes, cap);
		if (!grown)
			return -ENOMEM;
		text->bytes = grown;
		text->cap = cap;
	}
	if (len)
		memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
	text->bytes[text->len] = '\0';
	return 0;
}

void text_free(struct text *text)
{
	free(text->bytes);
	memset(text, 0, sizeof(*text));
}

struct call *call_create(const struct call_sink *sink, void *arg)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->sink = sink;
	call->sink_arg = arg;
	call->began_ns = now_ns();
	return call;
}

void call_destroy(struct call *call)
{
	if (!call)
		return;
	for (size_t i = 0; i < call->n_kept; i++)
		free(call->kept[i]);
	free(call->kept);
	json_decref(call->body);
	tokens_release(call->tokens);
	text_free(&call->lines);
	text_free(&call->raw_body);
	text_free(&call->answer_headers);
	free(call);
}

bool call_waits(const struct call *call)
{
	return call->gone != NULL;
}

void call_hurry(struct call *call)
{
	void (*gone)(struct call *, void *) = call->gone;

	call->gone = NULL;
	if (gone)
		gone(call, call->data);
}

void call_abandon(struct call *call)
{
	call->sink = NULL;
	call->peer = NULL;
	call_hurry(call);
}

const char *call_part(const struct call *call, const char *name)
{
	const struct route_entry *entry = call->entry;

	for (size_t i = 0; i < entry->n_parts; i++) {
		if (entry->part[i].is_name && strlen(name) == entry->part[i].len &&
		    memcmp(entry->part[i].text, name, entry->part[i].len) == 0)
			return call->target.part[i];
	}
	assert(0 && "a handler asks for a part that its route has not");
	return "";
}

const char *call_query(const struct call *call, const char *name)
{
	return target_query(&call->target, name);
}

const char *call_header(const struct call *call, const char *name)
{
	for (size_t i = 0; i < call->n_headers; i++) {
		if (strcasecmp(call->lines.bytes + call->header[i].name_at, name) == 0)
			return call->lines.bytes + call->header[i].value_at;
	}
	return NULL;
}

json_t *call_body(struct call *call)
{
	return call->body;
}

const char *call_principal(const struct call *call)
{
	return token_name(call->token);
}

bool call_may(const struct call *call, enum right right, const char *scope)
{
	return !call->tokens || token_may(call->token, right, scope);
}

const char *call_peer_address(const struct call *call)
{
	return call->peer ? call->peer : "";
}

void call_set_data(struct call *call, void *data)
{
	call->data = data;
}

void *call_data(const struct call *call)
{
	return call->data;
}

void *call_keep(struct call *call, void *memory)
{
	void **grown;

	if (!memory)
		return NULL;
	/* grows at powers of two */
	if ((call->n_kept & (call->n_kept - 1)) == 0) {
		grown = realloc(call->kept, (call->n_kept ? 2 * call->n_kept : 1) * sizeof(*grown));
		if (!grown) {
			free(memory);
			return NULL;
		}
		call->kept = grown;
	}
	call->kept[call->n_kept++] = memory;
	return memory;
}

void call_on_gone(struct call *call, void (*gone)(struct call *call, void *data))
{
	call->gone = gone;
}

static void reply(struct call *call, struct call_answer *answer)
{
	assert(!call->streaming);
	answer->headers = call->answer_headers.bytes ? call->answer_headers.bytes : "";
	call->gone = NULL;
	if (call->sink)
		call->sink->reply(call->sink_arg, answer);
	router_account(call, call->sink ? answer->status : 499, answer->len);
	call_destroy(call);
}

void call_reply_json(struct call *call, int status, json_t *body)
{
	struct call_answer answer = {.status = status, .type = "application/json", .json = body};

	if (!body) /* made of strings that were not UTF-8, or no memory: no answer can be made */
		answer = (struct call_answer){.status = 500};
	reply(call, &answer);
	json_decref(body);
}

void call_reply_text(struct call *call, int status, const char *type, const char *text, size_t len)
{
	struct call_answer answer = {.status = status, .type = type, .text = text, .len = len};

	reply(call, &answer);
}

/* Its errors have a code; where there is no route, the path tells. */
static bool is_v1(const struct call *call)
{
	if (call->entry && call->entry->route)
		return call->entry->route->v1;
	return call->target.n_parts > 1 && strcmp(call->target.part[0], "v1") == 0;
}

void call_reply_error(struct call *call, int status, const char *code, const char *fmt, ...)
{
	json_t *body = json_object();
	char text[1024];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* a name that was cut in the middle of a character */
	while (len > 0 && !target_is_utf8(text, strlen(text)))
		text[strlen(text) - 1] = '\0';
	(void)json_object_set_new(body, "status", json_string("error"));
	if (code && is_v1(call))
		(void)json_object_set_new(body, "code", json_string(code));
	(void)json_object_set_new(body, "message", json_string(text));
	call_reply_json(call, status, body);
}

void call_reply_errno(struct call *call, int error, const char *text)
{
	static const struct {
		int error, status;
		const char *code;
	} table[] = {
	    {-ENOENT, 404, "ENOENT"},     {-EEXIST, 409, "EEXIST"}, {-ESTALE, 410, "ESTALE"},
	    {-EMSGSIZE, 413, "EMSGSIZE"}, {-EINVAL, 422, "EINVAL"}, {-ENOSPC, 429, "ENOSPC"},
	    {-EACCES, 403, "EACCES"},     {-EAGAIN, 503, "EAGAIN"}, {-EDQUOT, 507, "EDQUOT"},
	    {-EIO, 500, "EIO"},
	};
	size_t i = 0;

	while (table[i].error != error && table[i].error != -EIO)
		i++;
	if (table[i].status == 503 || table[i].status == 429)
		call_add_header(call, "Retry-After", "1");
	call_reply_error(call, table[i].status, table[i].code, "%s", text);
}

void call_add_header(struct call *call, const char *name, const char *value)
{
	char line[512];
	int len = snprintf(line, sizeof(line), "%s: %s\r\n", name, value);

	/* one line, or it would say what nobody meant */
	if (len < 0 || (size_t)len >= sizeof(line) || strcspn(line, "\r\n") + 2 != strlen(line))
		return;
	(void)text_add(&call->answer_headers, line, (size_t)len, 4096);
}

void call_refuse(struct call *call, int status, const char *code, const char *text)
{
	/* what the reference has no word for is answered as we answer */
	if (status == 401 || status == 403 || is_v1(call)) {
		call_reply_error(call, status, code, "%s", text);
	} else if (status == 404 || status == 405) {
		struct call_answer answer = {.status = status};

		reply(call, &answer);
	} else {
		call_reply_text(call, status, "text/plain; charset=utf-8", text, strlen(text));
	}
}

void call_stream_begin(struct call *call, int status, const char *type)
{
	struct call_answer answer = {.status = status, .type = type};

	assert(!call->streaming);
	answer.headers = call->answer_headers.bytes ? call->answer_headers.bytes : "";
	call->streaming = true;
	if (call->sink)
		call->sink->begin(call->sink_arg, &answer);
}

int call_stream_write(struct call *call, const char *bytes, size_t len)
{
	assert(call->streaming);
	return call->sink ? call->sink->write(call->sink_arg, bytes, len) : -ENOBUFS;
}

void call_stream_end(struct call *call)
{
	assert(call->streaming);
	call->gone = NULL;
	if (call->sink)
		call->sink->end(call->sink_arg);
	router_account(call, call->sink ? 200 : 499, 0);
	call_destroy(call);
}
