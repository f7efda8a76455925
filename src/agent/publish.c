/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/publish.c - names for regions of ours, here and at the control plane. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "base/error.h"

enum { PUBLISH_MAX = 4096 };

/* What a publish or a withdrawal takes to the control plane. */
struct batch {
	json_t *put, *gone;
};

static struct sl_published *find_locked(slime_agent *agent, const char *name)
{
	struct sl_published *p;

	LIST_FOREACH(p, &agent->published[sl_bucket_of(name)], entry)
	{
		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

slime_mr *sl_published_find_locked(slime_agent *agent, const char *name)
{
	struct sl_published *p = find_locked(agent, name);

	return p ? p->mr : NULL;
}

static void published_free(struct sl_published *p)
{
	LIST_REMOVE(p, entry);
	free(p->note);
	free(p->name);
	free(p);
}

/* Was it there? */
static bool forget_locked(slime_agent *agent, const char *name)
{
	struct sl_published *p = find_locked(agent, name);

	if (p)
		published_free(p);
	return p != NULL;
}

static int remember_locked(slime_agent *agent, const struct slime_named_mr *named)
{
	struct sl_published *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->mr = named->mr;
	p->name = strdup(named->name);
	p->note = named->note ? strdup(named->note) : NULL;
	LIST_INSERT_HEAD(&agent->published[sl_bucket_of(named->name)], p, entry);
	if (p->name && (p->note || !named->note))
		return 0;
	published_free(p);
	return -ENOMEM;
}

/* OBJECT and what NOTE says besides. */
static int add_note(json_t *object, const char *note, struct slime_error *err)
{
	json_t *more = json_loads(note, 0, NULL);
	int rc = json_is_object(more) ? json_object_update_missing(object, more) : -1;

	json_decref(more);
	return rc ? sl_fail(err, -EINVAL, "the note of a region is no JSON object: '%.60s'", note)
	          : 0;
}

/* The record of MR as NAME in this life of the agent; NULL and a sentence. */
static json_t *record_of(const slime_agent *agent, const char *name, slime_mr *mr, const char *note,
                         struct slime_error *err)
{
	struct slime_desc desc;
	json_t *record;
	char *text;

	if (slime_mr_export(mr, &desc, err))
		return NULL;
	text = sl_desc_text(&desc);
	record = text ? json_pack("{ss, ss, ss}", "name", name, "life", agent->life, "desc", text)
	              : NULL;
	free(text);
	if (!record)
		(void)sl_fail(err, -ENOMEM, "no memory to publish '%.100s'", name);
	if (record && note && add_note(record, note, err)) {
		json_decref(record);
		return NULL;
	}
	return record;
}

json_t *sl_publish_all(slime_agent *agent)
{
	json_t *list = json_array();

	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		struct sl_published *p;

		sl_lock_take(&agent->lock);
		LIST_FOREACH(p, &agent->published[b], entry)
		(void)json_array_append_new(list, record_of(agent, p->name, p->mr, p->note, NULL));
		sl_lock_drop(&agent->lock);
	}
	return list;
}

json_t *sl_publish_record(slime_agent *agent, const char *name)
{
	json_t *record = NULL;
	struct sl_published *p;

	sl_lock_take(&agent->lock); /* until it is withdrawn its region may be looked at */
	p = find_locked(agent, name);
	if (p)
		record = record_of(agent, name, p->mr, p->note, NULL);
	sl_lock_drop(&agent->lock);
	return record;
}

static bool is_forgotten(int status)
{
	return status == -ENOENT || status == -ESTALE;
}

static void on_done(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_job *job = arg;
	slime_agent *agent = job->state;

	if (is_forgotten(reply->status))
		sl_register_again(agent);
	sl_job_done(agent, job, reply->status, &reply->err);
}

static void start(slime_agent *agent, struct sl_job *job)
{
	struct batch *b = job->arg;
	char *path = sl_agent_path(agent, agent->alias, "regions", NULL);
	struct sl_ctrl_call *call = NULL;
	struct slime_error err;
	json_t *body =
	    json_pack("{sI, sO, sO}", "incarnation", (json_int_t)atomic_load(&agent->incarnation),
	              "put", b->put, "delete", b->gone);

	job->state = agent;
	if (path && body)
		call = sl_ctrl_call(agent->ctrl, "POST", path, json_incref(body),
		                    (int)agent->timeout_ms, on_done, job);
	json_decref(body);
	free(path);
	if (!call)
		sl_job_done(agent, job, sl_fail(&err, -ENOMEM, "no memory to publish"), &err);
}

/* A control plane that was away may have forgotten us: then once more, when it knows us again. */
static int tell_ctrl(slime_agent *agent, struct batch *b, struct slime_error *err)
{
	int64_t until_ns = sl_clock_ns() + agent->timeout_ms * SL_NS_PER_MS;
	struct sl_job job = {.start = start, .arg = b};
	uint64_t times;
	int rc;

	do {
		times = atomic_load(&agent->registered);
		rc = sl_agent_run(agent, &job, err);
	} while (is_forgotten(rc) && sl_register_wait(agent, times, until_ns));
	return rc;
}

static int tell(slime_agent *agent, struct batch *b, struct slime_error *err)
{
	int rc = b->put && b->gone ? 0 : sl_fail(err, -ENOMEM, "no memory to publish");

	if (!rc && agent->ctrl)
		rc = tell_ctrl(agent, b, err);
	json_decref(b->put);
	json_decref(b->gone);
	return rc;
}

static int check_count(size_t n, struct slime_error *err)
{
	if (n > PUBLISH_MAX)
		return sl_fail(err, -EINVAL, "%zu regions in one call, at most %d can be", n,
		               PUBLISH_MAX);
	return 0;
}

int slime_agent_publish(slime_agent *agent, const struct slime_named_mr *regions, size_t n,
                        struct slime_error *err)
{
	struct batch b = {json_array(), json_array()};
	json_t *moved;
	int rc = agent && (regions || !n) ? check_count(n, err)
	                                  : sl_fail(err, -EINVAL, "no agent or no regions given");

