/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_chain.h - requests in a row for one channel, posted with one doorbell.
 *
 * The last of a row always asks for a completion, so that in the end every place of a
 * send queue is accounted for. conn->lock is held from begin to post.
 */
#ifndef SL_RDMA_CHAIN_H
#define SL_RDMA_CHAIN_H

#include "transport/rdma/rdma_impl.h"

enum { RDMA_CHAIN_MOST = 64 };

struct rdma_chain { /* on the stack: only what N and the requests say is initialized */
	struct sl_conn *conn;
	struct rdma_chan *chan;
	uint64_t from;  /* the place of the first */
	uint64_t owner; /* wr_id without the place */
	unsigned n, room;
	struct ibv_send_wr wr[RDMA_CHAIN_MOST];
	uint32_t bytes[RDMA_CHAIN_MOST];
	bool untouched[RDMA_CHAIN_MOST]; /* not to go inside the request: see sl_reg */
	struct ibv_sge sge[RDMA_CHAIN_MOST][RDMA_SGES];
};

static inline void rdma_chain_begin(struct rdma_chain *ch, struct sl_conn *conn, int kind)
{
	struct rdma_chan *c = &conn->chan[kind];
	uint64_t left;

	ch->conn = conn;
	ch->chan = c;
	ch->from = atomic_load_explicit(&c->sq_posted, memory_order_relaxed);
	ch->owner = rdma_wr_id(conn->wr_owner, kind, false, 0);
	ch->n = 0;
	left = c->sq_cap - (ch->from - atomic_load_explicit(&c->sq_done, memory_order_acquire));
	ch->room = c->failed ? 0 : left < RDMA_CHAIN_MOST ? (unsigned)left : RDMA_CHAIN_MOST;
}

static inline bool rdma_chain_is_full(const struct rdma_chain *ch)
{
	return ch->n == ch->room;
}

/* The place behind the last request. */
static inline uint64_t rdma_chain_end(const struct rdma_chain *ch)
{
	return ch->from + ch->n;
}

/*
 * A request without data at the end; it must not be full. Whose opcode needs more fields sets
 * them; NEXT is set by post.
 */
static inline struct ibv_send_wr *rdma_chain_add(struct rdma_chain *ch, enum ibv_wr_opcode opcode)
{
	struct ibv_send_wr *wr = &ch->wr[ch->n];

	wr->wr_id = ch->owner | (uint32_t)rdma_chain_end(ch);
	wr->sg_list = ch->sge[ch->n];
	wr->num_sge = 0;
	wr->opcode = opcode;
	wr->send_flags = 0;
	ch->untouched[ch->n] = false;
	ch->bytes[ch->n++] = 0;
	return wr;
}

/* LEN bytes at ADDR, under LKEY, for the last request; it must have room for one more place. */
static inline void rdma_chain_data(struct rdma_chain *ch, const void *addr, uint32_t lkey,
                                   uint32_t len)
{
	struct ibv_send_wr *wr = &ch->wr[ch->n - 1];

	wr->sg_list[wr->num_sge++] =
	    (struct ibv_sge){.addr = (uintptr_t)addr, .length = len, .lkey = lkey};
	ch->bytes[ch->n - 1] += len;
}

/* ... of REG. */
static inline void rdma_chain_reg(struct rdma_chain *ch, const void *addr, const struct sl_reg *reg,
                                  uint32_t len)
{
	rdma_chain_data(ch, addr, reg->mr->lkey, len);
	ch->untouched[ch->n - 1] |= reg->untouched;
}

/* A record as a request of its own. */
void sl_rdma_chain_record(struct rdma_chain *ch, const struct rdma_record *record);

/* Post all. False: the channel has failed and progress() will make it anew. */
bool sl_rdma_chain_post(struct rdma_chain *ch);
/* Likewise the N requests from WR on, which lie in a row. */
bool sl_rdma_ring(struct sl_conn *conn, struct rdma_chan *c, struct ibv_send_wr *wr, unsigned n);

#endif
