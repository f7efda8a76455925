/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/shm/shm_impl.h - what the files of this directory share.
 *
 *	shm_dom.c    the domain: progress, sleeping; the table
 *	shm_table.c  its connections, by slot and by id
 *	shm_awake.c  those of them that progress() looks at
 *	shm_door.c   the listening socket, and strangers there
 *	shm_self.c   who we are
 *	shm_peer.c   the processes that connections lead to
 *	shm_hello.c  how two connections meet
 *	shm_conn.c   the rest of their life, and their end
 *	shm_sock.c   messages and memfds over sockets
 *	shm_reg.c    regions, and memory of the peer that is mapped here
 *	shm_live.c   which of our regions exist, for peers to see
 *	shm_life.c   that we live, likewise
 *	shm_copy.c   moving the bytes of an op, by memcpy or CMA
 *	shm_op.c     submit, cancel, immediates, what progress does for a connection
 *	shm_msg.c    messages
 *	shm_mem.c    slime_mem_alloc()
 *	shm_wire.c   bytes from outside
 *
 * Locks: conn->lock, then dom->lock. Neither is held across sl_op_done(), nor
 * while the bytes of an op are copied.
 */
#ifndef SL_SHM_IMPL_H
#define SL_SHM_IMPL_H

#include <linux/futex.h>
#include <sys/types.h>

#include "base/lock.h"
#include "transport/host_ring.h"
#include "transport/imm_queue.h"
#include "transport/op_queue.h"
#include "transport/shm/shm_wire.h"
#include "transport/shm_mem.h"
#include "transport/transport.h"

enum {
	SHM_PIECE = 1 << 20,    /* bytes copied between two looks at whether to stop */
	SHM_TURN = 2 << 20,     /* bytes that progress() copies for one op before it goes on */
	SHM_EAGER = 4096,       /* messages up to so long go by the ring rather than by CMA */
	SHM_STRANGERS = 32,     /* accepted and not known yet */
	SHM_MSG_MAPS = 4,       /* the peer's memory that messages go to, kept mapped */
	SHM_PINGS = 3,          /* in a peer's timeout */
	SHM_AWAKE = 64,         /* connections looked at even if they have no news */
	SHM_LIVE_MAX = 1 << 17, /* words of a domain that peers see: */
	SHM_LIVE_LEN = 8 * SHM_LIVE_MAX,
	SHM_LIFE = 0, /* of its own, the others of regions */
	SHM_REGIONS = SHM_LIVE_MAX - 1,
};

/* Put OP in line for sl_shm_complete() with how it ended. */
void sl_shm_end(struct sl_op_queue *q, struct sl_op *op, int status, uint64_t bytes, uint32_t imm);
/* Report all in Q; returns how many. No locks held. */
int sl_shm_complete(struct sl_op_queue *q);

/* Memory of a peer that is mapped here, shared by all who use it. Guarded by dom->lock. */
struct shm_map {
	struct shm_map *next;
	struct shm_proc proc;
	uint8_t key[SHM_ID_LEN];
	char *base;
	size_t len;
	uint32_t refs;
};

/* A process that connections lead to. Guarded by dom->lock. */
struct shm_peer {
	struct shm_peer *next;
	uint32_t id;
	pid_t pid;
	int pidfd; /* -1: the kernel has none */
	bool ended;
	uint32_t refs;
};

struct sl_reg {
	struct sl_dom *dom;
	char *addr;
	uint64_t len;
	uint32_t access;
	bool checked;           /* as in sl_mem */
	struct sl_shm_mem *mem; /* held; NULL: not of slime_mem_alloc() */
	uint32_t live_slot;
	uint64_t live_number;
};

struct sl_rreg {
	_Atomic(char *) base; /* the region, mapped here; NULL: not (yet) */
	_Atomic int status;   /* not 0: it will not be mapped, and why */
	uint64_t addr, len;   /* in the peer */
	uint32_t access;
	const _Atomic uint64_t
	    *live; /* in the peer's domain; LIVE_NUMBER while the region exists */
	uint64_t live_number;
	struct shm_map *live_map; /* counted: LIVE is in there */
	struct sl_conn *conn;     /* counted */

