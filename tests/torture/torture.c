/* SPDX-License-Identifier: BSD-3-Clause */
#include "torture.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fakes/fakes.h"
#include "scenario.h"

enum { RUNS_MAX = 3000 };

/* Errors that lack of memory or descriptors may show as: its own, and what the other side sees of
 * it. */
static int allowed(int rc)
{
	static const int ok[] = {
	    0,          -ENOMEM,     -EMFILE,   -EAGAIN,    -ECONNRESET, -ECONNREFUSED,
	    -EREMOTEIO, -EOPNOTSUPP, -ENOTCONN, -ECANCELED,
	};

	for (size_t i = 0; i < sizeof(ok) / sizeof(ok[0]); i++)
		if (rc == ok[i])
			return 1;
	return 0;
}

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

/* Much of the stack would go for it. */
static struct scenario scenario;

static void check(uint64_t n, int rc, int64_t live, int fds)
{
	if (!allowed(rc))
		fail_msg("with call %llu failing, %s ended with %s: '%s'", (unsigned long long)n,
		         scenario.step, strerrorname_np(-rc), scenario.err.text);
	if (wrap_live() != live)
		fail_msg("with call %llu failing, in %s, %lld allocations are left",
		         (unsigned long long)n, scenario.step, (long long)(wrap_live() - live));
	if (open_descriptors() != fds)
		fail_msg("with call %llu failing, in %s, %d descriptors are left",
		         (unsigned long long)n, scenario.step, open_descriptors() - fds);
}

/*
 * Run over TRANSPORT with n = 1, 2, ... until a run ends without a failure. Each
 * run must end, with success or an error that is documented, and leave neither
 * memory nor descriptors behind. Returns how many runs failed at something.
 */
static unsigned torture(enum wrap_kind kind, const char *transport)
{
	unsigned failures = 0;
	int64_t live;
	int fds;

	wrap_fail(kind, 0);
	assert_int_equal(scenario_run(&scenario, transport), 0); /* and let it make what it keeps */
	live = wrap_live();
	fds = open_descriptors();
	for (uint64_t n = 1; n < RUNS_MAX; n++) {
		int rc;

		wrap_fail(kind, n);
		rc = scenario_run(&scenario, transport);
		check(n, rc, live, fds);
		if (!wrap_failed()) {
			assert_int_equal(rc, 0);
			wrap_fail(kind, 0);
			print_message("%s: %u calls failed in turn\n", transport, failures);
			return failures;
		}
		failures++;
	}
	fail_msg("the scenario makes more than %d calls", RUNS_MAX);
	return failures;
}

static enum wrap_kind failing;

static void loopback_survives(void **state)
{
	(void)state;
	assert_true(torture(failing, "loopback") > 0);
}

static void shm_survives(void **state)
{
	(void)state;
	assert_true(torture(failing, "shm") > 0);
}

static void tcp_survives(void **state)
{
	(void)state;
	if (!fakes_install("tcp", true))
		skip(); /* a build without it */
	assert_true(torture(failing, "tcp") > 0);
}

static void rdma_survives(void **state)
{
	(void)state;
	if (!fakes_install("rdma", true))
		skip(); /* a build without it */
	assert_true(torture(failing, "rdma") > 0);
}

int torture_all(enum wrap_kind kind)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(loopback_survives),
	    cmocka_unit_test(shm_survives),
	    cmocka_unit_test(tcp_survives),
	    cmocka_unit_test(rdma_survives),
	};

	failing = kind;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
