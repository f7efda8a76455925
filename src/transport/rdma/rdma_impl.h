/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_impl.h - the structs of the rdma transport. This directory only.
 *
 * A lane has two queue pairs ("channels"): DATA carries reads, writes, immediates and
 * records; MSG carries messages, straight from the sender's memory into that of the
 * receive that the peer has told us of (a credit, in a record). Each domain has one
 * datagram queue pair, its mailbox, through which two ends tell each other their
 * state until both know all of it; a lost datagram is sent again.
 *
 *	        open            the peer's fresh      the peer is
 *	NONE ──────────► FRESH ──generation: link──► LINKED ──linked to ours──► UP
 *	                   ▲                            │                        │
 *	                   └─ empty: made anew, ◄───────┴──► DRAIN ◄─────────────┘
 *	                      generation + 1              an error, a stop, the peer's newer
 *	                                                  generation; at the end: NONE
 *
 * A channel that drains is in the error state: nothing more of it touches memory
 * here once its last completion has come. What was in flight is then settled: what the peer
 * received (it says how much) is done, the rest is posted again on the new queue pair. When
 * the device is gone (dom->dead) there is none: FRESH then only tells what was received.
 *
 * Immediates sent, messages sent, and receives for messages are streams: each has an order, and
 * so a home, the one lane that carries it. It is lane 0 until that is out; see rdma_home.c.
 *
 * Who touches what: "progress" fields belong to the thread that holds the progress
 * lock of the context; "lock" fields are under conn->lock. Channel states change
 * under both, so either is enough to read them.
 */
#ifndef SL_RDMA_IMPL_H
#define SL_RDMA_IMPL_H

#include "base/clock.h"
#include "base/lock.h"
#include "transport/imm_queue.h"
#include "transport/op_queue.h"
#include "transport/rdma/rdma_frame.h"
#include "transport/rdma/rdma_verbs.h"
#include "transport/transport.h"

enum {
	RDMA_WINDOW = 64,                     /* receives kept posted for immediates and records */
	RDMA_CREDITS_AHEAD = RDMA_WINDOW / 2, /* receives that the peer knows of and has not used */
	RDMA_MSG_SENDS = 64,                  /* send queue of a MSG channel */
	RDMA_MAILS_IN = 128,
	RDMA_MAILS_OUT = 64,
	RDMA_GRH_LEN = 40,
	RDMA_CREDITS_MAX = 1 << 16, /* receives of a peer that we remember */
	RDMA_STRIKES = 4,           /* errors in a row, with nothing done between: give up */
	RDMA_BUCKETS = 1024,
	RDMA_POLL = 32,
	RDMA_SGES = 4,         /* places that one request gathers, at most */
	RDMA_RECORD_STEP = 32, /* from one record in memory to the next */
};

/* From the environment (base/env.h), and no more than the device has. */
struct rdma_env {
	int gid_index; /* -1: by rule */
	uint32_t service_level, traffic_class;
	uint32_t reads_out, reads_in;
	uint32_t send_wr, recv_wr, cqes, polls;
	uint32_t chunk; /* bytes of one request */
	bool odp;
	int64_t first_answer_ns; /* how long a peer that was never heard of may take to answer */
};

/* "mlx5_0:2#3" taken apart. */
struct rdma_dev_name {
	char device[64];
	uint8_t port; /* 0: any */
	int gid_index;
};

/* A port that could be used, or why not. */
struct rdma_port {
	uint8_t number;
	struct ibv_port_attr attr;
	struct ibv_gid_entry gid;
	bool has_gid;
};

enum rdma_chan_kind { RDMA_DATA, RDMA_MSG };

enum rdma_phase { RDMA_NONE, RDMA_FRESH, RDMA_LINKED, RDMA_UP, RDMA_DRAIN };

/* A place in the runs of an op. */
struct rdma_cursor {
	uint32_t iov;
	uint64_t run, off;
	uint64_t wrs; /* requests made for the op so far */
};