	/* Guarded by conn->lock. */
	bool waiting;
	struct sl_rreg *next; /* in conn->wants */
	struct shm_map *map;
	uint64_t off;
	uint8_t key[SHM_ID_LEN];
};

/*
 *	state      event                    does                next
 *	---------------------------------------------------------------------
 *	NEW        hello                    keeps it            PARKED
 *	NEW        connect, lower id        dials, HELLO        DIALLED
 *	NEW        connect, higher id       dials, KNOCK        WAITING
 *	PARKED     connect                  checks, ACCEPT      ACCEPTED
 *	PARKED     hang-up                                      NEW
 *	WAITING    hello                    checks, ACCEPT      ACCEPTED
 *	DIALLED    accept                   checks, COMMIT      COMMITTED
 *	ACCEPTED   commit                   CONFIRM             OPEN
 *	COMMITTED  confirm                                      OPEN
 *	any of these: a check fails         REFUSE              REFUSED
 *	any of these: refuse, hang-up, close                    REFUSED
 *
 * Dialling may have to be tried again (REDIAL) when the peer's backlog is full.
 */
enum shm_state {
	SHM_NEW,
	SHM_PARKED,
	SHM_WAITING,
	SHM_DIALLED,
	SHM_ACCEPTED,
	SHM_COMMITTED,
	SHM_OPEN,
	SHM_REFUSED,
};

/* Bits of conn->gate. */
enum {
	SHM_GATE_SHUT = 1 << 0,    /* not open yet, closed, or the peer is gone */
	SHM_GATE_PENDING = 1 << 1, /* earlier one-sided ops wait: queue behind them */
};

struct sl_conn {
	_Atomic uint32_t gate;        /* 0: one-sided ops may run at once. Set with LOCK held */
	pid_t cma_pid;                /* 0: no CMA. Constant once OPEN */
	const _Atomic uint32_t *life; /* in LIVE. Likewise */
	_Atomic int halt;             /* not 0: all ops end, with this. Set with LOCK held */
	_Atomic int state;            /* enum shm_state. Set with LOCK held */
	_Atomic bool busy; /* progress() must look even if the ring has no news. Likewise */
	_Atomic uint32_t refs;
	struct sl_dom *dom;
	uint32_t slot, gen;          /* in dom->slots */
	struct sl_conn *same_bucket; /* in dom->by_id. Guarded by dom->lock */
	uint8_t id[SHM_ID_LEN], secret[SHM_ID_LEN], nonce[SHM_ID_LEN];

	/* in dom->redialling. Guarded by dom->lock */
	struct sl_conn *redial_next, **redial_at;

	/* Of who wakes it, until it is in dom->woken; then of who holds the progress lock. */
	struct sl_conn *woken_next;
	struct sl_conn *awake_prev, *awake_next; /* in dom->awake */
	int64_t news_ns;                         /* coarse time of its last news */

	/* Guards all below. */
	struct sl_lock lock;
	bool awake;   /* in dom->awake, or on the way there; else it has asked for a bell */
	int knock_fd; /* the peer waits here for us to dial; -1: it does not */
	bool redial;
	bool closed; /* by us */
	bool gone;   /* the peer, or it talks nonsense: nothing of it can be waited for */
	bool shut;   /* the socket is, and is out of the epoll set */
	int fd;      /* control socket; -1: none */
	pid_t cred_pid;
	struct shm_card card; /* the peer's */
	struct shm_msg hello; /* PARKED */
	int parked_fds[2];    /* PARKED */
	struct slime_error refusal;
	struct shm_peer *peer;
	struct sl_ring ring;
	struct shm_map *live; /* the peer's regions */

