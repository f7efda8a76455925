/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/target.h - what a request line points at, in its parts. No I/O; any thread. */
#ifndef NANOCTRL_TARGET_H
#define NANOCTRL_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include <slime/base.h>

enum { TARGET_MAX_PARTS = 8, TARGET_MAX_QUERIES = 24 };

struct target {
	size_t n_parts; /* "/" has one, which is empty */
	const char *part[TARGET_MAX_PARTS];
	size_t n_queries;
	struct {
		const char *name, *value;
	} query[TARGET_MAX_QUERIES];
};

/*
 * Take TEXT, "/a/b?c=d" or with "http://host" before it, apart: in place, OUT points into it.
 * Everything in OUT is decoded and UTF-8. -EINVAL: it is not, it has a NUL, a '%' is not followed
 * by two digits, or there are too many queries. -ENOENT: more segments than any path has.
 */
int target_parse(char *text, struct target *out, struct slime_error *err);

/* The value of NAME, NULL: not there. */
const char *target_query(const struct target *target, const char *name);

/* TEXT is UTF-8: no overlong form, no surrogate, nothing past U+10FFFF. */
bool target_is_utf8(const char *text, size_t len);

#endif
