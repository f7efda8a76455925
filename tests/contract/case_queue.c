/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_queue.c - depth of an endpoint, and completion queues. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static slime_cq *queue_create(struct side *s, uint32_t depth)
{
	slime_cq *cq = NULL;

	CHECK_OK(slime_cq_create(s->ctx, depth, &cq, &test_err));
	return cq;
}

/* Into memory that nothing else here uses: some of these end unobserved. */
static int recv_into(struct side *s, slime_cq *cq, uint64_t user_data)
{
	struct slime_submit how = {.size = sizeof(how), .cq = cq, .user_data = user_data};
	struct slime_span span = span_of(s, 64 * KIB, 64);

	return slime_ep_recv(s->ep, &span, &how, NULL);
}

static void depth_is_kept_and_room_comes_back(void)
{
	enum { DEPTH = 8 };
	struct pair *p = pair_create(&(struct pair_opts){.depth = DEPTH});
	struct slime_span span = span_of(&p->a, 0, 64);
	slime_op *ops[DEPTH], *extra = NULL;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < DEPTH; i++)
			ops[i] = start_recv(&p->a, 0, 64);
		for (int i = 0; i < 3; i++)
			CHECK_RC(slime_ep_recv(p->a.ep, &span, NULL, &extra), -EAGAIN);
		CHECK_RC(slime_ep_write_imm(p->a.ep, NULL, 0, 1, NULL, &extra), -EAGAIN);
		CHECK(extra == NULL);
		CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
		CHECK_ENDS(p, ops[0], 0);
		ops[0] = start_recv(&p->a, 0, 64);
		CHECK_RC(slime_ep_recv(p->a.ep, &span, NULL, &extra), -EAGAIN);
		for (int i = 0; i < DEPTH; i++)
			CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
		for (int i = 0; i < DEPTH; i++)
			CHECK_ENDS(p, ops[i], 0);
	}
	pair_destroy(p);
}

/* A batch is one transfer, however many parts a transport makes of it. */
static void a_batch_counts_as_one_transfer(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.depth = 2});
	struct slime_seg *segs = calloc(4096, sizeof(*segs));
	slime_op *a = NULL, *b = NULL;

	CHECK(segs != NULL);
	for (uint64_t i = 0; i < 4096; i++)
		segs[i] = seg_of(&p->a, i * 128, i * 128, 100);
	fill(p->a.mem, MIB, 1);
	for (int i = 0; i < 20; i++) {
		CHECK_OK(slime_ep_write(p->a.ep, segs, 4096, NULL, &a));
		CHECK_OK(slime_ep_write(p->a.ep, segs, 4096, NULL, &b));
		CHECK_ENDS(p, a, 0);
		CHECK_ENDS(p, b, 0);
	}
	free(segs);
	pair_destroy(p);
}

/* More submitted than fits, taking completions whenever told to. */
static void eagain_then_taking_completions_gets_on(void)
{
	enum { N = 5000 };
	struct pair *p = pair_create(&(struct pair_opts){.depth = 16});
	slime_cq *cq = queue_create(&p->a, 16);
	struct slime_submit how = {.size = sizeof(how), .cq = cq};
	struct slime_result res[16];
	int done = 0, refusals = 0;

	for (int i = 0; i < N;) {
		uint64_t off = (uint64_t)i * 64 % (512 * KIB);
		struct slime_seg seg = seg_of(&p->a, off, off, 64);
		int rc = slime_ep_write(p->a.ep, &seg, 1, &how, NULL);

		if (rc == -EAGAIN) {
			refusals++;
			pair_take(p, cq, res, 1);
			done++;
			continue;
		}
		CHECK_OK(rc);
		i++;
	}
	for (; done < N; done++) {
		pair_take(p, cq, res, 1);
		CHECK_OK(res[0].status);
	}
	CHECK(refusals > 0); /* the queue of 16 is full before 5000 are taken */
	CHECK_EQ(slime_cq_take(cq, res, 16), 0);
	slime_cq_destroy(cq);
	pair_destroy(p);
}

