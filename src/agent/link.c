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
	PROBE_MS = 1000,    /* links that are up are looked at so often */
	LOOK_MS = 500,      /* a connecting endpoint is looked at even if it tells nothing */
};

enum event_of_link {
	EV_ASK,      /* somebody wants it up */
	EV_GO,       /* ... and it is time */
	EV_POSTED,   /* the peer's mailbox took our call */
	EV_NO_PEER,  /* it did not: no such peer, or no control plane */
	EV_ANSWER,   /* the peer's endpoint is in peer_desc */
	EV_REFUSED,  /* the peer says no */
	EV_CALLED,   /* the peer calls: id, attempt, peer_desc are its */
	EV_UP,       /* the endpoint is connected */
	EV_FAILED,   /* ... cannot be */
	EV_LOST,     /* ... is no more */
	EV_NEW_LIFE, /* the peer is there, in a life we have not met */
	EV_BYE,      /* the peer has closed the link */
	EV_TIMER,
	EV_CLOSE,
	EV_N
};

enum { STATES = SLIME_LINK_CLOSED + 1 };

typedef void action(slime_link *link);

static void step(slime_link *link, enum event_of_link event);

static const char *const state_names[STATES] = {"idle", "resolving",    "connecting", "up",
                                                "lost", "reconnecting", "closed"};

const char *sl_link_state_name(enum slime_link_state state)
{
	return (unsigned)state < STATES ? state_names[state] : "?";
}

