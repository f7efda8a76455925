/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_rdma_fault.c - calls, completions, ports, devices and wires that fail. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "rig_rdma.h"

enum { BURST = 16, PIECE = 5000 };

static const struct pair_opts brief = {.peer_timeout_ms = 1000};
static const struct pair_opts two_rails = {.lanes = 4, .device = "fake0,fake1", .len = 8 * MIB};

/* Writes with an immediate each, A to B; all must end, and none twice. */
struct burst {
	slime_op *writes[BURST], *recvs[BURST];
};

static void burst_start(struct pair *p, struct burst *b)
{
	fill(p->a.mem, (size_t)BURST * PIECE, 5);
	memset(p->b.mem, 0, (size_t)BURST * PIECE);
	for (uint32_t i = 0; i < BURST; i++)
		b->recvs[i] = start_recv_imm(&p->b);
	for (uint32_t i = 0; i < BURST; i++)
		b->writes[i] =
		    start_write_imm(&p->a, (uint64_t)i * PIECE, (uint64_t)i * PIECE, PIECE, i);
}

static void no_more_immediates(struct pair *p)
{
	slime_op *more = start_recv_imm(&p->b);

	pair_pending(p, more);
	slime_op_cancel(more);
	CHECK_ENDS(p, more, -ECANCELED);
}

/* Every immediate came once and after its bytes, and no other one comes. */
static void burst_arrives(struct pair *p, struct burst *b)
{
	bool seen[BURST] = {false};

	for (uint32_t i = 0; i < BURST; i++)
		CHECK_ENDS(p, b->writes[i], 0);
	for (uint32_t i = 0; i < BURST; i++) {
		struct slime_result res;

		CHECK_OK(pair_finish(p, b->recvs[i], &res));
		CHECK(res.imm < BURST && !seen[res.imm]);
		CHECK_EQ(res.bytes, PIECE);
		seen[res.imm] = true;
	}
	CHECK_FILLED(p->b.mem, (size_t)BURST * PIECE, 5);
	no_more_immediates(p);
}

static void a_call_that_fails(const char *call, int error)
{
	for (unsigned n = 1; n <= 12; n++) {
		struct pair *p = rig_begin(NULL, NULL);
		struct burst b;

		fake_verbs_fail_call(call, n, error);
		burst_start(p, &b);
		burst_arrives(p, &b);
		rig_works(p);
		CHECK_EQ(fake_verbs_faults_left(), 0);
		rig_end(p);
	}
}

static void a_send_that_cannot_be_posted_is_not_lost(void)
{
	a_call_that_fails("post_send", ENOMEM);
	a_call_that_fails("post_send", EINVAL);
}

static void a_receive_that_cannot_be_posted_is_not_lost(void)
{
	a_call_that_fails("post_recv", ENOMEM);
}

/* No later receive comes to make it good. */
static void the_only_receive_that_cannot_be_posted_is_not_lost(void)
{
	for (int i = 0; i < 4; i++) {
		struct pair *p = rig_begin(NULL, NULL);
		slime_op *recv, *send;

		fill(p->a.mem, PIECE, 9);
		fake_verbs_fail_call("post_recv", 1, ENOMEM);
		recv = start_recv(&p->b, 0, PIECE);
		CHECK_EQ(fake_verbs_faults_left(), 0);
		send = start_send(&p->a, 0, PIECE);
		CHECK_ENDS(p, send, 0);
		CHECK_ENDS(p, recv, 0);
		CHECK_FILLED(p->b.mem, PIECE, 9);
		rig_end(p);
	}
}

/* The window of receives for immediates would be used up if each left a gap in it. */
static void receives_for_immediates_that_cannot_be_posted_leave_no_gap(void)
{
	struct pair *p = rig_begin(NULL, NULL);

	for (uint32_t i = 0; i < 100; i++) {
		slime_op *recv = start_recv_imm(&p->b), *write;
		struct slime_result res;

		fake_verbs_fail_call("post_recv", 1, ENOMEM);
		write = start_write_imm(&p->a, 0, 0, 100, i);
		CHECK_ENDS(p, write, 0);
		CHECK_OK(pair_finish(p, recv, &res));
		CHECK_EQ(res.imm, i);
	}
	rig_end(p);
}

