/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include <slime/slime.h>

#include "base/wire.h"
#include "endpoint/desc.h"
#include "endpoint/internal.h"
#include "transport/tcp/tcp_frame.h"

static const int64_t patience_ns = INT64_C(20000000000);

/* A listener of somebody else's, and where it is. */
static int open_stranger(uint16_t *out_port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct timeval patience = {.tv_sec = 20};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*out_port = ntohs(at.sin_port);
	return fd;
}

/* As an ssh server does: a few words, then goodbye to who is not understood. */
static void greet_and_hang_up(int listener)
{
	char hello[TCP_HELLO_LEN];
	int fd = accept(listener, NULL, NULL);

	assert_true(fd >= 0);
	assert_int_equal(send(fd, "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL), 11);
	assert_int_equal(recv(fd, hello, sizeof(hello), MSG_WAITALL), sizeof(hello));
	(void)close(fd);
}

/* The blob of a tcp section is u8 1, u8 n, u64 host, n addresses, ...: one more in front. */
static void put_address_first(const struct sl_desc_section *s, uint16_t port, struct sl_blob *out)
{
	const struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
	struct sl_wire w = sl_wire_on(out->bytes, sizeof(out->bytes));

	sl_wire_put_uint(&w, 1, 1);
	sl_wire_put_uint(&w, s->bytes[1] + 1u, 1);
	sl_wire_put(&w, s->bytes + 2, 8);
	sl_wire_put_uint(&w, 4, 1);
	sl_wire_put(&w, &loopback, 4);
	sl_wire_put_uint(&w, port, 2);
	sl_wire_put(&w, s->bytes + 10, s->len - 10u);
	assert_false(w.bad);
	out->len = (uint32_t)(w.p - out->bytes);
}

static void publish_also(struct slime_desc *desc, uint16_t port)
{
	struct sl_desc_section all[SL_DESC_SECTIONS];
	struct sl_desc_head head;
	struct sl_blob blob = {0};
	int n = sl_desc_read(desc, SL_DESC_EP, &head, all, NULL);
	const struct sl_desc_section *s = sl_desc_find(all, n, "tcp", -1, 0);

	assert_non_null(s);
	put_address_first(s, port, &blob);
	sl_desc_begin(desc, &head);
	assert_int_equal(sl_desc_add(desc, "tcp", s->dom, 0, &blob), 0);
	sl_desc_end(desc);
}

/* Two endpoints, of which B also publishes an address where a stranger listens, first. */
struct meeting {
	slime_ctx *ctx;
	slime_ep *a, *b;
	struct slime_desc of_a, of_b;
	int stranger;
};

static void meet(struct meeting *m)
{
	struct slime_ctx_opts ctx_opts = {.size = sizeof(ctx_opts), .peer_timeout_ms = 600000};
	struct slime_ep_opts opts = {
	    .size = sizeof(opts), .transport = "tcp", .device = "127.0.0.1", .lanes = 1};
	struct slime_error err = {0};
	uint16_t port;

	m->stranger = open_stranger(&port);
	assert_int_equal(slime_ctx_create(&ctx_opts, &m->ctx, &err), 0);
	assert_int_equal(slime_ep_create(m->ctx, &opts, &m->a, &err), 0);
	assert_int_equal(slime_ep_create(m->ctx, &opts, &m->b, &err), 0);
	assert_int_equal(slime_ep_export(m->a, &m->of_a, &err), 0);
	assert_int_equal(slime_ep_export(m->b, &m->of_b, &err), 0);
	publish_also(&m->of_b, port);
	assert_int_equal(slime_ep_connect(m->a, &m->of_b, 0, &err), -ETIMEDOUT);
}

static void part(struct meeting *m)
{
	slime_ep_destroy(m->a);
	slime_ep_destroy(m->b);
	slime_ctx_destroy(m->ctx);
	(void)close(m->stranger);
}

static void connects(slime_ep *ep, const struct slime_desc *peer)
{
	struct slime_error err = {0};

	if (slime_ep_connect(ep, peer, patience_ns, &err))
		fail_msg("%s", err.text);
}

static void what_a_stranger_said_is_not_part_of_the_next_answer(void **state)
{
	struct meeting m;

	(void)state;
	meet(&m);
	assert_int_equal(slime_ep_connect(m.b, &m.of_a, 0, NULL), -ETIMEDOUT);
	greet_and_hang_up(m.stranger);
	connects(m.a, &m.of_b);
	connects(m.b, &m.of_a);
	part(&m);
}

static void a_stranger_who_is_silent_does_not_hold_up_the_next_address(void **state)
{
	struct meeting m;
	int fd;

	(void)state;
	meet(&m);
	assert_int_equal(slime_ep_connect(m.b, &m.of_a, 0, NULL), -ETIMEDOUT);
	fd = accept(m.stranger, NULL, NULL);
	assert_true(fd >= 0);
	connects(m.a, &m.of_b);
	connects(m.b, &m.of_a);
	(void)close(fd);
	part(&m);
}

static ssize_t read_hello(int fd)
{
	char hello[TCP_HELLO_LEN];

	return recv(fd, hello, sizeof(hello), MSG_WAITALL);
}

/* Whose program calls connect() late has all calls in the race waiting, and answers one. */
static void a_peer_that_comes_late_is_not_given_up_for_its_silence(void **state)
{
	struct meeting m;
	char byte;
	int fd;

	(void)state;
	meet(&m);
	fd = accept(m.stranger, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(read_hello(fd), TCP_HELLO_LEN);
	/* the race is on when the stranger hears no more; B has been called by then, or will be */
	assert_int_equal(slime_ep_connect(m.a, &m.of_b, INT64_C(1500000000), NULL), -ETIMEDOUT);
	connects(m.b, &m.of_a);
	connects(m.a, &m.of_b);
	assert_int_equal(recv(fd, &byte, 1, 0), 0); /* it has lost */
	(void)close(fd);
	part(&m);
}

/* Until what time the tcp domain may sleep. */
static int64_t sleeps_until(slime_ctx *ctx)
{
	struct sl_ctx_dom *dom = &ctx->doms[0];
	int64_t until = SL_NEVER;

	sl_progress_enter(ctx);
	assert_string_equal(dom->tr->name, "tcp");
	(void)dom->tr->arm(dom->dom, &until);
	sl_progress_exit(ctx);
	return until;
}

/* The times that were set for them do not disturb transfers later on. */
static void nobody_is_woken_for_calls_that_are_over(void **state)
{
	struct meeting m;

	(void)state;
	meet(&m);
	assert_true(sleeps_until(m.ctx) < sl_clock_after(4 * SL_NS_PER_S));
	connects(m.b, &m.of_a);
	connects(m.a, &m.of_b);
	assert_true(sleeps_until(m.ctx) > sl_clock_after(10 * SL_NS_PER_S));
	part(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_a_stranger_said_is_not_part_of_the_next_answer),
	    cmocka_unit_test(a_stranger_who_is_silent_does_not_hold_up_the_next_address),
	    cmocka_unit_test(a_peer_that_comes_late_is_not_given_up_for_its_silence),
	    cmocka_unit_test(nobody_is_woken_for_calls_that_are_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
