/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;

static void a_send_waits_for_a_receive_and_moves_once(void **state)
{
	static struct job send, recv;
	uint64_t before;

	(void)state;
	pair_connected(&p, NULL);
	memset(p.a.mem, 9, 100000);
	start_one(&p.a, &send, SL_OP_SEND, 0, 0, 100000);
	for (int i = 0; i < 20; i++)
		step(&p);
	assert_int_equal(send.done, 0);
	before = fake_verbs_count(FAKE_WORKS);
	start_one(&p.b, &recv, SL_OP_RECV, 0, 0, 200000);
	UNTIL(&p, send.done && recv.done);
	assert_int_equal(send.status | recv.status, 0);
	assert_int_equal(recv.bytes, 100000);
	assert_memory_equal(p.a.mem, p.b.mem, 100000);
	assert_int_equal(fake_verbs_count(FAKE_WORKS) - before, 2); /* the credit and the message */
	assert_int_equal(fake_verbs_count(FAKE_RNR), 0);
	pair_end(&p);
}

static void long_messages_go_in_pieces_and_short_ones_spend_them(void **state)
{
	static const uint64_t lens[] = {0, 1, 8192, 8193, 50000, 65536};
	static struct fake_verbs_config config;
	static struct job send, recv;

	(void)state;
	config_init(&config);
	config.devices[0].ports[0].max_msg = 8192;
	config.devices[1].ports[0].max_msg = 65536; /* the smaller one counts */
	pair_connected(&p, &config);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		memset(p.a.mem, (int)i + 1, 65536);
		start_one(&p.b, &recv, SL_OP_RECV, 0, 0, 65536);
		start_one(&p.a, &send, SL_OP_SEND, 0, 0, lens[i]);
		UNTIL(&p, send.done && recv.done);
		assert_int_equal(send.status | recv.status, 0);
		assert_int_equal(recv.bytes, lens[i]);
		assert_memory_equal(p.a.mem, p.b.mem, lens[i]);
	}
	start_one(&p.b, &recv, SL_OP_RECV, 0, 0, 20000);
	start_one(&p.a, &send, SL_OP_SEND, 0, 0, 20001);
	UNTIL(&p, send.done && recv.done);
	assert_int_equal(send.status, -EMSGSIZE);
	assert_int_equal(recv.status, -EMSGSIZE);
	check_works(&p);
	pair_end(&p);
}

static void a_receive_of_more_pieces_than_the_queue_has_is_too_long(void **state)
{
	static struct fake_verbs_config config;
	static struct job recv, fine;

	(void)state;
	config_init(&config);
	config.devices[0].ports[0].max_msg = 4096;
	pair_connected(&p, &config);
	start_one(&p.b, &recv, SL_OP_RECV, 0, 0, SIDE_LEN);
	assert_int_equal(recv.done, 1);
	assert_int_equal(recv.status, -EMSGSIZE);
	start_one(&p.b, &fine, SL_OP_RECV, 0, 0, 4096);
	assert_int_equal(fine.done, 0);
	stop(&p.b, &fine);
	UNTIL(&p, fine.done);
	check_works(&p);
	pair_end(&p);
}

/* More receives than the queue pair holds: the rest follow as it empties, in order. */
static void receives_beyond_the_queue_wait_their_turn(void **state)
{
	enum { N = 200 };
	static struct job sends[N], recvs[N];

	(void)state;
	pair_connected(&p, NULL);
	for (uint64_t i = 0; i < N; i++)
		start_one(&p.b, &recvs[i], SL_OP_RECV, i * 8, 0, 8);
	for (uint64_t i = 0; i < N; i++) {
		memcpy(p.a.mem + i * 8, &i, 8);
		start_one(&p.a, &sends[i], SL_OP_SEND, i * 8, 0, 8);
	}
	UNTIL(&p, recvs[N - 1].done && sends[N - 1].done);
	assert_memory_equal(p.a.mem, p.b.mem, N * 8);
	assert_int_equal(fake_verbs_count(FAKE_RNR), 0);
	pair_end(&p);
}

/* A receive is taken away from the queue pair: nobody's message is lost or doubled. */
static void a_receive_taken_back_leaves_the_others_in_order(void **state)
{
	static struct job send[2], recv[3];

	(void)state;
	pair_connected(&p, NULL);
	for (uint64_t i = 0; i < 3; i++)
		start_one(&p.b, &recv[i], SL_OP_RECV, i * 64, 0, 64);
	for (int i = 0; i < 20; i++)
		step(&p);
	stop(&p.b, &recv[1]);
	UNTIL(&p, recv[1].done);
	assert_int_equal(recv[1].status, -ECANCELED);
	memset(p.a.mem, 1, 64);
	memset(p.a.mem + 64, 2, 64);
	start_one(&p.a, &send[0], SL_OP_SEND, 0, 0, 64);
	start_one(&p.a, &send[1], SL_OP_SEND, 64, 0, 64);
	UNTIL(&p, recv[0].done && recv[2].done);
	assert_int_equal(p.b.mem[0], 1);
	assert_int_equal(p.b.mem[64], 0);
	assert_int_equal(p.b.mem[128], 2);
	pair_end(&p);
}

/* Credits come from outside: out of order, too many, of another generation. */
static void credits_that_cannot_be_are_refused(void **state)
{
	struct rdma_record r = {.type = RDMA_CREDIT, .shift = 12, .len = 5};
	struct sl_conn *conn;
	int rc = 0;

	(void)state;
	pair_connected(&p, NULL);
	conn = p.a.conn;
	r.arg = conn->chan[RDMA_MSG].linked + 1;
	sl_lock_take(&conn->lock);
	assert_int_equal(sl_rdma_take_credit_locked(conn, &r), 0);
	assert_int_equal(conn->credit_tail, 0);
	r.arg--;
	r.index = 1;
	assert_int_equal(sl_rdma_take_credit_locked(conn, &r), -EPROTO);
	for (r.index = 0; !rc && r.index < 10 * RDMA_CREDITS_MAX; r.index++)
		rc = sl_rdma_take_credit_locked(conn, &r);
	assert_int_equal(rc, -EPROTO);
	assert_true(conn->credits_cap <= RDMA_CREDITS_MAX);
	r.index = 3; /* told twice */
	assert_int_equal(sl_rdma_take_credit_locked(conn, &r), 0);
	sl_lock_drop(&conn->lock);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_send_waits_for_a_receive_and_moves_once),
	    cmocka_unit_test(long_messages_go_in_pieces_and_short_ones_spend_them),
	    cmocka_unit_test(a_receive_of_more_pieces_than_the_queue_has_is_too_long),
	    cmocka_unit_test(receives_beyond_the_queue_wait_their_turn),
	    cmocka_unit_test(a_receive_taken_back_leaves_the_others_in_order),
	    cmocka_unit_test(credits_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
