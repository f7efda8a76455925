/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_serve.c - the serving half: the peer's requests, one after the other.
 *
 *	HEAD ──READ──► PIECES ──► PIECE ──► READ (data of the piece goes out) ──┐
 *	 ▲  │            ▲ └────────── no piece left ──► END                    │
 *	 │  │            └──────────────────────────────────────────────────────┘
 *	 │  ├──WRITE──► PIECE ──► PAYLOAD ──► END (after the last: immediate, answer)
 *	 │  └──SEND───────────► PAYLOAD ──► END (LATER: when a bare SEND has come)
 *	 └──────────────────────────────────────────────────────────────────────┘
 *
 * Ranges, rights and keys are checked here, where the memory is, under reg_lock,
 * and again for every chunk, so that a region may go at any time. A transfer
 * with an error is read to its end, into the scratch buffer, and then answered.
 * Bytes of memory that may go are out before their read is answered, so that the
 * answer can tell that they were not there.
 * While OUT is full nothing more is read: the peer's kernel holds it back.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/foreign.h"
#include "base/log.h"
#include "transport/tcp/tcp_impl.h"

enum {
	ROUNDS = 64,
	SCATTER = 32,
	LAST_MAX =
	    64 * 1024, /* a larger read is ended by DONE, so that an error can still be told */
};

/*
 * Regions. reg_lock held.
 */

static const struct sl_reg *find_reg_locked(struct sl_dom *dom, const struct tcp_serve *s)
{
	uint32_t i = (uint32_t)s->region;
	const struct sl_reg *reg = i < dom->regs_cap ? dom->regs[i] : NULL;

	if (!reg || reg->id != s->region || !sl_same_secret(reg->key, s->key, sizeof(reg->key)))
		return NULL;
	return reg;
}

/* The region that S may use now for NEED, or an errno. */
static int check_locked(struct sl_dom *dom, const struct tcp_serve *s, uint32_t need,
                        const struct sl_reg **out)
{
	const struct sl_reg *reg = find_reg_locked(dom, s);

	if (!reg || !(reg->access & need))
		return -EACCES;
	if (s->piece_off > reg->mem.len || s->piece_span > reg->mem.len - s->piece_off)
		return -ERANGE;
	*out = reg;
	return 0;
}

static void drop_aside(struct tcp_serve *s)
{
	while (s->naside)
		free(s->aside[--s->naside]);
}

void sl_tcp_serve_free(struct tcp_serve *s)
{
	sl_tcp_batch_reset(&s->out);
	drop_aside(s);
}

static bool is_own(const struct tcp_serve *s, const char *p)
{
	return p >= (const char *)s->out.buf && p < (const char *)s->out.buf + TCP_BATCH_BUF;
}

/* What OUT still holds of REG is copied, so that the memory can go. */
void sl_tcp_serve_unreg_locked(struct sl_conn *conn, const struct sl_reg *reg)
{
	struct tcp_serve *s = &conn->serve;
	const char *begin = reg->mem.addr;

	for (unsigned i = s->out.at; i < s->out.n; i++) {
		struct iovec *v = &s->out.v[i];
		const char *p = v->iov_base;
		void *copy;

		if (is_own(s, p) || p < begin || p >= begin + reg->mem.len)
			continue;
		copy = malloc(v->iov_len);
		if (!copy) { /* better no answer than a wrong one */
			(void)shutdown(s->fd.fd, SHUT_RDWR);
			s->out.at = s->out.n;
			return;
		}
		if (!reg->mem.checked) {
			memcpy(copy, p, v->iov_len);
		} else if (sl_foreign_copy(copy, p, v->iov_len)) {
			memset(copy, 0, v->iov_len);
			s->lost = true;
		}
		v->iov_base = copy;
		s->aside[s->naside++] = copy;
	}
}

/*
 * Answers.
 */

/* Our memory is not there: so the transfer under way ends, here and at the peer. */
static void note_hole(struct tcp_serve *s)
{
	if (!s->status)
		s->status = -EREMOTEIO;
	s->hole = s->sink = true;
}

