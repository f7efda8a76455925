/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;

static void each_completion_status_has_its_errno(void **state)
{
	(void)state;
	assert_int_equal(sl_rdma_status(IBV_WC_REM_ACCESS_ERR), -EACCES);
	assert_int_equal(sl_rdma_status(IBV_WC_LOC_PROT_ERR), -EACCES);
	assert_int_equal(sl_rdma_status(IBV_WC_REM_OP_ERR), -EREMOTEIO);
	assert_int_equal(sl_rdma_status(IBV_WC_REM_INV_REQ_ERR), -EREMOTEIO);
	assert_int_equal(sl_rdma_status(IBV_WC_LOC_LEN_ERR), -EMSGSIZE);
	/* not the op's fault: it goes again */
	assert_int_equal(sl_rdma_status(IBV_WC_RETRY_EXC_ERR), 0);
	assert_int_equal(sl_rdma_status(IBV_WC_WR_FLUSH_ERR), 0);
	assert_int_equal(sl_rdma_status(IBV_WC_GENERAL_ERR), 0);
}

/* The wrong key ends its own transfer; what stood before and behind it in the queue is done. */
static void a_remote_access_error_ends_one_transfer_only(void **state)
{
	static struct job before, wrong, after;
	struct sl_rreg bad;

	(void)state;
	pair_connected(&p, NULL);
	bad = *p.a.rreg;
	bad.rkey ^= 0x55;
	memset(p.a.mem, 8, 300);
	fake_verbs_hold(0);
	start_one(&p.a, &before, SL_OP_WRITE, 0, 0, 100);
	job_make(&wrong, SL_OP_WRITE);
	add_run(&wrong, &p.a, 100, 100, 100)->rreg = &bad;
	start(&p.a, &wrong);
	start_one(&p.a, &after, SL_OP_WRITE, 200, 200, 100);
	fake_verbs_release(0);
	UNTIL(&p, before.done && wrong.done && after.done);
	assert_int_equal(before.status, 0);
	assert_int_equal(wrong.status, -EACCES);
	assert_int_equal(after.status, 0);
	assert_int_equal(p.b.mem[50], 8);
	assert_int_equal(p.b.mem[150], 0);
	assert_int_equal(p.b.mem[250], 8);
	check_works(&p);
	pair_end(&p);
}

/* An op is not done because its requests came back flushed while somebody else submits. */
static void a_flushed_request_is_not_a_done_one(void **state)
{
	static struct job imm[3], got[3], other;

	(void)state;
	pair_connected(&p, NULL);
	for (int i = 0; i < 3; i++) {
		job_make(&got[i], SL_OP_RECV_IMM);
		start(&p.b, &got[i]);
	}
	fake_verbs_hold(0);
	for (uint32_t i = 0; i < 3; i++) {
		job_make(&imm[i], SL_OP_WRITE_IMM);
		imm[i].op.imm = i;
		start(&p.a, &imm[i]);
	}
	sl_rdma_conn_strike(p.a.conn, RDMA_DATA, 0);
	fake_verbs_release(0);
	(void)rdma->progress(p.a.dom, 64); /* takes the flushed ones */
	start_one(&p.a, &other, SL_OP_WRITE, 0, 0, 8);
	for (int i = 0; i < 3; i++)
		assert_int_equal(imm[i].done, 0);
	UNTIL(&p, got[2].done && other.done);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(imm[i].done, 1);
		assert_int_equal(got[i].done, 1);
		assert_int_equal(got[i].imm, i);
	}
	pair_end(&p);
}

static void completions_told_twice_or_of_nobody_do_nothing(void **state)
{
	struct ibv_wc wc = {.status = IBV_WC_SUCCESS, .opcode = IBV_WC_RDMA_WRITE};
	uint64_t good;

	(void)state;
	pair_connected(&p, NULL);
	good = p.a.conn->chan[RDMA_DATA].sq_good;
	wc.wr_id = rdma_wr_id(rdma_wr_owner(12345, 1), 0, false, 0);
	assert_int_equal(sl_rdma_wc(p.a.dom, &wc), 0); /* no such slot */
	wc.wr_id = rdma_wr_id(rdma_wr_owner(p.a.conn->slot, 99), 0, false, 0);
	assert_int_equal(sl_rdma_wc(p.a.dom, &wc), 0); /* an earlier user of it */
	wc.wr_id = rdma_wr_id(p.a.conn->wr_owner, RDMA_DATA, false, 1000);
	assert_int_equal(sl_rdma_wc(p.a.dom, &wc), 0); /* nothing was posted there */
	wc.opcode = IBV_WC_RECV;
	wc.wr_id = rdma_wr_id(p.a.conn->wr_owner, RDMA_DATA, true, 40);
	assert_int_equal(sl_rdma_wc(p.a.dom, &wc), 0); /* not the oldest receive */
	assert_int_equal(p.a.conn->chan[RDMA_DATA].sq_good, good);
	check_works(&p);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_completion_status_has_its_errno),
	    cmocka_unit_test(a_remote_access_error_ends_one_transfer_only),
	    cmocka_unit_test(a_flushed_request_is_not_a_done_one),
	    cmocka_unit_test(completions_told_twice_or_of_nobody_do_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
