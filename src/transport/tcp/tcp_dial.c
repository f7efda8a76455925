/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_dial.c - from the peer's addresses to an asking half that is up.
 *
 * The addresses race. The next one is dialled when one before it has failed, or
 * when nothing was heard for a while, and those before stay in: a peer whose
 * program has not called connect() yet is as silent as a stranger at an address
 * that was the peer's once. The peer answers well on one socket only, which wins;
 * of the others it keeps the newest and hangs up the rest.
 *
 * A socket that is dialled anew does not race, for there the peer takes the newer
 * one: first the address that won, the next only when that has failed.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "transport/tcp/tcp_impl.h"

/* For an address to take the call. */
static const int64_t dial_ns = 2 * SL_NS_PER_S;
/* Of silence, until the next address is dialled: of one that does not take the call, and of one
 * that did, where the peer's program is likely to be on its way to connect(). */
static const int64_t silence_ns = 250 * SL_NS_PER_MS;
static const int64_t greeted_silence_ns = SL_NS_PER_S;

_Static_assert(TCP_ADDRS *TCP_ANSWER_LEN <= TCP_RX_LEN, "each try has a part of rx.buf");

static void end_tries(struct sl_conn *c)
{
	for (unsigned i = 0; i < TCP_ADDRS; i++)
		sl_tcp_unwatch(c->dom, &c->ask.tries[i].fd);
}

static void set_state(struct sl_conn *c, enum tcp_ask_state state)
{
	bool was = c->ask.state == ASK_DIALING, is = state == ASK_DIALING;

	c->ask.state = state;
	if (is && !was)
		c->dom->ndialling++;
	if (was && !is) {
		c->dom->ndialling--;
		sl_tcp_call_over(c->dom);
	}
}

void sl_tcp_stop_dialling(struct sl_conn *c)
{
	end_tries(c);
	if (c->ask.state == ASK_DIALING)
		set_state(c, ASK_IDLE);
}

/* CONN will not come up: conn_ready() will say so. */
void sl_tcp_fail(struct sl_conn *c, int status, const char *what)
{
	if (c->was_ready) {
		sl_tcp_break(c, -ECONNRESET);
		return;
	}
	if (c->failed)
		return;
	c->failed = sl_fail(&c->why, status, "%s", what);
	sl_tcp_unwatch(c->dom, &c->ask.fd);
	end_tries(c);
	set_state(c, ASK_IDLE);
}

/* No try is left. */
static void lost_race(struct sl_conn *c)
{
	char text[200], buf[64];

	if (c->ask.taken) {
		sl_tcp_fail(c, -ECONNREFUSED, "the peer's endpoint has another peer");
		return;
	}
	(void)snprintf(text, sizeof(text), "the peer cannot be reached at %s: %s",
	               c->name[0] ? c->name : "no address",
	               sl_error_name(c->ask.dial_rc, buf, sizeof(buf)));
	sl_tcp_fail(c, c->ask.dial_rc, text);
}

static bool in_race(const struct sl_conn *c)
{
	for (unsigned i = 0; i < TCP_ADDRS; i++)
		if (c->ask.tries[i].fd.fd >= 0)
			return true;
	return false;
}

static const struct tcp_addr *addr_of(const struct sl_conn *c, const struct tcp_try *t)
{
	return &tcp_peer_addrs(c)->addr[t - c->ask.tries];
}

/* Dial the address that T stands for. */
static int open_try(struct sl_conn *c, struct tcp_try *t)
{
	const struct tcp_addr *a = addr_of(c, t);
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	sl_tcp_addr_text(a, c->name, sizeof(c->name));
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&a->sa, a->len) && errno != EINPROGRESS) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	t->fd.fd = fd;
	t->greeted = false;
	t->n = 0;
	t->until = sl_clock_ns() + dial_ns;
	sl_tcp_watch(c->dom, &t->fd, EPOLLOUT);
	sl_tcp_call_by(c->dom, t->until);
	return 0;
}

/* The order in which they are dialled: the one that won before, then the others. */
static unsigned nth_addr(const struct tcp_ask *a, unsigned n)
{
	if (n == 0)
		return a->won;
	return n <= a->won ? n - 1 : n;
}

/* The next address that can be dialled is, if there is one. */
static void dial_more(struct sl_conn *c)
{
	struct tcp_ask *a = &c->ask;
	unsigned n = tcp_peer_addrs(c)->naddrs;
	int rc = -EAGAIN;

	while (rc && a->addr < n) {
		rc = open_try(c, &a->tries[nth_addr(a, a->addr++)]);
		if (rc)
			a->dial_rc = rc;
	}
	a->dial_until = a->addr < n && !c->resuming ? sl_clock_ns() + silence_ns : SL_NEVER;
	sl_tcp_call_by(c->dom, a->dial_until);
	if (!in_race(c))
		lost_race(c);
}

void sl_tcp_dial(struct sl_conn *c)
{
	struct tcp_ask *a = &c->ask;

	sl_tcp_unwatch(c->dom, &a->fd);
	end_tries(c);
	set_state(c, ASK_DIALING);
	a->addr = 0;
	a->taken = false;
	a->dial_rc = -EHOSTUNREACH;
	dial_more(c);
}

/* T is out of the race, for the reason RC. */
static void lose(struct sl_conn *c, struct tcp_try *t, int rc)
{
	sl_tcp_unwatch(c->dom, &t->fd);
	sl_tcp_addr_text(addr_of(c, t), c->name, sizeof(c->name));
	c->ask.dial_rc = rc;
	if (!c->ask.taken)
		dial_more(c);
	else if (!in_race(c))
		lost_race(c);
}

