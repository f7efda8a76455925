/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/link.c - the life of a link: a state machine, stepped by the agent's loop alone.
 *
 *	           ask              answered             endpoint up
 *	  IDLE ─────────► RESOLVING ────────► CONNECTING ────────► UP
 *	   │ called        │ ▲ timer            ▲  │ failed         │ the peer is gone, or in
 *	   └───────────────┼─┼──────────────────┘  ▼                ▼ a new life
 *	                   └─┘ no answer     RECONNECTING ◄─────── LOST
 *	                                      (as RESOLVING)   go: ask, timer, peer seen
 *	  any ──close──► CLOSED
 *
 * The caller makes an endpoint and says so in a "call"; the peer makes one and
 * says so in an "answer"; both connect. Whoever was called does not call while
 * that may succeed. When both call at once, the call of the smaller alias holds:
 * its sender does not listen to the other, whose sender drops his own.
 *
 * A peer that came back under its alias has another life. What was known of the
 * old one (endpoint, regions) is never used with the new one.
 */
#include "agent/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "base/error.h"

enum {
	FORGET_MS = 10000,  /* a lost link that nobody here wants, and nobody calls */
	ANSWER_MS = 4000,   /* a call without an answer is made again after this */
	CALLED_MS = 500,    /* who lost a link is called by the other within this, or calls */
	CONNECT_MS = 30000, /* both descriptions are known, so this is long */
	LOOK_MS = 500,      /* a connecting endpoint is looked at even if it tells nothing */
};

enum { STATES = SLIME_LINK_CLOSED + 1 };

typedef void action(slime_link *link);

static const char *const state_names[STATES] = {"idle", "resolving",    "connecting", "up",
                                                "lost", "reconnecting", "closed"};

const char *sl_link_state_name(enum slime_link_state state)
{
	return (unsigned)state < STATES ? state_names[state] : "?";
}

void sl_link_say(slime_link *link, const char *text)
{
	sl_lock_take(&link->agent->lock);
	(void)snprintf(link->said, sizeof(link->said), "%s", text);
	sl_lock_drop(&link->agent->lock);
	sl_flight_note(&link->flight, "%s", text);
}

static void set_session(slime_link *link, struct sl_session *s)
{
	struct sl_session *old;

	sl_lock_take(&link->agent->lock);
	old = link->session;
	link->session = s;
	if (old && old->pinned) { /* the user may still look at its endpoint */
		TAILQ_INSERT_TAIL(&link->old, old, entry);
		old = NULL;
	}
	sl_lock_drop(&link->agent->lock);
	sl_session_unref(link->agent, old);
}

/* --- actions -----------------------------------------------------------------------------------
 */

static void retry_later(slime_link *link)
{
	sl_timer_in(link->timer, 1000 * sl_backoff_ms(link->failures));
	link->failures++;
}

static void on_posted(void *arg, const struct sl_ctrl_reply *reply)
{
	slime_link *link = arg;
	json_int_t to = json_integer_value(json_object_get(reply->body, "incarnation"));

	link->post = NULL;
	link->called = !reply->status && to > 0 ? (uint64_t)to : 0;
	if (reply->status)
		sl_link_say(link, reply->err.text);
	sl_link_step(link, link->seen > link->called ? SL_EV_NEW_LIFE
	                   : reply->status           ? SL_EV_NO_PEER
	                                             : SL_EV_POSTED);
}

static void fill_message(slime_link *link, enum sl_message_type type, struct sl_message *msg)
{
	memset(msg, 0, sizeof(*msg));
	msg->type = type;
	msg->seq = ++link->agent->seq;
	msg->attempt = link->attempt;
	memcpy(msg->life, link->agent->life, sizeof(msg->life));
	memcpy(msg->link, link->id, sizeof(msg->link));
}

static void drop_post(slime_link *link)
{
	if (link->post)
		sl_ctrl_drop(link->post);
	link->post = NULL;
}

