/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_desc.c - descriptions from outside, through the public calls.
 *
 * The first byte chooses what happens to the rest, so that the fuzzer gets past
 * the checks that only chance could pass: the frame, the peer's context, and the
 * checksum. The process lives in a network of its own, because a description may
 * name any address.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <slime/slime.h>

#include "endpoint/desc.h"
#include "fuzz.h"
#include "own_network.h"

enum how {
	FIX_SUM = 1 << 0,
	FIX_FRAME = 1 << 1,   /* magic and version */
	FIX_CONTEXT = 1 << 2, /* the context id of a peer we are connected to */
	IMPORT = 1 << 3,      /* a region, else an endpoint */
	TRANSPORT = 3 << 4,   /* of the endpoint */
};

static const char *const transports[] = {"loopback", "shm", "tcp", NULL};
static slime_ctx *ctx;
static bool alone;

/* One connected endpoint of each transport, and its peer's description. */
static struct pair {
	slime_ep *a, *b;
	struct slime_desc b_desc;
} pairs[3];

static slime_ep *endpoint(const char *transport)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = transport};
	slime_ep *ep = NULL;

	return slime_ep_create(ctx, &opts, &ep, NULL) ? NULL : ep;
}

static bool connect_pair(struct pair *p, const char *transport)
{
	struct slime_desc a;
	int a_rc = -ETIMEDOUT, b_rc = -ETIMEDOUT;

	p->a = endpoint(transport);
	p->b = endpoint(transport);
	if (!p->a || !p->b || slime_ep_export(p->a, &a, NULL) ||
	    slime_ep_export(p->b, &p->b_desc, NULL))
		return false;
	for (int i = 0; i < 5000 && (a_rc == -ETIMEDOUT || b_rc == -ETIMEDOUT); i++) {
		if (a_rc == -ETIMEDOUT)
			a_rc = slime_ep_connect(p->a, &p->b_desc, 1000000, NULL);
		if (b_rc == -ETIMEDOUT)
			b_rc = slime_ep_connect(p->b, &a, 1000000, NULL);
	}
	return (!a_rc || a_rc == -EISCONN) && (!b_rc || b_rc == -EISCONN);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct slime_ctx_opts opts = {.size = sizeof(opts), .flags = SLIME_CTX_MANUAL_PROGRESS};

	(void)argc;
	(void)argv;
	slime_log_set(fuzz_log_nothing, NULL, SLIME_LOG_ERROR);
	alone = own_network();
	if (!alone)
		(void)fprintf(stderr, "no network of its own: tcp is left out\n");
	MUST(slime_ctx_create(&opts, &ctx, NULL) == 0);
	for (int i = 0; i < (alone ? 3 : 2); i++)
		if (!connect_pair(&pairs[i], transports[i]))
			(void)fprintf(stderr, "no pair over %s\n", transports[i]);
	return 0;
}

/* The checksum at 8 covers all behind 16; the context id is at 16. See endpoint/desc.h. */
static void fix(struct slime_desc *desc, unsigned how, const struct pair *pair)
{
	if (desc->len < 32)
		return;
	if (how & FIX_FRAME) {
		memcpy(desc->bytes, pair->b_desc.bytes, 6);
		desc->bytes[6] = how & IMPORT ? SL_DESC_MR : SL_DESC_EP;
		desc->bytes[7] = 0;
	}
	if (how & FIX_CONTEXT)
		memcpy(desc->bytes + 16, pair->b_desc.bytes + 16, SL_CTX_ID_LEN);
	if (how & FIX_SUM)
		sl_desc_end(desc);
}

static void try_import(const struct slime_desc *desc, const struct pair *pair)
{
	struct slime_error err = {0};
	slime_rmr *rmr = NULL;
	int rc = slime_ep_import(pair->a, desc, &rmr, &err);

	MUST(rc <= 0);
	MUST(rc == 0 || (err.text[0] && err.code == rc && !rmr));
	slime_rmr_release(rmr);
}

static void try_connect(const struct slime_desc *desc, const char *transport)
{
	struct slime_error err = {0};
	slime_ep *ep = endpoint(transport);
	int rc;

	if (!ep)
		return;
	rc = slime_ep_connect(ep, desc, 0, &err);
	MUST(rc < 0); /* nobody is there to answer */
	MUST(err.text[0] && err.code == rc);
	slime_ep_destroy(ep);
	(void)slime_ctx_progress(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct slime_desc desc;
	const struct pair *pair;
	unsigned how, which;

	if (!len || len - 1 > sizeof(desc.bytes))
		return 0;
	how = data[0];
	which = (how & TRANSPORT) >> 4;
	if (which >= 2 && !alone)
		which = 0;
	memset(&desc, 0, sizeof(desc));
	desc.len = (uint32_t)(len - 1);
	memcpy(desc.bytes, data + 1, len - 1);
	pair = &pairs[which % 3];
	fix(&desc, how, pair);
	if (!(how & IMPORT))
		try_connect(&desc, transports[which]);
	else if (pair->a)
		try_import(&desc, pair);
	return 0;
}
