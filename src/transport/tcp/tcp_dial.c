/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/tcp/sl_tcp_dial.c - from an address of the peer's to an asking half that is up. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "transport/tcp/tcp_impl.h"

/* For one address; the peer has some. */
static const int64_t dial_ns = 2 * SL_NS_PER_S;

void sl_tcp_quick(int fd)
{
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
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
	c->ask.state = ASK_IDLE;
}

static void unreachable(struct sl_conn *c, const char *where, int rc)
{
	char text[200], buf[64];

	(void)snprintf(text, sizeof(text), "the peer cannot be reached at %s: %s",
	               c->name[0] ? c->name : where, sl_error_name(rc, buf, sizeof(buf)));
	sl_tcp_fail(c, rc, text);
}

void sl_tcp_dial(struct sl_conn *c, int rc)
{
	char where[80] = "no address";
	const struct sl_conn *peer = tcp_peer_addrs(c);

	sl_tcp_unwatch(c->dom, &c->ask.fd);
	for (; c->ask.addr < peer->naddrs; c->ask.addr++) {
		const struct tcp_addr *a = &peer->addr[c->ask.addr];
		int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		sl_tcp_addr_text(a, where, sizeof(where));
		if (fd < 0) {
			rc = -errno;
			continue;
		}
		sl_tcp_quick(fd);
		if (connect(fd, (const struct sockaddr *)&a->sa, a->len) && errno != EINPROGRESS) {
			rc = -errno;
			(void)close(fd);
			continue;
		}
		c->ask.fd.fd = fd;
		c->ask.state = ASK_DIALING;
		c->ask.rx.n = 0; /* what a stranger at the address before this one said */
		c->ask.dial_until = sl_clock_ns() + dial_ns;
		(void)snprintf(c->name, sizeof(c->name), "%s", where);
		sl_tcp_watch(c->dom, &c->ask.fd, EPOLLOUT);
		sl_tcp_tick_by(c->dom, c->ask.dial_until);
		return;
	}
	unreachable(c, where, rc ? rc : -EHOSTUNREACH);
}

void sl_tcp_dial_next(struct sl_conn *c, int rc)
{
	c->ask.addr++;
	sl_tcp_dial(c, rc);
}

/* The socket is connected: say who we are. It has room for so little. */
static void greet(struct sl_conn *c)
{
	uint8_t hello[TCP_HELLO_LEN];
	ssize_t n;

	sl_tcp_put_hello(hello,
	                 &(struct tcp_hello){.to = c->peer, .from = c->me, .resume = c->resuming});
	n = send(c->ask.fd.fd, hello, sizeof(hello), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n != (ssize_t)sizeof(hello)) {
		sl_tcp_dial_next(c, n < 0 ? -errno : -EIO);
		return;
	}
	c->ask.state = ASK_GREETING;
	c->ask.dial_until = SL_NEVER; /* the peer may call connect() much later */
	sl_tcp_watch(c->dom, &c->ask.fd, EPOLLIN);
}

void sl_tcp_note_ready_locked(struct sl_conn *c)
{
	if (c->ask.state == ASK_UP && c->serve.fd.fd >= 0)
		c->was_ready = true;
}

static void asking_up(struct sl_conn *c, const struct tcp_answer *answer)
{
	c->ask.state = ASK_UP;
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

static void read_answer(struct sl_conn *c)
{
	ssize_t n = recv(c->ask.fd.fd, c->ask.rx.buf + c->ask.rx.n, TCP_ANSWER_LEN - c->ask.rx.n,
	                 MSG_DONTWAIT);
	struct tcp_answer answer;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		sl_tcp_dial_next(c, n < 0 ? -errno : -ECONNREFUSED);
		return;
	}
	c->ask.rx.n += (unsigned)n;
	if (c->ask.rx.n < TCP_ANSWER_LEN)
		return;
	c->ask.rx.n = 0;
	if (sl_tcp_get_answer(c->ask.rx.buf, &answer))
		sl_tcp_dial_next(c, -EPROTO);
	else if (answer.status ==
	         -EACCES) /* another process has that address by now, or is it another host? */
		sl_tcp_dial_next(c, -ECONNREFUSED);
	else if (answer.status == -EISCONN)
		sl_tcp_fail(c, -ECONNREFUSED, "the peer's endpoint has another peer");
	else if (answer.status)
		sl_tcp_fail(c, answer.status, "the peer refused the connection");
	else
		asking_up(c, &answer);
}

void sl_tcp_dial_event(struct sl_conn *c, uint32_t events)
{
	int rc = 0;
	socklen_t len = sizeof(rc);

	if (c->ask.state == ASK_GREETING) {
		read_answer(c);
		return;
	}
	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(c->ask.fd.fd, SOL_SOCKET, SO_ERROR, &rc, &len) || rc)
		sl_tcp_dial_next(c, rc ? -rc : -errno);
	else
		greet(c);
}
