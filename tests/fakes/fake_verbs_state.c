/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fake_verbs_state.c - the states of a QP: which changes there are, which
 * attributes each needs and takes, and which values are refused. As the kernel has it.
 */
#include <errno.h>
#include <string.h>

#include "fakes/fake_verbs_impl.h"

struct change {
	enum ibv_qp_state from, to;
	enum ibv_qp_type type;
	int needs, takes;
};

static const int rtr_rc = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                          IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
static const int rts_rc =
    IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC;
static const int init_rc = IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
static const int init_ud = IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY;

static bool find_change(enum ibv_qp_type type, enum ibv_qp_state from, enum ibv_qp_state to,
                        struct change *out)
{
	const struct change all[] = {
	    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPT_RC, init_rc, 0},
	    {IBV_QPS_INIT, IBV_QPS_INIT, IBV_QPT_RC, 0, init_rc},
	    {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPT_RC, rtr_rc,
	     IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX},
	    {IBV_QPS_RTR, IBV_QPS_RTS, IBV_QPT_RC, rts_rc,
	     IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER},
	    {IBV_QPS_RTS, IBV_QPS_RTS, IBV_QPT_RC, 0,
	     IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER},
	    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPT_UD, init_ud, 0},
	    {IBV_QPS_INIT, IBV_QPS_INIT, IBV_QPT_UD, 0, init_ud},
	    {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPT_UD, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY},
	    {IBV_QPS_RTR, IBV_QPS_RTS, IBV_QPT_UD, IBV_QP_SQ_PSN, IBV_QP_CUR_STATE | IBV_QP_QKEY},
	    {IBV_QPS_RTS, IBV_QPS_RTS, IBV_QPT_UD, 0, IBV_QP_CUR_STATE | IBV_QP_QKEY},
	    {IBV_QPS_SQE, IBV_QPS_RTS, IBV_QPT_UD, 0, IBV_QP_CUR_STATE | IBV_QP_QKEY},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].from == from && all[i].to == to && all[i].type == type) {
			*out = all[i];
			return true;
		}
	*out = (struct change){.from = from, .to = to, .type = type};
	return to == IBV_QPS_RESET || to == IBV_QPS_ERR;
}

static bool values_fit(const struct fake_device *dev, const struct ibv_qp_attr *a, int mask)
{
	const struct ibv_device_attr *limits = &dev->config.attr;

	return !(
	    (mask & IBV_QP_PKEY_INDEX && a->pkey_index) ||
	    (mask & IBV_QP_PORT && (!a->port_num || a->port_num > limits->phys_port_cnt)) ||
	    (mask & IBV_QP_MIN_RNR_TIMER && a->min_rnr_timer > 31) ||
	    (mask & IBV_QP_TIMEOUT && a->timeout > 31) ||
	    (mask & IBV_QP_RETRY_CNT && a->retry_cnt > 7) ||
	    (mask & IBV_QP_RNR_RETRY && a->rnr_retry > 7) ||
	    (mask & IBV_QP_MAX_QP_RD_ATOMIC && a->max_rd_atomic > limits->max_qp_rd_atom) ||
	    (mask & IBV_QP_MAX_DEST_RD_ATOMIC && a->max_dest_rd_atomic > limits->max_qp_rd_atom));
}

static int check(const struct fake_qp *qp, const struct ibv_qp_attr *a, int mask)
{
	enum ibv_qp_state from = qp->attr.qp_state;
	enum ibv_qp_state to = mask & IBV_QP_STATE ? a->qp_state : from;
	struct change change;

	if (mask & IBV_QP_CUR_STATE && a->cur_qp_state != from)
		return EINVAL;
	if (!find_change(qp->ibv.qp_type, from, to, &change))
		return EINVAL;
	if ((mask & change.needs) != change.needs ||
	    mask & ~(change.needs | change.takes | IBV_QP_STATE))
		return EINVAL;
	if (!values_fit(qp->dev, a, mask))
		return EINVAL;
	if (mask & IBV_QP_AV && a->ah_attr.port_num != qp->attr.port_num)
		return EINVAL;
	if (mask & IBV_QP_PATH_MTU &&
	    (a->path_mtu < IBV_MTU_256 ||
	     a->path_mtu > qp->dev->config.ports[qp->attr.port_num - 1].mtu))
		return EINVAL;
	return mask & IBV_QP_AV ? fake_route_check_locked(qp->dev, &a->ah_attr) : 0;
}