struct rdma_chan {
	enum rdma_phase phase;
	struct ibv_qp *qp;
	uint32_t psn, gen;
	uint32_t linked; /* the peer's generation that QP is, or was last, connected to */
	struct rdma_chan_state far; /* what the peer said last; progress */
	struct rdma_chan_state
	    told;         /* ... by way of another lane, when this one is out; progress */
	int64_t drain_by; /* progress */
	unsigned strikes; /* progress */

	/*
	 * The send queue: requests since QP was made, and a completion names its place. Who posts
	 * writes SQ_POSTED and PLACED under the lock, progress takes without; see rdma_poll.c.
	 */
	_Atomic uint64_t sq_posted, sq_done;
	/* at the place of its last request, modulo a power of two from SQ_CAP on, an op */
	struct sl_op *_Atomic *placed;
	uint32_t placed_mask;
	_Atomic bool hungry; /* something waits for room */
	uint64_t
	    sq_good;    /* progress: all before it were carried out, not so the last if it failed */
	uint64_t acked; /* progress: numbered ops that are known to be received, of TX_SEQ */

	/* lock */
	uint32_t sq_cap, rq_cap, max_inline;
	uint64_t rq_posted, rq_done;
	bool failed;                /* a post failed: drain it */
	struct sl_op_queue waiting; /* not, or not all of it, posted; the cursor is in the first */
	struct rdma_cursor cur;
	struct sl_op_queue
	    posted;      /* gathered from PLACED; priv[0] is the place behind its last request */
	uint64_t tx_seq; /* numbered ops given to QP */
	uint64_t fresh_count; /* RX_COUNT when QP was made; progress */
	uint64_t rx_count;    /* numbered ops of the peer's received */
};

/* Fields of sl_op.priv: one-sided ops and sends. */
enum { RDMA_END, RDMA_SEQ, RDMA_STATUS, RDMA_NOTES };
#define RDMA_ASKED    UINT64_C(1) /* note: it was asked to stop once already */
#define RDMA_TOO_LONG UINT64_C(2) /* note: the peer's receive is too short for it */
/* ... and receives. */
enum { RDMA_PIECES, RDMA_PIECES_DONE, RDMA_BYTES = 3 };
#define RDMA_BYTES_TOO_LONG (UINT64_C(1) << 63) /* in RDMA_BYTES: the message is longer than us */

/* What has an order: see rdma_home.c. */
enum rdma_stream { RDMA_IMMS, RDMA_SENDS, RDMA_RECVS, RDMA_STREAMS };

/* In lane 0, for all lanes of its endpoint. */
struct rdma_group {
	struct sl_lock lock;
	struct sl_conn *_Atomic home[RDMA_STREAMS]; /* lock; NULL: it is moving */
	struct sl_op_queue held[RDMA_STREAMS];      /* lock; submitted while it moves */
	struct sl_op_queue imm_recvs;               /* the lock of lane 0, as all that follows */
	struct sl_imm_queue imms;
	bool full; /* some lane withholds receives: too many IMMS wait */
};

struct sl_conn {
	struct sl_dom *dom;
	struct sl_conn *next, *next_same; /* dom->conns, a bucket of dom->by_id; dom->lock */
	struct sl_conn *first;            /* lane 0 */
	struct sl_conn *next_lane;        /* of the same endpoint, from FIRST on */
	struct rdma_name me;
	struct rdma_group group; /* lane 0's is everybody's */
	uint32_t lane;
	uint32_t slot;     /* in dom->slots, from connect() on */
	uint64_t wr_owner; /* ... as completions name it */
	uint32_t depth;

