/* SPDX-License-Identifier: BSD-3-Clause */
#include "routes_ops.h"

#include <errno.h>
#include <string.h>

#include "metrics.h"
#include "nanoctrl.h"

static bool store_is_up = true;
static char store_reason[200];
static bool draining;

void ops_store_health(bool up, const char *reason)
{
	store_is_up = up;
	store_reason[0] = '\0';
	if (!up && reason)
		(void)strncat(store_reason, reason, sizeof(store_reason) - 1);
}

void ops_drain(void)
{
	draining = true;
}

/* Whoever asks this is alive to the end: it says nothing about the store. */
static void healthz(struct call *call)
{
	call_reply_text(call, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

static void readyz(struct call *call)
{
	if (draining)
		call_reply_error(call, 503, "EAGAIN", "the daemon is stopping");
	else if (!store_is_up)
		call_reply_error(call, 503, "EAGAIN", "the store: %s", store_reason);
	else
		call_reply_text(call, 200, "text/plain; charset=utf-8", "ready\n", 6);
}

static void reply_page(struct call *call, struct text *page, int status)
{
	if (status < 0)
		call_reply_errno(call, status, "the metrics could not be put together");
	else
		call_reply_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", page->bytes,
		                page->len);
	text_free(page);
}

static void metrics(struct call *call)
{
	struct text page = {0};
	int rc = metrics_head(&page, "store_up", "gauge", "Whether the store can be reached.");

	rc = rc ? rc : metrics_line(&page, "store_up", "", store_is_up);
	rc = rc ? rc : metrics_write(&page);
	reply_page(call, &page, rc);
}

const struct route routes_ops[] = {
    {"GET", "/healthz", RIGHT_NONE, false, true, healthz},
    {"GET", "/readyz", RIGHT_READ, false, true, readyz},
    {"GET", "/metrics", RIGHT_READ, false, true, metrics},
    {.method = NULL},
};
