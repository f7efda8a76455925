/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/directory.c - what the control plane knows of others: names and records, page by page. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "base/error.h"

enum { PAGE = 1000, PAGES_MAX = 10000 };

/* A question that is asked until its last page. FIELD of each member of LIST is a name. */
struct inquiry {
	slime_agent *agent;
	void (*start)(slime_agent *agent, struct sl_job *job); /* NULL: ask */
	const char *peer;                                      /* NULL: of nobody */
	const char *tail;         /* as it stands in a path; NULL: none */
	const char *whole;        /* NULL: below /v1/agents; else the path itself */
	const char *list, *field; /* FIELD NULL: the members themselves, into BODY */
	char *after;
	unsigned pages;
	struct slime_names *names;
	size_t cap;
	json_t *body; /* of members: their list; the loop's */
	const char *record,
	    *member; /* of a single record: what of the answer; MEMBER may be NULL */
	char *text;
};

static int add_name(struct inquiry *q, const char *name)
{
	struct slime_names *names = q->names;

	if (names->n == q->cap) {
		size_t cap = q->cap ? 2 * q->cap : 16;
		char **more = realloc(names->name, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		names->name = more;
		q->cap = cap;
	}
	names->name[names->n] = strdup(name);
	if (!names->name[names->n])
		return -ENOMEM;
	names->n++;
	return 0;
}

static void ask(slime_agent *agent, struct sl_job *job);

/* What is found becomes text on the loop: a JSON value is not for two threads. */
static int take_text(struct inquiry *q, json_t *in, struct slime_error *err)
{
	if (!in && !q->member)
		return sl_fail(err, -EPROTO, "the control plane's answer makes no sense");
	q->text =
	    json_is_object(in) || json_is_array(in) ? json_dumps(in, JSON_COMPACT) : strdup("{}");
	return q->text ? 0 : sl_fail(err, -ENOMEM, "no memory for a text");
}

static void on_page(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_job *job = arg;
	struct inquiry *q = job->arg;
	const char *next = json_string_value(json_object_get(reply->body, "next"));
	struct slime_error err = reply->err;
	int rc = reply->status;
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(reply->body, q->list), i, entry)
	{
		const char *name =
		    q->field ? json_string_value(json_object_get(entry, q->field)) : NULL;

		if (!q->field)
			(void)json_array_append(q->body, entry);
		if (name && !q->peer && sl_friend_find(q->agent, name))
			continue; /* it stands there already */
		if (!rc && name && add_name(q, name))
			rc = sl_fail(&err, -ENOMEM, "no memory for a list of names");
	}
	if (!rc && next && ((q->after && strcmp(q->after, next) == 0) || ++q->pages == PAGES_MAX))
		rc = sl_fail(&err, -EPROTO, "the control plane's list does not end");
	free(q->after);
	q->after = next ? strdup(next) : NULL;
	if (!rc && next && !q->after)
		rc = sl_fail(&err, -ENOMEM, "no memory for a list of names");
	if (!rc && q->after) {
		ask(q->agent, job);
		return;
	}
	if (!rc && !q->field)
		rc = take_text(q, q->body, &err);
	json_decref(q->body);
	q->body = NULL;
	sl_job_done(q->agent, job, rc, &err);
}

static void on_record(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_job *job = arg;
	struct inquiry *q = job->arg;
	struct slime_error err = reply->err;
	int rc = reply->status;
	json_t *in = json_object_get(reply->body, q->record);

	if (!rc && q->member)
		in = json_object_get(in, q->member);
	if (!rc)
		rc = take_text(q, in, &err);
	sl_job_done(q->agent, job, rc, &err);
}

static void ask(slime_agent *agent, struct sl_job *job)
{
	struct inquiry *q = job->arg;
	char *after = q->after ? sl_ctrl_quote(q->after) : NULL;
	char *query = NULL, *path = NULL;
	struct sl_ctrl_call *call = NULL;
	struct slime_error err;

	if (asprintf(&query, "&limit=%d%s%s", PAGE, after ? "&after=" : "", after ? after : "") < 0)
		query = NULL;
	if (query && q->whole) {
		if (asprintf(&path, "%s?%s%s", q->whole, agent->scope_query, query) < 0)
			path = NULL;
	} else if (query)
		path = sl_agent_path(agent, q->peer, q->tail, q->list ? query : NULL);
	if (path)
		call = sl_ctrl_call(sl_ctrl_of(agent, q->peer), "GET", path, NULL,
		                    (int)agent->timeout_ms, q->list ? on_page : on_record, job);
	free(path);
	free(query);
	free(after);
	if (!call)
		sl_job_done(agent, job, sl_not_asked(agent, q->peer, &err), &err);
}

