/* SPDX-License-Identifier: BSD-3-Clause */
/* A user's program with an agent: one that listens, and its ticket. */
#include <stdio.h>
#include <string.h>

#include <slime/agent.h>
#include <slime/slime.h>

int main(void)
{
	struct slime_agent_opts opts = {.size = sizeof opts, .alias = "a", .listen = "127.0.0.1:0"};
	struct slime_error err;
	slime_agent *agent;
	slime_ctx *ctx;
	char *ticket;

	if (slime_ctx_create(NULL, &ctx, &err) != 0 ||
	    slime_agent_create(ctx, &opts, &agent, &err) != 0 ||
	    slime_agent_ticket(agent, &ticket, &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	if (strncmp(ticket, "dlslime-agent:", 14) != 0)
		return 1;
	slime_text_free(ticket);
	slime_agent_destroy(agent);
	slime_ctx_destroy(ctx);
	puts(slime_version());
	return 0;
}
