/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_state.c - prepared transfers, information, statistics, progress. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "contract.h"

static void a_prepared_transfer_is_posted_a_thousand_times(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg segs[20];
	slime_xfer *write = NULL, *read = NULL;
	struct slime_result res;
	slime_op *op = NULL;

	for (uint64_t i = 0; i < 20; i++)
		segs[i] = seg_of(&p->a, i * 1000, i * 3000, 500);
	CHECK_OK(slime_xfer_prepare(p->a.ep, SLIME_DIR_WRITE, segs, 20, &write, &test_err));
	CHECK_OK(slime_xfer_prepare(p->a.ep, SLIME_DIR_READ, segs, 20, &read, &test_err));
	memset(segs, 0, sizeof(segs));
	for (uint64_t i = 0; i < 1000; i++) {
		fill(p->a.mem, 20000, i);
		CHECK_OK(slime_xfer_post(write, NULL, &op));
		CHECK_OK(pair_finish(p, op, &res));
		CHECK_EQ(res.bytes, 10000);
		CHECK(!memcmp(p->b.mem + 57000, p->a.mem + 19000, 500));
		memset(p->a.mem + 19000, 0, 500);
		CHECK_OK(slime_xfer_post(read, NULL, &op));
		CHECK_ENDS(p, op, 0);
		CHECK_FILLED(p->a.mem, 19500, i);
	}
	slime_xfer_release(write);
	slime_xfer_release(read);
	pair_destroy(p);
}

static void a_prepared_transfer_is_busy_while_in_flight(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = HELD_UP + MIB});
	struct slime_submit how = {.size = sizeof(how), .flags = SLIME_SUBMIT_FENCE};
	struct slime_seg seg = seg_of(&p->a, 0, 0, 100);
	slime_op *before = block_begin(p), *op = NULL, *again = NULL;
	slime_xfer *xfer = NULL;

	fill(p->a.mem, 100, 1);
	CHECK_OK(slime_xfer_prepare(p->a.ep, SLIME_DIR_WRITE, &seg, 1, &xfer, &test_err));
	CHECK_OK(slime_xfer_post(xfer, &how, &op));
	CHECK_RC(slime_xfer_post(xfer, &how, &again), -EBUSY);
	CHECK_RC(slime_xfer_post(xfer, NULL, &again), -EBUSY);
	CHECK(again == NULL);
	block_end(p, before);
	CHECK_ENDS(p, op, 0);
	CHECK_FILLED(p->b.mem, 100, 1);
	CHECK_OK(slime_xfer_post(xfer, NULL, &op));
	CHECK_ENDS(p, op, 0);
	slime_xfer_release(xfer);
	pair_destroy(p);
}

static void a_prepared_transfer_released_in_flight_ends(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = HELD_UP + MIB});
	struct slime_submit how = {.size = sizeof(how), .flags = SLIME_SUBMIT_FENCE};
	struct slime_seg segs[40];
	slime_op *before = block_begin(p), *op = NULL;
	slime_xfer *xfer = NULL;

	for (uint64_t i = 0; i < 40; i++)
		segs[i] = seg_of(&p->a, i * 100, i * 100, 100);
	fill(p->a.mem, 4000, 1);
	CHECK_OK(slime_xfer_prepare(p->a.ep, SLIME_DIR_WRITE, segs, 40, &xfer, &test_err));
	CHECK_OK(slime_xfer_post(xfer, &how, &op));
	slime_xfer_release(xfer);
	block_end(p, before);
	CHECK_ENDS(p, op, 0);
	CHECK_FILLED(p->b.mem, 4000, 1);
	pair_destroy(p);
}

