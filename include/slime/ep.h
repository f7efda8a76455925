/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slime/ep.h - endpoints: one connection to one peer.
 *
 * Set-up is three steps on each side: create, swap descriptions by any means
 * you have, connect. Then submit. The order of things:
 *
 *  - A read that completes has its bytes in your memory.
 *  - A write that completes has its bytes in the peer's memory; the peer
 *    learns of it from an immediate or from you, not from the write.
 *  - An immediate arrives once, after all bytes of its batch.
 *  - Sends match receives in the order both were submitted.
 *  - Nothing else is ordered. Wait, or use SLIME_SUBMIT_FENCE.
 *
 * Threads: any thread may submit; calls on one endpoint take turns inside.
 * Create, connect and destroy belong to one thread at a time.
 */
#ifndef SLIME_EP_H
#define SLIME_EP_H

#include <slime/mr.h>
#include <slime/op.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct slime_ep slime_ep;

struct slime_ep_opts {
	uint32_t size;
	uint32_t depth;        /* transfers in flight; 0: 256 */
	uint32_t lanes;        /* connections to stripe over; 0: the transport decides */
	uint32_t flags;        /* none yet */
	const char *transport; /* "rdma", "cuda_ipc", "shm", "tcp", "loopback"; NULL: best */
	const char *device;    /* "mlx5_0", "cuda:1", ...; NULL: best for the transport */
};

/*
 * COUNT pieces of LEN bytes between LOCAL and REMOTE; which way is up to the
 * call. Piece i starts at local_off + i * local_stride and remote_off + i *
 * remote_stride. COUNT 0 means 1, and then the strides are not read. One
 * segment thus names a column of a matrix, or one KV block in every layer.
 */
struct slime_seg {
	slime_mr *local;
	slime_rmr *remote;
	uint64_t local_off;
	uint64_t remote_off;
	uint64_t len;
	uint64_t count;
	uint64_t local_stride;
	uint64_t remote_stride;
};

/* LEN bytes of one region, for messages. */
struct slime_span {
	slime_mr *mr;
	uint64_t off;
	uint64_t len;
};

enum slime_submit_flags {
	SLIME_SUBMIT_FENCE = 1 << 0, /* start after everything submitted before on this endpoint */
};

/* How to run and report a transfer. NULL stands for all zeroes. */
struct slime_submit {
	uint32_t size;
	uint32_t flags;
	slime_cq *cq; /* report there, and OUT must be NULL */
	uint64_t user_data;
	void *stream;       /* device stream to start after (CUstream, aclrtStream); NULL: now */
	int64_t timeout_ns; /* from submission; past it the transfer ends with -ETIME. 0: none */
};

SLIME_API int slime_ep_create(slime_ctx *ctx, const struct slime_ep_opts *opts, slime_ep **out,
                            struct slime_error *err);

/* Describe EP for the peer to connect to. */
SLIME_API int slime_ep_export(slime_ep *ep, struct slime_desc *out, struct slime_error *err);

/*
 * Connect to the endpoint that PEER describes; both sides do this, in any
 * order. -ETIMEDOUT: the peer did not come. -EPROTO: not a description, or
 * from a version that this one cannot talk to. -EISCONN.
 */
SLIME_API int slime_ep_connect(slime_ep *ep, const struct slime_desc *peer, int64_t timeout_ns,
                             struct slime_error *err);

/* Name a peer's region for use on EP, any time after connect. */
SLIME_API int slime_ep_import(slime_ep *ep, const struct slime_desc *desc, slime_rmr **out,
                            struct slime_error *err);

/*
 * Submit. All of these return 0 and own the transfer from then on, or a
 * negative errno and have done nothing: -EAGAIN (DEPTH reached, or the queue
 * is full: take completions and try again), -ENOTCONN, -ECANCELED (closed),
 * -ERANGE (a segment leaves its region), -EACCES. If OUT is given *OUT is the
 * handle. SEGS, HOW and what they point to may go as soon as the call returns;
 * the memory itself may not. N up to 65536; a batch completes as one.
 */
SLIME_API int slime_ep_read(slime_ep *ep, const struct slime_seg *segs, size_t n,
                          const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_write(slime_ep *ep, const struct slime_seg *segs, size_t n,
                           const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_write_imm(slime_ep *ep, const struct slime_seg *segs, size_t n, uint32_t imm,
                               const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_recv_imm(slime_ep *ep, const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_send(slime_ep *ep, const struct slime_span *src, const struct slime_submit *how,
                          slime_op **out);
SLIME_API int slime_ep_recv(slime_ep *ep, const struct slime_span *dst, const struct slime_submit *how,
                          slime_op **out);

/*
 * A transfer that is posted again and again: checked, split and translated
 * once. Post it anew only when the last post has completed (-EBUSY).
 */
typedef struct slime_xfer slime_xfer;

enum slime_dir { SLIME_DIR_READ, SLIME_DIR_WRITE };

SLIME_API int slime_xfer_prepare(slime_ep *ep, enum slime_dir dir, const struct slime_seg *segs, size_t n,
                               slime_xfer **out, struct slime_error *err);
SLIME_API int slime_xfer_post(slime_xfer *xfer, const struct slime_submit *how, slime_op **out);
SLIME_API void slime_xfer_release(slime_xfer *xfer);

/* What carries EP, and why: filled once connected. */
struct slime_ep_info {
	uint32_t size;
	uint32_t lanes;
	const char *transport;  /* "shm" */
	const char *device;     /* "mlx5_0" */
	const char *because;    /* one sentence for each transport refused, and the reason */
	const char *peer;       /* "host:pid", as the peer told */
};

/* The strings live as long as EP. -ENOTCONN. */
SLIME_API int slime_ep_get_info(slime_ep *ep, struct slime_ep_info *out);

/* Refuse new work and cancel what is in flight. Does not block; may be called twice. */
SLIME_API void slime_ep_close(slime_ep *ep);

/* Close, wait for the last completion, give back. Ops and regions of EP stay valid. */
SLIME_API void slime_ep_destroy(slime_ep *ep);

#ifdef __cplusplus
}
#endif
#endif
