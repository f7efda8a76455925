/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pair.h - how the two processes of an example meet. 01_read.c explains each step.
 *
 * Errors end the process with a sentence: fine for an example.
 */
#ifndef EXAMPLES_PAIR_H
#define EXAMPLES_PAIR_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <slime/slime.h>

#define SECOND      1000000000LL
#define MILLISECOND 1000000LL

struct pair {
	int fd;                /* a socket to the other process */
	const char *transport; /* the first argument of the program; NULL: the best one */
};

/* Set-up calls explain their failure in one sentence. Print it, and end. */
static inline void must(int rc, const struct slime_error *err)
{
	if (rc < 0) {
		fprintf(stderr, "error: %s\n", err->text);
		exit(1);
	}
}

/* Transfers have a status only. */
static inline void must_move(int rc, const char *what)
{
	if (rc < 0) {
		fprintf(stderr, "error: %s: %s\n", what, strerror(-rc));
		exit(1);
	}
}

static inline void expect(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "error: not as expected: %s\n", what);
		exit(1);
	}
}

/* Wait for OP, let go of it, and return what became of it. */
static inline struct slime_result finish(slime_op *op, const char *what)
{
	struct slime_result res;

	must_move(slime_op_wait(op, 5 * SECOND, &res), what);
	slime_op_release(op);
	return res;
}

/* A description is LEN bytes. Carry them as you like; here, as a packet. */
static inline void give(const struct pair *p, const struct slime_desc *desc)
{
	ssize_t n = send(p->fd, desc->bytes, desc->len, MSG_NOSIGNAL);

	must_move(n < 0 ? -errno : 0, "give a description");
}

static inline void take(const struct pair *p, struct slime_desc *desc)
{
	ssize_t n = recv(p->fd, desc->bytes, sizeof(desc->bytes), 0);

	must_move(n < 0 ? -errno : n == 0 ? -ECONNRESET : 0, "take a description");
	desc->len = (uint32_t)n;
}

/* Both sides do the same: create an endpoint, swap descriptions, connect. */
static inline slime_ep *meet(const struct pair *p, slime_ctx *ctx)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = p->transport};
	struct slime_desc mine, theirs;
	struct slime_error err;
	slime_ep *ep;

	must(slime_ep_create(ctx, &opts, &ep, &err), &err);
	must(slime_ep_export(ep, &mine, &err), &err);
	give(p, &mine);
	take(p, &theirs);
	must(slime_ep_connect(ep, &theirs, 5 * SECOND, &err), &err);
	return ep;
}

/* Wait until the other process is here too, or has ended. */
static inline void rendezvous(const struct pair *p)
{
	char byte = 0;

	(void)send(p->fd, &byte, 1, MSG_NOSIGNAL);
	(void)recv(p->fd, &byte, 1, 0);
}

/* Run HERE in this process and THERE in a child; non-zero if either fails. */
static inline int pair_run(int argc, char **argv, void (*here)(const struct pair *),
                           void (*there)(const struct pair *))
{
	struct pair p = {.transport = argc > 1 ? argv[1] : NULL};
	int fd[2], status;
	pid_t child;

	/* Fork first: a context has threads, and threads do not survive a fork. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd) || (child = fork()) < 0) {
		perror("error");
		return 1;
	}
	p.fd = fd[child ? 0 : 1];
	close(fd[child ? 1 : 0]);
	(child ? here : there)(&p);
	close(p.fd);
	if (fflush(stdout) || ferror(stdout)) {
		perror("error: standard output");
		return 1;
	}
	return child && (waitpid(child, &status, 0) != child || status);
}

#endif