	struct sl_rreg *wants; /* regions whose memory is to be mapped */
	struct shm_map *msg_map[SHM_MSG_MAPS];
	uint8_t ask_key[SHM_ID_LEN]; /* while ASKING the peer for it */
	uint8_t msg_key[SHM_ID_LEN]; /* while MSG_WANTED */
	uint32_t next_msg_map;
	int unmapped; /* not 0: a region could not be mapped, and why; for the log */
	bool asking, msg_wanted, msg_unmappable;

	bool moving, sending;       /* somebody copies for the head of PENDING, of SENDS */
	bool revoking;              /* some of POSTED are to end */
	bool dst_cma;               /* see DST */
	bool pinging;               /* PING_NS and HEARD_NS count */
	struct sl_op_queue pending; /* one-sided, waiting for memory to be mapped */
	struct sl_op_queue sends;
	struct sl_ring_buf dst;   /* the claimed receive, and how it is reached: */
	struct shm_map *dst_map;  /* mapped, one of MSG_MAP; else by CMA, or by the ring's stream */
	uint64_t sent;            /* how much of it is done */
	struct sl_op_queue recvs; /* not announced yet */
	struct sl_op *posted[SL_RING_POSTS];
	uint32_t n_posted;
	struct sl_op_queue imm_sends; /* write_imm whose note has no room */
	struct sl_op_queue imm_recvs;
	struct sl_op_queue ended; /* by cancel(), for progress() to report */
	struct sl_imm_queue imms; /* that nobody asked for yet */
	int64_t ping_ns, heard_ns;
};

/* See shm_life.c. */
struct shm_life {
	struct robust_list_head list;
	struct robust_list entry; /* its only one: the word of the domain */
	struct robust_list_head *before;
	pid_t tid; /* the thread; 0: none */
};

struct shm_stranger {
	int fd; /* -1: free */
	uint32_t gen;
	pid_t pid;
	int64_t until_ns;
};

/* Connections by slot; NULL: free. Set with dom->lock held. */
struct shm_slots {
	struct shm_slots *outgrown; /* kept, for progress() may be reading it */
	uint32_t n;                 /* a power of two */
	_Atomic(struct sl_conn *) conn[];
};

struct sl_dom {
	bool no_cma;
	int64_t peer_timeout_ns;
	struct shm_card card; /* what every connection's card says, but id and secret */
	int epfd, listener, kick;
	int live_fd;
	_Atomic uint64_t *live; /* SHM_LIVE_MAX: the numbers of our regions. Set with LOCK held */
	struct shm_life life;
	_Atomic uint32_t n_conns;
	_Atomic uint32_t unsettled;      /* connections in the making, memory asked for */
	_Atomic uint32_t redials;        /* connections that have to dial again */
	_Atomic(struct sl_conn *) woken; /* to be put into AWAKE, the newest first */
	_Atomic bool armed;
	_Atomic bool work; /* a connection is busy that progress() may not know of */

	/* Guards the next group. */
	struct sl_lock lock;
	_Atomic(struct shm_slots *) slots; /* read by who holds the progress lock, too */
	struct sl_conn **by_id;            /* as many buckets as slots */
	uint32_t free_slot;                /* all below are taken */
	uint32_t next_gen;
	struct sl_conn *redialling, **redialling_end; /* the oldest first */
	struct shm_map *maps;
	struct shm_peer *peers;
	uint32_t live_next;
	uint64_t live_number;

	/* Of the thread that holds the progress lock. */
	struct sl_conn *awake; /* in a ring; whose turn it is. NULL: none */
	uint32_t n_awake;
	uint32_t calls;
	int64_t trimmed_ns; /* coarse time of the last look for who may fall asleep */
	int64_t looked_ns;  /* coarse time of the last look at the sockets */
	bool ticking;       /* there was a connection */
	int64_t tick_ns;    /* when to look at the clock */
	int64_t redial_ns;  /* likewise, if there are REDIALS */
	struct shm_stranger strangers[SHM_STRANGERS];
	uint32_t next_stranger;
};

