/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf_wire.h - the messages between 'perf run' and 'perf serve', and what both
 * make of a shape.
 *
 *     client                          server
 *     hello, WISH(shape, endpoint)
 *                                     GRANT(endpoint, region)
 *                both connect the endpoints
 *                                     CONNECTED
 *     operations; CHECK(first, n)     CHECKED(n wrong), any number of times
 *     PING now and then
 *     hangs up
 *
 * and once for each client, on a connection of its own, to see that the other
 * process still runs:
 *
 *     hello, WATCH                    ALIVE, four times a second
 */
#ifndef DLSLIME_PERF_WIRE_H
#define DLSLIME_PERF_WIRE_H

#include <slime/slime.h>

#include "chan.h"
#include "perf_shape.h"

enum { PERF_HELLO_LEN = 8 };
extern const uint8_t perf_hello[PERF_HELLO_LEN];

enum {
	PERF_WISH = 2,
	PERF_GRANT,
	PERF_CONNECTED,
	PERF_CHECK,
	PERF_CHECKED,
	PERF_PING,
	PERF_ALIVE,
	PERF_WATCH,
};

/* Memory for the region of S, zeroed. -ENOMEM with a sentence. */
int perf_mem_get(slime_ctx *ctx, const struct perf_shape *s, char **out, struct slime_error *err);
void perf_mem_put(slime_ctx *ctx, const struct perf_shape *s, char *mem);

/* How much one process may take: half of the machine's memory. */
uint64_t perf_mem_limit(void);

int perf_ep_create(slime_ctx *ctx, const struct perf_shape *s, slime_ep **out,
                   struct slime_error *err);

/* The client's second connection, by which it knows that the server's process runs. */
struct perf_watch {
	struct chan chan;
	int64_t heard_ns;
};

int perf_watch_open(struct perf_watch *w, const struct address *at, struct slime_error *err);

/* ERR says what is wrong with the server: say in it that it went away, and from where. */
int perf_went_away(const struct address *at, int rc, struct slime_error *err);

/* Does not block. An error: the server is gone, or silent for too long. */
int perf_watch_check(struct perf_watch *w, struct slime_error *err);

#endif
