/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_fault.c - faults happen when they were ordered, and once. */
#include <errno.h>
#include <string.h>

#include "client.h"

static void the_nth_call_fails_and_no_other(void **state)
{
	struct ibv_pd *pd;

	(void)state;
	client_begin(NULL);
	fake_verbs_fail_call("alloc_pd", 2, ENOSPC);
	pd = v->alloc_pd(a.ctx);
	assert_non_null(pd);
	assert_int_equal(fake_verbs_faults_left(), 1);
	assert_null(v->alloc_pd(a.ctx));
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(fake_verbs_faults_left(), 0);
	assert_int_equal(v->dealloc_pd(pd), 0);
	client_end();
}

static void every_call_that_makes_something_can_fail(void **state)
{
	struct ibv_qp_init_attr init = {.qp_type = IBV_QPT_RC};
	struct ibv_srq_init_attr srq = {.attr = {.max_wr = 1}};
	struct ibv_ah_attr ah = {.port_num = 1};

	(void)state;
	client_begin(NULL);
	init.send_cq = init.recv_cq = a.cq;
#define FAILS(call, ...)                                                           \
	fake_verbs_fail_call(#call, 1, ENOSPC), assert_null(v->call(__VA_ARGS__)), \
	    assert_int_equal(errno, ENOSPC)
	FAILS(get_device_list, NULL);
	FAILS(open_device, a.ctx->device);
	FAILS(alloc_pd, a.ctx);
	FAILS(reg_mr, a.pd, a.mem, 1, 0);
	FAILS(create_comp_channel, a.ctx);
	FAILS(create_cq, a.ctx, 1, NULL, NULL, 0);
	FAILS(create_srq, a.pd, &srq);
	FAILS(create_qp, a.pd, &init);
	FAILS(create_ah, a.pd, &ah);
#undef FAILS
	client_end();
}

static void a_list_of_requests_fails_in_the_middle(void **state)
{
	struct ibv_send_wr *bad = NULL, wr[3] = {{0}};

	(void)state;
	client_begin(NULL);
	for (unsigned i = 0; i < 3; i++) {
		wr[i].wr_id = i;
		wr[i].opcode = IBV_WR_RDMA_WRITE;
		wr[i].send_flags = IBV_SEND_SIGNALED;
		wr[i].next = i < 2 ? &wr[i + 1] : NULL;
	}
	fake_verbs_fail_call("post_send", 2, ENOMEM);
	assert_int_equal(v->post_send(a.qp, wr, &bad), ENOMEM);
	assert_ptr_equal(bad, &wr[1]);
	wc_expect(&a, 0, IBV_WC_SUCCESS);
	wc_none(&a);
	assert_int_equal(v->post_send(a.qp, bad, &bad), 0);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	wc_expect(&a, 2, IBV_WC_SUCCESS);
	assert_int_equal(fake_verbs_count(FAKE_DOORBELLS), 2);
	client_end();
}

static void work_fails_before_or_after_it_is_carried_out(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		client_begin(NULL);
		memset(a.mem, 'a', 8);
		fake_verbs_fail_work(0, a.qp->qp_num, 2, IBV_WC_RETRY_EXC_ERR, late);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 2, 0, 8, 8, 0), 0);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 3, 0, 16, 8, 0), 0);
		wc_expect(&a, 1, IBV_WC_SUCCESS);
		wc_expect(&a, 2, IBV_WC_RETRY_EXC_ERR);
		wc_expect(&a, 3, IBV_WC_WR_FLUSH_ERR);
		assert_int_equal(b.mem[0], 'a');
		assert_int_equal(b.mem[8], late ? 'a' : 0);
		assert_int_equal(b.mem[16], 0);
		client_end();
	}
}

