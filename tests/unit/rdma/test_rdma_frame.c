/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

static const struct rdma_mail some_mail = {.gid = {1, 2, 3},
                                           .qpn = 0xabcdef,
                                           .qkey = 0x7fffffff,
                                           .lid = 9,
                                           .mtu = 5,
                                           .reads = 16,
                                           .shift = 30};
static const struct rdma_name some_name = {.id = 0x1122334455667788, .secret = {9, 8, 7}};

static void a_lane_comes_back_as_it_was(void **state)
{
	struct rdma_lane lane = {.has_mail = true, .mail = some_mail, .name = some_name}, got;
	uint8_t bytes[RDMA_LANE_LEN];
	size_t len = sl_rdma_put_lane(bytes, &lane);

	(void)state;
	assert_int_equal(len, RDMA_LANE_LEN);
	assert_int_equal(sl_rdma_get_lane(bytes, len, &got), 0);
	assert_memory_equal(&got.mail, &some_mail, sizeof(some_mail));
	assert_memory_equal(&got.name, &some_name, sizeof(some_name));
	lane.has_mail = false;
	len = sl_rdma_put_lane(bytes, &lane);
	assert_int_equal(len, RDMA_LANE_LEN - RDMA_MAIL_LEN);
	assert_int_equal(sl_rdma_get_lane(bytes, len, &got), 0);
	assert_false(got.has_mail);
	for (size_t n = 0; n < RDMA_LANE_LEN; n++) {
		if (n != len)
			assert_int_equal(sl_rdma_get_lane(bytes, n, &got), -EPROTO);
	}
}

/* Each of these must be refused, not believed. */
static void an_address_that_cannot_be_is_refused(void **state)
{
	struct rdma_mail bad[7];
	struct rdma_lane got;

	(void)state;
	for (int i = 0; i < 7; i++)
		bad[i] = some_mail;
	bad[0].qpn = 0;
	bad[1].qpn = 1 << 24;
	bad[2].mtu = 0;
	bad[3].mtu = 6;
	bad[4].reads = 0;
	bad[5].shift = 31;
	bad[6].lid = 0;
	memset(bad[6].gid, 0, sizeof(bad[6].gid));
	for (int i = 0; i < 7; i++) {
		struct rdma_lane lane = {.has_mail = true, .mail = bad[i], .name = some_name};
		uint8_t bytes[RDMA_LANE_LEN];
		size_t len = sl_rdma_put_lane(bytes, &lane);

		assert_int_equal(sl_rdma_get_lane(bytes, len, &got), -EPROTO);
	}
}

static void a_region_that_wraps_is_refused(void **state)
{
	struct rdma_region region = {.addr = 4096, .len = 100, .rkey = 5}, got;
	uint8_t bytes[RDMA_REGION_LEN];

	(void)state;
	sl_rdma_put_region(bytes, &region);
	assert_int_equal(sl_rdma_get_region(bytes, sizeof(bytes), &got), 0);
	assert_int_equal(got.rkey, 5);
	assert_int_equal(sl_rdma_get_region(bytes, sizeof(bytes) - 1, &got), -EPROTO);
	region.len = UINT64_MAX - 4000;
	sl_rdma_put_region(bytes, &region);
	assert_int_equal(sl_rdma_get_region(bytes, sizeof(bytes), &got), -EPROTO);
}

static struct rdma_state some_state(void)
{
	return (struct rdma_state){
	    .flags = RDMA_CALLING | RDMA_PING,
	    .to = some_name,
	    .from = {.id = 1},
	    .mail = some_mail,
	    .chan = {{.gen = 1, .linked = 2, .qpn = 3, .psn = 4, .count = 5},
	             {.gen = 6, .linked = 7, .qpn = 8, .psn = 9, .count = 10}},
	};
}

