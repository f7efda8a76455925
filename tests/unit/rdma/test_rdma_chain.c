/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"
#include "transport/rdma/rdma_chain.h"

static struct pair p;
static struct rdma_chain ch;

static void add_write(void)
{
	struct ibv_send_wr *wr = rdma_chain_add(&ch, IBV_WR_RDMA_WRITE);

	wr->wr.rdma.remote_addr = p.a.rreg->addr;
	wr->wr.rdma.rkey = p.a.rreg->rkey;
	rdma_chain_reg(&ch, p.a.mem, p.a.reg, 8);
}

/* Progress until what was posted is over; no op is waiting for it. */
static void settle(void)
{
	struct rdma_chan *c = &p.a.conn->chan[RDMA_DATA];

	UNTIL(&p, c->sq_done == c->sq_posted);
}

static void a_row_is_one_doorbell_and_its_last_asks_for_a_completion(void **state)
{
	uint64_t bells, cqes;

	(void)state;
	pair_connected(&p, NULL);
	bells = fake_verbs_count(FAKE_DOORBELLS);
	cqes = fake_verbs_count(FAKE_CQES);
	rdma_chain_begin(&ch, p.a.conn, RDMA_DATA);
	for (int i = 0; i < 20; i++)
		add_write();
	assert_true(sl_rdma_chain_post(&ch));
	settle();
	assert_int_equal(fake_verbs_count(FAKE_DOORBELLS) - bells, 1);
	assert_int_equal(fake_verbs_count(FAKE_CQES) - cqes, 1);
	pair_end(&p);
}

static void a_row_is_no_longer_than_the_queue_has_room(void **state)
{
	struct rdma_chan *c;

	(void)state;
	pair_connected(&p, NULL);
	c = &p.a.conn->chan[RDMA_DATA];
	fake_verbs_hold(0);
	for (uint64_t left = c->sq_cap; left; left -= ch.n) {
		rdma_chain_begin(&ch, p.a.conn, RDMA_DATA);
		assert_int_equal(ch.room, left < RDMA_CHAIN_MOST ? left : RDMA_CHAIN_MOST);
		while (!rdma_chain_is_full(&ch))
			add_write();
		assert_true(sl_rdma_chain_post(&ch));
	}
	rdma_chain_begin(&ch, p.a.conn, RDMA_DATA);
	assert_true(rdma_chain_is_full(&ch));
	assert_true(sl_rdma_chain_post(&ch)); /* nothing to post is fine */
	fake_verbs_release(0);
	settle();
	check_works(&p);
	pair_end(&p);
}

static void what_could_not_be_posted_is_not_counted(void **state)
{
	uint64_t before;

	(void)state;
	pair_connected(&p, NULL);
	before = p.a.conn->chan[RDMA_DATA].sq_posted;
	fake_verbs_fail_call("post_send", 3, ENOMEM);
	rdma_chain_begin(&ch, p.a.conn, RDMA_DATA);
	for (int i = 0; i < 5; i++)
		add_write();
	assert_false(sl_rdma_chain_post(&ch));
	assert_int_equal(p.a.conn->chan[RDMA_DATA].sq_posted - before, 2);
	assert_true(p.a.conn->chan[RDMA_DATA].failed);
	rdma_chain_begin(&ch, p.a.conn, RDMA_DATA);
	assert_true(rdma_chain_is_full(&ch)); /* it takes no more until it is made anew */
	pair_end(&p);
}

static void small_data_goes_inside_the_request_but_reads_never(void **state)
{
	uint64_t before;

	(void)state;
	pair_connected(&p, NULL);
	before = fake_verbs_count(FAKE_INLINES);
	rdma_chain_begin(&ch, p.a.conn, RDMA_DATA);
	add_write();
	add_write();
	ch.wr[1].opcode = IBV_WR_RDMA_READ;
	assert_true(sl_rdma_chain_post(&ch));
	settle();
	assert_int_equal(fake_verbs_count(FAKE_INLINES) - before, 1);
	pair_end(&p);
}

static void memory_that_is_not_to_be_touched_is_left_to_the_device(void **state)
{
	uint64_t before;

	(void)state;
	pair_connected(&p, NULL);
	before = fake_verbs_count(FAKE_INLINES);
	p.a.reg->untouched = true;
	rdma_chain_begin(&ch, p.a.conn, RDMA_DATA);
	add_write();
	p.a.reg->untouched = false;
	add_write();
	assert_true(sl_rdma_chain_post(&ch));
	settle();
	assert_int_equal(fake_verbs_count(FAKE_INLINES) - before, 1);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_row_is_one_doorbell_and_its_last_asks_for_a_completion),
	    cmocka_unit_test(a_row_is_no_longer_than_the_queue_has_room),
	    cmocka_unit_test(what_could_not_be_posted_is_not_counted),
	    cmocka_unit_test(small_data_goes_inside_the_request_but_reads_never),
	    cmocka_unit_test(memory_that_is_not_to_be_touched_is_left_to_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