/* Its bytes are taken as long as the QP that they go to is the same, and no longer. */
static void what_strays_is_taken_late_or_not_at_all(void **state)
{
	(void)state;
	for (int gone = 0; gone < 3; gone++) {
		struct ibv_wc wc;

		client_begin(NULL);
		memset(a.mem, 'a', 8);
		fake_verbs_stray(0, 0, 2);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 2, 0, 8, 8, 0), 0);
		wc_expect(&a, 1, IBV_WC_SUCCESS);
		assert_true(fake_verbs_await(FAKE_UNANSWERED, 1, INT64_C(10000000000)));
		qp_to(&a, IBV_QPS_ERR);
		wc = wc_next(&a); /* flushed, or given up by itself, if we were slow */
		assert_int_equal(wc.wr_id, 2);
		assert_int_not_equal(wc.status, IBV_WC_SUCCESS);
		assert_int_equal(b.mem[8], 0);
		if (gone)
			qp_to(&b, gone == 1 ? IBV_QPS_ERR : IBV_QPS_RESET);
		assert_int_equal(fake_verbs_arrive(), !gone);
		assert_int_equal(b.mem[8], gone ? 0 : 'a');
		assert_int_equal(fake_verbs_arrive(), 0);
		client_end();
	}
}

static void a_completion_comes_twice(void **state)
{
	(void)state;
	client_begin(NULL);
	fake_verbs_duplicate_cqe(0, 0, 2);
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, i, 0, 0, 8, 2), 0);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	wc_expect(&a, 2, IBV_WC_SUCCESS);
	wc_expect(&a, 2, IBV_WC_SUCCESS);
	wc_expect(&a, 3, IBV_WC_SUCCESS);
	client_end();
}

static void what_is_held_goes_step_by_step(void **state)
{
	(void)state;
	client_begin(NULL);
	memset(a.mem, 'a', 8);
	fake_verbs_hold(0);
	for (uint64_t i = 1; i <= 4; i++)
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, i, 0, i, 1, 2), 0);
	assert_int_equal(fake_verbs_count(FAKE_CARRIED), 0);
	fake_verbs_step(0, 2);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	wc_expect(&a, 2, IBV_WC_SUCCESS);
	/* The other device is not held: what it does comes first. */
	assert_int_equal(post(&b, &a, IBV_WR_RDMA_READ, 1, 100, 0, 8, 2), 0);
	wc_expect(&b, 1, IBV_WC_SUCCESS);
	assert_int_equal(b.mem[3], 0);
	fake_verbs_release(0);
	wc_expect(&a, 3, IBV_WC_SUCCESS);
	wc_expect(&a, 4, IBV_WC_SUCCESS);
	client_end();
}

static void a_cut_wire_exhausts_the_retries(void **state)
{
	(void)state;
	for (unsigned dev = 0; dev < 2; dev++) {
		client_begin(NULL);
		fake_verbs_cut(dev);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
		wc_expect(&a, 1, IBV_WC_RETRY_EXC_ERR);
		event_none(&a);
		client_end();
	}
}

/* With hours of retries. */
static void begin_patient(void)
{
	struct ibv_qp_attr attr;

	client_begin(&(struct client_opts){.apart = true});
	qp_connect(&b, &a);
	attr = attr_to(&b);
	attr.timeout = 31;
	attr.retry_cnt = 7;
	assert_int_equal(qp_init(&a) || qp_rtr(&a, attr) || qp_rts(&a, attr), 0);
}

static void a_wire_that_is_healed_in_time_goes_on(void **state)
{
	(void)state;
	begin_patient();
	fake_verbs_cut(1);
	memset(a.mem, 'a', 8);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	assert_true(fake_verbs_await(FAKE_UNANSWERED, 1, INT64_C(10000000000)));
	wc_none(&a);
	fake_verbs_heal(1);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	assert_int_equal(b.mem[7], 'a');
	client_end();
}

static void waiting_can_be_cut_short(void **state)
{
	(void)state;
	begin_patient();
	fake_verbs_cut(1);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	assert_true(fake_verbs_await(FAKE_UNANSWERED, 1, INT64_C(10000000000)));
	fake_verbs_expire();
	wc_expect(&a, 1, IBV_WC_RETRY_EXC_ERR);
	client_end();
}

static void a_port_goes_down_and_up(void **state)
{
	struct ibv_port_attr attr;

	(void)state;
	begin_patient();
	fake_verbs_set_port(0, 1, IBV_PORT_DOWN);
	event_expect(&a, IBV_EVENT_PORT_ERR);
	event_none(&b);
	assert_int_equal(v->query_port(a.ctx, 1, &attr), 0);
	assert_int_equal(attr.state, IBV_PORT_DOWN);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	assert_true(fake_verbs_await(FAKE_UNANSWERED, 1, INT64_C(10000000000)));
	fake_verbs_set_port(0, 1, IBV_PORT_ACTIVE);
	event_expect(&a, IBV_EVENT_PORT_ACTIVE);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	client_end();
}

