/* SPDX-License-Identifier: BSD-3-Clause */
#include "endpoint/desc.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/wire.h"

enum { MAGIC = 0x4d494c53, VERSION = 1, SUM_AT = 8, BODY_AT = 16 };

static uint64_t checksum(const struct slime_desc *d)
{
	/* the first eight bytes are in it through the seed */
	uint64_t seed;

	memcpy(&seed, d->bytes, sizeof(seed));
	return XXH64(d->bytes + BODY_AT, d->len - BODY_AT, le64toh(seed));
}

static struct sl_wire rest_of(struct slime_desc *d)
{
	return sl_wire_on(d->bytes + d->len, sizeof(d->bytes) - d->len);
}

void sl_desc_begin(struct slime_desc *out, const struct sl_desc_head *head)
{
	struct sl_wire w = sl_wire_on(out->bytes, sizeof(out->bytes));
	size_t host = strnlen(head->host, sizeof(head->host) - 1);

	sl_wire_put_uint(&w, MAGIC, 4);
	sl_wire_put_uint(&w, VERSION, 2);
	sl_wire_put_uint(&w, head->kind, 1);
	sl_wire_put_uint(&w, 0, 1);
	sl_wire_put_uint(&w, 0, 8);
	sl_wire_put(&w, head->ctx_id, sizeof(head->ctx_id));
	if (head->kind == SL_DESC_EP) {
		sl_wire_put_uint(&w, head->ep_id, 8);
		sl_wire_put_uint(&w, head->pid, 4);
		sl_wire_put_uint(&w, head->lanes, 2);
		sl_wire_put_uint(&w, host, 1);
		sl_wire_put(&w, head->host, host);
	} else {
		sl_wire_put_uint(&w, head->len, 8);
		sl_wire_put_uint(&w, head->access, 4);
		sl_wire_put_uint(&w, head->mem_kind, 4);
	}
	out->len = (uint32_t)(w.p - out->bytes);
}

int sl_desc_add(struct slime_desc *out, const char *transport, unsigned dom, unsigned lane,
                const struct sl_blob *blob)
{
	struct sl_wire w = rest_of(out);
	size_t name = strlen(transport);

	sl_wire_put_uint(&w, name, 1);
	sl_wire_put(&w, transport, name);
	sl_wire_put_uint(&w, dom, 1);
	sl_wire_put_uint(&w, lane, 1);
	sl_wire_put_uint(&w, blob->len, 2);
	sl_wire_put(&w, blob->bytes, blob->len);
	if (w.bad)
		return -EMSGSIZE;
	out->len = (uint32_t)(w.p - out->bytes);
	return 0;
}

void sl_desc_end(struct slime_desc *out)
{
	struct sl_wire w = sl_wire_on(out->bytes + SUM_AT, 8);

	sl_wire_put_uint(&w, checksum(out), 8);
}

/* It goes into sentences and onto terminals. */
static void make_printable(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			text[i] = '?';
}

static void read_head(struct sl_wire *w, struct sl_desc_head *head)
{
	size_t host;

	sl_wire_get(w, head->ctx_id, sizeof(head->ctx_id));
	if (head->kind == SL_DESC_MR) {
		head->len = sl_wire_get_uint(w, 8);
		head->access = (uint32_t)sl_wire_get_uint(w, 4);
		head->mem_kind = (uint32_t)sl_wire_get_uint(w, 4);
		return;
	}
	head->ep_id = sl_wire_get_uint(w, 8);
	head->pid = (uint32_t)sl_wire_get_uint(w, 4);
	head->lanes = (uint16_t)sl_wire_get_uint(w, 2);
	host = sl_wire_get_uint(w, 1);
	if (host >= sizeof(head->host)) {
		w->bad = true;
		return;
	}
	sl_wire_get(w, head->host, host);
	make_printable(head->host, host);
}

static void read_section(struct sl_wire *w, struct sl_desc_section *s)
{
	size_t name = sl_wire_get_uint(w, 1);

	*s = (struct sl_desc_section){0};
	if (name >= sizeof(s->transport)) {
		w->bad = true;
		return;
	}
	sl_wire_get(w, s->transport, name);
	make_printable(s->transport, name);
	s->dom = (uint8_t)sl_wire_get_uint(w, 1);
	s->lane = (uint8_t)sl_wire_get_uint(w, 1);
	s->len = (uint16_t)sl_wire_get_uint(w, 2);
	s->bytes = sl_wire_skip(w, s->len);
}

/* Is it ours at all? The sentence says which of the ways it is not. */
static int check_frame(const struct slime_desc *in, enum sl_desc_kind kind, struct sl_wire *w,
                       struct slime_error *err)
{
	const char *what = kind == SL_DESC_EP ? "an endpoint" : "a region";
	uint32_t magic = (uint32_t)sl_wire_get_uint(w, 4);
	unsigned version = (unsigned)sl_wire_get_uint(w, 2);
	unsigned is = (unsigned)sl_wire_get_uint(w, 1);
	uint64_t sum;

	(void)sl_wire_skip(w, 1);
	sum = sl_wire_get_uint(w, 8);
	if (w->bad || magic != MAGIC)
		return sl_fail(err, -EPROTO, "these %u bytes are not a description of %s", in->len,
		               what);
	if (version != VERSION)
		return sl_fail(err, -EPROTO,
		               "the description is of version %u, this library reads version %u",
		               version, VERSION);
	if (sum != checksum(in))
		return sl_fail(err, -EPROTO, "the description of %s is damaged: checksum differs",
		               what);
	if (is != (unsigned)kind)
		return sl_fail(err, -EPROTO, "this describes %s, not %s",
		               is == SL_DESC_EP   ? "an endpoint"
		               : is == SL_DESC_MR ? "a region"
		                                  : "something else",
		               what);
	return 0;
}

int sl_desc_read(const struct slime_desc *in, enum sl_desc_kind kind, struct sl_desc_head *head,
                 struct sl_desc_section *sections, struct slime_error *err)
{
	union {
		const uint8_t *in;
		uint8_t *out; /* only read through */
	} bytes = {.in = in->bytes};
	struct sl_wire w;
	int n = 0;
	int rc;

	if (in->len > sizeof(in->bytes) || in->len < BODY_AT)
		return sl_fail(err, -EPROTO, "a description of %u bytes cannot be one of ours",
		               in->len);
	w = sl_wire_on(bytes.out, in->len);
	rc = check_frame(in, kind, &w, err);
	if (rc)
		return rc;
	*head = (struct sl_desc_head){.kind = kind};
	read_head(&w, head);
	while (!w.bad && sl_wire_left(&w) && n < SL_DESC_SECTIONS)
		read_section(&w, &sections[n++]);
	if (w.bad || sl_wire_left(&w))
		return sl_fail(err, -EPROTO, "the description is cut or too long at byte %td",
		               w.p - in->bytes);
	return n;
}

const struct sl_desc_section *sl_desc_find(const struct sl_desc_section *sections, int n,
                                           const char *transport, int dom, unsigned lane)
{
	for (int i = 0; i < n; i++) {
		if (!strcmp(sections[i].transport, transport) && sections[i].lane == lane &&
		    (dom < 0 || sections[i].dom == dom))
			return &sections[i];
	}
	return NULL;
}
