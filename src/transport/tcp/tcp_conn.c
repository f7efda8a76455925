/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_conn.c - from two descriptions to two sockets, and their end.
 *
 *	asking half    IDLE ──connect()──► DIALING ──answer 0 from an address──► UP
 *	serving half   none ──hello with our secret──► parked ──connect()──► up
 *
 * Ready when both are up. The end: the peer's socket closes, is reset, or is
 * silent for too long under work (sl_tcp_break), or we close.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "transport/tcp/tcp_impl.h"
#include "transport/tcp/tcp_table.h"
#include "transport/transports.h"

static const int64_t close_ns = SL_NS_PER_S;
/*
 * What a live peer may still do with a socket that was reset: finish one recv().
 * It has when it answers the next call; else we give it this long, for its thread
 * may have been preempted in there.
 */
static const int64_t quiet_ns = 20 * SL_NS_PER_MS;

static int tcp_conn_create(struct sl_dom *dom, const struct sl_conn_opts *opts,
                           struct sl_conn **out, struct slime_error *err)
{
	struct sl_conn *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return sl_fail(err, -ENOMEM, "no memory for a connection");
	c->dom = dom;
	c->lane = opts->lane;
	c->first = opts->first ? opts->first : c;
	c->caller_fd = -1;
	c->stop_by = c->lost_by = c->quiet_at = SL_NEVER;
	c->ask.fd = (struct tcp_fd){.who = TCP_ASKER, .fd = -1, .events = UINT32_MAX, .owner = c};
	c->serve.fd =
	    (struct tcp_fd){.who = TCP_SERVER, .fd = -1, .events = UINT32_MAX, .owner = c};
	for (unsigned i = 0; i < TCP_ADDRS; i++)
		c->ask.tries[i].fd =
		    (struct tcp_fd){.who = TCP_TRY, .fd = -1, .events = UINT32_MAX, .owner = c};
	sl_lock_init(&c->lock);
	rc = sl_random(&c->me, sizeof(c->me));
	if (!rc)
		rc = sl_tcp_ask_init(c, opts->depth);
	if (rc) {
		sl_lock_free(&c->lock);
		free(c);
		return sl_fail(err, rc, "no memory or no random bytes for a connection");
	}
	sl_lock_take(&dom->lock);
	LIST_INSERT_HEAD(&dom->by_id[c->me.id % TCP_BUCKETS], c, same);
	LIST_INSERT_HEAD(&dom->conns, c, entry);
	sl_lock_drop(&dom->lock);
	*out = c;
	return 0;
}

static int tcp_conn_pack(const struct sl_conn *conn, struct sl_blob *out, struct slime_error *err)
{
	if (sl_tcp_pack_addrs(conn->dom, conn, out))
		return sl_fail(err, -EMSGSIZE, "no room for the addresses of this host");
	return 0;
}

/*
 * The peer's call.
 */

static void say(int fd, int status, const struct tcp_serve *s)
{
	struct tcp_answer answer = {.status = status};
	uint8_t bytes[TCP_ANSWER_LEN];
	ssize_t n;

	if (s)
		sl_tcp_serve_ended(s, &answer);
	sl_tcp_put_answer(bytes, &answer);
	n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)n; /* a fresh socket has room; who is gone does not need it */
}

static bool same_name(const struct tcp_name *a, const struct tcp_name *b)
{
	return a->id == b->id && sl_same_secret(a->secret, b->secret, sizeof(a->secret));
}

static void serving_up(struct sl_conn *c, int fd)
{
	sl_tcp_tune(fd);
	say(fd, 0, &c->serve);
	c->serve.fd.fd = fd;
	c->serve.fd.events = UINT32_MAX;
	c->alive_ns = c->serve.looked_ns = sl_clock_ns();
	c->lost_by = SL_NEVER;
	sl_lock_take(&c->lock);
	sl_tcp_note_ready_locked(c);
	sl_lock_drop(&c->lock);
	sl_tcp_watch(c->dom, &c->serve.fd, EPOLLIN);
}

