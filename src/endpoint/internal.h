/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/internal.h - the structs behind the public handles. This directory only.
 *
 * Locks, in the order in which one thread may hold them:
 *	progress lock (ctx)  >  ctx->list_lock  >  ep->lock  >
 *	gate lock (ep), mr->lock, ctx->dom_lock  >  a transport's own
 * None is held across sl_op_done() but the progress lock, which transports do not know of.
 */
#ifndef SL_ENDPOINT_INTERNAL_H
#define SL_ENDPOINT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include <slime/slime.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/pool.h"
#include "endpoint/desc.h"
#include "transport/transport.h"

enum { SL_DOMS_MAX = 16, SL_SEGS_INLINE = 16, SL_SEGS_MAX = 65536, SL_CANDS_MAX = 4 };

/* Since the context was made; relaxed counters that any thread adds to. */
struct sl_ctx_stats {
	_Atomic uint64_t submitted[SLIME_STAT_OPS], completed[SLIME_STAT_OPS],
	    failed[SLIME_STAT_OPS];
	_Atomic uint64_t bytes_submitted[SLIME_STAT_OPS], bytes_completed[SLIME_STAT_OPS];
	_Atomic uint64_t posts, post_bytes, post_failures, completion_errors;
	_Atomic uint64_t regions, region_bytes;
};

/* A domain that the context has opened. Never closed before the context goes. */
struct sl_ctx_dom {
	const struct sl_transport *tr;
	struct sl_dom *dom;
	char device[64];
	uint32_t index; /* in the context's */
	int fd;         /* negative: progress() never has anything to do */
	struct sl_ctx_stats stats;
};

/* Who moves transfers along: see progress.c. */
struct sl_engine {
	struct sl_lock lock; /* the progress lock: held by who drives */
	int doms_epfd;       /* every domain's fd, and kick_fd */
	int lib_epfd; /* what the library thread sleeps on: doms_epfd while ARMED, and lib_fd */
	int kick_fd;  /* eventfd: whoever sleeps on doms_epfd, wake up */
	int lib_fd;   /* eventfd: library thread, wake up */
	bool armed;   /* under LOCK: the library thread sees events of doms_epfd */
	/* under LOCK: when to look at connecting endpoints again, and whether anybody would have */
	int64_t connects_ns;
	bool connects_due;
	_Atomic bool kicked;    /* kick_fd is rung, or is about to be */
	_Atomic bool lib_rung;  /* lib_fd likewise */
	_Atomic bool lib_aside; /* the library thread sleeps until who drives leaves */
	_Atomic bool stop;      /* library thread: end */
	_Atomic bool orphan; /* ... and free the context, whose last reference it dropped itself */
	int64_t waited_ns;   /* under LOCK: when a wait ended last */
	/* Who polls, or waits again and again, drives: the library thread looks so often whether
	   that is still so. 0: it drives itself. */
	_Atomic int64_t watch_ns;
	_Atomic uint32_t visits; /* of those */
	_Atomic bool posts_long; /* posts were seen that take longer than what lies between polls */
	_Atomic bool work;       /* a stop was asked for: look through the ops */
	_Atomic int64_t polled_ns; /* when a poll last found what it looked for */
	_Atomic uint32_t wanted;   /* threads that wait for LOCK for a moment */
	_Atomic uint32_t drivers;  /* threads inside sl_drive() */
	_Atomic uint32_t event;    /* futex of waits that have none of their own */
	_Atomic bool driver_sleeps;
	_Atomic int64_t driver_until, lib_until; /* when a sleeper wakes by itself; 0: awake */
	_Atomic int64_t next_scan;               /* when the first deadline passes */
	_Atomic int64_t no_spin_until;           /* a core is contended: sleep at once until then */
	_Atomic int64_t no_spin_ns;              /* for how long, when it is found so again */
	pthread_t thread;
	bool has_thread;
};

struct slime_ctx {
	uint32_t flags;
	int64_t spin_ns;
	uint32_t peer_timeout_ms;
	uint8_t id[SL_CTX_ID_LEN];
	_Atomic uint32_t refs;
	_Atomic uint32_t finished; /* ops, counted with manual progress only */
	struct sl_pool ops;
	struct sl_engine engine;

	struct sl_lock dom_lock; /* opening of domains */
	_Atomic uint32_t ndoms;
	struct sl_ctx_dom doms[SL_DOMS_MAX];

