/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_device.c - what devices say of themselves; what is in use stays.
 */
#include <errno.h>
#include <string.h>

#include "client.h"

static void a_device_says_what_it_was_given(void **state)
{
	struct fake_verbs_config config;
	struct ibv_device_attr_ex attr;
	struct ibv_gid_entry gid;
	struct ibv_port_attr port;
	struct ibv_device **list;
	struct ibv_context *ctx;
	int n;

	(void)state;
	fake_verbs_config_init(&config);
	config.n_devices = 3;
	config.devices[2].attr.max_qp_rd_atom = 5;
	config.devices[2].attr.phys_port_cnt = 2;
	config.devices[2].odp.general_caps = IBV_ODP_SUPPORT;
	config.devices[2].ports[1].link_layer = IBV_LINK_LAYER_INFINIBAND;
	config.devices[2].ports[1].lid = 99;
	v = fake_verbs_create(&config);
	list = v->get_device_list(&n);
	assert_int_equal(n, 3);
	assert_null(list[3]);
	assert_string_equal(v->get_device_name(list[2]), "fake2");
	ctx = v->open_device(list[2]);
	v->free_device_list(list);
	assert_int_equal(v->query_device(ctx, &attr), 0);
	assert_int_equal(attr.orig_attr.max_qp_rd_atom, 5);
	assert_true(attr.odp_caps.general_caps & IBV_ODP_SUPPORT);
	assert_int_equal(v->query_port(ctx, 2, &port), 0);
	assert_int_equal(port.lid, 99);
	assert_int_equal(port.link_layer, IBV_LINK_LAYER_INFINIBAND);
	assert_int_equal(v->query_port(ctx, 0, &port), EINVAL);
	assert_int_equal(v->query_port(ctx, 3, &port), EINVAL);
	gid = gid_of(ctx, 3);
	assert_int_equal(gid.gid_type, IBV_GID_TYPE_ROCE_V2);
	assert_int_equal(gid.gid.raw[15], 1);
	assert_int_equal(v->query_gids(ctx, &gid, 1), -EINVAL);
	assert_int_equal(v->close_device(ctx), 0);
	fake_verbs_destroy();
}

static void what_is_in_use_is_not_destroyed(void **state)
{
	(void)state;
	client_begin(&(struct client_opts){.srq = true});
	assert_int_equal(v->destroy_cq(a.cq), EBUSY);
	assert_int_equal(v->destroy_srq(a.srq), EBUSY);
	assert_int_equal(v->destroy_comp_channel(a.channel), EBUSY);
	assert_int_equal(v->dealloc_pd(a.pd), EBUSY);
	assert_int_equal(v->close_device(a.ctx), EBUSY);
	client_end();
}

static void leaks_are_told_in_a_sentence(void **state)
{
	(void)state;
	client_begin(NULL);
	assert_string_equal(fake_verbs_leaks(),
	                    "still alive: 2 contexts, 2 PDs, 2 MRs, 2 completion "
	                    "channels, 2 CQs, 2 QPs");
	client_end();
	assert_null(fake_verbs_leaks());
}

static void more_than_the_limits_is_refused(void **state)
{
	struct ibv_qp_init_attr init = {.qp_type = IBV_QPT_RC}, bad;
	struct ibv_srq_init_attr srq = {.attr = {.max_wr = 40000}};
	struct ibv_qp *qp;

	(void)state;
	client_begin(NULL);
	init.send_cq = init.recv_cq = a.cq;
#define REFUSED(field, value)                                                   \
	bad = init, bad.field = (value), assert_null(v->create_qp(a.pd, &bad)), \
	assert_int_equal(errno, EINVAL)
	REFUSED(cap.max_send_wr, 8193);
	REFUSED(cap.max_recv_wr, 8193);
	REFUSED(cap.max_send_sge, 31);
	REFUSED(cap.max_recv_sge, 31);
	REFUSED(cap.max_inline_data, 257);
	REFUSED(send_cq, NULL);
#undef REFUSED
	qp = v->create_qp(a.pd, &init);
	assert_non_null(qp);
	assert_int_equal(v->destroy_qp(qp), 0);
	assert_null(v->create_srq(a.pd, &srq));
	assert_int_equal(errno, EINVAL);
	assert_null(v->create_cq(a.ctx, 0, NULL, NULL, 0));
	assert_null(v->create_cq(a.ctx, 4194304, NULL, NULL, 0));
	assert_null(v->create_cq(a.ctx, 1, NULL, NULL, 2));
	client_end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_device_says_what_it_was_given),
	    cmocka_unit_test(what_is_in_use_is_not_destroyed),
	    cmocka_unit_test(leaks_are_told_in_a_sentence),
	    cmocka_unit_test(more_than_the_limits_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
