/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/tcp/tcp_ask.c - the asking half: submitting and stopping. */
#include "transport/tcp/tcp_ask.h"

#include <errno.h>
#include <stdlib.h>

/* How long the peer may take to let go of a transfer before its socket is reset. */
static const int64_t grace_ns = 2500 * SL_NS_PER_US;

struct sl_op sl_tcp_sunk_op = {.code = SL_OP_READ};

int sl_tcp_ask_init(struct sl_conn *conn, uint32_t depth)
{
	struct tcp_ask *a = &conn->ask;
	uint64_t n = 8;

	while (n < depth)
		n *= 2;
	a->mask = n - 1;
	a->slot = calloc(n, sizeof(*a->slot));
	return a->slot ? 0 : -ENOMEM;
}

void sl_tcp_ask_free(struct sl_conn *conn)
{
	sl_tcp_batch_reset(&conn->ask.out);
	free(conn->ask.slot);
	free(conn->ask.credit);
	free(conn->ask.lent);
	free(conn->ask.unrecv);
}

void sl_tcp_enqueue_locked(struct tcp_ask *a, struct sl_op *op)
{
	uint64_t tail = atomic_load_explicit(&a->tail, memory_order_relaxed);
	struct tcp_slot *slot = tcp_slot_at(a, tail);

	slot->seq = UINT64_MAX;
	atomic_store_explicit(&slot->end, UINT64_MAX, memory_order_relaxed);
	atomic_store_explicit(&slot->op, op, memory_order_relaxed);
	atomic_store_explicit(&a->tail, tail + 1, memory_order_release);
}

/*
 * Submitting.
 */

static int usable_locked(struct sl_conn *conn)
{
	if (conn->closed)
		return -ECANCELED;
	if (atomic_load_explicit(&conn->broken, memory_order_relaxed))
		return -ECONNRESET;
	return conn->was_ready || conn->ask.up ? 0 : -ENOTCONN;
}

static void submit_recv_locked(struct tcp_ask *a, struct sl_op *op)
{
	op->priv[0] = a->next_recv++;
	sl_op_push(&a->recvs, op);
	if (!a->announce)
		a->announce = op;
}

/* An immediate that came already is given out even when the peer has gone. */
static int submit_recv_imm(struct sl_conn *conn, struct sl_op *op)
{
	struct sl_imm imm;
	bool have;
	int rc = 0;

	sl_lock_take(&conn->lock);
	have = !conn->closed && sl_imm_pop(&conn->imms, &imm);
	if (!have)
		rc = usable_locked(conn);
	if (!have && !rc)
		sl_op_push(&conn->imm_recvs, op);
	sl_lock_drop(&conn->lock);
	if (atomic_load(&conn->serve.stalled))
		sl_tcp_todo(conn);
	if (have)
		sl_op_done(op, 0, imm.bytes, imm.value);
	return rc;
}

int sl_tcp_submit(struct sl_conn *conn, struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	int rc;

	if (op->code == SL_OP_RECV_IMM)
		return submit_recv_imm(conn, op);
	op->priv[3] = 0;
	sl_lock_take(&conn->lock);
	rc = usable_locked(conn);
	if (!rc && tcp_ring_full(a) && op->code != SL_OP_RECV && op->code != SL_OP_SEND)
		rc = -EAGAIN;
	if (rc)
		goto unlock;
	if (op->code == SL_OP_RECV)
		submit_recv_locked(a, op);
	else if (op->code == SL_OP_SEND)
		sl_op_push(&a->sends, op);
	else
		sl_tcp_enqueue_locked(a, op);
	if (!a->blocked)
		sl_tcp_ask_push_locked(conn);
unlock:
	sl_lock_drop(&conn->lock);
	return rc;
}

/*
 * Stopping.
 */

void sl_tcp_sink_locked(struct tcp_ask *a, struct tcp_slot *slot, uint64_t left)
{
	atomic_store_explicit(&slot->op, &sl_tcp_sunk_op, memory_order_relaxed);
	slot->sunk = left;
	a->sunk += left;
}

void sl_tcp_await_let_go(struct sl_conn *conn)
{
	if (tcp_ask_let_go(&conn->ask) || conn->stop_by != SL_NEVER)
		return;
	conn->stop_by = sl_clock_ns() + grace_ns;
	sl_tcp_tick_by(conn->dom, conn->stop_by);
}

void sl_tcp_sunk(struct sl_conn *conn, struct tcp_slot *slot, uint64_t n)
{
	struct tcp_ask *a = &conn->ask;

	n = n < slot->sunk ? n : slot->sunk; /* a peer may send what it was not asked for */
	slot->sunk -= n;
	a->sunk -= n;
	if (tcp_ask_let_go(a) && !conn->closed)
		conn->stop_by = SL_NEVER;
}

