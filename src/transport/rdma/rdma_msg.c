/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_msg.c - messages: from the sender's memory into the receiver's, once over.
 *
 * A receive is posted on the MSG queue pair and then told to the peer as a credit,
 * which names its length. A send waits for the oldest credit; so it never meets an
 * empty queue, and one that is too long is known before anything moves: then only the
 * fact is sent. Queue pairs match in order, as we promise to.
 *
 * A receive of more than one request's worth is several, and the sender fills, or
 * spends, each of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "transport/rdma/rdma_chain.h"

static uint64_t pieces_of(uint64_t len, uint8_t shift)
{
	return len ? ((len - 1) >> shift) + 1 : 1;
}

static uint64_t piece_len(uint64_t len, uint8_t shift, uint64_t i)
{
	uint64_t off = i << shift;
	uint64_t most = UINT64_C(1) << shift;

	if (off >= len)
		return 0;
	return len - off < most ? len - off : most;
}

/*
 * Receiving.
 */

static bool post_piece(struct sl_conn *conn, const struct sl_iov *v, uint64_t i)
{
	struct rdma_chan *c = &conn->chan[RDMA_MSG];
	struct ibv_sge sge = {
	    .addr = (uintptr_t)v->addr + (i << conn->shift),
	    .length = (uint32_t)piece_len(v->len, conn->shift, i),
	    .lkey = v->reg->mr->lkey,
	};
	struct ibv_recv_wr *bad,
	    wr = {
		.wr_id = rdma_wr_id(conn->wr_owner, RDMA_MSG, true, c->rq_posted),
		.sg_list = &sge,
		.num_sge = sge.length ? 1 : 0,
	    };

	if (conn->dom->v->post_recv(c->qp, &wr, &bad)) {
		c->failed = true;
		sl_rdma_todo(conn);
		return false;
	}
	c->rq_posted++;
	return true;
}

/* OP is in the list of receives, not in the queue pair: take it out. */
static void unlink_recv(struct sl_conn *conn, struct sl_op *op)
{
	struct sl_op_queue keep = {0};
	struct sl_op *at;

	if (conn->next_recv == op)
		conn->next_recv = op->next;
	if (conn->next_credit == op)
		conn->next_credit = op->next;
	while ((at = sl_op_pop(&conn->recvs))) {
		if (at != op)
			sl_op_push(&keep, at);
	}
	conn->recvs = keep;
}

void sl_rdma_post_recvs_locked(struct sl_conn *conn, struct sl_op_queue *over)
{
	struct rdma_chan *c = &conn->chan[RDMA_MSG];
	struct sl_op *op;

	if (c->phase == RDMA_NONE || c->phase == RDMA_DRAIN || !c->qp)
		return;
	while ((op = conn->next_recv) && !c->failed) {
		uint64_t n = pieces_of(op->iov->len, conn->shift);

		if (n > c->rq_cap) {
			unlink_recv(conn, op);
			rdma_over(over, op, -EMSGSIZE);
			continue;
		}
		if (c->rq_posted - c->rq_done + n > c->rq_cap)
			return;
		op->priv[RDMA_PIECES] = n;
		for (uint64_t i = 0; i < n; i++) {
			if (!post_piece(conn, op->iov, i))
				return;
		}
		conn->next_recv = op->next;
	}
}

void sl_rdma_add_recv_locked(struct sl_conn *conn, struct sl_op *op, struct sl_op_queue *over)
{
	sl_op_push(&conn->recvs, op);
	if (!conn->next_recv)
		conn->next_recv = op;
	if (!conn->next_credit)
		conn->next_credit = op;
	sl_rdma_post_recvs_locked(conn, over);
	sl_rdma_tell_credits_locked(conn);
}

/* A credit takes one of the peer's window, and who has used one has posted that again. */
static bool may_tell(const struct sl_conn *conn)
{
	return conn->next_credit && conn->next_credit != conn->next_recv &&
	       conn->credits_told - conn->recvs_ended < RDMA_CREDITS_AHEAD;
}

static void tell_one(struct sl_conn *conn, struct rdma_chain *ch)
{
	struct rdma_record record = {
	    .type = RDMA_CREDIT,
	    .shift = conn->shift,
	    .arg = conn->chan[RDMA_MSG].gen,
	    .index = conn->credits_told++,
	    .len = conn->next_credit->iov->len,
	};

	sl_rdma_chain_record(ch, &record);
	conn->next_credit = conn->next_credit->next;
}

void sl_rdma_tell_credits_locked(struct sl_conn *conn)
{
	struct rdma_chan *data = &conn->chan[RDMA_DATA];
	struct rdma_chain ch;

	if (conn->chan[RDMA_MSG].phase != RDMA_UP || data->phase != RDMA_UP)
		return;
	while (may_tell(conn) && !data->failed) {
		rdma_chain_begin(&ch, conn, RDMA_DATA);
		if (!ch.room && rdma_must_wait(data, data->sq_cap))
			break;
		while (may_tell(conn) && !rdma_chain_is_full(&ch))
			tell_one(conn, &ch);
		(void)sl_rdma_chain_post(&ch);
	}
}

static void recv_over(struct sl_conn *conn, struct sl_op *op, struct sl_op_queue *over)
{
	bool too_long = op->priv[RDMA_BYTES] & RDMA_BYTES_TOO_LONG;

	(void)sl_op_pop(&conn->recvs);
	if (conn->next_credit == op) /* a peer that sent without being told */
		conn->next_credit = op->next;
	conn->recvs_ended++;
	if (conn->credits_told < conn->recvs_ended)
		conn->credits_told = conn->recvs_ended;
	conn->chan[RDMA_MSG].rx_count++;
	rdma_over(over, op, too_long ? -EMSGSIZE : 0);
}

