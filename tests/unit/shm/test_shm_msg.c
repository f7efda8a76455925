/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "driver.h"

static const struct pair_opts shared;
static const struct pair_opts malloced = {.malloced = true};
static const struct pair_opts malloced_no_cma = {
    .malloced = true, .a_flags = SLIME_CTX_NO_CMA, .apart = true};

/* Connected, but without regions of the other, which messages do not need. */
static struct pair *open_for(const struct pair_opts *opts)
{
	struct pair *p = pair_open(opts);

	if (opts->apart)
		pair_connect(p);
	return p;
}

static void exchange(struct pair *p, uint64_t len, unsigned seed, bool recv_first)
{
	static struct job send, recv;

	fill(p->a.mem, len, seed);
	memset(p->b.mem, 0, len + 10);
	if (recv_first)
		assert_int_equal(start_recv(&recv, &p->b, 1, len + 5), 0);
	assert_int_equal(start_send(&send, &p->a, 0, len), 0);
	if (!recv_first)
		assert_int_equal(start_recv(&recv, &p->b, 1, len + 5), 0);
	PAIR_UNTIL(p, send.done && recv.done);
	assert_ended(&send, 0);
	assert_ended(&recv, 0);
	assert_int_equal(send.bytes, len);
	assert_int_equal(recv.bytes, len);
	assert_filled(p->b.mem + 1, len, seed);
	assert_int_equal(p->b.mem[len + 1], 0);
}

static void sizes(const struct pair_opts *opts)
{
	static const uint64_t lens[] = {0,     1,      8,         SHM_EAGER,     SHM_EAGER + 1,
	                                40000, 100000, SHM_PIECE, SHM_PIECE + 1, SIDE_LEN - 100};
	struct pair *p = open_for(opts);

	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
			exchange(p, lens[i], i + round, i % 2 == round % 2);
	pair_close(p);
}

static void every_size_arrives_in_shared_memory(void **state)
{
	(void)state;
	sizes(&shared);
}

static void every_size_arrives_by_cma(void **state)
{
	(void)state;
	sizes(&malloced);
}

static void every_size_arrives_through_the_ring(void **state)
{
	(void)state;
	sizes(&malloced_no_cma);
}

/* More of both than the ring has places. */
static void order(const struct pair_opts *opts)
{
	enum { N = 200 };
	static struct job send[N], recv[N];
	struct pair *p = open_for(opts);

	for (int i = 0; i < N; i++) {
		uint64_t len = i % 5 == 4 ? 20000 : 8;

		memset(p->a.mem + i * 20000L, i, len);
		if (i % 2) { /* now sends wait, now receives */
			assert_int_equal(start_send(&send[i], &p->a, (uint64_t)i * 20000, len), 0);
			assert_int_equal(start_recv(&recv[i], &p->b, (uint64_t)i * 20000, 20000),
			                 0);
		} else {
			assert_int_equal(start_recv(&recv[i], &p->b, (uint64_t)i * 20000, 20000),
			                 0);
			assert_int_equal(start_send(&send[i], &p->a, (uint64_t)i * 20000, len), 0);
		}
	}
	PAIR_UNTIL(p, send[N - 1].done && recv[N - 1].done);
	for (int i = 0; i < N; i++) {
		assert_ended(&send[i], 0);
		assert_ended(&recv[i], 0);
		assert_int_equal(recv[i].bytes, i % 5 == 4 ? 20000 : 8);
		assert_memory_equal(p->b.mem + i * 20000L, p->a.mem + i * 20000L, recv[i].bytes);
	}
	pair_close(p);
}

static void messages_keep_their_order(void **state)
{
	(void)state;
	order(&shared);
	order(&malloced);
	order(&malloced_no_cma);
}

