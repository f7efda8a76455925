/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The measuring side of perf: a worker for each thread, and the calling thread
 * watching over a connection of its own that the server's process still runs.
 * When it does not, the workers' endpoints and connections are closed under them,
 * which ends whatever they wait for.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "perf.h"
#include "perf_wire.h"
#include "perf_worker.h"
#include "say.h"

static const int64_t ping_every_ns = 5000000000;

struct run {
	const struct perf_opts *o;
	struct worker *workers;
	uint32_t n_open; /* workers that worker_close() is to be called for */
	pthread_barrier_t start;
	_Atomic bool stop;
	_Atomic uint32_t n_running;
	int done_fd; /* an eventfd, told when the last worker ends */
	struct perf_watch watch;
};

static int64_t in_ns(double seconds)
{
	return (int64_t)(seconds * 1e9);
}

static void worker_phases(struct run *run, struct worker *w)
{
	const struct perf_opts *o = run->o;
	int64_t until = o->iters ? INT64_MAX : 0;
	int rc = worker_run(w, now_ns() + in_ns(o->warmup_seconds), UINT64_MAX);

	(void)pthread_barrier_wait(&run->start);
	if (!until)
		until = now_ns() + in_ns(o->seconds);
	if (rc == 0)
		rc = worker_run(w, until, w->max_ops);
	if (rc < 0)
		atomic_store(&run->stop, true);
}

struct worker_arg {
	struct run *run;
	struct worker *worker;
};

static void *worker_main(void *arg)
{
	struct worker_arg *a = arg;

	worker_phases(a->run, a->worker);
	if (atomic_fetch_sub(&a->run->n_running, 1) == 1)
		(void)eventfd_write(a->run->done_fd, 1);
	return NULL;
}

static void open_shape(struct run *run, uint32_t i, struct worker *w)
{
	const struct perf_opts *o = run->o;

	w->o = o;
	w->stop = &run->stop;
	w->shape = o->shape;
	perf_shape_plan(&w->shape, o->footprint / o->threads);
	if (getrandom(&w->shape.seed, sizeof(w->shape.seed), 0) != sizeof(w->shape.seed))
		w->shape.seed = (uint64_t)getpid() + i; /* only a pattern, nothing secret */
	w->max_ops = UINT64_MAX;
	if (o->iters)
		w->max_ops = o->iters / o->threads + (i < o->iters % o->threads);
}

