/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/pair.c */
#include "pair.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_S = 10 };

void give_up(const char *why)
{
	fprintf(stderr, "error: %s\n", why);
	exit(1);
}

void must(int rc, const struct slime_error *err)
{
	if (rc < 0)
		give_up(err->text);
}

void must_do(int rc, const char *what)
{
	if (rc < 0) {
		fprintf(stderr, "error: %s: %s\n", what, strerror(-rc));
		exit(1);
	}
}

bool pair_fork(struct side *s)
{
	pid_t parent = getpid();
	int fd[2];

	*s = (struct side){0};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
		must_do(-errno, "socketpair");
	s->server = fork();
	if (s->server < 0)
		must_do(-errno, "fork");
	s->who = s->server ? CLIENT : SERVER;
	s->fd = fd[s->who];
	(void)close(fd[1 - s->who]);
	if (s->who == SERVER) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			exit(1);
	}
	pin(s->who);
	return s->who == SERVER;
}

void give(const struct side *s, const void *packet, size_t len)
{
	if (send(s->fd, packet, len, MSG_NOSIGNAL) < 0)
		must_do(-errno, "give a packet to the other process");
}

size_t take(const struct side *s, void *packet, size_t cap)
{
	ssize_t n = recv(s->fd, packet, cap, 0);

	if (n < 0)
		must_do(-errno, "take a packet from the other process");
	if (n == 0 && s->who == SERVER)
		exit(0);
	if (n == 0)
		give_up("the server is gone");
	return (size_t)n;
}

void side_context(struct side *s, uint32_t spin_us, uint32_t peer_timeout_ms)
{
	struct slime_ctx_opts opts = {
	    .size = sizeof(opts), .spin_us = spin_us, .peer_timeout_ms = peer_timeout_ms};
	struct slime_error err;

	must(slime_ctx_create(&opts, &s->ctx, &err), &err);
}

void side_memory(struct side *s, size_t len, bool alloc)
{
	struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	struct slime_error err;
	void *mem;

	if (alloc) {
		must(slime_mem_alloc(s->ctx, len, NULL, &mem, &err), &err);
	} else {
		mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (mem == MAP_FAILED)
			must_do(-errno, "mmap");
	}
	memset(mem, 1, len);
	s->mem = mem;
	s->len = len;
	s->alloc = alloc;
	must(slime_mr_register(s->ctx, mem, len, &opts, &s->mr, &err), &err);
}

slime_ep *side_meet(const struct side *s, const char *transport)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = transport};
	struct slime_desc mine, theirs;
	struct slime_error err;
	slime_ep *ep;

	must(slime_ep_create(s->ctx, &opts, &ep, &err), &err);
	must(slime_ep_export(ep, &mine, &err), &err);
	give(s, mine.bytes, mine.len);
	theirs.len = (uint32_t)take(s, theirs.bytes, sizeof(theirs.bytes));
	must(slime_ep_connect(ep, &theirs, PATIENCE_S * s_ns, &err), &err);
	return ep;
}

void side_connect(struct side *s, const char *transport)
{
	struct slime_desc desc;
	struct slime_error err;
	uint64_t addr;

	s->ep = side_meet(s, transport);
	if (s->who == SERVER) {
		addr = (uintptr_t)s->mem;
		must(slime_mr_export(s->mr, &desc, &err), &err);
		give(s, desc.bytes, desc.len);
		give(s, &addr, sizeof(addr));
		return;
	}
	desc.len = (uint32_t)take(s, desc.bytes, sizeof(desc.bytes));
	must(slime_ep_import(s->ep, &desc, &s->rmr, &err), &err);
	(void)take(s, &s->rmem, sizeof(s->rmem));
}

void side_end(struct side *s)
{
	int status = 0;

	slime_rmr_release(s->rmr);
	slime_ep_destroy(s->ep);
	slime_mr_deregister(s->mr);
	if (s->alloc)
		slime_mem_free(s->ctx, s->mem);
	else if (s->mem)
		(void)munmap(s->mem, s->len);
	slime_ctx_destroy(s->ctx);
	(void)close(s->fd);
	if (s->who == CLIENT && (waitpid(s->server, &status, 0) < 0 ||
	                         (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))))
		give_up("the server failed");
	*s = (struct side){0};
}
