/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *       look up, connect, AUTH, SELECT, PING         reply of PING
 *   DOWN ───────────────────────────────► GREETING ───────────────► UP
 *     ▲  timer                                │                      │
 *     └───────────────────────────────────────┴──────────────────────┘
 *          refused, closed, no answer for PATIENCE_S, an error in the greeting
 */
#include "redis_conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctrl/ctrl_lookup.h"
#include "ctrl/ctrl_tls.h"

enum { PATIENCE_S = 5, RETRY_MIN_MS = 50, RETRY_MAX_MS = 1000, READ_AT_ONCE = 65536 };

struct waiter {
	struct waiter *next;
	redis_done *done;
	void *arg;
};

struct redis_conn {
	struct redis_conn_opts opts;
	enum { DOWN, GREETING, UP } state;
	struct sl_lookup *lookup; /* while its name is looked up */
	int fd;
	struct sl_tls *trust; /* with rediss://: made when first needed */
	struct sl_tls_conn *tls;
	struct event *readable, *writable, *retry, *patience;
	struct evbuffer *out;
	struct redis_words head; /* of the command that is being written */
	redisReader *reader;
	struct waiter *waiting, **last;
	int retry_ms;
	bool closing;
	char reason[300];
};

static void forget_lookup(struct redis_conn *c)
{
	sl_lookup_drop(c->lookup);
	c->lookup = NULL;
}

static void forget_socket(struct redis_conn *c)
{
	forget_lookup(c);
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	c->readable = c->writable = NULL;
	sl_tls_close(c->tls);
	c->tls = NULL;
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	redisReaderFree(c->reader);
	c->reader = NULL;
	(void)evbuffer_drain(c->out, evbuffer_get_length(c->out));
	(void)event_del(c->patience);
}

/* Tell all that wait; what they send meanwhile is refused. */
static void fail_waiting(struct redis_conn *c)
{
	struct waiter *w = c->waiting;

	c->waiting = NULL;
	c->last = &c->waiting;
	while (w) {
		struct waiter *next = w->next;

		w->done(w->arg, NULL, c->reason);
		free(w);
		w = next;
	}
}

__attribute__((format(printf, 2, 3))) static void lose(struct redis_conn *c, const char *fmt, ...)
{
	struct timeval tv = {c->retry_ms / 1000, c->retry_ms % 1000 * 1000};
	char place[400], what[200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	(void)snprintf(c->reason, sizeof(c->reason), "Redis at %.120s: %.160s",
	               redis_url_place(&c->opts.url, place, sizeof(place)), what);
	c->state = DOWN;
	forget_socket(c);
	fail_waiting(c);
	if (c->closing)
		return;
	(void)event_add(c->retry, &tv);
	c->retry_ms = 2 * c->retry_ms > RETRY_MAX_MS ? RETRY_MAX_MS : 2 * c->retry_ms;
	c->opts.down(c->opts.arg, c->reason);
}

static void expect_answer(struct redis_conn *c)
{
	static const struct timeval patience = {.tv_sec = PATIENCE_S};

	if (c->waiting)
		(void)event_add(c->patience, &patience);
	else
		(void)event_del(c->patience);
}

/* The bytes of a command into OUT, all or none. */
static int write_command(struct redis_conn *c, int argc, const char *const *argv,
                         const struct redis_words *more)
{
	struct redis_words *head = &c->head;
	char count[16];
	int n = snprintf(count, sizeof(count), "*%d\r\n", argc + (more ? more->n : 0));
	size_t len;

	redis_words_empty(head);
	for (int i = 0; i < argc; i++)
		redis_words_add_text(head, argv[i]);
	len = (size_t)n + head->len + (more ? more->len : 0);
	if (head->broken || (more && more->broken) || evbuffer_expand(c->out, len))
		return -ENOMEM;
	(void)evbuffer_add(c->out, count, (size_t)n);
	(void)evbuffer_add(c->out, head->bytes, head->len);
	if (more)
		(void)evbuffer_add(c->out, more->bytes, more->len);
	return 0;
}

static int send_any(struct redis_conn *c, int argc, const char *const *argv,
                    const struct redis_words *more, redis_done *done, void *arg)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w || write_command(c, argc, argv, more)) {
		free(w);
		return -ENOMEM;
	}
	w->done = done;
	w->arg = arg;
	if (!c->waiting)
		c->last = &c->waiting;
	*c->last = w;
	c->last = &w->next;
	if (c->waiting == w)
		expect_answer(c);
	(void)event_add(c->writable, NULL);
	return 0;
}

/* The greeting. */

