/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How two connections meet. The side with the lower id dials, and has the last
 * word (see the table at enum shm_state); the other knocks, and leaves that
 * socket open until it is dialled, so that each side knows that it is waited
 * for, and when that is over. Each side checks by itself whether it may read
 * the other's memory, by reading a nonce there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "transport/shm/shm_impl.h"

enum { FULL_MAX = 8 }; /* full backlogs met before the redialling is left for later */

static bool settling(enum shm_state state)
{
	return state > SHM_PARKED && state < SHM_OPEN;
}

static void set_state_locked(struct sl_conn *conn, enum shm_state next) SL_REQUIRES(conn->lock)
{
	enum shm_state prev = (enum shm_state)atomic_load(&conn->state);

	if (settling(next) && !settling(prev))
		atomic_fetch_add(&conn->dom->unsettled, 1);
	if (!settling(next) && settling(prev))
		atomic_fetch_sub(&conn->dom->unsettled, 1);
	atomic_store(&conn->state, next);
}

static void set_redial_locked(struct sl_conn *conn, bool redial) SL_REQUIRES(conn->lock)
{
	struct sl_dom *dom = conn->dom;

	if (redial == conn->redial)
		return;
	conn->redial = redial;
	sl_lock_take(&dom->lock);
	if (redial) {
		conn->redial_next = NULL;
		conn->redial_at = dom->redialling_end;
		*dom->redialling_end = conn;
		dom->redialling_end = &conn->redial_next;
		atomic_fetch_add(&dom->redials, 1);
	} else {
		*conn->redial_at = conn->redial_next;
		if (conn->redial_next)
			conn->redial_next->redial_at = conn->redial_at;
		else
			dom->redialling_end = conn->redial_at;
		atomic_fetch_sub(&dom->redials, 1);
	}
	sl_lock_drop(&dom->lock);
}

/* Who knocked, with FD, need not wait for us there any more; -1: or never did. */
static void set_knock_locked(struct sl_conn *conn, int fd) SL_REQUIRES(conn->lock)
{
	if (conn->knock_fd >= 0) {
		(void)shutdown(conn->knock_fd, SHUT_RDWR);
		(void)close(conn->knock_fd);
	}
	conn->knock_fd = fd;
}

int sl_shm_refuse_locked(struct sl_conn *conn, const struct slime_error *why, const char *tell)
{
	struct shm_msg msg = {.type = SHM_REFUSE, .status = why->code};

	if (tell)
		(void)snprintf(msg.text, sizeof(msg.text), "%s", tell);
	if (tell && conn->fd >= 0)
		(void)sl_shm_say(conn->fd, &msg, NULL);
	if (tell && conn->knock_fd >= 0)
		(void)sl_shm_say(conn->knock_fd, &msg, NULL);
	sl_shm_hang_up_locked(conn);
	set_knock_locked(conn, -1);
	sl_shm_close_fds(conn->parked_fds);
	set_redial_locked(conn, false);
	conn->refusal = *why;
	set_state_locked(conn, SHM_REFUSED);
	return why->code;
}

static void name_both(const struct sl_conn *conn, struct shm_msg *msg)
{
	memcpy(msg->to, conn->card.id, SHM_ID_LEN);
	memcpy(msg->to_secret, conn->card.secret, SHM_ID_LEN);
	memcpy(msg->from, conn->id, SHM_ID_LEN);
	memcpy(msg->from_secret, conn->secret, SHM_ID_LEN);
	msg->flags = conn->dom->card.flags;
	msg->nonce_addr = (uintptr_t)conn->nonce;
	memcpy(msg->nonce, conn->nonce, SHM_ID_LEN);
}

/* Is MSG for this connection, from the one whose card we have? */
static bool from_peer(const struct sl_conn *conn, const struct shm_msg *msg)
{
	return sl_same_secret(msg->to, conn->id, SHM_ID_LEN) &&
	       sl_same_secret(msg->from, conn->card.id, SHM_ID_LEN) &&
	       sl_same_secret(msg->to_secret, conn->secret, SHM_ID_LEN) &&
	       sl_same_secret(msg->from_secret, conn->card.secret, SHM_ID_LEN);
}

