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

/* The next LEN bytes in place, or NULL. */
uint8_t *sl_wire_skip(struct sl_wire *w, size_t len);

void sl_wire_put(struct sl_wire *w, const void *src, size_t len);
/* The low BYTES (1 to 8) of V. */
void sl_wire_put_uint(struct sl_wire *w, uint64_t v, unsigned bytes);

/* Zeroes if there are not LEN bytes left. */
void sl_wire_get(struct sl_wire *w, void *dst, size_t len);
uint64_t sl_wire_get_uint(struct sl_wire *w, unsigned bytes);

bool sl_wire_is_zero(const void *buf, size_t len);

#endif