	struct sl_lock list_lock;
	LIST_HEAD(, slime_ep) connecting; /* under list_lock, as ep->is_connecting */
	_Atomic uint32_t nconnecting;
};

struct slime_mr {
	slime_ctx *ctx;
	struct sl_mem mem;
	const char *kind; /* the name of mem.kind */
	uint32_t access;
	_Atomic uint32_t refs; /* one for the user, one for each op in flight */
	struct sl_lock lock;   /* registration on first use */
	_Atomic(struct sl_reg *) reg[SL_DOMS_MAX];
};

struct slime_rmr {
	slime_ep *ep;
	uint64_t len;
	uint32_t access;
	_Atomic uint32_t refs;
	struct sl_rreg *rreg[SL_LANES_MAX];
};

struct sl_cq_slot {
	_Atomic uint64_t seq; /* position + 1 when RES is there */
	struct slime_result res;
};

struct slime_cq {
	slime_ctx *ctx;
	uint32_t depth;
	uint64_t mask;
	_Atomic uint32_t reserved; /* results taken or to come */
	_Atomic uint64_t pending;  /* ops that will report here; SL_CQ_DEAD: the user let go */
	_Atomic uint64_t tail;
	_Atomic uint64_t head;
	_Atomic uint32_t waiting; /* futex: somebody sleeps for a result */
	_Atomic int fd;           /* -1 until somebody asks */
	_Atomic bool signalled;   /* the eventfd is readable, or about to be */
	struct sl_cq_slot *ring;
};

/* Low bits of sl_op.state. The upper half counts how often the op was used. */
enum {
	SL_OP_RUNNING = 1 << 0,
	SL_OP_DONE = 1 << 1,
	SL_OP_ABANDONED = 1 << 2, /* the user let go of the handle, or never had one */
	SL_OP_SLEEPER = 1 << 3,   /* a thread sleeps on the state's futex */
	SL_OP_DRIVER = 1 << 4,    /* a thread sleeps as driver until this op is done */
};

/* A reference to the regions of NIOV iovs in a row. */
struct sl_hold {
	slime_mr *mr;
	slime_rmr *rmr;
	uint32_t niov;
};

/* A place in the bytes that a list of iovs names. */
struct sl_cutter {
	const struct sl_iov *iov;
	const struct sl_hold *hold; /* of *IOV */
	uint32_t niov;              /* from IOV on */
	uint32_t of_hold;           /* those of them that are HOLD's */
	uint64_t done;              /* bytes of *IOV that are behind us */
};

struct slime_op {
	struct sl_op base; /* first: sl_op_done() casts */
	slime_ctx *ctx;    /* counted */
	slime_cq *cq;
	slime_xfer *xfer; /* counted; then IOV and the regions are its */
	/* the scan looks at these at any time, so they are atomic */
	_Atomic(slime_ep *) ep;            /* until done */
	_Atomic(struct slime_op *) parent; /* this op is a part of that one, on one lane */
	_Atomic uint32_t lane;
	_Atomic int64_t deadline_ns;
	uint32_t tried; /* bit for each lane that could not carry it */
	uint32_t aimed; /* the lane whose handles are in IOV; of an XFER's iovs, XFER knows */
	/* of an op that runs as parts: see parts.c */
	_Atomic uint32_t busy;              /* bit for each lane that carries a part */
	_Atomic(struct slime_op *) waiting; /* parts that no lane carries */
	_Atomic int first_error;
	_Atomic uint64_t part_bytes;
	/* of a part */
	struct sl_cutter at, next; /* where the piece that is posted begins, and the one after */
	uint64_t left;             /* bytes from AT on */
	uint32_t cap;              /* iovs that there is room for */
	_Atomic int turn;          /* enum sl_turn */
	int ended;                 /* how the piece ended, and */
	uint64_t ended_bytes;
	bool imm_due; /* a write-immediate: the immediate is sent after the parts */
	bool fence;
	bool split;  /* over the transport's limits for one op */
	void *block; /* iovs (and holds) that did not fit inside */
	uint32_t nholds;
	struct slime_result res;
	struct sl_hold holds_inline[SL_SEGS_INLINE], *holds; /* one for each run of equal handles */
	struct sl_iov iov[SL_SEGS_INLINE];
};

