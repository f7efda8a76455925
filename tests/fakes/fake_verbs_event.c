/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_event.c - asynchronous events, and descriptors that tell of events. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fakes/fake_verbs_impl.h"

/* Each event adds to the counter, so that an edge-triggered epoll sees it too. */
void fake_fd_set(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

void fake_fd_clear(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t n;

	if (poll(&p, 1, 0) == 1)
		(void)!read(fd, &n, sizeof(n));
}

int fake_fd_wait(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	bool block = !(fcntl(fd, F_GETFL) & O_NONBLOCK);
	int rc = poll(&p, 1, block ? -1 : 0);

	if (rc == 1)
		return 0;
	if (rc == 0)
		errno = EAGAIN;
	return -1;
}

void fake_raise_locked(struct fake_ctx *ctx, struct fake_source *source, enum ibv_event_type type)
{
	if (source->pending & 1u << type)
		return;
	if (!source->pending)
		TAILQ_INSERT_TAIL(&ctx->events, source, link);
	source->pending |= 1u << type;
	fake_bump(FAKE_EVENTS, 1);
	fake_fd_set(ctx->ibv.async_fd);
}

static void forget_locked(struct fake_ctx *ctx, struct fake_source *source)
{
	if (source->pending)
		TAILQ_REMOVE(&ctx->events, source, link);
	source->pending = 0;
	if (TAILQ_EMPTY(&ctx->events))
		fake_fd_clear(ctx->ibv.async_fd);
}

/*
 * libibverbs waits for as long as it takes; a test had better be told. The lock is
 * held on entry and on return, and free while others may acknowledge.
 */
void fake_wait_acked_locked(const unsigned *unacked, const char *what)
{
	int64_t end = fake_now_ns() + INT64_C(5000000000);

	while (*unacked) {
		fake_unlock();
		(void)sched_yield();
		fake_lock();
		if (fake_now_ns() < end)
			continue;
		(void)fprintf(stderr,
		              "fake_verbs: %s is destroyed, and %u of its events were never "
		              "acknowledged: libibverbs would wait for ever\n",
		              what, *unacked);
		abort();
	}
}

void fake_source_end_locked(struct fake_ctx *ctx, struct fake_source *source, const char *what)
{
	forget_locked(ctx, source);
	fake_wait_acked_locked(&source->unacked, what);
}

static bool take(struct fake_ctx *ctx, struct ibv_async_event *event)
{
	struct fake_source *source;
	int type;

	fake_lock();
	source = TAILQ_FIRST(&ctx->events);
	if (source) {
		type = __builtin_ctz(source->pending);
		source->pending &= ~(1u << type);
		source->unacked++;
		*event = source->event;
		event->event_type = (enum ibv_event_type)type;
		TAILQ_REMOVE(&ctx->events, source, link);
		if (source->pending)
			TAILQ_INSERT_TAIL(&ctx->events, source, link);
		if (TAILQ_EMPTY(&ctx->events))
			fake_fd_clear(ctx->ibv.async_fd);
	}
	fake_unlock();
	return source;
}

int fake_get_async_event(struct ibv_context *ibv, struct ibv_async_event *event)
{
	struct fake_ctx *ctx = (struct fake_ctx *)ibv;

	do {
		if (fake_fd_wait(ibv->async_fd))
			return -1;
	} while (!take(ctx, event));
	return 0;
}

/* Of a port or the device nobody counts. */
void fake_ack_async_event(struct ibv_async_event *event)
{
	fake_lock();
	switch (event->event_type) {
	case IBV_EVENT_CQ_ERR:
		((struct fake_cq *)event->element.cq)->source.unacked--;
		break;
	case IBV_EVENT_QP_FATAL:
	case IBV_EVENT_QP_REQ_ERR:
	case IBV_EVENT_QP_ACCESS_ERR:
	case IBV_EVENT_COMM_EST:
	case IBV_EVENT_SQ_DRAINED:
	case IBV_EVENT_PATH_MIG:
	case IBV_EVENT_PATH_MIG_ERR:
	case IBV_EVENT_QP_LAST_WQE_REACHED:
		((struct fake_qp *)event->element.qp)->source.unacked--;
		break;
	case IBV_EVENT_SRQ_ERR:
	case IBV_EVENT_SRQ_LIMIT_REACHED:
		((struct fake_srq *)event->element.srq)->source.unacked--;
		break;
	default:
		break;
	}
	fake_unlock();
}
