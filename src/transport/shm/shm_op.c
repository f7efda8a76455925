/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ops. A one-sided op is copied by who submits it, and is over when submit()
 * returns, unless memory of the peer that it needs is still to be mapped. The
 * rest waits in queues for the peer, and is moved along by progress().
 *
 * Thread-safe by conn->lock; done ops are collected and reported without it.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/shm/shm_impl.h"

void sl_shm_end(struct sl_op_queue *q, struct sl_op *op, int status, uint64_t bytes, uint32_t imm)
{
	op->priv[0] = (uint64_t)(int64_t)status;
	op->priv[1] = bytes;
	op->priv[2] = imm;
	sl_op_push(q, op);
}

int sl_shm_complete(struct sl_op_queue *q)
{
	struct sl_op *op;
	int n = 0;

	while ((op = sl_op_pop(q))) {
		sl_op_done(op, (int)(int64_t)op->priv[0], op->priv[1], (uint32_t)op->priv[2]);
		n++;
	}
	return n;
}

static int halt_of(const struct sl_conn *conn)
{
	return atomic_load_explicit(&conn->halt, memory_order_relaxed);
}

static bool is_open(const struct sl_conn *conn)
{
	return atomic_load_explicit(&conn->state, memory_order_acquire) == SHM_OPEN;
}

static bool waits_locked(const struct sl_conn *conn) SL_REQUIRES(conn->lock)
{
	return conn->sends.head || conn->recvs.head || conn->n_posted || conn->imm_sends.head ||
	       conn->imm_recvs.head || conn->pending.head;
}

void sl_shm_settle_locked(struct sl_conn *conn)
{
	uint32_t gate = atomic_load_explicit(&conn->gate, memory_order_relaxed);
	bool closing = conn->closed && !conn->shut && is_open(conn);
	bool busy = conn->sends.head || conn->recvs.head || conn->n_posted ||
	            conn->imm_sends.head || conn->pending.head || conn->ended.head ||
	            (halt_of(conn) && (conn->imm_recvs.head || closing));

	if (gate & SHM_GATE_PENDING && !conn->pending.head)
		atomic_fetch_and(&conn->gate, ~(uint32_t)SHM_GATE_PENDING);
	if (busy != atomic_load_explicit(&conn->busy, memory_order_relaxed))
		atomic_store_explicit(&conn->busy, busy, memory_order_relaxed);
	if (busy && !conn->awake)
		sl_shm_wake_locked(conn);
}

/* An op waits for the peer to make room. If we sleep already, that must wake us. */
void sl_shm_await_room_locked(struct sl_conn *conn)
{
	if (!atomic_load(&conn->dom->armed))
		return;
	sl_ring_want(&conn->ring, SL_RING_ROOM);
	if ((conn->sends.head && sl_ring_has_posts(&conn->ring)) ||
	    (conn->imm_sends.head && sl_ring_has_room(&conn->ring)))
		sl_shm_kick(conn->dom);
}

/*
 * Immediates.
 */

/* Hand immediates to who asked; KEEP those that nobody asked for. 0 or -EPROTO. */
static int take_imms_locked(struct sl_conn *conn, bool keep, struct sl_op_queue *done)
    SL_REQUIRES(conn->lock)
{
	bool took = false;
	uint64_t bytes;
	uint32_t imm;
	int rc = 0;

	while (sl_ring_has_notes(&conn->ring)) {
		if (!conn->imm_recvs.head && !(keep && !sl_imm_reserve(&conn->imms)))
			break;
		rc = sl_ring_note_get(&conn->ring, &imm, &bytes);
		if (rc <= 0)
			break;
		took = true;
		if (conn->imm_recvs.head)
			sl_shm_end(done, sl_op_pop(&conn->imm_recvs), 0, bytes, imm);
		else
			sl_imm_push(&conn->imms, imm, bytes);
	}
	if (took)
		sl_shm_ring_locked(conn, SL_RING_ROOM);
	return rc < 0 ? rc : 0;
}

