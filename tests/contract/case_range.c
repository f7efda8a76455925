/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_range.c - what leaves a region or lacks the right is refused, and does
 * nothing. */
#include <errno.h>
#include <string.h>

#include "contract.h"

/* One segment that must be refused by all three one-sided calls. */
static void refused(struct pair *p, const struct slime_seg *seg, int want)
{
	struct slime_seg both[2] = {seg_of(&p->a, 0, 0, 8), *seg};
	slime_op *op = NULL;

	CHECK_RC(slime_ep_read(p->a.ep, seg, 1, NULL, &op), want);
	CHECK_RC(slime_ep_write(p->a.ep, seg, 1, NULL, &op), want);
	CHECK_RC(slime_ep_write_imm(p->a.ep, seg, 1, 7, NULL, &op), want);
	CHECK_RC(slime_ep_write(p->a.ep, both, 2, NULL, &op), want);
	CHECK(op == NULL);
}

struct bad {
	uint64_t off, roff, len, count, stride, rstride;
};

/* Regions of 1 MiB; each line leaves one of them in its own way. */
static const struct bad bad[] = {
    {MIB - 7, 0, 8, 0, 0, 0},
    {0, MIB - 7, 8, 0, 0, 0},
    {MIB + 1, 0, 0, 0, 0, 0},
    {0, MIB + 1, 0, 0, 0, 0},
    {0, 0, MIB + 1, 0, 0, 0},
    {1, 1, MIB, 0, 0, 0},
    {0, 0, UINT64_MAX, 0, 0, 0},
    {8, 0, UINT64_MAX - 7, 0, 0, 0}, /* off + len wraps to 0 */
    {0, 8, UINT64_MAX - 7, 0, 0, 0},
    {UINT64_MAX, 0, 8, 0, 0, 0}, /* wraps to 7 */
    {0, UINT64_MAX, 8, 0, 0, 0},
    {UINT64_MAX - 7, 0, 8, 0, 0, 0},
    {0, UINT64_MAX - 7, 8, 0, 0, 0},
    {0, 0, 8, 3, MIB / 2, 0}, /* the third run starts at the end */
    {0, 0, 8, 3, 0, MIB / 2},
    {0, 0, 8, 2, UINT64_MAX, 0},     /* the second run starts at -1 */
    {8, 0, 8, 2, UINT64_MAX - 7, 0}, /* the second run wraps to 0 */
    {0, 8, 8, 2, 0, UINT64_MAX - 7},
    {0, 0, 8, 3, UINT64_C(1) << 63, 0}, /* 2 * stride wraps to 0 */
    {0, 0, 8, 3, 0, UINT64_C(1) << 63},
    {0, 0, 8, UINT64_C(1) << 61, 64, 64},               /* count * stride wraps */
    {0, 0, UINT64_C(1) << 32, UINT64_C(1) << 32, 0, 0}, /* count * len wraps */
    {0, 0, 8, UINT64_MAX, 8, 8},
};
enum { N_BAD = sizeof(bad) / sizeof(bad[0]) };

static void segments_that_leave_their_region_are_refused(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *op;

	fill(p->a.mem, MIB, 1);
	fill(p->b.mem, MIB, 2);
	for (size_t i = 0; i < N_BAD; i++) {
		struct slime_seg seg = seg_of(&p->a, bad[i].off, bad[i].roff, bad[i].len);

		seg.count = bad[i].count;
		seg.local_stride = bad[i].stride;
		seg.remote_stride = bad[i].rstride;
		refused(p, &seg, -ERANGE);
	}
	pair_linger(p, 20 * NS_PER_MS);
	CHECK_FILLED(p->a.mem, MIB, 1);
	CHECK_FILLED(p->b.mem, MIB, 2);
	op = start_recv_imm(&p->b);
	pair_pending(p, op); /* so no immediate came either */
	slime_op_cancel(op);
	CHECK_ENDS(p, op, -ECANCELED);
	pair_ping(p, 8);
	pair_destroy(p);
}

static void messages_that_leave_their_region_are_refused(void)
{
	static const struct bad spans[] = {
	    {.off = MIB - 7, .len = 8},        {.off = MIB + 1, .len = 0},
	    {.off = 0, .len = MIB + 1},        {.off = 8, .len = UINT64_MAX - 7},
	    {.off = UINT64_MAX - 7, .len = 8}, {.off = UINT64_MAX, .len = 1},
	};
	struct pair *p = pair_create(NULL);
	slime_op *op = NULL;

	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		struct slime_span span = span_of(&p->a, spans[i].off, spans[i].len);

		CHECK_RC(slime_ep_send(p->a.ep, &span, NULL, &op), -ERANGE);
		CHECK_RC(slime_ep_recv(p->a.ep, &span, NULL, &op), -ERANGE);
	}
	CHECK(op == NULL);
	pair_ping(p, 8);
	pair_destroy(p);
}

