/* SPDX-License-Identifier: BSD-3-Clause */
/* routes_compat_agent.c - agents of the reference: registered, listed, cleaned up after. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "ask.h"
#include "fields.h"
#include "json_text.h"
#include "nanoctrl.h"
#include "redis_address.h"
#include "routes.h"

static struct redis_address redis_known(void)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%s_REDIS_URL", nanoctrl.persona->env);
	return (struct redis_address){
	    .url = nanoctrl.store->table->where(nanoctrl.store),
	    .advertised = nanoctrl.public_redis,
	    .public_address = getenv("REDIS_PUBLIC_ADDRESS"),
	    .public_url = getenv(name),
	};
}

void compat_get_redis_address(struct call *call)
{
	const struct redis_address redis = redis_known();
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	char url[REDIS_ADDRESS_MAX];

	(void)field_scope(&f, RIGHT_READ);
	if (!fields_end(&f))
		return;
	redis_url_for_all(&redis, url);
	if (*url)
		call_reply_json(call, 200,
		                json_pack("{s:s,s:s}", "status", "ok", "redis_address", url));
	else
		call_reply_error(call, 404, NULL,
		                 "there is no Redis behind this daemon: start it with --redis-url");
}

static void agent_made(struct call *call, const char *alias)
{
	const json_t *body = call_body(call);
	const struct redis_address redis = redis_known();
	json_t *resource = json_object_get(body, "resource");
	char address[REDIS_ADDRESS_MAX];
	json_t *answer;

	redis_address_for(&redis, json_string_value(json_object_get(body, "address")), address);
	answer =
	    json_pack("{s:s,s:s,s:s}", "status", "ok", "name", alias, "redis_address", address);
	if (resource && !json_is_null(resource))
		(void)json_object_set(answer, "resource", resource);
	call_reply_json(call, 200, answer);
}

static void agent_was(struct call *call, const char *alias, const struct agent_made *made)
{
	if (made->revision)
		agent_made(call, alias);
	else
		call_reply_error(call, 409, NULL,
		                 "Peer agent alias '%s' already exists in this scope", alias);
}

void compat_start_peer_agent(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	struct agent_new new = {.scope = field_scope(&f, RIGHT_REGISTER),
	                        .alias = field_name_or(&f, "alias", NULL),
	                        .prefix = field_name_or(&f, "name_prefix", "agent"),
	                        .ttl_ms = COMPAT_TTL_MS,
	                        .then = agent_was};
	const char *device = field_text_or(&f, "device", NULL);
	int64_t ib_port = field_int_or(&f, "ib_port", 0, UINT32_MAX, -1);
	const char *link_type = field_text_or(&f, "link_type", NULL);
	const char *address = field_text_or(&f, "address", NULL);
	json_t *resource = field_any_or_null(&f, "resource");

	if (!address)
		fields_fault(&f, 422, "EINVAL", "'address' is missing");
	if (!fields_end(&f))
		return;
	new.value = json_pack("{s:s,s:s*,s:s*,s:O*,s:O*,s:[]}", "addr", address, "device", device,
	                      "link_type", link_type, "resource", resource, "topology", resource,
	                      "memory_keys");
	if (ib_port >= 0)
		(void)json_object_set_new(new.value, "ib_port", json_integer(ib_port));
	agent_make(call, &new);
}

static json_t *or_empty(json_t *text)
{
	return text ? json_incref(text) : json_string("");
}

/* NULL for an agent without an address: the reference's clients could not reach it. */
static json_t *query_row(const struct store_row *row)
{
	json_t *value = json_text_parse(row->value, row->value_len, 0, NULL);
	json_t *address = json_object_get(value, "addr");
	json_t *ib_port = json_object_get(value, "ib_port");
	json_t *keys = json_object_get(value, "memory_keys");
	json_t *out = NULL;

	if (address)
		out = json_pack("{s:s,s:o,s:o,s:o,s:O,s:O?,s:o}", "name", row->key.id, "device",
		                or_empty(json_object_get(value, "device")), "ib_port",
		                ib_port ? json_incref(ib_port) : json_integer(1), "link_type",
		                or_empty(json_object_get(value, "link_type")), "address", address,
		                "resource", json_object_get(value, "resource"), "memory_keys",
		                keys ? json_incref(keys) : json_array());
	json_decref(value);
	return out;
}

static void queried(struct call *call, const struct store_res *res)
{
	json_t *list = json_array();

	for (size_t i = 0; i < res->n; i++) {
		json_t *row = query_row(&res->row[i]);

		if (row)
			(void)json_array_append_new(list, row);
	}
	call_reply_json(call, 200, list);
}

