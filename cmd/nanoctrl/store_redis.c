/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store in Redis, shared by any number of daemons.
 *
 * Each request is one run of redis_script.lua, which Redis 7 keeps as a library of
 * functions and an older one as a script. Two connections: one for requests, one
 * that waits for what the stream of events gets, from whichever daemon. What is due is
 * looked for by every daemon; who comes first deletes it.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "redis_conn.h"
#include "redis_layout.h"
#include "sentence.h"

enum {
	PAGE_ROWS = 500,
	IN_FLIGHT_MAX = 100000,
	SWEEP_MS = 250,
	SWEEP_ROWS = 200,
	TAIL_ROWS = 1000,
	TAIL_REST_MS = 5, /* so that events come in bunches */
	OPEN_S = 5,
	CLOSE_S = 5
};
#define TAIL_WAIT_MS "2000"
#define REDIS_FRUGAL REDIS_LIBRARY "_frugal"

struct redis_store {
	struct store store;
	struct store_opts opts;
	char *where;
	struct redis_conn *conn, *tail;
	char *library;
	/* "FCALL" and a function, or "EVALSHA" and a digest; or "EVAL" and all of it: not loaded
	 * yet */
	const char *how, *what;
	char sha[41];
	size_t in_flight;
	bool up, closing, sweeping;
	struct event *sweep, *rest;
	char reason[252];

	/* The tail. */
	uint64_t revision;
	char epoch[33]; /* of the data; another one: they were lost */
	bool caught_up;
};

/* A list that is fetched in pages. */
struct pages {
	struct redis_store *store;
	struct request *req;
	struct redis_page page; /* limit 0: it is no list */
	uint32_t left;
	bool whole;                    /* the script itself was sent */
	const struct store_key *purge; /* NULL: no agent, or it is done */
	char cursor[24];
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

/* The script. */

static void on_script(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_store *s = arg;

	(void)reason;
	if (!reply || reply->type != REDIS_REPLY_STRING || reply->len != 40)
		return;
	memcpy(s->sha, reply->str, 41);
	s->how = "EVALSHA";
	s->what = s->sha;
}

static void on_library(void *arg, const redisReply *reply, const char *reason)
{
	static const char *const load[] = {"SCRIPT", "LOAD", redis_script};
	struct redis_store *s = arg;

	(void)reason;
	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		(void)redis_conn_send(s->conn, 3, load, NULL, on_script, s);
		return;
	}
	s->how = "FCALL";
	s->what = REDIS_LIBRARY;
}

/* For FUNCTION LOAD. NULL: no memory. */
static char *library_text(void)
{
	static const char head[] =
	    "#!lua name=" REDIS_LIBRARY "\nlocal LIBRARY = '" REDIS_LIBRARY "'\n";
	size_t len = strlen(redis_script);
	char *text = malloc(sizeof(head) + len);

	if (text) {
		memcpy(text, head, sizeof(head) - 1);
		memcpy(text + sizeof(head) - 1, redis_script, len + 1);
	}
	return text;
}

static void load_script(struct redis_store *s)
{
	const char *load[] = {"FUNCTION", "LOAD", "REPLACE", s->library};

	s->how = "EVAL";
	s->what = redis_script;
	(void)redis_conn_send(s->conn, 4, load, NULL, on_library, s);
}

static bool is_loaded(const struct redis_store *s)
{
	return s->what != redis_script;
}

/* Was the script, or library, taken from Redis since? */
static bool is_forgotten(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ERROR &&
	       (!strncmp(reply->str, "NOSCRIPT", 8) || strstr(reply->str, "Function not found"));
}

/* FRUGAL: what is to go on when Redis has no memory left. */
static const char *function_of(const struct redis_store *s, bool frugal)
{
	return frugal && !strcmp(s->how, "FCALL") ? REDIS_FRUGAL : s->what;
}

/* Requests. */

static void on_answer(void *arg, const redisReply *reply, const char *reason);

static int send_page(struct pages *p)
{
	struct redis_store *s = p->store;
	struct redis_words words = {0};

	p->whole = !is_loaded(s);
	if (redis_layout_encode(p->req, p->page.limit ? &p->page : NULL, &words))
		return -ENOMEM;
	words.word[0] = s->how;
	words.len[0] = strlen(words.word[0]);
	words.word[1] = function_of(s, !p->req->writes);
	words.len[1] = strlen(words.word[1]);
	return redis_conn_send(s->conn, words.n, words.word, words.len, on_answer, p);
}

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

