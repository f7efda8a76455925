/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A prepared transfer: the same pieces, again and again.
 *
 * slime_xfer_prepare() checks, splits and translates the segments once; a post
 * only moves bytes. Here a trainer pushes the parts of its weights that one
 * worker needs, step after step, and tells it about each step with an
 * immediate that is fenced: it starts after the weights have arrived.
 */
#include "pair.h"

enum { ROWS = 256, ROW = 1024, PART = 256, STEPS = 100 };

static char weights[ROWS][ROW]; /* the trainer's: whole rows */
static char mine[ROWS][PART];   /* the worker's: a quarter of each row */

static void worker(const struct pair *p)
{
	struct slime_mr_opts writable = {.size = sizeof(writable),
	                                 .access = SLIME_ACCESS_REMOTE_WRITE};
	struct slime_error err;
	struct slime_desc desc;
	slime_ctx *ctx;
	slime_mr *mr;
	slime_ep *ep;
	slime_op *op;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, mine, sizeof(mine), &writable, &mr, &err), &err);
	ep = meet(p, ctx);
	must(slime_mr_export(mr, &desc, &err), &err);
	give(p, &desc);

	for (uint32_t step = 0; step < STEPS; step++) {
		must_move(slime_ep_recv_imm(ep, NULL, &op), "submit recv_imm");
		expect(finish(op, "recv_imm").imm == step, "the number of the step");
		for (int row = 0; row < ROWS; row++)
			expect(mine[row][PART - 1] == (char)((int)step + row),
			       "weights of the step");
		rendezvous(p); /* used: the trainer may overwrite them */
	}
	printf("%d steps of %zu bytes in %d pieces each\n", STEPS, sizeof(mine), ROWS);

	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

static void trainer(const struct pair *p)
{
	struct slime_submit fenced = {.size = sizeof(fenced), .flags = SLIME_SUBMIT_FENCE};
	struct slime_error err;
	struct slime_desc desc;
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	slime_rmr *rmr;
	slime_xfer *push;
	slime_op *op, *tell;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, weights, sizeof(weights), NULL, &mr, &err), &err);
	ep = meet(p, ctx);
	take(p, &desc);
	must(slime_ep_import(ep, &desc, &rmr, &err), &err);

	struct slime_seg part = {.local = mr,
	                         .remote = rmr,
	                         .local_off = ROW - PART,
	                         .len = PART,
	                         .count = ROWS,
	                         .local_stride = ROW,
	                         .remote_stride = PART};

	must(slime_xfer_prepare(ep, SLIME_DIR_WRITE, &part, 1, &push, &err), &err);
	for (uint32_t step = 0; step < STEPS; step++) {
		for (int row = 0; row < ROWS; row++)
			memset(weights[row], (int)step + row, ROW);
		must_move(slime_xfer_post(push, NULL, &op), "post the weights");
		must_move(slime_ep_write_imm(ep, NULL, 0, step, &fenced, &tell), "tell the step");
		(void)finish(op, "write");
		(void)finish(tell, "write_imm");
		rendezvous(p);
	}

	slime_xfer_release(push);
	slime_rmr_release(rmr);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	return pair_run(argc, argv, worker, trainer);
}
