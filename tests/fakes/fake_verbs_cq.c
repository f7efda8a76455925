/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_cq.c - completion queues and their channels. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fakes/fake_verbs_impl.h"

struct ibv_comp_channel *fake_create_comp_channel(struct ibv_context *ibv)
{
	struct fake_ctx *ctx = (struct fake_ctx *)ibv;
	struct fake_channel *channel = calloc(1, sizeof(*channel));
	int rc = channel ? 0 : ENOMEM;

	if (!rc) {
		channel->ibv.fd = eventfd(0, EFD_CLOEXEC);
		rc = channel->ibv.fd < 0 ? errno : 0;
	}
	if (!rc) {
		fake_lock();
		rc = fake_fault_call_locked(ctx, "create_comp_channel");
		ctx->children += !rc;
		fake_unlock();
		if (rc)
			(void)close(channel->ibv.fd);
	}
	if (rc) {
		free(channel);
		errno = rc;
		return NULL;
	}
	channel->ibv.context = ibv;
	TAILQ_INIT(&channel->waiting);
	fake_bump(FAKE_CHANNELS, 1);
	return &channel->ibv;
}

int fake_destroy_comp_channel(struct ibv_comp_channel *ibv)
{
	struct fake_channel *channel = (struct fake_channel *)ibv;
	bool busy;

	fake_lock();
	busy = ibv->refcnt;
	((struct fake_ctx *)ibv->context)->children -= !busy;
	fake_unlock();
	if (busy)
		return EBUSY;
	(void)close(ibv->fd);
	free(channel);
	fake_bump(FAKE_CHANNELS, -1);
	return 0;
}

struct ibv_cq *fake_create_cq(struct ibv_context *ibv, int cqe, void *cq_context,
                              struct ibv_comp_channel *channel, int vector)
{
	struct fake_ctx *ctx = (struct fake_ctx *)ibv;
	const struct ibv_device_attr *limits = &ctx->dev->config.attr;
	struct fake_cq *cq = calloc(1, sizeof(*cq));
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(ctx, "create_cq");
	if (!rc &&
	    (cqe < 1 || cqe > limits->max_cqe || vector < 0 || vector >= ibv->num_comp_vectors))
		rc = EINVAL;
	if (!rc && cq)
		cq->ring = calloc((size_t)cqe, sizeof(*cq->ring));
	if (!rc && (!cq || !cq->ring || fake_verbs_count(FAKE_CQS) >= (uint64_t)limits->max_cq))
		rc = ENOMEM;
	ctx->children += !rc;
	if (!rc && channel)
		channel->refcnt++;
	fake_unlock();
	if (rc) {
		if (cq)
			free(cq->ring);
		free(cq);
		errno = rc;
		return NULL;
	}
	cq->cap = (unsigned)cqe;
	cq->ibv = (struct ibv_cq){
	    .context = ibv, .channel = channel, .cq_context = cq_context, .cqe = cqe};
	cq->source.event.element.cq = &cq->ibv;
	fake_bump(FAKE_CQS, 1);
	fake_bump(FAKE_QUEUE_BYTES, (int64_t)cqe * 64);
	return &cq->ibv;
}

/* The N oldest entries, oldest first. */
static void copy_entries(const struct fake_cq *cq, struct fake_cqe *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = cq->ring[(cq->head + i) % cq->cap];
}

int fake_resize_cq(struct ibv_cq *ibv, int cqe)
{
	struct fake_cq *cq = (struct fake_cq *)ibv;
	struct fake_ctx *ctx = (struct fake_ctx *)ibv->context;
	struct fake_cqe *ring = cqe > 0 ? calloc((size_t)cqe, sizeof(*ring)) : NULL;
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(ctx, "resize_cq");
	if (!rc &&
	    (cqe < 1 || cqe > ctx->dev->config.attr.max_cqe || (unsigned)cqe < atomic_load(&cq->n)))
		rc = EINVAL;
	if (!rc && !ring)
		rc = ENOMEM;
	if (!rc) {
		struct fake_cqe *old = cq->ring;

		copy_entries(cq, ring, atomic_load(&cq->n));
		fake_bump(FAKE_QUEUE_BYTES, ((int64_t)cqe - (int64_t)cq->cap) * 64);
		cq->ring = ring;
		ring = old;
		cq->head = 0;
		cq->cap = (unsigned)cqe;
		ibv->cqe = cqe;
	}
	fake_unlock();
	free(ring);
	return rc;
}