/* 1: all of OUT is gone. 0: the socket is full. */
static int flush(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;
	struct tcp_serve *s = &conn->serve;
	ssize_t n = 0;

	s->data_head = NULL;
	sl_lock_take(&dom->reg_lock);
	while (!tcp_batch_empty(&s->out) && n >= 0) {
		n = sl_tcp_batch_send(&s->out, s->fd.fd);
		if (n == -EFAULT && sl_tcp_batch_void(&s->out)) {
			note_hole(s);
			n = 0;
		}
	}
	if (s->lost)
		note_hole(s);
	s->lost = false;
	if (tcp_batch_empty(&s->out)) {
		sl_tcp_batch_reset(&s->out);
		drop_aside(s);
		n = 0;
	}
	sl_lock_drop(&dom->reg_lock);
	s->blocked = n == -EAGAIN;
	if (s->blocked)
		return 0;
	return n < 0 ? (int)n : 1;
}

static bool has_room(const struct tcp_serve *s)
{
	return tcp_batch_room(&s->out, TCP_HEAD_LEN) && s->out.total < TCP_CHUNK;
}

static void put_head(struct sl_conn *conn, enum tcp_type type, int status, uint64_t len)
{
	struct tcp_serve *s = &conn->serve;
	struct tcp_head head = {.type = (uint8_t)type, .arg = (uint32_t)status, .len = len};

	s->data_head = NULL;
	sl_lock_take(&conn->dom->reg_lock);
	sl_tcp_put_head(sl_tcp_batch_put(&s->out, TCP_HEAD_LEN), &head);
	sl_lock_drop(&conn->dom->reg_lock);
}

/* LEN more bytes of the read follow: in the DATA frame that is last in OUT, or in a new one.
 * reg_lock held. */
static void put_data_locked(struct tcp_serve *s, uint64_t len)
{
	if (!s->data_head) {
		s->data = (struct tcp_head){.type = TCP_DATA};
		s->data_head = sl_tcp_batch_put(&s->out, TCP_HEAD_LEN);
	}
	s->data.len += len;
	sl_tcp_put_head(s->data_head, &s->data);
}

static void end_read(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;

	if (s->status || !s->data_head || s->data.len > LAST_MAX || s->bytes > LAST_MAX) {
		put_head(conn, TCP_DONE, s->status, s->bytes);
		return;
	}
	s->data.flags = TCP_LAST;
	sl_tcp_put_head(s->data_head, &s->data);
	s->data_head = NULL;
}

void sl_tcp_serve_pong(struct sl_conn *conn)
{
	if (!has_room(&conn->serve) || conn->serve.fd.fd < 0)
		return;
	put_head(conn, TCP_PONG, 0, 0);
	(void)flush(conn);
}

/*
 * Requests. Each returns 1 (go on), 0 (no input, or no room) or an errno.
 */

/*
 * A socket that was reset may still hold bytes, of transfers that are over for
 * the peer. It resets no earlier than some milliseconds after it asked us to
 * stop, so who looks more often than that has nothing to fear.
 */
static bool look(struct tcp_serve *s)
{
	struct pollfd pfd = {.fd = s->fd.fd};
	int64_t now = sl_clock_ns();
	bool late = now - s->looked_ns > SL_NS_PER_MS;

	s->looked_ns = now;
	return late && poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLERR);
}

/* Have N bytes in the buffer. */
static int need(struct sl_conn *conn, unsigned want)
{
	struct tcp_serve *s = &conn->serve;
	bool reset;
	ssize_t n;
	int rc;

	if (s->rx.n - s->rx.at >= want)
		return 1;
	if (!tcp_batch_empty(&s->out)) { /* nothing more to do: now the answers */
		rc = flush(conn);
		if (rc <= 0)
			return rc;
	}
	if (s->rx.at) {
		memmove(s->rx.buf, s->rx.buf + s->rx.at, s->rx.n - s->rx.at);
		s->rx.n -= s->rx.at;
		s->rx.at = 0;
	}
	if (s->dry) /* a look would be in vain, and on our core the peer waits for us to sleep */
		return 0;
	n = recv(s->fd.fd, s->rx.buf + s->rx.n, TCP_RX_LEN - s->rx.n, MSG_DONTWAIT);
	s->dry = n > 0 && n < TCP_RX_LEN - (ssize_t)s->rx.n;
	reset = look(s);
	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (reset)
		return -ECONNRESET;
	conn->reads++;
	s->rx.n += (unsigned)n;
	return s->rx.n - s->rx.at >= want ? 1 : need(conn, want);
}

