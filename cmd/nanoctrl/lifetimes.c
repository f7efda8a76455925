/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hash table of entries, and a heap of those that can expire. To touch an entry
 * changes its DUE only; the heap has it under AT, which is not later, and puts it
 * in its new place when AT comes.
 *
 * An entry stays while anything needs it: it is KNOWN (a record), has children, or
 * is held. One that is not known says nothing of the record.
 */
#include "lifetimes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { NO_PLACE = -1, FIRST_BUCKETS = 1024 };

#define NS_PER_MS INT64_C(1000000)

struct entry {
	struct entry *chain; /* of the bucket */
	struct entry *parent, *children, *next_sibling, **sibling_link;
	uint64_t hash, revision, born;
	int64_t ttl_ms; /* 0: for ever */
	int64_t due_ns, at_ns;
	int64_t place; /* in the heap, or NO_PLACE */
	uint32_t holds;
	bool known, expired;
	struct store_key key; /* into name */
	char name[];          /* class, scope NUL type NUL id NUL */
};

struct lifetimes {
	struct entry **bucket;
	size_t buckets, n;
	struct entry **heap;
	size_t heap_n, heap_cap;
	uint64_t seed;
};

struct lifetimes *lifetimes_create(void)
{
	struct lifetimes *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->bucket = calloc(FIRST_BUCKETS, sizeof(*all->bucket));
	if (!all->bucket) {
		free(all);
		return NULL;
	}
	all->buckets = FIRST_BUCKETS;
	if (getrandom(&all->seed, sizeof(all->seed), 0) != sizeof(all->seed))
		all->seed = (uint64_t)(uintptr_t)all;
	return all;
}

void lifetimes_destroy(struct lifetimes *all)
{
	if (!all)
		return;
	for (size_t i = 0; i < all->buckets; i++) {
		struct entry *e = all->bucket[i];

		while (e) {
			struct entry *chain = e->chain;

			free(e);
			e = chain;
		}
	}
	free(all->bucket);
	free(all->heap);
	free(all);
}

/* The heap: no entry's AT is before its father's. */

static void heap_set(struct lifetimes *all, size_t i, struct entry *e)
{
	all->heap[i] = e;
	e->place = (int64_t)i;
}

static void heap_up(struct lifetimes *all, size_t i, struct entry *e)
{
	while (i > 0 && all->heap[(i - 1) / 2]->at_ns > e->at_ns) {
		heap_set(all, i, all->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_set(all, i, e);
}

static void heap_down(struct lifetimes *all, size_t i, struct entry *e)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < all->heap_n &&
		    all->heap[child + 1]->at_ns < all->heap[child]->at_ns)
			child++;
		if (child >= all->heap_n || all->heap[child]->at_ns >= e->at_ns)
			break;
		heap_set(all, i, all->heap[child]);
		i = child;
	}
	heap_set(all, i, e);
}

static void heap_drop(struct lifetimes *all, struct entry *e)
{
	struct entry *last;
	size_t i;

	if (e->place == NO_PLACE)
		return;
	i = (size_t)e->place;
	e->place = NO_PLACE;
	last = all->heap[--all->heap_n];
	if (last == e)
		return;
	heap_up(all, i, last);
	heap_down(all, (size_t)last->place, last);
}

