/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctrl/ctrl_conn.h - one connection to an HTTP server, dialled when it is needed and kept after
 *that.
 *
 *	            ask                addresses        connected              answered
 *	  CLOSED ─────────► LOOKING_UP ────────► DIALLING ────────► ASKING ◄─────────────► KEPT
 *	    ▲ ▲                 │                  │ ▲ │ next address │          ask         │
 *	    │ └─────────────────┴──────────────────┘ └─┘              │ no answer            │
 *	    └─────────────────────────────────────────────────────────┴──────────────────────┘
 *	                                                                     the server ends it
 * Threads: the loop's only.
 */
#ifndef SL_CTRL_CONN_H
#define SL_CTRL_CONN_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>

#include "ctrl/ctrl_answer.h"
#include "ctrl/ctrl_tls.h"

struct sl_conn;

/* Where it leads; all of it lives longer than the connection. */
struct sl_conn_place {
	struct event_base *loop;
	const char *host;
	unsigned port;
	struct sl_tls *tls; /* NULL: in the clear */
};

/*
 * What came of a question. STATUS 0: ANSWER is whole. Else WHY is what is to be said of the
 * server ("did not answer in time"; NULL: it cannot be reached), and STATUS -ECONNREFUSED,
 * -ECONNRESET, -ETIMEDOUT, -EPROTO, -EACCES (of certificates), -ENOMEM.
 */
struct sl_conn_result {
	int status;
	const char *why;
	bool was_kept; /* and not a byte of an answer came: the server may have ended it before */
	struct sl_answer *answer;
};
typedef void sl_conn_done(void *arg, const struct sl_conn_result *result);

struct sl_conn *sl_conn_create(const struct sl_conn_place *place);
/* Also while a question is underway, whose DONE does not come then; but not from within it. */
void sl_conn_destroy(struct sl_conn *conn);

/* Say the bytes of REQUEST, which are taken; DONE comes once, from the loop. -ENOMEM. */
int sl_conn_ask(struct sl_conn *conn, struct evbuffer *request, int timeout_ms, sl_conn_done *done,
                void *arg);

#endif
