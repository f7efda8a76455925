/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store in Redis, shared by any number of daemons.
 *
 * What is asked in one turn of the loop waits in a lane, and all of it is one run of
 * our script, for a run costs Redis as much as some requests. What may take long is a
 * run of its own, as Redis serves nobody else meanwhile. Two connections: one for requests, and
 * that of redis_tail.c. What is due is looked for by every daemon; who comes first deletes it.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "redis_layout.h"
#include "redis_library.h"
#include "redis_tail.h"
#include "sentence.h"

enum {
	PAGE_ROWS = 500,
	IN_FLIGHT_MAX = 100000,
	LANE_MAX = 64, /* requests, in a run */
	LANE_BYTES = 65536,
	LIGHT_OPS = 8,
	SWEEP_MS = 250,
	SWEEP_ROWS = 200,
	OPEN_S = 5,
	CLOSE_S = 5
};

/* A request on its way; a list is fetched in pages. */
struct pages {
	struct pages *next;
	struct redis_store *store;
	struct request *req;
	struct redis_page page; /* limit 0: it is no list */
	uint32_t left;
	const struct store_key *purge; /* NULL: no agent, or it is done */
	char cursor[24];
};

struct lane {
	struct redis_words words;
	struct pages *first, **last;
	unsigned n;
};

/* A run of the script, for these requests. */
struct batch {
	struct redis_store *store;
	struct pages *first;
	unsigned n;
	bool whole; /* the script itself was sent */
};

enum { WRITES, FRUGAL, LANES }; /* FRUGAL: what goes on when Redis has no memory left */

struct redis_store {
	struct store store;
	struct store_opts opts;
	char *where;
	struct redis_conn *conn;
	struct redis_tail *tail;
	struct redis_library library;
	struct lane lanes[LANES];
	struct redis_words scratch;
	size_t in_flight;
	bool up, closing, sweeping;
	struct event *sweep, *flush;
	char reason[252];
};

static struct redis_store *of(const struct store *store)
{
	return (struct redis_store *)(uintptr_t)store;
}

static void set_health(struct redis_store *s, bool up, const char *reason)
{
	if (s->up == up || s->closing)
		return;
	s->up = up;
	if (s->opts.health)
		s->opts.health(s->opts.arg, up, reason);
}

static int64_t now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* Requests. */

static void answer(struct pages *p)
{
	struct redis_store *s = p->store;

	s->in_flight--;
	request_answer(p->req, &s->opts);
}

static void fail(struct pages *p, int code, const char *reason)
{
	(void)request_fail(p->req, 0, code, "%s", reason);
	answer(p);
}

static void fail_errno(struct pages *p, int code)
{
	fail(p, code, code == -EAGAIN ? "Redis cannot be reached" : "no memory for a request");
}

static void empty(struct lane *lane)
{
	redis_words_empty(&lane->words);
	lane->first = NULL;
	lane->last = &lane->first;
	lane->n = 0;
}

static void on_batch(void *arg, const redisReply *reply, const char *reason);

/* Negative: it is all still there. */
static int send_lane(struct redis_store *s, int which)
{
	struct lane *lane = &s->lanes[which];
	struct batch *b = lane->n ? malloc(sizeof(*b)) : NULL;
	const char *head[4];
	char n[12];
	int rc;

	if (!b)
		return lane->n ? -ENOMEM : 0;
	*b = (struct batch){s, lane->first, lane->n, !redis_library_is_loaded(&s->library)};
	redis_library_call(&s->library, which == FRUGAL, head);
	(void)snprintf(n, sizeof(n), "%u", lane->n);
	head[3] = n;
	rc = redis_conn_send(s->conn, 4, head, &lane->words, on_batch, b);
	if (rc) {
		free(b);
		return rc;
	}
	empty(lane);
	return 0;
}

static void fail_lane(struct lane *lane, int code)
{
	struct pages *p = lane->first;

	empty(lane);
	while (p) {
		struct pages *next = p->next;

		fail_errno(p, code);
		p = next;
	}
}

/* At the end of a turn of the loop. */
static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct redis_store *s = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < LANES; i++) {
		int rc = send_lane(s, i);

		if (rc)
			fail_lane(&s->lanes[i], rc);
	}
}

/* May it take long? */
static bool is_heavy(const struct pages *p)
{
	const struct request *req = p->req;

	if (req->n > LIGHT_OPS || p->page.limit)
		return true;
	for (size_t i = 0; i < req->n; i++)
		if (req->ops[i].verb == STORE_LIST || req->ops[i].verb == STORE_READ ||
		    req->ops[i].verb == STORE_TRIM || req->ops[i].verb == STORE_CENSUS)
			return true;
	return false;
}

