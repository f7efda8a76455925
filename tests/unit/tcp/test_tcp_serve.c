/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that lies: its own library would refuse what it asks for, so what it knows of the region
 * is changed behind the library's back, and the owner is the one who must refuse.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <slime/slime.h>

#include "endpoint/internal.h"
#include "transport/tcp/tcp_impl.h"

static const int64_t patience_ns = INT64_C(20000000000);

enum { LEN = 4096 };

struct side {
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	char mem[3 * LEN];
};

/* A asks, and B owns the LEN bytes in the middle of its memory. */
struct rig {
	struct side a, b;
	slime_rmr *rmr;
};

static void side_open(struct side *s, size_t off, size_t len, uint32_t access)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "tcp"};
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = access};

	assert_int_equal(slime_ctx_create(NULL, &s->ctx, NULL), 0);
	assert_int_equal(slime_ep_create(s->ctx, &opts, &s->ep, NULL), 0);
	assert_int_equal(slime_mr_register(s->ctx, s->mem + off, len, &mr_opts, &s->mr, NULL), 0);
}

static void side_close(struct side *s)
{
	slime_ep_destroy(s->ep);
	slime_mr_deregister(s->mr);
	slime_ctx_destroy(s->ctx);
}

static void rig_open(struct rig *r, uint32_t access)
{
	struct slime_desc of_a, of_b, of_mr;

	memset(r->a.mem, 'a', sizeof(r->a.mem));
	memset(r->b.mem, 'b', sizeof(r->b.mem));
	side_open(&r->a, 0, sizeof(r->a.mem), 0);
	side_open(&r->b, LEN, LEN, access);
	assert_int_equal(slime_ep_export(r->a.ep, &of_a, NULL), 0);
	assert_int_equal(slime_ep_export(r->b.ep, &of_b, NULL), 0);
	assert_int_equal(slime_mr_export(r->b.mr, &of_mr, NULL), 0);
	assert_int_equal(slime_ep_connect(r->a.ep, &of_b, 0, NULL), -ETIMEDOUT);
	assert_int_equal(slime_ep_connect(r->b.ep, &of_a, patience_ns, NULL), 0);
	assert_int_equal(slime_ep_connect(r->a.ep, &of_b, patience_ns, NULL), 0);
	assert_int_equal(slime_ep_import(r->a.ep, &of_mr, &r->rmr, NULL), 0);
}

static void rig_close(struct rig *r)
{
	slime_rmr_release(r->rmr);
	side_close(&r->a);
	side_close(&r->b);
}

static int transfer(struct rig *r, bool write, struct slime_seg seg)
{
	slime_op *op;
	int rc;

	seg.local = r->a.mr;
	seg.remote = r->rmr;
	rc = write ? slime_ep_write(r->a.ep, &seg, 1, NULL, &op)
	           : slime_ep_read(r->a.ep, &seg, 1, NULL, &op);
	assert_int_equal(rc, 0); /* the lie got past our own library */
	rc = slime_op_wait(op, patience_ns, NULL);
	slime_op_release(op);
	return rc;
}

static void check(const char *mem, size_t len, char what)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(mem[i], what);
}

/* What of a transfer lies within the region may have been moved when the rest is refused. */
static void check_around(const struct rig *r)
{
	check(r->b.mem, LEN, 'b');
	check(r->b.mem + 2 * LEN, LEN, 'b');
}

static void refuses(struct rig *r, bool write, struct slime_seg seg)
{
	assert_int_equal(transfer(r, write, seg), -EACCES);
	check(r->a.mem, sizeof(r->a.mem), 'a');
	check(r->b.mem, sizeof(r->b.mem), 'b');
}

static void the_owner_checks_ranges_itself(void **state)
{
	static const struct slime_seg wrong[] = {
	    {.remote_off = LEN, .len = 1},
	    {.remote_off = LEN - 1, .len = 2},
	    {.remote_off = 0, .len = LEN + 1},
	    {.remote_off = UINT64_MAX - 9, .len = 9},
	    {.remote_off = 1, .len = 1, .count = 2, .local_stride = 1, .remote_stride = LEN - 1},
	    {.remote_off = 0,
	     .len = 8,
	     .count = LEN / 8 + 1,
	     .local_stride = 8,
	     .remote_stride = 8},
	    {.remote_off = LEN, .len = 1, .count = 2, .local_stride = 1, .remote_stride = 0},
	};
	static struct rig r;

	(void)state;
	rig_open(&r, SLIME_ACCESS_REMOTE);
	r.rmr->len = UINT64_MAX;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(transfer(&r, true, wrong[i]), -ERANGE);
		check_around(&r);
		assert_int_equal(transfer(&r, false, wrong[i]), -ERANGE);
	}
	memset(r.a.mem, 'c', LEN);
	assert_int_equal(transfer(&r, true, (struct slime_seg){.len = LEN}), 0);
	check(r.b.mem + LEN, LEN, 'c');
	check_around(&r);
	rig_close(&r);
}

