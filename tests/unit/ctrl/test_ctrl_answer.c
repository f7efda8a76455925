/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctrl/ctrl_answer.h"

/* What TEXT is: 1, 0 or an error; its body into OUT. Fed whole, and byte by byte. */
static int read_whole(const char *text, struct sl_answer *a)
{
	struct sl_answer slow = {0};
	size_t len = strlen(text), used, at = 0;
	int rc, rc_slow = 0;

	memset(a, 0, sizeof(*a));
	rc = sl_answer_feed(a, text, len, &used);
	while (!rc_slow && at < len) {
		size_t n;

		rc_slow = sl_answer_feed(&slow, text + at, 1, &n);
		at += n;
		if (rc_slow == 0)
			assert_int_equal(n, 1);
	}
	assert_int_equal(rc, rc_slow);
	if (rc == 1) {
		assert_int_equal(at, used);
		assert_int_equal(slow.len, a->len);
		assert_int_equal(slow.keep, a->keep);
		assert_true(a->len == 0 || memcmp(slow.body, a->body, a->len) == 0);
	}
	sl_answer_clear(&slow);
	return rc;
}

static void expect_body(const char *text, const char *body, bool keep)
{
	struct sl_answer a;

	assert_int_equal(read_whole(text, &a), 1);
	assert_int_equal(a.len, strlen(body));
	assert_true(a.len == 0 || memcmp(a.body, body, a.len) == 0);
	assert_int_equal(a.keep, keep);
	sl_answer_clear(&a);
}

static void expect_error(const char *text, int error)
{
	struct sl_answer a;

	assert_int_equal(read_whole(text, &a), error);
	sl_answer_clear(&a);
}

static void a_body_of_a_length_is_read(void **state)
{
	(void)state;
	expect_body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc", true);
	expect_body("HTTP/1.1 200\r\nContent-Length:0\r\n\r\n", "", true);
	expect_body("HTTP/1.1 404 Not Found\ncontent-length:\t2 \n\nno", "no", true);
	expect_body("HTTP/1.1 204 No Content\r\n\r\n", "", true);
}

static void chunks_are_put_together(void **state)
{
	(void)state;
	expect_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
	            "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nDigest: none\r\n\r\n",
	            "abc0123456789", true);
}

static void an_answer_may_say_first_that_it_goes_on(void **state)
{
	(void)state;
	expect_body("HTTP/1.1 100 Continue\r\n\r\n"
	            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
	            "x", true);
}

static void the_connection_ends_when_the_server_says_so(void **state)
{
	(void)state;
	expect_body("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "x",
	            false);
	expect_body("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", false);
	expect_body("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", "x",
	            true);
}

static void without_a_length_the_end_is_the_end(void **state)
{
	struct sl_answer a;

	(void)state;
	assert_int_equal(read_whole("HTTP/1.1 200 OK\r\n\r\n{}", &a), 0);
	assert_int_equal(sl_answer_end(&a), 1);
	assert_int_equal(a.len, 2);
	assert_false(a.keep);
	sl_answer_clear(&a);
	assert_int_equal(read_whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", &a), 0);
	assert_int_equal(sl_answer_end(&a), 0);
	sl_answer_clear(&a);
}

static void what_comes_behind_is_not_its_own(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1";
	struct sl_answer a = {0};
	size_t used;

	(void)state;
	assert_int_equal(sl_answer_feed(&a, text, sizeof(text) - 1, &used), 1);
	assert_int_equal(used, sizeof(text) - 1 - 8);
	sl_answer_clear(&a);
}

static void what_is_not_http_is_refused(void **state)
{
	static const char *const wrong[] = {
	    "\x15\x03\x01",
	    "SSH-2.0-OpenSSH_9.2\r\n",
	    "HTTP/2 200 OK\r\n",
	    "HTTP/1.1 2000 OK\r\n",
	    "HTTP/1.1 600 OK\r\n\r\n",
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	    "HTTP/2.0 200 OK\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nno colon\r\n",
	    "HTTP/1.1 200 OK\r\n: x\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n",
	    /* two lengths: it may have been written by somebody else */
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect_error(wrong[i], -EPROTO);
}

static void what_is_too_long_is_refused(void **state)
{
	static const char begin[] = "HTTP/1.1 200 OK\r\nX: ";
	size_t len = sizeof(begin) + SL_ANSWER_HEAD_MAX;
	char *text = malloc(len);

	(void)state;
	expect_error("HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n", -EMSGSIZE);
	expect_error("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000001\r\n", -EMSGSIZE);
	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, begin, sizeof(begin) - 1);
	text[len - 1] = '\0';
	expect_error(text, -EMSGSIZE);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_body_of_a_length_is_read),
	    cmocka_unit_test(chunks_are_put_together),
	    cmocka_unit_test(an_answer_may_say_first_that_it_goes_on),
	    cmocka_unit_test(the_connection_ends_when_the_server_says_so),
	    cmocka_unit_test(without_a_length_the_end_is_the_end),
	    cmocka_unit_test(what_comes_behind_is_not_its_own),
	    cmocka_unit_test(what_is_not_http_is_refused),
	    cmocka_unit_test(what_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
