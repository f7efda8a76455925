/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Half of a round trip of writes, as ib_write_lat measures it:
 *
 *	ping TRANSPORT SIZE
 *
 * Both processes look at the last byte of their own memory; when the other has
 * written a new value there, they write one back. So a write counts until its
 * bytes are in the peer's memory, and not until this side knows.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pair.h"

enum { LIMIT_S = 60, END = 255 };

static slime_rmr *peer_region(const struct side *s)
{
	struct slime_desc desc;
	struct slime_error err;
	slime_rmr *rmr;

	must(slime_mr_export(s->mr, &desc, &err), &err);
	give(s, desc.bytes, desc.len);
	desc.len = (uint32_t)take(s, desc.bytes, sizeof(desc.bytes));
	must(slime_ep_import(s->ep, &desc, &rmr, &err), &err);
	return rmr;
}

static void reap(slime_op *op)
{
	int rc;

	if (!op)
		return;
	do
		rc = slime_op_wait(op, 0, NULL);
	while (rc == -ETIMEDOUT);
	must_do(rc, "write");
	slime_op_release(op);
}

/*
 * The first half of the memory is the peer's to write, the second is ours to write from. LAST is
 * the write before, whose answer is here: so it is over, or nearly.
 */
static void put(const struct side *s, uint64_t size, unsigned char value, slime_op **last)
{
	struct slime_seg seg = {.local = s->mr, .remote = s->rmr, .local_off = size, .len = size};

	reap(*last);
	s->mem[2 * size - 1] = (char)value;
	must_do(slime_ep_write(s->ep, &seg, 1, NULL, last), "submit");
}

/* Wait until the peer has written anything else than OLD; that. */
static unsigned char await(const struct side *s, uint64_t size, unsigned char old)
{
	const _Atomic unsigned char *last = (const void *)(s->mem + size - 1);
	unsigned char now;

	do
		now = atomic_load_explicit(last, memory_order_acquire);
	while (now == old);
	return now;
}

static void answer(const struct side *s, uint64_t size)
{
	slime_op *last = NULL;
	unsigned char value;

	for (unsigned i = 0;; i++) {
		value = await(s, size, (unsigned char)(i % END));
		if (value == END)
			break;
		put(s, size, value, &last);
	}
	reap(last);
}

static void ask(const struct side *s, uint64_t size, struct samples *samples)
{
	int64_t until_ns = now_ns() + cell_ns();
	slime_op *last = NULL;
	int64_t began_ns;
	unsigned i = 0;

	do {
		unsigned char old = (unsigned char)(i++ % END);

		began_ns = now_ns();
		put(s, size, (unsigned char)(i % END), &last);
		(void)await(s, size, old);
		samples_add(samples, (now_ns() - began_ns) / 2);
	} while (began_ns < until_ns);
	put(s, size, END, &last);
	reap(last);
}

int main(int argc, char **argv)
{
	struct samples samples = {0};
	struct side s;
	uint64_t size;
	bool server;

	if (argc != 3 || (size = strtoull(argv[2], NULL, 10)) == 0) {
		fprintf(stderr, "usage: ping TRANSPORT SIZE\n");
		return 2;
	}
	server = pair_fork(&s);
	(void)alarm(LIMIT_S);
	side_context(&s, 0, 0);
	side_memory(&s, 2 * size, false);
	memset(s.mem, 0, s.len);
	s.ep = side_meet(&s, argv[1]);
	s.rmr = peer_region(&s);
	if (server)
		answer(&s, size);
	else
		ask(&s, size, &samples);
	if (!server)
		figure_latency("ping", size, 1, &samples);
	samples_free(&samples);
	side_end(&s);
	return 0;
}