static void a_full_queue_refuses_until_taken_from(void)
{
	struct pair *p = pair_create(NULL);
	slime_cq *cq = queue_create(&p->a, 4), *other = queue_create(&p->a, 4);
	struct slime_result res[8];

	for (uint64_t i = 0; i < 4; i++)
		CHECK_OK(recv_into(&p->a, cq, i));
	CHECK_RC(recv_into(&p->a, cq, 4), -EAGAIN); /* its slots are reserved */
	CHECK_OK(recv_into(&p->a, other, 4));
	for (int i = 0; i < 5; i++)
		CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
	pair_take(p, other, res, 1);
	CHECK_EQ(res[0].user_data, 4);
	CHECK_RC(recv_into(&p->a, cq, 5), -EAGAIN); /* completed, not yet taken */
	pair_take(p, cq, res, 1);
	CHECK_EQ(res[0].user_data, 0);
	CHECK_OK(recv_into(&p->a, cq, 5));
	CHECK_RC(recv_into(&p->a, cq, 6), -EAGAIN);
	pair_take(p, cq, res, 3);
	for (uint64_t i = 0; i < 3; i++)
		CHECK_EQ(res[i].user_data, i + 1);
	CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
	pair_take(p, cq, res, 1);
	CHECK_EQ(res[0].user_data, 5);
	slime_cq_destroy(cq);
	slime_cq_destroy(other);
	pair_destroy(p);
}

static void becomes_readable(struct pair *p, int fd)
{
	int64_t end = now_ns() + patience_ns();

	while (!readable(fd) && now_ns() < end)
		pair_linger(p, NS_PER_MS / 10);
	CHECK(readable(fd));
}

/* Take one that has come, through the fd; readable for nothing is allowed, not for long. */
static void take_when_readable(struct pair *p, slime_cq *cq, size_t room)
{
	int64_t end = now_ns() + patience_ns();
	struct slime_result res[8];
	int rc = 0;

	while (!rc && now_ns() < end) {
		becomes_readable(p, slime_cq_fd(cq));
		rc = slime_cq_take(cq, res, room);
	}
	CHECK_EQ(rc, 1);
}

static void queue_fd_is_readable_exactly_while_there_is_something(void)
{
	struct pair *p = pair_create(NULL);
	slime_cq *cq = queue_create(&p->a, 8);
	struct slime_result res[8];
	int fd = slime_cq_fd(cq);

	CHECK(fd >= 0);
	CHECK_EQ(slime_cq_fd(cq), fd);
	CHECK(!readable(fd));
	for (int round = 0; round < 50; round++) {
		CHECK_OK(recv_into(&p->a, cq, 1));
		CHECK_OK(recv_into(&p->a, cq, 2));
		pair_drive(p);
		CHECK(!readable(fd));
		CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
		take_when_readable(p, cq, 1);
		CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
		take_when_readable(p, cq, 8);
		CHECK_EQ(slime_cq_take(cq, res, 8), 0);
		CHECK(!readable(fd));
	}
	slime_cq_destroy(cq);
	pair_destroy(p);
}

static void queue_fd_made_late_tells_of_what_is_there(void)
{
	struct pair *p = pair_create(NULL);
	slime_cq *cq = queue_create(&p->a, 8);

	CHECK_OK(recv_into(&p->a, cq, 1));
	CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
	pair_linger(p, 20 * NS_PER_MS);
	take_when_readable(p, cq, 1);
	slime_cq_destroy(cq);
	pair_destroy(p);
}

