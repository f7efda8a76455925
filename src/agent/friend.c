/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/friend.c - peers that were introduced by a ticket: whom to ask about them, and what they
 * are to be told.
 *
 * Each has a client of its own, to his own door (listen.c), which answers in the words of
 * the control plane; so the rest of the agent only asks which client is the peer's. What
 * the control plane says of such an alias is passed over: it may be another's.
 */
#include <errno.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "agent/ticket.h"
#include "base/error.h"

enum {
	FRIENDS_MAX = 4096,
	TELL_MAX = 256, /* names in a message; more of them are "any" */
	LEAVE_US = 5000,
	LEAVE_TRIES = 100,
};

struct sl_friend *sl_friend_find(slime_agent *agent, const char *alias)
{
	struct sl_friend *f;

	LIST_FOREACH(f, &agent->friends, entry)
	{
		if (strcmp(f->alias, alias) == 0)
			return f;
	}
	return NULL;
}

struct sl_ctrl_client *sl_ctrl_of(slime_agent *agent, const char *peer)
{
	struct sl_friend *f = peer ? sl_friend_find(agent, peer) : NULL;

	return f ? f->client : agent->ctrl;
}

int sl_not_asked(slime_agent *agent, const char *peer, struct slime_error *err)
{
	if (sl_ctrl_of(agent, peer))
		return sl_fail(err, -ENOMEM, "no memory for a question");
	if (!peer)
		return sl_fail(err, -EOPNOTSUPP, "this agent has no control plane to ask");
	return sl_fail(err, -ENOENT,
	               "'%.100s' has not been introduced, and there is no control plane", peer);
}

/* --- telling them which regions changed */

static void tell(struct sl_friend *f);

static void on_told(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_friend *f = arg;

	f->telling = NULL;
	if (!reply->status) {
		f->failures = 0;
		json_decref(f->told);
		f->told = NULL;
	} else if (reply->status == -EACCES || reply->status == -ENOENT) {
		json_decref(f->told); /* another life: it knows no region of ours */
		f->told = NULL;
		f->ntold = 0;
	} else {
		sl_timer_in(f->timer, 1000 * sl_backoff_ms(f->failures++));
		return;
	}
	if (f->ntold)
		tell(f);
}

/* What is underway goes first, again and again, then what came in between. */
static void tell(struct sl_friend *f)
{
	char *path = sl_agent_path(f->agent, f->alias, "mailbox", NULL);
	json_t *body;

	if (!f->told) {
		f->told = f->ntold <= TELL_MAX ? json_incref(f->names) : json_null();
		json_decref(f->names);
		f->names = json_array();
		f->ntold = 0;
	}
	body = json_pack("{ss, sI, s[{ss, ss, sO}]}", "from", f->agent->alias, "from_incarnation",
	                 (json_int_t)1, "messages", "type", "moved", "life", f->agent->life,
	                 "names", f->told);
	if (path && body)
		f->telling = sl_ctrl_call(f->client, "POST", path, json_incref(body),
		                          (int)f->agent->timeout_ms, on_told, f);
	json_decref(body);
	free(path);
	if (!f->telling)
		sl_timer_in(f->timer, 1000 * sl_backoff_ms(f->failures++));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sl_friend *f = arg;

	(void)fd;
	(void)what;
	if (!f->telling)
		tell(f);
}

static void start_tell(slime_agent *agent, struct sl_job *job)
{
	json_t *names = job->arg, *name;
	struct sl_friend *f;
	size_t i;

	LIST_FOREACH(f, &agent->friends, entry)
	{
		if (!sl_link_find(agent, f->alias, NULL))
			continue; /* it has none of our regions in use */
		json_array_foreach(names, i, name)
		{
			if (f->ntold < TELL_MAX)
				(void)json_array_append_new(
				    f->names, json_copy(name)); /* JOB's is not ours */
			f->ntold++;
		}
		if (f->ntold && !f->telling && !event_pending(f->timer, EV_TIMEOUT, NULL))
			tell(f);
	}
	sl_job_done(agent, job, 0, NULL);
}

void sl_friends_tell(slime_agent *agent, json_t *names)
{
	struct sl_job job = {.start = start_tell, .arg = names};

	if (atomic_load(&agent->nfriends) && json_array_size(names))
		(void)sl_agent_run(agent, &job, NULL);
}

/* --- they come and go */

static void friend_free(struct sl_friend *f)
{
	LIST_REMOVE(f, entry);
	atomic_fetch_sub(&f->agent->nfriends, 1);
	if (f->telling)
		sl_ctrl_drop(f->telling);
	sl_ctrl_end(f->client);
	if (f->timer)
		event_free(f->timer);
	json_decref(f->names);
	json_decref(f->told);
	free(f);
}

int sl_friend_add(slime_agent *agent, const struct sl_ticket *ticket, struct sl_ctrl_client *client,
                  struct slime_error *err)
{
	struct sl_friend *old = sl_friend_find(agent, ticket->alias);
	struct sl_friend *f;

