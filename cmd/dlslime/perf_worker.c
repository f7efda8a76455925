/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf_worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "perf_wire.h"
#include "say.h"

static const int64_t second = 1000000000;

static int allocate(struct worker *w, struct slime_error *err)
{
	int rc = perf_mem_get(w->ctx, &w->shape, &w->mem, err);

	if (rc < 0)
		return rc;
	w->segs = calloc(w->shape.batch, sizeof(*w->segs));
	w->started_ns = calloc(w->shape.depth, sizeof(*w->started_ns));
	w->idle = calloc(w->shape.depth, sizeof(*w->idle));
	if (!w->segs || !w->started_ns || !w->idle)
		return refuse(err, -ENOMEM, "no memory for the operations");
	for (uint32_t i = 0; i < w->shape.depth; i++)
		w->idle[w->n_idle++] = i;
	for (uint64_t b = 0; b < w->shape.blocks; b++)
		perf_fill(&w->shape, w->mem, b, b);
	return slime_mr_register(w->ctx, w->mem, perf_region_len(&w->shape), NULL, &w->mr, err);
}

/* Wait for message WANT as long as the server lives: it may have gigabytes to fill first. */
static int await(struct worker *w, struct msg *m, uint8_t want, struct slime_error *err)
{
	for (;;) {
		int rc = chan_expect(&w->chan, m, want, 0, second / 4, err);

		if (rc == 0 || w->chan.said)
			return rc;
		if (rc == -ETIMEDOUT)
			rc = perf_watch_check(w->watch, err);
		if (rc < 0)
			return perf_went_away(&w->o->at, rc, err);
	}
}

static int ask(struct worker *w, struct slime_desc *ep, struct slime_desc *mr,
               struct slime_error *err)
{
	struct slime_desc mine;
	struct msg m;
	int rc = slime_ep_export(w->ep, &mine, err);

	if (rc < 0)
		return rc;
	msg_begin(&m, PERF_WISH);
	perf_shape_put(&m, &w->shape);
	put_desc(&m, &mine);
	rc = chan_send(&w->chan, &m, 5 * second, err);
	if (rc == 0)
		rc = await(w, &m, PERF_GRANT, err);
	if (rc < 0)
		return rc;
	get_desc(&m, ep);
	get_desc(&m, mr);
	return msg_ok(&m) ? 0 : refuse(err, -EPROTO, "the server's answer cannot be read");
}

static int connect_ep(struct worker *w, struct slime_error *err)
{
	struct slime_desc ep;
	struct slime_desc mr;
	struct msg m;
	int rc = ask(w, &ep, &mr, err);

	if (rc < 0)
		return rc;
	rc = slime_ep_connect(w->ep, &ep, 10 * second, err);
	if (rc == 0)
		rc = await(w, &m, PERF_CONNECTED, err);
	else
		(void)chan_both_sides(&w->chan, rc, 0, err);
	if (rc < 0)
		return rc;
	return slime_ep_import(w->ep, &mr, &w->rmr, err);
}

int worker_open(struct worker *w, struct slime_error *err)
{
	int rc;

	w->chan.fd = -1;
	(void)pthread_mutex_init(&w->sending, NULL);
	rc = perf_shape_check(&w->shape, perf_mem_limit() / w->o->threads, err);
	/* gigabytes take seconds to fill: the server does not wait for them */
	if (rc == 0)
		rc = allocate(w, err);
	if (rc == 0)
		rc = chan_dial(&w->chan, &w->o->at, perf_hello, PERF_HELLO_LEN, 5 * second, err);
	if (rc == 0)
		rc = perf_ep_create(w->ctx, &w->shape, &w->ep, err);
	if (rc == 0 && w->shape.depth > 1)
		rc = slime_cq_create(w->ctx, w->shape.depth, &w->cq, err);
	if (rc == 0)
		rc = connect_ep(w, err);
	return rc;
}

void worker_close(struct worker *w)
{
	chan_close(&w->chan);
	slime_ep_destroy(w->ep);
	slime_cq_destroy(w->cq);
	slime_rmr_release(w->rmr);
	slime_mr_deregister(w->mr);
	if (w->mem)
		perf_mem_put(w->ctx, &w->shape, w->mem);
	free(w->segs);
	free(w->started_ns);
	free(w->idle);
	(void)pthread_mutex_destroy(&w->sending);
}

void worker_abort(struct worker *w)
{
	slime_ep_close(w->ep);
	(void)shutdown(w->chan.fd, SHUT_RDWR);
}

