/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"

/* Each test runs over mapped memory and over CMA. */
static const struct pair_opts mapped;
static const struct pair_opts by_cma = {.malloced = true};

static struct pair *open_ready(const struct pair_opts *opts)
{
	struct pair *p = pair_open(opts);

	if (!opts->malloced)
		pair_map(p);
	return p;
}

static void sizes(const struct pair_opts *opts)
{
	static const uint64_t lens[] = {
	    0, 1, 8, 4095, 4097, SHM_PIECE, SHM_PIECE + 1, SIDE_LEN - 64};
	struct pair *p = open_ready(opts);
	static struct job j;

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		fill(p->a.mem, lens[i], 1);
		memset(p->b.mem, 0, SIDE_LEN);
		assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 3, lens[i]), 0);
		assert_ended(&j, 0);
		assert_int_equal(j.bytes, lens[i]);
		assert_filled(p->b.mem + 3, lens[i], 1);
		assert_int_equal(p->b.mem[2], 0);
		assert_int_equal(p->b.mem[lens[i] + 3], 0);
		memset(p->a.mem, 0, lens[i]);
		assert_int_equal(start_move(&j, &p->a, SL_OP_READ, 1, 3, lens[i]), 0);
		assert_ended(&j, 0);
		assert_filled(p->a.mem + 1, lens[i], 1);
	}
	pair_close(p);
}

static void every_size_arrives_mapped(void **state)
{
	(void)state;
	sizes(&mapped);
}

static void every_size_arrives_by_cma(void **state)
{
	(void)state;
	sizes(&by_cma);
}

/* A description may promise more than there is: then the endpoint layer lets this through. */
static void outside(const struct pair_opts *opts)
{
	static const struct sl_iov wrong[] = {
	    {.roff = SIDE_LEN, .len = 1, .count = 1},
	    {.roff = SIDE_LEN - 1, .len = 2, .count = 1},
	    {.roff = 0, .len = SIDE_LEN + 1, .count = 1},
	    {.roff = UINT64_MAX - 1, .len = 2, .count = 1},
	    {.roff = 1, .len = 1, .count = 2, .stride = 1, .rstride = SIDE_LEN - 1},
	    {.roff = 0, .len = 1, .count = 3, .stride = 1, .rstride = UINT64_C(1) << 63},
	};
	struct pair *p = open_ready(opts);
	static struct job j;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		for (int read = 0; read < 2; read++) {
			struct sl_iov v = piece(&p->a, 0, 0, 1);

			j.iov[0] = wrong[i];
			j.iov[0].addr = v.addr;
			j.iov[0].reg = v.reg;
			j.iov[0].rreg = v.rreg;
			assert_int_equal(start(&j, &p->a, read ? SL_OP_READ : SL_OP_WRITE, 1), 0);
			assert_ended(&j, -ERANGE);
		}
	pair_close(p);
}

static void nothing_outside_the_region_is_touched_mapped(void **state)
{
	(void)state;
	outside(&mapped);
}

static void nothing_outside_the_region_is_touched_by_cma(void **state)
{
	(void)state;
	outside(&by_cma);
}

/* More pieces than one system call takes, of lengths that are not alike, some of none. */
static void many(const struct pair_opts *opts)
{
	struct pair *p = open_ready(opts);
	static struct job j;
	uint64_t off = 0;

	for (int i = 0; i < JOB_IOVS; i++) {
		uint64_t len = (uint64_t)i % 7 ? (uint64_t)(i * 37) % 1500 : 0;

		j.iov[i] = piece(&p->a, off, SIDE_LEN / 2 - off / 2, len);
		j.iov[i].roff = off + 5;
		off += len;
	}
	fill(p->a.mem, off, 2);
	assert_int_equal(start(&j, &p->a, SL_OP_WRITE, JOB_IOVS), 0);
	assert_ended(&j, 0);
	assert_int_equal(j.bytes, off);
	assert_filled(p->b.mem + 5, off, 2);
	memset(p->a.mem, 0, off);
	assert_int_equal(start(&j, &p->a, SL_OP_READ, JOB_IOVS), 0);
	assert_ended(&j, 0);
	assert_filled(p->a.mem, off, 2);
	pair_close(p);
}

static void many_pieces_arrive_mapped(void **state)
{
	(void)state;
	many(&mapped);
}

static void many_pieces_arrive_by_cma(void **state)
{
	(void)state;
	many(&by_cma);
}

