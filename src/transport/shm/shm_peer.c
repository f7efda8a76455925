/* SPDX-License-Identifier: BSD-3-Clause */
/* The processes that connections lead to. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "transport/shm/shm_impl.h"

struct shm_peer *sl_shm_peer_get(struct sl_dom *dom, pid_t pid)
{
	struct shm_peer *peer;

	sl_lock_take(&dom->lock);
	for (peer = dom->peers; peer && (peer->pid != pid || peer->ended); peer = peer->next)
		;
	if (!peer)
		peer = calloc(1, sizeof(*peer));
	if (peer && !peer->refs++) {
		peer->pid = pid;
		peer->id = ++dom->next_gen & 0xffffff;
		/* its own end it will not live to see; older kernels have no pidfd */
		peer->pidfd = pid && pid != getpid() ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
		if (peer->pidfd >= 0)
			(void)sl_shm_watch(dom, peer->pidfd, SHM_SRC_PEER, peer->id, 0);
		peer->next = dom->peers;
		dom->peers = peer;
	}
	sl_lock_drop(&dom->lock);
	return peer;
}

void sl_shm_peer_put(struct sl_dom *dom, struct shm_peer *peer)
{
	bool last;

	if (!peer)
		return;
	sl_lock_take(&dom->lock);
	last = --peer->refs == 0;
	for (struct shm_peer **p = &dom->peers; last && *p; p = &(*p)->next) {
		if (*p == peer) {
			*p = peer->next;
			break;
		}
	}
	sl_lock_drop(&dom->lock);
	if (last) {
		if (peer->pidfd >= 0)
			(void)close(peer->pidfd); /* leaves the epoll set by that */
		free(peer);
	}
}

void sl_shm_peer_ended(struct sl_dom *dom, uint32_t id)
{
	struct shm_peer *peer;
	struct sl_conn *conn;
	uint32_t slot = 0;

	sl_lock_take(&dom->lock);
	for (peer = dom->peers; peer && peer->id != id; peer = peer->next)
		;
	if (peer) {
		peer->refs++;
		peer->ended = true;
		(void)epoll_ctl(dom->epfd, EPOLL_CTL_DEL, peer->pidfd, NULL);
	}
	sl_lock_drop(&dom->lock);
	while (peer && (conn = sl_shm_conn_next(dom, &slot))) {
		sl_lock_take(&conn->lock);
		if (conn->peer == peer)
			sl_shm_fail_locked(conn, -ECONNRESET);
		sl_lock_drop(&conn->lock);
	}
	sl_shm_peer_put(dom, peer);
}
