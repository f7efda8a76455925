/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "driver.h"

enum { MANY = 1000 };

static struct sl_conn *make(struct side *s)
{
	const struct sl_conn_opts opts = {.depth = 8};
	struct sl_conn *conn;

	assert_int_equal(shm->conn_create(s->dom, &opts, &conn, NULL), 0);
	return conn;
}

static bool is_found(struct side *s, const struct sl_conn *conn)
{
	struct sl_conn *found = sl_shm_conn_find(s->dom, conn->id, conn->secret);

	if (found)
		sl_shm_conn_unref(found);
	assert_true(!found || found == conn);
	assert_ptr_equal(sl_shm_conn_at(s->dom, conn->gen, conn->slot), found);
	return found;
}

static uint32_t count(struct side *s)
{
	uint32_t slot = 0, n = 0;

	while (sl_shm_conn_next(s->dom, &slot))
		n++;
	return n;
}

static void all_are_found_while_they_are_there(void **state)
{
	struct sl_conn *conn[MANY];
	struct side s;

	(void)state;
	side_open(&s, 0, true, 0);
	for (int i = 0; i < MANY; i++) {
		conn[i] = make(&s);
		assert_true(is_found(&s, conn[i]));
	}
	assert_int_equal(count(&s), MANY + 1); /* and the side's own */
	for (int i = 0; i < MANY; i++) {
		struct sl_conn *going = conn[i * 7 % MANY]; /* in another order */

		assert_true(is_found(&s, going));
		sl_shm_conn_ref(going);
		shm->conn_destroy(going);
		assert_false(is_found(&s, going));
		sl_shm_conn_unref(going);
	}
	assert_int_equal(count(&s), 1);
	side_close(&s);
}

static void the_secret_is_needed_as_well(void **state)
{
	uint8_t secret[SHM_ID_LEN];
	struct side s;

	(void)state;
	side_open(&s, 0, true, 0);
	memcpy(secret, s.conn->secret, sizeof(secret));
	secret[SHM_ID_LEN - 1] ^= 1;
	assert_null(sl_shm_conn_find(s.dom, s.conn->id, secret));
	assert_null(sl_shm_conn_find(s.dom, secret, s.conn->secret));
	side_close(&s);
}

static void a_slot_that_is_free_is_used_again(void **state)
{
	struct sl_conn *conn[16];
	uint32_t slot, gen;
	struct side s;

	(void)state;
	side_open(&s, 0, true, 0);
	for (int i = 0; i < 16; i++)
		conn[i] = make(&s);
	slot = conn[3]->slot;
	gen = conn[3]->gen;
	shm->conn_destroy(conn[3]);
	conn[3] = make(&s);
	assert_int_equal(conn[3]->slot, slot);
	assert_null(sl_shm_conn_at(s.dom, gen, slot)); /* events of the one before are no one's */
	for (int i = 0; i < 16; i++)
		shm->conn_destroy(conn[i]);
	side_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_are_found_while_they_are_there),
	    cmocka_unit_test(the_secret_is_needed_as_well),
	    cmocka_unit_test(a_slot_that_is_free_is_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
