/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/register.c - being known to the control plane, and staying it.
 *
 * Registered once, an agent renews at a third of its TTL; that one request renews
 * all that is its own. When the control plane has forgotten it, it registers anew
 * under its alias and publishes everything again: its life, and with it every
 * link, is the same, only its incarnation is another. While nobody answers it asks
 * again and again; links that are up do not notice.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/agent_impl.h"
#include "agent/listen.h"
#include "base/error.h"

enum { FIRST_RENEW_MS = 300 }; /* within the third of any TTL */

static void ask(slime_agent *agent);

static void settle(slime_agent *agent, int status, const struct slime_error *err)
{
	struct sl_job *job = agent->register_job;

	agent->register_job = NULL;
	if (job)
		sl_job_done(agent, job, status, err);
}

/* Who waits for that may go on: nothing of ours that was there before is missing. */
static void tell_registered(slime_agent *agent)
{
	sl_lock_take(&agent->lock);
	atomic_fetch_add(&agent->registered, 1);
	(void)pthread_cond_broadcast(&agent->changed);
	sl_lock_drop(&agent->lock);
}

static void on_published(void *arg, const struct sl_ctrl_reply *reply)
{
	slime_agent *agent = arg;

	agent->renew_call = NULL;
	if (reply->status) {
		sl_timer_in(agent->renew_timer, 1000 * sl_backoff_ms(agent->renew_failures++));
		atomic_store(&agent->incarnation, 0); /* as if not registered: begin again */
		return;
	}
	tell_registered(agent);
	sl_timer_in(agent->renew_timer, agent->ttl_ms * 1000 / 3);
}

/* After a second registration: what we had published goes with it. */
static void publish_again(slime_agent *agent)
{
	json_t *put = sl_publish_all(agent);
	char *path = sl_agent_path(agent, agent->alias, "regions", NULL);
	json_t *body = NULL;

	if (put && json_array_size(put) && path)
		body = json_pack("{sI, sO}", "incarnation",
		                 (json_int_t)atomic_load(&agent->incarnation), "put", put);
	if (body)
		agent->renew_call = sl_ctrl_call(agent->ctrl, "POST", path, body,
		                                 (int)agent->timeout_ms, on_published, agent);
	if (!agent->renew_call) {
		tell_registered(agent);
		sl_timer_in(agent->renew_timer, agent->ttl_ms * 1000 / 3);
	}
	free(path);
	json_decref(put);
}

static void registered(slime_agent *agent, json_t *body)
{
	const char *alias = json_string_value(json_object_get(body, "alias"));
	json_int_t incarnation = json_integer_value(json_object_get(body, "incarnation"));
	json_int_t revision = json_integer_value(json_object_get(body, "revision"));
	bool first = !agent->alias[0];
	struct slime_error err;

	if (!alias || strlen(alias) >= sizeof(agent->alias) || incarnation <= 0) {
		settle(agent, sl_fail(&err, -EPROTO, "the control plane's answer makes no sense"),
		       &err);
		return;
	}
	if (first) {
		(void)strcpy(agent->alias, alias);
		agent->follow_after = revision > 0 ? (uint64_t)revision : 0;
	}
	agent->renew_failures = 0;
	agent->mail_after = 0; /* a mailbox is of one incarnation */
	atomic_store(&agent->incarnation, (uint64_t)incarnation);
	sl_mailbox_start(agent);
	if (first) {
		tell_registered(agent);
		sl_timer_in(agent->renew_timer, FIRST_RENEW_MS * 1000); /* its first snapshot */
		settle(agent, 0, NULL);
	} else {
		sl_link_recount(agent);
		sl_follow_begin_again(agent, revision > 0 ? (uint64_t)revision : 0);
		publish_again(agent);
	}
}

/* -EEXIST: is who stands in the way still alive? */
static bool may_replace(slime_agent *agent, json_t *body)
{
	json_t *holder = json_object_get(body, "holder");
	json_int_t incarnation = json_integer_value(json_object_get(holder, "incarnation"));

	if (incarnation <= 0 || (uint64_t)incarnation == agent->replace ||
	    !sl_identity_is_dead(json_object_get(holder, "process"), agent->life))
		return false;
	agent->replace = (uint64_t)incarnation;
	return true;
}

static void on_registered(void *arg, const struct sl_ctrl_reply *reply)
{
	slime_agent *agent = arg;

	agent->renew_call = NULL;
	if (!reply->status)
		registered(agent, reply->body);
	else if (reply->status == -EEXIST && may_replace(agent, reply->body))
		ask(agent);
	else if (agent->register_job)
		settle(agent, reply->status, &reply->err);
	else
		sl_timer_in(agent->renew_timer, 1000 * sl_backoff_ms(agent->renew_failures++));
}

json_t *sl_agent_resource(slime_agent *agent)
{
	json_t *given = agent->resource ? json_loads(agent->resource, 0, NULL) : NULL;

	return given ? given : sl_identity_resource(agent->ctx);
}

static void ask(slime_agent *agent)
{
	const char *alias = agent->alias[0] ? agent->alias : agent->wanted_alias;
	char *path = sl_agent_path(agent, NULL, NULL, NULL);
	json_t *body =
	    json_pack("{ss*, ss, si, so, so, sI}", "alias", alias, "name_prefix", agent->prefix,
	              "ttl_ms", (int)agent->ttl_ms, "process", sl_identity_process(agent->life),
	              "resource", sl_agent_resource(agent), "replace", (json_int_t)agent->replace);
	struct slime_error err;

	if (body && !agent->replace)
		(void)json_object_del(body, "replace");
	if (path && body)
		agent->renew_call = sl_ctrl_call(agent->ctrl, "POST", path, json_incref(body),
		                                 (int)agent->timeout_ms, on_registered, agent);
	json_decref(body);
	free(path);
	if (agent->renew_call)
		return;
	if (agent->register_job)
		settle(agent, sl_fail(&err, -ENOMEM, "no memory to register"), &err);
	else
		sl_timer_in(agent->renew_timer, 1000 * sl_backoff_ms(agent->renew_failures++));
}

