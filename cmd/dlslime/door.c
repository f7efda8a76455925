/* SPDX-License-Identifier: BSD-3-Clause */
#include "door.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "say.h"

enum { STRANGERS_MAX = 64, GUEST_STACK = 256 * 1024, FIXED = 3 };
static const int64_t hello_timeout_ns = 5000000000;

struct stranger {
	int fd; /* -1: free */
	uint32_t have;
	int64_t until_ns;
	uint8_t hello[HELLO_MAX];
};

struct guest {
	struct chan chan;
	struct door *door;
	struct guest *next;
	int token;
};

struct door {
	int listen_fd;
	int signal_fd;
	int stop_fd;
	bool anywhere;
	const struct door_rules *rules;
	void *arg;
	struct stranger strangers[STRANGERS_MAX];
	pthread_mutex_t lock; /* guards GUESTS and N_GUESTS */
	pthread_cond_t gone;
	struct guest *guests;
	unsigned n_guests;
};

static int listen_on(const struct addrinfo *ai)
{
	int off = 0;
	int on = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 256) == 0)
		return fd;
	rc = -errno;
	(void)close(fd);
	return rc;
}

/* HOST without the brackets of an IPv6 address. */
static int resolve(const char *host, uint16_t port, struct addrinfo **out, struct slime_error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
	                               .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	char name[HOST_MAX];
	char service[8];
	size_t len = strlen(host);
	int rc;

	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	(void)snprintf(name, sizeof(name), "%.*s", (int)len, host);
	(void)snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(name, service, &hints, out);
	return rc ? refuse(err, -EADDRNOTAVAIL, "'%s' is not an address of this host: %s", name,
	                   gai_strerror(rc))
	          : 0;
}

static int open_listener(const char *host, uint16_t port, struct slime_error *err)
{
	struct addrinfo *list;
	char name[64];
	int fd = resolve(host, port, &list, err);

	if (fd < 0)
		return fd;
	fd = listen_on(list);
	freeaddrinfo(list);
	if (fd < 0)
		return refuse(err, fd, "cannot listen on %s port %u: %s", host, port,
		              errno_name(fd, name, sizeof(name)));
	return fd;
}

void door_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int door_open(const char *bind_to, uint16_t port, struct door **out, struct slime_error *err)
{
	struct door *d = calloc(1, sizeof(*d));
	pthread_condattr_t attr;
	sigset_t set;
	int rc;

	if (!d)
		return refuse(err, -ENOMEM, "no memory");
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	for (int i = 0; i < STRANGERS_MAX; i++)
		d->strangers[i].fd = -1;
	d->anywhere = !bind_to;
	/* one socket for both families, or the old one alone where IPv6 is switched off */
	d->listen_fd = open_listener(bind_to ? bind_to : "::", port, err);
	if (d->listen_fd < 0 && !bind_to)
		d->listen_fd = open_listener("0.0.0.0", port, err);
	if (d->listen_fd < 0) {
		rc = d->listen_fd;
		goto free_door;
	}
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0) {
		rc = refuse(err, -errno, "no descriptor for signals: %s", strerror(errno));
		goto close_listener;
	}
	d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->stop_fd < 0) {
		rc = refuse(err, -errno, "no descriptor for events: %s", strerror(errno));
		goto close_signals;
	}
	(void)pthread_mutex_init(&d->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&d->gone, &attr);
	(void)pthread_condattr_destroy(&attr);
	*out = d;
	return 0;

close_signals:
	(void)close(d->signal_fd);
close_listener:
	(void)close(d->listen_fd);
free_door:
	free(d);
	return rc;
}

void door_close(struct door *door)
{
	if (!door)
		return;
	(void)close(door->listen_fd);
	(void)close(door->signal_fd);
	(void)close(door->stop_fd);
	(void)pthread_cond_destroy(&door->gone);
	(void)pthread_mutex_destroy(&door->lock);
	free(door);
}

