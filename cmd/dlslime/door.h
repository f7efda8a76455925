/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * door.h - the listening socket of 'perf serve' and 'serve', and who gets in.
 *
 * A connection first sends a hello of a fixed length. Until it has, and the
 * hello is good, it is a stranger: a descriptor and a few bytes in a small
 * table, without a thread, for a few seconds at most, and the first to go when
 * the table is full. After that it has a thread of its own.
 */
#ifndef DLSLIME_DOOR_H
#define DLSLIME_DOOR_H

#include "chan.h"

enum { HELLO_MAX = 64 };

struct door;

struct door_rules {
	size_t hello_len; /* at most HELLO_MAX */
	unsigned max_guests;
	/* Who is it? A token for serve(), or a negative errno: the connection is closed. Does not
	 * block. */
	int (*know)(const uint8_t *hello, void *arg);
	/* Serve C, in a thread of its own, until it is gone. door_run() closes C after that. */
	void (*serve)(struct chan *c, int token, void *arg);
};

/* Listen at BIND (NULL: every address) and PORT (0: any). */
int door_open(const char *bind_to, uint16_t port, struct door **out, struct slime_error *err);

/* Where others reach it: the bound port, and for BIND NULL an address of this host. */
void door_address(const struct door *door, struct address *out);

/* Block SIGINT and SIGTERM, which door_run() takes. Call it before any thread is made. */
void door_signals(void);

/*
 * Let guests in until SIGINT or SIGTERM; then hang up on all of them and wait
 * for their threads. -ETIMEDOUT: one of them hangs, and may still use
 * everything: leave by _exit().
 */
int door_run(struct door *door, const struct door_rules *rules, void *arg);

/* As SIGTERM, but for this door only. Any thread. */
void door_stop(struct door *door);

void door_close(struct door *door);

#endif
