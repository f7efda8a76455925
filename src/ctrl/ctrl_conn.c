/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctrl/ctrl_conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "ctrl/ctrl_lookup.h"

enum { PIECE = 16 << 10 };

enum phase { CLOSED, LOOKING_UP, DIALLING, ASKING, KEPT };

struct sl_conn {
	const struct sl_conn_place *place;
	enum phase phase;
	int fd;
	struct sl_tls_conn *tls;
	struct event *readable, *writable; /* of FD; NULL: none */
	struct event *timer;               /* of the question, and of one address */
	struct sl_lookup *lookup;
	struct addrinfo *list, *at; /* AT is being dialled */
	struct evbuffer *out;
	struct sl_answer answer;
	bool was_kept, heard; /* a byte of the answer */
	bool mute;            /* the server takes no more, but may have answered */
	bool begun;           /* to say it */
	int64_t until_ns;
	sl_conn_done *done;
	void *arg;
	char why[256];
};

static void dial(struct sl_conn *c);

static void hang_up(struct sl_conn *c)
{
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	c->readable = c->writable = NULL;
	sl_tls_drop(c->tls);
	c->tls = NULL;
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	c->phase = CLOSED;
}

static void drop_list(struct sl_conn *c)
{
	if (c->list)
		freeaddrinfo(c->list);
	c->list = c->at = NULL;
}

/* The question is over. Nothing of C is looked at after DONE. */
static void finish(struct sl_conn *c, int status, const char *why)
{
	struct sl_conn_result result = {.status = status, .why = why, .answer = &c->answer};
	struct sl_answer answer;

	(void)event_del(c->timer);
	drop_list(c);
	sl_lookup_drop(c->lookup);
	c->lookup = NULL;
	result.was_kept = status && c->was_kept && !c->heard;
	if (status || !c->answer.keep || c->mute || evbuffer_get_length(c->out))
		hang_up(c); /* also where it answered before it had the whole question */
	else
		c->phase = KEPT;
	(void)evbuffer_drain(c->out, evbuffer_get_length(c->out));
	answer = c->answer;
	memset(&c->answer, 0, sizeof(c->answer));
	result.answer = &answer;
	c->done(c->arg, &result);
	sl_answer_clear(&answer);
}

/* --- bytes */

/* N is what TLS, or the socket, says in place of bytes. */
static void broke(struct sl_conn *c, ssize_t n)
{
	int status = -ECONNRESET;

	if (n == -EPROTO && c->tls) {
		status = sl_tls_why(c->tls, c->why, sizeof(c->why));
		finish(c, status, c->why);
		return;
	}
	finish(c, c->was_kept ? status : -ECONNREFUSED,
	       c->heard ? "hung up within its answer" : "hung up without an answer");
}

static void take(struct sl_conn *c, const char *bytes, size_t len)
{
	size_t used;
	int rc = sl_answer_feed(&c->answer, bytes, len, &used);

	c->heard = true;
	if (rc == 1) {
		c->answer.keep = c->answer.keep && used == len; /* nobody asked for more */
		finish(c, 0, NULL);
	} else if (rc == -EMSGSIZE) {
		finish(c, -EPROTO, "sent a longer answer than is accepted");
	} else if (rc == -ENOMEM) {
		finish(c, -ENOMEM, "sent an answer for which there is no memory");
	} else if (rc < 0) {
		finish(c, -EPROTO, "does not speak HTTP");
	}
}

/* Send what waits. Whether TLS or the socket wants to know when there is room. */
static bool flush_out(struct sl_conn *c)
{
	while (!c->mute && evbuffer_get_length(c->out)) {
		struct evbuffer_iovec piece;
		ssize_t n;

		(void)evbuffer_peek(c->out, -1, NULL, &piece, 1);
		n = sl_tls_send(c->tls, c->fd, piece.iov_base, piece.iov_len);
		if (n > 0) {
			(void)evbuffer_drain(c->out, (size_t)n);
		} else if (sl_tls_is_later(n)) {
			return n == -EINPROGRESS || !c->tls;
		} else if (n == -EPROTO) {
			broke(c, n);
			return false;
		} else {
			c->mute = true;
		}
	}
	return false;
}

/* Whether TLS wants to know when there is room. */
static bool drain_in(struct sl_conn *c)
{
	while (c->phase == ASKING) {
		char bytes[PIECE];
		ssize_t n = sl_tls_recv(c->tls, c->fd, bytes, sizeof(bytes));

		if (n > 0)
			take(c, bytes, (size_t)n);
		else if (sl_tls_is_later(n))
			return n == -EINPROGRESS;
		else if (n == 0 && sl_answer_end(&c->answer))
			finish(c, 0, NULL);
		else
			broke(c, n);
	}
	return false;
}

/* Nobody has asked for anything: only the end of it, or what TLS has to say to itself. */
static void look_at_kept(struct sl_conn *c)
{
	char bytes[64];

	if (!sl_tls_is_later(sl_tls_recv(c->tls, c->fd, bytes, sizeof(bytes))))
		hang_up(c);
}

/*
 * Sending comes last: over TLS a read may end the handshake, and what waits for that can go then;
 * a send leaves nothing behind that would have to be read at once.
 */
static void move_bytes(struct sl_conn *c)
{
	bool wants_room;

	if (c->phase == KEPT) {
		look_at_kept(c);
		return;
	}
	wants_room = drain_in(c);
	if (c->phase == ASKING)
		wants_room = flush_out(c) || wants_room;
	if (c->phase == ASKING && wants_room)
		(void)event_add(c->writable, NULL);
}

