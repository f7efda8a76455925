/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static void a_name_is_device_port_and_gid_index(void **state)
{
	struct rdma_dev_name n;

	(void)state;
	assert_int_equal(sl_rdma_parse_name("mlx5_0", &n, NULL), 0);
	assert_string_equal(n.device, "mlx5_0");
	assert_true(n.port == 0 && n.gid_index == -1);
	assert_int_equal(sl_rdma_parse_name("mlx5_0:2", &n, NULL), 0);
	assert_true(n.port == 2 && n.gid_index == -1);
	assert_int_equal(sl_rdma_parse_name("mlx5_0:2#0", &n, NULL), 0);
	assert_true(n.port == 2 && n.gid_index == 0);
	assert_int_equal(sl_rdma_parse_name("mlx5_0#3", &n, NULL), 0);
	assert_string_equal(n.device, "mlx5_0");
	assert_true(n.port == 0 && n.gid_index == 3);
}

static void what_is_no_name_is_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = {
	    "",
	    ":1",
	    "a:",
	    "a:0",
	    "a:256",
	    "a:1x",
	    "a#",
	    "a#-1",
	    "a#65536",
	    "a:1#1:1",
	    "#1",
	    "a:99999999999999999999",
	    "a012345678901234567890123456789012345678901234567890123456789012345",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct slime_error err = {0};
		struct rdma_dev_name n;

		assert_int_equal(sl_rdma_parse_name(bad[i], &n, &err), -ENODEV);
		assert_non_null(strstr(err.text, "DEVICE:PORT"));
	}
}

static struct ibv_gid_entry entry(union ibv_gid gid, enum ibv_gid_type type)
{
	return (struct ibv_gid_entry){.gid = gid, .gid_type = type};
}

static void a_gid_is_chosen_by_kind_and_never_link_local(void **state)
{
	union ibv_gid v4 = fake_verbs_gid_ipv4(10, 0, 0, 1), local = fake_verbs_gid_link_local(1);
	union ibv_gid v6 = {.raw = {0x20, 1, 0xd, 0xb8, [15] = 1}}, none = {{0}};
	struct ibv_gid_entry e;

	(void)state;
	e = entry(v4, IBV_GID_TYPE_ROCE_V2);
	assert_int_equal(sl_rdma_gid_rank(&e, IBV_LINK_LAYER_ETHERNET), 2);
	e = entry(v6, IBV_GID_TYPE_ROCE_V2);
	assert_int_equal(sl_rdma_gid_rank(&e, IBV_LINK_LAYER_ETHERNET), 1);
	e = entry(v4, IBV_GID_TYPE_ROCE_V1);
	assert_int_equal(sl_rdma_gid_rank(&e, IBV_LINK_LAYER_ETHERNET), 0);
	e = entry(local, IBV_GID_TYPE_ROCE_V2);
	assert_int_equal(sl_rdma_gid_rank(&e, IBV_LINK_LAYER_ETHERNET), 0);
	e = entry(none, IBV_GID_TYPE_ROCE_V2);
	assert_int_equal(sl_rdma_gid_rank(&e, IBV_LINK_LAYER_ETHERNET), 0);
	e = entry(local, IBV_GID_TYPE_IB);
	assert_int_equal(sl_rdma_gid_rank(&e, IBV_LINK_LAYER_INFINIBAND), 1);
}

static struct rdma_port port_of(uint8_t link_layer, union ibv_gid gid)
{
	return (struct rdma_port){.number = 2,
	                          .attr = {.link_layer = link_layer, .lid = 7},
	                          .gid = {.gid = gid, .gid_index = 3},
	                          .has_gid = true};
}

static struct rdma_mail mail_of(union ibv_gid gid, uint16_t lid)
{
	struct rdma_mail mail = {.lid = lid, .qpn = 5, .mtu = 3, .reads = 1, .shift = 20};

	memcpy(mail.gid, gid.raw, sizeof(mail.gid));
	return mail;
}