static void a_message_too_long_ends_both_and_the_next_goes_through(void **state)
{
	static struct job send, recv;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct pair *p = open_for(i == 0 ? &shared : i == 1 ? &malloced : &malloced_no_cma);

		p->b.mem[0] = 77;
		assert_int_equal(start_recv(&recv, &p->b, 0, 99), 0);
		assert_int_equal(start_send(&send, &p->a, 0, 100), 0);
		PAIR_UNTIL(p, send.done && recv.done);
		assert_ended(&send, -EMSGSIZE);
		assert_ended(&recv, -EMSGSIZE);
		assert_int_equal(p->b.mem[0], 77);
		exchange(p, 100, 1, true);
		pair_close(p);
	}
}

static void waiting_messages_can_be_cancelled(void **state)
{
	struct pair *p = open_for(&shared);
	static struct job a, b, c, send;

	(void)state;
	assert_int_equal(start_recv(&a, &p->b, 0, 100), 0);
	assert_int_equal(start_recv(&b, &p->b, 200, 100), 0);
	assert_int_equal(start_recv(&c, &p->b, 400, 100), 0);
	ask_stop(&b, &p->b, -ETIME);
	ask_stop(&a, &p->b, -ECANCELED);
	SIDE_UNTIL(&p->b, a.done && b.done);
	assert_ended(&a, -ECANCELED);
	assert_ended(&b, -ETIME);
	fill(p->a.mem, 100, 3);
	assert_int_equal(start_send(&send, &p->a, 0, 100), 0);
	PAIR_UNTIL(p, c.done);
	assert_ended(&c, 0);
	assert_filled(p->b.mem + 400, 100, 3);
	assert_int_equal(p->b.mem[0], 0);
	assert_int_equal(start_send(&send, &p->a, 0, 100), 0);
	ask_stop(&send, &p->a, -ECANCELED);
	SIDE_UNTIL(&p->a, send.done);
	assert_ended(&send, -ECANCELED);
	exchange(p, 100, 4, true);
	pair_close(p);
}

static void a_receive_can_be_cancelled_for_ever(void **state)
{
	struct pair *p = open_for(&shared);
	static struct job recv;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(start_recv(&recv, &p->b, 0, 100), 0);
		ask_stop(&recv, &p->b, -ECANCELED);
		SIDE_UNTIL(&p->b, recv.done);
	}
	exchange(p, 100, 4, true);
	pair_close(p);
}

/*
 * The sender stops in the middle, by the ring: it is still copying when the
 * receiver wants its memory back.
 */
static void a_receive_that_is_being_filled_ends_when_the_sender_says_so(void **state)
{
	struct pair *p = open_for(&malloced_no_cma);
	static struct job send, recv, next;

	(void)state;
	fill(p->a.mem, 100000, 5);
	assert_int_equal(start_recv(&recv, &p->b, 0, 100000), 0);
	assert_int_equal(start_send(&send, &p->a, 0, 100000), 0); /* fills the stream, and waits */
	assert_int_equal(send.done, 0);
	ask_stop(&recv, &p->b, -ECANCELED);
	for (int i = 0; i < 100; i++)
		(void)shm->progress(p->b.dom, 64);
	assert_int_equal(recv.done, 0); /* the sender has it */
	PAIR_UNTIL(p, recv.done);
	assert_ended(&recv, -ECANCELED);
	assert_int_equal(send.done, 0); /* the message is not lost: it is for the next receive */
	assert_int_equal(start_recv(&next, &p->b, 200000, 100000), 0);
	PAIR_UNTIL(p, send.done && next.done);
	assert_ended(&send, 0);
	assert_ended(&next, 0);
	assert_filled(p->b.mem + 200000, 100000, 5);
	pair_close(p);
}

static void a_send_cancelled_half_way_leaves_the_receive_to_the_next(void **state)
{
	struct pair *p = open_for(&malloced_no_cma);
	static struct job send, recv, next;

	(void)state;
	assert_int_equal(start_recv(&recv, &p->b, 0, 100000), 0);
	assert_int_equal(start_send(&send, &p->a, 0, 100000), 0);
	ask_stop(&send, &p->a, -ETIME);
	SIDE_UNTIL(&p->a, send.done);
	assert_ended(&send, -ETIME);
	fill(p->a.mem, 100000, 6);
	assert_int_equal(start_send(&next, &p->a, 0, 100000), 0);
	PAIR_UNTIL(p, recv.done && next.done);
	assert_ended(&recv, 0);
	assert_filled(p->b.mem, 100000, 6);
	pair_close(p);
}

