/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/test_choice.c - which transport two endpoints end up with when
 * nobody or only one says which, and that the reasons are told.
 *
 *	test_choice --list | CASE | (nothing: all)
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"
#include "fakes/fakes.h"

static const struct pair_opts none;

/* A pair in this process whose ends are given TRANSPORT names, NULL: any. */
static struct pair *pair_of(const char *a, const char *b)
{
	struct pair *p = calloc(1, sizeof(*p));

	CHECK(p != NULL);
	side_create(&p->a, context_create(false, 0), a, &none);
	side_create(&p->b, context_create(false, 0), b, &none);
	return p;
}

static struct slime_ep_info info_of(const struct side *s)
{
	struct slime_ep_info info = {.size = sizeof(info)};

	CHECK_OK(slime_ep_get_info(s->ep, &info));
	return info;
}

static void check_carried_by(const struct side *s, const char *transport)
{
	struct slime_ep_info info = info_of(s);

	if (strcmp(info.transport, transport))
		test_fail("carried by '%s', not '%s', because: %s", info.transport, transport,
		          info.because);
}

/* The reasons name TRANSPORT. */
static void check_because(const struct side *s, const char *transport)
{
	struct slime_ep_info info = info_of(s);

	if (!strstr(info.because, transport))
		test_fail("'%s' is not among the reasons: '%s'", transport, info.because);
}

static void works(struct pair *p)
{
	pair_import(p);
	fill(p->a.mem, 1000, 1);
	CHECK_ENDS(p, start_write(&p->a, 0, 0, 1000), 0);
	CHECK_FILLED(p->b.mem, 1000, 1);
	pair_ping(p, 1000);
}

static void both_end_up_with(const char *a, const char *b, const char *want)
{
	struct pair *p = pair_of(a, b);

	pair_connect(p);
	check_carried_by(&p->a, want);
	check_carried_by(&p->b, want);
	works(p);
	pair_destroy(p);
}

static void one_process_uses_loopback(void)
{
	both_end_up_with(NULL, NULL, "loopback");
}

static void need_tcp(void)
{
	if (!fakes_install("tcp", false))
		test_skip("this build is without tcp");
}

static void one_forced_side_decides_for_both(void)
{
	need_tcp();
	both_end_up_with("tcp", NULL, "tcp");
	both_end_up_with(NULL, "tcp", "tcp");
	both_end_up_with("shm", NULL, "shm");
	both_end_up_with(NULL, "shm", "shm");
	both_end_up_with("loopback", NULL, "loopback");
}

struct attempt {
	slime_ep *ep;
	struct slime_desc peer;
	struct slime_error err;
	int rc;
};

static void *try_connect(void *arg)
{
	struct attempt *t = arg;

	t->rc = slime_ep_connect(t->ep, &t->peer, patience_ns(), &t->err);
	return NULL;
}

static void disagree(const char *a, const char *b)
{
	struct pair *p = pair_of(a, b);
	struct attempt one = {.ep = p->a.ep}, two = {.ep = p->b.ep};
	int64_t began = now_ns();
	pthread_t thread;

	CHECK_OK(slime_ep_export(p->a.ep, &two.peer, &test_err));
	CHECK_OK(slime_ep_export(p->b.ep, &one.peer, &test_err));
	CHECK_EQ(pthread_create(&thread, NULL, try_connect, &two), 0);
	(void)try_connect(&one);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK(now_ns() - began < 1000 * NS_PER_MS + slack_ns());
	CHECK(one.rc < 0 && one.rc != -ETIMEDOUT);
	CHECK(two.rc < 0 && two.rc != -ETIMEDOUT);
	if (!strstr(one.err.text, a) || !strstr(one.err.text, b))
		test_fail("'%s' and '%s' are not both in '%s'", a, b, one.err.text);
	if (!strstr(two.err.text, a) || !strstr(two.err.text, b))
		test_fail("'%s' and '%s' are not both in '%s'", a, b, two.err.text);
	pair_destroy(p);
}

static void sides_that_are_forced_apart_are_told_both_names(void)
{
	need_tcp();
	disagree("tcp", "shm");
	disagree("shm", "tcp");
	disagree("loopback", "tcp");
}

/* Two processes of one host. */
static void processes_use(const char *transport, uint32_t ctx_flags, const char *want)
{
	struct peer *peer = peer_create(&(struct peer_opts){
	    .transport = transport,
	    .ctx_flags = ctx_flags,
	});
	static const char *const names[] = {"loopback", "shm", "tcp"};
	struct peer_reply reply;

	check_carried_by(&peer->near, want);
	CHECK_OK(peer_ask(peer, PEER_INFO, 0, 0, 0, &reply));
	CHECK(reply.value >= 1 && reply.value <= 3);
	CHECK(!strcmp(names[reply.value - 1], want));
	if (!transport)
		check_because(&peer->near, "loopback");
	fill(peer->near.mem, 1000, 1);
	CHECK_OK(peer_finish(peer, start_write(&peer->near, 0, 0, 1000), NULL));
	CHECK_OK(peer_ask(peer, PEER_WRONG, 0, 1000, 1, &reply));
	CHECK_EQ(reply.value, 1000);
	peer_destroy(peer);
}

static void two_processes_use_shm_and_say_why_not_loopback(void)
{
	processes_use(NULL, 0, "shm");
}

static void two_processes_forced_to_tcp_use_tcp(void)
{
	need_tcp();
	processes_use("tcp", 0, "tcp");
}

/* Memory of slime_mem_alloc() needs no CMA, so shm still does. */
static void two_processes_without_cma_still_share_memory(void)
{
	processes_use("shm", SLIME_CTX_NO_CMA, "shm");
}