/* An event loop: only ever take after poll() said so, as asyncio would. */
static void an_event_loop_on_the_fd_gets_everything(void)
{
	enum { N = 2000 };
	struct pair *p = pair_create(NULL);
	slime_cq *cq = queue_create(&p->a, 8);
	struct slime_submit how = {.size = sizeof(how), .cq = cq};
	struct slime_seg seg = seg_of(&p->a, 0, 0, 64);
	struct pollfd fd = {.fd = slime_cq_fd(cq), .events = POLLIN};
	int sent = 0, done = 0;

	while (done < N) {
		struct slime_result res[8];
		int rc;

		while (sent < N && !slime_ep_write(p->a.ep, &seg, 1, &how, NULL))
			sent++;
		rc = poll(&fd, 1, 5000);
		if (rc == 0)
			test_fail("the queue is silent with %d of %d still to come", N - done, N);
		rc = slime_cq_take(cq, res, 8);
		CHECK(rc >= 0);
		done += rc;
	}
	CHECK_EQ(done, N);
	slime_cq_destroy(cq);
	pair_destroy(p);
}

static void queue_wait_times_out_empty(void)
{
	struct pair *p = pair_create(NULL);
	slime_cq *cq = queue_create(&p->a, 8);
	struct slime_result res;
	int64_t began = now_ns();

	CHECK_RC(slime_cq_wait(cq, &res, 1, 30 * NS_PER_MS), -ETIMEDOUT);
	CHECK(now_ns() - began >= 30 * NS_PER_MS);
	CHECK(now_ns() - began < 500 * NS_PER_MS + slack_ns());
	CHECK_RC(slime_cq_wait(cq, &res, 1, 0), -ETIMEDOUT);
	CHECK_OK(recv_into(&p->a, cq, 1));
	CHECK_RC(slime_cq_wait(cq, &res, 1, 10 * NS_PER_MS), -ETIMEDOUT);
	CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
	pair_take(p, cq, &res, 1);
	CHECK_EQ(res.bytes, 64);
	slime_cq_destroy(cq);
	pair_destroy(p);
}

static void results_tell_what_was_submitted(void)
{
	struct pair *p = pair_create(NULL);
	slime_cq *cq = queue_create(&p->a, 8);
	struct slime_submit how = {.size = sizeof(how), .cq = cq, .user_data = UINT64_MAX};
	struct slime_seg seg = seg_of(&p->a, 0, 0, 100);
	struct slime_result res;
	slime_op *op = NULL;

	CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, &how, NULL));
	pair_take(p, cq, &res, 1);
	CHECK(res.user_data == UINT64_MAX && res.bytes == 100 && res.status == 0);
	how.user_data = 7;
	how.cq = NULL;
	CHECK_OK(slime_ep_read(p->a.ep, &seg, 1, &how, &op));
	CHECK_OK(pair_finish(p, op, &res));
	CHECK(res.user_data == 7 && res.bytes == 100);
	how.cq = cq;
	how.user_data = 8;
	CHECK_OK(slime_ep_recv_imm(p->a.ep, &how, NULL));
	CHECK_ENDS(p, start_write_imm(&p->b, 0, 0, 32, 99), 0);
	pair_take(p, cq, &res, 1);
	CHECK(res.user_data == 8 && res.imm == 99 && res.bytes == 32);
	CHECK_EQ(res.flags & SLIME_RESULT_IMM, SLIME_RESULT_IMM);
	slime_cq_destroy(cq);
	pair_destroy(p);
}

static void a_queue_serves_several_endpoints(void)
{
	struct pair *p = pair_create(NULL), q = *p;
	slime_cq *cq = queue_create(&p->a, 8);
	struct slime_result res[2];

	side_create(&q.a, p->a.ctx, env.transport, &(struct pair_opts){0});
	side_create(&q.b, p->b.ctx, env.transport, &(struct pair_opts){0});
	pair_connect(&q);
	CHECK_OK(recv_into(&p->a, cq, 1));
	CHECK_OK(recv_into(&q.a, cq, 2));
	CHECK_ENDS(p, start_send(&p->b, 0, 10), 0);
	CHECK_ENDS(p, start_send(&q.b, 0, 20), 0);
	pair_take(p, cq, res, 2);
	CHECK_EQ(res[0].user_data + res[1].user_data, 3);
	CHECK_EQ(res[0].bytes + res[1].bytes, 30);
	side_destroy(&q.a);
	side_destroy(&q.b);
	slime_cq_destroy(cq);
	pair_destroy(p);
}

