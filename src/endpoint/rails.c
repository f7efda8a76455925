/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint/rails.c - which devices of a transport the lanes of an endpoint are dealt over. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "endpoint/internal.h"

enum { PROBE_MAX = 32 };

static int open_one(slime_ctx *ctx, const struct sl_transport *tr, const char *device,
                    struct sl_ctx_dom **out, struct slime_error *err)
{
	int rc = sl_ctx_dom(ctx, tr, device, out, err);

	return rc ? rc : 1;
}

static int add(slime_ctx *ctx, const struct sl_transport *tr, const char *device,
               struct sl_ctx_dom **out, int n, struct slime_error *err)
{
	int rc = sl_ctx_dom(ctx, tr, device, &out[n], err);

	for (int i = 0; i < n && !rc; i++) {
		if (out[i] == out[n])
			rc = sl_fail(err, -EINVAL, "device '%s' is named twice", device);
	}
	return rc;
}

/* "mlx5_0,mlx5_1" */
static int open_named(slime_ctx *ctx, const struct sl_transport *tr, const char *devices,
                      struct sl_ctx_dom **out, struct slime_error *err)
{
	const char *at = devices;
	int n = 0;

	if (!strchr(devices, ','))
		return open_one(ctx, tr, devices, out, err);
	if (!(tr->caps & SL_CAP_LANES))
		return sl_fail(err, -EINVAL, "%s has one device at a time, not '%s'", tr->name,
		               devices);
	for (;;) {
		size_t len = strcspn(at, ",");
		char name[sizeof(out[0]->device)];
		int rc;

		if (!len || len >= sizeof(name) || n == SL_LANES_MAX)
			return sl_fail(err, -EINVAL, "'%s' is no list of up to %d device names",
			               devices, SL_LANES_MAX);
		memcpy(name, at, len);
		name[len] = '\0';
		rc = add(ctx, tr, name, out, n, err);
		if (rc)
			return rc;
		n++;
		if (!at[len])
			return n;
		at += len + 1;
	}
}

/* The nearer to the core that we run on, the lower. */
static int distance(const struct sl_dev_info *d, int node)
{
	if (d->numa < 0 || node < 0)
		return 1;
	return d->numa == node ? 0 : 2;
}

static void name_of(const struct sl_dev_info *d, char *out, size_t cap)
{
	int len = snprintf(out, cap, "%s", d->name);

	if (d->port > 1)
		(void)snprintf(out + len, cap - (size_t)len, ":%u", d->port);
}

static int this_node(void)
{
	unsigned cpu, node;

	return getcpu(&cpu, &node) ? -1 : (int)node;
}

/* The best of those that are up, one for each lane if there are as many. */
static int open_best(slime_ctx *ctx, const struct sl_transport *tr, uint32_t lanes,
                     struct sl_ctx_dom **out, struct slime_error *err)
{
	struct sl_dev_info dev[PROBE_MAX];
	struct slime_error why = {0};
	int found = tr->probe(dev, PROBE_MAX, err);
	int node = this_node();
	int n = 0;

	if (found < 0)
		return found;
	if (found > PROBE_MAX)
		found = PROBE_MAX;
	for (int far = 0; far <= 2; far++) {
		for (int i = 0; i < found && n < (int)lanes; i++) {
			char name[sizeof(dev[i].name) + 12];

			if (!dev[i].up || distance(&dev[i], node) != far)
				continue;
			name_of(&dev[i], name, sizeof(name));
			if (add(ctx, tr, name, out, n, &why) == 0)
				n++;
		}
	}
	if (n)
		return n;
	if (why.code)
		return sl_fail(err, why.code, "%s", why.text);
	return sl_fail(err, -ENODEV, "none of its %d devices is up (%s is down)", found,
	               dev[0].name);
}

int sl_rails_open(slime_ctx *ctx, const struct sl_transport *tr, const char *device, uint32_t lanes,
                  struct sl_ctx_dom **out, struct slime_error *err)
{
	if (device)
		return open_named(ctx, tr, device, out, err);
	if (tr->caps & SL_CAP_RAILS)
		return open_best(ctx, tr, lanes, out, err);
	return open_one(ctx, tr, NULL, out, err);
}
