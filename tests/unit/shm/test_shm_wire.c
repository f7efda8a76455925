/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/shm/shm_wire.h"

static const struct shm_card card = {
    .flags = SHM_NO_CMA,
    .uid = 1000,
    .proc = {.pid = 77, .start = 1234567890123, .pidns = 4026531836},
    .netns = 4026531840,
    .userns = 4026531837,
    .boot = "boot",
    .door = "door",
    .id = "id",
    .secret = "secret",
};

static const struct shm_ticket ticket = {
    .access = SLIME_ACCESS_REMOTE_READ,
    .shared = true,
    .proc = {.pid = 77, .start = 5, .pidns = 6},
    .addr = 0x7f0000001000,
    .len = 4096,
    .off = 64,
    .key = "key",
    .live_slot = 9,
    .live_number = 10,
};

static void a_card_comes_back_as_it_was(void **state)
{
	struct sl_blob blob;
	struct shm_card got;

	(void)state;
	sl_shm_card_put(&card, &blob);
	memset(&got, 0, sizeof(got));
	assert_int_equal(sl_shm_card_get(&blob, &got), 0);
	assert_int_equal(got.flags, card.flags);
	assert_int_equal(got.uid, card.uid);
	assert_int_equal(got.proc.pid, card.proc.pid);
	assert_int_equal(got.proc.start, card.proc.start);
	assert_int_equal(got.proc.pidns, card.proc.pidns);
	assert_int_equal(got.netns, card.netns);
	assert_int_equal(got.userns, card.userns);
	assert_memory_equal(got.boot, card.boot, SHM_ID_LEN);
	assert_memory_equal(got.door, card.door, SHM_ID_LEN);
	assert_memory_equal(got.id, card.id, SHM_ID_LEN);
	assert_memory_equal(got.secret, card.secret, SHM_ID_LEN);
}

static void a_ticket_comes_back_as_it_was(void **state)
{
	struct sl_blob blob;
	struct shm_ticket got;

	(void)state;
	sl_shm_ticket_put(&ticket, &blob);
	assert_int_equal(sl_shm_ticket_get(&blob, &got), 0);
	assert_int_equal(got.access, ticket.access);
	assert_true(got.shared);
	assert_int_equal(got.addr, ticket.addr);
	assert_int_equal(got.len, ticket.len);
	assert_int_equal(got.off, ticket.off);
	assert_int_equal(got.live_slot, 9);
	assert_int_equal(got.live_number, 10);
	assert_memory_equal(got.key, ticket.key, SHM_ID_LEN);
}

static void descriptions_of_another_length_or_version_are_refused(void **state)
{
	struct sl_blob blob, bad;
	struct shm_card c;
	struct shm_ticket t;

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		if (kind)
			sl_shm_ticket_put(&ticket, &blob);
		else
			sl_shm_card_put(&card, &blob);
		for (uint32_t len = 0; len <= sizeof(blob.bytes); len++) {
			if (len == blob.len)
				continue;
			bad = blob;
			bad.len = len;
			assert_int_equal(sl_shm_card_get(&bad, &c), -EPROTO);
			assert_int_equal(sl_shm_ticket_get(&bad, &t), -EPROTO);
		}
		for (int i = 0; i < 4; i++) {
			bad = blob;
			bad.bytes[i] ^= 1;
			assert_int_equal(sl_shm_card_get(&bad, &c), -EPROTO);
			assert_int_equal(sl_shm_ticket_get(&bad, &t), -EPROTO);
		}
	}
	bad.len = UINT32_MAX;
	assert_int_equal(sl_shm_card_get(&bad, &c), -EPROTO);
}

static void a_ticket_that_wraps_is_refused(void **state)
{
	struct shm_ticket t = ticket;
	struct sl_blob blob;

	(void)state;
	t.len = UINT64_MAX;
	sl_shm_ticket_put(&t, &blob);
	assert_int_equal(sl_shm_ticket_get(&blob, &t), -EPROTO);
	t = ticket;
	t.addr = 0;
	t.off = UINT64_MAX;
	sl_shm_ticket_put(&t, &blob);
	assert_int_equal(sl_shm_ticket_get(&blob, &t), -EPROTO);
	t = ticket;
	t.access = 4;
	sl_shm_ticket_put(&t, &blob);
	assert_int_equal(sl_shm_ticket_get(&blob, &t), -EPROTO);
}

