/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_qp.c - queue pairs: making, ending, posting to them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fakes/fake_verbs_impl.h"

enum { FIRST_QPN = 17 };

static uint32_t number_of(const struct fake_device *dev, unsigned slot)
{
	return (uint32_t)dev->qps.generation[slot] << 16 | (slot + FIRST_QPN);
}

struct fake_qp *fake_qp_find_locked(struct fake_device *dev, uint32_t num)
{
	unsigned slot = (num & 0xffff) - FIRST_QPN;
	struct fake_qp *qp = slot < dev->qps.cap ? dev->qps.slot[slot] : NULL;

	return qp && qp->ibv.qp_num == num ? qp : NULL;
}

static int check_init(const struct fake_device *dev, const struct ibv_qp_init_attr *init)
{
	const struct ibv_device_attr *limits = &dev->config.attr;
	const struct ibv_qp_cap *cap = &init->cap;
	uint32_t wr_max = (uint32_t)limits->max_qp_wr, sge_max = (uint32_t)limits->max_sge;

	if (init->qp_type != IBV_QPT_RC && init->qp_type != IBV_QPT_UD)
		return EOPNOTSUPP;
	if (!init->send_cq || !init->recv_cq)
		return EINVAL;
	if (cap->max_send_wr > wr_max || (!init->srq && cap->max_recv_wr > wr_max))
		return EINVAL;
	if (cap->max_send_sge > sge_max || cap->max_recv_sge > sge_max)
		return EINVAL;
	return cap->max_inline_data > dev->config.max_inline ? EINVAL : 0;
}

static void free_queues(struct fake_qp *qp)
{
	free(qp->sq.ring);
	free(qp->sq.sges);
	free(qp->sq.inlined);
	fake_rq_free(&qp->rq);
}

static int make_queues(struct fake_qp *qp)
{
	const struct ibv_qp_cap *cap = &qp->cap;
	size_t n = cap->max_send_wr ? cap->max_send_wr : 1;

	qp->sq.cap = cap->max_send_wr;
	qp->sq.ring = calloc(n, sizeof(*qp->sq.ring));
	qp->sq.sges = calloc(n * (cap->max_send_sge ? cap->max_send_sge : 1), sizeof(*qp->sq.sges));
	qp->sq.inlined = calloc(n, cap->max_inline_data ? cap->max_inline_data : 1);
	if (qp->sq.ring && qp->sq.sges && qp->sq.inlined &&
	    !fake_rq_init(&qp->rq, qp->ibv.srq ? 0 : cap->max_recv_wr, cap->max_recv_sge))
		return 0;
	free_queues(qp);
	return ENOMEM;
}

static int64_t queue_bytes(const struct fake_qp *qp)
{
	return ((int64_t)qp->sq.cap + qp->rq.cap) * 64;
}

static int enter_locked(struct fake_qp *qp)
{
	struct fake_device *dev = qp->dev;
	int rc = make_queues(qp);

	if (rc)
		return rc;
	rc = fake_table_add(&dev->qps, qp, (unsigned)dev->config.attr.max_qp, &qp->slot);
	if (rc) {
		free_queues(qp);
		return rc;
	}
	qp->ibv.qp_num = number_of(dev, qp->slot);
	qp->order = dev->next_order++;
	((struct fake_pd *)qp->ibv.pd)->children++;
	((struct fake_cq *)qp->ibv.send_cq)->children++;
	((struct fake_cq *)qp->ibv.recv_cq)->children++;
	if (qp->ibv.srq)
		((struct fake_srq *)qp->ibv.srq)->children++;
	return 0;
}

struct ibv_qp *fake_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *init)
{
	struct fake_ctx *ctx = (struct fake_ctx *)pd->context;
	struct fake_qp *qp = calloc(1, sizeof(*qp));
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(ctx, "create_qp");
	if (!rc)
		rc = check_init(ctx->dev, init);
	if (!rc && !qp)
		rc = ENOMEM;
	if (!rc) {
		qp->ibv = (struct ibv_qp){
		    .context = pd->context,
		    .qp_context = init->qp_context,
		    .pd = pd,
		    .send_cq = init->send_cq,
		    .recv_cq = init->recv_cq,
		    .srq = init->srq,
		    .qp_type = init->qp_type,
		    .state = IBV_QPS_RESET,
		};
		qp->dev = ctx->dev;
		qp->cap = init->cap;
		qp->sig_all = init->sq_sig_all;
		qp->source.event.element.qp = &qp->ibv;
		rc = enter_locked(qp);
	}
	fake_unlock();
	if (rc) {
		free(qp);
		errno = rc;
		return NULL;
	}
	fake_bump(FAKE_QPS, 1);
	fake_bump(FAKE_QUEUE_BYTES, queue_bytes(qp));
	return &qp->ibv;
}

int fake_destroy_qp(struct ibv_qp *ibv)
{
	struct fake_qp *qp = (struct fake_qp *)ibv;

	fake_lock();
	fake_wire_leave_locked(qp);
	fake_table_remove(&qp->dev->qps, qp->slot);
	fake_cq_forget_locked((struct fake_cq *)ibv->send_cq, qp);
	fake_cq_forget_locked((struct fake_cq *)ibv->recv_cq, qp);
	if (qp->receiving && ibv->srq)
		((struct fake_srq *)ibv->srq)->rq.freed++;
	fake_source_end_locked((struct fake_ctx *)ibv->context, &qp->source, "a QP");
	((struct fake_pd *)ibv->pd)->children--;
	((struct fake_cq *)ibv->send_cq)->children--;
	((struct fake_cq *)ibv->recv_cq)->children--;
	if (ibv->srq)
		((struct fake_srq *)ibv->srq)->children--;
	fake_wire_kick_locked(); /* whoever talks to it gets no answer from now on */
	fake_unlock();
	fake_bump(FAKE_QPS, -1);
	fake_bump(FAKE_QUEUE_BYTES, -queue_bytes(qp));
	free_queues(qp);
	free(qp);
	return 0;
}

