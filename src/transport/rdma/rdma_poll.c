/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_poll.c - what a completion means.
 *
 * That requests were carried out is the usual news, and takes no lock: whoever posts puts
 * each op into chan->placed, at the place of its last request, before it rings; we, the
 * only ones who poll, take out what is covered and then free the places. Ops that wait
 * for room say so (rdma_must_wait()) and look once more; so either they see the room, or we
 * them. Everything else is under the lock, with the ops gathered into chan->posted.
 */
#include <errno.h>

#include "base/log.h"
#include "transport/rdma/rdma_impl.h"

int sl_rdma_status(enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_REM_ACCESS_ERR:
		return -EACCES;
	case IBV_WC_REM_INV_REQ_ERR:
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_REM_INV_RD_REQ_ERR:
		return -EREMOTEIO;
	case IBV_WC_LOC_LEN_ERR:
		return -EMSGSIZE;
	case IBV_WC_LOC_PROT_ERR:
	case IBV_WC_LOC_ACCESS_ERR:
	case IBV_WC_MW_BIND_ERR:
		return -EACCES;
	default:
		return 0;
	}
}

static const char *const kinds[] = {"data", "message"};

static void note(const struct sl_conn *conn, int kind, bool recv, const struct ibv_wc *wc)
{
	sl_log(SLIME_LOG_INFO,
	       "rdma: %s of a %s queue pair of '%s' ended with '%s' (vendor error 0x%x)",
	       recv ? "a receive" : "a request", kinds[kind], conn->dom->name,
	       conn->dom->v->wc_status_str(wc->status), wc->vendor_err);
}

static void retire_one(struct rdma_chan *c, struct sl_op *op, struct sl_op_queue *over)
{
	if (op->code == SL_OP_WRITE_IMM || op->code == SL_OP_SEND)
		c->acked = op->priv[RDMA_SEQ] + 1;
	rdma_op_sent(over, op);
}

/* All requests before GOOD were carried out, so the ops that end there are done. */
static void retire_locked(struct rdma_chan *c, uint64_t good, struct sl_op_queue *over)
{
	c->sq_good = good;
	while (c->posted.head && c->posted.head->priv[RDMA_END] <= good)
		retire_one(c, sl_op_pop(&c->posted), over);
}

/* ... and those that are placed before GOOD; no lock. */
static void retire_placed(struct rdma_chan *c, uint64_t good, struct sl_op_queue *over)
{
	uint64_t at = atomic_load_explicit(&c->sq_done, memory_order_relaxed);

	for (; at < good; at++) {
		struct sl_op *_Atomic *slot = &c->placed[at & c->placed_mask];
		struct sl_op *op = atomic_load_explicit(slot, memory_order_acquire);

		if (!op)
			continue;
		atomic_store_explicit(slot, NULL, memory_order_relaxed);
		retire_one(c, op, over);
	}
	c->sq_good = good;
}

/* The request at PLACE failed: everything before it is done, and it is the first op's that is not.
 */
static void blame_locked(struct rdma_chan *c, uint64_t place, int status, struct sl_op_queue *over)
{
	struct sl_op *op;

	retire_locked(c, place, over);
	op = c->posted.head ? c->posted.head : c->waiting.head;
	if (op && status && !op->priv[RDMA_STATUS])
		op->priv[RDMA_STATUS] = (uint64_t)(int64_t)status;
}

/* What has to follow, when the lock is free. */
struct verdict {
	bool drained, up, strike;
	int status; /* of the strike */
	int end;    /* of the connection */
};

/* Which request a completion of the send queue is about. False: one that was told of before. */
static bool find_place(const struct rdma_chan *c, const struct ibv_wc *wc, uint64_t *out)
{
	uint64_t done = atomic_load_explicit(&c->sq_done, memory_order_relaxed);

	*out = done + (uint32_t)((uint32_t)wc->wr_id - (uint32_t)done);
	return *out < atomic_load(&c->sq_posted);
}

/* There is room in the send queue again. */
static void push_locked(struct sl_conn *conn, int kind, struct sl_op_queue *over)
{
	if (kind == RDMA_DATA) {
		sl_rdma_push_data_locked(conn, over);
		sl_rdma_tell_credits_locked(conn);
	} else {
		sl_rdma_push_msgs_locked(conn);
	}
}

static void sent_locked(struct sl_conn *conn, int kind, const struct ibv_wc *wc,
                        struct sl_op_queue *over, struct verdict *out)
{
	struct rdma_chan *c = &conn->chan[kind];
	uint64_t place;

