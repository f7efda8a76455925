/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctrl/ctrl_lookup.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The loop's and the thread's, whoever is the last. RC and LIST are the thread's until it tells. */
struct sl_lookup {
	_Atomic unsigned refs;
	char *host;
	char port[8];
	int rc;
	struct addrinfo *list;
	int told; /* an eventfd */
	struct event *event;
	sl_lookup_done *done;
	void *arg;
};

static void unref(struct sl_lookup *l)
{
	if (atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	if (l->list)
		freeaddrinfo(l->list);
	if (l->told >= 0)
		(void)close(l->told);
	free(l->host);
	free(l);
}

static void look(struct sl_lookup *l, int flags)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
	                               .ai_flags = AI_NUMERICSERV | flags};

	l->rc = getaddrinfo(l->host, l->port, &hints, &l->list);
	if (l->rc)
		l->list = NULL;
}

static void *thread_main(void *arg)
{
	struct sl_lookup *l = arg;
	uint64_t one = 1;

	look(l, 0);
	if (write(l->told, &one, sizeof(one)) < 0)
		abort(); /* it is empty, and ours */
	unref(l);
	return NULL;
}

static void on_told(evutil_socket_t fd, short what, void *arg)
{
	struct sl_lookup *l = arg;
	struct addrinfo *list;
	sl_lookup_done *done = l->done;
	void *done_arg = l->arg;
	uint64_t n;
	char why[128];

	(void)what;
	if (fd >= 0 && read(fd, &n, sizeof(n)) < 0)
		return; /* it is not there yet */
	(void)snprintf(why, sizeof(why), "has no address: %s", gai_strerror(l->rc));
	list = l->list;
	l->list = NULL;
	sl_lookup_drop(l);
	done(done_arg, list, why);
}

static int tell_at_once(struct sl_lookup *l, struct event_base *loop)
{
	l->event = event_new(loop, -1, 0, on_told, l);
	if (!l->event)
		return -ENOMEM;
	event_active(l->event, EV_TIMEOUT, 1);
	return 0;
}

static int start_thread(struct sl_lookup *l)
{
	sigset_t all, old;
	pthread_t thread;
	int rc;

	/* the user's handlers are not for a thread of ours */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_fetch_add(&l->refs, 1);
	rc = pthread_create(&thread, NULL, thread_main, l);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		atomic_fetch_sub(&l->refs, 1);
	else
		(void)pthread_detach(thread);
	return rc;
}

static int ask_thread(struct sl_lookup *l, struct event_base *loop)
{
	l->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->event = l->told < 0 ? NULL : event_new(loop, l->told, EV_READ | EV_PERSIST, on_told, l);
	return l->event && !event_add(l->event, NULL) ? start_thread(l) : -ENOMEM;
}

struct sl_lookup *sl_lookup_start(struct event_base *loop, const char *host, unsigned port,
                                  sl_lookup_done *done, void *arg)
{
	struct sl_lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	atomic_store(&l->refs, 1);
	l->done = done;
	l->arg = arg;
	l->host = strdup(host);
	(void)snprintf(l->port, sizeof(l->port), "%u", port);
	l->told = -1;
	if (l->host)
		look(l, AI_NUMERICHOST);
	if (!l->host || (l->list ? tell_at_once(l, loop) : ask_thread(l, loop))) {
		sl_lookup_drop(l);
		return NULL;
	}
	return l;
}

void sl_lookup_drop(struct sl_lookup *l)
{
	if (!l)
		return;
	if (l->event)
		event_free(l->event);
	l->event = NULL;
	unref(l);
}
