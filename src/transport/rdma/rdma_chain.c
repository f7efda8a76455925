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

static void posted(struct rdma_chain *ch, uint64_t end)
{
	atomic_store_explicit(&ch->chan->sq_posted, end, memory_order_release);
}

bool sl_rdma_chain_post(struct rdma_chain *ch)
{
	struct rdma_chan *c = ch->chan;
	struct ibv_send_wr *bad = NULL, *last;

	if (!ch->n)
		return true;
	for (unsigned i = 0; i < ch->n; i++) {
		struct ibv_send_wr *wr = &ch->wr[i];

		wr->next = wr + 1;
		if (ch->bytes[i] <= c->max_inline && wr->opcode != IBV_WR_RDMA_READ &&
		    !ch->untouched[i])
			wr->send_flags |= IBV_SEND_INLINE;
	}
	last = &ch->wr[ch->n - 1];
	last->next = NULL;
	last->send_flags |= IBV_SEND_SIGNALED;
	posted(ch, rdma_chain_end(ch)); /* before: its completion may overtake us */
	if (!ch->conn->dom->v->post_send(c->qp, ch->wr, &bad))
		return true;
	posted(ch, ch->from + (bad >= ch->wr && bad <= last ? (uint64_t)(bad - ch->wr) : 0));
	c->failed = true;
	sl_rdma_todo(ch->conn);
	return false;
}
