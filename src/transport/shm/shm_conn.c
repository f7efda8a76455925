/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection's life, but its beginning (shm_hello.c). The control socket stays
 * for memfds and bells, and its end tells that the peer is gone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "transport/shm/shm_impl.h"

enum { EVENT_MSGS = 32 };

void sl_shm_ring_locked(struct sl_conn *conn, uint32_t bits)
{
	const struct shm_msg bell = {.type = SHM_BELL};

	if (!bits || conn->fd < 0 || !sl_ring_must_ring(&conn->ring, bits))
		return;
	(void)sl_shm_say(conn->fd, &bell, NULL); /* if there is no room, it has enough to look at */
}

void sl_shm_shut_locked(struct sl_conn *conn)
{
	if (conn->fd < 0 || conn->shut)
		return;
	conn->shut = true;
	(void)epoll_ctl(conn->dom->epfd, EPOLL_CTL_DEL, conn->fd, NULL);
	(void)shutdown(conn->fd, SHUT_RDWR); /* for a forked child may hold it, too */
}

void sl_shm_hang_up_locked(struct sl_conn *conn)
{
	if (conn->fd < 0)
		return;
	sl_shm_shut_locked(conn);
	(void)close(conn->fd);
	conn->fd = -1;
}

void sl_shm_fail_locked(struct sl_conn *conn, int status)
{
	int none = 0;

	if (conn->gone)
		return;
	conn->gone = true;
	atomic_fetch_or(&conn->gate, SHM_GATE_SHUT);
	(void)atomic_compare_exchange_strong(&conn->halt, &none, status);
	if (conn->asking)
		atomic_fetch_sub(&conn->dom->unsettled, 1);
	conn->asking = false;
	sl_shm_shut_locked(conn);
	sl_shm_settle_locked(conn);
	sl_shm_kick(conn->dom);
}

int sl_shm_conn_create(struct sl_dom *dom, const struct sl_conn_opts *opts, struct sl_conn **out,
                       struct slime_error *err)
{
	struct sl_conn *conn;
	int rc;

	if (opts->lane)
		return sl_fail(err, -EOPNOTSUPP, "shm has one lane");
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return sl_fail(err, -ENOMEM, "no memory for a connection");
	conn->dom = dom;
	conn->fd = -1;
	conn->knock_fd = -1;
	conn->parked_fds[0] = conn->parked_fds[1] = -1;
	atomic_init(&conn->gate, SHM_GATE_SHUT);
	atomic_init(&conn->refs, 1);
	sl_lock_init(&conn->lock);
	rc = sl_random(conn->id, sizeof(conn->id));
	if (!rc)
		rc = sl_random(conn->secret, sizeof(conn->secret));
	if (!rc)
		rc = sl_random(conn->nonce, sizeof(conn->nonce));
	if (!rc)
		rc = sl_shm_conn_enter(conn);
	if (rc) {
		sl_shm_conn_unref(conn);
		return sl_fail(err, rc, "cannot make a connection: %s", strerror(-rc));
	}
	*out = conn;
	return 0;
}

int sl_shm_conn_pack(const struct sl_conn *conn, struct sl_blob *out, struct slime_error *err)
{
	struct shm_card card = conn->dom->card;

	(void)err;
	memcpy(card.id, conn->id, sizeof(card.id));
	memcpy(card.secret, conn->secret, sizeof(card.secret));
	sl_shm_card_put(&card, out);
	return 0;
}

/* MSG in the state that the connection is in. Does not take FD. 0 or what is wrong. */
static int handle_locked(struct sl_conn *conn, const struct shm_msg *msg, int fd)
    SL_REQUIRES(conn->lock)
{
	if (atomic_load(&conn->state) != SHM_OPEN)
		return sl_shm_shake_locked(conn, msg, fd);
	switch (msg->type) {
	case SHM_ASK:
		return sl_shm_asked_locked(conn, msg);
	case SHM_GIVE:
		return sl_shm_given_locked(conn, msg, fd);
	case SHM_BELL:
		sl_shm_wake_locked(conn);
		return 0;
	case SHM_REFUSE:
		return -ECONNRESET; /* it could not take its last step */
	default:
		return -EPROTO;
	}
}

