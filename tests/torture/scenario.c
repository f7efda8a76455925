/* SPDX-License-Identifier: BSD-3-Clause */
#include "scenario.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { LEN = 65536, BATCH = 100 };
static const int64_t step_ns = INT64_C(1000000);
static const int64_t hung_ns = INT64_C(5000000000);

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int side_begin(struct scenario *s, struct scenario_side *side, const char *transport)
{
	struct slime_ctx_opts ctx_opts = {
	    .size = sizeof(ctx_opts),
	    .flags = SLIME_CTX_MANUAL_PROGRESS,
	    .peer_timeout_ms = s->peer_timeout_ms ? s->peer_timeout_ms : 2000,
	};
	struct slime_ep_opts ep_opts = {.size = sizeof(ep_opts), .transport = transport};
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = SLIME_ACCESS_REMOTE};
	int rc;

	s->step = "slime_ctx_create";
	rc = slime_ctx_create(&ctx_opts, &side->ctx, &s->err);
	if (rc)
		return rc;
	s->step = "slime_mem_alloc";
	rc = slime_mem_alloc(side->ctx, LEN, NULL, &side->shared, &s->err);
	if (rc)
		return rc;
	s->step = "slime_mr_register";
	rc = slime_mr_register(side->ctx, side == &s->a ? side->shared : side->plain, LEN, &mr_opts,
	                       &side->mr, &s->err);
	if (rc)
		return rc;
	s->step = "slime_cq_create";
	rc = slime_cq_create(side->ctx, 16, &side->cq, &s->err);
	if (rc)
		return rc;
	s->step = "slime_cq_fd";
	rc = slime_cq_fd(side->cq);
	if (rc < 0)
		return rc;
	s->step = "slime_ep_create";
	return slime_ep_create(side->ctx, &ep_opts, &side->ep, &s->err);
}

static bool over_with(int rc)
{
	return rc && rc != -ETIMEDOUT;
}

static int connect_both(struct scenario *s)
{
	struct slime_desc a, b;
	int64_t end = now_ns() + hung_ns;
	int a_rc = -ETIMEDOUT, b_rc = -ETIMEDOUT, rc;

	s->step = "slime_ep_export";
	rc = slime_ep_export(s->a.ep, &a, &s->err);
	if (!rc)
		rc = slime_ep_export(s->b.ep, &b, &s->err);
	if (rc)
		return rc;
	s->step = "slime_ep_connect";
	while ((a_rc || b_rc) && now_ns() < end) {
		if (a_rc)
			a_rc = slime_ep_connect(s->a.ep, &b, step_ns, &s->err);
		if (over_with(a_rc))
			return a_rc;
		if (b_rc)
			b_rc = slime_ep_connect(s->b.ep, &a, step_ns, &s->err);
		if (over_with(b_rc))
			return b_rc;
	}
	return a_rc ? a_rc : b_rc;
}

static int import_one(struct scenario *s, struct scenario_side *to, struct scenario_side *from)
{
	struct slime_desc desc;
	int rc;

	s->step = "slime_mr_export";
	rc = slime_mr_export(from->mr, &desc, &s->err);
	if (rc)
		return rc;
	s->step = "slime_ep_import";
	return slime_ep_import(to->ep, &desc, &to->rmr, &s->err);
}

int scenario_begin(struct scenario *s, const char *transport)
{
	uint32_t peer_timeout_ms = s->peer_timeout_ms;
	int rc;

	memset(s, 0, sizeof(*s));
	s->peer_timeout_ms = peer_timeout_ms;
	rc = side_begin(s, &s->a, transport);
	if (!rc)
		rc = side_begin(s, &s->b, transport);
	if (!rc)
		rc = connect_both(s);
	if (!rc)
		rc = import_one(s, &s->a, &s->b);
	if (!rc)
		rc = import_one(s, &s->b, &s->a);
	return rc;
}

