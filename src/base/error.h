/* SPDX-License-Identifier: BSD-3-Clause */
/* base/error.h - filling in a struct slime_error. */
#ifndef SL_ERROR_H
#define SL_ERROR_H

#include <slime/base.h>

/*
 * Put a sentence and CODE (a negative errno) into ERR, unless it is NULL, and
 * return CODE, so that a failing function ends in one line:
 *	return sl_fail(err, -EINVAL, "length of region is zero");
 */
__attribute__((format(printf, 3, 4))) int sl_fail(struct slime_error *err, int code,
                                                  const char *fmt, ...);

/* The system's words for CODE (a negative errno), thread-safe: "connection refused". */
const char *sl_error_name(int code, char *buf, size_t cap);

#endif
