/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/tcp/tcp_out.c - the asking half: ops into frames, frames into the socket. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "transport/tcp/tcp_ask.h"

/* Bytes for one who pushes, in case the peer takes them as fast as he does: he has other things to
 * do, and others want the lock. */
enum { PUSH_MAX = 4 * TCP_CHUNK };

/*
 * Framing. Each function below adds frames of one op to OUT and returns false
 * if there was no room for the last of them.
 *
 * Bytes of memory that may go are the last of an OUT, and the end of their op is
 * not framed before they are out: if they are not there, zeros fill the frame and
 * the op ends as one that is given up. So the peer takes no such bytes for good.
 */

static void put_head(struct tcp_ask *a, enum tcp_type type, unsigned flags, uint32_t arg,
                     uint64_t len)
{
	sl_tcp_put_head(
	    sl_tcp_batch_put(&a->out, TCP_HEAD_LEN),
	    &(struct tcp_head){
		.type = (uint8_t)type, .flags = (uint8_t)flags, .arg = arg, .len = len});
}

static void put_piece(struct tcp_ask *a, const struct sl_rreg *rreg, uint64_t off, uint64_t len,
                      uint64_t count, uint64_t stride)
{
	struct tcp_piece p = {
	    .region = rreg->id, .off = off, .len = len, .count = count, .stride = stride};

	memcpy(p.key, rreg->key, sizeof(p.key));
	sl_tcp_put_piece(sl_tcp_batch_put(&a->out, TCP_PIECE_LEN), &p);
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
	bool checked = v->reg->mem.checked && v->len;
	bool fragile = checked || a->out.fragile;
	uint64_t runs, bytes, off;
	unsigned n, flags = 0;
	bool last;

	if (!cur->run && !cur->off)
		*cur = (struct tcp_cursor){
		    .addr = v->addr, .len = v->len, .count = v->count, .stride = v->stride};
	bytes = chunk_of(a, cur, &runs);
	off = v->roff + cur->run * v->rstride + cur->off;
	last = a->iov + 1 == op->niov &&
	       (runs > 1 || !v->len ? cur->run + runs == v->count
	                            : cur->run + 1 == v->count && cur->off + bytes == v->len);
	a->unended = last && fragile;
	if (last && !fragile)
		flags = imm ? TCP_LAST | TCP_IMM : TCP_LAST;
	put_head(a, TCP_WRITE, flags, imm ? op->imm : 0, bytes);
	put_piece(a, v->rreg, off, bytes / runs, runs, v->rstride);
	if (checked)
		sl_tcp_batch_doubt(&a->out);
	if (v->len) {
		size_t got = sl_tcp_cursor_iov(cur, bytes, a->out.v + a->out.n,
		                               TCP_BATCH_IOV - a->out.n, &n);

		a->out.n += n;
		a->out.total += got;
		sl_tcp_cursor_skip(cur, bytes);
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
		if (!tcp_batch_room(&a->out, TCP_HEAD_LEN + TCP_PIECE_LEN) ||
		    a->out.total >= TCP_CHUNK)
			return false;
		frame_chunk(a, op);
	}
	if (a->started && !a->cut && !a->unended)
		return true;
	if (!tcp_batch_room(&a->out, TCP_HEAD_LEN) || a->out.fragile)
		return false;
	if (a->cut)
		put_head(a, TCP_WRITE, TCP_ABORT | TCP_LAST | TCP_BARE, 0, 0);
	else
		put_head(a, TCP_WRITE, imm ? TCP_LAST | TCP_BARE | TCP_IMM : TCP_LAST | TCP_BARE,
		         imm ? op->imm : 0, a->unended ? 0 : op->imm_bytes);
	a->cut = false;
	a->started = true;
	return true;
}

static bool frame_send(struct tcp_ask *a, const struct sl_op *op)
{
	bool fits = op->bytes <= op->priv[1];
	bool checked = fits && op->bytes && op->iov->reg->mem.checked;

	if (!tcp_batch_room(&a->out, TCP_HEAD_LEN) || a->out.fragile)
		return false;
	if (a->unended) {
		put_head(a, TCP_SEND, a->cut ? TCP_BARE | TCP_ABORT : TCP_BARE, 0, 0);
		a->cut = false;
		return true;
	}
	put_head(a, TCP_SEND,
	         (fits ? 0u : TCP_TOO_LONG) | (a->again_due ? TCP_AGAIN : 0u) |
	             (checked ? TCP_LATER : 0u),
	         (uint32_t)op->priv[0], fits ? op->bytes : 0);
	if (checked)
		sl_tcp_batch_doubt(&a->out);
	if (fits)
		sl_tcp_batch_ref(&a->out, op->iov->addr, op->bytes);
	a->again_due = false;
	a->started = true;
	a->unended = checked;
	return !checked;
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

	sl_tcp_batch_reset(&a->out);
	frame_control(a);
	while (a->sent != tail && a->out.total < TCP_CHUNK) {
		struct tcp_slot *slot = tcp_slot_at(a, a->sent);
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
		a->started = a->unended = false;
	}
	a->queued += a->out.total;
}

/* Sends go with the peer's receives, both in order; those sent in vain go first, when all are back.
 */
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
	while (a->sends.head && a->ncredit && !tcp_ring_full(a)) {
		struct tcp_credit *credit = &a->credit[a->credit_head];
		struct sl_op *op = sl_op_pop(&a->sends);

		op->priv[0] = credit->id;
		op->priv[1] = credit->len;
		a->credit_head = (a->credit_head + 1) % a->credit_cap;
		a->ncredit--;
		a->sends_out++;
		sl_tcp_enqueue_locked(a, op);
	}
}

/* Memory of the op at SENT, whose bytes are last in OUT, is not there. */
static bool hole_locked(struct tcp_ask *a)
{
	struct sl_op *op;

	if (!sl_tcp_batch_void(&a->out))
		return false;
	op = atomic_load_explicit(&tcp_slot_at(a, a->sent)->op, memory_order_relaxed);
	op->priv[3] |= TCP_HOLE;
	a->cut = true;
	return true;
}

void sl_tcp_ask_push_locked(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	uint64_t until = a->gone + PUSH_MAX;
	bool more = false;
	ssize_t n;

	if (!a->up)
		return;
	match_sends_locked(a);
	for (;;) {
		if (tcp_batch_empty(&a->out)) {
			more = a->gone >= until;
			if (more)
				break;
			frame_some(a);
			if (tcp_batch_empty(&a->out))
				break;
		}
		n = sl_tcp_batch_send(&a->out, a->fd.fd);
		if (n == -EFAULT && hole_locked(a))
			continue;
		if (n == -EFAULT) /* memory that was to stay: nothing can be put right */
			(void)shutdown(a->fd.fd, SHUT_RDWR);
		if (n < 0)
			break;
		atomic_fetch_add_explicit(&a->gone, (uint64_t)n, memory_order_release);
	}
	/* errors but -EAGAIN are told by the epoll as well, to the one who ends the ops */
	a->blocked = more || !tcp_batch_empty(&a->out);
	sl_tcp_watch(conn->dom, &a->fd, a->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
}
