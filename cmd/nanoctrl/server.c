/* SPDX-License-Identifier: BSD-3-Clause */
#include "server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "http_conn.h"
#include "log.h"
#include "nanoctrl.h"
#include "sentence.h"

enum {
	SWEEP_MS = 500,
	LINGER_S = 2,
	DRIP_S =
	    2, /* when full, a request may take so long before a new connection is worth more */
	BACKLOG = 1024
};

static struct conn *oldest_in(struct server *server, enum conn_phase phase, unsigned int age_s)
{
	struct conn *conn = TAILQ_FIRST(&server->phase[phase]);

	return conn && now_ns() - conn->since_ns >= (int64_t)age_s * 1000000000 ? conn : NULL;
}

static void expire_phase(struct server *server, enum conn_phase phase, unsigned int age_s)
{
	struct conn *conn;

	while ((conn = oldest_in(server, phase, age_s)) != NULL)
		conn_expire(conn);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	(void)fd;
	(void)what;
	expire_phase(server, CONN_IDLE, server->opts.idle_s);
	expire_phase(server, CONN_READING, server->opts.request_s);
	expire_phase(server, CONN_WRITING, server->opts.request_s);
	expire_phase(server, CONN_LINGERING, LINGER_S);
	for (size_t i = 0; server->paused && i < server->n_listening; i++)
		(void)evconnlistener_enable(server->listening[i].listener);
	server->paused = false;
}

void server_bury(struct server *server)
{
	event_active(server->reaper, EV_TIMEOUT, 0);
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	struct conn *conn;

	(void)fd;
	(void)what;
	while ((conn = TAILQ_FIRST(&server->phase[CONN_DEAD])) != NULL) {
		conn_free(conn);
		server->n_conns--;
	}
	if (server->draining && server->n_conns == 0 && server->drained) {
		void (*drained)(void *) = server->drained;

		server->drained = NULL;
		drained(server->drained_arg);
	}
}

int server_create(struct event_base *loop, const struct server_opts *opts, struct sl_tls *tls,
                  struct server **out, struct slime_error *err)
{
	const struct timeval interval = {.tv_usec = SWEEP_MS * 1000};
	struct server *server = calloc(1, sizeof(*server));

	if (!server)
		return refuse(err, -ENOMEM, "no memory for the server");
	for (int i = 0; i < CONN_PHASES; i++)
		TAILQ_INIT(&server->phase[i]);
	server->loop = loop;
	server->opts = *opts;
	server->sweep = event_new(loop, -1, EV_PERSIST, on_sweep, server);
	server->reaper = event_new(loop, -1, 0, on_reap, server);
	if (!server->sweep || !server->reaper || event_add(server->sweep, &interval) < 0) {
		server_destroy(server);
		return refuse(err, -ENOMEM, "no memory for the server");
	}
	server->tls = tls;
	http_init();
	*out = server;
	return 0;
}

void server_set_tls(struct server *server, struct sl_tls *tls)
{
	sl_tls_destroy(server->tls);
	server->tls = tls;
}

static void describe_peer(const struct sockaddr *address, char *out, size_t cap)
{
	char host[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	if (address->sa_family == AF_INET)
		(void)snprintf(out, cap, "%s",
		               inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host)));
	else if (address->sa_family == AF_INET6)
		(void)snprintf(out, cap, "%s",
		               inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host)));
	else
		(void)snprintf(out, cap, "unix");
}

/* Make room for one more; false: everybody is busy. */
static bool make_room(struct server *server)
{
	struct conn *conn;

	if (server->n_conns < server->opts.connection_limit)
		return true;
	conn = oldest_in(server, CONN_LINGERING, 0);
	if (!conn)
		conn = oldest_in(server, CONN_IDLE, 0);
	if (!conn)
		conn = oldest_in(server, CONN_READING, DRIP_S);
	if (!conn)
		return false;
	server->n_dropped++;
	conn_kill(conn);
	return true;
}

static void turn_away(struct server *server, int fd)
{
	static const char answer[] =
	    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n"
	    "Connection: close\r\n\r\n";
	static int64_t said_ns;

	server->n_dropped++;
	if (!server->tls)
		(void)send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)close(fd);
	if (now_ns() - said_ns > 1000000000) {
		said_ns = now_ns();
		log_line(SLIME_LOG_WARN,
		         "all %zu connections are busy: new ones are turned away (see "
		         "--connection-limit)",
		         server->n_conns);
	}
}