static void the_very_end_of_a_region_can_be_reached(void)
{
	struct pair *p = pair_create(NULL);

	fill(p->a.mem, MIB, 1);
	CHECK_ENDS(p, start_write(&p->a, MIB - 8, MIB - 8, 8), 0);
	CHECK(!memcmp(p->a.mem + MIB - 8, p->b.mem + MIB - 8, 8));
	CHECK_ENDS(p, start_write(&p->a, 0, 0, MIB), 0);
	CHECK_FILLED(p->b.mem, MIB, 1);
	CHECK_ENDS(p, start_read(&p->a, MIB, MIB, 0), 0);
	pair_destroy(p);
}

/* A's view of a region of B that was registered with ACCESS only. */
static slime_rmr *with_access(struct pair *p, uint32_t access, slime_mr **out)
{
	struct slime_mr_opts opts = {.size = sizeof(opts), .access = access};
	struct slime_desc desc;
	slime_rmr *rmr = NULL;

	CHECK_OK(slime_mr_register(p->b.ctx, p->b.mem, p->b.len, &opts, out, &test_err));
	CHECK_OK(slime_mr_export(*out, &desc, &test_err));
	CHECK_OK(slime_ep_import(p->a.ep, &desc, &rmr, &test_err));
	return rmr;
}

static void rights_are_kept(uint32_t access, int read_rc, int write_rc)
{
	struct pair *p = pair_create(NULL);
	slime_mr *mr = NULL;
	slime_rmr *rmr = with_access(p, access, &mr);
	struct slime_seg seg = seg_of(&p->a, 0, 0, 64);
	slime_op *read = NULL, *write = NULL, *imm = NULL;

	seg.remote = rmr;
	fill(p->a.mem, 64, 1);
	fill(p->b.mem, 64, 2);
	CHECK_RC(slime_ep_write(p->a.ep, &seg, 1, NULL, &write), write_rc);
	if (write)
		CHECK_ENDS(p, write, 0);
	CHECK_RC(slime_ep_write_imm(p->a.ep, &seg, 1, 1, NULL, &imm), write_rc);
	if (imm)
		CHECK_ENDS(p, imm, 0);
	CHECK_FILLED(p->b.mem, 64, write_rc ? 2 : 1);
	CHECK_RC(slime_ep_read(p->a.ep, &seg, 1, NULL, &read), read_rc);
	if (read)
		CHECK_ENDS(p, read, 0);
	CHECK_FILLED(p->a.mem, 64, read_rc ? 1 : write_rc ? 2 : 1);
	slime_rmr_release(rmr);
	slime_mr_deregister(mr);
	pair_destroy(p);
}

static void write_without_the_right_is_refused(void)
{
	rights_are_kept(SLIME_ACCESS_REMOTE_READ, 0, -EACCES);
}

static void read_without_the_right_is_refused(void)
{
	rights_are_kept(SLIME_ACCESS_REMOTE_WRITE, -EACCES, 0);
}

static void a_local_region_is_closed_to_the_peer(void)
{
	rights_are_kept(0, -EACCES, -EACCES);
}

/* Rights are about the peer: one's own calls may use any region of one's own. */
static void a_local_region_serves_its_owner(void)
{
	struct pair *p = pair_create(NULL);
	struct side s = p->a;

	CHECK_OK(slime_mr_register(p->a.ctx, p->a.mem, p->a.len, NULL, &s.mr, &test_err));
	fill(p->a.mem, 100, 1);
	CHECK_ENDS(p, start_write(&s, 0, 0, 100), 0);
	CHECK_FILLED(p->b.mem, 100, 1);
	CHECK_ENDS(p, start_read(&s, 200, 0, 100), 0);
	CHECK_FILLED(p->a.mem + 200, 100, 1);
	slime_mr_deregister(s.mr);
	pair_destroy(p);
}

