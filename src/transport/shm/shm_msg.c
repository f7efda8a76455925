/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages. The receiver announces its buffer in the ring (host_ring.h); the
 * sender claims it, copies straight to it (mapped memory, else CMA, else, and
 * when it is short, the ring's stream, which the receiver empties), and says so.
 *
 * One thread at a time sends for a connection (SENDING); others queue behind.
 * It copies a piece, without the lock if it is long, then looks whether the send
 * is to end (the receive goes back as if untouched), or the receive (the send
 * goes on with the next one).
 */
#include <errno.h>
#include <string.h>

#include "base/foreign.h"
#include "transport/shm/shm_impl.h"

static void to_ring_buf(const struct sl_iov *v, struct sl_ring_buf *out)
{
	const struct sl_shm_mem *mem = v->reg->mem;

	*out = (struct sl_ring_buf){.addr = (uintptr_t)v->addr, .len = v->len};
	if (mem) {
		memcpy(out->key, mem->key, sizeof(out->key));
		out->off = (uint64_t)(v->addr - mem->addr);
	}
}

void sl_shm_post_recvs_locked(struct sl_conn *conn)
{
	struct sl_ring_buf buf;
	struct sl_op *op;
	bool posted = false;
	int place;

	while ((op = conn->recvs.head)) {
		to_ring_buf(op->iov, &buf);
		place = sl_ring_post(&conn->ring, &buf, op->iov->addr, op->iov->reg->checked);
		if (place < 0)
			break;
		(void)sl_op_pop(&conn->recvs);
		conn->posted[place] = op;
		conn->n_posted++;
		posted = true;
	}
	if (posted)
		sl_shm_ring_locked(conn, SL_RING_ROOM);
}

static struct sl_op *unpost_locked(struct sl_conn *conn, uint32_t place) SL_REQUIRES(conn->lock)
{
	struct sl_op *op = conn->posted[place];

	conn->posted[place] = NULL;
	conn->n_posted--;
	return op;
}

int sl_shm_take_fills_locked(struct sl_conn *conn, struct sl_op_queue *done)
{
	struct sl_ring_got got;
	int rc;

	if (!sl_ring_has_fills(&conn->ring))
		return 0;
	while ((rc = sl_ring_take(&conn->ring, &got)) > 0) {
		struct sl_op *op = conn->posted[got.place];

		if (!op)
			return -EPROTO; /* taken back: the peer may not say that it filled it */
		(void)unpost_locked(conn, got.place);
		if (got.status == -ECANCELED && sl_op_stop(op))
			got.status = sl_op_stop(op);
		sl_shm_end(done, op, got.status, got.bytes, 0);
	}
	sl_shm_ring_locked(conn, SL_RING_ROOM);
	return rc;
}

void sl_shm_revoke_locked(struct sl_conn *conn, struct sl_op_queue *done)
{
	int halt = atomic_load_explicit(&conn->halt, memory_order_relaxed);

	conn->revoking = false;
	for (uint32_t i = 0; i < SL_RING_POSTS && conn->n_posted; i++) {
		struct sl_op *op = conn->posted[i];
		int status = halt;

		if (op && !status)
			status = sl_op_stop(op);
		if (!op || !status)
			continue;
		if (conn->gone || sl_ring_revoke(&conn->ring, i))
			sl_shm_end(done, unpost_locked(conn, i), status, 0, 0);
		else
			conn->revoking = true; /* the sender was asked to stop, and will tell */
	}
}

void sl_shm_message_locked(struct sl_conn *conn, struct sl_op *op)
{
	if (op->code == SL_OP_SEND) {
		sl_op_push(&conn->sends, op);
	} else {
		sl_op_push(&conn->recvs, op);
		sl_shm_post_recvs_locked(conn);
	}
	sl_shm_settle_locked(conn);
}

/* Give the claimed receive back to the peer, untouched as far as it knows. */
static void unclaim_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock)
{
	if (!conn->ring.claimed)
		return;
	sl_ring_unclaim(&conn->ring);
	conn->dst_map = NULL;
	sl_shm_ring_locked(conn, SL_RING_NEWS);
}

void sl_shm_unmessage_locked(struct sl_conn *conn, struct sl_op *op, int stop)
{
	bool head = conn->sends.head == op;

	if (head && conn->sending)
		return; /* who sends sees that it is to stop */
	if (sl_op_take_stopped(&conn->sends, op)) {
		if (head)
			unclaim_locked(conn);
		sl_shm_end(&conn->ended, op, stop, 0, 0);
		return;
	}
	for (uint32_t i = 0; i < SL_RING_POSTS; i++)
		if (conn->posted[i] == op)
			conn->revoking = true; /* progress() does it */
}

/* The claimed receive is over. */
static void fill_locked(struct sl_conn *conn, int status) SL_REQUIRES(conn->lock)
{
	sl_ring_fill(&conn->ring, status, conn->sent);
	conn->dst_map = NULL;
	conn->sent = 0;
	sl_shm_ring_locked(conn, SL_RING_NEWS);
}

static void end_send_locked(struct sl_conn *conn, int status, uint64_t bytes,
                            struct sl_op_queue *done) SL_REQUIRES(conn->lock)
{
	sl_shm_end(done, sl_op_pop(&conn->sends), status, bytes, 0);
}

