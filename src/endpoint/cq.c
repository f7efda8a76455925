/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/cq.c - the queue of completions: many threads post, one takes, no lock.
 *
 * A slot is reserved when a transfer is submitted, so a post always finds room.
 * The eventfd follows the ring lazily: who posts makes it readable unless it is
 * so already; who takes the last result makes it unreadable and looks again.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/futex.h"
#include "endpoint/internal.h"

static const uint64_t dead = UINT64_C(1) << 63; /* in pending: the user let go */

/* In waiting. */
enum { NOBODY, SLEEPER, DRIVER };

enum { DEPTH_MAX = 1 << 24 };

static uint64_t power_of_two(uint32_t n)
{
	uint64_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

int slime_cq_create(slime_ctx *ctx, uint32_t depth, slime_cq **out, struct slime_error *err)
{
	slime_cq *cq;

	if (!ctx || !out)
		return sl_fail(err, -EINVAL, "no context or no place for the queue was given");
	if (depth > DEPTH_MAX)
		return sl_fail(err, -EINVAL, "a queue of %u is deeper than %d", depth, DEPTH_MAX);
	cq = calloc(1, sizeof(*cq));
	if (!cq)
		return sl_fail(err, -ENOMEM, "no memory for a queue");
	cq->depth = depth ? depth : 256;
	cq->mask = power_of_two(cq->depth) - 1;
	cq->ring = calloc(cq->mask + 1, sizeof(*cq->ring));
	if (!cq->ring) {
		free(cq);
		return sl_fail(err, -ENOMEM, "no memory for a queue of %u", depth);
	}
	atomic_init(&cq->fd, -1);
	cq->ctx = ctx;
	sl_ctx_ref(ctx);
	*out = cq;
	return 0;
}

static void cq_free(slime_cq *cq)
{
	int fd = atomic_load(&cq->fd);

	if (fd >= 0)
		(void)close(fd);
	sl_ctx_unref(cq->ctx);
	free(cq->ring);
	free(cq);
}

void slime_cq_destroy(slime_cq *cq)
{
	if (cq && !atomic_fetch_or(&cq->pending, dead))
		cq_free(cq);
}

int sl_cq_reserve(slime_cq *cq)
{
	if (atomic_fetch_add_explicit(&cq->reserved, 1, memory_order_acquire) >= cq->depth) {
		atomic_fetch_sub_explicit(&cq->reserved, 1, memory_order_relaxed);
		return -EAGAIN;
	}
	atomic_fetch_add_explicit(&cq->pending, 1, memory_order_relaxed);
	return 0;
}

static void over(slime_cq *cq)
{
	if (atomic_fetch_sub_explicit(&cq->pending, 1, memory_order_acq_rel) == (dead | 1))
		cq_free(cq);
}

void sl_cq_unreserve(slime_cq *cq)
{
	atomic_fetch_sub_explicit(&cq->reserved, 1, memory_order_relaxed);
	over(cq);
}

static bool has_result(void *arg)
{
	slime_cq *cq = arg;
	uint64_t head = atomic_load_explicit(&cq->head, memory_order_relaxed);

	return atomic_load_explicit(&cq->ring[head & cq->mask].seq, memory_order_acquire) ==
	       head + 1;
}

static void signal_fd(slime_cq *cq)
{
	int fd = atomic_load(&cq->fd);
	uint64_t one = 1;
	ssize_t n;

	if (fd < 0 || atomic_exchange(&cq->signalled, true))
		return;
	n = write(fd, &one, sizeof(one));
	(void)n; /* can only fail if the counter is at its maximum: readable already */
}

void sl_cq_post(slime_cq *cq, const struct slime_result *res)
{
	/*
	 * The slot is free because its last result was taken before the newest of all
	 * reservations up to here was made. That may be another thread's: he posted
	 * before us, and through TAIL we see what he saw.
	 */
	uint64_t pos = atomic_fetch_add_explicit(&cq->tail, 1, memory_order_acq_rel);
	struct sl_cq_slot *slot = &cq->ring[pos & cq->mask];
	uint32_t waiting;

	slot->res = *res;
	atomic_store_explicit(&slot->seq, pos + 1, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with mark() and slime_cq_fd() */
	signal_fd(cq);
	waiting = atomic_load_explicit(&cq->waiting, memory_order_relaxed);
	if (waiting != NOBODY && atomic_exchange(&cq->waiting, NOBODY) != NOBODY) {
		sl_futex_wake(&cq->waiting, INT_MAX);
		sl_driver_wake(cq->ctx);
	}
	over(cq);
}

int slime_cq_fd(slime_cq *cq)
{
	int none = -1;
	int fd;

	if (!cq)
		return -EINVAL;
	fd = atomic_load(&cq->fd);
	if (fd >= 0)
		return fd;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (!atomic_compare_exchange_strong(&cq->fd, &none, fd)) {
		(void)close(fd);
		return none;
	}
	if (has_result(cq))
		signal_fd(cq);
	return fd;
}

/* The ring is empty: make the eventfd say so, unless that is no longer true. */
static void quiet_fd(slime_cq *cq)
{
	int fd = atomic_load(&cq->fd);
	uint64_t seen;
	ssize_t n;

	if (fd < 0 || !atomic_load(&cq->signalled))
		return;
	n = read(fd, &seen, sizeof(seen));
	(void)n; /* -EAGAIN: who signals has not written yet; readable too often is harmless */
	atomic_store(&cq->signalled, false);
	atomic_thread_fence(memory_order_seq_cst);
	if (has_result(cq))
		signal_fd(cq);
}

static int take(slime_cq *cq, struct slime_result *res, size_t n)
{
	uint64_t head = atomic_load_explicit(&cq->head, memory_order_relaxed);
	size_t taken = 0;

	while (taken < n && has_result(cq)) {
		res[taken++] = cq->ring[head & cq->mask].res;
		atomic_store_explicit(&cq->head, ++head, memory_order_relaxed);
	}
	if (taken)
		atomic_fetch_sub_explicit(&cq->reserved, (uint32_t)taken, memory_order_release);
	if (taken < n)
		quiet_fd(cq);
	return (int)taken;
}

int slime_cq_take(slime_cq *cq, struct slime_result *res, size_t n)
{
	int taken;

	if (!cq || (n && !res))
		return -EINVAL;
	if (n > INT_MAX)
		n = INT_MAX;
	taken = take(cq, res, n);
	if (!taken && n && sl_progress_poll(cq->ctx))
		taken = take(cq, res, n);
	else if (taken && atomic_load_explicit(&cq->fd, memory_order_relaxed) < 0)
		sl_progress_polled(cq->ctx); /* who has a descriptor may sleep on it */
	return taken;
}

static void mark(void *arg, bool as_driver)
{
	slime_cq *cq = arg;

	atomic_store(&cq->waiting, as_driver ? DRIVER : SLEEPER);
	atomic_thread_fence(memory_order_seq_cst);
}

static void sleep_on(void *arg, int64_t until_ns)
{
	slime_cq *cq = arg;

	if (!has_result(cq))
		sl_futex_wait(&cq->waiting, SLEEPER, until_ns);
}

int slime_cq_wait(slime_cq *cq, struct slime_result *res, size_t n, int64_t timeout_ns)
{
	struct sl_goal goal = {.reached = has_result, .mark = mark, .sleep = sleep_on, .arg = cq};

	if (!cq || !n || !res)
		return -EINVAL;
	if (!has_result(cq) && !sl_drive(cq->ctx, &goal, sl_clock_after(timeout_ns)))
		return -ETIMEDOUT;
	return take(cq, res, n > INT_MAX ? INT_MAX : n);
}