static void begin_transfer(struct tcp_serve *s)
{
	s->status = 0;
	s->hole = false;
	s->bytes = 0;
}

/* A message goes to the oldest receive; who was told of one that went since sends it again. */
static void start_send(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	struct sl_op *op;

	begin_transfer(s);
	if (s->head.flags & TCP_AGAIN)
		s->nacking = false;
	sl_lock_take(&conn->lock);
	op = s->nacking ? NULL : conn->ask.recvs.head;
	if (op && (s->head.flags & TCP_TOO_LONG) && (uint32_t)op->priv[0] != s->head.arg)
		op = NULL; /* too long for another one */
	s->recv = op;
	s->open = s->head.flags & TCP_LATER;
	s->checked = op && op->iov->reg->mem.checked;
	if (op && s->head.len <= op->bytes)
		s->cur = (struct tcp_cursor){.addr = op->iov->addr, .len = s->head.len, .count = 1};
	sl_lock_drop(&conn->lock);
	if (!op)
		s->status = -ECANCELED;
	else if ((s->head.flags & TCP_TOO_LONG) || s->head.len > op->bytes)
		s->status = -EMSGSIZE;
	s->sink = s->status != 0;
	s->left = s->head.len;
	s->state = SERVE_PAYLOAD;
}

/* The end of a message that was announced for LATER. */
static int end_send(struct tcp_serve *s)
{
	if (!s->open)
		return -EPROTO;
	if ((s->head.flags & TCP_ABORT) && !s->status)
		s->status = -EREMOTEIO;
	s->open = false;
	s->state = SERVE_END;
	return 1;
}

static int on_head(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	int rc = need(conn, TCP_HEAD_LEN);

	if (rc <= 0)
		return rc;
	if (!has_room(s)) /* for a pong, whatever was asked for before it */
		return flush(conn);
	rc = sl_tcp_get_head(s->rx.buf + s->rx.at, true, &s->head);
	if (rc)
		return rc;
	s->rx.at += TCP_HEAD_LEN;
	if (s->head.type == TCP_SEND && (s->head.flags & TCP_BARE))
		return end_send(s);
	if (s->open && s->head.type <= TCP_SEND)
		return -EPROTO;
	switch (s->head.type) {
	case TCP_READ:
		s->pieces = s->head.arg;
		s->state = SERVE_PIECES;
		return 1;
	case TCP_WRITE:
		s->state = SERVE_PIECE;
		if (s->head.flags & TCP_BARE) {
			s->left = 0;
			s->bytes += s->head.flags & TCP_IMM ? s->head.len : 0;
			s->state = SERVE_END;
		}
		return 1;
	case TCP_SEND:
		start_send(conn);
		return 1;
	case TCP_RECV:
		rc = sl_tcp_ask_credit(conn, s->head.arg, s->head.len);
		return rc ? rc : 1;
	case TCP_UNRECV:
		sl_tcp_ask_uncredit(conn, s->head.arg);
		return 1;
	default:
		put_head(conn, TCP_PONG, 0, 0);
		return 1;
	}
}

/* The extent of a piece, from its first byte to behind its last. */
static bool span_of(const struct tcp_piece *p, uint64_t *out)
{
	uint64_t span;

	return !__builtin_mul_overflow(p->count - 1, p->stride, &span) &&
	       !__builtin_add_overflow(span, p->len, out);
}