static void work_that_fails(enum ibv_wc_status status, bool carried_out)
{
	for (unsigned n = 1; n <= 20; n += 3) {
		struct pair *p = rig_begin(NULL, NULL);
		struct burst b;

		fake_verbs_fail_work(0, 0, n, status, carried_out);
		burst_start(p, &b);
		burst_arrives(p, &b);
		rig_works(p);
		CHECK_EQ(fake_verbs_faults_left(), 0);
		rig_end(p);
	}
}

static void a_lost_packet_is_made_good(void)
{
	work_that_fails(IBV_WC_RETRY_EXC_ERR, false);
	work_that_fails(IBV_WC_RNR_RETRY_EXC_ERR, false);
	work_that_fails(IBV_WC_GENERAL_ERR, false);
}

static void a_lost_answer_brings_no_immediate_twice(void)
{
	work_that_fails(IBV_WC_RETRY_EXC_ERR, true);
	work_that_fails(IBV_WC_GENERAL_ERR, true);
}

static void a_lost_answer_brings_no_message_twice(void)
{
	for (unsigned n = 1; n <= 24; n++) {
		struct pair *p = rig_begin(NULL, NULL);
		slime_op *sends[BURST], *recvs[BURST];

		fill(p->a.mem, (size_t)BURST * PIECE, 7);
		fake_verbs_fail_work(0, 0, n, IBV_WC_RETRY_EXC_ERR, true);
		for (uint64_t i = 0; i < BURST; i++)
			recvs[i] = start_recv(&p->b, i * PIECE, PIECE);
		for (uint64_t i = 0; i < BURST; i++)
			sends[i] = start_send(&p->a, i * PIECE, PIECE);
		for (int i = 0; i < BURST; i++) {
			CHECK_ENDS(p, sends[i], 0);
			CHECK_ENDS(p, recvs[i], 0);
		}
		CHECK_FILLED(p->b.mem, (size_t)BURST * PIECE, 7);
		rig_works(p);
		CHECK_EQ(fake_verbs_faults_left(), 0);
		rig_end(p);
	}
}

static void a_completion_that_comes_twice_counts_once(void)
{
	for (unsigned n = 1; n <= 30; n += 3) {
		struct pair *p = rig_begin(NULL, NULL);
		struct burst b;

		fake_verbs_duplicate_cqe(0, 0, n);
		burst_start(p, &b);
		burst_arrives(p, &b);
		rig_works(p);
		CHECK_EQ(fake_verbs_faults_left(), 0);
		rig_end(p);
	}
}

/* Which of A's transfers are in flight when something happens to the device. */
static size_t start_everything(struct pair *p, slime_op **ops)
{
	size_t n = 0;

	ops[n++] = start_recv(&p->b, 700000, 1000);
	ops[n++] = start_recv_imm(&p->b);
	ops[n++] = start_write(&p->a, 0, 0, 200000);
	ops[n++] = start_read(&p->a, 200000, 200000, 200000);
	ops[n++] = start_write_imm(&p->a, 400000, 400000, 200000, 1);
	ops[n++] = start_send(&p->a, 600000, 1000);
	return n;
}

static void finish_everything(struct pair *p, slime_op **ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int rc = rig_ends(p, ops[i]);

		CHECK(rc <= 0);
	}
}

static void an_overrun_queue_ends_everything_in_flight(void)
{
	struct pair *p = rig_begin(NULL, &brief);
	struct fake_qp_info qps[8];
	slime_op *ops[8];
	size_t n;

	CHECK(rig_rc_qps(0, qps, 8) >= 2);
	fake_verbs_hold(0);
	n = start_everything(p, ops);
	fake_verbs_overrun_cq(0, qps[0].num);
	fake_verbs_release(0);
	finish_everything(p, ops, n);
	rig_end(p);
}

static void a_queue_pair_that_dies_is_made_anew(void)
{
	for (unsigned i = 0; i < 4; i++) {
		struct pair *p = rig_begin(NULL, NULL);
		struct fake_qp_info qps[8];
		struct burst b;

		CHECK(rig_rc_qps(0, qps, 8) >= 4);
		fake_verbs_hold(0);
		burst_start(p, &b);
		fake_verbs_raise(0, IBV_EVENT_QP_FATAL, qps[i].num);
		fake_verbs_fail_work(0, qps[i].num, 1, IBV_WC_FATAL_ERR, false);
		fake_verbs_release(0);
		burst_arrives(p, &b);
		rig_works(p);
		rig_end(p);
	}
}