int fake_destroy_cq(struct ibv_cq *ibv)
{
	struct fake_cq *cq = (struct fake_cq *)ibv;
	struct fake_channel *channel = (struct fake_channel *)ibv->channel;
	struct fake_ctx *ctx = (struct fake_ctx *)ibv->context;

	fake_lock();
	if (cq->children) {
		fake_unlock();
		return EBUSY;
	}
	if (cq->undelivered) {
		TAILQ_REMOVE(&channel->waiting, cq, link);
		cq->undelivered = 0;
		if (TAILQ_EMPTY(&channel->waiting))
			fake_fd_clear(channel->ibv.fd);
	}
	fake_source_end_locked(ctx, &cq->source, "a CQ");
	fake_wait_acked_locked(&cq->unacked, "a CQ");
	ctx->children--;
	if (channel)
		channel->ibv.refcnt--;
	fake_unlock();
	fake_bump(FAKE_CQS, -1);
	fake_bump(FAKE_QUEUE_BYTES, -(int64_t)cq->cap * 64);
	free(cq->ring);
	free(cq);
	return 0;
}

/* What is in the queue already does not tell: the next one will. */
int fake_req_notify_cq(struct ibv_cq *ibv, int solicited_only)
{
	struct fake_cq *cq = (struct fake_cq *)ibv;
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(NULL, "req_notify_cq"); /* a doorbell: no device objects */
	if (!rc && cq->armed != ARMED)
		cq->armed = solicited_only ? ARMED_SOLICITED : ARMED;
	fake_unlock();
	return rc;
}

static void notify_locked(struct fake_cq *cq)
{
	struct fake_channel *channel = (struct fake_channel *)cq->ibv.channel;

	cq->armed = DISARMED;
	if (!channel)
		return;
	if (!cq->undelivered++)
		TAILQ_INSERT_TAIL(&channel->waiting, cq, link);
	fake_bump(FAKE_WAKES, 1);
	fake_fd_set(channel->ibv.fd);
}

static struct fake_cq *take_event(struct fake_channel *channel)
{
	struct fake_cq *cq;

	fake_lock();
	cq = TAILQ_FIRST(&channel->waiting);
	if (cq) {
		TAILQ_REMOVE(&channel->waiting, cq, link);
		if (--cq->undelivered)
			TAILQ_INSERT_TAIL(&channel->waiting, cq, link);
		cq->unacked++;
		if (TAILQ_EMPTY(&channel->waiting))
			fake_fd_clear(channel->ibv.fd);
	}
	fake_unlock();
	return cq;
}

int fake_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **out, void **cq_context)
{
	struct fake_cq *cq;

	do {
		if (fake_fd_wait(channel->fd))
			return -1;
		cq = take_event((struct fake_channel *)channel);
	} while (!cq);
	*out = &cq->ibv;
	*cq_context = cq->ibv.cq_context;
	return 0;
}

void fake_ack_cq_events(struct ibv_cq *cq, unsigned n)
{
	fake_lock();
	((struct fake_cq *)cq)->unacked -= n;
	fake_unlock();
}

void fake_cq_overrun_locked(struct fake_cq *cq, struct fake_qp *qp)
{
	struct fake_ctx *ctx = (struct fake_ctx *)cq->ibv.context;

	if (!cq->dead) {
		fake_bump(FAKE_OVERRUNS, 1);
		fake_raise_locked(ctx, &cq->source, IBV_EVENT_CQ_ERR);
	}
	cq->dead = true;
	if (qp->attr.qp_state == IBV_QPS_ERR)
		return;
	fake_raise_locked(ctx, &qp->source, IBV_EVENT_QP_FATAL);
	fake_qp_error_locked(qp);
}

