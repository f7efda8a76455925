/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_data.c - reads and writes put the right bytes in the right place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contract.h"

enum { GAP = 64, CANARY = 0xA5 };

static const size_t sizes[] = {
    0, 1, 7, 8, 63, 64, 4095, 4096, 4097, 64 * KIB, 64 * KIB + 1, MIB, MIB + 1, 16 * MIB,
};
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };
enum { BIGGEST = 16 * 1024 * 1024 + 2 * GAP };

static void check_canary(const char *mem, size_t len)
{
	for (size_t i = 0; i < len; i++)
		CHECK_EQ((unsigned char)mem[i], CANARY);
}

/* LEN bytes went from FROM to TO; nothing around TO changed, FROM neither. */
static void check_moved(const char *from, const char *to, size_t len, uint64_t seed)
{
	check_canary(to - GAP, GAP);
	CHECK_FILLED(to, len, seed);
	check_canary(to + len, GAP);
	CHECK_FILLED(from, len, seed);
}

static void one_size(struct pair *p, bool write, size_t len)
{
	char *from = (write ? p->a.mem : p->b.mem) + GAP + 1;
	char *to = (write ? p->b.mem : p->a.mem) + GAP;
	struct slime_result res = {0};
	uint64_t off = write ? GAP + 1 : GAP, roff = write ? GAP : GAP + 1;
	slime_op *op;

	memset(to - GAP, CANARY, len + 2 * (size_t)GAP);
	fill(from, len, len);
	op = write ? start_write(&p->a, off, roff, len) : start_read(&p->a, off, roff, len);
	CHECK_OK(pair_finish(p, op, &res));
	CHECK_EQ(res.bytes, len);
	CHECK_EQ(res.status, 0);
	CHECK_EQ(res.flags & SLIME_RESULT_IMM, 0);
	check_moved(from, to, len, len);
}

static void write_moves_every_size(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = BIGGEST});

	for (size_t i = 0; i < N_SIZES; i++)
		one_size(p, true, sizes[i]);
	pair_destroy(p);
}

static void read_moves_every_size(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = BIGGEST});

	for (size_t i = 0; i < N_SIZES; i++)
		one_size(p, false, sizes[i]);
	pair_destroy(p);
}

static void one_gibibyte(bool write)
{
	struct pair *p;
	long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	if (!getenv("DLSLIME_TEST_BIG"))
		test_skip("set DLSLIME_TEST_BIG=1 to move a gibibyte");
	if (pages < (4L << 30) / page)
		test_skip("less than 4 GiB of memory is free");
	p = pair_create(&(struct pair_opts){.len = (1UL << 30) + 2 * (size_t)GAP + 1});
	one_size(p, write, 1UL << 30);
	pair_destroy(p);
}

static void write_moves_one_gibibyte(void)
{
	one_gibibyte(true);
}

static void read_moves_one_gibibyte(void)
{
	one_gibibyte(false);
}

static const size_t batches[] = {1, 2, 16, 17, 255, 4096, 65536};
enum { N_BATCHES = sizeof(batches) / sizeof(batches[0]), PIECE = 24, STEP = 32 };

/* Piece i goes to place (i * odd) mod n, which is a permutation when n is a power of two. */
static size_t place(size_t i, size_t n)
{
	return n & (n - 1) ? n - 1 - i : i * 40503 % n;
}

static struct slime_seg *scattered(const struct side *s, size_t n)
{
	struct slime_seg *segs = calloc(n, sizeof(*segs));

	CHECK(segs != NULL);
	for (size_t i = 0; i < n; i++)
		segs[i] = seg_of(s, i * STEP, place(i, n) * STEP, PIECE);
	return segs;
}

