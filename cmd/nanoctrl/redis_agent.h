/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_agent.h - JSON in Redis, and the agents there: their hash has the fields of the
 * reference, and whatever else our value has is kept beside it. No I/O.
 */
#ifndef NANOCTRL_REDIS_AGENT_H
#define NANOCTRL_REDIS_AGENT_H

#include <hiredis/hiredis.h>
#include <jansson.h>

#include "redis_words.h"
#include "store_request.h"

/* JSON as a word; what is not there or null: "". The second one: a string as it is. */
void redis_add_json(struct redis_words *words, const json_t *json);
void redis_add_json_or_text(struct redis_words *words, const json_t *json);

/* The value TEXT without the fields of the hash, their number, and them: name and content. */
void redis_add_agent(struct redis_words *words, const char *text);

/* The other way: what is OURS and the HASH as one value, in REQ's memory. NULL: no memory. */
const char *redis_agent_value(struct request *req, const redisReply *ours, const redisReply *hash);

#endif
