/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/endpoint/fake.h - transports that do what a test says.
 *
 * A program with fake.c has two transports instead of the real ones: 'fast',
 * which is preferred, and 'slow'. Both stay in the process. What they are asked
 * to do is kept until the test ends it. One thread only.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>

#include "transport/transport.h"

enum { FAKE_OPS = 64, FAKE_SIDES = 2, FAKE_LANES = 4 };

/* An op that the endpoint has submitted, in the order of submission. */
struct fake_op {
	struct sl_op *op;
	uint32_t lane;
	unsigned side; /* 0: the context that was used first */
	bool over;
	/* as they were at submission */
	enum sl_opcode code;
	uint64_t bytes;
	uint32_t niov;
};

struct fake {
	/* What to do, for side 0 and 1 of 'fast'. 'slow' never refuses. */
	bool refuse_to_open[FAKE_SIDES];
	bool refuse_to_connect[FAKE_SIDES];
	bool refuse_when_ready[FAKE_SIDES];
	unsigned refuse_op; /* this submission, from 1, is refused ... */
	int refuse_op_rc;   /* ... with this */
	bool at_once;       /* ops are over, well, before submit() returns */

	/* What was done. */
	unsigned submissions;
	unsigned nops;
	unsigned depth, deepest; /* submit() inside of submit() */
	struct fake_op ops[FAKE_OPS];
};
extern struct fake fake;

/* Forget everything; before the first context of a test. */
void fake_reset(void);
/* End op I with STATUS: move its bytes if that is 0, then sl_op_done(). */
void fake_end(unsigned i, int status);

#endif