/* The control socket ended with RC, or brought nonsense. */
static void end_locked(struct sl_conn *conn, int rc) SL_REQUIRES(conn->lock)
{
	if (atomic_load(&conn->state) == SHM_OPEN)
		sl_shm_fail_locked(conn, rc == -EPROTO ? -EPROTO : -ECONNRESET);
	else
		sl_shm_lost_locked(conn, rc);
}

void sl_shm_conn_event(struct sl_conn *conn)
{
	int unmapped;
	pid_t pid;
	bool cma;

	sl_lock_take(&conn->lock);
	for (int i = 0; i < EVENT_MSGS && conn->fd >= 0 && !conn->shut; i++) {
		struct shm_msg msg;
		int fds[2], rc;

		rc = sl_shm_hear(conn->fd, &msg, fds);
		if (!rc)
			break;
		rc = rc < 0 ? rc : handle_locked(conn, &msg, fds[0]);
		sl_shm_close_fds(fds);
		if (rc)
			end_locked(conn, rc);
	}
	sl_shm_settle_locked(conn);
	unmapped = conn->unmapped;
	conn->unmapped = 0;
	pid = conn->cred_pid;
	cma = conn->cma_pid;
	sl_lock_drop(&conn->lock);
	if (unmapped)
		sl_log(SLIME_LOG_INFO, "a region of process %d cannot be mapped (%s): %s", pid,
		       strerror(-unmapped), cma ? "using CMA" : "transfers with it will fail");
}

int sl_shm_conn_ready(struct sl_conn *conn, struct slime_error *err)
{
	int rc;

	sl_lock_take(&conn->lock);
	switch (atomic_load(&conn->state)) {
	case SHM_OPEN:
		rc = SL_CONN_READY;
		break;
	case SHM_PARKED:
		rc = SL_CONN_CALLED;
		break;
	case SHM_NEW:
		rc = conn->knock_fd >= 0 ? SL_CONN_CALLED : SL_CONN_WAITING;
		break;
	case SHM_REFUSED:
		rc = sl_fail(err, conn->refusal.code, "%s", conn->refusal.text);
		break;
	default:
		rc = SL_CONN_WAITING;
	}
	sl_lock_drop(&conn->lock);
	return rc;
}

void sl_shm_conn_close(struct sl_conn *conn)
{
	struct slime_error why;
	int none = 0;

	sl_lock_take(&conn->lock);
	if (!conn->closed) {
		conn->closed = true;
		atomic_fetch_or(&conn->gate, SHM_GATE_SHUT);
		(void)atomic_compare_exchange_strong(&conn->halt, &none, -ECANCELED);
		if (atomic_load(&conn->state) != SHM_OPEN) {
			(void)sl_fail(&why, -ECANCELED, "the connection is closed");
			(void)sl_shm_refuse_locked(conn, &why, "the peer gave this connection up");
		}
		sl_shm_settle_locked(conn);
		sl_shm_kick(conn->dom);
	}
	sl_lock_drop(&conn->lock);
}

void sl_shm_conn_destroy(struct sl_conn *conn)
{
	if (!conn)
		return;
	sl_shm_conn_close(conn);
	sl_shm_conn_leave(conn);
	sl_shm_wake_forget(conn);
	sl_lock_take(&conn->lock);
	sl_shm_hang_up_locked(conn);
	sl_shm_close_fds(conn->parked_fds);
	if (conn->asking)
		atomic_fetch_sub(&conn->dom->unsettled, 1);
	conn->asking = false;
	for (int i = 0; i < SHM_MSG_MAPS; i++) {
		sl_shm_map_put(conn->dom, conn->msg_map[i]);
		conn->msg_map[i] = NULL;
	}
	sl_shm_map_put(conn->dom, conn->live);
	conn->live = NULL;
	sl_shm_peer_put(conn->dom, conn->peer);
	conn->peer = NULL;
	sl_lock_drop(&conn->lock);
	sl_shm_conn_unref(conn);
}

void sl_shm_conn_name(struct sl_conn *conn, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s", conn->cma_pid ? "memfd and CMA" : "memfd");
}
