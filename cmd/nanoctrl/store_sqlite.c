/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store in a file of SQLite.
 *
 * The loop's thread runs no SQL. Requests that change something go to the writer, a
 * thread with the only connection that writes; those that only read go to the reader.
 * When a record expires is known in memory only (lifetimes.c): a request of touches is
 * answered here, and what expires is deleted by a request like any other. The writer's
 * answers come back in the order in which it did the work, so the lifetimes here follow
 * what is in the file.
 *
 *   store_run ──┬─ touches, all known ─────────────► answers ─► done
 *               ├─ reads ─► reader ─► touches ─────► answers
 *               └─ else ──► writer ─► lifetimes ─► events, answers
 *
 * After a start the lifetimes are loaded behind the first requests, some at a time.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lifetimes.h"
#include "sentence.h"
#include "sqlite_worker.h"

#define NS_PER_MS INT64_C(1000000)

enum { LOAD_AT_ONCE = 1000, EXPIRE_AT_ONCE = 512, RETRY_MS = 1000 };

struct sqlite_store {
	struct store store;
	struct store_opts opts;
	char *path;
	int lock_fd; /* holds the flock on the file; -1: in memory */
	struct sqlite_worker writer, reader;
	bool has_reader, closing, up;
	struct lifetimes *lifetimes;
	uint64_t revision;
	int64_t timer_ns; /* what the timer is set for; -1: it is not */
	struct event *timer, *wake;
	int wake_fd;

	pthread_mutex_t lock; /* guards what follows */
	struct request *finished, **last;
};

static struct sqlite_store *of(const struct store *store)
{
	/* The tables hand out const stores for what only looks. */
	return (struct sqlite_store *)(uintptr_t)store;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 * NS_PER_MS + ts.tv_nsec;
}

/* Any thread: LIST is to be answered on the loop. */
static void finish(void *arg, struct request *list)
{
	struct sqlite_store *s = arg;
	struct request **end = &list;
	uint64_t one = 1;
	bool first;

	while (*end)
		end = &(*end)->next;
	(void)pthread_mutex_lock(&s->lock);
	first = !s->finished;
	*s->last = list;
	s->last = end;
	(void)pthread_mutex_unlock(&s->lock);
	if (first)
		(void)!write(s->wake_fd, &one, sizeof(one));
}

static struct request *take_finished(struct sqlite_store *s)
{
	struct request *list;

	(void)pthread_mutex_lock(&s->lock);
	list = s->finished;
	s->finished = NULL;
	s->last = &s->finished;
	(void)pthread_mutex_unlock(&s->lock);
	return list;
}

static bool lives(const struct store_op *op)
{
	return op->verb == STORE_PUT || op->verb == STORE_TOUCH;
}

static void hold_keys(struct sqlite_store *s, struct request *req)
{
	req->held = true;
	for (size_t i = 0; i < req->n; i++)
		if (lives(&req->ops[i]))
			lifetimes_hold(s->lifetimes, &req->ops[i].key);
}

static void release_keys(struct sqlite_store *s, struct request *req)
{
	for (size_t i = 0; req->held && i < req->n; i++)
		if (lives(&req->ops[i]))
			lifetimes_release(s->lifetimes, &req->ops[i].key);
	req->held = false;
}

static void to_writer(struct sqlite_store *s, struct request *req)
{
	hold_keys(s, req);
	sqlite_worker_submit(&s->writer, req);
}

/* The touches of REQ, in memory: all of them or none. False: one is not known here. */
static bool touch(struct sqlite_store *s, struct request *req)
{
	int64_t now = now_ns();

	for (size_t i = 0; i < req->n; i++) {
		uint64_t revision = 0, born = 0;
		int rc;

		if (req->ops[i].verb != STORE_TOUCH)
			continue;
		rc = lifetimes_look(s->lifetimes, &req->ops[i].key, &revision, &born);
		if (rc == -ESRCH)
			return false;
		if (request_expect(req, i, rc == 0, revision, born))
			return true;
		req->res[i] = (struct store_res){.found = rc == 0};
	}
	for (size_t i = 0; i < req->n; i++)
		if (req->ops[i].verb == STORE_TOUCH && req->res[i].found)
			lifetimes_touch(s->lifetimes, &req->ops[i].key, req->ops[i].ttl_ms, now);
	return true;
}

/* The store works or does not: told when it changes. */
static void set_health(struct sqlite_store *s, bool up, const char *reason)
{
	if (s->up == up)
		return;
	s->up = up;
	if (s->opts.health)
		s->opts.health(s->opts.arg, up, reason);
}

