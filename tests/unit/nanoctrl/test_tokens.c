/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tokens.h"

static struct slime_error err;

static int load(const char *text, struct tokens **out)
{
	char path[] = "/tmp/test_tokens.XXXXXX";
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
	rc = tokens_load(path, out, &err);
	assert_int_equal(unlink(path), 0);
	return rc;
}

static struct tokens *load_one(const char *rest)
{
	char text[400];
	struct tokens *tokens;

	(void)snprintf(text, sizeof(text), "{\"tokens\":[{\"name\":\"x\",%s}]}", rest);
	assert_int_equal(load(text, &tokens), 0);
	return tokens;
}

static void only_the_very_token_is_found(void **state)
{
	static const char *const wrong[] = {
	    "Bearer 0123456789abcdeF",
	    "Bearer 0123456789abcde",
	    "Bearer 0123456789abcdef0",
	    "Bearer 0123456789abcdef ",
	    "Basic 0123456789abcdef",
	    "0123456789abcdef",
	    "Bearer ",
	    "Bearer",
	    "",
	};
	struct tokens *tokens =
	    load_one("\"token\":\"0123456789abcdef\",\"rights\":[\"register\"]");

	(void)state;
	assert_non_null(tokens_find(tokens, "Bearer 0123456789abcdef"));
	assert_non_null(tokens_find(tokens, "bearer  0123456789abcdef"));
	assert_string_equal(token_name(tokens_find(tokens, "Bearer 0123456789abcdef")), "x");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_null(tokens_find(tokens, wrong[i]));
	assert_null(tokens_find(tokens, NULL));
	tokens_release(tokens);
}

static void a_token_is_found_by_its_hash(void **state)
{
	/* printf %s 0123456789abcdef | sha256sum */
	struct tokens *tokens;
	int rc = load("{\"tokens\":[{\"name\":\"x\",\"rights\":[\"read\"],\"sha256\":"
	              "\"9F9F5111F7B27A781F1F1DDDE5EBC2DD2B796BFC7365C9C28B548E564176929F\"}]}",
	              &tokens);

	(void)state;
	if (rc == -ENODEV) {
		print_message("skipped: %s\n", err.text);
		skip();
	}
	assert_int_equal(rc, 0);
	assert_non_null(tokens_find(tokens, "Bearer 0123456789abcdef"));
	assert_null(tokens_find(tokens, "Bearer 0123456789abcdeg"));
	tokens_release(tokens);
}

static void a_right_holds_those_below_it(void **state)
{
	struct tokens *tokens =
	    load_one("\"token\":\"0123456789abcdef\",\"rights\":[\"register\"]");
	const struct token *token = tokens_find(tokens, "Bearer 0123456789abcdef");

	(void)state;
	assert_true(token_may(token, RIGHT_NONE, "any"));
	assert_true(token_may(token, RIGHT_READ, "any"));
	assert_true(token_may(token, RIGHT_REGISTER, NULL));
	assert_false(token_may(token, RIGHT_ADMIN, "any"));
	assert_true(token_may(NULL, RIGHT_NONE, "any"));
	assert_false(token_may(NULL, RIGHT_READ, NULL));
	assert_string_equal(token_name(NULL), "");
	tokens_release(tokens);
}

static void scopes_bound_a_token(void **state)
{
	struct tokens *tokens = load_one("\"token\":\"0123456789abcdef\",\"rights\":[\"admin\"],"
	                                 "\"scopes\":[\"a\",\"\"]");
	const struct token *token = tokens_find(tokens, "Bearer 0123456789abcdef");

	(void)state;
	assert_true(token_may(token, RIGHT_ADMIN, "a"));
	assert_true(token_may(token, RIGHT_ADMIN, ""));
	assert_false(token_may(token, RIGHT_READ, "b"));
	assert_false(token_may(token, RIGHT_READ, "a:"));
	assert_true(token_may(token, RIGHT_READ, NULL));
	tokens_release(tokens);
}

static void what_is_wrong_with_a_file_is_said(void **state)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
	    {"", "is not JSON"},
	    {"[]", "no list"},
	    {"{\"tokens\":[]}", "no list"},
	    {"{\"tokens\":[{\"name\":\"\"}]}", "no \"name\""},
	    {"{\"tokens\":[{\"name\":\"x\",\"token\":\"0123456789abcdef\",\"rights\":[]}]}",
	     "no \"rights\""},
	    {"{\"tokens\":[{\"name\":\"x\",\"token\":\"0123456789abcdef\",\"sha256\":\"00\","
	     "\"rights\":[\"read\"]}]}",
	     "one of"},
	    {"{\"tokens\":[{\"name\":\"a\",\"token\":\"0123456789abcdef\",\"rights\":[\"read\"]},"
	     "{\"name\":\"b\"}]}",
	     "token 1 of"},
	};
	struct tokens *tokens = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(load(wrong[i].text, &tokens), -EINVAL);
		if (!strstr(err.text, wrong[i].why))
			fail_msg("'%s' does not say '%s'", err.text, wrong[i].why);
	}
	assert_int_equal(tokens_load("/no/such/file", &tokens, &err), -ENOENT);
	assert_null(tokens);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_the_very_token_is_found),
	    cmocka_unit_test(a_token_is_found_by_its_hash),
	    cmocka_unit_test(a_right_holds_those_below_it),
	    cmocka_unit_test(scopes_bound_a_token),
	    cmocka_unit_test(what_is_wrong_with_a_file_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