/* A peer that vanished without a word is noticed in a minute, or when it acknowledges nothing. */
static void set_up_tcp(int fd, const struct server *server)
{
	const int on = 1, idle_s = 30, interval_s = 10, probes = 3;
	const int unacknowledged_ms = (int)server->opts.request_s * 1000;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
	                 sizeof(unacknowledged_ms));
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *arg)
{
	struct server *server = arg;
	struct sl_tls_conn *tls = NULL;
	char peer[64];

	(void)listener;
	(void)len;
	server->n_accepted++;
	if (!make_room(server)) {
		turn_away(server, fd);
		return;
	}
	describe_peer(address, peer, sizeof(peer));
	if (address->sa_family != AF_UNIX) {
		set_up_tcp(fd, server);
		tls = server->tls ? sl_tls_accept(server->tls, fd) : NULL;
		if (server->tls && !tls) {
			(void)close(fd);
			return;
		}
	}
	if (conn_create(server, fd, tls, peer))
		server->n_conns++;
}

/* Mostly no descriptors: asking again at once would only use up the processor. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct server *server = arg;
	struct conn *idle = oldest_in(server, CONN_IDLE, 0);

	if (idle) {
		server->n_dropped++;
		conn_kill(idle);
		return;
	}
	log_line(SLIME_LOG_ERROR, "cannot accept a connection: %s", strerror(errno));
	(void)evconnlistener_disable(listener);
	server->paused = true;
}

static int add_listener(struct server *server, int fd, const struct sockaddr *address,
                        socklen_t len, const char *where, struct slime_error *err)
{
	struct evconnlistener *listener;
	const char *path = address->sa_family == AF_UNIX
	                       ? ((const struct sockaddr_un *)(const void *)address)->sun_path
	                       : NULL;
	int rc;

	/* the owner and group of a socket may connect; nobody can before listen() */
	if (bind(fd, address, len) < 0 || (path && chmod(path, 0660) < 0) ||
	    listen(fd, BACKLOG) < 0) {
		rc = -errno;
		(void)close(fd);
		return refuse(err, rc, "cannot listen on %s: %s%s", where, strerror(-rc),
		              rc == -EADDRINUSE ? "; is another daemon running there?" : "");
	}
	listener = evconnlistener_new(server->loop, on_accept, server,
	                              LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!listener) {
		(void)close(fd);
		return refuse(err, -ENOMEM, "no memory to listen on %s", where);
	}
	evconnlistener_set_error_cb(listener, on_accept_error);
	server->listening[server->n_listening++].listener = listener;
	return 0;
}

/* What a killed daemon left, and nothing else, is removed. */
static void remove_stale_socket(const struct sockaddr_un *address)
{
	struct stat st;
	int fd;

	if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const void *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED)
		(void)unlink(address->sun_path);
	(void)close(fd);
}

