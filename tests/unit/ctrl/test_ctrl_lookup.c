/* SPDX-License-Identifier: BSD-3-Clause */
/* The name server is ours here: it answers when the test lets it. */
#include <event2/event.h>
#include <netdb.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/ctrl_lookup.h"

static sem_t asked, may_answer, freed;

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **out)
{
	if (hints->ai_flags & AI_NUMERICHOST) /* needs no name server */
		return EAI_NONAME;
	(void)sem_post(&asked);
	(void)sem_wait(&may_answer);
	if (strcmp(host, "here") || strcmp(port, "6379"))
		return EAI_NONAME;
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : EAI_MEMORY;
}

void freeaddrinfo(struct addrinfo *list)
{
	free(list);
	(void)sem_post(&freed);
}

struct heard {
	struct event_base *loop;
	unsigned times, ticks;
	char why[128];
	int some;
};

static void on_done(void *arg, struct addrinfo *list, const char *why)
{
	struct heard *h = arg;

	h->times++;
	(void)snprintf(h->why, sizeof(h->why), "%s", why);
	h->some = list != NULL;
	if (list)
		freeaddrinfo(list);
	(void)event_base_loopbreak(h->loop);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	((struct heard *)arg)->ticks++;
}

static struct heard begin(void)
{
	struct heard h = {.loop = event_base_new()};

	assert_non_null(h.loop);
	assert_int_equal(
	    sem_init(&asked, 0, 0) | sem_init(&may_answer, 0, 0) | sem_init(&freed, 0, 0), 0);
	return h;
}

static void the_loop_goes_on_while_the_name_server_thinks(void **state)
{
	static const struct timeval now = {0};
	struct heard h = begin();

	(void)state;
	assert_non_null(sl_lookup_start(h.loop, "here", 6379, on_done, &h));
	(void)sem_wait(&asked);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(event_base_once(h.loop, -1, EV_TIMEOUT, on_tick, &h, &now), 0);
		(void)event_base_loop(h.loop, EVLOOP_ONCE);
	}
	assert_int_equal(h.ticks, 3);
	assert_int_equal(h.times, 0);
	(void)sem_post(&may_answer);
	(void)event_base_dispatch(h.loop);
	assert_int_equal(h.times, 1);
	assert_true(h.some);
	(void)sem_wait(&freed);
	event_base_free(h.loop);
}

static void a_name_that_nobody_has_is_an_error(void **state)
{
	struct heard h = begin();

	(void)state;
	assert_non_null(sl_lookup_start(h.loop, "nowhere", 6379, on_done, &h));
	(void)sem_post(&may_answer);
	(void)event_base_dispatch(h.loop);
	assert_int_equal(h.times, 1);
	assert_non_null(strstr(h.why, "has no address"));
	assert_false(h.some);
	event_base_free(h.loop);
}

static void who_does_not_want_to_know_any_more_is_not_told(void **state)
{
	struct heard h = begin();
	struct sl_lookup *lookup = sl_lookup_start(h.loop, "here", 6379, on_done, &h);

	(void)state;
	assert_non_null(lookup);
	(void)sem_wait(&asked);
	sl_lookup_drop(lookup);
	event_base_free(h.loop);
	(void)sem_post(&may_answer);
	(void)sem_wait(&freed); /* by the thread, which was the last that held it */
	assert_int_equal(h.times, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_loop_goes_on_while_the_name_server_thinks),
	    cmocka_unit_test(a_name_that_nobody_has_is_an_error),
	    cmocka_unit_test(who_does_not_want_to_know_any_more_is_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