static void on_renewed(void *arg, const struct sl_ctrl_reply *reply)
{
	slime_agent *agent = arg;

	agent->renew_call = NULL;
	if (reply->status == -ENOENT || reply->status == -ESTALE) {
		atomic_store(&agent->incarnation, 0);
		ask(agent);
		return;
	}
	if (reply->status) {
		sl_timer_in(agent->renew_timer, 1000 * sl_backoff_ms(agent->renew_failures++));
		return;
	}
	agent->renew_failures = 0;
	sl_timer_in(agent->renew_timer, agent->ttl_ms * 1000 / 3);
}

static void on_renew_timer(evutil_socket_t fd, short what, void *arg)
{
	slime_agent *agent = arg;
	uint64_t incarnation = atomic_load(&agent->incarnation);
	char *path;

	(void)fd;
	(void)what;
	if (agent->renew_call)
		return;
	if (!incarnation) {
		ask(agent);
		return;
	}
	path = sl_agent_path(agent, agent->alias, "renew", NULL);
	if (path)
		agent->renew_call =
		    sl_ctrl_call(agent->ctrl, "POST", path,
		                 json_pack("{sI, so*}", "incarnation", (json_int_t)incarnation,
		                           "obs", sl_observe(agent)),
		                 (int)agent->timeout_ms, on_renewed, agent);
	free(path);
	if (!agent->renew_call)
		sl_timer_in(agent->renew_timer, 1000 * sl_backoff_ms(agent->renew_failures++));
}

/* Without a control plane a name is what the user says. */
static int name_ourselves(slime_agent *agent, struct slime_error *err)
{
	char number[9] = "";
	int n;

	if (!agent->wanted_alias && sl_hex_random(number, sizeof(number) - 1))
		return sl_fail(err, -EIO, "the system gives no random numbers");
	n = agent->wanted_alias
	        ? snprintf(agent->alias, sizeof(agent->alias), "%s", agent->wanted_alias)
	        : snprintf(agent->alias, sizeof(agent->alias), "%s-%s", agent->prefix, number);
	if (n < 0 || (size_t)n >= sizeof(agent->alias))
		return sl_fail(err, -EINVAL, "the prefix of the name is too long");
	atomic_store(&agent->incarnation, 1);
	return 0;
}

void sl_register_start(slime_agent *agent, struct sl_job *job)
{
	struct slime_error err;
	int rc = agent->listen ? sl_door_open(agent, agent->listen, &err) : 0;

	agent->flight_door = sl_flight_door_open(agent); /* a help, not a need */
	if (!rc && !agent->ctrl)
		rc = name_ourselves(agent, &err);
	if (rc || !agent->ctrl) {
		sl_job_done(agent, job, rc, &err);
		return;
	}
	agent->renew_timer = event_new(agent->loop, -1, 0, on_renew_timer, agent);
	if (!agent->renew_timer) {
		sl_job_done(agent, job, sl_fail(&err, -ENOMEM, "no memory for an agent"), &err);
		return;
	}
	agent->register_job = job;
	ask(agent);
}

void sl_register_again(slime_agent *agent)
{
	if (!agent->renew_call && agent->renew_timer)
		sl_timer_in(agent->renew_timer, 0);
}

bool sl_register_wait(slime_agent *agent, uint64_t times, int64_t until_ns)
{
	const struct timespec until = {.tv_sec = until_ns / SL_NS_PER_S,
	                               .tv_nsec = until_ns % SL_NS_PER_S};
	int rc = 0;

	sl_lock_take(&agent->lock);
	while (atomic_load(&agent->registered) <= times && !agent->closing && !rc)
		rc = pthread_cond_timedwait(&agent->changed, &agent->lock.mutex, &until);
	sl_lock_drop(&agent->lock);
	return atomic_load(&agent->registered) > times;
}

static void on_left(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_job *job = arg;
	slime_agent *agent = job->state;

	(void)reply; /* nobody there, or forgotten already: as good */
	agent->renew_call = NULL;
	sl_friends_leave(agent, job);
}

void sl_register_leave(slime_agent *agent, struct sl_job *job)
{
	uint64_t incarnation = atomic_load(&agent->incarnation);
	char query[48], *path;

	if (agent->renew_call)
		sl_ctrl_drop(agent->renew_call);
	agent->renew_call = NULL;
	if (agent->renew_timer)
		(void)event_del(agent->renew_timer);
	(void)snprintf(query, sizeof(query), "&incarnation=%llu", (unsigned long long)incarnation);
	path = incarnation && agent->ctrl ? sl_agent_path(agent, agent->alias, NULL, query) : NULL;
	job->state = agent;
	if (path) /* behind what is said to peers, who would not hear it from nobody */
		agent->renew_call = sl_ctrl_send(agent->ctrl, "DELETE", path, NULL,
		                                 (int)agent->timeout_ms, on_left, job);
	free(path);
	if (!agent->renew_call)
		sl_friends_leave(agent, job);
}

void sl_register_stop(slime_agent *agent)
{
	if (agent->renew_timer)
		event_free(agent->renew_timer);
	agent->renew_timer = NULL;
}
