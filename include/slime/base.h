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
 * Send log lines to FN, or to stderr as in the beginning if FN is NULL. LEVEL is
 * the least important level that is sent; in the beginning that is what the
 * environment says in SLIME_LOG_LEVEL, else SLIME_LOG_WARN. FN gets one line at a
 * time, from any thread, and must not call into this library. When this returns,
 * the FN before it is not running any more and is not called again.
 */
SLIME_API void slime_log_set(slime_log_fn *fn, void *arg, enum slime_log_level level);

/*
 * A line of a program's own, or of another library's, into the same log: cut at 511
 * bytes, dropped if LEVEL is less important than what is sent.
 */
SLIME_API void slime_log_write(enum slime_log_level level, const char *line);

/* An environment variable that changes what the library does. Constant strings. */
struct slime_env {
	const char *name;     /* "SLIME_LOG_LEVEL" */
	const char *fallback; /* what holds if it is unset or makes no sense */
	const char *help;     /* one sentence */
};

/* Fill up to CAP entries and return how many there are. -EINVAL: CAP without OUT. */
SLIME_API int slime_env_list(struct slime_env *out, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
