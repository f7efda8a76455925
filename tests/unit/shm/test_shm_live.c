/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"

static struct sl_dom *open_dom(void)
{
	const struct sl_dom_opts opts = {.peer_timeout_ms = 1000};
	struct sl_dom *dom;

	assert_int_equal(shm->dom_open(&opts, &dom, NULL), 0);
	return dom;
}

static void a_region_is_alive_until_it_is_removed(void **state)
{
	struct sl_dom *dom = open_dom();
	uint32_t slot, again;
	uint64_t number, next;

	(void)state;
	assert_int_equal(sl_shm_live_add(dom, &slot, &number), 0);
	assert_true(number != 0);
	assert_int_equal(atomic_load(&dom->live[slot]), number);
	sl_shm_live_remove(dom, slot);
	assert_int_equal(atomic_load(&dom->live[slot]), 0);
	assert_int_equal(sl_shm_live_add(dom, &again, &next), 0);
	assert_int_equal(again, slot); /* the place, but under another number */
	assert_true(next != number);
	shm->dom_close(dom);
}

static void there_are_only_so_many(void **state)
{
	struct sl_dom *dom = open_dom();
	uint32_t slot;
	uint64_t number;

	(void)state;
	for (int i = 0; i < SHM_REGIONS; i++)
		assert_int_equal(sl_shm_live_add(dom, &slot, &number), 0);
	assert_int_equal(sl_shm_live_add(dom, &slot, &number), -ENOSPC);
	sl_shm_live_remove(dom, 4711);
	assert_int_equal(sl_shm_live_add(dom, &slot, &number), 0);
	assert_int_equal(slot, 4711);
	shm->dom_close(dom);
}

static void who_gets_the_memfd_can_only_read_it(void **state)
{
	struct sl_dom *dom = open_dom();
	void *map;

	(void)state;
	assert_true(fcntl(dom->live_fd, F_GET_SEALS) & F_SEAL_SHRINK);
	assert_int_equal(ftruncate(dom->live_fd, 0), -1);
	map = mmap(NULL, SHM_LIVE_LEN, PROT_READ, MAP_SHARED, dom->live_fd, 0);
	assert_true(map != MAP_FAILED);
	(void)munmap(map, SHM_LIVE_LEN);
	map = mmap(NULL, SHM_LIVE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, dom->live_fd, 0);
	if (map != MAP_FAILED) {
		(void)munmap(map, SHM_LIVE_LEN);
		shm->dom_close(dom);
		print_message("this kernel has no F_SEAL_FUTURE_WRITE\n");
		skip();
	}
	shm->dom_close(dom);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_region_is_alive_until_it_is_removed),
	    cmocka_unit_test(there_are_only_so_many),
	    cmocka_unit_test(who_gets_the_memfd_can_only_read_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