static void strided(const struct pair_opts *opts)
{
	struct pair *p = open_ready(opts);
	static struct job j;

	fill(p->a.mem, SIDE_LEN, 3);
	j.iov[0] = piece(&p->a, 0, 0, 100);
	j.iov[0].count = 4000;
	j.iov[0].stride = 200;
	j.iov[0].rstride = 300;
	assert_int_equal(start(&j, &p->a, SL_OP_WRITE, 1), 0);
	assert_ended(&j, 0);
	assert_int_equal(j.bytes, 400000);
	for (int i = 0; i < 4000; i++) {
		assert_memory_equal(p->b.mem + i * 300, p->a.mem + i * 200, 100);
		assert_int_equal(p->b.mem[i * 300 + 100], 0);
	}
	pair_close(p);
}

static void strides_are_expanded_mapped(void **state)
{
	(void)state;
	strided(&mapped);
}

static void strides_are_expanded_by_cma(void **state)
{
	(void)state;
	strided(&by_cma);
}

/* Regions of both sorts in one op. */
static void mapped_and_other_memory_mix_in_one_op(void **state)
{
	struct pair *p = open_ready(&mapped);
	char *heap = malloc(SIDE_LEN);
	struct sl_mem mem = {.addr = heap, .len = SIDE_LEN, .kind = SLIME_MEM_HOST};
	struct sl_reg *reg;
	struct sl_rreg *rreg;
	struct sl_blob blob;
	static struct job j;

	(void)state;
	assert_non_null(heap);
	assert_int_equal(shm->reg(p->b.dom, &mem, SLIME_ACCESS_REMOTE, &reg, NULL), 0);
	assert_int_equal(shm->reg_pack(reg, &blob, NULL), 0);
	assert_int_equal(shm->rreg_unpack(p->a.conn, &blob, &rreg, NULL), 0);
	fill(p->a.mem, 1000, 4);
	for (int i = 0; i < 1000; i++) {
		j.iov[i] = piece(&p->a, (uint64_t)i, (uint64_t)i, 1);
		if (i % 3)
			j.iov[i].rreg = rreg;
	}
	assert_int_equal(start(&j, &p->a, SL_OP_WRITE, 1000), 0);
	assert_ended(&j, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(i % 3 ? heap[i] : p->b.mem[i], p->a.mem[i]);
	shm->rreg_free(rreg);
	shm->unreg(reg);
	free(heap);
	pair_close(p);
}

static void pieces_outside_the_region_are_refused(void **state)
{
	struct pair *p = open_ready(&mapped);
	static struct job j;
	static const struct {
		uint64_t roff, len, count, rstride;
	} bad[] = {
	    {SIDE_LEN, 1, 1, 0},
	    {SIDE_LEN + 1, 0, 1, 0},
	    {0, SIDE_LEN + 1, 1, 0},
	    {UINT64_MAX, 2, 1, 0},
	    {1, UINT64_MAX, 1, 0},
	    {0, 8, 2, SIDE_LEN - 7},
	    {0, 8, UINT64_MAX, UINT64_MAX / 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		j.iov[0] = piece(&p->a, 0, bad[i].roff, bad[i].len);
		j.iov[0].count = bad[i].count;
		j.iov[0].rstride = bad[i].rstride;
		assert_int_equal(start(&j, &p->a, SL_OP_WRITE, 1), 0);
		assert_ended(&j, -ERANGE);
		assert_int_equal(j.bytes, 0);
	}
	pair_close(p);
}

static void rights_are_kept(void **state)
{
	static const uint32_t rights[] = {0, SLIME_ACCESS_REMOTE_READ, SLIME_ACCESS_REMOTE_WRITE};
	struct pair *p = open_ready(&mapped);
	static struct job j;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct sl_mem mem = {.addr = p->b.mem, .len = 64, .kind = SLIME_MEM_HOST};
		struct sl_rreg *all = p->a.rreg;
		struct sl_blob blob;
		struct sl_reg *reg;

		assert_int_equal(shm->reg(p->b.dom, &mem, rights[i], &reg, NULL), 0);
		assert_int_equal(shm->reg_pack(reg, &blob, NULL), 0);
		assert_int_equal(shm->rreg_unpack(p->a.conn, &blob, &p->a.rreg, NULL), 0);
		assert_int_equal(start_move(&j, &p->a, SL_OP_READ, 0, 0, 8), 0);
		assert_ended(&j, rights[i] & SLIME_ACCESS_REMOTE_READ ? 0 : -EACCES);
		assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 0, 8), 0);
		assert_ended(&j, rights[i] & SLIME_ACCESS_REMOTE_WRITE ? 0 : -EACCES);
		shm->rreg_free(p->a.rreg);
		shm->unreg(reg);
		p->a.rreg = all;
	}
	pair_close(p);
}

