/* SPDX-License-Identifier: BSD-3-Clause */
/* size.h - numbers as people write them on a command line. Parsers without I/O. */
#ifndef DLSLIME_SIZE_H
#define DLSLIME_SIZE_H

#include <stdint.h>

#include <slime/base.h>

/*
 * "4096", "64K", "1M", "2G", "1T" (powers of 1024; lower case and "64KiB" too)
 * into *OUT. -EINVAL: not a size; -ERANGE: not within MIN..MAX. The sentence
 * names WHAT, the option.
 */
int size_parse(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out,
               struct slime_error *err);

/* A plain decimal number; as size_parse(). */
int number_parse(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out,
                 struct slime_error *err);

/* "2", "0.5": seconds, at most a day. */
int seconds_parse(const char *what, const char *text, double min, double *out,
                  struct slime_error *err);

/* "64K" if it is that exactly, else the plain number. Returns BUF. */
const char *size_exact(uint64_t bytes, char *buf, size_t cap);

/* "1.5 GiB", for people. Returns BUF. */
const char *size_human(uint64_t bytes, char *buf, size_t cap);

#endif
