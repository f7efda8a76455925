/* SPDX-License-Identifier: BSD-3-Clause */
/* routes_v1_obs.c - what is to be seen of agents: their snapshots, and what they shall connect to.
 */

#include "agent.h"
#include "ask.h"
#include "fields.h"
#include "json_text.h"
#include "page.h"
#include "routes.h"

static void obs_put(struct call *call, const struct store_res *res)
{
	(void)res;
	call_reply_json(call, 200, json_pack("{s:s}", "status", "ok"));
}

void v1_put_obs(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key agent =
	    agent_key(field_scope(&f, RIGHT_REGISTER), part_name(&f, "alias"));
	struct store_op ops[2] = {{.verb = STORE_GET, .key = agent, .born = field_incarnation(&f)}};
	int64_t ttl_ms = field_int_or(&f, "ttl_ms", TTL_MIN_MS, TTL_MAX_MS, OBS_TTL_MS);
	json_t *snapshot = field_snapshot_or_null(&f, "snapshot");

	if (!snapshot)
		fields_fault(&f, 422, "EINVAL", "'snapshot' is missing");
	if (!fields_end(&f))
		return;
	ops[1] = obs_op(call, &agent, snapshot, ttl_ms);
	if (ops[1].value)
		ask_change(call, ops, 2, obs_put, agent_failed);
}

static json_t *value_json(const struct store_row *row)
{
	return json_text_parse(row->value, row->value_len, 0, NULL);
}

static void obs_known(struct call *call, const struct store_res *res)
{
	call_reply_json(call, 200, page_json(call, res, "snapshots", value_json));
}

void v1_list_obs(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_op op = page_op(&f, STORE_OBS, field_scope(&f, RIGHT_READ), "");

	if (fields_end(&f))
		ask(call, &op, 1, obs_known, NULL);
}

static void topology_known(struct call *call, const struct store_res *res)
{
	if (!res[0].found)
		call_reply_error(call, 404, "ENOENT", "nothing was wished for this agent");
	else
		call_reply_json(call, 200,
		                json_pack("{s:o,s:I}", "topology", value_json(res[0].row),
		                          "revision", (json_int_t)res[1].number));
}

void v1_get_topology(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key key = {STORE_SPEC, field_scope(&f, RIGHT_READ), "",
	                              part_name(&f, "alias")};
	const struct store_op ops[] = {{.verb = STORE_GET, .key = key}, revision_op(key.scope)};

	if (fields_end(&f))
		ask(call, ops, 2, topology_known, NULL);
}
