/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * histogram.h - how long things took, in bounded memory: 128 buckets for each
 * power of two, so that what is read back is within 0.4 % of what went in.
 * Values up to 127 are exact, values past 2^41 (36 minutes in ns) count as
 * that. One thread at a time.
 */
#ifndef DLSLIME_HISTOGRAM_H
#define DLSLIME_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB_BITS = 7, HISTOGRAM_TOP_BIT = 40 };
enum {
	HISTOGRAM_BUCKETS = (HISTOGRAM_TOP_BIT - HISTOGRAM_SUB_BITS + 2) << HISTOGRAM_SUB_BITS,
};

/* All zero is empty. */
struct histogram {
	uint64_t n;
	uint64_t max; /* exact */
	uint64_t count[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t v);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that a share of SHARE (0.5: the median) of all do not exceed; 0 if empty. */
uint64_t histogram_at(const struct histogram *h, double share);

#endif
