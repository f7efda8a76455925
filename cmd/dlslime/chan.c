/* SPDX-License-Identifier: BSD-3-Clause */
#include "chan.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "say.h"

enum { HEAD_LEN = 5 };

int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* 0 when FD is ready, -ETIMEDOUT when DEADLINE passed. */
static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		int64_t left = deadline - now_ns();
		int n = poll(&p, 1,
		             left <= 0              ? 0
		             : left > 3600000000000 ? 3600000
		                                    : (int)(left / 1000000 + 1));

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0 && left <= 0)
			return -ETIMEDOUT;
	}
}

void chan_adopt(struct chan *c, int fd)
{
	int one = 1;

	c->fd = fd;
	c->have = 0;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

void chan_close(struct chan *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

static int connect_one(const struct addrinfo *ai, int64_t deadline)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc = 0;
	int so_error = 0;
	socklen_t len = sizeof(so_error);

	if (fd < 0)
		return -errno;
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		rc = errno == EINPROGRESS ? wait_for(fd, POLLOUT, deadline) : -errno;
	if (rc == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &so_error, &len) == 0)
		rc = -so_error;
	if (rc < 0) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

static int send_all(int fd, const uint8_t *p, size_t len, int64_t deadline)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n >= 0) {
			p += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EAGAIN) {
			int rc = wait_for(fd, POLLOUT, deadline);

			if (rc < 0)
				return rc;
		} else if (errno != EINTR) {
			return errno == EPIPE ? -ECONNRESET : -errno;
		}
	}
	return 0;
}

int chan_dial(struct chan *c, const struct address *at, const void *hello, size_t len,
              int64_t timeout_ns, struct slime_error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	int64_t deadline = now_ns() + timeout_ns;
	struct addrinfo *list;
	char text[HOST_MAX + 16];
	char port[8];
	char name[64];
	int fd = -EHOSTUNREACH;
	int rc;

	c->fd = -1;
	(void)snprintf(port, sizeof(port), "%u", at->port);
	rc = getaddrinfo(at->host, port, &hints, &list);
	if (rc)
		return refuse(err, -EHOSTUNREACH, "'%s' is not a host that can be found: %s",
		              at->host, gai_strerror(rc));
	for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = connect_one(ai, deadline);
	freeaddrinfo(list);
	if (fd < 0)
		return refuse(err, fd, "cannot connect to %s: %s",
		              address_format(at, text, sizeof(text)),
		              errno_name(fd, name, sizeof(name)));
	chan_adopt(c, fd);
	rc = send_all(fd, hello, len, deadline);
	if (rc == 0)
		return 0;
	chan_close(c);
	return refuse(err, rc, "%s hung up: %s", address_format(at, text, sizeof(text)),
	              errno_name(rc, name, sizeof(name)));
}

int chan_send(struct chan *c, const struct msg *m, int64_t timeout_ns, struct slime_error *err)
{
	uint8_t frame[HEAD_LEN + MSG_BYTES_MAX];
	uint32_t len = m->len + 1;
	char name[64];
	int rc;

	if (m->bad)
		return refuse(err, -EMSGSIZE, "a message does not fit %d bytes", MSG_BYTES_MAX);
	for (unsigned i = 0; i < 4; i++)
		frame[i] = (uint8_t)(len >> (8 * i));
	frame[4] = m->type;
	memcpy(frame + HEAD_LEN, m->bytes, m->len);
	rc = send_all(c->fd, frame, HEAD_LEN + m->len, now_ns() + timeout_ns);
	if (rc < 0)
		return refuse(err, rc, "the other end does not take our messages: %s",
		              errno_name(rc, name, sizeof(name)));
	return 0;
}

/* Move the first frame of C->in to M. 0: it is not all there yet. */
static int take_frame(struct chan *c, struct msg *m)
{
	uint32_t len = 0;

	if (c->have < 4)
		return 0;
	for (unsigned i = 0; i < 4; i++)
		len |= (uint32_t)c->in[i] << (8 * i);
	if (len < 1 || len > 1 + MSG_BYTES_MAX)
		return -EPROTO;
	if (c->have < 4 + len)
		return 0;
	msg_begin(m, c->in[4]);
	m->len = len - 1;
	memcpy(m->bytes, c->in + HEAD_LEN, m->len);
	c->have -= 4 + len;
	memmove(c->in, c->in + 4 + len, c->have);
	return 1;
}

int chan_recv(struct chan *c, struct msg *m, int64_t timeout_ns, struct slime_error *err)
{
	int64_t deadline = now_ns() + timeout_ns;
	char name[64];

	for (;;) {
		int rc = take_frame(c, m);
		ssize_t n;

		if (rc > 0)
			return 0;
		if (rc < 0)
			return refuse(err, rc, "the other end does not speak our protocol");
		n = recv(c->fd, c->in + c->have, sizeof(c->in) - c->have, 0);
		if (n > 0) {
			c->have += (uint32_t)n;
			continue;
		}
		if (n == 0)
			return refuse(err, -ECONNRESET, "the other end hung up");
		if (errno == EINTR)
			continue;
		rc = errno == EAGAIN ? wait_for(c->fd, POLLIN, deadline) : -errno;
		if (rc == -ETIMEDOUT)
			return refuse(err, rc, "the other end has been silent for %.3g s",
			              (double)timeout_ns / 1e9);
		if (rc < 0)
			return refuse(err, rc, "the other end is gone: %s",
			              errno_name(rc, name, sizeof(name)));
	}
}

void chan_send_error(struct chan *c, const struct slime_error *why)
{
	struct msg m;

	msg_begin(&m, MSG_ERROR);
	put_uint(&m, (uint64_t)-why->code, 4);
	put_text(&m, why->text);
	(void)chan_send(c, &m, 1000000000, NULL);
}

int chan_expect(struct chan *c, struct msg *m, uint8_t want, uint8_t skip, int64_t timeout_ns,
                struct slime_error *err)
{
	struct slime_error said = {0};
	uint64_t code;
	int rc;

	c->said = false;
	do {
		rc = chan_recv(c, m, timeout_ns, err);
		if (rc < 0)
			return rc;
		if (m->type == want)
			return 0;
	} while (m->type == skip);
	if (m->type != MSG_ERROR)
		return refuse(err, -EPROTO, "the other end answered with message %u, not %u",
		              m->type, want);
	code = get_uint(m, 4);
	get_text(m, said.text, sizeof(said.text));
	if (!msg_ok(m) || code == 0 || code > 4095)
		return refuse(err, -EPROTO, "the other end sent an error that cannot be read");
	c->said = true;
	return refuse(err, -(int)code, "%s", said.text);
}

int chan_both_sides(struct chan *c, int rc, uint8_t skip, struct slime_error *err)
{
	struct slime_error theirs = {0};
	struct msg m;

	/* no message is of type 0 */
	(void)chan_expect(c, &m, 0, skip, 1000000000, &theirs);
	if (!c->said || strcmp(theirs.text, err->text) == 0)
		return rc;
	return refuse(err, rc, "%.120s (the server: %.110s)", err->text, theirs.text);
}
