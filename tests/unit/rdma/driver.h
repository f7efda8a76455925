/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/rdma/driver.h - drives the rdma table without the endpoint layer, over
 * devices of fake_verbs that work in the thread that calls: sl_op_done() is the
 * driver's own, nothing happens but in step(), and each run is the same.
 */
#ifndef RDMA_DRIVER_H
#define RDMA_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fakes/fake_verbs.h"
#include "transport/rdma/rdma_impl.h"
#include "transport/transports.h"

/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { JOB_IOVS = 512, SIDE_LEN = 4 << 20, PATIENCE_MS = 10000 };

/* An op and how it ended. */
struct job {
	struct sl_op op; /* first: sl_op_done() casts */
	struct sl_iov iov[JOB_IOVS];
	int done; /* how often */
	int status;
	uint64_t bytes;
	uint32_t imm;
};

/* One end: a domain of its own, a connection, memory, a region, the peer's region. */
struct side {
	struct sl_dom *dom;
	struct sl_conn *conn;
	char *mem;
	struct sl_reg *reg;
	struct sl_rreg *rreg;
};

struct pair {
	struct side a, b; /* on fake0 and fake1 */
};

extern const struct sl_transport *const rdma;

/* Install devices (NULL: the default, synchronous) and make both ends, not connected. */
void pair_begin(struct pair *p, const struct fake_verbs_config *config);
/* Likewise, and connect them. */
void pair_connected(struct pair *p, const struct fake_verbs_config *config);
void pair_connect(struct pair *p);
/* Close and destroy everything; nothing of the devices may be left. */
void pair_end(struct pair *p);
/* The default devices, which work in the thread that calls, for tests to change. */
void config_init(struct fake_verbs_config *config);

struct sl_dom *dom_make(const char *device);
void side_make(struct side *s, const char *device);
void side_free(struct side *s);
struct sl_blob blob_of(struct side *s);

/* Let both ends make progress once. */
void step(struct pair *p);
/* ... until CONDITION holds; fails after PATIENCE_MS. */
#define UNTIL(p, condition)                                                             \
	for (int64_t until_ = sl_clock_after(PATIENCE_MS * SL_NS_PER_MS); !(condition); \
	     assert_true(sl_clock_ns() < until_))                                       \
	step(p)

/* Fill JOB; runs are appended by add_run(). */
void job_make(struct job *job, enum sl_opcode code);
/* LEN bytes at OFF of S and ROFF of its peer. */
struct sl_iov *add_run(struct job *job, struct side *s, uint64_t off, uint64_t roff, uint64_t len);
/* Submit on S; must be accepted. */
void start(struct side *s, struct job *job);
/* Submit on S and let it end with STATUS. */
void run(struct pair *p, struct side *s, struct job *job, int status);
/* A job of one run, submitted. */
void start_one(struct side *s, struct job *job, enum sl_opcode code, uint64_t off, uint64_t roff,
               uint64_t len);
/* Ask JOB to stop, as the endpoint does it, and once more. */
void stop(struct side *s, struct job *job);
/* Everything works in both directions. */
void check_works(struct pair *p);

#endif
