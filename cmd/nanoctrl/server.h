/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/server.h - listeners, and all connections: how many, for how long, and their end.
 *
 * Threads: the loop's only.
 */
#ifndef NANOCTRL_SERVER_H
#define NANOCTRL_SERVER_H

#include "conn.h"
#include "ctrl/ctrl_tls.h"

struct event_base;

struct server_opts {
	uint64_t body_limit;       /* bytes of one request's body */
	uint64_t connection_limit; /* above it the one that is idle longest goes */
	unsigned int idle_s;       /* between requests */
	unsigned int request_s;    /* from a request's first byte to its last; a stalled reader */
};

enum { SERVER_MAX_LISTENERS = 8, SERVER_SCRATCH = 64 * 1024, SERVER_ADDRESS = 160 };

struct server {
	struct event_base *loop;
	struct server_opts opts;
	struct sl_tls *tls; /* NULL: none */
	struct {
		struct evconnlistener *listener;
		char path[108]; /* of a unix socket, to be removed; else "" */
		char address[SERVER_ADDRESS];
	} listening[SERVER_MAX_LISTENERS];
	size_t n_listening;
	struct conn_list phase[CONN_PHASES];
	size_t n_conns;
	uint64_t n_accepted, n_dropped;
	size_t body_bytes; /* of requests whose end is not here yet */
	struct event *sweep, *reaper;
	bool paused; /* out of descriptors: the next sweep listens again */
	bool draining;
	void (*drained)(void *arg);
	void *drained_arg;
	char scratch[SERVER_SCRATCH]; /* what was just read */
};

/* TLS is the server's afterwards; NULL: none. */
int server_create(struct event_base *loop, const struct server_opts *opts, struct sl_tls *tls,
                  struct server **out, struct slime_error *err);
/*
 * WHERE: "host:port", "[v6]:port", "unix:/path"; port 0: any. -EINVAL: no such form or host;
 * -EADDRINUSE, -EACCES, ...
 */
int server_listen(struct server *server, const char *where, struct slime_error *err);
/* Where it listens, as a client writes it: "http://127.0.0.1:3000", "unix:/run/x". */
const char *server_address(const struct server *server, size_t i);
/* For connections from now on; the old one goes. */
void server_set_tls(struct server *server, struct sl_tls *tls);
/*
 * Accept no more, let who waits answer, close what is idle. DRAINED is called when the last
 * connection is gone, maybe from within.
 */
void server_drain(struct server *server, void (*drained)(void *arg), void *arg);
/* Connections that are still there are cut off. NULL is fine. */
void server_destroy(struct server *server);

/* Of conn.c: it is dead, free it when nobody uses it any more. */
void server_bury(struct server *server);

#endif
