/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"

enum { SIZE = 100, MANY = 5000, THREADS = 4 };

static int by_address(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	return (x > y) - (x < y);
}

static void objects_are_apart_aligned_and_zeroed(void **state)
{
	struct sl_pool pool;
	static char *objs[MANY];

	(void)state;
	assert_int_equal(sl_pool_init(&pool, SIZE), 0);
	for (int i = 0; i < MANY; i++) {
		objs[i] = sl_pool_get(&pool);
		assert_non_null(objs[i]);
		assert_int_equal((uintptr_t)objs[i] % 16, 0);
		for (int k = 0; k < SIZE; k++)
			assert_int_equal(objs[i][k], 0);
		memset(objs[i], 0xff, SIZE);
	}
	assert_true(sl_pool_count(&pool) >= MANY);
	qsort(objs, MANY, sizeof(objs[0]), by_address);
	for (int i = 1; i < MANY; i++)
		assert_true(objs[i] - objs[i - 1] >= SIZE);
	sl_pool_free(&pool);
}

static void what_was_put_back_is_taken_again(void **state)
{
	struct sl_pool pool;
	uint32_t n;

	(void)state;
	assert_int_equal(sl_pool_init(&pool, SIZE), 0);
	n = sl_pool_count(&pool);
	for (int i = 0; i < 10000; i++) {
		void *obj = sl_pool_get(&pool);

		assert_non_null(obj);
		memcpy(obj, &i, sizeof(i));
		sl_pool_put(&pool, obj);
	}
	assert_int_equal(sl_pool_count(&pool), n); /* so it never grew */
	sl_pool_free(&pool);
}

static void every_object_has_its_index(void **state)
{
	struct sl_pool pool;
	uint32_t found = 0;
	void *objs[200];

	(void)state;
	assert_int_equal(sl_pool_init(&pool, SIZE), 0);
	for (int i = 0; i < 200; i++)
		objs[i] = sl_pool_get(&pool);
	for (uint32_t i = 0; i < sl_pool_count(&pool); i++)
		for (int k = 0; k < 200; k++)
			found += sl_pool_at(&pool, i) == objs[k];
	assert_int_equal(found, 200);
	sl_pool_free(&pool);
}

struct owner {
	struct sl_pool *pool;
	uint32_t id;
};

/* Nobody else may have what this thread has taken. */
static void *take_and_put(void *arg)
{
	struct owner *o = arg;
	uint32_t *mine[8];

	for (int round = 0; round < 5000; round++) {
		for (int i = 0; i < 8; i++) {
			mine[i] = sl_pool_get(o->pool);
			*mine[i] = o->id;
		}
		for (int i = 0; i < 8; i++) {
			if (*mine[i] != o->id)
				return o;
			sl_pool_put(o->pool, mine[i]);
		}
	}
	return NULL;
}

static void threads_never_share_an_object(void **state)
{
	struct sl_pool pool;
	struct owner owners[THREADS];
	pthread_t threads[THREADS];

	(void)state;
	assert_int_equal(sl_pool_init(&pool, SIZE), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		owners[i] = (struct owner){.pool = &pool, .id = i};
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_put, &owners[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		void *wrong = NULL;

		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
	sl_pool_free(&pool);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(objects_are_apart_aligned_and_zeroed),
	    cmocka_unit_test(what_was_put_back_is_taken_again),
	    cmocka_unit_test(every_object_has_its_index),
	    cmocka_unit_test(threads_never_share_an_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
