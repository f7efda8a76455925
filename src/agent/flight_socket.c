/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/flight_socket.c - the flight recorder for who looks on from outside: an abstract unix
 * socket, "@dlslime-agent/PID/LIFE", which says it and hangs up. For processes of the same
 * user in the same network namespace; 'dlslime doctor --pid' is one.
 */
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/agent_impl.h"

enum { LISTENERS_MAX = 4, WRITE_S = 5 };

struct listener {
	struct sl_flight_door *door;
	struct bufferevent *bev;
	LIST_ENTRY(listener) entry;
};

struct sl_flight_door {
	slime_agent *agent;
	struct evconnlistener *listener;
	LIST_HEAD(, listener) said_to;
	unsigned n;
};

static void hang_up(struct listener *l)
{
	LIST_REMOVE(l, entry);
	l->door->n--;
	bufferevent_free(l->bev);
	free(l);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	(void)bev;
	hang_up(arg);
}

static void on_trouble(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	hang_up(arg);
}

static bool is_same_user(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
	       (who.uid == geteuid() || who.uid == 0);
}

/* What the socket takes now, so that a crowd that does not read is in nobody's way. */
static size_t say_at_once(int fd, const char *text, size_t len)
{
	ssize_t n = send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n > 0 ? (size_t)n : 0;
}

static void on_listener(struct evconnlistener *from, evutil_socket_t fd, struct sockaddr *addr,
                        int len, void *arg)
{
	const struct timeval limit = {.tv_sec = WRITE_S};
	struct sl_flight_door *door = arg;
	struct listener *l = NULL;
	size_t said = 0, all = 0;
	char *text = NULL;

	(void)from;
	(void)addr;
	(void)len;
	if (is_same_user(fd) && slime_agent_flight(door->agent, &text) == 0) {
		all = strlen(text);
		said = say_at_once(fd, text, all);
	}
	if (said < all && door->n < LISTENERS_MAX)
		l = calloc(1, sizeof(*l));
	if (l)
		l->bev = bufferevent_socket_new(door->agent->loop, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!l || !l->bev) {
		free(l);
		(void)close(fd);
	} else {
		l->door = door;
		door->n++;
		LIST_INSERT_HEAD(&door->said_to, l, entry);
		bufferevent_setcb(l->bev, NULL, on_written, on_trouble, l);
		(void)bufferevent_set_timeouts(l->bev, NULL, &limit);
		(void)bufferevent_write(l->bev, text + said, all - said);
	}
	slime_text_free(text);
}

struct sl_flight_door *sl_flight_door_open(slime_agent *agent)
{
	struct sl_flight_door *door = calloc(1, sizeof(*door));
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "dlslime-agent/%d/%.32s",
	                 (int)getpid(), agent->life);

	if (!door)
		return NULL;
	door->agent = agent;
	LIST_INIT(&door->said_to);
	door->listener = evconnlistener_new_bind(
	    agent->loop, on_listener, door, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 4,
	    (struct sockaddr *)&at, (int)offsetof(struct sockaddr_un, sun_path) + 1 + n);
	if (door->listener)
		return door;
	free(door);
	return NULL;
}

void sl_flight_door_close(struct sl_flight_door *door)
{
	if (!door)
		return;
	while (!LIST_EMPTY(&door->said_to))
		hang_up(LIST_FIRST(&door->said_to));
	evconnlistener_free(door->listener);
	free(door);
}
