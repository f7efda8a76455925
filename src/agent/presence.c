/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/presence.c - who came and went, as a bounded queue with an eventfd.
 *
 * Nothing of it exists until somebody asks for the fd: then one more long question
 * at the control plane, about every agent of the scope.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/agent_impl.h"
#include "base/error.h"

enum { KEPT = 1024, WAIT_MS = 30000 };

struct sl_presence {
	slime_agent *agent;
	int fd;
	/* lock */
	struct slime_agent_event *ring;
	unsigned head, n;
	bool missed;
	/* loop */
	struct sl_ctrl_call *call;
	struct event *timer;
	uint64_t after;
	uint32_t failures;
};

static void ask(struct sl_presence *p);

static void put(struct sl_presence *p, const struct slime_agent_event *event)
{
	uint64_t one = 1;

	sl_lock_take(&p->agent->lock);
	if (event && p->n < KEPT && !p->missed)
		p->ring[(p->head + p->n++) % KEPT] = *event;
	else
		p->missed = true;
	sl_lock_drop(&p->agent->lock);
	if (write(p->fd, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

static void on_event(struct sl_presence *p, json_t *in)
{
	const char *change = json_string_value(json_object_get(in, "change"));
	const char *id = json_string_value(json_object_get(in, "id"));
	json_t *value = json_object_get(in, "value");
	struct slime_agent_event event = {0};

	if (!change || !id || strlen(id) >= sizeof(event.alias) ||
	    strcmp(id, p->agent->alias) == 0 || sl_friend_find(p->agent, id))
		return;
	event.change = strcmp(change, "put") == 0 ? SLIME_AGENT_JOINED : SLIME_AGENT_LEFT;
	event.incarnation = (uint64_t)json_integer_value(json_object_get(value, "incarnation"));
	(void)strcpy(event.alias, id);
	/* a change of its resource is no arrival */
	if (event.change == SLIME_AGENT_JOINED &&
	    json_integer_value(json_object_get(in, "revision")) != (json_int_t)event.incarnation)
		return;
	put(p, &event);
}

static void on_events(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_presence *p = arg;
	json_t *revision = json_object_get(reply->body, "revision");
	uint64_t before = p->after;
	json_t *event;
	size_t i;

	p->call = NULL;
	if (reply->status == -ESTALE && json_is_integer(revision)) {
		put(p, NULL);
	} else if (reply->status) {
		sl_timer_in(p->timer, 1000 * sl_backoff_ms(p->failures++));
		return;
	}
	p->failures = 0;
	json_array_foreach(json_object_get(reply->body, "events"), i, event) on_event(p, event);
	if (json_is_integer(revision))
		p->after = (uint64_t)json_integer_value(revision);
	if (p->after == before) /* whoever answers at once with nothing is not asked so */
		sl_timer_in(p->timer, SL_NOTHING_NEW_US);
	else
		ask(p);
}

void sl_presence_joined(slime_agent *agent, const char *alias, uint64_t incarnation)
{
	struct slime_agent_event event = {.change = SLIME_AGENT_JOINED, .incarnation = incarnation};

	(void)snprintf(event.alias, sizeof(event.alias), "%s", alias);
	if (agent->presence)
		put(agent->presence, &event);
}

static void ask(struct sl_presence *p)
{
	char *path = NULL;

	if (!p->agent->ctrl)
		return;
	if (asprintf(&path, "/v1/watch?%s&class=agent&after=%llu&wait_ms=%d", p->agent->scope_query,
	             (unsigned long long)p->after, WAIT_MS) < 0)
		path = NULL;
	if (path)
		p->call = sl_ctrl_call(p->agent->ctrl, "GET", path, NULL,
		                       WAIT_MS + (int)p->agent->timeout_ms, on_events, p);
	free(path);
	if (!p->call)
		sl_timer_in(p->timer, 1000 * sl_backoff_ms(p->failures++));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sl_presence *p = arg;

	(void)fd;
	(void)what;
	if (!p->call)
		ask(p);
}

static void presence_free(struct sl_presence *p)
{
	if (p->timer)
		event_free(p->timer);
	if (p->fd >= 0)
		(void)close(p->fd);
	free(p->ring);
	free(p);
}

/* From the incarnation of this agent on: who was there before it is in the list of peers. */
static void start(slime_agent *agent, struct sl_job *job)
{
	struct sl_presence *p = agent->presence ? NULL : calloc(1, sizeof(*p));
	struct slime_error err;

	if (agent->presence) {
		sl_job_done(agent, job, 0, NULL);
		return;
	}
	if (p) {
		p->agent = agent;
		p->after = atomic_load(&agent->incarnation);
		p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		p->ring = calloc(KEPT, sizeof(*p->ring));
		p->timer = event_new(agent->loop, -1, 0, on_timer, p);
	}
	if (!p || p->fd < 0 || !p->ring || !p->timer) {
		if (p)
			presence_free(p);
		sl_job_done(agent, job, sl_fail(&err, -ENOMEM, "no memory to watch others"), &err);
		return;
	}
	sl_lock_take(&agent->lock);
	agent->presence = p;
	sl_lock_drop(&agent->lock);
	ask(p);
	sl_job_done(agent, job, 0, NULL);
}

int slime_agent_event_fd(slime_agent *agent, struct slime_error *err)
{
	struct sl_job job = {.start = start};
	int rc = agent ? sl_agent_run(agent, &job, err) : sl_fail(err, -EINVAL, "no agent");

	return rc ? rc : agent->presence->fd;
}

int slime_agent_next_event(slime_agent *agent, struct slime_agent_event *out)
{
	struct sl_presence *p;
	uint64_t n;
	int got = 0;

	if (!agent || !out)
		return -EINVAL;
	sl_lock_take(&agent->lock);
	p = agent->presence;
	if (p && p->n) {
		*out = p->ring[p->head];
		p->head = (p->head + 1) % KEPT;
		p->n--;
		got = 1;
	} else if (p && p->missed) {
		*out = (struct slime_agent_event){.change = SLIME_AGENT_MISSED};
		p->missed = false;
		got = 1;
	} else if (p && read(p->fd, &n, sizeof(n)) < 0) {
		got = 0; /* it was not readable */
	}
	sl_lock_drop(&agent->lock);
	return got;
}

void sl_presence_free(slime_agent *agent)
{
	if (agent->presence)
		presence_free(agent->presence);
	agent->presence = NULL;
}
