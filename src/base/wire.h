/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/wire.h - little-endian fields in and out of a bounded run of bytes.
 *
 * A step over the end sets BAD and does nothing more, so that a parser reads
 * all its fields first and asks once.
 */
#ifndef SL_WIRE_H
#define SL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sl_wire {
	uint8_t *p;
	uint8_t *end;
	bool bad;
};

static inline struct sl_wire sl_wire_on(void *buf, size_t len)
{
	return (struct sl_wire){.p = buf, .end = (uint8_t *)buf + len};
}

static inline size_t sl_wire_left(const struct sl_wire *w)
{
	return (size_t)(w->end - w->p);
}

static inline bool sl_wire_is_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len && !*p) {
		p++;
		len--;
	}
	return !len;
}

/* The next LEN bytes in place, or NULL. */
static inline uint8_t *sl_wire_skip(struct sl_wire *w, size_t len)
{
	uint8_t *at = w->p;

	if (w->bad || len > sl_wire_left(w)) {
		w->bad = true;
		return NULL;
	}
	w->p += len;
	return at;
}

static inline void sl_wire_put(struct sl_wire *w, const void *src, size_t len)
{
	uint8_t *at = sl_wire_skip(w, len);

	if (at && len)
		memcpy(at, src, len);
}

static inline void sl_wire_put_uint(struct sl_wire *w, uint64_t v, unsigned bytes)
{
	uint8_t *at = sl_wire_skip(w, bytes);

	for (unsigned i = 0; at && i < bytes; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

static inline void sl_wire_get(struct sl_wire *w, void *dst, size_t len)
{
	const uint8_t *at = sl_wire_skip(w, len);

	if (at)
		memcpy(dst, at, len);
	else
		memset(dst, 0, len);
}

static inline uint64_t sl_wire_get_uint(struct sl_wire *w, unsigned bytes)
{
	const uint8_t *at = sl_wire_skip(w, bytes);
	uint64_t v = 0;

	for (unsigned i = 0; at && i < bytes; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

#endif
