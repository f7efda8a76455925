/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "driver.h"

static void nothing_is_accepted_before_connect_and_after_close(void **state)
{
	struct pair *p = pair_open(&(struct pair_opts){.apart = true});
	static struct job j;

	(void)state;
	assert_int_equal(start_send(&j, &p->a, 0, 8), -ENOTCONN);
	assert_int_equal(start_recv(&j, &p->a, 0, 8), -ENOTCONN);
	assert_int_equal(start_recv_imm(&j, &p->a), -ENOTCONN);
	assert_int_equal(start_write_imm(&j, &p->a, 0, 1), -ENOTCONN);
	pair_connect(p);
	pair_import(p);
	shm->conn_close(p->a.conn);
	shm->conn_close(p->a.conn);
	assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 0, 8), -ECANCELED);
	assert_int_equal(start_write_imm(&j, &p->a, 8, 1), -ECANCELED);
	assert_int_equal(start_recv_imm(&j, &p->a), -ECANCELED);
	assert_int_equal(j.done, 0);
	pair_close(p);
}

static void immediates_arrive_in_order_with_what_they_tell(void **state)
{
	struct pair *p = pair_open(NULL);
	static struct job send[300], recv[300];

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		if (i % 3 == 0)
			assert_int_equal(start_recv_imm(&recv[i], &p->b), 0);
		assert_int_equal(start_write_imm(&send[i], &p->a, i, 5000 + i), 0);
		if (i % 3 != 0)
			assert_int_equal(start_recv_imm(&recv[i], &p->b), 0);
	}
	PAIR_UNTIL(p, send[299].done && recv[299].done);
	for (unsigned i = 0; i < 300; i++) {
		assert_ended(&send[i], 0);
		assert_ended(&recv[i], 0);
		assert_int_equal(recv[i].imm, 5000 + i);
		assert_int_equal(recv[i].bytes, i);
	}
	pair_close(p);
}

/* Nobody asks: some are kept, then the sender waits, and nothing is lost. */
static void immediates_that_nobody_asks_for_hold_the_sender_up(void **state)
{
	enum { N = SL_IMM_MAX + SL_RING_NOTES + 10 };
	struct pair *p = pair_open(NULL);
	static struct job j, last[10];

	(void)state;
	for (unsigned i = 0; i < N - 10; i++) {
		assert_int_equal(start_write_imm(&j, &p->a, 0, i), 0);
		PAIR_UNTIL(p, j.done);
	}
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(start_write_imm(&last[i], &p->a, 0, N - 10 + i), 0);
	for (int i = 0; i < 100; i++)
		(void)pair_turn(p);
	assert_int_equal(last[0].done, 0);
	ask_stop(&last[9], &p->a, -ETIME);
	SIDE_UNTIL(&p->a, last[9].done);
	assert_ended(&last[9], -ETIME);
	for (unsigned i = 0; i < N - 1; i++) {
		assert_int_equal(start_recv_imm(&j, &p->b), 0);
		PAIR_UNTIL(p, j.done);
		assert_int_equal(j.imm, i);
	}
	for (int i = 0; i < 9; i++)
		assert_ended(&last[i], 0);
	pair_close(p);
}

static void a_failed_write_sends_no_immediate(void **state)
{
	struct pair *p = pair_open(NULL);
	static struct job send, recv;

	(void)state;
	assert_int_equal(start_recv_imm(&recv, &p->b), 0);
	assert_int_equal(start_write_imm(&send, &p->a, SIDE_LEN + 1ull, 1), 0);
	assert_ended(&send, -ERANGE);
	assert_int_equal(start_write_imm(&send, &p->a, 8, 2), 0);
	PAIR_UNTIL(p, recv.done);
	assert_int_equal(recv.imm, 2);
	pair_close(p);
}

