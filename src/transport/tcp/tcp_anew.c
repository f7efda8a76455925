/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_anew.c - the asking half: its socket was reset, and is dialled anew.
 *
 * The peer tells how many of our transfers it has ended. What it ended is over,
 * but for reads, whose data was lost; what it did not is sent again, in order.
 * So a write, an immediate or a message takes effect once.
 */
#include <errno.h>
#include <string.h>

#include "transport/tcp/tcp_ask.h"

/* What becomes of the op in SLOT when the ring is gone through: true: it stays. */
typedef bool tcp_keep_fn(struct tcp_ask *a, struct tcp_slot *slot, struct sl_op *op,
                         const void *arg, struct sl_op_queue *over);

/* Close the ring up over what does not stay, and begin anew with what does. */
static void sift_locked(struct tcp_ask *a, tcp_keep_fn *keep, const void *arg,
                        struct sl_op_queue *over)
{
	uint64_t to = a->head;

	for (uint64_t i = a->head; i != a->tail; i++) {
		struct tcp_slot *slot = tcp_slot_at(a, i);
		struct sl_op *op = atomic_load_explicit(&slot->op, memory_order_relaxed);

		if (!op || op == &sl_tcp_sunk_op || !keep(a, slot, op, arg, over))
			continue;
		tcp_slot_at(a, to)->seq = slot->seq;
		atomic_store_explicit(&tcp_slot_at(a, to)->op, op, memory_order_relaxed);
		atomic_store_explicit(&tcp_slot_at(a, to)->end, UINT64_MAX, memory_order_relaxed);
		to++;
	}
	atomic_store_explicit(&a->tail, to, memory_order_release);
	a->sent = a->head;
}

static bool keep_running(struct tcp_ask *a, struct tcp_slot *slot, struct sl_op *op,
                         const void *arg, struct sl_op_queue *over)
{
	(void)arg;
	if (!(op->priv[3] & TCP_STOPPING))
		return true;
	if (op->code == SL_OP_SEND) {
		a->sends_out--;
		sl_tcp_lend_locked(a, tcp_credit_of(op), slot->seq);
	}
	sl_op_push(over, op);
	return false;
}

void sl_tcp_ask_reset(struct sl_conn *conn, struct sl_op_queue *over)
{
	struct tcp_ask *a = &conn->ask;

	sl_lock_take(&conn->lock);
	sift_locked(a, keep_running, NULL, over);
	sl_tcp_batch_reset(&a->out);
	a->queued = a->gone;
	a->iov = 0;
	a->cur = (struct tcp_cursor){0};
	a->started = a->cut = a->unended = a->blocked = a->ping_due = false;
	a->stopping = 0;
	a->sunk = 0;
	a->announce = a->recvs.head;
	a->nunrecv = 0;
	memset(&a->rx, 0, sizeof(a->rx));
	sl_lock_drop(&conn->lock);
}

/* How transfer SEQ, which the peer has ended, ended: its answer was lost. */
static int lost_status(const struct tcp_answer *answer, uint64_t seq)
{
	uint64_t oldest = UINT64_MAX;

	for (uint32_t i = 0; i < answer->nfailures; i++) {
		if (answer->failure[i].seq == seq)
			return (int)answer->failure[i].status;
		if (answer->failure[i].seq < oldest)
			oldest = answer->failure[i].seq;
	}
	/* more failed than the peer remembers: this one may be among them */
	return answer->nfailures == TCP_FAILURES && seq < oldest ? -EREMOTEIO : 0;
}

/* What the peer has ended is over, but for reads, whose data was lost: they are asked anew. */
static bool keep_open(struct tcp_ask *a, struct tcp_slot *slot, struct sl_op *op, const void *arg,
                      struct sl_op_queue *over)
{
	const struct tcp_answer *answer = arg;
	bool ended = slot->seq < answer->ended;
	int status = ended ? lost_status(answer, slot->seq) : 0;

	slot->seq = UINT64_MAX;
	if (ended && (op->priv[3] & TCP_HOLE))
		status = -EFAULT;
	op->priv[3] &= ~(uint64_t)TCP_HOLE;
	if (!ended || op->code == SL_OP_READ)
		return true;
	if (op->code == SL_OP_SEND)
		a->sends_out--;
	if (op->code == SL_OP_SEND && status == -ECANCELED) {
		sl_op_push(&a->again, op);
		atomic_store(&a->in_vain, true);
		return false;
	}
	op->priv[2] = (uint64_t)(int64_t)status;
	sl_op_push(over, op);
	return false;
}

int sl_tcp_ask_resume(struct sl_conn *conn, const struct tcp_answer *answer)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op_queue over = {0};
	struct sl_op *op;
	bool sane;

	sl_lock_take(&conn->lock);
	sane = answer->ended <= a->next_seq;
	if (sane) {
		sift_locked(a, keep_open, answer, &over);
		sl_tcp_settle_lent_locked(a, answer->ended);
		a->next_seq = answer->ended;
	}
	sl_lock_drop(&conn->lock);
	while ((op = sl_op_pop(&over))) {
		int status = (int)(int64_t)op->priv[2];

		sl_op_done(op, status, status ? 0 : op->bytes, 0);
	}
	return sane ? 0 : -EPROTO;
}
