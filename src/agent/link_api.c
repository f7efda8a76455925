/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/link_api.c - links as users have them: handles, waiting, what they are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"
#include "base/error.h"

struct wish {
	const char *peer;
	const struct slime_ep_opts *ep;
	slime_link *link;
};

static int take_text(char *out, size_t cap, const char *what, const char *in,
                     struct slime_error *err)
{
	if (in && strlen(in) >= cap)
		return sl_fail(err, -EINVAL, "the name of the %s is too long: '%.60s'", what, in);
	(void)snprintf(out, cap, "%s", in ? in : "");
	return 0;
}

/* The link of the same options, or a new one. Runs on the loop. */
static void start_connect(slime_agent *agent, struct sl_job *job)
{
	struct wish *w = job->arg;
	slime_link model = {.lanes = w->ep ? w->ep->lanes : 0, .depth = w->ep ? w->ep->depth : 0};
	char key[SL_KEY_MAX];
	struct slime_error err;
	slime_link *link;

	if (take_text(model.transport, sizeof(model.transport), "transport",
	              w->ep ? w->ep->transport : NULL, &err) ||
	    take_text(model.device, sizeof(model.device), "device", w->ep ? w->ep->device : NULL,
	              &err)) {
		sl_job_done(agent, job, -EINVAL, &err);
		return;
	}
	(void)snprintf(key, sizeof(key), "%s/%s/%u/%u", model.transport, model.device, model.lanes,
	               model.depth);
	link = sl_link_find(agent, w->peer, key);
	if (!link) {
		link = sl_link_new(agent, w->peer, key);
		if (!link) {
			sl_job_done(agent, job, sl_fail(&err, -ENOMEM, "no memory for a link"),
			            &err);
			return;
		}
		memcpy(link->transport, model.transport, sizeof(link->transport));
		memcpy(link->device, model.device, sizeof(link->device));
		link->lanes = model.lanes;
		link->depth = model.depth;
	}
	sl_lock_take(&agent->lock);
	link->users++;
	sl_lock_drop(&agent->lock);
	w->link = link;
	sl_job_done(agent, job, 0, NULL);
	sl_link_ask(link);
}

int slime_agent_connect(slime_agent *agent, const char *peer, const struct slime_ep_opts *ep,
                        slime_link **out, struct slime_error *err)
{
	struct wish w = {peer, ep, NULL};
	struct sl_job job = {.start = start_connect, .arg = &w};
	int rc;

	if (!agent || !out)
		return sl_fail(err, -EINVAL, "no agent, or no place for the link");
	if (ep && (ep->size != sizeof(*ep) || ep->flags || ep->lanes > 16 || ep->depth > 1 << 20 ||
	           (ep->device && !ep->transport)))
		return sl_fail(err, -EINVAL, "the endpoint's options are not valid");
	rc = sl_name_check("the peer's alias", peer, err);
	if (!rc)
		rc = sl_agent_run(agent, &job, err);
	if (!rc)
		*out = w.link;
	return rc;
}

static void start_close(slime_agent *agent, struct sl_job *job)
{
	slime_link *link = job->arg;
	bool shut;

	sl_lock_take(&agent->lock);
	shut = --link->users == 0 && link->listed;
	sl_lock_drop(&agent->lock);
	if (shut)
		sl_link_shut(link);
	else if (!link->users && !link->listed)
		sl_link_free(link);
	sl_job_done(agent, job, 0, NULL);
}

void slime_link_close(slime_link *link)
{
	struct sl_job job = {.start = start_close, .arg = link};
	slime_agent *agent;
	bool last;

	if (!link)
		return;
	agent = link->agent;
	sl_agent_ref(agent);                                 /* LINK's own may be the last one */
	if (sl_agent_run(agent, &job, NULL) == -ECANCELED) { /* the agent is gone: the loop too */
		sl_lock_take(&agent->lock);
		last = --link->users == 0 && !link->listed;
		sl_lock_drop(&agent->lock);
		if (last)
			sl_link_free(link);
	}
	sl_agent_unref(agent);
}

int slime_link_wait(slime_link *link, int64_t timeout_ns, struct slime_error *err)
{
	int64_t until = sl_clock_after(timeout_ns);
	struct timespec ts = {.tv_sec = until / SL_NS_PER_S, .tv_nsec = until % SL_NS_PER_S};
	enum slime_link_state state;
	char said[200];
	int late = 0;

	if (!link)
		return sl_fail(err, -EINVAL, "no link");
	atomic_store(&link->asked, true);
	sl_agent_kick(link->agent);
	sl_lock_take(&link->agent->lock);
	while (link->state != SLIME_LINK_UP && link->state != SLIME_LINK_CLOSED && !late)
		late = pthread_cond_timedwait(&link->agent->changed, &link->agent->lock.mutex, &ts);
	state = link->state;
	(void)snprintf(said, sizeof(said), "%.199s", link->said);
	sl_lock_drop(&link->agent->lock);
	if (state == SLIME_LINK_UP)
		return 0;
	if (state == SLIME_LINK_CLOSED)
		return sl_fail(err, -ECANCELED, "the link to '%.100s' is closed", link->peer);
	return sl_fail(err, -ETIMEDOUT, "the link to '%.80s' is %s%s%.120s", link->peer,
	               sl_link_state_name(state), said[0] ? ": " : "", said);
}

