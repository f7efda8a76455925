/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_carry.c - RC: data, protection, receives, the order of things.
 */
#include <string.h>

#include "client.h"

enum { HALF = CLIENT_MEM / 2 };

static void every_operation_moves_its_bytes(void **state)
{
	static const uint32_t lens[] = {0, 1, 8, 1000, 65536, 65537, HALF};

	(void)state;
	client_begin(NULL);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint32_t len = lens[i];
		struct ibv_wc wc;

		fill(a.mem, len, i);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, HALF, len, 2), 0);
		wc = wc_expect(&a, 1, IBV_WC_SUCCESS);
		assert_int_equal(wc.opcode, IBV_WC_RDMA_WRITE);
		assert_filled(b.mem + HALF, len, i);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_READ, 2, HALF, HALF, len, 2), 0);
		wc = wc_expect(&a, 2, IBV_WC_SUCCESS);
		assert_int_equal(wc.opcode, IBV_WC_RDMA_READ);
		assert_filled(a.mem + HALF, len, i);
		assert_int_equal(post_recv(&b, 3, 0, len), 0);
		assert_int_equal(post(&a, &b, IBV_WR_SEND, 4, 0, 0, len, 2), 0);
		wc = wc_expect(&b, 3, IBV_WC_SUCCESS);
		assert_int_equal(wc.opcode, IBV_WC_RECV);
		assert_int_equal(wc.byte_len, len);
		assert_int_equal(wc.wc_flags & IBV_WC_WITH_IMM, 0);
		assert_int_equal(wc.qp_num, b.qp->qp_num);
		wc_expect(&a, 4, IBV_WC_SUCCESS);
		assert_filled(b.mem, len, i);
	}
	client_end();
}

static void an_immediate_eats_a_receive_and_says_how_much_came(void **state)
{
	struct ibv_wc wc;

	(void)state;
	client_begin(NULL);
	fill(a.mem, 5000, 1);
	assert_int_equal(post_recv(&b, 1, 0, 0), 0);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE_WITH_IMM, 77, 0, 9, 5000, 2), 0);
	wc = wc_expect(&b, 1, IBV_WC_SUCCESS);
	assert_int_equal(wc.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
	assert_int_equal(wc.byte_len, 5000);
	assert_int_equal(wc.imm_data, 77);
	assert_true(wc.wc_flags & IBV_WC_WITH_IMM);
	assert_filled(b.mem + 9, 5000, 1);
	wc_expect(&a, 77, IBV_WC_SUCCESS);
	assert_int_equal(post_recv(&b, 2, 0, 10), 0);
	assert_int_equal(post(&a, &b, IBV_WR_SEND_WITH_IMM, 78, 0, 0, 10, 2), 0);
	wc = wc_expect(&b, 2, IBV_WC_SUCCESS);
	assert_int_equal(wc.opcode, IBV_WC_RECV);
	assert_int_equal(wc.imm_data, 78);
	client_end();
}

static void scattered_and_gathered_bytes_are_in_their_places(void **state)
{
	struct ibv_sge from[4], to[4];
	struct ibv_send_wr *bad_send, send = {
					  .wr_id = 1,
					  .sg_list = from,
					  .num_sge = 4,
					  .opcode = IBV_WR_SEND,
					  .send_flags = IBV_SEND_SIGNALED,
				      };
	struct ibv_recv_wr *bad_recv, recv = {.wr_id = 2, .sg_list = to, .num_sge = 4};

	(void)state;
	client_begin(NULL);
	fill(a.mem, 4000, 3);
	for (unsigned i = 0; i < 4; i++) {
		from[i] = sge_of(&a, 1000 * i, 1000);
		to[i] = sge_of(&b, 10000 * i, 700 * (i + 1));
	}
	from[1].length = 0; /* allowed, and nothing */
	from[2] = sge_of(&a, 1000, 2000);
	assert_int_equal(v->post_recv(b.qp, &recv, &bad_recv), 0);
	assert_int_equal(v->post_send(a.qp, &send, &bad_send), 0);
	assert_int_equal(wc_expect(&b, 2, IBV_WC_SUCCESS).byte_len, 4000);
	memmove(b.mem + 700, b.mem + 10000, 1400);
	memmove(b.mem + 2100, b.mem + 20000, 1900);
	assert_filled(b.mem, 4000, 3);
	client_end();
}

static void inline_data_is_taken_when_it_is_posted(void **state)
{
	(void)state;
	client_begin(NULL);
	fake_verbs_hold(0);
	fill(a.mem, CLIENT_INLINE, 1);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, CLIENT_INLINE,
	                      IBV_SEND_SIGNALED | IBV_SEND_INLINE),
	                 0);
	fill(a.mem, CLIENT_INLINE, 2);
	fake_verbs_release(0);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	assert_filled(b.mem, CLIENT_INLINE, 1);
	client_end();
}

