/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/foreign.h - memory that somebody else owns and may unmap at any time.
 *
 * The kernel copies it, from this process to itself, so that a hole is a result
 * and not a signal. Any thread.
 */
#ifndef SL_FOREIGN_H
#define SL_FOREIGN_H

#include <stddef.h>

enum sl_hole {
	SL_HOLE_NONE,
	SL_HOLE_SRC, /* what was to be read is not there */
	SL_HOLE_DST, /* where it was to be written is not there, or not writable */
};

/* 0, or the negative errno with which the kernel refuses such copies. */
int sl_foreign_check(void);

/* Copy LEN bytes; what comes before a hole is copied, or not. */
enum sl_hole sl_foreign_copy(void *dst, const void *src, size_t len);

#endif
