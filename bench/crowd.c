/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many endpoints between two processes: what they cost to make, to have, and to leave alone.
 *
 *	crowd idle tcp|shm N SECONDS
 *	crowd connect tcp|shm N		one after the other, as both sides agree
 *	crowd together tcp|shm N	all begun before the first is waited for
 *
 * Memory is resident pages of the process, which leaves out what the kernel
 * keeps for a socket.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "pair.h"

enum { N_MAX = 10000, LIMIT_S = 140 };

struct state {
	double cpu_s;
	double rss;
};

static struct state look(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	struct state st = {0};
	struct timespec ts;
	long pages = 0;

	if (!f || fscanf(f, "%*s %ld", &pages) != 1)
		give_up("cannot read /proc/self/statm");
	(void)fclose(f);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	st.cpu_s = (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
	st.rss = (double)pages * (double)sysconf(_SC_PAGESIZE);
	return st;
}

static void allow_files(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static slime_ep *eps[N_MAX];

/* As an engine would: create all, swap all descriptions, connect all. */
static void meet_all(struct side *s, const char *transport, int n, bool together)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = transport};
	struct slime_desc *theirs = calloc((size_t)n, sizeof(*theirs)), mine;
	struct slime_error err;

	if (!theirs)
		give_up("no memory for descriptions");
	for (int i = 0; i < n; i++) {
		must(slime_ep_create(s->ctx, &opts, &eps[i], &err), &err);
		must(slime_ep_export(eps[i], &mine, &err), &err);
		give(s, mine.bytes, mine.len);
		theirs[i].len = (uint32_t)take(s, theirs[i].bytes, sizeof(theirs[i].bytes));
	}
	for (int i = 0; together && i < n; i++) {
		int rc = slime_ep_connect(eps[i], &theirs[i], 0, &err);

		if (rc != -ETIMEDOUT)
			must(rc, &err);
	}
	for (int i = 0; i < n; i++) {
		int rc = slime_ep_connect(eps[i], &theirs[i], 30 * s_ns, &err);

		if (rc != -EISCONN)
			must(rc, &err);
	}
	free(theirs);
}

static void report_state(const struct side *s)
{
	struct state st = look();

	give(s, &st, sizeof(st));
}

static struct state ask_state(const struct side *s)
{
	struct state st;
	char byte = 0;

	give(s, &byte, 1);
	(void)take(s, &st, sizeof(st));
	return st;
}

static void serve(struct side *s, const char *transport, int n, bool together)
{
	char byte;

	(void)take(s, &byte, 1);
	report_state(s);
	meet_all(s, transport, n, together);
	for (;;) {
		(void)take(s, &byte, 1);
		report_state(s);
	}
}

static void both(const char *name, const char *transport, int n, const char *metric, double here,
                 double there, const char *unit)
{
	char what[64];

	(void)snprintf(what, sizeof(what), "%s-%s", transport, name);
	figure(what, 0, (uint64_t)n, metric, here > there ? here : there, unit);
}

static void connect_many(struct side *s, const char *transport, int n, bool together)
{
	struct state there = ask_state(s), here = look();
	int64_t began = now_ns();
	struct state after;
	double kib_here, kib_there, took;

	meet_all(s, transport, n, together);
	after = ask_state(s); /* answered when the other side is through, too */
	took = (double)(now_ns() - began) / (double)s_ns;
	kib_there = (after.rss - there.rss) / n / KIB;
	kib_here = (look().rss - here.rss) / n / KIB;
	both(together ? "endpoints-connect-together" : "endpoints-connect", transport, n, "time",
	     took, took, "s");
	both("endpoints-memory", transport, n, "each", kib_here, kib_there, "KiB");
}

static void stay_idle(struct side *s, const char *transport, int n, int seconds)
{
	struct timespec ts = {.tv_sec = seconds};
	struct state there, here, there_after, here_after;

	(void)ask_state(s);
	meet_all(s, transport, n, false);
	(void)ask_state(s);
	/* The time after the connects is not idle yet. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_sec = 1}, NULL);
	there = ask_state(s);
	here = look();
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
	here_after = look();
	there_after = ask_state(s);
	both("idle-endpoints", transport, n, "cpu", (here_after.cpu_s - here.cpu_s) / seconds * 100,
	     (there_after.cpu_s - there.cpu_s) / seconds * 100, "%");
	both("idle-endpoints", transport, n, "rss", here_after.rss / MIB, there_after.rss / MIB,
	     "MiB");
}

int main(int argc, char **argv)
{
	bool idle = argc == 5 && strcmp(argv[1], "idle") == 0;
	bool connect = argc == 4 && strcmp(argv[1], "connect") == 0;
	bool together = argc == 4 && strcmp(argv[1], "together") == 0;
	int n = argc >= 4 ? atoi(argv[3]) : 0;
	struct side s;
	bool server;

	if ((!idle && !connect && !together) || n < 1 || n > N_MAX) {
		fprintf(
		    stderr,
		    "usage: crowd idle tcp|shm N SECONDS, or crowd connect|together tcp|shm N\n");
		return 2;
	}
	allow_files();
	server = pair_fork(&s);
	(void)alarm(LIMIT_S);
	side_context(&s, 0, 0);
	if (server)
		serve(&s, argv[2], n, together);
	if (idle)
		stay_idle(&s, argv[2], n, atoi(argv[4]));
	else
		connect_many(&s, argv[2], n, together);
	for (int i = 0; i < n; i++)
		slime_ep_destroy(eps[i]);
	side_end(&s);
	return 0;
}
