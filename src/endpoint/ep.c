/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint/ep.c - endpoints: made, described, closed, given back. connect.c is in between. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slime/ep.h>

#include "base/env.h"
#include "base/error.h"
#include "base/futex.h"
#include "base/random.h"
#include "endpoint/internal.h"
#include "transport/transports.h"

enum { DEPTH_DEFAULT = 256, DEPTH_MAX = 1 << 20 };

static int check_opts(const struct slime_ep_opts *opts, struct slime_error *err)
{
	if (opts->size != sizeof(*opts))
		return sl_fail(err, -EINVAL,
		               "size of the endpoint options is %u, this library's is %zu",
		               opts->size, sizeof(*opts));
	if (opts->flags)
		return sl_fail(err, -EINVAL, "endpoint flags 0x%x are not known", opts->flags);
	if (opts->depth > DEPTH_MAX)
		return sl_fail(err, -EINVAL, "depth %u is over %d", opts->depth, DEPTH_MAX);
	if (opts->lanes > SL_LANES_MAX)
		return sl_fail(err, -EINVAL, "%u lanes are over %d", opts->lanes, SL_LANES_MAX);
	return 0;
}

static int no_such_transport(const char *name, struct slime_error *err)
{
	char known[128] = "";

	for (size_t i = 0; sl_transports[i]; i++) {
		size_t n = strlen(known);

		(void)snprintf(known + n, sizeof(known) - n, "%s'%s'", i ? ", " : "",
		               sl_transports[i]->name);
	}
	return sl_fail(err, -ENODEV, "there is no transport '%.80s', only %s", name, known);
}

/* A device of NULL is the best; a named one goes with a named transport. */
static int check_names(const struct slime_ep_opts *opts, struct slime_error *err)
{
	const char *name = opts->transport;

	if (!name)
		return opts->device
		           ? sl_fail(err, -EINVAL, "device '%s' is named without its transport",
		                     opts->device)
		           : 0;
	for (size_t i = 0; sl_transports[i]; i++) {
		if (!strcmp(sl_transports[i]->name, name))
			return 0;
	}
	for (size_t i = 0; sl_transports_absent[i].name; i++) {
		if (!strcmp(sl_transports_absent[i].name, name))
			return sl_fail(err, -ENODEV, "transport '%s': %s", name,
			               sl_transports_absent[i].reason);
	}
	return no_such_transport(name, err);
}

static void free_cand(struct sl_cand *c)
{
	for (uint32_t i = c->nlanes; i--;) {
		c->tr->conn_close(c->conn[i]);
		c->tr->conn_destroy(c->conn[i]);
	}
	c->nlanes = 0;
}

static int make_cand(slime_ep *ep, const struct sl_transport *tr, const char *device,
                     struct slime_error *err)
{
	struct sl_cand *c = &ep->cand[ep->ncands];
	struct sl_ctx_dom *doms[SL_LANES_MAX];
	uint32_t lanes = tr->caps & SL_CAP_LANES && ep->lanes_wanted ? ep->lanes_wanted : 1;
	int n = sl_rails_open(ep->ctx, tr, device, lanes, doms, err);
	int rc = n < 0 ? n : 0;

	c->tr = tr;
	c->ndoms = n < 0 ? 0 : (uint32_t)n;
	if (lanes < c->ndoms) /* each that was named has one */
		lanes = c->ndoms;
	while (!rc && c->nlanes < lanes) {
		struct sl_conn_opts opts = {
		    .depth = ep->depth,
		    .lane = c->nlanes,
		    .first = c->nlanes ? c->conn[0] : NULL,
		};

		c->dom[c->nlanes] = doms[c->nlanes % c->ndoms];
		rc = tr->conn_create(c->dom[c->nlanes]->dom, &opts, &c->conn[c->nlanes], err);
		if (!rc)
			c->nlanes++;
	}
	if (rc) {
		sl_progress_enter(ep->ctx);
		free_cand(c);
		sl_progress_exit(ep->ctx);
	}
	return rc;
}

