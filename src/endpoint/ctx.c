/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slime/ctx.h>

#include "base/error.h"
#include "base/random.h"
#include "endpoint/internal.h"
#include "transport/transports.h"

#define STR(x)  #x
#define XSTR(x) STR(x)

const char *slime_version(void)
{
	return XSTR(SLIME_VERSION_MAJOR) "." XSTR(SLIME_VERSION_MINOR) "." XSTR(
	    SLIME_VERSION_PATCH);
}

static const uint32_t known_flags = SLIME_CTX_MANUAL_PROGRESS | SLIME_CTX_NO_CMA;

static int check_opts(const struct slime_ctx_opts *opts, struct slime_error *err)
{
	if (!opts)
		return 0;
	if (opts->size != sizeof(*opts))
		return sl_fail(err, -EINVAL,
		               "size of the context options is %u, this library's is %zu",
		               opts->size, sizeof(*opts));
	if (opts->flags & ~known_flags)
		return sl_fail(err, -EINVAL, "context flags 0x%x are not known",
		               opts->flags & ~known_flags);
	return 0;
}

int slime_ctx_create(const struct slime_ctx_opts *opts, slime_ctx **out, struct slime_error *err)
{
	slime_ctx *ctx;
	int rc;

	if (!out)
		return sl_fail(err, -EINVAL, "no place for the context was given");
	rc = check_opts(opts, err);
	if (rc)
		return rc;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return sl_fail(err, -ENOMEM, "no memory for a context");
	ctx->flags = opts ? opts->flags : 0;
	ctx->spin_ns = (opts && opts->spin_us ? opts->spin_us : 50) * SL_NS_PER_US;
	ctx->peer_timeout_ms = opts && opts->peer_timeout_ms ? opts->peer_timeout_ms : 3000;
	atomic_init(&ctx->refs, 1);
	sl_lock_init(&ctx->dom_lock);
	sl_lock_init(&ctx->list_lock);
	rc = sl_random(ctx->id, sizeof(ctx->id));
	if (rc) {
		(void)sl_fail(err, rc, "the system gives no random bytes");
		goto err_free;
	}
	rc = sl_pool_init(&ctx->ops, sizeof(slime_op));
	if (rc) {
		(void)sl_fail(err, rc, "no memory for transfers");
		goto err_free;
	}
	rc = sl_engine_start(ctx, err);
	if (rc)
		goto err_free_pool;
	*out = ctx;
	return 0;

err_free_pool:
	sl_pool_free(&ctx->ops);
err_free:
	sl_lock_free(&ctx->list_lock);
	sl_lock_free(&ctx->dom_lock);
	free(ctx);
	return rc;
}

void sl_ctx_free(slime_ctx *ctx)
{
	for (uint32_t i = 0; i < atomic_load(&ctx->ndoms); i++)
		ctx->doms[i].tr->dom_close(ctx->doms[i].dom);
	sl_engine_free(ctx);
	sl_pool_free(&ctx->ops);
	sl_lock_free(&ctx->list_lock);
	sl_lock_free(&ctx->dom_lock);
	free(ctx);
}

void sl_ctx_end(slime_ctx *ctx)
{
	if (!sl_engine_stop(ctx))
		sl_ctx_free(ctx);
}

void slime_ctx_destroy(slime_ctx *ctx)
{
	if (ctx)
		sl_ctx_unref(ctx);
}

int slime_ctx_progress(slime_ctx *ctx)
{
	uint32_t before;

	if (!ctx)
		return -EINVAL;
	if (!(ctx->flags & SLIME_CTX_MANUAL_PROGRESS))
		return -EPERM;
	before = atomic_load_explicit(&ctx->finished, memory_order_relaxed);
	(void)sl_progress_poll(ctx);
	return (int)(atomic_load_explicit(&ctx->finished, memory_order_relaxed) - before);
}

static int open_dom(slime_ctx *ctx, const struct sl_transport *tr, const char *device,
                    struct sl_ctx_dom *d, struct slime_error *err)
{
	struct sl_dom_opts opts = {
	    .device = device,
	    .flags = ctx->flags,
	    .peer_timeout_ms = ctx->peer_timeout_ms,
	};
	int rc = tr->dom_open(&opts, &d->dom, err);

	if (rc)
		return rc;
	d->tr = tr;
	d->fd = tr->fd(d->dom);
	(void)snprintf(d->device, sizeof(d->device), "%s", device ? device : "");
	if (d->fd >= 0) {
		rc = sl_engine_add(ctx, d->fd, err);
		if (rc)
			tr->dom_close(d->dom);
	}
	return rc;
}

