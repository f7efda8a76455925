/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fake_verbs_impl.h - what the files of fake_verbs share.
 *
 * fabric.lock guards everything here. It is a rwlock that is only ever write-locked,
 * since the torture tests count the library's mutexes, to which those of a driver
 * do not belong. Functions that expect it held end in _locked.
 */
#ifndef FAKE_VERBS_IMPL_H
#define FAKE_VERBS_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/queue.h>

#include "fakes/fake_verbs.h"

enum { FAKE_SGE_MAX = 32 };

/* Numbers (QPNs, keys) to objects. */
struct fake_table {
	void **slot;
	uint8_t *generation;
	unsigned cap, used, next;
};

/* Something that has asynchronous events: a bit of PENDING for each type. */
struct fake_source {
	TAILQ_ENTRY(fake_source) link;
	struct ibv_async_event event; /* as get_async_event() gives it, but for the type */
	uint32_t pending;
	unsigned unacked; /* taken by get_async_event() */
};
TAILQ_HEAD(fake_sources, fake_source);

/* A datagram on its way. */
struct fake_packet {
	struct ibv_ah_attr to;
	uint32_t to_qpn, from_qpn, qkey, imm;
	uint16_t slid;
	bool has_imm, solicited;
	uint64_t len;
	uint8_t header[40];
	char data[4096];
};

struct fake_device {
	struct ibv_device ibv;
	struct fake_device_config config;
	unsigned index;
	struct fake_table qps, mrs;
	bool held, cut, removed;
	unsigned may_go;     /* requests, while held */
	uint64_t next_order; /* of QPs */
	bool has_late;
	struct fake_packet late; /* the next one overtakes it */
};

struct fake_port {
	struct fake_source source;
};

struct fake_ctx {
	struct ibv_context ibv;
	struct fake_device *dev;
	TAILQ_ENTRY(fake_ctx) link;
	unsigned children;
	bool dead; /* its device was removed */
	struct fake_sources events;
	struct fake_port ports[FAKE_PORTS_MAX];
};
TAILQ_HEAD(fake_ctxs, fake_ctx);

struct fake_pd {
	struct ibv_pd ibv;
	unsigned children;
};

/* Byte A of it, as a work request says it, is at mem + (A - iova). */
struct fake_mr {
	struct ibv_mr ibv;
	uint64_t iova;
	char *mem;
	int access;
	unsigned slot;
	bool mapped; /* from a dma-buf */
};

struct fake_ah {
	struct ibv_ah ibv;
	struct ibv_ah_attr attr;
};

struct fake_qp;
struct fake_srq;

struct fake_cqe {
	struct ibv_wc wc;
	struct fake_qp *qp;   /* whose it is; NULL: destroyed since */
	struct fake_srq *srq; /* where its slot belongs, if not to the QP */
	uint64_t sq_end;      /* a send: all before it */
	bool recv;
};

struct fake_channel {
	struct ibv_comp_channel ibv;
	TAILQ_HEAD(, fake_cq) waiting; /* with events to deliver */
};

struct fake_cq {
	struct ibv_cq ibv;
	struct fake_source source;
	TAILQ_ENTRY(fake_cq) link;
	struct fake_cqe *ring;
	unsigned cap, head;
	_Atomic unsigned n;
	enum { DISARMED, ARMED, ARMED_SOLICITED } armed;
	unsigned undelivered, unacked;
	unsigned children;
	bool dead;
};

struct fake_recv {
	uint64_t wr_id;
	unsigned num_sge;
	struct ibv_sge *sge;
};

/* A receive queue, of a QP or shared: [head, tail) are free to take, [freed, tail) use a slot. */
struct fake_rq {
	struct fake_recv *ring;
	struct ibv_sge *sges;
	unsigned cap, max_sge;
	uint64_t head, tail, freed;
};

struct fake_srq {
	struct ibv_srq ibv;
	struct fake_source source;
	struct fake_rq rq;
	unsigned limit, children;
};

/* A request in the send queue; inline data or sge follow in its slot. */
struct fake_send {
	uint64_t wr_id, remote_addr, len;
	uint32_t rkey, imm;
	enum ibv_wr_opcode opcode;
	unsigned flags, num_sge;
	struct ibv_ah_attr to; /* datagrams */
	uint32_t to_qpn, qkey;
	struct ibv_sge *sge;
	char *inlined;
};

struct fake_sq {
	struct fake_send *ring;
	struct ibv_sge *sges;
	char *inlined;
	unsigned cap;
	uint64_t done, tail, freed; /* done: completed by the wire; freed: and taken by poll */
	uint64_t bytes;             /* of request DONE that are over */
	bool looked;                /* at request DONE, for faults and holds */
	bool begun;                 /* a message that has its receive */
	enum ibv_wc_status fault;   /* ordered for request DONE */
	bool fault_late;
	bool strays; /* request DONE: its bytes are on their way, or will be */
};