static void preparing_checks_ranges_and_rights(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_seg seg = seg_of(&p->a, 0, MIB - 7, 8);
	slime_xfer *xfer = NULL;

	CHECK_RC(slime_xfer_prepare(p->a.ep, SLIME_DIR_WRITE, &seg, 1, &xfer, &test_err), -ERANGE);
	CHECK(test_err.text[0]);
	CHECK_RC(slime_xfer_prepare(p->a.ep, SLIME_DIR_READ, &seg, 1, &xfer, &test_err), -ERANGE);
	CHECK_RC(slime_xfer_prepare(p->a.ep, (enum slime_dir)7, &seg, 1, &xfer, &test_err),
	         -EINVAL);
	CHECK_RC(slime_xfer_prepare(p->a.ep, SLIME_DIR_READ, NULL, 1, &xfer, &test_err), -EINVAL);
	CHECK(xfer == NULL);
	pair_destroy(p);
}

static void info_tells_what_carries_the_endpoint(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.apart = true});
	struct slime_ep_info info = {.size = sizeof(info)};
	char pid[32];

	CHECK_RC(slime_ep_get_info(p->a.ep, &info), -ENOTCONN);
	pair_connect(p);
	CHECK_OK(slime_ep_get_info(p->a.ep, &info));
	CHECK(!strcmp(info.transport, env.transport));
	CHECK(info.device && info.because && info.peer);
	CHECK(info.lanes >= 1 && info.lanes <= 16);
	if (env.variant == VAR_LANES && over("tcp"))
		CHECK_EQ(info.lanes, 4);
	(void)snprintf(pid, sizeof(pid), ":%d", (int)getpid());
	if (!strstr(info.peer, pid))
		test_fail("the peer is called '%s', without the process %s", info.peer, pid + 1);
	info.size = 3;
	CHECK_RC(slime_ep_get_info(p->a.ep, &info), -EINVAL);
	pair_destroy(p);
}

/* Statistics of the transport under test in the context of S. */
static struct slime_stats stats_of(const struct side *s)
{
	struct slime_stats all[8];
	int n = slime_ctx_stats(s->ctx, all, 8);

	CHECK(n > 0 && n <= 8);
	for (int i = 0; i < n; i++)
		if (!strcmp(all[i].transport, env.transport))
			return all[i];
	test_fail("no statistics for %s", env.transport);
}

enum { READ, WRITE, WRITE_IMM, SEND, RECV, RECV_IMM };

static void statistics_count_each_call_once(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.len = 8 * MIB});
	struct slime_seg segs[1000];
	struct slime_stats before = stats_of(&p->a), after;
	slime_op *op = NULL, *recv;

	for (uint64_t i = 0; i < 1000; i++)
		segs[i] = seg_of(&p->a, i * 8, i * 16, 8);
	CHECK_OK(slime_ep_write(p->a.ep, segs, 1000, NULL, &op));
	CHECK_ENDS(p, op, 0);
	CHECK_ENDS(p, start_write(&p->a, 0, 0, 5 * MIB), 0);
	for (int i = 0; i < 3; i++)
		CHECK_ENDS(p, start_read(&p->a, 0, 0, 100), 0);
	CHECK_ENDS(p, start_write_imm(&p->a, 0, 0, 10, 1), 0);
	CHECK_ENDS(p, start_recv_imm(&p->b), 0);
	recv = start_recv(&p->b, 0, 50);
	CHECK_ENDS(p, start_send(&p->a, 0, 50), 0);
	CHECK_ENDS(p, recv, 0);
	recv = start_recv(&p->a, 0, 50);
	slime_op_cancel(recv);
	CHECK_ENDS(p, recv, -ECANCELED);
	after = stats_of(&p->a);
	CHECK_EQ(after.submitted[WRITE] - before.submitted[WRITE], 2);
	CHECK_EQ(after.completed[WRITE] - before.completed[WRITE], 2);
	CHECK_EQ(after.bytes_submitted[WRITE] - before.bytes_submitted[WRITE], 8000 + 5 * MIB);
	CHECK_EQ(after.bytes_completed[WRITE] - before.bytes_completed[WRITE], 8000 + 5 * MIB);
	CHECK_EQ(after.submitted[READ] - before.submitted[READ], 3);
	CHECK_EQ(after.completed[READ] - before.completed[READ], 3);
	CHECK_EQ(after.bytes_completed[READ] - before.bytes_completed[READ], 300);
	CHECK_EQ(after.completed[WRITE_IMM] - before.completed[WRITE_IMM], 1);
	CHECK_EQ(after.completed[SEND] - before.completed[SEND], 1);
	CHECK_EQ(after.submitted[RECV] - before.submitted[RECV], 1);
	CHECK_EQ(after.failed[RECV] - before.failed[RECV], 1);
	CHECK_EQ(after.completed[RECV] - before.completed[RECV], 0);
	after = stats_of(&p->b);
	CHECK_EQ(after.completed[RECV], 1);
	CHECK_EQ(after.bytes_completed[RECV], 50);
	CHECK_EQ(after.completed[RECV_IMM], 1);
	CHECK_EQ(after.submitted[WRITE], 0);
	pair_destroy(p);
}

