/* SPDX-License-Identifier: BSD-3-Clause */
#include "redis_tail.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "redis_conn.h"
#include "redis_layout.h"

enum { ROWS = 1000, REST_MS = 5 /* so that events come in bunches */ };
#define WAIT_MS "2000"

struct redis_tail {
	struct store_opts opts;
	struct redis_conn *conn;
	struct event *rest;
	uint64_t revision;
	char epoch[33]; /* of the data; another one: they were lost */
	bool caught_up;
	char reason[252];
};

static void read_on(struct redis_tail *t);

static void take_event(struct redis_tail *t, const redisReply *entry)
{
	struct store_event event;

	if (redis_layout_event(entry, &event) || event.revision <= t->revision)
		return;
	t->revision = event.revision;
	if (t->opts.event)
		t->opts.event(t->opts.arg, &event);
}

/* [[stream, [entry...]]], or nil: nothing came. */
static void on_entries(void *arg, const redisReply *reply, const char *reason)
{
	static const struct timeval rest = {0, REST_MS * 1000};
	struct redis_tail *t = arg;
	const redisReply *entries = NULL;

	(void)reason;
	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
	    reply->element[0]->type == REDIS_REPLY_ARRAY && reply->element[0]->elements == 2)
		entries = reply->element[0]->element[1];
	for (size_t i = 0; entries && i < entries->elements; i++)
		take_event(t, entries->element[i]);
	if (entries)
		(void)event_add(t->rest, &rest);
	else
		read_on(t);
}

static void on_rest(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_on(arg);
}

static void read_on(struct redis_tail *t)
{
	char behind[32], rows[8];
	const char *word[] = {"XREAD", "COUNT",   rows,         "BLOCK",
	                      WAIT_MS, "STREAMS", REDIS_EVENTS, behind};

	(void)snprintf(rows, sizeof(rows), "%d", ROWS);
	(void)snprintf(behind, sizeof(behind), "%llu-0", (unsigned long long)t->revision);
	(void)redis_conn_send(t->conn, 8, word, NULL, on_entries, t);
}

/*
 * [epoch, length, the first entries, revision]: whether all events behind the last one
 * that was told are still to be had.
 */
static void on_catch_up(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_tail *t = arg;
	const redisReply *epoch, *first;
	unsigned long long oldest = 0, latest = 0;
	bool lost;

	(void)reason;
	if (!reply)
		return;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4 ||
	    reply->element[0]->type != REDIS_REPLY_STRING) {
		(void)snprintf(t->reason, sizeof(t->reason), "Redis does not run scripts: %.150s",
		               reply->type == REDIS_REPLY_ERROR ? reply->str : "no such answer");
		return;
	}
	epoch = reply->element[0];
	first = reply->element[2];
	if (first->type == REDIS_REPLY_ARRAY && first->elements > 0)
		oldest = strtoull(first->element[0]->element[0]->str, NULL, 10);
	if (reply->element[3]->type == REDIS_REPLY_STRING)
		latest = strtoull(reply->element[3]->str, NULL, 10);
	lost = strcmp(t->epoch, epoch->str) != 0 ||
	       (reply->element[1]->integer >= REDIS_EVENTS_KEPT && oldest > t->revision);
	(void)snprintf(t->epoch, sizeof(t->epoch), "%s", epoch->str);
	if (lost) {
		t->revision = latest;
		if (t->caught_up && t->opts.gap)
			t->opts.gap(t->opts.arg, latest);
	}
	t->caught_up = true;
	read_on(t);
}

static void on_up(void *arg)
{
	static const char ask[] = "redis.call('SET', 'nanoctrl/epoch', ARGV[1], 'NX') "
				  "return {redis.call('GET', 'nanoctrl/epoch'),"
				  " redis.call('XLEN', '" REDIS_EVENTS "'),"
				  " redis.call('XRANGE', '" REDIS_EVENTS "', '-', '+', 'COUNT', 1),"
				  " redis.call('GET', 'nanoctrl/revision')}";
	struct redis_tail *t = arg;
	unsigned char bytes[16] = {0};
	char epoch[33];
	const char *word[] = {"EVAL", ask, "0", epoch};

	(void)!getrandom(bytes, sizeof(bytes), 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(epoch + 2 * i, 3, "%02x", bytes[i]);
	(void)redis_conn_send(t->conn, 4, word, NULL, on_catch_up, t);
}

static void on_down(void *arg, const char *reason)
{
	struct redis_tail *t = arg;

	/* The connection for requests tells; this one comes back by itself. */
	(void)reason;
	(void)event_del(t->rest);
}

struct redis_tail *redis_tail_create(const struct store_opts *opts, const struct redis_url *url)
{
	struct redis_tail *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->opts = *opts;
	t->rest = evtimer_new(opts->loop, on_rest, t);
	if (t->rest)
		t->conn = redis_conn_create(&(struct redis_conn_opts){
		    .loop = opts->loop, .url = *url, .up = on_up, .down = on_down, .arg = t});
	if (t->conn)
		return t;
	redis_tail_destroy(t);
	return NULL;
}

void redis_tail_destroy(struct redis_tail *t)
{
	if (!t)
		return;
	t->opts.event = NULL;
	t->opts.gap = NULL;
	redis_conn_destroy(t->conn);
	if (t->rest)
		event_free(t->rest);
	free(t);
}

bool redis_tail_has_caught_up(const struct redis_tail *t)
{
	return t->caught_up;
}

const char *redis_tail_reason(const struct redis_tail *t)
{
	return t->reason;
}

uint64_t redis_tail_revision(const struct redis_tail *t)
{
	return t->revision;
}
