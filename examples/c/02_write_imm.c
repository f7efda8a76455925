/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Write with an immediate: put bytes into the peer's memory, and let it know.
 *
 * A plain write tells the peer nothing. write_imm() also delivers 32 bits to
 * one recv_imm() of the peer, after all bytes of the batch are in its memory.
 * Here the number says which block is complete.
 */
#include "pair.h"

enum { BLOCKS = 4, BLOCK = 64 << 10 };

static char memory[BLOCKS * BLOCK];

static void consumer(const struct pair *p)
{
	struct slime_mr_opts writable = {.size = sizeof(writable),
	                                 .access = SLIME_ACCESS_REMOTE_WRITE};
	struct slime_error err;
	struct slime_desc desc;
	slime_op *ops[BLOCKS];
	slime_ctx *ctx;
	slime_mr *mr;
	slime_ep *ep;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, sizeof(memory), &writable, &mr, &err), &err);
	ep = meet(p, ctx);

	/* Ask for the immediates now or later: one that comes early waits. */
	for (int i = 0; i < BLOCKS; i++)
		must_move(slime_ep_recv_imm(ep, NULL, &ops[i]), "submit recv_imm");
	must(slime_mr_export(mr, &desc, &err), &err);
	give(p, &desc);

	for (int i = 0; i < BLOCKS; i++) {
		struct slime_result res = finish(ops[i], "recv_imm");
		const char *block = memory + (size_t)res.imm * BLOCK;

		expect(res.flags & SLIME_RESULT_IMM && res.imm < BLOCKS, "an immediate");
		expect(block[0] == 'a' + (char)res.imm && block[BLOCK - 1] == block[0],
		       "the whole block is there");
		printf("block %u is here: %llu bytes of '%c'\n", res.imm,
		       (unsigned long long)res.bytes, block[0]);
	}

	rendezvous(p);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

static void producer(const struct pair *p)
{
	struct slime_error err;
	struct slime_desc desc;
	slime_op *ops[BLOCKS];
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	slime_rmr *rmr;

	for (int i = 0; i < BLOCKS; i++)
		memset(memory + i * BLOCK, 'a' + i, BLOCK);
	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, sizeof(memory), NULL, &mr, &err), &err);
	ep = meet(p, ctx);
	take(p, &desc);
	must(slime_ep_import(ep, &desc, &rmr, &err), &err);

	/* All in flight together; each tells the consumer by itself. */
	for (uint32_t i = 0; i < BLOCKS; i++) {
		struct slime_seg seg = {.local = mr,
		                        .remote = rmr,
		                        .local_off = i * BLOCK,
		                        .remote_off = i * BLOCK,
		                        .len = BLOCK};

		must_move(slime_ep_write_imm(ep, &seg, 1, i, NULL, &ops[i]), "submit write_imm");
	}
	for (int i = 0; i < BLOCKS; i++)
		(void)finish(ops[i], "write_imm");

	rendezvous(p);
	slime_rmr_release(rmr);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	return pair_run(argc, argv, consumer, producer);
}
