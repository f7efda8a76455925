/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fake_verbs_carry.c - carry the requests of an RC QP to its peer, one
 * after the other, a piece of PIECE bytes at a time.
 *
 * Rights are looked up for every piece: what is deregistered, reset or destroyed in
 * the middle is not touched any more.
 */
#include <string.h>

#include "fakes/fake_verbs_impl.h"

enum { PIECE = 64 * 1024 };

uint64_t fake_sges_len(const struct ibv_sge *sge, unsigned n)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += sge[i].length;
	return len;
}

uint64_t fake_sges_copy_locked(struct ibv_pd *pd, const struct ibv_sge *sge, unsigned n,
                               uint64_t off, char *mem, uint64_t max, bool into)
{
	uint64_t len;
	unsigned i = 0;
	char *here;

	while (i < n && off >= sge[i].length)
		off -= sge[i++].length;
	if (i == n)
		return 0;
	len = sge[i].length - off < max ? sge[i].length - off : max;
	here = fake_mr_local_locked(pd, &sge[i], off, len, into ? IBV_ACCESS_LOCAL_WRITE : 0);
	if (!here)
		return 0;
	if (into)
		memmove(here, mem, len);
	else
		memmove(mem, here, len);
	return len;
}

static bool is_message(const struct fake_send *wr)
{
	return wr->opcode == IBV_WR_SEND || wr->opcode == IBV_WR_SEND_WITH_IMM;
}

static bool has_imm(const struct fake_send *wr)
{
	return wr->opcode == IBV_WR_SEND_WITH_IMM || wr->opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
}

void fake_carry_done_locked(struct fake_qp *qp, enum ibv_wc_status status)
{
	static const enum ibv_wc_opcode opcode_of[] = {
	    [IBV_WR_RDMA_WRITE] = IBV_WC_RDMA_WRITE,
	    [IBV_WR_RDMA_WRITE_WITH_IMM] = IBV_WC_RDMA_WRITE,
	    [IBV_WR_SEND] = IBV_WC_SEND,
	    [IBV_WR_SEND_WITH_IMM] = IBV_WC_SEND,
	    [IBV_WR_RDMA_READ] = IBV_WC_RDMA_READ,
	};
	struct fake_sq *sq = &qp->sq;
	const struct fake_send *wr = &sq->ring[sq->done % sq->cap];
	struct fake_cqe cqe = {
	    .wc = {.wr_id = wr->wr_id,
	           .status = status,
	           .opcode = opcode_of[wr->opcode],
	           .byte_len = (uint32_t)wr->len,
	           .qp_num = qp->ibv.qp_num},
	    .qp = qp,
	    .sq_end = ++sq->done,
	};

	sq->looked = sq->begun = qp->unanswered = qp->rnr = false;
	qp->wait_until = 0;
	fake_bump(FAKE_CARRIED, 1);
	if (status != IBV_WC_SUCCESS || qp->sig_all || wr->flags & IBV_SEND_SIGNALED)
		fake_cq_add_locked((struct fake_cq *)qp->ibv.send_cq, &cqe, false);
}

void fake_recv_done_locked(struct fake_qp *qp, const struct ibv_wc *wc, bool solicited)
{
	struct fake_cqe cqe = {
	    .wc = *wc, .qp = qp, .srq = (struct fake_srq *)qp->ibv.srq, .recv = true};

	cqe.wc.wr_id = qp->rx.wr_id;
	cqe.wc.qp_num = qp->ibv.qp_num;
	qp->receiving = false;
	fake_cq_add_locked((struct fake_cq *)qp->ibv.recv_cq, &cqe, solicited);
}

void fake_carry_fail_locked(struct fake_qp *qp, enum ibv_wc_status status)
{
	fake_qp_error_locked(qp);
	if (qp->ibv.qp_type == IBV_QPT_UD)
		qp->attr.qp_state = IBV_QPS_SQE;
	fake_carry_done_locked(qp, status);
}

/* The responder's QP is in error. With a status, its receive says so; else an event does. */
static void fail_peer(struct fake_qp *peer, enum ibv_wc_status status, enum ibv_event_type event)
{
	fake_qp_error_locked(peer);
	if (peer->receiving && status != IBV_WC_SUCCESS)
		fake_recv_done_locked(peer, &(struct ibv_wc){.status = status}, false);
	else
		fake_raise_locked((struct fake_ctx *)peer->ibv.context, &peer->source, event);
}