static int listen_unix(struct server *server, const char *where, struct slime_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = where + strlen("unix:");
	size_t i = server->n_listening;
	int fd, rc;

	if (!*path || strlen(path) >= sizeof(address.sun_path))
		return refuse(err, -EINVAL, "the path of '%s' must have 1 to %zu bytes", where,
		              sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	remove_stale_socket(&address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return refuse(err, -errno, "no unix sockets here: %s", strerror(errno));
	rc = add_listener(server, fd, (const void *)&address, sizeof(address), where, err);
	if (rc == 0) {
		memcpy(server->listening[i].path, path, strlen(path) + 1);
		(void)snprintf(server->listening[i].address, SERVER_ADDRESS, "unix:%s", path);
	}
	return rc;
}

/* "host:port" or "[v6]:port"; HOST is written to. */
static int split_address(char *host, const char **port)
{
	char *colon = strrchr(host, ':');

	if (!colon || colon == host || !colon[1] ||
	    strspn(colon + 1, "0123456789") < strlen(colon + 1) ||
	    strtoul(colon + 1, NULL, 10) > 65535)
		return -EINVAL;
	*colon = '\0';
	*port = colon + 1;
	if (host[0] == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		memmove(host, host + 1, strlen(host));
	} else if (strchr(host, ':')) {
		return -EINVAL;
	}
	return 0;
}

static void describe_listener(struct server *server, size_t i)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char host[NI_MAXHOST], port[NI_MAXSERV];
	bool v6;

	(void)getsockname(evconnlistener_get_fd(server->listening[i].listener), (void *)&bound,
	                  &len);
	(void)getnameinfo((void *)&bound, len, host, sizeof(host), port, sizeof(port),
	                  NI_NUMERICHOST | NI_NUMERICSERV);
	v6 = bound.ss_family == AF_INET6;
	(void)snprintf(server->listening[i].address, SERVER_ADDRESS, "http%s://%s%.100s%s:%.5s",
	               server->tls ? "s" : "", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

static int listen_tcp(struct server *server, const char *where, struct slime_error *err)
{
	const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	const char *port;
	char host[256];
	const int on = 1;
	size_t i = server->n_listening;
	int fd, rc;

	if (strlen(where) >= sizeof(host))
		return refuse(err, -EINVAL, "an address to listen on is too long");
	memcpy(host, where, strlen(where) + 1);
	if (split_address(host, &port) < 0)
		return refuse(
		    err, -EINVAL,
		    "'%s' is no address to listen on: HOST:PORT, [IPV6]:PORT or unix:PATH", where);
	rc = getaddrinfo(host, port, &hints, &found);
	if (rc != 0)
		return refuse(err, -EINVAL, "cannot listen on %s: %s", where, gai_strerror(rc));
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		rc = refuse(err, -errno, "cannot listen on %s: %s", where, strerror(errno));
	} else {
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		rc = add_listener(server, fd, found->ai_addr, found->ai_addrlen, where, err);
	}
	freeaddrinfo(found);
	if (rc == 0)
		describe_listener(server, i);
	return rc;
}

int server_listen(struct server *server, const char *where, struct slime_error *err)
{
	if (server->n_listening == SERVER_MAX_LISTENERS)
		return refuse(err, -EINVAL, "at most %d addresses can be listened on",
		              SERVER_MAX_LISTENERS);
	if (strncmp(where, "unix:", 5) == 0)
		return listen_unix(server, where, err);
	return listen_tcp(server, where, err);
}

const char *server_address(const struct server *server, size_t i)
{
	return server->listening[i].address;
}

static void stop_listening(struct server *server)
{
	for (size_t i = 0; i < server->n_listening; i++) {
		evconnlistener_free(server->listening[i].listener);
		if (*server->listening[i].path)
			(void)unlink(server->listening[i].path);
	}
	server->n_listening = 0;
}

static struct conn *first_waiting(struct server *server)
{
	struct conn *conn;

	TAILQ_FOREACH(conn, &server->phase[CONN_WORKING], in_phase)
	{
		if (call_waits(conn->call))
			return conn;
	}
	return NULL;
}

void server_drain(struct server *server, void (*drained)(void *arg), void *arg)
{
	struct conn *conn;

	stop_listening(server);
	server->draining = true;
	server->drained = drained;
	server->drained_arg = arg;
	for (int phase = 0; phase < CONN_DEAD; phase++) {
		TAILQ_FOREACH(conn, &server->phase[phase], in_phase)
		conn->last = true;
	}
	while ((conn = TAILQ_FIRST(&server->phase[CONN_IDLE])) != NULL)
		conn_kill(conn);
	while ((conn = first_waiting(server)) != NULL)
		call_hurry(conn->call);
	server_bury(server); /* there may be none */
}

void server_destroy(struct server *server)
{
	struct conn *conn;

	if (!server)
		return;
	stop_listening(server);
	server->drained = NULL;
	for (int phase = 0; phase < CONN_DEAD; phase++) {
		while ((conn = TAILQ_FIRST(&server->phase[phase])) != NULL)
			conn_kill(conn);
	}
	if (server->reaper) {
		on_reap(-1, 0, server);
		event_free(server->reaper);
	}
	if (server->sweep)
		event_free(server->sweep);
	sl_tls_destroy(server->tls);
	free(server);
}
