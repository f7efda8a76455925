/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_connect.c - two endpoints meet, or are told why not. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"

static const struct pair_opts apart = {.apart = true};

/* connect() in a thread of its own, that its result is awaited from. */
struct connecting {
	slime_ep *ep;
	struct slime_desc peer;
	int rc;
	pthread_t thread;
};

static void *connect_main(void *arg)
{
	struct connecting *c = arg;

	c->rc = slime_ep_connect(c->ep, &c->peer, patience_ns(), NULL);
	return NULL;
}

static void connect_begin(struct connecting *c, struct side *from, struct side *to)
{
	c->ep = from->ep;
	CHECK_OK(slime_ep_export(to->ep, &c->peer, &test_err));
	CHECK_EQ(pthread_create(&c->thread, NULL, connect_main, c), 0);
}

static void connect_end(struct connecting *c)
{
	CHECK_EQ(pthread_join(c->thread, NULL), 0);
	CHECK_OK(c->rc);
}

static void works(struct pair *p)
{
	if (!p->a.rmr)
		pair_import(p);
	pair_ping(p, 100);
	fill(p->a.mem, 100, 5);
	CHECK_ENDS(p, start_write(&p->a, 0, 200, 100), 0);
	CHECK_FILLED(p->b.mem + 200, 100, 5);
}

static void in_order(struct pair *p, struct side *first, struct side *second)
{
	struct connecting one, two;

	connect_begin(&one, first, second);
	pair_linger(p, 20 * NS_PER_MS);
	connect_begin(&two, second, first);
	connect_end(&one);
	connect_end(&two);
	works(p);
	pair_destroy(p);
}

static void connects_when_a_comes_first(void)
{
	struct pair *p = pair_create(&apart);

	in_order(p, &p->a, &p->b);
}

static void connects_when_b_comes_first(void)
{
	struct pair *p = pair_create(&apart);

	in_order(p, &p->b, &p->a);
}

static void connects_when_both_come_at_once(void)
{
	for (int i = 0; i < 20; i++) {
		struct pair *p = pair_create(&apart);

		pair_connect(p);
		works(p);
		pair_destroy(p);
	}
}

/* Each call gives up almost at once; the two together still get there. */
static void connects_when_one_thread_polls_both(void)
{
	struct pair *p = pair_create(&apart);
	struct slime_desc a, b;
	int64_t end = now_ns() + patience_ns();
	int a_rc = -ETIMEDOUT, b_rc = -ETIMEDOUT;

	CHECK_OK(slime_ep_export(p->a.ep, &a, &test_err));
	CHECK_OK(slime_ep_export(p->b.ep, &b, &test_err));
	while ((a_rc || b_rc) && now_ns() < end) {
		if (a_rc == -ETIMEDOUT)
			a_rc = slime_ep_connect(p->a.ep, &b, NS_PER_MS, &test_err);
		if (b_rc == -ETIMEDOUT)
			b_rc = slime_ep_connect(p->b.ep, &a, NS_PER_MS, &test_err);
		if (a_rc != -ETIMEDOUT)
			CHECK_OK(a_rc);
		if (b_rc != -ETIMEDOUT)
			CHECK_OK(b_rc);
	}
	CHECK_OK(a_rc);
	CHECK_OK(b_rc);
	works(p);
	pair_destroy(p);
}

static void connect_times_out_when_the_peer_never_comes_and_works_later(void)
{
	struct pair *p = pair_create(&apart);
	struct slime_desc b;
	int64_t began = now_ns(), took;

	CHECK_OK(slime_ep_export(p->b.ep, &b, &test_err));
	CHECK_RC(slime_ep_connect(p->a.ep, &b, 50 * NS_PER_MS, &test_err), -ETIMEDOUT);
	took = now_ns() - began;
	CHECK(took >= 50 * NS_PER_MS);
	CHECK(took < 500 * NS_PER_MS + slack_ns());
	CHECK(test_err.text[0]);
	CHECK_EQ(test_err.code, -ETIMEDOUT);
	pair_connect(p);
	works(p);
	pair_destroy(p);
}

static void connect_twice_is_already_connected(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_desc b;

	CHECK_OK(slime_ep_export(p->b.ep, &b, &test_err));
	CHECK_RC(slime_ep_connect(p->a.ep, &b, 0, &test_err), -EISCONN);
	CHECK(test_err.text[0]);
	works(p);
	pair_destroy(p);
}

static void refused(struct pair *p, const struct slime_desc *desc)
{
	test_err.text[0] = '\0';
	CHECK_RC(slime_ep_connect(p->a.ep, desc, 0, &test_err), -EPROTO);
	CHECK(test_err.text[0]);
	CHECK_EQ(test_err.code, -EPROTO);
}

/* Whatever was tried before, the true description must still do. */
static void still_connects(struct pair *p)
{
	pair_connect(p);
	works(p);
	pair_destroy(p);
}

