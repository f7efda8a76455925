/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/rdma/rdma_chain.h"

#include <string.h>

void sl_rdma_chain_begin(struct rdma_chain *ch, struct sl_conn *conn, int kind)
{
	const struct rdma_chan *c = &conn->chan[kind];
	uint64_t left = c->sq_cap - (atomic_load_explicit(&c->sq_posted, memory_order_relaxed) -
	                             atomic_load_explicit(&c->sq_done, memory_order_acquire));

	ch->conn = conn;
	ch->kind = kind;
	ch->n = 0;
	ch->room = c->failed ? 0 : left < RDMA_CHAIN_MOST ? (unsigned)left : RDMA_CHAIN_MOST;
}

struct ibv_send_wr *sl_rdma_chain_add(struct rdma_chain *ch, enum ibv_wr_opcode opcode)
{
	const struct sl_conn *conn = ch->conn;
	struct ibv_send_wr *wr = &ch->wr[ch->n];

	memset(wr, 0, sizeof(*wr));
	wr->wr_id = rdma_wr_id(conn->wr_owner, ch->kind, false, rdma_chain_end(ch));
	wr->opcode = opcode;
	wr->sg_list = ch->sge[ch->n];
	ch->untouched[ch->n] = false;
	ch->bytes[ch->n++] = 0;
	return wr;
}

static void add_data(struct rdma_chain *ch, const void *addr, uint32_t lkey, uint32_t len)
{
	struct ibv_send_wr *wr = &ch->wr[ch->n - 1];

	ch->sge[ch->n - 1][wr->num_sge++] =
	    (struct ibv_sge){.addr = (uintptr_t)addr, .length = len, .lkey = lkey};
	ch->bytes[ch->n - 1] += len;
}

void sl_rdma_chain_data(struct rdma_chain *ch, const void *addr, const struct sl_reg *reg,
                        uint32_t len)
{
	add_data(ch, addr, reg->mr->lkey, len);
	ch->untouched[ch->n - 1] |= reg->untouched;
}

/* Its bytes stand in the place of the request until that is over, should they not go inline. */
void sl_rdma_chain_record(struct rdma_chain *ch, const struct rdma_record *record)
{
	struct sl_conn *conn = ch->conn;
	uint64_t place = RDMA_WINDOW + rdma_chain_end(ch) % conn->chan[RDMA_DATA].sq_cap;
	char *at = conn->records + place * RDMA_RECORD_STEP;

	sl_rdma_put_record((uint8_t *)at, record);
	(void)sl_rdma_chain_add(ch, IBV_WR_SEND);
	add_data(ch, at, conn->records_mr->lkey, RDMA_RECORD_LEN);
}

bool sl_rdma_chain_post(struct rdma_chain *ch)
{
	struct sl_conn *conn = ch->conn;
	struct rdma_chan *c = &conn->chan[ch->kind];
	struct ibv_send_wr *bad = NULL;
	uint64_t end;

	if (!ch->n)
		return true;
	for (unsigned i = 0; i < ch->n; i++) {
		struct ibv_send_wr *wr = &ch->wr[i];

		wr->next = i + 1 < ch->n ? wr + 1 : NULL;
		if (wr->opcode != IBV_WR_RDMA_READ && ch->bytes[i] <= c->max_inline &&
		    !ch->untouched[i])
			wr->send_flags |= IBV_SEND_INLINE;
	}
	ch->wr[ch->n - 1].send_flags |= IBV_SEND_SIGNALED;
	end = rdma_chain_end(ch);
	atomic_store(&c->sq_posted, end); /* before: its completion may overtake us */
	if (!conn->dom->v->post_send(c->qp, ch->wr, &bad))
		return true;
	end -= bad >= ch->wr && bad < ch->wr + ch->n ? ch->n - (uint64_t)(bad - ch->wr) : ch->n;
	atomic_store(&c->sq_posted, end);
	c->failed = true;
	sl_rdma_todo(conn);
	return false;
}
