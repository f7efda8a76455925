/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_ask.h - what the files of the asking half share.
 *
 * Ops stand in a ring in the order in which they go out, which is the order in
 * which they are answered:
 *
 *	head              sent              tail
 *	 │ wait for answers │ wait for room  │
 *
 * tcp_ask.c fills and clears it, tcp_out.c frames and sends under the connection's
 * lock, tcp_in.c reads the answers without it, tcp_anew.c goes on after a reset, and
 * tcp_credit.c keeps what sends may go to.
 */
#ifndef SL_TCP_ASK_H
#define SL_TCP_ASK_H

#include "transport/tcp/tcp_impl.h"

/* Bits of an op's priv[3]. */
enum {
	TCP_STOPPING = 1, /* it was asked to stop, and ends when the peer has let go of it */
	TCP_HOLE = 2,     /* its memory is not there */
};

/* Stands in the slot of a read that is over for its submitter, but not on the wire. */
extern struct sl_op sl_tcp_sunk_op;

static inline struct tcp_slot *tcp_slot_at(struct tcp_ask *a, uint64_t i)
{
	return &a->slot[i & a->mask];
}

/* More than this for reads that were given up, and a new socket is there sooner than they are. */
enum { TCP_SUNK_MAX = 4 << 20 };

/* Has the peer let go of all that was asked to stop, or nearly? Progress. */
static inline bool tcp_ask_let_go(const struct tcp_ask *a)
{
	return !a->stopping && a->sunk <= TCP_SUNK_MAX;
}

/* The read in SLOT, of which LEFT bytes may still come, is over for its submitter. Lock held. */
void sl_tcp_sink_locked(struct tcp_ask *a, struct tcp_slot *slot, uint64_t left);
/* Give the peer a moment to let go, or have the socket reset. Progress. */
void sl_tcp_await_let_go(struct sl_conn *conn);
/* N of the bytes that may still come for SLOT do not. Progress. */
void sl_tcp_sunk(struct sl_conn *conn, struct tcp_slot *slot, uint64_t n);

/* Reads that were given up keep their slots until their data has come. */
static inline bool tcp_ring_full(struct tcp_ask *a)
{
	return atomic_load_explicit(&a->tail, memory_order_relaxed) -
	           atomic_load_explicit(&a->head, memory_order_acquire) >
	       a->mask;
}

/* Give OP the next slot. Lock held. */
void sl_tcp_enqueue_locked(struct tcp_ask *a, struct sl_op *op);

/* The receive of the peer's that the send OP was to go to. */
static inline struct tcp_credit tcp_credit_of(const struct sl_op *op)
{
	return (struct tcp_credit){.id = (uint32_t)op->priv[0], .len = op->priv[1]};
}

/* tcp_credit.c; lock held */
void sl_tcp_give_back_locked(struct tcp_ask *a, struct tcp_credit credit);
/* Transfer SEQ may have taken CREDIT: the peer will tell how many it has ended. */
void sl_tcp_lend_locked(struct tcp_ask *a, struct tcp_credit credit, uint64_t seq);
void sl_tcp_settle_lent_locked(struct tcp_ask *a, uint64_t ended);

#endif
