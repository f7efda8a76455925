/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_rdma_path.c - addresses: GIDs, LIDs, ports, hops; devices that are not there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig_rdma.h"

enum { MANY = 64 };

static struct fake_verbs_config config;
static struct fake_qp_info qps[MANY];

static void set(const char *name, const char *value)
{
	CHECK_EQ(setenv(name, value, 1), 0);
}

static void make_infiniband(unsigned dev, uint8_t subnet)
{
	struct fake_port_config *p = &config.devices[dev].ports[0];

	p->link_layer = IBV_LINK_LAYER_INFINIBAND;
	memset(p->gids, 0, sizeof(p->gids));
	p->gids[0].gid = fake_verbs_gid_link_local(dev + 1);
	p->gids[0].gid.raw[7] = subnet;
}

static void works_between_devices(void)
{
	struct pair *p =
	    rig_begin(&config, &(struct pair_opts){.device = "fake0", .b_device = "fake1"});

	rig_works(p);
	rig_end(p);
}

static void infiniband_peers_connect_by_the_lid_of_the_other(void)
{
	fake_verbs_config_init(&config);
	make_infiniband(0, 0);
	make_infiniband(1, 0);
	works_between_devices();
}

static void infiniband_peers_of_two_subnets_connect_through_a_router(void)
{
	fake_verbs_config_init(&config);
	make_infiniband(0, 0);
	make_infiniband(1, 3);
	works_between_devices();
}

static void routed_ethernet_has_hops_enough(void)
{
	fake_verbs_config_init(&config);
	config.routed = true;
	works_between_devices();
}

/* RoCE v2 with an address of the network, which is entry 3 of the fake's; never a link-local one.
 */
static void the_gid_is_chosen_by_rule(void)
{
	struct pair *p = rig_begin(NULL, NULL);
	unsigned n = rig_rc_qps(0, qps, MANY);

	CHECK(n >= 2 && n <= MANY);
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(qps[i].attr.ah_attr.grh.sgid_index, 3);
	rig_end(p);
}

static void gid_index_0_can_be_chosen(void)
{
	struct pair *p;
	unsigned n;

	set("SLIME_GID_INDEX", "0");
	p = rig_begin(NULL, NULL);
	n = rig_rc_qps(0, qps, MANY);
	CHECK(n >= 2 && n <= MANY);
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(qps[i].attr.ah_attr.grh.sgid_index, 0);
	rig_works(p);
	rig_end(p);
}

static void traffic_class_and_service_level_are_those_asked_for(void)
{
	struct pair *p;
	unsigned n;

	set("SLIME_TRAFFIC_CLASS", "104");
	set("SLIME_SERVICE_LEVEL", "3");
	p = rig_begin(NULL, NULL);
	n = rig_rc_qps(0, qps, MANY);
	CHECK(n >= 2 && n <= MANY);
	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(qps[i].attr.ah_attr.grh.traffic_class, 104);
		CHECK_EQ(qps[i].attr.ah_attr.sl, 3);
		CHECK_EQ(qps[i].attr.ah_attr.grh.hop_limit, 64);
	}
	rig_works(p);
	rig_end(p);
}

/* Both ports of a card, in one context: neither is taken for the other. */
static void two_ports_of_a_device_are_two_devices(void)
{
	unsigned n, of_port[3] = {0};
	struct pair *p;

	fake_verbs_config_init(&config);
	config.devices[0].attr.phys_port_cnt = 2;
	config.devices[0].ports[1].mtu = IBV_MTU_1024;
	env.variant = VAR_ONE;
	p = rig_begin(&config, &(struct pair_opts){.device = "fake0:1", .b_device = "fake0:2"});
	rig_works(p);
	n = rig_rc_qps(0, qps, MANY);
	for (unsigned i = 0; i < n; i++) {
		of_port[qps[i].attr.port_num]++;
		CHECK_EQ(qps[i].attr.path_mtu, IBV_MTU_1024); /* the smaller of the two */
	}
	CHECK(of_port[1] > 0 && of_port[1] == of_port[2]);
	rig_end(p);
}

static void the_mtu_is_that_of_the_port(void)
{
	static const enum ibv_mtu mtus[] = {IBV_MTU_256, IBV_MTU_1024, IBV_MTU_4096};

	for (int i = 0; i < 3; i++) {
		struct pair *p;

		fake_verbs_config_init(&config);
		config.devices[0].ports[0].mtu = mtus[i];
		p = rig_begin(&config, &(struct pair_opts){.device = "fake0"});
		CHECK(rig_rc_qps(0, qps, MANY) >= 2);
		CHECK_EQ(qps[0].attr.path_mtu, mtus[i]);
		rig_works(p);
		rig_end(p);
	}
}