static bool we_dial(const struct sl_conn *conn)
{
	return memcmp(conn->id, conn->card.id, SHM_ID_LEN) < 0;
}

static bool cma_wanted(const struct sl_conn *conn, const struct shm_msg *theirs)
{
	return !conn->dom->no_cma && !(theirs->flags & SHM_NO_CMA);
}

/* -1: this kernel has no such thing. */
static int ptrace_scope(void)
{
	char buf[16];

	if (sl_file_read("/proc/sys/kernel/yama/ptrace_scope", buf, sizeof(buf)))
		return -1;
	return (int)strtol(buf, NULL, 10);
}

/* What is known about a refused system call, as the rest of a sentence. */
static void explain(const struct sl_conn *conn, int rc, char *out, size_t cap)
{
	int scope = ptrace_scope();
	char buf[64];

	if (rc == -ESTALE)
		(void)snprintf(out, cap, "process %d is not the one that it says it is",
		               conn->cred_pid);
	else if (!conn->cred_pid)
		(void)snprintf(out, cap,
		               "the pid namespace of the one is not seen from the other's");
	else if (rc == -ECONNRESET)
		(void)snprintf(out, cap, "there is no process %d", conn->cred_pid);
	else if (scope > 0)
		(void)snprintf(out, cap, "%s, kernel.yama.ptrace_scope is %d",
		               sl_error_name(rc, buf, sizeof(buf)), scope);
	else
		(void)snprintf(out, cap, "process_vm_readv: %s",
		               sl_error_name(rc, buf, sizeof(buf)));
}

/* May we read the peer's memory? Reads the nonce that it told. If not, refuses on both sides. */
static int check_cma_locked(struct sl_conn *conn, const struct shm_msg *theirs)
    SL_REQUIRES(conn->lock)
{
	char nonce[SHM_ID_LEN], cause[96], tell[SHM_TEXT_MAX];
	struct slime_error why;
	int64_t n;
	int rc = 0;

	if (!cma_wanted(conn, theirs))
		return 0;
	n = conn->cred_pid
	        ? sl_shm_cma(conn->cred_pid, true, nonce, theirs->nonce_addr, sizeof(nonce))
	        : -ECONNRESET;
	if (n < 0)
		rc = (int)n;
	else if (n != sizeof(nonce) || !sl_same_secret(nonce, theirs->nonce, sizeof(nonce)))
		rc = -ESTALE;
	if (!rc)
		return 0;
	explain(conn, rc, cause, sizeof(cause));
	(void)sl_fail(&why, -EACCES, "this process may not read the memory of the peer: %s", cause);
	(void)snprintf(tell, sizeof(tell), "the peer may not read the memory of this process: %s",
	               cause);
	return sl_shm_refuse_locked(conn, &why, tell);
}

/* Listen to the control socket FD from now on. */
static int adopt_locked(struct sl_conn *conn, int fd, pid_t pid, struct slime_error *err)
    SL_REQUIRES(conn->lock)
{
	int rc = sl_shm_watch(conn->dom, fd, SHM_SRC_CONN, conn->gen, conn->slot);

	if (rc)
		return sl_fail(err, rc, "cannot watch a unix socket: %s", strerror(-rc));
	conn->fd = fd;
	conn->cred_pid = pid;
	conn->shut = false;
	return 0;
}

static int say_hello_locked(struct sl_conn *conn, int fd, pid_t pid, struct slime_error *err)
    SL_REQUIRES(conn->lock)
{
	struct shm_msg msg = {.type = SHM_HELLO};
	int fds[2], rc;

	name_both(conn, &msg);
	rc = sl_ring_create(&conn->ring, &fds[0], err);
	if (rc)
		return rc;
	fds[1] = conn->dom->live_fd;
	rc = sl_shm_say(fd, &msg, fds);
	(void)close(fds[0]);
	if (rc)
		return sl_fail(err, rc, "cannot talk to the peer: %s", strerror(-rc));
	return adopt_locked(conn, fd, pid, err);
}

