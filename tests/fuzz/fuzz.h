/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fuzz/fuzz.h - the entry points that libFuzzer and replay.c call. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <slime/base.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Log lines would be one for each broken input. */
static inline void fuzz_log_nothing(void *arg, enum slime_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* What must hold for every input. Not assert(), which a build may leave out. */
#define MUST(cond)        \
	((cond) ? (void)0 \
	        : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond), abort()))

#endif
