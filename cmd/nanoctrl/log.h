/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/log.h - the daemon's log: a line for each request and for each decision.
 *
 *   time=2026-11-24T14:30:00.123Z level=info msg="request" method=POST path="/register" ...
 *
 * Lines are collected for some milliseconds, unless something is wrong. The loop's thread only.
 */
#ifndef NANOCTRL_LOG_H
#define NANOCTRL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slime/base.h>

struct event_base;

/*
 * Write to PATH from now on, NULL: to stderr. Lines less important than LEVEL are left out.
 * -errno with a sentence: PATH cannot be written; it is never a link.
 */
int log_open(struct event_base *loop, const char *path, enum slime_log_level level,
             struct slime_error *err);
/* Somebody moved the file away: begin a new one. Without a path nothing happens. */
void log_reopen(void);
/* What is collected is written; back to stderr. */
void log_close(void);
/* "error", "warn", "info", "debug"; also the first such word in what RUST_LOG may hold. */
bool log_level_of(const char *word, enum slime_log_level *out);

/* A sentence. */
__attribute__((format(printf, 2, 3))) void log_line(enum slime_log_level level, const char *fmt,
                                                    ...);

struct log_request {
	const char *method, *path, *peer, *principal;
	int status;
	size_t bytes;
	int64_t took_ns;
};
/* Server's faults as errors, the rest as info. */
void log_request(const struct log_request *request);

#endif
