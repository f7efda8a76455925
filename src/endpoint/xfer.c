/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint/xfer.c - prepared transfers: planned once, posted again and again. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "endpoint/internal.h"

static const char *plan_failure(int rc)
{
	switch (rc) {
	case -ERANGE:
		return "a segment leaves its region";
	case -EACCES:
		return "the peer's region does not allow that access";
	case -EINVAL:
		return "a segment names no region, or one of another context or endpoint";
	case -EOPNOTSUPP:
		return "the transport does not reach memory of that kind";
	default:
		return "the transfer cannot be planned";
	}
}

int slime_xfer_prepare(slime_ep *ep, enum slime_dir dir, const struct slime_seg *segs, size_t n,
                       slime_xfer **out, struct slime_error *err)
{
	struct sl_plan plan = {0};
	slime_xfer *xfer;
	int rc;

	if (!ep || !out || (n && !segs))
		return sl_fail(err, -EINVAL,
		               "no endpoint, segments or place for the transfer were given");
	if (n > SL_SEGS_MAX || (dir != SLIME_DIR_READ && dir != SLIME_DIR_WRITE))
		return sl_fail(
		    err, -EINVAL,
		    "%zu segments, direction %d: up to %d segments and a direction are needed", n,
		    (int)dir, SL_SEGS_MAX);
	rc = sl_ep_usable(ep, err);
	if (rc)
		return rc;
	xfer = calloc(1, sizeof(*xfer) + n * (sizeof(*plan.iov) + sizeof(*plan.holds)));
	if (!xfer)
		return sl_fail(err, -ENOMEM, "no memory for %zu segments", n);
	xfer->code = dir == SLIME_DIR_READ ? SL_OP_READ : SL_OP_WRITE;
	plan.iov = xfer->iov = (struct sl_iov *)(void *)(xfer + 1);
	plan.holds = xfer->holds = (struct sl_hold *)(void *)(xfer->iov + n);
	rc = sl_plan_segs(ep, xfer->code, segs, n, &plan);
	if (rc) {
		free(xfer);
		return sl_fail(err, rc, "%s", plan_failure(rc));
	}
	xfer->niov = (uint32_t)n;
	xfer->split = plan.split;
	xfer->nholds = plan.nholds;
	xfer->bytes = plan.bytes;
	xfer->ep = ep;
	xfer->aimed =
	    atomic_fetch_add_explicit(&ep->next_lane, 1, memory_order_relaxed) % ep->nlanes;
	sl_iov_aim(ep, xfer->iov, xfer->holds, xfer->nholds, xfer->aimed);
	atomic_init(&xfer->refs, 1);
	sl_ep_ref(ep);
	*out = xfer;
	return 0;
}

void sl_xfer_unref(slime_xfer *xfer)
{
	if (atomic_fetch_sub_explicit(&xfer->refs, 1, memory_order_acq_rel) > 1)
		return;
	sl_holds_drop(xfer->holds, xfer->nholds);
	sl_ep_unref(xfer->ep);
	free(xfer);
}

int slime_xfer_post(slime_xfer *xfer, const struct slime_submit *how, slime_op **out)
{
	int rc;

	if (!xfer)
		return -EINVAL;
	if (atomic_exchange(&xfer->busy, true))
		return -EBUSY;
	rc = sl_submit_xfer(xfer, how, out);
	if (rc)
		atomic_store(&xfer->busy, false);
	return rc;
}

void slime_xfer_release(slime_xfer *xfer)
{
	if (xfer)
		sl_xfer_unref(xfer);
}