static int knock_locked(struct sl_conn *conn, int fd, pid_t pid, struct slime_error *err)
    SL_REQUIRES(conn->lock)
{
	struct shm_msg msg = {.type = SHM_KNOCK};
	int rc;

	name_both(conn, &msg);
	rc = sl_shm_say(fd, &msg, NULL);
	if (rc)
		return sl_fail(err, rc, "cannot talk to the peer: %s", strerror(-rc));
	return adopt_locked(conn, fd, pid, err);
}

/* Dial the peer, or knock. 0, or the refusal's code. */
static int call_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock)
{
	struct slime_error why = {0};
	bool first = we_dial(conn);
	pid_t pid;
	int rc, fd = sl_shm_dial(&conn->card, &pid, &why);

	set_redial_locked(conn, fd == -EAGAIN);
	set_state_locked(conn, first ? SHM_DIALLED : SHM_WAITING);
	if (conn->redial)
		return 0;
	if (fd < 0)
		return sl_shm_refuse_locked(conn, &why, NULL);
	rc = first ? say_hello_locked(conn, fd, pid, &why) : knock_locked(conn, fd, pid, &why);
	if (!rc)
		return 0;
	(void)close(fd);
	return sl_shm_refuse_locked(conn, &why, NULL);
}

/* Map the peer's table of regions; if that fails, refuses on both sides. */
static int map_live_locked(struct sl_conn *conn, int fd) SL_REQUIRES(conn->lock)
{
	struct slime_error why;
	int rc = -EMFILE; /* without room for a descriptor the kernel delivers none */

	if (fd >= 0)
		rc = sl_shm_map_get(conn, conn->card.door, fd, PROT_READ, &conn->live);
	if (!rc && conn->live->len != SHM_LIVE_LEN)
		rc = -EPROTO;
	if (!rc) {
		conn->life = (const _Atomic uint32_t *)(const void *)conn->live->base;
		return 0;
	}
	(void)sl_fail(&why, rc, "cannot map the peer's table of regions: %s", strerror(-rc));
	return sl_shm_refuse_locked(conn, &why, "the peer could not map the table of regions");
}

/* PARKED or WAITING, and the hello is here and genuine. */
static int accept_locked(struct sl_conn *conn, const struct shm_msg *hello) SL_REQUIRES(conn->lock)
{
	struct shm_msg msg = {.type = SHM_ACCEPT};
	int fds[2] = {conn->dom->live_fd, -1};
	struct slime_error why;
	int rc = check_cma_locked(conn, hello);

	if (rc)
		return rc;
	rc = sl_ring_open(&conn->ring, conn->parked_fds[0], &why);
	if (rc)
		return sl_shm_refuse_locked(conn, &why, "the peer could not map the ring");
	rc = map_live_locked(conn, conn->parked_fds[1]);
	if (rc)
		return rc;
	sl_shm_close_fds(conn->parked_fds);
	conn->hello.flags = hello->flags;
	name_both(conn, &msg);
	rc = sl_shm_say(conn->fd, &msg, fds);
	if (rc) {
		(void)sl_fail(&why, rc, "cannot talk to the peer: %s", strerror(-rc));
		return sl_shm_refuse_locked(conn, &why, NULL);
	}
	set_state_locked(conn, SHM_ACCEPTED);
	return 0;
}

static int open_locked(struct sl_conn *conn, bool cma) SL_REQUIRES(conn->lock)
{
	struct slime_error why;

	conn->peer = sl_shm_peer_get(conn->dom, conn->cred_pid);
	if (!conn->peer) {
		(void)sl_fail(&why, -ENOMEM, "no memory for a peer");
		return sl_shm_refuse_locked(conn, &why, why.text);
	}
	set_knock_locked(conn, -1);
	conn->cma_pid = cma ? conn->cred_pid : 0;
	set_state_locked(conn, SHM_OPEN);
	atomic_fetch_and(&conn->gate, ~(uint32_t)SHM_GATE_SHUT);
	sl_shm_wake_locked(conn);
	return 0;
}

