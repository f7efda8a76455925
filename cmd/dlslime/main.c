/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <slime/base.h>

#include "say.h"
#include "verbs.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
    {"info", verb_info, "what this machine can use, and why not the rest"},
    {"doctor", verb_doctor, "what is wrong or could be faster here, and the command that fixes it"},
    {"perf", verb_perf, "measure transfers between two processes"},
    {"serve", verb_serve, "let others fetch files from this machine"},
    {"get", verb_get, "fetch a file that somebody serves"},
#ifdef DLSLIME_WITH_AGENT
    {"peers", verb_peers, "the agents that nanoctrl knows"},
    {"regions", verb_regions, "the memory that an agent publishes"},
    {"resources", verb_resources, "what agents tell of their hosts and devices"},
    {"ping", verb_ping, "how far an agent is, by the control plane and by the data path"},
    {"links", verb_links, "who is connected with whom, and how much moves"},
#endif
};

enum { N_VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static void print_help(void)
{
	(void)printf("usage: dlslime VERB [OPTION]...\n\n"
	             "Moves memory between processes, over what this machine has.\n\n");
	for (int i = 0; i < N_VERBS; i++)
		(void)printf("  %-9s %s\n", verbs[i].name, verbs[i].help);
	(void)printf("\n  --help      this, and 'dlslime VERB --help' for a verb\n"
	             "  --version   the version of the library\n\n"
	             "Begin with 'dlslime doctor' and 'dlslime perf local'.\n");
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
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* past 'ulimit -f' a write fails, with a sentence */
	if (argc < 2) {
		print_help();
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_help();
		return flushed(EXIT_GOOD);
	}
	if (strcmp(argv[1], "--version") == 0) {
		(void)printf("dlslime %s\n", slime_version());
		return flushed(EXIT_GOOD);
	}
	for (int i = 0; i < N_VERBS; i++) {
		if (strcmp(argv[1], verbs[i].name) == 0)
			return flushed(verbs[i].run(argc - 1, argv + 1));
	}
	return say_usage(NULL, "there is no verb '%s'", argv[1]);
}
