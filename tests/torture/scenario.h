/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/torture/scenario.h - a whole life of two endpoints, which may fail anywhere.
 *
 * Everything happens in the calling thread, on contexts without threads, so that
 * the n-th call of something is the same one each time.
 */
#ifndef TORTURE_SCENARIO_H
#define TORTURE_SCENARIO_H

#include <slime/slime.h>

struct scenario_side {
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	slime_rmr *rmr;
	slime_cq *cq;
	void *shared; /* of slime_mem_alloc() */
	char plain[65536];
};

struct scenario {
	uint32_t peer_timeout_ms; /* set before it begins; 0: 2000 */
	struct scenario_side a, b;
	const char *step; /* what was tried last */
	struct slime_error err;
};

/*
 * Live through it over TRANSPORT and give everything back. 0, or the negative
 * errno of the first step that failed, which s->step names. -ETIMEDOUT: hung.
 */
int scenario_run(struct scenario *s, const char *transport);

/* The same in pieces: connected and ready for transfers, then gone. */
int scenario_begin(struct scenario *s, const char *transport);
void scenario_end(struct scenario *s);
/* Wait for OP, release it, return its status. */
int scenario_finish(struct scenario *s, slime_op *op);

#endif