static void say(slime_link *link, const char *text)
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

	link->post = NULL;
	if (reply->status)
		say(link, reply->err.text);
	step(link, reply->status ? EV_NO_PEER : EV_POSTED);
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
		say(link, err.text);
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
	link->post = sl_mailbox_post(link->agent, link->peer, &msg, on_posted, link);
	if (!link->post) {
		(void)sl_not_asked(link->agent, link->peer, &err);
		say(link, err.text);
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
 * lost only with the mailbox itself. Ever longer: a peer that is slow is not helped by more calls.
 */
static void await_answer(slime_link *link)
{
	unsigned doubled = link->calls < 3 ? link->calls : 3;

	sl_timer_in(link->timer, (int64_t)(ANSWER_MS << doubled) * 1000);
	link->calls++;
}

static void post_answer(slime_link *link);

/* Begin to connect, or learn what came of it. */
static void look(slime_link *link)
{
	struct slime_error err;
	int rc = slime_ep_connect(link->session->ep, &link->peer_desc, 0, &err);

	if (!link->caller && link->unanswered)
		post_answer(link);
	if (rc == 0) {
		step(link, EV_UP);
	} else if (rc != -ETIMEDOUT) {
		say(link, err.text);
		step(link, EV_FAILED);
	} else if (sl_clock_ns() - link->since_ns > CONNECT_MS * SL_NS_PER_MS) {
		say(link, "the peer knows of this link but does not connect");
		step(link, EV_FAILED);
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
		say(link, reply->err.text);
}

static void post_answer(slime_link *link)
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

/* We are called: an endpoint for it, and an answer. */
static void accept_call(slime_link *link)
{
	(void)event_del(link->timer);
	drop_post(link);
	link->caller = false;
	if (!renew_session(link)) {
		refuse(link);
		step(link, EV_FAILED);
		return;
	}
	post_answer(link);
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
		say(link, info.because);
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
		step(link, EV_CLOSE);
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
		step(link, EV_GO);
}

static void nobody_wants(slime_link *link)
{
	if (link->caller || has_users(link))
		step(link, EV_GO);
	else
		step(link, EV_CLOSE);
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
static const struct transition table[STATES][EV_N] =
    {
	[SLIME_LINK_IDLE] =
	    {
		[EV_ASK] = {call, RESOLVING_},
		[EV_CALLED] = {accept_call, CONNECTING_},
		[EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_RESOLVING] =
	    {
		[EV_POSTED] = {await_answer, RESOLVING_},
		[EV_NO_PEER] = {retry_later, RESOLVING_},
		[EV_ANSWER] = {begin, CONNECTING_},
		[EV_REFUSED] = {try_again, RESOLVING_},
		[EV_CALLED] = {accept_call, CONNECTING_},
		[EV_NEW_LIFE] = {call_again, RESOLVING_},
		[EV_TIMER] = {call_again, RESOLVING_},
		[EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_CONNECTING] =
	    {
		[EV_CALLED] = {accept_call, CONNECTING_},
		[EV_UP] = {came_up, UP_},
		[EV_FAILED] = {try_again, RECONNECTING_},
		[EV_REFUSED] = {try_again, RECONNECTING_},
		[EV_NEW_LIFE] = {lose, LOST_},
		[EV_BYE] = {let_go, IDLE_},
		[EV_TIMER] = {look, CONNECTING_},
		[EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_UP] =
	    {
		[EV_CALLED] = {accept_call, CONNECTING_},
		[EV_LOST] = {lose, LOST_},
		[EV_NEW_LIFE] = {lose, LOST_},
		[EV_BYE] = {let_go, IDLE_},
		[EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_LOST] =
	    {
		[EV_ASK] = {hurry, LOST_},
		[EV_GO] = {call, RECONNECTING_},
		[EV_CALLED] = {accept_call, CONNECTING_},
		[EV_NEW_LIFE] = {nobody_wants, LOST_},
		[EV_BYE] = {let_go, IDLE_},
		[EV_TIMER] = {nobody_wants, LOST_},
		[EV_CLOSE] = {shut, CLOSED_},
	    },
	[SLIME_LINK_RECONNECTING] =
	    {
		[EV_POSTED] = {await_answer, RECONNECTING_},
		[EV_NO_PEER] = {retry_later, RECONNECTING_},
		[EV_ANSWER] = {begin, CONNECTING_},
		[EV_REFUSED] = {try_again, RECONNECTING_},
		[EV_CALLED] = {accept_call, CONNECTING_},
		[EV_NEW_LIFE] = {call_again, RECONNECTING_},
		[EV_BYE] = {let_go, IDLE_},
		[EV_TIMER] = {call_again, RECONNECTING_},
		[EV_CLOSE] = {shut, CLOSED_},
	    },
};

static void step(slime_link *link, enum event_of_link event)
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

/* --- links come and go ---------------------------------------------------------------------------
 */

static void unlist(slime_link *link)
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
	step(link, EV_TIMER);
	if (link->state == SLIME_LINK_CLOSED)
		unlist(link);
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
	step(link, EV_CLOSE);
	unlist(link);
}

void sl_link_ask(slime_link *link)
{
	step(link, EV_ASK);
}

/* --- what comes from outside
 * ----------------------------------------------------------------------- */

static void met(slime_link *link, const char *life, uint64_t incarnation)
{
	if (strcmp(link->peer_life, life)) {
		memcpy(link->peer_life, life, sizeof(link->peer_life));
		link->peer_seq = 0;
		link->failures = 0; /* those were of another */
	}
	sl_lock_take(&link->agent->lock);
	link->peer_incarnation = incarnation;
	sl_lock_drop(&link->agent->lock);
}

static void on_call(slime_agent *agent, slime_link *link, const char *from, uint64_t incarnation,
                    const struct sl_message *msg)
{
	bool ours = link && link->caller && link->state != SLIME_LINK_UP &&
	            link->state != SLIME_LINK_LOST && link->state != SLIME_LINK_IDLE;

	if (!link) {
		link = sl_link_new(agent, from, msg->key);
		if (!link)
			return; /* the caller asks again */
		memcpy(link->transport, msg->transport, sizeof(link->transport));
		link->lanes = msg->lanes;
		link->depth = msg->depth;
	} else if (ours && strcmp(agent->alias, from) < 0) {
		return; /* the peer listens to our call */
	} else if (!link->caller && link->session && strcmp(link->id, msg->link) == 0 &&
	           strcmp(link->peer_life, msg->life) == 0 && link->attempt == msg->attempt) {
		post_answer(link); /* it did not get there */
		return;
	}
	met(link, msg->life, incarnation);
	link->peer_seq = msg->seq;
	link->attempt = msg->attempt;
	memcpy(link->id, msg->link, sizeof(link->id));
	link->peer_desc = msg->desc;
	step(link, EV_CALLED);
}

/* The link that MSG is about. Of an agent's link to itself there are two, one for each end. */
static slime_link *link_of(slime_agent *agent, const char *from, const struct sl_message *msg)
{
	bool to_caller = msg->type == SL_MSG_ANSWER || msg->type == SL_MSG_REFUSE;
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (strcmp(link->peer, from) == 0 &&
		    (msg->type == SL_MSG_CALL ? strcmp(link->key, msg->key) == 0
		                              : strcmp(link->id, msg->link) == 0) &&
		    (!to_caller || link->caller))
			return link;
	}
	return NULL;
}

void sl_link_message(slime_agent *agent, const char *from, uint64_t incarnation,
                     struct sl_message *msg)
{
	bool call_msg = msg->type == SL_MSG_CALL;
	slime_link *link;

	if (call_msg && strcmp(from, agent->alias) == 0) {
		size_t len = strlen(msg->key);

		if (len + 2 > sizeof(msg->key))
			return;
		memcpy(msg->key + len, "@", 2); /* the called end of a link to ourselves */
	}
	link = link_of(agent, from, msg);
	if (link && (incarnation < link->peer_incarnation ||
	             (strcmp(link->peer_life, msg->life) == 0 && msg->seq <= link->peer_seq)))
		return; /* of a life that is over, or late */
	if (call_msg) {
		on_call(agent, link, from, incarnation, msg);
		return;
	}
	if (!link || (msg->type != SL_MSG_BYE && (!link->caller || msg->attempt != link->attempt)))
		return;
	if (msg->type == SL_MSG_ANSWER && !link->session)
		return; /* it has refused before, or took too long: our endpoint for it is gone */
	met(link, msg->life, incarnation);
	link->peer_seq = msg->seq;
	if (msg->type == SL_MSG_REFUSE)
		say(link, msg->reason);
	if (msg->type == SL_MSG_ANSWER)
		link->peer_desc = msg->desc;
	step(link, msg->type == SL_MSG_ANSWER   ? EV_ANSWER
	           : msg->type == SL_MSG_REFUSE ? EV_REFUSED
	                                        : EV_BYE);
	if (link->state == SLIME_LINK_CLOSED)
		unlist(link);
}

void sl_link_settled(slime_agent *agent, uint64_t serial)
{
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (link->session && link->session->serial == serial)
			break;
	}
	if (link && link->state == SLIME_LINK_CONNECTING)
		look(link);
}

void sl_link_peer_seen(slime_agent *agent, const char *peer, const char *life, uint64_t incarnation)
{
	slime_link *link, *next;

	for (link = TAILQ_FIRST(&agent->links); link; link = next) {
		next = TAILQ_NEXT(link, entry);
		if (strcmp(link->peer, peer) || incarnation < link->peer_incarnation)
			continue;
		if (strcmp(link->peer_life, life) == 0 && link->state != SLIME_LINK_LOST &&
		    link->state != SLIME_LINK_RECONNECTING) {
			met(link, life, incarnation); /* it has only registered anew */
			continue;
		}
		if (link->state == SLIME_LINK_UP)
			say(link, "the peer has come back as another process");
		met(link, life, incarnation);
		step(link, EV_NEW_LIFE);
		if (link->state == SLIME_LINK_CLOSED)
			unlist(link);
	}
}

void sl_link_introduced(slime_agent *agent, const char *peer, const char *life,
                        uint64_t incarnation)
{
	slime_link *link;

	sl_lock_take(&agent->lock);
	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (strcmp(link->peer, peer) == 0)
			link->peer_incarnation = 0; /* the control plane counts otherwise */
	}
	sl_lock_drop(&agent->lock);
	sl_link_peer_seen(agent, peer, life, incarnation);
}

/* The control plane has lost sight of it. The endpoint knows better whether it lives. */
void sl_link_peer_gone(slime_agent *agent, const char *peer)
{
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (strcmp(link->peer, peer) == 0)
			sl_flight_note(&link->flight, "the control plane says that the peer left");
	}
}

void sl_link_region_changed(slime_agent *agent, const char *peer, const char *name)
{
	slime_link *link;

	sl_lock_take(&agent->lock);
	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (link->session && strcmp(link->peer, peer) == 0)
			sl_session_forget_locked(link->session, name);
	}
	sl_lock_drop(&agent->lock);
}

void sl_link_region_told(slime_agent *agent, const char *peer, const char *name, const char *life,
                         const char *desc)
{
	slime_link *link;

	sl_lock_take(&agent->lock);
	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (link->session && strcmp(link->peer, peer) == 0)
			sl_session_told_locked(link->session, name, life, desc);
	}
	sl_lock_drop(&agent->lock);
}