static int on_accept_locked(struct sl_conn *conn, const struct shm_msg *msg, int fd)
    SL_REQUIRES(conn->lock)
{
	struct shm_msg commit = {.type = SHM_COMMIT, .cma = cma_wanted(conn, msg)};
	int rc;

	if (!from_peer(conn, msg))
		return -EPROTO;
	if (check_cma_locked(conn, msg) || map_live_locked(conn, fd))
		return 0; /* refused */
	conn->hello.flags = msg->flags;
	rc = sl_shm_say(conn->fd, &commit, NULL);
	if (!rc)
		set_state_locked(conn, SHM_COMMITTED);
	return rc;
}

static int on_commit_locked(struct sl_conn *conn, const struct shm_msg *msg) SL_REQUIRES(conn->lock)
{
	const struct shm_msg confirm = {.type = SHM_CONFIRM};

	if (msg->cma != cma_wanted(conn, &conn->hello))
		return -EPROTO;
	if (open_locked(conn, msg->cma))
		return 0;
	return sl_shm_say(conn->fd, &confirm, NULL);
}

static void on_refuse_locked(struct sl_conn *conn, const struct shm_msg *msg)
    SL_REQUIRES(conn->lock)
{
	struct slime_error why;

	(void)sl_fail(&why, msg->status == -EACCES ? -EACCES : -ECONNREFUSED, "%s",
	              msg->text[0] ? msg->text : "the peer refused");
	(void)sl_shm_refuse_locked(conn, &why, NULL);
}

int sl_shm_shake_locked(struct sl_conn *conn, const struct shm_msg *msg, int fd)
{
	int state = atomic_load(&conn->state);

	if (msg->type == SHM_REFUSE && settling((enum shm_state)state)) {
		on_refuse_locked(conn, msg);
		return 0;
	}
	switch (state) {
	case SHM_DIALLED:
		return msg->type == SHM_ACCEPT ? on_accept_locked(conn, msg, fd) : -EPROTO;
	case SHM_ACCEPTED:
		return msg->type == SHM_COMMIT ? on_commit_locked(conn, msg) : -EPROTO;
	case SHM_COMMITTED:
		if (msg->type != SHM_CONFIRM)
			return -EPROTO;
		(void)open_locked(conn, cma_wanted(conn, &conn->hello));
		return 0;
	default:
		return -EPROTO;
	}
}

void sl_shm_lost_locked(struct sl_conn *conn, int rc)
{
	struct slime_error why;

	if (atomic_load(&conn->state) == SHM_PARKED) {
		sl_shm_hang_up_locked(conn);
		sl_shm_close_fds(conn->parked_fds);
		set_state_locked(conn, SHM_NEW);
		return;
	}
	(void)sl_fail(&why, rc == -EPROTO ? rc : -ECONNREFUSED, "%s",
	              rc == -EPROTO ? "the peer says what this version does not understand"
	                            : "the peer hung up before the connection was made");
	(void)sl_shm_refuse_locked(conn, &why, NULL);
}

/* The conn that MSG is for, which the caller holds, is not connected yet. Take the hello. */
static bool take_hello_locked(struct sl_conn *conn, int fd, pid_t pid, const struct shm_msg *msg,
                              int fds[2]) SL_REQUIRES(conn->lock)
{
	int state = atomic_load(&conn->state);
	struct slime_error err;

	if (fds[1] < 0 || conn->closed || (state != SHM_NEW && state != SHM_WAITING))
		return false;
	if (state == SHM_WAITING && !from_peer(conn, msg))
		return false;
	sl_shm_hang_up_locked(conn); /* where we knocked */
	if (adopt_locked(conn, fd, pid, &err))
		return false;
	memcpy(conn->parked_fds, fds, sizeof(conn->parked_fds));
	if (state == SHM_WAITING) {
		set_redial_locked(conn, false); /* no need to knock */
		(void)accept_locked(conn, msg);
	} else {
		conn->hello = *msg;
		set_state_locked(conn, SHM_PARKED);
	}
	return true;
}

