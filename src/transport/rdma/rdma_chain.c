/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/rdma/rdma_chain.h"

/* Its bytes stand in the place of the request until that is over, should they not go inline. */
void sl_rdma_chain_record(struct rdma_chain *ch, const struct rdma_record *record)
{
	struct sl_conn *conn = ch->conn;
	uint64_t place = RDMA_WINDOW + rdma_chain_end(ch) % conn->chan[RDMA_DATA].sq_cap;
	char *at = conn->records + place * RDMA_RECORD_STEP;

	sl_rdma_put_record((uint8_t *)at, record);
	(void)rdma_chain_add(ch, IBV_WR_SEND);
	rdma_chain_data(ch, at, conn->records_mr->lkey, RDMA_RECORD_LEN);
}

bool sl_rdma_ring(struct sl_conn *conn, struct rdma_chan *c, struct ibv_send_wr *wr, unsigned n)
{
	uint64_t from = atomic_load_explicit(&c->sq_posted, memory_order_relaxed);
	struct sl_dom *dom = conn->dom;
	struct ibv_send_wr *bad = NULL;
	int rc;

	/* before: its completion may overtake us */
	atomic_store_explicit(&c->sq_posted, from + n, memory_order_release);
	atomic_store_explicit(&dom->posts, true, memory_order_relaxed);
	rc = dom->v->post_send(c->qp, wr, &bad);
	atomic_store_explicit(&dom->posts, false, memory_order_relaxed);
	if (!rc)
		return true;
	if (bad >= wr && bad < wr + n)
		from += (uint64_t)(bad - wr);
	atomic_store_explicit(&c->sq_posted, from, memory_order_release);
	c->failed = true;
	sl_rdma_todo(conn);
	return false;
}

bool sl_rdma_chain_post(struct rdma_chain *ch)
{
	uint32_t max_inline = ch->chan->max_inline;
	struct ibv_send_wr *wr = ch->wr;

	if (!ch->n)
		return true;
	for (unsigned i = 0; i < ch->n; i++, wr++) {
		wr->next = wr + 1;
		if (ch->bytes[i] <= max_inline && wr->opcode != IBV_WR_RDMA_READ &&
		    !ch->untouched[i])
			wr->send_flags |= IBV_SEND_INLINE;
	}
	wr[-1].next = NULL;
	wr[-1].send_flags |= IBV_SEND_SIGNALED;
	return sl_rdma_ring(ch->conn, ch->chan, ch->wr, ch->n);
}
