/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_conn.h - a connection to Redis on the daemon's loop, which comes back
 * by itself. Commands are pipelined; answers are hiredis' to read.
 *
 * Threads: the loop's only.
 */
#ifndef NANOCTRL_REDIS_CONN_H
#define NANOCTRL_REDIS_CONN_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "redis_url.h"
#include "redis_words.h"

struct event_base;
struct redis_conn;

/* REPLY is valid during the call; NULL: the connection broke, REASON says why. */
typedef void redis_done(void *arg, const redisReply *reply, const char *reason);

struct redis_conn_opts {
	struct event_base *loop;
	struct redis_url url;
	void (*up)(void *arg);
	/* After each attempt that fails, too. Everything in flight has been told. */
	void (*down)(void *arg, const char *reason);
	void *arg;
};

/* Begins to connect. NULL: no memory. */
struct redis_conn *redis_conn_create(const struct redis_conn_opts *opts);
/* What is in flight is told that the connection broke. NULL is fine. */
void redis_conn_destroy(struct redis_conn *conn);

bool redis_conn_is_up(const struct redis_conn *conn);
/*
 * The command is ARGV and then the words of MORE, where there are (NULL: none). -EAGAIN: not
 * connected, DONE is not called; -ENOMEM likewise.
 */
int redis_conn_send(struct redis_conn *conn, int argc, const char *const *argv,
                    const struct redis_words *more, redis_done *done, void *arg);

#endif