static void tell_changes(struct sqlite_store *s, const struct request *req)
{
	for (const struct change *c = req->changes; c; c = c->next) {
		if (c->event.revision > s->revision)
			s->revision = c->event.revision;
		if (!c->quiet && s->opts.event)
			s->opts.event(s->opts.arg, &c->event);
	}
}

static void load_behind(struct sqlite_store *s, int64_t rowid);

/* Some lifetimes of a file that was there already: nobody has touched these yet. */
static void take_loaded(struct sqlite_store *s, const struct request *req)
{
	for (const struct life *l = req->lives; l; l = l->next)
		(void)lifetimes_found(s->lifetimes, l, now_ns());
	if (req->load->n == LOAD_AT_ONCE)
		load_behind(s, req->load->rowid);
}

/* What could not be deleted lives on for a while. */
static void revive(struct sqlite_store *s, const struct store_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		lifetimes_revive(s->lifetimes, &ops[i].key, now_ns() + RETRY_MS * NS_PER_MS);
}

static void take_effect(struct sqlite_store *s, const struct request *req)
{
	int64_t now = now_ns();

	if (req->load) {
		take_loaded(s, req);
		return;
	}
	for (const struct life *l = req->lives; l; l = l->next)
		(void)lifetimes_apply(s->lifetimes, l, now);
	if (req->changes)
		set_health(s, true, "the database can be written again");
	tell_changes(s, req);
}

static void answer(struct sqlite_store *s, struct request *req)
{
	release_keys(s, req);
	if (req->status == 0)
		take_effect(s, req);
	else if (req->broken && (req->status == -EDQUOT || req->status == -EIO))
		set_health(s, false, req->err.text);
	if (req->status && req->expiry)
		revive(s, req->ops, req->n);
	request_answer(req, &s->opts);
}

/* A request that ran on the reader touches now, or goes on to the writer. */
static void settle(struct sqlite_store *s, struct request *req)
{
	bool by_reader = !req->writes && !req->held && req->reads;

	if (by_reader && req->status == 0 && !touch(s, req)) {
		request_reset(req);
		to_writer(s, req);
		return;
	}
	answer(s, req);
}

static void set_timer(struct sqlite_store *s)
{
	int64_t next = lifetimes_next_ns(s->lifetimes), in;
	struct timeval tv;

	if (next == s->timer_ns)
		return;
	s->timer_ns = next;
	if (next < 0) {
		(void)event_del(s->timer);
		return;
	}
	in = next - now_ns();
	in = in < 0 ? 0 : in;
	tv.tv_sec = in / 1000 / NS_PER_MS;
	tv.tv_usec = in / 1000 % 1000000 + 1;
	(void)event_add(s->timer, &tv);
}

static void settle_finished(struct sqlite_store *s)
{
	struct request *req = take_finished(s);

	while (req) {
		struct request *next = req->next;

		settle(s, req);
		req = next;
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct sqlite_store *s = arg;
	uint64_t n;

	(void)what;
	(void)!read((int)fd, &n, sizeof(n));
	settle_finished(s);
	set_timer(s);
}

static void expire_some(struct sqlite_store *s, const struct store_op *ops, size_t n)
{
	struct request *req;

	if (request_create(ops, n, NULL, NULL, &req, NULL)) {
		revive(s, ops, n);
		return;
	}
	req->expiry = true;
	sqlite_worker_submit(&s->writer, req);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sqlite_store *s = arg;
	struct store_op ops[EXPIRE_AT_ONCE];
	const struct store_key *key;
	size_t n = 0;

	(void)fd;
	(void)what;
	s->timer_ns = -1;
	while ((key = lifetimes_take_due(s->lifetimes, now_ns()))) {
		ops[n++] = (struct store_op){.verb = STORE_DEL, .key = *key};
		if (n == EXPIRE_AT_ONCE) {
			expire_some(s, ops, n);
			n = 0;
		}
	}
	if (n)
		expire_some(s, ops, n);
	set_timer(s);
}

static void load_behind(struct sqlite_store *s, int64_t rowid)
{
	static const struct store_op nothing = {.verb = STORE_COUNT};
	struct request *req;

	if (s->closing || request_create(&nothing, 1, NULL, NULL, &req, NULL))
		return;
	req->load = request_alloc(req, sizeof(*req->load));
	if (!req->load) {
		request_destroy(req);
		return;
	}
	*req->load = (struct sqlite_load){.rowid = rowid, .n = LOAD_AT_ONCE};
	sqlite_worker_submit(&s->writer, req);
}

/* Opening and closing. */

static int lock_file(struct sqlite_store *s, struct slime_error *err)
{
	s->lock_fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	if (s->lock_fd < 0)
		return refuse(err, -errno, "cannot open the database '%.128s': %s", s->path,
		              strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB))
		return refuse(err, -EBUSY, "the database '%.128s' is in use by another nanoctrl",
		              s->path);
	return 0;
}

