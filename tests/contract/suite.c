/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/suite.c - main() of a suite whose cases run once each, not per transport. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"

enum { CASE_SECONDS = 60 };

static void run_here(const struct contract_case *c)
{
	(void)alarm(CASE_SECONDS);
	c->run();
}

/* In a process of its own; 1: it failed. */
static int run_apart(const struct contract_case *c)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		run_here(c);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED)
		status = 0;
	printf("%-70s %s\n", c->name, status ? "FAILED" : "ok");
	(void)fflush(stdout);
	return status != 0;
}

int suite_main(const struct contract_case *const *files, int argc, char **argv)
{
	int failed = 0;

	if (argc > 0 && !strcmp(argv[0], "--peer"))
		return peer_main(argc, argv);
	for (; *files; files++)
		for (const struct contract_case *c = *files; c->name; c++) {
			if (argc < 2) {
				failed += run_apart(c);
			} else if (!strcmp(argv[1], "--list")) {
				puts(c->name);
			} else if (!strcmp(argv[1], c->name)) {
				run_here(c);
				return 0;
			}
		}
	if (argc < 2)
		printf("%d failed\n", failed);
	else if (strcmp(argv[1], "--list"))
		(void)fprintf(stderr, "no case '%s'\n", argv[1]);
	return argc < 2 ? failed != 0 : strcmp(argv[1], "--list") ? 2 : 0;
}
