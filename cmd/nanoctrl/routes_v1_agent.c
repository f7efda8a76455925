/* SPDX-License-Identifier: BSD-3-Clause */
/* routes_v1_agent.c - agents: registered, renewed, changed, gone. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent.h"
#include "ask.h"
#include "fields.h"
#include "json_text.h"
#include "page.h"
#include "routes.h"

static void agent_was(struct call *call, const char *alias, const struct agent_made *made)
{
	int64_t ttl_ms = TTL_DEFAULT_MS;
	json_t *answer;

	(void)json_text_integer(json_object_get(call_body(call), "ttl_ms"), &ttl_ms);
	if (made->revision)
		answer = json_pack("{s:s,s:I,s:I,s:I}", "alias", alias, "incarnation",
		                   (json_int_t)made->revision, "ttl_ms", (json_int_t)ttl_ms,
		                   "revision", (json_int_t)made->revision);
	else
		answer =
		    json_pack("{s:s,s:s,s:o,s:o}", "status", "error", "code", "EEXIST", "message",
		              json_sprintf("alias '%s' is in use, by incarnation %" PRIu64, alias,
		                           made->holder->born),
		              "holder", agent_json(made->holder));
	call_reply_json(call, made->revision ? 200 : 409, answer);
}

static json_t *process_of(struct fields *f)
{
	json_t *process = field_object_or_null(f, "process");
	struct fields in = *f;

	if (!process)
		return NULL;
	in.body = process;
	(void)field_text_or(&in, "host_id", "");
	(void)field_int_or(&in, "pid", 0, INT64_MAX, 0);
	(void)field_int_or(&in, "start", 0, INT64_MAX, 0);
	if (in.status)
		fields_fault(f, in.status, in.code, "'process': %.200s", in.why);
	return process;
}

void v1_post_agent(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	struct agent_new new = {
	    .scope = field_scope(&f, RIGHT_REGISTER),
	    .alias = field_name_or(&f, "alias", NULL),
	    .prefix = field_name_or(&f, "name_prefix", "agent"),
	    .ttl_ms = field_int_or(&f, "ttl_ms", TTL_MIN_MS, TTL_MAX_MS, TTL_DEFAULT_MS),
	    .replace = (uint64_t)field_int_or(&f, "replace", 1, INT64_MAX, 0),
	    .then = agent_was,
	};
	const char *address = field_text_or(&f, "address", NULL);
	json_t *process = process_of(&f);
	json_t *resource = field_object_or_null(&f, "resource");

	if (new.replace && !new.alias)
		fields_fault(&f, 422, "EINVAL", "'replace' needs an 'alias'");
	if (!fields_end(&f))
		return;
	new.value = json_pack("{s:s*,s:O*,s:O*}", "addr", address, "process", process, "resource",
	                      resource);
	agent_make(call, &new);
}

static void agents_known(struct call *call, const struct store_res *res)
{
	call_reply_json(call, 200, page_json(call, res, "agents", agent_json));
}

void v1_list_agents(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_op op = page_op(&f, STORE_AGENT, field_scope(&f, RIGHT_READ), "");

	if (fields_end(&f))
		ask(call, &op, 1, agents_known, NULL);
}

static json_t *resource_json(const struct store_row *row)
{
	json_t *value = json_text_parse(row->value, row->value_len, 0, NULL);
	json_t *resource = json_object_get(value, "resource");
	json_t *out = NULL;

	if (resource)
		out = json_pack("{s:s,s:I,s:O}", "alias", row->key.id, "incarnation",
		                (json_int_t)row->born, "resource", resource);
	json_decref(value);
	return out;
}

static void resources_known(struct call *call, const struct store_res *res)
{
	call_reply_json(call, 200, page_json(call, res, "resources", resource_json));
}

void v1_list_resources(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_op op = page_op(&f, STORE_AGENT, field_scope(&f, RIGHT_READ), "");

	if (fields_end(&f))
		ask(call, &op, 1, resources_known, NULL);
}

static void agent_known(struct call *call, const struct store_res *res)
{
	call_reply_json(call, 200,
	                json_pack("{s:o,s:I}", "agent", agent_json(res[0].row), "revision",
	                          (json_int_t)res[1].number));
}

void v1_get_agent(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key key = agent_key(field_scope(&f, RIGHT_READ), part_name(&f, "alias"));
	/* The second is asked for the revision that the first is true at. */
	const struct store_op ops[] = {
	    {.verb = STORE_GET, .key = key, .expect = STORE_PRESENT},
	    revision_op(key.scope),
	};

	if (fields_end(&f))
		ask(call, ops, 2, agent_known, agent_failed);
}