	/* progress */
	bool connecting, called;
	struct rdma_name peer;
	struct rdma_mail mail; /* the peer's */
	struct ibv_ah *ah;
	char *
	    records; /* RDMA_WINDOW received ones, then one for each place of the DATA send queue */
	struct ibv_mr *records_mr;
	uint32_t max_sge;
	uint8_t shift; /* a message goes in pieces of 2^SHIFT bytes */
	uint32_t cq_share;
	int refused; /* with the sentence WHY */
	struct slime_error why;
	int64_t ask_at, ask_ns; /* SL_NEVER, or when to tell our state again; how long until then */
	int64_t answer_by;      /* SL_NEVER, or until when the peer's mailbox must have answered */
	int64_t
	    alive_ns; /* since when the peer's program, of which something is wanted, is silent */
	int64_t heard_ns;  /* when it last showed life */
	int64_t doubt_ns;  /* 0, or since when requests find no answer */
	int64_t out_ns;    /* 0, or since when the lane is out */
	bool roundabout;   /* tell our state by another lane, too */
	unsigned last_way; /* ... which was this one */
	bool had_work;     /* at the last tick */
	/* writes that are over, but for packets on their way to the peer's old queue pair: they end
	 * when that is gone, or at LATE_AT */
	struct sl_op_queue late;
	int64_t late_at;
	int ending; /* 0, or the status with which everything ends */
	bool gone;  /* the peer's end is: no queue pair of it takes anything */

	struct sl_lock lock;
	_Atomic bool todo;
	bool closed, broken, ready; /* lock */
	bool out; /* lock: no way to the peer; reads and writes go over other lanes */
	struct rdma_chan chan[RDMA_CHANS];
	unsigned holds; /* lock, as all that follows: a bit for each stream that is at home here */
	uint32_t withheld; /* receives for immediates not posted again: too many wait */
	/* receives for messages, oldest first; NEXT_RECV is the first that QP does not have */
	struct sl_op_queue recvs;
	struct sl_op *next_recv, *next_credit;
	uint64_t recvs_ended, credits_told; /* of this generation */
	/* what the peer told us of its receives */
	struct rdma_credit {
		uint64_t len;
		uint8_t shift;
	} * credits;
	uint32_t credits_cap;
	uint64_t credit_head, credit_tail; /* numbered within the peer's generation */
};

struct sl_reg {
	struct sl_dom *dom;
	struct ibv_mr *mr;
	uint64_t addr, len;
	bool untouched; /* by this process: checked memory, or a device's */
};

struct sl_rreg {
	uint64_t addr;
	uint32_t rkey;
};

struct rdma_slot {
	struct sl_conn *conn;
	uint32_t used; /* how often: completions of an earlier user name another number */
};

/* An address handle to destroy when the last datagram that uses it is gone. */
struct rdma_grave {
	struct rdma_grave *next;
	struct ibv_ah *ah;
	uint64_t after;
};

struct sl_dom {
	const struct sl_verbs *v;
	struct rdma_env env;
	char name[80]; /* "mlx5_0:1" */
	struct ibv_context *ctx;
	struct ibv_device_attr_ex attr;
	struct rdma_port port;
	uint64_t chunk; /* most bytes of one request, a power of two */
	uint8_t chunk_shift;
	int64_t peer_timeout_ns;
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	int epfd, kick_fd;

	/* progress, but for what is said */
	struct ibv_cq *cq;
	uint32_t cq_used, cq_stale; /* completions that may come; of queue pairs that are gone */
	bool slept;                 /* arm() was called since progress() last looked */
	bool armed;                 /* a notification was asked for and has not come */
	unsigned calls;
	struct ibv_wc wc[RDMA_POLL]; /* the last that were polled */
	int found;                   /* ... by arm(): progress() has not looked at so many */
	int64_t next_tick, last_tick;
	_Atomic bool work;  /* some connection has TODO set; any thread */
	_Atomic bool posts; /* a thread rings a doorbell; of several, one */
	bool dead;          /* the device is gone */
	bool port_down;
	struct rdma_slot *slots;
	uint32_t nslots;

