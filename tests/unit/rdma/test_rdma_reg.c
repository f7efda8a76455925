/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/devices.h"
#include "driver.h"

static struct fake_verbs_config config;
static struct sl_dom *dom;
static char memory[8192];

static int setup(void **state)
{
	(void)state;
	config_init(&config);
	fake_verbs_install(&config);
	dom = dom_make("fake0");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rdma->dom_close(dom);
	assert_null(fake_verbs_leaks());
	fake_verbs_uninstall();
	return 0;
}

static int reg(size_t len, struct sl_reg **out, struct slime_error *err)
{
	struct sl_mem mem = {.addr = memory, .len = len, .kind = SLIME_MEM_HOST};

	return rdma->reg(dom, &mem, SLIME_ACCESS_REMOTE, out, err);
}

static void a_region_names_its_address_length_and_key(void **state)
{
	struct sl_blob blob = {0};
	struct sl_rreg *rreg = NULL;
	struct sl_reg *r = NULL;

	(void)state;
	assert_int_equal(reg(sizeof(memory), &r, NULL), 0);
	assert_int_equal(rdma->reg_pack(r, &blob, NULL), 0);
	assert_int_equal(rdma->rreg_unpack(NULL, &blob, &rreg, NULL), 0);
	assert_int_equal(rreg->addr, (uintptr_t)memory);
	assert_int_equal(rreg->rkey, r->mr->rkey);
	rdma->rreg_free(rreg);
	blob.len--;
	assert_int_equal(rdma->rreg_unpack(NULL, &blob, &rreg, NULL), -EPROTO);
	rdma->unreg(r);
}

static void memory_that_cannot_be_locked_names_the_limit(void **state)
{
	struct slime_error err = {0};
	struct sl_reg *r = NULL;

	(void)state;
	fake_verbs_fail_call("reg_mr", 1, ENOMEM);
	assert_int_equal(reg(sizeof(memory), &r, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "ulimit -l"));
	assert_non_null(strstr(err.text, "8192"));
	fake_verbs_fail_call("reg_mr", 1, EFAULT);
	assert_int_equal(reg(sizeof(memory), &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "read-only"));
	assert_null(r);
}

/* What may only be read can still be sent from, and served to peers who read. */
static void read_only_memory_is_registered_as_that(void **state)
{
	struct sl_mem mem = {.addr = memory, .len = 4096, .kind = SLIME_MEM_HOST};
	struct sl_reg *r = NULL;

	(void)state;
	fake_verbs_fail_call("reg_mr", 1, EFAULT);
	assert_int_equal(rdma->reg(dom, &mem, SLIME_ACCESS_REMOTE_READ, &r, NULL), 0);
	rdma->unreg(r);
}

static void more_than_the_device_can_is_refused_before_it_is_asked(void **state)
{
	struct slime_error err = {0};
	struct sl_reg *r = NULL;

	(void)state;
	dom->attr.orig_attr.max_mr_size = 4096;
	assert_int_equal(reg(sizeof(memory), &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "4096"));
}

/* The rights with which libibverbs was last asked to register by address. */
static struct sl_verbs spy;
static struct ibv_mr *(*spied)(struct ibv_pd *pd, void *addr, size_t len, int access);
static int asked;

static struct ibv_mr *spy_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access)
{
	asked = access;
	return spied(pd, addr, len, access);
}

static void spy_on_verbs(void)
{
	const struct sl_verbs *v;

	assert_int_equal(sl_verbs_get(&v, NULL), 0);
	spy = *v;
	spied = spy.reg_mr;
	spy.reg_mr = spy_reg_mr;
	sl_verbs_use(&spy);
}

static void check_asked(const char *odp, bool device_has_it, int on_demand)
{
	struct sl_reg *r = NULL;

	config_init(&config);
	config.devices[0].odp.general_caps = device_has_it ? IBV_ODP_SUPPORT : 0;
	fake_verbs_install(&config);
	spy_on_verbs();
	if (odp)
		assert_int_equal(setenv("SLIME_ODP", odp, 1), 0);
	dom = dom_make("fake0");
	assert_int_equal(reg(sizeof(memory), &r, NULL), 0);
	assert_int_equal(asked & IBV_ACCESS_ON_DEMAND, on_demand);
	assert_int_equal(asked & IBV_ACCESS_RELAXED_ORDERING, IBV_ACCESS_RELAXED_ORDERING);
	rdma->unreg(r);
	rdma->dom_close(dom);
	assert_null(fake_verbs_leaks());
	fake_verbs_uninstall();
	assert_int_equal(unsetenv("SLIME_ODP"), 0);
}

static void memory_is_on_demand_if_asked_for_and_the_device_can(void **state)
{
	(void)state;
	check_asked(NULL, true, 0);
	check_asked("1", false, 0);
	check_asked("1", true, IBV_ACCESS_ON_DEMAND);
}

/*
 * A kind of memory that no processor reaches: its addresses are reserved and not mapped, its bytes
 * are in a file, which is its dma-buf.
 */
static struct gpu {
	char *at;
	char *bytes;
	int fd;
	bool has_dmabuf;
} gpu;

enum { GPU_LEN = 65536 };