	if (!find_place(c, wc, &place))
		return;
	sl_rdma_chan_gather_locked(c);
	atomic_store(&c->sq_done, place + 1);
	if (wc->status != IBV_WC_SUCCESS) {
		if (wc->status != IBV_WC_WR_FLUSH_ERR) {
			note(conn, kind, false, wc);
			blame_locked(c, place, sl_rdma_status(wc->status), over);
			out->status = sl_rdma_status(wc->status) ? 0 : -EHOSTUNREACH;
		}
		out->strike = true;
		return;
	}
	c->strikes = 0;
	retire_locked(c, place + 1, over);
	if (c->phase == RDMA_UP)
		push_locked(conn, kind, over);
}

/* Requests were carried out on a queue pair that is well. */
static void carried_out(struct sl_conn *conn, int kind, const struct ibv_wc *wc,
                        struct sl_op_queue *over)
{
	struct rdma_chan *c = &conn->chan[kind];
	uint64_t place;

	if (!find_place(c, wc, &place))
		return;
	c->strikes = 0;
	retire_placed(c, place + 1, over);
	atomic_store(&c->sq_done, place + 1);
	if (!atomic_load(&c->hungry))
		return;
	sl_lock_take(&conn->lock);
	atomic_store(&c->hungry, false);
	push_locked(conn, kind, over);
	sl_lock_drop(&conn->lock);
}

static void received_locked(struct sl_conn *conn, int kind, const struct ibv_wc *wc,
                            struct sl_op_queue *over, struct verdict *out)
{
	struct rdma_chan *c = &conn->chan[kind];

	if ((uint32_t)wc->wr_id != (uint32_t)c->rq_done)
		return; /* told twice */
	c->rq_done++;
	if (wc->status != IBV_WC_SUCCESS) {
		if (wc->status != IBV_WC_WR_FLUSH_ERR) {
			note(conn, kind, true, wc);
			if (kind == RDMA_MSG)
				sl_rdma_take_piece_locked(conn, wc, sl_rdma_status(wc->status),
				                          over);
		}
		out->strike = true;
		return;
	}
	c->strikes = 0;
	out->up = c->phase == RDMA_LINKED;
	if (kind == RDMA_DATA) {
		out->end = sl_rdma_take_record_locked(conn, wc, over);
		return;
	}
	sl_rdma_take_piece_locked(conn, wc, 0, over);
	sl_rdma_post_recvs_locked(conn, over);
	sl_rdma_tell_credits_locked(conn);
}

static struct sl_conn *conn_of(const struct sl_dom *dom, uint64_t wr_id)
{
	const struct rdma_slot *slot = &dom->slots[wr_id >> 44];

	return wr_id >> 44 < dom->nslots && (uint8_t)slot->used == (uint8_t)(wr_id >> 36)
	           ? slot->conn
	           : NULL;
}

/* Anything but that requests were carried out. */
static int look_into(struct sl_conn *conn, int kind, bool recv, const struct ibv_wc *wc)
{
	struct rdma_chan *c = &conn->chan[kind];
	struct sl_op_queue over = {0};
	struct verdict v = {0};
	bool drains;
	int n;

	sl_lock_take(&conn->lock);
	drains = c->phase == RDMA_DRAIN;
	if (recv)
		received_locked(conn, kind, wc, &over, &v);
	else
		sent_locked(conn, kind, wc, &over, &v);
	v.drained = drains && sl_rdma_chan_is_empty(c);
	sl_lock_drop(&conn->lock);
	if (recv && wc->status == IBV_WC_SUCCESS)
		conn->alive_ns = conn->heard_ns = sl_clock_ns();
	n = sl_rdma_end(&over);
	if (v.end && !conn->ending)
		sl_rdma_conn_end(conn, v.end);
	else if (v.up)
		sl_rdma_conn_up(conn, kind);
	if (v.strike && !drains)
		sl_rdma_conn_strike(conn, kind, v.status);
	if (v.drained)
		sl_rdma_conn_drained(conn, kind);
	return n;
}

int sl_rdma_wc(struct sl_dom *dom, const struct ibv_wc *wc)
{
	int kind = (int)(wc->wr_id >> 33 & 1);
	bool recv = wc->wr_id >> 32 & 1;
	struct sl_op_queue over = {0};
	struct sl_conn *conn;
	struct rdma_chan *c;

	if (wc->wr_id >> 44 == RDMA_SLOT_BOX) {
		sl_rdma_box_wc(dom, wc);
		return 1;
	}
	conn = conn_of(dom, wc->wr_id);
	if (!conn)
		return 0;
	c = &conn->chan[kind];
	if (!c->qp)
		return 0;
	if (recv || wc->status != IBV_WC_SUCCESS || c->phase != RDMA_UP || c->posted.head)
		return look_into(conn, kind, recv, wc);
	carried_out(conn, kind, wc, &over);
	return sl_rdma_end(&over);
}
