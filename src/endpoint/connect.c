/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/connect.c - finding the transport that both sides can use.
 *
 *	NEW ──connect()──► CONNECTING ──ready──► CONNECTED
 *	                    │      ▲ │
 *	       next candidate └────┘ └──none left──► FAILED          any ──close()──► CLOSED
 *
 * Both sides walk the same list, best first. A candidate that refuses, here or
 * at the peer, is left for the next; the sentence it gave is kept. A peer that
 * already waits at a later candidate has refused the ones before, so we follow.
 *
 * Steps are taken by whoever makes progress, so that an endpoint goes on
 * connecting after its connect() timed out.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "endpoint/internal.h"

/* Does the transport say nothing when the peer is there? Then we look this often. */
static const int64_t look_ns = SL_NS_PER_MS;

__attribute__((format(printf, 2, 3))) static void say(slime_ep *ep, const char *fmt, ...)
{
	size_t len = strlen(ep->because);
	va_list ap;

	if (len)
		len += (size_t)snprintf(ep->because + len, sizeof(ep->because) - len, "; ");
	if (len >= sizeof(ep->because))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(ep->because + len, sizeof(ep->because) - len, fmt, ap);
	va_end(ap);
}

void sl_ep_refuse(slime_ep *ep, const char *transport, const char *why)
{
	say(ep, "not %s: %s", transport, why);
}

/* "shm and tcp" */
static void list_offered(const struct sl_desc_section *sections, int n, char *out, size_t cap)
{
	size_t len = 0;

	*out = '\0';
	for (int i = 0; i < n && len < cap; i++) {
		if (sections[i].lane == 0)
			len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? " and " : "",
			                        sections[i].transport);
	}
}

/* Call connect() on every lane that both sides have. */
static int start_cand(slime_ep *ep, struct sl_cand *c, struct slime_error *err)
{
	struct sl_desc_section sections[SL_DESC_SECTIONS];
	struct sl_desc_head head;
	int n = sl_desc_read(ep->peer_desc, SL_DESC_EP, &head, sections, err);

	if (n < 0)
		return n;
	for (uint32_t lane = 0; lane < c->nlanes; lane++) {
		const struct sl_desc_section *s = sl_desc_find(sections, n, c->tr->name, -1, lane);
		struct sl_blob blob = {0};
		char offered[64];
		int rc;

		if (!s && lane)
			break; /* the peer has fewer */
		if (!s) {
			list_offered(sections, n, offered, sizeof(offered));
			return sl_fail(err, -ENODEV, "the peer offers only %s", offered);
		}
		if (s->len > sizeof(blob.bytes))
			return sl_fail(err, -EPROTO, "the peer's description has %u bytes for it",
			               s->len);
		blob.len = s->len;
		memcpy(blob.bytes, s->bytes, s->len);
		ep->peer_dom[lane] = s->dom;
		rc = c->tr->connect(c->conn[lane], &blob, err);
		if (rc)
			return rc;
		c->started = lane + 1;
	}
	return 0;
}

/* 1: every lane is up. 0: not yet. */
static int cand_ready(struct sl_cand *c, struct slime_error *err)
{
	int all = 1;

	for (uint32_t lane = 0; lane < c->started; lane++) {
		int rc = c->tr->conn_ready(c->conn[lane], err);

		if (rc < 0)
			return rc;
		if (rc != SL_CONN_READY)
			all = 0;
	}
	return all;
}

/* Does the peer wait at a candidate behind the one that we try? */
static const struct sl_cand *called_later(slime_ep *ep)
{
	for (uint32_t i = ep->trying + 1; i < ep->ncands; i++) {
		struct sl_cand *c = &ep->cand[i];

		if (!c->out && c->tr->conn_ready(c->conn[0], NULL) == SL_CONN_CALLED)
			return c;
	}
	return NULL;
}

static void drop_cand(struct sl_cand *c, uint32_t from)
{
	while (c->nlanes > from) {
		struct sl_conn *conn = c->conn[--c->nlanes];

		c->tr->conn_close(conn);
		c->tr->conn_destroy(conn);
	}
	c->out = !c->nlanes;
}

/* "mlx5_0, mlx5_1" */
static void name_devices(slime_ep *ep)
{
	size_t len = 0;

	for (uint32_t i = 0; i < ep->ndoms && len + 2 < sizeof(ep->device_name); i++) {
		if (i)
			len += (size_t)snprintf(ep->device_name + len, 3, ", ");
		ep->tr->conn_name(ep->conn[i], ep->device_name + len,
		                  sizeof(ep->device_name) - len);
		len = strlen(ep->device_name);
	}
}