/* Make an endpoint of ours, in place of any there was. */
static bool renew_session(slime_link *link)
{
	struct sl_session *s = NULL;
	struct slime_error err;

	if (sl_session_create(link, &s, &link->desc, &err)) {
		set_session(link, NULL);
		sl_link_say(link, err.text);
		return false;
	}
	set_session(link, s);
	return true;
}

static void post_call(slime_link *link)
{
	struct sl_message msg;
	struct slime_error err;

	fill_message(link, SL_MSG_CALL, &msg);
	msg.desc = link->desc;
	msg.lanes = link->lanes;
	msg.depth = link->depth;
	memcpy(msg.key, link->key, sizeof(msg.key));
	memcpy(msg.transport, link->transport, sizeof(msg.transport));
	drop_post(link);
	link->called = link->seen = 0;
	link->called_ns = sl_clock_ns();
	link->post = sl_mailbox_post(link->agent, link->peer, &msg, on_posted, link);
	if (!link->post) {
		(void)sl_not_asked(link->agent, link->peer, &err);
		sl_link_say(link, err.text);
		retry_later(link);
	}
}

/* A new attempt: a new endpoint, and the peer is told. */
static void call(slime_link *link)
{
	(void)event_del(link->timer);
	link->caller = true;
	link->calls = 0;
	link->attempt++;
	if (!link->id[0] && sl_hex_random(link->id, SL_LINK_ID_LEN - 1)) {
		retry_later(link);
		return;
	}
	if (renew_session(link))
		post_call(link);
	else
		retry_later(link);
}

/* The same attempt once more: the call or its answer may have been lost. */
static void call_again(slime_link *link)
{
	if (link->caller && link->session)
		post_call(link);
	else
		call(link);
}

/*
 * The peer's mailbox has the call, and a peer that comes back in another life is told of, so it is
 * lost only with the mailbox itself. Ever longer, and longer where the control plane took long to
 * take the call: those who are slow are not helped by more calls.
 */
static void await_answer(slime_link *link)
{
	unsigned doubled = link->calls < 3 ? link->calls : 3;
	int64_t took_us = (sl_clock_ns() - link->called_ns) / SL_NS_PER_US;

	sl_timer_in(link->timer, (int64_t)(ANSWER_MS << doubled) * 1000 + 8 * took_us);
	link->calls++;
}

/* Begin to connect, or learn what came of it. */
static void look(slime_link *link)
{
	struct slime_error err;
	int rc = slime_ep_connect(link->session->ep, &link->peer_desc, 0, &err);

	if (!link->caller && link->unanswered)
		sl_link_answer(link);
	if (rc == 0) {
		sl_link_step(link, SL_EV_UP);
	} else if (rc != -ETIMEDOUT) {
		sl_link_say(link, err.text);
		sl_link_step(link, SL_EV_FAILED);
	} else if (sl_clock_ns() - link->since_ns > CONNECT_MS * SL_NS_PER_MS) {
		sl_link_say(link, "the peer knows of this link but does not connect");
		sl_link_step(link, SL_EV_FAILED);
	} else {
		sl_timer_in(link->timer, LOOK_MS * 1000); /* the queue tells before that */
	}
}

/* Both descriptions are known. */
static void start_connecting(slime_link *link)
{
	memcpy(link->session->life, link->peer_life, sizeof(link->session->life));
	link->since_ns = sl_clock_ns();
	look(link);
}

static void begin(slime_link *link)
{
	drop_post(link);
	start_connecting(link);
}

static void on_answered(void *arg, const struct sl_ctrl_reply *reply)
{
	slime_link *link = arg;

	link->post = NULL;
	link->unanswered = reply->status != 0; /* said again when the link is looked at */
	if (reply->status)
		sl_link_say(link, reply->err.text);
}

void sl_link_answer(slime_link *link)
{
	struct sl_message msg;

	fill_message(link, SL_MSG_ANSWER, &msg);
	msg.desc = link->desc;
	link->unanswered = false;
	drop_post(link);
	link->post = sl_mailbox_post(link->agent, link->peer, &msg, on_answered, link);
}