/* What an event of the domain's epoll set is about. */
enum shm_source { SHM_SRC_LISTENER, SHM_SRC_KICK, SHM_SRC_STRANGER, SHM_SRC_CONN, SHM_SRC_PEER };

/* shm_dom.c */
/* Have events of FD reported as from SRC; 0 or a negative errno. */
int sl_shm_watch(struct sl_dom *dom, int fd, enum shm_source src, uint32_t gen, uint32_t index);
/* Work for progress() came up in another thread; wakes it if it sleeps. */
void sl_shm_kick(struct sl_dom *dom);

/* shm_table.c */
/* Give CONN a place among the domain's connections, for progress() and hellos to find; or take it.
 */
int sl_shm_conn_enter(struct sl_conn *conn);
void sl_shm_conn_leave(struct sl_conn *conn);
/* The connection with ID and SECRET, counted for the caller; NULL: there is none. */
struct sl_conn *sl_shm_conn_find(struct sl_dom *dom, const uint8_t id[SHM_ID_LEN],
                                 const uint8_t secret[SHM_ID_LEN]);
/* For who holds the progress lock. The connection that an event is about; NULL: it left. */
struct sl_conn *sl_shm_conn_at(struct sl_dom *dom, uint32_t gen, uint32_t slot);
/* Likewise, the next one from *SLOT on, which is advanced; NULL: no more. */
struct sl_conn *sl_shm_conn_next(struct sl_dom *dom, uint32_t *slot);
void sl_shm_conn_ref(struct sl_conn *conn);
void sl_shm_conn_unref(struct sl_conn *conn);
void sl_shm_table_free(struct sl_dom *dom);

/* shm_awake.c */
/* Let progress() look at CONN, which has or will have something to do. */
void sl_shm_wake_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock);
/* The rest is for who holds the progress lock. CONN is about to go: look at it no more. */
void sl_shm_wake_forget(struct sl_conn *conn);
/* Poll those with news until BUDGET is spent; returns how much was done. */
int sl_shm_serve(struct sl_dom *dom, unsigned budget);
/* Before sleep: ask for bells, and tell whether there is work after all. */
bool sl_shm_arm(struct sl_dom *dom);
/* Of many, let those without news for a while fall asleep. */
void sl_shm_trim(struct sl_dom *dom);

/* shm_self.c */
/* Fill in dom->card. -ENODEV: this process cannot tell. */
int sl_shm_make_card(struct sl_dom *dom, struct slime_error *err);

/* shm_door.c */
int sl_shm_open_door(struct sl_dom *dom, struct slime_error *err);
void sl_shm_close_door(struct sl_dom *dom);
void sl_shm_accept_strangers(struct sl_dom *dom);
void sl_shm_stranger_event(struct sl_dom *dom, struct shm_stranger *s);
/* Send away who has not said who he is; lowers *NEXT_NS to when the next one must go. */
void sl_shm_expire_strangers(struct sl_dom *dom, int64_t now_ns, int64_t *next_ns);

/* shm_peer.c */
/* The process PID, watched for its end; NULL: no memory. */
struct shm_peer *sl_shm_peer_get(struct sl_dom *dom, pid_t pid);
void sl_shm_peer_put(struct sl_dom *dom, struct shm_peer *peer);
/* It has ended: so have its connections, even if a child of it holds their sockets. */
void sl_shm_peer_ended(struct sl_dom *dom, uint32_t id);

/* shm_sock.c */
/* Send MSG with those of FDS that are not -1; NULL: none. 0 or a negative errno. */
int sl_shm_say(int fd, const struct shm_msg *msg, const int fds[2]);
/* Take a message: 1, 0: nothing there, negative errno. FDS are the caller's to close, or -1. */
int sl_shm_hear(int fd, struct shm_msg *out, int fds[2]);
void sl_shm_close_fds(int fds[2]);
/* SO_PEERCRED: may this user talk to us? */
int sl_shm_check_user(int fd, pid_t *out_pid, struct slime_error *err);
enum { SHM_DOOR_CHARS = 64 };
/* Write the name of the socket DOOR, not a string, into PATH of SHM_DOOR_CHARS; how many. */
size_t sl_shm_door_name(const uint8_t door[SHM_ID_LEN], char *path);
/* A socket to the door of CARD. -EAGAIN: its backlog is full, try later. */
int sl_shm_dial(const struct shm_card *card, pid_t *out_pid, struct slime_error *err);

