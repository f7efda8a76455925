/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;
static struct job jobs[6];
static struct sl_conn conn;

/* Ops as they stand in a channel whose queue pair is gone: CODES, numbered from 0. */
static void posted(const enum sl_opcode *codes, int n)
{
	struct rdma_chan *c = &conn.chan[RDMA_DATA];

	memset(&conn, 0, sizeof(conn));
	for (int i = 0; i < n; i++) {
		job_make(&jobs[i], codes[i]);
		if (codes[i] == SL_OP_WRITE_IMM)
			jobs[i].op.priv[RDMA_SEQ] = c->tx_seq++;
		sl_op_push(&c->posted, &jobs[i].op);
	}
}

static int length(const struct sl_op_queue *q)
{
	int n = 0;

	for (const struct sl_op *op = q->head; op; op = op->next)
		n++;
	return n;
}

static const enum sl_opcode mixed[] = {SL_OP_READ,      SL_OP_WRITE, SL_OP_WRITE_IMM,
                                       SL_OP_WRITE_IMM, SL_OP_READ,  SL_OP_WRITE};

static void what_the_peer_received_is_done_and_the_rest_goes_again(void **state)
{
	struct rdma_chan *c = &conn.chan[RDMA_DATA];
	struct sl_op_queue over = {0};

	(void)state;
	posted(mixed, 6);
	assert_int_equal(sl_rdma_chan_settle_locked(&conn, RDMA_DATA, 1, &over), 0);
	assert_int_equal(length(&over), 2); /* the write and its immediate; a read never */
	assert_ptr_equal(over.head, &jobs[1].op);
	assert_ptr_equal(over.tail, &jobs[2].op);
	assert_ptr_equal(c->waiting.head, &jobs[0].op);
	assert_ptr_equal(c->waiting.head->next, &jobs[3].op);
	assert_int_equal(length(&c->waiting), 4);
	assert_int_equal(c->tx_seq, 1); /* what goes again is numbered again */
	assert_null(c->posted.head);
}

static void nothing_received_is_everything_again_before_what_waited(void **state)
{
	struct rdma_chan *c = &conn.chan[RDMA_DATA];
	struct sl_op_queue over = {0};
	static struct job waited;

	(void)state;
	posted(mixed, 6);
	job_make(&waited, SL_OP_WRITE);
	sl_op_push(&c->waiting, &waited.op);
	assert_int_equal(sl_rdma_chan_settle_locked(&conn, RDMA_DATA, 0, &over), 0);
	assert_null(over.head);
	assert_int_equal(length(&c->waiting), 7);
	assert_ptr_equal(c->waiting.tail, &waited.op);
}

static void a_count_that_cannot_be_is_refused(void **state)
{
	struct sl_op_queue over = {0};

	(void)state;
	posted(mixed, 6);
	assert_int_equal(sl_rdma_chan_settle_locked(&conn, RDMA_DATA, 3, &over), -EPROTO);
	conn.chan[RDMA_DATA].acked = 1;
	assert_int_equal(sl_rdma_chan_settle_locked(&conn, RDMA_DATA, 0, &over), -EPROTO);
	assert_int_equal(sl_rdma_chan_settle_locked(&conn, RDMA_DATA, 2, &over), 0);
}

static void what_failed_or_was_stopped_is_sifted_out_once_it_is_quiet(void **state)
{
	struct rdma_chan *c = &conn.chan[RDMA_DATA];
	struct sl_op_queue over = {0};

	(void)state;
	posted(mixed, 6);
	jobs[0].op.priv[RDMA_STATUS] = (uint64_t)(int64_t)-EACCES;
	atomic_store(&jobs[1].op.state, UINT64_C(1) << SL_OP_STOP_SHIFT);
	jobs[2].op.priv[RDMA_STATUS] = (uint64_t)(int64_t)-EACCES;
	atomic_store(&jobs[4].op.state, UINT64_C(2) << SL_OP_STOP_SHIFT);
	sl_rdma_sift_locked(&conn, RDMA_DATA, &over);
	assert_int_equal(length(&c->posted), 2);
	assert_int_equal(length(&conn.late), 2); /* writes may still be on the wire */
	assert_ptr_equal(conn.late.head, &jobs[1].op);
	assert_int_equal(length(&over), 2);
	(void)sl_rdma_end(&over);
	assert_int_equal(jobs[0].status, -EACCES);
	assert_int_equal(jobs[4].status, -ETIME);
}

/* Each generation is another queue pair, with another number to count from. */
static void a_channel_made_anew_shares_nothing_with_the_old(void **state)
{
	struct fake_qp_info before[4], after[4];
	struct rdma_chan *c;
	uint32_t psn;

	(void)state;
	pair_connected(&p, NULL);
	c = &p.a.conn->chan[RDMA_DATA];
	psn = c->psn;
	assert_int_equal(fake_verbs_list_qps(0, before, 4), 3);
	sl_rdma_conn_strike(p.a.conn, RDMA_DATA, 0);
	assert_int_equal(c->phase, RDMA_DRAIN);
	UNTIL(&p, c->phase == RDMA_UP);
	assert_int_equal(c->gen, 2);
	assert_int_equal(c->linked, 2);
	assert_int_not_equal(c->psn, psn);
	assert_int_equal(fake_verbs_list_qps(0, after, 4), 3);
	assert_int_not_equal(after[2].num, before[1].num);
	assert_int_equal(p.a.conn->chan[RDMA_MSG].gen, 1); /* messages did not notice */
	check_works(&p);
	pair_end(&p);
}

static void queue_pairs_that_run_out_are_an_error_that_says_so(void **state)
{
	struct slime_error err = {0};
	struct sl_blob b;

	(void)state;
	pair_begin(&p, NULL);
	b = blob_of(&p.b);
	for (int i = 0; i < 16; i++) /* with less and less inline data */
		fake_verbs_fail_call("create_qp", (unsigned)i + 1, ENOMEM);
	assert_int_equal(rdma->connect(p.a.conn, &b, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "queue pair"));
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_peer_received_is_done_and_the_rest_goes_again),
	    cmocka_unit_test(nothing_received_is_everything_again_before_what_waited),
	    cmocka_unit_test(a_count_that_cannot_be_is_refused),
	    cmocka_unit_test(what_failed_or_was_stopped_is_sifted_out_once_it_is_quiet),
	    cmocka_unit_test(a_channel_made_anew_shares_nothing_with_the_old),
	    cmocka_unit_test(queue_pairs_that_run_out_are_an_error_that_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
