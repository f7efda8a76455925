/* SPDX-License-Identifier: BSD-3-Clause */
#include "probe.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctrl/openssl_table.h"

static int fail(int error, char *why, size_t cap)
{
	if (error == EAGAIN || error == EINPROGRESS)
		error = ETIMEDOUT;
	(void)snprintf(why, cap, "%s (os error %d)", strerror(error), error);
	return -error;
}

/* Each step may take so long. */
static void limit_time(int fd, int timeout_ms)
{
	const struct timeval limit = {.tv_sec = timeout_ms / 1000,
	                              .tv_usec = timeout_ms % 1000 * 1000};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int connect_unix(const char *path, int timeout_ms, char *why, size_t cap)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return fail(ENAMETOOLONG, why, cap);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(errno, why, cap);
	limit_time(fd, timeout_ms);
	if (connect(fd, (const void *)&address, sizeof(address)) < 0) {
		int rc = fail(errno, why, cap);

		(void)close(fd);
		return rc;
	}
	return fd;
}

/* getaddrinfo() takes 65537 for 1. */
static bool is_port(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits > 0 && digits <= 5 && !text[digits] && atoi(text) <= UINT16_MAX;
}

static int connect_tcp(const char *where, int timeout_ms, char *why, size_t cap)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char host[256];
	char *port;
	int fd = -1, rc;

	(void)snprintf(host, sizeof(host), "%s", where);
	host[strcspn(host, "/")] = '\0';
	port = strrchr(host, ':');
	if (!port || (host[0] == '[' && port[-1] != ']') || !is_port(port + 1)) {
		(void)snprintf(why, cap, "'%s' names no port", where);
		return -EINVAL;
	}
	*port++ = '\0';
	if (host[0] == '[')
		host[strlen(host) - 1] = '\0';
	rc = getaddrinfo(host + (host[0] == '['), port, &hints, &found);
	if (rc != 0) {
		(void)snprintf(why, cap, "%s", gai_strerror(rc));
		return -EINVAL;
	}
	rc = -ECONNREFUSED;
	for (const struct addrinfo *at = found; at && rc < 0; at = at->ai_next) {
		fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		limit_time(fd, timeout_ms);
		rc = connect(fd, at->ai_addr, at->ai_addrlen) < 0 ? fail(errno, why, cap) : 0;
		if (rc < 0)
			(void)close(fd);
	}
	freeaddrinfo(found);
	return rc < 0 ? rc : fd;
}

static int ask(int fd, char *why, size_t cap)
{
	static const char request[] =
	    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	char answer[64];
	size_t len = 0;
	int status = 0;

	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
		return fail(errno, why, cap);
	while (len < 12) { /* "HTTP/1.1 200" */
		ssize_t n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);

		if (n <= 0)
			return fail(n < 0 ? errno : ECONNRESET, why, cap);
		len += (size_t)n;
	}
	answer[len] = '\0';
	if (sscanf(answer, "HTTP/1.%*c %d", &status) != 1)
		(void)snprintf(why, cap, "what answers is no HTTP server");
	else if (status != 200)
		(void)snprintf(why, cap, "HTTP status %d", status);
	else
		return 0;
	return -EPROTO;
}

static int shake_hands(int fd, char *why, size_t cap)
{
	struct slime_error err;
	SSL_CTX *ctx = NULL;
	SSL *ssl = NULL;
	int rc = sl_openssl_load(&err);

	if (rc < 0) {
		(void)snprintf(why, cap, "%s", err.text);
		return rc;
	}
	ctx = sl_openssl.SSL_CTX_new(sl_openssl.TLS_client_method());
	ssl = ctx ? sl_openssl.SSL_new(ctx) : NULL;
	rc = -EPROTO;
	if (ssl && sl_openssl.SSL_set_fd(ssl, fd) == 1 && sl_openssl.SSL_connect(ssl) == 1)
		rc = 0;
	if (rc < 0)
		(void)snprintf(why, cap, "no TLS handshake");
	if (ssl)
		sl_openssl.SSL_free(ssl);
	if (ctx)
		sl_openssl.SSL_CTX_free(ctx);
	return rc;
}

int probe_connect(const char *address, int timeout_ms, char *why, size_t cap)
{
	const char *scheme = strstr(address, "://");

	if (strncmp(address, "unix:", 5) == 0)
		return connect_unix(address + 5, timeout_ms, why, cap);
	return connect_tcp(scheme ? scheme + 3 : address, timeout_ms, why, cap);
}

int probe(const char *address, int timeout_ms, char *why, size_t cap)
{
	bool tls = strncmp(address, "https://", 8) == 0;
	int fd = probe_connect(address, timeout_ms, why, cap), rc;

	if (fd < 0)
		return fd;
	rc = tls ? shake_hands(fd, why, cap) : ask(fd, why, cap);
	(void)close(fd);
	return rc;
}