static int on_piece(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	bool read = s->head.type == TCP_READ;
	const struct sl_reg *reg;
	struct tcp_piece p;
	uint64_t bytes;
	int rc = need(conn, TCP_PIECE_LEN);

	if (rc <= 0)
		return rc;
	rc = sl_tcp_get_piece(s->rx.buf + s->rx.at, &p, &bytes);
	if (rc || (!read && bytes != s->head.len))
		return -EPROTO;
	s->rx.at += TCP_PIECE_LEN;
	s->region = p.region;
	memcpy(s->key, p.key, sizeof(s->key));
	s->piece_off = p.off;
	s->left = bytes;
	s->cur = (struct tcp_cursor){.len = p.len, .count = p.count, .stride = p.stride};
	if (span_of(&p, &s->piece_span)) {
		sl_lock_take(&conn->dom->reg_lock);
		rc =
		    check_locked(conn->dom, s,
		                 read ? SLIME_ACCESS_REMOTE_READ : SLIME_ACCESS_REMOTE_WRITE, &reg);
		if (!rc) {
			s->cur.addr = (char *)reg->mem.addr + p.off;
			s->checked = reg->mem.checked;
		}
		sl_lock_drop(&conn->dom->reg_lock);
	} else {
		rc = -ERANGE;
	}
	if (rc && !s->status)
		s->status = rc;
	s->sink = s->status != 0;
	s->state = read ? SERVE_READ : SERVE_PAYLOAD;
	return 1;
}

static int on_pieces(struct tcp_serve *s)
{
	if (s->pieces) {
		s->pieces--;
		s->state = SERVE_PIECE;
	} else {
		s->left = 0;
		s->state = s->head.flags & TCP_LAST ? SERVE_END : SERVE_HEAD;
	}
	return 1;
}

/* Put data of the piece into OUT. */
static int on_read(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;
	struct tcp_serve *s = &conn->serve;
	const struct sl_reg *reg;
	int rc;

	if (!s->left || s->status) {
		s->state = SERVE_PIECES;
		return 1;
	}
	if (!has_room(s)) {
		rc = flush(conn);
		return rc;
	}
	sl_lock_take(&dom->reg_lock);
	rc = check_locked(dom, s, SLIME_ACCESS_REMOTE_READ, &reg);
	if (rc) {
		s->status = rc;
	} else {
		uint64_t most = s->left < TCP_CHUNK ? s->left : TCP_CHUNK;
		unsigned before = s->out.n + !s->data_head;
		unsigned n;
		struct iovec v[TCP_BATCH_IOV];
		size_t got = sl_tcp_cursor_iov(&s->cur, most, v, TCP_BATCH_IOV - before, &n);

		put_data_locked(s, got);
		if (reg->mem.checked)
			sl_tcp_batch_doubt(&s->out);
		for (unsigned i = 0; i < n; i++)
			sl_tcp_batch_ref(&s->out, v[i].iov_base, v[i].iov_len);
		sl_tcp_cursor_skip(&s->cur, got);
		s->left -= got;
		s->bytes += got;
	}
	sl_lock_drop(&dom->reg_lock);
	return 1;
}

/* Move payload from the buffer or the socket to where it goes. Locks of the target held. */
static ssize_t take(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	struct iovec v[SCATTER + 1] = {{conn->dom->scratch, TCP_SCRATCH}};
	struct msghdr msg = {.msg_iov = v};
	unsigned have = s->rx.n - s->rx.at;
	uint64_t most = have ? have : TCP_CHUNK;
	uint64_t room;
	unsigned n = 1;
	ssize_t got;

	most = s->left < most ? s->left : most;
	if (s->sink) {
		room = v[0].iov_len = most < TCP_SCRATCH ? most : TCP_SCRATCH;
	} else {
		room = sl_tcp_cursor_iov(&s->cur, most, v, SCATTER, &n);
	}
	if (have) {
		if (sl_tcp_scatter(v, n, s->rx.buf + s->rx.at, s->checked && !s->sink))
			return -1;
		s->rx.at += (unsigned)room;
		return (ssize_t)room;
	}
	if (room == s->left)
		v[n++] = (struct iovec){s->rx.buf, TCP_RX_LEN};
	msg.msg_iovlen = n;
	got = recvmsg(s->fd.fd, &msg, MSG_DONTWAIT);
	s->rx.at = s->rx.n = 0;
	if (got > 0 && (uint64_t)got > room) {
		s->rx.n = (unsigned)((uint64_t)got - room);
		got = (ssize_t)room;
	}
	return got;
}

