/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_imm.c - immediates arrive once, after all bytes of their batch. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"

/* OP, a recv_imm, ends well with IMM and BYTES. */
static void brings(struct pair *p, slime_op *op, uint32_t imm, uint64_t bytes)
{
	struct slime_result res = {0};

	CHECK_OK(pair_finish(p, op, &res));
	CHECK_EQ(res.imm, imm);
	CHECK_EQ(res.bytes, bytes);
	CHECK_EQ(res.flags & SLIME_RESULT_IMM, SLIME_RESULT_IMM);
	CHECK_EQ(res.status, 0);
}

static void start_bare_imm(struct pair *p, struct side *s, uint32_t imm)
{
	slime_op *op = NULL;

	CHECK_OK(slime_ep_write_imm(s->ep, NULL, 0, imm, NULL, &op));
	CHECK_ENDS(p, op, 0);
}

static void recv_imm_before_write_completes_once(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *first = start_recv_imm(&p->b), *second = start_recv_imm(&p->b);

	pair_pending(p, first);
	fill(p->a.mem, 5000, 1);
	CHECK_ENDS(p, start_write_imm(&p->a, 0, 0, 5000, 0xdeadbeef), 0);
	brings(p, first, 0xdeadbeef, 5000);
	CHECK_FILLED(p->b.mem, 5000, 1);
	pair_pending(p, second);
	CHECK_ENDS(p, start_write_imm(&p->a, 0, 0, 1, 0), 0);
	brings(p, second, 0, 1);
	pair_destroy(p);
}

static void recv_imm_after_write_completes_once(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *second;

	fill(p->a.mem, 5000, 1);
	CHECK_ENDS(p, start_write_imm(&p->a, 0, 0, 5000, UINT32_MAX), 0);
	CHECK_FILLED(p->b.mem, 5000, 1);
	brings(p, start_recv_imm(&p->b), UINT32_MAX, 5000);
	second = start_recv_imm(&p->b);
	pair_pending(p, second);
	start_bare_imm(p, &p->a, 3);
	brings(p, second, 3, 0);
	pair_destroy(p);
}

static void imm_needs_no_segments(void)
{
	struct pair *p = pair_create(NULL);

	for (uint32_t i = 0; i < 1000; i++) {
		slime_op *recv = i % 2 ? start_recv_imm(&p->b) : NULL;

		start_bare_imm(p, &p->a, i);
		brings(p, recv ? recv : start_recv_imm(&p->b), i, 0);
	}
	pair_destroy(p);
}

static void ten_thousand_immediates_wait_for_a_reader(void)
{
	enum { N = 10000 };
	struct pair *p = pair_create(NULL);
	slime_op *extra;

	for (uint32_t i = 0; i < N; i++)
		start_bare_imm(p, &p->a, i);
	for (uint32_t i = 0; i < N; i++)
		brings(p, start_recv_imm(&p->b), i, 0);
	extra = start_recv_imm(&p->b);
	pair_pending(p, extra);
	slime_op_cancel(extra);
	CHECK_ENDS(p, extra, -ECANCELED);
	pair_destroy(p);
}

static void imm_arrives_after_all_bytes(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 16 * MIB});

	for (uint32_t i = 0; i < rounds(5); i++) {
		slime_op *recv = start_recv_imm(&p->b), *write;

		fill(p->a.mem, p->a.len, i);
		write = start_write_imm(&p->a, 0, 0, p->a.len, i);
		brings(p, recv, i, p->a.len);
		CHECK_FILLED(p->b.mem, p->b.len, i);
		CHECK_ENDS(p, write, 0);
	}
	pair_destroy(p);
}

/* The reader of the immediate looks at the last byte of each piece at once. */
static void imm_arrives_after_all_bytes_of_small_writes(void)
{
	struct pair *p = pair_create(NULL);

	for (uint32_t i = 1; i < rounds(3000); i++) {
		uint64_t len = 8 + i * 17 % 9000;
		slime_op *recv = start_recv_imm(&p->b), *write;

		memcpy(p->a.mem, &i, sizeof(i));
		memcpy(p->a.mem + len - sizeof(i), &i, sizeof(i));
		write = start_write_imm(&p->a, 0, 0, len, i);
		brings(p, recv, i, len);
		CHECK(!memcmp(p->b.mem, &i, sizeof(i)));
		CHECK(!memcmp(p->b.mem + len - sizeof(i), &i, sizeof(i)));
		CHECK_ENDS(p, write, 0);
	}
	pair_destroy(p);
}

static void batch_with_imm_brings_one(void)
{
	enum { N = 4096 };
	struct pair *p = pair_create(NULL);
	struct slime_seg *segs = calloc(N, sizeof(*segs));
	slime_op *recv = start_recv_imm(&p->b), *extra = start_recv_imm(&p->b), *op = NULL;

	CHECK(segs != NULL);
	for (uint64_t i = 0; i < N; i++)
		segs[i] = seg_of(&p->a, i * 100, i * 200, 100);
	fill(p->a.mem, N * 100, 1);
	CHECK_OK(slime_ep_write_imm(p->a.ep, segs, N, 77, NULL, &op));
	free(segs);
	brings(p, recv, 77, N * 100);
	for (uint64_t i = 0; i < N; i++)
		CHECK(!memcmp(p->a.mem + i * 100, p->b.mem + i * 200, 100));
	CHECK_ENDS(p, op, 0);
	pair_pending(p, extra);
	slime_op_cancel(extra);
	CHECK_ENDS(p, extra, -ECANCELED);
	pair_destroy(p);
}