static void renewed(struct call *call, const struct store_res *res)
{
	(void)res;
	call_reply_json(call, 200,
	                json_pack("{s:I}", "revision", (json_int_t)store_revision_now()));
}

void v1_renew_agent(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key key =
	    agent_key(field_scope(&f, RIGHT_REGISTER), part_name(&f, "alias"));
	struct store_op ops[2] = {{.verb = STORE_TOUCH, .key = key, .born = field_incarnation(&f)}};
	json_t *snapshot = field_snapshot_or_null(&f, "obs");

	if (!fields_end(&f))
		return;
	if (snapshot) {
		ops[1] = obs_op(call, &key, snapshot, OBS_TTL_MS);
		if (!ops[1].value)
			return;
	}
	ask_change(call, ops, snapshot ? 2 : 1, renewed, agent_failed);
}

static void agent_changed(struct call *call, const struct store_res *res)
{
	call_reply_json(call, 200, json_pack("{s:I}", "revision", (json_int_t)res->number));
}

static void put_resource(struct call *call, const struct store_res *res);

static void look_at_agent(struct call *call)
{
	const struct store_op *op = call_data(call);
	const struct store_op get = {.verb = STORE_GET, .key = op->key, .born = op->born};

	ask_change(call, &get, 1, put_resource, agent_failed);
}

/* Something else of the agent changed between: look again, and see whether it is still the one. */
static void resource_not_put(struct call *call, int status, size_t failed,
                             const struct slime_error *err)
{
	if (status == -ESTALE)
		look_at_agent(call);
	else
		agent_failed(call, status, failed, err);
}

static void put_resource(struct call *call, const struct store_res *res)
{
	struct store_op op = *(const struct store_op *)call_data(call);
	const struct store_row *row = res->row;
	json_t *value = json_text_parse(row->value, row->value_len, 0, NULL);

	(void)json_object_set(value, "resource", json_object_get(call_body(call), "resource"));
	op.value = call_dump(call, value);
	if (!op.value)
		return;
	op.expect = (int64_t)row->revision;
	op.kind = row->kind;
	op.owner = row->owner;
	op.ttl_ms = row->ttl_ms;
	ask(call, &op, 1, agent_changed, resource_not_put);
}

void v1_put_resource(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key key =
	    agent_key(field_scope(&f, RIGHT_REGISTER), part_name(&f, "alias"));
	uint64_t incarnation = field_incarnation(&f);
	struct store_op *op;

	(void)field_object(&f, "resource");
	if (!fields_end(&f))
		return;
	op = call_alloc(call, 1, sizeof(*op));
	if (!op)
		return;
	*op = (struct store_op){.verb = STORE_PUT, .key = key, .born = incarnation};
	call_set_data(call, op);
	look_at_agent(call);
}

void v1_delete_agent(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_op op = {
	    .verb = STORE_DEL,
	    .key = agent_key(field_scope(&f, RIGHT_REGISTER), part_name(&f, "alias")),
	    .born = query_incarnation(&f),
	};

	if (fields_end(&f))
		ask_change(call, &op, 1, agent_changed, agent_failed);
}
