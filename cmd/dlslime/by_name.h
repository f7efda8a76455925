/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * by_name.h - what verbs that ask the control plane have in common: their options, and an agent.
 */
#ifndef DLSLIME_BY_NAME_H
#define DLSLIME_BY_NAME_H

#include <pthread.h>
#include <stdbool.h>

#include <slime/agent.h>

struct by_name {
	const char *url; /* --ctrl, $DLSLIME_CTRL, or http://127.0.0.1:3000 */
	const char *scope;
	char *token; /* --token-file */
	bool json;
	int count;      /* -c of ping */
	double every_s; /* --every of links; 0: once */
	const char *transport;
	slime_ctx *ctx;
	slime_agent *agent;
	pthread_t teller; /* says the flight recorder on SIGUSR2 */
	bool has_teller;
};

/* The options' part of a help text. */
extern const char by_name_help[];

/*
 * Read the options of VERB, whose letters are those of EXTRA besides ("c" count, "e"
 * every, "t" transport); *FIRST is the first word that is none. 0, or what to exit with.
 */
int by_name_options(struct by_name *b, const char *verb, const char *help, const char *extra,
                    int argc, char **argv, int *first);

/* Join the control plane under a passing name. 0, or what to exit with after the sentence. */
int by_name_open(struct by_name *b);
void by_name_close(struct by_name *b);

#endif