static void cancel_takes_the_right_one_and_leaves_strangers(void **state)
{
	struct pair *p = pair_open(NULL);
	static struct job recv[3], other, send;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(start_recv_imm(&recv[i], &p->b), 0);
	shm->cancel(p->b.conn, &recv[0].op); /* nobody asked it to stop */
	memset(&other, 0, sizeof(other));
	ask_stop(&other, &p->b, -ECANCELED); /* not there */
	ask_stop(&recv[1], &p->b, -ETIME);
	SIDE_UNTIL(&p->b, recv[1].done);
	assert_ended(&recv[1], -ETIME);
	assert_int_equal(other.done + recv[0].done + recv[2].done, 0);
	assert_int_equal(start_write_imm(&send, &p->a, 0, 1), 0);
	assert_int_equal(start_write_imm(&send, &p->a, 0, 2), 0);
	PAIR_UNTIL(p, recv[2].done);
	assert_int_equal(recv[0].imm, 1);
	assert_int_equal(recv[2].imm, 2);
	pair_close(p);
}

static void what_came_before_the_peer_left_can_still_be_had(void **state)
{
	struct pair *p = pair_open(NULL);
	static struct job send, recv, imm;

	(void)state;
	assert_int_equal(start_recv(&recv, &p->b, 0, 100), 0);
	fill(p->a.mem, 100, 1);
	assert_int_equal(start_send(&send, &p->a, 0, 100), 0);
	assert_int_equal(start_write_imm(&imm, &p->a, 0, 7), 0);
	assert_int_equal(start_write_imm(&imm, &p->a, 0, 8), 0);
	shm->conn_destroy(p->a.conn);
	p->a.conn = NULL;
	SIDE_UNTIL(&p->b, p->b.conn->gone && recv.done);
	(void)shm->progress(p->b.dom, 64);
	assert_ended(&recv, 0);
	assert_filled(p->b.mem, 100, 1);
	for (uint32_t i = 7; i < 9; i++) {
		assert_int_equal(start_recv_imm(&imm, &p->b), 0);
		assert_ended(&imm, 0);
		assert_int_equal(imm.imm, i);
	}
	assert_int_equal(start_recv_imm(&imm, &p->b), -ECONNRESET);
	pair_close(p);
}

static bool readable(struct side *s, int timeout_ms)
{
	struct pollfd pfd = {.fd = shm->fd(s->dom), .events = POLLIN};

	return poll(&pfd, 1, timeout_ms) == 1;
}

/* Go to sleep as the endpoint layer does. */
static void sleep_well(struct side *s)
{
	int64_t wake = SL_NEVER;

	for (int64_t until = deadline(); shm->arm(s->dom, &wake) || readable(s, 0);) {
		(void)shm->progress(s->dom, 64);
		check_deadline(until, "asleep", __LINE__);
	}
	assert_true(wake > sl_clock_ns());
}

/* What must wake a sleeper: begin() by the other side, then *WANT is reached by progress(). */
static void wakes(struct side *sleeper, struct job *want)
{
	if (!readable(sleeper, PATIENCE_MS))
		fail_msg("it was not woken");
	SIDE_UNTIL(sleeper, want->done);
}