static void batch_of(struct pair *p, bool write, size_t n)
{
	struct slime_seg *segs = scattered(&p->a, n);
	struct slime_result res;
	slime_op *op = NULL;

	memset(write ? p->b.mem : p->a.mem, CANARY, n * STEP);
	fill(write ? p->a.mem : p->b.mem, n * STEP, n);
	if (write)
		CHECK_OK(slime_ep_write(p->a.ep, segs, n, NULL, &op));
	else
		CHECK_OK(slime_ep_read(p->a.ep, segs, n, NULL, &op));
	memset(segs, 0xff, n * sizeof(*segs)); /* may go as soon as the call returns */
	free(segs);
	CHECK_OK(pair_finish(p, op, &res));
	CHECK_EQ(res.bytes, n * PIECE);
	for (size_t i = 0; i < n; i++) {
		char *here = p->a.mem + i * STEP, *there = p->b.mem + place(i, n) * STEP;

		CHECK(!memcmp(here, there, PIECE));
		check_canary((write ? there : here) + PIECE, STEP - PIECE);
	}
	CHECK_FILLED(write ? p->a.mem : p->b.mem, n * STEP, n);
}

static void batches_of_writes_scatter(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 65536 * STEP});

	for (size_t i = 0; i < N_BATCHES; i++)
		batch_of(p, true, batches[i]);
	pair_destroy(p);
}

static void batches_of_reads_gather(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 65536 * STEP});

	for (size_t i = 0; i < N_BATCHES; i++)
		batch_of(p, false, batches[i]);
	pair_destroy(p);
}

static void batch_of_65537_is_refused(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg *segs = calloc(65537, sizeof(*segs));
	slime_op *op = NULL;

	CHECK(segs != NULL);
	for (size_t i = 0; i < 65537; i++)
		segs[i] = seg_of(&p->a, i, i, 1);
	CHECK_RC(slime_ep_read(p->a.ep, segs, 65537, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_write(p->a.ep, segs, 65537, NULL, &op), -EINVAL);
	CHECK_RC(slime_ep_write_imm(p->a.ep, segs, 65537, 1, NULL, &op), -EINVAL);
	CHECK(op == NULL);
	free(segs);
	pair_destroy(p);
}

static void empty_segments_in_a_batch_do_nothing(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg segs[3];
	struct slime_result res;
	slime_op *op = NULL;

	memset(p->b.mem, CANARY, 4096);
	fill(p->a.mem, 4096, 9);
	segs[0] = seg_of(&p->a, 0, 100, 0);
	segs[1] = seg_of(&p->a, 0, 200, 50);
	segs[2] = seg_of(&p->a, p->a.len, p->b.len, 0); /* just behind the end is inside */
	CHECK_OK(slime_ep_write(p->a.ep, segs, 3, NULL, &op));
	CHECK_OK(pair_finish(p, op, &res));
	CHECK_EQ(res.bytes, 50);
	check_canary(p->b.mem, 200);
	CHECK_FILLED(p->b.mem + 200, 50, 9);
	check_canary(p->b.mem + 250, 4096 - 250);
	pair_destroy(p);
}

static void no_bytes_any_number_of_times_are_over_at_once(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg = seg_of(&p->a, 0, 0, 0);
	struct slime_result res;
	slime_op *op = NULL;

	seg.count = UINT64_MAX;
	CHECK_OK(slime_ep_write_imm(p->a.ep, &seg, 1, 5, NULL, &op));
	CHECK_OK(pair_finish(p, op, &res));
	CHECK_EQ(res.bytes, 0);
	CHECK_ENDS(p, start_recv_imm(&p->b), 0);
	CHECK_OK(slime_ep_read(p->a.ep, &seg, 1, NULL, &op));
	CHECK_ENDS(p, op, 0);
	pair_destroy(p);
}

/* A batch of segments of mixed sizes, so that transports that coalesce have something to get wrong.
 */
static void batches_of_mixed_sizes_arrive(void)
{
	enum { N = 300 };
	struct pair *p = pair_create(&(struct pair_opts){.len = 8 * MIB});
	struct slime_seg segs[N];
	uint64_t at = 0;
	slime_op *op = NULL;

	for (uint64_t i = 0; i < N; i++) {
		uint64_t len = i % 50 == 49 ? 100000 + i : i * 7 % 911;

		segs[i] = seg_of(&p->a, at, at + i, len);
		at += len;
	}
	fill(p->a.mem, p->a.len, 3);
	CHECK_OK(slime_ep_write(p->a.ep, segs, N, NULL, &op));
	CHECK_ENDS(p, op, 0);
	for (uint64_t i = 0; i < N; i++)
		CHECK(!memcmp(p->a.mem + segs[i].local_off, p->b.mem + segs[i].remote_off,
		              segs[i].len));
	memset(p->a.mem, 0, p->a.len);
	CHECK_OK(slime_ep_read(p->a.ep, segs, N, NULL, &op));
	CHECK_ENDS(p, op, 0);
	CHECK_FILLED(p->a.mem, at, 3);
	pair_destroy(p);
}

/* COUNT runs of 16 bytes; 48 apart here, 80 apart there. */
static void strided(struct pair *p, bool write, uint64_t count)
{
	struct slime_seg seg = seg_of(&p->a, 8, 24, 16);
	uint64_t n = count ? count : 1;
	char *to = write ? p->b.mem + 24 : p->a.mem + 8;
	size_t step = write ? 80 : 48;
	struct slime_result res;
	slime_op *op = NULL;

	seg.count = count;
	seg.local_stride = count ? 48 : UINT64_MAX; /* not read when COUNT is 0 */
	seg.remote_stride = count ? 80 : UINT64_MAX;
	memset(write ? p->b.mem : p->a.mem, CANARY, p->a.len);
	fill(write ? p->a.mem : p->b.mem, p->a.len, count);
	if (write)
		CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, NULL, &op));
	else
		CHECK_OK(slime_ep_read(p->a.ep, &seg, 1, NULL, &op));
	CHECK_OK(pair_finish(p, op, &res));
	CHECK_EQ(res.bytes, n * 16);
	for (uint64_t i = 0; i < n; i++) {
		CHECK(!memcmp(p->a.mem + 8 + i * 48, p->b.mem + 24 + i * 80, 16));
		check_canary(to + i * step + 16, step - 16);
	}
	CHECK_FILLED(write ? p->a.mem : p->b.mem, p->a.len, count);
}