/* Point the segments at BLOCK; returns how many there are. */
static size_t aim(struct worker *w, uint64_t block)
{
	const struct perf_shape *s = &w->shape;
	uint64_t at = block * perf_step(s);
	size_t n = s->strided ? 1 : s->batch;

	for (size_t i = 0; i < n; i++) {
		w->segs[i] = (struct slime_seg){.local = w->mr,
		                                .remote = w->rmr,
		                                .local_off = at + i * s->stride,
		                                .remote_off = at + i * s->stride,
		                                .len = s->size};
	}
	if (s->strided) {
		w->segs[0].count = s->batch;
		w->segs[0].local_stride = s->stride;
		w->segs[0].remote_stride = s->stride;
	}
	return n;
}

/* Submit operation INDEX. */
static int submit(struct worker *w, uint64_t index, const struct slime_submit *how, slime_op **out)
{
	uint64_t block = index % w->shape.blocks;
	struct slime_span span;
	size_t n;

	if (w->shape.op == PERF_SEND) {
		span = (struct slime_span){w->mr, block * perf_step(&w->shape), w->shape.size};
		return slime_ep_send(w->ep, &span, how, out);
	}
	n = aim(w, block);
	if (w->shape.op == PERF_READ)
		return slime_ep_read(w->ep, w->segs, n, how, out);
	if (w->shape.op == PERF_WRITE)
		return slime_ep_write(w->ep, w->segs, n, how, out);
	return slime_ep_write_imm(w->ep, w->segs, n, (uint32_t)index, how, out);
}

static int failed(struct worker *w, int status)
{
	char name[64], at[HOST_MAX + 16];

	(void)refuse(&w->err, status, "%s with %s failed after %llu operations: %s",
	             perf_op_names[w->shape.op], address_format(&w->o->at, at, sizeof(at)),
	             (unsigned long long)w->next, errno_name(status, name, sizeof(name)));
	/* the server may know more */
	return atomic_load(w->stop) ? status : chan_both_sides(&w->chan, status, 0, &w->err);
}

/* Ready the memory of operation INDEX so that only its own success makes it right. */
static void prepare(struct worker *w, uint64_t index)
{
	uint64_t block = index % w->shape.blocks;

	if (w->shape.op == PERF_READ)
		perf_spoil(&w->shape, w->mem, block);
	else
		perf_fill(&w->shape, w->mem, block, index);
}

/* Ask the server whether the N operations from FIRST on arrived as they should. */
static int check_there(struct worker *w, uint64_t first, uint32_t n)
{
	struct msg m;
	int rc;

	msg_begin(&m, PERF_CHECK);
	put_uint(&m, first, 8);
	put_uint(&m, n, 4);
	(void)pthread_mutex_lock(&w->sending);
	rc = chan_send(&w->chan, &m, 5 * second, &w->err);
	(void)pthread_mutex_unlock(&w->sending);
	if (rc == 0)
		rc = chan_expect(&w->chan, &m, PERF_CHECKED, 0, 60 * second, &w->err);
	if (rc < 0)
		return w->chan.said ? rc : perf_went_away(&w->o->at, rc, &w->err);
	w->n_bad += get_uint(&m, 8);
	return msg_ok(&m) ? 0 : refuse(&w->err, -EPROTO, "the server's check cannot be read");
}

static int check(struct worker *w, uint64_t first, uint32_t n)
{
	if (w->shape.op != PERF_READ)
		return check_there(w, first, n);
	for (uint64_t i = first; i < first + n; i++)
		w->n_bad += !perf_right(&w->shape, w->mem, i % w->shape.blocks, 0);
	return 0;
}

/* RES as an operation that moved all its bytes, or what went wrong. */
static int outcome(struct worker *w, const struct slime_result *res)
{
	if (res->status < 0)
		return failed(w, res->status);
	if (res->bytes != perf_op_bytes(&w->shape))
		return refuse(&w->err, -EIO, "%s reported %llu bytes, not %llu",
		              perf_op_names[w->shape.op], (unsigned long long)res->bytes,
		              (unsigned long long)perf_op_bytes(&w->shape));
	return 0;
}