static void side_end(struct scenario_side *side)
{
	slime_rmr_release(side->rmr);
	slime_ep_destroy(side->ep);
	slime_cq_destroy(side->cq);
	slime_mr_deregister(side->mr);
	slime_mem_free(side->ctx, side->shared);
	slime_ctx_destroy(side->ctx);
}

void scenario_end(struct scenario *s)
{
	side_end(&s->a);
	side_end(&s->b);
}

int scenario_finish(struct scenario *s, slime_op *op)
{
	int64_t end = now_ns() + hung_ns;
	int rc;

	do {
		(void)slime_ctx_progress(s->a.ctx);
		(void)slime_ctx_progress(s->b.ctx);
		rc = slime_op_wait(op, 0, NULL);
	} while (rc == -ETIMEDOUT && now_ns() < end);
	slime_op_release(op);
	return rc;
}

static int one_sided(struct scenario *s)
{
	struct slime_seg segs[BATCH];
	slime_op *op = NULL;
	int rc;

	for (uint64_t i = 0; i < BATCH; i++)
		segs[i] = (struct slime_seg){
		    .local = s->a.mr,
		    .remote = s->a.rmr,
		    .local_off = i * 128,
		    .remote_off = i * 256,
		    .len = 100,
		};
	s->step = "write";
	rc = slime_ep_write(s->a.ep, segs, 1, NULL, &op);
	if (rc || (rc = scenario_finish(s, op)))
		return rc;
	s->step = "read of a batch";
	rc = slime_ep_read(s->a.ep, segs, BATCH, NULL, &op);
	if (rc || (rc = scenario_finish(s, op)))
		return rc;
	s->step = "write_imm of a batch";
	rc = slime_ep_write_imm(s->a.ep, segs, BATCH, 1, NULL, &op);
	if (rc || (rc = scenario_finish(s, op)))
		return rc;
	s->step = "recv_imm";
	rc = slime_ep_recv_imm(s->b.ep, NULL, &op);
	return rc ? rc : scenario_finish(s, op);
}

static int messages(struct scenario *s, uint64_t len)
{
	struct slime_span src = {.mr = s->a.mr, .len = len}, dst = {.mr = s->b.mr, .len = len};
	slime_op *send = NULL, *recv = NULL;
	int rc, recv_rc;

	s->step = "send";
	rc = slime_ep_send(s->a.ep, &src, NULL, &send);
	if (rc)
		return rc;
	s->step = "recv";
	rc = slime_ep_recv(s->b.ep, &dst, NULL, &recv);
	if (rc) {
		slime_op_release(send);
		return rc;
	}
	recv_rc = scenario_finish(s, recv);
	rc = scenario_finish(s, send);
	return rc ? rc : recv_rc;
}

static int prepared(struct scenario *s)
{
	struct slime_seg seg = {.local = s->b.mr, .remote = s->b.rmr, .len = 1000};
	struct slime_submit how = {.size = sizeof(how), .cq = s->b.cq};
	int64_t end = now_ns() + hung_ns;
	struct slime_result res;
	slime_xfer *xfer = NULL;
	int rc, taken = 0;

	s->step = "slime_xfer_prepare";
	rc = slime_xfer_prepare(s->b.ep, SLIME_DIR_READ, &seg, 1, &xfer, &s->err);
	if (rc)
		return rc;
	s->step = "slime_xfer_post";
	rc = slime_xfer_post(xfer, &how, NULL);
	slime_xfer_release(xfer);
	while (!rc && !taken && now_ns() < end) {
		(void)slime_ctx_progress(s->a.ctx);
		(void)slime_ctx_progress(s->b.ctx);
		taken = slime_cq_take(s->b.cq, &res, 1);
	}
	if (rc)
		return rc;
	return taken ? res.status : -ETIMEDOUT;
}

int scenario_run(struct scenario *s, const char *transport)
{
	int rc = scenario_begin(s, transport);

	if (!rc)
		rc = one_sided(s);
	if (!rc)
		rc = messages(s, 100);
	if (!rc)
		rc = messages(s, LEN);
	if (!rc)
		rc = prepared(s);
	scenario_end(s);
	return rc;
}
