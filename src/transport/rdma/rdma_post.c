/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_post.c - reads, writes, immediates and records on the DATA channel.
 *
 * An op becomes one request for each run of memory that is in one piece at the peer,
 * gathered from up to four places here. An immediate goes with the data when that is
 * a single request, else in a record behind it: one queue pair carries out its
 * requests in order, so it comes after all bytes.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "transport/rdma/rdma_chain.h"

/* Put LEN bytes to the last request, if they go on where it ends at the peer. */
static bool merge(struct rdma_chain *ch, const struct sl_iov *v, const char *addr, uint64_t raddr,
                  uint64_t len)
{
	struct ibv_send_wr *wr = &ch->wr[ch->n - 1];
	struct ibv_sge *last = &wr->sg_list[wr->num_sge - 1];
	uint32_t bytes = ch->bytes[ch->n - 1];

	if (wr->wr.rdma.remote_addr + bytes != raddr || wr->wr.rdma.rkey != v->rreg->rkey ||
	    bytes + len > ch->conn->dom->chunk)
		return false;
	if (last->addr + last->length == (uintptr_t)addr && last->lkey == v->reg->mr->lkey) {
		last->length += (uint32_t)len;
		ch->bytes[ch->n - 1] += (uint32_t)len;
		return true;
	}
	if ((uint32_t)wr->num_sge == ch->conn->max_sge)
		return false;
	rdma_chain_reg(ch, addr, v->reg, (uint32_t)len);
	return true;
}

static void advance(struct rdma_cursor *cur, const struct sl_iov *v, uint64_t len)
{
	cur->off += len;
	if (cur->off < v->len)
		return;
	cur->off = 0;
	if (++cur->run < v->count)
		return;
	cur->run = 0;
	cur->iov++;
}

/* The runs of OP from CUR on. False: the row is full before the end. */
static bool add_runs(struct rdma_chain *ch, const struct sl_op *op, struct rdma_cursor *cur)
{
	enum ibv_wr_opcode opcode = op->code == SL_OP_READ ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
	uint64_t chunk = ch->conn->dom->chunk;
	unsigned first = ch->n;

	while (cur->iov < op->niov) {
		const struct sl_iov *v = &op->iov[cur->iov];
		const char *addr = v->addr + cur->run * v->stride + cur->off;
		uint64_t raddr = v->rreg->addr + v->roff + cur->run * v->rstride + cur->off;
		uint64_t len = v->len - cur->off < chunk ? v->len - cur->off : chunk;
		struct ibv_send_wr *wr;

		if (!v->len) {
			cur->iov++;
			continue;
		}
		if (ch->n == first || !merge(ch, v, addr, raddr, len)) {
			if (rdma_chain_is_full(ch))
				return false;
			wr = rdma_chain_add(ch, opcode);
			wr->wr.rdma.remote_addr = raddr;
			wr->wr.rdma.rkey = v->rreg->rkey;
			rdma_chain_reg(ch, addr, v->reg, (uint32_t)len);
			cur->wrs++;
		}
		advance(cur, v, len);
	}
	return true;
}

/* FIRST is the first request of OP in the row. */
static bool add_imm(struct rdma_chain *ch, const struct sl_op *op, unsigned first,
                    const struct rdma_cursor *cur)
{
	struct rdma_record record = {.type = RDMA_IMM, .arg = op->imm, .len = op->imm_bytes};
	struct ibv_send_wr *wr = &ch->wr[first];

	if (ch->n == first + 1 && cur->wrs == 1 && ch->bytes[first] == op->imm_bytes) {
		wr->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
		wr->imm_data = htonl(op->imm);
		return true;
	}
	if (rdma_chain_is_full(ch))
		return false;
	sl_rdma_chain_record(ch, &record);
	return true;
}

/* All of OP, from CUR on, that has room. False: there is more. */
static bool add_op(struct rdma_chain *ch, struct sl_op *op, struct rdma_cursor *cur)
{
	unsigned first = ch->n;

	if (!add_runs(ch, op, cur) || (op->code == SL_OP_WRITE_IMM && !add_imm(ch, op, first, cur)))
		return false;
	if (op->code == SL_OP_WRITE_IMM)
		op->priv[RDMA_SEQ] = ch->chan->tx_seq++;
	if (ch->n == first)
		return true;
	ch->wr[ch->n - 1].send_flags |= IBV_SEND_SIGNALED;
	rdma_place(ch->chan, op, rdma_chain_end(ch));
	return true;
}

/* Has OP nothing to move, and things before it are not over yet? */
static bool is_early(const struct rdma_chain *ch, const struct sl_op *op)
{
	return !op->bytes && op->code != SL_OP_WRITE_IMM &&
	       rdma_chain_end(ch) != atomic_load_explicit(&ch->chan->sq_done, memory_order_acquire);
}

