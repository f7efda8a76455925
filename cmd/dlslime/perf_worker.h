/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf_worker.h - one thread of 'perf run': its session with the server, its
 * endpoint, its memory, its figures.
 */
#ifndef DLSLIME_PERF_WORKER_H
#define DLSLIME_PERF_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include <slime/slime.h>

#include "perf.h"
#include "perf_wire.h"

struct worker {
	const struct perf_opts *o;
	slime_ctx *ctx;
	struct perf_watch *watch; /* while opening */
	struct chan chan;
	pthread_mutex_t sending; /* held to send on CHAN: the watching thread pings */
	_Atomic bool *stop;
	struct perf_shape shape;
	uint64_t max_ops; /* in the measured phase */
	char *mem;
	slime_mr *mr;
	slime_rmr *rmr;
	slime_ep *ep;
	slime_cq *cq;           /* only when the depth is more than 1 */
	struct slime_seg *segs; /* BATCH of them, or one with a stride */
	int64_t *started_ns;    /* DEPTH of them: when the operation in this slot was submitted */
	uint32_t *idle;         /* slots without an operation */
	uint32_t n_idle;
	uint64_t next; /* number of the next operation, warm-up included */
	uint64_t ops;  /* done in this phase */
	uint64_t n_bad;
	int64_t ns;                 /* of this phase, without the time for verification */
	int64_t began_ns, ended_ns; /* this phase */
	struct histogram latency;
	struct slime_error err;
};

/* Connect and get everything ready; on failure too, worker_close() is to be called. */
int worker_open(struct worker *w, struct slime_error *err);
void worker_close(struct worker *w);

/* End whatever W waits for, with an error. Any thread. */
void worker_abort(struct worker *w);

/* Operate until UNTIL_NS, MAX_OPS or *STOP. The sentence of a failure is in W->err. */
int worker_run(struct worker *w, int64_t until_ns, uint64_t max_ops);

#endif