/* shm_hello.c */
int sl_shm_connect(struct sl_conn *conn, const struct sl_blob *peer, struct slime_error *err);
/* A stranger on FD said MSG with FDS. Takes them all if it returns true. */
bool sl_shm_greet(struct sl_dom *dom, int fd, pid_t pid, const struct shm_msg *msg, int fds[2]);
/* The control socket brought MSG, or ended with RC, before the connection is open. */
int sl_shm_shake_locked(struct sl_conn *conn, const struct shm_msg *msg, int fd)
    SL_REQUIRES(conn->lock);
void sl_shm_lost_locked(struct sl_conn *conn, int rc) SL_REQUIRES(conn->lock);
/* This connection will not be, for the reason WHY; the peer is told if TELL. Returns the code. */
int sl_shm_refuse_locked(struct sl_conn *conn, const struct slime_error *why, const char *tell)
    SL_REQUIRES(conn->lock);
/* Try those again that could not dial; for who holds the progress lock. */
void sl_shm_redial(struct sl_dom *dom);

/* shm_conn.c */
int sl_shm_conn_create(struct sl_dom *dom, const struct sl_conn_opts *opts, struct sl_conn **out,
                       struct slime_error *err);
int sl_shm_conn_pack(const struct sl_conn *conn, struct sl_blob *out, struct slime_error *err);
int sl_shm_conn_ready(struct sl_conn *conn, struct slime_error *err);
void sl_shm_conn_close(struct sl_conn *conn);
void sl_shm_conn_destroy(struct sl_conn *conn);
void sl_shm_conn_name(struct sl_conn *conn, char *out, size_t cap);
/* The control socket has something. */
void sl_shm_conn_event(struct sl_conn *conn);
/* The peer is gone (or bad): everything in flight ends with STATUS. */
void sl_shm_fail_locked(struct sl_conn *conn, int status) SL_REQUIRES(conn->lock);
/* Tell the peer that we are, and hear no more of it; and close the socket, too. */
void sl_shm_shut_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock);
void sl_shm_hang_up_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock);
/* Ring the peer's bell if it sleeps and waits for BITS. */
void sl_shm_ring_locked(struct sl_conn *conn, uint32_t bits) SL_REQUIRES(conn->lock);

/* shm_reg.c */
int sl_shm_reg(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access, struct sl_reg **out,
               struct slime_error *err);
void sl_shm_unreg(struct sl_reg *reg);
int sl_shm_reg_pack(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err);
int sl_shm_rreg_unpack(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
                       struct slime_error *err);
void sl_shm_rreg_free(struct sl_rreg *rreg);
/* The peer asks for, or gives, a memfd (FD stays the caller's). 0 or -EPROTO, -ECONNRESET. */
int sl_shm_asked_locked(struct sl_conn *conn, const struct shm_msg *msg) SL_REQUIRES(conn->lock);
int sl_shm_given_locked(struct sl_conn *conn, const struct shm_msg *msg, int fd)
    SL_REQUIRES(conn->lock);
/* The peer's memory KEY for messages, if mapped; else asks for it once. */
struct shm_map *sl_shm_msg_map_locked(struct sl_conn *conn, const uint8_t key[SHM_ID_LEN])
    SL_REQUIRES(conn->lock);
/* What the peer's memfd FD with KEY maps, made unless it is there already, counted. */
int sl_shm_map_get(struct sl_conn *conn, const uint8_t key[SHM_ID_LEN], int fd, int prot,
                   struct shm_map **out);
void sl_shm_map_hold(struct sl_dom *dom, struct shm_map *map);
void sl_shm_map_put(struct sl_dom *dom, struct shm_map *map);

