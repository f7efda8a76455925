/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_srq.c - receives that several QPs share. */
#include <errno.h>

#include "client.h"

static const struct client_opts shared = {.srq = true};

static void receives_are_taken_by_whoever_needs_one(void **state)
{
	(void)state;
	client_begin(&shared);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(post_recv(&b, i, 0, 8), 0);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(post(&a, &b, IBV_WR_SEND, i, 0, 0, 8, 2), 0);
		assert_int_equal(wc_expect(&b, i, IBV_WC_SUCCESS).qp_num, b.qp->qp_num);
	}
	client_end();
}

static void a_qp_with_a_shared_queue_has_none_of_its_own(void **state)
{
	struct ibv_recv_wr *bad, wr = {0};

	(void)state;
	client_begin(&shared);
	assert_int_equal(v->post_recv(b.qp, &wr, &bad), EINVAL);
	client_end();
}

static void a_full_queue_says_so_and_has_room_when_a_completion_was_taken(void **state)
{
	(void)state;
	client_begin(&shared);
	for (uint64_t i = 0; i < CLIENT_DEPTH; i++)
		assert_int_equal(post_recv(&b, i, 0, 8), 0);
	assert_int_equal(post_recv(&b, 99, 0, 8), ENOMEM);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 1, 0, 0, 8, 2), 0);
	wc_expect(&b, 0, IBV_WC_SUCCESS);
	assert_int_equal(post_recv(&b, 99, 0, 8), 0);
	client_end();
}

static void the_limit_tells_once_when_few_are_left(void **state)
{
	struct ibv_srq_attr attr = {.srq_limit = 2};

	(void)state;
	client_begin(&shared);
	attr.srq_limit = CLIENT_DEPTH + 1;
	assert_int_equal(v->modify_srq(b.srq, &attr, IBV_SRQ_LIMIT), EINVAL);
	attr.srq_limit = 2;
	assert_int_equal(v->modify_srq(b.srq, &attr, IBV_SRQ_LIMIT), 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(post_recv(&b, i, 0, 8), 0);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(post(&a, &b, IBV_WR_SEND, i, 0, 0, 8, 2), 0);
		wc_expect(&b, i, IBV_WC_SUCCESS);
		if (i == 2)
			event_expect(&b, IBV_EVENT_SRQ_LIMIT_REACHED);
	}
	event_none(&b);
	client_end();
}

static void shared_receives_survive_a_qp_which_tells_of_its_last(void **state)
{
	(void)state;
	client_begin(&shared);
	assert_int_equal(post_recv(&b, 1, 0, 8), 0);
	qp_to(&b, IBV_QPS_ERR);
	event_expect(&b, IBV_EVENT_QP_LAST_WQE_REACHED);
	wc_none(&b);
	qp_to(&a, IBV_QPS_RESET);
	qp_to(&b, IBV_QPS_RESET);
	qp_connect(&a, &b);
	qp_connect(&b, &a);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 2, 0, 0, 8, 2), 0);
	wc_expect(&b, 1, IBV_WC_SUCCESS);
	client_end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(receives_are_taken_by_whoever_needs_one),
	    cmocka_unit_test(a_qp_with_a_shared_queue_has_none_of_its_own),
	    cmocka_unit_test(a_full_queue_says_so_and_has_room_when_a_completion_was_taken),
	    cmocka_unit_test(the_limit_tells_once_when_few_are_left),
	    cmocka_unit_test(shared_receives_survive_a_qp_which_tells_of_its_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
