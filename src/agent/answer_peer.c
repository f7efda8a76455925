/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/answer_peer.c - requests at the agent's own door, which listen.c keeps. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "agent/listen.h"
#include "base/error.h"
#include "base/random.h"

static void reply(struct evhttp_request *req, int status, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);

	json_decref(body);
	(void)evhttp_add_header(headers, "Content-Type", "application/json");
	if (status == 401 || status == 413)
		(void)evhttp_add_header(headers, "Connection", "close");
	if (text)
		(void)evbuffer_add(evhttp_request_get_output_buffer(req), text, strlen(text));
	evhttp_send_reply(req, text ? status : 500, NULL, NULL);
	free(text);
}

static void deny(struct evhttp_request *req, int status, const char *code, const char *why)
{
	reply(req, status,
	      json_pack("{ss, ss, ss}", "status", "error", "code", code, "message", why));
}

static bool has_secret(const slime_agent *agent, struct evhttp_request *req)
{
	static const char bearer[] = "Bearer ";
	const char *said =
	    evhttp_find_header(evhttp_request_get_input_headers(req), "Authorization");
	size_t len = sizeof(bearer) - 1;

	return said && strlen(said) == len + SL_TICKET_SECRET - 1 &&
	       strncmp(said, bearer, len) == 0 &&
	       sl_same_secret(said + len, agent->secret, SL_TICKET_SECRET - 1);
}

static bool is_of_scope(const slime_agent *agent, const struct evhttp_uri *uri)
{
	const char *query = evhttp_uri_get_query(uri);
	struct evkeyvalq words;
	const char *scope;
	bool same;

	if (!query || evhttp_parse_query_str(query, &words))
		return !agent->scope[0];
	scope = evhttp_find_header(&words, "scope");
	same = strcmp(scope ? scope : "", agent->scope) == 0;
	evhttp_clear_headers(&words);
	return same;
}

static json_t *body_of(struct evhttp_request *req)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	const char *text = len ? (const char *)evbuffer_pullup(in, -1) : NULL;

	return text ? json_loadb(text, len, 0, NULL) : NULL;
}

static void answer_agent(slime_agent *agent, struct evhttp_request *req)
{
	json_t *resource = sl_agent_resource(agent);

	reply(req, 200,
	      json_pack("{s{ss, so}}", "agent", "alias", agent->alias, "resource", resource));
}

static void answer_regions(slime_agent *agent, struct evhttp_request *req)
{
	json_t *list = json_array();

	sl_lock_take(&agent->lock);
	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		struct sl_published *p;

		LIST_FOREACH(p, &agent->published[b], entry)
		(void)json_array_append_new(list, json_pack("{ss}", "name", p->name));
	}
	sl_lock_drop(&agent->lock);
	reply(req, 200, json_pack("{so, sn}", "regions", list, "next"));
}

static void answer_region(slime_agent *agent, struct evhttp_request *req, const char *quoted)
{
	char *name = evhttp_uridecode(quoted, 0, NULL);
	json_t *record = name ? sl_publish_record(agent, name) : NULL;

	free(name);
	if (record)
		reply(req, 200, json_pack("{so}", "region", record));
	else
		deny(req, 404, "ENOENT", "there is no such region");
}

/* Messages of somebody who was introduced, and is who he says: his life is known to few. */
static void take_mail(slime_agent *agent, struct evhttp_request *req, json_t *body)
{
	const char *from = json_string_value(json_object_get(body, "from"));
	struct sl_friend *who = from ? sl_friend_find(agent, from) : NULL;
	json_t *list = json_object_get(body, "messages"), *one;
	size_t i;

	if (!who) {
		deny(req, 404, "ENOENT",
		     "who sends this has not been introduced here: introduce it");
		return;
	}
	json_array_foreach(list, i, one) sl_friend_message(agent, from, one);
	reply(req, 200, json_pack("{sI}", "position", (json_int_t)i));
}

static void meet(slime_agent *agent, struct evhttp_request *req, json_t *body)
{
	json_t *text = json_object_get(body, "ticket");
	struct sl_ticket ticket;
	struct slime_error err;
	int rc = json_is_string(text) ? sl_ticket_read(json_string_value(text),
	                                               json_string_length(text), &ticket, &err)
	                              : sl_fail(&err, -EPROTO, "an introduction without a ticket");

	if (rc) {
		deny(req, 422, "EINVAL", err.text);
		return;
	}
	rc = sl_friend_comes(agent, &ticket, evhttp_request_get_connection(req), &err);
	if (rc)
		deny(req,
		     rc == -ENOSPC   ? 429
		     : rc == -EEXIST ? 409
		                     : 403,
		     rc == -ENOSPC   ? "ENOSPC"
		     : rc == -EEXIST ? "EEXIST"
		                     : "EACCES",
		     err.text);
	else
		reply(req, 200, json_pack("{ss, ss}", "alias", agent->alias, "life", agent->life));
}

static void post(slime_agent *agent, struct evhttp_request *req, const char *tail)
{
	json_t *body = body_of(req);

	if (!json_is_object(body))
		deny(req, 400, "EINVAL", "the body is no JSON object");
	else if (strcmp(tail, "/mailbox") == 0)
		take_mail(agent, req, body);
	else if (strcmp(tail, "/introduce") == 0)
		meet(agent, req, body);
	else
		deny(req, 404, "ENOENT", "there is no such place");
	json_decref(body);
}

static void get(slime_agent *agent, struct evhttp_request *req, const char *tail)
{
	if (!*tail)
		answer_agent(agent, req);
	else if (strcmp(tail, "/regions") == 0)
		answer_regions(agent, req);
	else if (strncmp(tail, "/regions/", 9) == 0)
		answer_region(agent, req, tail + 9);
	else
		deny(req, 404, "ENOENT", "there is no such place");
}

/* What follows "/v1/agents/ALIAS", where ALIAS is ours; else NULL. */
static const char *tail_of(const slime_agent *agent, const char *path)
{
	static const char base[] = "/v1/agents/";
	const char *alias = path + sizeof(base) - 1, *end;
	char *quoted, *name;
	bool ours;

	if (strncmp(path, base, sizeof(base) - 1) != 0)
		return NULL;
	end = strchrnul(alias, '/');
	quoted = strndup(alias, (size_t)(end - alias));
	name = quoted ? evhttp_uridecode(quoted, 0, NULL) : NULL;
	ours = name && strcmp(name, agent->alias) == 0;
	free(name);
	free(quoted);
	return ours ? end : NULL;
}

void sl_answer_peer(struct evhttp_request *req, void *arg)
{
	slime_agent *agent = arg;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	const char *tail;

	if (!has_secret(agent, req)) {
		deny(req, 401, "EACCES",
		     "the ticket is not of the agent that lives here now: ask it for a new one");
		return;
	}
	sl_door_knows(agent->door, req);
	if (!uri || !is_of_scope(agent, uri)) {
		deny(req, 403, "EACCES", "the agent is of another scope");
		return;
	}
	tail = path ? tail_of(agent, path) : NULL;
	if (!tail)
		deny(req, 404, "ENOENT", "another agent lives here");
	else if (evhttp_request_get_command(req) == EVHTTP_REQ_POST)
		post(agent, req, tail);
	else
		get(agent, req, tail);
}