static void each_message_comes_back_as_it_was(void **state)
{
	uint8_t buf[SHM_MSG_MAX];

	(void)state;
	for (int type = SHM_KNOCK; type <= SHM_BELL; type++) {
		struct shm_msg msg = {
		    .type = (enum shm_msg_type)type, .cma = true, .status = -EACCES};
		struct shm_msg got;
		size_t len;

		memset(msg.to, 1, sizeof(msg.to));
		memset(msg.from_secret, 2, sizeof(msg.from_secret));
		memset(msg.key, 3, sizeof(msg.key));
		msg.nonce_addr = 0x1234;
		strcpy(msg.text, "no");
		len = sl_shm_msg_put(&msg, buf);
		assert_true(len <= SHM_MSG_MAX);
		assert_int_equal(sl_shm_msg_get(buf, len, &got), 0);
		assert_int_equal(got.type, type);
		if (type <= SHM_ACCEPT) {
			assert_memory_equal(got.to, msg.to, SHM_ID_LEN);
			assert_memory_equal(got.from_secret, msg.from_secret, SHM_ID_LEN);
			assert_int_equal(got.nonce_addr, 0x1234);
		}
		if (type == SHM_COMMIT)
			assert_true(got.cma);
		if (type == SHM_REFUSE) {
			assert_int_equal(got.status, -EACCES);
			assert_string_equal(got.text, "no");
		}
		if (type == SHM_GIVE)
			assert_memory_equal(got.key, msg.key, SHM_ID_LEN);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(sl_shm_msg_get(buf, cut, &got), -EPROTO);
		if (len < SHM_MSG_MAX) {
			buf[len] = 0;
			assert_int_equal(sl_shm_msg_get(buf, len + 1, &got), -EPROTO);
		}
	}
}

static void words_from_outside_are_printable_and_end(void **state)
{
	struct shm_msg msg = {.type = SHM_REFUSE, .status = -EACCES};
	uint8_t buf[SHM_MSG_MAX];
	struct shm_msg got;
	size_t len;

	(void)state;
	memset(msg.text, '\x1b', sizeof(msg.text));
	len = sl_shm_msg_put(&msg, buf);
	assert_int_equal(sl_shm_msg_get(buf, len, &got), 0);
	assert_int_equal(strlen(got.text), SHM_TEXT_MAX - 1);
	assert_int_equal(strspn(got.text, "?"), SHM_TEXT_MAX - 1);
}

static void noise_is_refused_or_harmless(void **state)
{
	uint8_t buf[SHM_MSG_MAX];
	struct shm_msg msg = {.type = SHM_HELLO}, got;
	size_t len = sl_shm_msg_put(&msg, buf);
	unsigned seed = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint8_t noise[SHM_MSG_MAX];

		memcpy(noise, buf, len);
		for (int k = 0; k < 3; k++)
			noise[rand_r(&seed) % SHM_MSG_MAX] = (uint8_t)rand_r(&seed);
		(void)sl_shm_msg_get(noise, (size_t)rand_r(&seed) % (SHM_MSG_MAX + 1), &got);
	}
	assert_int_equal(sl_shm_msg_get(buf, SHM_MSG_MAX + 1, &got), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_card_comes_back_as_it_was),
	    cmocka_unit_test(a_ticket_comes_back_as_it_was),
	    cmocka_unit_test(descriptions_of_another_length_or_version_are_refused),
	    cmocka_unit_test(a_ticket_that_wraps_is_refused),
	    cmocka_unit_test(each_message_comes_back_as_it_was),
	    cmocka_unit_test(words_from_outside_are_printable_and_end),
	    cmocka_unit_test(noise_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
