/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * routes_v1_watch.c - changes as they happen: one answer when there is something (long poll), or
 * an answer that goes on (server-sent events).
 *
 * Whoever lags so far behind that events are gone is told so, never left to guess.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "event_json.h"
#include "routes.h"
#include "wait.h"

enum { EVENTS_DEFAULT = 1000, EVENTS_MAX = 1000, COMMENT_MS = 15000, FUTURE_MS = 1000 };

struct watching {
	struct wait wait; /* first: see wait.h */
	struct wanted wanted;
	uint64_t after;
	uint32_t limit;
	struct waiter *waiter; /* of an event stream */
	bool failed;           /* the stream's client does not read */
	/* while reading: */
	json_t *events;
	uint64_t last; /* revision of the last one seen */
	bool full;     /* there are more */
};

/* A page ends only between two revisions. */
static bool add_event(void *arg, const struct store_event *event)
{
	struct watching *w = arg;

	if (json_array_size(w->events) >= w->limit && event->revision != w->last) {
		w->full = true;
		return false;
	}
	if (is_wanted(&w->wanted, event))
		(void)json_array_append_new(w->events, event_json(event));
	w->last = event->revision;
	return true;
}

static void reply_events(struct call *call, json_t *events, uint64_t revision)
{
	wait_end(call_data(call));
	call_reply_json(call, 200,
	                json_pack("{s:o,s:I}", "events", events, "revision", (json_int_t)revision));
}

static void reply_gap(struct call *call)
{
	wait_end(call_data(call));
	call_reply_json(call, 410,
	                json_pack("{s:s,s:s,s:s,s:I}", "status", "error", "code", "ESTALE",
	                          "message", "events behind that revision are gone: list again",
	                          "revision", (json_int_t)store_revision_now()));
}

static void poll_over(struct call *call)
{
	const struct watching *w = call_data(call);

	if (w->after > store_revision_now())
		reply_gap(call); /* of another store, or of one before a loss */
	else
		reply_events(call, json_array(), w->after);
}

/* What is behind AFTER, a page of it, into EVENTS, and how far that is into LAST. */
static int read_page(struct watching *w)
{
	const struct watch_names of = {w->wanted.scope, w->wanted.name, w->wanted.n_names};
	int rc;

	w->last = w->after;
	w->full = false;
	if (!of.n)
		return watch_read(nanoctrl.watch, w->after, add_event, w);
	rc = watch_read_of(nanoctrl.watch, w->after, &of, add_event, w);
	if (!w->full && watch_revision(nanoctrl.watch) > w->last)
		w->last = watch_revision(nanoctrl.watch);
	return rc;
}

static void poll(struct call *call)
{
	struct watching *w = call_data(call);
	int rc;

	w->events = json_array();
	rc = read_page(w);
	if (rc)
		json_decref(w->events);
	if (rc == -ENOMEM) {
		wait_end(&w->wait);
		call_reply_errno(call, rc, "no memory");
	} else if (rc) {
		reply_gap(call);
	} else if (json_array_size(w->events))
		reply_events(call, w->events, w->last);
	else {
		json_decref(w->events);
		w->after = w->last; /* what was looked at need not be looked at again */
		wait_more(&w->wait);
	}
}

static int hear_all(struct waiter *waiter, const struct wanted *wanted)
{
	int rc = 0;

	if (!waiter)
		return 0;
	if (!wanted->n_names)
		return waiter_hear(waiter, BELL_SCOPE, wanted->scope, "");
	for (size_t i = 0; i < wanted->n_names && !rc; i++)
		rc = waiter_hear(waiter, BELL_AGENT, wanted->scope, wanted->name[i]);
	return rc;
}

static void begin_poll(struct call *call, struct watching *w, int64_t wait_ms)
{
	/* Another daemon on the same store may have told of it before we heard. */
	if (w->after > store_revision_now() && wait_ms < FUTURE_MS)
		wait_ms = FUTURE_MS;
	w->wait.attempt = poll;
	w->wait.over = poll_over;
	if (wait_begin(&w->wait, call, wait_ms) || hear_all(w->wait.waiter, &w->wanted)) {
		wait_end(&w->wait);
		call_reply_errno(call, -ENOMEM, "no memory");
		return;
	}
	poll(call);
}

/* Event streams. */

