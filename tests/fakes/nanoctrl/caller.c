/* SPDX-License-Identifier: BSD-3-Clause */
#include "fakes/nanoctrl/caller.h"

#include <assert.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "log.h"
#include "router.h"
#include "tokens.h"

static struct reply *last;
static char authorization[256], header[256];

static void event_of_store(void *arg, const struct store_event *event)
{
	(void)arg;
	watch_event(nanoctrl.watch, event);
}

static void gap_of_store(void *arg, uint64_t revision)
{
	(void)arg;
	watch_gap(nanoctrl.watch, revision);
}

void caller_open(const char *where)
{
	static const struct route *const tables[] = {routes_compat, routes_v1, NULL};
	struct store_opts opts = {.where = where, .event = event_of_store, .gap = gap_of_store};
	int rc = router_init(tables);

	assert(!rc);
	(void)rc;
	nanoctrl.loop = opts.loop = event_base_new();
	assert(nanoctrl.loop);
	(void)log_open(nanoctrl.loop, NULL, SLIME_LOG_ERROR, NULL);
	nanoctrl.watch = watch_create(nanoctrl.loop);
	assert(nanoctrl.watch);
	rc = store_fake.open(&opts, &nanoctrl.store, NULL);
	assert(!rc);
}

void caller_close(void)
{
	reply_free(last);
	last = NULL;
	caller_be(NULL);
	caller_set_header(NULL);
	watch_destroy(nanoctrl.watch);
	nanoctrl.store->table->close(nanoctrl.store);
	router_fini();
	log_close();
	event_base_free(nanoctrl.loop);
	memset(&nanoctrl.quota, 0, sizeof(nanoctrl.quota));
	nanoctrl.public_redis = NULL;
}

void caller_use_tokens(const char *lines)
{
	char path[] = "/tmp/tokens.XXXXXX";
	struct tokens *tokens = NULL;
	struct slime_error err = {0};
	int fd, rc;

	if (!lines) {
		router_set_tokens(NULL);
		return;
	}
	fd = mkstemp(path);
	assert(fd >= 0);
	rc = write(fd, lines, strlen(lines)) == (ssize_t)strlen(lines) ? 0 : -1;
	assert(!rc);
	(void)close(fd);
	rc = tokens_load(path, &tokens, &err);
	(void)unlink(path);
	if (rc)
		(void)fprintf(stderr, "%s\n", err.text);
	assert(!rc);
	router_set_tokens(tokens);
}

void caller_be(const char *token)
{
	(void)snprintf(authorization, sizeof(authorization), "%s%s", token ? "Bearer " : "",
	               token ? token : "");
}

void caller_set_header(const char *line)
{
	(void)snprintf(header, sizeof(header), "%s", line ? line : "");
}

static void take_answer(void *arg, struct call_answer *answer)
{
	struct reply *reply = arg;

	reply->status = answer->status;
	reply->call = NULL;
	if (answer->json)
		reply->json = json_deep_copy(answer->json);
	else if (answer->type && !strcmp(answer->type, "application/json"))
		reply->json = json_loadb(answer->text, answer->len, 0, NULL);
	else if (answer->text)
		reply->text = strndup(answer->text, answer->len);
}

static void take_begin(void *arg, const struct call_answer *answer)
{
	struct reply *reply = arg;

	reply->status = answer->status;
	reply->text = strdup("");
}

static int take_chunk(void *arg, const char *bytes, size_t len)
{
	struct reply *reply = arg;
	size_t had = strlen(reply->text);

	if (reply->is_full)
		return -1;
	reply->text = realloc(reply->text, had + len + 1);
	assert(reply->text);
	memcpy(reply->text + had, bytes, len);
	reply->text[had + len] = '\0';
	return 0;
}

static void take_end(void *arg)
{
	struct reply *reply = arg;

	reply->ended = true;
	reply->call = NULL;
}

static const struct call_sink sink = {take_answer, take_begin, take_chunk, take_end};

static void add_line(struct call *call, const char *name, const char *value)
{
	size_t at = call->n_headers++;

	assert(at < CALL_MAX_HEADERS);
	call->header[at].name_at = call->lines.len;
	(void)text_add(&call->lines, name, strlen(name) + 1, SIZE_MAX);
	call->header[at].value_at = call->lines.len;
	(void)text_add(&call->lines, value, strlen(value) + 1, SIZE_MAX);
}

