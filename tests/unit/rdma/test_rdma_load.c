/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "driver.h"

static void a_table_of_the_tests_takes_the_place_of_the_library(void **state)
{
	static const struct sl_verbs mine;
	const struct sl_verbs *got = NULL;

	(void)state;
	sl_verbs_use(&mine);
	assert_int_equal(sl_verbs_get(&got, NULL), 0);
	assert_ptr_equal(got, &mine);
	sl_verbs_use(NULL);
}

/* Every slot of the table is filled, or the sentence says what is missing. */
static void the_library_is_whole_or_said_to_be_missing(void **state)
{
	void *handle = dlopen("libibverbs.so.1", RTLD_NOW);
	const struct sl_verbs *got = NULL;
	struct slime_error err = {0};
	const unsigned char *slot;

	(void)state;
	if (!handle) {
		assert_int_equal(sl_verbs_get(&got, &err), -ENODEV);
		assert_non_null(strstr(err.text, "libibverbs1"));
		return;
	}
	assert_int_equal(sl_verbs_get(&got, &err), 0);
	slot = (const unsigned char *)got;
	for (size_t i = 0; i < sizeof(*got); i += sizeof(void *)) {
		void *at;

		memcpy(&at, slot + i, sizeof(at));
		assert_non_null(at);
	}
	(void)dlclose(handle);
}

/* It is asked once, and answers the same each time. */
static void the_answer_does_not_change(void **state)
{
	const struct sl_verbs *one = NULL, *two = NULL;

	(void)state;
	assert_int_equal(sl_verbs_get(&one, NULL), sl_verbs_get(&two, NULL));
	assert_ptr_equal(one, two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_table_of_the_tests_takes_the_place_of_the_library),
	    cmocka_unit_test(the_library_is_whole_or_said_to_be_missing),
	    cmocka_unit_test(the_answer_does_not_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