	for (size_t i = 0; !rc && i < n; i++) {
		json_t *record = NULL;

		rc = sl_name_check("the name of a region", regions[i].name, err);
		if (!rc && !regions[i].mr)
			rc = sl_fail(err, -EINVAL, "no region is given for '%.100s'",
			             regions[i].name);
		if (!rc)
			record =
			    record_of(agent, regions[i].name, regions[i].mr, regions[i].note, err);
		if (!rc && (!record || json_array_append_new(b.put, record)))
			rc = err && err->code < 0 ? err->code : -ENOMEM;
	}
	if (rc) {
		json_decref(b.put);
		json_decref(b.gone);
		return rc;
	}
	rc = tell(agent, &b, err);
	if (rc)
		return rc;
	moved = json_array();
	sl_lock_take(&agent->lock);
	for (size_t i = 0; i < n && !rc; i++) {
		if (forget_locked(agent, regions[i].name))
			(void)json_array_append_new(moved, json_string(regions[i].name));
		rc = remember_locked(agent, &regions[i]);
	}
	sl_lock_drop(&agent->lock);
	sl_friends_tell(agent, moved);
	json_decref(moved);
	return rc ? sl_fail(err, rc, "no memory to publish") : 0;
}

int slime_agent_withdraw(slime_agent *agent, const char *const *names, size_t n,
                         struct slime_error *err)
{
	struct batch b = {json_array(), json_array()};
	json_t *moved;
	int rc = agent && (names || !n) ? check_count(n, err)
	                                : sl_fail(err, -EINVAL, "no agent or no names given");

	for (size_t i = 0; !rc && i < n; i++) {
		rc = sl_name_check("the name of a region", names[i], err);
		if (rc)
			break;
		sl_lock_take(&agent->lock);
		if (!sl_published_find_locked(agent, names[i]))
			rc = -ENOENT;
		sl_lock_drop(&agent->lock);
		if (rc)
			rc = sl_fail(err, rc, "there is no published region '%.100s'", names[i]);
		else if (json_array_append_new(b.gone, json_string(names[i])))
			rc = sl_fail(err, -EINVAL, "the name of a region is not UTF-8");
	}
	if (rc) {
		json_decref(b.put);
		json_decref(b.gone);
		return rc;
	}
	moved = json_incref(b.gone);
	rc = tell(agent, &b, err);
	if (!rc) {
		sl_lock_take(&agent->lock);
		for (size_t i = 0; i < n; i++)
			(void)forget_locked(agent, names[i]);
		sl_lock_drop(&agent->lock);
		sl_friends_tell(agent, moved);
	}
	json_decref(moved);
	return rc;
}

void sl_publish_free(slime_agent *agent)
{
	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		while (!LIST_EMPTY(&agent->published[b]))
			published_free(LIST_FIRST(&agent->published[b]));
	}
}