/* The owner checks again: a region that is gone is not reached through an old name. */
static void a_deregistered_region_is_not_reached(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg;
	slime_mr *mr = NULL;
	slime_rmr *rmr = with_access(p, SLIME_ACCESS_REMOTE, &mr);

	fill(p->a.mem, 64, 1);
	fill(p->b.mem, 64, 2);
	seg = seg_of(&p->a, 0, 0, 64);
	seg.remote = rmr;
	slime_mr_deregister(mr);
	for (int write = 0; write < 2; write++) {
		slime_op *op = NULL;
		int rc = write ? slime_ep_write(p->a.ep, &seg, 1, NULL, &op)
		               : slime_ep_read(p->a.ep, &seg, 1, NULL, &op);

		if (!rc)
			rc = pair_finish(p, op, NULL);
		CHECK(rc < 0);
		CHECK_FILLED(p->a.mem, 64, 1);
		CHECK_FILLED(p->b.mem, 64, 2);
	}
	slime_rmr_release(rmr);
	pair_destroy(p);
}

/* Its owner is not who the endpoint leads to, whatever rights its description gives. */
static void a_region_of_a_third_context_is_refused(void)
{
	static const struct pair_opts none;
	struct pair *p = pair_create(NULL);
	struct slime_desc desc = {0};
	slime_rmr *rmr = NULL;
	struct side third;

	side_create(&third, context_create(false, 0), env.transport, &none);
	CHECK_OK(slime_mr_export(third.mr, &desc, &test_err));
	test_err.text[0] = '\0';
	CHECK_RC(slime_ep_import(p->a.ep, &desc, &rmr, &test_err), -EACCES);
	CHECK(test_err.text[0] && !rmr);
	slime_ctx_destroy(third.ctx);
	side_destroy(&third);
	pair_destroy(p);
}

/* An error of one transfer is not an error of the endpoint. */
static void the_endpoint_works_after_a_refused_access(void)
{
	struct pair *p = pair_create(NULL);
	slime_mr *mr = NULL;
	slime_rmr *rmr = with_access(p, SLIME_ACCESS_REMOTE, &mr);
	struct slime_seg seg = seg_of(&p->a, 0, 0, 64 * KIB);
	slime_op *op = NULL;

	seg.remote = rmr;
	slime_mr_deregister(mr);
	if (!slime_ep_write(p->a.ep, &seg, 1, NULL, &op))
		(void)pair_finish(p, op, NULL);
	op = NULL;
	if (!slime_ep_read(p->a.ep, &seg, 1, NULL, &op))
		(void)pair_finish(p, op, NULL);
	pair_ping(p, 1000);
	CHECK_ENDS(p, start_write(&p->a, 0, 0, 64 * KIB), 0);
	CHECK_ENDS(p, start_read(&p->a, 0, 0, 64 * KIB), 0);
	slime_rmr_release(rmr);
	pair_destroy(p);
}

static void regions_of_no_bytes_or_that_wrap_are_refused(void)
{
	struct pair *p = pair_create(NULL);
	slime_mr *mr = NULL;

	CHECK_RC(slime_mr_register(p->a.ctx, p->a.mem, 0, NULL, &mr, &test_err), -EINVAL);
	CHECK(test_err.text[0]);
	CHECK_RC(slime_mr_register(p->a.ctx, p->a.mem, SIZE_MAX, NULL, &mr, &test_err), -EINVAL);
	CHECK(mr == NULL);
	pair_destroy(p);
}

const struct contract_case range_cases[] = {
    {"segments_that_leave_their_region_are_refused", segments_that_leave_their_region_are_refused,
     IN_MEMORY},
    {"messages_that_leave_their_region_are_refused", messages_that_leave_their_region_are_refused,
     IN_BASIC},
    {"the_very_end_of_a_region_can_be_reached", the_very_end_of_a_region_can_be_reached, IN_MEMORY},
    {"write_without_the_right_is_refused", write_without_the_right_is_refused, IN_MEMORY},
    {"read_without_the_right_is_refused", read_without_the_right_is_refused, IN_MEMORY},
    {"a_local_region_is_closed_to_the_peer", a_local_region_is_closed_to_the_peer, IN_MEMORY},
    {"a_local_region_serves_its_owner", a_local_region_serves_its_owner, IN_MEMORY},
    {"a_deregistered_region_is_not_reached", a_deregistered_region_is_not_reached, IN_MEMORY},
    {"a_region_of_a_third_context_is_refused", a_region_of_a_third_context_is_refused, IN_BASIC},
    {"the_endpoint_works_after_a_refused_access", the_endpoint_works_after_a_refused_access,
     IN_ALL},
    {"regions_of_no_bytes_or_that_wrap_are_refused", regions_of_no_bytes_or_that_wrap_are_refused,
     IN_BASIC},
    {0},
};
