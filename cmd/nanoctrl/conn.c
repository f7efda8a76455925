/* SPDX-License-Identifier: BSD-3-Clause */
#include "conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_conn.h"
#include "server.h"

/* While a call is worked on, so much of what the client sends behind it is read ahead. */
enum { AHEAD_MAX = 64 * 1024 };

void conn_enter(struct conn *conn, enum conn_phase phase)
{
	TAILQ_REMOVE(&conn->server->phase[conn->phase], conn, in_phase);
	TAILQ_INSERT_TAIL(&conn->server->phase[phase], conn, in_phase);
	conn->phase = phase;
	conn->since_ns = now_ns();
}

void conn_kill(struct conn *conn)
{
	struct call *call = conn->call;
	bool running = conn->phase == CONN_WORKING;

	if (conn->phase == CONN_DEAD)
		return;
	conn_enter(conn, CONN_DEAD);
	conn->call = NULL;
	http_end(conn);
	(void)event_del(&conn->readable);
	(void)event_del(&conn->writable);
	sl_tls_close(conn->tls);
	conn->tls = NULL;
	(void)close(conn->fd);
	server_bury(conn->server);
	if (call && running)
		call_abandon(call);
	else
		call_destroy(call);
}

void conn_free(struct conn *conn)
{
	TAILQ_REMOVE(&conn->server->phase[conn->phase], conn, in_phase);
	text_free(&conn->ahead);
	if (conn->out)
		evbuffer_free(conn->out);
	free(conn);
}

static void resume_reading(struct conn *conn)
{
	if (event_pending(&conn->readable, EV_READ, NULL))
		return;
	(void)event_add(&conn->readable, NULL);
	if (conn->tls) /* OpenSSL may hold bytes that the kernel no longer has */
		event_active(&conn->readable, EV_READ, 0);
}

/* So that the client reads our last answer, which a reset would destroy, let it end first. */
static void linger(struct conn *conn)
{
	if (conn->ended) {
		conn_kill(conn);
		return;
	}
	conn_enter(conn, CONN_LINGERING);
	sl_tls_close(conn->tls);
	conn->tls = NULL;
	(void)shutdown(conn->fd, SHUT_WR);
	resume_reading(conn);
}

static void feed_ahead(struct conn *conn)
{
	size_t used = http_feed(conn, conn->ahead.bytes, conn->ahead.len);

	conn->ahead.len -= used;
	if (conn->ahead.len)
		memmove(conn->ahead.bytes, conn->ahead.bytes + used, conn->ahead.len);
	else
		text_free(&conn->ahead);
}

void conn_answered(struct conn *conn)
{
	if (conn->phase == CONN_DEAD)
		return;
	if (conn_backlog(conn)) {
		conn_enter(conn, CONN_WRITING);
		return;
	}
	if (conn->last) {
		linger(conn);
		return;
	}
	conn_enter(conn, CONN_IDLE);
	if (conn->feeding)
		return;
	if (conn->ahead.len)
		feed_ahead(conn);
	if (conn->phase != CONN_IDLE && conn->phase != CONN_READING)
		return;
	if (conn->ended)
		conn_kill(conn);
	else
		resume_reading(conn);
}

static void take(struct conn *conn, const char *bytes, size_t len)
{
	size_t used = 0;

	if (conn->phase == CONN_LINGERING)
		return;
	if (conn->phase == CONN_IDLE || conn->phase == CONN_READING)
		used = http_feed(conn, bytes, len);
	if (conn->phase == CONN_DEAD || conn->phase == CONN_LINGERING || used == len)
		return;
	if (text_add(&conn->ahead, bytes + used, len - used, SIZE_MAX) < 0)
		conn_kill(conn);
	else if (conn->ahead.len >= AHEAD_MAX)
		(void)event_del(&conn->readable);
}

/* The peer will send no more. What it has asked for is still answered, unless it must be waited
 * for: then it has hung up. */
static void end_of_input(struct conn *conn)
{
	conn->ended = true;
	(void)event_del(&conn->readable);
	if (conn->phase == CONN_WRITING)
		return;
	if (conn->phase == CONN_WORKING && !conn->call->streaming && !call_waits(conn->call))
		return;
	conn_kill(conn);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	struct server *server = conn->server;
	ssize_t n;

	(void)fd;
	(void)what;
	do {
		n = sl_tls_recv(conn->tls, conn->fd, server->scratch, sizeof(server->scratch));
		if (n > 0)
			take(conn, server->scratch, (size_t)n);
	} while (n > 0 && conn->tls && event_pending(&conn->readable, EV_READ, NULL));
	if (n == -EINPROGRESS)
		(void)event_add(&conn->writable, NULL);
	else if (n == 0)
		end_of_input(conn);
	else if (n < 0 && !sl_tls_is_later(n))
		conn_kill(conn);
}

