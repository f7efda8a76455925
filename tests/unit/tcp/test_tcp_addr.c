/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/tcp/test_tcp_addr.c - what slime_ep_opts.device may be over tcp. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <slime/slime.h>

static const int64_t patience_ns = INT64_C(10000000000);

struct end {
	slime_ctx *ctx;
	slime_ep *ep;
	struct slime_error err;
	int rc;
};

static void create(struct end *e, const char *device, uint32_t lanes)
{
	struct slime_ctx_opts ctx_opts = {
	    .size = sizeof(ctx_opts),
	    .flags = SLIME_CTX_MANUAL_PROGRESS,
	};
	struct slime_ep_opts opts = {
	    .size = sizeof(opts), .lanes = lanes, .transport = "tcp", .device = device};

	*e = (struct end){0};
	assert_int_equal(slime_ctx_create(&ctx_opts, &e->ctx, NULL), 0);
	e->rc = slime_ep_create(e->ctx, &opts, &e->ep, &e->err);
}

static void destroy(struct end *e)
{
	slime_ep_destroy(e->ep);
	slime_ctx_destroy(e->ctx);
}

/* A port that is free now. Another program may take it before we do: then the test tries again. */
static int free_port(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);
	union {
		struct sockaddr_in *in;
		struct sockaddr *sa;
	} u = {.in = &sa};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, u.sa, len), 0);
	assert_int_equal(getsockname(fd, u.sa, &len), 0);
	(void)close(fd);
	return ntohs(sa.sin_port);
}

/* An endpoint on a fixed port: "HOST:PORT". Returns the port. */
static int create_fixed(struct end *e, const char *host)
{
	for (int i = 0; i < 20; i++) {
		int port = free_port();
		char device[64];

		(void)snprintf(device, sizeof(device), "%s:%d", host, port);
		create(e, device, 0);
		if (!e->rc)
			return port;
		assert_int_equal(e->rc, -EADDRINUSE);
		destroy(e);
	}
	fail_msg("no free port in twenty tries");
	return 0;
}

static void connect_both(struct end *a, struct end *b)
{
	struct slime_desc da, db;
	int64_t look = 1000000;

	assert_int_equal(slime_ep_export(a->ep, &da, &a->err), 0);
	assert_int_equal(slime_ep_export(b->ep, &db, &b->err), 0);
	a->rc = b->rc = -ETIMEDOUT;
	for (int64_t ns = 0; ns < patience_ns && (a->rc == -ETIMEDOUT || b->rc == -ETIMEDOUT);
	     ns += look) {
		if (a->rc == -ETIMEDOUT)
			a->rc = slime_ep_connect(a->ep, &db, look, &a->err);
		if (b->rc == -ETIMEDOUT)
			b->rc = slime_ep_connect(b->ep, &da, look, &b->err);
	}
	if (a->rc || b->rc)
		fail_msg("%s; %s", a->err.text, b->err.text);
}

/* B sees A at this address. */
static void check_seen_at(const char *device, const char *where)
{
	struct slime_ep_info info = {.size = sizeof(info)};
	struct end a, b;
	char want[80];
	int port = create_fixed(&a, device);

	create(&b, "127.0.0.1", 0);
	assert_int_equal(b.rc, 0);
	connect_both(&a, &b);
	assert_int_equal(slime_ep_get_info(b.ep, &info), 0);
	(void)snprintf(want, sizeof(want), "%s:%d", where, port);
	assert_string_equal(info.device, want);
	destroy(&a);
	destroy(&b);
}

static void an_address_takes_a_port(void **state)
{
	(void)state;
	check_seen_at("127.0.0.1", "127.0.0.1");
}

static void an_interface_takes_a_port(void **state)
{
	(void)state;
	check_seen_at("lo", "127.0.0.1");
}

/* "[::1]:7000"; skipped where there is no IPv6. */
static void an_address_of_ipv6_takes_a_port_behind_its_brackets(void **state)
{
	struct end probe;
	int rc;

	(void)state;
	create(&probe, "::1", 0);
	rc = probe.rc;
	destroy(&probe);
	if (rc) {
		(void)printf("skipped: no IPv6 here\n");
		skip();
	}
	check_seen_at("[::1]", "[::1]");
}

static void a_port_alone_is_for_all_addresses(void **state)
{
	struct end a, b;

	(void)state;
	(void)create_fixed(&a, "");
	create(&b, NULL, 0);
	assert_int_equal(b.rc, 0);
	connect_both(&a, &b);
	destroy(&a);
	destroy(&b);
}

