/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_route.c - InfiniBand by LID, routed networks, second ports. */
#include <string.h>

#include "client.h"

static struct fake_verbs_config config;

static void one_port_infiniband(unsigned dev, uint64_t subnet)
{
	struct fake_port_config *p = &config.devices[dev].ports[0];

	p->link_layer = IBV_LINK_LAYER_INFINIBAND;
	memset(p->gids, 0, sizeof(p->gids));
	p->gids[0].gid = fake_verbs_gid_link_local(dev + 1);
	p->gids[0].gid.raw[7] = (uint8_t)subnet;
}

/* A to B as ATTR says, and B to A likewise with the other address. Does a write arrive? */
static enum ibv_wc_status try_write(struct ibv_ah_attr to_b, struct ibv_ah_attr to_a)
{
	struct ibv_qp_attr attr;
	struct ibv_wc wc;

	assert_int_equal(qp_init(&a), 0);
	assert_int_equal(qp_init(&b), 0);
	attr = (struct ibv_qp_attr){
	    .path_mtu = IBV_MTU_1024, .dest_qp_num = b.qp->qp_num, .timeout = 4, .ah_attr = to_b};
	assert_int_equal(qp_rtr(&a, attr), 0);
	assert_int_equal(qp_rts(&a, attr), 0);
	attr.dest_qp_num = a.qp->qp_num;
	attr.ah_attr = to_a;
	assert_int_equal(qp_rtr(&b, attr), 0);
	assert_int_equal(qp_rts(&b, attr), 0);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	wc = wc_next(&a);
	return wc.status;
}

/* Numbers are those of a device: here they are made to differ, so that nobody meets himself. */
static void begin(void)
{
	client_begin(&(struct client_opts){.config = &config, .apart = true});
	assert_int_equal(v->destroy_qp(b.qp), 0);
	b.qp = qp_make(&b, IBV_QPT_RC);
	assert_int_not_equal(a.qp->qp_num, b.qp->qp_num);
}

static void infiniband_goes_by_the_lid_of_the_peer(void **state)
{
	(void)state;
	fake_verbs_config_init(&config);
	one_port_infiniband(0, 0);
	one_port_infiniband(1, 0);
	begin();
	assert_int_equal(try_write((struct ibv_ah_attr){.dlid = 17, .port_num = 1},
	                           (struct ibv_ah_attr){.dlid = 1, .port_num = 1}),
	                 IBV_WC_SUCCESS);
	client_end();
	begin(); /* to its own LID, as the reference does */
	assert_int_equal(try_write((struct ibv_ah_attr){.dlid = 1, .port_num = 1},
	                           (struct ibv_ah_attr){.dlid = 1, .port_num = 1}),
	                 IBV_WC_RETRY_EXC_ERR);
	client_end();
}

static void another_subnet_needs_a_global_route_with_hops(void **state)
{
	struct ibv_ah_attr to_b = {.port_num = 1, .is_global = 1}, to_a = to_b;

	(void)state;
	fake_verbs_config_init(&config);
	one_port_infiniband(0, 0);
	one_port_infiniband(1, 7);
	to_b.grh.dgid = config.devices[1].ports[0].gids[0].gid;
	to_a.grh.dgid = config.devices[0].ports[0].gids[0].gid;
	for (uint8_t hops = 1; hops < 3; hops++) {
		to_b.grh.hop_limit = to_a.grh.hop_limit = hops;
		begin();
		assert_int_equal(try_write(to_b, to_a),
		                 hops > 1 ? IBV_WC_SUCCESS : IBV_WC_RETRY_EXC_ERR);
		client_end();
	}
}

static void routed_roce_needs_hops(void **state)
{
	struct ibv_ah_attr to_b = {.port_num = 1, .is_global = 1, .grh = {.sgid_index = 3}};
	struct ibv_ah_attr to_a = to_b;

	(void)state;
	fake_verbs_config_init(&config);
	config.routed = true;
	to_b.grh.dgid = fake_verbs_gid_ipv4(10, 0, 1, 1);
	to_a.grh.dgid = fake_verbs_gid_ipv4(10, 0, 0, 1);
	for (uint8_t hops = 1; hops < 3; hops++) {
		to_b.grh.hop_limit = to_a.grh.hop_limit = hops;
		begin();
		assert_int_equal(try_write(to_b, to_a),
		                 hops > 1 ? IBV_WC_SUCCESS : IBV_WC_RETRY_EXC_ERR);
		client_end();
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(infiniband_goes_by_the_lid_of_the_peer),
	    cmocka_unit_test(another_subnet_needs_a_global_route_with_hops),
	    cmocka_unit_test(routed_roce_needs_hops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