static bool take_knock_locked(struct sl_conn *conn, int fd) SL_REQUIRES(conn->lock)
{
	int state = atomic_load(&conn->state);

	if (conn->closed || state == SHM_OPEN || state == SHM_REFUSED)
		return false;
	(void)epoll_ctl(conn->dom->epfd, EPOLL_CTL_DEL, fd, NULL);
	set_knock_locked(conn, fd);
	return true;
}

bool sl_shm_greet(struct sl_dom *dom, int fd, pid_t pid, const struct shm_msg *msg, int fds[2])
{
	struct sl_conn *conn;
	bool taken = false;

	if (msg->type != SHM_HELLO && msg->type != SHM_KNOCK)
		return false;
	conn = sl_shm_conn_find(dom, msg->to, msg->to_secret);
	if (!conn)
		return false;
	sl_lock_take(&conn->lock);
	if (msg->type == SHM_KNOCK)
		taken = fds[0] < 0 && take_knock_locked(conn, fd);
	else
		taken = take_hello_locked(conn, fd, pid, msg, fds);
	sl_lock_drop(&conn->lock);
	sl_shm_conn_unref(conn);
	return taken;
}

void sl_shm_redial(struct sl_dom *dom)
{
	uint32_t left = atomic_load(&dom->redials);
	int full = 0;

	while (left-- && full < FULL_MAX) {
		struct sl_conn *conn;

		sl_lock_take(&dom->lock);
		conn = dom->redialling;
		sl_lock_drop(&dom->lock);
		if (!conn)
			return;
		sl_lock_take(&conn->lock);
		if (conn->redial) {
			set_redial_locked(conn, false); /* if it must wait again, then behind all */
			(void)call_locked(conn);
			full += conn->redial;
		}
		sl_lock_drop(&conn->lock);
	}
}

static int check_card(const struct sl_conn *conn, const struct shm_card *card,
                      struct slime_error *err)
{
	const struct shm_card *mine = &conn->dom->card;

	if (memcmp(card->boot, mine->boot, SHM_ID_LEN) != 0)
		return sl_fail(err, -EHOSTUNREACH, "the peer is on another host");
	if (card->netns != mine->netns)
		return sl_fail(err, -EHOSTUNREACH, "the peer is in another network namespace");
	if (card->userns == mine->userns && card->uid != mine->uid && card->uid && mine->uid)
		return sl_fail(err, -EACCES, "the peer runs as user %u, this process as %u",
		               card->uid, mine->uid);
	if (!memcmp(card->id, conn->id, SHM_ID_LEN))
		return sl_fail(err, -EINVAL, "an endpoint cannot connect to itself");
	return 0;
}

static int connect_locked(struct sl_conn *conn, const struct shm_card *card,
                          struct slime_error *err) SL_REQUIRES(conn->lock)
{
	int state = atomic_load(&conn->state);
	int rc;

	if (conn->closed)
		return sl_fail(err, -ECANCELED, "the connection is closed");
	if (state > SHM_PARKED)
		return sl_fail(err, -EISCONN, "the connection has a peer already");
	conn->card = *card;
	if (state == SHM_PARKED && from_peer(conn, &conn->hello)) {
		set_state_locked(conn, SHM_WAITING);
		rc = accept_locked(conn, &conn->hello);
	} else {
		sl_shm_hang_up_locked(
		    conn); /* whoever was parked here is not whom we were told of */
		sl_shm_close_fds(conn->parked_fds);
		rc = call_locked(conn);
	}
	return rc ? sl_fail(err, rc, "%s", conn->refusal.text) : 0;
}

int sl_shm_connect(struct sl_conn *conn, const struct sl_blob *peer, struct slime_error *err)
{
	struct shm_card card;
	int rc;

	if (sl_shm_card_get(peer, &card))
		return sl_fail(err, -EPROTO, "not a description of a shm connection");
	rc = check_card(conn, &card, err);
	if (rc)
		return rc;
	sl_lock_take(&conn->lock);
	rc = connect_locked(conn, &card, err);
	sl_lock_drop(&conn->lock);
	return rc;
}