static void refused_calls_are_not_counted(void)
{
	struct pair *p = pair_create(NULL);
	struct slime_stats before, after;
	struct slime_seg seg = seg_of(&p->a, MIB, 0, 8);
	slime_op *op = NULL;

	before = stats_of(&p->a);
	CHECK_RC(slime_ep_write(p->a.ep, &seg, 1, NULL, &op), -ERANGE);
	after = stats_of(&p->a);
	CHECK_EQ(after.submitted[WRITE], before.submitted[WRITE]);
	CHECK_EQ(after.failed[WRITE], before.failed[WRITE]);
	pair_destroy(p);
}

static void devices_name_every_transport_with_a_reason(void)
{
	slime_ctx *ctx = context_create(false, 0);
	struct slime_device all[64];
	int n = slime_ctx_devices(ctx, all, 64);
	bool found = false;

	CHECK(n > 0 && n <= 64);
	CHECK_EQ(slime_ctx_devices(ctx, NULL, 0), n);
	for (int i = 0; i < n; i++) {
		CHECK(all[i].transport[0]);
		CHECK(all[i].status == 0 || all[i].reason[0]);
		CHECK(all[i].status <= 0);
		if (!strcmp(all[i].transport, env.transport))
			found = found || all[i].status == 0;
	}
	CHECK(found);
	slime_ctx_destroy(ctx);
}

static void progress_of_a_context_with_a_thread_is_refused(void)
{
	struct pair *p = pair_create(NULL);

	CHECK_RC(slime_ctx_progress(p->a.ctx), -EPERM);
	pair_destroy(p);
}

static void progress_counts_completions_and_is_zero_when_idle(void)
{
	struct pair *p = pair_create(NULL);
	slime_op *recv, *send;
	int done = 0;
	int64_t end = now_ns() + patience_ns();

	for (int i = 0; i < 100; i++) {
		(void)slime_ctx_progress(p->a.ctx);
		(void)slime_ctx_progress(p->b.ctx);
	}
	CHECK_EQ(slime_ctx_progress(p->a.ctx), 0);
	recv = start_recv(&p->b, 0, 64);
	send = start_send(&p->a, 0, 64);
	do {
		done += slime_ctx_progress(p->a.ctx);
		done += slime_ctx_progress(p->b.ctx);
	} while (slime_op_wait(recv, 0, NULL) == -ETIMEDOUT && now_ns() < end);
	CHECK_OK(slime_op_wait(recv, 0, NULL));
	slime_op_release(recv);
	CHECK_ENDS(p, send, 0);
	CHECK(done >= 0 && done <= 2);
	pair_destroy(p);
}

