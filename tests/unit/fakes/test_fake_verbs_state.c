/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_state.c - the way of a QP to RTS, and every wrong one. */
#include <errno.h>
#include <string.h>

#include "client.h"

static int modify(struct ibv_qp_attr attr, int mask)
{
	return v->modify_qp(a.qp, &attr, mask);
}

static const struct client_opts apart = {.apart = true};

static void a_change_without_one_of_its_attributes_is_refused(void **state)
{
	static const int masks[] = {MASK_INIT, MASK_RTR, MASK_RTS};
	static const enum ibv_qp_state to[] = {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS};

	(void)state;
	client_begin(&apart);
	for (int i = 0; i < 3; i++) {
		struct ibv_qp_attr attr = attr_to(&b);

		attr.qp_state = to[i];
		attr.port_num = 1;
		for (int bit = 1; bit <= masks[i]; bit <<= 1)
			if (masks[i] & bit)
				assert_int_equal(modify(attr, masks[i] & ~bit), EINVAL);
		assert_int_equal(modify(attr, masks[i] | IBV_QP_QKEY), EINVAL);
		assert_int_equal(modify(attr, masks[i]), 0);
	}
	client_end();
}

static void states_are_not_skipped(void **state)
{
	(void)state;
	client_begin(&apart);
	assert_int_equal(qp_rtr(&a, attr_to(&b)), EINVAL);
	assert_int_equal(qp_rts(&a, attr_to(&b)), EINVAL);
	assert_int_equal(qp_init(&a), 0);
	assert_int_equal(qp_rts(&a, attr_to(&b)), EINVAL);
	qp_to(&a, IBV_QPS_ERR);
	assert_int_equal(qp_init(&a), EINVAL);
	qp_to(&a, IBV_QPS_RESET);
	assert_int_equal(qp_init(&a), 0);
	client_end();
}

static void values_out_of_range_are_refused(void **state)
{
	struct ibv_qp_attr good, bad;

	(void)state;
	client_begin(&apart);
	assert_int_equal(qp_init(&a), 0);
	good = attr_to(&b);
#define REFUSED(step, field, value) \
	bad = good, bad.field = (value), assert_int_equal(step(&a, bad), EINVAL)
	REFUSED(qp_rtr, min_rnr_timer, 32); /* it has 5 bits */
	REFUSED(qp_rtr, max_dest_rd_atomic, 17);
	REFUSED(qp_rtr, path_mtu, 0);
	REFUSED(qp_rtr, path_mtu, IBV_MTU_4096 + 1);
	REFUSED(qp_rtr, ah_attr.port_num, 2);
	REFUSED(qp_rtr, ah_attr.grh.sgid_index, 5); /* an empty entry */
	REFUSED(qp_rtr, ah_attr.grh.sgid_index, 200);
	REFUSED(qp_rtr, ah_attr.is_global, 0); /* RoCE is always global */
	assert_int_equal(qp_rtr(&a, good), 0);
	REFUSED(qp_rts, retry_cnt, 8);
	REFUSED(qp_rts, rnr_retry, 8);
	REFUSED(qp_rts, timeout, 32);
	REFUSED(qp_rts, max_rd_atomic, 17);
#undef REFUSED
	assert_int_equal(qp_rts(&a, good), 0);
	client_end();
}

static void a_gid_that_nobody_has_is_unreachable(void **state)
{
	struct ibv_qp_attr attr;

	(void)state;
	client_begin(&apart);
	assert_int_equal(qp_init(&a), 0);
	attr = attr_to(&b);
	attr.ah_attr.grh.dgid = fake_verbs_gid_ipv4(192, 168, 0, 1);
	assert_int_equal(qp_rtr(&a, attr), EHOSTUNREACH);
	attr = attr_to(&b);
	attr.ah_attr.grh.sgid_index = 1; /* link-local has another type */
	assert_int_equal(qp_rtr(&a, attr), 0);
	client_end();
}

static void requests_need_a_state_that_takes_them(void **state)
{
	(void)state;
	client_begin(&apart);
	assert_int_equal(post_recv(&a, 1, 0, 8), EINVAL);
	assert_int_equal(qp_init(&a), 0);
	assert_int_equal(post_recv(&a, 1, 0, 8), 0);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 1, 0, 0, 8, 0), EINVAL);
	assert_int_equal(qp_rtr(&a, attr_to(&b)), 0);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 1, 0, 0, 8, 0), EINVAL);
	client_end();
}

static void query_tells_what_modify_said(void **state)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;

	(void)state;
	client_begin(NULL);
	assert_int_equal(v->query_qp(a.qp, &attr, IBV_QP_STATE, &init), 0);
	assert_int_equal(attr.qp_state, IBV_QPS_RTS);
	assert_int_equal(attr.dest_qp_num, b.qp->qp_num);
	assert_int_equal(attr.retry_cnt, 3);
	assert_int_equal(init.cap.max_inline_data, CLIENT_INLINE);
	qp_to(&a, IBV_QPS_ERR);
	assert_int_equal(v->query_qp(a.qp, &attr, IBV_QP_STATE, &init), 0);
	assert_int_equal(attr.qp_state, IBV_QPS_ERR);
	client_end();
}

static void what_was_queued_is_gone_after_a_reset(void **state)
{
	(void)state;
	client_begin(NULL);
	fake_verbs_hold(0);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	assert_int_equal(post_recv(&a, 2, 0, 8), 0);
	qp_to(&a, IBV_QPS_RESET);
	fake_verbs_release(0);
	qp_connect(&a, &b);
	qp_to(&a, IBV_QPS_ERR);
	wc_none(&a);
	client_end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_change_without_one_of_its_attributes_is_refused),
	    cmocka_unit_test(states_are_not_skipped),
	    cmocka_unit_test(values_out_of_range_are_refused),
	    cmocka_unit_test(a_gid_that_nobody_has_is_unreachable),
	    cmocka_unit_test(requests_need_a_state_that_takes_them),
	    cmocka_unit_test(query_tells_what_modify_said),
	    cmocka_unit_test(what_was_queued_is_gone_after_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
