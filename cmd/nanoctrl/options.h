/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/options.h - the command line and the environment. Before the loop runs. */
#ifndef NANOCTRL_OPTIONS_H
#define NANOCTRL_OPTIONS_H

#include <stdbool.h>

#include <slime/base.h>

#include "nanoctrl.h"
#include "server.h"

enum { OPTIONS_MAX_FORWARD = 96 };

/* Pointers are to the command line, the environment or constants. */
struct options {
	const char *host;
	uint16_t port;
	const char *listen[SERVER_MAX_LISTENERS]; /* besides or instead of host and port */
	size_t n_listen;
	const char *redis_url, *db; /* one of them */
	const char *token_file;
	const char *tls_cert, *tls_key, *tls_client_ca;
	struct server_opts server;
	unsigned int drain_s;
	struct quota quota;
	const char *log_file; /* NULL: stderr, or of start: in the runtime directory */
	enum slime_log_level log_level;

	const char *health_host, *address; /* of start; of status */
	uint16_t health_port;
	double wait_s; /* of start and stop */
	bool force;

	/* what start hands on to the server: words of the command line */
	const char *forward[OPTIONS_MAX_FORWARD];
	size_t n_forward;
};

/* Which options a verb has. */
enum option_set { OPTIONS_SERVER = 1, OPTIONS_START = 2, OPTIONS_STATUS = 4, OPTIONS_STOP = 8 };

/*
 * Read the options of VERB (ARGV[0]) that are in SETS. 0; or what to exit with, plus one, after
 * the fault has been said or the help printed.
 */
int options_parse(int argc, char **argv, unsigned int sets, struct options *out);
/* The help of the options in SETS, on stdout. */
void options_help(unsigned int sets);
/* Variable NAME of this persona, "REDIS_URL"; NULL: unset or empty. */
const char *options_env(const char *name);
/* The default place of the database, made if need be. -errno with a sentence. */
int options_default_db(char *out, size_t cap, struct slime_error *err);

#endif
