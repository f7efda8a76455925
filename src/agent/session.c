/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/session.c - one connection of a link: its endpoint, and the peer's regions on it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "base/error.h"

int sl_session_create(slime_link *link, struct sl_session **out, struct slime_desc *desc,
                      struct slime_error *err)
{
	struct slime_ep_opts opts = {
	    .size = sizeof(opts),
	    .depth = link->depth,
	    .lanes = link->lanes,
	    .transport = link->transport[0] ? link->transport : NULL,
	    .device = link->device[0] ? link->device : NULL,
	};
	struct sl_session *s = calloc(1, sizeof(*s));
	int rc;

	opts.settled = link->agent->settled;
	opts.user_data = ++link->agent->serial;

	if (!s)
		return sl_fail(err, -ENOMEM, "no memory for a connection");
	atomic_store(&s->refs, 1);
	s->serial = opts.user_data;
	rc = slime_ep_create(link->agent->ctx, &opts, &s->ep, err);
	if (!rc)
		rc = slime_ep_export(s->ep, desc, err);
	if (rc) {
		slime_ep_destroy(s->ep);
		free(s);
		return rc;
	}
	*out = s;
	return 0;
}

static void known_free(struct sl_known *k)
{
	LIST_REMOVE(k, entry);
	slime_rmr_release(k->rmr);
	free(k->name);
	free(k->desc);
	free(k);
}

void sl_session_free(struct sl_session *s)
{
	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		while (!LIST_EMPTY(&s->known[b]))
			known_free(LIST_FIRST(&s->known[b]));
	}
	while (!LIST_EMPTY(&s->retired))
		known_free(LIST_FIRST(&s->retired));
	slime_ep_destroy(s->ep);
	free(s);
}

void sl_session_ref(struct sl_session *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

/* Destroying an endpoint may take a while, so the last one leaves it to the loop. */
void sl_session_unref(slime_agent *agent, struct sl_session *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	s->buried_ns = sl_clock_ns();
	sl_lock_take(&agent->lock);
	TAILQ_INSERT_TAIL(&agent->graves, s, entry);
	sl_lock_drop(&agent->lock);
	sl_agent_kick(agent);
}

struct sl_known *sl_session_find_locked(struct sl_session *s, const char *name)
{
	struct sl_known *k;

	LIST_FOREACH(k, &s->known[sl_bucket_of(name)], entry)
	{
		if (strcmp(k->name, name) == 0)
			return k;
	}
	return NULL;
}

static void forget(struct sl_known *k)
{
	k->stale = true;
	k->doubted = false;
}

static void overtake(struct sl_session *s, const char *name)
{
	struct sl_asking *q;

	LIST_FOREACH(q, &s->asking, entry)
	q->overtaken = q->overtaken || !name || strcmp(q->name, name) == 0;
}

void sl_session_doubt_locked(struct sl_session *s)
{
	struct sl_known *k;

	overtake(s, NULL);
	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		LIST_FOREACH(k, &s->known[b], entry)
		k->doubted = !k->stale; /* a stale one is asked for before it is used */
	}
}

void sl_session_forget_locked(struct sl_session *s, const char *name)
{
	struct sl_known *k;

	overtake(s, name);
	if (name) {
		k = sl_session_find_locked(s, name);
		if (k)
			forget(k);
		return;
	}
	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		LIST_FOREACH(k, &s->known[b], entry)
		forget(k);
	}
}

/* The owner describes NAME by DESC, in LIFE: news, or what we know. */
void sl_session_told_locked(struct sl_session *s, const char *name, const char *life,
                            const char *desc)
{
	struct sl_known *k = sl_session_find_locked(s, name);

	overtake(s, name);
	if (!k)
		return;
	k->stale = strcmp(s->life, life) || !k->desc || strcmp(k->desc, desc);
	k->doubted = false;
}

LIST_HEAD(knowns, sl_known);

/* A question for a region's record, and what came of it. */
struct resolve {
	const char *peer, *name;
	struct slime_desc desc;
	char *text;             /* DESC as it came; NULL: no memory, so it is not kept */
	char life[SL_LIFE_LEN]; /* of the peer that published it; "": not told */
	slime_agent *agent;
};

static void on_region(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_job *job = arg;
	struct resolve *r = job->arg;
	json_t *region = json_object_get(reply->body, "region");
	json_t *desc = json_object_get(region, "desc");
	const char *life = json_string_value(json_object_get(region, "life"));
	struct slime_error err = reply->err;
	int rc = reply->status;

	if (!rc && !json_is_string(desc))
		rc = sl_fail(&err, -EPROTO, "the region '%.80s' of '%.80s' has no description",
		             r->name, r->peer);
	if (!rc && life && strlen(life) != SL_LIFE_LEN - 1)
		rc = sl_fail(&err, -EPROTO, "the region '%.80s' of '%.80s' is of no life", r->name,
		             r->peer);
	else if (life)
		(void)snprintf(r->life, sizeof(r->life), "%s", life);
	if (!rc)
		rc = sl_desc_of_text(json_string_value(desc), json_string_length(desc), &r->desc,
		                     &err);
	if (!rc)
		r->text = strdup(json_string_value(desc));
	sl_job_done(r->agent, job, rc, &err);
}

