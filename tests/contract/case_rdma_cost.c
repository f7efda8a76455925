/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_rdma_cost.c - what endpoints and transfers take: memory, queue pairs,
 * doorbells. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "rig_rdma.h"

/* Of the devices, now. */
struct use {
	uint64_t qps, mr_bytes, queue_bytes, mrs;
};

static struct use used(void)
{
	return (struct use){
	    .qps = fake_verbs_count(FAKE_QPS),
	    .mr_bytes = fake_verbs_count(FAKE_MR_BYTES),
	    .queue_bytes = fake_verbs_count(FAKE_QUEUE_BYTES),
	    .mrs = fake_verbs_count(FAKE_MRS),
	};
}

/* A second pair in the contexts of the first: what it adds is what an endpoint costs. */
static void one_endpoint_is_three_queue_pairs_and_256_kib_at_most(void)
{
	struct pair *p = rig_begin(NULL, NULL), q = {0};
	struct use before, after, alone = used();
	static const struct pair_opts none;

	CHECK(alone.qps <= 2 * 3); /* with what each context has once */
	side_create(&q.a, p->a.ctx, "rdma", &none);
	side_create(&q.b, p->b.ctx, "rdma", &none);
	before = used();
	pair_connect(&q);
	after = used();
	CHECK(after.qps <= alone.qps + 2 * 3);
	(void)fprintf(stderr,
	              "one endpoint: %llu queue pairs, %llu bytes registered, %llu of queues\n",
	              (unsigned long long)(after.qps - alone.qps) / 2,
	              (unsigned long long)(after.mr_bytes - before.mr_bytes) / 2,
	              (unsigned long long)(after.queue_bytes - before.queue_bytes) / 2);
	/* the memory of this test's own regions is not the endpoint's */
	CHECK((after.mr_bytes - before.mr_bytes) / 2 <= 256 * KIB);
	CHECK((after.mr_bytes + after.queue_bytes - before.mr_bytes - before.queue_bytes) / 2 <=
	      256 * KIB);
	side_destroy(&q.a);
	side_destroy(&q.b);
	rig_end(p);
}

static uint64_t heap(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/*
 * Registered memory, queues of the devices, and the whole heap, the fake's own queues in it:
 * more than the truth, and still little.
 */
static void a_thousand_endpoints_fit_into_256_mib(void)
{
	enum { PAIRS = 500 };
	static struct pair pairs[PAIRS];
	static const struct pair_opts opts = {.len = 4096};
	struct pair *p = rig_begin(NULL, NULL);
	uint64_t heap_before = heap(), total;
	struct use before = used(), after;

	for (int i = 0; i < PAIRS; i++) {
		side_create(&pairs[i].a, p->a.ctx, "rdma", &opts);
		side_create(&pairs[i].b, p->b.ctx, "rdma", &opts);
		pair_connect(&pairs[i]);
		pair_import(&pairs[i]);
	}
	for (int i = 0; i < PAIRS; i++)
		pair_ping(&pairs[i], 4096);
	after = used();
	total = after.mr_bytes - before.mr_bytes + after.queue_bytes - before.queue_bytes + heap() -
	        heap_before;
	(void)fprintf(stderr,
	              "1,000 endpoints: %llu MiB registered, %llu MiB of queues, %llu MiB of heap, "
	              "%llu queue pairs\n",
	              (unsigned long long)((after.mr_bytes - before.mr_bytes) >> 20),
	              (unsigned long long)((after.queue_bytes - before.queue_bytes) >> 20),
	              (unsigned long long)((heap() - heap_before) >> 20),
	              (unsigned long long)(after.qps - before.qps));
	CHECK(total <= 256 * MIB);
	CHECK(after.qps - before.qps <= 3 * 2 * PAIRS);
	for (int i = 0; i < PAIRS; i++) {
		side_destroy(&pairs[i].a);
		side_destroy(&pairs[i].b);
	}
	rig_end(p);
}

static void a_destroyed_endpoint_gives_back_all_it_had(void)
{
	struct pair *p = rig_begin(NULL, NULL), q;
	static const struct pair_opts none;
	struct use before = used(), after;
	int64_t end = now_ns() + patience_ns();

	for (int i = 0; i < 10; i++) {
		memset(&q, 0, sizeof(q));
		side_create(&q.a, p->a.ctx, "rdma", &none);
		side_create(&q.b, p->b.ctx, "rdma", &none);
		pair_connect(&q);
		pair_import(&q);
		pair_ping(&q, 1000);
		side_destroy(&q.a);
		side_destroy(&q.b);
	}
	do {
		after = used();
		pair_linger(p, NS_PER_MS);
	} while ((after.qps != before.qps || after.mrs != before.mrs) && now_ns() < end);
	CHECK_EQ(after.qps, before.qps);
	CHECK_EQ(after.mrs, before.mrs);
	rig_end(p);
}

/* Its room in the completion queue too: here there is some for a few. */
static void endpoints_that_come_and_go_do_not_fill_the_completion_queue(void)
{
	static const struct pair_opts none;
	struct pair *p, q;

	CHECK_EQ(setenv("SLIME_MAX_CQ_DEPTH", "8192", 1), 0);
	p = rig_begin(NULL, NULL);
	for (int i = 0; i < 60; i++) {
		memset(&q, 0, sizeof(q));
		side_create(&q.a, p->a.ctx, "rdma", &none);
		side_create(&q.b, p->b.ctx, "rdma", &none);
		pair_connect(&q);
		side_destroy(&q.a);
		side_destroy(&q.b);
		pair_ping(p, 1000);
	}
	rig_end(p);
}

static void sixteen_lanes_are_possible_and_seventeen_an_error(void)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "rdma", .lanes = 17};
	struct pair *p = rig_begin(NULL, &(struct pair_opts){.lanes = 16});
	slime_ep *ep;

	rig_works(p);
	CHECK_RC(slime_ep_create(p->a.ctx, &opts, &ep, &test_err), -EINVAL);
	rig_end(p);
}

