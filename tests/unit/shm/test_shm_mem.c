/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/shm_mem.h"

/* The sanitizers' own mlock() does nothing. */
#if defined(__has_feature)
#define HAS(x) __has_feature(x)
#else
#define HAS(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS(address_sanitizer) || \
    HAS(thread_sanitizer)
static volatile bool mlock_works = false;
#else
static volatile bool mlock_works = true;
#endif

static void needs_mlock(void)
{
	if (!mlock_works) {
		print_message("mlock() does nothing under this sanitizer\n");
		skip();
	}
}

static char *alloc(size_t len)
{
	struct slime_error err = {0};
	void *p;

	assert_int_equal(sl_shm_mem_alloc(len, 0, -1, &p, &err), 0);
	return p;
}

static void memory_is_zeroed_aligned_and_writable(void **state)
{
	static const size_t lens[] = {1, 4095, 4096, 4097, 1 << 20};

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		char *p = alloc(lens[i]);

		assert_int_equal((uintptr_t)p % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
		for (size_t k = 0; k < lens[i]; k++)
			assert_int_equal(p[k], 0);
		memset(p, 1, lens[i]);
		assert_int_equal(sl_shm_mem_free(p), 0);
	}
}

static void allocations_are_found_by_address_and_range(void **state)
{
	enum { N = 100 };
	char *p[N];

	(void)state;
	for (int i = 0; i < N; i++)
		p[i] = alloc(5000);
	for (int i = 0; i < N; i++) {
		struct sl_shm_mem *m = sl_shm_mem_hold(p[i] + 100, 4900);

		assert_non_null(m);
		assert_ptr_equal(m->addr, p[i]);
		sl_shm_mem_drop(m);
		assert_null(sl_shm_mem_hold(p[i] + 100, 4901));
		assert_null(sl_shm_mem_hold(p[i] + 100, SIZE_MAX));
		assert_null(sl_shm_mem_hold(p[i] + 5000, 1));
	}
	for (int i = 0; i < N; i += 2)
		assert_int_equal(sl_shm_mem_free(p[i]), 0);
	for (int i = 0; i < N; i++) {
		struct sl_shm_mem *m = sl_shm_mem_hold(p[i], 1);

		assert_int_equal(m != NULL, i % 2);
		sl_shm_mem_drop(m);
	}
	for (int i = 1; i < N; i += 2)
		assert_int_equal(sl_shm_mem_free(p[i]), 0);
}

static void foreign_pointers_are_not_freed(void **state)
{
	char *p = alloc(4096);
	int local;

	(void)state;
	assert_int_equal(sl_shm_mem_free(&local), -ENOENT);
	assert_int_equal(sl_shm_mem_free(NULL), -ENOENT);
	assert_int_equal(sl_shm_mem_free(p + 1), -ENOENT);
	assert_int_equal(sl_shm_mem_free(p), 0);
	assert_int_equal(sl_shm_mem_free(p), -ENOENT);
}

static void freed_memory_lives_while_it_is_held(void **state)
{
	char *p = alloc(4096);
	struct sl_shm_mem *m = sl_shm_mem_hold(p, 4096);
	uint8_t key[SL_SHM_KEY_LEN];

	(void)state;
	assert_non_null(m);
	memcpy(key, m->key, sizeof(key));
	assert_int_equal(sl_shm_mem_free(p), 0);
	p[0] = 1; /* still there */
	assert_null(sl_shm_mem_hold(p, 1));
	assert_null(sl_shm_mem_find(key));
	sl_shm_mem_drop(m);
}

static void memory_is_found_by_its_key_only(void **state)
{
	char *p = alloc(4096);
	struct sl_shm_mem *m = sl_shm_mem_hold(p, 1);
	struct sl_shm_mem *found = sl_shm_mem_find(m->key);
	uint8_t wrong[SL_SHM_KEY_LEN];

	(void)state;
	assert_ptr_equal(found, m);
	sl_shm_mem_drop(found);
	memcpy(wrong, m->key, sizeof(wrong));
	wrong[15] ^= 1;
	assert_null(sl_shm_mem_find(wrong));
	sl_shm_mem_drop(m);
	assert_int_equal(sl_shm_mem_free(p), 0);
}