/* Which our own library would not even send for a lie: the plan of a prepared transfer is changed.
 */
static void the_owner_is_not_fooled_by_strides_that_wrap(void **state)
{
	static const uint64_t strides[] = {UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX / 2 + 2};
	struct slime_seg seg = {.len = 1, .count = 3, .local_stride = 1, .remote_stride = 1};
	static struct rig r;

	(void)state;
	rig_open(&r, SLIME_ACCESS_REMOTE);
	seg.local = r.a.mr;
	seg.remote = r.rmr;
	for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++)
		for (int dir = SLIME_DIR_READ; dir <= SLIME_DIR_WRITE; dir++) {
			slime_xfer *xfer;
			slime_op *op;

			assert_int_equal(
			    slime_xfer_prepare(r.a.ep, (enum slime_dir)dir, &seg, 1, &xfer, NULL),
			    0);
			xfer->iov[0].rstride = strides[i];
			assert_int_equal(slime_xfer_post(xfer, NULL, &op), 0);
			assert_int_equal(slime_op_wait(op, patience_ns, NULL), -ERANGE);
			slime_op_release(op);
			slime_xfer_release(xfer);
			check_around(&r);
		}
	rig_close(&r);
}

static void the_owner_checks_rights_itself(void **state)
{
	static const struct slime_seg all = {.len = LEN};
	static struct rig r;

	(void)state;
	for (uint32_t may = 0; may <= SLIME_ACCESS_REMOTE; may++) {
		rig_open(&r, may);
		r.rmr->access = SLIME_ACCESS_REMOTE;
		if (!(may & SLIME_ACCESS_REMOTE_WRITE))
			refuses(&r, true, all);
		if (!(may & SLIME_ACCESS_REMOTE_READ))
			refuses(&r, false, all);
		if (may & SLIME_ACCESS_REMOTE_READ)
			assert_int_equal(transfer(&r, false, all), 0);
		rig_close(&r);
	}
}

/* Neither the number of a region nor the key of another one opens it. */
static void the_owner_checks_the_key_of_each_region(void **state)
{
	static const struct slime_seg all = {.len = LEN};
	const struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	static struct rig r;
	struct sl_rreg *rreg, known;
	struct slime_desc desc;
	slime_rmr *other;
	slime_mr *mr;

	(void)state;
	rig_open(&r, SLIME_ACCESS_REMOTE);
	assert_int_equal(slime_mr_register(r.b.ctx, r.b.mem, LEN, &opts, &mr, NULL), 0);
	assert_int_equal(slime_mr_export(mr, &desc, NULL), 0);
	assert_int_equal(slime_ep_import(r.a.ep, &desc, &other, NULL), 0);
	rreg = r.rmr->rreg[0];
	known = *rreg;
	for (int bit = 0; bit < 8 * SL_SECRET_LEN; bit += 7) {
		rreg->key[bit / 8] = (uint8_t)(rreg->key[bit / 8] ^ (1 << bit % 8));
		refuses(&r, true, all);
		refuses(&r, false, all);
		*rreg = known;
	}
	rreg->id = other->rreg[0]->id;
	refuses(&r, true, all);
	rreg->id = UINT64_MAX;
	refuses(&r, false, all);
	*rreg = known;
	assert_int_equal(transfer(&r, true, all), 0);
	slime_rmr_release(other);
	slime_mr_deregister(mr);
	rig_close(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_owner_checks_ranges_itself),
	    cmocka_unit_test(the_owner_is_not_fooled_by_strides_that_wrap),
	    cmocka_unit_test(the_owner_checks_rights_itself),
	    cmocka_unit_test(the_owner_checks_the_key_of_each_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
