/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pack.h - fields in and out of the messages of perf, serve and get. Little
 * endian. A step over the end sets BAD and does nothing more, so that a parser
 * reads all its fields first and asks once.
 */
#ifndef DLSLIME_PACK_H
#define DLSLIME_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slime/mr.h>

enum { MSG_BYTES_MAX = 8192 };

/* A message: what it is, and its fields. Writing goes on at LEN, reading at POS. */
struct msg {
	uint8_t type;
	bool bad;
	uint32_t len;
	uint32_t pos;
	uint8_t bytes[MSG_BYTES_MAX];
};

void msg_begin(struct msg *m, uint8_t type);

void put_uint(struct msg *m, uint64_t v, unsigned bytes);
void put_bytes(struct msg *m, const void *src, size_t len);
void put_text(struct msg *m, const char *text);
void put_desc(struct msg *m, const struct slime_desc *desc);

uint64_t get_uint(struct msg *m, unsigned bytes);
void get_bytes(struct msg *m, void *dst, size_t len);

/* A text that does not fit CAP, or has a NUL or a control character in it, is bad. */
void get_text(struct msg *m, char *dst, size_t cap);
void get_desc(struct msg *m, struct slime_desc *out);

/* Whether everything was there and nothing is left over. */
bool msg_ok(const struct msg *m);

#endif