/* shm_live.c */
int sl_shm_live_open(struct sl_dom *dom, struct slime_error *err);
void sl_shm_live_close(struct sl_dom *dom);
/* A region is there, or no more. -ENOSPC: there are too many. */
int sl_shm_live_add(struct sl_dom *dom, uint32_t *out_slot, uint64_t *out_number);
void sl_shm_live_remove(struct sl_dom *dom, uint32_t slot);

/* shm_life.c */
/* By the thread that lives as long as DOM: from now on peers see when it has died. */
void sl_shm_keep(struct sl_dom *dom);
/* DOM is about to go, by that thread or after its end. */
void sl_shm_unkeep(struct sl_dom *dom);
/* Was the peer still there when what CONN's thread has read or written so far was done? */
static inline bool sl_shm_peer_lived(const struct sl_conn *conn)
{
	atomic_thread_fence(memory_order_acquire);
	return !(atomic_load_explicit(conn->life, memory_order_relaxed) & FUTEX_OWNER_DIED);
}

/* shm_copy.c */
/* Move all of OP at once, if it is simple and goes well. */
bool sl_shm_move_simple(const struct sl_conn *conn, const struct sl_op *op);
/* Prepare, then move what is left: 0: all done, 1: BUDGET is spent, negative: its end. */
void sl_shm_move_start(struct sl_op *op);
int sl_shm_move(struct sl_conn *conn, struct sl_op *op, uint64_t budget);
uint64_t sl_shm_moved(const struct sl_op *op);
/* Is every region of OP reachable, or known not to become so? */
bool sl_shm_movable(const struct sl_conn *conn, const struct sl_op *op);
/* LEN bytes to or from ADDR in process PID. How many; negative: none, and why. */
int64_t sl_shm_cma(pid_t pid, bool read, char *mine, uint64_t addr, uint64_t len);

/* shm_op.c */
int sl_shm_submit(struct sl_conn *conn, struct sl_op *op);
void sl_shm_cancel(struct sl_conn *conn, struct sl_op *op);
/* Whatever can be done for CONN now; returns how much was. */
int sl_shm_poll(struct sl_conn *conn);
/* After the bells were asked for: is there something that progress() would do? */
bool sl_shm_has_work_locked(const struct sl_conn *conn) SL_REQUIRES(conn->lock);
/* Ping when ops wait for the peer; lowers *NEXT_NS to when to call again. */
void sl_shm_tick(struct sl_conn *conn, int64_t now_ns, int64_t *next_ns);
/* Note what progress() needs to know; after each change, before the lock is dropped. */
void sl_shm_settle_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock);

/* An op waits for room in the ring: have the peer's making of it wake us. */
void sl_shm_await_room_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock);

/* shm_msg.c */
/* Queue a send (pump it then), or announce a receive. */
void sl_shm_message_locked(struct sl_conn *conn, struct sl_op *op) SL_REQUIRES(conn->lock);
/* OP, if it is one of ours, is to end with STOP. */
void sl_shm_unmessage_locked(struct sl_conn *conn, struct sl_op *op, int stop)
    SL_REQUIRES(conn->lock);
/*
 * Send what can be sent, about BUDGET bytes. Ended ops go to DONE, which is
 * reported on the way when a copy takes long. No more than once per op is the
 * lock let go meanwhile.
 */
void sl_shm_pump_sends_locked(struct sl_conn *conn, uint64_t budget, struct sl_op_queue *done)
    SL_REQUIRES(conn->lock);
/* Receives that the peer has filled; announce more. 0 or -EPROTO. */
int sl_shm_take_fills_locked(struct sl_conn *conn, struct sl_op_queue *done)
    SL_REQUIRES(conn->lock);
void sl_shm_post_recvs_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock);
/* Take back announced receives that are to end: all of them, or those that were stopped. */
void sl_shm_revoke_locked(struct sl_conn *conn, struct sl_op_queue *done) SL_REQUIRES(conn->lock);

#endif
