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
#include "base/random.h"
#include "transport/shm/shm_impl.h"
#include "transport/transports.h"

enum {
	EVENTS = 64,
	SETTLE_CALLS = 8, /* progress() calls between looks while something is in the making */
};

static const int64_t tick_again_ns = SL_NS_PER_MS;

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
	for (uint32_t i = 0; i < dom->n_seen; i++)
		sl_shm_conn_unref(dom->seen[i]);
	sl_shm_close_door(dom);
	close_fd(dom->kick);
	close_fd(dom->epfd);
	sl_shm_live_close(dom);
	sl_lock_free(&dom->lock);
	free(dom->seen);
	free(dom->conns);
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

static int grow_slots_locked(struct sl_dom *dom) SL_REQUIRES(dom->lock)
{
	uint32_t cap = dom->n_slots ? 2 * dom->n_slots : 16;
	struct sl_conn **grown = realloc(dom->conns, cap * sizeof(struct sl_conn *));

	if (!grown)
		return -ENOMEM;
	for (uint32_t i = dom->n_slots; i < cap; i++)
		grown[i] = NULL;
	dom->conns = grown;
	dom->n_slots = cap;
	return 0;
}

int sl_shm_conn_enter(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;
	uint32_t slot = 0;
	int rc = 0;

	sl_lock_take(&dom->lock);
	while (slot < dom->n_slots && dom->conns[slot])
		slot++;
	if (slot == dom->n_slots)
		rc = grow_slots_locked(dom);
	if (!rc) {
		conn->slot = slot;
		conn->gen = ++dom->next_gen & 0xffffff;
		dom->conns[slot] = conn;
		atomic_fetch_add(&dom->version, 1);
	}
	sl_lock_drop(&dom->lock);
	return rc;
}

void sl_shm_conn_leave(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;

	sl_lock_take(&dom->lock);
	dom->conns[conn->slot] = NULL;
	atomic_fetch_add(&dom->version, 1);
	sl_lock_drop(&dom->lock);
}

struct sl_conn *sl_shm_conn_find(struct sl_dom *dom, const uint8_t id[SHM_ID_LEN],
                                 const uint8_t secret[SHM_ID_LEN])
{
	struct sl_conn *found = NULL;

	sl_lock_take(&dom->lock);
	for (uint32_t i = 0; i < dom->n_slots; i++) {
		struct sl_conn *conn = dom->conns[i];

		if (conn && sl_same_secret(conn->id, id, SHM_ID_LEN) &&
		    sl_same_secret(conn->secret, secret, SHM_ID_LEN))
			found = conn;
	}
	if (found)
		sl_shm_conn_ref(found);
	sl_lock_drop(&dom->lock);
	return found;
}

/* The connection that an event is about, counted; NULL: it left. */
static struct sl_conn *conn_at(struct sl_dom *dom, uint32_t gen, uint32_t slot)
{
	struct sl_conn *conn = NULL;

	sl_lock_take(&dom->lock);
	if (slot < dom->n_slots && dom->conns[slot] && dom->conns[slot]->gen == gen) {
		conn = dom->conns[slot];
		sl_shm_conn_ref(conn);
	}
	sl_lock_drop(&dom->lock);
	return conn;
}

void sl_shm_conn_ref(struct sl_conn *conn)
{
	atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);
}

/* The last may let go after the domain is closed, so nothing of it is touched here. */
void sl_shm_conn_unref(struct sl_conn *conn)
{
	if (atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) > 1)
		return;
	sl_ring_close(&conn->ring);
	sl_lock_free(&conn->lock);
	sl_imm_free(&conn->imms);
	free(conn);
}

