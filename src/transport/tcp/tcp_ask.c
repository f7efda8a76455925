/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_ask.c - the asking half: requests out, answers in.
 *
 * Ops stand in a ring in the order in which they go out, which is the order in
 * which they are answered:
 *
 *	head              sent              tail
 *	 │ wait for answers │ wait for room  │
 *
 * Submitters frame and send under the connection's lock; answers are read by
 * the one who makes progress, without it. An op ends when its answer is read,
 * never in a submitter. A read that is given up leaves SUNK in its slot, and
 * its data goes to the scratch buffer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "transport/tcp/tcp_impl.h"

enum { READ_ROUNDS = 32, SCATTER = 32, CREDITS_MAX = 1 << 20, STOPPING = 1 };

/* How long the peer may take to let go of a transfer before the connection is reset. */
static const int64_t grace_ns = 2500 * SL_NS_PER_US;

/* Stands for a read that is over for its submitter, but not on the wire. */
static struct sl_op sunk = {.code = SL_OP_READ};

static struct tcp_slot *slot_at(struct tcp_ask *a, uint64_t i)
{
	return &a->slot[i & a->mask];
}

int tcp_ask_init(struct sl_conn *conn, uint32_t depth)
{
	struct tcp_ask *a = &conn->ask;
	uint64_t n = 8;

	while (n < depth)
		n *= 2;
	a->mask = n - 1;
	a->slot = calloc(n, sizeof(*a->slot));
	return a->slot ? 0 : -ENOMEM;
}

void tcp_ask_free(struct sl_conn *conn)
{
	free(conn->ask.slot);
	free(conn->ask.credit);
	free(conn->ask.unrecv);
}

/*
 * Framing. Each function below adds frames of one op to OUT and returns false
 * if there was no room for the last of them.
 */

static void put_head(struct tcp_ask *a, enum tcp_type type, unsigned flags, uint32_t arg, uint64_t len)
{
	tcp_put_head(tcp_batch_put(&a->out, TCP_HEAD_LEN),
	             &(struct tcp_head){.type = (uint8_t)type, .flags = (uint8_t)flags, .arg = arg, .len = len});
}

static void put_piece(struct tcp_ask *a, const struct sl_rreg *rreg, uint64_t off, uint64_t len,
                      uint64_t count, uint64_t stride)
{
	struct tcp_piece p = {.region = rreg->id, .off = off, .len = len, .count = count, .stride = stride};

	memcpy(p.key, rreg->key, sizeof(p.key));
	tcp_put_piece(tcp_batch_put(&a->out, TCP_PIECE_LEN), &p);
}

static bool frame_read(struct tcp_ask *a, const struct sl_op *op)
{
	while (!a->started || (a->iov < op->niov && !a->cut)) {
		uint32_t left = op->niov - a->iov;
		uint32_t n;

		if (!tcp_batch_room(&a->out, TCP_HEAD_LEN + TCP_PIECE_LEN))
			return false;
		n = (uint32_t)(TCP_BATCH_BUF - a->out.used - TCP_HEAD_LEN) / TCP_PIECE_LEN;
		n = left < n ? left : n;
		put_head(a, TCP_READ, n == left ? TCP_LAST : 0, n, 0);
		for (uint32_t i = 0; i < n; i++) {
			const struct sl_iov *v = &op->iov[a->iov++];

			put_piece(a, v->rreg, v->roff, v->len, v->count, v->rstride);
		}
		a->started = true;
	}
	if (a->cut && tcp_batch_room(&a->out, TCP_HEAD_LEN)) {
		put_head(a, TCP_READ, TCP_LAST, 0, 0);
		a->cut = false;
	}
	return !a->cut;
}