static int open_databases(struct sqlite_store *s, struct slime_error *err)
{
	bool in_memory = !strcmp(s->path, ":memory:");
	int rc = in_memory ? 0 : lock_file(s, err);

	if (!rc)
		rc = sqlite_db_open(&s->writer.db, s->path, err);
	if (!rc && !in_memory)
		rc = sqlite_db_open_reader(&s->reader.db, s->path, err);
	s->has_reader = !in_memory;
	return rc;
}

static int open_loop(struct sqlite_store *s, struct slime_error *err)
{
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0)
		return refuse(err, -errno, "no eventfd for the database: %s", strerror(errno));
	s->wake = event_new(s->opts.loop, s->wake_fd, EV_READ | EV_PERSIST, on_wake, s);
	s->timer = evtimer_new(s->opts.loop, on_timer, s);
	if (!s->wake || !s->timer || event_add(s->wake, NULL))
		return refuse(err, -ENOMEM, "no memory for the database");
	return 0;
}

static int start_workers(struct sqlite_store *s, struct slime_error *err)
{
	int rc;

	s->writer.writes = true;
	rc = sqlite_worker_start(&s->writer, finish, s);
	if (!rc && s->has_reader)
		rc = sqlite_worker_start(&s->reader, finish, s);
	if (rc)
		return refuse(err, rc, "no thread for the database: %s", strerror(-rc));
	return 0;
}

static void close_store(struct store *store)
{
	struct sqlite_store *s = of(store);

	s->closing = true;
	/* What the reader has done may go on to the writer. */
	sqlite_worker_stop(&s->reader);
	settle_finished(s);
	sqlite_worker_stop(&s->writer);
	settle_finished(s);
	if (s->timer)
		event_free(s->timer);
	if (s->wake)
		event_free(s->wake);
	if (s->wake_fd >= 0)
		(void)close(s->wake_fd);
	if (s->lock_fd >= 0)
		(void)close(s->lock_fd);
	lifetimes_destroy(s->lifetimes);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

static int open_store(const struct store_opts *opts, struct store **out, struct slime_error *err)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return refuse(err, -ENOMEM, "no memory for the store");
	s->store.table = &store_sqlite;
	s->opts = *opts;
	s->lock_fd = s->wake_fd = -1;
	s->timer_ns = -1;
	s->up = true;
	s->last = &s->finished;
	(void)pthread_mutex_init(&s->lock, NULL);
	s->path = strdup(opts->where);
	s->lifetimes = lifetimes_create();
	rc = s->path && s->lifetimes ? 0 : refuse(err, -ENOMEM, "no memory for the store");
	if (!rc)
		rc = open_databases(s, err);
	if (!rc)
		rc = open_loop(s, err);
	s->revision = s->writer.db.revision;
	if (!rc)
		rc = start_workers(s, err);
	if (rc) {
		close_store(&s->store);
		return rc;
	}
	load_behind(s, 0);
	*out = &s->store;
	return 0;
}

static int run(struct store *store, const struct store_op *ops, size_t n, store_done *done,
               void *arg, struct slime_error *err)
{
	struct sqlite_store *s = of(store);
	struct request *req;
	int rc;

	if (s->closing)
		return refuse(err, -EAGAIN, "the store is being closed");
	rc = request_create(ops, n, done, arg, &req, err);
	if (rc)
		return rc;
	if (!req->writes && !req->reads && touch(s, req))
		finish(s, req);
	else if (!req->writes && req->reads && s->has_reader)
		sqlite_worker_submit(&s->reader, req);
	else
		to_writer(s, req);
	return 0;
}

static uint64_t revision(const struct store *store)
{
	return of(store)->revision;
}

static const char *where(const struct store *store)
{
	(void)store;
	return "";
}

const struct store_table store_sqlite = {
    .name = "sqlite",
    .open = open_store,
    .run = run,
    .close = close_store,
    .revision = revision,
    .where = where,
};