static void add_headers(struct call *call, bool body)
{
	char *value = strstr(header, ": ");

	if (body)
		add_line(call, "Content-Type", "application/json");
	if (*authorization)
		add_line(call, "Authorization", authorization);
	if (value) {
		char name[64];

		(void)snprintf(name, sizeof(name), "%.*s", (int)(value - header), header);
		add_line(call, name, value + 2);
	}
}

struct reply *caller_send_bytes(const char *method, const char *target, const char *body,
                                size_t len)
{
	struct reply *reply = calloc(1, sizeof(*reply));
	struct call *call = call_create(&sink, reply);

	assert(reply && call);
	reply->call = call;
	call->method = method;
	call->peer = "caller";
	(void)text_add(&call->lines, target, strlen(target) + 1, SIZE_MAX);
	add_headers(call, body);
	call->path = call->lines.bytes;
	call->to_parse = call_keep(call, strdup(target));
	assert(call->to_parse);
	if (body)
		(void)text_add(&call->raw_body, body, len, SIZE_MAX);
	router_admit(call);
	router_run(call);
	return reply;
}

struct reply *caller_send(const char *method, const char *target, const char *body)
{
	char *text = body ? strdup(body) : NULL;
	struct reply *reply;

	for (char *at = text; at && *at; at++)
		if (*at == '\'')
			*at = '"';
	reply = caller_send_bytes(method, target, text, text ? strlen(text) : 0);
	free(text);
	return reply;
}

static void too_late(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

bool caller_wait(const struct reply *reply)
{
	const struct timeval ten_seconds = {10, 0};
	bool late = false;
	struct event *patience = evtimer_new(nanoctrl.loop, too_late, &late);

	assert(patience);
	(void)event_add(patience, &ten_seconds);
	while (!reply->status && !late)
		(void)event_base_loop(nanoctrl.loop, EVLOOP_ONCE);
	event_free(patience);
	return !late;
}

/* What one round brings may take another to be answered. */
void caller_settle(void)
{
	for (int i = 0; i < 16; i++)
		(void)event_base_loop(nanoctrl.loop, EVLOOP_NONBLOCK);
}

void caller_hang_up(struct reply *reply)
{
	struct call *call = reply->call;

	reply->call = NULL;
	if (call)
		call_abandon(call);
}

void reply_free(struct reply *reply)
{
	if (!reply)
		return;
	json_decref(reply->json);
	free(reply->text);
	free(reply);
}

const struct reply *caller_ask(const char *method, const char *target, const char *body, ...)
{
	char *text = NULL;
	va_list args;
	struct reply *reply;
	int len;

	if (body) {
		va_start(args, body);
		len = vasprintf(&text, body, args);
		va_end(args);
		assert(len >= 0);
		(void)len;
	}
	reply = caller_send(method, target, text);
	free(text);
	reply_free(last);
	last = reply;
	(void)caller_wait(reply);
	return reply;
}

bool reply_is(const struct reply *reply, int status, const char *json)
{
	char *text = strdup(json ? json : ""), *got;
	json_t *wanted;
	bool same;

	for (char *at = text; *at; at++)
		if (*at == '\'')
			*at = '"';
	wanted = json ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	same = reply->status == status && (!json || json_equal(wanted, reply->json));
	if (!same) {
		got = reply->json ? json_dumps(reply->json, JSON_ENCODE_ANY) : NULL;
		(void)fprintf(stderr, "answered %d %s%s\nwanted   %d %s\n", reply->status,
		              got ? got : "", reply->text ? reply->text : "", status, text);
		free(got);
	}
	json_decref(wanted);
	free(text);
	return same;
}

long long reply_number(const struct reply *reply, const char *member)
{
	return json_integer_value(json_object_get(reply->json, member));
}

const char *caller_text(const char *fmt, ...)
{
	static char texts[8][2048];
	static size_t next;
	char *text = texts[next++ % 8];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(texts[0]), fmt, args);
	va_end(args);
	return text;
}