static void strided_segments_place_columns(void)
{
	static const uint64_t counts[] = {0, 1, 2, 15, 16, 17, 4096, 12345};
	struct pair *p = pair_create(NULL);

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		strided(p, true, counts[i]);
		strided(p, false, counts[i]);
	}
	pair_destroy(p);
}

/* Stride 0: one piece goes to, or comes from, many places. */
static void stride_of_zero_repeats_a_piece(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg = seg_of(&p->a, 0, 0, 32);
	slime_op *op = NULL;

	seg.count = 4096;
	seg.remote_stride = 64;
	fill(p->a.mem, 32, 1);
	CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, NULL, &op));
	CHECK_ENDS(p, op, 0);
	for (size_t i = 0; i < 4096; i++)
		CHECK_FILLED(p->b.mem + i * 64, 32, 1);
	seg.local_stride = 128;
	seg.remote_stride = 0;
	fill(p->b.mem, 32, 2);
	CHECK_OK(slime_ep_read(p->a.ep, &seg, 1, NULL, &op));
	CHECK_ENDS(p, op, 0);
	for (size_t i = 0; i < 4096; i++)
		CHECK_FILLED(p->a.mem + i * 128, 32, 2);
	pair_destroy(p);
}

/* Runs that lie side by side make one long piece; large runs make many large ones. */
static void strided_segments_of_large_runs_arrive(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 8 * MIB});
	struct slime_seg seg = seg_of(&p->a, 0, 0, MIB + 1);
	slime_op *op = NULL;

	seg.count = 6;
	seg.local_stride = MIB + 1;
	seg.remote_stride = MIB + 5000;
	fill(p->a.mem, p->a.len, 4);
	CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, NULL, &op));
	CHECK_ENDS(p, op, 0);
	for (uint64_t i = 0; i < 6; i++)
		CHECK(!memcmp(p->a.mem + i * (MIB + 1), p->b.mem + i * (MIB + 5000), MIB + 1));
	memset(p->a.mem, 0, p->a.len);
	CHECK_OK(slime_ep_read(p->a.ep, &seg, 1, NULL, &op));
	CHECK_ENDS(p, op, 0);
	CHECK_FILLED(p->a.mem, 6 * (MIB + 1), 4);
	pair_destroy(p);
}

