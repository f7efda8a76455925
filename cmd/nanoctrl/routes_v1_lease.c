/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * routes_v1_lease.c - one holder at a time. A lease is a child of its holder's agent, so it ends
 * with that; its fence is the revision that it was born with, so it grows with each holder.
 */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "ask.h"
#include "fields.h"
#include "json_text.h"
#include "lease.h"
#include "page.h"
#include "routes.h"
#include "wait.h"

struct taking {
	struct wait wait; /* first: see wait.h */
	struct store_key agent, lease;
	uint64_t incarnation;
	int64_t ttl_ms, wait_ms;
	const char *value;
	json_t *holder; /* who has it, as last seen */
};

json_t *lease_json(const struct store_row *row)
{
	json_t *value = json_text_parse(row->value, row->value_len, 0, NULL);
	json_t *holder = json_object_get(value, "holder");
	json_t *out = json_pack("{s:s,s:o,s:I,s:I}", "name", row->key.id, "holder",
	                        holder ? json_incref(holder) : json_null(), "fence",
	                        (json_int_t)row->born, "ttl_ms", (json_int_t)row->ttl_ms);

	json_decref(value);
	return out;
}

static void reply_lease(struct call *call, uint64_t fence, int64_t ttl_ms)
{
	struct taking *t = call_data(call);

	wait_end(&t->wait);
	json_decref(t->holder);
	call_reply_json(
	    call, 200,
	    json_pack("{s:I,s:I}", "fence", (json_int_t)fence, "ttl_ms", (json_int_t)ttl_ms));
}

static void held_by_another(struct call *call)
{
	struct taking *t = call_data(call);
	json_t *holder = t->holder ? t->holder : json_null();

	wait_end(&t->wait);
	call_reply_json(call, 409,
	                json_pack("{s:s,s:s,s:s,s:o}", "status", "error", "code", "EEXIST",
	                          "message", "the lease is held by another agent", "holder",
	                          holder));
}

static void fail(struct call *call, int status, size_t failed, const struct slime_error *err)
{
	struct taking *t = call_data(call);

	wait_end(&t->wait);
	json_decref(t->holder);
	agent_failed(call, status, failed, err);
}

static void take(struct call *call);

/* A repetition, because the answer was lost, finds that it holds the lease already. */
static bool is_mine(const struct taking *t, const struct store_row *row)
{
	return !strcmp(row->value, t->value);
}

static void holder_known(struct call *call, const struct store_res *res)
{
	struct taking *t = call_data(call);

	if (!res->found) /* free by now */
		t->wait.again = true;
	else if (is_mine(t, res->row)) {
		reply_lease(call, res->row->born, res->row->ttl_ms);
		return;
	} else {
		json_t *lease = lease_json(res->row);

		json_decref(t->holder);
		t->holder = json_incref(json_object_get(lease, "holder"));
		json_decref(lease);
	}
	wait_more(&t->wait);
}

static void taken(struct call *call, const struct store_res *res)
{
	const struct taking *t = call_data(call);

	reply_lease(call, res[1].number, t->ttl_ms);
}

static void not_taken(struct call *call, int status, size_t failed, const struct slime_error *err)
{
	const struct taking *t = call_data(call);
	const struct store_op op = {.verb = STORE_GET, .key = t->lease};

	if (status == -EEXIST && failed == 1)
		ask(call, &op, 1, holder_known, fail);
	else
		fail(call, status, failed, err);
}

static void take(struct call *call)
{
	const struct taking *t = call_data(call);
	const struct store_op ops[] = {
	    {.verb = STORE_GET, .key = t->agent, .born = t->incarnation},
	    {.verb = STORE_PUT,
	     .key = t->lease,
	     .expect = STORE_ABSENT,
	     .kind = "",
	     .value = t->value,
	     .owner = call_principal(call),
	     .parent = &t->agent,
	     .ttl_ms = t->ttl_ms},
	};

	ask(call, ops, 2, taken, not_taken);
}