int sl_ctx_dom(slime_ctx *ctx, const struct sl_transport *tr, const char *device,
               struct sl_ctx_dom **out, struct slime_error *err)
{
	uint32_t n;
	int rc = 0;

	sl_lock_take(&ctx->dom_lock);
	n = atomic_load(&ctx->ndoms);
	for (uint32_t i = 0; i < n; i++) {
		struct sl_ctx_dom *d = &ctx->doms[i];

		if (d->tr == tr && !strcmp(d->device, device ? device : "")) {
			*out = d;
			goto unlock;
		}
	}
	if (n == SL_DOMS_MAX) {
		rc = sl_fail(err, -ENOSPC, "a context can open %d devices", SL_DOMS_MAX);
		goto unlock;
	}
	ctx->doms[n].index = n;
	rc = open_dom(ctx, tr, device, &ctx->doms[n], err);
	if (!rc) {
		*out = &ctx->doms[n];
		atomic_store_explicit(&ctx->ndoms, n + 1, memory_order_release);
		sl_engine_added(ctx);
	}
unlock:
	sl_lock_drop(&ctx->dom_lock);
	return rc;
}

enum { PROBE_MAX = 16 };

static void add_device(struct slime_device *out, size_t cap, int *n, const struct slime_device *d)
{
	if ((size_t)*n < cap)
		out[*n] = *d;
	++*n;
}

static void probe_transport(const struct sl_transport *tr, struct slime_device *out, size_t cap,
                            int *n)
{
	struct sl_dev_info info[PROBE_MAX];
	struct slime_error err = {0};
	struct slime_device d = {.numa = -1};
	int found = tr->probe(info, PROBE_MAX, &err);

	(void)snprintf(d.transport, sizeof(d.transport), "%s", tr->name);
	if (found <= 0) {
		d.status = found ? found : -ENODEV;
		(void)snprintf(d.reason, sizeof(d.reason), "%s", err.text);
		add_device(out, cap, n, &d);
		return;
	}
	for (int i = 0; i < found && i < PROBE_MAX; i++) {
		memcpy(d.name, info[i].name, sizeof(d.name));
		d.port = info[i].port;
		d.numa = info[i].numa;
		d.bytes_per_s = info[i].bytes_per_s;
		d.status = info[i].up ? 0 : -ENODEV;
		(void)snprintf(d.reason, sizeof(d.reason), "%s", info[i].up ? "" : "it is down");
		add_device(out, cap, n, &d);
	}
}

int slime_ctx_devices(slime_ctx *ctx, struct slime_device *out, size_t cap)
{
	int n = 0;

	if (!ctx || (cap && !out))
		return -EINVAL;
	for (size_t i = 0; sl_transports[i]; i++)
		probe_transport(sl_transports[i], out, cap, &n);
	for (size_t i = 0; sl_transports_absent[i].name; i++) {
		struct slime_device d = {.numa = -1, .status = -ENODEV};

		(void)snprintf(d.transport, sizeof(d.transport), "%s",
		               sl_transports_absent[i].name);
		(void)snprintf(d.reason, sizeof(d.reason), "%s", sl_transports_absent[i].reason);
		add_device(out, cap, &n, &d);
	}
	return n;
}

static uint64_t get(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void copy_stats(struct sl_ctx_dom *d, struct slime_stats *out)
{
	struct sl_ctx_stats *s = &d->stats;

	*out = (struct slime_stats){0};
	(void)snprintf(out->transport, sizeof(out->transport), "%s", d->tr->name);
	(void)snprintf(out->device, sizeof(out->device), "%s", d->device);
	for (int i = 0; i < SLIME_STAT_OPS; i++) {
		out->submitted[i] = get(&s->submitted[i]);
		out->completed[i] = get(&s->completed[i]);
		out->failed[i] = get(&s->failed[i]);
		out->bytes_submitted[i] = get(&s->bytes_submitted[i]);
		out->bytes_completed[i] = get(&s->bytes_completed[i]);
	}
	out->posts = get(&s->posts);
	out->post_bytes = get(&s->post_bytes);
	out->post_failures = get(&s->post_failures);
	out->completion_errors = get(&s->completion_errors);
	out->regions = get(&s->regions);
	out->region_bytes = get(&s->region_bytes);
}

int slime_ctx_stats(slime_ctx *ctx, struct slime_stats *out, size_t cap)
{
	uint32_t n;

	if (!ctx || (cap && !out))
		return -EINVAL;
	n = atomic_load_explicit(&ctx->ndoms, memory_order_acquire);
	for (uint32_t i = 0; i < n && i < cap; i++)
		copy_stats(&ctx->doms[i], &out[i]);
	return (int)n;
}
