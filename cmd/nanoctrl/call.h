/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/call.h - a call from the server's side: who makes it, and who is told the answer.
 *
 *   http.c or call_within()     call_create, then the request's parts
 *   router.c                    looks whether it may run, and runs it
 *   a handler                   answers (http.h): the sink is told, the call is freed
 *
 * Threads: the loop's only.
 */
#ifndef NANOCTRL_CALL_H
#define NANOCTRL_CALL_H

#include "http.h"
#include "target.h"

struct route_entry;
struct tokens;
struct token;

struct call_answer {
	int status;
	const char *type;   /* of the body; NULL: no body */
	const json_t *json; /* the body, or: */
	const char *text;
	size_t len;
	const char *headers; /* further lines, each with its CRLF */
};

/* Where answers go. ARG is what call_create() got. */
struct call_sink {
	void (*reply)(void *arg, struct call_answer *answer); /* sets LEN of a json */
	void (*begin)(void *arg, const struct call_answer *answer);
	int (*write)(void *arg, const char *bytes, size_t len);
	void (*end)(void *arg);
};

/* Bytes that grow; always followed by a NUL. Zeroed: empty. */
struct text {
	char *bytes;
	size_t len, cap;
};

enum { CALL_MAX_HEADERS = 64 };

struct call {
	const struct call_sink *sink; /* NULL: nobody hears the answer any more */
	void *sink_arg;
	const struct route_entry *entry; /* NULL: no such route */
	const char *method;              /* constant */
	bool head;                       /* HEAD: the answer's body is not sent */
	bool streaming;
	bool inner; /* of call_within() */

	struct text lines; /* what came before the body: each with a NUL */
	const char *path;  /* as it came, with its query; in LINES */
	char *to_parse;    /* a copy that was given to call_keep(); TARGET will point into it */
	size_t n_headers;
	struct {
		size_t name_at, value_at; /* in LINES */
	} header[CALL_MAX_HEADERS];
	struct target target;
	struct text raw_body;
	json_t *body;
	const char *peer; /* belongs to the sink; valid as long as there is one */

	struct tokens *tokens;     /* a reference, so that TOKEN stays; NULL: everybody may all */
	const struct token *token; /* NULL: came without */

	/* what is wrong with it, found before the body was there; STATUS 0: nothing */
	struct {
		int status;
		const char *code;
		char text[160];
	} refusal;

	struct text answer_headers;
	void *data;
	void (*gone)(struct call *call, void *data);
	void **kept;
	size_t n_kept;
	int64_t began_ns;
};

/* NULL: no memory. */
struct call *call_create(const struct call_sink *sink, void *arg);
/* It never got as far as to be run. */
void call_destroy(struct call *call);
/* The sink goes away: the handler may answer, and nobody hears it. */
void call_abandon(struct call *call);
/* The daemon drains: whoever waits is told to answer with what he has. */
void call_hurry(struct call *call);
bool call_waits(const struct call *call);

/* The daemon's own answer when a request is not run; CODE as in http.h. Legacy routes answer
 * in plain text, or with nothing if TEXT is "". */
void call_refuse(struct call *call, int status, const char *code, const char *text);

/* -ENOMEM, -EMSGSIZE past LIMIT. */
int text_add(struct text *text, const char *bytes, size_t len, size_t limit);
void text_free(struct text *text);

int64_t now_ns(void); /* of the monotonic clock */

#endif