static int enqueue(struct pages *p)
{
	struct redis_store *s = p->store;
	int which = p->req->writes ? WRITES : FRUGAL, rc;
	struct lane *lane = &s->lanes[which];
	bool heavy = is_heavy(p);

	if (heavy)
		(void)send_lane(s, which);
	rc =
	    redis_layout_encode(p->req, p->page.limit ? &p->page : NULL, &s->scratch, &lane->words);
	if (rc)
		return rc;
	p->next = NULL;
	*lane->last = p;
	lane->last = &p->next;
	lane->n++;
	if (heavy || lane->n >= LANE_MAX || lane->words.len >= LANE_BYTES)
		(void)send_lane(s, which);
	if (lane->n)
		event_active(s->flush, EV_TIMEOUT, 0);
	return 0;
}

static void on_purged(void *arg, const redisReply *reply, const char *reason);

/* Behind an agent that is gone, a part of all keys at a time. */
static void purge(struct pages *p)
{
	struct redis_store *s = p->store;
	const char *word[7] = {NULL, NULL, NULL, "purge", p->cursor, p->purge->scope, p->purge->id};

	redis_library_call(&s->library, true, word);
	if (redis_conn_send(s->conn, 7, word, NULL, on_purged, p))
		fail_errno(p, -EAGAIN);
}

static void on_purged(void *arg, const redisReply *reply, const char *reason)
{
	struct pages *p = arg;
	struct redis_library *library = &p->store->library;

	if (!reply) {
		fail(p, -EAGAIN, reason);
	} else if (redis_library_is_gone(reply) && redis_library_is_loaded(library)) {
		redis_library_load(library);
		purge(p);
	} else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
	           reply->element[0]->type != REDIS_REPLY_STRING) {
		redis_layout_decode(p->req, reply, NULL);
		answer(p);
	} else if (strcmp(reply->element[0]->str, "0") != 0) {
		(void)snprintf(p->cursor, sizeof(p->cursor), "%s", reply->element[0]->str);
		purge(p);
	} else {
		answer(p);
	}
}

static const struct store_key *purged_by(const struct request *req)
{
	for (size_t i = 0; i < req->n; i++)
		if (req->ops[i].verb == STORE_DEL && req->ops[i].purge)
			return &req->ops[i].key;
	return NULL;
}

/* Is there more of the list to fetch? */
static bool goes_on(struct pages *p, size_t before)
{
	size_t got = p->req->res[0].n - before;

	if (!p->page.limit || !p->page.behind || p->req->status)
		return false;
	p->left = p->left > got ? p->left - (uint32_t)got : 0;
	p->page.limit = p->left < PAGE_ROWS ? p->left : PAGE_ROWS;
	return p->left > 0;
}

static void on_answer(struct pages *p, const redisReply *reply)
{
	size_t before = p->req->res[0].n;
	int rc;

	redis_layout_decode(p->req, reply, p->page.limit ? &p->page : NULL);
	if (p->purge && !p->req->status) {
		purge(p);
	} else if (!goes_on(p, before)) {
		answer(p);
	} else if ((rc = enqueue(p))) {
		fail_errno(p, rc);
	}
}

/* An answer for each request, or an error, which is for all of them. */
static void on_batch(void *arg, const redisReply *reply, const char *reason)
{
	struct batch b = *(struct batch *)arg;
	struct redis_library *library = &b.store->library;
	bool again = reply && !b.whole && redis_library_is_gone(reply);
	bool each = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == b.n;
	int rc;

	free(arg);
	if (again && redis_library_is_loaded(library))
		redis_library_load(library);
	for (size_t i = 0; b.first; i++) {
		struct pages *p = b.first;

		b.first = p->next;
		if (!reply)
			fail(p, -EAGAIN, reason);
		else if (!again)
			on_answer(p, each ? reply->element[i] : reply);
		else if ((rc = enqueue(p)))
			fail_errno(p, rc);
	}
}

static int run(struct store *store, const struct store_op *ops, size_t n, store_done *done,
               void *arg, struct slime_error *err)
{
	struct redis_store *s = of(store);
	struct request *req;
	struct pages *p;
	int rc;

	if (s->closing || !redis_conn_is_up(s->conn))
		return refuse(err, -EAGAIN, "%s",
		              *s->reason ? s->reason : "Redis cannot be reached");
	if (s->in_flight >= IN_FLIGHT_MAX)
		return refuse(err, -EAGAIN, "Redis has %zu requests to answer already",
		              s->in_flight);
	rc = request_create(ops, n, done, arg, &req, err);
	if (rc)
		return rc;
	p = request_alloc(req, sizeof(*p));
	if (p) {
		*p = (struct pages){.store = s, .req = req, .purge = purged_by(req), .cursor = "0"};
		if (n == 1 && ops->verb == STORE_LIST) {
			p->left = ops->limit ? ops->limit : UINT32_MAX;
			p->page.limit = p->left < PAGE_ROWS ? p->left : PAGE_ROWS;
		}
		rc = enqueue(p);
	}
	if (!p || rc) {
		request_destroy(req);
		return refuse(err, -ENOMEM, "no memory for a request to Redis");
	}
	s->in_flight++;
	return 0;
}

