/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_ctrl_http.c - bytes on a connection of the daemon, in pieces, to the end.
 *
 * The first byte is the length of the pieces. Whatever comes: the daemon stays up, what it
 * answers is HTTP, and when the peer has ended nothing of the connection is left.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "log.h"
#include "nanoctrl.h"
#include "router.h"
#include "server.h"

static struct call *waiting;

static void echo(struct call *call)
{
	call_reply_json(call, 200, json_incref(call_body(call)));
}

static void stop_waiting(struct call *call, void *data)
{
	(void)data;
	waiting = NULL;
	call_reply_error(call, 503, "EAGAIN", "%s", call_part(call, "x"));
}

static void wait(struct call *call)
{
	if (waiting) {
		call_reply_text(call, 200, "text/plain", "busy", 4);
		return;
	}
	waiting = call;
	call_on_gone(call, stop_waiting);
}

static void stream(struct call *call)
{
	call_stream_begin(call, 200, "text/event-stream");
	(void)call_stream_write(call, "data: x\n\n", 9);
	call_stream_end(call);
}

static const struct route routes[] = {
    {"GET", "/", RIGHT_NONE, false, false, stream},
    {"POST", "/echo", RIGHT_REGISTER, true, false, echo},
    {"POST", "/v1/echo", RIGHT_REGISTER, true, true, echo},
    {"GET", "/wait/{x}", RIGHT_READ, false, true, wait},
    {.method = NULL},
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct route *const tables[] = {routes, NULL};
	struct slime_error err;

	(void)argc;
	(void)argv;
	nanoctrl.loop = event_base_new();
	MUST(nanoctrl.loop && router_init(tables) == 0);
	MUST(log_open(nanoctrl.loop, "/dev/null", SLIME_LOG_INFO, &err) == 0);
	return 0;
}

static void turn(void)
{
	MUST(event_base_loop(nanoctrl.loop, EVLOOP_NONBLOCK) >= 0);
}

/* Take what has been answered; it begins as an answer does. */
static void drain(int fd, size_t *n_read)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (*n_read == 0 && n >= 9)
			MUST(memcmp(buf, "HTTP/1.1 ", 9) == 0);
		*n_read += (size_t)n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct server_opts opts = {
	    .body_limit = 4096, .connection_limit = 8, .idle_s = 60, .request_s = 60};
	size_t piece = len ? data[0] + 1 : 1, n_read = 0;
	struct server *server;
	struct slime_error err;
	int fds[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	MUST(server_create(nanoctrl.loop, &opts, NULL, &server, &err) == 0);
	MUST(conn_create(server, fds[0], NULL, "unix"));
	server->n_conns = 1;
	for (size_t at = 1; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;

		if (send(fds[1], data + at, n, MSG_NOSIGNAL) != (ssize_t)n)
			break; /* it has closed, or does not read on while it is asked too much */
		turn();
		drain(fds[1], &n_read);
	}
	(void)shutdown(fds[1], SHUT_WR);
	for (int i = 0; i < 8; i++) {
		turn();
		drain(fds[1], &n_read);
	}
	MUST(server->n_conns == 0 || waiting);
	MUST(server->body_bytes == 0 || server->n_conns);
	server_destroy(server);
	MUST(!waiting);
	(void)close(fds[1]);
	return 0;
}