static void strided_write_with_imm_brings_all_bytes(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg = seg_of(&p->a, 0, 0, 64);
	slime_op *recv = start_recv_imm(&p->b), *op = NULL;

	seg.count = 4000;
	seg.local_stride = 64;
	seg.remote_stride = 256;
	fill(p->a.mem, 64 * 4000, 1);
	CHECK_OK(slime_ep_write_imm(p->a.ep, &seg, 1, 5, NULL, &op));
	brings(p, recv, 5, 64 * 4000);
	for (uint64_t i = 0; i < 4000; i++)
		CHECK(!memcmp(p->a.mem + i * 64, p->b.mem + i * 256, 64));
	CHECK_ENDS(p, op, 0);
	pair_destroy(p);
}

/* Many large ones at once, which may overtake each other on several lanes. */
static void each_of_many_immediates_comes_after_its_own_bytes(void)
{
	enum { N = 40, LEN = 300000 };
	struct pair *p = pair_create(&(struct pair_opts){.len = (size_t)N * LEN});
	slime_op *writes[N], *recvs[N];
	bool seen[N] = {false};

	for (uint32_t i = 0; i < N; i++) {
		fill(p->a.mem + (size_t)i * LEN, LEN, i);
		recvs[i] = start_recv_imm(&p->b);
	}
	for (uint32_t i = 0; i < N; i++)
		writes[i] = start_write_imm(&p->a, (uint64_t)i * LEN, (uint64_t)i * LEN, LEN, i);
	for (uint32_t i = 0; i < N; i++) {
		struct slime_result res;

		CHECK_OK(pair_finish(p, recvs[i], &res));
		CHECK(res.imm < N && !seen[res.imm]);
		seen[res.imm] = true;
		CHECK_EQ(res.bytes, LEN);
		CHECK_FILLED(p->b.mem + (size_t)res.imm * LEN, LEN, res.imm);
	}
	for (uint32_t i = 0; i < N; i++)
		CHECK_ENDS(p, writes[i], 0);
	pair_destroy(p);
}

static void immediates_cross(void)
{
	enum { N = 200 };
	struct pair *p = pair_create(NULL);

	for (uint32_t i = 0; i < N; i++) {
		slime_op *a = start_recv_imm(&p->a), *b = start_recv_imm(&p->b);
		slime_op *to_b = start_write_imm(&p->a, 0, 64, 64, i);
		slime_op *to_a = start_write_imm(&p->b, 0, 64, 32, ~i);

		brings(p, a, ~i, 32);
		brings(p, b, i, 64);
		CHECK_ENDS(p, to_b, 0);
		CHECK_ENDS(p, to_a, 0);
	}
	pair_destroy(p);
}

/* Messages and immediates have separate receivers. */
static void immediates_and_messages_do_not_mix(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *imm = start_recv_imm(&p->b), *recv;

	pair_ping(p, 100);
	pair_pending(p, imm);
	recv = start_recv(&p->b, 0, 100);
	start_bare_imm(p, &p->a, 9);
	brings(p, imm, 9, 0);
	pair_pending(p, recv);
	CHECK_ENDS(p, start_send(&p->a, 0, 50), 0);
	CHECK_ENDS(p, recv, 0);
	pair_destroy(p);
}

const struct contract_case imm_cases[] = {
    {"recv_imm_before_write_completes_once", recv_imm_before_write_completes_once, IN_ALL},
    {"recv_imm_after_write_completes_once", recv_imm_after_write_completes_once, IN_ALL},
    {"imm_needs_no_segments", imm_needs_no_segments, IN_ALL},
    {"ten_thousand_immediates_wait_for_a_reader", ten_thousand_immediates_wait_for_a_reader,
     IN_BASIC | IN(ONE) | IN(MANUAL)},
    {"imm_arrives_after_all_bytes", imm_arrives_after_all_bytes, IN_ALL},
    {"imm_arrives_after_all_bytes_of_small_writes", imm_arrives_after_all_bytes_of_small_writes,
     IN_ALL},
    {"batch_with_imm_brings_one", batch_with_imm_brings_one, IN_ALL},
    {"strided_write_with_imm_brings_all_bytes", strided_write_with_imm_brings_all_bytes, IN_MEMORY},
    {"each_of_many_immediates_comes_after_its_own_bytes",
     each_of_many_immediates_comes_after_its_own_bytes, IN_ALL},
    {"immediates_cross", immediates_cross, IN_ALL},
    {"immediates_and_messages_do_not_mix", immediates_and_messages_do_not_mix, IN_ALL},
    {0},
};
