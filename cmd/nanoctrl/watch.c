/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * watch.c - the ring of events and the table of waiters.
 *
 * Invariants: the ring's revisions grow, and every event with a revision above
 * FORGOTTEN that was told is in it. A waiter that was rung and not yet called is in DUE.
 */
#include "watch.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

enum {
	RING_EVENTS = 65536,
	RING_BYTES = 32 << 20, /* so that large values do not make the ring endless */
	BUCKETS = 4096,
};

struct kept_event {
	struct store_event event; /* its strings are behind it */
	size_t bytes;
};

/* One bell that a waiter hears. */
struct ear {
	struct waiter *waiter;
	struct ear *next_of_waiter;
	struct ear *next, **link; /* in its bucket */
	enum bell bell;
	size_t scope_len;
	char scope_and_name[]; /* each with its NUL */
};

struct waiter {
	struct watch *watch;
	waiter_rung *rung;
	void *arg;
	struct ear *ears;
	struct event *deadline;
	struct waiter *next, **link;         /* of all */
	struct waiter *next_due, **due_link; /* DUE_LINK NULL: is not due */
};

struct watch {
	struct event_base *loop;
	struct kept_event *ring[RING_EVENTS];
	size_t first, n, bytes;
	uint64_t forgotten, revision;
	struct ear *buckets[BUCKETS];
	struct waiter *all, *due;
	struct event *ring_due;
};

static void ring_due(int fd, short what, void *arg);

struct watch *watch_create(struct event_base *loop)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->loop = loop;
	watch->ring_due = event_new(loop, -1, EV_PERSIST, ring_due, watch);
	if (!watch->ring_due) {
		free(watch);
		return NULL;
	}
	return watch;
}

static void drop_oldest(struct watch *watch)
{
	struct kept_event *oldest = watch->ring[watch->first];

	watch->forgotten = oldest->event.revision;
	watch->bytes -= oldest->bytes;
	watch->first = (watch->first + 1) % RING_EVENTS;
	watch->n--;
	free(oldest);
}

void watch_destroy(struct watch *watch)
{
	if (!watch)
		return;
	while (watch->all) {
		struct waiter *waiter = watch->all;

		waiter->rung(waiter->arg, RING_END);
		assert(watch->all != waiter);
	}
	while (watch->n)
		drop_oldest(watch);
	event_free(watch->ring_due);
	free(watch);
}

static const char *copy_text(char **to, const char *text)
{
	char *at = *to;
	size_t len = strlen(text) + 1;

	memcpy(at, text, len);
	*to += len;
	return at;
}

static struct kept_event *keep(const struct store_event *event)
{
	const struct store_key *key = &event->key;
	const char *kind = event->kind ? event->kind : "";
	const char *value = event->value ? event->value : "";
	size_t bytes = sizeof(struct kept_event) + strlen(key->scope) + strlen(key->type) +
	               strlen(key->id) + strlen(kind) + strlen(value) + 5;
	struct kept_event *kept = malloc(bytes);
	char *text;

	if (!kept)
		return NULL;
	text = (char *)(kept + 1);
	kept->bytes = bytes;
	kept->event = *event;
	kept->event.key.scope = copy_text(&text, key->scope);
	kept->event.key.type = copy_text(&text, key->type);
	kept->event.key.id = copy_text(&text, key->id);
	kept->event.kind = copy_text(&text, kind);
	kept->event.value = copy_text(&text, value);
	if (!event->value)
		kept->event.value = NULL;
	return kept;
}

static void add_to_ring(struct watch *watch, const struct store_event *event)
{
	struct kept_event *kept = keep(event);

	watch->revision = event->revision;
	if (!kept) { /* whoever is behind must list again */
		watch_gap(watch, event->revision);
		return;
	}
	while (watch->n && (watch->n == RING_EVENTS || watch->bytes + kept->bytes > RING_BYTES))
		drop_oldest(watch);
	watch->ring[(watch->first + watch->n++) % RING_EVENTS] = kept;
	watch->bytes += kept->bytes;
}

static uint32_t hash_text(uint32_t hash, const char *text)
{
	do
		hash = (hash ^ (unsigned char)*text) * 16777619U;
	while (*text++);
	return hash;
}

static struct ear **bucket_of(struct watch *watch, enum bell bell, const char *scope,
                              const char *name)
{
	uint32_t hash = hash_text(hash_text(2166136261U ^ (uint32_t)bell, scope), name);

	return &watch->buckets[(hash ^ hash >> 16) % BUCKETS];
}

static void make_due(struct waiter *waiter)
{
	struct watch *watch = waiter->watch;

	if (waiter->due_link)
		return;
	waiter->next_due = watch->due;
	waiter->due_link = &watch->due;
	if (watch->due)
		watch->due->due_link = &waiter->next_due;
	watch->due = waiter;
	event_active(watch->ring_due, EV_TIMEOUT, 0);
}

static void take_due(struct waiter *waiter)
{
	if (!waiter->due_link)
		return;
	*waiter->due_link = waiter->next_due;
	if (waiter->next_due)
		waiter->next_due->due_link = waiter->due_link;
	waiter->due_link = NULL;
}