static void put_locked(struct fake_cq *cq, const struct fake_cqe *cqe, bool solicited)
{
	unsigned n = atomic_load(&cq->n);

	if (cq->dead || n == cq->cap) {
		if (cqe->qp)
			fake_cq_overrun_locked(cq, cqe->qp);
		return;
	}
	cq->ring[(cq->head + n) % cq->cap] = *cqe;
	atomic_store(&cq->n, n + 1);
	fake_bump(FAKE_CQES, 1);
	if (cq->armed == ARMED ||
	    (cq->armed == ARMED_SOLICITED && (solicited || cqe->wc.status != IBV_WC_SUCCESS)))
		notify_locked(cq);
}

/* All that a failed completion says is true; the rest is not zero, so that nobody relies on it. */
static void spoil(struct ibv_wc *wc)
{
	struct ibv_wc bad;

	memset(&bad, 0xa5, sizeof(bad));
	bad.wr_id = wc->wr_id;
	bad.status = wc->status;
	bad.qp_num = wc->qp_num;
	*wc = bad;
}

void fake_cq_add_locked(struct fake_cq *cq, const struct fake_cqe *cqe, bool solicited)
{
	struct fake_cqe entry = *cqe;
	bool twice = cqe->qp && fake_fault_duplicate_locked(cqe->qp);

	if (entry.wc.status != IBV_WC_SUCCESS)
		spoil(&entry.wc);
	put_locked(cq, &entry, solicited);
	if (!twice)
		return;
	entry.qp = NULL; /* its slots are given back once */
	entry.srq = NULL;
	put_locked(cq, &entry, solicited);
}

static void give_back_locked(const struct fake_cqe *cqe)
{
	if (cqe->srq)
		cqe->srq->rq.freed++;
	else if (cqe->qp && cqe->recv)
		cqe->qp->rq.freed++;
	else if (cqe->qp && cqe->qp->sq.freed < cqe->sq_end)
		cqe->qp->sq.freed = cqe->sq_end;
}

static int take_locked(struct fake_cq *cq, int n, struct ibv_wc *wc)
{
	unsigned have = atomic_load(&cq->n);
	int taken = 0;

	for (; taken < n && have; taken++, have--) {
		const struct fake_cqe *cqe = &cq->ring[cq->head];

		wc[taken] = cqe->wc;
		give_back_locked(cqe);
		cq->head = (cq->head + 1) % cq->cap;
	}
	atomic_store(&cq->n, have);
	return taken;
}

/* An empty queue costs no lock: whoever waits looks all the time. */
int fake_poll_cq(struct ibv_cq *ibv, int n, struct ibv_wc *wc)
{
	struct fake_cq *cq = (struct fake_cq *)ibv;
	int taken;

	if (!fabric.config.synchronous && !atomic_load_explicit(&cq->n, memory_order_acquire) &&
	    !fake_fault_ordered()) {
		fake_bump(FAKE_EMPTY_POLLS, 1);
		return 0;
	}
	fake_lock();
	if (fabric.config.synchronous)
		fake_wire_run_locked();
	taken = fake_fault_call_locked(NULL, "poll_cq") ? -1 : take_locked(cq, n, wc);
	fake_unlock();
	return taken;
}

void fake_cq_forget_locked(struct fake_cq *cq, const struct fake_qp *qp)
{
	unsigned n = atomic_load(&cq->n), kept = 0;

	for (unsigned i = 0; i < n; i++) {
		struct fake_cqe *cqe = &cq->ring[(cq->head + i) % cq->cap];
		bool ours = cqe->qp == qp;

		if (ours) {
			give_back_locked(cqe);
			cqe->qp = NULL;
			cqe->srq = NULL;
		}
		if (!ours || !fabric.config.purge_cqes)
			cq->ring[(cq->head + kept++) % cq->cap] = *cqe;
	}
	atomic_store(&cq->n, kept);
}
