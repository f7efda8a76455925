/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"

static void a_region_is_mapped_soon_and_used_by_cma_until_then(void **state)
{
	struct pair *p = pair_open(NULL);
	static struct job j;

	(void)state;
	assert_null(atomic_load(&p->a.rreg->base));
	fill(p->a.mem, 100, 1);
	assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 0, 100), 0);
	assert_ended(&j, 0);
	assert_filled(p->b.mem, 100, 1);
	pair_map(p);
	fill(p->a.mem, 100, 2);
	assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 0, 100), 0);
	assert_ended(&j, 0);
	assert_filled(p->b.mem, 100, 2);
	pair_close(p);
}

static const struct pair_opts no_cma = {.a_flags = SLIME_CTX_NO_CMA};

static void without_cma_ops_wait_for_the_mapping_in_order(void **state)
{
	struct pair *p = pair_open(&no_cma);
	static struct job j[20];

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		fill(p->a.mem + i * 100, 100, i);
		assert_int_equal(start_move(&j[i], &p->a, SL_OP_WRITE, i * 100, 7, 100), 0);
		assert_int_equal(j[i].done, 0);
	}
	PAIR_UNTIL(p, j[19].done);
	for (int i = 0; i < 20; i++)
		assert_ended(&j[i], 0);
	assert_filled(p->b.mem + 7, 100, 19);
	assert_int_equal(start_move(&j[0], &p->a, SL_OP_WRITE, 0, 7, 100), 0);
	assert_ended(&j[0], 0); /* at once from now on */
	pair_close(p);
}

static void an_op_that_waits_for_a_mapping_can_be_cancelled(void **state)
{
	struct pair *p = pair_open(&no_cma);
	static struct job first, second;

	(void)state;
	assert_int_equal(start_move(&first, &p->a, SL_OP_READ, 0, 0, 100), 0);
	assert_int_equal(start_move(&second, &p->a, SL_OP_READ, 0, 0, 100), 0);
	ask_stop(&first, &p->a, -ECANCELED);
	SIDE_UNTIL(&p->a, first.done);
	assert_ended(&first, -ECANCELED);
	PAIR_UNTIL(p, second.done);
	assert_ended(&second, 0);
	pair_close(p);
}

static void without_cma_other_memory_is_refused_with_a_sentence(void **state)
{
	struct pair *p = pair_open(
	    &(struct pair_opts){.a_flags = SLIME_CTX_NO_CMA, .malloced = true, .apart = true});
	struct slime_error err = {0};
	struct sl_blob blob;

	(void)state;
	pair_connect(p);
	assert_int_equal(shm->reg_pack(p->a.reg, &blob, &err), -EACCES);
	assert_non_null(strstr(err.text, "slime_mem_alloc"));
	assert_int_equal(shm->reg_pack(p->b.reg, &blob, &err), 0);
	assert_int_equal(shm->rreg_unpack(p->a.conn, &blob, &p->a.rreg, &err), -EACCES);
	assert_non_null(strstr(err.text, "CMA"));
	pair_close(p);
}

/* The peer's memory is freed before it was asked for. */
static void a_mapping_that_does_not_come_ends_ops_with_a_reason(void **state)
{
	struct pair *p = pair_open(&no_cma);
	struct sl_mem mem = {.len = 4096, .kind = SLIME_MEM_HOST};
	struct sl_rreg *good = p->a.rreg;
	struct sl_reg *reg;
	struct sl_blob blob;
	static struct job j;

	(void)state;
	assert_int_equal(sl_shm_mem_alloc(4096, 0, -1, &mem.addr, NULL), 0);
	assert_int_equal(shm->reg(p->b.dom, &mem, SLIME_ACCESS_REMOTE, &reg, NULL), 0);
	assert_int_equal(shm->reg_pack(reg, &blob, NULL), 0);
	assert_int_equal(sl_shm_mem_free(mem.addr), 0);
	assert_int_equal(shm->rreg_unpack(p->a.conn, &blob, &p->a.rreg, NULL), 0);
	assert_int_equal(start_move(&j, &p->a, SL_OP_READ, 0, 0, 100), 0);
	PAIR_UNTIL(p, j.done);
	assert_ended(&j, -ENOENT);
	shm->rreg_free(p->a.rreg);
	p->a.rreg = good;
	shm->unreg(reg);
	pair_close(p);
}

static void one_mapping_serves_all_regions_of_an_allocation(void **state)
{
	struct pair *p = pair_open(NULL);
	struct sl_rreg *more[20];
	struct sl_blob blob;
	int maps;

	(void)state;
	pair_map(p);
	maps = count_maps();
	assert_int_equal(shm->reg_pack(p->b.reg, &blob, NULL), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(shm->rreg_unpack(p->a.conn, &blob, &more[i], NULL), 0);
		assert_ptr_equal(atomic_load(&more[i]->base), atomic_load(&p->a.rreg->base));
	}
	assert_int_equal(count_maps(), maps);
	for (int i = 0; i < 20; i++)
		shm->rreg_free(more[i]);
	assert_int_equal(count_maps(), maps);
	pair_close(p);
}