static void no_two_queue_pairs_begin_with_the_same_number(void)
{
	struct pair *p = rig_begin(NULL, &(struct pair_opts){.lanes = 16});
	unsigned n = rig_rc_qps(0, qps, MANY), same = 0;

	CHECK(n >= 32 && n <= MANY);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			same += qps[i].attr.sq_psn == qps[k].attr.sq_psn;
	CHECK_EQ(same, 0); /* 24 bits at random: once in 8,000 runs two would be */
	rig_end(p);
}

static void timers_and_retries_fit_their_fields(void)
{
	struct pair *p = rig_begin(NULL, NULL);
	unsigned n = rig_rc_qps(0, qps, MANY);

	CHECK(n >= 2);
	for (unsigned i = 0; i < n; i++) {
		CHECK(qps[i].attr.min_rnr_timer >= 1 && qps[i].attr.min_rnr_timer <= 31);
		CHECK(qps[i].attr.timeout >= 1 && qps[i].attr.timeout <= 31);
		CHECK(qps[i].attr.retry_cnt >= 1 && qps[i].attr.retry_cnt <= 7);
	}
	rig_end(p);
}

static void no_endpoint(const char *device, const char *said)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "rdma", .device = device};
	slime_ctx *ctx = context_create(false, 0);
	slime_ep *ep = NULL;
	int rc = slime_ep_create(ctx, &opts, &ep, &test_err);

	CHECK(rc == -ENODEV || rc == -EINVAL);
	CHECK(!ep);
	if (!strstr(test_err.text, said))
		test_fail("'%s' is not in '%s'", said, test_err.text);
	slime_ctx_destroy(ctx);
	CHECK(!fake_verbs_leaks());
}

static void an_unknown_device_is_an_error_that_lists_the_known_ones(void)
{
	fake_verbs_install(NULL);
	no_endpoint("mlx5_7", "mlx5_7");
	no_endpoint("mlx5_7", "fake0");
	no_endpoint("mlx5_7", "fake1");
}

static void a_port_or_gid_that_does_not_exist_is_an_error(void)
{
	fake_verbs_install(NULL);
	no_endpoint("fake0:2", "fake0");
	no_endpoint("fake0:200", "fake0");
	no_endpoint("fake0:1#99", "99");
	no_endpoint("fake0:", "fake0:");
}

static void no_device_at_all_is_an_error_that_says_where_to_look(void)
{
	fake_verbs_config_init(&config);
	config.n_devices = 0;
	fake_verbs_install(&config);
	no_endpoint(NULL, "doctor");
}

static void a_port_that_is_down_is_an_error_that_says_so(void)
{
	fake_verbs_config_init(&config);
	config.n_devices = 1;
	config.devices[0].ports[0].state = IBV_PORT_DOWN;
	fake_verbs_install(&config);
	no_endpoint(NULL, "down");
}

static void no_path_is_an_error_and_not_an_abort(void)
{
	struct slime_error err = {0};
	struct slime_desc desc;
	struct pair *p;
	int rc;

	/* Their devices are in different worlds: one is Ethernet, the other InfiniBand. */
	fake_verbs_config_init(&config);
	make_infiniband(1, 0);
	p = rig_begin(&config,
	              &(struct pair_opts){.device = "fake0", .b_device = "fake1", .apart = true});
	CHECK_OK(slime_ep_export(p->b.ep, &desc, &test_err));
	rc = slime_ep_connect(p->a.ep, &desc, patience_ns(), &err);
	CHECK(rc < 0 && rc != -ETIMEDOUT && err.text[0]);
	rig_end(p);
}

#define CASE(name)             \
	{                      \
#name, name, 1 \
	}
const struct contract_case rdma_path_cases[] = {
    CASE(infiniband_peers_connect_by_the_lid_of_the_other),
    CASE(infiniband_peers_of_two_subnets_connect_through_a_router),
    CASE(routed_ethernet_has_hops_enough),
    CASE(the_gid_is_chosen_by_rule),
    CASE(gid_index_0_can_be_chosen),
    CASE(traffic_class_and_service_level_are_those_asked_for),
    CASE(two_ports_of_a_device_are_two_devices),
    CASE(the_mtu_is_that_of_the_port),
    CASE(no_two_queue_pairs_begin_with_the_same_number),
    CASE(timers_and_retries_fit_their_fields),
    CASE(an_unknown_device_is_an_error_that_lists_the_known_ones),
    CASE(a_port_or_gid_that_does_not_exist_is_an_error),
    CASE(no_device_at_all_is_an_error_that_says_where_to_look),
    CASE(a_port_that_is_down_is_an_error_that_says_so),
    CASE(no_path_is_an_error_and_not_an_abort),
    {0},
};
