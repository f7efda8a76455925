/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * by_name.h - what verbs that ask the control plane have in common: their options, and an agent.
 * A build without agents has none of it but sentences that say so.
 */
#ifndef DLSLIME_BY_NAME_H
#define DLSLIME_BY_NAME_H

#include <pthread.h>
#include <stdbool.h>

#include <slime/agent.h>

#include "say.h"

struct by_name {
	const char *url; /* --ctrl, $DLSLIME_CTRL, or http://127.0.0.1:3000 */
	const char *scope;
	char *token; /* --token-file */
	const char *ca, *cert, *key;
	const char *alias; /* NULL: a passing one */
	bool json;
	int count;      /* -c of ping */
	double every_s; /* --every; 0: of links once, of ping at once */
	const char *transport;
	slime_ctx *ctx;
	slime_agent *agent;
	pthread_t teller; /* says the flight recorder on SIGUSR2 */
	bool has_teller;
};

/* The same options, for verbs that read their own: a part of their table, and by_name_take(). */
enum {
	BY_NAME_CTRL = 256,
	BY_NAME_SCOPE,
	BY_NAME_TOKEN,
	BY_NAME_CA,
	BY_NAME_CERT,
	BY_NAME_KEY,
	BY_NAME_FREE
};
#define BY_NAME_TABLE                                               \
	{"ctrl", required_argument, NULL, BY_NAME_CTRL},            \
	    {"scope", required_argument, NULL, BY_NAME_SCOPE},      \
	    {"token-file", required_argument, NULL, BY_NAME_TOKEN}, \
	    {"ca", required_argument, NULL, BY_NAME_CA},            \
	    {"cert", required_argument, NULL, BY_NAME_CERT},        \
	{                                                           \
		"key", required_argument, NULL, BY_NAME_KEY         \
	}

#ifdef DLSLIME_WITH_AGENT

/* The options' part of a help text. */
extern const char by_name_help[];

/* The defaults. */
void by_name_init(struct by_name *b);

/* Take option OPT of VERB, one of BY_NAME_TABLE. 0, or what to exit with. */
int by_name_take(struct by_name *b, const char *verb, int opt, const char *value);

/*
 * Read the options of VERB, whose letters are those of EXTRA besides ("c" count, "e"
 * every, "t" transport); *FIRST is the first word that is none. 0, or what to exit with.
 */
int by_name_options(struct by_name *b, const char *verb, const char *help, const char *extra,
                    int argc, char **argv, int *first);

/* Join the control plane. Make no thread before. 0, or what to exit with after the sentence. */
int by_name_open(struct by_name *b);
void by_name_close(struct by_name *b);

void by_name_pause(double seconds);

#else

static inline void by_name_init(struct by_name *b)
{
	(void)b;
}

static inline int by_name_take(struct by_name *b, const char *verb, int opt, const char *value)
{
	(void)b;
	(void)opt;
	(void)value;
	return say_usage(verb, "this build is without agents, so it knows no names");
}

static inline int by_name_open(struct by_name *b)
{
	(void)b;
	say("this build is without agents, so it knows no names");
	return EXIT_FAILED;
}

static inline void by_name_close(struct by_name *b)
{
	(void)b;
}

#endif
#endif