/* The promise that other libraries break: look at the peer's memory at once. */
static void write_is_in_the_peers_memory_when_it_completes(void)
{
	static const uint64_t lens[] = {8, 4096, 64 * KIB};
	struct pair *p = pair_create(NULL);

	for (size_t k = 0; k < 3; k++) {
		uint64_t len = lens[k], n = rounds(len > 4096 ? 2000 : 10000);

		for (uint64_t i = 1; i <= n; i++) {
			uint64_t tail = i << 8 | k;

			memcpy(p->a.mem, &tail, 8);
			memcpy(p->a.mem + len - 8, &tail, 8);
			CHECK_ENDS(p, start_write(&p->a, 0, 0, len), 0);
			CHECK(!memcmp(p->b.mem, &tail, 8));
			CHECK(!memcmp(p->b.mem + len - 8, &tail, 8));
		}
	}
	pair_destroy(p);
}

static void transfers_in_flight_do_not_mix(void)
{
	enum { N = 200 };
	struct pair *p = pair_create(&(struct pair_opts){.len = 2 * N * 8 * KIB});
	slime_op *ops[N];

	fill(p->a.mem, N * 8 * KIB, 1);
	fill(p->b.mem + N * 8 * KIB, N * 8 * KIB, 2);
	for (uint64_t i = 0; i < N; i++) {
		uint64_t off = i * 8 * KIB;

		if (i % 2)
			ops[i] = start_write(&p->a, off, off, 8 * KIB);
		else
			ops[i] = start_read(&p->a, N * 8 * KIB + off, N * 8 * KIB + off, 8 * KIB);
	}
	for (uint64_t i = 0; i < N; i++) {
		uint64_t off = (i % 2 ? i : N + i) * 8 * KIB;

		CHECK_ENDS(p, ops[i], 0);
		CHECK(!memcmp(p->a.mem + off, p->b.mem + off, 8 * KIB));
	}
	pair_destroy(p);
}

static void both_sides_read_and_write_at_once(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 4 * MIB});

	fill(p->a.mem, MIB, 1);
	fill(p->b.mem, MIB, 2);
	for (uint64_t i = 0; i < rounds(20); i++) {
		slime_op *ops[4] = {
		    start_write(&p->a, 0, MIB, MIB),
		    start_write(&p->b, 0, MIB, MIB),
		    start_read(&p->a, 2 * MIB, 0, MIB),
		    start_read(&p->b, 2 * MIB, 0, MIB),
		};

		for (int k = 0; k < 4; k++)
			CHECK_ENDS(p, ops[k], 0);
		CHECK_FILLED(p->b.mem + MIB, MIB, 1);
		CHECK_FILLED(p->a.mem + MIB, MIB, 2);
		CHECK_FILLED(p->a.mem + 2 * MIB, MIB, 2);
		CHECK_FILLED(p->b.mem + 2 * MIB, MIB, 1);
		memset(p->a.mem + MIB, 0, 2 * MIB);
		memset(p->b.mem + MIB, 0, 2 * MIB);
	}
	pair_destroy(p);
}