/* Memory that is not there: whose fault is told apart. */
static void a_hole_at_the_peer_and_one_here_are_told_apart(void **state)
{
	struct pair *p = open_ready(&by_cma);
	long page = sysconf(_SC_PAGESIZE);
	char *hole = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sl_mem mem = {.addr = hole, .len = 2 * (size_t)page, .kind = SLIME_MEM_HOST};
	struct sl_rreg *good = p->a.rreg;
	struct sl_reg *reg;
	struct sl_blob blob;
	static struct job j;

	(void)state;
	assert_int_equal(shm->reg(p->b.dom, &mem, SLIME_ACCESS_REMOTE, &reg, NULL), 0);
	assert_int_equal(shm->reg_pack(reg, &blob, NULL), 0);
	assert_int_equal(shm->rreg_unpack(p->a.conn, &blob, &p->a.rreg, NULL), 0);
	assert_int_equal(munmap(hole + page, (size_t)page), 0);
	assert_int_equal(start_move(&j, &p->a, SL_OP_READ, 0, 0, 2 * (uint64_t)page), 0);
	assert_ended(&j, -EREMOTEIO);
	assert_int_equal(j.bytes, page);
	assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, (uint64_t)page, 8), 0);
	assert_ended(&j, -EREMOTEIO);
	shm->rreg_free(p->a.rreg);
	p->a.rreg = good;
	j.iov[0] = piece(&p->a, 0, 0, 8);
	j.iov[0].addr = hole + page;
	assert_int_equal(start(&j, &p->a, SL_OP_READ, 1), 0);
	assert_ended(&j, -EFAULT);
	assert_int_equal(start(&j, &p->a, SL_OP_WRITE, 1), 0);
	assert_ended(&j, -EFAULT);
	assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 0, 8), 0);
	assert_ended(&j, 0); /* the connection goes on */
	shm->unreg(reg);
	(void)munmap(hole, (size_t)page);
	pair_close(p);
}

static void a_move_that_was_asked_to_stop_moves_nothing_more(void **state)
{
	struct pair *p = open_ready(&mapped);
	static struct job j;

	(void)state;
	memset(&j.op, 0, sizeof(j.op));
	j.iov[0] = piece(&p->a, 0, 0, 3 * SHM_PIECE);
	j.op = (struct sl_op){.iov = j.iov, .niov = 1, .code = SL_OP_WRITE};
	fill(p->a.mem, 3 * SHM_PIECE, 5);
	sl_shm_move_start(&j.op);
	assert_int_equal(sl_shm_move(p->a.conn, &j.op, SHM_PIECE), 1);
	assert_int_equal(sl_shm_moved(&j.op), SHM_PIECE);
	atomic_store(&j.op.state, (uint64_t)1 << SL_OP_STOP_SHIFT);
	assert_int_equal(sl_shm_move(p->a.conn, &j.op, UINT64_MAX), -ECANCELED);
	assert_int_equal(sl_shm_moved(&j.op), SHM_PIECE);
	assert_filled(p->b.mem, SHM_PIECE, 5);
	assert_int_equal(p->b.mem[SHM_PIECE], 0);
	atomic_store(&j.op.state, 0);
	assert_int_equal(sl_shm_move(p->a.conn, &j.op, UINT64_MAX), 0);
	assert_filled(p->b.mem, 3 * SHM_PIECE, 5);
	pair_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_size_arrives_mapped),
	    cmocka_unit_test(every_size_arrives_by_cma),
	    cmocka_unit_test(nothing_outside_the_region_is_touched_mapped),
	    cmocka_unit_test(nothing_outside_the_region_is_touched_by_cma),
	    cmocka_unit_test(many_pieces_arrive_mapped),
	    cmocka_unit_test(many_pieces_arrive_by_cma),
	    cmocka_unit_test(strides_are_expanded_mapped),
	    cmocka_unit_test(strides_are_expanded_by_cma),
	    cmocka_unit_test(mapped_and_other_memory_mix_in_one_op),
	    cmocka_unit_test(pieces_outside_the_region_are_refused),
	    cmocka_unit_test(rights_are_kept),
	    cmocka_unit_test(a_hole_at_the_peer_and_one_here_are_told_apart),
	    cmocka_unit_test(a_move_that_was_asked_to_stop_moves_nothing_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
