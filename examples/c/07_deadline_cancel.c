/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time: what to do when the other side does not answer.
 *
 * There are two clocks. The timeout of slime_op_wait() is yours: -ETIMEDOUT
 * says "not yet", the transfer goes on. The deadline in slime_submit belongs to
 * the transfer: past it, it ends with -ETIME. slime_op_cancel() ends it at once.
 * However it ended, from then on its memory is quiet: yours to use again.
 */
#include "pair.h"

static char memory[4096];

static void listener(const struct pair *p)
{
	struct slime_submit soon = {.size = sizeof(soon), .timeout_ns = 50 * MILLISECOND};
	struct slime_span place = {.len = sizeof(memory)};
	struct slime_error err;
	slime_ctx *ctx;
	slime_ep *ep;
	slime_op *op;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, sizeof(memory), NULL, &place.mr, &err), &err);
	ep = meet(p, ctx);

	/* Nobody sends yet. First only a look: */
	must_move(slime_ep_recv(ep, &place, &soon, &op), "submit recv");
	expect(slime_op_wait(op, 0, NULL) == -ETIMEDOUT, "not over yet");
	printf("at once: not over yet\n");

	/* Then to the end: the deadline ends it, whatever we would still wait. */
	expect(slime_op_wait(op, 5 * SECOND, NULL) == -ETIME, "ended by its deadline");
	printf("after 50 ms: ended by its deadline\n");
	slime_op_release(op);

	/* Without a deadline, change your mind. */
	must_move(slime_ep_recv(ep, &place, NULL, &op), "submit recv");
	slime_op_cancel(op);
	expect(slime_op_wait(op, 5 * SECOND, NULL) == -ECANCELED, "cancelled");
	printf("cancelled: ended\n");
	slime_op_release(op);

	/* The memory is ours again, and the endpoint is as good as new. */
	memset(memory, 0, sizeof(memory));
	rendezvous(p);
	must_move(slime_ep_recv(ep, &place, NULL, &op), "submit recv");
	(void)finish(op, "recv");
	expect(!strcmp(memory, "better late than never"), "the message");
	printf("then a message came: %s\n", memory);

	rendezvous(p);
	slime_ep_destroy(ep);
	slime_mr_deregister(place.mr);
	slime_ctx_destroy(ctx);
}

static void speaker(const struct pair *p)
{
	struct slime_span message = {.len = sizeof("better late than never")};
	struct slime_error err;
	slime_ctx *ctx;
	slime_ep *ep;
	slime_op *op;

	memcpy(memory, "better late than never", message.len);
	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, sizeof(memory), NULL, &message.mr, &err), &err);
	ep = meet(p, ctx);
	rendezvous(p); /* the listener has given up twice by now */
	must_move(slime_ep_send(ep, &message, NULL, &op), "submit send");
	(void)finish(op, "send");

	rendezvous(p);
	slime_ep_destroy(ep);
	slime_mr_deregister(message.mr);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	return pair_run(argc, argv, listener, speaker);
}
