/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/nanoctrl/caller.h - the daemon without its network: requests go to the real router,
 * answers come back here, and the store is the fake one.
 *
 * In bodies ' stands for ", so that they can be read.
 */
#ifndef FAKES_CALLER_H
#define FAKES_CALLER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "fakes/nanoctrl/fake_store.h"
#include "nanoctrl.h"

struct reply {
	int status; /* 0: not answered yet */
	json_t *json;
	char *text;        /* what is not JSON; of a stream, all of it so far */
	bool ended;        /* a stream: by the daemon */
	bool is_full;      /* a stream: the client does not read (set by the test) */
	struct call *call; /* NULL once answered */
};

/* A daemon on a fake store that answers WHERE as its URL. */
void caller_open(const char *where);
/* Its calls must be answered. */
void caller_close(void);

/* Tokens from now on, as lines of a token file; NULL: none. */
void caller_use_tokens(const char *lines);
/* Further calls bring TOKEN; NULL: none. */
void caller_be(const char *token);
/* Further calls have this header, "Name: value"; NULL: none. */
void caller_set_header(const char *line);

/* Starts a call; BODY NULL: none. Free it with reply_free(). */
struct reply *caller_send(const char *method, const char *target, const char *body);
/* The same with bytes as they are. */
struct reply *caller_send_bytes(const char *method, const char *target, const char *body,
                                size_t len);
/* Runs the loop until REPLY is there; false: not within ten seconds. */
bool caller_wait(const struct reply *reply);
/* Runs the loop until nothing is left to do at once. */
void caller_settle(void);
/* The client of REPLY hangs up. */
void caller_hang_up(struct reply *reply);
void reply_free(struct reply *reply);

/* Sends, waits, and keeps the answer until the next caller_ask(). BODY is a printf format. */
const struct reply *caller_ask(const char *method, const char *target, const char *body, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether the answer is STATUS and, unless JSON is NULL, this; says what it is if not. */
bool reply_is(const struct reply *reply, int status, const char *json);
long long reply_number(const struct reply *reply, const char *member);
/* A text, good for a while. */
const char *caller_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
