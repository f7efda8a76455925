/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_dom.c - the domain: a listener, an epoll, and every connection's events.
 *
 * The few sockets on which something happened lately are "hot": progress() reads
 * them directly and asks epoll only now and then, so a poll costs one recv().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/wire.h"
#include "transport/tcp/tcp_impl.h"
#include "transport/tcp/tcp_table.h"

enum {
	EVENTS = 64,
	EPOLL_EVERY = 16,   /* calls of progress() with hot sockets */
	CLOCK_EVERY = 64,   /* calls of progress() */
	COOL_AFTER = 20000, /* polls in vain; a sleeper's spin is shorter */
	ACCEPT_MOST = 16,
};

static const int64_t guest_ns = 2 * SL_NS_PER_S;
static const int64_t deaf_ns = 100 * SL_NS_PER_MS;

void sl_tcp_watch(struct sl_dom *dom, struct tcp_fd *fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = fd};

	if (fd->fd < 0 || fd->events == events)
		return;
	(void)epoll_ctl(dom->epfd, fd->events == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd->fd,
	                &ev);
	fd->events = events;
}

void sl_tcp_unwatch(struct sl_dom *dom, struct tcp_fd *fd)
{
	for (int i = 0; i < TCP_HOT; i++) {
		if (dom->hot[i] == fd)
			dom->hot[i] = NULL;
	}
	if (fd->fd >= 0)
		(void)close(fd->fd); /* which takes it out of the epoll */
	fd->fd = -1;
	fd->events = UINT32_MAX;
}

void sl_tcp_heat(struct sl_dom *dom, struct tcp_fd *fd)
{
	unsigned coldest = 0;

	for (unsigned i = 0; i < TCP_HOT; i++) {
		if (dom->hot[i] == fd) {
			dom->idle[i] = 0;
			return;
		}
		if (!dom->hot[i] || (dom->hot[coldest] && dom->idle[i] > dom->idle[coldest]))
			coldest = i;
	}
	dom->hot[coldest] = fd;
	dom->idle[coldest] = 0;
}

void sl_tcp_tick_by(struct sl_dom *dom, int64_t when_ns)
{
	if (when_ns < dom->next_tick)
		dom->next_tick = when_ns;
}

void sl_tcp_call_by(struct sl_dom *dom, int64_t when_ns)
{
	if (when_ns < dom->next_call)
		dom->next_call = when_ns;
}

/* Nobody shall be looked after for a call that is over long since. */
void sl_tcp_call_over(struct sl_dom *dom)
{
	if (!dom->nguests && !dom->ndialling)
		dom->next_call = SL_NEVER;
}

static void ring(struct sl_dom *dom)
{
	uint64_t one = 1;
	ssize_t n = write(dom->kick.fd, &one, sizeof(one));

	(void)n; /* can only fail when it is readable already */
}

static void put_in_todo(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;

	sl_lock_take(&dom->lock);
	if (!conn->in_todo) {
		conn->in_todo = true;
		conn->next_todo = dom->todo;
		dom->todo = conn;
	}
	sl_lock_drop(&dom->lock);
}

void sl_tcp_todo(struct sl_conn *conn)
{
	put_in_todo(conn);
	if (!atomic_exchange(&conn->dom->work, true))
		ring(conn->dom);
}

void sl_tcp_go_on(struct sl_conn *conn)
{
	conn->more = true;
	put_in_todo(conn);
	atomic_store(&conn->dom->work, true); /* arm() sees it */
}

struct sl_conn *sl_tcp_find_locked(struct sl_dom *dom, uint64_t id)
{
	struct sl_conn *c;

	LIST_FOREACH(c, &dom->by_id[id % TCP_BUCKETS], same)
	{
		if (c->me.id == id)
			return c;
	}
	return NULL;
}

/*
 * Strangers.
 */

void sl_tcp_free_guest(struct sl_dom *dom, struct tcp_guest *g)
{
	for (struct tcp_guest **p = &dom->guests; *p; p = &(*p)->next) {
		if (*p == g) {
			*p = g->next;
			dom->nguests--;
			break;
		}
	}
	sl_tcp_call_over(dom);
	sl_tcp_unwatch(dom, &g->fd);
	free(g);
}

/* The list is newest first; too many: the oldest must go. */
static void drop_oldest_guest(struct sl_dom *dom)
{
	struct tcp_guest *g = dom->guests;

	while (g->next)
		g = g->next;
	sl_tcp_free_guest(dom, g);
}

