/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <slime/slime.h>

#include "info_rdma.h"
#include "say.h"
#include "size.h"
#include "verbs.h"

static const char help[] =
    "usage: dlslime info [--json | --env]\n"
    "\n"
    "What this machine can use: every transport that this version knows, with its\n"
    "devices or the reason why it has none, and the RDMA ports of this machine, each\n"
    "with its addresses and which of them is taken.\n"
    "\n"
    "  --json   the same as one JSON object on one line\n"
    "  --env    the environment variables that change what the library does\n";

struct facts {
	struct utsname host;
	uint64_t memory;
	long n_cpus;
	struct slime_device *devices;
	size_t n_devices;
	struct rdma_facts rdma;
};

#ifdef __clang__
static const char compiler[] = __VERSION__;
#else
static const char compiler[] = "gcc " __VERSION__;
#endif
#ifdef __OPTIMIZE__
static const char optimized[] = "yes";
#else
static const char optimized[] = "no";
#endif

static int gather(struct facts *f, struct slime_error *err)
{
	slime_ctx *ctx;
	int n;
	int rc;

	(void)uname(&f->host);
	f->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	f->n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	rc = rdma_facts_get(&f->rdma, err);
	if (rc < 0)
		return rc;
	rc = slime_ctx_create(NULL, &ctx, err);
	if (rc < 0)
		return rc;
	n = slime_ctx_devices(ctx, NULL, 0);
	if (n > 0) {
		f->devices = calloc((size_t)n, sizeof(*f->devices));
		rc = f->devices ? slime_ctx_devices(ctx, f->devices, (size_t)n) : -1;
		f->n_devices = rc < n ? (size_t)(rc < 0 ? 0 : rc) : (size_t)n;
	}
	slime_ctx_destroy(ctx);
	if (n < 0 || rc < 0)
		return refuse(err, -1, "the devices cannot be listed");
	return 0;
}

static void json_field(const char *name, const char *text, const char *after)
{
	(void)printf("\"%s\":", name);
	print_json_string(stdout, text);
	(void)fputs(after, stdout);
}

static void device_json(const struct slime_device *d)
{
	(void)printf("{");
	json_field("transport", d->transport, ",");
	json_field("name", d->name, ",");
	(void)printf("\"port\":%u,\"numa\":%d,\"bytes_per_s\":%" PRIu64
	             ",\"usable\":%s,\"status\":%d,",
	             d->port, d->numa, d->bytes_per_s, d->status ? "false" : "true", d->status);
	json_field("reason", d->reason, "}");
}

static void info_json(const struct facts *f)
{
	(void)printf("{\"version\":\"%s\",\"program\":\"%d.%d.%d\",\"host\":{", slime_version(),
	             SLIME_VERSION_MAJOR, SLIME_VERSION_MINOR, SLIME_VERSION_PATCH);
	json_field("name", f->host.nodename, ",");
	json_field("system", f->host.sysname, ",");
	json_field("release", f->host.release, ",");
	json_field("machine", f->host.machine, ",");
	(void)printf("\"cpus\":%ld,\"memory\":%" PRIu64 "},\"devices\":[", f->n_cpus, f->memory);
	for (size_t i = 0; i < f->n_devices; i++) {
		(void)fputs(i ? "," : "", stdout);
		device_json(&f->devices[i]);
	}
	(void)printf("],\"rdma\":");
	info_rdma_json(&f->rdma);
	(void)printf(",\"build\":{");
	json_field("compiler", compiler, ",");
	(void)printf("\"c\":%ld,\"optimized\":%s}}\n", __STDC_VERSION__,
	             optimized[0] == 'y' ? "true" : "false");
}

static void device_line(const struct slime_device *d)
{
	(void)printf("  %-10s %-8s", d->transport, d->status ? "no" : "usable");
	if (d->name[0])
		(void)printf(" %s", d->name);
	if (d->name[0] && d->port)
		(void)printf(" port %u", d->port);
	if (d->bytes_per_s)
		(void)printf(" %.3g Gb/s", (double)d->bytes_per_s * 8 / 1e9);
	if (d->name[0] && d->numa >= 0)
		(void)printf(" numa %d", d->numa);
	if (d->reason[0])
		(void)printf("%s %s", d->name[0] ? ":" : "", d->reason);
	(void)printf("\n");
}

static void info_people(const struct facts *f)
{
	char memory[32];

	(void)printf("dlslime    %d.%d.%d, library %s\n", SLIME_VERSION_MAJOR, SLIME_VERSION_MINOR,
	             SLIME_VERSION_PATCH, slime_version());
	(void)printf("host       %s, %s %s, %s, %ld cpus, %s\n", f->host.nodename, f->host.sysname,
	             f->host.release, f->host.machine, f->n_cpus,
	             size_human(f->memory, memory, sizeof(memory)));
	(void)printf("build      %s, C %ld, optimized: %s\n", compiler, __STDC_VERSION__,
	             optimized);
	(void)printf("transports\n");
	for (size_t i = 0; i < f->n_devices; i++)
		device_line(&f->devices[i]);
	info_rdma_people(&f->rdma);
}

static int info_env(void)
{
	int n = slime_env_list(NULL, 0);
	struct slime_env *list = calloc((size_t)n, sizeof(*list));

	if (!list) {
		say("no memory for a list of %d variables", n);
		return EXIT_FAILED;
	}
	(void)slime_env_list(list, (size_t)n);
	for (int i = 0; i < n; i++) {
		const char *set = getenv(list[i].name);

		(void)printf("%s=%s\n    %s (default: %s)\n", list[i].name, set ? set : "",
		             list[i].help, list[i].fallback);
	}
	free(list);
	return EXIT_GOOD;
}

int verb_info(int argc, char **argv)
{
	static const struct option options[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"json", no_argument, NULL, 'j'},
	    {"env", no_argument, NULL, 'e'},
	    {0},
	};
	struct slime_error err = {0};
	struct facts f = {0};
	bool json = false;
	bool env = false;
	int rc;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			(void)fputs(help, stdout);
			return EXIT_GOOD;
		}
		if (c == '?')
			return say_usage("info", "info has no option '%s'", argv[optind - 1]);
		json = json || c == 'j';
		env = env || c == 'e';
	}
	if (optind < argc)
		return say_usage("info", "info takes no argument '%s'", argv[optind]);
	if (json && env)
		return say_usage("info", "--json and --env do not go together");
	if (env)
		return info_env();
	rc = gather(&f, &err);
	if (rc < 0)
		say("%s", err.text);
	else if (json)
		info_json(&f);
	else
		info_people(&f);
	free(f.devices);
	rdma_facts_put(&f.rdma);
	return rc < 0 ? EXIT_FAILED : EXIT_GOOD;
}
