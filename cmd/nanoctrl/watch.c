/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * watch.c - the ring of events and the table of waiters.
 *
 * Invariants: the ring's revisions grow, and every event with a revision above
 * FORGOTTEN that was told is in it. A waiter that was rung and not yet called is in DUE.
 *
 * Events are numbered from 1 on, so that those of an agent are found without the others: each
 * knows the number of the one before in its bucket, which may have gone.
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
	uint64_t older; /* 0: none */
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
	uint64_t dropped; /* the last number that is gone */
	size_t n, bytes;
	uint64_t forgotten, revision;
	struct ear *buckets[BUCKETS];
	uint64_t newest[BUCKETS]; /* the last event of its agents; 0: none */
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

static struct kept_event *event_at(const struct watch *watch, uint64_t number)
{
	return watch->ring[number % RING_EVENTS];
}

static void drop_oldest(struct watch *watch)
{
	struct kept_event *oldest = event_at(watch, ++watch->dropped);

	watch->forgotten = oldest->event.revision;
	watch->bytes -= oldest->bytes;
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
	kept->older = 0;
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

static uint32_t hash_text(uint32_t hash, const char *text)
{
	do
		hash = (hash ^ (unsigned char)*text) * 16777619U;
	while (*text++);
	return hash;
}

static size_t bucket_of(enum bell bell, const char *scope, const char *name)
{
	uint32_t hash = hash_text(hash_text(2166136261U ^ (uint32_t)bell, scope), name);

	return (hash ^ hash >> 16) % BUCKETS;
}

/* The agent that it is of; NULL: of none. */
static const char *agent_of(const struct store_event *event)
{
	if (event->key.class == STORE_AGENT)
		return event->key.id;
	return event->key.class == STORE_REGION ? event->key.type : NULL;
}

static void add_to_ring(struct watch *watch, const struct store_event *event)
{
	struct kept_event *kept = keep(event);
	const char *agent = agent_of(event);
	uint64_t number;

	watch->revision = event->revision;
	if (!kept) { /* whoever is behind must list again */
		watch_gap(watch, event->revision);
		return;
	}
	while (watch->n && (watch->n == RING_EVENTS || watch->bytes + kept->bytes > RING_BYTES))
		drop_oldest(watch);
	number = watch->dropped + ++watch->n;
	watch->ring[number % RING_EVENTS] = kept;
	watch->bytes += kept->bytes;
	if (agent) {
		uint64_t *newest = &watch->newest[bucket_of(BELL_AGENT, event->key.scope, agent)];

		kept->older = *newest;
		*newest = number;
	}
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
	for (struct ear *ear = watch->buckets[bucket_of(bell, scope, name)]; ear; ear = ear->next)
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

	while (watch->n && event_at(watch, watch->dropped + 1)->event.revision <= revision)
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

/* The number of the first event behind AFTER. */
static uint64_t first_behind(const struct watch *watch, uint64_t after)
{
	uint64_t low = watch->dropped + 1, high = low + watch->n;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (event_at(watch, middle)->event.revision > after)
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
	for (uint64_t i = first_behind(watch, after); i <= watch->dropped + watch->n; i++)
		if (!each(arg, &event_at(watch, i)->event))
			break;
	return 0;
}

struct numbers {
	uint64_t *number;
	size_t n, cap;
};

static int add_number(struct numbers *list, uint64_t number)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 16;
		uint64_t *grown = realloc(list->number, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->number = grown;
		list->cap = cap;
	}
	list->number[list->n++] = number;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Those of the agent NAME, newest first. */
static int find_numbers(const struct watch *watch, uint64_t after, const char *scope,
                        const char *name, struct numbers *out)
{
	uint64_t number = watch->newest[bucket_of(BELL_AGENT, scope, name)];
	int rc = 0;

	while (number > watch->dropped && !rc) {
		const struct kept_event *kept = event_at(watch, number);

		if (kept->event.revision <= after)
			break;
		if (!strcmp(kept->event.key.scope, scope) && !strcmp(agent_of(&kept->event), name))
			rc = add_number(out, number);
		number = kept->older;
	}
	return rc;
}

int watch_read_of(const struct watch *watch, uint64_t after, const struct watch_names *of,
                  bool (*each)(void *arg, const struct store_event *event), void *arg)
{
	struct numbers list = {0};
	int rc = after < watch->forgotten ? -ESTALE : 0;

	for (size_t i = 0; i < of->n && !rc; i++)
		rc = find_numbers(watch, after, of->scope, of->name[i], &list);
	if (list.n)
		qsort(list.number, list.n, sizeof(*list.number), by_number);
	for (size_t i = 0; i < list.n && !rc; i++) {
		if (i && list.number[i] == list.number[i - 1])
			continue; /* a name was given twice */
		if (!each(arg, &event_at(watch, list.number[i])->event))
			break;
	}
	free(list.number);
	return rc;
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
	struct ear **bucket = &waiter->watch->buckets[bucket_of(bell, scope, name)];
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
