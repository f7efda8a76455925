/* SPDX-License-Identifier: BSD-3-Clause */
#include "router.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json_text.h"
#include "log.h"
#include "tokens.h"

static struct route_entry *entries; /* N_ENTRIES, and one for what matches none */
static size_t n_entries;
static struct tokens *tokens;

static void split_pattern(struct route_entry *entry)
{
	const char *at = entry->route->path;

	while (*at == '/') {
		size_t len = strcspn(++at, "/");
		bool is_name = len > 2 && at[0] == '{' && at[len - 1] == '}';

		assert(entry->n_parts < ROUTE_MAX_PARTS);
		entry->part[entry->n_parts].text = is_name ? at + 1 : at;
		entry->part[entry->n_parts].len = is_name ? len - 2 : len;
		entry->part[entry->n_parts++].is_name = is_name;
		at += len;
	}
}

int router_init(const struct route *const *tables)
{
	size_t n = 0;

	for (size_t i = 0; tables[i]; i++) {
		for (const struct route *route = tables[i]; route->method; route++)
			n++;
	}
	entries = calloc(n + 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	n_entries = 0;
	for (size_t i = 0; tables[i]; i++) {
		for (const struct route *route = tables[i]; route->method; route++) {
			entries[n_entries].route = route;
			split_pattern(&entries[n_entries++]);
		}
	}
	for (size_t i = 0; i <= n_entries; i++) {
		entries[i].latency = calloc(1, sizeof(*entries[i].latency));
		if (!entries[i].latency) {
			router_fini();
			return -ENOMEM;
		}
	}
	return 0;
}

void router_fini(void)
{
	router_set_tokens(NULL);
	for (size_t i = 0; entries && i <= n_entries; i++)
		free(entries[i].latency);
	free(entries);
	entries = NULL;
	n_entries = 0;
}

size_t router_entries(const struct route_entry **out)
{
	*out = entries;
	return n_entries + 1;
}

void router_set_tokens(struct tokens *now)
{
	tokens_release(tokens);
	tokens = now;
}

static bool matches(const struct route_entry *entry, const struct target *target)
{
	if (entry->n_parts != target->n_parts)
		return false;
	for (size_t i = 0; i < entry->n_parts; i++) {
		const char *part = target->part[i];

		if (entry->part[i].is_name
		        ? !*part
		        : strncmp(part, entry->part[i].text, entry->part[i].len) != 0 ||
		              part[entry->part[i].len])
			return false;
	}
	return true;
}

__attribute__((format(printf, 4, 5))) static void set_refusal(struct call *call, int status,
                                                              const char *code, const char *fmt,
                                                              ...)
{
	va_list ap;

	if (call->refusal.status)
		return;
	call->refusal.status = status;
	call->refusal.code = code;
	va_start(ap, fmt);
	(void)vsnprintf(call->refusal.text, sizeof(call->refusal.text), fmt, ap);
	va_end(ap);
}

static void find_route(struct call *call)
{
	char allow[64] = "";

	for (size_t i = 0; i < n_entries; i++) {
		const char *method = entries[i].route->method;

		if (!matches(&entries[i], &call->target))
			continue;
		if (strcmp(method, call->method) == 0 ||
		    (call->head && strcmp(method, "GET") == 0)) {
			call->entry = &entries[i];
			return;
		}
		if (strlen(allow) + strlen(method) + 8 < sizeof(allow)) {
			(void)strcat(allow, *allow ? "," : "");
			(void)strcat(allow, strcmp(method, "GET") == 0 ? "GET,HEAD" : method);
		}
	}
	if (!*allow) {
		set_refusal(call, 404, "ENOENT", "there is no such path");
		return;
	}
	call_add_header(call, "Allow", allow);
	set_refusal(call, 405, "EINVAL", "%s is not a method of this path", call->method);
}

static void find_token(struct call *call)
{
	enum right right = call->entry ? call->entry->route->right : RIGHT_NONE;

	if (!call->inner && tokens) {
		call->tokens = tokens_retain(tokens);
		call->token = tokens_find(tokens, call_header(call, "Authorization"));
	}
	if (!call->tokens || right == RIGHT_NONE || token_may(call->token, right, NULL))
		return;
	if (call->token) {
		set_refusal(call, 403, "EACCES", "this token has not the right '%s'",
		            right == RIGHT_READ       ? "read"
		            : right == RIGHT_REGISTER ? "register"
		                                      : "admin");
		return;
	}
	call_add_header(call, "WWW-Authenticate", "Bearer");
	set_refusal(call, 401, "EACCES", "a token is needed: 'Authorization: Bearer TOKEN'");
}

/* "application/json" or "application/...+json", with or without parameters */
static bool is_json(const char *type)
{
	size_t len = type ? strcspn(type, "; \t") : 0;

	if (len < 16 || strncasecmp(type, "application/", 12) != 0)
		return false;
	return len == 16 ? strncasecmp(type + 12, "json", 4) == 0
	                 : strncasecmp(type + len - 5, "+json", 5) == 0;
}

void router_admit(struct call *call)
{
	struct slime_error err;
	int rc = target_parse(call->to_parse, &call->target, &err);

	if (rc == -EINVAL)
		set_refusal(call, 400, "EINVAL", "%s", err.text);
	else if (rc < 0)
		set_refusal(call, 404, "ENOENT", "%s", err.text);
	else
		find_route(call);
	find_token(call);
	if (call->refusal.status || !call->entry->route->body)
		return;
	if (call->inner && !call->body)
		set_refusal(call, 400, "EINVAL", "this request needs a body");
	else if (!call->inner && !is_json(call_header(call, "Content-Type")))
		set_refusal(call, 415, "EINVAL",
		            "Expected request with `Content-Type: application/json`");
}

/* As deep as the reference reads; what is deeper is no JSON for many who would get it. */
enum { LEVELS_MAX = 127 };

static void check_body(struct call *call)
{
	json_error_t error;
	const char *bytes = call->raw_body.bytes ? call->raw_body.bytes : "";

	if (!call->inner)
		call->body = json_text_parse(bytes, call->raw_body.len, JSON_DECODE_ANY, &error);
	text_free(&call->raw_body);
	if (!call->body && json_error_code(&error) == json_error_null_byte_in_key) {
		set_refusal(call, 422, "EINVAL",
		            "Failed to deserialize the JSON body into the target type: the name of "
		            "a member has U+0000 in it");
	} else if (!call->body) {
		set_refusal(call, 400, "EINVAL",
		            "Failed to parse the request body as JSON: %.80s at line %d column %d",
		            target_is_utf8(error.text, strlen(error.text)) ? error.text
		                                                           : "it is not UTF-8",
		            error.line, error.column);
	} else if (!call->inner && json_text_is_deeper(call->body, LEVELS_MAX)) {
		set_refusal(call, 400, "EINVAL",
		            "Failed to parse the request body as JSON: it has more than %d levels",
		            LEVELS_MAX);
	} else if (!json_is_object(call->body)) {
		set_refusal(call, 422, "EINVAL",
		            "Failed to deserialize the JSON body into the target type: it is not "
		            "an object");
	}
}

void router_run(struct call *call)
{
	if (!call->refusal.status && call->entry->route->body)
		check_body(call);
	if (call->refusal.status)
		call_refuse(call, call->refusal.status, call->refusal.code, call->refusal.text);
	else
		call->entry->route->handle(call);
}

/* Who asked with call_within(). */
struct inner {
	void (*done)(void *arg, int status, json_t *body);
	void *arg;
};

static void reply_inner(void *arg, struct call_answer *answer)
{
	struct inner *inner = arg;
	json_t *body = NULL;

	if (answer->json)
		body = json_deep_copy(answer->json);
	else if (answer->text && answer->type && !strcmp(answer->type, "application/json"))
		body = json_text_parse(answer->text, answer->len, 0, NULL);
	else if (answer->text)
		body = json_stringn(answer->text, answer->len);
	inner->done(inner->arg, answer->status, body);
	json_decref(body);
	free(inner);
}

static void begin_inner(void *arg, const struct call_answer *answer)
{
	(void)arg;
	(void)answer;
}

static int write_inner(void *arg, const char *bytes, size_t len)
{
	(void)arg;
	(void)bytes;
	(void)len;
	return -ENOBUFS;
}

static void end_inner(void *arg)
{
	reply_inner(arg, &(struct call_answer){.status = 500});
}

static const struct call_sink inner_sink = {reply_inner, begin_inner, write_inner, end_inner};

static struct call *create_inner(struct call *call, const char *target, struct inner *inner)
{
	struct call *within = inner ? call_create(&inner_sink, inner) : NULL;

	if (!within)
		return NULL;
	within->to_parse = call_keep(within, strdup(target));
	if (!within->to_parse) {
		call_destroy(within);
		return NULL;
	}
	within->path = "";
	within->inner = true;
	within->peer = call->peer;
	within->token = call->token;
	within->tokens = call->tokens ? tokens_retain(call->tokens) : NULL;
	return within;
}

void call_within(struct call *call, const char *method, const char *target, json_t *body,
                 void (*done)(void *arg, int status, json_t *body), void *arg)
{
	struct inner *inner = malloc(sizeof(*inner));
	struct call *within = create_inner(call, target, inner);

	if (!within) {
		free(inner);
		done(arg, 500, NULL);
		return;
	}
	*inner = (struct inner){done, arg};
	within->method = method;
	within->body = json_incref(body);
	router_admit(within);
	router_run(within);
}

void router_account(const struct call *call, int status, size_t bytes)
{
	/* not const: ours, only seen by the call */
	struct route_entry *entry =
	    &entries[call->entry ? call->entry - entries : (ptrdiff_t)n_entries];
	int64_t took_ns = now_ns() - call->began_ns;
	size_t i = 0;

	/* the last place takes what has no place of its own */
	while (i + 1 < ROUTE_MAX_STATUSES && entry->count[i].status &&
	       entry->count[i].status != status)
		i++;
	entry->count[i].status = status;
	entry->count[i].n++;
	histogram_add(entry->latency, took_ns);
	if (call->inner)
		return;
	log_request(&(struct log_request){.method = call->method,
	                                  .path = call->path ? call->path : "",
	                                  .peer = call_peer_address(call),
	                                  .principal = call_principal(call),
	                                  .status = status,
	                                  .bytes = bytes,
	                                  .took_ns = took_ns});
}