static int heap_add(struct lifetimes *all, struct entry *e)
{
	if (all->heap_n == all->heap_cap) {
		size_t cap = all->heap_cap ? 2 * all->heap_cap : 256;
		struct entry **heap = reallocarray(all->heap, cap, sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		all->heap = heap;
		all->heap_cap = cap;
	}
	e->at_ns = e->due_ns;
	heap_up(all, all->heap_n++, e);
	return 0;
}

/* E is due at DUE_NS: in the heap, and not too late there. */
static int set_due(struct lifetimes *all, struct entry *e, int64_t due_ns)
{
	e->due_ns = due_ns;
	if (e->place == NO_PLACE)
		return heap_add(all, e);
	if (e->at_ns > due_ns) {
		e->at_ns = due_ns;
		heap_up(all, (size_t)e->place, e);
	}
	return 0;
}

/* The table. */

static size_t name_len(const struct store_key *key)
{
	return 1 + strlen(key->scope) + 1 + strlen(key->type) + 1 + strlen(key->id) + 1;
}

static const char *put_part(char **at, const char *text)
{
	char *begin = *at;

	*at = stpcpy(begin, text) + 1;
	return begin;
}

static void put_name(char *name, const struct store_key *key, struct store_key *out)
{
	char *at = name;

	*at++ = (char)('A' + (int)key->class);
	out->class = key->class;
	out->scope = put_part(&at, key->scope);
	out->type = put_part(&at, key->type);
	out->id = put_part(&at, key->id);
}

static uint64_t hash_of(const struct lifetimes *all, const struct store_key *key)
{
	const char *part[] = {key->scope, key->type, key->id};
	uint64_t hash = all->seed + key->class;

	for (size_t i = 0; i < 3; i++)
		hash = XXH3_64bits_withSeed(part[i], strlen(part[i]), hash);
	return hash;
}

static bool same_key(const struct store_key *a, const struct store_key *b)
{
	return a->class == b->class && !strcmp(a->id, b->id) && !strcmp(a->type, b->type) &&
	       !strcmp(a->scope, b->scope);
}

static struct entry *find(const struct lifetimes *all, const struct store_key *key)
{
	uint64_t hash = hash_of(all, key);
	struct entry *e = all->bucket[hash & (all->buckets - 1)];

	while (e && !(e->hash == hash && same_key(&e->key, key)))
		e = e->chain;
	return e;
}

/* Without memory the chains grow longer, and that is all. */
static void grow(struct lifetimes *all)
{
	struct entry **bucket = calloc(2 * all->buckets, sizeof(*bucket));

	if (!bucket)
		return;
	for (size_t i = 0; i < all->buckets; i++) {
		struct entry *e = all->bucket[i];

		while (e) {
			struct entry *chain = e->chain;
			struct entry **to = &bucket[e->hash & (2 * all->buckets - 1)];

			e->chain = *to;
			*to = e;
			e = chain;
		}
	}
	free(all->bucket);
	all->bucket = bucket;
	all->buckets *= 2;
}

/* The entry of KEY, made if there is none; NULL: no memory. */
static struct entry *find_or_add(struct lifetimes *all, const struct store_key *key)
{
	struct entry *e = find(all, key), **to;

	if (e)
		return e;
	e = calloc(1, sizeof(*e) + name_len(key));
	if (!e)
		return NULL;
	put_name(e->name, key, &e->key);
	e->place = NO_PLACE;
	e->hash = hash_of(all, key);
	if (all->n >= all->buckets)
		grow(all);
	to = &all->bucket[e->hash & (all->buckets - 1)];
	e->chain = *to;
	*to = e;
	all->n++;
	return e;
}

static void leave_parent(struct lifetimes *all, struct entry *e);

/* Free E if nothing needs it any more. */
static void drop_unneeded(struct lifetimes *all, struct entry *e)
{
	struct entry **at = &all->bucket[e->hash & (all->buckets - 1)];

	if (e->known || e->children || e->holds)
		return;
	heap_drop(all, e);
	leave_parent(all, e);
	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	all->n--;
	free(e);
}

static void leave_parent(struct lifetimes *all, struct entry *e)
{
	struct entry *parent = e->parent;

	if (!parent)
		return;
	*e->sibling_link = e->next_sibling;
	if (e->next_sibling)
		e->next_sibling->sibling_link = e->sibling_link;
	e->parent = NULL;
	drop_unneeded(all, parent);
}

static int join_parent(struct lifetimes *all, struct entry *e, const struct store_key *key)
{
	struct entry *parent = find_or_add(all, key);

	if (!parent)
		return -ENOMEM;
	if (e->parent == parent)
		return 0;
	leave_parent(all, e);
	e->parent = parent;
	e->next_sibling = parent->children;
	if (e->next_sibling)
		e->next_sibling->sibling_link = &e->next_sibling;
	e->sibling_link = &parent->children;
	parent->children = e;
	return 0;
}

/* What the callers see. */

static int begin(struct lifetimes *all, const struct life *life, int64_t now_ns)
{
	struct entry *e = life->ttl_ms > 0 ? find_or_add(all, &life->key) : find(all, &life->key);
	int rc = 0;

	if (!e)
		return life->ttl_ms > 0 ? -ENOMEM : 0;
	e->known = life->ttl_ms > 0;
	e->expired = false;
	e->revision = life->revision;
	e->born = life->born;
	e->ttl_ms = life->ttl_ms;
	if (life->parent.id && life->ttl_ms > 0)
		rc = join_parent(all, e, &life->parent);
	else
		leave_parent(all, e);
	if (!rc && life->ttl_ms > 0)
		rc = set_due(all, e, now_ns + life->ttl_ms * NS_PER_MS);
	if (life->ttl_ms > 0)
		return rc;
	heap_drop(all, e);
	drop_unneeded(all, e);
	return rc;
}

static void end(struct lifetimes *all, const struct store_key *key)
{
	struct entry *e = find(all, key);

	if (!e)
		return;
	e->known = e->expired = false;
	heap_drop(all, e);
	leave_parent(all, e);
	drop_unneeded(all, e);
}

static void touch_entry(struct entry *e, int64_t once_ms, int64_t now_ns)
{
	int64_t ttl_ms = once_ms ? once_ms : e->ttl_ms;

	/* A child that has expired is being deleted; it cannot be called back. */
	if (e->known && !e->expired)
		e->due_ns = now_ns + ttl_ms * NS_PER_MS;
}

/* A due time that came nearer: the heap must not have it later. */
static void mend_place(struct lifetimes *all, struct entry *e)
{
	if (e->place != NO_PLACE && e->due_ns < e->at_ns) {
		e->at_ns = e->due_ns;
		heap_up(all, (size_t)e->place, e);
	}
}

void lifetimes_touch(struct lifetimes *all, const struct store_key *key, int64_t once_ms,
                     int64_t now_ns)
{
	struct entry *e = find(all, key);

	if (!e)
		return;
	touch_entry(e, once_ms, now_ns);
	mend_place(all, e);
	for (struct entry *child = e->children; child; child = child->next_sibling) {
		touch_entry(child, 0, now_ns);
		mend_place(all, child);
	}
}

int lifetimes_apply(struct lifetimes *all, const struct life *life, int64_t now_ns)
{
	int rc = 0;

	if (life->what == LIFE_ENDS) {
		end(all, &life->key);
	} else if (life->what == LIFE_BEGINS) {
		rc = begin(all, life, now_ns);
	} else {
		rc = lifetimes_found(all, life, now_ns);
		lifetimes_touch(all, &life->key, life->once_ms, now_ns);
	}
	return rc;
}

int lifetimes_found(struct lifetimes *all, const struct life *life, int64_t now_ns)
{
	const struct entry *e = find(all, &life->key);

	return e && e->known ? 0 : begin(all, life, now_ns);
}

int lifetimes_look(const struct lifetimes *all, const struct store_key *key, uint64_t *revision,
                   uint64_t *born)
{
	const struct entry *e = find(all, key);

	if (!e || !e->known)
		return -ESRCH;
	if (e->expired || (e->parent && e->parent->expired))
		return -ENOENT;
	*revision = e->revision;
	*born = e->born;
	return 0;
}

void lifetimes_hold(struct lifetimes *all, const struct store_key *key)
{
	struct entry *e = find_or_add(all, key);

	if (e)
		e->holds++;
}

void lifetimes_release(struct lifetimes *all, const struct store_key *key)
{
	struct entry *e = find(all, key);

	if (!e || !e->holds)
		return;
	e->holds--;
	drop_unneeded(all, e);
}

int64_t lifetimes_next_ns(const struct lifetimes *all)
{
	return all->heap_n ? all->heap[0]->at_ns : -1;
}

const struct store_key *lifetimes_take_due(struct lifetimes *all, int64_t now_ns)
{
	while (all->heap_n && all->heap[0]->at_ns <= now_ns) {
		struct entry *e = all->heap[0];

		if (e->due_ns <= now_ns && !e->holds) {
			heap_drop(all, e);
			e->expired = true;
			return &e->key;
		}
		/* Touched since, or held: then look again in a moment. */
		e->at_ns = e->due_ns > now_ns ? e->due_ns : now_ns + 10 * NS_PER_MS;
		heap_down(all, 0, e);
	}
	return NULL;
}

void lifetimes_revive(struct lifetimes *all, const struct store_key *key, int64_t due_ns)
{
	struct entry *e = find(all, key);

	if (!e || !e->expired)
		return;
	e->expired = false;
	(void)set_due(all, e, due_ns);
}