/* Where will the claimed receive be written? */
static void choose_way_locked(struct sl_conn *conn, uint64_t len) SL_REQUIRES(conn->lock)
{
	const struct sl_ring_buf *dst = &conn->dst;
	uint8_t key[SHM_ID_LEN];
	struct shm_map *map = NULL;

	memcpy(key, dst->key, sizeof(key));
	if (dst->key[0] | dst->key[1])
		map = sl_shm_msg_map_locked(conn, key);
	if (map && (dst->off > map->len || dst->len > map->len - dst->off))
		map = NULL;
	conn->dst_map = map; /* stays among msg_map meanwhile */
	conn->sent = 0;
	conn->dst_cma = !map && conn->cma_pid && len > SHM_EAGER;
}

/* LEN bytes from SRC to DST, which is mapped here and stays; LEN, or -EFAULT. */
static int64_t copy(char *dst, const char *src, uint64_t len, bool checked)
{
	if (checked)
		return sl_foreign_copy(dst, src, len) ? -EFAULT : (int64_t)len;
	memcpy(dst, src, len);
	return (int64_t)len;
}

/* Copy one more piece of OP; how many bytes, or what went wrong. Before it takes long, reports
 * DONE. */
static int64_t copy_locked(struct sl_conn *conn, const struct sl_op *op, struct sl_op_queue *done)
    SL_REQUIRES(conn->lock)
{
	uint64_t left = op->iov->len - conn->sent;
	uint64_t n = left < SHM_PIECE ? left : SHM_PIECE;
	char *src = op->iov->addr + conn->sent;
	bool checked = op->iov->reg->checked;
	char *dst = NULL;
	int64_t moved;

	if (!conn->dst_map && !conn->dst_cma) {
		moved = sl_ring_stream(&conn->ring, src, n, checked);
		sl_shm_ring_locked(conn, SL_RING_NEWS);
		return moved;
	}
	if (conn->dst_map)
		dst = conn->dst_map->base + conn->dst.off + conn->sent;
	if (dst && n <= SHM_EAGER)
		return copy(dst, src, n, checked);
	sl_lock_drop(&conn->lock);
	(void)sl_shm_complete(done);
	if (dst)
		moved = copy(dst, src, n, checked);
	else
		moved = sl_shm_cma(conn->cma_pid, false, src, conn->dst.addr + conn->sent, n);
	sl_lock_take(&conn->lock);
	return moved;
}

/* Have a receive to fill for OP. False: there is none, or it was too short and OP has ended. */
static bool claim_locked(struct sl_conn *conn, const struct sl_op *op, struct sl_op_queue *done)
    SL_REQUIRES(conn->lock)
{
	if (conn->ring.claimed)
		return true;
	if (!sl_ring_claim(&conn->ring, &conn->dst)) {
		sl_shm_await_room_locked(conn);
		return false;
	}
	if (op->iov->len <= conn->dst.len) {
		choose_way_locked(conn, op->iov->len);
		return true;
	}
	conn->sent = 0;
	fill_locked(conn, -EMSGSIZE);
	end_send_locked(conn, -EMSGSIZE, 0, done);
	return false;
}

/* A piece did not go well. */
static void copy_failed_locked(struct sl_conn *conn, int rc, struct sl_op_queue *done)
    SL_REQUIRES(conn->lock)
{
	if (rc == -EPROTO || rc == -ECONNRESET) {
		sl_shm_fail_locked(conn, rc);
		return; /* everything ends by that */
	}
	conn->sent = 0;
	fill_locked(conn, rc == -EREMOTEIO ? -EFAULT : -EREMOTEIO); /* whose memory it is */
	end_send_locked(conn, rc, 0, done);
}

/* Go on with the oldest send. False: nothing more can be done now. */
static bool step_locked(struct sl_conn *conn, uint64_t *budget, struct sl_op_queue *done)
    SL_REQUIRES(conn->lock)
{
	const struct sl_op *op = conn->sends.head;
	int stop = sl_op_stop(op);
	uint64_t len = op->iov->len;
	int64_t n;

	if (!stop)
		stop = atomic_load_explicit(&conn->halt, memory_order_relaxed);
	if (stop) {
		unclaim_locked(conn);
		end_send_locked(conn, stop, 0, done);
		return true;
	}
	if (!claim_locked(conn, op, done))
		return conn->sends.head != op;
	if (sl_ring_stopped(&conn->ring)) {
		fill_locked(conn, -ECANCELED);
		return true;
	}
	n = conn->sent < len ? copy_locked(conn, op, done) : 0;
	if (n < 0) {
		copy_failed_locked(conn, (int)n, done);
		return true;
	}
	conn->sent += (uint64_t)n;
	if (conn->sent == len && !sl_shm_peer_lived(conn)) {
		sl_shm_fail_locked(conn, -ECONNRESET);
		return true; /* everything ends by that */
	}
	if (conn->sent == len) {
		fill_locked(conn, 0);
		end_send_locked(conn, 0, len, done);
		return true;
	}
	*budget -= (uint64_t)n < *budget ? (uint64_t)n : *budget;
	if (!n)
		sl_shm_await_room_locked(conn);
	return n && *budget;
}

void sl_shm_pump_sends_locked(struct sl_conn *conn, uint64_t budget, struct sl_op_queue *done)
{
	if (conn->sending || !conn->sends.head)
		return;
	conn->sending = true;
	while (conn->sends.head && step_locked(conn, &budget, done))
		;
	conn->sending = false;
	sl_shm_settle_locked(conn);
	if (atomic_load_explicit(&conn->halt, memory_order_relaxed))
		sl_shm_kick(conn->dom);
}