void sl_shm_refresh(struct sl_dom *dom)
{
	uint32_t n = 0;

	sl_lock_take(&dom->lock);
	if (dom->cap_seen < dom->n_slots) {
		struct sl_conn **grown =
		    realloc(dom->seen, dom->n_slots * sizeof(struct sl_conn *));

		if (!grown) {
			sl_lock_drop(&dom->lock);
			return;
		}
		dom->seen = grown;
		dom->cap_seen = dom->n_slots;
	}
	for (uint32_t i = 0; i < dom->n_seen; i++)
		sl_shm_conn_unref(dom->seen[i]);
	for (uint32_t i = 0; i < dom->n_slots; i++) {
		if (!dom->conns[i])
			continue;
		sl_shm_conn_ref(dom->conns[i]);
		dom->seen[n++] = dom->conns[i];
	}
	if (n && !dom->n_seen)
		dom->tick_ns = 0; /* tell when the clock matters */
	dom->n_seen = n;
	dom->seen_version = atomic_load(&dom->version);
	sl_lock_drop(&dom->lock);
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
		conn = conn_at(dom, gen, index);
		if (conn) {
			sl_shm_conn_event(conn);
			sl_shm_conn_unref(conn);
		}
		break;
	case SHM_SRC_PEER:
		sl_shm_peer_ended(dom, gen);
		break;
	}
}

/* What is due by the clock. Sets dom->tick_ns to when to come again. */
static void tick(struct sl_dom *dom, int64_t now_ns)
{
	int64_t next = dom->n_seen ? now_ns + dom->peer_timeout_ns / SHM_PINGS : SL_NEVER;

	dom->ticked_ns = now_ns;
	sl_shm_expire_strangers(dom, now_ns, &next);
	for (uint32_t i = 0; i < dom->n_seen; i++) {
		struct sl_conn *conn = dom->seen[i];

		sl_shm_redial(conn, now_ns, &next);
		sl_shm_tick(conn, now_ns, &next);
	}
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
	if (atomic_load(&dom->version) != dom->seen_version)
		sl_shm_refresh(dom);
	now = sl_clock_ns();
	if (now >= dom->tick_ns ||
	    (atomic_load(&dom->redials) && now >= dom->ticked_ns + tick_again_ns))
		tick(dom, now);
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
	if (now == dom->looked_ns && (dom->calls % SETTLE_CALLS ||
	                              !atomic_load_explicit(&dom->unsettled, memory_order_relaxed)))
		return false;
	dom->looked_ns = now;
	return true;
}

static bool has_news(const struct sl_conn *conn)
{
	if (atomic_load_explicit(&conn->busy, memory_order_relaxed))
		return true;
	if (atomic_load_explicit(&conn->state, memory_order_acquire) != SHM_OPEN)
		return false;
	return sl_ring_has_notes(&conn->ring) || sl_ring_has_ping(&conn->ring);
}

/* Poll the connections that have news; when BUDGET runs out, the next call goes on from there. */
static int serve(struct sl_dom *dom, unsigned budget)
{
	uint32_t at = dom->first < dom->n_seen ? dom->first : 0;
	int n = 0;

	dom->first = 0;
	for (uint32_t i = 0; i < dom->n_seen; i++) {
		if (has_news(dom->seen[at]))
			n += sl_shm_poll(dom->seen[at]);
		if (++at == dom->n_seen)
			at = 0;
		if (n >= (int)budget) {
			dom->first = at;
			break;
		}
	}
	return n;
}

static int shm_progress(struct sl_dom *dom, unsigned budget)
{
	bool woken = atomic_load_explicit(&dom->armed, memory_order_relaxed);
	int n = 0;

	if (atomic_load_explicit(&dom->version, memory_order_relaxed) != dom->seen_version)
		sl_shm_refresh(dom);
	/* who has not rung goes on asking for bells: one too many costs less than to tell everybody
	 */
	if (woken)
		atomic_store(&dom->armed, false);
	if (must_look(dom) || woken)
		n += look(dom);
	if (atomic_load_explicit(&dom->work, memory_order_relaxed))
		atomic_store(&dom->work, false);
	return n + serve(dom, budget);
}

static int shm_fd(struct sl_dom *dom)
{
	return dom->epfd;
}

static int shm_arm(struct sl_dom *dom, int64_t *wake_ns)
{
	int work;

	if (atomic_load(&dom->version) != dom->seen_version)
		sl_shm_refresh(dom);
	atomic_store(&dom->armed, true);
	work = atomic_load(&dom->work);
	for (uint32_t i = 0; i < dom->n_seen; i++)
		work |= sl_shm_arm(dom->seen[i]);
	if (atomic_load(&dom->redials))
		dom->tick_ns = dom->ticked_ns + tick_again_ns;
	if (dom->tick_ns < *wake_ns)
		*wake_ns = dom->tick_ns;
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