	struct rdma_mailbox {
		struct ibv_qp *qp;
		uint32_t qkey;
		char *buf;
		struct ibv_mr *mr;
		uint64_t out_posted, out_done;
		uint32_t in_posted;
		bool failed; /* it drains, to be made ready again */
		struct rdma_grave *graves;
	} box;

	struct sl_lock lock; /* the lists of connections */
	struct sl_conn *conns;
	struct sl_conn *by_id[RDMA_BUCKETS];
	_Atomic uint32_t nconns; /* that are connecting or connected */
};

/* Who a completion is for: | slot 20 | its use 8 | 2 | channel 1 | receive 1 | place 32 |. */
enum { RDMA_SLOT_BOX = (1 << 20) - 1, RDMA_SLOTS_MAX = RDMA_SLOT_BOX };

static inline uint64_t rdma_wr_owner(uint32_t slot, uint32_t used)
{
	return (uint64_t)slot << 44 | (uint64_t)(used & 0xff) << 36;
}

static inline uint64_t rdma_wr_id(uint64_t owner, int kind, bool recv, uint64_t place)
{
	return owner | (uint64_t)(kind & 1) << 33 | (uint64_t)recv << 32 | (uint32_t)place;
}

/* rdma_addr.c: pure rules over what a port tells */
int sl_rdma_parse_name(const char *text, struct rdma_dev_name *out, struct slime_error *err);
/* Better GIDs give higher numbers; 0: not without being asked. */
int sl_rdma_gid_rank(const struct ibv_gid_entry *gid, uint8_t link_layer);
bool sl_rdma_gid_is_v4(const uint8_t *gid);
void sl_rdma_gid_text(const uint8_t *gid, char *out, size_t cap);
uint64_t sl_rdma_line_rate(const struct ibv_port_attr *attr);
/* The way from PORT to MAIL. -EHOSTUNREACH with a sentence: there is none. */
int sl_rdma_route(const struct rdma_port *port, const struct rdma_env *env,
                  const struct rdma_mail *mail, struct ibv_ah_attr *out, struct slime_error *err);

/* rdma_dev.c: devices and their ports */
int sl_rdma_probe(struct sl_dev_info *out, size_t cap, struct slime_error *err);
/* Open the device that NAME (NULL: the best) names into DOM: ctx, attr, port, name. */
int sl_rdma_dev_open(struct sl_dom *dom, const char *name, struct slime_error *err);

/* rdma_dom.c */
int sl_rdma_dom_open(const struct sl_dom_opts *opts, struct sl_dom **out, struct slime_error *err);
void sl_rdma_dom_close(struct sl_dom *dom);
int sl_rdma_progress(struct sl_dom *dom, unsigned budget);
int sl_rdma_fd(struct sl_dom *dom);
int sl_rdma_arm(struct sl_dom *dom, int64_t *wake_ns);
bool sl_rdma_posts(const struct sl_dom *dom);
/* Let progress() look at CONN. Any thread. */
void sl_rdma_todo(struct sl_conn *conn);
void sl_rdma_tick_by(struct sl_dom *dom, int64_t when_ns);
/* Something failed: is it that the device is gone? Then its lanes know it on return. Progress. */
bool sl_rdma_dom_is_dead(struct sl_dom *dom);
/* Make room in the completion queue for N more. Progress. */
int sl_rdma_cq_take(struct sl_dom *dom, uint32_t n, struct slime_error *err);
void sl_rdma_cq_give(struct sl_dom *dom, uint32_t n);
static inline int64_t rdma_tick_ns(const struct sl_dom *dom)
{
	return dom->peer_timeout_ns / 8;
}

/* rdma_reg.c */
int sl_rdma_reg(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access, struct sl_reg **out,
                struct slime_error *err);
void sl_rdma_unreg(struct sl_reg *reg);
int sl_rdma_reg_pack(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err);
int sl_rdma_rreg_unpack(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
                        struct slime_error *err);
