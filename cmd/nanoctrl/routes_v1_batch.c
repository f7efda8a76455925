/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * routes_v1_batch.c - many requests in one. They run side by side, so that the store can make them
 * durable together; the answers are in the order of the requests.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "fields.h"
#include "routes.h"

enum { REQUESTS_MAX = 256 };

struct batch {
	struct call *call;
	size_t pending;
	struct item {
		struct batch *batch;
		json_t *response;
	} items[];
};

static void finish(struct batch *batch, size_t n)
{
	json_t *responses = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(responses, batch->items[i].response);
	call_reply_json(batch->call, 200, json_pack("{s:o}", "responses", responses));
}

static void one_done(struct batch *batch)
{
	if (!--batch->pending)
		finish(batch, json_array_size(json_object_get(call_body(batch->call), "requests")));
}

static void answered(void *arg, int status, json_t *body)
{
	struct item *item = arg;

	item->response = json_pack("{s:i,s:O?}", "status", status, "body", body);
	one_done(item->batch);
}

static bool begins_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* Only what answers at once: neither a watch nor a batch in a batch. */
static bool is_allowed(const char *path)
{
	return begins_with(path, "/v1/") && !begins_with(path, "/v1/watch") &&
	       !begins_with(path, "/v1/batch");
}

static bool waits(const char *path, const json_t *body)
{
	const char *query = strchr(path, '?');
	const json_t *wait_ms = json_object_get(body, "wait_ms");

	return (query && strstr(query, "wait_ms=")) || (wait_ms && !json_is_null(wait_ms));
}

static const char *method_of(const char *name)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};

	for (size_t i = 0; i < 4; i++)
		if (!strcmp(name, methods[i]))
			return methods[i];
	return NULL;
}

static void check_request(struct fields *f, size_t i, json_t *request)
{
	struct fields in = *f;
	const char *path, *method;

	in.body = request;
	if (!json_is_object(request))
		fields_fault(&in, 422, "EINVAL", "it must be an object");
	method = field_text_or(&in, "method", "");
	path = field_text_or(&in, "path", "");
	if (!method_of(method))
		fields_fault(&in, 422, "EINVAL", "'method' must be GET, POST, PUT or DELETE");
	if (!is_allowed(path))
		fields_fault(&in, 422, "EINVAL",
		             "'path' must be one of /v1, and neither a watch nor a batch");
	if (waits(path, json_object_get(request, "body")))
		fields_fault(&in, 422, "EINVAL", "'wait_ms' is not for batches");
	if (in.status)
		fields_fault(f, in.status, in.code, "element %zu of 'requests': %.180s", i, in.why);
}

static void start(struct batch *batch, size_t i, const json_t *request)
{
	json_t *body = json_object_get(request, "body");

	batch->items[i].batch = batch;
	call_within(batch->call, method_of(json_string_value(json_object_get(request, "method"))),
	            json_string_value(json_object_get(request, "path")),
	            json_is_null(body) ? NULL : body, answered, &batch->items[i]);
}

void v1_post_batch(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const json_t *requests = field_list(&f, "requests", REQUESTS_MAX);
	size_t n = json_array_size(requests);
	struct batch *batch;

	if (requests && !n)
		fields_fault(&f, 422, "EINVAL", "'requests' is empty");
	for (size_t i = 0; i < n && !f.status; i++)
		check_request(&f, i, json_array_get(requests, i));
	if (!fields_end(&f))
		return;
	batch = call_alloc(call, 1, sizeof(*batch) + n * sizeof(batch->items[0]));
	if (!batch)
		return;
	batch->call = call;
	batch->pending = n + 1; /* the last is ours: nothing ends before all have begun */
	for (size_t i = 0; i < n; i++)
		start(batch, i, json_array_get(requests, i));
	one_done(batch);
}
