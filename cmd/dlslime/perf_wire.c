/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "say.h"
#include "size.h"

const uint8_t perf_hello[PERF_HELLO_LEN] = {'D', 'L', 'S', 'P', 'E', 'R', 'F', '1'};

static const int64_t second = 1000000000;
static const int64_t silence_ns = 3000000000;

uint64_t perf_mem_limit(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
}

int perf_mem_get(slime_ctx *ctx, const struct perf_shape *s, char **out, struct slime_error *err)
{
	uint64_t len = perf_region_len(s);
	char text[32];
	void *mem;

	if (s->mem == PERF_ALLOC) {
		int rc = slime_mem_alloc(ctx, len, NULL, &mem, err);

		if (rc < 0)
			return rc;
	} else {
		mem = malloc(len);
		if (!mem)
			return refuse(err, -ENOMEM, "no memory for %s",
			              size_human(len, text, sizeof(text)));
	}
	/* touched now, not in the first operations */
	memset(mem, 0, len);
	*out = mem;
	return 0;
}

void perf_mem_put(slime_ctx *ctx, const struct perf_shape *s, char *mem)
{
	if (s->mem == PERF_ALLOC)
		slime_mem_free(ctx, mem);
	else
		free(mem);
}

int perf_ep_create(slime_ctx *ctx, const struct perf_shape *s, slime_ep **out,
                   struct slime_error *err)
{
	const struct slime_ep_opts opts = {
	    .size = sizeof(opts),
	    .depth = s->depth + 1, /* a receive is posted anew before its place counts as free */
	    .lanes = s->lanes,
	    .transport = s->transport[0] ? s->transport : NULL,
	};

	return slime_ep_create(ctx, &opts, out, err);
}

int perf_watch_open(struct perf_watch *w, const struct address *at, struct slime_error *err)
{
	char text[HOST_MAX + 16];
	struct msg m;
	int rc = chan_dial(&w->chan, at, perf_hello, PERF_HELLO_LEN, 5 * second, err);

	if (rc < 0)
		return rc;
	msg_begin(&m, PERF_WATCH);
	rc = chan_send(&w->chan, &m, second, err);
	if (rc == 0)
		rc = chan_expect(&w->chan, &m, PERF_ALIVE, 0, 5 * second, err);
	if (rc < 0)
		return refuse(err, rc, "there is no 'perf serve' at %s: %.150s",
		              address_format(at, text, sizeof(text)), err->text);
	w->heard_ns = now_ns();
	return 0;
}

int perf_went_away(const struct address *at, int rc, struct slime_error *err)
{
	char text[HOST_MAX + 16];

	return refuse(err, rc, "the server at %s went away: %.150s",
	              address_format(at, text, sizeof(text)), err->text);
}

int perf_watch_check(struct perf_watch *w, struct slime_error *err)
{
	struct msg m;
	int rc;

	do {
		rc = chan_recv(&w->chan, &m, 0, err);
		if (rc == 0)
			w->heard_ns = now_ns();
	} while (rc == 0);
	if (rc != -ETIMEDOUT)
		return rc;
	if (now_ns() - w->heard_ns > silence_ns)
		return refuse(err, rc, "it has been silent for %lld s",
		              (long long)(silence_ns / second));
	return 0;
}