/* The first bytes of a question: there can be no answer yet. */
static void begin_sending(struct sl_conn *c)
{
	c->begun = true;
	if (flush_out(c) && c->phase == ASKING)
		(void)event_add(c->writable, NULL);
}

/* --- to the server */

static void set_timer(struct sl_conn *c, int64_t ns)
{
	struct timeval tv = {.tv_sec = (time_t)(ns / SL_NS_PER_S),
	                     .tv_usec = (suseconds_t)(ns % SL_NS_PER_S / 1000)};

	(void)event_add(c->timer, &tv);
}

static int64_t left_ns(const struct sl_conn *c)
{
	int64_t left = c->until_ns - sl_clock_ns();

	return left > 0 ? left : 0;
}

static void begin_asking(struct sl_conn *c)
{
	drop_list(c);
	set_timer(c, left_ns(c));
	if (c->place->tls) {
		c->tls = sl_tls_connect(c->place->tls, c->fd, c->place->host);
		if (!c->tls) {
			finish(c, -ENOMEM, "could not be asked: no memory for TLS");
			return;
		}
	}
	c->phase = ASKING;
	(void)event_add(c->readable, NULL);
	begin_sending(c);
}

/* AT cannot be dialled: the next one. */
static void dial_next(struct sl_conn *c, int error)
{
	char name[64];

	hang_up(c);
	c->at = c->at->ai_next;
	if (c->at) {
		dial(c);
		return;
	}
	(void)snprintf(c->why, sizeof(c->why), "cannot be reached: %s",
	               sl_error_name(-error, name, sizeof(name)));
	finish(c, error == ETIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED,
	       error == ECONNREFUSED ? NULL : c->why);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	move_bytes(arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct sl_conn *c = arg;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)what;
	if (c->phase == ASKING && !c->begun) {
		begin_sending(c);
		return;
	}
	if (c->phase != DIALLING) {
		move_bytes(c);
		return;
	}
	(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error)
		dial_next(c, error);
	else
		begin_asking(c);
}

/* AT has its part of the time that is left. */
static void limit_dialling(struct sl_conn *c)
{
	int64_t n = 0;

	for (const struct addrinfo *i = c->at; i; i = i->ai_next)
		n++;
	set_timer(c, left_ns(c) / n);
}

static void dial(struct sl_conn *c)
{
	int one = 1;

	c->phase = DIALLING;
	c->fd = socket(c->at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		dial_next(c, errno);
		return;
	}
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->readable = event_new(c->place->loop, c->fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(c->place->loop, c->fd, EV_WRITE, on_writable, c);
	if (!c->readable || !c->writable) {
		finish(c, -ENOMEM, "could not be asked: no memory");
		return;
	}
	if (connect(c->fd, c->at->ai_addr, c->at->ai_addrlen) && errno != EINPROGRESS) {
		dial_next(c, errno);
		return;
	}
	(void)event_add(c->writable, NULL);
	limit_dialling(c);
}

static void on_addresses(void *arg, struct addrinfo *list, const char *why)
{
	struct sl_conn *c = arg;

	c->lookup = NULL;
	if (!list) {
		(void)snprintf(c->why, sizeof(c->why), "%s", why);
		finish(c, -ECONNREFUSED, c->why);
		return;
	}
	c->list = c->at = list;
	dial(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sl_conn *c = arg;

	(void)fd;
	(void)what;
	if (c->phase == DIALLING && c->at->ai_next)
		dial_next(c, ETIMEDOUT);
	else
		finish(c, -ETIMEDOUT, "did not answer in time");
}

struct sl_conn *sl_conn_create(const struct sl_conn_place *place)
{
	struct sl_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->place = place;
	c->fd = -1;
	c->out = evbuffer_new();
	c->timer = event_new(place->loop, -1, 0, on_timer, c);
	if (!c->out || !c->timer) {
		sl_conn_destroy(c);
		return NULL;
	}
	return c;
}

void sl_conn_destroy(struct sl_conn *c)
{
	hang_up(c);
	drop_list(c);
	sl_lookup_drop(c->lookup);
	sl_answer_clear(&c->answer);
	if (c->timer)
		event_free(c->timer);
	if (c->out)
		evbuffer_free(c->out);
	free(c);
}

int sl_conn_ask(struct sl_conn *c, struct evbuffer *request, int timeout_ms, sl_conn_done *done,
                void *arg)
{
	bool kept = c->phase == KEPT;

	if (evbuffer_add_buffer(c->out, request))
		return -ENOMEM;
	if (!kept) {
		c->lookup = sl_lookup_start(c->place->loop, c->place->host, c->place->port,
		                            on_addresses, c);
		if (!c->lookup) {
			(void)evbuffer_drain(c->out, evbuffer_get_length(c->out));
			return -ENOMEM;
		}
		c->phase = LOOKING_UP;
	}
	c->done = done;
	c->arg = arg;
	c->was_kept = kept;
	c->heard = c->mute = c->begun = false;
	c->until_ns = sl_clock_ns() + timeout_ms * SL_NS_PER_MS;
	set_timer(c, left_ns(c));
	if (kept) {
		c->phase = ASKING;
		event_active(c->writable, EV_WRITE, 1); /* not from within */
	}
	return 0;
}