static void inline_data_needs_no_key(void **state)
{
	char text[8] = "unknown";
	struct ibv_sge sge = {.addr = (uintptr_t)text, .length = 8, .lkey = 12345};
	struct ibv_send_wr *bad, wr = {.sg_list = &sge,
	                               .num_sge = 1,
	                               .opcode = IBV_WR_RDMA_WRITE,
	                               .send_flags = IBV_SEND_SIGNALED | IBV_SEND_INLINE};

	(void)state;
	client_begin(NULL);
	wr.wr.rdma.remote_addr = (uintptr_t)b.mem;
	wr.wr.rdma.rkey = b.mr->rkey;
	assert_int_equal(v->post_send(a.qp, &wr, &bad), 0);
	wc_expect(&a, 0, IBV_WC_SUCCESS);
	assert_string_equal(b.mem, "unknown");
	client_end();
}

static void only_signalled_requests_complete_but_all_that_fail(void **state)
{
	(void)state;
	client_begin(NULL);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, i, 0, 0, 8, i == 3 ? 2 : 0), 0);
	wc_expect(&a, 3, IBV_WC_SUCCESS);
	fake_verbs_hold(0);
	for (uint64_t i = 4; i < 8; i++)
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, i, 0, 0, 8, 0), 0);
	qp_to(&a, IBV_QPS_ERR);
	for (uint64_t i = 4; i < 8; i++)
		wc_expect(&a, i, IBV_WC_WR_FLUSH_ERR);
	wc_none(&a);
	client_end();
}

static void a_failed_completion_says_nothing_but_id_status_and_qp(void **state)
{
	struct ibv_wc wc;

	(void)state;
	client_begin(NULL);
	fake_verbs_hold(0);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_READ, 5, 0, 0, 8, 2), 0);
	qp_to(&a, IBV_QPS_ERR);
	wc = wc_expect(&a, 5, IBV_WC_WR_FLUSH_ERR);
	assert_int_equal(wc.qp_num, a.qp->qp_num);
	assert_int_not_equal(wc.opcode, IBV_WC_RDMA_READ);
	client_end();
}

/* The next request is flushed; so is what the peer had posted, after its event. */
static void check_refused(enum ibv_wc_status status, enum ibv_event_type event)
{
	wc_expect(&a, 1, status);
	event_expect(&b, event);
	wc_expect(&b, 100, IBV_WC_WR_FLUSH_ERR);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 2, 0, 0, 8, 0), 0);
	wc_expect(&a, 2, IBV_WC_WR_FLUSH_ERR);
}

static void remote_access_without_right_ends_both_ends(void **state)
{
	(void)state;
	for (int kind = 0; kind < 6; kind++) {
		static const int less[6] = {0,
		                            0,
		                            0,
		                            ALL_RIGHTS & ~IBV_ACCESS_REMOTE_WRITE,
		                            ALL_RIGHTS & ~IBV_ACCESS_REMOTE_READ,
		                            0};
		enum ibv_wr_opcode opcode = kind == 4 ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
		uint32_t rkey;

		client_begin(NULL);
		if (less[kind]) {
			assert_int_equal(v->dereg_mr(b.mr), 0);
			b.mr = v->reg_mr(b.pd, b.mem, CLIENT_MEM, less[kind]);
		}
		rkey = b.mr->rkey;
		assert_int_equal(post_recv(&b, 100, 0, 8), 0);
		memset(b.mem, 'b', CLIENT_MEM);
		if (kind == 0) /* one byte too far */
			assert_int_equal(post(&a, &b, opcode, 1, 0, CLIENT_MEM - 7, 8, 2), 0);
		else if (kind == 1) /* before it */
			assert_int_equal(post(&a, &b, opcode, 1, 0, (uint64_t)-1, 8, 2), 0);
		else if (kind == 2) { /* a wrong key */
			b.mr->rkey = rkey ^ 1;
			assert_int_equal(post(&a, &b, opcode, 1, 0, 0, 8, 2), 0);
		} else if (kind == 5) { /* the local key is not the remote one */
			b.mr->rkey = b.mr->lkey;
			assert_int_equal(post(&a, &b, opcode, 1, 0, 0, 8, 2), 0);
		} else {
			assert_int_equal(post(&a, &b, opcode, 1, 0, 0, 8, 2), 0);
		}
		check_refused(IBV_WC_REM_ACCESS_ERR, IBV_EVENT_QP_ACCESS_ERR);
		b.mr->rkey = rkey;
		for (int i = 0; i < CLIENT_MEM; i++)
			assert_int_equal(b.mem[i], 'b');
		client_end();
	}
}