/* The transports that EP may use, best first; why the others will not do goes into BECAUSE. */
static int make_cands(slime_ep *ep, const struct slime_ep_opts *opts, struct slime_error *err)
{
	const char *forced = opts ? opts->transport : NULL;

	for (size_t i = 0; sl_transports[i] && ep->ncands < SL_CANDS_MAX; i++) {
		const struct sl_transport *tr = sl_transports[i];
		struct slime_error why = {0};
		int rc;

		if (forced && strcmp(forced, tr->name))
			continue;
		if (!forced && !sl_env_lists(SL_ENV_TRANSPORT, tr->name)) {
			sl_ep_refuse(ep, tr->name, "DLSLIME_TRANSPORT does not list it");
			continue;
		}
		rc = make_cand(ep, tr, opts ? opts->device : NULL, &why);
		if (!rc) {
			ep->ncands++;
			continue;
		}
		if (forced || rc == -ENOMEM)
			return sl_fail(err, rc, "transport '%s': %s", tr->name, why.text);
		ep->cand[ep->ncands] = (struct sl_cand){0};
		sl_ep_refuse(ep, tr->name, why.text);
	}
	if (!ep->ncands)
		return sl_fail(err, -ENODEV, "no transport can be opened: %.200s", ep->because);
	return 0;
}

static void ep_free(slime_ep *ep)
{
	sl_progress_enter(ep->ctx);
	for (uint32_t i = 0; i < ep->ncands; i++)
		free_cand(&ep->cand[i]);
	sl_progress_exit(ep->ctx);
	sl_lock_free(&ep->gate);
	sl_lock_free(&ep->lock);
	free(ep->peer_desc);
	sl_ctx_unref(ep->ctx);
	free(ep);
}

int slime_ep_create(slime_ctx *ctx, const struct slime_ep_opts *opts, slime_ep **out,
                    struct slime_error *err)
{
	slime_ep *ep;
	int rc;

	if (!ctx || !out)
		return sl_fail(err, -EINVAL, "no context or no place for the endpoint was given");
	rc = opts ? check_opts(opts, err) : 0;
	if (!rc && opts)
		rc = check_names(opts, err);
	if (!rc && opts && opts->settled && opts->settled->ctx != ctx)
		rc = sl_fail(err, -EINVAL, "the queue is of another context");
	if (rc)
		return rc;
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return sl_fail(err, -ENOMEM, "no memory for an endpoint");
	ep->ctx = ctx;
	ep->depth = opts && opts->depth ? opts->depth : DEPTH_DEFAULT;
	ep->lanes_wanted = opts ? opts->lanes : 0;
	ep->forced = opts && opts->transport;
	atomic_init(&ep->refs, 1);
	atomic_init(&ep->state, SL_EP_NEW);
	sl_lock_init(&ep->lock);
	sl_lock_init(&ep->gate);
	sl_ctx_ref(ctx);
	rc = sl_random(&ep->id, sizeof(ep->id));
	if (rc)
		(void)sl_fail(err, rc, "the system gives no random bytes");
	else
		rc = make_cands(ep, opts, err);
	if (!rc && opts && opts->settled) {
		rc = sl_cq_reserve(opts->settled);
		if (rc)
			(void)sl_fail(err, rc, "the queue is full");
	}
	if (rc) {
		ep_free(ep);
		return rc;
	}
	if (opts && opts->settled) {
		ep->user_data = opts->user_data;
		atomic_init(&ep->settled, opts->settled);
	}
	*out = ep;
	return 0;
}

void sl_ep_ref(slime_ep *ep)
{
	atomic_fetch_add_explicit(&ep->refs, 1, memory_order_relaxed);
}

void sl_ep_unref(slime_ep *ep)
{
	if (atomic_fetch_sub_explicit(&ep->refs, 1, memory_order_acq_rel) == 1)
		ep_free(ep);
}

static int export_cand(slime_ep *ep, const struct sl_cand *c, struct slime_desc *out,
                       struct slime_error *err)
{
	for (uint32_t lane = 0; lane < c->nlanes; lane++) {
		unsigned dom = (unsigned)(c->dom[lane] - ep->ctx->doms);
		struct sl_blob blob = {0};
		int rc = c->tr->conn_pack(c->conn[lane], &blob, err);

		if (!rc && sl_desc_add(out, c->tr->name, dom, lane, &blob))
			rc =
			    sl_fail(err, -EMSGSIZE,
			            "a description has no room for %u lanes over %s: ask for fewer",
			            c->nlanes, c->tr->name);
		if (rc)
			return rc;
	}
	return 0;
}

