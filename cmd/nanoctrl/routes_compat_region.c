/* SPDX-License-Identifier: BSD-3-Clause */
/* routes_compat_region.c - memory regions as agents of the reference know them: four integers. */
#include <errno.h>
#include <stdint.h>

#include "agent.h"
#include "ask.h"
#include "fields.h"
#include "json_text.h"
#include "routes.h"

struct region_put {
	struct store_key agent;
	struct store_op op;
};

static void region_put(struct call *call, const struct store_res *res)
{
	(void)res;
	call_reply_json(call, 200, json_pack("{s:s}", "status", "ok"));
}

/* The reference lets a region be there before its agent: then it is nobody's child. */
static void region_not_put(struct call *call, int status, size_t failed,
                           const struct slime_error *err)
{
	struct region_put *put = call_data(call);

	if (status != -ENOENT || failed != 1) {
		call_reply_errno(call, status, err->text);
		return;
	}
	put->op.parent = NULL;
	ask(call, &put->op, 1, region_put, NULL);
}

static void put_region(struct call *call, const struct store_res *res)
{
	struct region_put *put = call_data(call);
	const struct store_op ops[] = {{.verb = STORE_GET, .key = put->agent}, put->op};

	(void)res;
	ask_change(call, ops, 2, region_put, region_not_put);
}

void compat_register_mr(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const char *scope = field_scope(&f, RIGHT_REGISTER);
	const char *agent = field_name(&f, "agent_name"), *name = field_name(&f, "mr_name");
	int64_t addr = field_int(&f, "addr", 0, INT64_MAX);
	int64_t length = field_int(&f, "length", 0, INT64_MAX);
	int64_t rkey = field_int(&f, "rkey", 0, UINT32_MAX);
	int64_t lkey = field_int_or(&f, "lkey", 0, UINT32_MAX, 0);
	struct region_put *put;

	if (!fields_end(&f))
		return;
	put = call_alloc(call, 1, sizeof(*put));
	if (!put)
		return;
	put->agent = agent_key(scope, agent);
	put->op = (struct store_op){.verb = STORE_PUT,
	                            .key = {STORE_REGION, scope, agent, name},
	                            .kind = "",
	                            .owner = call_principal(call),
	                            .parent = &put->agent};
	put->op.value = call_dump(call, json_pack("{s:I,s:I,s:I,s:I}", "addr", (json_int_t)addr,
	                                          "length", (json_int_t)length, "rkey",
	                                          (json_int_t)rkey, "lkey", (json_int_t)lkey));
	if (!put->op.value)
		return;
	call_set_data(call, put);
	ask_room(call, &put->op.key, 1, put_region);
}

static void region_known(struct call *call, const struct store_res *res)
{
	static const char *const names[] = {"addr", "length", "rkey", "lkey"};
	json_t *value =
	    res->found ? json_text_parse(res->row->value, res->row->value_len, 0, NULL) : NULL;
	json_t *info = json_object();

	for (size_t i = 0; i < 4; i++) {
		json_t *number = json_object_get(value, names[i]);

		if (json_is_integer(number))
			(void)json_object_set(info, names[i], number);
	}
	if (json_object_size(info) < 4) {
		json_decref(info);
		info = json_null();
	}
	json_decref(value);
	call_reply_json(call, 200, json_pack("{s:o}", "mr_info", info));
}

void compat_get_mr_info(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const char *scope = field_scope(&f, RIGHT_READ);
	const char *dst = field_name(&f, "dst"), *name = field_name(&f, "mr_name");
	const struct store_op op = {.verb = STORE_GET, .key = {STORE_REGION, scope, dst, name}};

	(void)field_name(&f, "src"); /* who asks: needed, and of no use */
	if (fields_end(&f))
		ask(call, &op, 1, region_known, NULL);
}