/* How much of the run list at CUR goes into one frame: whole runs, or a part of one. */
static uint64_t chunk_of(const struct tcp_ask *a, const struct tcp_cursor *cur, uint64_t *runs)
{
	uint64_t room = TCP_BATCH_IOV - 1 - a->out.n;
	uint64_t left = cur->count - cur->run;

	*runs = 1;
	if (cur->off || cur->len > TCP_CHUNK)
		return cur->len - cur->off < TCP_CHUNK ? cur->len - cur->off : TCP_CHUNK;
	if (cur->len) {
		*runs = TCP_CHUNK / cur->len < room ? TCP_CHUNK / cur->len : room;
		*runs = left < *runs ? left : *runs;
	} else {
		*runs = left; /* nothing at all, so often */
	}
	return cur->len * *runs;
}

static void frame_chunk(struct tcp_ask *a, const struct sl_op *op)
{
	const struct sl_iov *v = &op->iov[a->iov];
	struct tcp_cursor *cur = &a->cur;
	bool imm = op->code == SL_OP_WRITE_IMM;
	uint64_t runs, bytes, off;
	unsigned n, flags = 0;

	if (!cur->run && !cur->off)
		*cur = (struct tcp_cursor){.addr = v->addr, .len = v->len, .count = v->count, .stride = v->stride};
	bytes = chunk_of(a, cur, &runs);
	off = v->roff + cur->run * v->rstride + cur->off;
	if (a->iov + 1 == op->niov &&
	    (runs > 1 || !v->len ? cur->run + runs == v->count
	                         : cur->run + 1 == v->count && cur->off + bytes == v->len))
		flags = imm ? TCP_LAST | TCP_IMM : TCP_LAST;
	put_head(a, TCP_WRITE, flags, imm ? op->imm : 0, bytes);
	put_piece(a, v->rreg, off, bytes / runs, runs, v->rstride);
	if (v->len) {
		size_t got = tcp_cursor_iov(cur, bytes, a->out.v + a->out.n, TCP_BATCH_IOV - a->out.n, &n);

		a->out.n += n;
		a->out.total += got;
		tcp_cursor_skip(cur, bytes);
	} else {
		cur->run = v->count;
	}
	if (cur->run == v->count) {
		a->iov++;
		*cur = (struct tcp_cursor){0};
	}
	a->started = true;
}

static bool frame_write(struct tcp_ask *a, const struct sl_op *op)
{
	bool imm = op->code == SL_OP_WRITE_IMM;

	while (a->iov < op->niov && !a->cut) {
		if (!tcp_batch_room(&a->out, TCP_HEAD_LEN + TCP_PIECE_LEN) || a->out.total >= TCP_CHUNK)
			return false;
		frame_chunk(a, op);
	}
	if (a->started && !a->cut)
		return true;
	if (!tcp_batch_room(&a->out, TCP_HEAD_LEN))
		return false;
	if (a->cut)
		put_head(a, TCP_WRITE, TCP_ABORT | TCP_LAST | TCP_BARE, 0, 0);
	else
		put_head(a, TCP_WRITE, imm ? TCP_LAST | TCP_BARE | TCP_IMM : TCP_LAST | TCP_BARE,
		         imm ? op->imm : 0, op->imm_bytes);
	a->cut = false;
	a->started = true;
	return true;
}

static bool frame_send(struct tcp_ask *a, const struct sl_op *op)
{
	bool fits = op->bytes <= op->priv[1];

	if (!tcp_batch_room(&a->out, TCP_HEAD_LEN))
		return false;
	put_head(a, TCP_SEND, (fits ? 0u : TCP_TOO_LONG) | (a->again_due ? TCP_AGAIN : 0u),
	         (uint32_t)op->priv[0], fits ? op->bytes : 0);
	if (fits)
		tcp_batch_ref(&a->out, op->iov->addr, op->bytes);
	a->again_due = false;
	a->started = true;
	return true;
}

static bool frame_op(struct tcp_ask *a, const struct sl_op *op)
{
	if (op->code == SL_OP_READ)
		return frame_read(a, op);
	return op->code == SL_OP_SEND ? frame_send(a, op) : frame_write(a, op);
}

