/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_wire.c - the wire's thread, and doing without; many at once. */
#include <pthread.h>
#include <string.h>

#include "client.h"

enum { ROUNDS = 300, MANY = 3000 };

static void without_a_thread_it_is_done_when_the_call_returns(void **state)
{
	struct fake_verbs_config config;
	struct ibv_wc wc;

	(void)state;
	fake_verbs_config_init(&config);
	config.synchronous = true;
	client_begin(&(struct client_opts){.config = &config});
	fill(a.mem, 100000, 1);
	assert_int_equal(post_recv(&b, 1, 0, 100000), 0);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 2, 0, 0, 100000, 2), 0);
	assert_filled(b.mem, 100000, 1);
	assert_int_equal(v->poll_cq(b.cq, 1, &wc), 1);
	assert_int_equal(v->poll_cq(a.cq, 1, &wc), 1);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 3, 0, 0, 8, 2), 0);
	wc_none(&a);
	assert_int_equal(post_recv(&b, 4, 0, 8), 0); /* what waited goes */
	assert_int_equal(v->poll_cq(b.cq, 1, &wc), 1);
	client_end();
}

static void without_a_thread_retries_end_when_somebody_polls(void **state)
{
	struct fake_verbs_config config;
	struct ibv_wc wc;

	(void)state;
	fake_verbs_config_init(&config);
	config.synchronous = true;
	client_begin(&(struct client_opts){.config = &config});
	fake_verbs_cut(1);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 3, 0, 0, 8, 2), 0);
	while (!v->poll_cq(a.cq, 1, &wc))
		;
	assert_int_equal(wc.status, IBV_WC_RETRY_EXC_ERR);
	client_end();
}

/* One QP, driven by a thread of its own: writes to the other end and reads back. */
struct user {
	struct end from, to;
	unsigned index;
	pthread_t thread;
};

static void *use(void *arg)
{
	struct user *u = arg;
	uint64_t at = u->index * 16384;

	for (unsigned i = 0; i < ROUNDS; i++) {
		fill(u->from.mem + at, 8000, i + u->index);
		assert_int_equal(
		    post(&u->from, &u->to, IBV_WR_RDMA_WRITE, 1, at, at, 8000, IBV_SEND_SIGNALED),
		    0);
		wc_expect(&u->from, 1, IBV_WC_SUCCESS);
		assert_int_equal(post(&u->from, &u->to, IBV_WR_RDMA_READ, 2, at + 8000, at, 8000,
		                      IBV_SEND_SIGNALED),
		                 0);
		wc_expect(&u->from, 2, IBV_WC_SUCCESS);
		assert_filled(u->from.mem + at + 8000, 8000, i + u->index);
	}
	return NULL;
}

static void threads_with_a_qp_each_do_not_disturb_one_another(void **state)
{
	struct user users[4];

	(void)state;
	client_begin(NULL);
	for (unsigned i = 0; i < 4; i++) {
		struct user *u = &users[i];

		*u = (struct user){.from = a, .to = b, .index = i};
		u->from.channel = v->create_comp_channel(a.ctx);
		u->from.cq = v->create_cq(a.ctx, 64, NULL, u->from.channel, 0);
		u->from.qp = qp_make(&u->from, IBV_QPT_RC);
		u->to.qp = qp_make(&b, IBV_QPT_RC);
		qp_connect(&u->from, &u->to);
		qp_connect(&u->to, &u->from);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&users[i].thread, NULL, use, &users[i]), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(users[i].thread, NULL), 0);
		assert_int_equal(v->destroy_qp(users[i].from.qp), 0);
		assert_int_equal(v->destroy_qp(users[i].to.qp), 0);
		assert_int_equal(v->destroy_cq(users[i].from.cq), 0);
		assert_int_equal(v->destroy_comp_channel(users[i].from.channel), 0);
	}
	client_end();
}

static void thousands_of_qps_are_made_used_and_destroyed(void **state)
{
	static struct ibv_qp *qps[2][MANY];
	struct ibv_qp *own[2];

	(void)state;
	client_begin(NULL);
	own[0] = a.qp;
	own[1] = b.qp;
	for (int i = 0; i < MANY; i++) {
		qps[0][i] = a.qp = qp_make(&a, IBV_QPT_RC);
		qps[1][i] = b.qp = qp_make(&b, IBV_QPT_RC);
		qp_connect(&a, &b);
		qp_connect(&b, &a);
	}
	for (int i = 0; i < MANY; i++) {
		a.qp = qps[0][i];
		b.qp = qps[1][i];
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, (uint64_t)i, 0, 0, 8, 2), 0);
		wc_expect(&a, (uint64_t)i, IBV_WC_SUCCESS);
	}
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(v->destroy_qp(qps[0][i]), 0);
		assert_int_equal(v->destroy_qp(qps[1][i]), 0);
	}
	a.qp = own[0];
	b.qp = own[1];
	client_end();
}

static void a_qp_that_is_taken_away_in_the_middle_leaves_half(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		client_begin(NULL);
		memset(a.mem, 'a', CLIENT_MEM);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, CLIENT_MEM, 2), 0);
		qp_to(&b, IBV_QPS_ERR);
		memset(b.mem, 'b', CLIENT_MEM); /* quiet from here on */
		wc_next(&a);
		for (int k = 0; k < CLIENT_MEM; k += 1000)
			assert_int_equal(b.mem[k], 'b');
		client_end();
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_thread_it_is_done_when_the_call_returns),
	    cmocka_unit_test(without_a_thread_retries_end_when_somebody_polls),
	    cmocka_unit_test(threads_with_a_qp_each_do_not_disturb_one_another),
	    cmocka_unit_test(thousands_of_qps_are_made_used_and_destroyed),
	    cmocka_unit_test(a_qp_that_is_taken_away_in_the_middle_leaves_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
