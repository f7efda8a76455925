/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/listen.c - the agent's own door, for peers that were introduced by a ticket.
 *
 * It answers the part of nanoctrl's /v1 that is about this agent (its record, its
 * regions, its mailbox), to those who show the ticket's secret, so that a peer asks
 * an agent in the words in which it would ask the control plane. Besides:
 *
 *	POST /v1/agents/ALIAS/introduce {"ticket"}   this is me, answer there
 *
 * Who has not shown the secret is a stranger: few of them at a time, each for a
 * short time, the oldest makes room. They cannot crowd out who is known.
 */
#include "agent/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent_impl.h"
#include "base/error.h"

enum {
	CALLERS_MAX = 1024,
	STRANGERS_MAX = 64,
	STRANGER_MS = 5000, /* the secret is to be shown within this */
	ROUND_MS = 100,     /* the door is looked at so often while there are strangers ... */
	ROUND_MAX = 100,    /* ... and so many may come in between */
	IDLE_ROUND_MS = 2000,
	HEADERS_MAX = 16 << 10,
	BODY_MAX = 256 << 10,
	IDLE_S = 120,
};

/* A connection. HTTP owns it and does not tell when it goes, so it is looked at, through REF. */
struct caller {
	struct bufferevent *ref;
	int64_t since_ns;
	bool known, leaving;
	TAILQ_ENTRY(caller) entry;
};

struct sl_door {
	slime_agent *agent;
	struct evhttp *http;
	struct evconnlistener *listener; /* HTTP's */
	struct event *round;
	TAILQ_HEAD(callers, caller) callers; /* the oldest first */
	unsigned ncallers, nstrangers, came;
	char *name; /* as the user has it; NULL: an address */
	unsigned nplaces;
	char place[SL_TICKET_PLACES][SL_TICKET_PLACE];
};

/* --- who comes in */

/* What libevent frees loses its callbacks first. */
static bool has_left(const struct caller *c)
{
	bufferevent_event_cb on_event;

	bufferevent_getcb(c->ref, NULL, NULL, &on_event, NULL);
	return !on_event;
}

static void forget(struct sl_door *door, struct caller *c)
{
	TAILQ_REMOVE(&door->callers, c, entry);
	door->ncallers--;
	door->nstrangers -= !c->known;
	(void)bufferevent_decref(c->ref);
	free(c);
}

/* HTTP then finds that it has hung up. */
static void send_away(struct caller *c)
{
	(void)shutdown(bufferevent_getfd(c->ref), SHUT_RDWR);
}

/* Forget who has left; strangers that came before LIMIT_NS are to leave. */
static void look_around(struct sl_door *door, int64_t limit_ns)
{
	struct caller *c, *next;

	for (c = TAILQ_FIRST(&door->callers); c; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (has_left(c))
			forget(door, c);
		else if (!c->known && c->since_ns < limit_ns)
			send_away(c);
	}
}

static void make_room(struct sl_door *door)
{
	struct caller *c;

	look_around(door, 0);
	if (door->nstrangers < STRANGERS_MAX && door->ncallers < CALLERS_MAX)
		return;
	TAILQ_FOREACH(c, &door->callers, entry)
	{
		if (!c->known && !c->leaving) {
			send_away(c);
			c->leaving = true;
			return;
		}
	}
}

static void on_round(evutil_socket_t fd, short what, void *arg)
{
	struct sl_door *door = arg;

	(void)fd;
	(void)what;
	door->came = 0;
	look_around(door, sl_clock_ns() - STRANGER_MS * SL_NS_PER_MS);
	if (door->ncallers < CALLERS_MAX)
		(void)evconnlistener_enable(door->listener);
	if (door->ncallers)
		sl_timer_in(door->round, (door->nstrangers ? ROUND_MS : IDLE_ROUND_MS) * 1000);
}

static struct bufferevent *on_caller(struct event_base *loop, void *arg)
{
	struct sl_door *door = arg;
	struct caller *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL; /* HTTP takes one of its own then */
	c->ref = bufferevent_socket_new(loop, -1, 0);
	if (!c->ref) {
		free(c);
		return NULL;
	}
	bufferevent_incref(c->ref);
	if (door->nstrangers >= STRANGERS_MAX || door->ncallers >= CALLERS_MAX)
		make_room(door);
	c->since_ns = sl_clock_ns();
	TAILQ_INSERT_TAIL(&door->callers, c, entry);
	door->ncallers++;
	door->nstrangers++;
	if (++door->came >= ROUND_MAX || door->ncallers >= CALLERS_MAX)
		(void)evconnlistener_disable(door->listener); /* till the next round */
	if (door->nstrangers == 1)                            /* else it is on already */
		sl_timer_in(door->round, ROUND_MS * 1000);
	return c->ref;
}

void sl_door_knows(struct sl_door *door, struct evhttp_request *req)
{
	struct evhttp_connection *evcon = evhttp_request_get_connection(req);
	struct bufferevent *bev = evcon ? evhttp_connection_get_bufferevent(evcon) : NULL;
	struct caller *c;

	TAILQ_FOREACH_REVERSE(c, &door->callers, callers, entry)
	{
		if (c->ref != bev)
			continue;
		door->nstrangers -= !c->known;
		c->known = true;
		return;
	}
}

/* --- where it is */

