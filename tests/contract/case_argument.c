/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_argument.c - what breaks the contract is -EINVAL, and nothing happens. */
#include <errno.h>
#include <string.h>

#include "contract.h"

static void options_of_a_wrong_size_are_refused(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_ctx_opts ctx_opts = {.size = sizeof(ctx_opts) - 4};
	struct slime_ep_opts ep_opts = {.size = sizeof(ep_opts) + 8};
	struct slime_mr_opts mr_opts = {.size = 0};
	struct slime_mem_opts mem_opts = {.size = 1};
	struct slime_submit how = {.size = sizeof(how) - 1};
	struct slime_seg seg = seg_of(&p->a, 0, 0, 8);
	struct slime_span span = span_of(&p->a, 0, 8);
	slime_ctx *ctx = NULL;
	slime_ep *ep = NULL;
	slime_mr *mr = NULL;
	slime_op *op = NULL;
	void *mem = NULL;

	CHECK_RC(slime_ctx_create(&ctx_opts, &ctx, &test_err), -EINVAL);
	CHECK(test_err.text[0]);
	CHECK_RC(slime_ep_create(p->a.ctx, &ep_opts, &ep, &test_err), -EINVAL);
	CHECK(test_err.text[0]);
	CHECK_RC(slime_mr_register(p->a.ctx, p->a.mem, 8, &mr_opts, &mr, &test_err), -EINVAL);
	CHECK_RC(slime_mem_alloc(p->a.ctx, 8, &mem_opts, &mem, &test_err), -EINVAL);
	CHECK_RC(slime_ep_read(p->a.ep, &seg, 1, &how, &op), -EINVAL);
	CHECK_RC(slime_ep_write(p->a.ep, &seg, 1, &how, &op), -EINVAL);
	CHECK_RC(slime_ep_write_imm(p->a.ep, &seg, 1, 1, &how, &op), -EINVAL);
	CHECK_RC(slime_ep_recv_imm(p->a.ep, &how, &op), -EINVAL);
	CHECK_RC(slime_ep_send(p->a.ep, &span, &how, &op), -EINVAL);
	CHECK_RC(slime_ep_recv(p->a.ep, &span, &how, &op), -EINVAL);
	CHECK(!ctx && !ep && !mr && !op && !mem);
	pair_destroy(p);
}

/* A program that was compiled before regions had flags. */
static void region_options_without_flags_are_taken(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_mr_opts opts = {.size = 16, .flags = UINT32_MAX}; /* flags: not there */
	slime_mr *mr = NULL;

	CHECK_OK(slime_mr_register(p->a.ctx, p->a.mem, 8, &opts, &mr, &test_err));
	slime_mr_deregister(mr);
	pair_destroy(p);
}

static void undefined_flags_are_refused(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_ctx_opts ctx_opts = {.size = sizeof(ctx_opts), .flags = 1u << 31};
	struct slime_ep_opts ep_opts = {.size = sizeof(ep_opts), .flags = 1};
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = 1u << 7};
	struct slime_mr_opts mr_flags = {.size = sizeof(mr_flags), .flags = 1u << 1};
	struct slime_mem_opts mem_opts = {.size = sizeof(mem_opts), .flags = 1u << 9, .numa = -1};
	struct slime_submit how = {.size = sizeof(how), .flags = 1u << 5};
	struct slime_seg seg = seg_of(&p->a, 0, 0, 8);
	slime_ctx *ctx = NULL;
	slime_ep *ep = NULL;
	slime_mr *mr = NULL;
	slime_op *op = NULL;
	void *mem = NULL;

	CHECK_RC(slime_ctx_create(&ctx_opts, &ctx, &test_err), -EINVAL);
	CHECK_RC(slime_ep_create(p->a.ctx, &ep_opts, &ep, &test_err), -EINVAL);
	CHECK_RC(slime_mr_register(p->a.ctx, p->a.mem, 8, &mr_opts, &mr, &test_err), -EINVAL);
	CHECK_RC(slime_mr_register(p->a.ctx, p->a.mem, 8, &mr_flags, &mr, &test_err), -EINVAL);
	CHECK_RC(slime_mem_alloc(p->a.ctx, 8, &mem_opts, &mem, &test_err), -EINVAL);
	CHECK_RC(slime_ep_write(p->a.ep, &seg, 1, &how, &op), -EINVAL);
	CHECK_RC(slime_ep_recv_imm(p->a.ep, &how, &op), -EINVAL);
	how.flags = SLIME_SUBMIT_FENCE; /* receives know no fences */
	CHECK_RC(slime_ep_recv_imm(p->a.ep, &how, &op), -EINVAL);
	CHECK_RC(slime_ep_recv(p->a.ep, &(struct slime_span){p->a.mr, 0, 8}, &how, &op), -EINVAL);
	CHECK(!ctx && !ep && !mr && !op && !mem);
	pair_destroy(p);
}