static int inquire(struct inquiry *q, struct slime_error *err)
{
	struct sl_job job = {.start = q->start ? q->start : ask, .arg = q};
	int rc = sl_agent_run(q->agent, &job, err);

	free(q->after);
	return rc;
}

static int list(struct inquiry *q, struct slime_names **out, struct slime_error *err)
{
	int rc;

	q->names = calloc(1, sizeof(*q->names));
	if (!q->names)
		return sl_fail(err, -ENOMEM, "no memory for a list of names");
	rc = inquire(q, err);
	if (rc)
		slime_names_free(q->names);
	else
		*out = q->names;
	return rc;
}

/* Those whom tickets introduced, then the control plane's. */
static void start_peers(slime_agent *agent, struct sl_job *job)
{
	struct slime_error err;
	struct sl_friend *f;
	int rc = 0;

	LIST_FOREACH(f, &agent->friends, entry)
	{
		if (!rc)
			rc = add_name(job->arg, f->alias);
	}
	if (!rc && agent->ctrl)
		ask(agent, job);
	else
		sl_job_done(agent, job, rc ? sl_fail(&err, rc, "no memory for a list of names") : 0,
		            &err);
}

int slime_agent_peers(slime_agent *agent, struct slime_names **out, struct slime_error *err)
{
	struct inquiry q = {
	    .agent = agent, .start = start_peers, .list = "agents", .field = "alias"};
	struct slime_names *names = NULL;
	int rc;

	if (!agent || !out)
		return sl_fail(err, -EINVAL, "no agent, or no place for the names");
	rc = list(&q, &names, err);
	if (rc || !names)
		return rc;
	for (size_t i = 0; i < names->n; i++) {
		if (strcmp(names->name[i], agent->alias))
			continue;
		free(names->name[i]); /* others, it says */
		names->n--;
		memmove(names->name + i, names->name + i + 1, (names->n - i) * sizeof(char *));
		break;
	}
	*out = names;
	return 0;
}

int slime_agent_regions(slime_agent *agent, const char *peer, struct slime_names **out,
                        struct slime_error *err)
{
	struct inquiry q = {
	    .agent = agent, .peer = peer, .tail = "regions", .list = "regions", .field = "name"};
	int rc = agent && out ? sl_name_check("the peer's alias", peer, err)
	                      : sl_fail(err, -EINVAL, "no agent, or no place for the names");

	return rc ? rc : list(&q, out, err);
}

void slime_names_free(struct slime_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
	free(names);
}

int slime_agent_resource(slime_agent *agent, const char *peer, char **out, struct slime_error *err)
{
	struct inquiry q = {.agent = agent, .peer = peer, .record = "agent", .member = "resource"};
	int rc;

	if (!agent || !out)
		return sl_fail(err, -EINVAL, "no agent, or no place for the text");
	if (!peer)
		q.peer = agent->alias;
	rc = sl_name_check("the peer's alias", q.peer, err);
	if (!rc)
		rc = inquire(&q, err);
	if (!rc)
		*out = q.text;
	return rc;
}

int slime_agent_region(slime_agent *agent, const char *peer, const char *name, char **out,
                       struct slime_error *err)
{
	struct inquiry q = {.agent = agent, .peer = peer, .record = "region"};
	char *quoted, *tail = NULL;
	int rc;

	if (!agent || !out)
		return sl_fail(err, -EINVAL, "no agent, or no place for the text");
	rc = sl_name_check("the peer's alias", peer, err);
	if (!rc)
		rc = sl_name_check("the name of a region", name, err);
	if (rc)
		return rc;
	quoted = sl_ctrl_quote(name);
	if (!quoted || asprintf(&tail, "regions/%s", quoted) < 0)
		tail = NULL;
	q.tail = tail;
	rc = tail ? inquire(&q, err) : sl_fail(err, -ENOMEM, "no memory for a question");
	if (!rc)
		*out = q.text;
	free(tail);
	free(quoted);
	return rc;
}

int slime_agent_snapshots(slime_agent *agent, char **out, struct slime_error *err)
{
	struct inquiry q = {.agent = agent, .whole = "/v1/obs", .list = "snapshots"};
	int rc;

	if (!agent || !out)
		return sl_fail(err, -EINVAL, "no agent, or no place for the text");
	q.body = json_array();
	rc = inquire(&q, err);
	if (!rc)
		*out = q.text;
	json_decref(q.body); /* NULL, unless the loop ended before */
	return rc;
}

void slime_text_free(char *text)
{
	free(text);
}