static void close_ends_all_messages_here_and_there(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct pair *p = open_for(i ? &malloced_no_cma : &shared);
		static struct job send[2], recv[2];

		assert_int_equal(start_recv(&recv[0], &p->b, 0, 100000), 0);
		if (i) /* half way */
			assert_int_equal(start_send(&send[0], &p->a, 0, 100000), 0);
		assert_int_equal(start_send(&send[1], &p->b, 0, 100), 0);
		assert_int_equal(start_recv_imm(&recv[1], &p->a), 0);
		shm->conn_close(p->b.conn);
		assert_int_equal(send[1].done, 0);
		assert_int_equal(start_send(&send[1], &p->b, 0, 100), -ECANCELED);
		PAIR_UNTIL(p, recv[0].done && recv[1].done && (!i || send[0].done));
		assert_ended(&recv[0], -ECANCELED);
		assert_ended(&recv[1], -ECONNRESET);
		if (i)
			assert_ended(&send[0], -ECONNRESET);
		pair_close(p);
	}
}

/* Sends until it is told how many were enough, then stands still in the middle of one. */
static int frozen_main(int fd)
{
	static struct job send;
	struct side s;

	side_open(&s, 0, false, 0);
	side_meet(&s, fd);
	s.conn->cma_pid = 0; /* by the ring, so that it does not end in submit() */
	fill(s.mem, 100000, 7);
	assert_int_equal(start_send(&send, &s, 0, 100000), 0);
	assert_int_equal(send.done, 0);
	say_byte(fd, 's');
	(void)raise(SIGSTOP);
	return 1;
}

static void a_frozen_sender_gives_a_receive_back_after_its_timeout(void **state)
{
	static struct job recv;
	struct child c;
	struct side s;
	int64_t began;

	(void)state;
	child_start(&c, frozen_main);
	side_open(&s, 0, false, 600);
	side_meet(&s, c.fd);
	assert_int_equal(start_recv(&recv, &s, 0, 100000), 0);
	assert_int_equal(hear_byte(c.fd), 's');
	began = sl_clock_ns();
	ask_stop(&recv, &s, -ECANCELED);
	SIDE_UNTIL(&s, recv.done);
	assert_true(recv.status == -ECONNRESET || recv.status == -ECANCELED);
	assert_true(sl_clock_ns() - began < 700 * SL_NS_PER_MS);
	child_kill(&c);
	side_close(&s);
}

static void a_silent_peer_is_given_up_after_its_timeout_and_not_before(void **state)
{
	struct pair *p = pair_open(&(struct pair_opts){.peer_timeout_ms = 300});
	static struct job recv;
	int64_t began = sl_clock_ns();

	(void)state;
	assert_int_equal(start_recv(&recv, &p->a, 0, 100), 0);
	while (sl_clock_ns() - began < 900 * SL_NS_PER_MS)
		(void)pair_turn(p); /* it answers */
	assert_int_equal(recv.done, 0);
	began = sl_clock_ns();
	SIDE_UNTIL(&p->a, recv.done); /* it does not */
	assert_ended(&recv, -ECONNRESET);
	assert_true(sl_clock_ns() - began > 150 * SL_NS_PER_MS);
	assert_true(sl_clock_ns() - began < 400 * SL_NS_PER_MS);
	pair_close(p);
}

