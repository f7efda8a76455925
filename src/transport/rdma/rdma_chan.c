/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_chan.c - a queue pair from its making to its last completion.
 *
 * A queue pair is used for one generation and never connected again: packets that are
 * still on their way to it after its end find nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "transport/rdma/rdma_impl.h"

enum {
	PSN_MASK = (1 << 24) - 1,
	TIMEOUT = 14, /* 67 ms, as the exponent of 4.096 us */
	RETRIES = 7,
	RNR_FOREVER = 7,
	RNR_TIMER = 1, /* 10 us: who has no receive posted is about to post one */
	INLINE_WANTED = 128,
};

static const int64_t drain_ns = SL_NS_PER_S;

/* Drivers refuse what they do not have instead of giving less, so ask for less and less. */
static struct ibv_qp *create(struct sl_conn *conn, const struct rdma_chan *c, uint32_t *max_inline)
{
	struct sl_dom *dom = conn->dom;

	for (uint32_t want = INLINE_WANTED;; want /= 2) {
		struct ibv_qp_init_attr init = {
		    .qp_type = IBV_QPT_RC,
		    .send_cq = dom->cq,
		    .recv_cq = dom->cq,
		    .cap = {.max_send_wr = c->sq_cap,
		            .max_recv_wr = c->rq_cap,
		            .max_send_sge = conn->max_sge,
		            .max_recv_sge = 1,
		            .max_inline_data = want},
		};
		struct ibv_qp *qp = dom->v->create_qp(dom->pd, &init);

		*max_inline = init.cap.max_inline_data;
		if (qp || !want)
			return qp;
	}
}

static int to_init(struct sl_conn *conn, struct rdma_chan *c)
{
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_INIT,
	    .port_num = conn->dom->port.number,
	    .qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE,
	};

	return conn->dom->v->modify_qp(
	    c->qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

static int make_qp(struct sl_conn *conn, struct rdma_chan *c, struct slime_error *err)
{
	uint32_t max_inline;
	struct ibv_qp *qp;

	if (sl_random(&c->psn, sizeof(c->psn)))
		return sl_fail(err, -EIO, "the system gives no random bytes");
	c->psn &= PSN_MASK;
	errno = 0;
	qp = create(conn, c, &max_inline);
	if (!qp)
		return sl_fail(err, errno == EINVAL || !errno ? -EIO : -errno,
		               "'%s' gives no queue pair: are all of its %d in use, or too much "
		               "memory locked?",
		               conn->dom->name, conn->dom->attr.orig_attr.max_qp);
	c->qp = qp;
	if (to_init(conn, c)) {
		(void)conn->dom->v->destroy_qp(qp);
		c->qp = NULL;
		return sl_fail(err, -EIO, "'%s' cannot prepare a queue pair", conn->dom->name);
	}
	c->max_inline = max_inline;
	return 0;
}

int sl_rdma_chan_open(struct sl_conn *conn, int kind, struct slime_error *err)
{
	struct rdma_chan *c = &conn->chan[kind];
	struct sl_op_queue over = {0};
	int rc = conn->dom->dead ? 0 : make_qp(conn, c, err);

	if (rc)
		return rc;
	sl_lock_take(&conn->lock);
	c->gen++;
	c->fresh_count = c->rx_count;
	atomic_store(&c->sq_posted, 0);
	atomic_store(&c->sq_done, 0);
	c->sq_good = c->rq_posted = c->rq_done = 0;
	c->cur = (struct rdma_cursor){0};
	c->failed = false;
	c->phase = RDMA_FRESH;
	if (kind == RDMA_DATA) {
		conn->withheld = 0;
		for (uint32_t i = 0; c->qp && i < RDMA_WINDOW; i++)
			sl_rdma_post_window_locked(conn);
	} else {
		sl_rdma_post_recvs_locked(conn, &over);
	}
	sl_lock_drop(&conn->lock);
	(void)sl_rdma_end(&over);
	return 0;
}

static int to_rtr(struct sl_conn *conn, struct rdma_chan *c, const struct ibv_ah_attr *ah)
{
	struct sl_dom *dom = conn->dom;
	uint8_t mtu = (uint8_t)dom->port.attr.active_mtu;
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_RTR,
	    .path_mtu = conn->mail.mtu < mtu ? conn->mail.mtu : mtu,
	    .dest_qp_num = c->far.qpn,
	    .rq_psn = c->far.psn,
	    .max_dest_rd_atomic = (uint8_t)dom->env.reads_in,
	    .min_rnr_timer = RNR_TIMER,
	    .ah_attr = *ah,
	};

	return dom->v->modify_qp(c->qp, &attr,
	                         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
	                             IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
	                             IBV_QP_MIN_RNR_TIMER);
}