static void start_resolve(slime_agent *agent, struct sl_job *job)
{
	struct resolve *r = job->arg;
	char *quoted = sl_ctrl_quote(r->name);
	struct sl_ctrl_call *call = NULL;
	struct slime_error err;
	char *tail = NULL, *path = NULL;

	r->agent = agent;
	if (quoted && asprintf(&tail, "regions/%s", quoted) < 0)
		tail = NULL;
	if (tail)
		path = sl_agent_path(agent, r->peer, tail, NULL);
	if (path)
		call = sl_ctrl_call(sl_ctrl_of(agent, r->peer), "GET", path, NULL,
		                    (int)agent->timeout_ms, on_region, job);
	free(path);
	free(tail);
	free(quoted);
	if (!call)
		sl_job_done(agent, job, sl_not_asked(agent, r->peer, &err), &err);
}

/* Retired handles that were not handed out, when nobody but the link and the caller is on S. */
static void take_unused_locked(const slime_link *link, struct sl_session *s, struct knowns *out)
{
	struct sl_known *k, *next;

	if (link->session != s || atomic_load(&s->refs) > 2)
		return;
	for (k = LIST_FIRST(&s->retired); k; k = next) {
		next = LIST_NEXT(k, entry);
		if (k->handed_out)
			continue; /* freed with the session */
		LIST_REMOVE(k, entry);
		LIST_INSERT_HEAD(out, k, entry);
	}
}

/* Put RMR under R's name with R's text, unless another thread was faster. */
static int keep(slime_link *link, struct sl_session *s, struct resolve *r,
                const struct sl_asking *asking, slime_rmr *rmr)
{
	struct sl_known *fresh = calloc(1, sizeof(*fresh)), *k;
	struct knowns unused = LIST_HEAD_INITIALIZER(unused);
	int rc = 0;

	if (fresh)
		fresh->name = strdup(r->name);
	sl_lock_take(&link->agent->lock);
	k = sl_session_find_locked(s, r->name);
	if (k && k->stale) {
		LIST_REMOVE(k, entry);
		LIST_INSERT_HEAD(&s->retired, k, entry);
		k = NULL;
	}
	if (!k && fresh && fresh->name) {
		fresh->rmr = rmr;
		fresh->desc = r->text;
		fresh->stale = asking->overtaken;
		LIST_INSERT_HEAD(&s->known[sl_bucket_of(r->name)], fresh, entry);
		fresh = NULL;
		r->text = NULL;
		rmr = NULL;
	} else if (!k) {
		rc = -ENOMEM;
	}
	take_unused_locked(link, s, &unused);
	sl_lock_drop(&link->agent->lock);
	while (!LIST_EMPTY(&unused))
		known_free(LIST_FIRST(&unused));
	if (fresh)
		free(fresh->name);
	free(fresh);
	slime_rmr_release(rmr);
	return rc;
}

static int resolve(slime_link *link, struct sl_session *s, const struct sl_asking *asking,
                   struct slime_error *err)
{
	struct resolve r = {.peer = link->peer, .name = asking->name};
	struct sl_job job = {.start = start_resolve, .arg = &r};
	slime_rmr *rmr;
	int rc = sl_agent_run(link->agent, &job, err);

	if (!rc && r.life[0] && strcmp(r.life, s->life))
		rc = sl_fail(err, -ECONNRESET, "'%.100s' has come back as another process",
		             link->peer);
	if (!rc)
		rc = slime_ep_import(s->ep, &r.desc, &rmr, err);
	if (!rc && keep(link, s, &r, asking, rmr))
		rc = sl_fail(err, -ENOMEM, "no memory for a region");
	free(r.text);
	return rc;
}

int sl_session_resolve(slime_link *link, struct sl_session *s, const char *name,
                       struct slime_error *err)
{
	struct sl_asking asking = {.name = name};
	int rc = sl_name_check("the name of a region", name, err);

	if (rc)
		return rc;
	sl_lock_take(&link->agent->lock);
	LIST_INSERT_HEAD(&s->asking, &asking, entry);
	sl_lock_drop(&link->agent->lock);
	rc = resolve(link, s, &asking, err);
	sl_lock_take(&link->agent->lock);
	LIST_REMOVE(&asking, entry);
	sl_lock_drop(&link->agent->lock);
	return rc;
}
