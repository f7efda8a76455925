/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/case_process.c - the peer is another process, which may die or freeze. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "contract.h"

#define FAR_LEN (32 * MIB)

static struct peer *start(uint32_t peer_timeout_ms)
{
	return peer_create(&(struct peer_opts){
	    .transport = env.transport,
	    .len = FAR_LEN,
	    .peer_timeout_ms = peer_timeout_ms,
	});
}

static void far_fill(struct peer *peer, uint64_t seed)
{
	CHECK_OK(peer_ask(peer, PEER_FILL, seed, 0, 0, NULL));
}

static void far_check(struct peer *peer, uint64_t off, uint64_t len, uint64_t seed)
{
	struct peer_reply reply;

	CHECK_OK(peer_ask(peer, PEER_WRONG, off, len, seed, &reply));
	CHECK_EQ(reply.value, len);
}

static void far_wait(struct peer *peer, int status, uint64_t bytes)
{
	struct peer_reply reply;

	CHECK_RC(peer_ask(peer, PEER_WAIT, 0, 0, 0, &reply), status);
	if (!status)
		CHECK_EQ(reply.value, bytes);
}

static void two_processes_transfer_everything(void)
{
	static const uint64_t lens[] = {0, 1, 8, 4097, 64 * KIB, MIB + 1, FAR_LEN};
	struct peer *peer = start(0);
	struct side *near = &peer->near;
	struct peer_reply reply;
	slime_op *op;

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint64_t len = lens[i];

		fill(near->mem, len, i);
		CHECK_OK(peer_finish(peer, start_write(near, 0, 0, len), NULL));
		far_check(peer, 0, len, i);
		far_fill(peer, i + 100);
		CHECK_OK(peer_finish(peer, start_read(near, 0, 0, len), NULL));
		CHECK_FILLED(near->mem, len, i + 100);
		CHECK_OK(peer_ask(peer, PEER_RECV, 0, len, 0, NULL));
		fill(near->mem, len, i + 200);
		CHECK_OK(peer_finish(peer, start_send(near, 0, len), NULL));
		far_wait(peer, 0, len);
		far_check(peer, 0, len, i + 200);
		CHECK_OK(peer_ask(peer, PEER_SEND, 0, len, 0, NULL));
		memset(near->mem, 0, len);
		CHECK_OK(peer_finish(peer, start_recv(near, 0, len), NULL));
		CHECK_FILLED(near->mem, len, i + 200);
		far_wait(peer, 0, len);
		CHECK_OK(peer_ask(peer, PEER_RECV_IMM, 0, 0, 0, NULL));
		op = start_write_imm(near, 0, 0, len, (uint32_t)i);
		CHECK_OK(peer_ask(peer, PEER_WAIT, 0, 0, 0, &reply));
		CHECK(reply.imm == i && reply.value == len);
		far_check(peer, 0, len, i + 200);
		CHECK_OK(peer_finish(peer, op, NULL));
	}
	peer_destroy(peer);
}

/* A completed write is in the memory of a process that did nothing for it. */
static void write_is_in_the_other_process_when_it_completes(void)
{
	struct peer *peer = start(0);

	for (uint64_t i = 0; i < 200; i++) {
		uint64_t len = 8 + i * 331;

		fill(peer->near.mem, len, i);
		CHECK_OK(peer_finish(peer, start_write(&peer->near, 0, 0, len), NULL));
		far_check(peer, 0, len, i);
	}
	peer_destroy(peer);
}

/* NULL if the peer has been given up by now. */
static slime_op *start_unless_given_up(struct side *s, int kind, uint64_t len)
{
	struct slime_seg seg = seg_of(s, 0, 0, len);
	struct slime_span span = span_of(s, 0, len);
	slime_op *op = NULL;
	int rc;

	if (kind == 0)
		rc = slime_ep_write(s->ep, &seg, 1, NULL, &op);
	else if (kind == 1)
		rc = slime_ep_read(s->ep, &seg, 1, NULL, &op);
	else
		rc = slime_ep_send(s->ep, &span, NULL, &op);
	if (rc)
		CHECK_RC(rc, -ECONNRESET);
	return op;
}

