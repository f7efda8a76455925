/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/obs.h - what agents report of themselves (snapshots of schema 1): fetching
 * and wording, for the verbs obs and top. Blocks; no loop.
 */
#ifndef NANOCTRL_OBS_H
#define NANOCTRL_OBS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <slime/base.h>

/* Where snapshots are. ADDRESS NULL: in Redis, as agents of the reference put them there. */
struct obs_place {
	const char *redis_url;
	const char *address; /* of a daemon: "http://HOST:PORT", "HOST:PORT", "unix:/PATH" */
	const char *token;   /* NULL: none */
	const char *scope;   /* NULL or "": none */
};

/* The command line of obs and top. */
struct obs_options {
	const char *usage; /* from the verb on */
	enum { OBS_TAKES_JSON = 1, OBS_TAKES_TIME = 2 } takes;
	struct obs_place place; /* what is not given is NULL; redis_url may be the variable's */
	int64_t stale_ms;
	bool json;        /* --json */
	bool once;        /* --once */
	int64_t every_ms; /* --interval */
	char found[200];  /* the address of a daemon that runs in the background here */
};

/* 0, and *FIRST the first word that is no option; or what to exit with, plus one. */
int obs_options_parse(int argc, char **argv, struct obs_options *out, int *first);

/* An array of objects in order of peer_id. NULL: ERR says why. */
json_t *obs_fetch(const struct obs_place *place, struct slime_error *err);

/* GET TARGET of a daemon; the body, as JSON. NULL: ERR says why. */
json_t *obs_http_get(const char *address, const char *token, const char *target,
                     struct slime_error *err);

/* Two numbers of up to this size can be added, whatever somebody wrote into a snapshot. */
static const int64_t OBS_INT_MAX = INT64_MAX / 2;
int64_t obs_within(int64_t n); /* or the nearest number of that size */

/* Members that are missing, or of another type, are 0 or "". */
int64_t obs_int(const json_t *object, const char *name);
double obs_real(const json_t *object, const char *name);
const char *obs_text(const json_t *object, const char *name);
int64_t obs_now_ms(void);
/* "alive", "stale", or what the snapshot says itself: "stopped", "starting". */
const char *obs_state(const json_t *snapshot, int64_t stale_ms, int64_t now_ms);

/* For people; each returns BUF. */
enum { OBS_TEXT = 32 };
const char *obs_bytes(double bytes, char buf[OBS_TEXT]); /* 1.5KB */
const char *obs_rate(double bps, char buf[OBS_TEXT]);    /* 1.2Gbps */
const char *obs_age(int64_t ms, char buf[OBS_TEXT]);     /* 12s */

/* A table of text cells. */
struct obs_table;
/* HEADS: "PEER HOST >PID ...", ">" for right-aligned. NULL: no memory. */
struct obs_table *obs_table_create(const char *heads);
void obs_table_destroy(struct obs_table *table);
/* The next cell, copied; control characters become '?'. */
void obs_table_cell(struct obs_table *table, const char *text);
void obs_table_number(struct obs_table *table, int64_t number);
void obs_table_print(const struct obs_table *table, FILE *f);

#endif
