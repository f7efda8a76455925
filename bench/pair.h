/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/pair.h - a server and a client process, each with a context, some memory and endpoints.
 *
 * Errors end the process with a sentence. The server dies with the client.
 */
#ifndef BENCH_PAIR_H
#define BENCH_PAIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <slime/slime.h>

#include "figure.h"

struct side {
	enum side_of_pair who;
	int fd;       /* packets to and from the other process */
	pid_t server; /* in the client */
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	slime_rmr *rmr; /* the peer's memory; in the client */
	uint64_t rmem;  /* its address over there */
	char *mem;
	size_t len;
	bool alloc; /* MEM is of slime_mem_alloc() */
};

/* End the process with what RC or ERR says, if it says so. */
void must(int rc, const struct slime_error *err);
void must_do(int rc, const char *what);
_Noreturn void give_up(const char *why);

/* Split in two, and place both; before there is a context. True in the server. */
bool pair_fork(struct side *s);

/* Packets over S->fd; take() ends a server whose client is gone. */
void give(const struct side *s, const void *packet, size_t len);
size_t take(const struct side *s, void *packet, size_t cap);

/* SPIN_US, PEER_TIMEOUT_MS: 0 for the defaults. */
void side_context(struct side *s, uint32_t spin_us, uint32_t peer_timeout_ms);

/* LEN bytes, touched and registered. */
void side_memory(struct side *s, size_t len, bool alloc);

/* Both sides: one more endpoint over TRANSPORT. */
slime_ep *side_meet(const struct side *s, const char *transport);

/* Both sides: side_meet(), and the client gets to know the server's memory. */
void side_connect(struct side *s, const char *transport);

/* Everything goes; the client waits for the end of the server. */
void side_end(struct side *s);

#endif
