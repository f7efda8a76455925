/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/test_transport.c - what every transport must do, through the
 * public interface.
 *
 *	test_transport --list [TRANSPORT]     names of all cases, or of those that tell something of
 *it test_transport TRANSPORT CASE         run one case here; 77: skipped test_transport TRANSPORT
 *[PREFIX...]  run all (that begin so), each in a process
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"
#include "fakes/fakes.h"

static const struct contract_case *const files[] = {
    connect_cases,  data_cases,    range_cases,   imm_cases,    message_cases,
    end_cases,      close_cases,   queue_cases,   thread_cases, state_cases,
    argument_cases, process_cases, checked_cases,
};
enum { N_FILES = sizeof(files) / sizeof(files[0]), CASE_SECONDS = 60 };

static const char *const suffix[VAR_N] = {
    [VAR_TWO] = "",
    [VAR_MALLOC] = "_in_malloc_memory",
    [VAR_ONE] = "_in_one_context",
    [VAR_MANUAL] = "_with_manual_progress",
    [VAR_LANES] = "_over_four_lanes",
};

struct tally {
	int passed, skipped, failed;
};

typedef void each_fn(const struct contract_case *c, enum variant v, const char *name, void *arg);

static void for_each_case(each_fn *fn, void *arg)
{
	char name[128];

	for (size_t f = 0; f < N_FILES; f++) {
		for (const struct contract_case *c = files[f]; c->name; c++) {
			for (int v = 0; v < VAR_N; v++) {
				if (!(c->variants & 1u << v))
					continue;
				(void)snprintf(name, sizeof(name), "%s%s", c->name, suffix[v]);
				fn(c, (enum variant)v, name, arg);
			}
		}
	}
}

/* Is V another way through TRANSPORT than VAR_TWO? What it ignores need not be tested again. */
static bool tells(const char *transport, enum variant v)
{
	if (v == VAR_MALLOC)
		return !strcmp(transport, "shm");
	if (v == VAR_LANES)
		return !strcmp(transport, "tcp") || !strcmp(transport, "rdma");
	return true;
}

static void print_name(const struct contract_case *c, enum variant v, const char *name, void *arg)
{
	const char *transport = arg;

	(void)c;
	if (!transport || tells(transport, v))
		puts(name);
}

/* A case that hangs is ended by SIGALRM, whose default is to end the process. */
static void run_here(const struct contract_case *c, enum variant v)
{
	env.variant = v;
	(void)alarm(CASE_SECONDS);
	c->run();
}

/* For running one case by name. */
struct wanted {
	const char *name;
	const struct contract_case *found;
	enum variant variant;
};

static void find_name(const struct contract_case *c, enum variant v, const char *name, void *arg)
{
	struct wanted *w = arg;

	if (!strcmp(name, w->name)) {
		w->found = c;
		w->variant = v;
	}
}

/* For running many, each in a process of its own. */
struct batch {
	char **prefixes;
	int n;
	struct tally tally;
};

static bool selected(const struct batch *b, const char *name)
{
	for (int i = 0; i < b->n; i++)
		if (!strncmp(name, b->prefixes[i], strlen(b->prefixes[i])))
			return true;
	return b->n == 0;
}

static void run_apart(const struct contract_case *c, enum variant v, const char *name, void *arg)
{
	struct batch *b = arg;
	int64_t began = now_ns();
	int status = 0;
	pid_t pid;

	if (!selected(b, name))
		return;
	printf("%-70s ", name);
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		run_here(c, v);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = -1;
	if (status == 0)
		b->tally.passed++;
	else if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED)
		b->tally.skipped++;
	else
		b->tally.failed++;
	if (WIFSIGNALED(status))
		printf("%s ", strsignal(WTERMSIG(status)));
	printf("%s %lld ms\n",
	       status == 0                                                ? "ok"
	       : WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED ? "skipped"
	                                                                  : "FAILED",
	       (long long)((now_ns() - began) / NS_PER_MS));
}

int main(int argc, char **argv)
{
	struct batch batch = {.prefixes = argv + 2, .n = argc - 2};
	struct wanted wanted = {0};

	if (argc > 0 && !strcmp(argv[0], "--peer"))
		return peer_main(argc, argv);
	if ((argc == 2 || argc == 3) && !strcmp(argv[1], "--list")) {
		for_each_case(print_name, argv[2]);
		return 0;
	}
	if (argc < 2) {
		(void)fprintf(stderr,
		              "usage: test_transport --list [TRANSPORT] | TRANSPORT [CASE]\n");
		return 2;
	}
	env.transport = argv[1];
	if (!fakes_install(env.transport, false)) {
		(void)fprintf(stderr, "this build is without %s\n", env.transport);
		return TEST_SKIPPED;
	}
	if (argc == 3) {
		wanted.name = argv[2];
		for_each_case(find_name, &wanted);
	}
	if (wanted.found) {
		run_here(wanted.found, wanted.variant);
		return 0;
	}
	for_each_case(run_apart, &batch);
	printf("%d passed, %d skipped, %d failed\n", batch.tally.passed, batch.tally.skipped,
	       batch.tally.failed);
	return batch.tally.failed || batch.tally.passed + batch.tally.skipped == 0;
}