bool sl_rdma_post_alone_locked(struct sl_conn *conn, struct sl_op *op)
{
	struct rdma_chan *c = &conn->chan[RDMA_DATA];
	const struct sl_iov *v = op->iov;
	uint64_t at = atomic_load_explicit(&c->sq_posted, memory_order_relaxed);
	bool read = op->code == SL_OP_READ;
	struct ibv_sge sge;
	struct ibv_send_wr wr;

	if (op->niov != 1 || v->count != 1 || !v->len || v->len > conn->dom->chunk ||
	    c->phase != RDMA_UP || c->waiting.head || c->failed ||
	    at - atomic_load_explicit(&c->sq_done, memory_order_acquire) >= c->sq_cap)
		return false;
	sge = (struct ibv_sge){
	    .addr = (uintptr_t)v->addr, .length = (uint32_t)v->len, .lkey = v->reg->mr->lkey};
	wr.wr_id = rdma_wr_id(conn->wr_owner, RDMA_DATA, false, at); /* the fields that it needs */
	wr.next = NULL;
	wr.sg_list = &sge;
	wr.num_sge = 1;
	wr.opcode = read ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
	wr.send_flags = IBV_SEND_SIGNALED;
	wr.wr.rdma.remote_addr = v->rreg->addr + v->roff;
	wr.wr.rdma.rkey = v->rreg->rkey;
	if (!read && v->len <= c->max_inline && !v->reg->untouched)
		wr.send_flags |= IBV_SEND_INLINE;
	rdma_place(c, op, at + 1);
	(void)sl_rdma_ring(conn, c, &wr, 1);
	return true;
}

void sl_rdma_push_data_locked(struct sl_conn *conn, struct sl_op_queue *over)
{
	struct rdma_chan *c = &conn->chan[RDMA_DATA];
	struct rdma_chain ch;
	struct sl_op *op;

	while (c->phase == RDMA_UP && c->waiting.head && !c->failed) {
		struct rdma_cursor cur = c->cur;

		rdma_chain_begin(&ch, conn, RDMA_DATA);
		if ((!ch.room && rdma_must_wait(c, c->sq_cap)) ||
		    (is_early(&ch, c->waiting.head) && rdma_must_wait(c, 1)))
			break;
		while ((op = c->waiting.head) && !is_early(&ch, op) && add_op(&ch, op, &cur)) {
			(void)sl_op_pop(&c->waiting);
			if (!cur.wrs && op->code != SL_OP_WRITE_IMM)
				rdma_op_sent(over, op);
			cur = (struct rdma_cursor){0};
		}
		c->cur = cur;
		(void)sl_rdma_chain_post(&ch);
	}
}

void sl_rdma_post_window_locked(struct sl_conn *conn)
{
	struct rdma_chan *c = &conn->chan[RDMA_DATA];
	char *at = conn->records + c->rq_posted % RDMA_WINDOW * RDMA_RECORD_STEP;
	struct ibv_sge sge = {
	    .addr = (uintptr_t)at, .length = RDMA_RECORD_LEN, .lkey = conn->records_mr->lkey};
	struct ibv_recv_wr *bad,
	    wr = {
		.wr_id = rdma_wr_id(conn->wr_owner, RDMA_DATA, true, c->rq_posted),
		.sg_list = &sge,
		.num_sge = 1,
	    };

	if (!conn->dom->v->post_recv(c->qp, &wr, &bad)) {
		c->rq_posted++;
		return;
	}
	c->failed = true;
	sl_rdma_todo(conn);
}

static bool has_room(struct rdma_group *group)
{
	bool room = rdma_imms_have_room(group);

	group->full = group->full || !room;
	return room;
}

bool sl_rdma_has_room_locked(struct sl_conn *conn)
{
	bool room;

	rdma_group_take(conn);
	room = has_room(&conn->first->group);
	rdma_group_drop(conn);
	return room;
}

/* ROOM: one more receive may be posted. Else who takes an immediate will see to it. */
static int take_imm(struct sl_conn *conn, uint32_t imm, uint64_t bytes, struct sl_op_queue *over,
                    bool *room)
{
	struct rdma_group *group = &conn->first->group;
	struct sl_op *op;
	int rc = 0;

	conn->chan[RDMA_DATA].rx_count++;
	rdma_group_take(conn);
	op = sl_op_pop(&group->imm_recvs);
	if (!op)
		rc = sl_imm_reserve(&group->imms);
	if (!op && !rc)
		sl_imm_push(&group->imms, imm, bytes);
	*room = has_room(group);
	rdma_group_drop(conn);
	if (op) {
		op->imm = imm;
		op->priv[RDMA_BYTES] = bytes;
		rdma_over(over, op, 0);
	}
	return rc;
}

int sl_rdma_take_record_locked(struct sl_conn *conn, const struct ibv_wc *wc,
                               struct sl_op_queue *over)
{
	const char *at = conn->records + wc->wr_id % RDMA_WINDOW * RDMA_RECORD_STEP;
	struct rdma_chan *c = &conn->chan[RDMA_DATA];
	struct rdma_record record;
	bool room;
	int rc;

	if (wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM) {
		rc = take_imm(conn, ntohl(wc->imm_data), wc->byte_len, over, &room);
	} else if (sl_rdma_get_record((const uint8_t *)at, wc->byte_len, &record)) {
		return -EPROTO;
	} else if (record.type == RDMA_IMM) {
		rc = take_imm(conn, record.arg, record.len, over, &room);
	} else {
		rc = sl_rdma_take_credit_locked(conn, &record);
		room = sl_rdma_has_room_locked(conn);
	}
	if (c->phase == RDMA_DRAIN)
		return rc;
	if (room)
		sl_rdma_post_window_locked(conn);
	else
		conn->withheld++;
	return rc;
}