static void add_guest(struct sl_dom *dom, int fd)
{
	struct tcp_guest *g = calloc(1, sizeof(*g));

	if (!g) {
		(void)close(fd);
		return;
	}
	if (dom->nguests == TCP_GUESTS)
		drop_oldest_guest(dom);
	g->fd = (struct tcp_fd){.who = TCP_GUEST, .fd = fd, .events = UINT32_MAX, .owner = g};
	g->until = sl_clock_ns() + guest_ns;
	g->next = dom->guests;
	dom->guests = g;
	dom->nguests++;
	sl_tcp_watch(dom, &g->fd, EPOLLIN);
	sl_tcp_call_by(dom, g->until);
}

static int accept_some(struct sl_dom *dom)
{
	int n;

	for (n = 0; n < ACCEPT_MOST; n++) {
		int fd = accept4(dom->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			add_guest(dom, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			sl_log(
			    SLIME_LOG_WARN,
			    "tcp: no descriptor for another connection, trying again soon (see ulimit -n)");
			sl_tcp_watch(dom, &dom->listener, 0);
			dom->deaf_until = sl_clock_ns() + deaf_ns;
			sl_tcp_tick_by(dom, dom->deaf_until);
		}
		if (errno != EINTR && errno != ECONNABORTED)
			break;
	}
	return n;
}

/* One hello, whole and in order, or the door. */
static int read_guest(struct sl_dom *dom, struct tcp_guest *g)
{
	ssize_t n = recv(g->fd.fd, g->buf + g->n, sizeof(g->buf) - g->n, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0)
		g->n += (unsigned)n;
	if (n <= 0 || !sl_tcp_like_hello(g->buf, g->n))
		sl_tcp_free_guest(dom, g);
	else if (g->n == sizeof(g->buf))
		sl_tcp_answer_guest(dom, g);
	return 1;
}

/*
 * Events.
 */

/* A socket that is reset may still hold bytes: they are not wanted any more. */
static int serve_event(struct sl_conn *conn, uint32_t events)
{
	if (events & EPOLLERR) {
		sl_tcp_lost(conn);
		return 1;
	}
	sl_tcp_heat(conn->dom, &conn->serve.fd);
	return sl_tcp_serve_read(conn);
}

static int ask_event(struct sl_conn *conn, uint32_t events)
{
	if (events & EPOLLOUT) {
		sl_lock_take(&conn->lock);
		sl_tcp_ask_push_locked(conn);
		sl_lock_drop(&conn->lock);
	}
	if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
		return 1;
	sl_tcp_heat(conn->dom, &conn->ask.fd);
	return sl_tcp_ask_read(conn);
}

static int dispatch(struct sl_dom *dom, struct tcp_fd *fd, uint32_t events)
{
	uint64_t seen;
	ssize_t n;

	switch (fd->who) {
	case TCP_LISTENER:
		return accept_some(dom);
	case TCP_KICK:
		n = read(fd->fd, &seen, sizeof(seen));
		return n > 0;
	case TCP_GUEST:
		return read_guest(dom, fd->owner);
	case TCP_TRY:
		sl_tcp_dial_event(fd, events);
		return 1;
	case TCP_ASKER:
		return ask_event(fd->owner, events);
	case TCP_SERVER:
		return serve_event(fd->owner, events);
	default:
		return 0;
	}
}

/* Handling one event may close another's socket, so guests go one at a time. */
static int poll_epoll(struct sl_dom *dom)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(dom->epfd, ev, EVENTS, 0);
	int done = 0;
	bool listener = false;

	for (int i = 0; i < n; i++) {
		struct tcp_fd *fd = ev[i].data.ptr;

		if (fd->who == TCP_LISTENER)
			listener = true; /* it may free guests: after all of them */
		else if (fd->fd >= 0)
			done += dispatch(dom, fd, ev[i].events);
	}
	if (listener)
		done += accept_some(dom);
	return done;
}

static int poll_hot(struct sl_dom *dom, bool *any)
{
	int done = 0;

	*any = false;
	for (int i = 0; i < TCP_HOT; i++) {
		struct tcp_fd *fd = dom->hot[i];
		struct sl_conn *conn = fd ? fd->owner : NULL;
		int n;

		if (!fd)
			continue;
		if (fd->who == TCP_ASKER && tcp_ask_idle(conn)) {
			dom->hot[i] = NULL;
			continue;
		}
		*any = true;
		n = fd->who == TCP_ASKER ? sl_tcp_ask_read(conn) : sl_tcp_serve_read(conn);
		done += n;
		if (n)
			dom->idle[i] = 0;
		else if (++dom->idle[i] > COOL_AFTER && dom->hot[i] == fd)
			dom->hot[i] = NULL;
	}
	return done;
}

