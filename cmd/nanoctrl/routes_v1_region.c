/* SPDX-License-Identifier: BSD-3-Clause */
/* routes_v1_region.c - memory regions of an agent, many in one request. */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "ask.h"
#include "fields.h"
#include "json_text.h"
#include "page.h"
#include "region.h"
#include "routes.h"

enum { REGIONS_MAX = 4096 };

/* OPS: the agent, the puts, the deletions. */
struct regions {
	size_t n_put, n;
	struct store_key agent;
	struct store_key *keys; /* of what is put */
	struct store_op *ops;
};

static void regions_changed(struct call *call, const struct store_res *res)
{
	const struct regions *r = call_data(call);
	uint64_t revision = r->n > 1 ? res[r->n - 1].number : store_revision_now();

	call_reply_json(call, 200, json_pack("{s:I}", "revision", (json_int_t)revision));
}

static void change_regions(struct call *call, const struct store_res *res)
{
	const struct regions *r = call_data(call);

	(void)res;
	ask_change(call, r->ops, r->n, regions_changed, agent_failed);
}

static bool is_base64(const char *text)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strspn(text, alphabet);
	size_t pad = strspn(text + n, "=");

	return pad <= 2 && !text[n + pad] && (n + pad) % 4 == 0;
}

static void check_region(struct fields *f, size_t i, json_t *region)
{
	struct fields in = *f;
	const char *desc;

	in.body = region;
	if (!json_is_object(region))
		fields_fault(&in, 422, "EINVAL", "it must be an object");
	(void)field_name(&in, "name");
	(void)field_int_or(&in, "length", 0, INT64_MAX, 0);
	desc = field_text_or(&in, "desc", NULL);
	if (desc && !is_base64(desc))
		fields_fault(&in, 422, "EINVAL", "'desc' is not base64");
	if (in.status)
		fields_fault(f, in.status, in.code, "element %zu of 'put': %.180s", i, in.why);
}

static void check_regions(struct fields *f, const json_t *put, const json_t *delete)
{
	for (size_t i = 0; i < json_array_size(put) && !f->status; i++)
		check_region(f, i, json_array_get(put, i));
	field_check_names(f, "delete", delete);
	if (json_array_size(put) + json_array_size(delete) > REGIONS_MAX)
		fields_fault(f, 422, "EINVAL",
		             "'put' and 'delete' have more than %d elements together", REGIONS_MAX);
}

static bool add_put(struct call *call, struct regions *r, json_t *region)
{
	const char *name = json_string_value(json_object_get(region, "name"));
	const struct store_key key = {STORE_REGION, r->agent.scope, r->agent.id, name};

	r->keys[r->n_put++] = key;
	r->ops[r->n] = (struct store_op){.verb = STORE_PUT,
	                                 .key = key,
	                                 .kind = "",
	                                 .value = call_dump(call, json_incref(region)),
	                                 .owner = call_principal(call),
	                                 .parent = &r->agent};
	return r->ops[r->n++].value;
}

void v1_post_regions(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key agent =
	    agent_key(field_scope(&f, RIGHT_REGISTER), part_name(&f, "alias"));
	uint64_t incarnation = field_incarnation(&f);
	const json_t *put = field_list_or_null(&f, "put", REGIONS_MAX);
	const json_t *delete = field_list_or_null(&f, "delete", REGIONS_MAX);
	size_t n = json_array_size(put) + json_array_size(delete);
	struct regions *r;

	check_regions(&f, put, delete);
	if (!fields_end(&f))
		return;
	r = call_alloc(call, 1, sizeof(*r));
	if (!r)
		return;
	r->agent = agent;
	r->ops = call_alloc(call, n + 1, sizeof(*r->ops));
	if (!r->ops)
		return;
	r->keys = call_alloc(call, n, sizeof(*r->keys));
	if (!r->keys)
		return;
	r->ops[r->n++] = (struct store_op){.verb = STORE_GET, .key = agent, .born = incarnation};
	for (size_t i = 0; i < json_array_size(put); i++)
		if (!add_put(call, r, json_array_get(put, i)))
			return;
	for (size_t i = 0; i < json_array_size(delete); i++)
		r->ops[r->n++] =
		    (struct store_op){.verb = STORE_DEL,
		                      .key = {STORE_REGION, agent.scope, agent.id,
		                              json_string_value(json_array_get(delete, i))}};
	call_set_data(call, r);
	ask_room(call, r->keys, r->n_put, change_regions);
}

json_t *region_json(const struct store_row *row)
{
	json_t *region = json_text_parse(row->value, row->value_len, 0, NULL);

	(void)json_object_set_new(region, "name", json_string(row->key.id));
	(void)json_object_set_new(region, "revision", json_integer((json_int_t)row->revision));
	return region;
}

static void regions_known(struct call *call, const struct store_res *res)
{
	json_t *answer = page_json(call, &res[1], "regions", region_json);

	(void)json_object_set_new(answer, "incarnation",
	                          json_integer((json_int_t)res[0].row->born));
	call_reply_json(call, 200, answer);
}

void v1_list_regions(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key agent =
	    agent_key(field_scope(&f, RIGHT_READ), part_name(&f, "alias"));
	const struct store_op ops[] = {
	    {.verb = STORE_GET, .key = agent, .expect = STORE_PRESENT},
	    page_op(&f, STORE_REGION, agent.scope, agent.id),
	};

	if (fields_end(&f))
		ask(call, ops, 2, regions_known, agent_failed);
}

static void region_known(struct call *call, const struct store_res *res)
{
	if (!res[1].found) {
		call_reply_error(call, 404, "ENOENT", "the agent has no region of this name");
		return;
	}
	call_reply_json(call, 200,
	                json_pack("{s:o,s:I,s:I}", "region", region_json(res[1].row), "incarnation",
	                          (json_int_t)res[0].row->born, "revision",
	                          (json_int_t)res[2].number));
}

void v1_get_region(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key agent =
	    agent_key(field_scope(&f, RIGHT_READ), part_name(&f, "alias"));
	const struct store_op ops[] = {
	    {.verb = STORE_GET, .key = agent, .expect = STORE_PRESENT},
	    {.verb = STORE_GET,
	     .key = {STORE_REGION, agent.scope, agent.id, part_name(&f, "name")}},
	    revision_op(agent.scope),
	};

	if (fields_end(&f))
		ask(call, ops, 3, region_known, agent_failed);
}
