/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages: send() on one side meets recv() on the other, in order.
 *
 * Nobody needs a description of anybody's memory for that: the receiver says
 * where a message shall go, and the sender does not know. A message longer
 * than the place for it is an error (-EMSGSIZE) at the receiver.
 */
#include <ctype.h>

#include "pair.h"

enum { ROUNDS = 3, PLACE = 256 };

static char memory[2 * PLACE]; /* first what is sent, then what is received */

static void client(const struct pair *p)
{
	static const char *const words[ROUNDS] = {"one", "two", "three"};
	struct slime_error err;
	slime_ctx *ctx;
	slime_mr *mr;
	slime_ep *ep;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, sizeof(memory), NULL, &mr, &err), &err);
	ep = meet(p, ctx);

	for (int i = 0; i < ROUNDS; i++) {
		struct slime_span question = {.mr = mr, .len = strlen(words[i])};
		struct slime_span place = {.mr = mr, .off = PLACE, .len = PLACE};
		struct slime_result res;
		slime_op *sent, *answer;

		/* Ask for the answer first: then it never waits for a place. */
		memcpy(memory, words[i], question.len);
		must_move(slime_ep_recv(ep, &place, NULL, &answer), "submit recv");
		must_move(slime_ep_send(ep, &question, NULL, &sent), "submit send");
		(void)finish(sent, "send");
		res = finish(answer, "recv");
		printf("%s -> %.*s\n", words[i], (int)res.bytes, memory + PLACE);
		expect(res.bytes == question.len, "an answer as long as the question");
		expect(memory[PLACE] == toupper(words[i][0]), "the answer in capitals");
	}

	rendezvous(p);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

static void server(const struct pair *p)
{
	struct slime_error err;
	slime_ctx *ctx;
	slime_mr *mr;
	slime_ep *ep;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, sizeof(memory), NULL, &mr, &err), &err);
	ep = meet(p, ctx);

	for (int i = 0; i < ROUNDS; i++) {
		struct slime_span place = {.mr = mr, .off = PLACE, .len = PLACE};
		struct slime_span answer = {.mr = mr};
		slime_op *op;

		must_move(slime_ep_recv(ep, &place, NULL, &op), "submit recv");
		answer.len = finish(op, "recv").bytes;
		for (uint64_t c = 0; c < answer.len; c++)
			memory[c] = (char)toupper((unsigned char)memory[PLACE + c]);
		must_move(slime_ep_send(ep, &answer, NULL, &op), "submit send");
		(void)finish(op, "send");
	}

	rendezvous(p);
	slime_ep_destroy(ep);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	return pair_run(argc, argv, client, server);
}
