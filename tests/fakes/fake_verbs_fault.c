/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_fault.c - what goes wrong because a test asked for it. */
#include <errno.h>
#include <string.h>

#include "fakes/fake_verbs_impl.h"

enum { FAULTS_MAX = 64 };

enum kind { NONE, CALL, WORK, TWICE, DATAGRAM, STRAY };

struct fault {
	enum kind kind;
	const char *call;
	unsigned dev;
	uint32_t qpn;
	unsigned n; /* happens when it gets to 0 */
	int how;    /* an errno value, a status, an enum fake_datagram_fault */
	bool late;
};

static struct fault faults[FAULTS_MAX];
static _Atomic unsigned n_faults; /* so that it costs nothing when there are none */

void fake_fault_reset_locked(void)
{
	memset(faults, 0, sizeof(faults));
	atomic_store(&n_faults, 0);
}

static void order(struct fault fault)
{
	fake_lock();
	for (int i = 0; i < FAULTS_MAX; i++)
		if (faults[i].kind == NONE) {
			faults[i] = fault;
			(void)atomic_fetch_add(&n_faults, 1);
			break;
		}
	fake_unlock();
}

unsigned fake_verbs_faults_left(void)
{
	return atomic_load(&n_faults);
}

/* Does F happen now? Then it is gone. */
static bool happens(struct fault *f)
{
	if (--f->n)
		return false;
	f->kind = NONE;
	(void)atomic_fetch_sub(&n_faults, 1);
	return true;
}

/* Every fault for that QP counts on; the last that happens is it. NULL: none. */
static const struct fault *of_qp(enum kind kind, const struct fake_qp *qp)
{
	const struct fault *found = NULL;

	for (int i = 0; atomic_load(&n_faults) && i < FAULTS_MAX; i++) {
		struct fault *f = &faults[i];

		if (f->kind != kind || f->dev != qp->dev->index)
			continue;
		if ((!f->qpn || f->qpn == qp->ibv.qp_num) && happens(f))
			found = f;
	}
	return found;
}

void fake_verbs_fail_call(const char *call, unsigned n, int error)
{
	order((struct fault){.kind = CALL, .call = call, .n = n, .how = error});
}

bool fake_fault_ordered(void)
{
	return atomic_load(&n_faults);
}

int fake_fault_call_locked(const struct fake_ctx *ctx, const char *call)
{
	int error = ctx && ctx->dead ? EIO : 0;

	for (int i = 0; atomic_load(&n_faults) && i < FAULTS_MAX; i++)
		if (faults[i].kind == CALL && !strcmp(faults[i].call, call) && happens(&faults[i]))
			error = faults[i].how;
	return error;
}

void fake_verbs_fail_work(unsigned dev, uint32_t qpn, unsigned n, enum ibv_wc_status status,
                          bool carried_out)
{
	order((struct fault){
	    .kind = WORK, .dev = dev, .qpn = qpn, .n = n, .how = (int)status, .late = carried_out});
}

void fake_fault_work_locked(struct fake_qp *qp)
{
	const struct fault *f = of_qp(WORK, qp);

	qp->sq.fault = f ? (enum ibv_wc_status)f->how : IBV_WC_SUCCESS;
	qp->sq.fault_late = f && f->late;
	qp->sq.strays = of_qp(STRAY, qp);
}

void fake_verbs_stray(unsigned dev, uint32_t qpn, unsigned n)
{
	order((struct fault){.kind = STRAY, .dev = dev, .qpn = qpn, .n = n});
}

void fake_verbs_duplicate_cqe(unsigned dev, uint32_t qpn, unsigned n)
{
	order((struct fault){.kind = TWICE, .dev = dev, .qpn = qpn, .n = n});
}

bool fake_fault_duplicate_locked(const struct fake_qp *qp)
{
	return of_qp(TWICE, qp);
}

void fake_verbs_fail_datagram(unsigned dev, enum fake_datagram_fault what, unsigned n)
{
	order((struct fault){.kind = DATAGRAM, .dev = dev, .n = n, .how = (int)what});
}

int fake_fault_datagram_locked(const struct fake_device *dev)
{
	int how = -1;

	for (int i = 0; atomic_load(&n_faults) && i < FAULTS_MAX; i++)
		if (faults[i].kind == DATAGRAM && faults[i].dev == dev->index &&
		    happens(&faults[i]))
			how = faults[i].how;
	return how;
}

