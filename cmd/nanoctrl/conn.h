/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/conn.h - one connection: bytes in, bytes out, and how long each may take.
 *
 *            first byte           whole request           answered
 *   IDLE ───────────────► READING ─────────────► WORKING ─────────┬─► IDLE, or the next
 *                            │                                    │   request at once
 *                            │ not HTTP                           ▼ client reads slowly
 *                            ▼                                 WRITING ─► as if answered
 *                        LINGERING ◄── the last answer is out ────┘
 *
 * The server keeps a list for each phase, in order of arrival there, and ends those that are
 * in it for too long: the whole of a request has one deadline, however slowly it drips.
 *
 * Threads: the loop's only.
 */
#ifndef NANOCTRL_CONN_H
#define NANOCTRL_CONN_H

#include <event2/event_struct.h>
#include <http_parser.h>
#include <sys/queue.h>

#include "call.h"

struct evbuffer;
struct server;
struct sl_tls_conn;

enum conn_phase {
	CONN_IDLE,
	CONN_READING,
	CONN_WORKING,
	CONN_WRITING,
	CONN_LINGERING,
	CONN_DEAD,
	CONN_PHASES
};

struct conn {
	struct server *server;
	TAILQ_ENTRY(conn) in_phase;
	enum conn_phase phase;
	int64_t since_ns; /* in this phase, or since the last byte went out */
	int fd;
	struct event readable, writable;
	struct sl_tls_conn *tls; /* NULL: none */
	struct text ahead;       /* read, and not yet looked at: the next request */
	struct evbuffer *out;    /* what did not go out at once; NULL: never so far */
	bool last;               /* no request after this one */
	bool ended;              /* the peer sends no more */
	bool broken;             /* could not be written to: closed as soon as nobody is at it */
	bool feeding;            /* http_feed() is running */
	char peer[64];

	/* http.c's */
	http_parser parser;
	struct call *call; /* being read, or being worked on */
	bool in_value, head_done, keep_alive, chunked, no_body, refuse_now, strange;
	size_t body_bytes; /* its part of the server's */
};

TAILQ_HEAD(conn_list, conn);

/* Takes over FD, also when it fails: NULL, no memory. */
struct conn *conn_create(struct server *server, int fd, struct sl_tls_conn *tls, const char *peer);
/* Close it now; who works on a call is told. The struct stays until conn_free(). */
void conn_kill(struct conn *conn);
void conn_free(struct conn *conn);
/* It was in its phase for too long. */
void conn_expire(struct conn *conn);
void conn_enter(struct conn *conn, enum conn_phase phase);

/* Of http.c: send, or keep what does not go out at once. The phase is not changed. */
void conn_write(struct conn *conn, const char *bytes, size_t len);
/* The same with malloc()ed memory, which it takes over. */
void conn_write_own(struct conn *conn, char *bytes, size_t len);
/* Bytes that wait to go out. */
size_t conn_backlog(const struct conn *conn);
/* The answer is complete: go on to the next request, or end. */
void conn_answered(struct conn *conn);

#endif
