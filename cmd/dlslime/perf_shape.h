/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf_shape.h - what a client of perf asks its server for, where the bytes of
 * each operation lie, and which bytes those are.
 *
 * Both ends have a region of BLOCKS blocks. Operation number i uses block
 * i % BLOCKS on both sides, at the same offsets: BATCH pieces of SIZE bytes,
 * STRIDE apart. No I/O here.
 */
#ifndef DLSLIME_PERF_SHAPE_H
#define DLSLIME_PERF_SHAPE_H

#include "pack.h"

enum perf_op { PERF_READ, PERF_WRITE, PERF_WRITE_IMM, PERF_SEND, PERF_N_OPS };
enum perf_mem { PERF_ALLOC, PERF_MALLOC, PERF_N_MEMS };

enum {
	PERF_BATCH_MAX = 65536,
	PERF_DEPTH_MAX = 4096,
	PERF_LANES_MAX = 16,
	PERF_TRANSPORT_MAX = 16,
};
#define PERF_SIZE_MAX ((uint64_t)1 << 40)

struct perf_shape {
	enum perf_op op;
	enum perf_mem mem;
	bool verify;
	bool strided; /* the pieces are one segment with STRIDE, not a segment each */
	uint32_t depth;
	uint32_t batch;
	uint32_t lanes; /* 0: the transport decides */
	uint64_t size;
	uint64_t stride; /* SIZE unless strided */
	uint64_t blocks;
	uint64_t seed;
	char transport[PERF_TRANSPORT_MAX]; /* "": automatic */
};

/* "read", "write_imm"; -1 if TEXT is none. */
extern const char *const perf_op_names[PERF_N_OPS];
extern const char *const perf_mem_names[PERF_N_MEMS];
int perf_name_index(const char *const *names, int n, const char *text);

/* From one block to the next. */
uint64_t perf_step(const struct perf_shape *s);
uint64_t perf_region_len(const struct perf_shape *s);
uint64_t perf_op_bytes(const struct perf_shape *s);

/* Choose BLOCKS: about FOOTPRINT bytes, but a block at least for each operation in flight. */
void perf_shape_plan(struct perf_shape *s, uint64_t footprint);

/* Whether S makes sense and needs at most LIMIT bytes; S may come from a stranger. */
int perf_shape_check(const struct perf_shape *s, uint64_t limit, struct slime_error *err);

void perf_shape_put(struct msg *m, const struct perf_shape *s);
void perf_shape_get(struct msg *m, struct perf_shape *out);

/* Bytes of operation INDEX in the region at BASE: each 8-byte word differs, by place and by
 * operation. */
void perf_fill(const struct perf_shape *s, char *base, uint64_t block, uint64_t index);
bool perf_right(const struct perf_shape *s, const char *base, uint64_t block, uint64_t index);

/* Make sure that what is there is not what perf_fill() writes. */
void perf_spoil(const struct perf_shape *s, char *base, uint64_t block);

#endif
