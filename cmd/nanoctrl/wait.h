/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/wait.h - a call that tries, and tries again when a bell rings, until its time is over.
 *
 *   wait_begin        then the first attempt, by the caller
 *   attempt           ends with wait_end() and an answer, or with wait_more()
 *   over              the time is over, the client hung up or the daemon ends: wait_end(), answer
 *
 * A bell that rings during an attempt is not lost: the next attempt follows. The wait is the first
 * member of the call's data. The loop's thread only.
 */
#ifndef NANOCTRL_WAIT_H
#define NANOCTRL_WAIT_H

#include "watch.h"

struct wait {
	struct call *call;
	struct waiter *waiter;
	void (*attempt)(struct call *call);
	void (*over)(struct call *call);
	bool busy, again, ended;
};

/* Sets the data of CALL to WAIT. With WAIT_MS 0 it never waits. -ENOMEM. */
int wait_begin(struct wait *wait, struct call *call, int64_t wait_ms);
/* What it waits for; any number. -ENOMEM. */
int wait_for(struct wait *wait, enum bell bell, const char *scope, const char *name);
/* An attempt found nothing: goes on waiting, or calls OVER. WAIT may be gone after that. */
void wait_more(struct wait *wait);
/* Before the answer. */
void wait_end(struct wait *wait);

#endif
