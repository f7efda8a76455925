/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/transport.h - the contract between endpoints and transports.
 *
 * Down: the endpoint layer calls the functions below. Up: a transport calls
 * sl_op_done(), once per accepted op, sl_op_aim(), sl_op_overdue(), and nothing else. A transport
 * never sees a slime_ep, never splits or stripes, never waits for its peer, and takes no
 * lock but its own.
 *
 * Who calls from where:
 *   submit() dom_posts()           any thread, several at once
 *   progress() arm() cancel() connect() conn_ready() conn_name() conn_destroy()
 *                                  one thread at a time: the endpoint layer
 *                                  holds the progress lock of the context
 *   conn_close()                   any thread, while progress() may run in
 *                                  another; once or twice per connection
 *   dom_keep()                     the library thread, once, if there is one
 *   dom_close()                    the last call of all, any thread; the library
 *                                  thread has ended, or it is the one
 *   everything else                any thread, several at once, while progress()
 *                                  may run; unreg() and rreg_free() also from
 *                                  within sl_op_done()
 *
 * One directory per transport, one table per directory, one line in
 * transport/transports.c. tests/contract/test_transport.c runs against them all.
 */
#ifndef SL_TRANSPORT_H
#define SL_TRANSPORT_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <slime/ep.h>

#include "device/device.h"

struct sl_dom;  /* an opened device: a NIC port, a GPU, a host   */
struct sl_reg;  /* memory made reachable through one domain      */
struct sl_rreg; /* a peer's memory, reachable through one conn   */
struct sl_conn; /* a connection to one peer: a lane              */

enum sl_opcode { SL_OP_READ, SL_OP_WRITE, SL_OP_WRITE_IMM, SL_OP_SEND, SL_OP_RECV, SL_OP_RECV_IMM };

/*
 * One piece of an op, resolved and checked against both regions: no handles of
 * the layer above. It names COUNT (at least 1) runs of LEN bytes; run i is at
 * addr + i * stride here and at roff + i * rstride in the peer's region.
 */
struct sl_iov {
	char *addr;           /* this side's first byte */
	struct sl_reg *reg;   /* the region that holds ADDR */
	struct sl_rreg *rreg; /* one-sided ops only */
	uint64_t roff;
	uint64_t len;
	uint64_t count;
	uint64_t stride;
	uint64_t rstride;
};

/*
 * What a transport is asked to do. It belongs to the transport from submit()
 * until sl_op_done(). NEXT and PRIV are the transport's own. SEND and RECV have
 * one iov with COUNT 1; RECV_IMM has none; WRITE_IMM may have none.
 */
struct sl_op {
	_Atomic uint64_t state; /* the endpoint's; read it through sl_op_stop() */
	const struct sl_iov *iov;
	uint64_t bytes;     /* sum of len * count */
	uint64_t imm_bytes; /* WRITE_IMM: what the peer's recv_imm shall report as bytes */
	struct sl_op *next;
	uint64_t priv[4];
	uint32_t niov;
	uint32_t imm;
	enum sl_opcode code;
};

enum { SL_OP_STOP_SHIFT = 8, SL_OP_STOP_MASK = 3 << SL_OP_STOP_SHIFT };

/*
 * 0, or the status with which OP has been asked to end: -ECANCELED or -ETIME.
 * Long copies look at it between pieces. Relaxed: an answer may come late.
 */
static inline int sl_op_stop(const struct sl_op *op)
{
	static const int status[] = {0, -ECANCELED, -ETIME, -ETIME};
	uint64_t state = atomic_load_explicit(&op->state, memory_order_relaxed);

	return status[(state & SL_OP_STOP_MASK) >> SL_OP_STOP_SHIFT];
}

/*
 * As sl_op_stop(), for who copies for long in submit(): it looks at OP's deadline itself, as there
 * may be no other thread to do so. Reads the clock if there is a deadline.
 */
int sl_op_overdue(struct sl_op *op);

/*
 * The op is over: STATUS is 0 or a negative errno. Any thread, no locks held.
 * It may submit again from within, this op or another (one that a fence held
 * back), on the same connection or another lane of its endpoint. BYTES: moved; a
 * receive: received. IMM: RECV_IMM only.
 */
void sl_op_done(struct sl_op *op, int status, uint64_t bytes, uint32_t imm);

/*
 * OP's iovs, which are LANE's from now on, name the same bytes: for a transport that moves
 * an op, which it has, from one connection of an endpoint to another. No locks held.
 */
void sl_op_aim(struct sl_op *op, uint32_t lane);

struct sl_dev_info {
	char name[64];        /* "mlx5_0", "cuda:1" */
	uint32_t port;        /* 0 and 1 are not told apart */
	int32_t numa;         /* -1: unknown */
	uint64_t bytes_per_s; /* line rate, 0: unknown */
	bool up;
};

enum sl_caps {
	SL_CAP_REMOTE_HOST = 1 << 0, /* can leave this machine */
	SL_CAP_LANES = 1 << 1,       /* more than one conn per peer helps */
	SL_CAP_ORDERED = 1 << 2,     /* ops of one conn take effect in order */
	SL_CAP_RAILS = 1 << 3,       /* each device is a NIC: lanes are dealt over several */
};

/* What a domain is opened with. Valid only during the call. */
struct sl_dom_opts {
	/* As probe() names it, with ":PORT" behind it for a port above 1. NULL: the best. */
	const char *device;
	uint32_t flags;           /* enum slime_ctx_flags */
	uint32_t peer_timeout_ms; /* never 0 */
};

/* What a connection is created with. Valid only during the call. */
struct sl_conn_opts {
	uint32_t depth; /* ops in flight at most; the endpoint keeps to it */
	uint32_t lane;  /* 0 .. SL_LANES_MAX - 1 */
	/* lane 0 of the same endpoint, on another domain perhaps; NULL when this is it */
	struct sl_conn *first;
};