static void add_place(struct sl_door *door, const struct sockaddr *addr, socklen_t len,
                      uint16_t port)
{
	char host[INET6_ADDRSTRLEN + 1];

	if (door->nplaces == SL_TICKET_PLACES ||
	    getnameinfo(addr, len, host, sizeof(host), NULL, 0, NI_NUMERICHOST))
		return;
	(void)snprintf(door->place[door->nplaces++], SL_TICKET_PLACE,
	               addr->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
}

static bool is_local_only(const struct sockaddr *addr)
{
	const struct sockaddr_in6 *six = (const void *)addr;

	return addr->sa_family == AF_INET6 &&
	       (IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr) || IN6_IS_ADDR_LOOPBACK(&six->sin6_addr));
}

/* It listens everywhere: each address of the host, IPv4 first; loopback only if there is no other,
 * for on another host that is somebody else. */
static void add_every_place(struct sl_door *door, bool six, uint16_t port)
{
	const struct sockaddr_in loopback = {.sin_family = AF_INET,
	                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct ifaddrs *all = NULL;

	(void)getifaddrs(&all);
	for (int family = AF_INET; family; family = family == AF_INET && six ? AF_INET6 : 0) {
		for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
			if (i->ifa_addr && i->ifa_addr->sa_family == family &&
			    (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK) &&
			    !is_local_only(i->ifa_addr))
				add_place(door, i->ifa_addr,
				          family == AF_INET ? sizeof(struct sockaddr_in)
				                            : sizeof(struct sockaddr_in6),
				          port);
		}
	}
	if (all)
		freeifaddrs(all);
	if (!door->nplaces)
		add_place(door, (const void *)&loopback, sizeof(loopback), port);
}

static int find_places(struct sl_door *door, int fd, struct slime_error *err)
{
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);
	const struct sockaddr_in *four = (const void *)&at;
	const struct sockaddr_in6 *six = (const void *)&at;
	bool any;
	uint16_t port;

	if (getsockname(fd, (struct sockaddr *)&at, &len))
		return sl_fail(err, -errno, "where the agent listens cannot be found out");
	port = ntohs(at.ss_family == AF_INET6 ? six->sin6_port : four->sin_port);
	if (door->name)
		(void)snprintf(door->place[door->nplaces++], SL_TICKET_PLACE, "%.253s:%u",
		               door->name, port);
	any = at.ss_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr)
	                               : four->sin_addr.s_addr == htonl(INADDR_ANY);
	if (any)
		add_every_place(door, at.ss_family == AF_INET6, port);
	else
		add_place(door, (struct sockaddr *)&at, len, port);
	return 0;
}

static int bind_to(const struct addrinfo *at)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, 128)) {
		int rc = -errno;

		(void)close(fd);
		return rc;
	}
	return fd;
}

/* A listening socket at PLACE ("host:port", "[::]:0"), or a negative errno and a sentence. */
static int open_socket(struct sl_door *door, const char *place, struct slime_error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	char host[SL_TICKET_HOST], service[8], name[64];
	struct addrinfo *list;
	unsigned port;
	bool numeric;
	int rc = sl_place_read("the place to listen", place, host, &port, &numeric, err);

	if (rc)
		return rc;
	(void)snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host, service, &hints, &list);
	if (rc)
		return sl_fail(err, -EINVAL, "cannot listen at '%.100s': %s", host,
		               gai_strerror(rc));
	rc = bind_to(list);
	freeaddrinfo(list);
	if (rc < 0)
		return sl_fail(err, rc, "cannot listen at '%.100s': %s", host,
		               sl_error_name(rc, name, sizeof(name)));
	if (!numeric) /* others may know it by another address than we do */
		door->name = strdup(host);
	return rc;
}

static int open_http(struct sl_door *door, int fd)
{
	door->listener = evconnlistener_new(door->agent->loop, NULL, NULL,
	                                    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!door->listener) {
		(void)close(fd);
		return -ENOMEM;
	}
	if (!evhttp_bind_listener(door->http, door->listener)) {
		evconnlistener_free(door->listener);
		return -ENOMEM;
	}
	return 0;
}

int sl_door_open(slime_agent *agent, const char *place, struct slime_error *err)
{
	struct sl_door *door = calloc(1, sizeof(*door));
	int fd, rc;

	if (!door)
		return sl_fail(err, -ENOMEM, "no memory to listen");
	agent->door = door;
	door->agent = agent;
	TAILQ_INIT(&door->callers);
	door->http = evhttp_new(agent->loop);
	door->round = event_new(agent->loop, -1, 0, on_round, door);
	fd = door->http && door->round ? open_socket(door, place, err)
	                               : sl_fail(err, -ENOMEM, "no memory to listen");
	rc = fd < 0 ? fd : find_places(door, fd, err);
	if (!rc && open_http(door, fd))
		rc = sl_fail(err, -ENOMEM, "no memory to listen");
	else if (rc && fd >= 0)
		(void)close(fd);
	if (rc) {
		sl_door_close(agent);
		return rc;
	}
	evhttp_set_allowed_methods(door->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
	evhttp_set_max_headers_size(door->http, HEADERS_MAX);
	evhttp_set_max_body_size(door->http, BODY_MAX);
	evhttp_set_timeout(door->http, IDLE_S);
	evhttp_set_bevcb(door->http, on_caller, door);
	evhttp_set_gencb(door->http, sl_answer_peer, agent);
	return 0;
}

void sl_door_places(const struct sl_door *door, struct sl_ticket *out)
{
	memcpy(out->place, door->place, sizeof(out->place));
	out->nplaces = door->nplaces;
}

void sl_door_close(slime_agent *agent)
{
	struct sl_door *door = agent->door;
	struct caller *c;

	agent->door = NULL;
	if (!door)
		return;
	if (door->http)
		evhttp_free(door->http); /* with its listener */
	while ((c = TAILQ_FIRST(&door->callers)))
		forget(door, c);
	if (door->round)
		event_free(door->round);
	free(door->name);
	free(door);
}