/* Send what waits; whether the connection still stands. */
static bool flush_out(struct conn *conn)
{
	while (conn_backlog(conn)) {
		struct evbuffer_iovec piece;
		ssize_t n;

		(void)evbuffer_peek(conn->out, -1, NULL, &piece, 1);
		n = sl_tls_send(conn->tls, conn->fd, piece.iov_base, piece.iov_len);
		if (n < 0)
			return sl_tls_is_later(n);
		(void)evbuffer_drain(conn->out, (size_t)n);
		if (conn->phase == CONN_WRITING)
			conn_enter(conn, CONN_WRITING);
	}
	return true;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	if (conn->broken || !flush_out(conn)) {
		conn_kill(conn);
		return;
	}
	if (!conn_backlog(conn)) {
		(void)event_del(&conn->writable);
		if (conn->phase == CONN_WRITING)
			conn_answered(conn);
	}
	/* TLS may have waited for this in order to read */
	if (conn->tls && event_pending(&conn->readable, EV_READ, NULL))
		on_readable(fd, what, conn);
}

struct conn *conn_create(struct server *server, int fd, struct sl_tls_conn *tls, const char *peer)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn || event_assign(&conn->readable, server->loop, fd, EV_READ | EV_PERSIST,
	                          on_readable, conn) < 0) {
		free(conn);
		sl_tls_close(tls);
		(void)close(fd);
		return NULL;
	}
	(void)event_assign(&conn->writable, server->loop, fd, EV_WRITE | EV_PERSIST, on_writable,
	                   conn);
	conn->server = server;
	conn->fd = fd;
	conn->tls = tls;
	memcpy(conn->peer, peer, strnlen(peer, sizeof(conn->peer) - 1));
	/* TLS has to be agreed upon within the time of a request */
	conn->phase = tls ? CONN_READING : CONN_IDLE;
	conn->since_ns = now_ns();
	TAILQ_INSERT_TAIL(&server->phase[conn->phase], conn, in_phase);
	http_begin(conn);
	(void)event_add(&conn->readable, NULL);
	return conn;
}

void conn_expire(struct conn *conn)
{
	if (conn->phase == CONN_READING)
		http_time_out(conn);
	else
		conn_kill(conn);
}

size_t conn_backlog(const struct conn *conn)
{
	return conn->out ? evbuffer_get_length(conn->out) : 0;
}

/* Not closed here: who writes is in the middle of something. */
static void give_up(struct conn *conn)
{
	conn->broken = true;
	event_active(&conn->writable, EV_WRITE, 0);
}

/* What does not go out at once is for the caller to keep; SIZE_MAX: nothing more goes out. */
static size_t write_now(struct conn *conn, const char *bytes, size_t len)
{
	size_t at = 0;

	if (conn->phase == CONN_DEAD || conn->phase == CONN_LINGERING || conn->broken)
		return SIZE_MAX;
	while (at < len && !conn_backlog(conn)) {
		ssize_t n = sl_tls_send(conn->tls, conn->fd, bytes + at, len - at);

		if (n < 0 && !sl_tls_is_later(n)) {
			give_up(conn);
			return SIZE_MAX;
		}
		if (n < 0)
			break;
		at += (size_t)n;
	}
	if (at < len && !conn->out)
		conn->out = evbuffer_new();
	if (at < len && !conn->out) {
		give_up(conn);
		return SIZE_MAX;
	}
	if (at < len)
		(void)event_add(&conn->writable, NULL);
	return at;
}

void conn_write(struct conn *conn, const char *bytes, size_t len)
{
	size_t at = write_now(conn, bytes, len);

	if (at < len && evbuffer_add(conn->out, bytes + at, len - at) < 0)
		give_up(conn);
}

static void free_bytes(const void *bytes, size_t len, void *memory)
{
	(void)bytes;
	(void)len;
	free(memory);
}

void conn_write_own(struct conn *conn, char *bytes, size_t len)
{
	size_t at = write_now(conn, bytes, len);

	if (at >= len) {
		free(bytes);
	} else if (evbuffer_add_reference(conn->out, bytes + at, len - at, free_bytes, bytes) < 0) {
		free(bytes);
		give_up(conn);
	}
}