static void unknown_names_are_refused_with_a_sentence(void)
{
	slime_ctx *ctx = context_create(false, 0);
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "carrier-pigeon"};
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .kind = 99};
	char mem[64];
	slime_ep *ep = NULL;
	slime_mr *mr = NULL;

	CHECK(slime_ep_create(ctx, &opts, &ep, &test_err) < 0);
	if (!strstr(test_err.text, "carrier-pigeon"))
		test_fail("the sentence does not name it: '%s'", test_err.text);
	opts.transport = env.transport;
	opts.device = "no-such-device";
	CHECK(slime_ep_create(ctx, &opts, &ep, &test_err) < 0);
	CHECK(test_err.text[0]);
	CHECK(slime_mr_register(ctx, mem, sizeof(mem), &mr_opts, &mr, &test_err) < 0);
	CHECK(!ep && !mr);
	slime_ctx_destroy(ctx);
}

static void null_handles_are_refused(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg = seg_of(&p->a, 0, 0, 8), no_local = seg, no_remote = seg;
	struct slime_span span = span_of(&p->a, 0, 8), no_mr = {.mr = NULL, .len = 8};
	struct slime_ep_info info = {.size = sizeof(info)};
	struct slime_result res;
	struct slime_desc desc;
	slime_ep *ep = NULL;
	slime_mr *mr = NULL;
	slime_rmr *rmr = NULL;
	slime_cq *cq = NULL;
	slime_op *op = NULL;
	void *mem = NULL;

	no_local.local = NULL;
	no_remote.remote = NULL;
	CHECK_RC(slime_ep_create(NULL, NULL, &ep, &test_err), -EINVAL);
	CHECK_RC(slime_mr_register(NULL, p->a.mem, 8, NULL, &mr, &test_err), -EINVAL);
	CHECK_RC(slime_mem_alloc(NULL, 8, NULL, &mem, &test_err), -EINVAL);
	CHECK_RC(slime_cq_create(NULL, 8, &cq, &test_err), -EINVAL);
	CHECK_RC(slime_ep_export(NULL, &desc, &test_err), -EINVAL);
	CHECK_RC(slime_mr_export(NULL, &desc, &test_err), -EINVAL);
	CHECK_RC(slime_ep_connect(NULL, &desc, 0, &test_err), -EINVAL);
	CHECK_RC(slime_ep_connect(p->a.ep, NULL, 0, &test_err), -EINVAL);
	CHECK_RC(slime_ep_import(NULL, &desc, &rmr, &test_err), -EINVAL);
	CHECK_RC(slime_ep_import(p->a.ep, NULL, &rmr, &test_err), -EINVAL);
	CHECK_RC(slime_ep_get_info(NULL, &info), -EINVAL);
	CHECK_RC(slime_ctx_progress(NULL), -EINVAL);
	CHECK_RC(slime_op_wait(NULL, 0, &res), -EINVAL);
	CHECK_RC(slime_cq_take(NULL, &res, 1), -EINVAL);
	CHECK_RC(slime_ep_read(NULL, &seg, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_write(p->a.ep, NULL, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_write(p->a.ep, &no_local, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_read(p->a.ep, &no_remote, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_write_imm(p->a.ep, NULL, 1, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_recv_imm(NULL, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_send(NULL, &span, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_send(p->a.ep, NULL, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_send(p->a.ep, &no_mr, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_recv(p->a.ep, &no_mr, NULL, &op), -EINVAL);
	CHECK(!ep && !mr && !rmr && !cq && !op && !mem);
	pair_ping(p, 10);
	pair_destroy(p);
}

/* Handles that exist, but belong somewhere else. */
static void handles_of_others_are_refused(void)
{
	struct pair *p = pair_create(NULL), *q = pair_create(NULL);
	struct slime_seg foreign_mr = seg_of(&p->a, 0, 0, 8), foreign_rmr = foreign_mr;
	struct slime_span span = span_of(&q->a, 0, 8);
	struct slime_submit how = {.size = sizeof(how)};
	slime_op *op = NULL;
	slime_cq *cq = NULL;

	foreign_mr.local = q->a.mr;
	foreign_rmr.remote = q->a.rmr;
	CHECK_RC(slime_ep_read(p->a.ep, &foreign_mr, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_write(p->a.ep, &foreign_mr, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_read(p->a.ep, &foreign_rmr, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_write(p->a.ep, &foreign_rmr, 1, NULL, &op), -EINVAL);
	foreign_rmr.remote = p->b.rmr; /* the other direction of the same connection */
	CHECK_RC(slime_ep_write(p->a.ep, &foreign_rmr, 1, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_send(p->a.ep, &span, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_recv(p->a.ep, &span, NULL, &op), -EINVAL);
	CHECK_OK(slime_cq_create(q->a.ctx, 8, &cq, &test_err));
	how.cq = cq;
	CHECK_RC(slime_ep_recv_imm(p->a.ep, &how, NULL), -EINVAL);
	CHECK(op == NULL);
	slime_cq_destroy(cq);
	pair_destroy(p);
	pair_destroy(q);
}

/* It reports to the queue, once; the handle is there to cancel by, early, late or never. */
static void a_transfer_of_a_queue_can_be_cancelled_by_its_handle(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_submit how = {.size = sizeof(how)};
	struct slime_seg seg = seg_of(&p->a, 0, 0, 8);
	struct slime_result res;
	slime_op *op = NULL;
	slime_cq *cq = NULL;

	CHECK_OK(slime_cq_create(p->a.ctx, 1, &cq, &test_err));
	how.cq = cq;
	for (int i = 0; i < 3; i++) {
		how.user_data = (uint64_t)i;
		CHECK_OK(slime_ep_recv_imm(p->a.ep, &how, &op));
		slime_op_cancel(op);
		if (i == 1)
			slime_op_release(op); /* before it is over */
		pair_take(p, cq, &res, 1);
		CHECK_EQ(res.status, -ECANCELED);
		CHECK_EQ(res.user_data, (uint64_t)i);
		if (i != 1)
			slime_op_release(op);
	}
	CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, &how, &op)); /* no slot was lost */
	pair_take(p, cq, &res, 1);
	CHECK_EQ(res.status, 0);
	slime_op_cancel(op); /* too late, and harmless */
	slime_op_release(op);
	slime_cq_destroy(cq);
	pair_destroy(p);
}

static void errors_need_no_place_for_the_sentence(void)
{
	slime_ctx *ctx = context_create(false, 0);
	struct slime_ep_opts opts = {.size = 1};
	slime_ep *ep = NULL;
	slime_mr *mr = NULL;

	CHECK_RC(slime_ep_create(ctx, &opts, &ep, NULL), -EINVAL);
	CHECK_RC(slime_mr_register(ctx, &opts, 0, NULL, &mr, NULL), -EINVAL);
	slime_ctx_destroy(ctx);
}

/* One lower-case sentence, no newline, no full stop. */
static void check_sentence(void)
{
	size_t len = strlen(test_err.text);

	CHECK(len > 0);
	CHECK(!strchr(test_err.text, '\n'));
	CHECK(test_err.text[len - 1] != '.');
	CHECK(test_err.text[0] < 'A' || test_err.text[0] > 'Z');
}

static void errors_are_sentences(void)
{
	slime_ctx *ctx = context_create(false, 0), *none = NULL;
	struct slime_ctx_opts ctx_opts = {.size = 3};
	struct slime_ep_opts opts = {.size = 1};
	struct slime_desc desc = {.len = 10};
	slime_ep *ep = NULL;
	slime_mr *mr = NULL;

	CHECK_RC(slime_ctx_create(&ctx_opts, &none, &test_err), -EINVAL);
	check_sentence();
	CHECK_RC(slime_ep_create(ctx, &opts, &ep, &test_err), -EINVAL);
	check_sentence();
	CHECK_EQ(test_err.code, -EINVAL);
	CHECK_RC(slime_mr_register(ctx, &opts, 0, NULL, &mr, &test_err), -EINVAL);
	check_sentence();
	CHECK_OK(slime_ep_create(ctx, NULL, &ep, &test_err));
	CHECK_RC(slime_ep_connect(ep, &desc, 0, &test_err), -EPROTO);
	check_sentence();
	slime_ep_destroy(ep);
	slime_ctx_destroy(ctx);
}

const struct contract_case argument_cases[] = {
    {"options_of_a_wrong_size_are_refused", options_of_a_wrong_size_are_refused, IN_BASIC},
    {"region_options_without_flags_are_taken", region_options_without_flags_are_taken, IN_BASIC},
    {"undefined_flags_are_refused", undefined_flags_are_refused, IN_BASIC},
    {"unknown_names_are_refused_with_a_sentence", unknown_names_are_refused_with_a_sentence,
     IN_BASIC},
    {"null_handles_are_refused", null_handles_are_refused, IN_BASIC},
    {"handles_of_others_are_refused", handles_of_others_are_refused, IN_BASIC},
    {"a_transfer_of_a_queue_can_be_cancelled_by_its_handle",
     a_transfer_of_a_queue_can_be_cancelled_by_its_handle, IN_BASIC},
    {"errors_need_no_place_for_the_sentence", errors_need_no_place_for_the_sentence, IN_BASIC},
    {"errors_are_sentences", errors_are_sentences, IN_BASIC},
    {0},
};