/* One side's memory is mapped by both, the other's is not. */
static void memory_of_two_kinds_mixes(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	char *plain = malloc(64 * KIB);
	struct slime_desc desc;
	struct side s = p->a;
	slime_op *op;

	CHECK(plain != NULL);
	CHECK_OK(slime_mr_register(p->b.ctx, plain, 64 * KIB, &opts, &s.mr, &test_err));
	CHECK_OK(slime_mr_export(s.mr, &desc, &test_err));
	CHECK_OK(slime_ep_import(p->a.ep, &desc, &s.rmr, &test_err));
	slime_mr_deregister(p->b.mr);
	p->b.mr = s.mr;
	s.mr = p->a.mr;
	fill(p->a.mem, 64 * KIB, 1);
	op = start_write(&s, 0, 0, 64 * KIB);
	CHECK_ENDS(p, op, 0);
	CHECK_FILLED(plain, 64 * KIB, 1);
	op = start_read(&s, 100 * KIB, 0, 64 * KIB);
	CHECK_ENDS(p, op, 0);
	CHECK_FILLED(p->a.mem + 100 * KIB, 64 * KIB, 1);
	slime_rmr_release(s.rmr);
	pair_destroy(p);
	free(plain);
}

static void region_inside_an_allocation_has_its_own_offsets(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	struct side s = p->a;
	struct slime_desc desc;
	slime_mr *mr = NULL;

	CHECK_OK(slime_mr_register(p->b.ctx, p->b.mem + 12345, 1000, &opts, &mr, &test_err));
	CHECK_OK(slime_mr_export(mr, &desc, &test_err));
	CHECK_OK(slime_ep_import(p->a.ep, &desc, &s.rmr, &test_err));
	memset(p->b.mem, CANARY, 20000);
	fill(p->a.mem, 1000, 6);
	CHECK_ENDS(p, start_write(&s, 0, 0, 1000), 0);
	CHECK_FILLED(p->b.mem + 12345, 1000, 6);
	check_canary(p->b.mem, 12345);
	check_canary(p->b.mem + 13345, 20000 - 13345);
	slime_rmr_release(s.rmr);
	slime_mr_deregister(mr);
	pair_destroy(p);
}

const struct contract_case data_cases[] = {
    {"write_moves_every_size", write_moves_every_size, IN_ALL},
    {"read_moves_every_size", read_moves_every_size, IN_ALL},
    {"write_moves_one_gibibyte", write_moves_one_gibibyte, IN_MEMORY},
    {"read_moves_one_gibibyte", read_moves_one_gibibyte, IN_MEMORY},
    {"batches_of_writes_scatter", batches_of_writes_scatter, IN_ALL},
    {"batches_of_reads_gather", batches_of_reads_gather, IN_ALL},
    {"batch_of_65537_is_refused", batch_of_65537_is_refused, IN_BASIC},
    {"empty_segments_in_a_batch_do_nothing", empty_segments_in_a_batch_do_nothing, IN_MEMORY},
    {"no_bytes_any_number_of_times_are_over_at_once", no_bytes_any_number_of_times_are_over_at_once,
     IN_MEMORY},
    {"batches_of_mixed_sizes_arrive", batches_of_mixed_sizes_arrive, IN_ALL},
    {"strided_segments_place_columns", strided_segments_place_columns, IN_ALL},
    {"stride_of_zero_repeats_a_piece", stride_of_zero_repeats_a_piece, IN_MEMORY},
    {"strided_segments_of_large_runs_arrive", strided_segments_of_large_runs_arrive, IN_MEMORY},
    {"write_is_in_the_peers_memory_when_it_completes",
     write_is_in_the_peers_memory_when_it_completes, IN_ALL},
    {"transfers_in_flight_do_not_mix", transfers_in_flight_do_not_mix, IN_ALL},
    {"both_sides_read_and_write_at_once", both_sides_read_and_write_at_once, IN_ALL},
    {"memory_of_two_kinds_mixes", memory_of_two_kinds_mixes, IN_BASIC | IN(MALLOC)},
    {"region_inside_an_allocation_has_its_own_offsets",
     region_inside_an_allocation_has_its_own_offsets, IN_BASIC | IN(MALLOC)},
    {0},
};
