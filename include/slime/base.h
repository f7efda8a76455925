/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slime/base.h - version, visibility, errors, log hook.
 *
 * Every function that can fail returns an int: zero or a count on success, a
 * negative errno on failure. Set-up functions also take a struct slime_error
 * and put a sentence in it; pass NULL if you do not want the sentence.
 */
#ifndef SLIME_BASE_H
#define SLIME_BASE_H

#include <stddef.h>
#include <stdint.h>

#define SLIME_VERSION_MAJOR 0
#define SLIME_VERSION_MINOR 1
#define SLIME_VERSION_PATCH 0

#define SLIME_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Why a call failed. Plain data, no pointers: put it on the stack. It is written
 * only when a call fails, and TEXT always ends in a NUL.
 */
struct slime_error {
	int code;       /* the negative errno that the call returned */
	char text[252]; /* one lower-case sentence, no newline */
};

enum slime_log_level { SLIME_LOG_ERROR, SLIME_LOG_WARN, SLIME_LOG_INFO, SLIME_LOG_DEBUG };

typedef void slime_log_fn(void *arg, enum slime_log_level level, const char *line);

/* Version of the library that is loaded, as "0.1.0". Never fails. */
SLIME_API const char *slime_version(void);

/*
 * Send log lines to FN, or nowhere if FN is NULL. LEVEL is the least important
 * level that is sent. The default writes errors and warnings to stderr; once
 * replaced it cannot be put back. FN gets one line at a time, from any thread,
 * and must not call into this library. When this returns, the FN before it is
 * not running any more and is not called again.
 */
SLIME_API void slime_log_set(slime_log_fn *fn, void *arg, enum slime_log_level level);

#ifdef __cplusplus
}
#endif
#endif
