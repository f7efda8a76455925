/* SPDX-License-Identifier: BSD-3-Clause */
/* routes_compat.c - the thirteen routes of the reference, and the entities among them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "fields.h"
#include "json_text.h"
#include "nanoctrl.h"
#include "routes.h"

static void get_root(struct call *call)
{
	const char *text = nanoctrl.persona->root_body;

	call_reply_text(call, 200, "text/plain; charset=utf-8", text, strlen(text));
}

static void reply_status(struct call *call, const char *status, json_t *message)
{
	call_reply_json(call, 200, json_pack("{s:s,s:o}", "status", status, "message", message));
}

/* An entity as the body of a call names it. */
static struct store_key entity_of(struct fields *f, const char *scope, const char *type)
{
	return (struct store_key){STORE_ENTITY, scope, type, field_name(f, "entity_id")};
}

static void registered(struct call *call, const struct store_res *res)
{
	const struct store_op *op = call_data(call);

	(void)res;
	reply_status(
	    call, "ok",
	    json_sprintf("Entity %s:%s registered successfully", op->key.type, op->key.id));
}

static void put_entity(struct call *call, const struct store_res *res)
{
	(void)res;
	ask_change(call, call_data(call), 1, registered, NULL);
}

static json_t *or_null(json_t *value)
{
	return value ? json_incref(value) : json_null();
}

static void post_register(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const char *scope = field_scope(&f, RIGHT_REGISTER);
	const struct store_key key =
	    entity_of(&f, scope, field_name_or(&f, "entity_type", "service"));
	const char *kind = field_text_or(&f, "kind", NULL);
	json_t *endpoint = field_any_or_null(&f, "endpoint");
	json_t *metadata = json_object_get(f.body, "metadata");
	json_t *resource = field_any_or_null(&f, "resource");
	const char *fault = kind && *kind ? name_fault(kind, strlen(kind)) : NULL;
	struct store_op *op;

	if (!kind)
		fields_fault(&f, 422, "EINVAL", "'kind' is missing");
	if (fault)
		fields_fault(&f, 422, "EINVAL", "'kind' %s", fault);
	if (!fields_end(&f))
		return;
	op = call_alloc(call, 1, sizeof(*op));
	if (!op)
		return;
	*op = (struct store_op){.verb = STORE_PUT,
	                        .key = key,
	                        .kind = kind,
	                        .owner = call_principal(call),
	                        .ttl_ms = COMPAT_TTL_MS};
	op->value = call_dump(call, json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o}", "entity_type",
	                                      key.type, "entity_id", key.id, "id", key.id, "kind",
	                                      kind, "endpoint", or_null(endpoint), "metadata",
	                                      metadata ? json_incref(metadata) : json_object(),
	                                      "resource", or_null(resource)));
	if (!op->value)
		return;
	call_set_data(call, op);
	ask_room(call, &op->key, 1, put_entity);
}

static struct store_key *keep_key(struct call *call, const struct store_key *key)
{
	struct store_key *kept = call_alloc(call, 1, sizeof(*kept));

	if (kept) {
		*kept = *key;
		call_set_data(call, kept);
	}
	return kept;
}

static void unregistered(struct call *call, const struct store_res *res)
{
	const struct store_key *key = call_data(call);

	(void)res; /* what was not there is unregistered as well */
	reply_status(call, "ok",
	             json_sprintf("Entity %s:%s unregistered successfully", key->type, key->id));
}

static void post_unregister(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const char *scope = field_scope(&f, RIGHT_REGISTER);
	const struct store_key key =
	    entity_of(&f, scope, field_name_or(&f, "entity_type", "service"));
	const struct store_op op = {.verb = STORE_DEL, .key = key};

	if (fields_end(&f) && keep_key(call, &key))
		ask_change(call, &op, 1, unregistered, NULL);
}

static void beaten(struct call *call, const struct store_res *res)
{
	const struct store_key *key = call_data(call);
	bool agent = key->class == STORE_AGENT;
	const char *type = agent ? "agent" : key->type;

	if (res[0].found || (agent && res[1].found))
		reply_status(call, "ok",
		             json_sprintf("Heartbeat successful for %s %s", type, key->id));
	else
		reply_status(
		    call, "not_found",
		    json_sprintf("%s %s not found. Please register first.", type, key->id));
}

