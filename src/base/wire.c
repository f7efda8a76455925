/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/wire.h"

#include <endian.h>
#include <string.h>

uint8_t *sl_wire_skip(struct sl_wire *w, size_t len)
{
	uint8_t *at = w->p;

	if (w->bad || len > sl_wire_left(w)) {
		w->bad = true;
		return NULL;
	}
	w->p += len;
	return at;
}

void sl_wire_put(struct sl_wire *w, const void *src, size_t len)
{
	uint8_t *at = sl_wire_skip(w, len);

	if (at && len)
		memcpy(at, src, len);
}

void sl_wire_put_uint(struct sl_wire *w, uint64_t v, unsigned bytes)
{
	v = htole64(v); /* its low bytes are the first */
	sl_wire_put(w, &v, bytes);
}

void sl_wire_get(struct sl_wire *w, void *dst, size_t len)
{
	const uint8_t *at = sl_wire_skip(w, len);

	if (!at)
		memset(dst, 0, len);
	else if (len)
		memcpy(dst, at, len);
}

uint64_t sl_wire_get_uint(struct sl_wire *w, unsigned bytes)
{
	uint64_t v = 0;

	sl_wire_get(w, &v, bytes);
	return le64toh(v);
}

bool sl_wire_is_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len && !*p) {
		p++;
		len--;
	}
	return !len;
}
