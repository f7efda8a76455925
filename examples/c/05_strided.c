/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One segment, many pieces: a KV cache block in every layer.
 *
 * A KV cache is LAYERS x BLOCKS x BLOCK bytes. One token block lies in every
 * layer, LAYER_BYTES apart: a column. One strided segment names it whole, and
 * the two sides may have different distances: here the decoder has room for
 * fewer blocks than the prefiller.
 */
#include "pair.h"

enum { LAYERS = 32, BLOCK = 4096, PREFILL_BLOCKS = 64, DECODE_BLOCKS = 16, WANTED = 3 };

static char prefill_kv[LAYERS][PREFILL_BLOCKS][BLOCK];
static char decode_kv[LAYERS][DECODE_BLOCKS][BLOCK];

/* The block of the prefiller that the decoder's block I shall hold. */
static int source_of(int i)
{
	return 7 + 20 * i;
}

static char mark(int layer, int block)
{
	return (char)(layer * 3 + block);
}

static void prefiller(const struct pair *p)
{
	struct slime_mr_opts readable = {.size = sizeof(readable),
	                                 .access = SLIME_ACCESS_REMOTE_READ};
	struct slime_error err;
	struct slime_desc desc;
	slime_ctx *ctx;
	slime_mr *mr;
	slime_ep *ep;

	for (int layer = 0; layer < LAYERS; layer++)
		for (int block = 0; block < PREFILL_BLOCKS; block++)
			memset(prefill_kv[layer][block], mark(layer, block), BLOCK);
	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, prefill_kv, sizeof(prefill_kv), &readable, &mr, &err), &err);
	ep = meet(p, ctx);
	must(slime_mr_export(mr, &desc, &err), &err);
	give(p, &desc);
	rendezvous(p);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

static void decoder(const struct pair *p)
{
	struct slime_seg segs[WANTED] = {0};
	struct slime_result res;
	struct slime_error err;
	struct slime_desc desc;
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	slime_rmr *rmr;
	slime_op *op;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, decode_kv, sizeof(decode_kv), NULL, &mr, &err), &err);
	ep = meet(p, ctx);
	take(p, &desc);
	must(slime_ep_import(ep, &desc, &rmr, &err), &err);

	for (int i = 0; i < WANTED; i++)
		segs[i] = (struct slime_seg){
		    .local = mr,
		    .remote = rmr,
		    .local_off = (uint64_t)i * BLOCK,
		    .remote_off = (uint64_t)source_of(i) * BLOCK,
		    .len = BLOCK,
		    .count = LAYERS,
		    .local_stride = sizeof(decode_kv[0]),
		    .remote_stride = sizeof(prefill_kv[0]),
		};
	must_move(slime_ep_read(ep, segs, WANTED, NULL, &op), "submit the read");
	res = finish(op, "read");

	for (int layer = 0; layer < LAYERS; layer++)
		for (int i = 0; i < WANTED; i++)
			expect(decode_kv[layer][i][BLOCK - 1] == mark(layer, source_of(i)),
			       "the block in its layer");
	printf("%d segments moved %llu bytes in %d pieces\n", WANTED, (unsigned long long)res.bytes,
	       WANTED * LAYERS);

	rendezvous(p);
	slime_rmr_release(rmr);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	return pair_run(argc, argv, decoder, prefiller);
}
