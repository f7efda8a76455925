/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver.h"

static struct sl_dom *open_dom(void)
{
	const struct sl_dom_opts opts = {.peer_timeout_ms = 3000};
	struct sl_dom *dom;

	assert_int_equal(shm->dom_open(&opts, &dom, NULL), 0);
	return dom;
}

/* The word as a peer sees it: by its own map of the memfd, which outlives DOM. */
static const _Atomic uint32_t *map_word(struct sl_dom *dom)
{
	void *map = mmap(NULL, SHM_LIVE_LEN, PROT_READ, MAP_SHARED, dom->live_fd, 0);

	assert_true(map != MAP_FAILED);
	return map;
}

static void *keep(void *dom)
{
	sl_shm_keep(dom);
	return NULL;
}

static void keep_in_a_thread(struct sl_dom *dom)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, keep, dom), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void without_such_a_thread_nothing_is_said(void **state)
{
	struct sl_dom *dom = open_dom();

	(void)state;
	assert_int_equal(*map_word(dom), 0);
	shm->dom_close(dom);
}

static void the_word_tells_that_the_thread_has_ended(void **state)
{
	struct sl_dom *dom = open_dom();
	const _Atomic uint32_t *word = map_word(dom);

	(void)state;
	keep_in_a_thread(dom);
	assert_true(*word & FUTEX_OWNER_DIED);
	shm->dom_close(dom);
}

/* The domain's memory is given back while the thread lives: the kernel must not look there. */
static void who_closes_the_domain_himself_lives_on(void **state)
{
	struct sl_dom *dom = open_dom();
	const _Atomic uint32_t *word = map_word(dom);

	(void)state;
	sl_shm_keep(dom);
	assert_int_equal(*word, gettid());
	shm->dom_close(dom);
	assert_int_equal(*word, gettid());
}

static void a_killed_process_has_died_before_anybody_can_know(void **state)
{
	struct sl_dom *dom = open_dom();
	const _Atomic uint32_t *word = map_word(dom);
	int status, up[2];
	char byte = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(up), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sl_shm_keep(dom);
		(void)!write(up[1], &byte, 1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(up[0], &byte, 1), 1);
	assert_int_equal(*word, pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(*word, FUTEX_OWNER_DIED);
	(void)close(up[0]);
	(void)close(up[1]);
	shm->dom_close(dom);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_such_a_thread_nothing_is_said),
	    cmocka_unit_test(the_word_tells_that_the_thread_has_ended),
	    cmocka_unit_test(who_closes_the_domain_himself_lives_on),
	    cmocka_unit_test(a_killed_process_has_died_before_anybody_can_know),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