/* Requests that one transfer of A's makes. */
static uint64_t works_of(struct pair *p,
                         slime_op *(*start)(struct side *, uint64_t, uint64_t, uint64_t),
                         uint64_t len)
{
	uint64_t before = fake_verbs_count(FAKE_WORKS);

	CHECK_ENDS(p, start(&p->a, 0, 0, len), 0);
	return fake_verbs_count(FAKE_WORKS) - before;
}

static void a_small_transfer_is_one_request_on_one_lane(void)
{
	struct pair *p = rig_begin(NULL, &(struct pair_opts){.lanes = 4, .len = 8 * MIB});

	rig_works(p);
	CHECK_EQ(works_of(p, start_read, 8), 1);
	CHECK_EQ(works_of(p, start_write, 8), 1);
	CHECK_EQ(works_of(p, start_write, 4096), 1);
	CHECK(works_of(p, start_write, 8 * MIB) >= 4);
	rig_end(p);
}

static void a_small_write_goes_inside_its_request(void)
{
	struct pair *p = rig_begin(NULL, NULL);
	uint64_t before;

	rig_works(p);
	before = fake_verbs_count(FAKE_INLINES);
	CHECK_ENDS(p, start_write(&p->a, 0, 0, 8), 0);
	CHECK_EQ(fake_verbs_count(FAKE_INLINES) - before, 1);
	rig_end(p);
}

/* What submits rings: held up, the request is with the device when the call returns. */
static void the_caller_rings_the_doorbell(void)
{
	struct pair *p = rig_begin(NULL, NULL);
	uint64_t before;
	slime_op *op;

	rig_works(p);
	fake_verbs_hold(0);
	before = fake_verbs_count(FAKE_WORKS);
	op = start_write(&p->a, 0, 0, 4096);
	CHECK_EQ(fake_verbs_count(FAKE_WORKS) - before, 1);
	fake_verbs_release(0);
	CHECK_ENDS(p, op, 0);
	rig_end(p);
}

/* What N writes of 4 KiB cost the device, in batches of BATCH each; at the peer STEP from each
 * other. */
static void check_writes(struct pair *p, uint64_t n, uint64_t batch, uint64_t step,
                         uint64_t doorbells, uint64_t works, uint64_t cqes)
{
	uint64_t rung = fake_verbs_count(FAKE_DOORBELLS), posted = fake_verbs_count(FAKE_WORKS);
	uint64_t told = fake_verbs_count(FAKE_CQES);
	struct slime_seg segs[64];

	for (uint64_t i = 0; i < n; i += batch) {
		slime_op *op = NULL;

		for (uint64_t k = 0; k < batch; k++)
			segs[k] = seg_of(&p->a, (i + k) * 8192, (i + k) * step, 4096);
		CHECK_OK(slime_ep_write(p->a.ep, segs, batch, NULL, &op));
		CHECK_ENDS(p, op, 0);
	}
	CHECK_EQ(fake_verbs_count(FAKE_DOORBELLS) - rung, doorbells);
	CHECK_EQ(fake_verbs_count(FAKE_WORKS) - posted, works);
	CHECK_EQ(fake_verbs_count(FAKE_CQES) - told, cqes);
}

