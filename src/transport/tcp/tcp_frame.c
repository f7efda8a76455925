/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/tcp/tcp_frame.h"

#include <errno.h>
#include <string.h>

#include "base/wire.h"

static const char magic[8] = {'S', 'L', 'I', 'M', 'E', 'T', 'C', '1'};

enum { VERSION = 1 };

/* The parsers only read, through a cursor that also writes. */
static struct sl_wire over(const uint8_t *in, size_t len)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} u = {.in = in};

	return sl_wire_on(u.out, len);
}

static void put_name(struct sl_wire *w, const struct tcp_name *name)
{
	sl_wire_put_uint(w, name->id, 8);
	sl_wire_put(w, name->secret, sizeof(name->secret));
}

static void get_name(struct sl_wire *w, struct tcp_name *name)
{
	name->id = sl_wire_get_uint(w, 8);
	sl_wire_get(w, name->secret, sizeof(name->secret));
}

void sl_tcp_put_hello(uint8_t *out, const struct tcp_hello *hello)
{
	struct sl_wire w = sl_wire_on(out, TCP_HELLO_LEN);

	sl_wire_put(&w, magic, sizeof(magic));
	sl_wire_put_uint(&w, VERSION, 2);
	sl_wire_put_uint(&w, hello->resume, 2);
	sl_wire_put_uint(&w, 0, 4);
	put_name(&w, &hello->to);
	put_name(&w, &hello->from);
}

int sl_tcp_get_hello(const uint8_t *in, struct tcp_hello *out)
{
	struct sl_wire w = over(in, TCP_HELLO_LEN);
	uint64_t flags;

	if (memcmp(sl_wire_skip(&w, sizeof(magic)), magic, sizeof(magic)) ||
	    sl_wire_get_uint(&w, 2) != VERSION)
		return -EPROTO;
	flags = sl_wire_get_uint(&w, 2);
	if (flags > 1 || sl_wire_get_uint(&w, 4))
		return -EPROTO;
	out->resume = flags;
	get_name(&w, &out->to);
	get_name(&w, &out->from);
	return 0;
}

bool sl_tcp_like_hello(const uint8_t *in, size_t n)
{
	return !memcmp(in, magic, n < sizeof(magic) ? n : sizeof(magic));
}

void sl_tcp_put_answer(uint8_t *out, const struct tcp_answer *answer)
{
	struct sl_wire w = sl_wire_on(out, TCP_ANSWER_LEN);

	sl_wire_put(&w, magic, sizeof(magic));
	sl_wire_put_uint(&w, (uint32_t)answer->status, 4);
	sl_wire_put_uint(&w, answer->nfailures, 4);
	sl_wire_put_uint(&w, answer->ended, 8);
	for (unsigned i = 0; i < TCP_FAILURES; i++) {
		sl_wire_put_uint(&w, answer->failure[i].seq, 8);
		sl_wire_put_uint(&w, (uint64_t)answer->failure[i].status, 8);
	}
}

/* A status from outside is an errno, or something is wrong. */
static int check_status(uint32_t raw, int *out)
{
	*out = (int)raw;
	return *out <= 0 && *out > -4096 ? 0 : -EPROTO;
}

int sl_tcp_get_answer(const uint8_t *in, struct tcp_answer *out)
{
	struct sl_wire w = over(in, TCP_ANSWER_LEN);
	int rc;

	if (memcmp(sl_wire_skip(&w, sizeof(magic)), magic, sizeof(magic)))
		return -EPROTO;
	rc = check_status((uint32_t)sl_wire_get_uint(&w, 4), &out->status);
	out->nfailures = (uint32_t)sl_wire_get_uint(&w, 4);
	out->ended = sl_wire_get_uint(&w, 8);
	for (unsigned i = 0; i < TCP_FAILURES; i++) {
		out->failure[i].seq = sl_wire_get_uint(&w, 8);
		out->failure[i].status = (int64_t)sl_wire_get_uint(&w, 8);
		if (out->failure[i].status > 0 || out->failure[i].status <= -4096)
			rc = -EPROTO;
	}
	return out->nfailures > TCP_FAILURES ? -EPROTO : rc;
}