static int open_workers(struct run *run, slime_ctx *ctx, struct slime_error *err)
{
	for (uint32_t i = 0; i < run->o->threads; i++) {
		struct worker *w = &run->workers[i];
		int rc;

		w->ctx = ctx;
		w->watch = &run->watch;
		open_shape(run, i, w);
		run->n_open++;
		rc = worker_open(w, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Tell the server that each of its clients is alive. */
static void ping(struct run *run)
{
	struct msg m;

	msg_begin(&m, PERF_PING);
	for (uint32_t i = 0; i < run->o->threads; i++) {
		struct worker *w = &run->workers[i];

		(void)pthread_mutex_lock(&w->sending);
		(void)chan_send(&w->chan, &m, 0, NULL);
		(void)pthread_mutex_unlock(&w->sending);
	}
}

/* Until the workers are done (0), or the server's process is not there any more. */
static int watch(struct run *run, struct slime_error *err)
{
	struct pollfd p[2] = {{.fd = run->done_fd, .events = POLLIN},
	                      {.fd = run->watch.chan.fd, .events = POLLIN}};
	int64_t pinged = now_ns();

	for (;;) {
		int n = poll(p, 2, 500);
		int rc;

		if (n > 0 && p[0].revents)
			return 0;
		rc = perf_watch_check(&run->watch, err);
		if (rc < 0)
			return rc;
		if (now_ns() - pinged > ping_every_ns) {
			ping(run);
			pinged = now_ns();
		}
	}
}

static int start_workers(struct run *run, pthread_t *threads, struct worker_arg *args,
                         struct slime_error *err)
{
	uint32_t n = run->o->threads;

	atomic_store(&run->n_running, n);
	(void)pthread_barrier_init(&run->start, NULL, n);
	for (uint32_t i = 0; i < n; i++) {
		int rc;

		args[i] = (struct worker_arg){run, &run->workers[i]};
		rc = -pthread_create(&threads[i], NULL, worker_main, &args[i]);
		/* those that run wait for the others at the barrier, for ever */
		if (rc < 0 && i == 0)
			return refuse(err, rc, "no thread to be had");
		if (rc < 0) {
			say("no thread to be had for worker %u of %u", i + 1, n);
			_exit(EXIT_FAILED);
		}
	}
	return 0;
}

static int run_workers(struct run *run, struct slime_error *err)
{
	uint32_t n = run->o->threads;
	pthread_t *threads = calloc(n, sizeof(*threads));
	struct worker_arg *args = calloc(n, sizeof(*args));
	int rc = threads && args ? start_workers(run, threads, args, err)
	                         : refuse(err, -ENOMEM, "no memory for %u threads", n);

	if (rc == 0) {
		rc = watch(run, err);
		atomic_store(&run->stop, true);
		for (uint32_t i = 0; rc < 0 && i < n; i++)
			worker_abort(&run->workers[i]);
		for (uint32_t i = 0; i < n; i++)
			(void)pthread_join(threads[i], NULL);
		(void)pthread_barrier_destroy(&run->start);
		if (rc < 0)
			rc = perf_went_away(&run->o->at, rc, err);
	}
	free(threads);
	free(args);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		if (run->workers[i].err.code)
			rc = refuse(err, run->workers[i].err.code, "%s", run->workers[i].err.text);
	}
	return rc;
}

static void collect(const struct run *run, struct perf_result *out)
{
	struct slime_ep_info info = {.size = sizeof(info)};
	int64_t began = INT64_MAX, ended = 0;

	for (uint32_t i = 0; i < run->o->threads; i++) {
		const struct worker *w = &run->workers[i];

		histogram_merge(&out->latency, &w->latency);
		out->ops += w->ops;
		out->n_bad += w->n_bad;
		if (w->ns > out->ns)
			out->ns = w->ns;
		if (w->began_ns < began)
			began = w->began_ns;
		if (w->ended_ns > ended)
			ended = w->ended_ns;
	}
	/* threads that were not all running at once are no faster for it */
	if (!run->o->shape.verify)
		out->ns = ended - began;
	out->bytes = out->ops * perf_op_bytes(&run->o->shape);
	if (slime_ep_get_info(run->workers[0].ep, &info) < 0)
		return;
	out->lanes = info.lanes;
	(void)snprintf(out->transport, sizeof(out->transport), "%s", info.transport);
	(void)snprintf(out->device, sizeof(out->device), "%s", info.device ? info.device : "");
	(void)snprintf(out->because, sizeof(out->because), "%s", info.because ? info.because : "");
}

int perf_measure(slime_ctx *ctx, const struct perf_opts *o, struct perf_result *out,
                 struct slime_error *err)
{
	struct run run = {.o = o, .watch.chan.fd = -1};
	int rc;

	memset(out, 0, sizeof(*out));
	run.workers = calloc(o->threads, sizeof(*run.workers));
	run.done_fd = eventfd(0, EFD_CLOEXEC);
	if (!run.workers || run.done_fd < 0)
		rc = refuse(err, -ENOMEM, "no memory or descriptors for %u threads", o->threads);
	else
		rc = perf_watch_open(&run.watch, &o->at, err);
	if (rc == 0)
		rc = open_workers(&run, ctx, err);
	if (rc == 0)
		rc = run_workers(&run, err);
	if (rc == 0)
		collect(&run, out);
	for (uint32_t i = 0; i < run.n_open; i++)
		worker_close(&run.workers[i]);
	chan_close(&run.watch.chan);
	if (run.done_fd >= 0)
		(void)close(run.done_fd);
	free(run.workers);
	return rc;
}
