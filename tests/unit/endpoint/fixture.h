/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/endpoint/fixture.h - two endpoints over the fake transports. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <slime/slime.h>

struct end {
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	slime_rmr *rmr;
	char *mem;
	struct slime_error err;
	int rc; /* of connect() */
};

struct fixture {
	struct end a, b;
	size_t len;
};

/* Contexts without threads, endpoints with LANES lanes and LEN bytes of memory each. */
void fixture_create(struct fixture *f, size_t len, uint32_t lanes);
/* Let both connect, as far as they get: look at rc. If both did, regions are swapped. */
void fixture_connect(struct fixture *f);
void fixture_destroy(struct fixture *f);
/* LEN bytes at OFF of A, in the same place at B. */
struct slime_seg fixture_seg(const struct fixture *f, uint64_t off, uint64_t len);

#endif