enum fake_place { NOWHERE, READY, WAITING };

struct fake_qp {
	struct ibv_qp ibv;
	struct fake_device *dev;
	struct fake_source source;
	struct ibv_qp_attr attr;
	struct ibv_qp_cap cap;
	bool sig_all, established, last_told;
	unsigned slot;
	uint64_t order;
	struct fake_sq sq;
	struct fake_rq rq;
	/* the receive that is being filled */
	bool receiving;
	struct fake_recv rx;
	struct ibv_sge rx_sge[FAKE_SGE_MAX];
	/* the wire's queues */
	TAILQ_ENTRY(fake_qp) link;
	enum fake_place place;
	int64_t wait_until; /* 0: for an event only */
	bool unanswered, rnr;
};
TAILQ_HEAD(fake_qps, fake_qp);

/* Bytes of a write that have left their QP and not arrived. */
struct fake_stray {
	TAILQ_ENTRY(fake_stray) link;
	struct fake_device *dev; /* where they go */
	uint32_t to_qpn, from_qpn, psn, rkey;
	uint64_t addr, len;
	char data[];
};

struct fake_fabric {
	pthread_rwlock_t lock;
	struct fake_verbs_config config;
	struct fake_device devices[FAKE_DEVICES_MAX];
	struct fake_ctxs ctxs;
	struct fake_qps ready, waiting;
	TAILQ_HEAD(, fake_stray) strays;
};
extern struct fake_fabric fabric;

/* Every slot begins and ends so; unlock() lets the wire know that there may be work. */
void fake_lock(void);
void fake_unlock(void);

/* fake_verbs_fabric.c, fake_verbs_wire.c: counts, tables, the wire's thread. */
void fake_bump(enum fake_count what, int64_t by);
int fake_table_add(struct fake_table *t, void *object, unsigned cap_max, unsigned *slot);
void fake_table_remove(struct fake_table *t, unsigned slot);
void fake_table_free(struct fake_table *t);
int64_t fake_now_ns(void);
/* A context was opened, the last one was closed: start and end the wire. Lock not held. */
int fake_wire_begin(void);
void fake_wire_end(void);
/* QP may have work. */
void fake_wire_ready_locked(struct fake_qp *qp);
/* What others waited for may have come. */
void fake_wire_kick_locked(void);
void fake_wire_leave_locked(struct fake_qp *qp);
/* In the caller's thread, where there is no wire. */
void fake_wire_run_locked(void);

/* fake_verbs_fault.c: 0, or the error that was ordered for this call; DEV gone: EIO. */
int fake_fault_call_locked(const struct fake_ctx *ctx, const char *call);
/* Is there any? Without the lock. */
bool fake_fault_ordered(void);
/* Sets the fault of the request that QP begins, if one was ordered. */
void fake_fault_work_locked(struct fake_qp *qp);
bool fake_fault_duplicate_locked(const struct fake_qp *qp);
/* -1: none, else an enum fake_datagram_fault. */
int fake_fault_datagram_locked(const struct fake_device *dev);
void fake_fault_reset_locked(void);

/* fake_verbs_stray.c: LEN bytes of DATA leave QP for PEER, where WR wants them. */
void fake_stray_locked(const struct fake_qp *qp, const struct fake_qp *peer,
                       const struct fake_send *wr, const char *data, uint64_t len);
void fake_stray_reset_locked(void);

/* fake_verbs_event.c */
void fake_raise_locked(struct fake_ctx *ctx, struct fake_source *source, enum ibv_event_type type);
/* SOURCE is to be destroyed: its events go, and those that were taken must be acknowledged. */
void fake_source_end_locked(struct fake_ctx *ctx, struct fake_source *source, const char *what);
/* Lets go of the lock until *UNACKED is 0; aborts with a sentence when nobody acknowledges. */
void fake_wait_acked_locked(const unsigned *unacked, const char *what);
/* FD becomes readable; it is made unreadable; wait until it is, as its O_NONBLOCK says. */
void fake_fd_set(int fd);
void fake_fd_clear(int fd);
int fake_fd_wait(int fd);

/* fake_verbs_mr.c: LEN bytes at ADDR, or NULL where KEY of PD does not allow ACCESS to them. */
char *fake_mr_local_locked(struct ibv_pd *pd, const struct ibv_sge *sge, uint64_t off, uint64_t len,
                           int access);
char *fake_mr_remote_locked(struct ibv_pd *pd, uint32_t rkey, uint64_t addr, uint64_t len,
                            int access);

/* fake_verbs_cq.c */
/* Put CQE into CQ; without room it overruns, and CQE is lost. */
void fake_cq_add_locked(struct fake_cq *cq, const struct fake_cqe *cqe, bool solicited);
void fake_cq_overrun_locked(struct fake_cq *cq, struct fake_qp *qp);
/* QP will be gone: its completions no longer name it, or go. */
void fake_cq_forget_locked(struct fake_cq *cq, const struct fake_qp *qp);

