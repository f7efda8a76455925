/* SPDX-License-Identifier: BSD-3-Clause */
/* Who calls with a part of what it takes: the number of an endpoint, or its secret but no name. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include <slime/slime.h>

#include "endpoint/internal.h"
#include "transport/tcp/tcp_impl.h"

static const int64_t patience_ns = INT64_C(20000000000);

struct side {
	slime_ctx *ctx;
	slime_ep *ep;
	struct slime_desc desc;
};

static void side_open(struct side *s)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "tcp", .lanes = 1};

	assert_int_equal(slime_ctx_create(NULL, &s->ctx, NULL), 0);
	assert_int_equal(slime_ep_create(s->ctx, &opts, &s->ep, NULL), 0);
	assert_int_equal(slime_ep_export(s->ep, &s->desc, NULL), 0);
}

static void side_close(struct side *s)
{
	slime_ep_destroy(s->ep);
	slime_ctx_destroy(s->ctx);
}

static void works(struct side *a, struct side *b)
{
	const struct slime_submit how = {.size = sizeof(how), .timeout_ns = patience_ns};
	slime_op *write, *recv;

	assert_int_equal(slime_ep_recv_imm(b->ep, &how, &recv), 0);
	assert_int_equal(slime_ep_write_imm(a->ep, NULL, 0, 7, &how, &write), 0);
	assert_int_equal(slime_op_wait(write, patience_ns, NULL), 0);
	assert_int_equal(slime_op_wait(recv, patience_ns, NULL), 0);
	slime_op_release(write);
	slime_op_release(recv);
}

static void meet(struct side *a, struct side *b)
{
	assert_int_equal(slime_ep_connect(a->ep, &b->desc, 0, NULL), -ETIMEDOUT);
	assert_int_equal(slime_ep_connect(b->ep, &a->desc, patience_ns, NULL), 0);
	assert_int_equal(slime_ep_connect(a->ep, &b->desc, patience_ns, NULL), 0);
	works(a, b);
}

/* Say HELLO where A's peer listens, and return the status of the answer. */
static int call(struct side *a, const struct tcp_hello *hello)
{
	const struct timeval patience = {.tv_sec = 20};
	const struct tcp_addr *at = &a->ep->conn[0]->addr[0];
	uint8_t out[TCP_HELLO_LEN], in[TCP_ANSWER_LEN];
	int fd = socket(at->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct tcp_answer answer;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&at->sa, at->len), 0);
	sl_tcp_put_hello(out, hello);
	assert_int_equal(send(fd, out, sizeof(out), MSG_NOSIGNAL), sizeof(out));
	assert_int_equal(recv(fd, in, sizeof(in), MSG_WAITALL), sizeof(in));
	assert_int_equal(recv(fd, out, 1, 0), 0); /* and it hung up */
	(void)close(fd);
	assert_int_equal(sl_tcp_get_answer(in, &answer), 0);
	return answer.status;
}

/* Of A to B, as A itself would say it. */
static struct tcp_hello hello_of(const struct side *a, const struct side *b, bool resume)
{
	return (struct tcp_hello){
	    .to = b->ep->conn[0]->me, .from = a->ep->conn[0]->me, .resume = resume};
}

static void flip(uint8_t *secret, int bit)
{
	secret[bit / 8] = (uint8_t)(secret[bit / 8] ^ (1 << bit % 8));
}

static void the_number_without_the_secret_opens_nothing(void **state)
{
	struct side a, b;

	(void)state;
	side_open(&a);
	side_open(&b);
	meet(&a, &b);
	for (int bit = 0; bit < 8 * SL_SECRET_LEN; bit += 9) {
		struct tcp_hello hello = hello_of(&a, &b, bit % 2);

		flip(hello.to.secret, bit);
		assert_int_equal(call(&a, &hello), -EACCES);
	}
	works(&a, &b);
	side_close(&a);
	side_close(&b);
}

/* Somebody else has read B's description. */
static void who_has_the_description_does_not_replace_the_peer(void **state)
{
	struct side a, b;

	(void)state;
	side_open(&a);
	side_open(&b);
	meet(&a, &b);
	for (int resume = 0; resume < 2; resume++) {
		struct tcp_hello hello = hello_of(&a, &b, resume);

		flip(hello.from.secret, 5);
		assert_int_equal(call(&a, &hello), -EISCONN);
		hello = hello_of(&a, &b, resume);
		hello.from.id++;
		assert_int_equal(call(&a, &hello), -EISCONN);
		works(&a, &b);
		works(&b, &a);
	}
	side_close(&a);
	side_close(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_number_without_the_secret_opens_nothing),
	    cmocka_unit_test(who_has_the_description_does_not_replace_the_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