/*
 * All kinds in flight at the near side; into OPS, N of them returned. With SIG, the peer gets it
 * when the first two, which need the peer to end, are in flight: what is started after a slow
 * machine has given the peer up is NULL. Emulated verbs move what is posted in the thread that
 * posts it, at some 40 MB/s: there, less keeps starting them all well within the peer's timeout.
 */
static size_t start_all_kinds(struct peer *peer, int sig, slime_op **ops)
{
	struct side *s = &peer->near;
	uint64_t len = over("rdma") ? MIB : FAR_LEN;
	size_t n = 0;

	ops[n++] = start_recv(s, 0, 64);
	ops[n++] = start_recv_imm(s);
	if (sig)
		peer_signal(peer, sig);
	for (int i = 0; i < 12; i++)
		ops[n++] = start_unless_given_up(s, i % 3, len);
	return n;
}

/* Whether nothing of a frozen process is needed to end the I-th of them. */
static bool ends_without_the_process(size_t i)
{
	if (over("rdma")) /* its device serves what is one-sided; a message waits for a receive */
		return i >= 2 && (i - 2) % 3 != 2;
	return i >= 2 && over("shm");
}

/* The ways a transport may say that the peer went while this was in flight. */
static void ended_by_death(int status, bool may_be_done)
{
	if (may_be_done && status == 0)
		return;
	CHECK_RC(status, -ECONNRESET);
}

static int64_t kill_and_measure(void)
{
	struct peer *peer = start(0);
	slime_op *recv = start_recv(&peer->near, 0, 64);
	struct timespec ms = {.tv_nsec = NS_PER_MS};
	int64_t began;

	(void)nanosleep(&ms, NULL);
	peer_signal(peer, SIGKILL);
	began = now_ns();
	CHECK_RC(peer_finish(peer, recv, NULL), -ECONNRESET);
	began = now_ns() - began;
	peer_destroy(peer);
	return began;
}

/* Verbs tell of a death by silence alone, so there it is the peer's timeout (docs/transports.md).
 */
static void killed_peer_is_an_error_within_50_ms(void)
{
	int64_t most = strcmp(env.transport, "rdma") ? 50 * NS_PER_MS : 3000 * NS_PER_MS;
	int64_t took[3];

	for (int i = 0; i < 3; i++)
		took[i] = kill_and_measure();
	if (median(took, 3) > most + slack_ns())
		test_fail("it took %lld ms", (long long)(took[1] / NS_PER_MS));
}

static void killed_peer_ends_everything_in_flight(void)
{
	struct peer *peer = start(0);
	struct slime_seg seg = seg_of(&peer->near, 0, 0, 64);
	slime_op *ops[16], *op = NULL;
	size_t n = start_all_kinds(peer, 0, ops);
	int64_t began;
	int rc;

	peer_signal(peer, SIGKILL);
	began = now_ns();
	for (size_t i = 0; i < n; i++) {
		CHECK(ops[i]);
		ended_by_death(peer_finish(peer, ops[i], NULL), i >= 2);
	}
	CHECK(now_ns() - began < 2000 * NS_PER_MS + slack_ns());
	rc = slime_ep_write(peer->near.ep, &seg, 1, NULL, &op);
	if (!rc)
		rc = peer_finish(peer, op, NULL);
	CHECK_RC(rc, -ECONNRESET);
	peer_destroy(peer);
}

/* Killed at many moments of a stream of transfers; each ends, and the process lives. */
static void peer_killed_at_any_moment(void)
{
	for (int i = 0; i < 8; i++) {
		struct peer *peer = start(0);
		struct timespec after = {.tv_nsec = i * i * 200 * 1000L};
		int rc = 0;

		CHECK_OK(peer_ask(peer, PEER_WRITE, 0, FAR_LEN, 0, NULL));
		(void)nanosleep(&after, NULL);
		CHECK_EQ(kill(peer->pid, SIGKILL), 0);
		while (!rc) {
			struct slime_seg seg = seg_of(&peer->near, 0, 0, 3 * MIB);
			slime_op *op = NULL;

			rc = slime_ep_read(peer->near.ep, &seg, 1, NULL, &op);
			if (!rc)
				rc = peer_finish(peer, op, NULL);
		}
		CHECK_RC(rc, -ECONNRESET);
		peer_signal(peer, SIGKILL);
		peer_destroy(peer);
	}
}