static void a_mapping_goes_with_its_last_region(void **state)
{
	struct pair *p = pair_open(NULL);
	int maps;

	(void)state;
	pair_map(p);
	maps = count_maps();
	shm->rreg_free(p->a.rreg);
	p->a.rreg = NULL;
	assert_int_equal(count_maps(), maps - 1);
	pair_close(p);
}

static void a_region_may_go_before_its_mapping_comes(void **state)
{
	struct pair *p = pair_open(NULL);

	(void)state;
	shm->rreg_free(p->a.rreg);
	p->a.rreg = NULL;
	PAIR_UNTIL(p, atomic_load(&p->b.rreg->base));
	PAIR_UNTIL(p, !atomic_load(&p->a.dom->unsettled));
	pair_close(p);
}

static void regions_of_others_are_refused(void **state)
{
	struct pair *p = pair_open(NULL);
	struct slime_error err = {0};
	struct shm_ticket t;
	struct sl_blob blob, bad;
	struct sl_rreg *r = NULL;

	(void)state;
	assert_int_equal(shm->reg_pack(p->b.reg, &blob, NULL), 0);
	assert_int_equal(sl_shm_ticket_get(&blob, &t), 0);
	t.proc.start++;
	sl_shm_ticket_put(&t, &bad);
	assert_int_equal(shm->rreg_unpack(p->a.conn, &bad, &r, &err), -EACCES);
	assert_non_null(strstr(err.text, "process"));
	bad = blob;
	bad.len--;
	assert_int_equal(shm->rreg_unpack(p->a.conn, &bad, &r, &err), -EPROTO);
	t.proc.start--;
	t.live_slot = SHM_LIVE_MAX;
	sl_shm_ticket_put(&t, &bad);
	assert_int_equal(shm->rreg_unpack(p->a.conn, &bad, &r, &err), -EPROTO);
	assert_null(r);
	pair_close(p);
}

/* A description that claims more than the memory has: mapped, it would lead outside. */
static void a_region_longer_than_its_memory_is_not_mapped(void **state)
{
	struct pair *p = pair_open(&no_cma);
	struct sl_rreg *good = p->a.rreg;
	struct shm_ticket t;
	struct sl_blob blob;
	static struct job j;

	(void)state;
	assert_int_equal(shm->reg_pack(p->b.reg, &blob, NULL), 0);
	assert_int_equal(sl_shm_ticket_get(&blob, &t), 0);
	t.off = 4096;
	sl_shm_ticket_put(&t, &blob);
	for (int known = 0; known < 2; known++) {
		assert_int_equal(shm->rreg_unpack(p->a.conn, &blob, &p->a.rreg, NULL), 0);
		assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, SIDE_LEN - 8, 8), 0);
		PAIR_UNTIL(p, j.done);
		assert_ended(&j, -EPROTO);
		shm->rreg_free(p->a.rreg);
		p->a.rreg = good;
		pair_map(p);
	}
	pair_close(p);
}

static void an_unregistered_region_is_not_reached(void **state)
{
	(void)state;
	for (int malloced = 0; malloced < 2; malloced++) {
		struct pair *p = pair_open(&(struct pair_opts){.malloced = malloced});
		static struct job j;

		assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 0, 8), 0);
		assert_ended(&j, 0);
		shm->unreg(p->b.reg);
		p->b.reg = NULL;
		assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 0, 8), 0);
		assert_ended(&j, -EACCES);
		pair_close(p);
	}
}

/* What the peer gives must be sealed, or it could shrink it under our hands. */
static void an_unsealed_memfd_is_not_mapped(void **state)
{
	struct pair *p = pair_open(&no_cma);
	uint8_t key[SHM_ID_LEN] = {1};
	struct shm_map *map;
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(sl_shm_map_get(p->a.conn, key, fd, PROT_READ, &map), -EPROTO);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(sl_shm_map_get(p->a.conn, key, fd, PROT_READ, &map), 0);
	sl_shm_map_put(p->a.dom, map);
	(void)close(fd);
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	assert_int_equal(sl_shm_map_get(p->a.conn, key, fd, PROT_READ, &map), -EPROTO);
	(void)close(fd);
	pair_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_region_is_mapped_soon_and_used_by_cma_until_then),
	    cmocka_unit_test(without_cma_ops_wait_for_the_mapping_in_order),
	    cmocka_unit_test(an_op_that_waits_for_a_mapping_can_be_cancelled),
	    cmocka_unit_test(without_cma_other_memory_is_refused_with_a_sentence),
	    cmocka_unit_test(a_mapping_that_does_not_come_ends_ops_with_a_reason),
	    cmocka_unit_test(one_mapping_serves_all_regions_of_an_allocation),
	    cmocka_unit_test(a_mapping_goes_with_its_last_region),
	    cmocka_unit_test(a_region_may_go_before_its_mapping_comes),
	    cmocka_unit_test(regions_of_others_are_refused),
	    cmocka_unit_test(a_region_longer_than_its_memory_is_not_mapped),
	    cmocka_unit_test(an_unregistered_region_is_not_reached),
	    cmocka_unit_test(an_unsealed_memfd_is_not_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
