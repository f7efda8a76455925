/* SPDX-License-Identifier: BSD-3-Clause */
/* base/futex.h - sleep until a word in memory changes. */
#ifndef SL_FUTEX_H
#define SL_FUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

/* Sleep while *WORD is SEEN, until UNTIL_NS (CLOCK_MONOTONIC). Returns early at will. */
static inline void sl_futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t until_ns)
{
	struct timespec ts = {.tv_sec = until_ns / SL_NS_PER_S, .tv_nsec = until_ns % SL_NS_PER_S};

	(void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen,
	              until_ns == SL_NEVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* Wake who sleeps on WORD. Only the address is used: the memory may be gone. */
static inline void sl_futex_wake(_Atomic uint32_t *word, int n)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

#endif