static void fail_both(struct fake_qp *qp, struct fake_qp *peer, enum ibv_wc_status status,
                      enum ibv_event_type event)
{
	fake_carry_fail_locked(qp, status);
	fail_peer(peer, IBV_WC_SUCCESS, event);
}

/* All that is queued ends, sends before receives. */
static enum fake_step flush(struct fake_qp *qp, bool receives)
{
	struct fake_rq *rq = &qp->rq;

	while (qp->sq.done < qp->sq.tail)
		fake_carry_done_locked(qp, IBV_WC_WR_FLUSH_ERR);
	if (!receives)
		return STEP_IDLE;
	if (qp->receiving)
		fake_recv_done_locked(qp, &(struct ibv_wc){.status = IBV_WC_WR_FLUSH_ERR}, false);
	while (!qp->ibv.srq && rq->head < rq->tail) {
		(void)fake_rq_take_locked(qp);
		fake_recv_done_locked(qp, &(struct ibv_wc){.status = IBV_WC_WR_FLUSH_ERR}, false);
	}
	if (qp->ibv.srq && !qp->last_told)
		fake_raise_locked((struct fake_ctx *)qp->ibv.context, &qp->source,
		                  IBV_EVENT_QP_LAST_WQE_REACHED);
	qp->last_told = true;
	return STEP_IDLE;
}

/* Wait at most NS (0: for an event only); then the request fails with STATUS. */
static enum fake_step await(struct fake_qp *qp, bool *flag, int64_t ns, enum ibv_wc_status status)
{
	int64_t now = fake_now_ns();

	if (!*flag) {
		*flag = true;
		qp->wait_until = ns ? now + ns : 0;
		fake_bump(flag == &qp->rnr ? FAKE_RNR : FAKE_UNANSWERED, 1);
	}
	if (!qp->wait_until || now < qp->wait_until)
		return STEP_WAIT;
	fake_carry_fail_locked(qp, status);
	return STEP_MOVED;
}

static enum fake_step await_answer(struct fake_qp *qp)
{
	int64_t ns = (INT64_C(4096) << qp->attr.timeout) * (qp->attr.retry_cnt + 1);

	return await(qp, &qp->unanswered, qp->attr.timeout ? ns : 0, IBV_WC_RETRY_EXC_ERR);
}

static enum fake_step await_receive(struct fake_qp *qp, const struct fake_qp *peer)
{
	/* in units of 10 us */
	static const uint16_t timer[32] = {65535, 1,    2,    3,     4,     6,     8,     12,
	                                   16,    24,   32,   48,    64,    96,    128,   192,
	                                   256,   384,  512,  768,   1024,  1536,  2048,  3072,
	                                   4096,  6144, 8192, 12288, 16384, 24576, 32768, 49152};
	int64_t ns = timer[peer->attr.min_rnr_timer] * INT64_C(10000) * qp->attr.rnr_retry;

	if (!qp->attr.rnr_retry) {
		fake_bump(FAKE_RNR, 1);
		fake_carry_fail_locked(qp, IBV_WC_RNR_RETRY_EXC_ERR);
		return STEP_MOVED;
	}
	return await(qp, &qp->rnr, qp->attr.rnr_retry == 7 ? 0 : ns, IBV_WC_RNR_RETRY_EXC_ERR);
}

/* The other end of an RC connection, if a packet of QP would be answered by it. */
static struct fake_qp *peer_of(const struct fake_qp *qp)
{
	uint8_t port, back_port;
	struct fake_device *dev = fake_route_locked(qp->dev, &qp->attr.ah_attr, &port);
	struct fake_qp *peer = dev ? fake_qp_find_locked(dev, qp->attr.dest_qp_num) : NULL;

	if (!peer || peer->ibv.qp_type != IBV_QPT_RC || peer->attr.dest_qp_num != qp->ibv.qp_num)
		return NULL;
	if (peer->attr.qp_state != IBV_QPS_RTR && peer->attr.qp_state != IBV_QPS_RTS)
		return NULL;
	if (peer->attr.port_num != port || peer->attr.rq_psn != qp->attr.sq_psn)
		return NULL;
	if (fake_route_locked(dev, &peer->attr.ah_attr, &back_port) != qp->dev ||
	    back_port != qp->attr.port_num)
		return NULL;
	return peer;
}