static void a_batch_is_one_doorbell_and_one_completion(void)
{
	struct pair *p = rig_begin(NULL, NULL);

	rig_works(p);
	check_writes(p, 64, 64, 8192, 1, 64, 1);
	check_writes(p, 64, 64, 4096, 1, 16, 1); /* in one piece there: gathered by fours */
	check_writes(p, 64, 1, 8192, 64, 64, 64);
	rig_end(p);
}

/*
 * Sixteen places in the send queue, many in the endpoint's depth: most wait for room, which others
 * make while more are submitted. Who makes it has to see every one.
 */
static void a_full_send_queue_forgets_nobody_who_waits_for_room(void)
{
	enum { ROUNDS = 300, AT_ONCE = 64 };
	slime_op *ops[AT_ONCE];
	struct pair *p;

	CHECK_EQ(setenv("SLIME_MAX_SEND_WR", "16", 1), 0);
	p = rig_begin(NULL, &(struct pair_opts){.depth = 2 * AT_ONCE});
	rig_works(p);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		for (uint64_t i = 0; i < AT_ONCE; i++)
			ops[i] = start_write(&p->a, i * 64, i * 64, i % 8 == 5 ? 0 : 64);
		for (int i = 0; i < AT_ONCE; i++)
			CHECK_ENDS(p, ops[i], 0);
	}
	rig_works(p);
	rig_end(p);
}

static void a_message_with_a_waiting_receive_takes_no_further_trip(void)
{
	struct pair *p = rig_begin(NULL, NULL);
	slime_op *recv, *send;
	uint64_t before;

	rig_works(p);
	recv = start_recv(&p->b, 0, 100);
	pair_pending(p, recv); /* now its owner has told of it */
	before = fake_verbs_count(FAKE_WORKS);
	send = start_send(&p->a, 0, 100);
	CHECK_EQ(fake_verbs_count(FAKE_WORKS) - before, 1);
	CHECK_ENDS(p, recv, 0);
	CHECK_ENDS(p, send, 0);
	rig_end(p);
}

static void a_connection_without_a_receive_holds_up_no_other(void)
{
	struct pair *p = rig_begin(NULL, &(struct pair_opts){.len = 9 * MIB}), q = {0};
	static const struct pair_opts none;
	slime_op *stuck = block_begin(p);

	side_create(&q.a, p->a.ctx, "rdma", &none);
	side_create(&q.b, p->b.ctx, "rdma", &none);
	pair_connect(&q);
	pair_import(&q);
	pair_ping(&q, 1000);
	block_end(p, stuck);
	side_destroy(&q.a);
	side_destroy(&q.b);
	rig_end(p);
}

static void a_region_is_registered_once_for_all_endpoints(void)
{
	struct pair *p = rig_begin(NULL, NULL);
	static const struct pair_opts none;
	struct slime_desc desc;
	uint64_t before;
	struct side s[3];

	rig_works(p);
	before = fake_verbs_count(FAKE_MR_BYTES);
	CHECK(before >= 2 * MIB);
	for (int i = 0; i < 3; i++) {
		side_create(&s[i], p->a.ctx, "rdma", &none);
		CHECK_OK(slime_mr_export(p->a.mr, &desc, &test_err));
	}
	CHECK(fake_verbs_count(FAKE_MR_BYTES) - before < MIB);
	for (int i = 0; i < 3; i++)
		side_destroy(&s[i]);
	rig_end(p);
}

/* Freed and mapped again at the same address: the old registration is of no more use. */
static void memory_that_was_mapped_anew_is_registered_anew(void)
{
	struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	struct pair *p = rig_begin(NULL, NULL);
	char *mem = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED);
	rig_works(p);
	for (uint64_t i = 0; i < 3; i++) {
		uint64_t before = fake_verbs_count(FAKE_MRS);
		struct slime_seg seg = seg_of(&p->a, 0, 0, 5000);
		slime_mr *mr = NULL;
		slime_op *op = NULL;

		CHECK_OK(slime_mr_register(p->a.ctx, mem, MIB, &opts, &mr, &test_err));
		fill(mem, 5000, i);
		seg.local = mr;
		CHECK_OK(slime_ep_write(p->a.ep, &seg, 1, NULL, &op));
		CHECK_ENDS(p, op, 0);
		CHECK_FILLED(p->b.mem, 5000, i);
		CHECK_EQ(fake_verbs_count(FAKE_MRS), before + 1);
		slime_mr_deregister(mr);
		CHECK_EQ(fake_verbs_count(FAKE_MRS), before);
		CHECK_EQ(munmap(mem, MIB), 0);
		CHECK(mmap(mem, MIB, PROT_READ | PROT_WRITE,
		           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem);
	}
	CHECK_EQ(munmap(mem, MIB), 0);
	rig_end(p);
}

