/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_impl.h - the structs of the tcp transport. This directory only.
 *
 * A connection has two halves, a socket each: on the one that we dialled we ask
 * (tcp_ask.c), on the one that the peer dialled we serve (tcp_serve.c). So neither
 * side ever waits for room to answer before it reads an answer, and serving needs
 * no memory that grows with what is asked.
 *
 * Who touches what: "progress" fields belong to the thread that holds the progress
 * lock of the context; "lock" fields are under conn->lock; regions, and what a
 * serving half is about to send or receive, are under dom->reg_lock.
 */
#ifndef SL_TCP_IMPL_H
#define SL_TCP_IMPL_H

#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/lock.h"
#include "transport/imm_queue.h"
#include "transport/op_queue.h"
#include "transport/tcp/tcp_frame.h"
#include "transport/transport.h"

enum {
	TCP_RX_LEN = 4096,       /* what is read ahead of a header */
	TCP_BATCH_IOV = 64,      /* pieces of one sendmsg() */
	TCP_BATCH_BUF = 2048,    /* headers of one sendmsg() */
	TCP_CHUNK = 1 << 20,     /* bytes between two looks at a cancel */
	TCP_SCRATCH = 64 * 1024, /* where unwanted bytes go */
	TCP_GUESTS = 64,         /* sockets that have not said who they are */
	TCP_ADDRS = 6,
	TCP_HOT = 4,
};

/* Who an epoll event is for. First member of its owner's part. */
enum tcp_who { TCP_LISTENER, TCP_KICK, TCP_GUEST, TCP_TRY, TCP_ASKER, TCP_SERVER };

struct tcp_fd {
	enum tcp_who who;
	int fd;          /* -1: closed */
	uint32_t events; /* what epoll watches */
	void *owner;
};

struct tcp_addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* Bytes on their way into a socket: headers of ours and memory of others. */
struct tcp_batch {
	struct iovec v[TCP_BATCH_IOV];
	unsigned at, n;
	unsigned used;
	unsigned fragile; /* not 0: from piece FRAGILE - 1 on memory may not be there */
	uint64_t total;   /* bytes put in since the reset */
	void *zeros;      /* mapped: what goes out for such memory */
	size_t zeros_len;
	uint8_t buf[TCP_BATCH_BUF];
};

/* A place in the bytes that runs of memory make. */
struct tcp_cursor {
	char *addr;
	uint64_t len, count, stride;
	uint64_t run, off;
};

struct tcp_slot {
	_Atomic(struct sl_op *) op; /* NULL: taken back before it was sent */
	_Atomic uint64_t end;       /* position in the stream behind its last byte */
	uint64_t seq;  /* lock: which transfer of the connection it is; UINT64_MAX: not begun */
	uint64_t sunk; /* of a read that was given up: bytes that may still come */
};

struct tcp_credit {
	uint32_t id;
	uint64_t len;
};

struct tcp_lent {
	struct tcp_credit credit;
	uint64_t seq;
};

enum tcp_ask_state { ASK_IDLE, ASK_DIALING, ASK_UP };

/* One of the peer's addresses, that of the same index, while it is dialled: tcp_dial.c. */
struct tcp_try {
	struct tcp_fd fd; /* first: events are for it */
	bool greeted;
	unsigned n;    /* bytes of its answer, in its part of ask.rx.buf */
	int64_t until; /* to be greeted */
};

struct tcp_ask {
	struct tcp_fd fd;

	/* progress */
	enum tcp_ask_state state;
	struct tcp_try tries[TCP_ADDRS];
	unsigned addr, won; /* how many were dialled; which won */
	int dial_rc;        /* how the last of them ended */
	bool taken;         /* the peer has another one, it says */
	int64_t dial_until; /* when to dial the next, or, if TAKEN, to believe that */