static int do_todo(struct sl_dom *dom)
{
	struct sl_conn *list;
	int n = 0;

	sl_lock_take(&dom->lock);
	atomic_store(&dom->work, false);
	list = dom->todo;
	dom->todo = NULL;
	sl_lock_drop(&dom->lock);
	while (list) {
		struct sl_conn *c = list;

		sl_lock_take(&dom->lock);
		list = c->next_todo;
		c->in_todo = false; /* from here on it may be put in again */
		sl_lock_drop(&dom->lock);
		sl_tcp_conn_todo(c);
		n++;
	}
	return n;
}

/* While there are peers, eight looks in their timeout. */
static void tick(struct sl_dom *dom, int64_t now)
{
	struct tcp_guest *g = dom->guests;

	dom->late_ns = now - dom->next_tick - tcp_tick_ns(dom);
	if (dom->next_tick == SL_NEVER || dom->late_ns < 0)
		dom->late_ns = 0;
	dom->next_tick = atomic_load(&dom->nconns) ? now + tcp_tick_ns(dom) : SL_NEVER;
	dom->next_call = SL_NEVER;
	while (g) {
		struct tcp_guest *next = g->next;

		if (g->until <= now)
			sl_tcp_free_guest(dom, g);
		else
			sl_tcp_call_by(dom, g->until);
		g = next;
	}
	if (dom->deaf_until && dom->deaf_until <= now) {
		dom->deaf_until = 0;
		sl_tcp_watch(dom, &dom->listener, EPOLLIN);
	}
	sl_lock_take(&dom->lock);
	for (struct sl_conn *c = LIST_FIRST(&dom->conns); c;) {
		struct sl_conn *next =
		    LIST_NEXT(c, entry); /* only the progress lock's holder takes any out */

		sl_lock_drop(&dom->lock);
		sl_tcp_conn_tick(c, now);
		sl_lock_take(&dom->lock);
		c = next;
	}
	sl_lock_drop(&dom->lock);
}

int sl_tcp_progress(struct sl_dom *dom, unsigned budget)
{
	bool hot;
	int done = poll_hot(dom, &hot);
	int64_t next;

	(void)budget;
	dom->calls++;
	if (!hot || dom->calls % EPOLL_EVERY == 0)
		done += poll_epoll(dom);
	if (atomic_load_explicit(&dom->work, memory_order_relaxed))
		done += do_todo(dom);
	next = dom->next_call < dom->next_tick ? dom->next_call : dom->next_tick;
	if (next != SL_NEVER && (!hot || dom->slept || dom->calls % CLOCK_EVERY == 0)) {
		int64_t now = sl_clock_ns();

		if (now >= next)
			tick(dom, now);
	}
	dom->slept = false;
	return done;
}

int sl_tcp_dom_fd(struct sl_dom *dom)
{
	return dom->epfd;
}

int sl_tcp_arm(struct sl_dom *dom, int64_t *wake_ns)
{
	if (dom->next_tick < *wake_ns)
		*wake_ns = dom->next_tick;
	if (dom->next_call < *wake_ns)
		*wake_ns = dom->next_call;
	dom->slept = true;
	return atomic_load(&dom->work);
}

static void close_fd(struct tcp_fd *fd)
{
	if (fd->fd >= 0)
		(void)close(fd->fd);
}

void sl_tcp_dom_close(struct sl_dom *dom)
{
	while (dom->guests)
		sl_tcp_free_guest(dom, dom->guests);
	close_fd(&dom->listener);
	close_fd(&dom->kick);
	if (dom->epfd >= 0)
		(void)close(dom->epfd);
	sl_lock_free(&dom->reg_lock);
	sl_lock_free(&dom->lock);
	free(dom->regs);
	free(dom->scratch);
	free(dom);
}

