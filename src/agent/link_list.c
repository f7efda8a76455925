/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/link_list.c - links come and go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "agent/link.h"

void sl_link_unlist(slime_link *link)
{
	bool last;

	if (link->timer)
		event_free(link->timer);
	link->timer = NULL;
	sl_lock_take(&link->agent->lock);
	TAILQ_REMOVE(&link->agent->links, link, entry);
	link->listed = false;
	link->users -= link->kept;
	link->kept = false;
	last = link->users == 0;
	sl_lock_drop(&link->agent->lock);
	if (last)
		sl_link_free(link);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	slime_link *link = arg;

	(void)fd;
	(void)what;
	sl_link_step(link, SL_EV_TIMER);
	if (link->state == SLIME_LINK_CLOSED)
		sl_link_unlist(link);
}

slime_link *sl_link_find(slime_agent *agent, const char *peer, const char *key)
{
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (strcmp(link->peer, peer) == 0 && (!key || strcmp(link->key, key) == 0))
			return link;
	}
	return NULL;
}

slime_link *sl_link_new(slime_agent *agent, const char *peer, const char *key)
{
	slime_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->agent = agent;
	(void)snprintf(link->peer, sizeof(link->peer), "%s", peer);
	(void)snprintf(link->key, sizeof(link->key), "%s", key);
	TAILQ_INIT(&link->old);
	link->timer = event_new(agent->loop, -1, 0, on_timer, link);
	if (!link->timer) {
		free(link);
		return NULL;
	}
	sl_flight_init(&link->flight);
	sl_agent_ref(agent);
	sl_lock_take(&agent->lock);
	TAILQ_INSERT_TAIL(&agent->links, link, entry);
	link->listed = true;
	sl_lock_drop(&agent->lock);
	sl_follow_update(agent);
	return link;
}

void sl_link_free(slime_link *link)
{
	struct sl_session *s;

	while ((s = TAILQ_FIRST(&link->old))) {
		TAILQ_REMOVE(&link->old, s, entry);
		if (atomic_fetch_sub(&s->refs, 1) == 1)
			sl_session_free(s);
	}
	sl_flight_free(&link->flight);
	sl_agent_unref(link->agent);
	free(link);
}

void sl_link_shut(slime_link *link)
{
	sl_link_step(link, SL_EV_CLOSE);
	sl_link_unlist(link);
}

void sl_link_stop_all(slime_agent *agent)
{
	while (!TAILQ_EMPTY(&agent->links))
		sl_link_shut(TAILQ_FIRST(&agent->links));
}