	/* lock */
	bool up;
	bool blocked;  /* the socket takes no more, or took enough; EPOLLOUT will tell */
	bool ping_due; /* */
	struct tcp_batch out;
	uint64_t queued;            /* bytes ever put into OUT, but for those in it */
	_Atomic uint64_t gone;      /* bytes ever taken by the socket */
	uint64_t sent;              /* slots whose frames are all in OUT, or gone */
	_Atomic uint64_t tail;      /* slots ever filled */
	uint32_t iov;               /* of the op at SENT: the next to frame */
	struct tcp_cursor cur;      /* ... and where in it */
	bool started;               /* a frame of it was made */
	uint64_t next_seq;          /* of the next op that is begun */
	bool cut;                   /* it was taken back in the middle: end it on the wire */
	bool unended;               /* its bytes are framed, its end is not: they may be missing */
	struct sl_op_queue sends;   /* without a receive of the peer's yet */
	struct sl_op_queue again;   /* sent, but the peer had no receive for them any more */
	bool again_due;             /* tell the peer that they come now */
	_Atomic bool in_vain;       /* AGAIN is not empty */
	_Atomic uint32_t sends_out; /* sends in the ring */
	struct tcp_credit *credit;  /* receives of the peer's, oldest first */
	uint32_t ncredit, credit_head, credit_cap;
	struct tcp_lent *lent; /* see tcp_credit.c */
	uint32_t nlent;
	struct sl_op_queue recvs; /* ours; priv[0] is the id */
	struct sl_op *announce;   /* first of RECVS that the peer does not know */
	uint32_t next_recv;
	uint32_t *unrecv; /* ids to take back */
	uint32_t nunrecv, unrecv_cap;

	struct tcp_slot *slot; /* a ring */
	uint64_t mask;

	/* progress */
	_Atomic uint64_t head; /* slots whose answer is complete */
	unsigned stopping;     /* ops that were asked to stop and whose answer must come first */
	uint64_t sunk;         /* bytes that may still come for reads that were given up */
	struct {
		uint8_t buf[TCP_RX_LEN];
		unsigned at, n;
		uint64_t left; /* of a DATA frame */
		bool last;
		uint64_t moved; /* of the op at HEAD */
		uint32_t iov;
		struct tcp_cursor cur;
	} rx;
};

enum tcp_serve_state {
	SERVE_HEAD,
	SERVE_PIECES,
	SERVE_PIECE,
	SERVE_PAYLOAD,
	SERVE_READ,
	SERVE_END
};

struct tcp_serve {
	struct tcp_fd fd;
	enum tcp_serve_state state;
	struct tcp_head head;
	bool blocked;         /* OUT waits for EPOLLOUT */
	bool dry;             /* the socket gave less than there was room for */
	_Atomic bool stalled; /* an immediate waits for room */
	struct {
		uint8_t buf[TCP_RX_LEN];
		unsigned at, n;
	} rx;
	uint32_t pieces; /* of a READ frame, still to come */
	bool nacking;    /* sends are refused until one comes AGAIN */
	bool open;       /* a message has come, and LATER its end will */
	uint64_t ended;  /* transfers, since the connection was made */
	uint64_t nfailed;
	struct tcp_failure failure[TCP_FAILURES]; /* the last of them, a ring */
	int64_t looked_ns; /* when we last saw that the socket was not reset */
	int status;        /* of the transfer that is being asked for: the first error */
	bool hole;         /* ... which is that memory of ours is not there */
	bool lost;         /* likewise, found by who took a region away. reg_lock */
	bool checked;      /* the memory that the payload goes to is */
	uint64_t bytes;    /* of it */
	uint64_t left;     /* payload bytes, or bytes of a piece to read */
	bool sink;         /* the payload is not wanted */
	uint64_t region;   /* where the payload goes, or the data comes from ... */
	uint8_t key[SL_SECRET_LEN];
	uint64_t piece_off, piece_span;
	struct tcp_cursor cur; /* ... and where in it */
	struct sl_op *recv;    /* lock: the receive that the payload is for */
	struct tcp_batch out;
	uint8_t *data_head; /* the DATA header in OUT that may still grow */
	struct tcp_head data;
	void *aside[TCP_BATCH_IOV]; /* copies of regions that went while OUT waited */
	unsigned naside;
};