/* Put the immediates that waited for room into the ring. 0 or -EPROTO. */
static int put_imms_locked(struct sl_conn *conn, struct sl_op_queue *done) SL_REQUIRES(conn->lock)
{
	struct sl_op *op;
	bool put = false;
	int rc = 1;

	while (rc > 0 && (op = conn->imm_sends.head)) {
		rc = sl_ring_note_put(&conn->ring, op->imm, op->imm_bytes);
		if (rc <= 0)
			break;
		put = true;
		(void)sl_op_pop(&conn->imm_sends);
		sl_shm_end(done, op, 0, op->bytes, 0);
	}
	if (put)
		sl_shm_ring_locked(conn, SL_RING_NEWS);
	if (!rc)
		sl_shm_await_room_locked(conn);
	return rc < 0 ? rc : 0;
}

/* The bytes of a write_imm are there: the immediate follows. */
static void send_imm(struct sl_conn *conn, struct sl_op *op)
{
	struct sl_op_queue done = {0};
	int rc;

	sl_lock_take(&conn->lock);
	if (halt_of(conn)) {
		sl_shm_end(&done, op, halt_of(conn), op->bytes, 0);
	} else {
		sl_op_push(&conn->imm_sends, op);
		rc = put_imms_locked(conn, &done);
		if (rc)
			sl_shm_fail_locked(conn, rc);
		sl_shm_settle_locked(conn);
	}
	sl_lock_drop(&conn->lock);
	(void)sl_shm_complete(&done);
}

/*
 * One-sided ops.
 */

static void finish_one_sided(struct sl_conn *conn, struct sl_op *op, int rc)
{
	if (rc == -ECONNRESET) {
		sl_lock_take(&conn->lock);
		sl_shm_fail_locked(conn, rc);
		sl_lock_drop(&conn->lock);
	}
	if (!rc && op->code == SL_OP_WRITE_IMM)
		send_imm(conn, op);
	else
		sl_op_done(op, rc, sl_shm_moved(op), 0);
}

static int run_now(struct sl_conn *conn, struct sl_op *op)
{
	sl_shm_move_start(op);
	finish_one_sided(conn, op, sl_shm_move(conn, op, UINT64_MAX));
	return 0;
}

static int refusal_locked(const struct sl_conn *conn) SL_REQUIRES(conn->lock)
{
	if (conn->closed)
		return -ECANCELED;
	if (!is_open(conn))
		return -ENOTCONN;
	return conn->gone ? -ECONNRESET : 0;
}

/* Something stands before OP: earlier ops that wait, memory that is not mapped yet, a shut gate. */
static int submit_behind(struct sl_conn *conn, struct sl_op *op)
{
	bool now = false;
	int rc;

	sl_lock_take(&conn->lock);
	rc = refusal_locked(conn);
	if (!rc)
		now = !conn->pending.head && sl_shm_movable(conn, op);
	if (!rc && !now) {
		sl_shm_move_start(op);
		sl_op_push(&conn->pending, op);
		atomic_fetch_or(&conn->gate, SHM_GATE_PENDING);
		sl_shm_settle_locked(conn);
	}
	sl_lock_drop(&conn->lock);
	return now ? run_now(conn, op) : rc;
}

static int submit_one_sided(struct sl_conn *conn, struct sl_op *op)
{
	if (atomic_load_explicit(&conn->gate, memory_order_acquire))
		return submit_behind(conn, op);
	if (op->code != SL_OP_WRITE_IMM && sl_shm_move_simple(conn, op)) {
		sl_op_done(op, 0, op->bytes, 0);
		return 0;
	}
	return sl_shm_movable(conn, op) ? run_now(conn, op) : submit_behind(conn, op);
}

/* Run the ops that waited for memory to be mapped, in order. Returns how many ended. */
static int pump_pending(struct sl_conn *conn)
{
	struct sl_op *op;
	int n = 0, rc = 0;

	sl_lock_take(&conn->lock);
	if (conn->moving || !conn->pending.head)
		goto out;
	conn->moving = true;
	while (rc != 1 && (op = conn->pending.head) &&
	       (halt_of(conn) || sl_op_stop(op) || sl_shm_movable(conn, op))) {
		sl_lock_drop(&conn->lock);
		rc = sl_shm_move(conn, op, SHM_TURN);
		sl_lock_take(&conn->lock);
		if (rc == 1)
			break;
		(void)sl_op_pop(&conn->pending);
		sl_shm_settle_locked(conn);
		sl_lock_drop(&conn->lock);
		finish_one_sided(conn, op, rc);
		n++;
		sl_lock_take(&conn->lock);
	}
	conn->moving = false;
	sl_shm_settle_locked(conn);
out:
	sl_lock_drop(&conn->lock);
	return n;
}