static void other_connections_survive_a_killed_peer(void)
{
	struct peer *peer = start(0), *other = start(0);
	slime_op *recv = start_recv(&other->near, 0, 64), *lost = start_recv(&peer->near, 0, 64);

	peer_signal(peer, SIGKILL);
	CHECK_RC(peer_finish(peer, lost, NULL), -ECONNRESET);
	CHECK_OK(peer_ask(other, PEER_SEND, 0, 64, 0, NULL));
	CHECK_OK(peer_finish(other, recv, NULL));
	far_wait(other, 0, 64);
	peer_destroy(peer);
	peer_destroy(other);
}

/* A receive alone notices too, or a process would wait for a frozen one forever. */
static void frozen_peer_is_an_error_after_its_timeout(void)
{
	struct peer *peer = start(500);
	slime_op *recv = start_recv(&peer->near, 0, 64);
	int64_t began, took;

	peer_signal(peer, SIGSTOP);
	began = now_ns();
	CHECK_RC(peer_finish(peer, recv, NULL), -ECONNRESET);
	took = now_ns() - began;
	if (took < 100 * NS_PER_MS || took > 1000 * NS_PER_MS + slack_ns())
		test_fail("it took %lld ms instead of about 500", (long long)(took / NS_PER_MS));
	peer_signal(peer, SIGKILL);
	peer_destroy(peer);
}

static void frozen_peer_ends_everything_in_flight(void)
{
	struct peer *peer = start(500);
	slime_op *ops[16];
	size_t n = start_all_kinds(peer, SIGSTOP, ops);
	int64_t began = now_ns();

	for (size_t i = 0; i < n; i++)
		if (ops[i])
			ended_by_death(peer_finish(peer, ops[i], NULL),
			               ends_without_the_process(i));
	CHECK(now_ns() - began < 1500 * NS_PER_MS + 2 * slack_ns());
	peer_signal(peer, SIGKILL);
	peer_destroy(peer);
}

/* Frozen for less than the timeout: nobody notices. */
static void peer_frozen_for_a_moment_goes_on(void)
{
	struct peer *peer = start(3000);
	slime_op *recv = start_recv(&peer->near, 0, 64), *write;
	struct timespec moment = {.tv_nsec = 100 * NS_PER_MS};

	fill(peer->near.mem + 64, MIB, 1);
	peer_signal(peer, SIGSTOP);
	write = start_write(&peer->near, 64, 64, MIB);
	(void)nanosleep(&moment, NULL);
	peer_signal(peer, SIGCONT);
	CHECK_OK(peer_finish(peer, write, NULL));
	far_check(peer, 64, MIB, 1);
	CHECK_OK(peer_ask(peer, PEER_SEND, 0, 64, 0, NULL));
	CHECK_OK(peer_finish(peer, recv, NULL));
	far_wait(peer, 0, 64);
	peer_destroy(peer);
}

/* Given up as frozen, then it wakes: an error over there too, and no harm here. */
static void peer_that_wakes_too_late_gets_an_error(void)
{
	struct peer *peer = start(200);
	slime_op *recv;

	CHECK_OK(peer_ask(peer, PEER_RECV, 0, 64, 0, NULL));
	recv = start_recv(&peer->near, 0, 64);
	peer_signal(peer, SIGSTOP);
	CHECK_RC(peer_finish(peer, recv, NULL), -ECONNRESET);
	fill(peer->near.mem, FAR_LEN, 1);
	peer_signal(peer, SIGCONT);
	far_wait(peer, -ECONNRESET, 0);
	CHECK_FILLED(peer->near.mem, FAR_LEN, 1);
	peer_destroy(peer);
}

/* What the peer's program computes does not matter: its library's thread serves. */
static void peer_that_is_busy_serves(void)
{
	struct peer *peer = start(0);

	for (int i = 0; i < 50; i++) { /* the far program sits in recv() of its control socket */
		CHECK_OK(peer_finish(peer, start_read(&peer->near, 0, 0, 100), NULL));
		CHECK_OK(peer_finish(peer, start_write(&peer->near, 0, 0, 100), NULL));
	}
	peer_destroy(peer);
}