static void frame_control(struct tcp_ask *a)
{
	if (a->ping_due) {
		put_head(a, TCP_PING, 0, 0, 0);
		a->ping_due = false;
	}
	while (a->nunrecv && tcp_batch_room(&a->out, TCP_HEAD_LEN))
		put_head(a, TCP_UNRECV, 0, a->unrecv[--a->nunrecv], 0);
	while (a->announce && tcp_batch_room(&a->out, TCP_HEAD_LEN)) {
		put_head(a, TCP_RECV, 0, (uint32_t)a->announce->priv[0], a->announce->bytes);
		a->announce = a->announce->next;
	}
}

/* OUT is empty: put in what waits. */
static void frame_some(struct tcp_ask *a)
{
	uint64_t tail = atomic_load_explicit(&a->tail, memory_order_relaxed);

	tcp_batch_reset(&a->out);
	frame_control(a);
	while (a->sent != tail && a->out.total < TCP_CHUNK) {
		struct tcp_slot *slot = slot_at(a, a->sent);
		struct sl_op *op = atomic_load_explicit(&slot->op, memory_order_relaxed);
		bool all = !op || frame_op(a, op);

		if (a->started && slot->seq == UINT64_MAX)
			slot->seq = a->next_seq++;
		if (!all)
			break;
		atomic_store_explicit(&slot->end, a->queued + a->out.total, memory_order_release);
		a->sent++;
		a->iov = 0;
		a->cur = (struct tcp_cursor){0};
		a->started = false;
	}
	a->queued += a->out.total;
}

static void enqueue_locked(struct tcp_ask *a, struct sl_op *op)
{
	uint64_t tail = atomic_load_explicit(&a->tail, memory_order_relaxed);
	struct tcp_slot *slot = slot_at(a, tail);

	slot->seq = UINT64_MAX;
	atomic_store_explicit(&slot->end, UINT64_MAX, memory_order_relaxed);
	atomic_store_explicit(&slot->op, op, memory_order_relaxed);
	atomic_store_explicit(&a->tail, tail + 1, memory_order_release);
}

/* Reads that were given up keep their slots until their data has come. */
static bool ring_full(struct tcp_ask *a)
{
	return atomic_load_explicit(&a->tail, memory_order_relaxed) -
	           atomic_load_explicit(&a->head, memory_order_acquire) >
	       a->mask;
}

/* Sends go with the peer's receives, both in order; those sent in vain go first, when all are back. */
static void match_sends_locked(struct tcp_ask *a)
{
	if (a->again.head) {
		if (a->sends_out)
			return;
		a->again.tail->next = a->sends.head;
		if (!a->sends.head)
			a->sends.tail = a->again.tail;
		a->sends.head = a->again.head;
		a->again = (struct sl_op_queue){0};
		a->again_due = true;
		atomic_store(&a->in_vain, false);
	}
	while (a->sends.head && a->ncredit && !ring_full(a)) {
		struct tcp_credit *credit = &a->credit[a->credit_head];
		struct sl_op *op = sl_op_pop(&a->sends);

		op->priv[0] = credit->id;
		op->priv[1] = credit->len;
		a->credit_head = (a->credit_head + 1) % a->credit_cap;
		a->ncredit--;
		a->sends_out++;
		enqueue_locked(a, op);
	}
}

