/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A service that survives the restarts of its peer.
 *
 * The owner is killed, not asked to go, and started again under the same name,
 * with other memory. The reader does nothing about that: its next transfer by
 * name goes to the new one, and never reads what was the old one's.
 *
 *	10_survive [TRANSPORT]	uses the nanoctrl of $DLSLIME_CTRL, or starts one
 */
#include "control.h"

enum { LEN = 4096, LIVES = 4 };

/* Publish a block that says which life this is, tell that it is there, and wait to be killed. */
__attribute__((noreturn)) static void owner(const char *url, int life, int tell)
{
	struct slime_error err;
	slime_agent *agent;
	slime_ctx *ctx;
	slime_mr *mr;
	char *block;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	agent = join(ctx, url, "owner");
	block = publish(ctx, agent, "block", LEN, &mr);
	(void)snprintf(block, LEN, "life %d", life);
	(void)write(tell, "!", 1);
	for (;;)
		(void)pause();
}

static pid_t start_owner(const char *url, int life)
{
	int fd[2];
	pid_t child;
	char byte;

	if (pipe(fd) || (child = fork()) < 0) {
		perror("error");
		exit(1);
	}
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		owner(url, life, fd[1]);
	}
	(void)close(fd[1]);
	expect(read(fd[0], &byte, 1) == 1, "the owner is there");
	(void)close(fd[0]);
	return child;
}

int main(int argc, char **argv)
{
	struct slime_ep_opts how = {.size = sizeof(how), .transport = argc > 1 ? argv[1] : NULL};
	struct slime_submit limit = {.size = sizeof(limit), .timeout_ns = 5 * SECOND};
	const char *url = control_url(argv[0]);
	struct slime_error err;
	slime_agent *agent;
	slime_link *link = NULL;
	slime_ctx *ctx = NULL;
	slime_mr *mr;
	char *memory, want[16];
	pid_t child;

	for (int life = 1; life <= LIVES; life++) {
		struct slime_named_seg seg = {.remote = "block", .len = LEN};
		slime_op *op;

		child = start_owner(url, life); /* before our threads are there, the first time */
		if (!ctx) {
			must(slime_ctx_create(NULL, &ctx, &err), &err);
			agent = join(ctx, url, "reader");
			memory = publish(ctx, agent, "mine", LEN, &mr);
			must(slime_agent_connect(agent, "owner", &how, &link, &err), &err);
		}
		seg.local = "mine";
		(void)snprintf(want, sizeof(want), "life %d", life);
		must_move(slime_link_read(link, &seg, 1, &limit, &op), "submit the read");
		(void)finish(op, "read");
		printf("read \"%s\"\n", memory);
		expect(!strcmp(memory, want), "what the living owner says");
		(void)kill(child, SIGKILL);
		(void)waitpid(child, NULL, 0);
	}
	slime_link_close(link);
	slime_agent_destroy(agent);
	slime_mr_deregister(mr);
	slime_mem_free(ctx, memory);
	slime_ctx_destroy(ctx);
	return 0;
}
