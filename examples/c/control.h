/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control.h - where the examples with names find a control plane: $DLSLIME_CTRL, or a nanoctrl
 * that they start for themselves and that ends with them.
 */
#ifndef EXAMPLES_CONTROL_H
#define EXAMPLES_CONTROL_H

#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>

#include <slime/agent.h>

#include "pair.h"

/* Its URL. PROGRAM is argv[0]: nanoctrl is looked for beside it and one folder up, then in PATH. */
static inline const char *control_url(const char *program)
{
	static char url[128];
	const char *given = getenv("DLSLIME_CTRL");
	char self[PATH_MAX], up[PATH_MAX + 16], *dir;
	int out[2];
	FILE *lines;

	if (given && *given)
		return given;
	if (!realpath(program, self))
		self[0] = '\0';
	dir = dirname(self);
	if (pipe(out) < 0) {
		perror("error");
		exit(1);
	}
	if (fork() == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* it goes when we go */
		(void)dup2(out[1], STDOUT_FILENO);
		(void)snprintf(up, sizeof(up), "%s/../nanoctrl", dir);
		(void)execl(up, "nanoctrl", "--port", "0", "--db", ":memory:", "--log-level",
		            "warn", (char *)NULL);
		(void)execlp("nanoctrl", "nanoctrl", "--port", "0", "--db",
		             ":memory:", "--log-level", "warn", (char *)NULL);
		perror("error: nanoctrl");
		_exit(1);
	}
	(void)close(out[1]);
	lines = fdopen(out[0], "r");
	if (!lines || fscanf(lines, "ready %127s", url) != 1) {
		(void)fprintf(stderr, "error: nanoctrl did not start\n");
		exit(1);
	}
	return url; /* LINES stays open: nanoctrl may have more to say */
}

static inline slime_agent *join(slime_ctx *ctx, const char *url, const char *alias)
{
	struct slime_agent_opts opts = {.size = sizeof(opts), .ctrl_url = url, .alias = alias};
	struct slime_error err;
	slime_agent *agent;

	must(slime_agent_create(ctx, &opts, &agent, &err), &err);
	return agent;
}

/* Memory that peers reach as NAME. */
static inline char *publish(slime_ctx *ctx, slime_agent *agent, const char *name, size_t len,
                            slime_mr **mr)
{
	struct slime_mr_opts open = {.size = sizeof(open), .access = SLIME_ACCESS_REMOTE};
	struct slime_named_mr named = {.name = name};
	struct slime_error err;
	void *memory;

	must(slime_mem_alloc(ctx, len, NULL, &memory, &err), &err);
	must(slime_mr_register(ctx, memory, len, &open, mr, &err), &err);
	named.mr = *mr;
	must(slime_agent_publish(agent, &named, 1, &err), &err);
	return memory;
}

#endif