static int gpu_probe(const void *addr, size_t len, struct sl_mem *out)
{
	const char *at = addr;

	if (at < gpu.at || at >= gpu.at + GPU_LEN)
		return -ENOENT;
	*out = (struct sl_mem){.addr = (void *)(uintptr_t)addr, .len = len, .kind = SLIME_MEM_CUDA};
	return 0;
}

static int gpu_dmabuf(const struct sl_mem *mem, int *out_fd, uint64_t *out_off)
{
	if (!gpu.has_dmabuf)
		return -EOPNOTSUPP;
	*out_fd = dup(gpu.fd);
	*out_off = (uint64_t)((char *)mem->addr - gpu.at);
	return *out_fd < 0 ? -errno : 0;
}

static const struct sl_device_ops gpu_ops = {
    .name = "gpu",
    .kind = SLIME_MEM_CUDA,
    .probe = gpu_probe,
    .dmabuf = gpu_dmabuf,
};

static void gpu_begin(bool has_dmabuf, int rights)
{
	gpu.has_dmabuf = has_dmabuf;
	gpu.fd = memfd_create("gpu", MFD_CLOEXEC);
	assert_true(gpu.fd >= 0);
	assert_int_equal(ftruncate(gpu.fd, GPU_LEN), 0);
	gpu.bytes = mmap(NULL, GPU_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, gpu.fd, 0);
	gpu.at = mmap(NULL, GPU_LEN, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(gpu.bytes != MAP_FAILED && gpu.at != MAP_FAILED);
	sl_devices_use(&gpu_ops);
}

static void gpu_end(void)
{
	sl_devices_use(NULL);
	assert_int_equal(munmap(gpu.bytes, GPU_LEN), 0);
	assert_int_equal(munmap(gpu.at, GPU_LEN), 0);
	assert_int_equal(close(gpu.fd), 0);
}

static void device_memory_goes_by_its_dma_buf(void **state)
{
	struct sl_mem mem = {.len = 8192, .kind = SLIME_MEM_CUDA};
	static struct pair p;
	static struct job job;
	struct sl_reg *r = NULL;
	struct sl_iov *run_of;

	(void)state;
	gpu_begin(true, PROT_NONE);
	config_init(&config);
	config.devices[0].dmabuf = true;
	pair_connected(&p, &config);
	mem.addr = gpu.at + 4096;
	assert_int_equal(rdma->reg(p.a.dom, &mem, SLIME_ACCESS_REMOTE, &r, NULL), 0);
	assert_int_equal(munmap(gpu.at, GPU_LEN), 0); /* nobody looks at the addresses */
	memset(gpu.bytes + 4096 + 100, 'g', 1000);
	job_make(&job, SL_OP_WRITE);
	run_of = add_run(&job, &p.a, 0, 0, 1000);
	run_of->addr = (char *)mem.addr + 100;
	run_of->reg = r;
	run(&p, &p.a, &job, 0);
	assert_memory_equal(p.b.mem, gpu.bytes + 4096 + 100, 1000);
	memset(p.b.mem + 2000, 'h', 1000);
	job_make(&job, SL_OP_READ);
	run_of = add_run(&job, &p.a, 0, 2000, 1000);
	run_of->addr = (char *)mem.addr + 3000;
	run_of->reg = r;
	run(&p, &p.a, &job, 0);
	assert_memory_equal(gpu.bytes + 4096 + 3000, p.b.mem + 2000, 1000);
	rdma->unreg(r);
	pair_end(&p);
	gpu.at = mmap(NULL, GPU_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	gpu_end();
}

/* The kind has no dma-buf, or the NIC takes none: as a driver with peer memory would have it. */
static void device_memory_without_a_dma_buf_goes_by_its_address(void **state)
{
	(void)state;
	for (int kind_has = 0; kind_has < 2; kind_has++) {
		struct sl_mem mem = {.len = 4096, .kind = SLIME_MEM_CUDA};
		struct sl_reg *r = NULL;

		gpu_begin(kind_has, PROT_READ | PROT_WRITE);
		(void)setup(NULL);
		spy_on_verbs();
		rdma->dom_close(dom);
		dom = dom_make("fake0");
		asked = 0;
		mem.addr = gpu.at;
		assert_int_equal(rdma->reg(dom, &mem, SLIME_ACCESS_REMOTE, &r, NULL), 0);
		assert_true(asked & IBV_ACCESS_REMOTE_WRITE);
		rdma->unreg(r);
		(void)teardown(NULL);
		gpu_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_region_names_its_address_length_and_key, setup,
	                                    teardown),
	    cmocka_unit_test_setup_teardown(memory_that_cannot_be_locked_names_the_limit, setup,
	                                    teardown),
	    cmocka_unit_test_setup_teardown(read_only_memory_is_registered_as_that, setup,
	                                    teardown),
	    cmocka_unit_test_setup_teardown(more_than_the_device_can_is_refused_before_it_is_asked,
	                                    setup, teardown),
	    cmocka_unit_test(memory_is_on_demand_if_asked_for_and_the_device_can),
	    cmocka_unit_test(device_memory_goes_by_its_dma_buf),
	    cmocka_unit_test(device_memory_without_a_dma_buf_goes_by_its_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