int fake_query_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attr, int mask,
                  struct ibv_qp_init_attr *init)
{
	struct fake_qp *qp = (struct fake_qp *)ibv;
	int rc;

	(void)mask;
	fake_lock();
	rc = fake_fault_call_locked((struct fake_ctx *)ibv->context, "query_qp");
	if (!rc) {
		*attr = qp->attr;
		attr->cur_qp_state = qp->attr.qp_state;
		attr->cap = qp->cap;
		*init = (struct ibv_qp_init_attr){
		    .qp_context = ibv->qp_context,
		    .send_cq = ibv->send_cq,
		    .recv_cq = ibv->recv_cq,
		    .srq = ibv->srq,
		    .cap = qp->cap,
		    .qp_type = ibv->qp_type,
		    .sq_sig_all = qp->sig_all,
		};
	}
	fake_unlock();
	return rc;
}

static int check_opcode(const struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	bool message = wr->opcode == IBV_WR_SEND || wr->opcode == IBV_WR_SEND_WITH_IMM;
	bool write = wr->opcode == IBV_WR_RDMA_WRITE || wr->opcode == IBV_WR_RDMA_WRITE_WITH_IMM;

	if (message)
		return qp->ibv.qp_type == IBV_QPT_UD && !wr->wr.ud.ah ? EINVAL : 0;
	if (qp->ibv.qp_type == IBV_QPT_UD)
		return EINVAL;
	if (wr->opcode == IBV_WR_RDMA_READ)
		return wr->send_flags & IBV_SEND_INLINE ? EINVAL : 0;
	return write ? 0 : EINVAL;
}

static int check_send(const struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	const struct fake_sq *sq = &qp->sq;

	if (qp->attr.qp_state < IBV_QPS_RTS)
		return EINVAL;
	if (wr->num_sge < 0 || (uint32_t)wr->num_sge > qp->cap.max_send_sge)
		return EINVAL;
	if ((wr->send_flags & IBV_SEND_INLINE) &&
	    fake_sges_len(wr->sg_list, (unsigned)wr->num_sge) > qp->cap.max_inline_data)
		return EINVAL;
	if (sq->tail - sq->freed == sq->cap)
		return ENOMEM;
	return check_opcode(qp, wr);
}

static void copy_inline(struct fake_send *slot, const struct ibv_send_wr *wr)
{
	uint64_t at = 0;

	for (int i = 0; i < wr->num_sge; i++) {
		if (wr->sg_list[i].length)
			memcpy(slot->inlined + at, fake_pointer(wr->sg_list[i].addr),
			       wr->sg_list[i].length);
		at += wr->sg_list[i].length;
	}
}

static void queue_send_locked(struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	struct fake_sq *sq = &qp->sq;
	size_t at = sq->tail % sq->cap, n = (size_t)wr->num_sge;
	struct fake_send *slot = &sq->ring[at];

	*slot = (struct fake_send){
	    .wr_id = wr->wr_id,
	    .remote_addr = wr->wr.rdma.remote_addr,
	    .rkey = wr->wr.rdma.rkey,
	    .len = fake_sges_len(wr->sg_list, (unsigned)n),
	    .imm = wr->imm_data,
	    .opcode = wr->opcode,
	    .flags = wr->send_flags,
	    .num_sge = (unsigned)n,
	    .sge = &sq->sges[at * qp->cap.max_send_sge],
	    .inlined = &sq->inlined[at * qp->cap.max_inline_data],
	};
	if (qp->ibv.qp_type == IBV_QPT_UD) {
		slot->to = ((struct fake_ah *)wr->wr.ud.ah)->attr;
		slot->to_qpn = wr->wr.ud.remote_qpn;
		slot->qkey = wr->wr.ud.remote_qkey;
	}
	if (wr->send_flags & IBV_SEND_INLINE)
		copy_inline(slot, wr);
	else if (n)
		memcpy(slot->sge, wr->sg_list, n * sizeof(*slot->sge));
	sq->tail++;
	fake_bump(FAKE_WORKS, 1);
	fake_bump(FAKE_INLINES, wr->send_flags & IBV_SEND_INLINE ? 1 : 0);
}

int fake_post_send(struct ibv_qp *ibv, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct fake_qp *qp = (struct fake_qp *)ibv;
	uint64_t before;
	int rc = 0;

	fake_lock();
	before = qp->sq.tail;
	for (; wr; wr = wr->next) {
		rc = fake_fault_call_locked((struct fake_ctx *)ibv->context, "post_send");
		if (!rc)
			rc = check_send(qp, wr);
		if (rc)
			break;
		queue_send_locked(qp, wr);
	}
	if (rc)
		*bad = wr;
	fake_bump(FAKE_DOORBELLS, qp->sq.tail != before);
	fake_wire_ready_locked(qp);
	fake_unlock();
	return rc;
}