static void a_key_of_a_deregistered_region_is_foreign(void **state)
{
	struct ibv_mr old;

	(void)state;
	client_begin(NULL);
	old = *b.mr;
	assert_int_equal(v->dereg_mr(b.mr), 0);
	b.mr = &old;
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	wc_expect(&a, 1, IBV_WC_REM_ACCESS_ERR);
	b.mr = NULL;
	client_end();
}

static void a_qp_without_remote_rights_refuses_the_request(void **state)
{
	struct ibv_qp_attr attr = {.qp_access_flags = IBV_ACCESS_REMOTE_READ};

	(void)state;
	client_begin(NULL);
	assert_int_equal(v->modify_qp(b.qp, &attr, IBV_QP_ACCESS_FLAGS), 0);
	assert_int_equal(post_recv(&b, 100, 0, 8), 0);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	check_refused(IBV_WC_REM_INV_REQ_ERR, IBV_EVENT_QP_REQ_ERR);
	client_end();
}

static void local_memory_without_right_fails_here_only(void **state)
{
	(void)state;
	client_begin(NULL);
	assert_int_equal(v->dereg_mr(a.mr), 0);
	a.mr = v->reg_mr(a.pd, a.mem, CLIENT_MEM, 0);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	wc_expect(&a, 1, IBV_WC_SUCCESS); /* reading needs no right */
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_READ, 2, 0, 0, 8, 2), 0);
	wc_expect(&a, 2, IBV_WC_LOC_PROT_ERR);
	event_none(&b);
	client_end();
}

static void a_send_longer_than_the_receive_fails_on_both_sides(void **state)
{
	(void)state;
	client_begin(NULL);
	memset(b.mem, 'b', 100);
	assert_int_equal(post_recv(&b, 1, 0, 7), 0);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 2, 0, 0, 8, 2), 0);
	wc_expect(&a, 2, IBV_WC_REM_INV_REQ_ERR);
	wc_expect(&b, 1, IBV_WC_LOC_LEN_ERR);
	for (int i = 0; i < 100; i++)
		assert_int_equal(b.mem[i], 'b');
	client_end();
}

static void a_receive_into_foreign_memory_fails_on_both_sides(void **state)
{
	(void)state;
	client_begin(NULL);
	b.mr->lkey ^= 1;
	assert_int_equal(post_recv(&b, 1, 0, 8), 0);
	b.mr->lkey ^= 1;
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 2, 0, 0, 8, 2), 0);
	wc_expect(&a, 2, IBV_WC_REM_OP_ERR);
	wc_expect(&b, 1, IBV_WC_LOC_PROT_ERR);
	client_end();
}

static void without_a_receive_the_sender_waits_for_ever(void **state)
{
	(void)state;
	client_begin(NULL);
	fill(a.mem, 1000, 1);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 1, 0, 0, 1000, 2), 0);
	assert_true(fake_verbs_await(FAKE_RNR, 1, INT64_C(10000000000)));
	fake_verbs_expire();
	wc_none(&a);
	assert_int_equal(post_recv(&b, 2, 0, 1000), 0);
	wc_expect(&b, 2, IBV_WC_SUCCESS);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	assert_filled(b.mem, 1000, 1);
	assert_int_equal(fake_verbs_count(FAKE_RNR), 1);
	client_end();
}

static void without_a_receive_a_sender_of_few_retries_fails(void **state)
{
	(void)state;
	for (uint8_t retries = 0; retries < 3; retries += 2) {
		struct ibv_qp_attr attr;

		client_begin(&(struct client_opts){.apart = true});
		attr = attr_to(&b);
		attr.rnr_retry = retries;
		assert_int_equal(qp_init(&a) || qp_rtr(&a, attr) || qp_rts(&a, attr), 0);
		qp_connect(&b, &a);
		assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE_WITH_IMM, 1, 0, 0, 8, 2), 0);
		wc_expect(&a, 1, IBV_WC_RNR_RETRY_EXC_ERR);
		assert_int_equal(post_recv(&b, 2, 0, 8), 0);
		wc_none(&b);
		client_end();
	}
}

static void check_unanswered(void)
{
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0, 8, 2), 0);
	wc_expect(&a, 1, IBV_WC_RETRY_EXC_ERR);
	assert_int_equal(b.mem[0], 0);
}

static void a_peer_that_is_not_ready_never_answers(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		client_begin(&(struct client_opts){.apart = true});
		fill(a.mem, 8, 1);
		qp_connect(&a, &b);
		if (kind == 1)
			assert_int_equal(qp_init(&b), 0);
		if (kind == 2)
			qp_to(&b, IBV_QPS_ERR);
		if (kind == 3) {
			assert_int_equal(v->destroy_qp(b.qp), 0);
			b.qp = NULL;
		}
		check_unanswered();
		client_end();
	}
}