static void numeric_host(const struct sockaddr *sa, char out[HOST_MAX])
{
	socklen_t len =
	    sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

	if (getnameinfo(sa, len, out, HOST_MAX, NULL, 0, NI_NUMERICHOST) != 0)
		(void)snprintf(out, HOST_MAX, "127.0.0.1");
}

/* How much an interface's address is worth to somebody elsewhere. */
static int address_rank(const struct ifaddrs *ifa)
{
	const struct sockaddr_in6 *in6;

	if (!ifa->ifa_addr || !(ifa->ifa_flags & IFF_UP) || (ifa->ifa_flags & IFF_LOOPBACK))
		return 0;
	if (ifa->ifa_addr->sa_family == AF_INET)
		return 3;
	if (ifa->ifa_addr->sa_family != AF_INET6)
		return 0;
	in6 = (const struct sockaddr_in6 *)(const void *)ifa->ifa_addr;
	return IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) ? 0 : 2;
}

static void host_address(char out[HOST_MAX])
{
	struct ifaddrs *list;
	int best = 0;

	(void)snprintf(out, HOST_MAX, "127.0.0.1");
	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *ifa = list; ifa; ifa = ifa->ifa_next) {
		int rank = address_rank(ifa);

		if (rank > best) {
			best = rank;
			numeric_host(ifa->ifa_addr, out);
		}
	}
	freeifaddrs(list);
}

void door_address(const struct door *door, struct address *out)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr *sa = (struct sockaddr *)&ss;
	socklen_t len = sizeof(ss);

	(void)getsockname(door->listen_fd, sa, &len);
	out->port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&ss)->sin6_port
	                                           : ((struct sockaddr_in *)(void *)&ss)->sin_port);
	if (door->anywhere)
		host_address(out->host);
	else
		numeric_host(sa, out->host);
}

static void guest_forget(struct guest *g)
{
	struct door *d = g->door;

	(void)pthread_mutex_lock(&d->lock);
	for (struct guest **at = &d->guests; *at; at = &(*at)->next) {
		if (*at == g) {
			*at = g->next;
			break;
		}
	}
	chan_close(&g->chan);
	d->n_guests--;
	(void)pthread_cond_signal(&d->gone);
	(void)pthread_mutex_unlock(&d->lock);
	free(g);
}

static void *guest_main(void *arg)
{
	struct guest *g = arg;

	g->door->rules->serve(&g->chan, g->token, g->door->arg);
	guest_forget(g);
	return NULL;
}

static int start_thread(struct guest *g)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, GUEST_STACK);
	rc = pthread_create(&thread, &attr, guest_main, g);
	(void)pthread_attr_destroy(&attr);
	return -rc;
}

/* S said a good hello: FD is a guest's from now on. */
static void welcome(struct door *d, int fd, int token)
{
	const struct slime_error busy = {
	    -EBUSY, "the server has as many clients as it takes, try again later"};
	struct guest *g = calloc(1, sizeof(*g));
	bool room;

	if (!g) {
		(void)close(fd);
		return;
	}
	g->door = d;
	g->token = token;
	chan_adopt(&g->chan, fd);
	(void)pthread_mutex_lock(&d->lock);
	room = d->n_guests < d->rules->max_guests;
	g->next = d->guests;
	d->guests = g;
	d->n_guests++;
	(void)pthread_mutex_unlock(&d->lock);
	if (room && start_thread(g) == 0)
		return;
	chan_send_error(&g->chan, &busy);
	guest_forget(g);
}

static void forget_stranger(struct stranger *s)
{
	(void)close(s->fd);
	s->fd = -1;
}

