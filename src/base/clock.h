/* SPDX-License-Identifier: BSD-3-Clause */
/* base/clock.h - monotonic time in nanoseconds, and deadlines made of it. */
#ifndef SL_CLOCK_H
#define SL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define SL_NS_PER_US INT64_C(1000)
#define SL_NS_PER_MS INT64_C(1000000)
#define SL_NS_PER_S  INT64_C(1000000000)
#define SL_NEVER     INT64_MAX

/* CLOCK_MONOTONIC in nanoseconds; no system call on the machines we care for. */
static inline int64_t sl_clock_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SL_NS_PER_S + ts.tv_nsec;
}

/* TIMEOUT_NS from now, without overflow; a negative timeout has passed already. */
static inline int64_t sl_clock_after(int64_t timeout_ns)
{
	int64_t now = sl_clock_ns();

	return timeout_ns > SL_NEVER - now ? SL_NEVER : now + (timeout_ns < 0 ? 0 : timeout_ns);
}

#endif