static void a_state_comes_back_as_it_was(void **state)
{
	struct rdma_state s = some_state(), got;
	uint8_t bytes[RDMA_STATE_LEN];

	(void)state;
	sl_rdma_put_state(bytes, &s);
	assert_int_equal(sl_rdma_get_state(bytes, sizeof(bytes), &got), 0);
	assert_int_equal(got.flags, s.flags);
	assert_memory_equal(&got.to, &s.to, sizeof(s.to));
	assert_memory_equal(&got.chan[1].count, &s.chan[1].count, 8);
	assert_int_equal(sl_rdma_get_state(bytes, sizeof(bytes) - 1, &got), -EPROTO);
	s.status = -ECONNREFUSED;
	s.flags = RDMA_GONE | RDMA_ROUNDABOUT;
	sl_rdma_put_state(bytes, &s);
	assert_int_equal(sl_rdma_get_state(bytes, sizeof(bytes), &got), 0);
	assert_int_equal(got.status, -ECONNREFUSED);
}

static void a_state_of_another_version_or_with_unknown_flags_is_refused(void **state)
{
	struct rdma_state s = some_state(), got;
	uint8_t bytes[RDMA_STATE_LEN];

	(void)state;
	for (size_t i = 0; i < 12; i++) { /* magic, version, flags */
		sl_rdma_put_state(bytes, &s);
		bytes[i] ^= 0x40;
		assert_int_equal(sl_rdma_get_state(bytes, sizeof(bytes), &got), -EPROTO);
	}
	s.status = 1;
	sl_rdma_put_state(bytes, &s);
	assert_int_equal(sl_rdma_get_state(bytes, sizeof(bytes), &got), -EPROTO);
}

static void a_record_is_one_of_two_kinds(void **state)
{
	struct rdma_record r = {.type = RDMA_CREDIT, .shift = 20, .arg = 3, .index = 4, .len = 5};
	struct rdma_record got;
	uint8_t bytes[RDMA_RECORD_LEN];

	(void)state;
	sl_rdma_put_record(bytes, &r);
	assert_int_equal(sl_rdma_get_record(bytes, sizeof(bytes), &got), 0);
	assert_int_equal(got.index, 4);
	r.shift = 31;
	sl_rdma_put_record(bytes, &r);
	assert_int_equal(sl_rdma_get_record(bytes, sizeof(bytes), &got), -EPROTO);
	r = (struct rdma_record){.type = RDMA_IMM, .arg = 3, .len = 5};
	sl_rdma_put_record(bytes, &r);
	assert_int_equal(sl_rdma_get_record(bytes, sizeof(bytes), &got), 0);
	r.index = 1;
	sl_rdma_put_record(bytes, &r);
	assert_int_equal(sl_rdma_get_record(bytes, sizeof(bytes), &got), -EPROTO);
	r = (struct rdma_record){.type = 3};
	sl_rdma_put_record(bytes, &r);
	assert_int_equal(sl_rdma_get_record(bytes, sizeof(bytes), &got), -EPROTO);
}

static void noise_is_refused_or_harmless(void **state)
{
	struct rdma_state s = some_state(), got;
	uint8_t bytes[RDMA_STATE_LEN];
	unsigned seed = 1;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		sl_rdma_put_state(bytes, &s);
		for (int k = 0; k < 3; k++)
			bytes[rand_r(&seed) % RDMA_STATE_LEN] = (uint8_t)rand_r(&seed);
		(void)sl_rdma_get_state(bytes, (size_t)rand_r(&seed) % (RDMA_STATE_LEN + 1), &got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_lane_comes_back_as_it_was),
	    cmocka_unit_test(an_address_that_cannot_be_is_refused),
	    cmocka_unit_test(a_region_that_wraps_is_refused),
	    cmocka_unit_test(a_state_comes_back_as_it_was),
	    cmocka_unit_test(a_state_of_another_version_or_with_unknown_flags_is_refused),
	    cmocka_unit_test(a_record_is_one_of_two_kinds),
	    cmocka_unit_test(noise_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
