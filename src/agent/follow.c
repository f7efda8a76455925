/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/follow.c - what becomes of the peers that we have links to: the control plane's events of
 * these aliases and their regions, by one long question at any time, from where we last were.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"

enum { WAIT_MS = 30000, PEERS_MAX = 256 };

static void ask(slime_agent *agent);

static void on_agent_event(slime_agent *agent, const char *id, const char *change, json_t *event)
{
	json_t *value = json_object_get(event, "value");
	json_t *process = json_object_get(value, "process");
	const char *life = json_string_value(json_object_get(process, "life"));
	json_int_t incarnation = json_integer_value(json_object_get(value, "incarnation"));

	if (strcmp(change, "put") == 0) {
		if (life && incarnation > 0)
			sl_link_peer_seen(agent, id, life, (uint64_t)incarnation);
	} else {
		sl_link_peer_gone(agent, id);
	}
}

/* A put is no change by itself: an agent that registers anew publishes anew what it has. */
static void on_region_event(slime_agent *agent, const char *peer, const char *name,
                            const char *change, json_t *event)
{
	json_t *value = json_object_get(event, "value");
	const char *life = json_string_value(json_object_get(value, "life"));
	const char *desc = json_string_value(json_object_get(value, "desc"));

	if (strcmp(change, "put") == 0 && life && desc)
		sl_link_region_told(agent, peer, name, life, desc);
	else
		sl_link_region_changed(agent, peer, name);
}

static void on_event(slime_agent *agent, json_t *event)
{
	const char *class = json_string_value(json_object_get(event, "class"));
	const char *type = json_string_value(json_object_get(event, "type"));
	const char *id = json_string_value(json_object_get(event, "id"));
	const char *change = json_string_value(json_object_get(event, "change"));

	if (!class || !id || !change ||
	    sl_friend_find(agent, strcmp(class, "region") == 0 && type ? type : id))
		return;
	if (strcmp(class, "agent") == 0)
		on_agent_event(agent, id, change, event);
	else if (strcmp(class, "region") == 0 && type)
		on_region_event(agent, type, id, change, event);
}

static void on_events(void *arg, const struct sl_ctrl_reply *reply)
{
	slime_agent *agent = arg;
	json_t *revision = json_object_get(reply->body, "revision");
	uint64_t before = agent->follow_after;
	json_t *event;
	size_t i;

	agent->follow_call = NULL;
	if (reply->status == -ESTALE && json_is_integer(revision)) {
		sl_doubt_all(agent); /* lost peers are found by their links */
	} else if (reply->status) {
		sl_timer_in(agent->follow_timer, 1000 * sl_backoff_ms(agent->follow_failures++));
		return;
	}
	agent->follow_failures = 0;
	json_array_foreach(json_object_get(reply->body, "events"), i, event) on_event(agent, event);
	if (json_is_integer(revision))
		agent->follow_after = (uint64_t)json_integer_value(revision);
	if (agent->follow_call)
		return;
	if (agent->follow_after ==
	    before) /* whoever answers at once with nothing is not asked so */
		sl_timer_in(agent->follow_timer, SL_NOTHING_NEW_US);
	else
		ask(agent);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each once, sorted; *N of them. NULL: none, or no memory. */
static const char **peers_of(slime_agent *agent, size_t *n)
{
	const char **names;
	slime_link *link;
	size_t all = 0, kept = 0;

	TAILQ_FOREACH(link, &agent->links, entry)
	{
		all++;
	}
	names = all ? calloc(all, sizeof(*names)) : NULL;
	if (!names)
		return NULL;
	all = 0;
	TAILQ_FOREACH(link, &agent->links, entry)
	{
		names[all++] = link->peer;
	}
	qsort(names, all, sizeof(*names), by_name);
	for (size_t i = 0; i < all; i++) {
		if (!kept || strcmp(names[kept - 1], names[i]))
			names[kept++] = names[i];
	}
	*n = kept;
	return names;
}

/* As many as a question may have, quoted, with commas; NULL: none, or no memory. */
static char *list_peers(slime_agent *agent)
{
	size_t n = 0, len = 0;
	const char **names = peers_of(agent, &n);
	char *list = NULL;
	FILE *out = names ? open_memstream(&list, &len) : NULL;
	bool good = true;

	for (size_t i = 0; out && good && i < n && i < PEERS_MAX; i++) {
		char *quoted = sl_ctrl_quote(names[i]);

		good = quoted && fprintf(out, "%s%s", i ? "," : "", quoted) > 0;
		free(quoted);
	}
	free(names);
	if (out && (fclose(out) || !good)) {
		free(list);
		list = NULL;
	}
	return list;
}

static void ask(slime_agent *agent)
{
	char *peers = list_peers(agent);
	char *path = NULL;

	agent->follow_changed = false;
	if (!peers || !agent->ctrl) {
		free(peers);
		return;
	}
	if (asprintf(&path, "/v1/watch?%s&class=agent,region&after=%llu&wait_ms=%d&of=%s",
	             agent->scope_query, (unsigned long long)agent->follow_after, WAIT_MS,
	             peers) < 0)
		path = NULL;
	if (path)
		agent->follow_call =
		    sl_ctrl_call(agent->ctrl, "GET", path, NULL, WAIT_MS + (int)agent->timeout_ms,
		                 on_events, agent);
	free(path);
	free(peers);
	if (!agent->follow_call)
		sl_timer_in(agent->follow_timer, 1000 * sl_backoff_ms(agent->follow_failures++));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	slime_agent *agent = arg;

	(void)fd;
	(void)what;
	if (agent->follow_changed && agent->follow_call) {
		sl_ctrl_drop(agent->follow_call);
		agent->follow_call = NULL;
	}
	if (!agent->follow_call)
		ask(agent);
}

void sl_follow_update(slime_agent *agent)
{
	if (!agent->follow_timer)
		agent->follow_timer = event_new(agent->loop, -1, 0, on_timer, agent);
	if (!agent->follow_timer)
		return; /* the link finds out for itself, later */
	agent->follow_changed = true;
	sl_timer_in(agent->follow_timer, 1000); /* several links at once are one new question */
}

void sl_follow_begin_again(slime_agent *agent, uint64_t revision)
{
	if (revision >= agent->follow_after)
		return;
	agent->follow_after = revision;
	agent->follow_changed = true;
	sl_doubt_all(agent);
	if (agent->follow_timer)
		sl_timer_in(agent->follow_timer, 0);
}

void sl_follow_stop(slime_agent *agent)
{
	if (agent->follow_call)
		sl_ctrl_drop(agent->follow_call);
	agent->follow_call = NULL;
	if (agent->follow_timer)
		event_free(agent->follow_timer);
	agent->follow_timer = NULL;
}
