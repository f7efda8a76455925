/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slime/ctx.h - the root object. Everything else is created from one.
 *
 * Threads: every function here may be called from any thread.
 */
#ifndef SLIME_CTX_H
#define SLIME_CTX_H

#include <slime/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct slime_ctx slime_ctx;

enum slime_ctx_flags {
	SLIME_CTX_MANUAL_PROGRESS = 1 << 0, /* no library thread: see slime_ctx_progress() */
	/*
	 * shm must not read or write memory of a process by its pid. Set on either
	 * side it holds for the connection; shm then moves slime_mem_alloc() memory only.
	 */
	SLIME_CTX_NO_CMA = 1 << 1,
};

/* Zero in any field but SIZE means "the default". */
struct slime_ctx_opts {
	uint32_t size;    /* sizeof(struct slime_ctx_opts) */
	uint32_t flags;   /* enum slime_ctx_flags */
	uint32_t spin_us; /* how long a thread polls before it sleeps; 0: 50; 1: hardly at all */
	/*
	 * A peer that is silent for so long while a transfer waits for it is gone, and
	 * the transfer ends with -ECONNRESET. Idle connections are left alone. 0: 3000.
	 */
	uint32_t peer_timeout_ms;
};

/*
 * Create a context. OPTS may be NULL. *OUT is written only on success; give it
 * back with slime_ctx_destroy(). A context does not survive fork(): create it in
 * the child. -EINVAL: OPTS->size is wrong, or a flag is not known. -ENOMEM.
 * -EMFILE, -EAGAIN: no descriptor or thread to be had.
 */
SLIME_API int slime_ctx_create(const struct slime_ctx_opts *opts, slime_ctx **out,
                               struct slime_error *err);

/*
 * Give CTX back. As everywhere in this library, NULL is fine and order does
 * not matter: what was made from CTX keeps what it needs until it goes too.
 */
SLIME_API void slime_ctx_destroy(slime_ctx *ctx);

/*
 * Move transfers along and return how many completed, 0 if none. Only for
 * contexts with SLIME_CTX_MANUAL_PROGRESS (else -EPERM); one caller at a time.
 * slime_op_wait(), slime_cq_wait() and slime_cq_take() do the same on the way.
 * In such a context peers are served, and deadlines kept, only during these calls.
 */
SLIME_API int slime_ctx_progress(slime_ctx *ctx);

/* A device that some transport could open, or the reason why it could not. */
struct slime_device {
	char transport[16]; /* "rdma" */
	char name[64];      /* "mlx5_0"; "" if the transport found none */
	uint32_t port;
	int32_t numa;         /* -1: unknown */
	uint64_t bytes_per_s; /* line rate; 0: unknown */
	int32_t status;       /* 0: usable, else a negative errno */
	char reason[252];     /* why not, as one sentence */
};

/*
 * Fill up to CAP entries and return how many there are, or a negative errno;
 * with CAP 0 OUT may be NULL. One entry at least for every transport that this
 * version knows, in the order in which slime_ep_connect() tries them.
 */
SLIME_API int slime_ctx_devices(slime_ctx *ctx, struct slime_device *out, size_t cap);

enum { SLIME_STAT_OPS = 6 }; /* read, write, write_imm, send, recv, recv_imm */

/*
 * What one device did since the context was made. The arrays count calls of the
 * user: accepted, ended with 0, ended with an error (COMPLETION_ERRORS: all of
 * these). Posts count what went to the transport: a transfer over several lanes
 * is several; POST_FAILURES are those that it refused.
 */
struct slime_stats {
	char transport[16];
	char device[64]; /* as named when it was opened; "": the best */
	uint64_t submitted[SLIME_STAT_OPS], completed[SLIME_STAT_OPS], failed[SLIME_STAT_OPS];
	uint64_t bytes_submitted[SLIME_STAT_OPS], bytes_completed[SLIME_STAT_OPS];
	uint64_t posts, post_bytes, post_failures, completion_errors;
	uint64_t regions, region_bytes; /* registered with it now */
};

/*
 * As slime_ctx_devices(), but one entry for each device that the context has
 * opened: none before its first endpoint or slime_mr_export(). Cheap enough to
 * call every second.
 */
SLIME_API int slime_ctx_stats(slime_ctx *ctx, struct slime_stats *out, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
