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
	int kind;
	unsigned n, room;
	struct ibv_send_wr wr[RDMA_CHAIN_MOST];
	uint32_t bytes[RDMA_CHAIN_MOST];
	bool untouched[RDMA_CHAIN_MOST]; /* not to go inside the request: see sl_reg */
	struct ibv_sge sge[RDMA_CHAIN_MOST][RDMA_SGES];
};

void sl_rdma_chain_begin(struct rdma_chain *ch, struct sl_conn *conn, int kind);

static inline bool rdma_chain_is_full(const struct rdma_chain *ch)
{
	return ch->n == ch->room;
}

/* A request without data at the end; it must not be full. */
struct ibv_send_wr *sl_rdma_chain_add(struct rdma_chain *ch, enum ibv_wr_opcode opcode);
/* LEN bytes at ADDR in REG for the last request; it must have room for one more. */
void sl_rdma_chain_data(struct rdma_chain *ch, const void *addr, const struct sl_reg *reg,
                        uint32_t len);
/* A record as a request of its own. */
void sl_rdma_chain_record(struct rdma_chain *ch, const struct rdma_record *record);

/* The place behind the last request. */
static inline uint64_t rdma_chain_end(const struct rdma_chain *ch)
{
	const struct rdma_chan *c = &ch->conn->chan[ch->kind];

	return atomic_load_explicit(&c->sq_posted, memory_order_relaxed) + ch->n;
}

/* Post all. False: the channel has failed and progress() will make it anew. */
bool sl_rdma_chain_post(struct rdma_chain *ch);

#endif
