/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_thread.c - any thread may submit; every transfer ends exactly once. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "contract.h"

enum { THREADS = 4, EACH = 1500, TOTAL = THREADS * EACH };

struct worker {
	struct side *side;
	slime_cq *cq;
	unsigned id;
	pthread_t thread;
};

static void run_workers(struct worker *w, size_t n, void *(*fn)(void *))
{
	for (size_t i = 0; i < n; i++)
		CHECK_EQ(pthread_create(&w[i].thread, NULL, fn, &w[i]), 0);
	for (size_t i = 0; i < n; i++)
		CHECK_EQ(pthread_join(w[i].thread, NULL), 0);
}

/* Each worker owns 4 KiB of both memories and checks that nobody else's bytes get there. */
static void *write_and_read_back(void *arg)
{
	struct worker *w = arg;
	struct side *s = w->side;
	uint64_t mine = w->id * 8 * KIB, back = mine + 4 * KIB;

	for (uint64_t i = 0; i < 300; i++) {
		uint64_t len = 1 + i * 13 % 4096;
		slime_op *op;

		fill(s->mem + mine, len, i << 8 | w->id);
		op = start_write(s, mine, mine, len);
		CHECK_OK(slime_op_wait(op, patience_ns(), NULL));
		slime_op_release(op);
		op = start_read(s, back, mine, len);
		CHECK_OK(slime_op_wait(op, patience_ns(), NULL));
		slime_op_release(op);
		CHECK_FILLED(s->mem + back, len, i << 8 | w->id);
	}
	return NULL;
}

static void threads_share_an_endpoint(void)
{
	struct pair *p = pair_create(NULL);
	struct worker w[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		w[i] = (struct worker){.side = &p->a, .id = i};
	run_workers(w, THREADS, write_and_read_back);
	pair_destroy(p);
}

static void threads_at_both_ends(void)
{
	struct pair *p = pair_create(NULL);
	struct worker w[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		w[i] = (struct worker){.side = i % 2 ? &p->a : &p->b, .id = i};
	run_workers(w, THREADS, write_and_read_back);
	pair_destroy(p);
}

/* One of the kinds of transfer, chosen by I; -EAGAIN is passed on. */
static int submit_mixed(struct worker *w, uint64_t i)
{
	struct slime_submit how = {
	    .size = sizeof(how),
	    .cq = w->cq,
	    .user_data = w->id * (uint64_t)EACH + i,
	};
	uint64_t off = w->id * 64 * KIB;
	struct slime_seg seg = seg_of(w->side, off, off, 1 + i * 37 % 5000);
	struct slime_span span = span_of(w->side, off + 16 * KIB, 64);
	slime_ep *ep = w->side->ep;

	switch (i % 5) {
	case 0:
		return slime_ep_write(ep, &seg, 1, &how, NULL);
	case 1:
		return slime_ep_read(ep, &seg, 1, &how, NULL);
	case 2:
		return slime_ep_send(ep, &span, &how, NULL);
	case 3:
		return slime_ep_write_imm(ep, &seg, 1, (uint32_t)i, &how, NULL);
	default:
		seg.count = 4;
		seg.len = 100;
		seg.local_stride = 200;
		seg.remote_stride = 300;
		return slime_ep_write(ep, &seg, 1, &how, NULL);
	}
}

static void *submit_all(void *arg)
{
	struct worker *w = arg;

	for (uint64_t i = 0; i < EACH;) {
		int rc = submit_mixed(w, i);

		CHECK(rc == 0 || rc == -EAGAIN);
		if (!rc)
			i++;
		else
			(void)sched_yield();
	}
	return NULL;
}

/*
 * The receiving end of submit_all(): as many messages and immediates as are sent. Neither kind of
 * receive takes more than its part of the endpoint's depth: were it full of those for immediates,
 * the senders could be waiting for the others with all that they may have in flight.
 */
static void *receive_all(void *arg)
{
	enum { MESSAGE, IMMEDIATE, KINDS, EACH_KIND = TOTAL / 5, PART = 100 };
	struct worker *w = arg;
	struct slime_span span = span_of(w->side, MIB - 64, 64);
	int posted[KINDS] = {0}, taken[KINDS] = {0};

	while (taken[MESSAGE] + taken[IMMEDIATE] < KINDS * EACH_KIND) {
		struct slime_submit how = {.size = sizeof(how), .cq = w->cq};
		struct slime_result res[64];
		int rc;

		for (int k = 0; k < KINDS; k++) {
			how.user_data = (uint64_t)k;
			for (; posted[k] < EACH_KIND && posted[k] - taken[k] < PART; posted[k]++)
				CHECK_OK(k == MESSAGE
				             ? slime_ep_recv(w->side->ep, &span, &how, NULL)
				             : slime_ep_recv_imm(w->side->ep, &how, NULL));
		}
		rc = slime_cq_wait(w->cq, res, 64, patience_ns());
		CHECK(rc > 0);
		for (int i = 0; i < rc; i++) {
			CHECK_OK(res[i].status);
			taken[res[i].user_data]++;
		}
	}
	return NULL;
}

/* Counts who ended, on this thread, while the others submit. */
static void take_each_once(slime_cq *cq)
{
	static unsigned char seen[TOTAL];

	for (int done = 0; done < TOTAL;) {
		struct slime_result res[64];
		int rc = slime_cq_wait(cq, res, 64, patience_ns());

		if (rc <= 0)
			test_fail("%d of %d never ended", TOTAL - done, TOTAL);
		for (int i = 0; i < rc; i++) {
			CHECK_OK(res[i].status);
			CHECK(res[i].user_data < TOTAL);
			CHECK_EQ(seen[res[i].user_data]++, 0);
		}
		done += rc;
	}
}

static void every_transfer_of_many_threads_ends_exactly_once(void)
{
	struct pair *p = pair_create(NULL);
	struct worker w[THREADS], receiver = {.side = &p->b};
	struct slime_result res;
	slime_cq *cq = NULL;

	CHECK_OK(slime_cq_create(p->b.ctx, 4 * TOTAL, &receiver.cq, &test_err));
	CHECK_OK(slime_cq_create(p->a.ctx, 128, &cq, &test_err));
	CHECK_EQ(pthread_create(&receiver.thread, NULL, receive_all, &receiver), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.side = &p->a, .cq = cq, .id = i};
		CHECK_EQ(pthread_create(&w[i].thread, NULL, submit_all, &w[i]), 0);
	}
	take_each_once(cq);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(w[i].thread, NULL), 0);
	CHECK_EQ(pthread_join(receiver.thread, NULL), 0);
	CHECK_EQ(slime_cq_take(cq, &res, 1), 0);
	CHECK_EQ(slime_cq_take(receiver.cq, &res, 1), 0);
	slime_cq_destroy(cq);
	slime_cq_destroy(receiver.cq);
	pair_destroy(p);
}

