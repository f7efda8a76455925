/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One-sided read: take bytes out of another process's memory.
 *
 * The owner registers memory and describes it. The reader connects, imports
 * the description, and reads; the owner's program takes no part in that.
 *
 *	01_read [TRANSPORT]	TRANSPORT: shm or tcp; without it, the best one
 */
#include "pair.h"

enum { LEN = 1 << 20 };

static const char text[] = "hello from the owner";

static void owner(const struct pair *p)
{
	struct slime_mr_opts readable = {.size = sizeof(readable),
	                                 .access = SLIME_ACCESS_REMOTE_READ};
	struct slime_error err;
	struct slime_desc desc;
	slime_ctx *ctx;
	slime_mr *mr;
	slime_ep *ep;
	void *memory;

	/* Any memory will do; from slime_mem_alloc() it is fastest on the same machine. */
	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mem_alloc(ctx, LEN, NULL, &memory, &err), &err);
	memcpy((char *)memory + 4096, text, sizeof(text));
	must(slime_mr_register(ctx, memory, LEN, &readable, &mr, &err), &err);

	/* Connect, then tell the peer what it may read. */
	ep = meet(p, ctx);
	must(slime_mr_export(mr, &desc, &err), &err);
	give(p, &desc);

	/* Nothing left to do here: the read is served without this thread. */
	rendezvous(p);

	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_mem_free(ctx, memory);
	slime_ctx_destroy(ctx);
}

static void reader(const struct pair *p)
{
	struct slime_ep_info info = {.size = sizeof(info)};
	static char memory[LEN];
	struct slime_result res;
	struct slime_error err;
	struct slime_desc desc;
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	slime_rmr *rmr;
	slime_op *op;

	/* Memory that only this side uses needs no rights. */
	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, LEN, NULL, &mr, &err), &err);

	ep = meet(p, ctx);
	must_move(slime_ep_get_info(ep, &info), "get info");
	printf("connected to %s over %s\n(%s)\n", info.peer, info.transport, info.because);

	/* The owner's memory gets a name here. */
	take(p, &desc);
	must(slime_ep_import(ep, &desc, &rmr, &err), &err);

	/* 4 KiB from offset 4096 of its memory to offset 0 of ours. */
	struct slime_seg seg = {.local = mr, .remote = rmr, .remote_off = 4096, .len = 4096};

	must_move(slime_ep_read(ep, &seg, 1, NULL, &op), "submit the read");
	must_move(slime_op_wait(op, 5 * SECOND, &res), "read");
	slime_op_release(op);
	printf("read %llu bytes: \"%s\"\n", (unsigned long long)res.bytes, memory);
	expect(!memcmp(memory, text, sizeof(text)), "the text");

	/* What leaves the region is refused before anything moves. */
	seg.remote_off = LEN - 10;
	expect(slime_ep_read(ep, &seg, 1, NULL, &op) == -ERANGE, "a read past the end");
	printf("a read past the end: %s\n", strerror(ERANGE));

	rendezvous(p);
	slime_rmr_release(rmr);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	return pair_run(argc, argv, reader, owner);
}