static int unrecv_locked(struct tcp_ask *a, uint32_t id)
{
	if (a->nunrecv == a->unrecv_cap) {
		uint32_t cap = a->unrecv_cap ? 2 * a->unrecv_cap : 8;
		uint32_t *ids = realloc(a->unrecv, cap * sizeof(*ids));

		if (!ids)
			return -ENOMEM;
		a->unrecv = ids;
		a->unrecv_cap = cap;
	}
	a->unrecv[a->nunrecv++] = id;
	return 0;
}

/* A receive goes: what the peer sends for it will be thrown away. */
static void stop_recv_locked(struct sl_conn *conn, struct sl_op *op, struct sl_op *after)
{
	struct tcp_ask *a = &conn->ask;

	if (a->announce == op)
		a->announce = after;
	else /* an id that the peer was not told means nothing to it */
		(void)unrecv_locked(a, (uint32_t)op->priv[0]); /* no memory: it finds out later */
	sl_tcp_serve_forget(conn, op);
}

/* Ask the op in slot I to end. True: it is over now. */
static bool stop_slot_locked(struct sl_conn *conn, uint64_t i, struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	bool partly = i == a->sent && a->started;

	if (i >= a->sent && !partly) { /* nothing of it was framed */
		atomic_store_explicit(&tcp_slot_at(a, i)->op, NULL, memory_order_relaxed);
		if (op->code == SL_OP_SEND)
			a->sends_out--;
		if (op->code == SL_OP_SEND)
			sl_tcp_give_back_locked(a, tcp_credit_of(op));
		return true;
	}
	if (partly && op->code != SL_OP_SEND) /* a message is short of its end only */
		a->cut = true;
	if (op->code == SL_OP_READ) {
		sl_tcp_sink_locked(a, tcp_slot_at(a, i),
		                   op->bytes - (i == a->head ? a->rx.moved : 0));
		return true;
	}
	if (!(op->priv[3] & TCP_STOPPING)) {
		op->priv[3] |= TCP_STOPPING;
		a->stopping++;
	}
	return false;
}

static bool stop_queued_locked(struct sl_conn *conn, struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op *after = op->next;

	if (sl_op_take_stopped(&a->recvs, op)) {
		stop_recv_locked(conn, op, after);
		return true;
	}
	return sl_op_take_stopped(&a->sends, op) || sl_op_take_stopped(&a->again, op) ||
	       sl_op_take_stopped(&conn->imm_recvs, op);
}

void sl_tcp_cancel(struct sl_conn *conn, struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	bool over;

	sl_lock_take(&conn->lock);
	over = stop_queued_locked(conn, op);
	for (uint64_t i = a->head; !over && i != a->tail; i++) {
		if (atomic_load_explicit(&tcp_slot_at(a, i)->op, memory_order_relaxed) != op ||
		    !sl_op_stop(op))
			continue;
		over = stop_slot_locked(conn, i, op);
		sl_tcp_await_let_go(conn);
		break;
	}
	sl_tcp_ask_push_locked(conn);
	sl_lock_drop(&conn->lock);
	if (over)
		sl_op_done(op, sl_op_stop(op), 0, 0);
}

static void move_all(struct sl_op_queue *from, struct sl_op_queue *to)
{
	struct sl_op *op;

	while ((op = sl_op_pop(from)))
		sl_op_push(to, op);
}

static void take_queues_locked(struct sl_conn *conn, struct sl_op_queue *out)
{
	struct tcp_ask *a = &conn->ask;

	for (struct sl_op *op = a->recvs.head; op; op = op->next)
		sl_tcp_serve_forget(conn, op);
	a->announce = NULL;
	move_all(&a->again, out);
	move_all(&a->sends, out);
	move_all(&a->recvs, out);
	move_all(&conn->imm_recvs, out);
}

void sl_tcp_ask_stop_all(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op_queue over = {0};

	sl_lock_take(&conn->lock);
	take_queues_locked(conn, &over);
	for (uint64_t i = a->head; i != a->tail; i++) {
		struct sl_op *op =
		    atomic_load_explicit(&tcp_slot_at(a, i)->op, memory_order_relaxed);

		if (op && op != &sl_tcp_sunk_op && stop_slot_locked(conn, i, op))
			sl_op_push(&over, op);
	}
	sl_tcp_ask_push_locked(conn);
	sl_lock_drop(&conn->lock);
	(void)sl_op_end_all(&over, -ECANCELED);
}

void sl_tcp_ask_take_all(struct sl_conn *conn, struct sl_op_queue *out)
{
	struct tcp_ask *a = &conn->ask;

	sl_lock_take(&conn->lock);
	take_queues_locked(conn, out);
	for (uint64_t i = a->head; i != a->tail; i++) {
		struct sl_op *op =
		    atomic_load_explicit(&tcp_slot_at(a, i)->op, memory_order_relaxed);

		if (op && op != &sl_tcp_sunk_op)
			sl_op_push(out, op);
	}
	a->head = a->tail;
	sl_tcp_batch_reset(&a->out);
	sl_lock_drop(&conn->lock);
}
