/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "redis_url.h"

static struct redis_url good(const char *text)
{
	struct slime_error err;
	struct redis_url url;

	assert_int_equal(redis_url_parse(text, &url, &err), 0);
	return url;
}

static void host_port_and_database_are_read(void **state)
{
	struct redis_url url = good("redis://127.0.0.1:6380/2");

	(void)state;
	assert_string_equal(url.host, "127.0.0.1");
	assert_string_equal(url.port, "6380");
	assert_int_equal(url.db, 2);
	assert_false(url.tls);
	url = good("redis://h");
	assert_string_equal(url.port, "6379");
	assert_int_equal(url.db, 0);
	url = good("redis://[::1]:7/");
	assert_string_equal(url.host, "::1");
	assert_string_equal(url.port, "7");
	assert_true(good("rediss://h").tls);
}

static void user_and_password_are_decoded(void **state)
{
	struct redis_url url = good("redis://u%40:p%3a%2F@h:1");

	(void)state;
	assert_string_equal(url.user, "u@");
	assert_string_equal(url.password, "p:/");
	url = good("redis://:only@h");
	assert_string_equal(url.user, "");
	assert_string_equal(url.password, "only");
	url = good("unix://:secret@/run/redis.sock?db=4");
	assert_string_equal(url.path, "/run/redis.sock");
	assert_string_equal(url.password, "secret");
	assert_string_equal(url.host, "");
	assert_int_equal(url.db, 4);
}

static void what_is_no_url_is_refused_without_its_password(void **state)
{
	static const char *const wrong[] = {
	    "",
	    "h:1",
	    "redis://",
	    "redis://:secret@",
	    "redis://h:",
	    "redis://h:0",
	    "redis://h:65536",
	    "redis://h:1x",
	    "redis://h/x",
	    "redis://h/-1",
	    "redis://h?x=1",
	    "redis://[::1",
	    "redis://%0",
	    "redis://%00",
	    "unix://",
	    "unix://run/x",
	    "unix:///x?d=1",
	    "redis://secret@h:x",
	    "http://h",
	};
	struct slime_error err;
	struct redis_url url;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(redis_url_parse(wrong[i], &url, &err), -EINVAL);
		assert_null(strstr(err.text, "secret"));
	}
}

static void a_name_that_is_too_long_is_refused(void **state)
{
	struct slime_error err;
	struct redis_url url;
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memcpy(text, "redis://", 8);
	assert_int_equal(redis_url_parse(text, &url, &err), -EINVAL);
	memcpy(text, "unix:///", 8);
	assert_int_equal(redis_url_parse(text, &url, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(host_port_and_database_are_read),
	    cmocka_unit_test(user_and_password_are_decoded),
	    cmocka_unit_test(what_is_no_url_is_refused_without_its_password),
	    cmocka_unit_test(a_name_that_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
