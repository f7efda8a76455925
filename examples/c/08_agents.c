/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two agents: memory found by name.
 *
 * Nobody swaps descriptions here. Each process registers with the control plane
 * under a name and publishes memory under a name; who wants it says the names.
 *
 *	08_agents [TRANSPORT]	uses the nanoctrl of $DLSLIME_CTRL, or starts one
 */
#include "control.h"

enum { LEN = 1 << 20 };

static const char *url;

static void owner(const struct pair *p)
{
	struct slime_error err;
	slime_agent *agent;
	slime_ctx *ctx;
	slime_mr *mr;
	char *memory;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	agent = join(ctx, url, "owner");
	memory = publish(ctx, agent, "weights", LEN, &mr);
	(void)strcpy(memory, "layer 0");

	rendezvous(p); /* it is published */
	rendezvous(p); /* it was read; nothing was to be done here for that */

	slime_agent_destroy(agent);
	slime_mr_deregister(mr);
	slime_mem_free(ctx, memory);
	slime_ctx_destroy(ctx);
}

static void reader(const struct pair *p)
{
	struct slime_ep_opts how = {.size = sizeof(how), .transport = p->transport};
	struct slime_link_info info = {.size = sizeof(info)};
	static char memory[LEN];
	struct slime_error err;
	slime_agent *agent;
	slime_link *link;
	slime_ctx *ctx;
	slime_mr *mr;
	slime_op *op;

	must(slime_ctx_create(NULL, &ctx, &err), &err);
	must(slime_mr_register(ctx, memory, LEN, NULL, &mr, &err), &err);
	agent = join(ctx, url, "reader");
	rendezvous(p);

	/* Optional: a transfer by name connects by itself. This way one can say how, and look at
	 * it. */
	must(slime_agent_connect(agent, "owner", &how, &link, &err), &err);
	must(slime_link_wait(link, 5 * SECOND, &err), &err);
	must_move(slime_link_get_info(link, &info), "get info");
	printf("linked to '%s' over %s\n", info.peer, info.transport);

	struct slime_named_seg seg = {.local_mr = mr, .remote = "weights", .len = LEN};

	must_move(slime_agent_read(agent, "owner", &seg, 1, NULL, &op), "submit the read");
	(void)finish(op, "read");
	printf("read 'weights' of 'owner': \"%s\"\n", memory);
	expect(!strcmp(memory, "layer 0"), "the text");

	rendezvous(p);
	slime_link_close(link);
	slime_agent_destroy(agent);
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	url = control_url(argv[0]);
	return pair_run(argc, argv, reader, owner);
}