static void may_take(struct call *call, const struct store_res *res)
{
	struct taking *t = call_data(call);

	(void)res;
	t->wait.attempt = take;
	t->wait.over = held_by_another;
	if (wait_begin(&t->wait, call, t->wait_ms) ||
	    wait_for(&t->wait, BELL_LEASE, t->lease.scope, t->lease.id)) {
		wait_end(&t->wait);
		call_reply_errno(call, -ENOMEM, "no memory");
		return;
	}
	take(call);
}

static void has_room(struct call *call, const struct store_res *res)
{
	const struct taking *t = call_data(call);
	const struct store_op op = {.verb = STORE_GET, .key = t->agent, .born = t->incarnation};

	(void)res;
	ask_change(call, &op, 1, may_take, agent_failed);
}

void v1_post_lease(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const char *scope = field_scope(&f, RIGHT_REGISTER);
	struct taking taking = {
	    .lease = {STORE_LEASE, scope, "", part_name(&f, "name")},
	    .agent = agent_key(scope, field_name(&f, "holder")),
	    .incarnation = field_incarnation(&f),
	    .ttl_ms = field_int_or(&f, "ttl_ms", TTL_MIN_MS, TTL_MAX_MS, TTL_DEFAULT_MS),
	    .wait_ms = field_int_or(&f, "wait_ms", 0, WAIT_MAX_MS, 0),
	};
	struct taking *t;

	if (!fields_end(&f))
		return;
	t = call_alloc(call, 1, sizeof(*t));
	if (!t)
		return;
	*t = taking;
	t->value = call_dump(call, json_pack("{s:s,s:I}", "holder", t->agent.id, "incarnation",
	                                     (json_int_t)t->incarnation));
	if (!t->value)
		return;
	call_set_data(call, t);
	ask_room(call, &t->lease, 1, has_room);
}

static void lease_failed(struct call *call, int status, size_t failed,
                         const struct slime_error *err)
{
	(void)failed;
	if (status == -ENOENT || status == -ESTALE)
		call_reply_error(call, 410, "ESTALE", "the lease has ended, or has another holder");
	else
		call_reply_errno(call, status, err->text);
}

static void renewed(struct call *call, const struct store_res *res)
{
	call_reply_json(call, 200, json_pack("{s:I}", "ttl_ms", (json_int_t)res[1].row->ttl_ms));
}

void v1_renew_lease(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key key = {STORE_LEASE, field_scope(&f, RIGHT_REGISTER), "",
	                              part_name(&f, "name")};
	const struct store_op ops[] = {
	    {.verb = STORE_TOUCH,
	     .key = key,
	     .born = (uint64_t)field_int(&f, "fence", 1, INT64_MAX)},
	    {.verb = STORE_GET, .key = key},
	};

	if (fields_end(&f))
		ask_change(call, ops, 2, renewed, lease_failed);
}

static void deleted(struct call *call, const struct store_res *res)
{
	call_reply_json(call, 200, json_pack("{s:I}", "revision", (json_int_t)res->number));
}

void v1_delete_lease(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_key key = {STORE_LEASE, field_scope(&f, RIGHT_REGISTER), "",
	                              part_name(&f, "name")};
	const struct store_op op = {.verb = STORE_DEL,
	                            .key = key,
	                            .born = (uint64_t)query_int_or(&f, "fence", 1, INT64_MAX, 1)};

	if (!call_query(call, "fence"))
		fields_fault(&f, 400, "EINVAL", "the query must have 'fence'");
	if (fields_end(&f))
		ask_change(call, &op, 1, deleted, lease_failed);
}

static void leases_known(struct call *call, const struct store_res *res)
{
	call_reply_json(call, 200, page_json(call, res, "leases", lease_json));
}

void v1_list_leases(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const struct store_op op = page_op(&f, STORE_LEASE, field_scope(&f, RIGHT_READ), "");

	if (fields_end(&f))
		ask(call, &op, 1, leases_known, NULL);
}
