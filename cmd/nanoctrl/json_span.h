/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/json_span.h - where a member lies in JSON text, without a tree of it; and text as
 * JSON. No I/O.
 */
#ifndef NANOCTRL_JSON_SPAN_H
#define NANOCTRL_JSON_SPAN_H

#include <stddef.h>

struct json_span {
	const char *at; /* NULL: there is none */
	size_t len;
};

/*
 * The value of the member NAME of an object that was written by json_dumps(): its names
 * are not escaped. Of text that is none, something of it or nothing.
 */
struct json_span json_span_member(const char *object, const char *name);

/* TEXT in quotes, at most 6 bytes for one and 2 more, without a NUL. Returns its end. */
char *json_quote(char *to, const char *text);

#endif
