/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_message.c - sends match receives in the order both were submitted. */
#include <errno.h>
#include <string.h>

#include "contract.h"

static const uint64_t sizes[] = {0, 1, 7, 64, 4095, 4096, 4097, 64 * KIB, MIB + 1, 4 * MIB};
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static void received(struct pair *p, slime_op *recv, uint64_t bytes)
{
	struct slime_result res = {0};

	CHECK_OK(pair_finish(p, recv, &res));
	CHECK_EQ(res.bytes, bytes);
	CHECK_EQ(res.flags & SLIME_RESULT_IMM, 0);
}

static void recv_before_send_takes_the_message(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 4 * MIB + 64});

	for (size_t i = 0; i < N_SIZES; i++) {
		slime_op *recv = start_recv(&p->b, 0, sizes[i]);

		pair_drive(p);
		memset(p->b.mem + sizes[i], 0x5a, 8);
		fill(p->a.mem + 8, sizes[i], i);
		CHECK_ENDS(p, start_send(&p->a, 8, sizes[i]), 0);
		received(p, recv, sizes[i]);
		CHECK_FILLED(p->b.mem, sizes[i], i);
		CHECK_EQ(p->b.mem[sizes[i]], 0x5a);
	}
	pair_destroy(p);
}

static void send_before_recv_waits_for_it(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 4 * MIB + 64});

	for (size_t i = 0; i < N_SIZES; i++) {
		slime_op *send;

		fill(p->a.mem, sizes[i], i);
		send = start_send(&p->a, 0, sizes[i]);
		pair_linger(p, 5 * NS_PER_MS);
		received(p, start_recv(&p->b, 8, sizes[i]), sizes[i]);
		CHECK_FILLED(p->b.mem + 8, sizes[i], i);
		CHECK_ENDS(p, send, 0);
	}
	pair_destroy(p);
}

static void a_receive_may_be_longer_than_its_message(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *recv = start_recv(&p->b, 0, MIB), *second = start_recv(&p->b, 0, 100);

	memset(p->b.mem, 0x5a, MIB);
	fill(p->a.mem, 1000, 1);
	CHECK_ENDS(p, start_send(&p->a, 0, 1000), 0);
	received(p, recv, 1000);
	CHECK_FILLED(p->b.mem, 1000, 1);
	CHECK_EQ(p->b.mem[1000], 0x5a);
	CHECK_ENDS(p, start_send(&p->a, 0, 0), 0);
	received(p, second, 0);
	pair_destroy(p);
}

/* Both submit sides run ahead of the other in turn. */
static void a_hundred_messages_keep_their_order(void)
{
	enum { N = 100, LEN = 1000 };
	struct pair *p = pair_create(NULL);
	slime_op *sends[N], *recvs[N];

	for (int recv_first = 0; recv_first < 2; recv_first++) {
		memset(p->b.mem, 0, (size_t)N * LEN);
		for (uint64_t i = 0; i < N; i++)
			fill(p->a.mem + i * LEN, LEN, i + 1);
		for (uint64_t i = 0; i < N && recv_first; i++)
			recvs[i] = start_recv(&p->b, i * LEN, LEN);
		for (uint64_t i = 0; i < N; i++)
			sends[i] = start_send(&p->a, i * LEN, LEN - i);
		for (uint64_t i = 0; i < N && !recv_first; i++)
			recvs[i] = start_recv(&p->b, i * LEN, LEN);
		for (uint64_t i = 0; i < N; i++) {
			CHECK_ENDS(p, sends[i], 0);
			received(p, recvs[i], LEN - i);
			CHECK_FILLED(p->b.mem + i * LEN, LEN - i, i + 1);
		}
	}
	pair_destroy(p);
}

