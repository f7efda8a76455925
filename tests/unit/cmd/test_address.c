/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../../cmd/dlslime/address.c"
#include "../../../cmd/dlslime/say.c"
#include "../../../cmd/dlslime/size.c"

#define SECRET "000102030405060708090a0b0c0d0eff"

static void hosts_names_and_brackets(void **state)
{
	static const struct {
		const char *text;
		const char *host;
		uint16_t port;
	} good[] = {
	    {"localhost:1", "localhost", 1},
	    {"10.0.0.1:65535", "10.0.0.1", 65535},
	    {"[::1]:4711", "::1", 4711},
	    {"[fe80::1%eth0]:80", "fe80::1%eth0", 80},
	};
	char buf[HOST_MAX + 16];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct slime_error err;
		struct address at;

		assert_int_equal(address_parse(good[i].text, &at, &err), 0);
		assert_string_equal(at.host, good[i].host);
		assert_int_equal(at.port, good[i].port);
		assert_string_equal(address_format(&at, buf, sizeof(buf)), good[i].text);
	}
}

static void what_is_no_address_is_einval_with_a_sentence(void **state)
{
	static const char *const bad[] = {
	    "",       ":",     ":80",     "host",    "host:",   "host:0",  "host:x", "host:70000",
	    "::1:80", "[]:80", "[::1]80", "[::1:80", "host:-1", "host: 1", "[::1]:"};
	char big[2 * HOST_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct slime_error err = {0};
		struct address at;

		assert_int_equal(address_parse(bad[i], &at, &err), -EINVAL);
		assert_true(strlen(err.text) > 0);
	}
	memset(big, 'a', sizeof(big));
	for (size_t len = HOST_MAX; len < sizeof(big) - 4; len += 7) {
		struct address at;

		memset(big, 'a', sizeof(big));
		memcpy(big + len, ":80", 4);
		assert_int_equal(address_parse(big, &at, NULL), -EINVAL);
	}
}

static void a_ticket_survives_its_text_whatever_the_name(void **state)
{
	static const char *const names[] = {
	    "a",    "with space", "-dash", "\xc3\xa4\xe2\x82\xac.bin",
	    "100%", "new\nline",  "..a",   "'\"$(rm)"};
	char text[TICKET_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct ticket in = {.at = {"::1", 4711}, .secret = {1, 2, 255}};
		struct slime_error err;
		struct ticket out;

		(void)strcpy(in.name, names[i]);
		(void)ticket_format(&in, text);
		assert_null(strpbrk(text, " \n'\"$&;"));
		assert_int_equal(ticket_parse(text, &out, &err), 0);
		assert_string_equal(out.name, in.name);
		assert_memory_equal(out.secret, in.secret, SECRET_LEN);
		assert_string_equal(out.at.host, "::1");
		assert_int_equal(out.at.port, 4711);
	}
}

static void the_longest_name_fits(void **state)
{
	struct ticket in = {.at = {"", 65535}};
	char text[TICKET_TEXT_MAX];
	struct ticket out;

	(void)state;
	memset(in.at.host, ':', HOST_MAX - 1);
	memset(in.name, ' ', NAME_BYTES_MAX - 1);
	(void)ticket_format(&in, text);
	assert_true(strlen(text) < sizeof(text));
	assert_int_equal(ticket_parse(text, &out, NULL), 0);
	assert_string_equal(out.name, in.name);
}

static void what_is_no_ticket_is_einval_with_a_sentence(void **state)
{
	static const char *const bad[] = {
	    "",
	    "slime:",
	    "slime:host:80",
	    "slime:host:80/",
	    "slime:host:80/" SECRET,
	    "slime:host:80/" SECRET "/",
	    "slime:host:80/" SECRET "/.",
	    "slime:host:80/" SECRET "/..",
	    "slime:host:80/" SECRET "/a/b",
	    "slime:host:80/" SECRET "/a%2fb",
	    "slime:host:80/" SECRET "/a%00b",
	    "slime:host:80/" SECRET "/a%",
	    "slime:host:80/" SECRET "/a%4",
	    "slime:host:80/" SECRET "/a%zz",
	    "slime:host:80/" SECRET "00/a",
	    "slime:host:80/0001/a",
	    "slime:host:80/g00102030405060708090a0b0c0d0eff/a",
	    "slime:host/" SECRET "/a",
	    "http://host:80/" SECRET "/a",
	    "SLIME:host:80/" SECRET "/a",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct slime_error err = {0};
		struct ticket t;

		assert_int_equal(ticket_parse(bad[i], &t, &err), -EINVAL);
		assert_true(strlen(err.text) > 0);
	}
}

static void every_cut_of_a_ticket_is_refused_or_names_a_shorter_file(void **state)
{
	static const char whole[] = "slime:host:80/" SECRET "/name";
	const size_t head = strlen("slime:host:80/" SECRET "/");
	char text[sizeof(whole)];

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		struct ticket t;

		(void)snprintf(text, sizeof(text), "%.*s", (int)len, whole);
		assert_int_equal(ticket_parse(text, &t, NULL), len > head ? 0 : -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hosts_names_and_brackets),
	    cmocka_unit_test(what_is_no_address_is_einval_with_a_sentence),
	    cmocka_unit_test(a_ticket_survives_its_text_whatever_the_name),
	    cmocka_unit_test(the_longest_name_fits),
	    cmocka_unit_test(what_is_no_ticket_is_einval_with_a_sentence),
	    cmocka_unit_test(every_cut_of_a_ticket_is_refused_or_names_a_shorter_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