struct sl_reg {
	struct sl_dom *dom;
	struct sl_mem mem;
	uint32_t access;
	uint64_t id; /* upper half random, lower half the place in dom->regs */
	uint8_t key[SL_SECRET_LEN];
};

struct sl_rreg {
	uint64_t id;
	uint8_t key[SL_SECRET_LEN];
};

/* A socket that somebody opened to us and that has not said who it is. */
struct tcp_guest {
	struct tcp_fd fd;
	struct tcp_guest *next;
	int64_t until;
	unsigned n;
	uint8_t buf[TCP_HELLO_LEN];
};

struct sl_conn {
	struct sl_dom *dom;
	LIST_ENTRY(sl_conn) entry, same; /* in dom->conns, in a bucket of dom->by_id */
	struct sl_conn *first;           /* lane 0 */
	struct sl_conn *next_todo;
	bool in_todo; /* dom->lock */
	uint32_t lane;
	struct tcp_name me;

	/* progress */
	bool connecting; /* connect() was called */
	struct tcp_name peer;
	struct tcp_addr addr[TCP_ADDRS];
	unsigned naddrs;
	int caller_fd; /* a peer that came before connect(), or -1 */
	struct tcp_name caller;
	int failed; /* refused, with the sentence WHY */
	struct slime_error why;
	char name[96];
	int64_t alive_ns;           /* when the peer last showed life */
	uint64_t reads, reads_seen; /* times that it sent something; until the last tick */
	uint64_t gone_seen;
	bool had_work;   /* at the last tick */
	bool more;       /* read so much at once that others had a turn */
	int64_t stop_by; /* SL_NEVER, or when a transfer that was asked to stop must be over */
	int64_t
	    lost_by; /* SL_NEVER, or until when the peer may dial anew the socket that it reset */
	struct sl_op_queue
	    quiet; /* stopped by a reset; they end when the peer has seen it, or at QUIET_AT */
	int64_t quiet_at;
	bool resuming;  /* we reset our socket and dial it anew */
	bool tore;      /* broken, and all ops ended */
	bool was_ready; /* lock: both halves have been up */

	struct sl_lock lock;
	_Atomic bool closed;          /* lock to set */
	_Atomic bool broken;          /* lock to set */
	struct sl_op_queue imm_recvs; /* lock */
	struct sl_imm_queue imms;     /* lock */
	struct tcp_ask ask;
	struct tcp_serve serve;
};

LIST_HEAD(tcp_conns, sl_conn);
enum { TCP_BUCKETS = 1024 };

struct sl_dom {
	int epfd;
	struct tcp_fd listener, kick;
	struct tcp_addr addr[TCP_ADDRS]; /* where peers find us, best first */
	unsigned naddrs;
	uint64_t host; /* who can reach our loopback addresses has the same */
	int64_t peer_timeout_ns;

	/* progress */
	struct tcp_guest *guests;
	unsigned nguests, ndialling;  /* connections in the making */
	int64_t next_tick, next_call; /* when to look at connections; at those in the making */
	int64_t late_ns;              /* how much too late this look is, if by more than a tick */
	int64_t deaf_until;           /* out of descriptors: do not accept */
	unsigned calls;
	bool slept; /* or was about to, since the last look: it may be later than one thinks */
	struct tcp_fd *hot[TCP_HOT];
	unsigned idle[TCP_HOT];
	char *scratch;

	struct sl_lock lock; /* the lists of connections */
	struct tcp_conns conns;
	struct tcp_conns by_id[TCP_BUCKETS];
	struct sl_conn *todo;
	_Atomic bool work; /* TODO is not empty */
	_Atomic uint32_t nconns;

