/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf_shape.h"

#include <errno.h>
#include <string.h>

#include "say.h"
#include "size.h"

const char *const perf_op_names[PERF_N_OPS] = {"read", "write", "write_imm", "send"};
const char *const perf_mem_names[PERF_N_MEMS] = {"alloc", "malloc"};

enum { CACHE_LINE = 64 };

int perf_name_index(const char *const *names, int n, const char *text)
{
	for (int i = 0; i < n; i++) {
		if (strcmp(names[i], text) == 0)
			return i;
	}
	return -1;
}

uint64_t perf_step(const struct perf_shape *s)
{
	uint64_t span = (s->batch - 1) * s->stride + s->size;

	return (span + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

uint64_t perf_region_len(const struct perf_shape *s)
{
	return perf_step(s) * s->blocks;
}

uint64_t perf_op_bytes(const struct perf_shape *s)
{
	return s->size * s->batch;
}

void perf_shape_plan(struct perf_shape *s, uint64_t footprint)
{
	s->blocks = footprint / perf_step(s);
	if (s->blocks < s->depth)
		s->blocks = s->depth;
}

int perf_shape_check(const struct perf_shape *s, uint64_t limit, struct slime_error *err)
{
	char text[32];
	char have[32];

	if (s->size < 1 || s->size > PERF_SIZE_MAX || s->batch < 1 || s->batch > PERF_BATCH_MAX ||
	    s->depth < 1 || s->depth > PERF_DEPTH_MAX || s->stride > PERF_SIZE_MAX ||
	    s->lanes > PERF_LANES_MAX || s->blocks < s->depth)
		return refuse(err, -EINVAL, "the client asks for something out of range");
	if (s->stride < s->size)
		return refuse(err, -EINVAL, "the stride is smaller than a piece");
	if (s->op == PERF_SEND && s->batch != 1)
		return refuse(err, -EINVAL, "a message is one piece: send takes no batch");
	if (s->blocks > limit / perf_step(s))
		return refuse(err, -ENOMEM,
		              "%llu times %s is more memory than the %s that are to be had "
		              "here: ask for less in flight or smaller operations",
		              (unsigned long long)s->blocks,
		              size_human(perf_step(s), text, sizeof(text)),
		              size_human(limit, have, sizeof(have)));
	return 0;
}

void perf_shape_put(struct msg *m, const struct perf_shape *s)
{
	put_uint(m, s->op, 1);
	put_uint(m, s->mem, 1);
	put_uint(m, s->verify, 1);
	put_uint(m, s->strided, 1);
	put_uint(m, s->depth, 4);
	put_uint(m, s->batch, 4);
	put_uint(m, s->lanes, 4);
	put_uint(m, s->size, 8);
	put_uint(m, s->stride, 8);
	put_uint(m, s->blocks, 8);
	put_uint(m, s->seed, 8);
	put_text(m, s->transport);
}

void perf_shape_get(struct msg *m, struct perf_shape *out)
{
	uint64_t op = get_uint(m, 1);
	uint64_t mem = get_uint(m, 1);

	if (op >= PERF_N_OPS || mem >= PERF_N_MEMS)
		m->bad = true;
	out->op = (enum perf_op)op;
	out->mem = (enum perf_mem)mem;
	out->verify = get_uint(m, 1) != 0;
	out->strided = get_uint(m, 1) != 0;
	out->depth = (uint32_t)get_uint(m, 4);
	out->batch = (uint32_t)get_uint(m, 4);
	out->lanes = (uint32_t)get_uint(m, 4);
	out->size = get_uint(m, 8);
	out->stride = get_uint(m, 8);
	out->blocks = get_uint(m, 8);
	out->seed = get_uint(m, 8);
	get_text(m, out->transport, sizeof(out->transport));
}

/* splitmix64's finisher: each bit of the outcome hangs on each bit of V. */
static uint64_t mix(uint64_t v)
{
	v += 0x9e3779b97f4a7c15;
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
	v = (v ^ v >> 27) * 0x94d049bb133111eb;
	return v ^ v >> 31;
}

/* The 8 bytes at offset AT (a multiple of 8) of the region, as operation SEED writes them. */
static uint64_t word(uint64_t seed, uint64_t at)
{
	return mix(seed + at);
}

/*
 * Where the word that holds offset AT overlaps [AT, AT + LEFT): its bytes go to
 * BUF, and their number is returned.
 */
static size_t piece_word(uint64_t seed, uint64_t at, uint64_t left, char buf[8])
{
	size_t skip = at % 8;
	size_t n = left < 8 - skip ? (size_t)left : 8 - skip;
	uint64_t w = word(seed, at - skip);

	memcpy(buf, (const char *)&w + skip, n);
	return n;
}

void perf_fill(const struct perf_shape *s, char *base, uint64_t block, uint64_t index)
{
	uint64_t seed = mix(s->seed + index);
	char buf[8];

	for (uint32_t i = 0; i < s->batch; i++) {
		uint64_t at = block * perf_step(s) + i * s->stride;

		for (uint64_t left = s->size; left;) {
			size_t n = piece_word(seed, at, left, buf);

			memcpy(base + at, buf, n);
			at += n;
			left -= n;
		}
	}
}

bool perf_right(const struct perf_shape *s, const char *base, uint64_t block, uint64_t index)
{
	uint64_t seed = mix(s->seed + index);
	char buf[8];

	for (uint32_t i = 0; i < s->batch; i++) {
		uint64_t at = block * perf_step(s) + i * s->stride;

		for (uint64_t left = s->size; left;) {
			size_t n = piece_word(seed, at, left, buf);

			if (memcmp(base + at, buf, n) != 0)
				return false;
			at += n;
			left -= n;
		}
	}
	return true;
}

void perf_spoil(const struct perf_shape *s, char *base, uint64_t block)
{
	for (uint32_t i = 0; i < s->batch; i++) {
		char *piece = base + block * perf_step(s) + i * s->stride;

		for (uint64_t j = 0; j < s->size; j++)
			piece[j] = (char)~piece[j];
	}
}