void sl_rdma_rreg_free(struct sl_rreg *rreg);
/* Why memory could not be registered, as a sentence; LEN bytes, E the errno value. */
int sl_rdma_reg_failed(const struct sl_dom *dom, size_t len, int e, struct slime_error *err);

/* rdma_mail.c: the mailbox; progress */
int sl_rdma_box_open(struct sl_dom *dom, struct slime_error *err);
void sl_rdma_box_close(struct sl_dom *dom);
/* Send STATE, or drop it: whoever needs an answer asks again. */
void sl_rdma_box_send(struct sl_dom *dom, struct ibv_ah *ah, const struct rdma_mail *to,
                      struct rdma_state *state);
/* Nothing more will be sent by AH (NULL is fine): destroy it, in time. */
void sl_rdma_box_bury(struct sl_dom *dom, struct ibv_ah *ah);
void sl_rdma_box_wc(struct sl_dom *dom, const struct ibv_wc *wc);
void sl_rdma_box_mail(const struct sl_dom *dom, struct rdma_mail *out);

/* rdma_chan.c: the life of a queue pair; progress */
int sl_rdma_chan_open(struct sl_conn *conn, int kind, struct slime_error *err);
int sl_rdma_chan_link(struct sl_conn *conn, int kind, struct slime_error *err);
void sl_rdma_chan_drain(struct sl_conn *conn, int kind);
bool sl_rdma_chan_is_empty(const struct rdma_chan *c);
void sl_rdma_chan_free(struct sl_conn *conn, int kind);
/* The peer's last generation received COUNT: what that covers goes to OVER, the rest waits again.
 * -EPROTO: it cannot be so many. */
int sl_rdma_chan_settle_locked(struct sl_conn *conn, int kind, uint64_t count,
                               struct sl_op_queue *over);
/* Was nothing posted whose fate is not known? */
bool sl_rdma_chan_is_settled_locked(const struct rdma_chan *c);

/* What is placed goes to POSTED, as queue pair KIND is about to drain; progress. */
void sl_rdma_chan_gather_locked(struct rdma_chan *c);
/* All of OP is posted once the request before END is; until that is completed. Lock held. */
static inline void rdma_place(struct rdma_chan *c, struct sl_op *op, uint64_t end)
{
	op->priv[RDMA_END] = end;
	atomic_store_explicit(&c->placed[(end - 1) & c->placed_mask], op, memory_order_release);
}
/* Something waits until fewer than N requests are out: progress will see to it, or they are. */
static inline bool rdma_must_wait(struct rdma_chan *c, uint32_t n)
{
	atomic_store(&c->hungry, true); /* before the look; progress looks after making room */
	return atomic_load(&c->sq_posted) - atomic_load(&c->sq_done) >= n;
}

/* rdma_post.c: the DATA channel; lock held */
/* Post OP, a read or a write, if it is as most are: one request, and none waits before it. */
bool sl_rdma_post_alone_locked(struct sl_conn *conn, struct sl_op *op);
void sl_rdma_push_data_locked(struct sl_conn *conn, struct sl_op_queue *over);
/* One more receive for an immediate or a record. */
void sl_rdma_post_window_locked(struct sl_conn *conn);
/* What came into the window. -EPROTO, -ENOMEM: end the connection. */
int sl_rdma_take_record_locked(struct sl_conn *conn, const struct ibv_wc *wc,
                               struct sl_op_queue *over);
/* May one more be posted? Lock held. Else who takes an immediate will see to it. */
bool sl_rdma_has_room_locked(struct sl_conn *conn);
/* With the lock of CONN held, that of lane 0; never the other way round. */
static inline void rdma_group_take(struct sl_conn *conn) SL_UNCHECKED
{
	if (conn != conn->first)
		sl_lock_take(&conn->first->lock);
}
static inline void rdma_group_drop(struct sl_conn *conn) SL_UNCHECKED
{
	if (conn != conn->first)
		sl_lock_drop(&conn->first->lock);
}
/* Do so few immediates wait that it may? Lock of lane 0 held. */
static inline bool rdma_imms_have_room(const struct rdma_group *group)
{
	return group->imms.n < SL_IMM_MAX - RDMA_WINDOW;
}