	struct sl_lock reg_lock;
	struct sl_reg **regs;
	uint32_t nregs, regs_cap;
};

/* tcp_addr.c */
int sl_tcp_list_devices(struct sl_dev_info *out, size_t cap, struct slime_error *err);
/* Fill DOM's addresses and bind its listener to DEVICE (an interface, an address, NULL: all). */
int sl_tcp_listen(struct sl_dom *dom, const char *device, struct slime_error *err);
uint64_t sl_tcp_host_tag(void);
bool sl_tcp_is_loopback(const struct tcp_addr *a);
void sl_tcp_addr_text(const struct tcp_addr *a, char *out, size_t cap);
/* Options of the socket FD, which is connected. */
void sl_tcp_tune(int fd);
int sl_tcp_pack_addrs(const struct sl_dom *dom, const struct sl_conn *conn, struct sl_blob *out);
int sl_tcp_unpack_addrs(struct sl_conn *conn, const struct sl_blob *blob, struct slime_error *err);

/* tcp_batch.c */
static inline bool tcp_batch_empty(const struct tcp_batch *b)
{
	return b->at == b->n;
}
static inline bool tcp_batch_room(const struct tcp_batch *b, unsigned bytes)
{
	return b->n + 2 <= TCP_BATCH_IOV && b->used + bytes <= TCP_BATCH_BUF;
}
void sl_tcp_batch_reset(struct tcp_batch *b);
/* LEN bytes of the batch's own, to be written to; room was asked for. */
uint8_t *sl_tcp_batch_put(struct tcp_batch *b, unsigned len);
void sl_tcp_batch_ref(struct tcp_batch *b, void *addr, size_t len);
/*
 * What follows may not be there when it is sent: -EFAULT says so, and void() then
 * has zeros sent in its place. False: that is not it, or there is no memory for it.
 */
void sl_tcp_batch_doubt(struct tcp_batch *b);
bool sl_tcp_batch_void(struct tcp_batch *b);
/* Bytes taken by the socket (empty afterwards or not), -EAGAIN, or another errno. */
ssize_t sl_tcp_batch_send(struct tcp_batch *b, int fd);

/* Copy to N places. CHECKED: they may not be there; then -1, with errno EFAULT, as from readv(). */
int sl_tcp_scatter(const struct iovec *v, unsigned n, const uint8_t *from, bool checked);

/* Fill V with up to CAP places of at most MAX bytes in all; returns how many bytes. */
size_t sl_tcp_cursor_iov(const struct tcp_cursor *c, uint64_t max, struct iovec *v, unsigned cap,
                         unsigned *n);
void sl_tcp_cursor_skip(struct tcp_cursor *c, uint64_t bytes);

/* tcp_dom.c */
void sl_tcp_watch(struct sl_dom *dom, struct tcp_fd *fd, uint32_t events);
void sl_tcp_unwatch(struct sl_dom *dom, struct tcp_fd *fd);
void sl_tcp_heat(struct sl_dom *dom, struct tcp_fd *fd);
void sl_tcp_tick_by(struct sl_dom *dom, int64_t when_ns);
/* Likewise for connections in the making; and there is one less. */
void sl_tcp_call_by(struct sl_dom *dom, int64_t when_ns);
void sl_tcp_call_over(struct sl_dom *dom);
static inline int64_t tcp_tick_ns(const struct sl_dom *dom)
{
	return dom->peer_timeout_ns / 8;
}
/* Let progress() look at CONN. Any thread. */
void sl_tcp_todo(struct sl_conn *conn);
/* Likewise, to read on: bytes of CONN are in our buffers. progress */
void sl_tcp_go_on(struct sl_conn *conn);
struct sl_conn *sl_tcp_find_locked(struct sl_dom *dom, uint64_t id);
void sl_tcp_free_guest(struct sl_dom *dom, struct tcp_guest *g);