static ssize_t take_write(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;
	struct tcp_serve *s = &conn->serve;
	const struct sl_reg *reg;
	ssize_t n;

	sl_lock_take(&dom->reg_lock);
	if (!s->sink)
		s->status = check_locked(dom, s, SLIME_ACCESS_REMOTE_WRITE, &reg);
	s->sink = s->status != 0;
	n = take(conn);
	sl_lock_drop(&dom->reg_lock);
	return n;
}

/* The receive may be taken back at any time, but only by who makes progress: us. */
static ssize_t take_send(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;

	if (!s->recv && !s->status)
		s->status = -ECANCELED;
	s->sink = s->status != 0;
	return take(conn);
}

static int on_payload(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	bool direct = s->rx.n == s->rx.at;
	ssize_t n;

	if (!s->left) {
		s->state = s->open ? SERVE_HEAD : SERVE_END;
		return 1;
	}
	if (direct && !tcp_batch_empty(&s->out)) {
		int rc = flush(conn);

		if (rc <= 0)
			return rc;
	}
	if (direct && look(s))
		return -ECONNRESET;
	n = s->head.type == TCP_SEND ? take_send(conn) : take_write(conn);
	if (n == 0)
		return -EPIPE;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 && errno == EFAULT && !s->sink) {
		note_hole(s);
		return 1;
	}
	if (n < 0)
		return -errno;
	if (direct)
		conn->reads++;
	if (!s->sink)
		sl_tcp_cursor_skip(&s->cur, (uint64_t)n);
	s->left -= (uint64_t)n;
	s->bytes += (uint64_t)n;
	return 1;
}

void sl_tcp_serve_ended(const struct tcp_serve *s, struct tcp_answer *out)
{
	out->ended = s->ended;
	out->nfailures = s->nfailed < TCP_FAILURES ? (uint32_t)s->nfailed : TCP_FAILURES;
	memcpy(out->failure, s->failure, sizeof(out->failure));
}

static void note_end(struct tcp_serve *s)
{
	if (s->status)
		s->failure[s->nfailed++ % TCP_FAILURES] =
		    (struct tcp_failure){.seq = s->ended, .status = s->status};
	s->ended++;
}

void sl_tcp_serve_reset(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;

	sl_lock_take(&conn->dom->reg_lock);
	sl_tcp_batch_reset(&s->out);
	drop_aside(s);
	sl_lock_drop(&conn->dom->reg_lock);
	sl_lock_take(&conn->lock);
	s->recv = NULL;
	conn->ask.ncredit = 0;
	sl_lock_drop(&conn->lock);
	s->state = SERVE_HEAD;
	s->rx.at = s->rx.n = 0;
	s->blocked = s->nacking = s->open = s->sink = false;
	atomic_store(&s->stalled, false);
	s->data_head = NULL;
	begin_transfer(s);
}

/* 1: delivered. 0: there is no room for it. */
static int deliver_imm(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	struct sl_op *waiter;
	int rc = 0;

	sl_lock_take(&conn->lock);
	waiter = sl_op_pop(&conn->imm_recvs);
	if (!waiter)
		rc = sl_imm_reserve(&conn->imms);
	if (!waiter && !rc)
		sl_imm_push(&conn->imms, s->head.arg, s->bytes);
	/* under the lock, so that who makes room afterwards sees it */
	atomic_store(&s->stalled, rc != 0);
	sl_lock_drop(&conn->lock);
	if (waiter)
		sl_op_done(waiter, 0, s->bytes, s->head.arg);
	return !rc;
}