static void take_over(struct ibv_qp_attr *to, const struct ibv_qp_attr *a, int mask)
{
	if (mask & IBV_QP_ACCESS_FLAGS)
		to->qp_access_flags = a->qp_access_flags;
	if (mask & IBV_QP_PORT)
		to->port_num = a->port_num;
	if (mask & IBV_QP_QKEY)
		to->qkey = a->qkey;
	if (mask & IBV_QP_AV)
		to->ah_attr = a->ah_attr;
	if (mask & IBV_QP_PATH_MTU)
		to->path_mtu = a->path_mtu;
	if (mask & IBV_QP_TIMEOUT)
		to->timeout = a->timeout;
	if (mask & IBV_QP_RETRY_CNT)
		to->retry_cnt = a->retry_cnt;
	if (mask & IBV_QP_RNR_RETRY)
		to->rnr_retry = a->rnr_retry;
	if (mask & IBV_QP_RQ_PSN)
		to->rq_psn = a->rq_psn & 0xffffff;
	if (mask & IBV_QP_SQ_PSN)
		to->sq_psn = a->sq_psn & 0xffffff;
	if (mask & IBV_QP_MAX_QP_RD_ATOMIC)
		to->max_rd_atomic = a->max_rd_atomic;
	if (mask & IBV_QP_MAX_DEST_RD_ATOMIC)
		to->max_dest_rd_atomic = a->max_dest_rd_atomic;
	if (mask & IBV_QP_MIN_RNR_TIMER)
		to->min_rnr_timer = a->min_rnr_timer;
	if (mask & IBV_QP_DEST_QPN)
		to->dest_qp_num = a->dest_qp_num & 0xffffff;
}

/* Everything in its queues is forgotten, without completions. */
static void reset_locked(struct fake_qp *qp)
{
	struct fake_srq *srq = (struct fake_srq *)qp->ibv.srq;

	fake_wire_leave_locked(qp);
	fake_cq_forget_locked((struct fake_cq *)qp->ibv.send_cq, qp);
	fake_cq_forget_locked((struct fake_cq *)qp->ibv.recv_cq, qp);
	if (qp->receiving && srq)
		srq->rq.freed++;
	qp->receiving = false;
	qp->rq.head = qp->rq.freed = qp->rq.tail;
	qp->sq.done = qp->sq.freed = qp->sq.tail;
	qp->sq.looked = qp->sq.begun = qp->unanswered = qp->rnr = qp->established = qp->last_told =
	    false;
	qp->attr = (struct ibv_qp_attr){.qp_state = IBV_QPS_RESET};
}

void fake_qp_error_locked(struct fake_qp *qp)
{
	qp->attr.qp_state = IBV_QPS_ERR;
	fake_wire_leave_locked(qp);
	fake_wire_ready_locked(qp); /* to be flushed */
	fake_wire_kick_locked();
}

int fake_modify_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attr, int mask)
{
	struct fake_qp *qp = (struct fake_qp *)ibv;
	int rc;

	fake_lock();
	rc = fake_fault_call_locked((struct fake_ctx *)ibv->context, "modify_qp");
	if (!rc)
		rc = check(qp, attr, mask);
	if (!rc) {
		take_over(&qp->attr, attr, mask);
		if (mask & IBV_QP_STATE)
			qp->attr.qp_state = ibv->state = attr->qp_state;
		if (qp->attr.qp_state == IBV_QPS_RESET)
			reset_locked(qp);
		else if (qp->attr.qp_state == IBV_QPS_ERR)
			fake_qp_error_locked(qp);
		fake_wire_kick_locked();
	}
	fake_unlock();
	return rc;
}
