/* SPDX-License-Identifier: BSD-3-Clause */
#include "fakes/nanoctrl/fake_store.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fakes/nanoctrl/fake_records.h"

/* What is told from the loop: an event, or the answer to a request. */
struct news {
	struct news *next;
	struct store_event event; /* if DONE is NULL; with its own strings */
	store_done *done;
	void *arg;
	int status;
	size_t failed, n;
	struct store_res *res;
};

struct fake_store {
	struct store base;
	struct store_opts opts;
	char *where;
	struct fake_records records;
	struct news *first, **last;
	struct event *tell, *expire;
	int64_t ahead_ms;
	int fail;
	size_t n_ops;
};

static struct fake_store *fake_of(struct store *store)
{
	return (struct fake_store *)store;
}

static int64_t clock_ms(const struct fake_store *self)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return self->ahead_ms + now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static struct news *add_news(struct fake_store *self)
{
	struct news *news = calloc(1, sizeof(*news));

	assert(news);
	*self->last = news;
	self->last = &news->next;
	event_active(self->tell, EV_TIMEOUT, 0);
	return news;
}

static void add_event(void *arg, const struct store_event *event)
{
	struct news *news = add_news(arg);

	news->event = *event;
	news->event.key.scope = strdup(event->key.scope);
	news->event.key.type = strdup(event->key.type);
	news->event.key.id = strdup(event->key.id);
	news->event.kind = strdup(event->kind);
	news->event.value = strdup(event->value);
}

static void tell_event(const struct fake_store *self, struct news *news)
{
	const char *const texts[] = {news->event.key.scope, news->event.key.type,
	                             news->event.key.id, news->event.kind, news->event.value};

	if (self->opts.event)
		self->opts.event(self->opts.arg, &news->event);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		union {
			const char *in;
			void *out;
		} text = {.in = texts[i]};

		free(text.out);
	}
}

static void tell_answer(struct news *news)
{
	static const char *const words = "the store says no";
	struct slime_error err = {.code = news->status};

	if (news->status)
		(void)snprintf(err.text, sizeof(err.text), "%s: %s", words,
		               strerror(-news->status));
	news->done(news->arg, news->status, news->failed, news->status ? NULL : news->res, &err);
	for (size_t i = 0; i < news->n; i++)
		fake_free_res(&news->res[i]);
	free(news->res);
}

static void tell_one(struct fake_store *self)
{
	struct news *news = self->first;

	self->first = news->next;
	if (!self->first)
		self->last = &self->first;
	if (news->done)
		tell_answer(news);
	else
		tell_event(self, news);
	free(news);
}

/* What is asked for meanwhile is answered in the next round. */
static void tell_all(int fd, short what, void *arg)
{
	struct fake_store *self = arg;
	size_t n = 0;

	(void)fd;
	(void)what;
	for (const struct news *news = self->first; news; news = news->next)
		n++;
	while (n--)
		tell_one(self);
}

static void expire(int fd, short what, void *arg)
{
	struct fake_store *self = arg;
	int64_t next;

	(void)fd;
	(void)what;
	self->records.now_ms = clock_ms(self);
	next = fake_expire(&self->records);
	if (next) {
		int64_t ms = next - self->records.now_ms;
		struct timeval wait = {ms / 1000, ms % 1000 * 1000};

		(void)event_add(self->expire, &wait);
	}
}

static int fake_open(const struct store_opts *opts, struct store **out, struct slime_error *err)
{
	struct fake_store *self = calloc(1, sizeof(*self));

	(void)err;
	assert(self);
	self->base.table = &store_fake;
	self->opts = *opts;
	self->where = strdup(opts->where ? opts->where : "");
	self->last = &self->first;
	self->tell = event_new(opts->loop, -1, EV_PERSIST, tell_all, self);
	self->expire = event_new(opts->loop, -1, 0, expire, self);
	self->records.event = add_event;
	self->records.arg = self;
	assert(self->where && self->tell && self->expire);
	if (opts->health)
		opts->health(opts->arg, true, "");
	*out = &self->base;
	return 0;
}

static int apply_all(struct fake_store *self, const struct store_op *ops, struct news *news)
{
	struct fake_records before;
	size_t i;
	int rc = self->fail;

	if (news->n > 1)
		fake_clone(&self->records, &before);
	for (i = 0; i < news->n && !rc; i++)
		rc = fake_apply(&self->records, &ops[i], &news->res[i]);
	if (rc && i)
		news->failed = i - 1;
	if (news->n > 1 && rc) {
		fake_free(&self->records);
		self->records = before;
	} else if (news->n > 1)
		fake_free(&before);
	return rc;
}

/* Forgets the events of a request that did not take effect. */
static void drop_after(struct fake_store *self, struct news **at)
{
	while (*at) {
		struct news *news = *at;
		struct fake_store nobody = {.opts = {.event = NULL}};

		*at = news->next;
		tell_event(&nobody, news);
		free(news);
	}
	self->last = at;
}

static int fake_run(struct store *store, const struct store_op *ops, size_t n, store_done *done,
                    void *arg, struct slime_error *err)
{
	struct fake_store *self = fake_of(store);
	struct news answer = {.done = done, .arg = arg, .n = n};
	struct news **mark, *news;

	(void)err;
	expire(-1, 0, self);
	mark = self->last;
	self->n_ops += n;
	answer.res = calloc(n ? n : 1, sizeof(*answer.res));
	assert(answer.res);
	answer.status = apply_all(self, ops, &answer);
	if (answer.status)
		drop_after(self, mark);
	news = add_news(self);
	answer.next = news->next;
	*news = answer;
	expire(-1, 0, self);
	return 0;
}

static void fake_close(struct store *store)
{
	struct fake_store *self = fake_of(store);

	while (self->first)
		tell_one(self);
	event_free(self->tell);
	event_free(self->expire);
	fake_free(&self->records);
	free(self->where);
	free(self);
}

static uint64_t fake_revision(const struct store *store)
{
	return ((const struct fake_store *)store)->records.revision;
}

static const char *fake_where(const struct store *store)
{
	return ((const struct fake_store *)store)->where;
}

void fake_store_advance(struct store *store, int64_t ms)
{
	fake_of(store)->ahead_ms += ms;
	expire(-1, 0, fake_of(store));
}

void fake_store_fail(struct store *store, int status)
{
	fake_of(store)->fail = status;
}

size_t fake_store_ops(const struct store *store)
{
	return ((const struct fake_store *)store)->n_ops;
}

const struct store_table store_fake = {
    .name = "fake",
    .open = fake_open,
    .run = fake_run,
    .close = fake_close,
    .revision = fake_revision,
    .where = fake_where,
};