static void end_recv(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	struct sl_op *op = s->recv;
	struct sl_op *before = NULL;

	s->recv = NULL;
	if (!op)
		return;
	sl_lock_take(&conn->lock);
	for (struct sl_op *at = conn->ask.recvs.head; at != op; at = at->next)
		before = at;
	if (before)
		before->next = op->next;
	else
		conn->ask.recvs.head = op->next;
	if (conn->ask.recvs.tail == op)
		conn->ask.recvs.tail = before;
	if (conn->ask.announce == op) /* a peer that knows what we did not tell */
		conn->ask.announce = op->next;
	sl_lock_drop(&conn->lock);
	sl_op_done(op, s->hole ? -EFAULT : s->status, s->status ? 0 : s->bytes, 0);
}

static int on_end(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	int rc;

	s->state = SERVE_HEAD;
	if (s->head.type == TCP_WRITE && !(s->head.flags & TCP_LAST))
		return 1;
	if (!has_room(s) || (s->head.type == TCP_READ && s->out.fragile)) {
		s->state = SERVE_END;
		rc = flush(conn);
		return rc;
	}
	if (s->head.type == TCP_SEND) {
		if (!s->recv && !s->status) /* taken back at the last moment */
			s->status = -ECANCELED;
		s->nacking = s->nacking || s->status == -ECANCELED;
		end_recv(conn);
	} else if (s->head.flags & TCP_ABORT) {
		s->status = -ECANCELED;
	} else if ((s->head.flags & TCP_IMM) && !s->status && !deliver_imm(conn)) {
		s->state = SERVE_END;
		return 0;
	}
	note_end(s);
	if (s->head.type == TCP_READ)
		end_read(conn);
	else
		put_head(conn, TCP_DONE, s->status, s->bytes);
	begin_transfer(s);
	return 1;
}

static int step(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;

	if (s->blocked) {
		int rc = flush(conn);

		if (rc <= 0)
			return rc;
	}
	switch (s->state) {
	case SERVE_HEAD:
		return on_head(conn);
	case SERVE_PIECES:
		return on_pieces(s);
	case SERVE_PIECE:
		return on_piece(conn);
	case SERVE_READ:
		return on_read(conn);
	case SERVE_PAYLOAD:
		return on_payload(conn);
	default:
		return on_end(conn);
	}
}

/* While we cannot go on, input must not wake us; a hang-up always does. */
static void watch(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;

	sl_tcp_watch(conn->dom, &s->fd, s->blocked ? EPOLLOUT : s->stalled ? 0 : EPOLLIN);
}

int sl_tcp_serve_read(struct sl_conn *conn)
{
	struct tcp_serve *s = &conn->serve;
	int done = 0;
	int rc = 1;

	s->dry = false;
	for (int i = 0; i < ROUNDS && rc > 0 && s->fd.fd >= 0; i++) {
		rc = step(conn);
		done += rc > 0;
	}
	if (s->fd.fd < 0)
		return done;
	if (rc >= 0 && !s->blocked && !tcp_batch_empty(&s->out)) {
		int flushed = flush(conn);

		rc = flushed < 0 ? flushed : rc;
	}
	if (rc < 0) {
		if (rc == -EPROTO)
			sl_log(
			    SLIME_LOG_WARN,
			    "tcp: the peer at %s sent what no peer of ours sends, the connection is closed",
			    conn->name);
		if (rc == -EPROTO || rc == -EPIPE)
			sl_tcp_break(conn, rc == -EPROTO ? -EPROTO : -ECONNRESET);
		else
			sl_tcp_lost(conn);
		return done + 1;
	}
	watch(conn);
	if (rc > 0 && !s->blocked)
		sl_tcp_go_on(conn); /* no event tells of what is in our buffer */
	return done;
}

void sl_tcp_serve_forget(struct sl_conn *conn, const struct sl_op *recv)
{
	if (conn->serve.recv == recv)
		conn->serve.recv = NULL;
}
