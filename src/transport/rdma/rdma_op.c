/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/rdma/rdma_op.c - ops on their way in, taken back, and out. */
#include <errno.h>
#include <string.h>

#include "transport/rdma/rdma_impl.h"

int sl_rdma_usable_locked(const struct sl_conn *conn)
{
	if (conn->closed)
		return -ECANCELED;
	if (conn->broken)
		return -ECONNRESET;
	return conn->ready ? 0 : -ENOTCONN;
}

static int submit_recv_imm(struct sl_conn *conn, struct sl_op *op, struct sl_op_queue *over)
{
	struct rdma_group *group = &conn->group;
	bool ease = false, taken = false;
	struct sl_imm imm;
	int rc = 0;

	sl_lock_take(&conn->lock);
	if (!conn->closed && sl_imm_pop(&group->imms, &imm)) { /* also of a peer that went */
		op->imm = imm.value;
		op->priv[RDMA_BYTES] = imm.bytes;
		rdma_over(over, op, 0);
		taken = true;
		ease = group->full && rdma_imms_have_room(group);
		group->full = group->full && !ease;
	}
	if (!taken)
		rc = sl_rdma_usable_locked(conn);
	if (!taken && !rc)
		sl_op_push(&group->imm_recvs, op);
	sl_lock_drop(&conn->lock);
	for (struct sl_conn *c = conn; ease && c; c = c->next_lane)
		sl_rdma_todo(c);
	return rc;
}

static int submit_one_sided(struct sl_conn *conn, struct sl_op *op, struct sl_op_queue *over)
{
	int rc;

	sl_lock_take(&conn->lock);
	rc = sl_rdma_usable_locked(conn);
	if (!rc && conn->out)
		rc = -ENETDOWN;
	if (!rc && !sl_rdma_post_alone_locked(conn, op)) {
		sl_op_push(&conn->chan[RDMA_DATA].waiting, op);
		sl_rdma_push_data_locked(conn, over);
	}
	sl_lock_drop(&conn->lock);
	return rc;
}

int sl_rdma_submit(struct sl_conn *conn, struct sl_op *op)
{
	struct sl_op_queue over = {0};
	int rc;

	memset(op->priv, 0, sizeof(op->priv));
	if (op->code <= SL_OP_WRITE)
		rc = submit_one_sided(conn, op, &over);
	else if (op->code == SL_OP_WRITE_IMM)
		rc = sl_rdma_home_submit(conn, RDMA_IMMS, op, &over);
	else if (op->code == SL_OP_SEND)
		rc = sl_rdma_home_submit(conn, RDMA_SENDS, op, &over);
	else if (op->code == SL_OP_RECV)
		rc = sl_rdma_home_submit(conn, RDMA_RECVS, op, &over);
	else
		rc = submit_recv_imm(conn, op, &over);
	if (over.head)
		(void)sl_rdma_end(&over);
	return rc;
}

static struct sl_op *find(const struct sl_op_queue *q, const struct sl_op *op)
{
	struct sl_op *at = q->head;

	while (at && at != op)
		at = at->next;
	return at;
}

static bool is_placed_locked(const struct rdma_chan *c, const struct sl_op *op)
{
	for (uint32_t i = 0; c->placed && i <= c->placed_mask; i++) {
		if (atomic_load_explicit(&c->placed[i], memory_order_relaxed) == op)
			return true;
	}
	return false;
}

/* Does a queue pair have OP, or some of it? */
static bool is_out_locked(const struct rdma_chan *c, const struct sl_op *op)
{
	return find(&c->posted, op) || is_placed_locked(c, op) ||
	       (c->waiting.head == op && (c->cur.wrs || c->cur.iov));
}

/*
 * Take OP back, if the queue pair does not have it. Else true, the second time that we
 * are asked: most are over by themselves in the millisecond between, and to take one
 * away from the queue pair takes it from all the others too.
 */
static bool cancel_out_locked(struct sl_conn *conn, int kind, struct sl_op *op,
                              struct sl_op_queue *over)
{
	struct rdma_chan *c = &conn->chan[kind];
	bool holds = c->phase == RDMA_UP || c->phase == RDMA_LINKED;
	bool asked;

	if (!is_out_locked(c, op) || c->phase == RDMA_FRESH || c->phase == RDMA_NONE) {
		if (sl_op_take_stopped(&c->waiting, op))
			rdma_over(over, op, sl_op_stop(op));
		else if (sl_op_take_stopped(&c->posted, op))
			rdma_over(rdma_is_write(op) ? &conn->late : over, op, sl_op_stop(op));
		return false;
	}
	if (!sl_op_stop(op))
		return false;
	asked = op->priv[RDMA_NOTES] & RDMA_ASKED;
	op->priv[RDMA_NOTES] |= RDMA_ASKED;
	return holds && asked;
}

static void cancel_on(struct sl_conn *conn, struct sl_op *op)
{
	struct sl_op_queue over = {0};
	int kind = -1;

	sl_lock_take(&conn->lock);
	if (sl_rdma_take_recv_locked(conn, op))
		rdma_over(&over, op, sl_op_stop(op));
	else if (find(&conn->recvs, op))
		kind = sl_op_stop(op) ? RDMA_MSG : -1;
	else if (cancel_out_locked(conn, RDMA_DATA, op, &over))
		kind = RDMA_DATA;
	else if (!over.head && cancel_out_locked(conn, RDMA_MSG, op, &over))
		kind = RDMA_MSG;
	sl_lock_drop(&conn->lock);
	sl_rdma_await_late(conn);
	(void)sl_rdma_end(&over);
	if (kind >= 0)
		sl_rdma_conn_strike(conn, kind, 0);
}

