/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/link_news.c - what links learn from outside: messages, news of peers, the state of
 * endpoints. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "agent/link.h"

enum { PROBE_MS = 1000 /* links that are up are looked at so often */ };

static void met(slime_link *link, const char *life, uint64_t incarnation)
{
	if (strcmp(link->peer_life, life)) {
		memcpy(link->peer_life, life, sizeof(link->peer_life));
		link->peer_seq = 0;
		link->failures = 0; /* those were of another */
	}
	link->recount = false;
	sl_lock_take(&link->agent->lock);
	link->peer_incarnation = incarnation;
	sl_lock_drop(&link->agent->lock);
}

/* Is INCARNATION of a life of the peer's that is over? */
static bool is_over(const slime_link *link, uint64_t incarnation)
{
	return incarnation < link->peer_incarnation && !link->recount;
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
		sl_link_answer(link); /* it did not get there */
		return;
	}
	met(link, msg->life, incarnation);
	link->peer_seq = msg->seq;
	link->attempt = msg->attempt;
	memcpy(link->id, msg->link, sizeof(link->id));
	link->peer_desc = msg->desc;
	sl_link_step(link, SL_EV_CALLED);
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
	if (link && (is_over(link, incarnation) ||
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
		sl_link_say(link, msg->reason);
	if (msg->type == SL_MSG_ANSWER)
		link->peer_desc = msg->desc;
	sl_link_step(link, msg->type == SL_MSG_ANSWER   ? SL_EV_ANSWER
	                   : msg->type == SL_MSG_REFUSE ? SL_EV_REFUSED
	                                                : SL_EV_BYE);
	if (link->state == SLIME_LINK_CLOSED)
		sl_link_unlist(link);
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
		sl_link_step(link, SL_EV_TIMER); /* which is to look */
}

/* INCARNATION is no news where the peer has our call already, or will have it. */
static bool has_our_call(slime_link *link, uint64_t incarnation)
{
	if (link->peer_life[0] || !link->caller || link->state != SLIME_LINK_RESOLVING)
		return false;
	if (link->post)
		link->seen = incarnation;
	return link->post || incarnation <= link->called;
}

void sl_link_peer_seen(slime_agent *agent, const char *peer, const char *life, uint64_t incarnation)
{
	slime_link *link, *next;

	for (link = TAILQ_FIRST(&agent->links); link; link = next) {
		next = TAILQ_NEXT(link, entry);
		if (strcmp(link->peer, peer) || is_over(link, incarnation))
			continue;
		if (strcmp(link->peer_life, life) == 0 && link->state != SLIME_LINK_LOST &&
		    link->state != SLIME_LINK_RECONNECTING) {
			met(link, life, incarnation); /* it has only registered anew */
			continue;
		}
		if (has_our_call(link, incarnation)) {
			met(link, life, incarnation);
			continue;
		}
		if (link->state == SLIME_LINK_UP)
			sl_link_say(link, "the peer has come back as another process");
		met(link, life, incarnation);
		sl_link_step(link, SL_EV_NEW_LIFE);
		if (link->state == SLIME_LINK_CLOSED)
			sl_link_unlist(link);
	}
}

void sl_link_introduced(slime_agent *agent, const char *peer, const char *life,
                        uint64_t incarnation)
{
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry)
	link->recount = link->recount || strcmp(link->peer, peer) == 0;
	sl_link_peer_seen(agent, peer, life, incarnation);
}

void sl_link_recount(slime_agent *agent)
{
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry)
	link->recount = link->recount || !sl_friend_find(agent, link->peer);
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
			sl_link_say(link, "the peer went away");
			sl_link_step(link, SL_EV_LOST);
		}
		if (atomic_exchange(&link->asked, false))
			sl_link_step(link, SL_EV_ASK);
	}
}