/* Large ones and small ones take different ways in some transports. */
static void messages_of_mixed_sizes_keep_their_order(void)
{
	enum { N = 60 };
	struct pair *p = pair_create(&(struct pair_opts){.len = 16 * MIB});
	slime_op *sends[N], *recvs[N];
	uint64_t slot = 256 * KIB;

	for (uint64_t i = 0; i < N; i++) {
		uint64_t len = i % 3 ? i * 11 : slot - i;

		fill(p->a.mem + i * slot, len, i);
		if (i % 2)
			recvs[i] = start_recv(&p->b, i * slot, len);
		sends[i] = start_send(&p->a, i * slot, len);
		if (i % 2 == 0)
			recvs[i] = start_recv(&p->b, i * slot, len);
	}
	for (uint64_t i = 0; i < N; i++) {
		uint64_t len = i % 3 ? i * 11 : slot - i;

		CHECK_ENDS(p, sends[i], 0);
		received(p, recvs[i], len);
		CHECK_FILLED(p->b.mem + i * slot, len, i);
	}
	pair_destroy(p);
}

static void too_long(struct pair *p, uint64_t len, uint64_t room, bool recv_first)
{
	slime_op *recv = recv_first ? start_recv(&p->b, 0, room) : NULL, *send;

	memset(p->b.mem, 0x5a, room + 64);
	send = start_send(&p->a, 0, len);
	if (!recv) {
		pair_linger(p, 5 * NS_PER_MS);
		recv = start_recv(&p->b, 0, room);
	}
	CHECK_ENDS(p, send, -EMSGSIZE);
	CHECK_ENDS(p, recv, -EMSGSIZE);
	for (size_t i = room; i < room + 64; i++)
		CHECK_EQ(p->b.mem[i], 0x5a);
	pair_ping(p, len); /* that was one message's trouble, not the endpoint's */
}

static void a_message_longer_than_its_receive_fails_on_both_sides(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 2 * MIB});

	for (int recv_first = 0; recv_first < 2; recv_first++) {
		too_long(p, 1, 0, recv_first);
		too_long(p, 101, 100, recv_first);
		too_long(p, 64 * KIB, 4096, recv_first);
		too_long(p, 2 * MIB, MIB, recv_first);
	}
	pair_destroy(p);
}

static void messages_cross(void)
{
	enum { N = 50 };
	struct pair *p = pair_create(&(struct pair_opts){.len = 4 * MIB});

	for (uint64_t i = 0; i < N; i++) {
		uint64_t len = i % 10 == 0 ? MIB : i * 100;
		slime_op *ops[4];

		fill(p->a.mem, len, i);
		fill(p->b.mem, len, i + 1000);
		ops[0] = start_send(&p->a, 0, len);
		ops[1] = start_send(&p->b, 0, len);
		ops[2] = start_recv(&p->a, MIB, len);
		ops[3] = start_recv(&p->b, MIB, len);
		for (int k = 0; k < 4; k++)
			CHECK_ENDS(p, ops[k], 0);
		CHECK_FILLED(p->a.mem + MIB, len, i + 1000);
		CHECK_FILLED(p->b.mem + MIB, len, i);
	}
	pair_destroy(p);
}

/* Both fill the way to the other before either receives. */
static void large_messages_cross_without_deadlock(void)
{
	enum { N = 8 };
	struct pair *p = pair_create(&(struct pair_opts){.len = 2 * N * MIB});
	slime_op *ops[4 * N];

	fill(p->a.mem, N * MIB, 1);
	fill(p->b.mem, N * MIB, 2);
	for (uint64_t i = 0; i < N; i++) {
		ops[i] = start_send(&p->a, i * MIB, MIB);
		ops[N + i] = start_send(&p->b, i * MIB, MIB);
	}
	for (uint64_t i = 0; i < N; i++) {
		ops[2 * N + i] = start_recv(&p->a, (N + i) * MIB, MIB);
		ops[3 * N + i] = start_recv(&p->b, (N + i) * MIB, MIB);
	}
	for (int i = 0; i < 4 * N; i++)
		CHECK_ENDS(p, ops[i], 0);
	CHECK_FILLED(p->a.mem + N * MIB, N * MIB, 2);
	CHECK_FILLED(p->b.mem + N * MIB, N * MIB, 1);
	pair_destroy(p);
}