void tcp_ask_push_locked(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	ssize_t n;

	if (!a->up)
		return;
	match_sends_locked(a);
	for (;;) {
		if (tcp_batch_empty(&a->out)) {
			frame_some(a);
			if (tcp_batch_empty(&a->out))
				break;
		}
		n = tcp_batch_send(&a->out, a->fd.fd);
		if (n < 0)
			break;
		atomic_fetch_add_explicit(&a->gone, (uint64_t)n, memory_order_release);
	}
	/* errors but -EAGAIN are told by the epoll as well, to the one who ends the ops */
	a->blocked = !tcp_batch_empty(&a->out);
	tcp_watch(conn->dom, &a->fd, a->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
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
		tcp_todo(conn);
	if (have)
		sl_op_done(op, 0, imm.bytes, imm.value);
	return rc;
}

int tcp_submit(struct sl_conn *conn, struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	int rc;

	if (op->code == SL_OP_RECV_IMM)
		return submit_recv_imm(conn, op);
	op->priv[3] = 0;
	sl_lock_take(&conn->lock);
	rc = usable_locked(conn);
	if (!rc && ring_full(a) && op->code != SL_OP_RECV && op->code != SL_OP_SEND)
		rc = -EAGAIN;
	if (rc)
		goto unlock;
	if (op->code == SL_OP_RECV)
		submit_recv_locked(a, op);
	else if (op->code == SL_OP_SEND)
		sl_op_push(&a->sends, op);
	else
		enqueue_locked(a, op);
	if (!a->blocked)
		tcp_ask_push_locked(conn);
unlock:
	sl_lock_drop(&conn->lock);
	return rc;
}

/*
 * Stopping.
 */

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

static bool is_announced(const struct tcp_ask *a, const struct sl_op *recv)
{
	const struct sl_op *op = a->announce;

	while (op && op != recv)
		op = op->next;
	return !op;
}

/* A receive goes: what the peer sends for it will be thrown away. */
static void stop_recv_locked(struct sl_conn *conn, struct sl_op *op, struct sl_op *after)
{
	struct tcp_ask *a = &conn->ask;

	if (a->announce == op)
		a->announce = after;
	else if (is_announced(a, op))
		(void)unrecv_locked(a, (uint32_t)op->priv[0]); /* without memory the peer finds out later */
	tcp_serve_forget(conn, op);
}

/* Ask the op in slot I to end. True: it is over now. */
static bool stop_slot_locked(struct sl_conn *conn, uint64_t i, struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	bool partly = i == a->sent && a->started;

	if (i >= a->sent && !partly) { /* nothing of it was framed */
		atomic_store_explicit(&slot_at(a, i)->op, NULL, memory_order_relaxed);
		if (op->code == SL_OP_SEND)
			a->sends_out--;
		if (op->code == SL_OP_SEND && a->ncredit < a->credit_cap) {
			a->credit_head = (a->credit_head + a->credit_cap - 1) % a->credit_cap;
			a->credit[a->credit_head] =
			    (struct tcp_credit){.id = (uint32_t)op->priv[0], .len = op->priv[1]};
			a->ncredit++;
		}
		return true;
	}
	if (partly)
		a->cut = true;
	if (op->code == SL_OP_READ) {
		atomic_store_explicit(&slot_at(a, i)->op, &sunk, memory_order_relaxed);
		return true;
	}
	if (op->priv[3] != STOPPING) {
		op->priv[3] = STOPPING;
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

void tcp_cancel(struct sl_conn *conn, struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	bool over;

	sl_lock_take(&conn->lock);
	over = stop_queued_locked(conn, op);
	for (uint64_t i = a->head; !over && i != a->tail; i++) {
		if (atomic_load_explicit(&slot_at(a, i)->op, memory_order_relaxed) != op ||
		    !sl_op_stop(op))
			continue;
		over = stop_slot_locked(conn, i, op);
		if (!over && conn->stop_by == SL_NEVER) {
			conn->stop_by = sl_clock_ns() + grace_ns;
			tcp_tick_by(conn->dom, conn->stop_by);
		}
		break;
	}
	tcp_ask_push_locked(conn);
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
		tcp_serve_forget(conn, op);
	a->announce = NULL;
	move_all(&a->again, out);
	move_all(&a->sends, out);
	move_all(&a->recvs, out);
	move_all(&conn->imm_recvs, out);
}

void tcp_ask_stop_all(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op_queue over = {0};

	sl_lock_take(&conn->lock);
	take_queues_locked(conn, &over);
	for (uint64_t i = a->head; i != a->tail; i++) {
		struct sl_op *op = atomic_load_explicit(&slot_at(a, i)->op, memory_order_relaxed);

		if (op && op != &sunk && stop_slot_locked(conn, i, op))
			sl_op_push(&over, op);
	}
	tcp_ask_push_locked(conn);
	sl_lock_drop(&conn->lock);
	(void)sl_op_end_all(&over, -ECANCELED);
}

void tcp_ask_take_all(struct sl_conn *conn, struct sl_op_queue *out)
{
	struct tcp_ask *a = &conn->ask;

	sl_lock_take(&conn->lock);
	take_queues_locked(conn, out);
	for (uint64_t i = a->head; i != a->tail; i++) {
		struct sl_op *op = atomic_load_explicit(&slot_at(a, i)->op, memory_order_relaxed);

		if (op && op != &sunk)
			sl_op_push(out, op);
	}
	a->head = a->tail;
	tcp_batch_reset(&a->out);
	sl_lock_drop(&conn->lock);
}

/* What becomes of the op in SLOT when the ring is gone through: true: it stays. */
typedef bool tcp_keep_fn(struct tcp_ask *a, struct tcp_slot *slot, struct sl_op *op, const void *arg,
                         struct sl_op_queue *over);

/* Close the ring up over what does not stay, and begin anew with what does. */
static void sift_locked(struct tcp_ask *a, tcp_keep_fn *keep, const void *arg, struct sl_op_queue *over)
{
	uint64_t to = a->head;

	for (uint64_t i = a->head; i != a->tail; i++) {
		struct tcp_slot *slot = slot_at(a, i);
		struct sl_op *op = atomic_load_explicit(&slot->op, memory_order_relaxed);

		if (!op || op == &sunk || !keep(a, slot, op, arg, over))
			continue;
		slot_at(a, to)->seq = slot->seq;
		atomic_store_explicit(&slot_at(a, to)->op, op, memory_order_relaxed);
		atomic_store_explicit(&slot_at(a, to)->end, UINT64_MAX, memory_order_relaxed);
		to++;
	}
	atomic_store_explicit(&a->tail, to, memory_order_release);
	a->sent = a->head;
}

static bool keep_running(struct tcp_ask *a, struct tcp_slot *slot, struct sl_op *op, const void *arg,
                         struct sl_op_queue *over)
{
	(void)slot;
	(void)arg;
	if (op->priv[3] != STOPPING)
		return true;
	if (op->code == SL_OP_SEND)
		a->sends_out--;
	sl_op_push(over, op);
	return false;
}

void tcp_ask_reset(struct sl_conn *conn, struct sl_op_queue *over)
{
	struct tcp_ask *a = &conn->ask;

	sl_lock_take(&conn->lock);
	sift_locked(a, keep_running, NULL, over);
	tcp_batch_reset(&a->out);
	a->queued = a->gone;
	a->iov = 0;
	a->cur = (struct tcp_cursor){0};
	a->started = a->cut = a->blocked = a->ping_due = false;
	a->stopping = 0;
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

int tcp_ask_resume(struct sl_conn *conn, const struct tcp_answer *answer)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op_queue over = {0};
	struct sl_op *op;
	bool sane;

	sl_lock_take(&conn->lock);
	sane = answer->ended <= a->next_seq;
	if (sane) {
		sift_locked(a, keep_open, answer, &over);
		a->next_seq = answer->ended;
	}
	sl_lock_drop(&conn->lock);
	while ((op = sl_op_pop(&over))) {
		int status = (int)(int64_t)op->priv[2];

		sl_op_done(op, status, status ? 0 : op->bytes, 0);
	}
	return sane ? 0 : -EPROTO;
}

/*
 * The peer's receives.
 */

int tcp_ask_credit(struct sl_conn *conn, uint32_t id, uint64_t len)
{
	struct tcp_ask *a = &conn->ask;
	int rc = 0;

	sl_lock_take(&conn->lock);
	if (a->ncredit == a->credit_cap) {
		uint32_t cap = a->credit_cap ? 2 * a->credit_cap : 16;
		struct tcp_credit *credit = cap > CREDITS_MAX ? NULL : malloc(cap * sizeof(*credit));

		if (!credit) {
			rc = cap > CREDITS_MAX ? -EPROTO : -ENOMEM;
			goto unlock;
		}
		for (uint32_t i = 0; i < a->ncredit; i++)
			credit[i] = a->credit[(a->credit_head + i) % a->credit_cap];
		free(a->credit);
		a->credit = credit;
		a->credit_cap = cap;
		a->credit_head = 0;
	}
	a->credit[(a->credit_head + a->ncredit++) % a->credit_cap] = (struct tcp_credit){.id = id, .len = len};
	if (a->sends.head && !a->blocked)
		tcp_ask_push_locked(conn);
unlock:
	sl_lock_drop(&conn->lock);
	return rc;
}

void tcp_ask_uncredit(struct sl_conn *conn, uint32_t id)
{
	struct tcp_ask *a = &conn->ask;
	uint32_t kept = 0;

	sl_lock_take(&conn->lock);
	for (uint32_t i = 0; i < a->ncredit; i++) {
		struct tcp_credit credit = a->credit[(a->credit_head + i) % a->credit_cap];

		if (credit.id != id)
			a->credit[(a->credit_head + kept++) % a->credit_cap] = credit;
	}
	a->ncredit = kept;
	sl_lock_drop(&conn->lock);
}

/*
 * Answers. Progress only.
 */

/* The op that the next answer is for, or NULL: none is owed. */
static struct sl_op *answered_op(struct tcp_ask *a)
{
	while (a->head != atomic_load_explicit(&a->tail, memory_order_acquire)) {
		struct sl_op *op = atomic_load_explicit(&slot_at(a, a->head)->op, memory_order_relaxed);

		if (op)
			return op;
		if (atomic_load_explicit(&slot_at(a, a->head)->end, memory_order_acquire) == UINT64_MAX)
			return NULL; /* taken back, and the sender has not come by yet */
		a->head++;
	}
	return NULL;
}

/* Has the socket taken every byte of the op at head? A sender may be about to say so. */
static bool all_gone(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	_Atomic uint64_t *end = &slot_at(a, a->head)->end;
	bool gone;

	if (atomic_load_explicit(&a->gone, memory_order_acquire) >=
	    atomic_load_explicit(end, memory_order_acquire))
		return true;
	sl_lock_take(&conn->lock);
	gone = a->gone >= *end;
	sl_lock_drop(&conn->lock);
	return gone;
}

/* A send is back. True: it is not over, the receive that it was for is. */
static bool sent_in_vain(struct sl_conn *conn, struct sl_op *op, int status)
{
	struct tcp_ask *a = &conn->ask;
	bool vain;

	a->sends_out--;
	if (status != -ECANCELED && !atomic_load(&a->in_vain))
		return false;
	sl_lock_take(&conn->lock);
	vain = status == -ECANCELED && !sl_op_stop(op) && !conn->closed;
	if (vain) {
		sl_op_push(&a->again, op);
		atomic_store(&a->in_vain, true);
	}
	if (a->again.head && !a->sends_out && !a->blocked)
		tcp_ask_push_locked(conn);
	sl_lock_drop(&conn->lock);
	return vain;
}

static int end_op(struct sl_conn *conn, struct sl_op *op, int status, uint64_t bytes)
{
	struct tcp_ask *a = &conn->ask;
	int stop;

	if (!all_gone(conn))
		return -EPROTO;
	a->rx.moved = 0;
	a->rx.iov = 0;
	a->rx.cur = (struct tcp_cursor){0};
	atomic_store_explicit(&a->head, a->head + 1, memory_order_release);
	if (op == &sunk)
		return 0;
	if (op->priv[3] == STOPPING && --a->stopping == 0 && !conn->closed)
		conn->stop_by = SL_NEVER;
	stop = sl_op_stop(op);
	if (op->code == SL_OP_SEND && sent_in_vain(conn, op, status))
		return 0;
	sl_op_done(op, status == -ECANCELED && stop ? stop : status, bytes, 0);
	return 0;
}

/* Where the next bytes of a read go; returns how many of MAX fit into V. */
static uint64_t places(struct tcp_ask *a, const struct sl_op *op, uint64_t max, struct iovec *v, unsigned *n)
{
	struct tcp_cursor cur = a->rx.cur;
	uint32_t iov = a->rx.iov;
	uint64_t got = 0;

	*n = 0;
	while (got < max && iov < op->niov && *n < SCATTER) {
		const struct sl_iov *at = &op->iov[iov];
		unsigned k;

		if (!cur.len)
			cur = (struct tcp_cursor){.addr = at->addr, .len = at->len, .count = at->count,
			                          .stride = at->stride};
		if (cur.len)
			got += tcp_cursor_iov(&cur, max - got, v + *n, SCATTER - *n, &k);
		else
			k = 0;
		*n += k;
		cur = (struct tcp_cursor){0};
		iov++;
	}
	return got;
}

static void advance(struct tcp_ask *a, const struct sl_op *op, uint64_t bytes)
{
	while (bytes) {
		const struct sl_iov *at = &op->iov[a->rx.iov];
		struct tcp_cursor *cur = &a->rx.cur;
		uint64_t left;

		if (!cur->len)
			*cur = (struct tcp_cursor){.addr = at->addr, .len = at->len, .count = at->count,
			                           .stride = at->stride};
		left = cur->len * (cur->count - cur->run) - cur->off;
		if (bytes < left) {
			tcp_cursor_skip(cur, bytes);
			return;
		}
		bytes -= left;
		*cur = (struct tcp_cursor){0};
		a->rx.iov++;
	}
}

/* Bytes that were read ahead. */
static uint64_t take_ahead(struct tcp_ask *a, const struct sl_op *op)
{
	uint64_t have = a->rx.n - a->rx.at;
	uint64_t n = have < a->rx.left ? have : a->rx.left;
	struct iovec v[SCATTER];
	unsigned k;

	if (op != &sunk) {
		n = places(a, op, n, v, &k);
		for (unsigned i = 0, off = a->rx.at; i < k; off += (unsigned)v[i++].iov_len)
			memcpy(v[i].iov_base, a->rx.buf + off, v[i].iov_len);
	}
	a->rx.at += (unsigned)n;
	return n;
}

/* Bytes from the socket into their places, and what follows into the buffer, in one call. */
static ssize_t take_direct(struct sl_conn *conn, const struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	struct iovec v[SCATTER + 1] = {{conn->dom->scratch, TCP_SCRATCH}};
	struct msghdr msg = {.msg_iov = v};
	uint64_t room = a->rx.left < TCP_SCRATCH ? a->rx.left : TCP_SCRATCH;
	unsigned n = 1;
	ssize_t got;

	if (op != &sunk)
		room = places(a, op, a->rx.left < 4 * TCP_CHUNK ? a->rx.left : 4 * TCP_CHUNK, v, &n);
	else
		v[0].iov_len = room;
	if (room == a->rx.left)
		v[n++] = (struct iovec){a->rx.buf, TCP_RX_LEN};
	msg.msg_iovlen = n;
	got = recvmsg(a->fd.fd, &msg, MSG_DONTWAIT);
	a->rx.at = a->rx.n = 0;
	if (got > 0 && (uint64_t)got > room) {
		a->rx.n = (unsigned)((uint64_t)got - room);
		got = (ssize_t)room;
	}
	return got;
}

static int socket_error(ssize_t n)
{
	if (n == 0)
		return -ECONNRESET;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	return -errno;
}

/* 1: went on. 0: nothing there. */
static int read_data(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op *op = answered_op(a);
	ssize_t n;

	if (a->rx.at < a->rx.n) {
		n = (ssize_t)take_ahead(a, op);
	} else {
		n = take_direct(conn, op);
		if (n <= 0)
			return socket_error(n);
		conn->reads++;
	}
	if (op != &sunk)
		advance(a, op, (uint64_t)n);
	a->rx.left -= (uint64_t)n;
	a->rx.moved += (uint64_t)n;
	if (a->rx.left || !a->rx.last)
		return 1;
	if (op != &sunk && a->rx.moved != op->bytes)
		return -EPROTO;
	return end_op(conn, op, 0, a->rx.moved) ? -EPROTO : 1;
}

static int on_done(struct sl_conn *conn, const struct tcp_head *h)
{
	struct sl_op *op = answered_op(&conn->ask);
	int status = (int)h->arg;

	if (!op)
		return -EPROTO;
	if (op == &sunk)
		return end_op(conn, op, 0, 0);
	if (op->code == SL_OP_READ && !status && conn->ask.rx.moved != op->bytes)
		return -EPROTO;
	return end_op(conn, op, status, status ? (h->len < op->bytes ? h->len : op->bytes) : op->bytes);
}

static int on_data(struct sl_conn *conn, const struct tcp_head *h)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op *op = answered_op(a);

	if (!op || op->code != SL_OP_READ || (op != &sunk && h->len > op->bytes - a->rx.moved))
		return -EPROTO;
	a->rx.left = h->len;
	a->rx.last = h->flags & TCP_LAST;
	if (h->len || !a->rx.last)
		return 0;
	return op == &sunk || a->rx.moved == op->bytes ? end_op(conn, op, 0, a->rx.moved) : -EPROTO;
}

static int read_head(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	struct tcp_head h;
	ssize_t n;
	int rc;

	if (a->rx.n - a->rx.at < TCP_HEAD_LEN) {
		if (a->rx.at) {
			memmove(a->rx.buf, a->rx.buf + a->rx.at, a->rx.n - a->rx.at);
			a->rx.n -= a->rx.at;
			a->rx.at = 0;
		}
		n = recv(a->fd.fd, a->rx.buf + a->rx.n, TCP_RX_LEN - a->rx.n, MSG_DONTWAIT);
		if (n <= 0)
			return socket_error(n);
		conn->reads++;
		a->rx.n += (unsigned)n;
		return 1;
	}
	rc = tcp_get_head(a->rx.buf + a->rx.at, false, &h);
	if (rc)
		return rc;
	a->rx.at += TCP_HEAD_LEN;
	if (h.type == TCP_DONE)
		rc = on_done(conn, &h);
	else if (h.type == TCP_DATA)
		rc = on_data(conn, &h);
	return rc ? rc : 1;
}

int tcp_ask_read(struct sl_conn *conn)
{
	int done = 0;

	for (int i = 0; i < READ_ROUNDS && conn->ask.fd.fd >= 0; i++) {
		int rc = conn->ask.rx.left ? read_data(conn) : read_head(conn);

		if (rc > 0) {
			done++;
			continue;
		}
		if (rc == 0)
			break;
		/* the peer hung up: what it asked before that still counts */
		while (rc == -ECONNRESET && conn->serve.fd.fd >= 0 && tcp_serve_read(conn))
			;
		tcp_break(conn, rc == -EPROTO ? -EPROTO : -ECONNRESET);
		return done + 1;
	}
	if (conn->closed && done)
		tcp_todo(conn); /* are we through? */
	return done;
}