static void post_heartbeat(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const char *scope = field_scope(&f, RIGHT_REGISTER);
	struct store_key key = entity_of(&f, scope, field_name(&f, "entity_type"));
	bool agent = !strcmp(key.type, "agent");
	/* An entity may be of the type "agent", too: whichever of both there is. */
	struct store_op ops[2] = {{.verb = STORE_TOUCH}, {.verb = STORE_TOUCH, .key = key}};

	if (agent)
		key = (struct store_key){STORE_AGENT, scope, "", key.id};
	ops[0].key = key;
	if (fields_end(&f) && keep_key(call, &key))
		ask_change(call, ops, agent ? 2 : 1, beaten, NULL);
}

static void entity_known(struct call *call, const struct store_res *res)
{
	json_t *info =
	    res->found ? json_text_parse(res->row->value, res->row->value_len, 0, NULL) : NULL;

	call_reply_json(call, 200,
	                json_pack("{s:s,s:o}", "status", info ? "ok" : "not_found", "entity_info",
	                          info ? info : json_null()));
}

static void post_get_entity_info(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const char *scope = field_scope(&f, RIGHT_READ);
	const struct store_key key =
	    entity_of(&f, scope, field_name_or(&f, "entity_type", "service"));
	const struct store_op op = {.verb = STORE_GET, .key = key};

	if (fields_end(&f))
		ask(call, &op, 1, entity_known, NULL);
}

/* The values are JSON already, and there may be a hundred thousand of them. */
static void entities_known(struct call *call, const struct store_res *res)
{
	static const char begin[] = "{\"status\":\"ok\",\"entities\":[", end[] = "]}";
	size_t len = sizeof(begin) + sizeof(end);
	char *text, *at;

	for (size_t i = 0; i < res->n; i++)
		len += res->row[i].value_len + 1;
	text = malloc(len);
	if (!text) {
		call_reply_errno(call, -ENOMEM, "no memory");
		return;
	}
	at = mempcpy(text, begin, sizeof(begin) - 1);
	for (size_t i = 0; i < res->n; i++) {
		if (i)
			*at++ = ',';
		at = mempcpy(at, res->row[i].value, res->row[i].value_len);
	}
	at = mempcpy(at, end, sizeof(end) - 1);
	call_reply_text(call, 200, "application/json", text, (size_t)(at - text));
	free(text);
}

static void post_list_entities(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const char *scope = field_scope(&f, RIGHT_READ);
	const char *type = field_name_or(&f, "entity_type", NULL);
	const struct store_op op = {.verb = STORE_LIST,
	                            .key = {.class = STORE_ENTITY, .scope = scope, .type = type},
	                            .kind = field_text_or(&f, "kind", NULL)};

	if (fields_end(&f))
		ask(call, &op, 1, entities_known, NULL);
}

const struct route routes_compat[] = {
    {"GET", "/", RIGHT_NONE, false, false, get_root},
    {"POST", "/register", RIGHT_REGISTER, true, false, post_register},
    {"POST", "/unregister", RIGHT_REGISTER, true, false, post_unregister},
    {"POST", "/heartbeat", RIGHT_REGISTER, true, false, post_heartbeat},
    {"POST", "/get_entity_info", RIGHT_READ, true, false, post_get_entity_info},
    {"POST", "/list_entities", RIGHT_READ, true, false, post_list_entities},
    {"POST", "/start_peer_agent", RIGHT_REGISTER, true, false, compat_start_peer_agent},
    {"POST", "/query", RIGHT_READ, true, false, compat_query},
    {"POST", "/cleanup", RIGHT_REGISTER, true, false, compat_cleanup},
    {"POST", "/v1/desired_topology/{alias}", RIGHT_REGISTER, true, false, compat_desired_topology},
    {"POST", "/register_mr", RIGHT_REGISTER, true, false, compat_register_mr},
    {"POST", "/get_mr_info", RIGHT_READ, true, false, compat_get_mr_info},
    {"POST", "/get_redis_address", RIGHT_READ, true, false, compat_get_redis_address},
    {.method = NULL},
};