/* A region inside another one, and one that overlaps both: each lives and dies by itself. */
static void regions_that_overlap_are_independent(void)
{
	struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	struct pair *p = rig_begin(NULL, NULL);
	slime_mr *inner = NULL;

	rig_works(p);
	CHECK_OK(slime_mr_register(p->b.ctx, p->b.mem, 8192, &opts, &inner, &test_err));
	slime_mr_deregister(inner);
	rig_works(p);
	rig_end(p);
}

static void memory_that_cannot_be_locked_is_an_error_that_says_what_to_do(void)
{
	struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	static struct fake_verbs_config config;
	struct slime_desc desc;
	slime_mr *mr = NULL;
	struct pair *p;
	char *mem;
	int rc;

	fake_verbs_config_init(&config);
	config.max_locked = 16 * MIB;
	p = rig_begin(&config, NULL);
	mem = calloc(1, 32 * MIB);
	CHECK(mem != NULL);
	rc = slime_mr_register(p->a.ctx, mem, 32 * MIB, &opts, &mr, &test_err);
	if (!rc)
		rc = slime_mr_export(mr, &desc, &test_err);
	CHECK_RC(rc, -ENOMEM);
	CHECK(strstr(test_err.text, "memlock"));
	slime_mr_deregister(mr);
	free(mem);
	rig_works(p);
	rig_end(p);
}

static void ten_thousand_messages_leave_nothing_behind(void)
{
	struct pair *p = rig_begin(NULL, NULL);
	struct use before, after;
	uint64_t heap_before;

	for (int i = 0; i < 1000; i++)
		pair_ping(p, 64);
	before = used();
	heap_before = heap();
	for (int i = 0; i < 10000; i++)
		pair_ping(p, 64);
	after = used();
	CHECK_EQ(after.mrs, before.mrs);
	CHECK_EQ(after.mr_bytes, before.mr_bytes);
	CHECK_EQ(after.queue_bytes, before.queue_bytes);
	CHECK(heap() < heap_before + 64 * KIB);
	rig_end(p);
}

/* 32 endpoints in one context, each with all that its depth allows, and nobody takes. */
static void no_burst_overruns_the_completion_queue(void)
{
	enum { PAIRS = 32, DEPTH = 128 };
	static struct pair pairs[PAIRS];
	static slime_op *ops[PAIRS][DEPTH];
	static const struct pair_opts opts = {.len = 65536, .depth = DEPTH};
	struct pair *p = rig_begin(NULL, NULL);

	for (int i = 0; i < PAIRS; i++) {
		side_create(&pairs[i].a, p->a.ctx, "rdma", &opts);
		side_create(&pairs[i].b, p->b.ctx, "rdma", &opts);
		pair_connect(&pairs[i]);
		pair_import(&pairs[i]);
	}
	fake_verbs_hold(0);
	for (int i = 0; i < PAIRS; i++)
		for (uint64_t k = 0; k < DEPTH; k++)
			ops[i][k] = start_write(&pairs[i].a, k * 8, k * 8, 8);
	fake_verbs_release(0);
	for (int i = 0; i < PAIRS; i++)
		for (int k = 0; k < DEPTH; k++)
			CHECK_ENDS(&pairs[i], ops[i][k], 0);
	CHECK_EQ(fake_verbs_count(FAKE_OVERRUNS), 0);
	for (int i = 0; i < PAIRS; i++) {
		side_destroy(&pairs[i].a);
		side_destroy(&pairs[i].b);
	}
	rig_end(p);
}

static int64_t cpu_ns(void)
{
	struct rusage u;

	CHECK_EQ(getrusage(RUSAGE_SELF, &u), 0);
	return ((u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000) + u.ru_utime.tv_usec +
	        u.ru_stime.tv_usec) *
	       1000;
}

static void who_waits_or_idles_burns_no_core_serial(void)
{
	struct pair *p = rig_begin(NULL, NULL);
	int64_t before;
	slime_op *op;

	rig_works(p);
	before = cpu_ns();
	pair_linger(p, 300 * NS_PER_MS);
	CHECK(cpu_ns() - before < 100 * NS_PER_MS + slack_ns());
	op = start_recv(&p->a, 0, 8);
	before = cpu_ns();
	CHECK_RC(slime_op_wait(op, 300 * NS_PER_MS, NULL), -ETIMEDOUT);
	CHECK(cpu_ns() - before < 100 * NS_PER_MS + slack_ns());
	slime_op_cancel(op);
	CHECK_ENDS(p, op, -ECANCELED);
	rig_end(p);
}