static void a_port_that_comes_back_in_time_is_not_noticed(void)
{
	struct pair *p = rig_begin(NULL, &(struct pair_opts){.peer_timeout_ms = 10000});
	struct burst b;

	fake_verbs_set_port(0, 1, IBV_PORT_DOWN);
	burst_start(p, &b);
	CHECK(fake_verbs_await(FAKE_UNANSWERED, 1, patience_ns()));
	fake_verbs_set_port(0, 1, IBV_PORT_ACTIVE);
	burst_arrives(p, &b);
	rig_works(p);
	rig_end(p);
}

static void a_port_that_stays_down_ends_everything(void)
{
	struct pair *p = rig_begin(NULL, &brief);
	slime_op *ops[8];
	size_t n;

	fake_verbs_hold(0);
	n = start_everything(p, ops);
	fake_verbs_set_port(0, 1, IBV_PORT_DOWN);
	fake_verbs_release(0);
	for (size_t i = 2; i < n; i++) { /* receives wait for a peer that may come back */
		int rc = rig_ends(p, ops[i]);

		CHECK(rc == -EHOSTUNREACH || rc == -ECONNRESET);
	}
	slime_op_cancel(ops[0]);
	slime_op_cancel(ops[1]);
	finish_everything(p, ops, 2);
	rig_end(p);
}

static void a_wire_that_is_cut_and_healed_in_time_is_not_noticed(void)
{
	struct pair *p =
	    rig_begin(NULL, &(struct pair_opts){.peer_timeout_ms = 10000, .b_device = "fake1"});
	struct burst b;

	fake_verbs_cut(1);
	burst_start(p, &b);
	CHECK(fake_verbs_await(FAKE_UNANSWERED, 1, patience_ns()));
	fake_verbs_heal(1);
	burst_arrives(p, &b);
	rig_works(p);
	rig_end(p);
}

static void a_removed_device_ends_everything_and_everything_can_go(void)
{
	struct pair *p = rig_begin(NULL, &brief);
	slime_op *ops[8];
	size_t n;

	fake_verbs_hold(0);
	n = start_everything(p, ops);
	fake_verbs_remove(0);
	for (size_t i = 0; i < n; i++) {
		int rc = rig_ends(p, ops[i]);

		CHECK(rc < 0);
	}
	rig_end(p);
}

static void what_is_destroyed_in_flight_is_not_touched_again(void)
{
	for (int i = 0; i < 20; i++) {
		struct pair *p = rig_begin(NULL, NULL);
		slime_op *ops[8];
		size_t n;

		fake_verbs_hold(0);
		n = start_everything(p, ops);
		fake_verbs_step(0, (unsigned)i / 2);
		for (size_t k = 0; k < n; k++)
			slime_op_release(ops[k]);
		rig_end(p);
	}
}

enum { RAIL_LEN = 4 * 1024 * 1024 }; /* big enough that all lanes carry it */

/* Let AFTER requests of a transfer of RAIL_LEN bytes leave device DEV, and no more. */
static void die_after(unsigned dev, unsigned after)
{
	fake_verbs_step(dev, after);
	fake_verbs_cut(dev);
	fake_verbs_release(dev);
}

static void a_rail_that_dies_loses_nothing(void)
{
	for (unsigned after = 0; after < 6; after += 2) {
		struct pair *p = rig_begin(NULL, &two_rails);
		struct slime_result res;
		slime_op *write, *recv;

		fill(p->a.mem, RAIL_LEN, after);
		fake_verbs_hold(1);
		recv = start_recv_imm(&p->b);
		write = start_write_imm(&p->a, 0, 0, RAIL_LEN, 99);
		die_after(1, after);
		CHECK_ENDS(p, write, 0);
		CHECK_OK(pair_finish(p, recv, &res));
		CHECK(res.imm == 99 && res.bytes == RAIL_LEN);
		CHECK_FILLED(p->b.mem, RAIL_LEN, after);
		no_more_immediates(p);
		rig_works(p); /* on the other rail */
		fake_verbs_heal(1);
		rig_end(p);
	}
}

/* The event of the port says it at once; without it the retries would have to run out. */
static void a_rail_whose_port_goes_down_is_left_at_once(void)
{
	struct pair_opts opts = two_rails;
	slime_op *write;
	struct pair *p;
	int64_t began;

	opts.peer_timeout_ms = 20000;
	p = rig_begin(NULL, &opts);
	fill(p->a.mem, RAIL_LEN, 3);
	fake_verbs_hold(1);
	write = start_write(&p->a, 0, 0, RAIL_LEN);
	began = now_ns();
	fake_verbs_set_port(1, 1, IBV_PORT_DOWN);
	fake_verbs_release(1);
	CHECK_ENDS(p, write, 0);
	CHECK(now_ns() - began < 600 * NS_PER_MS + slack_ns());
	CHECK_FILLED(p->b.mem, RAIL_LEN, 3);
	rig_works(p);
	rig_end(p);
}