enum sl_ep_state { SL_EP_NEW, SL_EP_CONNECTING, SL_EP_CONNECTED, SL_EP_FAILED, SL_EP_CLOSED };

/* A transport that EP could use. */
struct sl_cand {
	const struct sl_transport *tr;
	struct sl_ctx_dom *dom[SL_LANES_MAX]; /* of each lane; the first NDOMS are different */
	struct sl_conn *conn[SL_LANES_MAX];
	uint32_t ndoms;
	uint32_t nlanes;
	uint32_t started; /* lanes on which connect() was called */
	bool out;         /* refused: the reason is in ep->because */
};

/* Fields of slime_ep.count. */
#define SL_EP_INFLIGHT   UINT64_C(0x0fffffff)
#define SL_EP_HELD       (UINT64_C(1) << 30) /* submissions must queue at the gate */
#define SL_EP_DESTROYING (UINT64_C(1) << 31)
#define SL_EP_ACTIVE                                                                \
	(UINT64_C(1) << 32) /* one op that the transport has and that is no receive \
	                     */

struct slime_ep {
	slime_ctx *ctx;
	_Atomic uint32_t refs; /* the user, remote regions, prepared transfers */
	uint32_t depth;
	uint64_t id;
	_Atomic int state; /* enum sl_ep_state */
	_Atomic uint64_t count;
	_Atomic uint32_t next_lane;
	_Atomic uint32_t lanes_out;     /* bit for each that could carry nothing of late */
	_Atomic int64_t lanes_retry_ns; /* when to try those again */

	/* Set when CONNECTED, constant then. */
	const struct sl_transport *tr;
	struct sl_ctx_dom *dom[SL_LANES_MAX]; /* of each lane; the first NDOMS are different */
	struct sl_conn *conn[SL_LANES_MAX];
	uint32_t nlanes, ndoms;
	uint8_t peer_dom[SL_LANES_MAX]; /* which of the peer's domains each lane ends at */
	struct sl_desc_head peer;
	char peer_name[96];
	char device_name[128];
	char because[1024];

	struct sl_lock lock; /* candidates, connecting, close */
	struct sl_cand cand[SL_CANDS_MAX];
	uint32_t ncands, trying;
	bool told;   /* a connect() has returned 0 */
	bool forced; /* the user named the transport */
	uint32_t lanes_wanted;
	struct slime_desc *peer_desc; /* while connecting */
	struct slime_error failure;
	bool is_connecting; /* in ctx->connecting */
	LIST_ENTRY(slime_ep) entry;

	_Atomic(slime_cq *)
	    settled; /* where to tell so, a place reserved; NULL: nowhere, or told */
	uint64_t user_data;

	struct sl_lock gate; /* ops that a fence holds back */
	struct slime_op *held_first, *held_last;
	bool releasing;
};

struct slime_xfer {
	slime_ep *ep;
	_Atomic uint32_t refs;
	_Atomic bool busy;
	enum sl_opcode code;
	uint32_t aimed; /* the lane whose handles are in IOV; changes only while BUSY */
	bool split;
	uint64_t bytes;
	uint32_t niov, nholds;
	struct sl_iov *iov;
	struct sl_hold *holds;
};

/* ctx.c: every handle keeps a reference to what it was made from, so order of release is free. */
static inline void sl_ctx_ref(slime_ctx *ctx)
{
	atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
}
/* The last reference is gone. */
void sl_ctx_end(slime_ctx *ctx);
static inline void sl_ctx_unref(slime_ctx *ctx)
{
	if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) == 1)
		sl_ctx_end(ctx);
}
int sl_ctx_dom(slime_ctx *ctx, const struct sl_transport *tr, const char *device,
               struct sl_ctx_dom **out, struct slime_error *err);
/* Free CTX; the library thread has ended or is the caller. */
void sl_ctx_free(slime_ctx *ctx);