static void end_stream(struct call *call)
{
	struct watching *w = call_data(call);

	waiter_destroy(w->waiter);
	call_on_gone(call, NULL);
	call_stream_end(call);
}

static void write_event(struct watching *w, const char *change, uint64_t revision, json_t *data)
{
	char *text = json_dumps(data, JSON_COMPACT);
	char *chunk = NULL;
	int len = -1;

	json_decref(data);
	if (text)
		len = asprintf(&chunk, "id: %" PRIu64 "\nevent: %s\ndata: %s\n\n", revision, change,
		               text);
	if (len < 0 || call_stream_write(w->wait.call, chunk, (size_t)len))
		w->failed = true;
	if (len >= 0)
		free(chunk);
	free(text);
}

static bool stream_event(void *arg, const struct store_event *event)
{
	struct watching *w = arg;

	w->after = event->revision;
	if (is_wanted(&w->wanted, event))
		write_event(w, event_change(event), event->revision, event_json(event));
	return !w->failed;
}

/* What is behind REVISION is to be told; what was before it, the client must list. */
static void write_gap(struct watching *w, uint64_t revision)
{
	write_event(w, "gap", revision, json_pack("{s:I}", "revision", (json_int_t)revision));
	w->after = revision;
}

static void stream(struct watching *w)
{
	if (watch_read(nanoctrl.watch, w->after, stream_event, w))
		write_gap(w, watch_revision(nanoctrl.watch));
	if (w->failed)
		end_stream(w->wait.call);
}

static void stream_rung(void *arg, enum ring ring)
{
	static const char comment[] = ":\n\n";
	struct watching *w = arg;

	if (ring == RING_END ||
	    (ring == RING_TIME && call_stream_write(w->wait.call, comment, sizeof(comment) - 1))) {
		end_stream(w->wait.call);
		return;
	}
	if (ring == RING_TIME)
		waiter_deadline(w->waiter, COMMENT_MS);
	else
		stream(w);
}

static void stream_gone(struct call *call, void *data)
{
	(void)data;
	end_stream(call);
}

static void begin_stream(struct call *call, struct watching *w)
{
	w->wait.call = call;
	w->waiter = waiter_create(nanoctrl.watch, stream_rung, w);
	if (!w->waiter || hear_all(w->waiter, &w->wanted)) {
		waiter_destroy(w->waiter);
		call_reply_errno(call, -ENOMEM, "no memory");
		return;
	}
	waiter_deadline(w->waiter, COMMENT_MS);
	call_add_header(call, "Cache-Control", "no-store");
	call_stream_begin(call, 200, "text/event-stream");
	call_on_gone(call, stream_gone);
	if (w->after > store_revision_now()) /* of another store, or of one before a loss */
		write_gap(w, store_revision_now());
	stream(w);
}

static bool wants_stream(const struct call *call)
{
	const char *accept = call_header(call, "Accept");

	return accept && strstr(accept, "text/event-stream");
}

/* Where the stream broke off goes before where it began. */
static uint64_t after_of(struct fields *f, bool is_stream)
{
	const char *last = is_stream ? call_header(f->call, "Last-Event-ID") : NULL;
	int64_t after = query_int_or(f, "after", 0, INT64_MAX, -1);

	if (last && !number_of(last, 0, INT64_MAX, &after))
		fields_fault(f, 400, "EINVAL", "'Last-Event-ID' must be a revision");
	return after < 0 ? store_revision_now() : (uint64_t)after;
}

void v1_get_watch(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	bool is_stream = wants_stream(call);
	const char *scope = field_scope(&f, RIGHT_READ);
	const struct watching watching = {
	    .after = after_of(&f, is_stream),
	    .limit = (uint32_t)query_int_or(&f, "limit", 1, EVENTS_MAX, EVENTS_DEFAULT),
	    .wanted = wanted_of(&f, scope),
	};
	int64_t wait_ms = query_int_or(&f, "wait_ms", 0, WAIT_MAX_MS, 0);
	struct watching *w;

	if (!fields_end(&f))
		return;
	w = call_alloc(call, 1, sizeof(*w));
	if (!w)
		return;
	*w = watching;
	call_set_data(call, w);
	if (is_stream)
		begin_stream(call, w);
	else
		begin_poll(call, w, wait_ms);
}
