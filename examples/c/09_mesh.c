/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mesh of eight agents, each of which reads a block of every other.
 *
 * All are started at once, in any order: a link waits for its peer, and two that
 * call each other at the same time end up with one link.
 *
 *	09_mesh [TRANSPORT]	uses the nanoctrl of $DLSLIME_CTRL, or starts one
 */
#include "control.h"

enum { N = 8, LEN = 4096 };

static const char *name_of(int i)
{
	static char name[N][16];

	(void)snprintf(name[i], sizeof(name[i]), "rank-%d", i);
	return name[i];
}

/* Read the blocks of the others, all in flight together. */
static void gather(slime_mr *mr, const char *into, slime_link **link, int rank)
{
	slime_op *op[N];

	for (int i = 0; i < N; i++) {
		struct slime_named_seg seg = {
		    .local_mr = mr, .local_off = (uint64_t)i * LEN, .remote = "block", .len = LEN};

		if (i != rank)
			must_move(slime_link_read(link[i], &seg, 1, NULL, &op[i]), "submit a read");
	}
	for (int i = 0; i < N; i++) {
		if (i == rank)
			continue;
		(void)finish(op[i], "read");
		expect(!strcmp(into + (ptrdiff_t)i * LEN, name_of(i)), "the block of a peer");
	}
}

static void run(int rank, const char *url, const char *transport, const int barrier[2])
{
	struct slime_ep_opts how = {.size = sizeof(how), .transport = transport};
	static char into[N * LEN];
	slime_link *link[N] = {NULL};
	struct slime_error err;
	slime_agent *agent;
	slime_mr *mr, *own;
	slime_ctx *ctx;
	char *block, byte;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, into, sizeof(into), NULL, &mr, &err), &err);
	agent = join(ctx, url, name_of(rank));
	block = publish(ctx, agent, "block", LEN, &own);
	(void)strcpy(block, name_of(rank));

	for (int i = 0; i < N; i++) {
		if (i != rank)
			must(slime_agent_connect(agent, name_of(i), &how, &link[i], &err), &err);
	}
	for (int i = 0; i < N; i++) {
		if (i != rank)
			must(slime_link_wait(link[i], 20 * SECOND, &err), &err);
	}
	gather(mr, into, link, rank);

	/* Stay until all have read: the pipe ends when the last one closes its end. */
	(void)close(barrier[1]);
	expect(read(barrier[0], &byte, 1) == 0, "the end of the pipe");

	for (int i = 0; i < N; i++)
		slime_link_close(link[i]);
	slime_agent_destroy(agent);
	slime_mr_deregister(own);
	slime_mr_deregister(mr);
	slime_mem_free(ctx, block);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	const char *url = control_url(argv[0]);
	int fd[2], status, failed = 0;
	pid_t child[N];

	if (pipe(fd)) {
		perror("error");
		return 1;
	}
	for (int i = 0; i < N; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			run(i, url, argc > 1 ? argv[1] : NULL, fd);
			exit(0);
		}
	}
	(void)close(fd[1]);
	for (int i = 0; i < N; i++)
		failed += child[i] < 0 || waitpid(child[i], &status, 0) < 0 || status;
	if (!failed)
		printf("%d agents, %d links, every block read\n", N, N * (N - 1) / 2);
	return failed != 0;
}
