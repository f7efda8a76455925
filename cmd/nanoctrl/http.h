/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/http.h - requests in, replies out: all that the rest of the daemon sees of HTTP.
 *
 * A call is one request under way. A handler answers it once, now or later, from
 * the loop; it may be gone before that (the client hung up): then replying is
 * allowed and does nothing, and what was set with call_on_gone() was told.
 *
 * Threads: the loop's only.
 */
#ifndef NANOCTRL_HTTP_H
#define NANOCTRL_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slime/base.h>

struct call;

/* What a caller must be allowed to do. Loopback daemons without tokens allow everything. */
enum right { RIGHT_NONE, RIGHT_READ, RIGHT_REGISTER, RIGHT_ADMIN };

/* METHOD and PATH of a request, and what answers it. "{x}" in PATH is one segment, see call_part().
 */
struct route {
	const char *method; /* "GET" answers HEAD too */
	const char *path;
	enum right right;
	bool body; /* a JSON body is needed: 415, 400 and 413 are answered before HANDLE */
	bool v1;   /* errors of the framework as JSON; else as the reference words them */
	void (*handle)(struct call *call);
};

/* Of the request; valid until it is answered. */
const char *call_part(const struct call *call, const char *name);  /* of the path, decoded */
const char *call_query(const struct call *call, const char *name); /* decoded; NULL: not given */
const char *call_header(const struct call *call, const char *name);
json_t *call_body(struct call *call);                /* borrowed; NULL where the route has none */
const char *call_principal(const struct call *call); /* the token's name; "" without tokens */
bool call_may(const struct call *call, enum right right, const char *scope);
const char *call_peer_address(const struct call *call);
/* A place for the handler's own state. */
void call_set_data(struct call *call, void *data);
void *call_data(const struct call *call);
/*
 * MEMORY, of malloc(), is freed with the call: when it is answered, or its stream ended.
 * Returns it; NULL if it is NULL, or if there is no room to remember it (it is freed then).
 */
void *call_keep(struct call *call, void *memory);
/* The client hung up, or the daemon drains: called at most once, never after the answer. */
void call_on_gone(struct call *call, void (*gone)(struct call *call, void *data));

/* Answers. BODY is stolen. */
void call_reply_json(struct call *call, int status, json_t *body);
void call_reply_text(struct call *call, int status, const char *type, const char *text, size_t len);
/* {"status":"error","code":"EEXIST","message":"..."}; legacy routes: without code. */
void call_reply_error(struct call *call, int status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The HTTP status and code for a negative errno of a store or of a check: 404 409 410 413 422 429
 * 503 507 500. */
void call_reply_errno(struct call *call, int error, const char *text);
void call_add_header(struct call *call, const char *name, const char *value);

/* An answer that goes on: chunks until ended by either side. */
void call_stream_begin(struct call *call, int status, const char *type);
/* -ENOBUFS: the client does not read; end it. */
int call_stream_write(struct call *call, const char *bytes, size_t len);
void call_stream_end(struct call *call);

/*
 * A request inside of CALL: routed as if it had come over the network, with CALL's
 * principal and rights, and answered to DONE once, from the loop, maybe from within
 * this call. TARGET is a path with its query; BODY is borrowed, NULL for none; so is
 * DONE's, where a text answer is a JSON string. Not for answers that go on.
 */
void call_within(struct call *call, const char *method, const char *target, json_t *body,
                 void (*done)(void *arg, int status, json_t *body), void *arg);

#endif
