/* SPDX-License-Identifier: BSD-3-Clause */
#include "by_name.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "say.h"

const char by_name_help[] =
    "  --ctrl URL         the control plane (default: $DLSLIME_CTRL or http://127.0.0.1:3000)\n"
    "  --scope NAME       of this scope (default: none)\n"
    "  --token-file FILE  with the token that is the first line of FILE\n"
    "  --ca FILE          for https: trust this authority ($DLSLIME_CTRL_CA_FILE)\n"
    "  --cert FILE        ... show this certificate ($DLSLIME_CTRL_CERT_FILE)\n"
    "  --key FILE         ... whose key this is ($DLSLIME_CTRL_KEY_FILE)\n"
    "  --json             as JSON\n";

enum { OPT_JSON = BY_NAME_FREE, OPT_EVERY, OPT_TRANSPORT };
enum { TOKEN_MAX = 4096 };

static const struct option options[] = {
    BY_NAME_TABLE,
    {"json", no_argument, NULL, OPT_JSON},
    {"count", required_argument, NULL, 'c'},
    {"every", required_argument, NULL, OPT_EVERY},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int read_token(struct by_name *b, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[TOKEN_MAX + 2] = "";
	int error = file ? 0 : errno;

	if (file && !fgets(line, sizeof(line), file) && ferror(file))
		error = errno;
	if (file)
		(void)fclose(file);
	if (error) {
		say("cannot read the token file '%s': %s", path, strerror(error));
		return EXIT_FAILED;
	}
	line[strcspn(line, "\r\n")] = '\0';
	if (!line[0] || strlen(line) > TOKEN_MAX) {
		say("the first line of the token file '%s' is no token: 1 to %d characters", path,
		    TOKEN_MAX);
		return EXIT_FAILED;
	}
	free(b->token);
	b->token = strdup(line);
	if (!b->token)
		say("no memory for the token of '%s'", path);
	return b->token ? 0 : EXIT_FAILED;
}

/* A number from LEAST on, or -1. */
static double number(const char *text, double least)
{
	char *end;
	double value = strtod(text, &end);

	return end == text || *end || !(value >= least && value <= 1e6) ? -1 : value;
}

void by_name_init(struct by_name *b)
{
	const char *env = getenv("DLSLIME_CTRL");

	memset(b, 0, sizeof(*b));
	b->url = env && *env ? env : "http://127.0.0.1:3000";
	b->count = 4;
}

int by_name_take(struct by_name *b, const char *verb, int opt, const char *value)
{
	switch (opt) {
	case BY_NAME_CTRL:
		b->url = value;
		return 0;
	case BY_NAME_SCOPE:
		b->scope = value;
		return 0;
	case BY_NAME_TOKEN:
		return read_token(b, value);
	case BY_NAME_CA:
		b->ca = value;
		return 0;
	case BY_NAME_CERT:
		b->cert = value;
		return 0;
	case BY_NAME_KEY:
		b->key = value;
		return 0;
	default:
		return say_usage(verb, "that option is not one of this verb");
	}
}

static int take(struct by_name *b, const char *verb, const char *extra, int opt)
{
	if (opt == OPT_JSON) {
		b->json = true;
		return 0;
	}
	if (opt == 'c' && strchr(extra, 'c')) {
		b->count = (int)number(optarg, 1);
		return b->count > 0 ? 0 : say_usage(verb, "'%s' is no number of pings", optarg);
	}
	if (opt == OPT_EVERY && strchr(extra, 'e')) {
		b->every_s = number(optarg, 0.01);
		return b->every_s > 0 ? 0 : say_usage(verb, "'%s' is no time in seconds", optarg);
	}
	if (opt == OPT_TRANSPORT && strchr(extra, 't')) {
		b->transport = optarg;
		return 0;
	}
	return by_name_take(b, verb, opt, optarg);
}

int by_name_options(struct by_name *b, const char *verb, const char *help, const char *extra,
                    int argc, char **argv, int *first)
{
	int opt, rc;

	by_name_init(b);
	optind = 0;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (opt == 'h') {
			(void)printf("%s%s", help, by_name_help);
			return -1;
		}
		if (opt == '?')
			return say_usage(verb, "there is no option '%s', or it wants a value",
			                 argv[optind - 1]);
		rc = take(b, verb, extra, opt);
		if (rc)
			return rc;
	}
	*first = optind;
	return 0;
}

/* On SIGUSR2: the flight recorder of the agent on stderr. It ends with SIGUSR1, of its own only. */
static void *tell_flight(void *arg)
{
	struct by_name *b = arg;
	sigset_t signals;
	int sig;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGUSR1);
	(void)sigaddset(&signals, SIGUSR2);
	while (sigwait(&signals, &sig) == 0 && sig == SIGUSR2) {
		char *text;

		if (slime_agent_flight(b->agent, &text))
			continue;
		(void)fputs(text, stderr);
		slime_text_free(text);
	}
	return NULL;
}

/* All threads that begin after this leave the signal to the one that waits for it. */
static void block_signals(void)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGUSR1);
	(void)sigaddset(&signals, SIGUSR2);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

void by_name_pause(double seconds)
{
	struct timespec ts = {.tv_sec = (time_t)seconds,
	                      .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

	(void)nanosleep(&ts, NULL); /* a signal ends it */
}

int by_name_open(struct by_name *b)
{
	struct slime_agent_opts opts = {.size = sizeof(opts),
	                                .ctrl_url = b->url,
	                                .alias = b->alias,
	                                .scope = b->scope,
	                                .token = b->token,
	                                .ca_file = b->ca,
	                                .cert_file = b->cert,
	                                .key_file = b->key,
	                                .name_prefix = "dlslime-cli"};
	struct slime_error err;
	int rc;

	block_signals();
	rc = slime_ctx_create(NULL, &b->ctx, &err);
	if (!rc)
		rc = slime_agent_create(b->ctx, &opts, &b->agent, &err);
	if (rc) {
		say("%s", err.text);
		by_name_close(b);
		return EXIT_FAILED;
	}
	b->has_teller = pthread_create(&b->teller, NULL, tell_flight, b) == 0;
	return 0;
}

void by_name_close(struct by_name *b)
{
	if (b->has_teller) {
		(void)pthread_kill(b->teller, SIGUSR1);
		(void)pthread_join(b->teller, NULL);
	}
	slime_agent_destroy(b->agent);
	slime_ctx_destroy(b->ctx);
	free(b->token);
	memset(b, 0, sizeof(*b));
}
