/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_cq.c - completion queues: events, room, overruns, resizing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "client.h"

static int readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms);
}

/* N writes, complete. */
static void write_n(int n)
{
	uint64_t before = fake_verbs_count(FAKE_CQES);

	for (int i = 0; i < n; i++)
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, (uint64_t)i, 0, 0, 8, 2), 0);
	assert_true(fake_verbs_await(FAKE_CQES, before + (uint64_t)n, INT64_C(10000000000)));
}

static void take_event(struct end *e)
{
	struct ibv_cq *cq;
	void *context;

	assert_int_equal(v->get_cq_event(e->channel, &cq, &context), 0);
	assert_ptr_equal(cq, e->cq);
	v->ack_cq_events(cq, 1);
}

static void arming_gives_one_event_for_the_next_completion(void **state)
{
	struct ibv_wc wc[4];

	(void)state;
	client_begin(NULL);
	write_n(1);
	assert_int_equal(readable(a.channel->fd, 0), 0); /* not armed */
	assert_int_equal(v->req_notify_cq(a.cq, 0), 0);
	assert_int_equal(readable(a.channel->fd, 0), 0); /* that one was before */
	write_n(2);
	assert_int_equal(readable(a.channel->fd, 10000), 1);
	take_event(&a);
	assert_int_equal(readable(a.channel->fd, 0), 0);
	assert_int_equal(v->poll_cq(a.cq, 4, wc), 3);
	write_n(1);
	assert_int_equal(readable(a.channel->fd, 0), 0);
	assert_int_equal(fake_verbs_count(FAKE_WAKES), 1);
	client_end();
}

static void a_channel_that_does_not_block_says_eagain(void **state)
{
	struct ibv_cq *cq;
	void *context;

	(void)state;
	client_begin(NULL);
	assert_int_not_equal(fcntl(a.channel->fd, F_SETFL, O_NONBLOCK), -1);
	assert_int_equal(v->get_cq_event(a.channel, &cq, &context), -1);
	assert_int_equal(errno, EAGAIN);
	client_end();
}

static void solicited_only_means_solicited_or_failed(void **state)
{
	(void)state;
	client_begin(NULL);
	assert_int_equal(v->req_notify_cq(b.cq, 1), 0);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(post_recv(&b, i, 0, 8), 0);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 1, 0, 0, 8, 2), 0);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	assert_int_equal(readable(b.channel->fd, 0), 0);
	assert_int_equal(
	    post(&a, &b, IBV_WR_SEND, 2, 0, 0, 8, IBV_SEND_SIGNALED | IBV_SEND_SOLICITED), 0);
	assert_int_equal(readable(b.channel->fd, 10000), 1);
	take_event(&b);
	assert_int_equal(v->req_notify_cq(b.cq, 1), 0);
	qp_to(&b, IBV_QPS_ERR);
	assert_int_equal(readable(b.channel->fd, 10000), 1);
	take_event(&b);
	client_end();
}

static void an_overrun_kills_the_queue_and_the_qp(void **state)
{
	struct ibv_wc wc[8];

	(void)state;
	client_begin(&(struct client_opts){.cqe = 3});
	write_n(3);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 9, 0, 0, 8, 2), 0);
	event_expect(&a, IBV_EVENT_CQ_ERR);
	event_expect(&a, IBV_EVENT_QP_FATAL);
	assert_int_equal(v->poll_cq(a.cq, 8, wc), 3);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 10, 0, 0, 8, 2), 0);
	assert_true(fake_verbs_await(FAKE_CARRIED, 5, INT64_C(10000000000)));
	wc_none(&a);
	client_end();
}

static void a_queue_grows_and_keeps_what_it_holds(void **state)
{
	(void)state;
	client_begin(&(struct client_opts){.cqe = 3});
	write_n(2);
	wc_expect(&a, 0, IBV_WC_SUCCESS);
	write_n(2); /* now it wraps */
	assert_int_equal(v->resize_cq(a.cq, 2), EINVAL);
	assert_int_equal(v->resize_cq(a.cq, 0), EINVAL);
	assert_int_equal(v->resize_cq(a.cq, 8), 0);
	assert_int_equal(a.cq->cqe, 8);
	write_n(5);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	wc_expect(&a, 0, IBV_WC_SUCCESS);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	for (uint64_t i = 0; i < 5; i++)
		wc_expect(&a, i, IBV_WC_SUCCESS);
	event_none(&a);
	client_end();
}

static void a_slot_is_free_when_a_completion_after_it_was_taken(void **state)
{
	(void)state;
	client_begin(NULL);
	for (uint64_t i = 0; i < CLIENT_DEPTH; i++)
		assert_int_equal(
		    post(&a, &b, IBV_WR_RDMA_WRITE, i, 0, 0, 8, i == 9 ? IBV_SEND_SIGNALED : 0), 0);
	assert_true(fake_verbs_await(FAKE_CARRIED, CLIENT_DEPTH, INT64_C(10000000000)));
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 20, 0, 0, 8, 0), ENOMEM);
	wc_expect(&a, 9, IBV_WC_SUCCESS);
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, i, 0, 0, 8, 0), 0);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 20, 0, 0, 8, 0), ENOMEM);
	client_end();
}

static void a_full_receive_queue_says_so(void **state)
{
	(void)state;
	client_begin(NULL);
	for (uint64_t i = 0; i < CLIENT_DEPTH; i++)
		assert_int_equal(post_recv(&b, i, 0, 8), 0);
	assert_int_equal(post_recv(&b, 99, 0, 8), ENOMEM);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 1, 0, 0, 8, 2), 0);
	wc_expect(&b, 0, IBV_WC_SUCCESS);
	assert_int_equal(post_recv(&b, 99, 0, 8), 0);
	client_end();
}

static void completions_of_a_destroyed_qp_stay_unless_they_are_purged(void **state)
{
	(void)state;
	for (int purge = 0; purge < 2; purge++) {
		struct fake_verbs_config config;

		fake_verbs_config_init(&config);
		config.purge_cqes = purge;
		client_begin(&(struct client_opts){.config = &config});
		write_n(2);
		assert_int_equal(v->destroy_qp(a.qp), 0);
		a.qp = NULL;
		if (!purge) {
			wc_expect(&a, 0, IBV_WC_SUCCESS);
			wc_expect(&a, 1, IBV_WC_SUCCESS);
		}
		wc_none(&a);
		client_end();
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(arming_gives_one_event_for_the_next_completion),
	    cmocka_unit_test(a_channel_that_does_not_block_says_eagain),
	    cmocka_unit_test(solicited_only_means_solicited_or_failed),
	    cmocka_unit_test(an_overrun_kills_the_queue_and_the_qp),
	    cmocka_unit_test(a_queue_grows_and_keeps_what_it_holds),
	    cmocka_unit_test(a_slot_is_free_when_a_completion_after_it_was_taken),
	    cmocka_unit_test(a_full_receive_queue_says_so),
	    cmocka_unit_test(completions_of_a_destroyed_qp_stay_unless_they_are_purged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
