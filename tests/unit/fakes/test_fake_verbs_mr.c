/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/fakes/test_fake_verbs_mr.c - registrations that are refused, and dma-bufs. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"

static struct fake_verbs_config config;

static void refused(void *addr, size_t len, int access, int error)
{
	errno = 0;
	assert_null(v->reg_mr(a.pd, addr, len, access));
	assert_int_equal(errno, error);
}

static void what_cannot_be_registered_is_refused(void **state)
{
	uintptr_t nothing = 4096; /* no process has memory so low */

	(void)state;
	fake_verbs_config_init(&config);
	config.devices[0].attr.max_mr_size = CLIENT_MEM;
	config.devices[0].attr.max_mr = 2;
	client_begin(&(struct client_opts){.config = &config});
	refused(a.mem, 0, 0, EINVAL);
	refused(a.mem, CLIENT_MEM + 1, 0, EINVAL);
	refused(a.mem, 8, IBV_ACCESS_REMOTE_WRITE, EINVAL); /* without LOCAL_WRITE */
	refused(a.mem, 8, IBV_ACCESS_ON_DEMAND, EOPNOTSUPP);
	refused((void *)nothing, 3 * 4096, 0, EFAULT);
	assert_int_equal(v->dereg_mr(v->reg_mr(a.pd, a.mem, 8, 0)), 0);
	{
		struct ibv_mr *second = v->reg_mr(a.pd, a.mem, 8, 0);

		refused(a.mem, 8, 0, ENOMEM); /* max_mr */
		assert_int_equal(second->rkey, 0);
		assert_int_equal(v->dereg_mr(second), 0);
	}
	client_end();
}

static void memory_beyond_the_lock_limit_is_refused_unless_on_demand(void **state)
{
	struct ibv_mr *mr;

	(void)state;
	fake_verbs_config_init(&config);
	config.max_locked = 2 * CLIENT_MEM + 100;
	config.devices[0].odp.general_caps = IBV_ODP_SUPPORT;
	client_begin(&(struct client_opts){.config = &config});
	refused(a.mem, 101, 0, ENOMEM);
	mr = v->reg_mr(a.pd, a.mem, 101, IBV_ACCESS_ON_DEMAND);
	assert_non_null(mr);
	assert_int_equal(v->dereg_mr(mr), 0);
	client_end();
}

static void a_dmabuf_is_reached_by_its_own_addresses(void **state)
{
	int fd = memfd_create("dma-buf", MFD_CLOEXEC);
	struct ibv_mr *mr, *own;
	char *mem;

	(void)state;
	assert_int_equal(ftruncate(fd, 3 * 4096), 0);
	mem = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fake_verbs_config_init(&config);
	config.devices[1].dmabuf = true;
	client_begin(&(struct client_opts){.config = &config});
	assert_null(v->reg_dmabuf_mr(a.pd, 0, 4096, 0, fd, 0));
	assert_int_equal(errno, EOPNOTSUPP);
	mr = v->reg_dmabuf_mr(b.pd, 4100, 4096, 0x10000, fd, ALL_RIGHTS);
	assert_non_null(mr);
	own = b.mr;
	b.mr = mr;
	fill(a.mem, 100, 1);
	assert_int_equal(post(&a, &b, IBV_WR_RDMA_WRITE, 1, 0, 0x10000 - (uintptr_t)b.mem, 100, 2),
	                 0);
	wc_expect(&a, 1, IBV_WC_SUCCESS);
	b.mr = own;
	assert_filled(mem + 4100, 100, 1);
	assert_int_equal(v->dereg_mr(mr), 0);
	client_end();
	assert_int_equal(munmap(mem, 3 * 4096), 0);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_cannot_be_registered_is_refused),
	    cmocka_unit_test(memory_beyond_the_lock_limit_is_refused_unless_on_demand),
	    cmocka_unit_test(a_dmabuf_is_reached_by_its_own_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
