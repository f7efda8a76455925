/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slime/mr.h - memory regions, yours (slime_mr) and a peer's (slime_rmr).
 *
 * A region names memory that you own. It does not copy it, touch it, or free
 * it. Registering is slow; do it once. The same slime_mr serves every endpoint
 * of its context, whatever the transport: the library pins it, exports an IPC
 * handle for it, or does nothing, when an endpoint first needs that.
 *
 * Threads: a region is immutable, so any thread may use it.
 */
#ifndef SLIME_MR_H
#define SLIME_MR_H

#include <slime/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct slime_mr slime_mr;
typedef struct slime_rmr slime_rmr;

/* Where memory lives. New kinds are added at the end. */
enum slime_mem_kind {
	SLIME_MEM_AUTO = 0, /* ask each device module whose pointer it is */
	SLIME_MEM_HOST,
	SLIME_MEM_CUDA,
	SLIME_MEM_ASCEND,
};

enum slime_access {
	SLIME_ACCESS_REMOTE_READ = 1 << 0,
	SLIME_ACCESS_REMOTE_WRITE = 1 << 1,
	SLIME_ACCESS_REMOTE = SLIME_ACCESS_REMOTE_READ | SLIME_ACCESS_REMOTE_WRITE,
};

enum slime_mr_flags {
	/*
	 * Somebody else owns this memory and may unmap it, or cut the file behind it,
	 * while it is registered. What this process itself copies of it goes through the
	 * kernel, a system call for each piece, so that a hole ends the transfer with
	 * -EFAULT, at the peer with -EREMOTEIO, and not the process with a signal. What
	 * was moved until then stays moved. Host memory only.
	 */
	SLIME_MR_CHECKED = 1 << 0,
};

struct slime_mr_opts {
	uint32_t size;   /* without FLAGS, as it once was, it is taken too */
	uint32_t access; /* enum slime_access; 0: local use only */
	int32_t kind;    /* enum slime_mem_kind; 0: find out */
	int32_t device;  /* ordinal, read only when KIND is given and is not host */
	uint32_t flags;  /* enum slime_mr_flags */
};

enum slime_mem_flags {
	SLIME_MEM_HUGE = 1 << 0, /* huge pages if there are any */
	SLIME_MEM_LOCK = 1 << 1, /* touched and locked now */
};

struct slime_mem_opts {
	uint32_t size;
	uint32_t flags; /* enum slime_mem_flags */
	int32_t numa;   /* node + 1; 0 or less: where the caller runs */
};

/*
 * Memory that a peer on this host can map, so that shm moves it without the
 * kernel: zeroed, page aligned. Any other memory works too, but slower there.
 * OPTS may be NULL. -EINVAL: LEN is 0, a flag is not known, or there is no such
 * node. -ENOMEM: no memory, or over the lock limit. -EMFILE, -ENFILE: it takes a
 * descriptor. Other negative errnos: the system's, with the sentence.
 */
SLIME_API int slime_mem_alloc(slime_ctx *ctx, size_t len, const struct slime_mem_opts *opts,
                              void **out, struct slime_error *err);

/*
 * Free what slime_mem_alloc() gave; NULL is fine. Its regions go first, as with
 * any memory (see slime_mr_register()); CTX may have been destroyed before.
 */
SLIME_API void slime_mem_free(slime_ctx *ctx, void *addr);

#define SLIME_DESC_MAX 2048

/*
 * What a peer needs to reach a region or an endpoint: LEN bytes that you carry
 * to it any way you like. Versioned, the same on every machine, and opaque.
 * There are secrets in it: who has it may connect, or use the region's rights.
 * Treat it as a password.
 */
struct slime_desc {
	uint32_t len;
	uint8_t bytes[SLIME_DESC_MAX];
};

/*
 * Register LEN bytes at ADDR. The memory must stay valid until
 * slime_mr_deregister() has returned and every transfer of this side that uses
 * it has completed (but see SLIME_MR_CHECKED). OPTS may be NULL. -EINVAL: LEN is 0
 * or wraps, or an option is wrong. -ENODEV: nobody knows the pointer, or memory of
 * that kind. -ENOMEM: no memory, or over the lock limit (see ulimit -l).
 * -EOPNOTSUPP: SLIME_MR_CHECKED, and the kernel refuses such copies.
 */
SLIME_API int slime_mr_register(slime_ctx *ctx, void *addr, size_t len,
                                const struct slime_mr_opts *opts, slime_mr **out,
                                struct slime_error *err);

/*
 * Drop the region; this side's transfers in flight keep what they need. NULL is
 * fine. What a peer does with it ends with -EACCES from then on; only over shm
 * may a copy that it has begun still touch the memory, so let peers finish first.
 */
SLIME_API void slime_mr_deregister(slime_mr *mr);

/*
 * Describe MR for peers to import, any number of times and of peers. It covers the
 * transports that the context has opened, so export after creating endpoints;
 * when there is none yet, the default ones are opened. -EACCES, -ENODEV, ...:
 * what the first of them refused with, if all did. -EMSGSIZE: too many devices.
 */
SLIME_API int slime_mr_export(slime_mr *mr, struct slime_desc *out, struct slime_error *err);

/*
 * Let go of a peer's region (see slime_ep_import()), which is good for the
 * endpoint that imported it only. Transfers in flight keep it. NULL is fine.
 */
SLIME_API void slime_rmr_release(slime_rmr *rmr);

#ifdef __cplusplus
}
#endif
#endif
