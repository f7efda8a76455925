/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrl/ctrl_impl.h - the structs behind ctrl_client.h. This directory only; the loop's thread. */
#ifndef SL_CTRL_IMPL_H
#define SL_CTRL_IMPL_H

#include <stdbool.h>
#include <sys/queue.h>

#include "ctrl/ctrl_client.h"
#include "ctrl/ctrl_conn.h"

/* One kept-alive connection; busy while CALL is set. */
struct sl_ctrl_way {
	struct sl_ctrl_client *client;
	struct sl_conn *conn;
	struct sl_ctrl_call *call;
	LIST_ENTRY(sl_ctrl_way) entry;
};

TAILQ_HEAD(sl_ctrl_calls, sl_ctrl_call);

struct sl_ctrl_call {
	struct sl_ctrl_client *client;
	struct sl_ctrl_way *way; /* NULL: in a list */
	const char *method;      /* a constant */
	char *path;
	char *body; /* NULL: none */
	int timeout_ms;
	bool again;         /* this is the second try */
	sl_ctrl_done *done; /* NULL: dropped */
	void *arg;
	/* ctrl_turn.c: in POSTS; the body until it has gone alone; the call that carries it */
	bool waits;
	json_t *value;
	struct sl_ctrl_call *carrier;
	struct sl_ctrl_calls carried; /* by this one, in order */
	TAILQ_ENTRY(sl_ctrl_call) entry;
};

struct sl_ctrl_client {
	char *host;
	char *header_host;
	struct sl_conn_place place;
	char *token; /* NULL: none */
	const char *who;
	const char *unreached; /* what is said of WHO when nobody takes the call */
	bool listed, ending;
	bool batches; /* the server takes many posts in one request */
	LIST_ENTRY(sl_ctrl_client) entry;
	unsigned nways;
	LIST_HEAD(, sl_ctrl_way) ways;
	struct sl_ctrl_calls queue;
	struct sl_ctrl_calls posts;   /* while another is underway: */
	struct sl_ctrl_call *posting; /* the post, or the carrier of some */
	struct event *pump;           /* QUEUE or POSTS may move on */
};

/* ctrl_client.c */
/* In no list; BODY is stolen. NULL: no memory. */
struct sl_ctrl_call *sl_ctrl_call_new(struct sl_ctrl_client *client, const char *method,
                                      const char *path, json_t *body, int timeout_ms,
                                      sl_ctrl_done *done, void *arg);
void sl_ctrl_call_free(struct sl_ctrl_call *call);
/* Call DONE, and free CALL, which is in no list. */
void sl_ctrl_finish(struct sl_ctrl_call *call, const struct sl_ctrl_reply *reply);
void sl_ctrl_fail(struct sl_ctrl_call *call, int code, const char *why);
/* Likewise, with what the server said to CALL: the status and the body, which may be NULL. */
void sl_ctrl_answer(struct sl_ctrl_call *call, int http, json_t *body);

/* ctrl_turn.c: let what waits in POSTS go, if nothing of that kind is underway. */
void sl_ctrl_gather(struct sl_ctrl_client *client);

#endif