static void a_peer_with_another_psn_or_qp_in_mind_never_answers(void **state)
{
	struct ibv_qp_attr attr;

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		client_begin(&(struct client_opts){.apart = true});
		fill(a.mem, 8, 1);
		qp_connect(&a, &b);
		attr = attr_to(&a);
		attr.rq_psn += kind == 0;
		attr.dest_qp_num += kind == 1;
		assert_int_equal(qp_init(&b) || qp_rtr(&b, attr) || qp_rts(&b, attr), 0);
		check_unanswered();
		client_end();
	}
}

static void the_first_message_establishes_a_peer_that_only_receives(void **state)
{
	(void)state;
	client_begin(&(struct client_opts){.apart = true});
	qp_connect(&a, &b);
	assert_int_equal(qp_init(&b) || qp_rtr(&b, attr_to(&a)), 0);
	assert_int_equal(post_recv(&b, 1, 0, 8), 0);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 2, 0, 0, 8, 2), 0);
	wc_expect(&b, 1, IBV_WC_SUCCESS);
	event_expect(&b, IBV_EVENT_COMM_EST);
	client_end();
}

static void a_qp_in_error_flushes_its_queues_and_what_is_posted_later(void **state)
{
	(void)state;
	client_begin(NULL);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(post_recv(&a, 10 + i, 0, 8), 0);
	fake_verbs_hold(0);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(post(&a, &b, IBV_WR_SEND, i, 0, 0, 8, 2), 0);
	qp_to(&a, IBV_QPS_ERR);
	for (uint64_t i = 0; i < 3; i++)
		wc_expect(&a, i, IBV_WC_WR_FLUSH_ERR);
	for (uint64_t i = 0; i < 3; i++)
		wc_expect(&a, 10 + i, IBV_WC_WR_FLUSH_ERR);
	assert_int_equal(post_recv(&a, 20, 0, 8), 0);
	wc_expect(&a, 20, IBV_WC_WR_FLUSH_ERR);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 21, 0, 0, 8, 0), 0);
	wc_expect(&a, 21, IBV_WC_WR_FLUSH_ERR);
	client_end();
}

static void a_qp_can_be_reset_and_connected_anew(void **state)
{
	(void)state;
	client_begin(NULL);
	fill(a.mem, 100, 1);
	qp_to(&a, IBV_QPS_ERR);
	qp_to(&b, IBV_QPS_ERR);
	qp_to(&a, IBV_QPS_RESET);
	qp_to(&b, IBV_QPS_RESET);
	qp_connect(&a, &b);
	qp_connect(&b, &a);
	assert_int_equal(post_recv(&b, 2, 0, 100), 0);
	assert_int_equal(post(&a, &b, IBV_WR_SEND, 1, 0, 0, 100, 2), 0);
	wc_expect(&b, 2, IBV_WC_SUCCESS);
	assert_filled(b.mem, 100, 1);
	client_end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_operation_moves_its_bytes),
	    cmocka_unit_test(an_immediate_eats_a_receive_and_says_how_much_came),
	    cmocka_unit_test(scattered_and_gathered_bytes_are_in_their_places),
	    cmocka_unit_test(inline_data_is_taken_when_it_is_posted),
	    cmocka_unit_test(inline_data_needs_no_key),
	    cmocka_unit_test(only_signalled_requests_complete_but_all_that_fail),
	    cmocka_unit_test(a_failed_completion_says_nothing_but_id_status_and_qp),
	    cmocka_unit_test(remote_access_without_right_ends_both_ends),
	    cmocka_unit_test(a_key_of_a_deregistered_region_is_foreign),
	    cmocka_unit_test(a_qp_without_remote_rights_refuses_the_request),
	    cmocka_unit_test(local_memory_without_right_fails_here_only),
	    cmocka_unit_test(a_send_longer_than_the_receive_fails_on_both_sides),
	    cmocka_unit_test(a_receive_into_foreign_memory_fails_on_both_sides),
	    cmocka_unit_test(without_a_receive_the_sender_waits_for_ever),
	    cmocka_unit_test(without_a_receive_a_sender_of_few_retries_fails),
	    cmocka_unit_test(a_peer_that_is_not_ready_never_answers),
	    cmocka_unit_test(a_peer_with_another_psn_or_qp_in_mind_never_answers),
	    cmocka_unit_test(the_first_message_establishes_a_peer_that_only_receives),
	    cmocka_unit_test(a_qp_in_error_flushes_its_queues_and_what_is_posted_later),
	    cmocka_unit_test(a_qp_can_be_reset_and_connected_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
