/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slime/op.h - completions.
 *
 * Every accepted transfer completes exactly once: with 0, with the error that
 * ended it, with -ECANCELED because it was cancelled or its endpoint closed, or
 * with -ETIME because its deadline passed. It reports to exactly one place,
 * chosen when it is submitted: a slime_op that you wait for, or a slime_cq that
 * you drain (then a slime_op serves to cancel by, and you release it as ever). The
 * library never calls your code.
 *
 * A transfer never completes with -ETIMEDOUT, so that value from
 * slime_op_wait() always means "not yet". The deadline of a transfer itself is
 * slime_submit.timeout_ns.
 *
 * Quiet memory: once a transfer has completed, with whatever status, nothing
 * of it reads or writes this side's memory again, nor writes the peer's. What
 * that costs (a lane that is reset and connected anew) is the library's.
 */
#ifndef SLIME_OP_H
#define SLIME_OP_H

#include <slime/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct slime_op slime_op;
typedef struct slime_cq slime_cq;

#define SLIME_FOREVER INT64_MAX

enum slime_result_flags {
	SLIME_RESULT_IMM = 1 << 0, /* IMM holds what the peer sent */
};

struct slime_result {
	uint64_t user_data; /* what the submitter gave */
	uint64_t bytes;     /* moved, or received */
	int32_t status;     /* 0 or a negative errno */
	uint32_t imm;
	uint32_t flags; /* enum slime_result_flags */
	uint32_t reserved;
};

/*
 * Wait until OP completes, for at most TIMEOUT_NS (0 or less: only look). Returns
 * the status of the transfer, or -ETIMEDOUT if it is still going, which changes
 * nothing: wait again. RES may be NULL, and is written only when OP has
 * completed. One thread at a time per op; OP stays yours to release.
 */
SLIME_API int slime_op_wait(slime_op *op, int64_t timeout_ns, struct slime_result *res);

/*
 * Ask OP to end now. It completes with -ECANCELED, or with what it already
 * had. Does not block; wait for it as ever. Any thread, also while another waits.
 */
SLIME_API void slime_op_cancel(slime_op *op);

/*
 * Done with the handle; a transfer still going goes on, unobserved. NULL is fine.
 * Not while another thread waits for OP or cancels it.
 */
SLIME_API void slime_op_release(slime_op *op);

/*
 * A queue for up to DEPTH completions (0: 256; at most 2^24), of endpoints of the
 * same context. It cannot overflow: submitting says -EAGAIN. -EINVAL, -ENOMEM.
 */
SLIME_API int slime_cq_create(slime_ctx *ctx, uint32_t depth, slime_cq **out,
                              struct slime_error *err);

/*
 * An eventfd to poll, not to read: readable from a completion until a take finds
 * the queue empty, that is, returns less than N. Owned by CQ and made by the
 * first call, so a queue that is only polled costs no system call. With manual
 * progress somebody must make progress, or nothing completes. -EMFILE and the
 * like if it cannot be made.
 */
SLIME_API int slime_cq_fd(slime_cq *cq);

/*
 * Take up to N results, oldest first, and return how many, 0 if there are none.
 * One taker at a time. -EINVAL: no CQ, or no RES.
 */
SLIME_API int slime_cq_take(slime_cq *cq, struct slime_result *res, size_t n);

/*
 * As slime_cq_take(), but wait up to TIMEOUT_NS for the first; -ETIMEDOUT: none
 * came. -EINVAL also when N is 0.
 */
SLIME_API int slime_cq_wait(slime_cq *cq, struct slime_result *res, size_t n, int64_t timeout_ns);

/* Give CQ back; what still reports to it ends unobserved. NULL is fine. */
SLIME_API void slime_cq_destroy(slime_cq *cq);

#ifdef __cplusplus
}
#endif
#endif