static void ring_due(int fd, short what, void *arg)
{
	struct watch *watch = arg;

	(void)fd;
	(void)what;
	while (watch->due) {
		struct waiter *waiter = watch->due;

		take_due(waiter);
		waiter->rung(waiter->arg, RING_NEWS);
	}
}

static void ring_bell(struct watch *watch, enum bell bell, const char *scope, const char *name)
{
	for (struct ear *ear = *bucket_of(watch, bell, scope, name); ear; ear = ear->next)
		if (ear->bell == bell && !strcmp(ear->scope_and_name, scope) &&
		    !strcmp(ear->scope_and_name + ear->scope_len + 1, name))
			make_due(ear->waiter);
}

void watch_event(void *arg, const struct store_event *event)
{
	struct watch *watch = arg;
	const struct store_key *key = &event->key;

	switch (key->class) {
	case STORE_BOX:
		ring_bell(watch, BELL_MAIL, key->scope, key->id);
		return;
	case STORE_STREAM:
	case STORE_INBOX:
	case STORE_OBS:
	case STORE_CLASSES:
		return;
	case STORE_AGENT:
		ring_bell(watch, BELL_AGENT, key->scope, key->id);
		if (event->change != STORE_WAS_PUT)
			ring_bell(watch, BELL_MAIL, key->scope, key->id);
		break;
	case STORE_REGION:
		ring_bell(watch, BELL_AGENT, key->scope, key->type);
		break;
	case STORE_LEASE:
		ring_bell(watch, BELL_LEASE, key->scope, key->id);
		break;
	case STORE_ENTITY:
	case STORE_SPEC:
		break;
	}
	add_to_ring(watch, event);
	ring_bell(watch, BELL_SCOPE, key->scope, "");
}

void watch_gap(void *arg, uint64_t revision)
{
	struct watch *watch = arg;

	while (watch->n && watch->ring[watch->first]->event.revision <= revision)
		drop_oldest(watch);
	if (revision > watch->forgotten)
		watch->forgotten = revision;
	if (revision > watch->revision)
		watch->revision = revision;
	for (struct waiter *waiter = watch->all; waiter; waiter = waiter->next)
		make_due(waiter);
}

uint64_t watch_revision(const struct watch *watch)
{
	return watch->revision;
}

/* The place in the ring of the first event behind AFTER. */
static size_t place_behind(const struct watch *watch, uint64_t after)
{
	size_t low = 0, high = watch->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (watch->ring[(watch->first + middle) % RING_EVENTS]->event.revision > after)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

int watch_read(const struct watch *watch, uint64_t after,
               bool (*each)(void *arg, const struct store_event *event), void *arg)
{
	if (after < watch->forgotten)
		return -ESTALE;
	for (size_t i = place_behind(watch, after); i < watch->n; i++)
		if (!each(arg, &watch->ring[(watch->first + i) % RING_EVENTS]->event))
			break;
	return 0;
}

static void deadline_passed(int fd, short what, void *arg)
{
	struct waiter *waiter = arg;

	(void)fd;
	(void)what;
	waiter->rung(waiter->arg, RING_TIME);
}

struct waiter *waiter_create(struct watch *watch, waiter_rung *rung, void *arg)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (!waiter)
		return NULL;
	waiter->deadline = event_new(watch->loop, -1, 0, deadline_passed, waiter);
	if (!waiter->deadline) {
		free(waiter);
		return NULL;
	}
	waiter->watch = watch;
	waiter->rung = rung;
	waiter->arg = arg;
	waiter->next = watch->all;
	waiter->link = &watch->all;
	if (watch->all)
		watch->all->link = &waiter->next;
	watch->all = waiter;
	return waiter;
}

int waiter_hear(struct waiter *waiter, enum bell bell, const char *scope, const char *name)
{
	size_t scope_len = strlen(scope), name_len = strlen(name);
	struct ear **bucket = bucket_of(waiter->watch, bell, scope, name);
	struct ear *ear = malloc(sizeof(*ear) + scope_len + name_len + 2);

	if (!ear)
		return -ENOMEM;
	*ear = (struct ear){.waiter = waiter, .bell = bell, .scope_len = scope_len};
	memcpy(ear->scope_and_name, scope, scope_len + 1);
	memcpy(ear->scope_and_name + scope_len + 1, name, name_len + 1);
	ear->next_of_waiter = waiter->ears;
	waiter->ears = ear;
	ear->next = *bucket;
	ear->link = bucket;
	if (*bucket)
		(*bucket)->link = &ear->next;
	*bucket = ear;
	return 0;
}

void waiter_deadline(struct waiter *waiter, int64_t after_ms)
{
	const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};

	(void)event_add(waiter->deadline, &after);
}

void waiter_destroy(struct waiter *waiter)
{
	if (!waiter)
		return;
	take_due(waiter);
	while (waiter->ears) {
		struct ear *ear = waiter->ears;

		waiter->ears = ear->next_of_waiter;
		*ear->link = ear->next;
		if (ear->next)
			ear->next->link = ear->link;
		free(ear);
	}
	*waiter->link = waiter->next;
	if (waiter->next)
		waiter->next->link = waiter->link;
	event_free(waiter->deadline);
	free(waiter);
}