/* The first lane's rail: bytes take the other one, and so does the immediate behind them. */
static void the_bytes_of_the_first_rail_take_the_other(void)
{
	struct pair_opts opts = two_rails;
	struct slime_result res;
	slime_op *write, *recv;
	struct pair *p;

	opts.peer_timeout_ms = 20000;
	p = rig_begin(NULL, &opts);
	fill(p->a.mem, RAIL_LEN, 1);
	fake_verbs_hold(0);
	write = start_write(&p->a, 0, 0, RAIL_LEN);
	die_after(0, 1);
	CHECK_ENDS(p, write, 0);
	CHECK_FILLED(p->b.mem, RAIL_LEN, 1);
	CHECK_ENDS(p, start_read(&p->a, RAIL_LEN, 0, RAIL_LEN), 0);
	CHECK_FILLED(p->a.mem + RAIL_LEN, RAIL_LEN, 1);
	recv = start_recv_imm(&p->b);
	write = start_write_imm(&p->a, 0, RAIL_LEN, RAIL_LEN, 98);
	CHECK_ENDS(p, write, 0);
	CHECK_OK(pair_finish(p, recv, &res));
	CHECK(res.imm == 98 && res.bytes == RAIL_LEN);
	CHECK_FILLED(p->b.mem + RAIL_LEN, RAIL_LEN, 1);
	no_more_immediates(p);
	rig_works(p);
	fake_verbs_heal(0);
	rig_end(p);
}

static void a_rail_that_recovers_carries_again(void)
{
	struct pair *p = rig_begin(NULL, &two_rails);
	int64_t end = now_ns() + patience_ns();
	struct fake_qp_info qps[16];
	unsigned before = rig_rc_qps(1, qps, 16);

	CHECK(before > 0);
	fake_verbs_cut(1);
	CHECK_ENDS(p, start_write(&p->a, 0, 0, 4 * MIB), 0);
	rig_works(p);
	fake_verbs_heal(1);
	while (rig_rc_qps(1, qps, 16) < before && now_ns() < end)
		pair_linger(p, 10 * NS_PER_MS);
	CHECK_EQ(rig_rc_qps(1, qps, 16), before);
	rig_works(p);
	rig_end(p);
}

static void connecting_survives_datagrams_that_are_lost_doubled_or_overtaken(void)
{
	for (int what = FAKE_DROP; what <= FAKE_OVERTAKE; what++)
		for (unsigned n = 1; n <= 5; n++) {
			struct pair *p =
			    rig_begin(NULL, &(struct pair_opts){.apart = true, .lanes = 2});

			fake_verbs_fail_datagram(0, (enum fake_datagram_fault)what, n);
			pair_connect(p);
			pair_import(p);
			rig_works(p);
			rig_end(p);
		}
}

/* One life of two endpoints, of which any call may fail. */
struct life {
	slime_ctx *ctx;
	slime_ep *ep;
	slime_mr *mr;
	struct slime_desc ep_desc, peer, mr_desc;
	int rc;
	struct slime_error err;
};

static char memory[2][65536];

static void live(struct life *l, int side)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "rdma"};

	l->rc = slime_ctx_create(NULL, &l->ctx, &l->err);
	if (!l->rc)
		l->rc = slime_ep_create(l->ctx, &opts, &l->ep, &l->err);
	if (!l->rc)
		l->rc = slime_mr_register(l->ctx, memory[side], sizeof(memory[side]), NULL, &l->mr,
		                          &l->err);
	if (!l->rc)
		l->rc = slime_ep_export(l->ep, &l->ep_desc, &l->err);
	if (!l->rc)
		l->rc = slime_mr_export(l->mr, &l->mr_desc, &l->err);
}

static void *life_connect(void *arg)
{
	struct life *l = arg;

	l->rc = slime_ep_connect(l->ep, &l->peer, 300 * NS_PER_MS, &l->err);
	return NULL;
}

