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
 *  - An immediate arrives once, after all bytes of its batch. Immediates arrive
 *    in the order in which their writes were done, which need not be that of
 *    submission.
 *  - Sends match receives in the order both were submitted.
 *  - Nothing else is ordered, the pieces of a batch among themselves neither.
 *    Wait, or use SLIME_SUBMIT_FENCE.
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
	uint32_t depth; /* transfers in flight, receives too; 0: 256; at most 2^20 */
	/*
	 * Connections to stripe over, up to 16; 0: the transport decides. Where devices
	 * are NICs they go over as many of those as are up, the nearest to the caller first.
	 */
	uint32_t lanes;
	uint32_t flags;        /* none yet */
	const char *transport; /* "rdma", "cuda_ipc", "shm", "tcp", "loopback"; NULL: best */
	/* "mlx5_0", "cuda:1", ..., or several, "mlx5_0,mlx5_1"; needs TRANSPORT; NULL: best */
	const char *device;
	/*
	 * Of the same context: one result with USER_DATA when connecting is settled, 0
	 * or why not, so that many endpoints connect without a thread that waits for
	 * each. NULL: none. -EAGAIN from slime_ep_create(): the queue is full.
	 */
	slime_cq *settled;
	uint64_t user_data;
};

/*
 * COUNT pieces of LEN bytes between LOCAL and REMOTE; which way is up to the
 * call. Piece i starts at local_off + i * local_stride and remote_off + i *
 * remote_stride. COUNT 0 means 1, and then the strides are not read. One
 * segment thus names a column of a matrix, or one KV block in every layer. LEN 0
 * moves nothing. Where pieces of a batch overlap in the target, any may be last.
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
	/*
	 * Start when every read, write, write_imm and send submitted before on this
	 * endpoint is over; later ones of these start no earlier. Receives are neither
	 * waited for nor held. On a receive: -EINVAL.
	 */
	SLIME_SUBMIT_FENCE = 1 << 0,
};

/* How to run and report a transfer. Zero in any field but SIZE means "the default". */
struct slime_submit {
	uint32_t size;
	uint32_t flags;
	slime_cq *cq; /* of the same context: report there; OUT is then only to cancel by */
	uint64_t user_data;
	void *stream;       /* device stream to start after; NULL: now; else -EOPNOTSUPP so far */
	int64_t timeout_ns; /* from submission; past it the transfer ends with -ETIME. 0: none */
};

/*
 * Create an endpoint. OPTS may be NULL. -EINVAL: an option is wrong, a device is
 * named without its transport or twice, or several where there can be one only.
 * -ENODEV: no such transport or device, or none that works. -ENOSPC: the context
 * has opened too many devices. -ENOMEM, and what the system says to a transport
 * that was named.
 */
SLIME_API int slime_ep_create(slime_ctx *ctx, const struct slime_ep_opts *opts, slime_ep **out,
                              struct slime_error *err);

/* Describe EP for its one peer to connect to. -EMSGSIZE: too many lanes. -ECANCELED: closed. */
SLIME_API int slime_ep_export(slime_ep *ep, struct slime_desc *out, struct slime_error *err);

/*
 * Connect to the endpoint that PEER describes; both sides do this, in any order.
 * TIMEOUT_NS 0 or less only looks. -ETIMEDOUT: the peer did not come yet. EP goes
 * on connecting in the background; call again with a description of the same peer,
 * that one or a fresh one, which gives 0 once when it is connected, and -EISCONN
 * from then on, as any other description does at once. -EPROTO: not a description, or from a
 * version that this one cannot talk to. -EINVAL: EP's own. After any other error (a sentence for
 * each transport says why) EP is of no use: make a new one, on both sides.
 */
SLIME_API int slime_ep_connect(slime_ep *ep, const struct slime_desc *peer, int64_t timeout_ns,
                               struct slime_error *err);

/*
 * Name a peer's region for use on EP, any time after connect. -ENOTCONN,
 * -ECANCELED. -EPROTO: as slime_ep_connect(). -EACCES: the region is of another
 * context than the peer's, or out of reach. -ENODEV: it does not cover EP's
 * transport (see slime_mr_export()). -ENOMEM.
 */
