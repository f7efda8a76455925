/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/endpoint/fake.h - transports that do what a test says.
 *
 * A program with fake.c has two transports instead of the real ones: 'fast',
 * which is preferred, and 'slow'. Both stay in the process. What they are asked
 * to do is kept until the test ends it. One thread only. That an op is within the
 * limits of the table, and its handles those of its lane, is checked always.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>

#include "transport/transport.h"

enum { FAKE_OPS = 8192, FAKE_SIDES = 2, FAKE_LANES = 4, FAKE_DEVICES = 4 };

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
	unsigned refuse_op;  /* this submission, from 1, is refused ... */
	int refuse_op_rc;    /* ... with this */
	bool at_once;        /* ops are over before submit() returns, ... */
	int at_once_rc;      /* ... with this */
	unsigned lanes_down; /* bit for each lane that says -ENETDOWN to reads and writes */
	/* What probe() of both lists; 0: one device, "fake". */
	unsigned ndevices;
	struct sl_dev_info device[FAKE_DEVICES];

	/* What was done. */
	unsigned submissions;
	unsigned nops;
	unsigned depth, deepest; /* submit() inside of submit() */
	unsigned deepest_lane;   /* ops that one connection had at a time */
	unsigned nopened;
	char opened[16][64]; /* devices, in the order of opening; "": the best */
	struct fake_op ops[FAKE_OPS];
};
extern struct fake fake;

/* The table of 'fast': its limits may be changed before the first context of a test. */
extern struct sl_transport fake_fast;

/* Forget everything; before the first context of a test. */
void fake_reset(void);
/* End op I with STATUS: move its bytes if that is 0, then sl_op_done(). */
void fake_end(unsigned i, int status);
/* LANE goes down: its reads and writes end with -ENETDOWN, and so does what comes, until up. */
void fake_lane_down(uint32_t lane);
void fake_lane_up(uint32_t lane);

#endif
