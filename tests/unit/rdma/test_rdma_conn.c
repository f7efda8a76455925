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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_lane_says_what_it_goes_over),
	    cmocka_unit_test(addresses_that_are_none_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