static void refuse(slime_link *link)
{
	struct sl_message msg;

	fill_message(link, SL_MSG_REFUSE, &msg);
	sl_lock_take(&link->agent->lock);
	(void)snprintf(msg.reason, sizeof(msg.reason), "%.250s", link->said);
	sl_lock_drop(&link->agent->lock);
	drop_post(link);
	link->post = sl_mailbox_post(link->agent, link->peer, &msg, on_answered, link);
}

/* Is there an endpoint that has not begun to connect? We have called as well, and it will do. */
static bool has_fresh_session(const slime_link *link)
{
	return link->session && !link->session->life[0];
}

/* We are called: an endpoint for it, and an answer. */
static void accept_call(slime_link *link)
{
	(void)event_del(link->timer);
	drop_post(link);
	link->caller = false;
	if (!has_fresh_session(link) && !renew_session(link)) {
		refuse(link);
		sl_link_step(link, SL_EV_FAILED);
		return;
	}
	sl_link_answer(link);
	start_connecting(link);
}

static void wake_waiters(slime_link *link)
{
	sl_lock_take(&link->agent->lock);
	(void)pthread_cond_broadcast(&link->agent->changed);
	sl_lock_drop(&link->agent->lock);
}

static void came_up(slime_link *link)
{
	struct slime_ep_info info = {.size = sizeof(info)};

	(void)event_del(link->timer);
	link->since_ns = sl_clock_ns();
	if (slime_ep_get_info(link->session->ep, &info) == 0)
		sl_link_say(link, info.because);
	wake_waiters(link);
}

static bool has_users(slime_link *link)
{
	bool has;

	sl_lock_take(&link->agent->lock);
	has = link->users > 0;
	sl_lock_drop(&link->agent->lock);
	return has;
}

/* Back-off begins anew only after a life of some length: peers that meet and part in turn do not
 * take all of the processor. */
static int64_t next_call_us(slime_link *link)
{
	if (sl_clock_ns() - link->since_ns > SL_NS_PER_S)
		link->failures = 0;
	link->failures++;
	return link->failures == 1 ? 0 : 1000 * (int64_t)sl_backoff_ms(link->failures - 2);
}

/* Who called calls again; who was called waits for it, and calls after a while if he has users. */
static void lose(slime_link *link)
{
	sl_flight_log(link, "lost");
	set_session(link, NULL);
	drop_post(link);
	sl_lock_take(&link->agent->lock);
	link->reconnects++;
	sl_lock_drop(&link->agent->lock);
	if (link->caller)
		sl_timer_in(link->timer, next_call_us(link));
	else if (has_users(link))
		sl_timer_in(link->timer, CALLED_MS * 1000);
	else
		sl_timer_in(link->timer, FORGET_MS * 1000);
}

static void try_again(slime_link *link)
{
	set_session(link, NULL);
	retry_later(link);
}

static void let_go(slime_link *link)
{
	set_session(link, NULL);
	drop_post(link);
	(void)event_del(link->timer);
	if (!has_users(link))
		sl_link_step(link, SL_EV_CLOSE);
}

static void shut(slime_link *link)
{
	struct sl_message msg;

	drop_post(link);
	(void)event_del(link->timer);
	if (link->id[0] && !link->agent->closing) {
		fill_message(link, SL_MSG_BYE, &msg);
		(void)sl_mailbox_post(link->agent, link->peer, &msg, NULL, NULL);
	}
	set_session(link, NULL);
	wake_waiters(link);
}

/* A transfer waits, so now, unless the last lives of the link were short. */
static void hurry(slime_link *link)
{
	if (!link->caller || link->failures < 2)
		sl_link_step(link, SL_EV_GO);
}

static void nobody_wants(slime_link *link)
{
	if (link->caller || has_users(link))
		sl_link_step(link, SL_EV_GO);
	else
		sl_link_step(link, SL_EV_CLOSE);
}

/* --- the table ----------------------------------------------------------------------------------
 */