/* What still reports to it ends unobserved. */
static void a_queue_may_go_before_its_transfers(void)
{
	struct pair *p = pair_create(NULL);

	for (int i = 0; i < 20; i++) {
		slime_cq *cq = queue_create(&p->a, 8);

		for (uint64_t k = 0; k < 4; k++)
			CHECK_OK(recv_into(&p->a, cq, k));
		slime_cq_destroy(cq);
		for (int k = 0; k < 4; k++)
			CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
	}
	pair_ping(p, 64);
	pair_destroy(p);
}

/*
 * Of answers that came together, all are told of, not only those up to the one that was waited
 * for: nobody drives after that but the library's thread. What comes by itself in between, at
 * intervals that follow the peer's timeout, is out of the way.
 */
static void who_has_what_he_waited_for_holds_nothing_back(void)
{
	enum { MOST = 80 };
	struct pair *p = pair_create(&(struct pair_opts){.peer_timeout_ms = 400000});
	slime_cq *cq = queue_create(&p->a, 1);
	struct slime_submit how = {.size = sizeof(how), .cq = cq};
	struct slime_seg seg = seg_of(&p->a, 0, 0, 8);
	slime_op *ops[MOST];
	struct slime_result res[2];

	for (int n = 1; n <= MOST; n++) {
		struct pollfd told = {.fd = slime_cq_fd(cq), .events = POLLIN};

		for (int i = 0; i < n; i++)
			ops[i] = start_write(&p->a, 0, 0, 8);
		CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, &how, NULL));
		CHECK_OK(slime_op_wait(ops[n - 1], SLIME_FOREVER, NULL));
		CHECK_EQ(poll(&told, 1, (int)(patience_ns() / NS_PER_MS / 2)), 1);
		CHECK_EQ(slime_cq_take(cq, res, 2), 1); /* with room, so that it is quiet now */
		CHECK_OK(res[0].status);
		for (int i = 0; i < n; i++)
			slime_op_release(ops[i]);
	}
	slime_cq_destroy(cq);
	pair_destroy(p);
}

const struct contract_case queue_cases[] = {
    {"who_has_what_he_waited_for_holds_nothing_back", who_has_what_he_waited_for_holds_nothing_back,
     IN_BASIC},
    {"depth_is_kept_and_room_comes_back", depth_is_kept_and_room_comes_back, IN_ALL},
    {"a_batch_counts_as_one_transfer", a_batch_counts_as_one_transfer, IN_MEMORY},
    {"eagain_then_taking_completions_gets_on", eagain_then_taking_completions_gets_on, IN_ALL},
    {"a_full_queue_refuses_until_taken_from", a_full_queue_refuses_until_taken_from, IN_ALL},
    {"queue_fd_is_readable_exactly_while_there_is_something",
     queue_fd_is_readable_exactly_while_there_is_something, IN_ALL},
    {"queue_fd_made_late_tells_of_what_is_there", queue_fd_made_late_tells_of_what_is_there,
     IN_ALL},
    {"an_event_loop_on_the_fd_gets_everything", an_event_loop_on_the_fd_gets_everything,
     IN_BASIC | IN(ONE)},
    {"queue_wait_times_out_empty", queue_wait_times_out_empty, IN_ALL},
    {"results_tell_what_was_submitted", results_tell_what_was_submitted, IN_ALL},
    {"a_queue_serves_several_endpoints", a_queue_serves_several_endpoints, IN_ALL},
    {"a_queue_may_go_before_its_transfers", a_queue_may_go_before_its_transfers, IN_ALL},
    {0},
};
