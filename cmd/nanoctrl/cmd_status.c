/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "options.h"
#include "probe.h"
#include "runtime_dir.h"
#include "sentence.h"
#include "verbs.h"

enum { PATIENCE_MS = 2000 };

static bool print_health(const char *address)
{
	char why[200];

	if (probe(address, PATIENCE_MS, why, sizeof(why)) == 0) {
		(void)printf("health: ok\n");
		return true;
	}
	(void)printf("health: down (%s)\n", why);
	return false;
}

/* Nothing that start has left: somebody else may have started it. */
static int status_of_stranger(const char *address)
{
	const char *name = nanoctrl.persona->name;
	char why[200];

	/* the two names differ in their words, as those that they stand for do */
	if (!nanoctrl.persona->cleanup_drops_stream) {
		(void)printf("%s is not running (no pid file)\n", name);
		(void)print_health(address);
		return EXIT_FAILED;
	}
	if (probe(address, PATIENCE_MS, why, sizeof(why)) < 0) {
		(void)printf("%s is not running\naddress: %s\nhealth: down (%s)\n", name, address,
		             why);
		return EXIT_FAILED;
	}
	(void)printf("%s is running (managed externally \u2014 no pid file)\naddress: %s\n"
	             "health: ok\n",
	             name, address);
	return EXIT_GOOD;
}

int verb_status(int argc, char **argv)
{
	struct options options;
	struct runtime_dir dir;
	struct background background;
	struct slime_error err;
	const char *address;
	char usual[64];
	bool runs;
	int status = options_parse(argc, argv, OPTIONS_STATUS, &options) - 1;

	if (status >= 0)
		return status;
	if (runtime_open(&dir, false, &err) < 0) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	(void)snprintf(usual, sizeof(usual), "http://127.0.0.1:%u", nanoctrl.persona->port);
	if (runtime_read(&dir, &background) < 0) {
		runtime_close(&dir);
		return status_of_stranger(options.address ? options.address : usual);
	}
	address = options.address       ? options.address
	          : *background.address ? background.address
	                                : usual;
	runs = background_runs(&background);
	(void)printf("pid: %d\nprocess: %s\naddress: %s\n", (int)background.pid,
	             runs ? "running" : "not running", address);
	(void)print_health(address);
	(void)printf("log: %s\n", *background.log ? background.log : dir.log);
	if (!runs)
		runtime_clear(&dir);
	runtime_close(&dir);
	return runs ? EXIT_GOOD : EXIT_FAILED;
}
