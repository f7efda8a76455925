/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/obs_options.c - the command line of the verbs obs and top. */
#include <getopt.h>
#include <stdlib.h>

#include "obs.h"
#include "options.h"
#include "runtime_dir.h"
#include "sentence.h"

enum { STALE_MS = 45000, EVERY_MS = 1000 };

/* TEXT as a number of at least LEAST. */
static bool take_number(const char *text, double least, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return end != text && !*end && *out >= least && *out < 1e12;
}

/* OPTION: as it was written. */
static int take(struct obs_options *o, int c, const char *option)
{
	double number;

	switch (c) {
	case 'r':
		o->place.redis_url = optarg;
		return 0;
	case 'a':
		o->place.address = optarg;
		return 0;
	case 't':
		o->place.token = optarg;
		return 0;
	case 's':
		o->place.scope = optarg;
		return 0;
	case 'm':
		if (!take_number(optarg, 0, &number))
			return say_usage("--stale-ms is '%s', not a number", optarg) + 1;
		o->stale_ms = (int64_t)number;
		return 0;
	case 'i':
		if (!take_number(optarg, 0.1, &number))
			return say_usage("--interval is '%s', not a number of seconds from 0.1 on",
			                 optarg) +
			       1;
		o->every_ms = (int64_t)(number * 1000);
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case 'o':
		o->once = true;
		return 0;
	case 'h':
		(void)printf("usage: %s %s", nanoctrl.persona->name, o->usage);
		return EXIT_GOOD + 1;
	case ':':
		return say_usage("'%s' needs a value", option) + 1;
	default:
		return say_usage("there is no option '%s' here", option) + 1;
	}
}

/* Whoever names no place means the daemon that 'start' has started here, if there is one. */
static void find_daemon(struct obs_options *o)
{
	struct runtime_dir dir;
	struct background daemon;

	if (o->place.address || o->place.redis_url || runtime_open(&dir, false, NULL) < 0)
		return;
	if (runtime_read(&dir, &daemon) == 0 && background_runs(&daemon) && *daemon.address) {
		(void)snprintf(o->found, sizeof(o->found), "%s", daemon.address);
		o->place.address = o->found;
	}
	runtime_close(&dir);
}

int obs_options_parse(int argc, char **argv, struct obs_options *out, int *first)
{
	struct option options[12] = {
	    {"redis-url", required_argument, NULL, 'r'}, {"address", required_argument, NULL, 'a'},
	    {"token", required_argument, NULL, 't'},     {"scope", required_argument, NULL, 's'},
	    {"stale-ms", required_argument, NULL, 'm'},  {"help", no_argument, NULL, 'h'},
	};
	int n = 6, c, rc;

	if (out->takes & OBS_TAKES_JSON)
		options[n++] = (struct option){"json", no_argument, NULL, 'j'};
	if (out->takes & OBS_TAKES_TIME) {
		options[n++] = (struct option){"interval", required_argument, NULL, 'i'};
		options[n++] = (struct option){"once", no_argument, NULL, 'o'};
	}
	out->place.redis_url = options_env("REDIS_URL");
	out->stale_ms = STALE_MS;
	out->every_ms = EVERY_MS;
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) >= 0) {
		rc = take(out, c, argv[optind - 1]);
		if (rc)
			return rc;
	}
	find_daemon(out);
	*first = optind;
	return 0;
}