/* Memory of malloc() is out of shm's reach without CMA: an error that says so, never a wrong byte.
 */
static void without_cma_plain_memory_is_refused_with_the_reason(void)
{
	struct slime_ctx_opts opts = {.size = sizeof(opts), .flags = SLIME_CTX_NO_CMA};
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = SLIME_ACCESS_REMOTE};
	struct pair *p = calloc(1, sizeof(*p));
	slime_ctx *a = NULL, *b = NULL;
	struct slime_desc desc;
	slime_mr *mr = NULL;
	slime_rmr *rmr = NULL;
	char plain[100];
	int rc;

	CHECK(p != NULL);
	CHECK_OK(slime_ctx_create(&opts, &a, &test_err));
	CHECK_OK(slime_ctx_create(&opts, &b, &test_err));
	side_create(&p->a, a, "shm", &none);
	side_create(&p->b, b, "shm", &none);
	pair_connect(p);
	CHECK_OK(slime_mr_register(b, plain, sizeof(plain), &mr_opts, &mr, &test_err));
	rc = slime_mr_export(mr, &desc, &test_err);
	if (!rc)
		rc = slime_ep_import(p->a.ep, &desc, &rmr, &test_err);
	CHECK(rc < 0 && !rmr);
	if (!strstr(test_err.text, "slime_mem_alloc") && !strstr(test_err.text, "CMA"))
		test_fail("the reason is not in '%s'", test_err.text);
	slime_mr_deregister(mr);
	works(p);
	pair_destroy(p);
}

static void every_refused_transport_has_its_reason(void)
{
	static const char *const known[] = {"rdma", "cuda_ipc"};
	struct peer *peer = peer_create(&(struct peer_opts){.transport = NULL});
	slime_ctx *ctx = peer->near.ctx;
	struct slime_device all[64];
	int n = slime_ctx_devices(ctx, all, 64);

	for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
		for (int i = 0; i < n && i < 64; i++)
			if (!strcmp(all[i].transport, known[k]))
				CHECK(all[i].status == 0 || all[i].reason[0]);
	check_because(&peer->near, "loopback");
	peer_destroy(peer);
}

static void a_missing_transport_is_an_error_that_names_it(void)
{
	static const char *const absent[] = {"rdma", "cuda_ipc", "ascend", "nonsense"};
	slime_ctx *ctx = context_create(false, 0);
	slime_ep *ep = NULL;

	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
		struct slime_ep_opts opts = {.size = sizeof(opts), .transport = absent[i]};

		if (slime_ep_create(ctx, &opts, &ep, &test_err) == 0)
			slime_ep_destroy(ep); /* a machine that has it */
		else if (!strcasestr(test_err.text, absent[i]))
			test_fail("'%s' is not in '%s'", absent[i], test_err.text);
	}
	if (!strstr(test_err.text, "'shm'")) /* of the last one: what there is */
		test_fail("what there is is not in '%s'", test_err.text);
	slime_ctx_destroy(ctx);
}

/* The peer has connected meanwhile, so it offers less than at first. */
static void connect_goes_on_with_a_fresh_description_of_the_same_peer(void)
{
	struct pair *p = calloc(1, sizeof(*p));
	struct slime_desc of_a, of_b, fresh;

	CHECK(p != NULL);
	p->a_manual = true;
	side_create(&p->a, context_create(true, 0), NULL, &none);
	side_create(&p->b, context_create(false, 0), NULL, &none);
	CHECK_OK(slime_ep_export(p->a.ep, &of_a, &test_err));
	CHECK_OK(slime_ep_export(p->b.ep, &of_b, &test_err));
	CHECK_RC(slime_ep_connect(p->a.ep, &of_b, 0, &test_err), -ETIMEDOUT);
	CHECK_OK(slime_ep_connect(p->b.ep, &of_a, patience_ns(), &test_err));
	CHECK_OK(slime_ep_export(p->b.ep, &fresh, &test_err));
	CHECK(fresh.len < of_b.len);
	CHECK_RC(slime_ep_connect(p->a.ep, &of_a, patience_ns(), &test_err), -EISCONN);
	CHECK_OK(slime_ep_connect(p->a.ep, &fresh, patience_ns(), &test_err));
	works(p);
	pair_destroy(p);
}

static const struct contract_case cases[] = {
    {"one_process_uses_loopback", one_process_uses_loopback, 1},
    {"one_forced_side_decides_for_both", one_forced_side_decides_for_both, 1},
    {"sides_that_are_forced_apart_are_told_both_names",
     sides_that_are_forced_apart_are_told_both_names, 1},
    {"two_processes_use_shm_and_say_why_not_loopback",
     two_processes_use_shm_and_say_why_not_loopback, 1},
    {"two_processes_forced_to_tcp_use_tcp", two_processes_forced_to_tcp_use_tcp, 1},
    {"two_processes_without_cma_still_share_memory", two_processes_without_cma_still_share_memory,
     1},
    {"without_cma_plain_memory_is_refused_with_the_reason",
     without_cma_plain_memory_is_refused_with_the_reason, 1},
    {"every_refused_transport_has_its_reason", every_refused_transport_has_its_reason, 1},
    {"a_missing_transport_is_an_error_that_names_it", a_missing_transport_is_an_error_that_names_it,
     1},
    {"connect_goes_on_with_a_fresh_description_of_the_same_peer",
     connect_goes_on_with_a_fresh_description_of_the_same_peer, 1},
    {0},
};

int main(int argc, char **argv)
{
	static const struct contract_case *const files[] = {cases, NULL};

	env.transport = "none in particular";
	return suite_main(files, argc, argv);
}
