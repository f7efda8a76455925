/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "redis_address.h"

static const char *address_for(struct redis_address redis, const char *client)
{
	static char out[REDIS_ADDRESS_MAX];

	redis_address_for(&redis, client, out);
	return out;
}

static const char *url_of(struct redis_address redis)
{
	static char out[REDIS_ADDRESS_MAX];

	redis_url_for_all(&redis, out);
	return out;
}

static void a_redis_elsewhere_is_told_as_it_is(void **state)
{
	const struct redis_address redis = {.url = "redis://u:p@db:7000/2"};
	const struct redis_address socket = {.url = "unix:/run/redis.sock"};

	(void)state;
	assert_string_equal(address_for(redis, "10.0.0.1:5"), "u:p@db:7000/2");
	assert_string_equal(url_of(redis), "redis://u:p@db:7000/2");
	assert_string_equal(address_for(socket, "10.0.0.1:5"), "unix:/run/redis.sock");
}

static void a_local_redis_is_told_to_local_clients(void **state)
{
	const struct redis_address redis = {.url = "redis://127.0.0.1:7000"};

	(void)state;
	assert_string_equal(address_for(redis, "127.0.0.1:5"), "127.0.0.1:7000");
	assert_string_equal(address_for(redis, "localhost:5"), "127.0.0.1:7000");
}

static void clients_elsewhere_get_an_address_of_ours_with_port_and_database(void **state)
{
	const struct redis_address redis = {.url = "redis://localhost:7000/3"};
	const char *told = address_for(redis, "10.0.0.1:5");
	struct in_addr parsed;
	char host[64] = "";

	(void)state;
	assert_non_null(strchr(told, ':'));
	memcpy(host, told, (size_t)(strchr(told, ':') - told));
	assert_int_equal(inet_pton(AF_INET, host, &parsed), 1);
	assert_string_equal(strchr(told, ':'), ":7000/3");
	assert_string_equal(strrchr(url_of(redis), ':'), ":7000/3");
	assert_memory_equal(url_of(redis), "redis://", 8);
}

static void without_a_port_it_is_6379(void **state)
{
	const struct redis_address redis = {.url = "redis://127.0.0.1"};

	(void)state;
	assert_string_equal(strchr(address_for(redis, "example.org"), ':'), ":6379");
}

static void the_public_address_is_for_clients_elsewhere(void **state)
{
	const struct redis_address redis = {.url = "redis://127.0.0.1:7000",
	                                    .public_address = "1.2.3.4:9",
	                                    .public_url = "redis://x:1"};

	(void)state;
	assert_string_equal(address_for(redis, "10.0.0.1"), "1.2.3.4:9");
	assert_string_equal(address_for(redis, "127.0.0.1"), "127.0.0.1:7000");
	assert_string_equal(url_of(redis), "redis://x:1");
}

static void what_is_advertised_wins_always(void **state)
{
	const struct redis_address redis = {.url = "redis://127.0.0.1:7000",
	                                    .advertised = "redis://5.6.7.8:1",
	                                    .public_address = "1.2.3.4:9"};

	(void)state;
	assert_string_equal(address_for(redis, "127.0.0.1"), "5.6.7.8:1");
	assert_string_equal(url_of(redis), "redis://5.6.7.8:1");
}

static void without_redis_nothing_is_told(void **state)
{
	const struct redis_address redis = {.url = "", .advertised = "5.6.7.8:1"};

	(void)state;
	assert_string_equal(address_for(redis, "127.0.0.1"), "");
	assert_string_equal(url_of(redis), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_redis_elsewhere_is_told_as_it_is),
	    cmocka_unit_test(a_local_redis_is_told_to_local_clients),
	    cmocka_unit_test(clients_elsewhere_get_an_address_of_ours_with_port_and_database),
	    cmocka_unit_test(without_a_port_it_is_6379),
	    cmocka_unit_test(the_public_address_is_for_clients_elsewhere),
	    cmocka_unit_test(what_is_advertised_wins_always),
	    cmocka_unit_test(without_redis_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