static void the_memfd_can_not_be_shrunk_by_who_gets_it(void **state)
{
	char *p = alloc(3 * 4096);
	struct sl_shm_mem *m = sl_shm_mem_hold(p, 1);

	(void)state;
	assert_int_equal(ftruncate(m->fd, 0), -1);
	assert_int_equal(ftruncate(m->fd, 1 << 20), -1);
	assert_int_equal(fcntl(m->fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_true(fcntl(m->fd, F_GETFD) & FD_CLOEXEC);
	sl_shm_mem_drop(m);
	assert_int_equal(sl_shm_mem_free(p), 0);
}

static void huge_pages_are_used_or_done_without(void **state)
{
	void *p;

	(void)state;
	assert_int_equal(sl_shm_mem_alloc(3 << 20, SLIME_MEM_HUGE, -1, &p, NULL), 0);
	memset(p, 1, 3 << 20);
	assert_int_equal(sl_shm_mem_free(p), 0);
}

static void wrong_arguments_are_refused_with_a_sentence(void **state)
{
	struct slime_error err = {0};
	void *p = &err;

	(void)state;
	assert_int_equal(sl_shm_mem_alloc(0, 0, -1, &p, &err), -EINVAL);
	assert_true(err.text[0]);
	err.text[0] = '\0';
	assert_int_equal(sl_shm_mem_alloc(4096, 0, 1000, &p, &err), -EINVAL);
	assert_non_null(strstr(err.text, "1000"));
	assert_int_equal(sl_shm_mem_alloc(4096, 0, 123456789, &p, &err), -EINVAL);
	assert_true(sl_shm_mem_alloc(SIZE_MAX, 0, -1, &p, &err) < 0);
	assert_true(sl_shm_mem_alloc(SIZE_MAX / 2 - 1, 0, -1, &p, &err) < 0);
	assert_ptr_equal(p, &err); /* written on success only */
}

static void memory_can_be_bound_to_a_node(void **state)
{
	struct slime_error err = {0};
	void *p;

	(void)state;
	if (access("/sys/devices/system/node/node0", F_OK)) {
		print_message("this kernel knows no NUMA nodes\n");
		skip();
	}
	assert_int_equal(sl_shm_mem_alloc(1 << 20, 0, 0, &p, &err), 0);
	memset(p, 1, 1 << 20);
	assert_int_equal(sl_shm_mem_free(p), 0);
}

static void locked_memory_is_there_or_the_limit_is_named(void **state)
{
	struct slime_error err = {0};
	void *p;

	(void)state;
	needs_mlock();
	if (sl_shm_mem_alloc(64 << 10, SLIME_MEM_LOCK, -1, &p, &err)) {
		assert_non_null(strstr(err.text, "ulimit -l"));
	} else {
		unsigned char vec[16];

		assert_int_equal(mincore(p, 64 << 10, vec), 0);
		for (int i = 0; i < 16; i++)
			assert_true(vec[i] & 1);
		assert_int_equal(sl_shm_mem_free(p), 0);
	}
}

/* In a process of its own that is nobody, since root is over every limit. */
static void over_the_lock_limit_is_an_error_that_says_so(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	needs_mlock();
	pid = fork();
	if (pid == 0) {
		const struct rlimit none = {0, 0};
		struct slime_error err = {0};
		void *p;

		if (setrlimit(RLIMIT_MEMLOCK, &none) || (geteuid() == 0 && setuid(65534)))
			_exit(77);
		_exit(sl_shm_mem_alloc(1 << 20, SLIME_MEM_LOCK, -1, &p, &err) == -ENOMEM &&
		              strstr(err.text, "ulimit -l")
		          ? 0
		          : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_is_zeroed_aligned_and_writable),
	    cmocka_unit_test(allocations_are_found_by_address_and_range),
	    cmocka_unit_test(foreign_pointers_are_not_freed),
	    cmocka_unit_test(freed_memory_lives_while_it_is_held),
	    cmocka_unit_test(memory_is_found_by_its_key_only),
	    cmocka_unit_test(the_memfd_can_not_be_shrunk_by_who_gets_it),
	    cmocka_unit_test(huge_pages_are_used_or_done_without),
	    cmocka_unit_test(wrong_arguments_are_refused_with_a_sentence),
	    cmocka_unit_test(memory_can_be_bound_to_a_node),
	    cmocka_unit_test(locked_memory_is_there_or_the_limit_is_named),
	    cmocka_unit_test(over_the_lock_limit_is_an_error_that_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