static int once(struct worker *w)
{
	struct slime_result res = {0};
	slime_op *op;
	int rc = submit(w, w->next, NULL, &op);

	if (rc < 0)
		return failed(w, rc);
	if (w->o->poll) {
		do {
			rc = slime_op_wait(op, 0, &res);
		} while (rc == -ETIMEDOUT);
	} else {
		rc = slime_op_wait(op, SLIME_FOREVER, &res);
	}
	slime_op_release(op);
	res.status = rc;
	return outcome(w, &res);
}

/* One operation in flight, a handle for each. */
static int run_single(struct worker *w, int64_t until_ns, uint64_t max_ops)
{
	int64_t t = now_ns();
	int rc = 0;

	while (rc == 0 && w->ops < max_ops && t < until_ns && !atomic_load(w->stop)) {
		int64_t done;

		if (w->shape.verify) {
			prepare(w, w->next);
			t = now_ns();
		}
		rc = once(w);
		done = now_ns();
		if (rc < 0)
			break;
		histogram_add(&w->latency, (uint64_t)(done - t));
		w->ns += done - t;
		w->ops++;
		w->next++;
		t = done;
		if (w->shape.verify) {
			rc = check(w, w->next - 1, 1);
			t = now_ns();
		}
	}
	return rc;
}

/* Submit until there are no slots or MAX_OPS are on their way. */
static int fill_queue(struct worker *w, uint64_t max_ops)
{
	while (w->n_idle && w->ops + (w->shape.depth - w->n_idle) < max_ops) {
		uint32_t slot = w->idle[w->n_idle - 1];
		const struct slime_submit how = {
		    .size = sizeof(how), .cq = w->cq, .user_data = slot};
		int rc;

		w->started_ns[slot] = now_ns();
		rc = submit(w, w->next, &how, NULL);
		if (rc == -EAGAIN && w->n_idle < w->shape.depth)
			return 0;
		if (rc < 0)
			return failed(w, rc);
		w->n_idle--;
		w->next++;
	}
	return 0;
}

static int empty_queue(struct worker *w)
{
	struct slime_result res[64];
	int64_t now;
	int rc = 0;
	int n;

	if (w->o->poll)
		n = slime_cq_take(w->cq, res, 64);
	else
		n = slime_cq_wait(w->cq, res, 64, SLIME_FOREVER);
	if (n < 0)
		return failed(w, n);
	now = now_ns();
	for (int i = 0; i < n; i++) {
		uint32_t slot = (uint32_t)res[i].user_data;

		histogram_add(&w->latency, (uint64_t)(now - w->started_ns[slot]));
		w->idle[w->n_idle++] = slot;
		if (rc == 0)
			rc = outcome(w, &res[i]);
		w->ops += rc == 0;
	}
	return rc;
}

/* Keep DEPTH operations in flight until it is time, then let them end. */
static int run_queue(struct worker *w, int64_t until_ns, uint64_t max_ops)
{
	int64_t start = now_ns();
	int64_t now = start;
	int rc = 0;

	while (rc == 0 && w->ops < max_ops) {
		if (now < until_ns && !atomic_load(w->stop))
			rc = fill_queue(w, max_ops);
		if (rc == 0 && w->n_idle == w->shape.depth)
			break;
		if (rc == 0)
			rc = empty_queue(w);
		now = now_ns();
	}
	w->ns += now - start;
	return rc;
}

/* The same in windows of DEPTH, with the bytes made before and compared after each. */
static int run_windows(struct worker *w, int64_t until_ns, uint64_t max_ops)
{
	int rc = 0;

	while (rc == 0 && w->ops < max_ops && now_ns() < until_ns && !atomic_load(w->stop)) {
		uint64_t first = w->next;
		uint64_t n = max_ops - w->ops < w->shape.depth ? max_ops - w->ops : w->shape.depth;

		for (uint64_t i = 0; i < n; i++)
			prepare(w, first + i);
		rc = run_queue(w, INT64_MAX, w->ops + n);
		if (rc == 0 && w->next > first)
			rc = check(w, first, (uint32_t)(w->next - first));
	}
	return rc;
}

int worker_run(struct worker *w, int64_t until_ns, uint64_t max_ops)
{
	int rc;

	memset(&w->latency, 0, sizeof(w->latency));
	w->ops = 0;
	w->ns = 0;
	w->began_ns = now_ns();
	if (w->shape.depth == 1)
		rc = run_single(w, until_ns, max_ops);
	else if (w->shape.verify)
		rc = run_windows(w, until_ns, max_ops);
	else
		rc = run_queue(w, until_ns, max_ops);
	w->ended_ns = now_ns();
	return rc;
}