static void a_sleeper_is_woken_by_whatever_it_waits_for(void **state)
{
	struct pair *p = pair_open(
	    &(struct pair_opts){.malloced = true, .a_flags = SLIME_CTX_NO_CMA, .apart = true});
	static struct job j, k, extra;

	(void)state;
	pair_connect(p);
	for (int i = 0; i < 20; i++) {
		/* a receive by its message */
		assert_int_equal(start_recv(&j, &p->a, 0, 100), 0);
		sleep_well(&p->a);
		assert_int_equal(start_send(&k, &p->b, 0, 100), 0);
		wakes(&p->a, &j);
		/* an immediate asked for */
		assert_int_equal(start_recv_imm(&j, &p->a), 0);
		sleep_well(&p->a);
		assert_int_equal(start_write_imm(&k, &p->b, 0, 1), 0);
		wakes(&p->a, &j);
		/* a send by its receive, posted before and after it fell asleep */
		assert_int_equal(start_send(&j, &p->a, 0, 100), 0);
		sleep_well(&p->a);
		assert_int_equal(start_recv(&k, &p->b, 0, 100), 0);
		wakes(&p->a, &j);
		SIDE_UNTIL(&p->b, k.done);
		sleep_well(&p->a);
		assert_int_equal(start_send(&j, &p->a, 0, 100), 0);
		assert_int_equal(start_recv(&k, &p->b, 0, 100), 0);
		wakes(&p->a, &j);
		SIDE_UNTIL(&p->b, k.done);
	}
	/* a long message through the ring: each side sleeps for the other */
	assert_int_equal(start_recv(&k, &p->b, 0, 1 << 20), 0);
	assert_int_equal(start_send(&j, &p->a, 0, 1 << 20), 0);
	while (!j.done || !k.done) {
		sleep_well(&p->a);
		assert_true(j.done || readable(&p->b, 0) || shm->arm(p->b.dom, &(int64_t){0}));
		(void)shm->progress(p->b.dom, 64);
		sleep_well(&p->b);
		(void)shm->progress(p->a.dom, 64);
	}
	assert_ended(&k, 0);
	(void)extra;
	pair_close(p);
}

static void a_sleeper_is_woken_for_room_of_immediates(void **state)
{
	struct pair *p = pair_open(NULL);
	static struct job send[SL_RING_NOTES + 1], recv;

	(void)state;
	for (unsigned i = 0; i <= SL_RING_NOTES; i++)
		assert_int_equal(start_write_imm(&send[i], &p->a, 0, i), 0);
	assert_int_equal(send[SL_RING_NOTES].done, 0);
	sleep_well(&p->a);
	assert_int_equal(start_recv_imm(&recv, &p->b), 0);
	assert_ended(&recv, 0);
	wakes(&p->a, &send[SL_RING_NOTES]);
	pair_close(p);
}

static void close_and_death_wake_a_sleeper(void **state)
{
	struct pair *p = pair_open(NULL);
	static struct job j;

	(void)state;
	assert_int_equal(start_recv(&j, &p->a, 0, 100), 0);
	sleep_well(&p->a);
	shm->conn_close(p->a.conn);
	wakes(&p->a, &j);
	assert_ended(&j, -ECANCELED);
	pair_close(p);
	p = pair_open(NULL);
	assert_int_equal(start_recv(&j, &p->a, 0, 100), 0);
	sleep_well(&p->a);
	shm->conn_destroy(p->b.conn);
	p->b.conn = NULL;
	wakes(&p->a, &j);
	assert_ended(&j, -ECONNRESET);
	pair_close(p);
}

/* Nobody pays for bells that nobody needs. */
static void who_is_awake_gets_no_bells(void **state)
{
	struct pair *p = pair_open(NULL);
	static struct job send, recv;

	(void)state;
	pair_map(p);
	PAIR_UNTIL(p, pair_turn(p) == 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(start_recv(&recv, &p->b, 0, 8), 0);
		assert_int_equal(start_send(&send, &p->a, 0, 8), 0);
		PAIR_UNTIL(p, recv.done);
		assert_false(readable(&p->a, 0) || readable(&p->b, 0));
	}
	pair_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_accepted_before_connect_and_after_close),
	    cmocka_unit_test(immediates_arrive_in_order_with_what_they_tell),
	    cmocka_unit_test(immediates_that_nobody_asks_for_hold_the_sender_up),
	    cmocka_unit_test(a_failed_write_sends_no_immediate),
	    cmocka_unit_test(cancel_takes_the_right_one_and_leaves_strangers),
	    cmocka_unit_test(what_came_before_the_peer_left_can_still_be_had),
	    cmocka_unit_test(a_sleeper_is_woken_by_whatever_it_waits_for),
	    cmocka_unit_test(a_sleeper_is_woken_for_room_of_immediates),
	    cmocka_unit_test(close_and_death_wake_a_sleeper),
	    cmocka_unit_test(who_is_awake_gets_no_bells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