int slime_ep_export(slime_ep *ep, struct slime_desc *out, struct slime_error *err)
{
	struct sl_desc_head head = {.kind = SL_DESC_EP};
	struct slime_desc desc;
	int rc = 0;

	if (!ep || !out)
		return sl_fail(err, -EINVAL,
		               "no endpoint or no place for the description was given");
	memcpy(head.ctx_id, ep->ctx->id, sizeof(head.ctx_id));
	head.ep_id = ep->id;
	head.pid = (uint32_t)getpid();
	head.lanes = (uint16_t)ep->lanes_wanted;
	if (gethostname(head.host, sizeof(head.host) - 1))
		(void)snprintf(head.host, sizeof(head.host), "unknown");
	sl_desc_begin(&desc, &head);
	sl_lock_take(&ep->lock);
	if (atomic_load(&ep->state) == SL_EP_CLOSED)
		rc = sl_fail(err, -ECANCELED, "the endpoint is closed");
	for (uint32_t i = 0; i < ep->ncands && !rc; i++) {
		if (!ep->cand[i].out)
			rc = export_cand(ep, &ep->cand[i], &desc, err);
	}
	sl_lock_drop(&ep->lock);
	if (rc)
		return rc;
	sl_desc_end(&desc);
	out->len = desc.len;
	memcpy(out->bytes, desc.bytes, desc.len);
	return 0;
}

int slime_ep_get_info(slime_ep *ep, struct slime_ep_info *out)
{
	int rc;

	if (!ep || !out || out->size != sizeof(*out))
		return -EINVAL;
	rc = sl_ep_usable(ep, NULL);
	if (rc && !ep->tr)
		return -ENOTCONN;
	out->lanes = ep->nlanes;
	out->transport = ep->tr->name;
	out->device = ep->device_name;
	out->because = ep->because;
	out->peer = ep->peer_name;
	return 0;
}

void slime_ep_close(slime_ep *ep)
{
	if (!ep)
		return;
	sl_connect_forget(ep);
	sl_lock_take(&ep->lock);
	if (atomic_exchange(&ep->state, SL_EP_CLOSED) != SL_EP_CLOSED) {
		for (uint32_t i = 0; i < ep->ncands; i++) {
			for (uint32_t lane = 0; lane < ep->cand[i].nlanes; lane++)
				ep->cand[i].tr->conn_close(ep->cand[i].conn[lane]);
		}
	}
	sl_lock_drop(&ep->lock);
	sl_connect_tell(ep);
	/* what the gate holds ends as it comes to the transport; what nothing moves, we ask to */
	atomic_store(&ep->ctx->engine.work, true);
	sl_kick(ep->ctx);
}

static bool is_idle(void *arg)
{
	slime_ep *ep = arg;

	return !(atomic_load(&ep->count) & SL_EP_INFLIGHT);
}

static void mark(void *arg, bool as_driver)
{
	(void)arg; /* SL_EP_DESTROYING is mark enough */
	(void)as_driver;
}

static void sleep_on(void *arg, int64_t until_ns)
{
	slime_ep *ep = arg;
	uint64_t count = atomic_load(&ep->count);

	if (count & SL_EP_INFLIGHT)
		sl_futex_wait((_Atomic uint32_t *)&ep->count, (uint32_t)count, until_ns);
}

void slime_ep_destroy(slime_ep *ep)
{
	struct sl_goal idle = {.reached = is_idle, .mark = mark, .sleep = sleep_on, .arg = ep};

	if (!ep)
		return;
	slime_ep_close(ep);
	atomic_fetch_or(&ep->count, SL_EP_DESTROYING);
	if (!is_idle(ep))
		(void)sl_drive(ep->ctx, &idle, SL_NEVER);
	/* who made the last op idle may still be telling its waiter; he drives */
	sl_progress_enter(ep->ctx);
	sl_progress_exit(ep->ctx);
	sl_ep_unref(ep);
}