	if (old && strcmp(old->life, ticket->life) == 0) {
		sl_ctrl_end(client); /* it introduced itself in between */
		return 0;
	}
	f = calloc(1, sizeof(*f));
	if (f) {
		f->timer = event_new(agent->loop, -1, 0, on_timer, f);
		f->names = json_array();
	}
	if (!f || !f->timer || !f->names) {
		if (f && f->timer)
			event_free(f->timer);
		free(f);
		sl_ctrl_end(client);
		return sl_fail(err, -ENOMEM, "no memory for a peer");
	}
	f->agent = agent;
	f->client = client;
	f->incarnation = ++agent->met;
	memcpy(f->alias, ticket->alias, sizeof(f->alias));
	memcpy(f->life, ticket->life, sizeof(f->life));
	LIST_INSERT_HEAD(&agent->friends, f, entry);
	atomic_fetch_add(&agent->nfriends, 1);
	if (old)
		friend_free(old);
	sl_link_introduced(agent, f->alias, f->life, f->incarnation);
	sl_presence_joined(agent, f->alias, f->incarnation);
	return 0;
}

/* The place of TICKET that is at ADDRESS, else the first. */
static const char *place_at(const struct sl_ticket *ticket, const char *address)
{
	size_t len = address ? strlen(address) : 0;

	for (unsigned i = 0; len && i < ticket->nplaces; i++) {
		const char *host = ticket->place[i] + (ticket->place[i][0] == '[');

		if (strncmp(host, address, len) == 0 && strchr(":]", host[len]))
			return ticket->place[i];
	}
	return ticket->place[0];
}

int sl_friend_comes(slime_agent *agent, const struct sl_ticket *ticket,
                    struct evhttp_connection *from, struct slime_error *err)
{
	struct sl_ctrl_opts opts = {.loop = agent->loop,
	                            .token = ticket->secret,
	                            .who = "the agent",
	                            .of = &agent->clients};
	struct sl_friend *old = sl_friend_find(agent, ticket->alias);
	struct sl_ctrl_client *client;
	char *address = NULL;
	uint16_t port;
	int rc;

	if (old && strcmp(old->life, ticket->life) == 0)
		return 0;
	if (strcmp(ticket->scope, agent->scope) != 0)
		return sl_fail(err, -EACCES, "the agent '%.100s' is of another scope",
		               agent->alias);
	if (strcmp(ticket->alias, agent->alias) == 0)
		return sl_fail(err, -EEXIST, "the alias '%.100s' is that of the agent itself",
		               ticket->alias);
	if (old && sl_link_is_alive(agent, ticket->alias))
		return sl_fail(err, -EEXIST, "the agent knows another '%.100s', which is alive",
		               ticket->alias);
	if (!old && atomic_load(&agent->nfriends) >= FRIENDS_MAX)
		return sl_fail(err, -ENOSPC, "the agent knows %d others, and no more", FRIENDS_MAX);
	if (from)
		evhttp_connection_get_peer(from, &address, &port);
	opts.url = place_at(ticket, address);
	rc = sl_ctrl_create(&opts, &client, err);
	return rc ? rc : sl_friend_add(agent, ticket, client, err);
}

static void regions_moved(slime_agent *agent, const char *peer, json_t *names)
{
	json_t *name;
	size_t i;

	if (!json_is_array(names))
		sl_link_region_changed(agent, peer, NULL);
	json_array_foreach(names, i, name)
	{
		if (json_is_string(name))
			sl_link_region_changed(agent, peer, json_string_value(name));
	}
}

void sl_friend_message(slime_agent *agent, const char *from, json_t *in)
{
	struct sl_friend *f = sl_friend_find(agent, from);
	const char *life = json_string_value(json_object_get(in, "life"));
	const char *type = json_string_value(json_object_get(in, "type"));
	struct sl_message msg;

	if (!f || !life || !type || strcmp(life, f->life) != 0)
		return; /* of a life that is over, or of somebody who only knows the name */
	if (strcmp(type, "moved") == 0)
		regions_moved(agent, f->alias, json_object_get(in, "names"));
	else if (sl_message_read(in, &msg, NULL) == 0)
		sl_link_message(agent, f->alias, f->incarnation, &msg);
}

/* --- the end */

static bool all_said(slime_agent *agent)
{
	struct sl_friend *f;

	LIST_FOREACH(f, &agent->friends, entry)
	{
		if (!sl_ctrl_is_idle(f->client))
			return false;
	}
	return true;
}

static void on_leave_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sl_job *job = arg;
	slime_agent *agent = job->state;

	(void)fd;
	(void)what;
	if (!all_said(agent) && agent->leave_tries++ < LEAVE_TRIES) {
		sl_timer_in(agent->leave_timer, LEAVE_US);
		return;
	}
	while (!LIST_EMPTY(&agent->friends))
		friend_free(LIST_FIRST(&agent->friends));
	sl_job_done(agent, job, 0, NULL);
}

void sl_friends_leave(slime_agent *agent, struct sl_job *job)
{
	job->state = agent;
	agent->leave_timer = event_new(agent->loop, -1, 0, on_leave_timer, job);
	if (agent->leave_timer)
		sl_timer_in(agent->leave_timer, 0);
	else
		sl_job_done(agent, job, 0, NULL);
}

void sl_friends_free(slime_agent *agent)
{
	while (!LIST_EMPTY(&agent->friends))
		friend_free(LIST_FIRST(&agent->friends));
	if (agent->leave_timer)
		event_free(agent->leave_timer);
	agent->leave_timer = NULL;
}
