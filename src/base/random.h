/* SPDX-License-Identifier: BSD-3-Clause */
/* base/random.h - secrets: made by the kernel, compared in constant time. */
#ifndef SL_RANDOM_H
#define SL_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SL_SECRET_LEN = 16 };

/* Fill BUF with random bytes. 0 or a negative errno (no entropy source: a broken machine). */
int sl_random(void *buf, size_t len);

/* Are LEN bytes the same? The time taken tells nothing about where they differ. */
bool sl_same_secret(const void *a, const void *b, size_t len);

#endif
