/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_layout.h - requests as arguments of redis_script.lua, and its answers
 * as results. No I/O.
 */
#ifndef NANOCTRL_REDIS_LAYOUT_H
#define NANOCTRL_REDIS_LAYOUT_H

#include <hiredis/hiredis.h>

#include "store_request.h"

#define REDIS_EVENTS "nanoctrl/events"
enum { REDIS_EVENTS_KEPT = 65536 };

/* The script, NUL-terminated; the build makes it from redis_script.lua. */
extern const char redis_script[];

/* The words of a command; in the memory of a request. */
struct redis_words {
	const char **word;
	size_t *len;
	int n, cap;
};

/* A list goes on behind this one. */
struct redis_page {
	const char *behind; /* NULL: at the operation's own beginning */
	size_t behind_len;
	uint32_t limit;
};

/*
 * The words behind "EVALSHA sha 0" into OUT, which begins with three that are to be
 * filled. PAGE: of a request that is one list; else NULL. -ENOMEM.
 */
int redis_layout_encode(struct request *req, const struct redis_page *page,
                        struct redis_words *out);

/*
 * The script's answer into REQ: its results, or its failure, which is filled in. The rows
 * of a page come behind those that are there; *LAST gets where the next begins, and is
 * NULL at the end.
 */
void redis_layout_decode(struct request *req, const redisReply *reply, struct redis_page *last);

/* An entry of the stream of events, in the memory of REQ. -EPROTO: it is none of ours. */
int redis_layout_event(struct request *req, const redisReply *entry, struct store_event *out);

/* Negative errno for what Redis says, and the sentence. */
int redis_layout_error(const char *text, struct slime_error *err);

#endif
