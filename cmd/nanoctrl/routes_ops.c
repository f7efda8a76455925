/* SPDX-License-Identifier: BSD-3-Clause */
#include "routes_ops.h"

#include <stdio.h>
#include <string.h>

#include "ask.h"
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

static const char *class_name(enum store_class class)
{
	static const char *const names[STORE_CLASSES] = {
	    [STORE_ENTITY] = "entity", [STORE_AGENT] = "agent",   [STORE_REGION] = "region",
	    [STORE_SPEC] = "topology", [STORE_STREAM] = "stream", [STORE_INBOX] = "inbox",
	    [STORE_OBS] = "obs",       [STORE_BOX] = "mailbox",   [STORE_LEASE] = "lease",
	};

	return names[class];
}

static int write_census(struct text *page, const struct store_res *res)
{
	char scope[1100], labels[1200];
	int rc =
	    metrics_head(page, "records", "gauge", "What the store holds, by class and scope.");

	for (size_t i = 0; i < res->n && rc == 0; i++) {
		const struct store_row *row = &res->row[i];

		(void)snprintf(labels, sizeof(labels), "class=\"%s\",scope=\"%s\"",
		               class_name(row->key.class),
		               metrics_escape(row->key.scope, scope, sizeof(scope)));
		rc = metrics_line(page, "records", labels, row->revision);
	}
	return rc;
}

/* CENSUS NULL: the store cannot tell now, which is no reason to tell nothing. */
static void reply_metrics(struct call *call, const struct store_res *census)
{
	struct text page = {0};
	int rc = metrics_head(&page, "store_up", "gauge", "Whether the store can be reached.");

	rc = rc ? rc : metrics_line(&page, "store_up", "", store_is_up);
	rc = rc || !census ? rc : write_census(&page, census);
	rc = rc ? rc : metrics_write(&page);
	if (rc < 0)
		call_reply_errno(call, rc, "the metrics could not be put together");
	else
		call_reply_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", page.bytes,
		                page.len);
	text_free(&page);
}

static void metrics_without_store(struct call *call, int status, size_t failed,
                                  const struct slime_error *err)
{
	(void)status;
	(void)failed;
	(void)err;
	reply_metrics(call, NULL);
}

static void metrics(struct call *call)
{
	const struct store_op census = {.verb = STORE_CENSUS};

	ask(call, &census, 1, reply_metrics, metrics_without_store);
}

const struct route routes_ops[] = {
    {"GET", "/healthz", RIGHT_NONE, false, true, healthz},
    {"GET", "/readyz", RIGHT_READ, false, true, readyz},
    {"GET", "/metrics", RIGHT_READ, false, true, metrics},
    {.method = NULL},
};
