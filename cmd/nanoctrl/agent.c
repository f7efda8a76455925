/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "json_text.h"

/* A registration under way: the call's data. */
struct making {
	struct agent_new new;
	struct store_key key;
	const char *value;
	unsigned tries;
};

/* A holder that comes and goes each time we look is none. */
enum { TRIES_MAX = 100 };

struct store_key agent_key(const char *scope, const char *alias)
{
	return (struct store_key){STORE_AGENT, scope, "", alias};
}

static json_t *or_null(json_t *value)
{
	return value ? json_incref(value) : json_null();
}

json_t *agent_json(const struct store_row *row)
{
	json_t *value = json_text_parse(row->value, row->value_len, 0, NULL);
	json_t *out = json_pack(
	    "{s:s,s:I,s:o,s:o,s:o,s:I,s:o,s:I}", "alias", row->key.id, "incarnation",
	    (json_int_t)row->born, "address", or_null(json_object_get(value, "addr")), "process",
	    or_null(json_object_get(value, "process")), "resource",
	    or_null(json_object_get(value, "resource")), "ttl_ms", (json_int_t)row->ttl_ms,
	    "registered_at_ms", or_null(json_object_get(value, "registered_at_ms")), "revision",
	    (json_int_t)row->revision);

	json_decref(value);
	return out;
}

void agent_failed(struct call *call, int status, size_t failed, const struct slime_error *err)
{
	(void)failed;
	if (status == -ENOENT)
		call_reply_error(call, 404, "ENOENT", "there is no such agent");
	else if (status == -ESTALE)
		call_reply_error(
		    call, 410, "ESTALE",
		    "the agent has another incarnation by now: it was registered anew");
	else
		call_reply_errno(call, status, err->text);
}

uint64_t field_incarnation(struct fields *f)
{
	return (uint64_t)field_int(f, "incarnation", 1, INT64_MAX);
}

uint64_t query_incarnation(struct fields *f)
{
	if (!call_query(f->call, "incarnation"))
		fields_fault(f, 400, "EINVAL", "the query must have 'incarnation'");
	return (uint64_t)query_int_or(f, "incarnation", 1, INT64_MAX, 1);
}

json_t *field_snapshot_or_null(struct fields *f, const char *name)
{
	json_t *snapshot = field_object_or_null(f, name);
	int64_t version = 0;

	(void)json_text_integer(json_object_get(snapshot, "schema_version"), &version);
	if (snapshot && version != 1)
		fields_fault(f, 422, "EINVAL", "'%s' must have \"schema_version\": 1", name);
	return snapshot;
}

/* Quietly: nobody watches snapshots, and there are many. */
struct store_op obs_op(struct call *call, const struct store_key *agent, json_t *snapshot,
                       int64_t ttl_ms)
{
	return (struct store_op){
	    .verb = STORE_PUT,
	    .key = {STORE_OBS, agent->scope, "", agent->id},
	    .kind = "",
	    .value = call_dump(call, json_incref(snapshot)),
	    .owner = call_principal(call),
	    .ttl_ms = ttl_ms,
	    .quiet = true,
	};
}

static void make(struct call *call);

static void made(struct call *call, const struct store_res *res)
{
	const struct making *m = call_data(call);

	/* The last operation is the PUT, alone or after the DEL of what it replaces. */
	m->new.then(call, m->key.id,
	            &(struct agent_made){.revision = res[m->new.replace ? 1 : 0].number});
}

static void next_number(struct call *call);

static void holder_known(struct call *call, const struct store_res *res)
{
	struct making *m = call_data(call);

	if (res->found) {
		m->new.then(call, m->key.id, &(struct agent_made){.holder = res->row});
		return;
	}
	m->new.replace = 0; /* gone in the meantime */
	make(call);
}

static void look_at_holder(struct call *call)
{
	const struct making *m = call_data(call);
	const struct store_op op = {.verb = STORE_GET, .key = m->key};

	ask(call, &op, 1, holder_known, NULL);
}

static void not_made(struct call *call, int status, size_t failed, const struct slime_error *err)
{
	struct making *m = call_data(call);

	(void)failed;
	if (m->tries++ == TRIES_MAX ||
	    (status != -EEXIST && status != -ENOENT && status != -ESTALE))
		call_reply_errno(call, status, err->text);
	else if (!m->new.alias)
		next_number(call); /* somebody calls himself so */
	else
		look_at_holder(call);
}

static struct store_op put_op(struct call *call)
{
	const struct making *m = call_data(call);

	return (struct store_op){.verb = STORE_PUT,
	                         .key = m->key,
	                         .expect = STORE_ABSENT,
	                         .value = m->value,
	                         .kind = "",
	                         .owner = call_principal(call),
	                         .ttl_ms = m->new.ttl_ms};
}

/* Out with the old one, with its regions, its leases and its mailbox, and in with the new. */
static void make_replacing(struct call *call)
{
	const struct making *m = call_data(call);
	const struct store_op ops[] = {
	    {.verb = STORE_DEL, .key = m->key, .born = m->new.replace},
	    put_op(call),
	};

	ask_change(call, ops, 2, made, not_made);
}

static void make_with_room(struct call *call, const struct store_res *res)
{
	const struct store_op op = put_op(call);

	(void)res;
	ask(call, &op, 1, made, not_made);
}

static void make(struct call *call)
{
	const struct making *m = call_data(call);

	if (m->new.replace)
		make_replacing(call);
	else
		ask_room(call, &m->key, 1, make_with_room);
}

static void number_known(struct call *call, const struct store_res *res)
{
	struct making *m = call_data(call);
	size_t len = strlen(m->new.prefix) + 20;
	char *alias = call_alloc(call, 1, len);

	if (!alias)
		return;
	(void)snprintf(alias, len, "%s-%" PRIx64, m->new.prefix, res->number);
	m->key.id = alias;
	make(call);
}

static void next_number(struct call *call)
{
	const struct making *m = call_data(call);
	const struct store_op op = {.verb = STORE_NEXT,
	                            .key = {STORE_AGENT, m->new.scope, "", "agent_name_counter"}};

	ask(call, &op, 1, number_known, NULL);
}

static bool set_times(json_t *value)
{
	int64_t now = unix_time_ms();

	return !json_object_set_new(value, "updated_at", json_integer(now / 1000)) &&
	       !json_object_set_new(value, "registered_at_ms", json_integer(now));
}

void agent_make(struct call *call, const struct agent_new *new)
{
	struct making *m = call_alloc(call, 1, sizeof(*m));

	if (!m) {
		json_decref(new->value);
		return;
	}
	if (!new->value || !set_times(new->value)) {
		json_decref(new->value);
		call_reply_errno(call, -ENOMEM, "no memory");
		return;
	}
	*m = (struct making){.new = *new, .key = agent_key(new->scope, new->alias)};
	m->value = call_dump(call, new->value);
	if (!m->value)
		return;
	call_set_data(call, m);
	if (new->alias)
		make(call);
	else
		next_number(call);
}