/* progress.c */
int sl_engine_start(slime_ctx *ctx, struct slime_error *err);
/* true: CTX is freed by the library thread, which is the caller. */
bool sl_engine_stop(slime_ctx *ctx);
void sl_engine_free(slime_ctx *ctx);
int sl_engine_add(slime_ctx *ctx, int fd, struct slime_error *err);
/* There is one more domain: the library thread shall see it. */
void sl_engine_added(slime_ctx *ctx);
/* Wake whoever sleeps over the domains: something was asked of progress. */
void sl_kick(slime_ctx *ctx);
/* As sl_kick() when a sleeper would oversleep WHEN_NS. */
void sl_kick_before(slime_ctx *ctx, int64_t when_ns);
/* The progress lock for a moment, from a thread that does not drive. */
void sl_progress_enter(slime_ctx *ctx) SL_UNCHECKED;
void sl_progress_exit(slime_ctx *ctx) SL_UNCHECKED;
/* One look, as slime_op_wait(op, 0) makes: whoever polls does this again and again. */
int sl_progress_poll(slime_ctx *ctx);
/*
 * What a poll looked for was there, so it did not drive. If polls do so again and again, the
 * library thread is woken for each completion, on the processor of who polls perhaps, and never
 * learns that it is not needed: so tell it.
 */
void sl_progress_polled(slime_ctx *ctx);

/* What sl_drive() waits for. */
struct sl_goal {
	bool (*reached)(void *arg);
	/* Ask to be woken: set the mark that the one who reaches the goal looks at. */
	void (*mark)(void *arg, bool as_driver);
	/* Sleep until reached or UNTIL_NS, or wake early. Called after mark(arg, false). */
	void (*sleep)(void *arg, int64_t until_ns);
	void *arg;
	int64_t nap_ns; /* longest sleep; for goals that nobody announces */
};

/* Move transfers along until GOAL is reached (true) or UNTIL_NS passes (false). */
bool sl_drive(slime_ctx *ctx, const struct sl_goal *goal, int64_t until_ns);
/* A goal marked by somebody was reached: wake him. */
void sl_driver_wake(slime_ctx *ctx);

/* op.c */
slime_op *sl_op_get(slime_ep *ep, enum sl_opcode code);
void sl_op_put(slime_op *op);
/* It runs from now on: the scan may ask it to stop. FLAGS: 0 or SL_OP_ABANDONED. */
static inline void sl_op_start(slime_op *op, unsigned flags)
{
	uint64_t state = atomic_load_explicit(&op->base.state, memory_order_relaxed);

	atomic_store_explicit(&op->base.state, state | SL_OP_RUNNING | flags, memory_order_release);
}
/* It was started but the transport did not take it: as if it had never been. */
void sl_op_refuse(slime_op *op);
/* Ask OP, in generation GEN, to end; true if it was running and nobody had asked. */
bool sl_op_ask_stop(slime_op *op, uint64_t seen, int status);
/* Look through the ops for deadlines and stops; progress lock held. Sets the time of the next look.
 */
void sl_ops_scan(slime_ctx *ctx);
/* ... which is no later than WHEN_NS. */
void sl_scan_at(slime_ctx *ctx, int64_t when_ns);
void sl_op_finish(slime_op *op, int status, uint64_t bytes, uint32_t imm);

/* cq.c */
int sl_cq_reserve(slime_cq *cq);
void sl_cq_unreserve(slime_cq *cq);
void sl_cq_post(slime_cq *cq, const struct slime_result *res);

/* mr.c */
/* The last reference is gone. */
void sl_mr_free(slime_mr *mr);
void sl_rmr_free(slime_rmr *rmr);
static inline void sl_mr_unref(slime_mr *mr)
{
	if (atomic_fetch_sub_explicit(&mr->refs, 1, memory_order_acq_rel) == 1)
		sl_mr_free(mr);
}
static inline void sl_rmr_unref(slime_rmr *rmr)
{
	if (atomic_fetch_sub_explicit(&rmr->refs, 1, memory_order_acq_rel) == 1)
		sl_rmr_free(rmr);
}
int sl_mr_reg(slime_mr *mr, struct sl_ctx_dom *dom, struct sl_reg **out, struct slime_error *err);
/* NULL: not yet. */
static inline struct sl_reg *sl_mr_reg_known(slime_mr *mr, const struct sl_ctx_dom *dom)
{
	return atomic_load_explicit(&mr->reg[dom->index], memory_order_acquire);
}

/* ep.c */
void sl_ep_ref(slime_ep *ep);
void sl_ep_unref(slime_ep *ep);

/* connect.c: one step of every connecting endpoint; progress lock held. Returns how many changed.
 */