static void peer_that_closes_is_a_reset_here(void)
{
	struct peer *peer = start(0);
	slime_op *recv = start_recv(&peer->near, 0, 64), *imm = start_recv_imm(&peer->near);

	CHECK_OK(peer_ask(peer, PEER_CLOSE, 0, 0, 0, NULL));
	CHECK_RC(peer_finish(peer, recv, NULL), -ECONNRESET);
	CHECK_RC(peer_finish(peer, imm, NULL), -ECONNRESET);
	peer_destroy(peer);
}

static void many_peers_come_and_go(void)
{
	for (int i = 0; i < 5; i++) {
		struct peer *peer = start(0);

		CHECK_OK(peer_finish(peer, start_write(&peer->near, 0, 0, MIB), NULL));
		if (i % 2)
			peer_signal(peer, SIGKILL);
		peer_destroy(peer);
	}
}

/*
 * Nobody has told this side that the peer is gone, and the peer's memory may be mapped here as
 * ever: who kills it and starts another may not be given the old one's bytes.
 */
static void a_transfer_after_the_peer_was_killed_does_not_succeed(void)
{
	enum { NOTES = 200 };
	struct peer *peer = peer_create(
	    &(struct peer_opts){.transport = env.transport, .len = FAR_LEN, .near_manual = true});
	struct side *near = &peer->near;
	slime_op *op = NULL;

	CHECK_OK(peer_ask(peer, PEER_RECV, 0, 100, 0, NULL));
	/* the peer has to take these, so it is up and running in all its parts */
	for (uint32_t i = 0; i < NOTES; i++)
		CHECK_OK(peer_finish(peer, start_write_imm(near, 0, 0, 8, i), NULL));
	CHECK_OK(peer_finish(peer, start_read(near, 0, 0, 8), NULL));
	peer_signal(peer, SIGKILL);
	CHECK_RC(peer_finish(peer, start_send(near, 0, 100), NULL), -ECONNRESET);
	for (uint64_t len = 8; len <= 8 * MIB; len *= 64) {
		struct slime_seg seg = seg_of(near, 0, 0, len);

		if (!slime_ep_read(near->ep, &seg, 1, NULL, &op))
			CHECK_RC(peer_finish(peer, op, NULL), -ECONNRESET);
		if (!slime_ep_write(near->ep, &seg, 1, NULL, &op))
			CHECK_RC(peer_finish(peer, op, NULL), -ECONNRESET);
	}
	peer_destroy(peer);
}

const struct contract_case process_cases[] = {
    {"a_transfer_after_the_peer_was_killed_does_not_succeed",
     a_transfer_after_the_peer_was_killed_does_not_succeed, IN_BASIC | IN(MALLOC)},
    {"two_processes_transfer_everything", two_processes_transfer_everything, IN_MEMORY},
    {"write_is_in_the_other_process_when_it_completes",
     write_is_in_the_other_process_when_it_completes, IN_MEMORY},
    {"killed_peer_is_an_error_within_50_ms", killed_peer_is_an_error_within_50_ms,
     IN_BASIC | IN(LANES)},
    {"killed_peer_ends_everything_in_flight", killed_peer_ends_everything_in_flight, IN_MEMORY},
    {"peer_killed_at_any_moment", peer_killed_at_any_moment, IN_MEMORY},
    {"other_connections_survive_a_killed_peer", other_connections_survive_a_killed_peer, IN_BASIC},
    {"frozen_peer_is_an_error_after_its_timeout", frozen_peer_is_an_error_after_its_timeout,
     IN_BASIC | IN(LANES)},
    {"frozen_peer_ends_everything_in_flight", frozen_peer_ends_everything_in_flight, IN_MEMORY},
    {"peer_frozen_for_a_moment_goes_on", peer_frozen_for_a_moment_goes_on, IN_BASIC},
    {"peer_that_wakes_too_late_gets_an_error", peer_that_wakes_too_late_gets_an_error, IN_BASIC},
    {"peer_that_is_busy_serves", peer_that_is_busy_serves, IN_BASIC},
    {"peer_that_closes_is_a_reset_here", peer_that_closes_is_a_reset_here, IN_BASIC},
    {"many_peers_come_and_go", many_peers_come_and_go, IN_BASIC},
    {0},
};
