/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain: the host. An epoll set with its door (shm_door.c), the control
 * sockets of its connections, and the processes they lead to.
 *
 * progress() runs all the time, so it looks at memory only, and at the sockets
 * every few milliseconds, or at once after a sleep.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "transport/shm/shm_impl.h"
#include "transport/transports.h"

enum {
	EVENTS = 64,
	SETTLE_CALLS = 8, /* progress() calls between looks while something is in the making */
	BELL_CALLS = 16,  /* likewise, while a bell may come instead of news in a ring */
};

static const int64_t redial_again_ns = SL_NS_PER_MS;

int sl_shm_watch(struct sl_dom *dom, int fd, enum shm_source src, uint32_t gen, uint32_t index)
{
	/* 8 bits of source, 24 of generation, 32 of index */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP};

	ev.data.u64 = (uint64_t)src << 56 | (uint64_t)(gen & 0xffffff) << 32 | index;
	if (!epoll_ctl(dom->epfd, EPOLL_CTL_ADD, fd, &ev))
		return 0;
	if (errno == EEXIST && !epoll_ctl(dom->epfd, EPOLL_CTL_MOD, fd, &ev))
		return 0;
	return -errno;
}

void sl_shm_kick(struct sl_dom *dom)
{
	uint64_t one = 1;

	atomic_store(&dom->work, true);
	if (atomic_load(&dom->armed) && write(dom->kick, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

static int shm_probe(struct sl_dev_info *out, size_t cap, struct slime_error *err)
{
	int fd = memfd_create("dlslime-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return sl_fail(err, -errno, "cannot make a memfd: %s", strerror(errno));
	(void)close(fd);
	if (cap)
		out[0] = (struct sl_dev_info){.name = "shm", .numa = -1, .up = true};
	return 1;
}

static int open_fds(struct sl_dom *dom, struct slime_error *err)
{
	int rc = sl_shm_open_door(dom, err);

	if (rc)
		return rc;
	dom->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (dom->epfd < 0)
		return sl_fail(err, -errno, "cannot make an epoll set: %s", strerror(errno));
	dom->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (dom->kick < 0)
		return sl_fail(err, -errno, "cannot make an eventfd: %s", strerror(errno));
	rc = sl_shm_watch(dom, dom->listener, SHM_SRC_LISTENER, 0, 0);
	if (!rc)
		rc = sl_shm_watch(dom, dom->kick, SHM_SRC_KICK, 0, 0);
	return rc ? sl_fail(err, rc, "cannot watch a unix socket: %s", strerror(-rc)) : 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

static void shm_dom_close(struct sl_dom *dom)
{
	if (!dom)
		return;
	sl_shm_unkeep(dom);
	sl_shm_close_door(dom);
	close_fd(dom->kick);
	close_fd(dom->epfd);
	sl_shm_live_close(dom);
	sl_lock_free(&dom->lock);
	sl_shm_table_free(dom);
	free(dom);
}

static int shm_dom_open(const struct sl_dom_opts *opts, struct sl_dom **out,
                        struct slime_error *err)
{
	struct sl_dom *dom;
	int rc;

	if (opts->device && strcmp(opts->device, "shm") != 0)
		return sl_fail(err, -ENODEV, "shm has no device '%s'", opts->device);
	dom = calloc(1, sizeof(*dom));
	if (!dom)
		return sl_fail(err, -ENOMEM, "no memory for a domain");
	dom->no_cma = opts->flags & SLIME_CTX_NO_CMA;
	dom->peer_timeout_ns = (int64_t)opts->peer_timeout_ms * SL_NS_PER_MS;
	dom->tick_ns = SL_NEVER;
	dom->redialling_end = &dom->redialling;
	dom->epfd = dom->listener = dom->kick = dom->live_fd = -1;
	for (int i = 0; i < SHM_STRANGERS; i++)
		dom->strangers[i].fd = -1;
	sl_lock_init(&dom->lock);
	rc = sl_shm_make_card(dom, err);
	if (!rc)
		rc = sl_shm_live_open(dom, err);
	if (!rc)
		rc = open_fds(dom, err);
	if (rc) {
		shm_dom_close(dom);
		return rc;
	}
	*out = dom;
	return 0;
}

static void handle_event(struct sl_dom *dom, uint64_t data)
{
	uint32_t gen = data >> 32 & 0xffffff;
	uint32_t index = (uint32_t)data;
	struct sl_conn *conn;
	uint64_t n;

	switch ((enum shm_source)(data >> 56)) {
	case SHM_SRC_LISTENER:
		sl_shm_accept_strangers(dom);
		break;
	case SHM_SRC_KICK:
		(void)!read(dom->kick, &n, sizeof(n));
		break;
	case SHM_SRC_STRANGER:
		if (dom->strangers[index].fd >= 0 && (dom->strangers[index].gen & 0xffffff) == gen)
			sl_shm_stranger_event(dom, &dom->strangers[index]);
		break;
	case SHM_SRC_CONN:
		conn = sl_shm_conn_at(dom, gen, index);
		if (conn)
			sl_shm_conn_event(conn);
		break;
	case SHM_SRC_PEER:
		sl_shm_peer_ended(dom, gen);
		break;
	}
}

/* What is due by the clock. Sets dom->tick_ns to when to come again. */
static void tick(struct sl_dom *dom, int64_t now_ns)
{
	int64_t next = SL_NEVER;
	struct sl_conn *conn;
	uint32_t slot = 0;

	if (atomic_load(&dom->n_conns))
		next = now_ns + dom->peer_timeout_ns / SHM_PINGS;
	sl_shm_expire_strangers(dom, now_ns, &next);
	while ((conn = sl_shm_conn_next(dom, &slot)))
		sl_shm_tick(conn, now_ns, &next);
	dom->tick_ns = next;
}

/* Look at the sockets and at the clock. */
static int look(struct sl_dom *dom)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(dom->epfd, ev, EVENTS, 0);
	int64_t now;

	for (int i = 0; i < n; i++)
		handle_event(dom, ev[i].data.u64);
	now = sl_clock_ns();
	if (now >= dom->tick_ns)
		tick(dom, now);
	if (atomic_load(&dom->redials) && now >= dom->redial_ns) {
		dom->redial_ns = now + redial_again_ns;
		sl_shm_redial(dom);
	}
	return n > 0 ? n : 0;
}

static int64_t coarse_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_sec * SL_NS_PER_S + ts.tv_nsec;
}

static bool must_look(struct sl_dom *dom)
{
	int64_t now = coarse_ns();

	dom->calls++;
	if (now != dom->looked_ns) {
		dom->looked_ns = now;
		return true;
	}
	if (atomic_load_explicit(&dom->unsettled, memory_order_relaxed))
		return dom->calls % SETTLE_CALLS == 0;
	return dom->calls % BELL_CALLS == 0 &&
	       dom->n_awake < atomic_load_explicit(&dom->n_conns, memory_order_relaxed);
}

/* From the first connection on, the clock matters. */
static void heed_first(struct sl_dom *dom)
{
	bool any = atomic_load_explicit(&dom->n_conns, memory_order_relaxed);

	if (any && !dom->ticking)
		dom->tick_ns = 0;
	dom->ticking = any;
}

static int shm_progress(struct sl_dom *dom, unsigned budget)
{
	bool woken = atomic_load_explicit(&dom->armed, memory_order_relaxed);
	int n = 0;

	heed_first(dom);
	/* who has not rung goes on asking for bells: one too many costs less than to tell everybody
	 */
	if (woken)
		atomic_store(&dom->armed, false);
	if (must_look(dom) || woken) {
		n += look(dom);
		sl_shm_trim(dom);
	}
	if (atomic_load_explicit(&dom->work, memory_order_relaxed))
		atomic_store(&dom->work, false);
	return n + sl_shm_serve(dom, budget);
}

static int shm_fd(struct sl_dom *dom)
{
	return dom->epfd;
}

static int shm_arm(struct sl_dom *dom, int64_t *wake_ns)
{
	int work;

	heed_first(dom);
	atomic_store(&dom->armed, true);
	work = atomic_load(&dom->work);
	work |= sl_shm_arm(dom);
	if (dom->tick_ns < *wake_ns)
		*wake_ns = dom->tick_ns;
	if (atomic_load(&dom->redials) && dom->redial_ns < *wake_ns)
		*wake_ns = dom->redial_ns;
	return work;
}

const struct sl_transport sl_transport_shm = {
    .name = "shm",
    .caps = SL_CAP_ORDERED,
    .kinds = 1u << SLIME_MEM_HOST,
    .max_iov = 65536,
    .max_len = UINT64_MAX,
    .probe = shm_probe,
    .dom_open = shm_dom_open,
    .dom_close = shm_dom_close,
    .dom_keep = sl_shm_keep,
    .reg = sl_shm_reg,
    .unreg = sl_shm_unreg,
    .reg_pack = sl_shm_reg_pack,
    .rreg_unpack = sl_shm_rreg_unpack,
    .rreg_free = sl_shm_rreg_free,
    .conn_create = sl_shm_conn_create,
    .conn_pack = sl_shm_conn_pack,
    .connect = sl_shm_connect,
    .conn_ready = sl_shm_conn_ready,
    .conn_close = sl_shm_conn_close,
    .conn_destroy = sl_shm_conn_destroy,
    .submit = sl_shm_submit,
    .cancel = sl_shm_cancel,
    .progress = shm_progress,
    .fd = shm_fd,
    .arm = shm_arm,
    .conn_name = sl_shm_conn_name,
};
