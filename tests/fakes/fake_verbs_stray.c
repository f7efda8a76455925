/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_stray.c - packets that arrive when nobody expects them any more. */
#include <stdlib.h>
#include <string.h>

#include "fakes/fake_verbs_impl.h"

void fake_stray_locked(const struct fake_qp *qp, const struct fake_qp *peer,
                       const struct fake_send *wr, const char *data, uint64_t len)
{
	struct fake_stray *s = malloc(sizeof(*s) + len);

	if (!s)
		abort();
	*s = (struct fake_stray){
	    .dev = peer->dev,
	    .to_qpn = peer->ibv.qp_num,
	    .from_qpn = qp->ibv.qp_num,
	    .psn = qp->attr.sq_psn,
	    .rkey = wr->rkey,
	    .addr = wr->remote_addr,
	    .len = len,
	};
	memcpy(s->data, data, len);
	TAILQ_INSERT_TAIL(&fabric.strays, s, link);
}

/* What a responder looks at: the numbers of the packet, not whether its sender is alive. */
static bool take_locked(const struct fake_stray *s)
{
	const struct fake_qp *qp = fake_qp_find_locked(s->dev, s->to_qpn);
	char *at;

	if (!qp || (qp->attr.qp_state != IBV_QPS_RTR && qp->attr.qp_state != IBV_QPS_RTS) ||
	    qp->attr.dest_qp_num != s->from_qpn || qp->attr.rq_psn != s->psn)
		return false;
	at = fake_mr_remote_locked(qp->ibv.pd, s->rkey, s->addr, s->len, IBV_ACCESS_REMOTE_WRITE);
	if (at)
		memcpy(at, s->data, s->len);
	return at != NULL;
}

static unsigned arrive_locked(bool lost)
{
	struct fake_stray *s;
	unsigned taken = 0;

	while ((s = TAILQ_FIRST(&fabric.strays))) {
		TAILQ_REMOVE(&fabric.strays, s, link);
		taken += !lost && take_locked(s);
		free(s);
	}
	return taken;
}

unsigned fake_verbs_arrive(void)
{
	unsigned taken;

	fake_lock();
	taken = arrive_locked(false);
	fake_unlock();
	return taken;
}

void fake_stray_reset_locked(void)
{
	(void)arrive_locked(true);
}
