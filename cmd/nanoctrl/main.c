/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "nanoctrl.h"
#include "options.h"
#include "sentence.h"
#include "verbs.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
    {"server", verb_server, "run in the foreground, as without a verb"},
    {"start", verb_start, "run in the background"},
    {"status", verb_status, "is it running, and does it answer"},
    {"stop", verb_stop, "end what was started in the background"},
    {"obs", verb_obs, "what agents report of themselves"},
    {"top", verb_top, "the same, live, in a terminal"},
};

enum { N_VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static int print_help(void)
{
	const char *name = nanoctrl.persona->name;

	(void)printf(
	    "usage: %s [VERB] [OPTION]...\n\n"
	    "The control plane: how services, agents and their memory find each other.\n\n",
	    name);
	for (int i = 0; i < N_VERBS; i++)
		(void)printf("  %-8s %s\n", verbs[i].name, verbs[i].help);
	(void)printf("\n  --help     this, and '%s VERB --help' for a verb\n"
	             "  --version  the version\n\noptions of the server:\n",
	             name);
	options_help(OPTIONS_SERVER);
	return EXIT_GOOD;
}

/* Results that do not reach their file are a failure too. */
static int flushed(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	say("cannot write to standard output");
	return status ? status : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	static char server[] = "server";

	(void)signal(SIGXFSZ, SIG_IGN); /* past 'ulimit -f' a write fails, with a sentence */
	nanoctrl.persona = persona_of(argc > 0 ? argv[0] : "nanoctrl");
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	                 strcmp(argv[1], "help") == 0))
		return flushed(print_help());
	if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
		(void)printf("%s %s\n", nanoctrl.persona->name, NANOCTRL_VERSION);
		return flushed(EXIT_GOOD);
	}
	if (argc < 2 || argv[1][0] == '-') {
		argv[0] = server;
		return flushed(verb_server(argc, argv));
	}
	for (int i = 0; i < N_VERBS; i++) {
		if (strcmp(argv[1], verbs[i].name) == 0)
			return flushed(verbs[i].run(argc - 1, argv + 1));
	}
	return say_usage("there is no verb '%s'", argv[1]);
}
