/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctrl/ctrl_turn.c - calls in turn: one at a time is underway, and what was asked meanwhile goes
 * together behind it, as one request to /v1/batch.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "ctrl/ctrl_impl.h"

enum { CARRIED_MAX = 64 };

/* As any call: from now on it is in the queue. */
static void go_alone(struct sl_ctrl_call *call)
{
	bool good = true;

	call->carrier = NULL;
	call->waits = false;
	if (call->value) {
		call->body = json_dumps(call->value, JSON_COMPACT);
		good = call->body;
	}
	json_decref(call->value);
	call->value = NULL;
	if (good)
		TAILQ_INSERT_TAIL(&call->client->queue, call, entry);
	else
		sl_ctrl_fail(call, -ENOMEM, "could not be asked: no memory");
}

/* The server takes no batches, or not this one: each for itself. */
static void part(struct sl_ctrl_call *carrier)
{
	struct sl_ctrl_call *call;

	carrier->client->batches = false;
	while ((call = TAILQ_FIRST(&carrier->carried))) {
		TAILQ_REMOVE(&carrier->carried, call, entry);
		go_alone(call);
	}
	event_active(carrier->client->pump, EV_TIMEOUT, 1);
}

static void on_batch(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_ctrl_call *carrier = arg, *call;
	json_t *responses = json_object_get(reply->body, "responses");

	if (reply->http >= 400 && reply->http < 500) {
		part(carrier);
		return;
	}
	for (size_t i = 0; (call = TAILQ_FIRST(&carrier->carried)); i++) {
		json_t *one = json_array_get(responses, i);
		int http = (int)json_integer_value(json_object_get(one, "status"));

		TAILQ_REMOVE(&carrier->carried, call, entry);
		if (reply->status)
			sl_ctrl_finish(call, reply);
		else if (http)
			sl_ctrl_answer(call, http, json_object_get(one, "body"));
		else
			sl_ctrl_fail(call, -EPROTO, "answered fewer requests than it was asked");
	}
}

/* How many of those that wait are posts, up to the first that is none. */
static int count_posts(const struct sl_ctrl_client *client)
{
	const struct sl_ctrl_call *call;
	int n = 0;

	TAILQ_FOREACH(call, &client->posts, entry)
	{
		if (!call->value || n == CARRIED_MAX)
			break;
		n++;
	}
	return n;
}

/* Take the first N in one request; NULL: no memory. */
static struct sl_ctrl_call *carry(struct sl_ctrl_client *client, int n)
{
	json_t *requests = json_array();
	struct sl_ctrl_call *carrier, *call = TAILQ_FIRST(&client->posts);

	for (int i = 0; i < n; i++, call = TAILQ_NEXT(call, entry))
		(void)json_array_append_new(requests,
		                            json_pack("{ss, ss, sO}", "method", call->method,
		                                      "path", call->path, "body", call->value));
	if (json_array_size(requests) != (size_t)n) {
		json_decref(requests);
		return NULL;
	}
	carrier = sl_ctrl_call_new(client, "POST", "/v1/batch",
	                           json_pack("{so}", "requests", requests), 0, on_batch, NULL);
	if (!carrier)
		return NULL;
	while (n--) {
		call = TAILQ_FIRST(&client->posts);
		TAILQ_REMOVE(&client->posts, call, entry);
		TAILQ_INSERT_TAIL(&carrier->carried, call, entry);
		call->carrier = carrier;
		call->waits = false;
		if (call->timeout_ms > carrier->timeout_ms)
			carrier->timeout_ms = call->timeout_ms;
	}
	carrier->arg = carrier;
	TAILQ_INSERT_TAIL(&client->queue, carrier, entry);
	return carrier;
}

void sl_ctrl_gather(struct sl_ctrl_client *client)
{
	struct sl_ctrl_call *first = TAILQ_FIRST(&client->posts);
	int n = count_posts(client);

	if (!first || client->posting)
		return;
	if (n > 1 && client->batches)
		client->posting = carry(client, n);
	if (client->posting)
		return;
	TAILQ_REMOVE(&client->posts, first, entry);
	client->posting = first;
	go_alone(first);
}

struct sl_ctrl_call *sl_ctrl_send(struct sl_ctrl_client *client, const char *method,
                                  const char *path, json_t *body, int timeout_ms,
                                  sl_ctrl_done *done, void *arg)
{
	struct sl_ctrl_call *call;

	if (!client || !client->batches)
		return sl_ctrl_call(client, method, path, body, timeout_ms, done, arg);
	call = sl_ctrl_call_new(client, method, path, NULL, timeout_ms, done, arg);
	if (!call) {
		json_decref(body);
		return NULL;
	}
	call->value = body;
	call->waits = true;
	TAILQ_INSERT_TAIL(&client->posts, call, entry);
	event_active(client->pump, EV_TIMEOUT, 1);
	return call;
}