static void over_ethernet_the_way_is_by_gid(void **state)
{
	struct rdma_port port = port_of(IBV_LINK_LAYER_ETHERNET, fake_verbs_gid_ipv4(10, 0, 0, 1));
	struct rdma_mail mail = mail_of(fake_verbs_gid_ipv4(10, 9, 9, 9), 0);
	struct rdma_env env = {.service_level = 4, .traffic_class = 106};
	struct ibv_ah_attr ah;

	(void)state;
	assert_int_equal(sl_rdma_route(&port, &env, &mail, &ah, NULL), 0);
	assert_int_equal(ah.is_global, 1);
	assert_memory_equal(ah.grh.dgid.raw, mail.gid, 16);
	assert_int_equal(ah.grh.sgid_index, 3);
	assert_int_equal(ah.grh.hop_limit, 64);
	assert_int_equal(ah.grh.traffic_class, 106);
	assert_int_equal(ah.sl, 4);
	assert_int_equal(ah.port_num, 2);
}

static void over_infiniband_the_way_is_by_the_peers_lid(void **state)
{
	union ibv_gid here = fake_verbs_gid_link_local(1), near = fake_verbs_gid_link_local(2);
	union ibv_gid far = {.raw = {0xfe, 0x80, [7] = 5, [15] = 9}}, none = {{0}};
	struct rdma_port port = port_of(IBV_LINK_LAYER_INFINIBAND, here);
	struct rdma_env env = {0};
	struct rdma_mail mail = mail_of(near, 12);
	struct ibv_ah_attr ah;

	(void)state;
	assert_int_equal(sl_rdma_route(&port, &env, &mail, &ah, NULL), 0);
	assert_int_equal(ah.dlid, 12);
	assert_int_equal(ah.is_global, 0);
	mail = mail_of(none, 12);
	assert_int_equal(sl_rdma_route(&port, &env, &mail, &ah, NULL), 0);
	assert_int_equal(ah.is_global, 0);
	mail = mail_of(far, 12); /* another subnet: through a router */
	assert_int_equal(sl_rdma_route(&port, &env, &mail, &ah, NULL), 0);
	assert_int_equal(ah.is_global, 1);
	assert_memory_equal(ah.grh.dgid.raw, far.raw, 16);
}

static void where_there_is_no_way_the_sentence_says_why(void **state)
{
	union ibv_gid v4 = fake_verbs_gid_ipv4(10, 0, 0, 1);
	union ibv_gid v6 = {.raw = {0x20, 1, 0xd, 0xb8, [15] = 1}}, none = {{0}};
	struct rdma_port ethernet = port_of(IBV_LINK_LAYER_ETHERNET, v4);
	struct rdma_port ib = port_of(IBV_LINK_LAYER_INFINIBAND, fake_verbs_gid_link_local(1));
	struct rdma_mail mail = mail_of(v6, 0);
	struct rdma_env env = {0};
	struct slime_error err;
	struct ibv_ah_attr ah;

	(void)state;
	assert_int_equal(sl_rdma_route(&ethernet, &env, &mail, &ah, &err), -EHOSTUNREACH);
	assert_non_null(strstr(err.text, "10.0.0.1"));
	assert_non_null(strstr(err.text, "2001:db8::1"));
	mail = mail_of(none, 3);
	assert_int_equal(sl_rdma_route(&ethernet, &env, &mail, &ah, &err), -EHOSTUNREACH);
	assert_non_null(strstr(err.text, "InfiniBand"));
	mail = mail_of(v4, 0);
	assert_int_equal(sl_rdma_route(&ib, &env, &mail, &ah, &err), -EHOSTUNREACH);
	assert_non_null(strstr(err.text, "Ethernet"));
}

static void the_line_rate_is_speed_times_width(void **state)
{
	struct ibv_port_attr attr = {.active_speed = 128, .active_width = 2};

	(void)state;
	assert_int_equal(sl_rdma_line_rate(&attr), UINT64_C(50000000000)); /* 400 Gbit/s */
	attr = (struct ibv_port_attr){.active_speed = 32, .active_width = 2};
	assert_int_equal(sl_rdma_line_rate(&attr), UINT64_C(12500000000)); /* 100 Gbit/s */
	attr.active_speed = 77;
	assert_int_equal(sl_rdma_line_rate(&attr), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_is_device_port_and_gid_index),
	    cmocka_unit_test(what_is_no_name_is_refused_with_a_sentence),
	    cmocka_unit_test(a_gid_is_chosen_by_kind_and_never_link_local),
	    cmocka_unit_test(over_ethernet_the_way_is_by_gid),
	    cmocka_unit_test(over_infiniband_the_way_is_by_the_peers_lid),
	    cmocka_unit_test(where_there_is_no_way_the_sentence_says_why),
	    cmocka_unit_test(the_line_rate_is_speed_times_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
