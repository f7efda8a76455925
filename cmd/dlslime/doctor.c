/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <slime/slime.h>

#include "doctor_checks.h"
#include "doctor_pid.h"
#include "perf.h"
#include "say.h"
#include "verbs.h"

static const char help[] =
    "usage: dlslime doctor [--json]\n"
    "       dlslime doctor --pid PID\n"
    "\n"
    "Looks at what keeps transfers from working or from being fast here, and prints the\n"
    "command that fixes each. Moves a few bytes over each transport. Changes nothing.\n"
    "\n"
    "  --json   one JSON object on one line\n"
    "  --pid    what the links of the agents in that process of yours last did\n"
    "\n"
    "Fails only if a transport that should work does not.\n";

struct report {
	bool json;
	unsigned n_lines;
	unsigned n_of[3]; /* by level */
};

static void print_finding(struct report *r, const char *name, const struct finding *f)
{
	static const char *const words[] = {"ok", "better", "problem"};

	r->n_of[f->level]++;
	if (!r->json) {
		(void)printf("%-8s %-11s %s\n", words[f->level], name, f->found);
		if (f->fix[0])
			(void)printf("%-8s %-11s   fix: %s\n", "", "", f->fix);
		return;
	}
	(void)printf("%s{\"name\":", r->n_lines++ ? "," : "");
	print_json_string(stdout, name);
	(void)printf(",\"level\":\"%s\",\"found\":", words[f->level]);
	print_json_string(stdout, f->found);
	(void)printf(",\"fix\":");
	print_json_string(stdout, f->fix);
	(void)printf("}");
}

/* Transports that need nothing but Linux. */
static bool should_work(const char *transport)
{
	return strcmp(transport, "shm") == 0 || strcmp(transport, "tcp") == 0 ||
	       strcmp(transport, "loopback") == 0;
}

/* Move some bytes to the process at AT and back. */
static void try_transport(slime_ctx *ctx, const char *name, const struct address *at,
                          struct finding *f)
{
	static struct perf_result res;
	struct slime_error err = {0};
	struct perf_opts o = {.at = *at, .threads = 1, .footprint = 1 << 20, .iters = 200};

	o.shape = (struct perf_shape){
	    .op = PERF_WRITE, .depth = 1, .batch = 1, .size = 4096, .stride = 4096, .verify = true};
	(void)snprintf(o.shape.transport, sizeof(o.shape.transport), "%s", name);
	if (perf_measure(ctx, &o, &res, &err) < 0)
		found(f, LEVEL_PROBLEM, "moves nothing between two processes here: %s", err.text);
	else if (res.n_bad)
		found(f, LEVEL_PROBLEM, "%llu of %llu writes brought wrong bytes or none",
		      (unsigned long long)res.n_bad, (unsigned long long)res.ops);
	else
		found(f, LEVEL_OK, "moves bytes between two processes, 4 KiB in %.1f us",
		      (double)histogram_at(&res.latency, 0.5) / 1e3);
}

static void look_device(slime_ctx *ctx, const struct slime_device *d, const struct address *at,
                        struct finding *f)
{
	if (d->status < 0) {
		found(f, should_work(d->transport) ? LEVEL_PROBLEM : LEVEL_OK, "not usable: %s",
		      d->reason);
		if (f->level == LEVEL_PROBLEM)
			fix(f, "dlslime info");
	} else if (at && strcmp(d->transport, "loopback") != 0) {
		try_transport(ctx, d->transport, at, f);
		if (f->level == LEVEL_PROBLEM)
			fix(f, "dlslime perf local --transport %s --verify", d->transport);
	} else {
		found(f, LEVEL_OK, "usable");
	}
}

/* Each transport once, with its best device. AT: where a server of perf is, or NULL. */
static int look_transports(struct report *r, const struct address *at, struct slime_error *err)
{
	struct slime_device *devices = NULL;
	slime_ctx *ctx;
	int rc = slime_ctx_create(NULL, &ctx, err);
	int n;

	if (rc < 0)
		return rc;
	n = slime_ctx_devices(ctx, NULL, 0);
	if (n > 0)
		devices = calloc((size_t)n, sizeof(*devices));
	if (devices)
		n = slime_ctx_devices(ctx, devices, (size_t)n);
	for (int i = 0; devices && i < n; i++) {
		struct finding f = {0};

		if (i > 0 && strcmp(devices[i].transport, devices[i - 1].transport) == 0)
			continue;
		look_device(ctx, &devices[i], at, &f);
		print_finding(r, devices[i].transport, &f);
	}
	free(devices);
	slime_ctx_destroy(ctx);
	return 0;
}

static void look_all(struct report *r, const struct check *checks, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct finding f = {0};

		checks[i].look(&f);
		if (f.found[0])
			print_finding(r, checks[i].name, &f);
	}
}

static int examine(struct report *r)
{
	struct slime_error err = {0};
	struct address at;
	/* before there is any thread */
	int pid = perf_fork_server(-1, &at, &err);
	int rc;

	if (pid < 0)
		say("%s", err.text);
	if (r->json)
		(void)printf("{\"checks\":[");
	look_all(r, doctor_checks, n_doctor_checks);
	look_all(r, doctor_rdma_checks, n_doctor_rdma_checks);
	rc = look_transports(r, pid < 0 ? NULL : &at, &err);
	if (r->json)
		(void)printf("],\"ok\":%u,\"better\":%u,\"problems\":%u,\"version\":\"%s\"}\n",
		             r->n_of[LEVEL_OK], r->n_of[LEVEL_BETTER], r->n_of[LEVEL_PROBLEM],
		             slime_version());
	else
		(void)printf("\n%u ok, %u could be better, %u problem%s\n", r->n_of[LEVEL_OK],
		             r->n_of[LEVEL_BETTER], r->n_of[LEVEL_PROBLEM],
		             r->n_of[LEVEL_PROBLEM] == 1 ? "" : "s");
	if (rc < 0)
		say("%s", err.text);
	if (pid > 0)
		perf_end_server(pid);
	return rc < 0 || pid < 0 || r->n_of[LEVEL_PROBLEM] ? EXIT_FAILED : EXIT_GOOD;
}

int verb_doctor(int argc, char **argv)
{
	static const struct option options[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"json", no_argument, NULL, 'j'},
	    {"pid", required_argument, NULL, 'p'},
	    {0},
	};
	struct report r = {0};
	const char *pid = NULL;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			(void)fputs(help, stdout);
			return EXIT_GOOD;
		}
		if (c == ':')
			return say_usage("doctor", "option '%s' wants a value", argv[optind - 1]);
		if (c == '?')
			return say_usage("doctor", "doctor has no option '%s'", argv[optind - 1]);
		if (c == 'p')
			pid = optarg;
		else
			r.json = true;
	}
	if (optind < argc)
		return say_usage("doctor", "doctor takes no argument '%s'", argv[optind]);
	return pid ? doctor_pid(pid) : examine(&r);
}
