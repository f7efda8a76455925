/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/tcp/tcp_in.c - the asking half: the answers. Whoever makes progress runs this. */
#include <errno.h>
#include <string.h>

#include "transport/tcp/tcp_ask.h"

enum { READ_ROUNDS = 32, SCATTER = 32 };

/* The op that the next answer is for, or NULL: none is owed. */
static struct sl_op *answered_op(struct tcp_ask *a)
{
	while (a->head != atomic_load_explicit(&a->tail, memory_order_acquire)) {
		struct sl_op *op =
		    atomic_load_explicit(&tcp_slot_at(a, a->head)->op, memory_order_relaxed);

		if (op)
			return op;
		if (atomic_load_explicit(&tcp_slot_at(a, a->head)->end, memory_order_acquire) ==
		    UINT64_MAX)
			return NULL; /* taken back, and the sender has not come by yet */
		a->head++;
	}
	return NULL;
}

/* Has the socket taken every byte of the op at head? A sender may be about to say so. */
static bool all_gone(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	_Atomic uint64_t *end = &tcp_slot_at(a, a->head)->end;
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
		sl_tcp_ask_push_locked(conn);
	sl_lock_drop(&conn->lock);
	return vain;
}

static int end_op(struct sl_conn *conn, struct sl_op *op, int status, uint64_t bytes)
{
	struct tcp_ask *a = &conn->ask;
	struct tcp_slot *slot = tcp_slot_at(a, a->head);
	int stop;

	if (!all_gone(conn))
		return -EPROTO;
	a->rx.moved = 0;
	a->rx.iov = 0;
	a->rx.cur = (struct tcp_cursor){0};
	atomic_store_explicit(&a->head, a->head + 1, memory_order_release);
	if (op == &sl_tcp_sunk_op) {
		sl_tcp_sunk(conn, slot, slot->sunk);
		return 0;
	}
	if (op->priv[3] & TCP_HOLE)
		status = -EFAULT;
	if (op->priv[3] & TCP_STOPPING) {
		a->stopping--;
		if (tcp_ask_let_go(a) && !conn->closed)
			conn->stop_by = SL_NEVER;
	}
	stop = sl_op_stop(op);
	if (op->code == SL_OP_SEND && sent_in_vain(conn, op, status))
		return 0;
	sl_op_done(op, status == -ECANCELED && stop ? stop : status, bytes, 0);
	return 0;
}

/* Places for bytes, and whether any of them is in memory that may go. */
struct places {
	struct iovec v[SCATTER + 1];
	unsigned n;
	bool checked;
};

/* Where the next bytes of a read go; returns how many of MAX fit into OUT. */
static uint64_t places(struct tcp_ask *a, const struct sl_op *op, uint64_t max, struct places *out)
{
	struct tcp_cursor cur = a->rx.cur;
	uint32_t iov = a->rx.iov;
	uint64_t got = 0;
	unsigned *n = &out->n;

	*n = 0;
	out->checked = false;
	while (got < max && iov < op->niov && *n < SCATTER) {
		const struct sl_iov *at = &op->iov[iov];
		unsigned k;

		if (!cur.len)
			cur = (struct tcp_cursor){.addr = at->addr,
			                          .len = at->len,
			                          .count = at->count,
			                          .stride = at->stride};
		if (cur.len)
			got += sl_tcp_cursor_iov(&cur, max - got, out->v + *n, SCATTER - *n, &k);
		else
			k = 0;
		*n += k;
		out->checked = out->checked || at->reg->mem.checked;
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
			*cur = (struct tcp_cursor){.addr = at->addr,
			                           .len = at->len,
			                           .count = at->count,
			                           .stride = at->stride};
		left = cur->len * (cur->count - cur->run) - cur->off;
		if (bytes < left) {
			sl_tcp_cursor_skip(cur, bytes);
			return;
		}
		bytes -= left;
		*cur = (struct tcp_cursor){0};
		a->rx.iov++;
	}
}

/* Bytes that were read ahead. -1 with errno EFAULT: there is no place for them. */
static ssize_t take_ahead(struct tcp_ask *a, const struct sl_op *op)
{
	uint64_t have = a->rx.n - a->rx.at;
	uint64_t n = have < a->rx.left ? have : a->rx.left;
	const uint8_t *from = a->rx.buf + a->rx.at;
	struct places to;

	if (op != &sl_tcp_sunk_op) {
		n = places(a, op, n, &to);
		if (sl_tcp_scatter(to.v, to.n, from, to.checked))
			return -1;
	}
	a->rx.at += (unsigned)n;
	return (ssize_t)n;
}

