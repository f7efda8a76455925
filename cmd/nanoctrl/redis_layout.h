/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_layout.h - requests as arguments of our script, and its answers
 * as results. No I/O.
 */
#ifndef NANOCTRL_REDIS_LAYOUT_H
#define NANOCTRL_REDIS_LAYOUT_H

#include <hiredis/hiredis.h>

#include "redis_words.h"
#include "store_request.h"

#define REDIS_EVENTS "nanoctrl/events"
enum { REDIS_EVENTS_KEPT = 65536 };

/* A list goes on behind this one. */
struct redis_page {
	const char *behind; /* NULL: at the operation's own beginning */
	size_t behind_len;
	uint32_t limit;
};

/*
 * A request as redis_verbs.lua takes one, and before it the number of its words, into OUT,
 * by way of SCRATCH. PAGE: of a request that is one list; else NULL. -ENOMEM: OUT is as it was.
 */
int redis_layout_encode(const struct request *req, const struct redis_page *page,
                        struct redis_words *scratch, struct redis_words *out);

/*
 * The script's answer to it into REQ: its results, or its failure, which is filled in. The rows
 * of a page come behind those that are there; *LAST gets where the next begins, and is
 * NULL at the end.
 */
void redis_layout_decode(struct request *req, const redisReply *reply, struct redis_page *last);

/* An entry of the stream of events, whose text OUT points to. -EPROTO: it is none of ours. */
int redis_layout_event(const redisReply *entry, struct store_event *out);

/* Negative errno for what Redis says, and the sentence. */
int redis_layout_error(const char *text, struct slime_error *err);

#endif