static int submit_recv_imm(struct sl_conn *conn, struct sl_op *op)
{
	struct sl_op_queue done = {0};
	struct sl_imm imm;
	int rc;

	sl_lock_take(&conn->lock);
	rc = refusal_locked(conn);
	if ((!rc || rc == -ECONNRESET) && sl_imm_pop(&conn->imms, &imm)) {
		rc = 0; /* it had come before the peer went */
		sl_shm_end(&done, op, 0, imm.bytes, imm.value);
	} else if (!rc) {
		sl_op_push(&conn->imm_recvs, op);
		if (take_imms_locked(conn, false, &done))
			sl_shm_fail_locked(conn, -EPROTO);
	}
	sl_lock_drop(&conn->lock);
	(void)sl_shm_complete(&done);
	return rc;
}

static int submit_message(struct sl_conn *conn, struct sl_op *op)
{
	struct sl_op_queue done = {0};
	bool send = op->code == SL_OP_SEND;
	int rc;

	sl_lock_take(&conn->lock);
	rc = refusal_locked(conn);
	if (!rc)
		sl_shm_message_locked(conn, op);
	if (!rc && send)
		sl_shm_pump_sends_locked(conn, UINT64_MAX, &done);
	sl_lock_drop(&conn->lock);
	(void)sl_shm_complete(&done);
	return rc;
}

int sl_shm_submit(struct sl_conn *conn, struct sl_op *op)
{
	switch (op->code) {
	case SL_OP_RECV_IMM:
		return submit_recv_imm(conn, op);
	case SL_OP_SEND:
	case SL_OP_RECV:
		return submit_message(conn, op);
	default:
		return submit_one_sided(conn, op);
	}
}

/* Take OP out of the queue where it waits, if it does, with the BYTES it moved. */
static bool unqueue_locked(struct sl_conn *conn, struct sl_op *op, uint64_t *bytes)
    SL_REQUIRES(conn->lock)
{
	*bytes = 0;
	if (sl_op_take_stopped(&conn->recvs, op) || sl_op_take_stopped(&conn->imm_recvs, op))
		return true;
	if (sl_op_take_stopped(&conn->imm_sends, op)) {
		*bytes = op->bytes;
		return true;
	}
	if (!(conn->moving && conn->pending.head == op) && sl_op_take_stopped(&conn->pending, op)) {
		*bytes = sl_shm_moved(op);
		return true;
	}
	return false;
}

void sl_shm_cancel(struct sl_conn *conn, struct sl_op *op)
{
	int stop = sl_op_stop(op);
	uint64_t bytes;

	if (!stop)
		return;
	sl_lock_take(&conn->lock);
	if (unqueue_locked(conn, op, &bytes))
		sl_shm_end(&conn->ended, op, stop, bytes, 0);
	else
		sl_shm_unmessage_locked(conn, op, stop);
	sl_shm_settle_locked(conn);
	sl_lock_drop(&conn->lock);
	atomic_store(&conn->dom->work, true);
}

/*
 * What progress does.
 */

static void end_waiting_locked(struct sl_conn *conn, struct sl_op_queue *done)
    SL_REQUIRES(conn->lock)
{
	struct sl_op *op;

	while ((op = sl_op_pop(&conn->recvs)) || (op = sl_op_pop(&conn->imm_recvs)))
		sl_shm_end(done, op, halt_of(conn), 0, 0);
	while ((op = sl_op_pop(&conn->imm_sends)))
		sl_shm_end(done, op, halt_of(conn), op->bytes, 0);
}

static int work_locked(struct sl_conn *conn, struct sl_op_queue *done) SL_REQUIRES(conn->lock)
{
	int rc;

	if (sl_ring_has_ping(&conn->ring))
		sl_ring_pong(&conn->ring);
	if (halt_of(conn) == -EPROTO)
		return 0;
	rc = take_imms_locked(conn, true, done);
	if (!rc)
		rc = sl_shm_take_fills_locked(conn, done);
	if (!rc && !halt_of(conn)) {
		sl_shm_post_recvs_locked(conn);
		rc = put_imms_locked(conn, done);
	}
	return rc;
}

