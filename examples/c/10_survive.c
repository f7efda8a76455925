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
	expect(write(tell, "!", 1) == 1, "somebody waits for us");
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

/* Every life of the owner is read from once, and then ended. */
static void read_lives(const char *url, slime_link *link, const char *memory, pid_t child)
{
	struct slime_submit limit = {.size = sizeof(limit), .timeout_ns = 5 * SECOND};
	struct slime_named_seg seg = {.local = "mine", .remote = "block", .len = LEN};
	char want[16];

	for (int life = 1; life <= LIVES; life++) {
		slime_op *op;

		if (life > 1)
			child = start_owner(url, life);
		(void)snprintf(want, sizeof(want), "life %d", life);
		must_move(slime_link_read(link, &seg, 1, &limit, &op), "submit the read");
		(void)finish(op, "read");
		printf("read \"%s\"\n", memory);
		expect(!strcmp(memory, want), "what the living owner says");
		(void)kill(child, SIGKILL);
		(void)waitpid(child, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	struct slime_ep_opts how = {.size = sizeof(how), .transport = argc > 1 ? argv[1] : NULL};
	const char *url = control_url(argv[0]);
	pid_t child = start_owner(url, 1); /* before our threads are there */
	struct slime_error err;
	slime_agent *agent;
	slime_link *link;
	slime_ctx *ctx;
	slime_mr *mr;
	char *memory;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	agent = join(ctx, url, "reader");
	memory = publish(ctx, agent, "mine", LEN, &mr);
	must(slime_agent_connect(agent, "owner", &how, &link, &err), &err);
	read_lives(url, link, memory, child);

	slime_link_close(link);
	slime_agent_destroy(agent);
	slime_mr_deregister(mr);
	slime_mem_free(ctx, memory);
	slime_ctx_destroy(ctx);
	return 0;
}
