/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/sentence.h - why something failed, for people. Any thread. */
#ifndef NANOCTRL_SENTENCE_H
#define NANOCTRL_SENTENCE_H

#include <slime/base.h>

/* What the program exits with. */
enum { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Put a sentence into ERR (NULL: nowhere) and return CODE, a negative errno. */
__attribute__((format(printf, 3, 4))) int refuse(struct slime_error *err, int code, const char *fmt,
                                                 ...);

/* "nanoctrl: ..." and a newline, on stderr, under the name that the program was called by. */
__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);

/* The same for a wrong command line, with where to read on. EXIT_USAGE. */
__attribute__((format(printf, 1, 2))) int say_usage(const char *fmt, ...);

#endif