void compat_query(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const struct store_op op = {
	    .verb = STORE_LIST,
	    .key = {.class = STORE_AGENT, .scope = field_scope(&f, RIGHT_READ)}};

	if (fields_end(&f))
		ask(call, &op, 1, queried, NULL);
}

/*
 * Cleaning up. Who must hear of it: the peers that the agent wanted, and those that
 * wanted it. Regions that were registered without an agent are found by their type.
 */
static bool wants(const json_t *spec, const char *alias)
{
	size_t i;
	json_t *peer;

	json_array_foreach(json_object_get(spec, "target_peers"), i, peer)
	{
		const char *name = json_text_whole(peer);

		if (name && !strcmp(name, alias))
			return true;
	}
	return false;
}

/* An object whose member names are the peers. */
static json_t *peers_of(const char *alias, const struct store_res *specs)
{
	json_t *peers = json_object();
	size_t at;
	json_t *peer;

	for (size_t i = 0; i < specs->n; i++) {
		const struct store_row *row = &specs->row[i];
		json_t *spec = json_text_parse(row->value, row->value_len, 0, NULL);

		if (!strcmp(row->key.id, alias)) {
			json_array_foreach(json_object_get(spec, "target_peers"), at, peer)
			{
				const char *name = json_text_whole(peer);

				if (name)
					(void)json_object_set_new(peers, name, json_null());
			}
		} else if (wants(spec, alias))
			(void)json_object_set_new(peers, row->key.id, json_null());
		json_decref(spec);
	}
	(void)json_object_del(peers, alias);
	return peers;
}

static void cleaned(struct call *call, const struct store_res *res)
{
	const struct store_key *key = call_data(call);

	(void)res;
	call_reply_json(call, 200,
	                json_pack("{s:s,s:o}", "status", "ok", "message",
	                          json_sprintf("Cleaned up agent: %s", key->id)));
}

static struct store_op *add_deletions(struct store_op *op, const struct store_key *agent,
                                      const struct store_res *regions)
{
	struct store_key key = *agent;

	*op++ = (struct store_op){.verb = STORE_DEL, .key = key, .purge = true};
	for (size_t i = 0; i < regions->n; i++)
		*op++ = (struct store_op){
		    .verb = STORE_DEL,
		    .key = {STORE_REGION, key.scope, key.id, regions->row[i].key.id}};
	key.class = STORE_SPEC;
	*op++ = (struct store_op){.verb = STORE_DEL, .key = key};
	key.class = STORE_INBOX;
	*op++ = (struct store_op){.verb = STORE_DEL, .key = key};
	key.class = STORE_STREAM;
	if (nanoctrl.persona->cleanup_drops_stream)
		*op++ = (struct store_op){.verb = STORE_DEL, .key = key};
	return op;
}

static void clean(struct call *call, const struct store_res *res)
{
	const struct store_key *agent = call_data(call);
	const struct store_res *specs = &res[0], *regions = &res[1];
	json_t *peers = peers_of(agent->id, specs);
	struct store_op *ops = calloc(regions->n + json_object_size(peers) + 4, sizeof(*ops)), *op;
	json_t *message = json_pack("{s:s,s:s}", "type", "cleanup", "peer", agent->id), *nothing;
	char *text = json_dumps(message, JSON_COMPACT);
	const char *peer;

	if (!ops || !text) {
		call_reply_errno(call, -ENOMEM, "no memory");
	} else {
		op = add_deletions(ops, agent, regions);
		json_object_foreach(peers, peer, nothing) *op++ =
		    (struct store_op){.verb = STORE_APPEND,
		                      .key = {STORE_INBOX, agent->scope, "", peer},
		                      .value = text,
		                      .limit = INBOX_MESSAGES};
		ask(call, ops, (size_t)(op - ops), cleaned, NULL);
	}
	free(ops);
	free(text);
	json_decref(message);
	json_decref(peers);
}

static void may_clean(struct call *call, const struct store_res *res)
{
	const struct store_key *agent = call_data(call);
	const struct store_op ops[] = {
	    {.verb = STORE_LIST, .key = {.class = STORE_SPEC, .scope = agent->scope}},
	    {.verb = STORE_LIST,
	     .key = {.class = STORE_REGION, .scope = agent->scope, .type = agent->id}},
	};

	(void)res;
	ask(call, ops, 2, clean, NULL);
}

void compat_cleanup(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	struct store_key key = {STORE_AGENT, field_scope(&f, RIGHT_REGISTER), "",
	                        field_name(&f, "agent_name")};
	struct store_op op = {.verb = STORE_GET, .key = key};
	struct store_key *kept;

	if (!fields_end(&f))
		return;
	kept = call_alloc(call, 1, sizeof(*kept));
	if (!kept)
		return;
	*kept = key;
	call_set_data(call, kept);
	ask_change(call, &op, 1, may_clean, NULL);
}