/* An empty transfer goes nowhere but to the endpoint, which knows whether its peer is there. */
static bool is_gone(struct sl_session *s)
{
	int rc = slime_ep_read(s->ep, NULL, 0, NULL, NULL);

	return rc == -ECONNRESET || rc == -ECANCELED || rc == -ENOTCONN;
}

bool sl_link_is_alive(slime_agent *agent, const char *peer)
{
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (link->state == SLIME_LINK_UP && strcmp(link->peer, peer) == 0 &&
		    !is_gone(link->session))
			return true;
	}
	return false;
}

void sl_link_look(slime_agent *agent)
{
	int64_t now = sl_clock_ns();
	bool probe = now - agent->looked_ns > PROBE_MS * SL_NS_PER_MS;
	slime_link *link, *next;

	if (probe)
		agent->looked_ns = now;
	for (link = TAILQ_FIRST(&agent->links); link; link = next) {
		next = TAILQ_NEXT(link, entry);
		if (link->state == SLIME_LINK_UP &&
		    (atomic_load(&link->session->dead) || (probe && is_gone(link->session)))) {
			say(link, "the peer went away");
			step(link, EV_LOST);
		}
		if (atomic_exchange(&link->asked, false))
			step(link, EV_ASK);
	}
}

void sl_link_stop_all(slime_agent *agent)
{
	while (!TAILQ_EMPTY(&agent->links))
		sl_link_shut(TAILQ_FIRST(&agent->links));
}
