/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/agent.h - the record of an agent, as both families of routes make and show it.
 *
 * Its incarnation is the revision that it was born with. Regions, leases and the
 * mailbox are its children: they live no longer than it does.
 */
#ifndef NANOCTRL_AGENT_H
#define NANOCTRL_AGENT_H

#include "ask.h"
#include "fields.h"
#include "http.h"
#include "store.h"

/* How registration ended: REVISION of the agent, 0 if another one, HOLDER, has the alias. */
struct agent_made {
	uint64_t revision;
	const struct store_row *holder; /* valid during the call */
};

typedef void agent_then(struct call *call, const char *alias, const struct agent_made *made);

/* An agent to register. The strings live as long as the call. */
struct agent_new {
	const char *scope;
	const char *alias; /* NULL: PREFIX, a hyphen and the next number of the scope */
	const char *prefix;
	json_t *value; /* its members; stolen; NULL: no memory */
	int64_t ttl_ms;
	uint64_t replace; /* the incarnation that goes; 0: none */
	agent_then *then; /* answers the call */
};

/* Registers NEW and goes on with THEN, or answers the call. */
void agent_make(struct call *call, const struct agent_new *new);

struct store_key agent_key(const char *scope, const char *alias);
/* What /v1 shows of an agent. NULL: no memory. */
json_t *agent_json(const struct store_row *row);
/* 404 and 410 in words: an operation on an agent failed. An ask_failed. */
void agent_failed(struct call *call, int status, size_t failed, const struct slime_error *err);
/* The incarnation that a call must name, in the body or the query. */
uint64_t field_incarnation(struct fields *fields);
uint64_t query_incarnation(struct fields *fields);

enum { OBS_TTL_MS = 180000 };

/* A snapshot of schema 1. */
json_t *field_snapshot_or_null(struct fields *fields, const char *name);
/* Keeps SNAPSHOT of AGENT for a while. Its value is NULL if there is no memory: then answered. */
struct store_op obs_op(struct call *call, const struct store_key *agent, json_t *snapshot,
                       int64_t ttl_ms);

#endif