/* fake_verbs_srq.c */
int fake_rq_init(struct fake_rq *rq, unsigned cap, unsigned max_sge);
void fake_rq_free(struct fake_rq *rq);
int fake_rq_post_locked(struct fake_rq *rq, const struct ibv_recv_wr *wr);
/* Take the oldest into QP->rx; false: there is none. */
bool fake_rq_take_locked(struct fake_qp *qp);

/* fake_verbs_qp.c, fake_verbs_state.c */
/* What a work request's address points to. */
static inline void *fake_pointer(uint64_t addr)
{
	return (void *)(uintptr_t)addr; /* NOLINT(performance-no-int-to-ptr) */
}
void fake_qp_error_locked(struct fake_qp *qp);
struct fake_qp *fake_qp_find_locked(struct fake_device *dev, uint32_t num);

/* fake_verbs_route.c: where a path leads to, if a packet would arrive. */
/* 0, or what modify_qp() and create_ah() say of it. */
int fake_route_check_locked(const struct fake_device *dev, const struct ibv_ah_attr *path);
struct fake_device *fake_route_locked(const struct fake_device *dev, const struct ibv_ah_attr *path,
                                      uint8_t *port);

/* fake_verbs_carry.c and _datagram.c: move QP's work on. */
enum fake_step { STEP_IDLE, STEP_MOVED, STEP_WAIT };
enum fake_step fake_carry_locked(struct fake_qp *qp);
enum fake_step fake_carry_datagram_locked(struct fake_qp *qp, struct fake_send *wr);
/* QP's first request is over. */
void fake_carry_done_locked(struct fake_qp *qp, enum ibv_wc_status status);
/* It failed: the next turn flushes the others. */
void fake_carry_fail_locked(struct fake_qp *qp, enum ibv_wc_status status);
/* QP->rx is over. BYTE_LEN, FLAGS, ...: what WC says beyond that. */
void fake_recv_done_locked(struct fake_qp *qp, const struct ibv_wc *wc, bool solicited);
/* COPY up to MAX bytes from offset OFF of a request into or from MEM; returns how many, 0: fault.
 */
uint64_t fake_sges_copy_locked(struct ibv_pd *pd, const struct ibv_sge *sge, unsigned n,
                               uint64_t off, char *mem, uint64_t max, bool into);
uint64_t fake_sges_len(const struct ibv_sge *sge, unsigned n);

/* The slots, for the table in fake_verbs_fabric.c. */
struct ibv_device **fake_get_device_list(int *n);
void fake_free_device_list(struct ibv_device **list);
const char *fake_get_device_name(struct ibv_device *device);
struct ibv_context *fake_open_device(struct ibv_device *device);
int fake_close_device(struct ibv_context *ctx);
int fake_query_device(struct ibv_context *ctx, struct ibv_device_attr_ex *attr);
int fake_query_port(struct ibv_context *ctx, uint8_t port, struct ibv_port_attr *attr);
ssize_t fake_query_gids(struct ibv_context *ctx, struct ibv_gid_entry *out, size_t cap);
struct ibv_pd *fake_alloc_pd(struct ibv_context *ctx);
int fake_dealloc_pd(struct ibv_pd *pd);
struct ibv_mr *fake_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access);
struct ibv_mr *fake_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t off, size_t len, uint64_t iova,
                                  int fd, int access);
int fake_dereg_mr(struct ibv_mr *mr);
struct ibv_comp_channel *fake_create_comp_channel(struct ibv_context *ctx);
int fake_destroy_comp_channel(struct ibv_comp_channel *channel);
struct ibv_cq *fake_create_cq(struct ibv_context *ctx, int cqe, void *cq_context,
                              struct ibv_comp_channel *channel, int vector);
int fake_resize_cq(struct ibv_cq *cq, int cqe);
int fake_destroy_cq(struct ibv_cq *cq);
int fake_req_notify_cq(struct ibv_cq *cq, int solicited_only);
int fake_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context);
void fake_ack_cq_events(struct ibv_cq *cq, unsigned n);
int fake_poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *wc);
struct ibv_srq *fake_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr);
int fake_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask);
int fake_destroy_srq(struct ibv_srq *srq);
int fake_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
struct ibv_qp *fake_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
int fake_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask);
int fake_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
                  struct ibv_qp_init_attr *init);
int fake_destroy_qp(struct ibv_qp *qp);
struct ibv_ah *fake_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr);
int fake_destroy_ah(struct ibv_ah *ah);
int fake_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
int fake_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
int fake_get_async_event(struct ibv_context *ctx, struct ibv_async_event *event);
void fake_ack_async_event(struct ibv_async_event *event);
const char *fake_wc_status_str(enum ibv_wc_status status);

#endif
