/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/check.c - assertions, time and patterns of the contract suite. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "contract.h"

struct env env;
_Thread_local struct slime_error test_err;

/* At once, without cleaning up: other threads may be in the middle of anything. */
__attribute__((noreturn, format(printf, 2, 0))) static void leave(int status, const char *fmt,
                                                                  va_list ap)
{
	char line[1024];
	int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);

	if (n < 0 || n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)n + 1);
	_exit(status);
}

void test_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	leave(1, fmt, ap);
}

void test_skip(const char *fmt, ...)
{
	va_list ap;

	(void)!write(STDERR_FILENO, "skip: ", 6);
	va_start(ap, fmt);
	leave(TEST_SKIPPED, fmt, ap);
}

void check_true(bool cond, const char *text, const char *file, int line)
{
	if (!cond)
		test_fail("%s:%d: not so: %s", file, line, text);
}

void check_eq(int64_t have, int64_t want, const char *text, const char *file, int line)
{
	if (have != want)
		test_fail("%s:%d: %s is %lld, not %lld", file, line, text, (long long)have,
		          (long long)want);
}

static const char *rc_name(int rc)
{
	const char *name = rc < 0 ? strerrorname_np(-rc) : NULL;

	return name ? name : rc > 0 ? "a count" : "success";
}

void check_rc(int have, int want, const char *text, const char *file, int line)
{
	if (have == want)
		return;
	test_fail("%s:%d: %s gave %d (%s), not %d (%s); last sentence: '%s'", file, line, text,
	          have, rc_name(have), want, rc_name(want), test_err.text);
}

bool over(const char *transport)
{
	return !strcmp(env.transport, transport);
}

int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 * NS_PER_MS + ts.tv_nsec;
}

int64_t slack_ns(void)
{
	const char *ms = getenv("DLSLIME_TEST_SLACK_MS"), *sanitize = getenv("DLSLIME_SANITIZE");

	if (ms)
		return strtol(ms, NULL, 10) * NS_PER_MS;
	return sanitize && *sanitize ? 1000 * NS_PER_MS : 0;
}

uint64_t rounds(uint64_t n)
{
	return getenv("DLSLIME_REAL_VERBS") ? (n + 4) / 5 : n;
}

int64_t patience_ns(void)
{
	return 20000 * NS_PER_MS;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int64_t median(int64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

static uint64_t word_at(uint64_t seed, uint64_t i)
{
	uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;

	x ^= x >> 29;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 32;
}

void fill(void *mem, size_t len, uint64_t seed)
{
	char *to = mem;

	for (size_t i = 0; i * 8 < len; i++) {
		uint64_t word = word_at(seed, i);

		memcpy(to + i * 8, &word, len - i * 8 < 8 ? len - i * 8 : 8);
	}
}

size_t first_wrong(const void *mem, size_t len, uint64_t seed)
{
	const char *from = mem;

	for (size_t i = 0; i * 8 < len; i++) {
		uint64_t word = word_at(seed, i);
		char want[8];

		memcpy(want, &word, 8);
		for (size_t k = 0; k < 8 && i * 8 + k < len; k++)
			if (from[i * 8 + k] != want[k])
				return i * 8 + k;
	}
	return len;
}

void check_filled(const void *mem, size_t len, uint64_t seed, const char *file, int line)
{
	size_t at = first_wrong(mem, len, seed);

	if (at != len)
		test_fail("%s:%d: byte %zu of %zu is not that of pattern %llu", file, line, at, len,
		          (unsigned long long)seed);
}