void fake_verbs_overrun_cq(unsigned dev, uint32_t qpn)
{
	struct fake_qp *qp;

	fake_lock();
	qp = fake_qp_find_locked(&fabric.devices[dev], qpn);
	if (qp)
		fake_cq_overrun_locked((struct fake_cq *)qp->ibv.send_cq, qp);
	fake_unlock();
}

/* Of the device's contexts, or, for those of a port, of its first port. */
static void raise_all_locked(const struct fake_device *dev, enum ibv_event_type type, unsigned port)
{
	struct fake_ctx *ctx;

	TAILQ_FOREACH(ctx, &fabric.ctxs, link)
	if (ctx->dev == dev && !ctx->dead)
		fake_raise_locked(ctx, &ctx->ports[port - 1].source, type);
}

void fake_verbs_raise(unsigned dev, enum ibv_event_type type, uint32_t qpn)
{
	struct fake_qp *qp;

	fake_lock();
	qp = fake_qp_find_locked(&fabric.devices[dev], qpn);
	if (qp)
		fake_raise_locked((struct fake_ctx *)qp->ibv.context, &qp->source, type);
	else
		raise_all_locked(&fabric.devices[dev], type, 1);
	fake_unlock();
}

void fake_verbs_set_port(unsigned dev, unsigned port, enum ibv_port_state state)
{
	struct fake_device *d = &fabric.devices[dev];

	fake_lock();
	d->config.ports[port - 1].state = state;
	raise_all_locked(d, state == IBV_PORT_ACTIVE ? IBV_EVENT_PORT_ACTIVE : IBV_EVENT_PORT_ERR,
	                 port);
	fake_wire_kick_locked();
	fake_unlock();
}

void fake_verbs_remove(unsigned dev)
{
	struct fake_device *d = &fabric.devices[dev];
	struct fake_ctx *ctx;

	fake_lock();
	raise_all_locked(d, IBV_EVENT_DEVICE_FATAL, 1);
	TAILQ_FOREACH(ctx, &fabric.ctxs, link)
	ctx->dead = ctx->dead || ctx->dev == d;
	for (unsigned i = 0; i < d->qps.cap; i++)
		if (d->qps.slot[i])
			fake_qp_error_locked(d->qps.slot[i]);
	d->removed = true;
	fake_unlock();
}

void fake_verbs_insert(unsigned dev)
{
	fake_lock();
	fabric.devices[dev].removed = false;
	fake_unlock();
}

static void set_held(unsigned dev, bool held, unsigned may_go)
{
	fake_lock();
	fabric.devices[dev].held = held;
	fabric.devices[dev].may_go = may_go;
	fake_wire_kick_locked();
	fake_unlock();
}

void fake_verbs_hold(unsigned dev)
{
	set_held(dev, true, 0);
}

void fake_verbs_step(unsigned dev, unsigned n)
{
	set_held(dev, true, n);
}

void fake_verbs_release(unsigned dev)
{
	set_held(dev, false, 0);
}

static void set_cut(unsigned dev, bool cut)
{
	fake_lock();
	fabric.devices[dev].cut = cut;
	fake_wire_kick_locked();
	fake_unlock();
}

void fake_verbs_cut(unsigned dev)
{
	set_cut(dev, true);
}

void fake_verbs_heal(unsigned dev)
{
	set_cut(dev, false);
}

void fake_verbs_expire(void)
{
	struct fake_qp *qp;

	fake_lock();
	TAILQ_FOREACH(qp, &fabric.waiting, link)
	if (qp->wait_until)
		qp->wait_until = 1;
	fake_wire_kick_locked();
	fake_unlock();
}

unsigned fake_verbs_list_qps(unsigned dev, struct fake_qp_info *out, unsigned cap)
{
	struct fake_device *d = &fabric.devices[dev];
	unsigned n = 0;

	fake_lock();
	for (uint64_t from = 0;; n++) {
		const struct fake_qp *oldest = NULL;

		for (unsigned i = 0; i < d->qps.cap; i++) {
			const struct fake_qp *qp = d->qps.slot[i];

			if (qp && qp->order >= from && (!oldest || qp->order < oldest->order))
				oldest = qp;
		}
		if (!oldest)
			break;
		from = oldest->order + 1;
		if (n < cap)
			out[n] = (struct fake_qp_info){
			    .dev = dev,
			    .num = oldest->ibv.qp_num,
			    .type = oldest->ibv.qp_type,
			    .state = oldest->attr.qp_state,
			    .dest_num = oldest->attr.dest_qp_num,
			    .queued = (uint32_t)(oldest->sq.tail - oldest->sq.done),
			    .attr = oldest->attr,
			    .cap = oldest->cap,
			};
	}
	fake_unlock();
	return n;
}
