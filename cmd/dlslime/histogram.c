/* SPDX-License-Identifier: BSD-3-Clause */
#include "histogram.h"

#include <math.h>

enum { SUB = 1 << HISTOGRAM_SUB_BITS };

/* The highest bit that is set in V, which is not 0. */
static unsigned top_bit(uint64_t v)
{
	unsigned bit = 0;

	for (unsigned step = 32; step; step /= 2) {
		if (v >> step) {
			v >>= step;
			bit += step;
		}
	}
	return bit;
}

/*
 * Values below 2 * SUB have a bucket each. Above, an octave [2^k, 2^(k+1)) has
 * SUB buckets of 2^(k - SUB_BITS) values.
 */
static unsigned bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < SUB)
		return (unsigned)v;
	if (v >> (HISTOGRAM_TOP_BIT + 1))
		return HISTOGRAM_BUCKETS - 1;
	shift = top_bit(v) - HISTOGRAM_SUB_BITS;
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(v >> shift);
}

/* The middle of bucket I. */
static uint64_t bucket_value(unsigned i)
{
	unsigned shift = i < 2 * SUB ? 0 : (i >> HISTOGRAM_SUB_BITS) - 1;
	uint64_t low = (uint64_t)(i - (shift << HISTOGRAM_SUB_BITS)) << shift;

	return low + (((uint64_t)1 << shift) - 1) / 2;
}

void histogram_add(struct histogram *h, uint64_t v)
{
	h->count[bucket_of(v)]++;
	h->n++;
	if (v > h->max)
		h->max = v;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->count[i] += from->count[i];
	into->n += from->n;
	if (from->max > into->max)
		into->max = from->max;
}

uint64_t histogram_at(const struct histogram *h, double share)
{
	uint64_t rank = (uint64_t)ceil(share * (double)h->n);
	uint64_t seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->count[i];
		if (seen && seen >= rank) {
			uint64_t v = bucket_value(i);

			return v < h->max ? v : h->max;
		}
	}
	return h->max;
}