/* What the responder objects to, before anything is moved. */
static enum ibv_wc_status refuse(const struct fake_qp *qp, const struct fake_qp *peer,
                                 const struct fake_send *wr)
{
	bool read = wr->opcode == IBV_WR_RDMA_READ;
	int access = read ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;

	if (is_message(wr))
		return IBV_WC_SUCCESS;
	if (!(peer->attr.qp_access_flags & (unsigned)access))
		return IBV_WC_REM_INV_REQ_ERR;
	if (read && (!peer->attr.max_dest_rd_atomic || !qp->attr.max_rd_atomic))
		return IBV_WC_REM_INV_REQ_ERR;
	if (wr->len &&
	    !fake_mr_remote_locked(peer->ibv.pd, wr->rkey, wr->remote_addr, wr->len, access))
		return IBV_WC_REM_ACCESS_ERR;
	return IBV_WC_SUCCESS;
}

/* Bytes of REQUEST from MEM at the peer or into it. 0: a local fault. */
static uint64_t move_local(struct fake_qp *qp, const struct fake_send *wr, char *mem, uint64_t max)
{
	bool into = wr->opcode == IBV_WR_RDMA_READ;

	if (wr->flags & IBV_SEND_INLINE) {
		memcpy(mem, wr->inlined + qp->sq.bytes, max);
		return max;
	}
	return fake_sges_copy_locked(qp->ibv.pd, wr->sge, wr->num_sge, qp->sq.bytes, mem, max,
	                             into);
}

/* Room in the peer's receive for the bytes that come now; NULL: its memory is not allowed. */
static char *room_at(struct fake_qp *peer, uint64_t off, uint64_t *max)
{
	const struct ibv_sge *sge = peer->rx_sge;

	while (off >= sge->length)
		off -= sge++->length;
	if (*max > sge->length - off)
		*max = sge->length - off;
	return fake_mr_local_locked(peer->ibv.pd, sge, off, *max, IBV_ACCESS_LOCAL_WRITE);
}

static enum fake_step move_piece(struct fake_qp *qp, struct fake_qp *peer,
                                 const struct fake_send *wr)
{
	uint64_t max = wr->len - qp->sq.bytes, moved;
	char *there;

	if (max > PIECE)
		max = PIECE;
	if (is_message(wr)) {
		there = room_at(peer, qp->sq.bytes, &max);
		if (!there) {
			fake_carry_fail_locked(qp, IBV_WC_REM_OP_ERR);
			fail_peer(peer, IBV_WC_LOC_PROT_ERR, IBV_EVENT_QP_REQ_ERR);
			return STEP_MOVED;
		}
	} else {
		there = fake_mr_remote_locked(peer->ibv.pd, wr->rkey,
		                              wr->remote_addr + qp->sq.bytes, max, 0);
	}
	moved = move_local(qp, wr, there, max);
	if (!moved)
		fake_carry_fail_locked(qp, IBV_WC_LOC_PROT_ERR);
	qp->sq.bytes += moved;
	return STEP_MOVED;
}

/* Its first piece leaves, once, and no answer will come. */
static enum fake_step stray(struct fake_qp *qp, const struct fake_qp *peer,
                            const struct fake_send *wr)
{
	static char data[PIECE];
	uint64_t len = wr->len < PIECE ? wr->len : PIECE;

	if (!qp->unanswered)
		fake_stray_locked(qp, peer, wr, data, move_local(qp, wr, data, len));
	return await_answer(qp);
}

static void deliver(struct fake_qp *qp, struct fake_qp *peer, const struct fake_send *wr)
{
	struct ibv_wc wc = {
	    .opcode = is_message(wr) ? IBV_WC_RECV : IBV_WC_RECV_RDMA_WITH_IMM,
	    .byte_len = (uint32_t)wr->len,
	    .imm_data = wr->imm,
	    .wc_flags = has_imm(wr) ? IBV_WC_WITH_IMM : 0,
	    .src_qp = qp->ibv.qp_num,
	};

	if (peer->receiving)
		fake_recv_done_locked(peer, &wc, wr->flags & IBV_SEND_SOLICITED);
}

