/* SPDX-License-Identifier: BSD-3-Clause */
/* A server for the tests of clients, on the same loop: what it says is said byte by byte. */
#ifndef SERVER_H
#define SERVER_H

#include <event2/listener.h>
#include <jansson.h>

#include "ctrl/ctrl_client.h"

/* What the server does with the n-th request that it sees, over all connections. */
struct script {
	const char *answer; /* NULL: hang up without one */
	int hang_up;        /* after it */
	int silent;         /* neither */
};

#define OK_JSON "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"n\": 17}"

extern struct event_base *loop;
extern struct evconnlistener *listener;
extern struct sl_ctrl_client *client;
extern unsigned requests, connections;
extern char seen[4096]; /* the last request */

enum { GUESTS_MAX = 8 /* more connections than these are not had */ };

int server_setup(void **state);
int server_teardown(void **state);
/* From now on; the last one goes on. */
void serve(const struct script *what, unsigned n);

struct outcome {
	unsigned times;
	int status, http;
	json_int_t n;
	char text[252];
};
/* Fills the outcome ARG. */
void on_done(void *arg, const struct sl_ctrl_reply *reply);
struct outcome ask(const char *method, json_t *body, int timeout_ms);

#endif