/* Operation I of the stress test, on its own 64 KiB of each side; its receiver if it has one. */
enum { STRESS_SLOT = 65536, STRESS_DEPTH = 16 };

struct stress {
	struct pair *p;
	slime_op *ops[STRESS_DEPTH], *recvs[STRESS_DEPTH];
	uint64_t lens[STRESS_DEPTH];
	int kinds[STRESS_DEPTH];
};

static void stress_start(struct stress *s, uint64_t slot, uint64_t round)
{
	struct side *a = &s->p->a, *b = &s->p->b;
	uint64_t off = slot * STRESS_SLOT, x = (round * 16 + slot) * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t len = (x >> 40) % STRESS_SLOT;

	s->lens[slot] = len;
	s->kinds[slot] = (int)((x >> 20) % 4);
	s->recvs[slot] = NULL;
	fill(s->kinds[slot] == 1 ? b->mem + off : a->mem + off, len, x);
	switch (s->kinds[slot]) {
	case 0:
		s->ops[slot] = start_write(a, off, off, len);
		break;
	case 1:
		s->ops[slot] = start_read(a, off, off, len);
		break;
	case 2:
		s->recvs[slot] = start_recv_imm(b);
		s->ops[slot] = start_write_imm(a, off, off, len, (uint32_t)slot);
		break;
	default:
		s->recvs[slot] = start_recv(b, off, len);
		s->ops[slot] = start_send(a, off, len);
	}
}

static void stress_check(struct stress *s, uint64_t slot, uint64_t round)
{
	uint64_t off = slot * STRESS_SLOT, x = (round * 16 + slot) * UINT64_C(0x9e3779b97f4a7c15);

	CHECK_ENDS(s->p, s->ops[slot], 0);
	if (s->recvs[slot])
		CHECK_ENDS(s->p, s->recvs[slot], 0);
	CHECK_FILLED((s->kinds[slot] == 1 ? s->p->a.mem : s->p->b.mem) + off, s->lens[slot], x);
}

/* Receives match sends in the order both were submitted: those of a round are. */
static void mixed_operations_over_four_lanes_keep_every_byte(void)
{
	struct stress s = {.p = rig_begin(NULL, &(struct pair_opts){.lanes = 4, .depth = 64})};
	const char *seconds = getenv("DLSLIME_STRESS_SECONDS");
	int64_t end = now_ns() + (seconds ? strtol(seconds, NULL, 10) : 3) * 1000 * NS_PER_MS;

	for (uint64_t round = 0; now_ns() < end; round++) {
		for (uint64_t slot = 0; slot < STRESS_DEPTH; slot++)
			stress_start(&s, slot, round);
		for (uint64_t slot = 0; slot < STRESS_DEPTH; slot++)
			stress_check(&s, slot, round);
	}
	CHECK_EQ(fake_verbs_count(FAKE_OVERRUNS), 0);
	rig_end(s.p);
}

#define CASE(name)             \
	{                      \
#name, name, 1 \
	}
const struct contract_case rdma_cost_cases[] = {
    CASE(one_endpoint_is_three_queue_pairs_and_256_kib_at_most),
    CASE(a_thousand_endpoints_fit_into_256_mib),
    CASE(a_destroyed_endpoint_gives_back_all_it_had),
    CASE(endpoints_that_come_and_go_do_not_fill_the_completion_queue),
    CASE(sixteen_lanes_are_possible_and_seventeen_an_error),
    CASE(a_small_transfer_is_one_request_on_one_lane),
    CASE(a_small_write_goes_inside_its_request),
    CASE(the_caller_rings_the_doorbell),
    CASE(a_batch_is_one_doorbell_and_one_completion),
    CASE(a_full_send_queue_forgets_nobody_who_waits_for_room),
    CASE(a_message_with_a_waiting_receive_takes_no_further_trip),
    CASE(a_connection_without_a_receive_holds_up_no_other),
    CASE(a_region_is_registered_once_for_all_endpoints),
    CASE(memory_that_was_mapped_anew_is_registered_anew),
    CASE(regions_that_overlap_are_independent),
    CASE(memory_that_cannot_be_locked_is_an_error_that_says_what_to_do),
    CASE(ten_thousand_messages_leave_nothing_behind),
    CASE(no_burst_overruns_the_completion_queue),
    CASE(who_waits_or_idles_burns_no_core_serial),
    CASE(mixed_operations_over_four_lanes_keep_every_byte),
    {0},
};