static void check_life(struct life *l, const char *call, unsigned n)
{
	if (l->rc && !l->err.text[0])
		test_fail("%s failing, time %u: error %d without a sentence", call, n, l->rc);
	slime_ep_destroy(l->ep);
	slime_mr_deregister(l->mr);
	slime_ctx_destroy(l->ctx);
}

static void any_call_of_setting_up_fails_with_a_sentence_and_leaves_nothing(void)
{
	static const char *const calls[] = {
	    "get_device_list", "open_device", "query_device", "query_port", "query_gids",
	    "alloc_pd",        "reg_mr",      "create_cq",    "create_qp",  "create_comp_channel",
	    "req_notify_cq",   "modify_qp",   "create_ah",    "post_recv",  "post_send",
	};

	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
		for (unsigned n = 1; n <= 8; n++) {
			struct life a = {0}, b = {0};
			pthread_t thread;

			fake_verbs_install(NULL);
			fake_verbs_fail_call(calls[c], n, ENOMEM);
			live(&a, 0);
			live(&b, 1);
			a.peer = b.ep_desc;
			b.peer = a.ep_desc;
			if (!a.rc && !b.rc) {
				CHECK_EQ(pthread_create(&thread, NULL, life_connect, &b), 0);
				(void)life_connect(&a);
				CHECK_EQ(pthread_join(thread, NULL), 0);
			}
			check_life(&a, calls[c], n);
			check_life(&b, calls[c], n);
			if (fake_verbs_leaks())
				test_fail("%s failing, time %u: %s", calls[c], n,
				          fake_verbs_leaks());
			fake_verbs_uninstall();
		}
}

/* Each side takes one for its mailbox, and two when it connects. */
static void too_few_queue_pairs_are_an_error_that_says_so(void)
{
	static struct fake_verbs_config config;

	for (int n = 2; n <= 5; n++) {
		struct life a = {0}, b = {0};
		pthread_t thread;

		fake_verbs_config_init(&config);
		config.devices[0].attr.max_qp = n;
		config.n_devices = 1;
		fake_verbs_install(&config);
		live(&a, 0);
		live(&b, 1);
		CHECK(!a.rc && !b.rc);
		a.peer = b.ep_desc;
		b.peer = a.ep_desc;
		CHECK_EQ(pthread_create(&thread, NULL, life_connect, &b), 0);
		(void)life_connect(&a);
		CHECK_EQ(pthread_join(thread, NULL), 0);
		CHECK(a.rc < 0 && b.rc < 0);
		if (!strstr(a.err.text, "queue pair") && !strstr(b.err.text, "queue pair"))
			test_fail("no queue pairs: '%s', '%s'", a.err.text, b.err.text);
		check_life(&a, "create_qp", (unsigned)n);
		check_life(&b, "create_qp", (unsigned)n);
		CHECK(!fake_verbs_leaks());
		fake_verbs_uninstall();
	}
}

#define CASE(name)             \
	{                      \
#name, name, 1 \
	}
const struct contract_case rdma_fault_cases[] = {
    CASE(a_send_that_cannot_be_posted_is_not_lost),
    CASE(a_receive_that_cannot_be_posted_is_not_lost),
    CASE(the_only_receive_that_cannot_be_posted_is_not_lost),
    CASE(receives_for_immediates_that_cannot_be_posted_leave_no_gap),
    CASE(a_lost_packet_is_made_good),
    CASE(a_lost_answer_brings_no_immediate_twice),
    CASE(a_lost_answer_brings_no_message_twice),
    CASE(a_completion_that_comes_twice_counts_once),
    CASE(an_overrun_queue_ends_everything_in_flight),
    CASE(a_queue_pair_that_dies_is_made_anew),
    CASE(a_port_that_comes_back_in_time_is_not_noticed),
    CASE(a_port_that_stays_down_ends_everything),
    CASE(a_wire_that_is_cut_and_healed_in_time_is_not_noticed),
    CASE(a_removed_device_ends_everything_and_everything_can_go),
    CASE(what_is_destroyed_in_flight_is_not_touched_again),
    CASE(a_rail_that_dies_loses_nothing),
    CASE(a_rail_whose_port_goes_down_is_left_at_once),
    CASE(the_bytes_of_the_first_rail_take_the_other),
    CASE(a_rail_that_recovers_carries_again),
    CASE(connecting_survives_datagrams_that_are_lost_doubled_or_overtaken),
    CASE(any_call_of_setting_up_fails_with_a_sentence_and_leaves_nothing),
    CASE(too_few_queue_pairs_are_an_error_that_says_so),
    {0},
};
