/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;

/* What A's mailbox sends reaches B's connection that it names, and nobody else's. */
static void a_state_reaches_the_connection_it_names(void **state)
{
	struct rdma_mail to;
	struct rdma_state s = {.flags = RDMA_CALLING};
	struct ibv_ah_attr attr;
	struct ibv_ah *ah;

	(void)state;
	pair_begin(&p, NULL);
	sl_rdma_box_mail(p.b.dom, &to);
	assert_int_equal(sl_rdma_route(&p.a.dom->port, &p.a.dom->env, &to, &attr, NULL), 0);
	ah = p.a.dom->v->create_ah(p.a.dom->pd, &attr);
	assert_non_null(ah);
	s.to = p.b.conn->me;
	s.to.secret[3] ^= 1; /* who does not know the secret has not called */
	sl_rdma_box_send(p.a.dom, ah, &to, &s);
	for (int i = 0; i < 10; i++)
		step(&p);
	assert_int_equal(rdma->conn_ready(p.b.conn, NULL), SL_CONN_WAITING);
	s.to = p.b.conn->me;
	sl_rdma_box_send(p.a.dom, ah, &to, &s);
	UNTIL(&p, rdma->conn_ready(p.b.conn, NULL) == SL_CONN_CALLED);
	assert_int_equal(rdma->conn_ready(p.a.conn, NULL), SL_CONN_WAITING);
	sl_rdma_box_bury(p.a.dom, ah);
	pair_end(&p);
}

/* Bytes that are no state, of every length, fall out; the mailbox goes on. */
static void noise_in_the_mailbox_is_dropped(void **state)
{
	struct sl_dom *dom;
	struct rdma_mail to;
	struct ibv_ah_attr attr;
	struct ibv_ah *ah;

	(void)state;
	pair_begin(&p, NULL);
	dom = p.a.dom;
	sl_rdma_box_mail(p.b.dom, &to);
	assert_int_equal(sl_rdma_route(&dom->port, &dom->env, &to, &attr, NULL), 0);
	ah = dom->v->create_ah(dom->pd, &attr);
	memset(dom->box.buf, 0xa5, 200);
	for (uint32_t i = 0; i < 3 * RDMA_MAILS_IN; i++) {
		struct ibv_sge sge = {.addr = (uintptr_t)dom->box.buf,
		                      .length = i % (RDMA_STATE_LEN + 1),
		                      .lkey = dom->box.mr->lkey};
		struct ibv_send_wr *bad,
		    wr = {.wr_id = rdma_wr_id(rdma_wr_owner(RDMA_SLOT_BOX, 0), 0, false, 0),
		          .sg_list = &sge,
		          .num_sge = 1,
		          .opcode = IBV_WR_SEND,
		          .wr.ud = {.ah = ah, .remote_qpn = to.qpn, .remote_qkey = to.qkey}};

		assert_int_equal(dom->v->post_send(dom->box.qp, &wr, &bad), 0);
		dom->box.out_posted++;
		step(&p);
	}
	(void)dom->v->destroy_ah(ah);
	pair_connect(&p);
	check_works(&p);
	pair_end(&p);
}

/* A mailbox that is full of mail on its way drops what comes, and sends again later. */
static void a_full_mailbox_drops_and_recovers(void **state)
{
	struct rdma_state s = {0};
	uint64_t sent;

	(void)state;
	pair_connected(&p, NULL);
	s.to = p.a.conn->peer;
	s.from = p.a.conn->me;
	for (int i = 0; i < 5 * RDMA_MAILS_OUT; i++)
		sl_rdma_box_send(p.a.dom, p.a.conn->ah, &p.a.conn->mail, &s);
	sent = p.a.dom->box.out_posted - p.a.dom->box.out_done;
	assert_true(sent <= RDMA_MAILS_OUT);
	UNTIL(&p, p.a.dom->box.out_posted == p.a.dom->box.out_done);
	check_works(&p);
	pair_end(&p);
}

/* As when the port is down: the queue pair is in the error state, and at its number again later. */
static void a_mailbox_outlives_mail_that_cannot_be_sent(void **state)
{
	struct rdma_mail before, after;

	(void)state;
	pair_begin(&p, NULL);
	sl_rdma_box_mail(p.a.dom, &before);
	for (unsigned n = 1; n <= 3; n++) {
		fake_verbs_fail_work(0, before.qpn, n, IBV_WC_LOC_QP_OP_ERR, false);
		fake_verbs_fail_work(1, p.b.dom->box.qp->qp_num, n, IBV_WC_LOC_QP_OP_ERR, false);
	}
	pair_connect(&p);
	check_works(&p);
	sl_rdma_box_mail(p.a.dom, &after);
	/* but for what pads it */
	assert_memory_equal(&before, &after, offsetof(struct rdma_mail, shift) + 1);
	assert_int_equal(p.a.dom->box.in_posted, RDMA_MAILS_IN);
	assert_int_equal(fake_verbs_faults_left(), 0);
	pair_end(&p);
}

static void an_address_handle_outlives_its_last_mail(void **state)
{
	struct rdma_state s = {0};
	struct ibv_ah_attr attr;
	struct ibv_ah *ah;
	uint64_t before;

	(void)state;
	pair_connected(&p, NULL);
	assert_int_equal(sl_rdma_route(&p.a.dom->port, &p.a.dom->env, &p.a.conn->mail, &attr, NULL),
	                 0);
	for (int i = 0; i < 10; i++)
		step(&p);
	before = fake_verbs_count(FAKE_AHS);
	ah = p.a.dom->v->create_ah(p.a.dom->pd, &attr);
	sl_rdma_box_send(p.a.dom, ah, &p.a.conn->mail, &s);
	sl_rdma_box_bury(p.a.dom, ah);
	assert_int_equal(fake_verbs_count(FAKE_AHS), before + 1);
	UNTIL(&p, fake_verbs_count(FAKE_AHS) == before);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_state_reaches_the_connection_it_names),
	    cmocka_unit_test(noise_in_the_mailbox_is_dropped),
	    cmocka_unit_test(a_full_mailbox_drops_and_recovers),
	    cmocka_unit_test(a_mailbox_outlives_mail_that_cannot_be_sent),
	    cmocka_unit_test(an_address_handle_outlives_its_last_mail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
