/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "driver.h"

static struct pair p;

static void the_lane_says_what_it_goes_over(void **state)
{
	char name[128];

	(void)state;
	pair_connected(&p, NULL);
	rdma->conn_name(p.a.conn, name, sizeof(name));
	assert_non_null(strstr(name, "fake0:1"));
	rdma->conn_name(p.a.conn, name, 10);
	assert_int_equal(strlen(name), 9);
	check_works(&p);
	pair_end(&p);
}

static void addresses_that_are_none_are_refused(void **state)
{
	struct slime_error err = {0};
	struct sl_blob b;

	(void)state;
	pair_begin(&p, NULL);
	b = blob_of(&p.b);
	b.bytes[0] ^= 1;
	assert_int_equal(rdma->connect(p.a.conn, &b, &err), -EPROTO);
	b = blob_of(&p.b);
	b.len = RDMA_LANE_LEN - RDMA_MAIL_LEN; /* as that of a further lane */
	b.bytes[2] = 0;
	assert_int_equal(rdma->connect(p.a.conn, &b, &err), -EPROTO);
	assert_non_null(strstr(err.text, "before"));
	pair_end(&p);
}

/* The peer is starved for a second, which is less than its timeout. */
static void a_peer_that_answers_late_is_waited_for_if_there_is_nothing_else(void **state)
{
	(void)state;
	for (int only = 0; only < 2; only++) {
		int64_t until = sl_clock_ns() + SL_NS_PER_S;
		struct sl_blob a, b;

		pair_begin(&p, NULL);
		p.a.conn->only = p.b.conn->only = only;
		a = blob_of(&p.a);
		b = blob_of(&p.b);
		assert_int_equal(rdma->connect(p.a.conn, &b, NULL), 0);
		while (sl_clock_ns() < until)
			(void)rdma->progress(p.a.dom, 64);
		assert_int_equal(rdma->conn_ready(p.a.conn, NULL),
		                 only ? SL_CONN_WAITING : -ECONNREFUSED);
		if (only) {
			assert_int_equal(rdma->connect(p.b.conn, &a, NULL), 0);
			UNTIL(&p, rdma->conn_ready(p.a.conn, NULL) == SL_CONN_READY);
		}
		pair_end(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_lane_says_what_it_goes_over),
	    cmocka_unit_test(addresses_that_are_none_are_refused),
	    cmocka_unit_test(a_peer_that_answers_late_is_waited_for_if_there_is_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