SLIME_API int slime_ep_import(slime_ep *ep, const struct slime_desc *desc, slime_rmr **out,
                              struct slime_error *err);

/*
 * Submit. All of these return 0 and own the transfer from then on, or a negative
 * errno and have done nothing:
 *
 *   -EAGAIN       DEPTH reached, or the queue is full: take completions, try again
 *   -EINVAL       wrong HOW, N over 65536, or a region that is missing, of another
 *                 context, or imported by another endpoint
 *   -ERANGE       a segment leaves its region
 *   -EACCES       the peer's region does not allow it
 *   -ENOTCONN     not connected yet, or connecting failed
 *   -ECANCELED    closed; -ECONNRESET: the peer went away
 *   -EHOSTUNREACH no lane can carry it: all ports are down, or nothing gets through
 *   -EOPNOTSUPP   a stream is given, or memory of a kind that the transport does not
 *                 reach; -ENOMEM
 *   -EBUSY        slime_xfer_post() only: the last post has not completed
 *
 * HOW may be NULL: the defaults. If OUT is given *OUT is the handle; without OUT
 * and without a queue the transfer runs unobserved. SEGS, HOW and what they point
 * to may go as soon as the call returns; the memory itself may not. N is up to
 * 65536; a batch completes as one. N 0 moves nothing, and completes.
 *
 * write_imm: the immediate IMM follows the batch. It does not wait for a recv_imm:
 * up to 65536 wait at the receiver; past that the writer waits.
 * recv_imm: takes the oldest; BYTES of its result is what the peer's batch moved.
 * send: waits for a receive; longer than that receive both end with -EMSGSIZE.
 */
SLIME_API int slime_ep_read(slime_ep *ep, const struct slime_seg *segs, size_t n,
                            const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_write(slime_ep *ep, const struct slime_seg *segs, size_t n,
                             const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_write_imm(slime_ep *ep, const struct slime_seg *segs, size_t n, uint32_t imm,
                                 const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_recv_imm(slime_ep *ep, const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_send(slime_ep *ep, const struct slime_span *src,
                            const struct slime_submit *how, slime_op **out);
SLIME_API int slime_ep_recv(slime_ep *ep, const struct slime_span *dst,
                            const struct slime_submit *how, slime_op **out);

/*
 * A transfer that is posted again and again: checked and translated once, with
 * the errors of a submit. Post it anew only when the last post has completed
 * (-EBUSY). Release may come while it is posted: that post goes on. NULL is fine.
 */
typedef struct slime_xfer slime_xfer;

enum slime_dir { SLIME_DIR_READ, SLIME_DIR_WRITE };

SLIME_API int slime_xfer_prepare(slime_ep *ep, enum slime_dir dir, const struct slime_seg *segs,
                                 size_t n, slime_xfer **out, struct slime_error *err);
SLIME_API int slime_xfer_post(slime_xfer *xfer, const struct slime_submit *how, slime_op **out);
SLIME_API void slime_xfer_release(slime_xfer *xfer);

/* What carries EP, and why. Set SIZE; the rest is filled in once connected. */
struct slime_ep_info {
	uint32_t size; /* sizeof(struct slime_ep_info) */
	uint32_t lanes;
	const char *transport; /* "shm" */
	const char *device;    /* "mlx5_0", "mlx5_0, mlx5_1" */
	const char *because;   /* a sentence for each transport refused, then one for the chosen */
	const char *peer;      /* "host:pid", as the peer told */
};

/* The strings live as long as EP. -EINVAL: SIZE is wrong. -ENOTCONN. */
SLIME_API int slime_ep_get_info(slime_ep *ep, struct slime_ep_info *out);

/*
 * Refuse new work and cancel what is in flight. Does not block; any thread, also
 * twice. At the peer what is in flight, and what comes, ends with -ECONNRESET.
 */
SLIME_API void slime_ep_close(slime_ep *ep);

/*
 * Close, wait for the last completion, give back. Handles of ops, prepared
 * transfers and imported regions stay valid: release them before or after. NULL
 * is fine, here and for slime_ep_close().
 */
SLIME_API void slime_ep_destroy(slime_ep *ep);

#ifdef __cplusplus
}
#endif
#endif