/* rdma_home.c: which lane carries what has an order */
void sl_rdma_home_init(struct sl_conn *conn);
/* OP of stream S, submitted on lane 0, to where that is at home. */
int sl_rdma_home_submit(struct sl_conn *first, enum rdma_stream s, struct sl_op *op,
                        struct sl_op_queue *over);
/* Progress. CONN may have come back, gone out, or learnt what became of its requests: move the
 * streams of its endpoint that are better off elsewhere. */
void sl_rdma_home_look(struct sl_conn *conn);
/* Progress. No queue pair has a receive of CONN's, and none is open: move them, if it is out. */
void sl_rdma_home_leave(struct sl_conn *conn);
/* Is any stream at home on CONN? Progress. */
bool sl_rdma_home_is_at(struct sl_conn *conn);
/* Is there a lane beside CONN that has a way to the peer? Progress. */
bool sl_rdma_home_has_other(const struct sl_conn *conn);

/* rdma_msg.c: the MSG channel; lock held */
void sl_rdma_push_msgs_locked(struct sl_conn *conn);
void sl_rdma_post_recvs_locked(struct sl_conn *conn, struct sl_op_queue *over);
void sl_rdma_tell_credits_locked(struct sl_conn *conn);
int sl_rdma_take_credit_locked(struct sl_conn *conn, const struct rdma_record *record);
/* One more, OP. */
void sl_rdma_add_recv_locked(struct sl_conn *conn, struct sl_op *op, struct sl_op_queue *over);
/* A piece came for the oldest receive, or (STATUS) could not. */
void sl_rdma_take_piece_locked(struct sl_conn *conn, const struct ibv_wc *wc, int status,
                               struct sl_op_queue *over);
/* The queue pair has none any more: stopped and failed ones go to OVER, the others begin again. */
void sl_rdma_reset_recvs_locked(struct sl_conn *conn, struct sl_op_queue *over);
/* Take OP, which the queue pair does not have, out if it was asked to stop. */
bool sl_rdma_take_recv_locked(struct sl_conn *conn, struct sl_op *op);

/* rdma_poll.c: completions; progress. Returns how many ops ended. */
int sl_rdma_wc(struct sl_dom *dom, const struct ibv_wc *wc);
/* What an error completion means for the op it names; 0: nothing, it is to be posted again. */
int sl_rdma_status(enum ibv_wc_status status);

/* rdma_op.c: from the endpoint and back */
int sl_rdma_submit(struct sl_conn *conn, struct sl_op *op);
/* Can CONN take ops? Lock held. */
int sl_rdma_usable_locked(const struct sl_conn *conn);
void sl_rdma_cancel(struct sl_conn *conn, struct sl_op *op);
static inline bool rdma_is_write(const struct sl_op *op)
{
	return op->code == SL_OP_WRITE || op->code == SL_OP_WRITE_IMM;
}
static inline void rdma_over(struct sl_op_queue *over, struct sl_op *op, int status)
{
	op->priv[RDMA_STATUS] = (uint64_t)(int64_t)status;
	sl_op_push(over, op);
}
/* OP goes to OVER, done. */
static inline void rdma_op_sent(struct sl_op_queue *over, struct sl_op *op)
{
	bool too_long = op->code == SL_OP_SEND && op->priv[RDMA_NOTES] & RDMA_TOO_LONG;

	rdma_over(over, op, too_long ? -EMSGSIZE : 0);
}
/* End all of OVER with the status and bytes that each carries; returns how many. No locks held. */
int sl_rdma_end(struct sl_op_queue *over);
/* Queue pair KIND is empty: what was asked to stop or has failed goes to OVER, or is late. */
void sl_rdma_sift_locked(struct sl_conn *conn, int kind, struct sl_op_queue *over);
/* Take every op out, as no queue pair has any. Each carries STATUS, or that of its stop. */
void sl_rdma_take_all_locked(struct sl_conn *conn, int status, struct sl_op_queue *over);
/* ... and receives for immediates, which are lane 0's. */
void sl_rdma_take_imm_recvs_locked(struct sl_conn *first, int status, struct sl_op_queue *over);
/* Nothing waits any longer, but for immediates: what no queue pair has goes to OVER with STATUS.
 * True: the MSG one has more, which will end with STATUS when it is drained. */