/* tcp_dial.c; progress */
/* The connection that has the addresses of CONN's peer: lane 0 where the peer gave none for it. */
static inline const struct sl_conn *tcp_peer_addrs(const struct sl_conn *conn)
{
	return conn->naddrs ? conn : conn->first;
}
/* Dial the peer, at one address after the other, until one of them answers well. */
void sl_tcp_dial(struct sl_conn *conn);
void sl_tcp_dial_event(struct tcp_fd *fd, uint32_t events);
void sl_tcp_dial_tick(struct sl_conn *conn, int64_t now);
void sl_tcp_stop_dialling(struct sl_conn *conn);
/* CONN will not come up: conn_ready() will say so. */
void sl_tcp_fail(struct sl_conn *conn, int status, const char *what);
void sl_tcp_note_ready_locked(struct sl_conn *conn);

/* tcp_conn.c; progress */
void sl_tcp_answer_guest(struct sl_dom *dom, struct tcp_guest *g);
void sl_tcp_conn_todo(struct sl_conn *conn);
void sl_tcp_conn_tick(struct sl_conn *conn, int64_t now);
/* The peer lets go of what was stopped by a reset: it is over. */
void sl_tcp_end_quiet(struct sl_conn *conn);
/* The serving socket was reset: by a peer that will dial it anew, or that is gone. */
void sl_tcp_lost(struct sl_conn *conn);
/* The peer is gone: end everything with STATUS. */
void sl_tcp_break(struct sl_conn *conn, int status);

/* tcp_ask.c */
int sl_tcp_ask_init(struct sl_conn *conn, uint32_t depth);
void sl_tcp_ask_free(struct sl_conn *conn);
int sl_tcp_submit(struct sl_conn *conn, struct sl_op *op);
void sl_tcp_cancel(struct sl_conn *conn, struct sl_op *op);
/* Send what can be sent; lock held. */
void sl_tcp_ask_push_locked(struct sl_conn *conn);
/* Read answers; progress. Returns how much was done; breaks CONN on errors. */
int sl_tcp_ask_read(struct sl_conn *conn);
/* A receive of the peer's; progress. -EPROTO, -ENOMEM. */
int sl_tcp_ask_credit(struct sl_conn *conn, uint32_t id, uint64_t len);
void sl_tcp_ask_uncredit(struct sl_conn *conn, uint32_t id);
/* Ask everything of ours to end: at once what can, the rest when the peer has let go. Progress. */
void sl_tcp_ask_stop_all(struct sl_conn *conn);
static inline bool tcp_ask_idle(struct sl_conn *conn)
{
	return atomic_load_explicit(&conn->ask.head, memory_order_relaxed) ==
	       atomic_load_explicit(&conn->ask.tail, memory_order_acquire);
}
/*
 * The socket is reset: what was asked to stop goes to OVER, the rest is sent
 * anew once sl_tcp_ask_resume() knows what the peer has ended. Progress.
 */
void sl_tcp_ask_reset(struct sl_conn *conn, struct sl_op_queue *over);
int sl_tcp_ask_resume(struct sl_conn *conn, const struct tcp_answer *answer);
/* Take out everything that is not over. Progress. */
void sl_tcp_ask_take_all(struct sl_conn *conn, struct sl_op_queue *out);

/* tcp_serve.c; progress */
int sl_tcp_serve_read(struct sl_conn *conn);
void sl_tcp_serve_free(struct tcp_serve *s);
/* The peer dials anew: forget the transfer under way, and what it announced. */
void sl_tcp_serve_reset(struct sl_conn *conn);
void sl_tcp_serve_ended(const struct tcp_serve *s, struct tcp_answer *out);
/* A receive is taken back: the payload that comes for it is not wanted. */
void sl_tcp_serve_forget(struct sl_conn *conn, const struct sl_op *recv);
/* REG goes; reg_lock held: nothing may point into it. */
void sl_tcp_serve_unreg_locked(struct sl_conn *conn, const struct sl_reg *reg);
void sl_tcp_serve_pong(struct sl_conn *conn);

#endif