/* Move what is over, one way or another, to DONE. */
static void collect_locked(struct sl_conn *conn, struct sl_op_queue *done) SL_REQUIRES(conn->lock)
{
	struct sl_op *op;
	int rc = is_open(conn) ? work_locked(conn, done) : 0;

	if (rc)
		sl_shm_fail_locked(conn, rc);
	if (halt_of(conn))
		end_waiting_locked(conn, done);
	if (halt_of(conn) || conn->revoking)
		sl_shm_revoke_locked(conn, done);
	while ((op = sl_op_pop(&conn->ended)))
		sl_op_push(done, op);
}

int sl_shm_poll(struct sl_conn *conn)
{
	struct sl_op_queue done = {0};
	bool more, closing;
	int n;

	sl_lock_take(&conn->lock);
	collect_locked(conn, &done);
	sl_shm_pump_sends_locked(conn, SHM_TURN, &done);
	more = conn->pending.head;
	closing = conn->closed && !conn->shut;
	sl_shm_settle_locked(conn);
	sl_lock_drop(&conn->lock);

	n = sl_shm_complete(&done);
	if (more)
		n += pump_pending(conn);
	if (closing) {
		/* the peer may know once nothing of ours touches its memory any more */
		sl_lock_take(&conn->lock);
		if (!waits_locked(conn) && !conn->sending && !conn->moving)
			sl_shm_shut_locked(conn);
		sl_shm_settle_locked(conn);
		sl_lock_drop(&conn->lock);
	}
	return n;
}

bool sl_shm_has_work_locked(const struct sl_conn *conn)
{
	const struct sl_ring *r = &conn->ring;

	if (sl_ring_has_ping(r) || sl_ring_has_fills(r) || conn->ended.head)
		return true;
	if (sl_ring_has_notes(r) && (conn->imm_recvs.head || conn->imms.n < SL_IMM_MAX))
		return true;
	if (conn->sends.head && !conn->sending && sl_ring_has_posts(r))
		return true;
	if (conn->imm_sends.head && sl_ring_has_room(r))
		return true;
	return conn->pending.head && !conn->moving && sl_shm_movable(conn, conn->pending.head);
}

/* True: the peer has been silent for too long. */
static bool tick_locked(struct sl_conn *conn, int64_t now_ns, int64_t *next_ns)
    SL_REQUIRES(conn->lock)
{
	int64_t timeout = conn->dom->peer_timeout_ns * 7 / 8; /* the last op ends in time */
	int64_t every = timeout / SHM_PINGS;
	int64_t due;

	if (!is_open(conn) || conn->gone || !waits_locked(conn)) {
		conn->pinging = false;
		return false;
	}
	if (!conn->pinging)
		conn->heard_ns =
		    now_ns - every; /* the op may wait since just after the last tick */
	else if (sl_ring_ponged(&conn->ring))
		conn->heard_ns = conn->ping_ns;
	else if (now_ns >= conn->heard_ns + timeout)
		return true;
	if (!conn->pinging ||
	    (conn->heard_ns == conn->ping_ns && now_ns >= conn->ping_ns + every)) {
		conn->pinging = true;
		conn->ping_ns = now_ns;
		sl_ring_ping(&conn->ring);
		sl_shm_ring_locked(conn, SL_RING_NEWS);
	}
	due = conn->heard_ns == conn->ping_ns ? conn->ping_ns + every : conn->heard_ns + timeout;
	if (due < *next_ns)
		*next_ns = due;
	return false;
}

void sl_shm_tick(struct sl_conn *conn, int64_t now_ns, int64_t *next_ns)
{
	bool silent;
	pid_t pid;

	sl_lock_take(&conn->lock);
	pid = conn->cred_pid;
	silent = tick_locked(conn, now_ns, next_ns);
	if (silent)
		sl_shm_fail_locked(conn, -ECONNRESET);
	sl_lock_drop(&conn->lock);
	if (silent)
		sl_log(SLIME_LOG_WARN,
		       "process %d has not answered for %lld ms: its connection is given up", pid,
		       (long long)(conn->dom->peer_timeout_ns / SL_NS_PER_MS));
}