enum { SL_LANES_MAX = 16 };

/*
 * A transport's own part of a description, carried inside a slime_desc by the
 * endpoint layer, which has checked length, version and checksum before. Its
 * content still comes from outside: check it.
 */
struct sl_blob {
	uint32_t len;
	uint8_t bytes[512];
};

/* Answers of conn_ready(). */
enum {
	SL_CONN_WAITING = 0, /* not yet */
	SL_CONN_READY = 1,   /* both sides are connected */
	SL_CONN_CALLED = 2,  /* connect() was not called yet, and the peer waits for it here */
};

struct sl_transport {
	const char *name;
	uint32_t caps;    /* enum sl_caps */
	uint32_t kinds;   /* bit (1 << enum slime_mem_kind): reg() gets no other */
	uint32_t max_iov; /* of one-sided ops; the endpoint splits. UINT32_MAX: no limit */
	uint64_t max_len; /* of a run of theirs; likewise. UINT64_MAX: no limit */

	/*
	 * List up to CAP devices that could be opened now; returns how many there
	 * are. None at all is a negative errno and a sentence.
	 */
	int (*probe)(struct sl_dev_info *out, size_t cap, struct slime_error *err);

	/* Devices. close() comes after everything of the domain is gone. */
	int (*dom_open)(const struct sl_dom_opts *opts, struct sl_dom **out,
	                struct slime_error *err);
	void (*dom_close)(struct sl_dom *dom);
	/* The caller is a thread that ends with the domain and not before. NULL: who cares. */
	void (*dom_keep)(struct sl_dom *dom);
	/* Is a thread in submit(), with work that takes it long? A guess. NULL: never. */
	bool (*dom_posts)(const struct sl_dom *dom);

	/*
	 * Memory. reg_pack() here, rreg_unpack() at the peer. After unreg() nothing
	 * of the library touches the memory on behalf of a peer.
	 */
	int (*reg)(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access,
	           struct sl_reg **out, struct slime_error *err);
	void (*unreg)(struct sl_reg *reg);
	int (*reg_pack)(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err);
	int (*rreg_unpack)(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
	                   struct slime_error *err);
	void (*rreg_free)(struct sl_rreg *rreg);

	/*
	 * Lanes. connect() starts; conn_ready() tells; neither blocks. BLOB is the
	 * conn_pack() of the peer's conn of the same lane. A refusal (negative errno
	 * with a sentence, from either) means: this transport will not do for this
	 * pair, on both sides; the endpoint closes the conn and tries the next.
	 */
	int (*conn_create)(struct sl_dom *dom, const struct sl_conn_opts *opts,
	                   struct sl_conn **out, struct slime_error *err);
	int (*conn_pack)(const struct sl_conn *conn, struct sl_blob *out, struct slime_error *err);
	int (*connect)(struct sl_conn *conn, const struct sl_blob *peer, struct slime_error *err);
	int (*conn_ready)(struct sl_conn *conn, struct slime_error *err);

	/*
	 * After close() no op is accepted, and all in flight end with -ECANCELED
	 * (or what they already had) from within progress(), soon. Does not block,
	 * does not complete ops itself. destroy() comes after the last is done.
	 */
	void (*conn_close)(struct sl_conn *conn);
	void (*conn_destroy)(struct sl_conn *conn);

	/*
	 * 0: accepted. Negative: refused, nothing done: -ENOTCONN, -ECANCELED
	 * (closed), -ECONNRESET (the peer went away), -ENETDOWN, -ENOMEM, -EOPNOTSUPP.
	 * An accepted op may be done before submit() returns.
	 *
	 * -ENETDOWN, from here or to sl_op_done(), is for READ and WRITE only: this
	 * connection cannot carry the op (its port is down, its retries are exhausted)
	 * but the peer may be there. Nothing of the op is touched any more, and the
	 * endpoint sends all of it over another lane. From then on submit() says so at
	 * once, until the connection, which restores itself, is good again: the endpoint
	 * asks now and then.
	 *
	 * Messages and immediates are given to lane 0, which keeps their order. They outlast
	 * that inside of the transport: until it is good again, others carry them, they are
	 * asked to stop, or all were out for peer_timeout_ms (-EHOSTUNREACH).
	 */
	int (*submit)(struct sl_conn *conn, struct sl_op *op);

	/*
	 * OP, which CONN accepted, is asked to end (see sl_op_stop()). Does not
	 * block. It may be over already and its memory in use for a newer op: find
	 * it in your own lists by address, under your lock, and act only if
	 * sl_op_stop() is not 0. It then ends with that status, or with what it
	 * already had, within a few milliseconds and with quiet memory. Called
	 * again every millisecond or so until OP has ended: asking twice is as once.
	 */
	void (*cancel)(struct sl_conn *conn, struct sl_op *op);

	/* Complete what can be completed, about BUDGET ops; returns how much was done, 0: nothing.
	 */
	int (*progress)(struct sl_dom *dom, unsigned budget);

	/*
	 * Sleeping. fd() is readable after arm() when progress() has work; arm()
	 * returns 1 if there is work already, and lowers *WAKE_NS (CLOCK_MONOTONIC)
	 * to when progress() must run even so. fd() is -EOPNOTSUPP if progress()
	 * never has anything to do.
	 */
	int (*fd)(struct sl_dom *dom);
	int (*arm)(struct sl_dom *dom, int64_t *wake_ns);

	/* What carries CONN, for people: "127.0.0.1:4711", "memfd and CMA". Connected only. */
	void (*conn_name)(struct sl_conn *conn, char *out, size_t cap);
};

#endif