/* Bytes from the socket into their places, and what follows into the buffer, in one call. */
static ssize_t take_direct(struct sl_conn *conn, const struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;
	struct places to;
	struct msghdr msg = {.msg_iov = to.v};
	uint64_t room = a->rx.left < TCP_SCRATCH ? a->rx.left : TCP_SCRATCH;
	ssize_t got;

	if (op != &sl_tcp_sunk_op) {
		room = places(a, op, a->rx.left < 4 * TCP_CHUNK ? a->rx.left : 4 * TCP_CHUNK, &to);
	} else {
		to.v[0] = (struct iovec){conn->dom->scratch, room};
		to.n = 1;
	}
	if (room == a->rx.left)
		to.v[to.n++] = (struct iovec){a->rx.buf, TCP_RX_LEN};
	msg.msg_iovlen = to.n;
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

/* There is no place for the bytes of OP, a read: it is over, and they are thrown away. */
static void sink(struct sl_conn *conn, struct sl_op *op)
{
	struct tcp_ask *a = &conn->ask;

	sl_lock_take(&conn->lock);
	sl_tcp_sink_locked(a, tcp_slot_at(a, a->head), op->bytes - a->rx.moved);
	if (a->head == a->sent && a->started)
		a->cut = true;
	sl_tcp_await_let_go(conn);
	sl_lock_drop(&conn->lock);
	sl_op_done(op, -EFAULT, a->rx.moved, 0);
}

/* 1: went on. 0: nothing there. */
static int read_data(struct sl_conn *conn)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op *op = answered_op(a);
	bool ahead = a->rx.at < a->rx.n;
	ssize_t n;

	n = ahead ? take_ahead(a, op) : take_direct(conn, op);
	if (n < 0 && errno == EFAULT && op != &sl_tcp_sunk_op) {
		sink(conn, op);
		return 1;
	}
	if (n <= 0)
		return socket_error(n);
	if (!ahead)
		conn->reads++;
	if (op != &sl_tcp_sunk_op)
		advance(a, op, (uint64_t)n);
	else
		sl_tcp_sunk(conn, tcp_slot_at(a, a->head), (uint64_t)n);
	a->rx.left -= (uint64_t)n;
	a->rx.moved += (uint64_t)n;
	if (a->rx.left || !a->rx.last)
		return 1;
	if (op != &sl_tcp_sunk_op && a->rx.moved != op->bytes)
		return -EPROTO;
	return end_op(conn, op, 0, a->rx.moved) ? -EPROTO : 1;
}

static int on_done(struct sl_conn *conn, const struct tcp_head *h)
{
	struct sl_op *op = answered_op(&conn->ask);
	int status = (int)h->arg;

	if (!op)
		return -EPROTO;
	if (op == &sl_tcp_sunk_op)
		return end_op(conn, op, 0, 0);
	if (op->code == SL_OP_READ && !status && conn->ask.rx.moved != op->bytes)
		return -EPROTO;
	return end_op(conn, op, status,
	              status ? (h->len < op->bytes ? h->len : op->bytes) : op->bytes);
}

static int on_data(struct sl_conn *conn, const struct tcp_head *h)
{
	struct tcp_ask *a = &conn->ask;
	struct sl_op *op = answered_op(a);

	if (!op || op->code != SL_OP_READ ||
	    (op != &sl_tcp_sunk_op && h->len > op->bytes - a->rx.moved))
		return -EPROTO;
	a->rx.left = h->len;
	a->rx.last = h->flags & TCP_LAST;
	if (h->len || !a->rx.last)
		return 0;
	return op == &sl_tcp_sunk_op || a->rx.moved == op->bytes ? end_op(conn, op, 0, a->rx.moved)
	                                                         : -EPROTO;
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
	rc = sl_tcp_get_head(a->rx.buf + a->rx.at, false, &h);
	if (rc)
		return rc;
	a->rx.at += TCP_HEAD_LEN;
	if (h.type == TCP_DONE)
		rc = on_done(conn, &h);
	else if (h.type == TCP_DATA)
		rc = on_data(conn, &h);
	return rc ? rc : 1;
}

/* Nothing is owed to us, and nothing more has come than what answered it. */
static bool is_answered(struct sl_conn *conn)
{
	return !conn->ask.rx.left && conn->ask.rx.at == conn->ask.rx.n && tcp_ask_idle(conn);
}

int sl_tcp_ask_read(struct sl_conn *conn)
{
	int done = 0;
	int rc = 1;

	while (done < READ_ROUNDS && conn->ask.fd.fd >= 0) {
		rc = conn->ask.rx.left ? read_data(conn) : read_head(conn);
		if (rc > 0) {
			done++;
			if (is_answered(conn)) /* a look would be in vain, and somebody waits */
				break;
			continue;
		}
		if (rc == 0)
			break;
		/* the peer hung up: what it asked before that still counts */
		while (rc == -ECONNRESET && conn->serve.fd.fd >= 0 && sl_tcp_serve_read(conn))
			;
		sl_tcp_break(conn, rc == -EPROTO ? -EPROTO : -ECONNRESET);
		return done + 1;
	}
	if (rc > 0 && conn->ask.rx.at < conn->ask.rx.n)
		sl_tcp_go_on(conn); /* no event tells of what we have */
	if (conn->closed && done)
		sl_tcp_todo(conn); /* are we through? */
	return done;
}
