/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/publish.c - names for regions of ours, here and at the control plane. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "base/error.h"

enum { PUBLISH_MAX = 4096 };

/* What a publish or a withdrawal takes to the control plane. */
struct batch {
	json_t *put, *gone;
};

slime_mr *sl_published_find_locked(slime_agent *agent, const char *name)
{
	struct sl_published *p;

	LIST_FOREACH(p, &agent->published[sl_bucket_of(name)], entry)
	{
		if (strcmp(p->name, name) == 0)
			return p->mr;
	}
	return NULL;
}

static void published_free(struct sl_published *p)
{
	LIST_REMOVE(p, entry);
	free(p->name);
	free(p);
}

static void forget_locked(slime_agent *agent, const char *name)
{
	struct sl_published *p;

	LIST_FOREACH(p, &agent->published[sl_bucket_of(name)], entry)
	{
		if (strcmp(p->name, name) == 0) {
			published_free(p);
			return;
		}
	}
}

static int remember_locked(slime_agent *agent, const char *name, slime_mr *mr)
{
	struct sl_published *p = calloc(1, sizeof(*p));

	if (p)
		p->name = strdup(name);
	if (!p || !p->name) {
		free(p);
		return -ENOMEM;
	}
	p->mr = mr;
	LIST_INSERT_HEAD(&agent->published[sl_bucket_of(name)], p, entry);
	return 0;
}

/* The record of MR as NAME in this life of the agent; NULL and a sentence. */
static json_t *record_of(const slime_agent *agent, const char *name, slime_mr *mr,
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
	return record;
}

json_t *sl_publish_all(slime_agent *agent)
{
	json_t *list = json_array();

	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		struct sl_published *p;

		sl_lock_take(&agent->lock);
		LIST_FOREACH(p, &agent->published[b], entry)
		(void)json_array_append_new(list, record_of(agent, p->name, p->mr, NULL));
		sl_lock_drop(&agent->lock);
	}
	return list;
}

static void on_done(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_job *job = arg;

	sl_job_done(job->state, job, reply->status, &reply->err);
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

static int tell(slime_agent *agent, struct batch *b, struct slime_error *err)
{
	struct sl_job job = {.start = start, .arg = b};
	int rc = b->put && b->gone ? sl_agent_run(agent, &job, err)
	                           : sl_fail(err, -ENOMEM, "no memory to publish");

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
	int rc = agent && (regions || !n) ? check_count(n, err)
	                                  : sl_fail(err, -EINVAL, "no agent or no regions given");

	for (size_t i = 0; !rc && i < n; i++) {
		json_t *record = NULL;

		rc = sl_name_check("the name of a region", regions[i].name, err);
		if (!rc && !regions[i].mr)
			rc = sl_fail(err, -EINVAL, "no region is given for '%.100s'",
			             regions[i].name);
		if (!rc)
			record = record_of(agent, regions[i].name, regions[i].mr, err);
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
	sl_lock_take(&agent->lock);
	for (size_t i = 0; i < n && !rc; i++) {
		forget_locked(agent, regions[i].name);
		rc = remember_locked(agent, regions[i].name, regions[i].mr);
	}
	sl_lock_drop(&agent->lock);
	return rc ? sl_fail(err, rc, "no memory to publish") : 0;
}

int slime_agent_withdraw(slime_agent *agent, const char *const *names, size_t n,
                         struct slime_error *err)
{
	struct batch b = {json_array(), json_array()};
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
	rc = tell(agent, &b, err);
	if (rc)
		return rc;
	sl_lock_take(&agent->lock);
	for (size_t i = 0; i < n; i++)
		forget_locked(agent, names[i]);
	sl_lock_drop(&agent->lock);
	return 0;
}

void sl_publish_free(slime_agent *agent)
{
	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		while (!LIST_EMPTY(&agent->published[b]))
			published_free(LIST_FIRST(&agent->published[b]));
	}
}