int sl_tcp_dom_open(const struct sl_dom_opts *opts, struct sl_dom **out, struct slime_error *err)
{
	struct sl_dom *dom = calloc(1, sizeof(*dom));
	char buf[64];
	int rc;

	if (!dom)
		return sl_fail(err, -ENOMEM, "no memory for a tcp domain");
	sl_lock_init(&dom->lock);
	sl_lock_init(&dom->reg_lock);
	dom->next_tick = dom->next_call = SL_NEVER;
	dom->peer_timeout_ns = opts->peer_timeout_ms * SL_NS_PER_MS;
	dom->host = sl_tcp_host_tag();
	dom->listener = (struct tcp_fd){.who = TCP_LISTENER, .fd = -1, .events = UINT32_MAX};
	dom->kick = (struct tcp_fd){.who = TCP_KICK, .fd = -1, .events = UINT32_MAX};
	dom->epfd = epoll_create1(EPOLL_CLOEXEC);
	dom->kick.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	dom->scratch = malloc(TCP_SCRATCH);
	if (dom->epfd < 0 || dom->kick.fd < 0 || !dom->scratch) {
		rc = dom->scratch ? -errno : -ENOMEM;
		(void)sl_fail(err, rc, "cannot make a tcp domain: %s",
		              sl_error_name(rc, buf, sizeof(buf)));
		goto err_close;
	}
	rc = sl_tcp_listen(dom, opts->device, err);
	if (rc)
		goto err_close;
	sl_tcp_watch(dom, &dom->kick, EPOLLIN);
	sl_tcp_watch(dom, &dom->listener, EPOLLIN);
	*out = dom;
	return 0;

err_close:
	sl_tcp_dom_close(dom);
	return rc;
}

/*
 * Regions.
 */

int sl_tcp_reg(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access, struct sl_reg **out,
               struct slime_error *err)
{
	struct sl_reg *reg = calloc(1, sizeof(*reg));
	uint32_t i;

	if (!reg || sl_random(reg->key, sizeof(reg->key)) || sl_random(&reg->id, sizeof(reg->id))) {
		free(reg);
		return sl_fail(err, -ENOMEM, "no memory or no random bytes for a region");
	}
	reg->dom = dom;
	reg->mem = *mem;
	reg->access = access;
	sl_lock_take(&dom->reg_lock);
	for (i = dom->nregs < dom->regs_cap ? dom->nregs : 0; i < dom->regs_cap && dom->regs[i];)
		i++;
	if (i == dom->regs_cap) {
		uint32_t cap = dom->regs_cap ? 2 * dom->regs_cap : 64;
		struct sl_reg **regs = realloc(dom->regs, cap * sizeof(*regs));

		if (!regs) {
			sl_lock_drop(&dom->reg_lock);
			free(reg);
			return sl_fail(err, -ENOMEM, "no memory for %u regions", cap);
		}
		memset(regs + dom->regs_cap, 0, (cap - dom->regs_cap) * sizeof(*regs));
		dom->regs = regs;
		dom->regs_cap = cap;
	}
	reg->id = (reg->id & ~(uint64_t)UINT32_MAX) | i;
	dom->regs[i] = reg;
	dom->nregs = i + 1;
	sl_lock_drop(&dom->reg_lock);
	*out = reg;
	return 0;
}

void sl_tcp_unreg(struct sl_reg *reg)
{
	struct sl_dom *dom = reg->dom;
	struct sl_conn *c;

	sl_lock_take(&dom->lock);
	sl_lock_take(&dom->reg_lock);
	dom->regs[(uint32_t)reg->id] = NULL;
	dom->nregs = (uint32_t)reg->id; /* where the search for a free place begins */
	LIST_FOREACH(c, &dom->conns, entry)
	{
		sl_tcp_serve_unreg_locked(c, reg);
	}
	sl_lock_drop(&dom->reg_lock);
	sl_lock_drop(&dom->lock);
	free(reg);
}

int sl_tcp_reg_pack(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err)
{
	struct sl_wire w = sl_wire_on(out->bytes, sizeof(out->bytes));

	(void)err;
	sl_wire_put_uint(&w, reg->id, 8);
	sl_wire_put(&w, reg->key, sizeof(reg->key));
	out->len = (uint32_t)(w.p - out->bytes);
	return 0;
}

int sl_tcp_rreg_unpack(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
                       struct slime_error *err)
{
	struct sl_blob copy = *blob;
	struct sl_wire w = sl_wire_on(copy.bytes, copy.len);
	struct sl_rreg *r;

	(void)conn;
	if (blob->len != 8 + sizeof(r->key))
		return sl_fail(err, -EPROTO, "a tcp region of %u bytes", blob->len);
	r = malloc(sizeof(*r));
	if (!r)
		return sl_fail(err, -ENOMEM, "no memory for a remote region");
	r->id = sl_wire_get_uint(&w, 8);
	sl_wire_get(&w, r->key, sizeof(r->key));
	*out = r;
	return 0;
}

void sl_tcp_rreg_free(struct sl_rreg *rreg)
{
	free(rreg);
}
