/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/json_text.h - JSON text to a tree, with what jansson by itself does not take: strings
 * that have U+0000 in them, and integers beyond 64 bits, which become the nearest double. No I/O.
 */
#ifndef NANOCTRL_JSON_TEXT_H
#define NANOCTRL_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * With the FLAGS of json_loadb(). NULL: ERROR, which may be NULL, says why; where it is behind an
 * integer beyond 64 bits in the same line, its column is too large by 2 for each of them.
 */
json_t *json_text_parse(const char *bytes, size_t len, size_t flags, json_error_t *error);

/* Are there more than LEVELS of lists and objects in each other? */
bool json_text_is_deeper(json_t *json, unsigned levels);

/* An integer of 64 bits, also if it is written as 1.0 or 1e3. */
bool json_text_integer(const json_t *json, int64_t *out);

/* The text of a string; NULL if JSON is none, or has U+0000 in it and would be cut off there. */
const char *json_text_whole(const json_t *json);

#endif