struct stopper {
	struct pair *pair;
	_Atomic int accepted, ended;
	_Atomic unsigned threads; /* each writes a place of its own */
};

static void *submit_until_closed(void *arg)
{
	struct stopper *s = arg;
	uint64_t off = atomic_fetch_add(&s->threads, 1) * UINT64_C(4096);
	int rc;

	do {
		struct slime_seg seg = seg_of(&s->pair->a, off, off, 4096);
		slime_op *op = NULL;

		rc = slime_ep_write(s->pair->a.ep, &seg, 1, NULL, &op);
		if (!rc) {
			int status;

			(void)atomic_fetch_add(&s->accepted, 1);
			status = slime_op_wait(op, patience_ns(), NULL);
			CHECK(status == 0 || status == -ECANCELED);
			(void)atomic_fetch_add(&s->ended, 1);
			slime_op_release(op);
		}
	} while (rc == 0 || rc == -EAGAIN);
	CHECK_RC(rc, -ECANCELED);
	return NULL;
}

static void close_while_threads_submit(void)
{
	for (int round = 0; round < 10; round++) {
		struct stopper s = {.pair = pair_create(NULL)};
		pthread_t threads[THREADS];

		for (int i = 0; i < THREADS; i++)
			CHECK_EQ(pthread_create(&threads[i], NULL, submit_until_closed, &s), 0);
		pair_linger(s.pair, round * NS_PER_MS);
		slime_ep_close(s.pair->a.ep);
		for (int i = 0; i < THREADS; i++)
			CHECK_EQ(pthread_join(threads[i], NULL), 0);
		CHECK_EQ(s.accepted, s.ended);
		pair_destroy(s.pair);
	}
}

static void *ping_pong(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < 100; i++) {
		slime_op *recv = start_recv(&p->b, 0, 100), *send = start_send(&p->a, 0, 100);

		CHECK_OK(slime_op_wait(recv, patience_ns(), NULL));
		CHECK_OK(slime_op_wait(send, patience_ns(), NULL));
		slime_op_release(recv);
		slime_op_release(send);
	}
	side_destroy(&p->a);
	side_destroy(&p->b);
	return NULL;
}

/* Several threads wait on one context, each for its own endpoint, and destroy it. */
static void threads_with_their_own_endpoints(void)
{
	struct pair *p = pair_create(NULL), own[THREADS];
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		own[i] = *p;
		side_create(&own[i].a, p->a.ctx, env.transport, &(struct pair_opts){0});
		side_create(&own[i].b, p->b.ctx, env.transport, &(struct pair_opts){0});
		pair_connect(&own[i]);
	}
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, ping_pong, &own[i]), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	pair_ping(p, 100);
	pair_destroy(p);
}

static void *cancel_in_time(void *arg)
{
	slime_op *op = arg;
	struct timespec ms = {.tv_nsec = 5 * 1000 * 1000};

	(void)nanosleep(&ms, NULL);
	slime_op_cancel(op);
	return NULL;
}

/* A thread asleep in wait() is woken by another's cancel(). */
static void cancel_wakes_a_sleeping_waiter(void)
{
	struct pair *p = pair_create(NULL);

	for (int i = 0; i < 10; i++) {
		slime_op *recv = start_recv(&p->a, 0, 100);
		int64_t began = now_ns();
		pthread_t thread;

		CHECK_EQ(pthread_create(&thread, NULL, cancel_in_time, recv), 0);
		CHECK_RC(slime_op_wait(recv, patience_ns(), NULL), -ECANCELED);
		CHECK(now_ns() - began < 1000 * NS_PER_MS + slack_ns());
		CHECK_EQ(pthread_join(thread, NULL), 0);
		slime_op_release(recv);
	}
	pair_destroy(p);
}

const struct contract_case thread_cases[] = {
    {"threads_share_an_endpoint", threads_share_an_endpoint, IN_MEMORY | IN(ONE)},
    {"threads_at_both_ends", threads_at_both_ends, IN_MEMORY | IN(ONE)},
    {"every_transfer_of_many_threads_ends_exactly_once",
     every_transfer_of_many_threads_ends_exactly_once, IN_MEMORY | IN(ONE)},
    {"close_while_threads_submit", close_while_threads_submit, IN_MEMORY | IN(ONE)},
    {"threads_with_their_own_endpoints", threads_with_their_own_endpoints, IN_BASIC | IN(ONE)},
    {"cancel_wakes_a_sleeping_waiter", cancel_wakes_a_sleeping_waiter, IN_BASIC | IN(ONE)},
    {0},
};