static void on_greeted(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_conn *c = arg;

	(void)reason;
	if (reply && reply->type != REDIS_REPLY_ERROR && c->state == GREETING) {
		c->state = UP;
		c->retry_ms = RETRY_MIN_MS;
		c->opts.up(c->opts.arg);
	}
}

/* An error to AUTH and the like is kept for on_readable(), which may end the connection. */
static void on_step(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_conn *c = arg;

	(void)reason;
	if (reply && reply->type == REDIS_REPLY_ERROR && !*c->reason)
		(void)snprintf(c->reason, sizeof(c->reason), "%.200s", reply->str);
}

static void on_ping(void *arg, const redisReply *reply, const char *reason)
{
	on_step(arg, reply, reason);
	if (!*((struct redis_conn *)arg)->reason)
		on_greeted(arg, reply, reason);
}

static int greet(struct redis_conn *c)
{
	const struct redis_url *url = &c->opts.url;
	const char *argv[3] = {"AUTH", url->user, url->password};
	char db[16];
	int rc = 0;

	c->state = GREETING;
	*c->reason = '\0';
	if (*url->password && *url->user) {
		rc = send_any(c, 3, argv, NULL, on_step, c);
	} else if (*url->password) {
		argv[1] = url->password;
		rc = send_any(c, 2, argv, NULL, on_step, c);
	}
	if (!rc && url->db) {
		(void)snprintf(db, sizeof(db), "%d", url->db);
		argv[0] = "SELECT";
		argv[1] = db;
		rc = send_any(c, 2, argv, NULL, on_step, c);
	}
	argv[0] = "PING";
	return rc ? rc : send_any(c, 1, argv, NULL, on_ping, c);
}

/* Bytes. */

/* As much of OUT as goes. A peer that is gone is an error, not a signal. */
static ssize_t write_some(struct redis_conn *c, int fd)
{
	struct evbuffer_iovec piece[16];
	int n = evbuffer_peek(c->out, -1, NULL, piece, 16);
	struct iovec iov[16];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)(n < 16 ? n : 16)};
	ssize_t sent;

	for (size_t i = 0; i < msg.msg_iovlen; i++)
		iov[i] = (struct iovec){piece[i].iov_base, piece[i].iov_len};
	if (c->tls)
		sent = sl_tls_send(c->tls, fd, iov[0].iov_base, iov[0].iov_len);
	else if ((sent = sendmsg(fd, &msg, MSG_NOSIGNAL)) < 0)
		sent = -errno;
	if (sent > 0)
		(void)evbuffer_drain(c->out, (size_t)sent);
	return sent;
}

static void lose_for(struct redis_conn *c, ssize_t error)
{
	char reason[160];

	if (error == -EPROTO && c->tls)
		lose(c, "no TLS: %s", sl_tls_reason(reason, sizeof(reason)));
	else
		lose(c, "%s", strerror((int)-error));
}

/* What -EAGAIN means for a write: TLS, which shakes hands first, may wait for something to read. */
static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct redis_conn *c = arg;

	(void)what;
	while (evbuffer_get_length(c->out)) {
		ssize_t n = write_some(c, (int)fd);

		if (n >= 0)
			continue;
		if (n == -EINPROGRESS || n == -EINTR || (n == -EAGAIN && !c->tls))
			(void)event_add(c->writable, NULL);
		else if (n != -EAGAIN)
			lose_for(c, n);
		return;
	}
}

/* The first that waits gets REPLY. */
static void deliver(struct redis_conn *c, const redisReply *reply)
{
	struct waiter *w = c->waiting;

	c->waiting = w->next;
	if (!c->waiting)
		c->last = &c->waiting;
	w->done(w->arg, reply, NULL);
	free(w);
}

/* False: the connection is over. */
static bool take_replies(struct redis_conn *c)
{
	void *reply = NULL;

	for (;;) {
		if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
			lose(c, "this is no Redis: %s", c->reader->errstr);
			return false;
		}
		if (!reply)
			return true;
		if (!c->waiting) {
			freeReplyObject(reply);
			lose(c, "an answer that nobody asked for");
			return false;
		}
		deliver(c, reply);
		freeReplyObject(reply);
		if (c->state == GREETING && *c->reason) {
			char reason[200];

			(void)snprintf(reason, sizeof(reason), "%.190s", c->reason);
			lose(c, "%s", reason);
			return false;
		}
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct redis_conn *c = arg;
	char bytes[READ_AT_ONCE]; /* more than a record of TLS, so nothing stays behind in there */
	ssize_t n = sl_tls_recv(c->tls, (int)fd, bytes, sizeof(bytes));

	(void)what;
	if (c->tls && evbuffer_get_length(c->out))
		(void)event_add(c->writable, NULL);
	if (sl_tls_is_later(n))
		return;
	if (n < 0) {
		lose_for(c, n);
		return;
	}
	if (n == 0) {
		lose(c, "it closed the connection");
		return;
	}
	if (redisReaderFeed(c->reader, bytes, (size_t)n) != REDIS_OK) {
		lose(c, "no memory for its answer");
		return;
	}
	if (take_replies(c))
		expect_answer(c);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	lose(arg, "no answer for %d s", PATIENCE_S);
}

