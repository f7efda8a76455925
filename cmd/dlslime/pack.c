/* SPDX-License-Identifier: BSD-3-Clause */
#include "pack.h"

#include <string.h>

void msg_begin(struct msg *m, uint8_t type)
{
	m->type = type;
	m->bad = false;
	m->len = 0;
	m->pos = 0;
}

void put_bytes(struct msg *m, const void *src, size_t len)
{
	if (m->bad || len > MSG_BYTES_MAX - m->len) {
		m->bad = true;
		return;
	}
	if (len)
		memcpy(m->bytes + m->len, src, len);
	m->len += (uint32_t)len;
}

void put_uint(struct msg *m, uint64_t v, unsigned bytes)
{
	uint8_t le[8];

	for (unsigned i = 0; i < bytes; i++)
		le[i] = (uint8_t)(v >> (8 * i));
	put_bytes(m, le, bytes);
}

void put_text(struct msg *m, const char *text)
{
	size_t len = strlen(text);

	put_uint(m, len, 2);
	put_bytes(m, text, len);
}

void put_desc(struct msg *m, const struct slime_desc *desc)
{
	put_uint(m, desc->len, 2);
	put_bytes(m, desc->bytes, desc->len);
}

void get_bytes(struct msg *m, void *dst, size_t len)
{
	if (m->bad || len > m->len - m->pos) {
		m->bad = true;
		memset(dst, 0, len);
		return;
	}
	if (len)
		memcpy(dst, m->bytes + m->pos, len);
	m->pos += (uint32_t)len;
}

uint64_t get_uint(struct msg *m, unsigned bytes)
{
	uint8_t le[8];
	uint64_t v = 0;

	get_bytes(m, le, bytes);
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)le[i] << (8 * i);
	return v;
}

void get_text(struct msg *m, char *dst, size_t cap)
{
	size_t len = get_uint(m, 2);

	if (len >= cap) {
		m->bad = true;
		len = 0;
	}
	get_bytes(m, dst, len);
	dst[len] = '\0';
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)dst[i] < 0x20 || dst[i] == 0x7f)
			m->bad = true;
	}
}

void get_desc(struct msg *m, struct slime_desc *out)
{
	size_t len = get_uint(m, 2);

	if (len > SLIME_DESC_MAX) {
		m->bad = true;
		len = 0;
	}
	get_bytes(m, out->bytes, len);
	out->len = (uint32_t)len;
}

bool msg_ok(const struct msg *m)
{
	return !m->bad && m->pos == m->len;
}