static void become_connected(slime_ep *ep, struct sl_cand *c)
{
	drop_cand(c, c->started);
	for (uint32_t i = 0; i < ep->ncands; i++) {
		if (&ep->cand[i] != c)
			drop_cand(&ep->cand[i], 0);
	}
	ep->tr = c->tr;
	ep->nlanes = c->nlanes;
	ep->ndoms = c->ndoms < c->nlanes ? c->ndoms : c->nlanes;
	memcpy(ep->dom, c->dom, sizeof(ep->dom));
	memcpy(ep->conn, c->conn, sizeof(ep->conn));
	name_devices(ep);
	(void)snprintf(ep->peer_name, sizeof(ep->peer_name), "%s:%u", ep->peer.host, ep->peer.pid);
	say(ep, "%s: %s", ep->tr->name,
	    ep->forced ? "it was asked for" : "the best that both sides can use");
	free(ep->peer_desc);
	ep->peer_desc = NULL;
	atomic_store(&ep->state, SL_EP_CONNECTED);
}

static void become_failed(slime_ep *ep, int rc)
{
	(void)sl_fail(&ep->failure, rc, "%.*s", (int)sizeof(ep->failure.text) - 1, ep->because);
	atomic_store(&ep->state, SL_EP_FAILED);
}

/* Give up the candidate that we try, for the reason in ERR, and start the next. */
static void next_cand(slime_ep *ep, struct slime_error *err)
{
	struct sl_cand *c = &ep->cand[ep->trying];
	int rc = err->code;

	for (;;) {
		sl_ep_refuse(ep, c->tr->name, err->text);
		drop_cand(c, 0);
		if (++ep->trying == ep->ncands) {
			become_failed(ep, rc);
			return;
		}
		c = &ep->cand[ep->trying];
		*err = (struct slime_error){0};
		rc = start_cand(ep, c, err);
		if (!rc)
			return;
		err->code = rc;
	}
}

static bool step_locked(slime_ep *ep)
{
	struct sl_cand *c = &ep->cand[ep->trying];
	const struct sl_cand *later;
	struct slime_error err = {0};
	int rc = cand_ready(c, &err);

	if (rc == 1) {
		become_connected(ep, c);
		return true;
	}
	if (rc == 0) {
		later = called_later(ep);
		if (!later)
			return false;
		rc = sl_fail(&err, -EOPNOTSUPP, "the peer could not use it and waits at %s",
		             later->tr->name);
	}
	err.code = rc;
	next_cand(ep, &err);
	return true;
}

void sl_connect_tell(slime_ep *ep)
{
	int state = atomic_load(&ep->state);
	struct slime_result res = {.user_data = ep->user_data};
	slime_cq *cq;

	if (state == SL_EP_NEW || state == SL_EP_CONNECTING)
		return;
	cq = atomic_exchange(&ep->settled, NULL);
	if (!cq)
		return;
	res.status = state == SL_EP_CONNECTED ? 0
	             : state == SL_EP_FAILED  ? ep->failure.code
	                                      : -ECANCELED;
	sl_cq_post(cq, &res);
}

static void leave_locked(slime_ctx *ctx, slime_ep *ep) SL_REQUIRES(ctx->list_lock)
{
	if (!ep->is_connecting)
		return;
	ep->is_connecting = false;
	LIST_REMOVE(ep, entry);
	atomic_fetch_sub(&ctx->nconnecting, 1);
}

int sl_connect_step(slime_ctx *ctx)
{
	slime_ep *ep, *next;
	int changed = 0;

	sl_lock_take(&ctx->list_lock);
	for (ep = LIST_FIRST(&ctx->connecting); ep; ep = next) {
		next = LIST_NEXT(ep, entry);
		sl_lock_take(&ep->lock);
		if (atomic_load(&ep->state) == SL_EP_CONNECTING && step_locked(ep))
			changed++;
		if (atomic_load(&ep->state) != SL_EP_CONNECTING)
			leave_locked(ctx, ep);
		sl_lock_drop(&ep->lock);
		sl_connect_tell(ep);
	}
	sl_lock_drop(&ctx->list_lock);
	return changed;
}

void sl_connect_forget(slime_ep *ep)
{
	slime_ctx *ctx = ep->ctx;

	sl_lock_take(&ctx->list_lock);
	leave_locked(ctx, ep);
	sl_lock_drop(&ctx->list_lock);
}

static void connect_later(slime_ep *ep)
{
	slime_ctx *ctx = ep->ctx;

	sl_lock_take(&ctx->list_lock);
	LIST_INSERT_HEAD(&ctx->connecting, ep, entry);
	ep->is_connecting = true;
	atomic_fetch_add(&ctx->nconnecting, 1);
	sl_lock_drop(&ctx->list_lock);
	sl_kick(ctx);
}

static bool step_once(slime_ep *ep)
{
	bool changed = false;

	sl_progress_enter(ep->ctx);
	sl_lock_take(&ep->lock);
	if (atomic_load(&ep->state) == SL_EP_CONNECTING)
		changed = step_locked(ep);
	sl_lock_drop(&ep->lock);
	sl_progress_exit(ep->ctx);
	sl_connect_tell(ep);
	return changed;
}

int sl_ep_usable(slime_ep *ep, struct slime_error *err)
{
	int state = atomic_load_explicit(&ep->state, memory_order_acquire);

	if (state == SL_EP_CONNECTING && step_once(ep))
		state = atomic_load(&ep->state);
	switch (state) {
	case SL_EP_CONNECTED:
		return 0;
	case SL_EP_CLOSED:
		return sl_fail(err, -ECANCELED, "the endpoint is closed");
	default:
		return sl_fail(err, -ENOTCONN, "the endpoint is not connected");
	}
}