void sl_rdma_take_piece_locked(struct sl_conn *conn, const struct ibv_wc *wc, int status,
                               struct sl_op_queue *over)
{
	struct sl_op *op = conn->recvs.head;

	if (!op || op == conn->next_recv)
		return;
	if (status) {
		op->priv[RDMA_STATUS] = (uint64_t)(int64_t)status;
		return;
	}
	op->priv[RDMA_BYTES] += wc->byte_len;
	if (wc->wc_flags & IBV_WC_WITH_IMM)
		op->priv[RDMA_BYTES] |= RDMA_BYTES_TOO_LONG;
	if (++op->priv[RDMA_PIECES_DONE] == op->priv[RDMA_PIECES])
		recv_over(conn, op, over);
}

void sl_rdma_reset_recvs_locked(struct sl_conn *conn, struct sl_op_queue *over)
{
	struct sl_op_queue keep = {0};
	struct sl_op *op;

	while ((op = sl_op_pop(&conn->recvs))) {
		int stop = sl_op_stop(op);

		if (op->priv[RDMA_STATUS])
			sl_op_push(over, op);
		else if (stop)
			rdma_over(over, op, stop);
		else
			sl_op_push(&keep, op);
		op->priv[RDMA_PIECES_DONE] = op->priv[RDMA_BYTES] = 0;
	}
	conn->recvs = keep;
	conn->next_recv = conn->next_credit = keep.head;
	conn->recvs_ended = conn->credits_told = 0;
}

bool sl_rdma_take_recv_locked(struct sl_conn *conn, struct sl_op *op)
{
	struct sl_op *at = conn->next_recv;

	while (at && at != op)
		at = at->next;
	if (!at || !sl_op_stop(op))
		return false;
	unlink_recv(conn, op);
	return true;
}

/*
 * Sending.
 */

static int grow_credits(struct sl_conn *conn)
{
	uint32_t cap = conn->credits_cap ? 2 * conn->credits_cap : 64;
	struct rdma_credit *ring;

	if (cap > RDMA_CREDITS_MAX)
		return -EPROTO;
	ring = malloc(cap * sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	for (uint64_t i = conn->credit_head; i < conn->credit_tail; i++)
		ring[i % cap] = conn->credits[i % conn->credits_cap];
	free(conn->credits);
	conn->credits = ring;
	conn->credits_cap = cap;
	return 0;
}

/* Credits of another generation, and those told twice, say nothing new. */
int sl_rdma_take_credit_locked(struct sl_conn *conn, const struct rdma_record *record)
{
	const struct rdma_chan *c = &conn->chan[RDMA_MSG];
	int rc = 0;

	if (record->arg != c->linked || (c->phase != RDMA_LINKED && c->phase != RDMA_UP) ||
	    record->index < conn->credit_tail)
		return 0;
	if (record->index > conn->credit_tail || record->shift > conn->dom->chunk_shift)
		return -EPROTO;
	if (conn->credit_tail - conn->credit_head == conn->credits_cap)
		rc = grow_credits(conn);
	if (rc)
		return rc;
	conn->credits[conn->credit_tail++ % conn->credits_cap] =
	    (struct rdma_credit){.len = record->len, .shift = record->shift};
	if (conn->holds & 1u << RDMA_SENDS)
		sl_rdma_push_msgs_locked(conn);
	else
		sl_rdma_todo(conn); /* the peer's receives are here: so should our sends */
	return 0;
}

/* The pieces of OP for credit CR, from the cursor on. False: the row is full before the end. */
static bool add_send(struct rdma_chain *ch, struct sl_op *op, const struct rdma_credit *cr)
{
	struct rdma_cursor *cur = &ch->conn->chan[RDMA_MSG].cur;
	uint64_t n = pieces_of(cr->len, cr->shift);
	bool too_long = op->bytes > cr->len;

	op->priv[RDMA_NOTES] &= ~RDMA_TOO_LONG;
	if (too_long)
		op->priv[RDMA_NOTES] |= RDMA_TOO_LONG;
	for (; cur->wrs < n; cur->wrs++) {
		uint64_t len = too_long ? 0 : piece_len(op->bytes, cr->shift, cur->wrs);
		struct ibv_send_wr *wr;

		if (rdma_chain_is_full(ch))
			return false;
		wr = rdma_chain_add(ch, too_long ? IBV_WR_SEND_WITH_IMM : IBV_WR_SEND);
		wr->imm_data = htonl(too_long);
		if (len)
			rdma_chain_reg(ch, op->iov->addr + (cur->wrs << cr->shift), op->iov->reg,
			               (uint32_t)len);
	}
	ch->wr[ch->n - 1].send_flags |= IBV_SEND_SIGNALED;
	return true;
}

void sl_rdma_push_msgs_locked(struct sl_conn *conn)
{
	struct rdma_chan *c = &conn->chan[RDMA_MSG];
	struct rdma_chain ch;

	while (c->phase == RDMA_UP && c->waiting.head && !c->failed &&
	       conn->credit_head < conn->credit_tail) {
		rdma_chain_begin(&ch, conn, RDMA_MSG);
		if (!ch.room && rdma_must_wait(c, c->sq_cap))
			break;
		while (c->waiting.head && conn->credit_head < conn->credit_tail) {
			struct sl_op *op = c->waiting.head;

			if (!add_send(&ch, op,
			              &conn->credits[conn->credit_head % conn->credits_cap]))
				break;
			(void)sl_op_pop(&c->waiting);
			op->priv[RDMA_SEQ] = c->tx_seq++;
			rdma_place(c, op, rdma_chain_end(&ch));
			c->cur = (struct rdma_cursor){0};
			conn->credit_head++;
		}
		(void)sl_rdma_chain_post(&ch);
	}
}
