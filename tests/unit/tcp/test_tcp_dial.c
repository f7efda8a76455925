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

static void what_a_stranger_said_is_not_part_of_the_next_answer(void **state)
{
	struct slime_ep_opts opts = {
	    .size = sizeof(opts), .transport = "tcp", .device = "127.0.0.1", .lanes = 1};
	struct slime_desc of_a, of_b;
	struct slime_error err = {0};
	slime_ctx *ctx;
	slime_ep *a, *b;
	uint16_t port;
	int stranger = open_stranger(&port);

	(void)state;
	assert_int_equal(slime_ctx_create(NULL, &ctx, &err), 0);
	assert_int_equal(slime_ep_create(ctx, &opts, &a, &err), 0);
	assert_int_equal(slime_ep_create(ctx, &opts, &b, &err), 0);
	assert_int_equal(slime_ep_export(a, &of_a, &err), 0);
	assert_int_equal(slime_ep_export(b, &of_b, &err), 0);
	publish_also(&of_b, port);
	assert_int_equal(slime_ep_connect(a, &of_b, 0, &err), -ETIMEDOUT);
	assert_int_equal(slime_ep_connect(b, &of_a, 0, &err), -ETIMEDOUT);
	greet_and_hang_up(stranger);
	if (slime_ep_connect(a, &of_b, patience_ns, &err))
		fail_msg("%s", err.text);
	assert_int_equal(slime_ep_connect(b, &of_a, patience_ns, &err), 0);
	slime_ep_destroy(a);
	slime_ep_destroy(b);
	slime_ctx_destroy(ctx);
	(void)close(stranger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_a_stranger_said_is_not_part_of_the_next_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
