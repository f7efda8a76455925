/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/test_store.c - what every store of nanoctrl must do, through its table.
 *
 *	test_store --list [STORE]     names of all cases: the same for every store
 *	test_store STORE CASE         run one case; 77: skipped
 *	test_store STORE [PREFIX...]  run all (that begin so)
 *
 * STORE is sqlite, sqlite_memory or redis. Each case runs in a process of its own,
 * with a folder of its own that is removed behind it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_rig.h"

static const struct contract_case *const files[] = {
    store_record_cases, store_list_cases, store_box_cases,
    store_time_cases,   store_end_cases,  store_shared_cases,
};
enum { N_FILES = sizeof(files) / sizeof(files[0]), CASE_SECONDS = 60 };

static void remove_dir(const char *dir)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(1);
	}
	(void)waitpid(pid, &status, 0);
}

/* The status of the process that ran it. */
static int run_case(const struct contract_case *c)
{
	char dir[] = "/tmp/slime-store-XXXXXX";
	int status = -1;
	pid_t pid;

	if (!mkdtemp(dir) || setenv("STORE_RIG_DIR", dir, 1))
		return -1;
	pid = fork();
	if (pid == 0) {
		(void)alarm(CASE_SECONDS);
		c->run();
		exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	remove_dir(dir);
	return status;
}

static int run_named(const char *name)
{
	for (size_t f = 0; f < N_FILES; f++) {
		for (const struct contract_case *c = files[f]; c->name; c++) {
			int status;

			if (strcmp(c->name, name))
				continue;
			status = run_case(c);
			if (WIFSIGNALED(status))
				(void)fprintf(stderr, "%s\n", strsignal(WTERMSIG(status)));
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		}
	}
	return -1;
}

static bool selected(char **prefix, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strncmp(name, prefix[i], strlen(prefix[i])))
			return true;
	return n == 0;
}

static int run_all(char **prefix, int n)
{
	int failed = 0, ran = 0;

	for (size_t f = 0; f < N_FILES; f++) {
		for (const struct contract_case *c = files[f]; c->name; c++) {
			int64_t began = now_ns();
			int rc;

			if (!selected(prefix, n, c->name))
				continue;
			rc = run_named(c->name);
			ran++;
			failed += rc != 0 && rc != TEST_SKIPPED;
			printf("%-70s %s %lld ms\n", c->name,
			       rc == 0              ? "ok"
			       : rc == TEST_SKIPPED ? "skipped"
			                            : "FAILED",
			       (long long)((now_ns() - began) / NS_PER_MS));
		}
	}
	printf("%d ran, %d failed\n", ran, failed);
	return failed || !ran;
}

int main(int argc, char **argv)
{
	int rc;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if ((argc == 2 || argc == 3) && !strcmp(argv[1], "--list")) {
		for (size_t f = 0; f < N_FILES; f++)
			for (const struct contract_case *c = files[f]; c->name; c++)
				puts(c->name);
		return 0;
	}
	if (argc < 2) {
		(void)fprintf(stderr, "usage: test_store --list [STORE] | STORE [CASE]\n");
		return 2;
	}
	env.transport = argv[1];
	rc = argc == 3 ? run_named(argv[2]) : -1;
	return rc >= 0 ? rc : run_all(argv + 2, argc - 2);
}