/* From NEW to CONNECTING, or to FAILED at once. */
static int begin(slime_ep *ep, const struct slime_desc *peer, struct slime_error *err)
{
	struct sl_desc_section sections[SL_DESC_SECTIONS];
	struct slime_error why = {0};
	struct sl_desc_head head;
	int rc = sl_desc_read(peer, SL_DESC_EP, &head, sections, err);

	if (rc < 0)
		return rc;
	if (head.ep_id == ep->id)
		return sl_fail(err, -EINVAL,
		               "this is the endpoint's own description, not the peer's");
	ep->peer_desc = malloc(sizeof(*ep->peer_desc));
	if (!ep->peer_desc)
		return sl_fail(err, -ENOMEM, "no memory for the peer's description");
	ep->peer_desc->len = peer->len;
	memcpy(ep->peer_desc->bytes, peer->bytes, peer->len);
	ep->peer = head;
	atomic_store(&ep->state, SL_EP_CONNECTING);
	rc = start_cand(ep, &ep->cand[0], &why);
	if (rc) {
		why.code = rc;
		next_cand(ep, &why);
	}
	return 0;
}

static bool is_settled(void *arg)
{
	slime_ep *ep = arg;

	return atomic_load(&ep->state) != SL_EP_CONNECTING;
}

static void mark(void *arg, bool as_driver)
{
	(void)arg; /* nobody announces a connection: the naps are short */
	(void)as_driver;
}

static void sleep_on(void *arg, int64_t until_ns)
{
	struct timespec ts = {.tv_sec = until_ns / SL_NS_PER_S, .tv_nsec = until_ns % SL_NS_PER_S};

	(void)arg;
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static int outcome(slime_ep *ep, struct slime_error *err)
{
	switch (atomic_load(&ep->state)) {
	case SL_EP_CONNECTED:
		sl_lock_take(&ep->lock);
		ep->told = true;
		sl_lock_drop(&ep->lock);
		return 0;
	case SL_EP_FAILED:
		return sl_fail(err, ep->failure.code, "%s", ep->failure.text);
	case SL_EP_CLOSED:
		return sl_fail(err, -ECANCELED, "the endpoint is closed");
	default:
		return sl_fail(err, -ETIMEDOUT, "the peer did not connect in time");
	}
}

/* Is PEER of the endpoint that EP knows? Its bytes may differ: transports that it gave up are gone.
 */
static bool is_of_peer(const slime_ep *ep, const struct slime_desc *peer)
{
	struct sl_desc_section sections[SL_DESC_SECTIONS];
	struct sl_desc_head head;

	return sl_desc_read(peer, SL_DESC_EP, &head, sections, NULL) >= 0 &&
	       head.ep_id == ep->peer.ep_id;
}

/* Begin, or go on with the same peer. */
static int begin_or_go_on(slime_ep *ep, const struct slime_desc *peer, struct slime_error *err)
{
	int rc = 0;

	switch (atomic_load(&ep->state)) {
	case SL_EP_NEW:
		rc = begin(ep, peer, err);
		break;
	case SL_EP_CONNECTING:
		if (!is_of_peer(ep, peer))
			rc = sl_fail(err, -EISCONN, "the endpoint is connecting to another peer");
		break;
	case SL_EP_CONNECTED: /* while nobody waited: then the next call with the same peer says so
	                       */
		if (ep->told || !is_of_peer(ep, peer))
			rc = sl_fail(err, -EISCONN, "the endpoint is connected to %s",
			             ep->peer_name);
		break;
	default:
		break;
	}
	return rc;
}

int slime_ep_connect(slime_ep *ep, const struct slime_desc *peer, int64_t timeout_ns,
                     struct slime_error *err)
{
	struct sl_goal settled = {
	    .reached = is_settled, .mark = mark, .sleep = sleep_on, .arg = ep, .nap_ns = look_ns};
	bool fresh;
	int rc;

	if (!ep || !peer)
		return sl_fail(err, -EINVAL, "no endpoint or no description was given");
	/* connections that are given up on the way are destroyed, and that needs the progress lock
	 */
	sl_progress_enter(ep->ctx);
	sl_lock_take(&ep->lock);
	fresh = atomic_load(&ep->state) == SL_EP_NEW;
	rc = begin_or_go_on(ep, peer, err);
	fresh = fresh && atomic_load(&ep->state) == SL_EP_CONNECTING;
	sl_lock_drop(&ep->lock);
	sl_progress_exit(ep->ctx);
	if (rc)
		return rc;
	if (fresh)
		connect_later(ep);
	(void)step_once(ep);
	/* who only looks has looked, unless nobody else makes progress */
	if (!is_settled(ep) && (timeout_ns > 0 || ep->ctx->flags & SLIME_CTX_MANUAL_PROGRESS))
		(void)sl_drive(ep->ctx, &settled, sl_clock_after(timeout_ns));
	return outcome(ep, err);
}