static int to_rts(struct sl_conn *conn, struct rdma_chan *c)
{
	struct sl_dom *dom = conn->dom;
	uint32_t reads = dom->env.reads_out;
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_RTS,
	    .timeout = TIMEOUT,
	    .retry_cnt = RETRIES,
	    .rnr_retry = RNR_FOREVER,
	    .sq_psn = c->psn,
	    .max_rd_atomic = conn->mail.reads < reads ? conn->mail.reads : (uint8_t)reads,
	};

	return dom->v->modify_qp(c->qp, &attr,
	                         IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
	                             IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

int sl_rdma_chan_link(struct sl_conn *conn, int kind, struct slime_error *err)
{
	struct rdma_chan *c = &conn->chan[kind];
	struct ibv_ah_attr ah;
	char text[64];
	int rc = sl_rdma_route(&conn->dom->port, &conn->dom->env, &conn->mail, &ah, err);

	if (rc)
		return rc;
	rc = to_rtr(conn, c, &ah);
	if (!rc)
		rc = to_rts(conn, c);
	if (rc) {
		sl_rdma_gid_text(conn->mail.gid, text, sizeof(text));
		return sl_fail(err, -EHOSTUNREACH,
		               "'%s' cannot connect a queue pair to %s (LID %u, queue pair %u): is "
		               "it on the same fabric?",
		               conn->dom->name, text, conn->mail.lid, c->far.qpn);
	}
	sl_lock_take(&conn->lock);
	c->linked = c->far.gen;
	c->phase = RDMA_LINKED;
	sl_lock_drop(&conn->lock);
	return 0;
}

/* What is posted in part is in doubt like the rest: as if it ended behind all, with no number yet.
 */
static void gather_begun_locked(struct rdma_chan *c)
{
	struct sl_op *op = c->cur.wrs ? sl_op_pop(&c->waiting) : NULL;

	c->cur = (struct rdma_cursor){0};
	if (!op)
		return;
	op->priv[RDMA_END] = op->priv[RDMA_SEQ] = UINT64_MAX;
	sl_op_push(&c->posted, op);
}

void sl_rdma_chan_drain(struct sl_conn *conn, int kind)
{
	struct rdma_chan *c = &conn->chan[kind];
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
	bool empty;

	if (c->phase == RDMA_NONE || c->phase == RDMA_DRAIN)
		return;
	sl_lock_take(&conn->lock);
	c->phase = RDMA_DRAIN; /* nobody posts from here on */
	sl_rdma_chan_gather_locked(c);
	gather_begun_locked(c);
	if (kind == RDMA_MSG)
		conn->credit_head = conn->credit_tail = 0;
	sl_lock_drop(&conn->lock);
	c->drain_by = sl_clock_ns() + drain_ns;
	sl_rdma_tick_by(conn->dom, c->drain_by);
	if (c->qp)
		(void)conn->dom->v->modify_qp(c->qp, &attr, IBV_QP_STATE);
	sl_lock_take(&conn->lock);
	empty = sl_rdma_chan_is_empty(c);
	sl_lock_drop(&conn->lock);
	if (empty)
		sl_rdma_todo(conn);
}

void sl_rdma_chan_gather_locked(struct rdma_chan *c)
{
	uint64_t from = atomic_load_explicit(&c->sq_done, memory_order_relaxed);

	for (uint32_t i = 0; c->placed && i < c->sq_cap; i++) {
		struct sl_op *_Atomic *at = &c->placed[(from + i) & c->placed_mask];
		struct sl_op *op = atomic_load_explicit(at, memory_order_relaxed);

		if (op)
			sl_op_push(&c->posted, op);
		atomic_store_explicit(at, NULL, memory_order_relaxed);
	}
}

bool sl_rdma_chan_is_empty(const struct rdma_chan *c)
{
	return atomic_load(&c->sq_done) == atomic_load(&c->sq_posted) && c->rq_done == c->rq_posted;
}

void sl_rdma_chan_free(struct sl_conn *conn, int kind)
{
	struct rdma_chan *c = &conn->chan[kind];

	if (c->qp)
		(void)conn->dom->v->destroy_qp(c->qp);
	c->qp = NULL;
	sl_lock_take(&conn->lock);
	c->phase = RDMA_NONE;
	sl_lock_drop(&conn->lock);
}

bool sl_rdma_chan_is_settled_locked(const struct rdma_chan *c)
{
	return !c->posted.head && !c->cur.wrs && !c->cur.iov &&
	       atomic_load(&c->sq_done) == atomic_load(&c->sq_posted);
}

/* The last posted op that the peer has received, by its number; NULL: none. */
static const struct sl_op *last_received(const struct rdma_chan *c, uint64_t count)
{
	const struct sl_op *last = NULL;

	for (const struct sl_op *op = c->posted.head; op; op = op->next) {
		bool numbered = op->code == SL_OP_WRITE_IMM || op->code == SL_OP_SEND;

		if (numbered && op->priv[RDMA_SEQ] < count)
			last = op;
	}
	return last;
}

int sl_rdma_chan_settle_locked(struct sl_conn *conn, int kind, uint64_t count,
                               struct sl_op_queue *over)
{
	struct rdma_chan *c = &conn->chan[kind];
	struct sl_op_queue again = {0};
	const struct sl_op *last;
	bool before;
	struct sl_op *op;

	if (count < c->acked || count > c->tx_seq)
		return -EPROTO;
	last = last_received(c, count);
	before = last != NULL;
	while ((op = sl_op_pop(&c->posted))) {
		/* what was posted before it has been carried out too, but a read's data is lost */
		bool done = before && op->code != SL_OP_READ;

		if (op == last)
			before = false;
		if (done)
			rdma_op_sent(over, op);
		else
			sl_op_push(&again, op);
	}
	if (again.head) {
		again.tail->next = c->waiting.head;
		c->waiting.tail = c->waiting.head ? c->waiting.tail : again.tail;
		c->waiting.head = again.head;
	}
	c->tx_seq = c->acked = count;
	return 0;
}