static void connect_refuses_garbage(void)
{
	struct pair *p = pair_create(&apart);
	struct slime_desc desc;

	for (uint64_t seed = 0; seed < 200; seed++) {
		fill(desc.bytes, sizeof(desc.bytes), seed);
		desc.len = (uint32_t)(seed * 10);
		refused(p, &desc);
	}
	memset(&desc, 0, sizeof(desc));
	refused(p, &desc);
	desc.len = SLIME_DESC_MAX;
	refused(p, &desc);
	desc.len = SLIME_DESC_MAX + 1;
	refused(p, &desc);
	desc.len = UINT32_MAX;
	refused(p, &desc);
	still_connects(p);
}

static void connect_refuses_every_truncation(void)
{
	struct pair *p = pair_create(&apart);
	struct slime_desc whole, desc;

	CHECK_OK(slime_ep_export(p->b.ep, &whole, &test_err));
	for (uint32_t len = 0; len < whole.len; len++) {
		desc = whole;
		desc.len = len;
		memset(desc.bytes + len, 0, sizeof(desc.bytes) - len);
		refused(p, &desc);
	}
	desc = whole;
	desc.len++; /* one byte too many is no better */
	desc.bytes[whole.len] = 0;
	refused(p, &desc);
	still_connects(p);
}

