/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/histogram.h - how long things took, as Prometheus counts it. The loop's thread only. */
#ifndef NANOCTRL_HISTOGRAM_H
#define NANOCTRL_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 16 };

struct histogram {
	uint64_t bucket[HISTOGRAM_BUCKETS + 1]; /* not cumulative; the last: above every bound */
	uint64_t n;
	int64_t sum_ns;
};

void histogram_add(struct histogram *h, int64_t ns);
/* Upper bound of a bucket in nanoseconds. */
int64_t histogram_bound_ns(size_t bucket);

#endif
