/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * routes_compat_topology.c - which peers an agent shall connect to.
 *
 * The wish is kept, and told to the agent as messages on its stream. A symmetric one is
 * merged into the wish of each target; all of it takes effect at once or not at all,
 * and begins again when a target's wish has changed while we merged.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "ask.h"
#include "fields.h"
#include "json_text.h"
#include "routes.h"

enum { TARGETS_MAX = 4096 };

struct wish {
	struct store_key key; /* the agent's */
	json_t *targets;      /* borrowed from the body */
	bool symmetric;
	const char *value;
	struct store_key *specs; /* the agent's own and, if symmetric, those of the targets */
	size_t n_specs;
	unsigned tries;
};

enum { TRIES_MAX = 16 };

static void look_at_targets(struct call *call);

static void wished(struct call *call, const struct store_res *res)
{
	(void)res;
	call_reply_json(call, 200, json_pack("{s:s}", "status", "ok"));
}

static void not_wished(struct call *call, int status, size_t failed, const struct slime_error *err)
{
	struct wish *w = call_data(call);

	(void)failed;
	if (w->tries++ < TRIES_MAX && (status == -ESTALE || status == -EEXIST || status == -ENOENT))
		look_at_targets(call);
	else
		call_reply_errno(call, status, err->text);
}

static struct store_op stream_op(struct call *call, const char *scope, const char *to,
                                 const char *peer)
{
	int64_t now = unix_time_ms();
	char seconds[32];

	(void)snprintf(seconds, sizeof(seconds), "%lld.%03d", (long long)(now / 1000),
	               (int)(now % 1000));
	return (struct store_op){
	    .verb = STORE_APPEND,
	    .key = {STORE_STREAM, scope, "", to},
	    .value = call_dump(call, json_pack("{s:s,s:s,s:s}", "type", "connect_peer", "peer",
	                                       peer, "timestamp", seconds)),
	    .limit = INBOX_MESSAGES,
	};
}

static bool is_in(const json_t *names, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach(names, i, item)
	{
		const char *text = json_text_whole(item);

		if (text && !strcmp(text, name))
			return true;
	}
	return false;
}

/* The wish of a target, with AGENT in it. What else the reference forgets here, we do. */
static const char *merged(struct call *call, const struct store_res *spec, const char *agent)
{
	json_t *old =
	    spec->found ? json_text_parse(spec->row->value, spec->row->value_len, 0, NULL) : NULL;
	json_t *peers = json_object_get(old, "target_peers");

	peers = json_is_array(peers) ? json_incref(peers) : json_array();
	json_decref(old);
	if (!is_in(peers, agent))
		(void)json_array_append_new(peers, json_string(agent));
	return call_dump(
	    call, json_pack("{s:o,s:n,s:b}", "target_peers", peers, "min_bw", "symmetric", 0));
}

static struct store_op spec_op(struct call *call, const struct store_key *key, const char *value)
{
	return (struct store_op){.verb = STORE_PUT,
	                         .key = *key,
	                         .kind = "",
	                         .value = value,
	                         .owner = call_principal(call)};
}

/* The first operation is there for ask_change(): who may change the agent may wish for it. */
static void wish(struct call *call, const struct store_res *specs)
{
	const struct wish *w = call_data(call);
	size_t n = 0, n_targets = json_array_size(w->targets);
	struct store_op *ops = call_alloc(call, 2 + n_targets + 2 * w->n_specs, sizeof(*ops));

	if (!ops)
		return;
	ops[n++] = (struct store_op){.verb = STORE_GET, .key = w->key};
	ops[n++] = spec_op(call, &w->specs[0], w->value);
	for (size_t i = 0; i < n_targets; i++)
		ops[n++] = stream_op(call, w->key.scope, w->key.id,
		                     json_string_value(json_array_get(w->targets, i)));
	for (size_t i = 1; i < w->n_specs; i++) {
		const struct store_res *spec = &specs[i - 1];

		ops[n] = spec_op(call, &w->specs[i], merged(call, spec, w->key.id));
		ops[n++].expect = spec->found ? (int64_t)spec->row->revision : STORE_ABSENT;
		ops[n++] = stream_op(call, w->key.scope, w->specs[i].id, w->key.id);
	}
	for (size_t i = 1; i < n; i++)
		if (!ops[i].value)
			return; /* no memory, and answered */
	ask_change(call, ops, n, wished, not_wished);
}

static void look_at_targets(struct call *call)
{
	const struct wish *w = call_data(call);
	struct store_op *ops;

	if (w->n_specs == 1) {
		wish(call, NULL);
		return;
	}
	ops = call_alloc(call, w->n_specs - 1, sizeof(*ops));
	if (!ops)
		return;
	for (size_t i = 1; i < w->n_specs; i++)
		ops[i - 1] = (struct store_op){.verb = STORE_GET, .key = w->specs[i]};
	ask(call, ops, w->n_specs - 1, wish, NULL);
}

static void has_room(struct call *call, const struct store_res *res)
{
	(void)res;
	look_at_targets(call);
}

/* Each target once, and the agent itself not among them. */
static bool choose_specs(struct call *call, struct wish *w)
{
	size_t n_targets = w->symmetric ? json_array_size(w->targets) : 0;
	json_t *seen = json_object();

	w->specs = call_alloc(call, 1 + n_targets, sizeof(*w->specs));
	if (w->specs)
		w->specs[w->n_specs++] =
		    (struct store_key){STORE_SPEC, w->key.scope, "", w->key.id};
	(void)json_object_set_new(seen, w->key.id, json_null());
	for (size_t i = 0; w->specs && i < n_targets; i++) {
		const char *target = json_string_value(json_array_get(w->targets, i));

		if (json_object_get(seen, target))
			continue;
		(void)json_object_set_new(seen, target, json_null());
		w->specs[w->n_specs++] = (struct store_key){STORE_SPEC, w->key.scope, "", target};
	}
	json_decref(seen);
	return w->specs;
}

/* Nobody does anything with it: it is kept as it came, "100Gbps" or 1e11. */
static json_t *bandwidth_or_null(struct fields *f, const char *name)
{
	json_t *value = field_any_or_null(f, name);

	if (value && !json_is_number(value) && !json_is_string(value))
		fields_fault(f, 422, "EINVAL", "'%s' must be a string or a number", name);
	return value;
}

void compat_desired_topology(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_COMPAT);
	const char *scope = field_scope(&f, RIGHT_REGISTER);
	const char *alias = part_name(&f, "alias");
	json_t *targets = field_list(&f, "target_peers", TARGETS_MAX);
	json_t *min_bw = bandwidth_or_null(&f, "min_bw");
	bool symmetric = field_bool_or(&f, "symmetric", false);
	struct wish *w;

	field_check_names(&f, "target_peers", targets);
	if (!fields_end(&f))
		return;
	w = call_alloc(call, 1, sizeof(*w));
	if (!w)
		return;
	*w = (struct wish){
	    .key = agent_key(scope, alias), .targets = targets, .symmetric = symmetric};
	w->value = call_dump(call, json_pack("{s:O,s:O?,s:b}", "target_peers", targets, "min_bw",
	                                     min_bw, "symmetric", symmetric));
	if (!w->value || !choose_specs(call, w))
		return;
	call_set_data(call, w);
	ask_room(call, w->specs, w->n_specs, has_room);
}
