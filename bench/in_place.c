/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is a write in the peer's memory when it completes?
 *
 *	in_place tcp|shm alloc|malloc
 *
 * The moment a write is reported complete, the kernel is asked for what the
 * server's memory holds there (process_vm_readv): no word goes to the server,
 * so there is no delay in which late bytes could still arrive. Every write
 * carries words of its own. IN_PLACE writes of each size (100,000), of 1 MiB
 * a fiftieth of that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pair.h"

enum { WINDOW = 64 * MIB, LIMIT_S = 140, BIG_SHARE = 50 };

static void write_and_wait(struct side *s, uint64_t off, uint64_t size)
{
	struct slime_seg seg = {
	    .local = s->mr, .remote = s->rmr, .local_off = off, .remote_off = off, .len = size};
	slime_op *op;
	int rc;

	must_do(slime_ep_write(s->ep, &seg, 1, NULL, &op), "submit");
	do
		rc = slime_op_wait(op, 0, NULL); /* polling learns of it first */
	while (rc == -ETIMEDOUT);
	must_do(rc, "write");
	slime_op_release(op);
}

static bool is_there(const struct side *s, char *scratch, uint64_t off, uint64_t size)
{
	struct iovec here = {.iov_base = scratch, .iov_len = size};
	struct iovec there = {.iov_base = (void *)(uintptr_t)(s->rmem + off), .iov_len = size};

	if (process_vm_readv(s->server, &here, 1, &there, 1, 0) != (ssize_t)size)
		must_do(-errno, "process_vm_readv of the server");
	return memcmp(scratch, s->mem + off, size) == 0;
}

static void check(struct side *s, char *scratch, uint64_t size, uint64_t n)
{
	uint64_t blocks = WINDOW / size, good = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t off = i % blocks * size;

		fill(s->mem + off, size, (i + 1) << 8 ^ size);
		write_and_wait(s, off, size);
		good += is_there(s, scratch, off, size);
	}
	figure("write-in-place-at-completion", size, 1, "share", 100.0 * (double)good / (double)n,
	       "%");
	figure("write-in-place-at-completion", size, 1, "checked", (double)n, "writes");
	figure("write-in-place-at-completion", size, 1, "missing", (double)(n - good), "writes");
}

int main(int argc, char **argv)
{
	uint64_t n = env_number("IN_PLACE", 100000);
	char *scratch = malloc(MIB);
	struct side s;
	bool server, alloc;

	if (argc != 3 || !scratch) {
		fprintf(stderr, "usage: in_place tcp|shm alloc|malloc\n");
		return 2;
	}
	alloc = strcmp(argv[2], "alloc") == 0;
	server = pair_fork(&s);
	(void)alarm(LIMIT_S);
	side_context(&s, 0, 0);
	side_memory(&s, WINDOW, alloc);
	side_connect(&s, argv[1]);
	if (server) {
		char byte;

		for (;;)
			(void)take(&s, &byte, 1);
	}
	check(&s, scratch, 8, n);
	check(&s, scratch, 4 * KIB, n);
	check(&s, scratch, 64 * KIB, n);
	check(&s, scratch, MIB, n / BIG_SHARE + 1);
	side_end(&s);
	free(scratch);
	return 0;
}