static void a_device_that_is_removed_fails_everything_and_can_be_opened_anew(void **state)
{
	struct ibv_device **list;
	struct ibv_context *ctx;
	int n = 0;

	(void)state;
	client_begin(NULL);
	assert_int_equal(post_recv(&a, 1, 0, 8), 0);
	fake_verbs_remove(0);
	event_expect(&a, IBV_EVENT_DEVICE_FATAL);
	wc_expect(&a, 1, IBV_WC_WR_FLUSH_ERR);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 1, 0, 0, 8, 2), EIO);
	assert_null(v->alloc_pd(a.ctx));
	assert_int_equal(errno, EIO);
	v->free_device_list(v->get_device_list(&n));
	assert_int_equal(n, 1);
	fake_verbs_insert(0);
	assert_null(v->alloc_pd(a.ctx)); /* this context stays dead */
	list = v->get_device_list(&n);
	assert_int_equal(n, 2);
	ctx = v->open_device(list[0]);
	assert_non_null(ctx);
	assert_int_equal(v->close_device(ctx), 0);
	v->free_device_list(list);
	client_end();
}

static void an_event_comes_out_of_nothing(void **state)
{
	(void)state;
	client_begin(NULL);
	fake_verbs_raise(0, IBV_EVENT_QP_FATAL, a.qp->qp_num);
	event_expect(&a, IBV_EVENT_QP_FATAL);
	fake_verbs_raise(1, IBV_EVENT_GID_CHANGE, 0);
	event_expect(&b, IBV_EVENT_GID_CHANGE);
	event_none(&a);
	fake_verbs_overrun_cq(0, a.qp->qp_num);
	event_expect(&a, IBV_EVENT_CQ_ERR);
	client_end();
}

static void events_of_a_destroyed_qp_are_gone(void **state)
{
	(void)state;
	client_begin(NULL);
	fake_verbs_raise(0, IBV_EVENT_QP_FATAL, a.qp->qp_num);
	assert_int_equal(v->destroy_qp(a.qp), 0);
	a.qp = NULL;
	event_none(&a);
	client_end();
}

static void the_qps_are_listed_oldest_first(void **state)
{
	struct fake_qp_info info[2];
	struct ibv_qp *more;

	(void)state;
	client_begin(NULL);
	more = qp_make(&a, IBV_QPT_UD);
	assert_int_equal(fake_verbs_list_qps(0, info, 1), 2);
	assert_int_equal(fake_verbs_list_qps(0, info, 2), 2);
	assert_int_equal(info[0].num, a.qp->qp_num);
	assert_int_equal(info[0].state, IBV_QPS_RTS);
	assert_int_equal(info[0].dest_num, b.qp->qp_num);
	assert_int_equal(info[1].type, IBV_QPT_UD);
	assert_int_equal(v->destroy_qp(more), 0);
	client_end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_nth_call_fails_and_no_other),
	    cmocka_unit_test(every_call_that_makes_something_can_fail),
	    cmocka_unit_test(a_list_of_requests_fails_in_the_middle),
	    cmocka_unit_test(work_fails_before_or_after_it_is_carried_out),
	    cmocka_unit_test(what_strays_is_taken_late_or_not_at_all),
	    cmocka_unit_test(a_completion_comes_twice),
	    cmocka_unit_test(what_is_held_goes_step_by_step),
	    cmocka_unit_test(a_cut_wire_exhausts_the_retries),
	    cmocka_unit_test(a_wire_that_is_healed_in_time_goes_on),
	    cmocka_unit_test(waiting_can_be_cut_short),
	    cmocka_unit_test(a_port_goes_down_and_up),
	    cmocka_unit_test(a_device_that_is_removed_fails_everything_and_can_be_opened_anew),
	    cmocka_unit_test(an_event_comes_out_of_nothing),
	    cmocka_unit_test(events_of_a_destroyed_qp_are_gone),
	    cmocka_unit_test(the_qps_are_listed_oldest_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