/* Connecting. */

static int open_unix(const struct redis_url *url)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	memcpy(addr.sun_path, url->path, sizeof(url->path));
	if (!connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) || errno == EINPROGRESS)
		return fd;
	rc = -errno;
	(void)close(fd);
	return rc;
}

static int open_address(const struct addrinfo *at)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, rc;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (!connect(fd, at->ai_addr, at->ai_addrlen) || errno == EINPROGRESS)
		return fd;
	rc = -errno;
	(void)close(fd);
	return rc;
}

/* -errno after the connection was lost for it. */
static int begin_tls(struct redis_conn *c)
{
	struct slime_error err;
	int rc = c->trust ? 0 : sl_tls_create_client(NULL, NULL, NULL, &c->trust, &err);

	if (rc < 0) {
		lose(c, "%s", err.text);
		return rc;
	}
	c->tls = sl_tls_connect(c->trust, c->fd, c->opts.url.host);
	if (!c->tls) {
		lose(c, "no memory for TLS");
		return -ENOMEM;
	}
	return 0;
}

/* FD: a socket that connects, or why there is none. */
static void go_on(struct redis_conn *c, int fd)
{
	if (fd < 0) {
		lose(c, "%s", strerror(-fd));
		return;
	}
	c->fd = fd;
	if (c->opts.url.tls && begin_tls(c) < 0)
		return;
	c->reader = redisReaderCreate();
	c->readable = event_new(c->opts.loop, c->fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(c->opts.loop, c->fd, EV_WRITE, on_writable, c);
	if (!c->reader || !c->readable || !c->writable || event_add(c->readable, NULL) || greet(c))
		lose(c, "no memory for a connection");
}

static void on_looked_up(void *arg, struct addrinfo *list, const char *why)
{
	struct redis_conn *c = arg;
	int fd = -EHOSTUNREACH;

	c->lookup = NULL; /* it is over */
	if (!list) {
		lose(c, "%s", why);
		return;
	}
	for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
		fd = open_address(at);
	freeaddrinfo(list);
	go_on(c, fd);
}

static void connect_now(struct redis_conn *c)
{
	const struct redis_url *url = &c->opts.url;

	if (!*url->host) {
		go_on(c, open_unix(url));
		return;
	}
	c->lookup = sl_lookup_start(c->opts.loop, url->host, (unsigned)strtoul(url->port, NULL, 10),
	                            on_looked_up, c);
	if (!c->lookup)
		lose(c, "no thread to look its name up");
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	connect_now(arg);
}

struct redis_conn *redis_conn_create(const struct redis_conn_opts *opts)
{
	static const struct timeval now = {0};
	struct redis_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->opts = *opts;
	c->fd = -1;
	c->last = &c->waiting;
	c->retry_ms = RETRY_MIN_MS;
	c->out = evbuffer_new();
	c->retry = evtimer_new(opts->loop, on_retry, c);
	c->patience = evtimer_new(opts->loop, on_patience, c);
	if (c->out && c->retry && c->patience && !event_add(c->retry, &now))
		return c;
	redis_conn_destroy(c);
	return NULL;
}

void redis_conn_destroy(struct redis_conn *c)
{
	if (!c)
		return;
	c->closing = true;
	if (c->out && c->retry && c->patience)
		lose(c, "the daemon ends");
	if (c->retry)
		event_free(c->retry);
	if (c->patience)
		event_free(c->patience);
	if (c->out)
		evbuffer_free(c->out);
	redis_words_free(&c->head);
	sl_tls_destroy(c->trust);
	free(c);
}

bool redis_conn_is_up(const struct redis_conn *c)
{
	return c->state == UP;
}

int redis_conn_send(struct redis_conn *c, int argc, const char *const *argv,
                    const struct redis_words *more, redis_done *done, void *arg)
{
	return c->state == UP ? send_any(c, argc, argv, more, done, arg) : -EAGAIN;
}