struct sl_session *sl_link_session(slime_link *link)
{
	struct sl_session *s;

	sl_lock_take(&link->agent->lock);
	s = link->state == SLIME_LINK_UP ? link->session : NULL;
	if (s)
		sl_session_ref(s);
	sl_lock_drop(&link->agent->lock);
	return s;
}

int slime_link_get_info(slime_link *link, struct slime_link_info *out)
{
	struct slime_ep_info info = {.size = sizeof(info)};
	struct sl_session *s;

	if (!link || !out || out->size != sizeof(*out))
		return -EINVAL;
	s = sl_link_session(link);
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	sl_lock_take(&link->agent->lock);
	out->state = link->state;
	out->peer_incarnation = link->peer_incarnation;
	out->reconnects = link->reconnects;
	out->transfers = link->transfers;
	out->bytes = link->bytes;
	out->failed = link->failed;
	memcpy(out->waited, link->waited, sizeof(out->waited));
	(void)snprintf(out->peer, sizeof(out->peer), "%s", link->peer);
	(void)snprintf(out->because, sizeof(out->because), "%s", link->said);
	sl_lock_drop(&link->agent->lock);
	if (s && slime_ep_get_info(s->ep, &info) == 0) {
		(void)snprintf(out->transport, sizeof(out->transport), "%s", info.transport);
		(void)snprintf(out->device, sizeof(out->device), "%s", info.device);
	}
	sl_session_unref(link->agent, s);
	return 0;
}

slime_ep *slime_link_ep(slime_link *link)
{
	slime_ep *ep = NULL;

	if (!link)
		return NULL;
	sl_lock_take(&link->agent->lock);
	if (link->state == SLIME_LINK_UP && link->session) {
		link->session->pinned = true;
		ep = link->session->ep;
	}
	sl_lock_drop(&link->agent->lock);
	return ep;
}

/* The peer's region NAME, if S knows what it means now; it stays until S goes. */
static bool hand_out(slime_link *link, struct sl_session *s, const char *name, slime_rmr **out)
{
	struct sl_known *k;
	bool known;

	sl_lock_take(&link->agent->lock);
	k = sl_session_find_locked(s, name);
	known = k && !k->stale;
	if (known) {
		k->handed_out = true;
		*out = k->rmr;
	}
	sl_lock_drop(&link->agent->lock);
	return known;
}

int slime_link_region(slime_link *link, const char *name, slime_rmr **out, struct slime_error *err)
{
	struct sl_session *s;
	int rc = 0;

	if (!link || !name || !out)
		return sl_fail(err, -EINVAL, "no link, no name, or no place for the region");
	if (!slime_link_ep(link)) /* it is for raw transfers: the endpoint stays as well */
		return sl_fail(err, -ENOTCONN, "the link to '%.100s' is not up", link->peer);
	s = sl_link_session(link);
	if (!s)
		return sl_fail(err, -ENOTCONN, "the link to '%.100s' is not up", link->peer);
	while (!rc && !hand_out(link, s, name, out))
		rc = sl_session_resolve(link, s, name, err);
	sl_session_unref(link->agent, s);
	return rc;
}

struct dropped {
	slime_link *link;
	slime_ep *ep;
};

static void start_drop(slime_agent *agent, struct sl_job *job)
{
	struct dropped *d = job->arg;
	struct sl_session *s;

	TAILQ_FOREACH(s, &d->link->old, entry)
	{
		if (s->ep != d->ep)
			continue;
		TAILQ_REMOVE(&d->link->old, s, entry);
		sl_session_unref(agent, s);
		break;
	}
	sl_job_done(agent, job, 0, NULL);
}

void slime_link_drop_ep(slime_link *link, slime_ep *ep)
{
	struct dropped d = {link, ep};
	struct sl_job job = {.start = start_drop, .arg = &d};

	if (link && ep)
		(void)sl_agent_run(link->agent, &job, NULL);
}

size_t slime_agent_links(slime_agent *agent, slime_link **out, size_t cap)
{
	slime_link *link;
	size_t n = 0;

	if (!agent || (cap && !out))
		return 0;
	sl_lock_take(&agent->lock);
	TAILQ_FOREACH(link, &agent->links, entry)
	{
		if (n < cap) {
			link->users++;
			out[n] = link;
		}
		n++;
	}
	sl_lock_drop(&agent->lock);
	return n;
}
