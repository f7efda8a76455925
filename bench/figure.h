/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/figure.h - clock, samples, placement, and one JSON line per figure.
 *
 * The lines and the variables XFER_SECONDS and XFER_PIN are those of
 * bench/peers, so that bench/peers/run can put our programs between the peers.
 */
#ifndef BENCH_FIGURE_H
#define BENCH_FIGURE_H

#include <stddef.h>
#include <stdint.h>

enum { KIB = 1 << 10, MIB = 1 << 20 };

static const int64_t us_ns = 1000, ms_ns = 1000000, s_ns = 1000000000;

/* CLOCK_MONOTONIC */
int64_t now_ns(void);

/* How long to measure one cell: XFER_SECONDS, else 0.4 s. */
int64_t cell_ns(void);

/* The number in the variable NAME, else FALLBACK. */
uint64_t env_number(const char *name, uint64_t fallback);

enum side_of_pair { SERVER, CLIENT };

/*
 * Keep this process where XFER_PIN wants SIDE: "split" is the server on core 0
 * and the client on core 1, "same" is both on core 0, else the scheduler
 * decides. Call before the process has threads.
 */
void pin(enum side_of_pair side);

/* What was timed, in nanoseconds; the first CAP are kept. Zeroed, it is empty. */
struct samples {
	int64_t *ns;
	size_t n, cap;
};

void samples_add(struct samples *s, int64_t ns);
void samples_free(struct samples *s);

/* The sample that SHARE (0 to 1) of all are not above; sorts S, which is not empty. */
int64_t samples_at(struct samples *s, double share);

/* {"what": ..., "size": ..., "depth": ..., "metric": ..., "value": ..., "unit": ...} */
void figure(const char *what, uint64_t size, uint64_t depth, const char *metric, double value,
            const char *unit);

/* p50 and p99 of S in microseconds, if there are any. */
void figure_latency(const char *what, uint64_t size, uint64_t depth, struct samples *s);

/* Word I of memory filled with SEED: cheap to make and to check, different in every word. */
void fill(char *mem, size_t len, uint64_t seed);
size_t same_prefix(const char *mem, size_t len, uint64_t seed);

#endif