/* What becomes of a call with the right secret: 0: taken or parked, else the answer. */
static int take_call(struct sl_conn *c, int fd, const struct tcp_hello *hello)
{
	const struct tcp_name *from = &hello->from;

	bool closed;

	sl_lock_take(&c->lock);
	closed = c->closed;
	sl_lock_drop(&c->lock);
	if (closed || c->failed || c->broken)
		return -ECONNREFUSED;
	if (c->connecting) {
		if (!same_name(&c->peer, from) || hello->resume != c->was_ready)
			return -EISCONN;
		if (hello->resume) {
			sl_tcp_unwatch(c->dom, &c->serve.fd);
			sl_tcp_serve_reset(c);
		} else if (c->serve.fd.fd >= 0) {
			return -EISCONN;
		}
		serving_up(c, fd);
		return 0;
	}
	if (c->caller_fd >= 0)
		(void)close(c->caller_fd);
	c->caller_fd = fd;
	c->caller = *from;
	return 0;
}

void sl_tcp_answer_guest(struct sl_dom *dom, struct tcp_guest *g)
{
	struct tcp_hello hello;
	struct sl_conn *c;
	int fd = g->fd.fd;
	int rc = -EACCES;

	if (sl_tcp_get_hello(g->buf, &hello)) {
		sl_tcp_free_guest(dom, g);
		return;
	}
	sl_lock_take(&dom->lock);
	c = sl_tcp_find_locked(dom, hello.to.id);
	sl_lock_drop(&dom->lock);
	/* out of the epoll, but open; a guest's memory goes here, with its last event */
	(void)epoll_ctl(dom->epfd, EPOLL_CTL_DEL, fd, NULL);
	g->fd.fd = -1;
	sl_tcp_free_guest(dom, g);
	if (c && sl_same_secret(c->me.secret, hello.to.secret, sizeof(c->me.secret)))
		rc = take_call(c, fd, &hello);
	if (rc) {
		say(fd, rc, NULL);
		(void)close(fd);
	}
}

static int tcp_connect(struct sl_conn *c, const struct sl_blob *peer, struct slime_error *err)
{
	int rc = sl_tcp_unpack_addrs(c, peer, err);

	if (rc)
		return rc;
	if (!tcp_peer_addrs(c)->naddrs)
		return sl_fail(err, -EHOSTUNREACH,
		               "the peer has published no address that leads to it from here");
	c->connecting = true;
	atomic_fetch_add(&c->dom->nconns, 1);
	sl_tcp_tick_by(c->dom, sl_clock_ns() + tcp_tick_ns(c->dom));
	if (c->caller_fd >= 0) {
		int fd = c->caller_fd;

		c->caller_fd = -1;
		if (same_name(&c->peer, &c->caller)) {
			serving_up(c, fd);
		} else {
			say(fd, -EISCONN, NULL);
			(void)close(fd);
		}
	}
	sl_tcp_dial(c);
	return 0;
}

static int tcp_conn_ready(struct sl_conn *c, struct slime_error *err)
{
	if (!c->connecting)
		return c->caller_fd >= 0 ? SL_CONN_CALLED : SL_CONN_WAITING;
	if (c->failed)
		return sl_fail(err, c->failed, "%s", c->why.text);
	if (c->broken)
		return sl_fail(err, -ECONNRESET, "the peer hung up");
	return c->was_ready ? SL_CONN_READY : SL_CONN_WAITING;
}

static void tcp_conn_name(struct sl_conn *c, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s", c->name);
}

/*
 * The end.
 */