bool sl_rdma_doom_locked(struct sl_conn *conn, int status, struct sl_op_queue *over);
/* The lane is out: reads and writes go to OVER for the endpoint to send over another; writes that
 * were posted to DOUBTFUL, or (NULL) they stay until the peer has told. */
void sl_rdma_take_one_sided_locked(struct sl_conn *conn, struct sl_op_queue *over,
                                   struct sl_op_queue *doubtful);
bool sl_rdma_has_work(struct sl_conn *conn);

/* rdma_state.c: what the ends of a lane tell each other; progress */
void sl_rdma_conn_state(struct sl_dom *dom, const struct rdma_state *state);
/* Tell the peer our state once, with FLAGS (enum rdma_state_flags) ... */
void sl_rdma_tell(struct sl_conn *conn, uint16_t flags);
/* ... and again until both know all, ... */
void sl_rdma_tell_on(struct sl_conn *conn);
/* ... next at WHEN, SL_NEVER: not again. */
void sl_rdma_ask_at(struct sl_conn *conn, int64_t when);
void sl_rdma_ask_again(struct sl_conn *conn, int64_t now);
bool sl_rdma_is_free(const struct rdma_chan *c);
/* Connect channel KIND, which is fresh, to the peer's, which is free. False: CONN failed. */
bool sl_rdma_link(struct sl_conn *conn, int kind);
/* Settle what was in flight on channel KIND by what the peer told by way of another lane. */
void sl_rdma_settle_told(struct sl_conn *conn, int kind);
/* The peer's end of channel KIND is connected to ours. */
void sl_rdma_conn_up(struct sl_conn *conn, int kind);
/* It will not do, for the reason WHY: a refusal before the lane was up, its end after. */
void sl_rdma_lane_fail(struct sl_conn *conn, int rc, const char *why);
/* Nothing of what is late is on the wire any more. */
void sl_rdma_end_late(struct sl_conn *conn);

/* rdma_life.c; progress */
void sl_rdma_conn_todo(struct sl_conn *conn);
void sl_rdma_conn_tick(struct sl_conn *conn, int64_t now);
/* Channel KIND is no good any more: make it anew. STATUS: why, if that is a failure of its own;
 * after some in a row the connection ends with it. */
void sl_rdma_conn_strike(struct sl_conn *conn, int kind, int status);
/* The peer is gone, or we close: everything ends with STATUS. */
void sl_rdma_conn_end(struct sl_conn *conn, int status);
/* The peer says, by way of another lane, that CONN leads nowhere. */
void sl_rdma_conn_leave(struct sl_conn *conn);
/* Its device is gone: it is out for good, or ends with STATUS if there is no lane beside it. */
void sl_rdma_conn_lost(struct sl_conn *conn, int status);
/* Our port went down, or came back. */
void sl_rdma_conn_port(struct sl_conn *conn, int64_t now);
/* Something may be late: see to it that it ends. */
void sl_rdma_await_late(struct sl_conn *conn);
/* Channel KIND got its last completion, or ought to have. */
void sl_rdma_conn_drained(struct sl_conn *conn, int kind);

#endif