void sl_tcp_put_head(uint8_t *out, const struct tcp_head *head)
{
	struct sl_wire w = sl_wire_on(out, TCP_HEAD_LEN);

	sl_wire_put_uint(&w, head->type, 1);
	sl_wire_put_uint(&w, head->flags, 1);
	sl_wire_put_uint(&w, 0, 2);
	sl_wire_put_uint(&w, head->arg, 4);
	sl_wire_put_uint(&w, head->len, 8);
}

/* Which flags a type may carry; negative: there is no such type. */
static int flags_of(unsigned type, bool asked)
{
	switch (type) {
	case TCP_READ:
		return asked ? TCP_LAST : -1;
	case TCP_WRITE:
		return asked ? TCP_LAST | TCP_IMM | TCP_BARE | TCP_ABORT : -1;
	case TCP_SEND:
		return asked ? TCP_TOO_LONG | TCP_AGAIN | TCP_LATER | TCP_BARE | TCP_ABORT : -1;
	case TCP_RECV:
	case TCP_UNRECV:
	case TCP_PING:
		return asked ? 0 : -1;
	case TCP_DATA:
		return asked ? -1 : TCP_LAST;
	case TCP_DONE:
	case TCP_PONG:
		return asked ? -1 : 0;
	default:
		return -1;
	}
}

static bool goes_together(const struct tcp_head *h)
{
	int status;

	switch (h->type) {
	case TCP_WRITE:
		if ((h->flags & TCP_ABORT) && h->flags != (TCP_ABORT | TCP_LAST | TCP_BARE))
			return false;
		return !(h->flags & TCP_IMM) || (h->flags & TCP_LAST);
	case TCP_SEND:
		if (h->flags & (TCP_BARE | TCP_ABORT))
			return (h->flags & ~TCP_ABORT) == TCP_BARE && !h->len;
		return !(h->flags & TCP_TOO_LONG) || (!h->len && !(h->flags & TCP_LATER));
	case TCP_DONE:
		return check_status(h->arg, &status) == 0;
	default:
		return true;
	}
}

int sl_tcp_get_head(const uint8_t *in, bool asked, struct tcp_head *out)
{
	struct sl_wire w = over(in, TCP_HEAD_LEN);
	int allowed;

	out->type = (uint8_t)sl_wire_get_uint(&w, 1);
	out->flags = (uint8_t)sl_wire_get_uint(&w, 1);
	if (sl_wire_get_uint(&w, 2))
		return -EPROTO;
	out->arg = (uint32_t)sl_wire_get_uint(&w, 4);
	out->len = sl_wire_get_uint(&w, 8);
	allowed = flags_of(out->type, asked);
	if (allowed < 0 || (out->flags & ~allowed) || !goes_together(out))
		return -EPROTO;
	return 0;
}

void sl_tcp_put_piece(uint8_t *out, const struct tcp_piece *p)
{
	struct sl_wire w = sl_wire_on(out, TCP_PIECE_LEN);

	sl_wire_put_uint(&w, p->region, 8);
	sl_wire_put(&w, p->key, sizeof(p->key));
	sl_wire_put_uint(&w, p->off, 8);
	sl_wire_put_uint(&w, p->len, 8);
	sl_wire_put_uint(&w, p->count, 8);
	sl_wire_put_uint(&w, p->stride, 8);
}

int sl_tcp_get_piece(const uint8_t *in, struct tcp_piece *out, uint64_t *out_bytes)
{
	struct sl_wire w = over(in, TCP_PIECE_LEN);

	out->region = sl_wire_get_uint(&w, 8);
	sl_wire_get(&w, out->key, sizeof(out->key));
	out->off = sl_wire_get_uint(&w, 8);
	out->len = sl_wire_get_uint(&w, 8);
	out->count = sl_wire_get_uint(&w, 8);
	out->stride = sl_wire_get_uint(&w, 8);
	if (!out->count || __builtin_mul_overflow(out->len, out->count, out_bytes))
		return -EPROTO;
	return 0;
}