/* Garbage all over the ring while messages and immediates fly: errors, but nothing worse. */
static void noise_in_the_ring_ends_the_connection_at_worst(void **state)
{
	static struct job send[8], recv[8], imm[8];
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 100; round++) {
		struct pair *p = open_for(round % 3 == 0   ? &shared
		                          : round % 3 == 1 ? &malloced
		                                           : &malloced_no_cma);
		uint32_t *words = (uint32_t *)p->b.conn->ring.map;
		size_t n = 2 * sizeof(struct sl_ring_half) / sizeof(*words);
		bool ok = true;

		for (unsigned i = 0; i < 8; i++) {
			ok = ok && !start_recv(&recv[i], &p->a, i * 1000, 1000);
			ok = ok && !start_recv_imm(&imm[i], &p->a);
			ok = ok && !start_send(&send[i], &p->a, i * 1000, 500);
			for (int k = 0; k < 64; k++) {
				uint32_t noise = (uint32_t)rand_r(&seed);

				__atomic_store_n(&words[noise % n], k % 2 ? noise : noise % 1024,
				                 __ATOMIC_RELAXED);
			}
			(void)shm->progress(p->a.dom, 64);
		}
		shm->conn_close(p->a.conn);
		shm->conn_destroy(p->b.conn);
		p->b.conn = NULL;
		for (int i = 0; ok && i < 8; i++)
			SIDE_UNTIL(&p->a,
			           recv[i].done == 1 && imm[i].done == 1 && send[i].done == 1);
		shm->rreg_free(p->b.rreg);
		p->b.rreg = NULL;
		pair_close(p);
	}
}

enum { THREADS = 3, EACH = 300 };

struct sender {
	struct side *s;
	struct job *jobs;
	pthread_t thread;
};

static void *send_many(void *arg)
{
	struct sender *me = arg;

	for (int i = 0; i < EACH; i++)
		if (start_send(&me->jobs[i], me->s, 0, i % 3 ? 64 : 9000))
			return me;
	return NULL;
}

static void many_threads_send_and_every_message_arrives_once(void **state)
{
	struct pair *p = open_for(&malloced);
	struct job *jobs = calloc(THREADS * EACH, sizeof(*jobs));
	struct sender senders[THREADS];
	static struct job recv;
	void *failed;

	(void)state;
	assert_non_null(jobs);
	for (int i = 0; i < THREADS; i++) {
		senders[i] = (struct sender){.s = &p->a, .jobs = jobs + i * EACH};
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]),
		                 0);
	}
	for (int i = 0; i < THREADS * EACH; i++) {
		assert_int_equal(start_recv(&recv, &p->b, 0, 9000), 0);
		PAIR_UNTIL(p, recv.done);
		assert_ended(&recv, 0);
	}
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(senders[i].thread, &failed), 0);
		assert_null(failed);
	}
	PAIR_UNTIL(p, !p->a.conn->sends.head);
	for (int i = 0; i < THREADS * EACH; i++)
		assert_ended(&jobs[i], 0);
	free(jobs);
	pair_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_size_arrives_in_shared_memory),
	    cmocka_unit_test(every_size_arrives_by_cma),
	    cmocka_unit_test(every_size_arrives_through_the_ring),
	    cmocka_unit_test(messages_keep_their_order),
	    cmocka_unit_test(a_message_too_long_ends_both_and_the_next_goes_through),
	    cmocka_unit_test(waiting_messages_can_be_cancelled),
	    cmocka_unit_test(a_receive_can_be_cancelled_for_ever),
	    cmocka_unit_test(a_receive_that_is_being_filled_ends_when_the_sender_says_so),
	    cmocka_unit_test(a_send_cancelled_half_way_leaves_the_receive_to_the_next),
	    cmocka_unit_test(close_ends_all_messages_here_and_there),
	    cmocka_unit_test(a_frozen_sender_gives_a_receive_back_after_its_timeout),
	    cmocka_unit_test(a_silent_peer_is_given_up_after_its_timeout_and_not_before),
	    cmocka_unit_test(noise_in_the_ring_ends_the_connection_at_worst),
	    cmocka_unit_test(many_threads_send_and_every_message_arrives_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