static void a_port_that_is_taken_is_an_error_that_names_it(void **state)
{
	struct end a, b;
	char device[64];
	int port;

	(void)state;
	port = create_fixed(&a, "127.0.0.1");
	(void)snprintf(device, sizeof(device), "127.0.0.1:%d", port);
	create(&b, device, 0);
	assert_int_equal(b.rc, -EADDRINUSE);
	assert_non_null(strstr(b.err.text, device));
	destroy(&b);
	destroy(&a);
	create(&b, device, 0); /* free again, at once */
	assert_int_equal(b.rc, 0);
	destroy(&b);
}

static void what_is_no_device_is_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "nonsense0",
	    "nonsense0:7000",
	    "127.0.0.1:",
	    "127.0.0.1:65536",
	    "127.0.0.1:-1",
	    "127.0.0.1:7x",
	    "127.0.0.1: 7",
	    "127.0.0.1:0x10",
	    "[127.0.0.1:7000",
	    "256.0.0.1",
	    "[]:7000",
	    "127.0.0.1:99999999999999999999",
	    ":",
	    "lo:lo",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct end e;

		create(&e, bad[i], 0);
		if (e.rc != -ENODEV)
			fail_msg("'%s' gives %d", bad[i], e.rc);
		assert_non_null(strstr(e.err.text, "no interface"));
		destroy(&e);
	}
}

/* Two addresses of the loopback interface stand for two NICs. */
static void lanes_are_dealt_over_several_devices(void **state)
{
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = SLIME_ACCESS_REMOTE};
	struct slime_ep_info info = {.size = sizeof(info)};
	enum { LEN = 4 << 20 };
	struct slime_desc desc;
	struct end a, b;
	slime_mr *mine = NULL, *theirs = NULL;
	slime_rmr *rmr = NULL;
	slime_op *op = NULL;
	char *x = malloc(LEN), *y = calloc(1, LEN);
	int rc = -ETIMEDOUT;

	(void)state;
	assert_true(x && y);
	memset(x, 'x', LEN);
	create(&a, "127.0.0.1,127.0.0.2", 4);
	assert_int_equal(a.rc, 0);
	create(&b, "127.0.0.3,127.0.0.4,127.0.0.5", 4);
	assert_int_equal(b.rc, 0);
	connect_both(&a, &b);
	assert_int_equal(slime_ep_get_info(a.ep, &info), 0);
	assert_int_equal(info.lanes, 4);
	assert_non_null(strstr(info.device, "127.0.0.3:"));
	assert_non_null(strstr(info.device, ", 127.0.0.4:"));
	assert_int_equal(slime_mr_register(a.ctx, x, LEN, &mr_opts, &mine, NULL), 0);
	assert_int_equal(slime_mr_register(b.ctx, y, LEN, &mr_opts, &theirs, NULL), 0);
	assert_int_equal(slime_mr_export(theirs, &desc, NULL), 0);
	assert_int_equal(slime_ep_import(a.ep, &desc, &rmr, &a.err), 0);
	struct slime_seg seg = {.local = mine, .remote = rmr, .len = LEN};
	assert_int_equal(slime_ep_write(a.ep, &seg, 1, NULL, &op), 0);
	for (int64_t ns = 0; ns < patience_ns && rc == -ETIMEDOUT; ns += 1000000) {
		rc = slime_op_wait(op, 1000000, NULL);
		(void)slime_ctx_progress(b.ctx);
	}
	assert_int_equal(rc, 0);
	assert_memory_equal(x, y, LEN);
	slime_op_release(op);
	slime_rmr_release(rmr);
	slime_mr_deregister(mine);
	slime_mr_deregister(theirs);
	destroy(&a);
	destroy(&b);
	free(x);
	free(y);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_address_takes_a_port),
	    cmocka_unit_test(an_interface_takes_a_port),
	    cmocka_unit_test(an_address_of_ipv6_takes_a_port_behind_its_brackets),
	    cmocka_unit_test(a_port_alone_is_for_all_addresses),
	    cmocka_unit_test(a_port_that_is_taken_is_an_error_that_names_it),
	    cmocka_unit_test(what_is_no_device_is_refused),
	    cmocka_unit_test(lanes_are_dealt_over_several_devices),
	};

	struct end probe;

	create(&probe, NULL, 0);
	destroy(&probe);
	if (probe.rc == -ENODEV) {
		(void)printf("skipped: %s\n", probe.err.text);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