static enum fake_step finish(struct fake_qp *qp, struct fake_qp *peer, const struct fake_send *wr)
{
	enum ibv_wc_status late = qp->sq.fault;

	if (wr->opcode == IBV_WR_RDMA_WRITE_WITH_IMM && !fake_rq_take_locked(peer))
		return await_receive(qp, peer);
	deliver(qp, peer, wr);
	if (late != IBV_WC_SUCCESS)
		fake_carry_fail_locked(qp, late);
	else
		fake_carry_done_locked(qp, IBV_WC_SUCCESS);
	return STEP_MOVED;
}

/* A message needs a receive before its first byte; a peer that was reset, another one. */
static enum fake_step begin_message(struct fake_qp *qp, struct fake_qp *peer,
                                    const struct fake_send *wr)
{
	if (!fake_rq_take_locked(peer))
		return await_receive(qp, peer);
	if (fake_sges_len(peer->rx_sge, peer->rx.num_sge) >= wr->len)
		return STEP_MOVED;
	fake_carry_fail_locked(qp, IBV_WC_REM_INV_REQ_ERR);
	fail_peer(peer, IBV_WC_LOC_LEN_ERR, IBV_EVENT_QP_REQ_ERR);
	return STEP_MOVED;
}

static enum fake_step carry(struct fake_qp *qp, const struct fake_send *wr)
{
	struct fake_qp *peer = peer_of(qp);
	enum ibv_wc_status status;

	if (!peer)
		return await_answer(qp);
	if (peer->attr.qp_state == IBV_QPS_RTR && !peer->established)
		fake_raise_locked((struct fake_ctx *)peer->ibv.context, &peer->source,
		                  IBV_EVENT_COMM_EST);
	peer->established = true;
	status = refuse(qp, peer, wr);
	if (status != IBV_WC_SUCCESS) {
		fail_both(qp, peer, status,
		          status == IBV_WC_REM_ACCESS_ERR ? IBV_EVENT_QP_ACCESS_ERR
		                                          : IBV_EVENT_QP_REQ_ERR);
		return STEP_MOVED;
	}
	if (qp->sq.strays)
		return stray(qp, peer, wr);
	if (qp->unanswered)
		qp->unanswered = qp->rnr = false;
	if (is_message(wr) && !(qp->sq.begun && peer->receiving)) {
		qp->sq.bytes = 0;
		qp->sq.begun = true;
		return begin_message(qp, peer, wr);
	}
	if (qp->sq.bytes < wr->len)
		return move_piece(qp, peer, wr);
	return finish(qp, peer, wr);
}

/* May the next request of QP begin? */
static bool may_go(struct fake_qp *qp)
{
	if (!qp->dev->held || qp->sq.looked)
		return true;
	if (!qp->dev->may_go)
		return false;
	qp->dev->may_go--;
	return true;
}

enum fake_step fake_carry_locked(struct fake_qp *qp)
{
	struct fake_sq *sq = &qp->sq;
	struct fake_send *wr;

	if (qp->attr.qp_state == IBV_QPS_ERR || qp->attr.qp_state == IBV_QPS_SQE)
		return flush(qp, qp->attr.qp_state == IBV_QPS_ERR);
	if (sq->done == sq->tail || qp->attr.qp_state != IBV_QPS_RTS)
		return STEP_IDLE;
	if (!may_go(qp))
		return STEP_WAIT;
	wr = &sq->ring[sq->done % sq->cap];
	if (!sq->looked) {
		sq->looked = true;
		sq->bytes = 0;
		fake_fault_work_locked(qp);
		if (wr->len > qp->dev->config.ports[qp->attr.port_num - 1].max_msg)
			sq->fault = IBV_WC_LOC_LEN_ERR;
	}
	if (sq->fault != IBV_WC_SUCCESS && !sq->fault_late) {
		fake_carry_fail_locked(qp, sq->fault);
		return STEP_MOVED;
	}
	return qp->ibv.qp_type == IBV_QPT_UD ? fake_carry_datagram_locked(qp, wr) : carry(qp, wr);
}