static void on_purged(void *arg, const redisReply *reply, const char *reason);

/* Behind an agent that is gone, a part of all keys at a time. */
static void purge(struct pages *p)
{
	struct redis_store *s = p->store;
	const char *word[] = {s->how,    function_of(s, true), "0",         "purge",
	                      p->cursor, p->purge->scope,      p->purge->id};

	if (redis_conn_send(s->conn, 7, word, NULL, on_purged, p))
		fail(p, -EAGAIN, "Redis cannot be reached");
}

static void on_purged(void *arg, const redisReply *reply, const char *reason)
{
	struct pages *p = arg;

	if (!reply) {
		fail(p, -EAGAIN, reason);
	} else if (is_forgotten(reply) && is_loaded(p->store)) {
		load_script(p->store);
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

static void on_answer(void *arg, const redisReply *reply, const char *reason)
{
	struct pages *p = arg;
	size_t before = p->req->res[0].n;
	int rc = 0;

	if (!reply) {
		fail(p, -EAGAIN, reason);
		return;
	}
	if (!p->whole && is_forgotten(reply)) {
		if (is_loaded(p->store))
			load_script(p->store);
		rc = send_page(p);
	} else {
		redis_layout_decode(p->req, reply, p->page.limit ? &p->page : NULL);
		if (p->purge && !p->req->status) {
			purge(p);
			return;
		}
		if (!goes_on(p, before)) {
			answer(p);
			return;
		}
		rc = send_page(p);
	}
	if (rc)
		fail(p, rc, rc == -EAGAIN ? "Redis cannot be reached" : "no memory for a request");
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
		rc = send_page(p);
	}
	if (!p || rc) {
		request_destroy(req);
		return refuse(err, rc ? rc : -ENOMEM, "no memory for a request to Redis");
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
	const char *word[] = {s->how, function_of(s, true), "0", "sweep", rows};

	(void)fd;
	(void)what;
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
	if (reply && is_forgotten(reply) && is_loaded(s))
		load_script(s);
	if (reply && !s->closing)
		sweep_soon(s, more ? 0 : SWEEP_MS);
}

static void on_up(void *arg)
{
	struct redis_store *s = arg;

	*s->reason = '\0';
	load_script(s);
	if (!s->sweeping)
		sweep_soon(s, 0);
	set_health(s, true, "Redis is there again");
}

static void on_down(void *arg, const char *reason)
{
	struct redis_store *s = arg;

	s->how = "EVAL";
	s->what = redis_script;
	(void)snprintf(s->reason, sizeof(s->reason), "%s", reason);
	set_health(s, false, reason);
}

/* The tail: events of all daemons. */

static void read_tail(struct redis_store *s);

static void take_event(struct redis_store *s, const redisReply *entry)
{
	static const struct store_op nothing = {.verb = STORE_CENSUS};
	struct store_event event;
	struct request *memory;

	if (request_create(&nothing, 1, NULL, NULL, &memory, NULL))
		return;
	if (!redis_layout_event(memory, entry, &event) && event.revision > s->revision) {
		s->revision = event.revision;
		if (s->opts.event && !s->closing)
			s->opts.event(s->opts.arg, &event);
	}
	request_destroy(memory);
}

/* [[stream, [entry...]]], or nil: nothing came. */
static void on_tail(void *arg, const redisReply *reply, const char *reason)
{
	static const struct timeval rest = {0, TAIL_REST_MS * 1000};
	struct redis_store *s = arg;
	const redisReply *entries = NULL;

	(void)reason;
	if (!reply || s->closing)
		return;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
	    reply->element[0]->type == REDIS_REPLY_ARRAY && reply->element[0]->elements == 2)
		entries = reply->element[0]->element[1];
	for (size_t i = 0; entries && i < entries->elements; i++)
		take_event(s, entries->element[i]);
	if (entries)
		(void)event_add(s->rest, &rest);
	else
		read_tail(s);
}

static void on_rest(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_tail(arg);
}

static void read_tail(struct redis_store *s)
{
	char behind[32], rows[8];
	const char *word[] = {"XREAD",      "COUNT",   rows,         "BLOCK",
	                      TAIL_WAIT_MS, "STREAMS", REDIS_EVENTS, behind};

	(void)snprintf(rows, sizeof(rows), "%d", TAIL_ROWS);
	(void)snprintf(behind, sizeof(behind), "%llu-0", (unsigned long long)s->revision);
	(void)redis_conn_send(s->tail, 8, word, NULL, on_tail, s);
}

/*
 * [epoch, length, the first entries, revision]: whether all events behind the last one
 * that was told are still to be had.
 */
static void on_catch_up(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_store *s = arg;
	const redisReply *epoch, *first;
	unsigned long long oldest = 0, latest = 0;
	bool lost;

	(void)reason;
	if (!reply || s->closing)
		return;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4 ||
	    reply->element[0]->type != REDIS_REPLY_STRING) {
		(void)snprintf(s->reason, sizeof(s->reason), "Redis does not run scripts: %.150s",
		               reply->type == REDIS_REPLY_ERROR ? reply->str : "no such answer");
		return;
	}
	epoch = reply->element[0];
	first = reply->element[2];
	if (first->type == REDIS_REPLY_ARRAY && first->elements > 0)
		oldest = strtoull(first->element[0]->element[0]->str, NULL, 10);
	if (reply->element[3]->type == REDIS_REPLY_STRING)
		latest = strtoull(reply->element[3]->str, NULL, 10);
	lost = strcmp(s->epoch, epoch->str) != 0 ||
	       (reply->element[1]->integer >= REDIS_EVENTS_KEPT && oldest > s->revision);
	(void)snprintf(s->epoch, sizeof(s->epoch), "%s", epoch->str);
	if (lost) {
		s->revision = latest;
		if (s->caught_up && s->opts.gap)
			s->opts.gap(s->opts.arg, latest);
	}
	s->caught_up = true;
	read_tail(s);
}