/* The transfers around messages go on while a message finds no receive. */
static void a_message_without_a_receive_does_not_block_others(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 8 * MIB});
	slime_op *send, *recv;

	fill(p->a.mem, 4 * MIB, 1);
	send = start_send(&p->a, 0, 4 * MIB);
	CHECK_ENDS(p, start_write(&p->a, 0, 4 * MIB, MIB), 0);
	CHECK_ENDS(p, start_read(&p->a, 4 * MIB, 4 * MIB, MIB), 0);
	CHECK_ENDS(p, start_write(&p->b, 4 * MIB, 6 * MIB, MIB), 0);
	CHECK_ENDS(p, start_write_imm(&p->a, 0, 4 * MIB, 10, 3), 0);
	CHECK_ENDS(p, start_recv_imm(&p->b), 0);
	recv = start_recv(&p->b, 0, 4 * MIB);
	received(p, recv, 4 * MIB);
	CHECK_ENDS(p, send, 0);
	CHECK_FILLED(p->b.mem, 4 * MIB, 1);
	CHECK_FILLED(p->a.mem + 4 * MIB, MIB, 1);
	pair_destroy(p);
}

/* A fence holds a transfer back until all before it are over. */
static void fence_starts_after_everything_before(void)
{
	struct slime_submit fence = {.size = sizeof(fence), .flags = SLIME_SUBMIT_FENCE};
	struct pair *p = pair_create(&(struct pair_opts){.len = HELD_UP + MIB});
	struct slime_seg seg = seg_of(&p->a, 0, 0, 100);
	slime_op *before = block_begin(p), *write = NULL, *imm = NULL;

	fill(p->a.mem, 100, 1);
	CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, &fence, &write));
	CHECK_OK(slime_ep_write_imm(p->a.ep, NULL, 0, 4, &fence, &imm));
	pair_pending(p, write);
	pair_pending(p, imm);
	CHECK_EQ(p->b.mem[50], 0);
	block_end(p, before);
	CHECK_ENDS(p, write, 0);
	CHECK_FILLED(p->b.mem, 100, 1);
	CHECK_ENDS(p, imm, 0);
	CHECK_ENDS(p, start_recv_imm(&p->b), 0);
	pair_destroy(p);
}

/* Write data, then a flag behind a fence: who sees the flag sees the data. */
static void fenced_flag_follows_its_data(void)
{
	struct slime_submit fence = {.size = sizeof(fence), .flags = SLIME_SUBMIT_FENCE};
	struct pair *p = pair_create(&(struct pair_opts){.len = 4 * MIB});

	for (uint64_t i = 0; i < rounds(30); i++) {
		slime_op *recv = start_recv_imm(&p->b), *data, *flag = NULL;

		fill(p->a.mem, 4 * MIB, i);
		data = start_write(&p->a, 0, 0, 4 * MIB);
		CHECK_OK(slime_ep_write_imm(p->a.ep, NULL, 0, 1, &fence, &flag));
		CHECK_ENDS(p, recv, 0);
		CHECK_FILLED(p->b.mem, 4 * MIB, i);
		CHECK_ENDS(p, data, 0);
		CHECK_ENDS(p, flag, 0);
	}
	pair_destroy(p);
}

const struct contract_case message_cases[] = {
    {"recv_before_send_takes_the_message", recv_before_send_takes_the_message, IN_ALL},
    {"send_before_recv_waits_for_it", send_before_recv_waits_for_it, IN_ALL},
    {"a_receive_may_be_longer_than_its_message", a_receive_may_be_longer_than_its_message,
     IN_MEMORY},
    {"a_hundred_messages_keep_their_order", a_hundred_messages_keep_their_order, IN_ALL},
    {"messages_of_mixed_sizes_keep_their_order", messages_of_mixed_sizes_keep_their_order, IN_ALL},
    {"a_message_longer_than_its_receive_fails_on_both_sides",
     a_message_longer_than_its_receive_fails_on_both_sides, IN_ALL},
    {"messages_cross", messages_cross, IN_ALL},
    {"large_messages_cross_without_deadlock", large_messages_cross_without_deadlock, IN_ALL},
    {"a_message_without_a_receive_does_not_block_others",
     a_message_without_a_receive_does_not_block_others, IN_ALL},
    {"fence_starts_after_everything_before", fence_starts_after_everything_before, IN_ALL},
    {"fenced_flag_follows_its_data", fenced_flag_follows_its_data, IN_ALL},
    {0},
};
