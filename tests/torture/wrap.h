/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/torture/wrap.h - make the n-th call of a kind fail, and count calls.
 *
 * The linker sends the library's calls of what wrap.txt lists to wrap.c
 * (--wrap), which works beside a sanitizer too. Calls of the system's own
 * libraries are not seen.
 */
#ifndef TORTURE_WRAP_H
#define TORTURE_WRAP_H

#include <stdbool.h>
#include <stdint.h>

enum wrap_kind {
	WRAP_MEMORY, /* malloc and its like, mmap: fail with ENOMEM */
	WRAP_FD,     /* what makes a descriptor: fails with EMFILE */
	WRAP_N
};

/* Let call N (from 1) of KIND fail from now on, once; 0: none. */
void wrap_fail(enum wrap_kind kind, uint64_t n);
/* Has it failed? */
bool wrap_failed(void);
/* Allocations that were made and not given back. */
int64_t wrap_live(void);

/* What the calling thread did since its last wrap_reset(). */
struct wrap_counts {
	uint64_t allocs, locks, logs, syscalls;
};
void wrap_reset(void);
struct wrap_counts wrap_counts(void);

#endif
