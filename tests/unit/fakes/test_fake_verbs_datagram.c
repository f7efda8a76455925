/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_datagram.c - UD: what arrives, and what gets lost. */
#include <errno.h>
#include <string.h>

#include "client.h"

static const struct client_opts ud = {.type = IBV_QPT_UD};
static struct ibv_ah *ah; /* from A to B */

static void begin(uint8_t gid_index)
{
	struct ibv_gid_entry gid;
	struct ibv_ah_attr attr = {.is_global = 1, .port_num = 1};

	client_begin(&ud);
	qp_connect(&a, &b);
	qp_connect(&b, &a);
	gid = gid_of(b.ctx, gid_index);
	attr.grh.dgid = gid.gid;
	attr.grh.sgid_index = gid_index;
	attr.grh.hop_limit = 64;
	ah = v->create_ah(a.pd, &attr);
	assert_non_null(ah);
}

static void end(void)
{
	assert_int_equal(v->destroy_ah(ah), 0);
	client_end();
}

/* LEN bytes with 'imm' and first byte ID. */
static void send_one(uint64_t id, uint32_t len, uint32_t qkey)
{
	struct ibv_sge sge = sge_of(&a, 0, len);
	struct ibv_send_wr *bad, wr = {
				     .wr_id = id,
				     .sg_list = &sge,
				     .num_sge = 1,
				     .opcode = IBV_WR_SEND_WITH_IMM,
				     .send_flags = IBV_SEND_SIGNALED,
				     .imm_data = (uint32_t)id,
				 };

	wr.wr.ud.ah = ah;
	wr.wr.ud.remote_qpn = b.qp->qp_num;
	wr.wr.ud.remote_qkey = qkey;
	assert_int_equal(v->post_send(a.qp, &wr, &bad), 0);
}

static void a_datagram_comes_after_40_bytes_of_header(void **state)
{
	struct ibv_wc wc;

	(void)state;
	begin(1);
	fill(a.mem, 4096, 1);
	assert_int_equal(post_recv(&b, 1, 0, 5000), 0);
	send_one(2, 4096, 0x1234);
	wc_expect(&a, 2, IBV_WC_SUCCESS);
	wc = wc_expect(&b, 1, IBV_WC_SUCCESS);
	assert_int_equal(wc.byte_len, 4136);
	assert_int_equal(wc.src_qp, a.qp->qp_num);
	assert_int_equal(wc.imm_data, 2);
	assert_true(wc.wc_flags & IBV_WC_GRH);
	assert_filled(b.mem + 40, 4096, 1);
	assert_int_equal(b.mem[8] & 0xff, 0xfe); /* the sender's link-local address */
	end();
}

static void over_ipv4_the_header_is_in_the_second_half(void **state)
{
	static const uint8_t want[] = {10, 0, 0, 1, 10, 0, 1, 1};

	(void)state;
	begin(3);
	assert_int_equal(post_recv(&b, 1, 0, 5000), 0);
	send_one(2, 10, 0x1234);
	wc_expect(&b, 1, IBV_WC_SUCCESS);
	assert_memory_equal(b.mem + 32, want, sizeof(want));
	end();
}

static void what_nobody_can_take_is_lost_and_the_sender_never_knows(void **state)
{
	(void)state;
	begin(3);
	send_one(1, 10, 0x1234); /* no receive */
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	assert_int_equal(post_recv(&b, 100, 0, 49), 0);
	send_one(2, 10, 0x1234); /* no room for the header */
	wc_expect(&a, 2, IBV_WC_SUCCESS);
	send_one(3, 9, 0x4321); /* a wrong key */
	wc_expect(&a, 3, IBV_WC_SUCCESS);
	fake_verbs_cut(1);
	send_one(4, 9, 0x1234);
	wc_expect(&a, 4, IBV_WC_SUCCESS);
	fake_verbs_heal(1);
	assert_int_equal(fake_verbs_count(FAKE_LOST), 4);
	wc_none(&b);
	send_one(5, 9, 0x1234);
	assert_int_equal(wc_expect(&b, 100, IBV_WC_SUCCESS).imm_data, 5);
	end();
}

static void datagrams_get_lost_doubled_and_overtaken_on_demand(void **state)
{
	static const uint32_t order[] = {2, 2, 4, 3};

	(void)state;
	begin(3);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(post_recv(&b, i, 0, 100), 0);
	fake_verbs_fail_datagram(0, FAKE_DROP, 1);
	fake_verbs_fail_datagram(0, FAKE_DUPLICATE, 2);
	fake_verbs_fail_datagram(0, FAKE_OVERTAKE, 3);
	for (uint64_t i = 1; i <= 4; i++) {
		send_one(i, 10, 0x1234);
		wc_expect(&a, i, IBV_WC_SUCCESS);
	}
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(wc_expect(&b, i, IBV_WC_SUCCESS).imm_data, order[i]);
	wc_none(&b);
	assert_int_equal(fake_verbs_faults_left(), 0);
	end();
}

static void more_than_a_packet_is_an_error_of_the_sender_who_can_go_on(void **state)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_RTS};

	(void)state;
	begin(3);
	assert_int_equal(post_recv(&b, 100, 0, 100), 0);
	send_one(1, 4097, 0x1234);
	wc_expect(&a, 1, IBV_WC_LOC_LEN_ERR);
	send_one(2, 1, 0x1234);
	wc_expect(&a, 2, IBV_WC_WR_FLUSH_ERR);
	assert_int_equal(v->modify_qp(a.qp, &attr, IBV_QP_STATE), 0);
	send_one(3, 1, 0x1234);
	wc_expect(&a, 3, IBV_WC_SUCCESS);
	wc_expect(&b, 100, IBV_WC_SUCCESS);
	end();
}

static void only_messages_go_over_ud(void **state)
{
	(void)state;
	begin(3);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 0), EINVAL);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_READ, 1, 0, 0, 8, 0), EINVAL);
	end();
}

static void an_address_that_nobody_has_gives_no_handle(void **state)
{
	struct ibv_ah_attr attr = {.is_global = 1, .port_num = 1};

	(void)state;
	begin(3);
	attr.grh.sgid_index = 3;
	attr.grh.dgid = fake_verbs_gid_ipv4(1, 2, 3, 4);
	assert_null(v->create_ah(a.pd, &attr));
	assert_int_equal(errno, EHOSTUNREACH);
	attr.port_num = 0;
	assert_null(v->create_ah(a.pd, &attr));
	assert_int_equal(errno, EINVAL);
	end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_datagram_comes_after_40_bytes_of_header),
	    cmocka_unit_test(over_ipv4_the_header_is_in_the_second_half),
	    cmocka_unit_test(what_nobody_can_take_is_lost_and_the_sender_never_knows),
	    cmocka_unit_test(datagrams_get_lost_doubled_and_overtaken_on_demand),
	    cmocka_unit_test(more_than_a_packet_is_an_error_of_the_sender_who_can_go_on),
	    cmocka_unit_test(only_messages_go_over_ud),
	    cmocka_unit_test(an_address_that_nobody_has_gives_no_handle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
