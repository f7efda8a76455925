/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * say.h - sentences for people. Errors go to stderr as "dlslime: ...", results
 * to stdout. Any thread; each call prints its line as a whole.
 */
#ifndef DLSLIME_SAY_H
#define DLSLIME_SAY_H

#include <stdarg.h>
#include <stdio.h>

#include <slime/base.h>

/* What the program exits with. */
enum { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* "dlslime: ..." and a newline, on stderr. */
__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);

/* The same for a wrong command line of VERB (NULL: of the program), with where to read on.
 * EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int say_usage(const char *verb, const char *fmt, ...);

/* Put a sentence into ERR (NULL: nowhere) and return CODE, a negative errno. */
__attribute__((format(printf, 3, 4))) int refuse(struct slime_error *err, int code, const char *fmt,
                                                 ...);

/* The name of a negative errno, lower case: "connection refused". Returns BUF. */
const char *errno_name(int code, char *buf, size_t cap);

/* TEXT as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void print_json_string(FILE *f, const char *text);

/* Make TEXT fit for one line on a terminal: control characters become '?'. */
void plain_text(char *text);

#endif