/*
 * The peer has another one, as it says by T. That may be ourselves, by a try whose answer is on
 * its way: give it time.
 */
static void taken(struct sl_conn *c, struct tcp_try *t)
{
	c->ask.taken = true;
	c->ask.dial_until = sl_clock_ns() + dial_ns;
	sl_tcp_call_by(c->dom, c->ask.dial_until);
	lose(c, t, -ECONNREFUSED);
}

/* The socket is connected: say who we are. It has room for so little. */
static void greet(struct sl_conn *c, struct tcp_try *t)
{
	uint8_t hello[TCP_HELLO_LEN];
	ssize_t n;

	sl_tcp_tune(t->fd.fd);
	sl_tcp_put_hello(hello,
	                 &(struct tcp_hello){.to = c->peer, .from = c->me, .resume = c->resuming});
	n = send(t->fd.fd, hello, sizeof(hello), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n != (ssize_t)sizeof(hello)) {
		lose(c, t, n < 0 ? -errno : -EIO);
		return;
	}
	t->greeted = true;
	t->until = SL_NEVER; /* the peer may call connect() much later */
	if (c->ask.dial_until != SL_NEVER)
		c->ask.dial_until = sl_clock_ns() + greeted_silence_ns;
	sl_tcp_watch(c->dom, &t->fd, EPOLLIN);
}

void sl_tcp_note_ready_locked(struct sl_conn *c)
{
	if (c->ask.state == ASK_UP && c->serve.fd.fd >= 0)
		c->was_ready = true;
}

static void asking_up(struct sl_conn *c, const struct tcp_answer *answer)
{
	set_state(c, ASK_UP);
	c->alive_ns = sl_clock_ns();
	c->ask.rx.at = c->ask.rx.n = 0;
	if (c->resuming && sl_tcp_ask_resume(c, answer)) {
		sl_tcp_break(c, -EPROTO);
		return;
	}
	if (c->resuming)
		sl_tcp_end_quiet(c);
	c->resuming = false;
	sl_lock_take(&c->lock);
	c->ask.up = true;
	sl_tcp_note_ready_locked(c);
	sl_tcp_ask_push_locked(c); /* what was submitted when the other half was up already */
	sl_lock_drop(&c->lock);
}

/* T is the socket to ask on from now on. */
static void win(struct sl_conn *c, struct tcp_try *t, const struct tcp_answer *answer)
{
	struct tcp_ask *a = &c->ask;

	(void)epoll_ctl(c->dom->epfd, EPOLL_CTL_DEL, t->fd.fd, NULL);
	a->fd.fd = t->fd.fd;
	a->fd.events = t->fd.events = UINT32_MAX;
	t->fd.fd = -1;
	a->won = (unsigned)(t - a->tries);
	end_tries(c);
	sl_tcp_addr_text(addr_of(c, t), c->name, sizeof(c->name));
	sl_tcp_watch(c->dom, &a->fd, EPOLLIN);
	asking_up(c, answer);
}

static void read_answer(struct sl_conn *c, struct tcp_try *t)
{
	uint8_t *buf = c->ask.rx.buf + (t - c->ask.tries) * TCP_ANSWER_LEN;
	ssize_t n = recv(t->fd.fd, buf + t->n, TCP_ANSWER_LEN - t->n, MSG_DONTWAIT);
	struct tcp_answer answer;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(c, t, n < 0 ? -errno : -ECONNREFUSED);
		return;
	}
	t->n += (unsigned)n;
	if (t->n < TCP_ANSWER_LEN)
		return;
	if (sl_tcp_get_answer(buf, &answer))
		lose(c, t, -EPROTO);
	else if (answer.status ==
	         -EACCES) /* another process has that address by now, or is it another host? */
		lose(c, t, -ECONNREFUSED);
	else if (answer.status == -EISCONN)
		taken(c, t);
	else if (answer.status)
		sl_tcp_fail(c, answer.status, "the peer refused the connection");
	else
		win(c, t, &answer);
}

void sl_tcp_dial_event(struct tcp_fd *fd, uint32_t events)
{
	struct tcp_try *t = (struct tcp_try *)fd; /* its first member */
	struct sl_conn *c = fd->owner;
	int rc = 0;
	socklen_t len = sizeof(rc);

	if (t->greeted) {
		read_answer(c, t);
		return;
	}
	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(t->fd.fd, SOL_SOCKET, SO_ERROR, &rc, &len) || rc)
		lose(c, t, rc ? -rc : -errno);
	else
		greet(c, t);
}

void sl_tcp_dial_tick(struct sl_conn *c, int64_t now)
{
	struct tcp_ask *a = &c->ask;

	for (unsigned i = 0; i < TCP_ADDRS && a->state == ASK_DIALING; i++) {
		if (a->tries[i].fd.fd < 0)
			continue;
		if (now >= a->tries[i].until)
			lose(c, &a->tries[i], -ETIMEDOUT);
		else
			sl_tcp_call_by(c->dom, a->tries[i].until);
	}
	if (a->state != ASK_DIALING)
		return;
	if (now < a->dial_until)
		sl_tcp_call_by(c->dom, a->dial_until);
	else if (a->taken)
		lost_race(c);
	else
		dial_more(c);
}
