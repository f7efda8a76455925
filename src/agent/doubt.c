/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/doubt.c - regions of which news may have been missed.
 *
 * The control plane is asked about them by the loop, one after the other, as soon as it answers.
 * Transfers do not wait for that: until there are news they go on with what they know, as they do
 * when the news are late. So whoever cannot reach the control plane does not need it either.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"

struct sl_doubt {
	struct event *timer;
	struct sl_ctrl_call *call; /* about NAME of PEER */
	uint32_t failures;
	char peer[SL_ALIAS_MAX], name[SL_ALIAS_MAX];
};

static struct sl_known *first_doubted_locked(struct sl_session *s)
{
	struct sl_known *k;

	for (unsigned b = 0; b < SL_BUCKETS; b++) {
		LIST_FOREACH(k, &s->known[b], entry)
		{
			if (k->doubted)
				return k;
		}
	}
	return NULL;
}

/* The next one to ask about into D. */
static bool take_next(slime_agent *agent, struct sl_doubt *d)
{
	struct sl_known *k = NULL;
	slime_link *link;

	sl_lock_take(&agent->lock);
	TAILQ_FOREACH(link, &agent->links, entry)
	{
		k = link->session ? first_doubted_locked(link->session) : NULL;
		if (k)
			break;
	}
	if (k) {
		(void)snprintf(d->peer, sizeof(d->peer), "%s", link->peer);
		(void)snprintf(d->name, sizeof(d->name), "%s", k->name);
	}
	sl_lock_drop(&agent->lock);
	return k != NULL;
}

/* What is in doubt no more has had news since the question, and they are younger. */
static void settle(slime_agent *agent, const char *life, const char *desc)
{
	const struct sl_doubt *d = agent->doubt;
	slime_link *link;

	sl_lock_take(&agent->lock);
	TAILQ_FOREACH(link, &agent->links, entry)
	{
		struct sl_known *k = link->session && strcmp(link->peer, d->peer) == 0
		                         ? sl_session_find_locked(link->session, d->name)
		                         : NULL;

		if (k && k->doubted)
			sl_session_told_locked(link->session, d->name, life, desc);
	}
	sl_lock_drop(&agent->lock);
}

static bool is_no_answer(int status)
{
	return status == -ECONNREFUSED || status == -ECONNRESET || status == -ETIMEDOUT ||
	       status == -EAGAIN;
}

static void on_region(void *arg, const struct sl_ctrl_reply *reply)
{
	slime_agent *agent = arg;
	struct sl_doubt *d = agent->doubt;
	json_t *region = json_object_get(reply->body, "region");
	const char *life = json_string_value(json_object_get(region, "life"));
	const char *desc = json_string_value(json_object_get(region, "desc"));

	d->call = NULL;
	if (is_no_answer(reply->status)) {
		sl_timer_in(d->timer, 1000 * sl_backoff_ms(d->failures++));
		return;
	}
	d->failures = 0;
	settle(agent, life ? life : "", desc ? desc : "");
	sl_timer_in(d->timer, 0);
}

static char *path_of(const slime_agent *agent, const struct sl_doubt *d)
{
	char *quoted = sl_ctrl_quote(d->name);
	char *tail = NULL, *path = NULL;

	if (quoted && asprintf(&tail, "regions/%s", quoted) < 0)
		tail = NULL;
	if (tail)
		path = sl_agent_path(agent, d->peer, tail, NULL);
	free(tail);
	free(quoted);
	return path;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	slime_agent *agent = arg;
	struct sl_doubt *d = agent->doubt;
	char *path;

	(void)fd;
	(void)what;
	if (d->call || !take_next(agent, d))
		return;
	path = path_of(agent, d);
	if (path)
		d->call = sl_ctrl_call(agent->ctrl, "GET", path, NULL, (int)agent->timeout_ms,
		                       on_region, agent);
	free(path);
	if (!d->call)
		sl_timer_in(d->timer, 1000 * sl_backoff_ms(d->failures++));
}

static struct sl_doubt *doubt_of(slime_agent *agent)
{
	struct sl_doubt *d = agent->doubt ? NULL : calloc(1, sizeof(*d));

	if (!d)
		return agent->doubt;
	d->timer = event_new(agent->loop, -1, 0, on_timer, agent);
	if (d->timer)
		agent->doubt = d;
	else
		free(d);
	return agent->doubt;
}

void sl_doubt_all(slime_agent *agent)
{
	struct sl_doubt *d = doubt_of(agent);
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (sl_friend_find(agent, link->peer))
			continue; /* he tells us himself */
		sl_flight_note(&link->flight, "news of the peer's regions may have been missed");
		if (!d) {
			sl_link_region_changed(agent, link->peer, NULL);
			continue;
		}
		sl_lock_take(&agent->lock);
		if (link->session)
			sl_session_doubt_locked(link->session);
		sl_lock_drop(&agent->lock);
	}
	if (d && !d->call)
		sl_timer_in(d->timer, 0);
}

void sl_doubt_stop(slime_agent *agent)
{
	struct sl_doubt *d = agent->doubt;

	if (!d)
		return;
	if (d->call)
		sl_ctrl_drop(d->call);
	event_free(d->timer);
	free(d);
	agent->doubt = NULL;
}
