/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "driver.h"

enum { MANY = 3 * SHM_AWAKE };

/* MANY connections between the domains of a pair. */
struct crowd {
	struct pair *p;
	struct sl_conn *a[MANY], *b[MANY];
};

static void crowd_open(struct crowd *c)
{
	const struct sl_conn_opts opts = {.depth = 8};

	c->p = pair_open(NULL);
	for (int i = 0; i < MANY; i++) {
		struct sl_blob a, b;

		assert_int_equal(shm->conn_create(c->p->a.dom, &opts, &c->a[i], NULL), 0);
		assert_int_equal(shm->conn_create(c->p->b.dom, &opts, &c->b[i], NULL), 0);
		assert_int_equal(shm->conn_pack(c->a[i], &a, NULL), 0);
		assert_int_equal(shm->conn_pack(c->b[i], &b, NULL), 0);
		assert_int_equal(shm->connect(c->a[i], &b, NULL), 0);
		assert_int_equal(shm->connect(c->b[i], &a, NULL), 0);
	}
	for (int i = 0; i < MANY; i++)
		PAIR_UNTIL(c->p, shm->conn_ready(c->a[i], NULL) == SL_CONN_READY &&
		                     shm->conn_ready(c->b[i], NULL) == SL_CONN_READY);
}

static void crowd_close(struct crowd *c)
{
	for (int i = 0; i < MANY; i++) {
		shm->conn_destroy(c->a[i]);
		shm->conn_destroy(c->b[i]);
	}
	assert_true(c->p->a.dom->n_awake <= 1); /* the pair's own */
	pair_close(c->p);
}

static struct side side_of(struct side *s, struct sl_conn *conn)
{
	struct side one = *s;

	one.conn = conn;
	return one;
}

static void of_many_idle_ones_few_are_looked_at(void **state)
{
	struct crowd c;

	(void)state;
	crowd_open(&c);
	PAIR_UNTIL(c.p, c.p->a.dom->n_awake <= SHM_AWAKE && c.p->b.dom->n_awake <= SHM_AWAKE);
	crowd_close(&c);
}

/* Fall asleep at once, as before a sleep of the thread, and go on without one. */
static void put_to_sleep(struct sl_dom *dom)
{
	int64_t wake = SL_NEVER;

	for (int64_t until = deadline(); dom->n_awake; check_deadline(until, "asleep", __LINE__)) {
		if (dom->n_awake <= SHM_AWAKE)
			break;
		(void)shm->arm(dom, &wake);
		(void)shm->progress(dom, 64);
	}
}

static void who_sleeps_hears_of_everything(void **state)
{
	static struct job recv[MANY], imm[MANY], send;
	struct crowd c;
	struct side near, far;

	(void)state;
	crowd_open(&c);
	near = c.p->a;
	far = c.p->b;
	for (int i = 0; i < MANY; i++) {
		near.conn = c.a[i];
		assert_int_equal(start_recv(&recv[i], &near, (uint64_t)i * 64, 64), 0);
		assert_int_equal(start_recv_imm(&imm[i], &near), 0);
	}
	put_to_sleep(c.p->a.dom);
	assert_true(c.p->a.dom->n_awake <= SHM_AWAKE);
	for (int i = MANY - 1; i >= 0; i--) {
		far.conn = c.b[i];
		far.mem[0] = (char)i;
		assert_int_equal(start_send(&send, &far, 0, 64), 0);
		PAIR_UNTIL(c.p, recv[i].done);
		assert_int_equal(near.mem[i * 64], (char)i);
		assert_ended(&send, 0);
		assert_int_equal(start(&send, &far, SL_OP_WRITE_IMM, 0), 0);
		PAIR_UNTIL(c.p, imm[i].done);
		assert_ended(&imm[i], 0);
	}
	crowd_close(&c);
}

/* A send that found no receive waits asleep, and a receive of the peer wakes it. */
static void who_waits_for_room_hears_of_it(void **state)
{
	static struct job recv[MANY], send[MANY];
	struct crowd c;

	(void)state;
	crowd_open(&c);
	for (int i = 0; i < MANY; i++) {
		struct side far = side_of(&c.p->b, c.b[i]);

		assert_int_equal(start_send(&send[i], &far, 0, 64), 0);
		assert_int_equal(send[i].done, 0);
	}
	put_to_sleep(c.p->b.dom);
	assert_true(c.p->b.dom->n_awake <= SHM_AWAKE);
	for (int i = 0; i < MANY; i++) {
		struct side near = side_of(&c.p->a, c.a[i]);

		assert_int_equal(start_recv(&recv[i], &near, 0, 64), 0);
		PAIR_UNTIL(c.p, recv[i].done && send[i].done);
	}
	crowd_close(&c);
}

static bool is_readable(struct sl_dom *dom)
{
	struct pollfd pfd = {.fd = shm->fd(dom), .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

/* Until there is nothing to do, and nothing in the sockets either. */
static void arm_in_peace(struct sl_dom *dom)
{
	int64_t wake = SL_NEVER;

	do
		(void)shm->progress(dom, 64);
	while (shm->arm(dom, &wake) || is_readable(dom));
}

/* Between arm() and progress(): a new op of a connection that is asleep asks for its bell itself.
 */
static void an_op_of_an_armed_domain_rings(void **state)
{
	static struct job recv, send;
	struct side near, far;
	struct crowd c;
	struct sl_dom *dom;

	(void)state;
	crowd_open(&c);
	dom = c.p->b.dom;
	PAIR_UNTIL(c.p, dom->n_awake <= SHM_AWAKE);
	arm_in_peace(dom);
	for (int i = 0; i < MANY; i++) {
		near = side_of(&c.p->a, c.a[i]);
		far = side_of(&c.p->b, c.b[i]);
		assert_int_equal(start_send(&send, &far, 0, 64), 0);
		assert_false(is_readable(dom));
		assert_int_equal(start_recv(&recv, &near, 0, 64), 0);
		assert_true(is_readable(dom));
		PAIR_UNTIL(c.p, recv.done && send.done);
		arm_in_peace(dom);
	}
	crowd_close(&c);
}

/* Whatever it was doing when it goes: nothing of it is left to look at. */
static void who_goes_is_forgotten(void **state)
{
	static struct job recv[MANY];
	struct crowd c;

	(void)state;
	crowd_open(&c);
	PAIR_UNTIL(c.p, c.p->a.dom->n_awake <= SHM_AWAKE);
	for (int i = 0; i < MANY; i++) {
		struct side near = side_of(&c.p->a, c.a[i]);

		assert_int_equal(start_recv(&recv[i], &near, 0, 64), 0); /* awake, or woken */
	}
	for (int i = 0; i < MANY; i++) {
		shm->conn_close(c.a[i]);
		SIDE_UNTIL(&c.p->a, recv[i].done);
		assert_ended(&recv[i], -ECANCELED);
	}
	crowd_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(of_many_idle_ones_few_are_looked_at),
	    cmocka_unit_test(who_sleeps_hears_of_everything),
	    cmocka_unit_test(who_waits_for_room_hears_of_it),
	    cmocka_unit_test(an_op_of_an_armed_domain_rings),
	    cmocka_unit_test(who_goes_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
