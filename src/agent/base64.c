/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent/base64.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *sl_base64_text(const void *bytes, size_t n)
{
	const uint8_t *in = bytes;
	char *text = malloc((n + 2) / 3 * 4 + 1);
	char *at = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t b = (uint32_t)in[i] << 16;

		b |= i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0;
		b |= i + 2 < n ? in[i + 2] : 0;
		*at++ = digits[b >> 18];
		*at++ = digits[b >> 12 & 63];
		*at++ = i + 1 < n ? digits[b >> 6 & 63] : '=';
		*at++ = i + 2 < n ? digits[b & 63] : '=';
	}
	*at = '\0';
	return text;
}

/* The value of four digits, of which PADS are '='; -1: not base64. */
static int32_t quad(const char *in, unsigned pads)
{
	uint32_t b = 0;

	for (unsigned i = 0; i < 4; i++) {
		const char *d = i < 4 - pads && in[i] ? strchr(digits, in[i]) : digits;

		if (!d || (!in[i] && i < 4 - pads))
			return -1;
		b = b << 6 | (uint32_t)(d - digits);
	}
	return (int32_t)b;
}

long sl_base64_read(const char *text, size_t len, void *out, size_t cap)
{
	uint8_t *to = out;
	unsigned pads = 0;
	size_t n = 0;

	while (pads < 2 && len > pads && text[len - 1 - pads] == '=')
		pads++;
	if (len % 4 || !len || len / 4 * 3 - pads > cap)
		return -EPROTO;
	for (size_t i = 0; i < len; i += 4) {
		unsigned short_by = i + 4 == len ? pads : 0;
		int32_t b = quad(text + i, short_by);

		if (b < 0)
			return -EPROTO;
		for (unsigned k = 0; k < 3 - short_by; k++)
			to[n++] = (uint8_t)(b >> (16 - 8 * k));
	}
	return (long)n;
}
