/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/figure.c */
#include "figure.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES_MAX = 1 << 20 };

int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * s_ns + ts.tv_nsec;
}

int64_t cell_ns(void)
{
	const char *seconds = getenv("XFER_SECONDS");

	return (int64_t)((seconds ? atof(seconds) : 0.4) * (double)s_ns);
}

uint64_t env_number(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

void pin(enum side_of_pair side)
{
	const char *how = getenv("XFER_PIN");
	cpu_set_t set;

	if (!how || (strcmp(how, "split") != 0 && strcmp(how, "same") != 0))
		return;
	CPU_ZERO(&set);
	CPU_SET(strcmp(how, "split") == 0 && side == CLIENT ? 1 : 0, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("error: XFER_PIN: sched_setaffinity");
		exit(1);
	}
}

void samples_add(struct samples *s, int64_t ns)
{
	if (!s->ns) {
		s->cap = SAMPLES_MAX;
		s->ns = calloc(s->cap, sizeof(*s->ns));
		if (!s->ns) {
			fprintf(stderr, "error: no memory for samples\n");
			exit(1);
		}
		memset(s->ns, 1, s->cap * sizeof(*s->ns)); /* no page fault while we measure */
	}
	if (s->n < s->cap)
		s->ns[s->n++] = ns;
}

void samples_free(struct samples *s)
{
	free(s->ns);
	*s = (struct samples){0};
}

void figure(const char *what, uint64_t size, uint64_t depth, const char *metric, double value,
            const char *unit)
{
	printf("{\"what\": \"%s\", \"size\": %llu, \"depth\": %llu, \"metric\": \"%s\", "
	       "\"value\": %.4f, \"unit\": \"%s\"}\n",
	       what, (unsigned long long)size, (unsigned long long)depth, metric, value, unit);
	(void)fflush(stdout);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int64_t samples_at(struct samples *s, double share)
{
	qsort(s->ns, s->n, sizeof(*s->ns), compare);
	return s->ns[(size_t)(share * (double)(s->n - 1))];
}

void figure_latency(const char *what, uint64_t size, uint64_t depth, struct samples *s)
{
	if (s->n == 0)
		return;
	figure(what, size, depth, "p50", (double)samples_at(s, 0.5) / (double)us_ns, "us");
	figure(what, size, depth, "p99", (double)samples_at(s, 0.99) / (double)us_ns, "us");
}

static uint64_t word(size_t i, uint64_t seed)
{
	return ((i + 1) * UINT64_C(0x9e3779b97f4a7c15)) ^ seed;
}

void fill(char *mem, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len / 8; i++) {
		uint64_t w = word(i, seed);

		memcpy(mem + 8 * i, &w, 8);
	}
}

/* How many bytes from the start are what fill() put there; words that are cut off count as such. */
size_t same_prefix(const char *mem, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len / 8; i++) {
		uint64_t w = word(i, seed);

		if (memcmp(mem + 8 * i, &w, 8) != 0)
			return 8 * i;
	}
	return len;
}