struct transition {
	action *act;
	int next; /* enum slime_link_state; the state is changed before ACT runs */
};

#define IDLE_         SLIME_LINK_IDLE
#define RESOLVING_    SLIME_LINK_RESOLVING
#define CONNECTING_   SLIME_LINK_CONNECTING
#define UP_           SLIME_LINK_UP
#define LOST_         SLIME_LINK_LOST
#define RECONNECTING_ SLIME_LINK_RECONNECTING
#define CLOSED_       SLIME_LINK_CLOSED

/* An event without an entry says nothing in that state. */
static const struct transition table[STATES][SL_EV_N] =
    {
	[SLIME_LINK_IDLE] =
	    {
		[SL_EV_ASK] = {call, RESOLVING_},
		[SL_EV_CALLED] = {accept_call, CONNECTING_},
		[SL_EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_RESOLVING] =
	    {
		[SL_EV_POSTED] = {await_answer, RESOLVING_},
		[SL_EV_NO_PEER] = {retry_later, RESOLVING_},
		[SL_EV_ANSWER] = {begin, CONNECTING_},
		[SL_EV_REFUSED] = {try_again, RESOLVING_},
		[SL_EV_CALLED] = {accept_call, CONNECTING_},
		[SL_EV_NEW_LIFE] = {call_again, RESOLVING_},
		[SL_EV_TIMER] = {call_again, RESOLVING_},
		[SL_EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_CONNECTING] =
	    {
		[SL_EV_CALLED] = {accept_call, CONNECTING_},
		[SL_EV_UP] = {came_up, UP_},
		[SL_EV_FAILED] = {try_again, RECONNECTING_},
		[SL_EV_REFUSED] = {try_again, RECONNECTING_},
		[SL_EV_NEW_LIFE] = {lose, LOST_},
		[SL_EV_BYE] = {let_go, IDLE_},
		[SL_EV_TIMER] = {look, CONNECTING_},
		[SL_EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_UP] =
	    {
		[SL_EV_CALLED] = {accept_call, CONNECTING_},
		[SL_EV_LOST] = {lose, LOST_},
		[SL_EV_NEW_LIFE] = {lose, LOST_},
		[SL_EV_BYE] = {let_go, IDLE_},
		[SL_EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_LOST] =
	    {
		[SL_EV_ASK] = {hurry, LOST_},
		[SL_EV_GO] = {call, RECONNECTING_},
		[SL_EV_CALLED] = {accept_call, CONNECTING_},
		[SL_EV_NEW_LIFE] = {nobody_wants, LOST_},
		[SL_EV_BYE] = {let_go, IDLE_},
		[SL_EV_TIMER] = {nobody_wants, LOST_},
		[SL_EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_RECONNECTING] =
	    {
		[SL_EV_POSTED] = {await_answer, RECONNECTING_},
		[SL_EV_NO_PEER] = {retry_later, RECONNECTING_},
		[SL_EV_ANSWER] = {begin, CONNECTING_},
		[SL_EV_REFUSED] = {try_again, RECONNECTING_},
		[SL_EV_CALLED] = {accept_call, CONNECTING_},
		[SL_EV_NEW_LIFE] = {call_again, RECONNECTING_},
		[SL_EV_BYE] = {let_go, IDLE_},
		[SL_EV_TIMER] = {call_again, RECONNECTING_},
		[SL_EV_CLOSE] = {shut, CLOSED_},
	    },
};

void sl_link_step(slime_link *link, enum sl_link_event event)
{
	const struct transition *t = &table[link->state][event];

	if (!t->act)
		return;
	if (t->next != (int)link->state) {
		sl_flight_note(&link->flight, "%s -> %s", state_names[link->state],
		               state_names[t->next]);
		sl_lock_take(&link->agent->lock);
		link->state = (enum slime_link_state)t->next;
		sl_lock_drop(&link->agent->lock);
	}
	t->act(link);
}

void sl_link_ask(slime_link *link)
{
	sl_link_step(link, SL_EV_ASK);
}