int sl_connect_step(slime_ctx *ctx);
void sl_connect_forget(slime_ep *ep);
/* Tell who wanted to know how connecting EP ended, once, if it has. No lock of EP held. */
void sl_connect_tell(slime_ep *ep);
/* Note in ep->because that TRANSPORT will not do. */
void sl_ep_refuse(slime_ep *ep, const char *transport, const char *why);
/* Connected, by now at least? 0, -ENOTCONN, -ECANCELED. ERR may be NULL. */
int sl_ep_usable(slime_ep *ep, struct slime_error *err);

/* plan.c: segments to iovs with references held; a negative errno has taken nothing. */
struct sl_plan {
	struct sl_iov *iov;
	struct sl_hold *holds;
	uint32_t nholds;
	uint64_t bytes;
	bool split; /* over the transport's limits for one op */
};
int sl_plan_segs(slime_ep *ep, enum sl_opcode code, const struct slime_seg *segs, size_t n,
                 struct sl_plan *plan);
static inline void sl_holds_drop(const struct sl_hold *holds, uint32_t n)
{
	for (const struct sl_hold *h = holds; h < holds + n; h++) {
		sl_mr_unref(h->mr);
		if (h->rmr)
			sl_rmr_unref(h->rmr);
	}
}

/* gate.c: what fences hold back */
/* OP, which is a fence or finds others held, may have to wait: as sl_gate_hold() does. */
bool sl_gate_queue(slime_ep *ep, slime_op *op);
/* Hold OP back if it must wait; false: it may go now and is counted as active. */
static inline bool sl_gate_hold(slime_ep *ep, slime_op *op)
{
	uint64_t old = atomic_load(&ep->count);

	while (!(old & SL_EP_HELD) && !op->fence) {
		if (atomic_compare_exchange_weak(&ep->count, &old, old + SL_EP_ACTIVE))
			return false;
	}
	return sl_gate_queue(ep, op);
}
/* An active op is over: let go what waited for it. */
void sl_gate_release(slime_ep *ep);
/* Take OP out of EP's queue if it was asked to stop; false: it is not there, or was not. */
bool sl_gate_remove(slime_ep *ep, slime_op *op);

/* lanes.c: from an op to the transport. A refusal has done nothing. */
int sl_op_dispatch(slime_op *op);
/* OP, on its way as a whole, met a lane that cannot carry it: 0, it is on another one. */
int sl_op_resend(slime_op *op);
/* Submit OP, whose iovs are aimed at LANE, there. */
int sl_lane_post(slime_ep *ep, slime_op *op, uint32_t lane);
/* A bit for each lane that is worth a try; never 0. */
uint32_t sl_lanes_good(slime_ep *ep);
/* LANE could not carry an op. */
void sl_lane_out(slime_ep *ep, uint32_t lane);
/* Put the handles of LANE into N iovs, which begin where HOLDS does. */
void sl_iov_aim(const slime_ep *ep, struct sl_iov *iov, const struct sl_hold *holds,
                uint32_t nholds, uint32_t lane);

/* cutter.c */
struct sl_cutter sl_cutter_on(const slime_op *op);
/*
 * The next iovs, up to CAP and to *BYTES bytes, within EP's limits and aimed at
 * LANE, into OUT (NULL: only count). Returns how many, and in *BYTES their bytes.
 */
uint32_t sl_cutter_take(struct sl_cutter *c, const slime_ep *ep, uint32_t lane, uint64_t *bytes,
                        uint32_t cap, struct sl_iov *out);

/* parts.c: an op in parts, one on each lane of the mask LANES. -ENOMEM: nothing was done. */
int sl_parts_start(slime_op *op, uint32_t lanes);
void sl_part_done(slime_op *part, int status, uint64_t bytes);

/*
 * rails.c: open the devices of TR for LANES lanes: those that DEVICE names, with commas
 * between them, or the best. Returns how many are in OUT (SL_LANES_MAX entries).
 */
int sl_rails_open(slime_ctx *ctx, const struct sl_transport *tr, const char *device, uint32_t lanes,
                  struct sl_ctx_dom **out, struct slime_error *err);

void sl_xfer_unref(slime_xfer *xfer);

/* submit.c */
int sl_submit_xfer(slime_xfer *xfer, const struct slime_submit *how, slime_op **out);

static inline bool sl_code_is_recv(enum sl_opcode code)
{
	return code == SL_OP_RECV || code == SL_OP_RECV_IMM;
}

#endif
