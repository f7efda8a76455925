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
	SLIME_CTX_MANUAL_PROGRESS = 1 << 0, /* no library threads: call slime_ctx_progress() */
	SLIME_CTX_NO_CMA = 1 << 1, /* shm must not read or write a peer's memory by its pid */
};

/* Zero in any field but SIZE means "the default". */
struct slime_ctx_opts {
	uint32_t size;    /* sizeof(struct slime_ctx_opts) */
	uint32_t flags;   /* enum slime_ctx_flags */
	uint32_t spin_us; /* how long a thread polls before it sleeps; 0: 50 */
	uint32_t peer_timeout_ms; /* a peer silent for so long under work is gone; 0: 3000 */
};

/*
 * Create a context. *OUT is written only on success; give it back with
 * slime_ctx_destroy(). -EINVAL: OPTS->size is wrong, or a flag is not known.
 * -ENOMEM. -EMFILE, -EAGAIN: no descriptor or thread to be had.
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
 * Fill up to CAP entries, best first; returns how many there are. One entry at
 * least for every transport that this version knows.
 */
SLIME_API int slime_ctx_devices(slime_ctx *ctx, struct slime_device *out, size_t cap);

enum { SLIME_STAT_OPS = 6 }; /* read, write, write_imm, send, recv, recv_imm */

/* What one device did since the context was made. Counted once per user call. */
struct slime_stats {
	char transport[16];
	char device[64];
	uint64_t submitted[SLIME_STAT_OPS], completed[SLIME_STAT_OPS], failed[SLIME_STAT_OPS];
	uint64_t bytes_submitted[SLIME_STAT_OPS], bytes_completed[SLIME_STAT_OPS];
	uint64_t posts, post_bytes, post_failures, completion_errors;
	uint64_t regions, region_bytes;
};

/* As slime_ctx_devices(). Cheap enough to call every second. */
SLIME_API int slime_ctx_stats(slime_ctx *ctx, struct slime_stats *out, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
