/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_srq.c - receive queues, of one QP or shared. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fakes/fake_verbs_impl.h"

int fake_rq_init(struct fake_rq *rq, unsigned cap, unsigned max_sge)
{
	*rq = (struct fake_rq){.cap = cap, .max_sge = max_sge};
	if (!cap)
		return 0;
	rq->ring = calloc(cap, sizeof(*rq->ring));
	rq->sges = calloc((size_t)cap * (max_sge ? max_sge : 1), sizeof(*rq->sges));
	if (rq->ring && rq->sges)
		return 0;
	fake_rq_free(rq);
	return ENOMEM;
}

void fake_rq_free(struct fake_rq *rq)
{
	free(rq->ring);
	free(rq->sges);
	rq->ring = NULL;
	rq->sges = NULL;
}

int fake_rq_post_locked(struct fake_rq *rq, const struct ibv_recv_wr *wr)
{
	struct fake_recv *slot;

	if (wr->num_sge < 0 || (unsigned)wr->num_sge > rq->max_sge)
		return EINVAL;
	if (rq->tail - rq->freed == rq->cap)
		return ENOMEM;
	slot = &rq->ring[rq->tail % rq->cap];
	*slot = (struct fake_recv){
	    .wr_id = wr->wr_id,
	    .num_sge = (unsigned)wr->num_sge,
	    .sge = &rq->sges[rq->tail % rq->cap * rq->max_sge],
	};
	if (wr->num_sge)
		memcpy(slot->sge, wr->sg_list, (size_t)wr->num_sge * sizeof(*slot->sge));
	rq->tail++;
	return 0;
}

bool fake_rq_take_locked(struct fake_qp *qp)
{
	struct fake_srq *srq = (struct fake_srq *)qp->ibv.srq;
	struct fake_rq *rq = srq ? &srq->rq : &qp->rq;

	if (rq->head == rq->tail)
		return false;
	qp->rx = rq->ring[rq->head % rq->cap];
	if (qp->rx.num_sge)
		memcpy(qp->rx_sge, qp->rx.sge, qp->rx.num_sge * sizeof(qp->rx_sge[0]));
	qp->rx.sge = qp->rx_sge;
	qp->receiving = true;
	rq->head++;
	if (srq && rq->tail - rq->head < srq->limit) {
		srq->limit = 0;
		fake_raise_locked((struct fake_ctx *)srq->ibv.context, &srq->source,
		                  IBV_EVENT_SRQ_LIMIT_REACHED);
	}
	return true;
}

struct ibv_srq *fake_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *init)
{
	struct fake_ctx *ctx = (struct fake_ctx *)pd->context;
	const struct ibv_device_attr *limits = &ctx->dev->config.attr;
	struct ibv_srq_attr *a = &init->attr;
	struct fake_srq *srq = calloc(1, sizeof(*srq));
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(ctx, "create_srq");
	if (!rc && (!a->max_wr || a->max_wr > (uint32_t)limits->max_srq_wr ||
	            a->max_sge > (uint32_t)limits->max_srq_sge))
		rc = EINVAL;
	if (!rc && (!srq || fake_verbs_count(FAKE_SRQS) >= (uint64_t)limits->max_srq))
		rc = ENOMEM;
	if (!rc)
		rc = fake_rq_init(&srq->rq, a->max_wr, a->max_sge);
	((struct fake_pd *)pd)->children += !rc;
	fake_unlock();
	if (rc) {
		free(srq);
		errno = rc;
		return NULL;
	}
	srq->ibv =
	    (struct ibv_srq){.context = pd->context, .srq_context = init->srq_context, .pd = pd};
	srq->source.event.element.srq = &srq->ibv;
	fake_bump(FAKE_SRQS, 1);
	fake_bump(FAKE_QUEUE_BYTES, (int64_t)a->max_wr * 64);
	return &srq->ibv;
}

int fake_modify_srq(struct ibv_srq *ibv, struct ibv_srq_attr *attr, int mask)
{
	struct fake_srq *srq = (struct fake_srq *)ibv;
	int rc;

	fake_lock();
	rc = fake_fault_call_locked((struct fake_ctx *)ibv->context, "modify_srq");
	if (!rc && (mask != IBV_SRQ_LIMIT || attr->srq_limit > srq->rq.cap))
		rc = EINVAL;
	if (!rc)
		srq->limit = attr->srq_limit;
	fake_unlock();
	return rc;
}

int fake_destroy_srq(struct ibv_srq *ibv)
{
	struct fake_srq *srq = (struct fake_srq *)ibv;

	fake_lock();
	if (srq->children) {
		fake_unlock();
		return EBUSY;
	}
	fake_source_end_locked((struct fake_ctx *)ibv->context, &srq->source, "an SRQ");
	((struct fake_pd *)ibv->pd)->children--;
	fake_unlock();
	fake_bump(FAKE_SRQS, -1);
	fake_bump(FAKE_QUEUE_BYTES, -(int64_t)srq->rq.cap * 64);
	fake_rq_free(&srq->rq);
	free(srq);
	return 0;
}

int fake_post_srq_recv(struct ibv_srq *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct fake_srq *srq = (struct fake_srq *)ibv;
	int rc = 0;

	fake_lock();
	for (; wr && !rc; wr = rc ? wr : wr->next) {
		rc = fake_fault_call_locked((struct fake_ctx *)ibv->context, "post_srq_recv");
		if (!rc)
			rc = fake_rq_post_locked(&srq->rq, wr);
		if (rc)
			*bad = wr;
	}
	fake_wire_kick_locked();
	fake_unlock();
	return rc;
}

int fake_post_recv(struct ibv_qp *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct fake_qp *qp = (struct fake_qp *)ibv;
	int rc = 0;

	fake_lock();
	for (; wr && !rc; wr = rc ? wr : wr->next) {
		rc = fake_fault_call_locked((struct fake_ctx *)ibv->context, "post_recv");
		if (!rc && (ibv->srq || qp->attr.qp_state == IBV_QPS_RESET))
			rc = EINVAL;
		if (!rc)
			rc = fake_rq_post_locked(&qp->rq, wr);
		if (rc)
			*bad = wr;
	}
	if (qp->attr.qp_state == IBV_QPS_ERR) /* to be flushed */
		fake_wire_ready_locked(qp);
	fake_wire_kick_locked();
	fake_unlock();
	return rc;
}
