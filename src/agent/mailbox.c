/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/mailbox.c - messages of other agents: one long question to the control plane at any time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent_impl.h"

enum { WAIT_MS = 30000, AT_ONCE = 64 };

static void ask(slime_agent *agent);

static void take(slime_agent *agent, json_t *entry)
{
	const char *from = json_string_value(json_object_get(entry, "from"));
	json_int_t incarnation = json_integer_value(json_object_get(entry, "from_incarnation"));
	json_int_t position = json_integer_value(json_object_get(entry, "position"));
	struct sl_message msg;

	if (position > 0 && (uint64_t)position > agent->mail_after)
		agent->mail_after = (uint64_t)position;
	/* what is none of ours, somebody else's program may have meant well with: passed over */
	if (from && incarnation > 0 && !sl_friend_find(agent, from) &&
	    sl_message_read(json_object_get(entry, "message"), &msg, NULL) == 0)
		sl_link_message(agent, from, (uint64_t)incarnation, &msg);
}

static void on_mail(void *arg, const struct sl_ctrl_reply *reply)
{
	slime_agent *agent = arg;
	json_t *list = json_object_get(reply->body, "messages");
	uint64_t before = agent->mail_after;
	json_t *entry;
	size_t i;

	agent->mail_call = NULL;
	if (reply->status == -ENOENT || reply->status == -ESTALE) {
		sl_register_again(agent); /* and then we are started anew */
		sl_timer_in(agent->mail_timer, 1000 * sl_backoff_ms(agent->mail_failures++));
		return;
	}
	if (reply->status) {
		sl_timer_in(agent->mail_timer, 1000 * sl_backoff_ms(agent->mail_failures++));
		return;
	}
	agent->mail_failures = 0;
	json_array_foreach(list, i, entry) take(agent, entry);
	if (agent->mail_call)
		return;
	if (agent->mail_after == before) /* whoever answers at once with nothing is not asked so */
		sl_timer_in(agent->mail_timer, SL_NOTHING_NEW_US);
	else
		ask(agent);
}

static void ask(slime_agent *agent)
{
	unsigned long long after = agent->mail_after;
	char query[160], *path;

	(void)snprintf(
	    query, sizeof(query), "&incarnation=%llu&after=%llu&ack=%llu&limit=%d&wait_ms=%d",
	    (unsigned long long)atomic_load(&agent->incarnation), after, after, AT_ONCE, WAIT_MS);
	path = sl_agent_path(agent, agent->alias, "mailbox", query);
	if (path)
		agent->mail_call = sl_ctrl_call(agent->ctrl, "GET", path, NULL,
		                                WAIT_MS + (int)agent->timeout_ms, on_mail, agent);
	free(path);
	if (!agent->mail_call)
		sl_timer_in(agent->mail_timer, 1000 * sl_backoff_ms(agent->mail_failures++));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	slime_agent *agent = arg;

	(void)fd;
	(void)what;
	if (!agent->mail_call && atomic_load(&agent->incarnation))
		ask(agent);
}

void sl_mailbox_start(slime_agent *agent)
{
	if (!agent->mail_timer)
		agent->mail_timer = event_new(agent->loop, -1, 0, on_timer, agent);
	if (agent->mail_call)
		sl_ctrl_drop(agent->mail_call); /* it asks for another incarnation's */
	agent->mail_call = NULL;
	if (agent->mail_timer)
		ask(agent);
}

void sl_mailbox_stop(slime_agent *agent)
{
	if (agent->mail_call)
		sl_ctrl_drop(agent->mail_call);
	agent->mail_call = NULL;
	if (agent->mail_timer)
		event_free(agent->mail_timer);
	agent->mail_timer = NULL;
}

struct sl_ctrl_call *sl_mailbox_post(slime_agent *agent, const char *peer,
                                     const struct sl_message *msg, sl_ctrl_done *done, void *arg)
{
	json_t *message = sl_message_pack(msg);
	char *path = sl_agent_path(agent, peer, "mailbox", NULL);
	struct sl_ctrl_call *call = NULL;
	json_t *body;

	body = json_pack("{ss, sI, s[O]}", "from", agent->alias, "from_incarnation",
	                 (json_int_t)atomic_load(&agent->incarnation), "messages", message);
	json_decref(message);
	if (path && body)
		call = sl_ctrl_send(sl_ctrl_of(agent, peer), "POST", path, json_incref(body),
		                    (int)agent->timeout_ms, done, arg);
	json_decref(body);
	free(path);
	return call;
}