static void on_tail_up(void *arg)
{
	static const char ask[] = "redis.call('SET', 'nanoctrl/epoch', ARGV[1], 'NX') "
				  "return {redis.call('GET', 'nanoctrl/epoch'),"
				  " redis.call('XLEN', '" REDIS_EVENTS "'),"
				  " redis.call('XRANGE', '" REDIS_EVENTS "', '-', '+', 'COUNT', 1),"
				  " redis.call('GET', 'nanoctrl/revision')}";
	struct redis_store *s = arg;
	unsigned char bytes[16] = {0};
	char epoch[33];
	const char *word[] = {"EVAL", ask, "0", epoch};

	(void)!getrandom(bytes, sizeof(bytes), 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(epoch + 2 * i, 3, "%02x", bytes[i]);
	(void)redis_conn_send(s->tail, 4, word, NULL, on_catch_up, s);
}

static void on_tail_down(void *arg, const char *reason)
{
	struct redis_store *s = arg;

	/* The other connection tells; this one comes back by itself. */
	(void)reason;
	(void)event_del(s->rest);
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
	redis_conn_destroy(s->tail);
	if (s->sweep)
		event_free(s->sweep);
	if (s->rest)
		event_free(s->rest);
	free(s->library);
	free(s->where);
	free(s);
}

static struct redis_conn *connect_to(struct redis_store *s, const struct redis_url *url, bool tail)
{
	struct redis_conn_opts opts = {
	    .loop = s->opts.loop,
	    .url = *url,
	    .up = tail ? on_tail_up : on_up,
	    .down = tail ? on_tail_down : on_down,
	    .arg = s,
	};

	return redis_conn_create(&opts);
}

/* Both connections stand, or a reason why not. */
static int wait_for_redis(struct redis_store *s, struct slime_error *err)
{
	int64_t end = now_s() + OPEN_S;

	while (!s->caught_up || !is_loaded(s)) {
		if (*s->reason || now_s() > end)
			return refuse(err, -ECONNREFUSED, "%s",
			              *s->reason ? s->reason : "Redis does not answer");
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
	s->how = "EVAL";
	s->what = redis_script;
	s->where = strdup(opts->where);
	s->library = library_text();
	s->sweep = evtimer_new(opts->loop, on_sweep, s);
	s->rest = evtimer_new(opts->loop, on_rest, s);
	s->conn = s->library && s->sweep && s->rest ? connect_to(s, &url, false) : NULL;
	s->tail = s->conn ? connect_to(s, &url, true) : NULL;
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
	return of(store)->revision;
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