static void hang_up(struct sl_conn *c, bool reset)
{
	struct linger now = {.l_onoff = 1};

	sl_lock_take(&c->lock); /* submitters send on that descriptor */
	c->ask.up = false;
	if (reset && c->ask.fd.fd >= 0)
		(void)setsockopt(c->ask.fd.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	sl_tcp_unwatch(c->dom, &c->ask.fd);
	sl_lock_drop(&c->lock);
	sl_tcp_unwatch(c->dom, &c->serve.fd);
	sl_tcp_stop_dialling(c);
}

void sl_tcp_break(struct sl_conn *c, int status)
{
	struct sl_op_queue ops = {0};
	struct sl_op *op;

	if (!c->connecting || c->tore)
		return;
	if (!c->was_ready) {
		sl_tcp_fail(c, status, "the peer hung up while connecting");
		return;
	}
	c->tore = true;
	sl_lock_take(&c->lock);
	atomic_store(&c->broken, true);
	sl_lock_drop(&c->lock);
	hang_up(c, true);
	sl_tcp_ask_take_all(c, &ops);
	while ((op = sl_op_pop(&c->quiet)))
		sl_op_push(&ops, op);
	while ((op = sl_op_pop(&ops))) {
		int stop = sl_op_stop(op);

		sl_op_done(op, stop ? stop : c->closed ? -ECANCELED : status, 0, 0);
	}
}

void sl_tcp_lost(struct sl_conn *c)
{
	if (!c->was_ready || c->tore) {
		sl_tcp_break(c, -ECONNRESET);
		return;
	}
	sl_tcp_unwatch(c->dom, &c->serve.fd);
	c->lost_by = sl_clock_ns() + c->dom->peer_timeout_ns;
	sl_tcp_tick_by(c->dom, c->lost_by);
}

/*
 * The peer has not let go of a transfer that was asked to stop: take the socket
 * away from it, so that nothing more of the transfer can reach its memory, and
 * dial anew for the others.
 */
static void reset_asking(struct sl_conn *c, int64_t now)
{
	struct linger at_once = {.l_onoff = 1};

	sl_log(
	    SLIME_LOG_INFO,
	    "tcp: the peer at %s is slow to let go of a transfer that was stopped, dialling anew",
	    c->name);
	sl_lock_take(&c->lock);
	c->ask.up = false;
	(void)setsockopt(c->ask.fd.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	sl_tcp_unwatch(c->dom, &c->ask.fd);
	sl_lock_drop(&c->lock);
	sl_tcp_ask_reset(c, &c->quiet);
	c->stop_by = SL_NEVER;
	c->quiet_at = now + quiet_ns;
	sl_tcp_tick_by(c->dom, c->quiet_at);
	c->resuming = true;
	sl_tcp_dial(c);
}

void sl_tcp_end_quiet(struct sl_conn *c)
{
	struct sl_op *op;

	c->quiet_at = SL_NEVER;
	while ((op = sl_op_pop(&c->quiet)))
		sl_op_done(op, sl_op_stop(op), 0, 0);
}

/* Called again and again until nothing is left to say. */
static void close_step(struct sl_conn *c)
{
	if (c->tore)
		return;
	if (!c->was_ready) {
		c->tore = true;
		hang_up(c, false);
		return;
	}
	if (c->ask.state != ASK_UP) { /* nothing is on its way */
		sl_tcp_break(c, -ECANCELED);
		return;
	}
	sl_tcp_ask_stop_all(c);
	if (tcp_ask_idle(c)) {
		c->tore = true;
		hang_up(c, false);
	} else if (c->stop_by == SL_NEVER) {
		c->stop_by = sl_clock_ns() + close_ns;
		sl_tcp_tick_by(c->dom, c->stop_by);
	}
}

void sl_tcp_conn_todo(struct sl_conn *c)
{
	bool more = c->more;
	bool closed;

	c->more = false;
	sl_lock_take(&c->lock);
	closed = c->closed;
	sl_lock_drop(&c->lock);
	if (more && c->ask.fd.fd >= 0)
		(void)sl_tcp_ask_read(c);
	if ((more || (c->serve.stalled && !closed)) && c->serve.fd.fd >= 0)
		(void)sl_tcp_serve_read(c);
	if (closed)
		close_step(c);
}

static bool has_work(struct sl_conn *c)
{
	bool work;

	if (!tcp_ask_idle(c))
		return true;
	sl_lock_take(&c->lock);
	work = c->ask.sends.head || c->ask.recvs.head || c->imm_recvs.head;
	sl_lock_drop(&c->lock);
	return work;
}

/* Bytes came, or the socket took some after it had been full. A ping of ours going out is no sign.
 */
static bool showed_life(struct sl_conn *c)
{
	uint64_t gone = atomic_load_explicit(&c->ask.gone, memory_order_relaxed);
	bool life = c->reads != c->reads_seen;

	sl_lock_take(&c->lock);
	life = life || (c->ask.blocked && gone != c->gone_seen);
	sl_lock_drop(&c->lock);
	c->reads_seen = c->reads;
	c->gone_seen = gone;
	return life;
}

/* Is the peer alive? Asked while something waits for it; see tick() for how often. */
static void check_life(struct sl_conn *c, int64_t now)
{
	bool work = has_work(c);
	int64_t silent;

	/* what we did not hear because we were not listening is not the peer's silence */
	c->alive_ns += c->dom->late_ns;
	if (showed_life(c) || !c->had_work || c->alive_ns > now)
		c->alive_ns = now;
	silent = now - c->alive_ns;
	if (work && silent > c->dom->peer_timeout_ns * 3 / 4) {
		sl_log(SLIME_LOG_WARN, "tcp: the peer at %s is silent for %lld ms and is given up",
		       c->name, (long long)(silent / SL_NS_PER_MS));
		sl_tcp_break(c, -ECONNRESET);
		return;
	} else if (work && silent > c->dom->peer_timeout_ns / 5) {
		sl_lock_take(&c->lock);
		c->ask.ping_due = true;
		sl_tcp_ask_push_locked(c);
		sl_lock_drop(&c->lock);
	}
	c->had_work = work;
}

void sl_tcp_conn_tick(struct sl_conn *c, int64_t now)
{
	if (!c->connecting || c->tore)
		return;
	if (c->failed)
		return;
	sl_tcp_dial_tick(c, now);
	if (!c->was_ready || c->tore)
		return;
	if (now >= c->quiet_at)
		sl_tcp_end_quiet(c);
	if (now >= c->lost_by || (c->closed && now >= c->stop_by)) {
		sl_tcp_break(c, -ECONNRESET);
		return;
	}
	if (now >= c->stop_by)
		reset_asking(c, now);
	if (c->tore)
		return;
	sl_tcp_tick_by(c->dom, c->stop_by);
	sl_tcp_tick_by(c->dom, c->quiet_at);
	sl_tcp_tick_by(c->dom, c->lost_by);
	if (c->serve.stalled)
		sl_tcp_serve_pong(c);
	check_life(c, now);
}

static void tcp_conn_close(struct sl_conn *c)
{
	sl_lock_take(&c->lock);
	c->closed = true;
	sl_lock_drop(&c->lock);
	sl_tcp_todo(c);
}

static void leave_todo_locked(struct sl_dom *dom, struct sl_conn *c) SL_REQUIRES(dom->lock)
{
	struct sl_conn **at = &dom->todo;

	if (!c->in_todo)
		return;
	while (*at != c) /* who is destroyed was closed just before, and is at the front */
		at = &(*at)->next_todo;
	*at = c->next_todo;
}

static void tcp_conn_destroy(struct sl_conn *c)
{
	struct sl_dom *dom = c->dom;

	sl_lock_take(&dom->lock);
	LIST_REMOVE(c, entry);
	LIST_REMOVE(c, same);
	leave_todo_locked(dom, c);
	sl_lock_drop(&dom->lock);
	if (c->connecting)
		atomic_fetch_sub(&dom->nconns, 1);
	hang_up(c, false);
	if (c->caller_fd >= 0)
		(void)close(c->caller_fd);
	sl_tcp_serve_free(&c->serve);
	sl_tcp_ask_free(c);
	sl_imm_free(&c->imms);
	sl_lock_free(&c->lock);
	free(c);
}

static int tcp_probe(struct sl_dev_info *out, size_t cap, struct slime_error *err)
{
	return sl_tcp_list_devices(out, cap, err);
}

const struct sl_transport sl_transport_tcp = {
    .name = "tcp",
    .caps = SL_CAP_REMOTE_HOST | SL_CAP_LANES | SL_CAP_ORDERED,
    .kinds = 1u << SLIME_MEM_HOST,
    .max_iov = UINT32_MAX,
    .max_len = UINT64_MAX,
    .probe = tcp_probe,
    .dom_open = sl_tcp_dom_open,
    .dom_close = sl_tcp_dom_close,
    .reg = sl_tcp_reg,
    .unreg = sl_tcp_unreg,
    .reg_pack = sl_tcp_reg_pack,
    .rreg_unpack = sl_tcp_rreg_unpack,
    .rreg_free = sl_tcp_rreg_free,
    .conn_create = tcp_conn_create,
    .conn_pack = tcp_conn_pack,
    .connect = tcp_connect,
    .conn_ready = tcp_conn_ready,
    .conn_close = tcp_conn_close,
    .conn_destroy = tcp_conn_destroy,
    .submit = sl_tcp_submit,
    .cancel = sl_tcp_cancel,
    .progress = sl_tcp_progress,
    .fd = sl_tcp_dom_fd,
    .arm = sl_tcp_arm,
    .conn_name = tcp_conn_name,
};