/* Bytes or an end from S. */
static void hear(struct door *d, struct stranger *s)
{
	ssize_t n = recv(s->fd, s->hello + s->have, d->rules->hello_len - s->have, MSG_DONTWAIT);
	int token;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		forget_stranger(s);
		return;
	}
	s->have += (uint32_t)n;
	if (s->have < d->rules->hello_len)
		return;
	token = d->rules->know(s->hello, d->arg);
	if (token < 0) {
		forget_stranger(s);
		return;
	}
	welcome(d, s->fd, token);
	s->fd = -1;
}

/* A free place, or the one that has been here longest without a word. */
static struct stranger *place(struct door *d)
{
	struct stranger *oldest = &d->strangers[0];

	for (int i = 0; i < STRANGERS_MAX; i++) {
		struct stranger *s = &d->strangers[i];

		if (s->fd < 0)
			return s;
		if (s->until_ns < oldest->until_ns)
			oldest = s;
	}
	forget_stranger(oldest);
	return oldest;
}

/* 0, or -EMFILE and the like: nobody can be let in for a while. */
static int let_in(struct door *d)
{
	for (int i = 0; i < STRANGERS_MAX; i++) {
		int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct stranger *s;

		if (fd < 0)
			return errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			               errno == ENOBUFS
			           ? -errno
			           : 0;
		s = place(d);
		s->fd = fd;
		s->have = 0;
		s->until_ns = now_ns() + hello_timeout_ns;
		hear(d, s);
	}
	return 0;
}

/* Wait for something to happen; the answers are in P, whose place FIXED+i is stranger i's. */
static int watch(struct door *d, struct pollfd p[FIXED + STRANGERS_MAX], bool shut)
{
	int timeout_ms = -1;

	p[0] = (struct pollfd){.fd = d->signal_fd, .events = POLLIN};
	p[1] = (struct pollfd){.fd = d->stop_fd, .events = POLLIN};
	p[2] = (struct pollfd){.fd = shut ? -1 : d->listen_fd, .events = POLLIN};
	for (int i = 0; i < STRANGERS_MAX; i++) {
		p[FIXED + i] = (struct pollfd){.fd = d->strangers[i].fd, .events = POLLIN};
		if (d->strangers[i].fd >= 0)
			timeout_ms = 500;
	}
	if (shut)
		timeout_ms = 50;
	return poll(p, FIXED + STRANGERS_MAX, timeout_ms);
}

static void serve_until_signal(struct door *d)
{
	struct pollfd p[FIXED + STRANGERS_MAX];
	bool shut = false;

	for (;;) {
		int n = watch(d, p, shut);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0 && (p[0].revents || p[1].revents))
			return;
		for (int i = 0; n > 0 && i < STRANGERS_MAX; i++) {
			if (p[FIXED + i].revents)
				hear(d, &d->strangers[i]);
		}
		for (int i = 0; i < STRANGERS_MAX; i++) {
			if (d->strangers[i].fd >= 0 && d->strangers[i].until_ns < now_ns())
				forget_stranger(&d->strangers[i]);
		}
		shut = (shut || (n > 0 && p[2].revents)) && let_in(d) < 0;
	}
}

/* Until the last guest has left, or a while has passed. */
static int see_out(struct door *d)
{
	struct timespec until;
	int rc = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 2;
	(void)pthread_mutex_lock(&d->lock);
	for (struct guest *g = d->guests; g; g = g->next)
		(void)shutdown(g->chan.fd, SHUT_RDWR);
	while (d->n_guests && rc == 0)
		rc = -pthread_cond_timedwait(&d->gone, &d->lock, &until);
	(void)pthread_mutex_unlock(&d->lock);
	return rc;
}

int door_run(struct door *door, const struct door_rules *rules, void *arg)
{
	door->rules = rules;
	door->arg = arg;
	serve_until_signal(door);
	for (int i = 0; i < STRANGERS_MAX; i++) {
		if (door->strangers[i].fd >= 0)
			forget_stranger(&door->strangers[i]);
	}
	return see_out(door);
}

void door_stop(struct door *door)
{
	(void)eventfd_write(door->stop_fd, 1);
}