/* Expiry. */

static void on_swept(void *arg, const redisReply *reply, const char *reason);

static void sweep_soon(struct redis_store *s, int ms)
{
	struct timeval tv = {0, ms * 1000};

	(void)event_add(s->sweep, &tv);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct redis_store *s = arg;
	char rows[8];
	const char *word[5] = {NULL, NULL, NULL, "sweep", rows};

	(void)fd;
	(void)what;
	redis_library_call(&s->library, true, word);
	(void)snprintf(rows, sizeof(rows), "%d", SWEEP_ROWS);
	s->sweeping = !redis_conn_send(s->conn, 5, word, NULL, on_swept, s);
}

static void on_swept(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_store *s = arg;
	bool more = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
	            reply->element[0]->integer == SWEEP_ROWS;

	(void)reason;
	s->sweeping = false;
	if (reply && redis_library_is_gone(reply) && redis_library_is_loaded(&s->library))
		redis_library_load(&s->library);
	if (reply && !s->closing)
		sweep_soon(s, more ? 0 : SWEEP_MS);
}

static void on_up(void *arg)
{
	struct redis_store *s = arg;

	*s->reason = '\0';
	redis_library_load(&s->library);
	if (!s->sweeping)
		sweep_soon(s, 0);
	set_health(s, true, "Redis is there again");
}

static void on_down(void *arg, const char *reason)
{
	struct redis_store *s = arg;

	redis_library_forget(&s->library);
	(void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
	set_health(s, false, reason);
}

/* Opening and closing. */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Whatever is next on the loop, or some milliseconds. */
static void step(struct redis_store *s)
{
	static const struct timeval tick = {0, 10000};
	struct event *timer = evtimer_new(s->opts.loop, on_tick, NULL);

	if (timer)
		(void)event_add(timer, &tick);
	(void)event_base_loop(s->opts.loop, timer ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
	if (timer)
		event_free(timer);
}

static void close_store(struct store *store)
{
	struct redis_store *s = of(store);
	int64_t end = now_s() + CLOSE_S;

	while (s->in_flight && now_s() < end)
		step(s);
	s->closing = true;
	redis_conn_destroy(s->conn);
	for (int i = 0; i < LANES; i++) {
		fail_lane(&s->lanes[i], -EAGAIN);
		redis_words_free(&s->lanes[i].words);
	}
	redis_words_free(&s->scratch);
	redis_tail_destroy(s->tail);
	if (s->sweep)
		event_free(s->sweep);
	if (s->flush)
		event_free(s->flush);
	redis_library_free(&s->library);
	free(s->where);
	free(s);
}

/* Both connections stand, or a reason why not. */
static int wait_for_redis(struct redis_store *s, struct slime_error *err)
{
	int64_t end = now_s() + OPEN_S;

	while (!redis_tail_has_caught_up(s->tail) || !redis_library_is_loaded(&s->library)) {
		const char *reason = *s->reason ? s->reason : redis_tail_reason(s->tail);

		if (*reason || now_s() > end)
			return refuse(err, -ECONNREFUSED, "%s",
			              *reason ? reason : "Redis does not answer");
		step(s);
	}
	return 0;
}

static int open_store(const struct store_opts *opts, struct store **out, struct slime_error *err)
{
	struct redis_store *s;
	struct redis_url url;
	int rc = redis_url_parse(opts->where, &url, err);

	if (rc)
		return rc;
	s = calloc(1, sizeof(*s));
	if (!s)
		return refuse(err, -ENOMEM, "no memory for the store");
	s->store.table = &store_redis;
	s->opts = *opts;
	s->up = true;
	for (int i = 0; i < LANES; i++)
		empty(&s->lanes[i]);
	s->where = strdup(opts->where);
	s->sweep = evtimer_new(opts->loop, on_sweep, s);
	s->flush = evtimer_new(opts->loop, on_flush, s);
	if (!redis_library_init(&s->library) && s->sweep && s->flush)
		s->conn = redis_conn_create(&(struct redis_conn_opts){
		    .loop = opts->loop, .url = url, .up = on_up, .down = on_down, .arg = s});
	s->library.conn = s->conn;
	s->tail = s->conn ? redis_tail_create(opts, &url) : NULL;
	rc = s->where && s->tail ? wait_for_redis(s, err)
	                         : refuse(err, -ENOMEM, "no memory for the store");
	if (rc) {
		close_store(&s->store);
		return rc;
	}
	*out = &s->store;
	return 0;
}

static uint64_t revision(const struct store *store)
{
	return redis_tail_revision(of(store)->tail);
}

static const char *where(const struct store *store)
{
	return of(store)->where;
}

const struct store_table store_redis = {
    .name = "redis",
    .open = open_store,
    .run = run,
    .close = close_store,
    .revision = revision,
    .where = where,
};
