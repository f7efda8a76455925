/* SPDX-License-Identifier: BSD-3-Clause */
#include "histogram.h"

static const int64_t bounds_us[HISTOGRAM_BUCKETS] = {
    50,    100,   250,    500,    1000,   2500,    5000,     10000,
    25000, 50000, 100000, 250000, 500000, 1000000, 10000000, 60000000,
};

int64_t histogram_bound_ns(size_t bucket)
{
	return bounds_us[bucket] * 1000;
}

void histogram_add(struct histogram *h, int64_t ns)
{
	size_t i = 0;

	while (i < HISTOGRAM_BUCKETS && ns > histogram_bound_ns(i))
		i++;
	h->bucket[i]++;
	h->n++;
	h->sum_ns += ns;
}