static void connect_refuses_every_flipped_bit(void)
{
	struct pair *p = pair_create(&apart);
	struct slime_desc desc;

	CHECK_OK(slime_ep_export(p->b.ep, &desc, &test_err));
	for (uint32_t bit = 0; bit < desc.len * 8; bit++) {
		desc.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		refused(p, &desc);
		desc.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	still_connects(p);
}

static void connect_refuses_the_description_of_a_region(void)
{
	struct pair *p = pair_create(&apart);
	struct slime_desc desc;

	CHECK_OK(slime_mr_export(p->b.mr, &desc, &test_err));
	refused(p, &desc);
	still_connects(p);
}

static void connect_refuses_its_own_description(void)
{
	struct pair *p = pair_create(&apart);
	struct slime_desc desc;
	int rc;

	CHECK_OK(slime_ep_export(p->a.ep, &desc, &test_err));
	rc = slime_ep_connect(p->a.ep, &desc, 50 * NS_PER_MS, &test_err);
	CHECK(rc < 0);
	CHECK(test_err.text[0]);
	still_connects(p);
}

/* The endpoint is gone, its description is still around. */
static void connect_to_a_destroyed_endpoint_is_refused(void)
{
	struct pair *p = pair_create(&apart), *gone = pair_create(&apart);
	struct slime_desc desc;
	int64_t began = now_ns();
	int rc;

	CHECK_OK(slime_ep_export(gone->b.ep, &desc, &test_err));
	pair_destroy(gone);
	rc = slime_ep_connect(p->a.ep, &desc, patience_ns(), &test_err);
	if (rc != -EACCES && rc != -ECONNREFUSED && rc != -EPROTO)
		CHECK_RC(rc, -ECONNREFUSED);
	CHECK(test_err.text[0]);
	CHECK(now_ns() - began < 1000 * NS_PER_MS + slack_ns());
	pair_destroy(p);
}

/* The context lives on, so over tcp somebody does answer at that port. */
static void connect_to_a_destroyed_endpoint_of_a_live_context_is_refused(void)
{
	struct pair *p = pair_create(&apart);
	struct slime_desc desc;
	int rc;

	CHECK_OK(slime_ep_export(p->b.ep, &desc, &test_err));
	slime_ep_destroy(p->b.ep);
	p->b.ep = NULL;
	rc = slime_ep_connect(p->a.ep, &desc, patience_ns(), &test_err);
	if (rc != -EACCES && rc != -ECONNREFUSED && rc != -EPROTO)
		CHECK_RC(rc, -ECONNREFUSED);
	CHECK(test_err.text[0]);
	pair_destroy(p);
}

/* A third one replays a description that was meant for another. */
static void connect_of_a_stranger_fails_and_does_not_disturb(void)
{
	struct pair *p = pair_create(NULL), *stranger = pair_create(&apart);
	struct slime_desc desc;
	int rc;

	CHECK_OK(slime_ep_export(p->a.ep, &desc, &test_err));
	rc = slime_ep_connect(stranger->a.ep, &desc, 200 * NS_PER_MS, &test_err);
	if (rc != -EACCES && rc != -EPROTO && rc != -ETIMEDOUT)
		CHECK_RC(rc, -ECONNREFUSED);
	CHECK(test_err.text[0]);
	works(p);
	pair_destroy(stranger);
	works(p);
	pair_destroy(p);
}

static void import_refuses_damaged_descriptions(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_desc whole, desc;
	slime_rmr *rmr = NULL;

	CHECK_OK(slime_mr_export(p->b.mr, &whole, &test_err));
	for (uint32_t len = 0; len < whole.len; len++) {
		desc = whole;
		desc.len = len;
		CHECK_RC(slime_ep_import(p->a.ep, &desc, &rmr, &test_err), -EPROTO);
		CHECK(test_err.text[0]);
	}
	desc = whole;
	for (uint32_t bit = 0; bit < whole.len * 8; bit++) {
		desc.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK_RC(slime_ep_import(p->a.ep, &desc, &rmr, &test_err), -EPROTO);
		desc.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CHECK_OK(slime_ep_export(p->b.ep, &desc, &test_err));
	CHECK_RC(slime_ep_import(p->a.ep, &desc, &rmr, &test_err), -EPROTO);
	CHECK(rmr == NULL);
	works(p);
	pair_destroy(p);
}

static void nothing_is_accepted_before_connect(void)
{
	struct pair *p = pair_create(&apart), *other = pair_create(NULL);
	struct slime_seg seg = seg_of(&other->a, 0, 0, 8);
	struct slime_span span = span_of(&p->a, 0, 8);
	struct slime_desc desc;
	slime_rmr *rmr = NULL;
	slime_op *op = NULL;

	CHECK_OK(slime_mr_export(p->b.mr, &desc, &test_err));
	CHECK_RC(slime_ep_import(p->a.ep, &desc, &rmr, &test_err), -ENOTCONN);
	CHECK_RC(slime_ep_write_imm(p->a.ep, NULL, 0, 1, NULL, &op), -ENOTCONN);
	CHECK_RC(slime_ep_recv_imm(p->a.ep, NULL, &op), -ENOTCONN);
	CHECK_RC(slime_ep_send(p->a.ep, &span, NULL, &op), -ENOTCONN);
	CHECK_RC(slime_ep_recv(p->a.ep, &span, NULL, &op), -ENOTCONN);
	CHECK(slime_ep_read(p->a.ep, &seg, 1, NULL, &op) < 0);
	CHECK(slime_ep_write(p->a.ep, &seg, 1, NULL, &op) < 0);
	CHECK(op == NULL);
	pair_destroy(other);
	still_connects(p);
}

static void many_pairs_share_two_contexts(void)
{
	enum { N = 20 };
	struct pair *p = pair_create(NULL);
	static struct pair more[N];

	for (int i = 0; i < N; i++) {
		more[i] = *p;
		side_create(&more[i].a, p->a.ctx, env.transport, &apart);
		side_create(&more[i].b, p->b.ctx, env.transport, &apart);
		more[i].a_manual = p->a_manual;
		more[i].b_manual = p->b_manual;
		pair_connect(&more[i]);
		pair_import(&more[i]);
	}
	for (int i = 0; i < N; i++)
		works(&more[i]);
	works(p);
	for (int i = 0; i < N; i++) {
		side_destroy(&more[i].a);
		side_destroy(&more[i].b);
	}
	pair_destroy(p);
}

const struct contract_case connect_cases[] = {
    {"connects_when_a_comes_first", connects_when_a_comes_first, IN_ALL},
    {"connects_when_b_comes_first", connects_when_b_comes_first, IN_ALL},
    {"connects_when_both_come_at_once", connects_when_both_come_at_once, IN_ALL},
    {"connects_when_one_thread_polls_both", connects_when_one_thread_polls_both, IN_ALL},
    {"connect_times_out_when_the_peer_never_comes_and_works_later",
     connect_times_out_when_the_peer_never_comes_and_works_later, IN_ALL},
    {"connect_twice_is_already_connected", connect_twice_is_already_connected, IN_BASIC},
    {"connect_refuses_garbage", connect_refuses_garbage, IN_BASIC},
    {"connect_refuses_every_truncation", connect_refuses_every_truncation, IN_BASIC},
    {"connect_refuses_every_flipped_bit", connect_refuses_every_flipped_bit, IN_BASIC},
    {"connect_refuses_the_description_of_a_region", connect_refuses_the_description_of_a_region,
     IN_BASIC},
    {"connect_refuses_its_own_description", connect_refuses_its_own_description, IN_BASIC},
    {"connect_to_a_destroyed_endpoint_is_refused", connect_to_a_destroyed_endpoint_is_refused,
     IN_BASIC},
    {"connect_to_a_destroyed_endpoint_of_a_live_context_is_refused",
     connect_to_a_destroyed_endpoint_of_a_live_context_is_refused, IN_BASIC | IN(ONE)},
    {"connect_of_a_stranger_fails_and_does_not_disturb",
     connect_of_a_stranger_fails_and_does_not_disturb, IN_BASIC | IN(LANES)},
    {"import_refuses_damaged_descriptions", import_refuses_damaged_descriptions, IN_BASIC},
    {"nothing_is_accepted_before_connect", nothing_is_accepted_before_connect, IN_BASIC},
    {"many_pairs_share_two_contexts", many_pairs_share_two_contexts, IN_ALL},
    {0},
};