static void memory_is_zeroed_and_page_aligned(void)
{
	slime_ctx *ctx = context_create(false, 0);
	static const size_t lens[] = {1, 4095, 4096, 4097, MIB, 5 * MIB + 3};
	struct slime_mem_opts opts = {.size = sizeof(opts), .numa = -1};
	void *mems[6];

	for (size_t i = 0; i < 6; i++) {
		const char *bytes;

		CHECK_OK(slime_mem_alloc(ctx, lens[i], i % 2 ? &opts : NULL, &mems[i], &test_err));
		bytes = mems[i];
		CHECK_EQ((uintptr_t)bytes % 4096, 0);
		for (size_t k = 0; k < lens[i]; k++)
			CHECK(bytes[k] == 0);
		memset(mems[i], 0xff, lens[i]);
	}
	for (size_t i = 0; i < 6; i++)
		slime_mem_free(ctx, mems[i]);
	slime_ctx_destroy(ctx);
}

static void a_silent_but_living_peer_is_not_gone(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.peer_timeout_ms = 300});
	slime_op *recv = start_recv(&p->a, 0, 64), *imm = start_recv_imm(&p->b);

	pair_linger(p, 1000 * NS_PER_MS);
	CHECK_RC(slime_op_wait(recv, 0, NULL), -ETIMEDOUT);
	CHECK_RC(slime_op_wait(imm, 0, NULL), -ETIMEDOUT);
	CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
	CHECK_ENDS(p, recv, 0);
	CHECK_ENDS(p, start_write_imm(&p->a, 0, 0, 8, 1), 0);
	CHECK_ENDS(p, imm, 0);
	pair_destroy(p);
}

/* What a side does not hear while it does not listen is not silence of the peer. */
static void a_side_that_did_not_look_does_not_give_up_its_peer(void)
{
	struct pair *p = pair_create(&(struct pair_opts){.peer_timeout_ms = 100});
	slime_op *recv = start_recv(&p->a, 0, 64);

	for (int i = 0; i < 6; i++) { /* at different times after the peer was last heard */
		struct timespec pause = {.tv_nsec = 200 * NS_PER_MS};

		pair_linger(p, (50 + 9 * i) * NS_PER_MS);
		(void)nanosleep(&pause, NULL); /* nobody drives */
		pair_drive(p);
		CHECK_RC(slime_op_wait(recv, 0, NULL), -ETIMEDOUT);
	}
	CHECK_ENDS(p, start_send(&p->b, 0, 64), 0);
	CHECK_ENDS(p, recv, 0);
	pair_destroy(p);
}

const struct contract_case state_cases[] = {
    {"a_side_that_did_not_look_does_not_give_up_its_peer",
     a_side_that_did_not_look_does_not_give_up_its_peer, IN(MANUAL)},
    {"a_prepared_transfer_is_posted_a_thousand_times",
     a_prepared_transfer_is_posted_a_thousand_times, IN_MEMORY | IN(MANUAL)},
    {"a_prepared_transfer_is_busy_while_in_flight", a_prepared_transfer_is_busy_while_in_flight,
     IN_ALL},
    {"a_prepared_transfer_released_in_flight_ends", a_prepared_transfer_released_in_flight_ends,
     IN_ALL},
    {"preparing_checks_ranges_and_rights", preparing_checks_ranges_and_rights, IN_BASIC},
    {"info_tells_what_carries_the_endpoint", info_tells_what_carries_the_endpoint, IN_ALL},
    {"statistics_count_each_call_once", statistics_count_each_call_once, IN_MEMORY | IN(MANUAL)},
    {"refused_calls_are_not_counted", refused_calls_are_not_counted, IN_BASIC},
    {"devices_name_every_transport_with_a_reason", devices_name_every_transport_with_a_reason,
     IN_BASIC},
    {"progress_of_a_context_with_a_thread_is_refused",
     progress_of_a_context_with_a_thread_is_refused, IN_BASIC},
    {"progress_counts_completions_and_is_zero_when_idle",
     progress_counts_completions_and_is_zero_when_idle, IN(MANUAL)},
    {"memory_is_zeroed_and_page_aligned", memory_is_zeroed_and_page_aligned, IN_BASIC},
    {"a_silent_but_living_peer_is_not_gone", a_silent_but_living_peer_is_not_gone, IN_ALL},
    {0},
};
