/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A completion queue in an event loop: many transfers, one place to look.
 *
 * A queue has an eventfd for poll(), epoll or any loop. Here 1024 blocks are
 * read with at most 32 in flight; -EAGAIN from a submission is not an error,
 * it means: take completions first.
 */
#include <poll.h>

#include "pair.h"

enum { BLOCKS = 1024, BLOCK = 4096, DEPTH = 32 };

static uint32_t memory[BLOCKS * BLOCK / sizeof(uint32_t)];

static void owner(const struct pair *p)
{
	struct slime_mr_opts readable = {.size = sizeof(readable),
	                                 .access = SLIME_ACCESS_REMOTE_READ};
	struct slime_error err;
	struct slime_desc desc;
	slime_ctx *ctx;
	slime_mr *mr;
	slime_ep *ep;

	for (uint32_t i = 0; i < sizeof(memory) / sizeof(*memory); i++)
		memory[i] = i;
	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, sizeof(memory), &readable, &mr, &err), &err);
	ep = meet(p, ctx);
	must(slime_mr_export(mr, &desc, &err), &err);
	give(p, &desc);
	rendezvous(p);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

/* Submit blocks from NEXT on until the endpoint or the queue is full; returns the next one. */
static int fill(slime_ep *ep, slime_cq *cq, slime_mr *mr, slime_rmr *rmr, int next)
{
	for (; next < BLOCKS; next++) {
		uint64_t off = (uint64_t)next * BLOCK;
		struct slime_seg seg = {
		    .local = mr, .remote = rmr, .local_off = off, .remote_off = off, .len = BLOCK};
		struct slime_submit how = {
		    .size = sizeof(how), .cq = cq, .user_data = (uint64_t)next};
		int rc = slime_ep_read(ep, &seg, 1, &how, NULL);

		if (rc == -EAGAIN)
			break;
		must_move(rc, "submit a read");
	}
	return next;
}

static void reader(const struct pair *p)
{
	struct slime_result res[16];
	struct slime_error err;
	struct slime_desc desc;
	int done = 0, next = 0, wakes = 0;
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	slime_rmr *rmr;
	slime_cq *cq;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, sizeof(memory), NULL, &mr, &err), &err);
	must(slime_cq_create(ctx, DEPTH, &cq, &err), &err);
	ep = meet(p, ctx);
	take(p, &desc);
	must(slime_ep_import(ep, &desc, &rmr, &err), &err);

	struct pollfd wake = {.fd = slime_cq_fd(cq), .events = POLLIN};

	must_move(wake.fd, "get the eventfd");
	while (done < BLOCKS) {
		int n;

		next = fill(ep, cq, mr, rmr, next);
		expect(poll(&wake, 1, 5000) == 1, "a completion within 5 s");
		wakes++;
		/* The eventfd is quiet again once the queue has been found empty. */
		while ((n = slime_cq_take(cq, res, 16)) > 0) {
			for (int i = 0; i < n; i++)
				must_move(res[i].status, "read");
			done += n;
		}
	}
	for (uint32_t i = 0; i < sizeof(memory) / sizeof(*memory); i++)
		expect(memory[i] == i, "every word in its place");
	printf("read %d blocks of %d bytes, woken %d times\n", done, BLOCK, wakes);

	rendezvous(p);
	slime_cq_destroy(cq);
	slime_rmr_release(rmr);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	return pair_run(argc, argv, reader, owner);
}