static bool cancel_recv_imm(struct sl_conn *first, struct sl_op *op)
{
	bool found;

	sl_lock_take(&first->lock);
	found = sl_op_take_stopped(&first->group.imm_recvs, op);
	sl_lock_drop(&first->lock);
	if (found)
		sl_op_done(op, sl_op_stop(op), 0, 0);
	return found;
}

void sl_rdma_cancel(struct sl_conn *conn, struct sl_op *op)
{
	if (conn->first != conn) {
		cancel_on(conn, op);
		return;
	}
	if (cancel_recv_imm(conn, op))
		return;
	for (struct sl_conn *c = conn; c; c = c->next_lane) /* where it is at home now */
		cancel_on(c, op);
}

static void end_one(struct sl_op *op)
{
	bool receives = op->code == SL_OP_RECV || op->code == SL_OP_RECV_IMM;
	int status = (int)(int64_t)op->priv[RDMA_STATUS];
	uint64_t bytes = receives ? op->priv[RDMA_BYTES] : op->bytes;

	sl_op_done(op, status, status ? 0 : bytes, op->imm);
}

int sl_rdma_end(struct sl_op_queue *over)
{
	struct sl_op *op;
	int n = 0;

	for (; (op = sl_op_pop(over)); n++)
		end_one(op);
	return n;
}

/* Q ends: each op with the status that it has, that of its stop, or STATUS; if that is 0 too, it
 * stays. Writes go to LATE. */
static void take_queue(struct sl_op_queue *q, int status, struct sl_op_queue *over,
                       struct sl_op_queue *late)
{
	struct sl_op_queue all = *q;
	struct sl_op *op;

	*q = (struct sl_op_queue){0};
	while ((op = sl_op_pop(&all))) {
		int own = (int)(int64_t)op->priv[RDMA_STATUS];
		int stop = sl_op_stop(op);

		if (own || stop || status)
			rdma_over(rdma_is_write(op) ? late : over, op,
			          own    ? own
			          : stop ? stop
			                 : status);
		else
			sl_op_push(q, op);
	}
}

void sl_rdma_sift_locked(struct sl_conn *conn, int kind, struct sl_op_queue *over)
{
	take_queue(&conn->chan[kind].posted, 0, over, &conn->late);
	take_queue(&conn->chan[kind].waiting, 0, over, over);
}

void sl_rdma_take_imm_recvs_locked(struct sl_conn *first, int status, struct sl_op_queue *over)
{
	take_queue(&first->group.imm_recvs, status, over, over);
}

void sl_rdma_take_all_locked(struct sl_conn *conn, int status, struct sl_op_queue *over)
{
	for (int kind = 0; kind < RDMA_CHANS; kind++) {
		take_queue(&conn->chan[kind].posted, status, over, &conn->late);
		take_queue(&conn->chan[kind].waiting, status, over, over);
	}
	take_queue(&conn->recvs, status, over, over);
	if (conn->first == conn)
		sl_rdma_take_imm_recvs_locked(conn, status, over);
	conn->next_recv = conn->next_credit = NULL;
}

static bool doom_queue(struct sl_op_queue *q, int status)
{
	for (struct sl_op *op = q->head; op; op = op->next) {
		if (!op->priv[RDMA_STATUS])
			op->priv[RDMA_STATUS] = (uint64_t)(int64_t)status;
	}
	return q->head != NULL;
}

bool sl_rdma_doom_locked(struct sl_conn *conn, int status, struct sl_op_queue *over)
{
	struct rdma_chan *data = &conn->chan[RDMA_DATA], *msg = &conn->chan[RDMA_MSG];
	bool more;

	if (data->phase == RDMA_FRESH) {
		take_queue(&data->posted, status, over, &conn->late);
		take_queue(&data->waiting, status, over, over);
	}
	more = doom_queue(&conn->recvs, status);
	sl_rdma_chan_gather_locked(msg);
	more = doom_queue(&msg->posted, status) || more;
	if (msg->cur.wrs)
		more = doom_queue(&msg->waiting, status) || more;
	else
		take_queue(&msg->waiting, status, over, over);
	return more;
}

/* Writes go to WRITES, or if that is NULL, stay. */
static void take_plain(struct sl_op_queue *q, struct sl_op_queue *over, struct sl_op_queue *writes)
{
	struct sl_op_queue all = *q;
	struct sl_op *op;

	*q = (struct sl_op_queue){0};
	while ((op = sl_op_pop(&all))) {
		struct sl_op_queue *to = op->code == SL_OP_READ ? over : writes;

		if (op->code == SL_OP_WRITE_IMM || !to)
			sl_op_push(q, op);
		else
			rdma_over(to, op, sl_op_stop(op) ? sl_op_stop(op) : -ENETDOWN);
	}
}

void sl_rdma_take_one_sided_locked(struct sl_conn *conn, struct sl_op_queue *over,
                                   struct sl_op_queue *doubtful)
{
	take_plain(&conn->chan[RDMA_DATA].posted, over, doubtful);
	take_plain(&conn->chan[RDMA_DATA].waiting, over, over);
}

bool sl_rdma_has_work(struct sl_conn *conn)
{
	bool work;

	sl_lock_take(&conn->lock);
	work = conn->recvs.head || conn->group.imm_recvs.head; /* lane 0 watches for those */
	for (int kind = 0; kind < RDMA_CHANS; kind++) {
		const struct rdma_chan *c = &conn->chan[kind];

		work = work || c->posted.head || c->waiting.head ||
		       atomic_load(&c->sq_posted) != atomic_load(&c->sq_done);
	}
	sl_lock_drop(&conn->lock);
	return work;
}
