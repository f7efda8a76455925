/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "driver.h"

static const struct pair_opts apart = {.apart = true};

static bool ready(struct side *s)
{
	struct slime_error err = {0};
	int rc = shm->conn_ready(s->conn, &err);

	if (rc < 0)
		fail_msg("refused: %s", err.text);
	return rc == SL_CONN_READY;
}

static void begin(struct side *from, struct side *to)
{
	struct slime_error err = {0};
	struct sl_blob blob;

	assert_int_equal(shm->conn_pack(to->conn, &blob, &err), 0);
	assert_int_equal(shm->connect(from->conn, &blob, &err), 0);
}

static void works(struct pair *p)
{
	static struct job j, k;

	if (!p->a.rreg)
		pair_import(p);
	fill(p->a.mem, 100, 1);
	assert_int_equal(start_move(&j, &p->a, SL_OP_WRITE, 0, 50, 100), 0);
	PAIR_UNTIL(p, j.done);
	assert_ended(&j, 0);
	assert_filled(p->b.mem + 50, 100, 1);
	assert_int_equal(start_recv(&k, &p->a, 200, 10), 0);
	assert_int_equal(start_send(&j, &p->b, 50, 10), 0);
	PAIR_UNTIL(p, j.done && k.done);
	assert_ended(&k, 0);
	assert_filled(p->a.mem + 200, 10, 1);
}

static void connects_in_either_order_and_says_who_is_waited_for(void **state)
{
	(void)state;
	for (int i = 0; i < 16; i++) { /* ids are random: who dials changes */
		struct pair *p = pair_open(&apart);
		struct side *first = i % 2 ? &p->a : &p->b;
		struct side *second = i % 2 ? &p->b : &p->a;

		assert_int_equal(shm->conn_ready(second->conn, NULL), SL_CONN_WAITING);
		begin(first, second);
		PAIR_UNTIL(p, shm->conn_ready(second->conn, NULL) == SL_CONN_CALLED);
		assert_int_equal(shm->conn_ready(first->conn, NULL), SL_CONN_WAITING);
		begin(second, first);
		PAIR_UNTIL(p, ready(first) && ready(second));
		works(p);
		pair_close(p);
	}
}

static void nothing_is_left_open_whenever_it_ends(void **state)
{
	int fds = 0, maps = 0;

	(void)state;
	for (int i = 0; i < 64; i++) {
		struct pair *p = pair_open(&apart);

		if (i % 4 > 0)
			begin(&p->a, &p->b);
		for (int k = 0; k < i % 3; k++)
			(void)shm->progress(p->b.dom, 64);
		if (i % 4 > 1)
			begin(&p->b, &p->a);
		for (int k = 0; k < i / 8 * 3; k++)
			(void)pair_turn(p);
		pair_close(p);
		if (!i) {
			fds = count_fds();
			maps = count_maps();
		}
		assert_int_equal(count_fds(), fds);
		assert_int_equal(count_maps(), maps);
	}
}

static void both_ends_may_be_of_one_domain(void **state)
{
	const struct sl_conn_opts opts = {.depth = 8};
	struct side s;
	struct sl_conn *other;
	struct sl_blob a, b;

	(void)state;
	side_open(&s, 0, true, 0);
	assert_int_equal(shm->conn_create(s.dom, &opts, &other, NULL), 0);
	assert_int_equal(shm->conn_pack(s.conn, &a, NULL), 0);
	assert_int_equal(shm->conn_pack(other, &b, NULL), 0);
	assert_int_equal(shm->connect(s.conn, &b, NULL), 0);
	assert_int_equal(shm->connect(other, &a, NULL), 0);
	SIDE_UNTIL(&s, ready(&s) && shm->conn_ready(other, NULL) == SL_CONN_READY);
	shm->conn_destroy(other);
	side_close(&s);
}

static void expect_refusal(struct side *s, const struct sl_blob *blob, int want, const char *word)
{
	struct slime_error err = {0};

	assert_int_equal(shm->connect(s->conn, blob, &err), want);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say '%s'", err.text, word);
}

static void descriptions_that_lead_nowhere_are_refused_at_once(void **state)
{
	struct pair *p = pair_open(&apart);
	struct sl_blob good, bad;
	struct shm_card card;

	(void)state;
	assert_int_equal(shm->conn_pack(p->b.conn, &good, NULL), 0);
	assert_int_equal(sl_shm_card_get(&good, &card), 0);
	bad = good;
	bad.len--;
	expect_refusal(&p->a, &bad, -EPROTO, "not a description");
	card.boot[0] ^= 1;
	sl_shm_card_put(&card, &bad);
	expect_refusal(&p->a, &bad, -EHOSTUNREACH, "another host");
	card.boot[0] ^= 1;
	card.netns++;
	sl_shm_card_put(&card, &bad);
	expect_refusal(&p->a, &bad, -EHOSTUNREACH, "network namespace");
	card.netns--;
	assert_int_equal(shm->conn_pack(p->a.conn, &bad, NULL), 0);
	expect_refusal(&p->a, &bad, -EINVAL, "itself");
	card.door[0] ^= 1;
	sl_shm_card_put(&card, &bad);
	expect_refusal(&p->a, &bad, -ECONNREFUSED, "unix socket");
	pair_close(p);
}

static void a_wrong_secret_does_not_connect(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		struct pair *p = pair_open(&apart);
		struct slime_error err = {0};
		struct sl_blob blob;
		struct shm_card card;

		assert_int_equal(shm->conn_pack(p->b.conn, &blob, NULL), 0);
		assert_int_equal(sl_shm_card_get(&blob, &card), 0);
		card.secret[7] ^= 1;
		sl_shm_card_put(&card, &blob);
		assert_int_equal(shm->connect(p->a.conn, &blob, NULL), 0);
		begin(&p->b, &p->a);
		PAIR_UNTIL(p, shm->conn_ready(p->a.conn, &err) < 0);
		assert_true(err.text[0]);
		assert_true(shm->conn_ready(p->b.conn, NULL) != SL_CONN_READY);
		pair_close(p);
	}
}

static void a_peer_that_was_destroyed_refuses(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		struct pair *p = pair_open(&apart);
		struct slime_error err = {0};

		if (i % 2)
			begin(&p->a, &p->b);
		if (i % 4 == 3)
			PAIR_UNTIL(p, shm->conn_ready(p->b.conn, NULL) == SL_CONN_CALLED);
		if (i % 2 == 0) {
			struct sl_blob blob;

			assert_int_equal(shm->conn_pack(p->b.conn, &blob, NULL), 0);
			shm->conn_destroy(p->b.conn);
			assert_int_equal(shm->connect(p->a.conn, &blob, NULL), 0);
		} else {
			shm->conn_destroy(p->b.conn);
		}
		PAIR_UNTIL(p, shm->conn_ready(p->a.conn, &err) < 0);
		assert_int_equal(shm->conn_ready(p->a.conn, &err), -ECONNREFUSED);
		assert_true(err.text[0]);
		p->b.conn = NULL;
		pair_close(p);
	}
}

static void connecting_twice_is_refused(void **state)
{
	struct pair *p = pair_open(NULL);
	struct slime_error err = {0};
	struct sl_blob blob;

	(void)state;
	assert_int_equal(shm->conn_pack(p->b.conn, &blob, NULL), 0);
	assert_int_equal(shm->connect(p->a.conn, &blob, &err), -EISCONN);
	works(p);
	pair_close(p);
}

static void cma_is_used_only_if_both_allow_it(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct pair *p = pair_open(&(struct pair_opts){
		    .a_flags = i & 1 ? SLIME_CTX_NO_CMA : 0,
		    .b_flags = i & 2 ? SLIME_CTX_NO_CMA : 0,
		});
		char a[64], b[64];

		shm->conn_name(p->a.conn, a, sizeof(a));
		shm->conn_name(p->b.conn, b, sizeof(b));
		assert_string_equal(a, i ? "memfd" : "memfd and CMA");
		assert_string_equal(b, a);
		pair_close(p);
	}
}

/* A hello that was heard once is no use a second time. */
static void a_replayed_hello_gets_nothing(void **state)
{
	struct pair *p = pair_open(&apart);
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct shm_msg msg = {.type = SHM_HELLO};
	struct side *dials, *waits;
	char byte;
	socklen_t len;
	int fd;

	(void)state;
	pair_connect(p);
	dials = memcmp(p->a.conn->id, p->b.conn->id, SHM_ID_LEN) < 0 ? &p->a : &p->b;
	waits = dials == &p->a ? &p->b : &p->a;
	len = (socklen_t)(sizeof(sa.sun_family) +
	                  sl_shm_door_name(waits->dom->card.door, sa.sun_path));
	memcpy(msg.to, waits->conn->id, SHM_ID_LEN);
	memcpy(msg.to_secret, waits->conn->secret, SHM_ID_LEN);
	memcpy(msg.from, dials->conn->id, SHM_ID_LEN);
	memcpy(msg.from_secret, dials->conn->secret, SHM_ID_LEN);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(sl_shm_say(fd, &msg, (int[2]){fd, fd}), 0);
	PAIR_UNTIL(p, recv(fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
	(void)close(fd);
	works(p);
	pair_close(p);
}

/* Every message at every time, on the control socket of an open connection. */
static void unexpected_messages_end_the_connection(void **state)
{
	(void)state;
	for (int type = 0; type <= SHM_BELL; type++) {
		struct pair *p = pair_open(NULL);
		struct shm_msg msg = {.type = (enum shm_msg_type)type};
		static struct job j;

		pair_map(p);
		PAIR_UNTIL(p, !atomic_load(&p->a.dom->unsettled));
		assert_int_equal(start_recv(&j, &p->a, 0, 10), 0);
		if (type)
			assert_int_equal(sl_shm_say(p->b.conn->fd, &msg, NULL), 0);
		else
			assert_int_equal(send(p->b.conn->fd, "noise", 5, 0), 5);
		if (type == SHM_BELL || type == SHM_ASK) {
			for (int i = 0; i < 100; i++)
				(void)shm->progress(p->a.dom, 64);
			SIDE_UNTIL(&p->a, shm->progress(p->a.dom, 64) == 0);
			assert_int_equal(j.done, 0);
		} else {
			SIDE_UNTIL(&p->a, j.done);
			assert_ended(&j, type == SHM_REFUSE ? -ECONNRESET : -EPROTO);
			assert_int_equal(start_recv(&j, &p->a, 0, 10), -ECONNRESET);
		}
		pair_close(p);
	}
}

static int far_main(int fd)
{
	static struct job j;
	struct side s;

	side_open(&s, 0, true, 0);
	side_meet(&s, fd);
	assert_int_equal(start_recv(&j, &s, 0, 100), 0);
	say_byte(fd, 'r');
	SIDE_UNTIL(&s, j.done);
	say_byte(fd, 'd');
	SIDE_UNTIL(&s, s.conn->gone);
	assert_int_equal(start_recv_imm(&j, &s), -ECONNRESET);
	side_close(&s);
	return 0;
}

static void a_killed_process_is_noticed_at_once(void **state)
{
	static struct job recv, imm;
	struct child c;
	struct side s;
	int64_t began;

	(void)state;
	child_start(&c, far_main);
	side_open(&s, 0, true, 0);
	side_meet(&s, c.fd);
	assert_int_equal(hear_byte(c.fd), 'r');
	assert_int_equal(start_recv(&recv, &s, 0, 100), 0);
	assert_int_equal(start_recv_imm(&imm, &s), 0);
	(void)shm->progress(s.dom, 64);
	child_kill(&c);
	began = sl_clock_ns();
	SIDE_UNTIL(&s, recv.done && imm.done);
	assert_true(sl_clock_ns() - began < 50 * SL_NS_PER_MS);
	assert_ended(&recv, -ECONNRESET);
	assert_ended(&imm, -ECONNRESET);
	assert_int_equal(start_move(&recv, &s, SL_OP_WRITE, 0, 0, 8), -ECONNRESET);
	assert_int_equal(start_recv_imm(&recv, &s), -ECONNRESET);
	side_close(&s);
}

/* A child of the peer that holds its sockets does not keep it alive. */
static int forking_main(int fd)
{
	struct side s;
	pid_t pid;

	side_open(&s, 0, true, 0);
	side_meet(&s, fd);
	pid = fork();
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	assert_int_equal(write(fd, &pid, sizeof(pid)), sizeof(pid));
	for (;;)
		(void)pause();
}

static void a_killed_process_is_noticed_though_its_child_lives(void **state)
{
	static struct job recv;
	struct child c;
	struct side s;
	pid_t grandchild;

	(void)state;
	child_start(&c, forking_main);
	side_open(&s, 0, true, 60000);
	side_meet(&s, c.fd);
	assert_int_equal(read(c.fd, &grandchild, sizeof(grandchild)), sizeof(grandchild));
	if (s.conn->peer->pidfd < 0) {
		(void)kill(grandchild, SIGKILL);
		child_kill(&c);
		side_close(&s);
		print_message("this kernel has no pidfd\n");
		skip();
	}
	assert_int_equal(start_recv(&recv, &s, 0, 100), 0);
	child_kill(&c);
	SIDE_UNTIL(&s, recv.done);
	assert_ended(&recv, -ECONNRESET);
	assert_int_equal(kill(grandchild, SIGKILL), 0);
	side_close(&s);
}

static void a_peer_that_leaves_in_peace_is_noticed(void **state)
{
	static struct job send, recv;
	struct child c;
	struct side s;

	(void)state;
	child_start(&c, far_main);
	side_open(&s, 0, true, 0);
	side_meet(&s, c.fd);
	assert_int_equal(hear_byte(c.fd), 'r');
	assert_int_equal(start_recv(&recv, &s, 0, 10), 0);
	assert_int_equal(start_send(&send, &s, 0, 100), 0);
	assert_ended(&send, 0);
	assert_int_equal(hear_byte(c.fd), 'd');
	shm->conn_close(s.conn);
	SIDE_UNTIL(&s, recv.done);
	assert_ended(&recv, -ECANCELED);
	assert_int_equal(start_recv(&recv, &s, 0, 10), -ECANCELED);
	SIDE_UNTIL(&s, s.conn->shut); /* the other side learns of it without our destroy */
	child_end(&c);
	side_close(&s);
}

/* What the other side of a refusal reads, sent back over FD. */
static int refused_main(int fd)
{
	struct slime_error err = {0};
	struct sl_blob blob;
	struct side s;

	side_open(&s, 0, true, 0);
	assert_int_equal(shm->conn_pack(s.conn, &blob, NULL), 0);
	send_blob(fd, &blob);
	recv_blob(fd, &blob);
	if (!shm->connect(s.conn, &blob, &err))
		SIDE_UNTIL(&s, shm->conn_ready(s.conn, &err) < 0);
	assert_int_equal(write(fd, &err, sizeof(err)), sizeof(err));
	side_close(&s);
	return 0;
}

static void meet_refused(struct child *c, struct slime_error *here, struct slime_error *there)
{
	struct sl_blob theirs, mine;
	struct side s;

	side_open(&s, 0, true, 0);
	recv_blob(c->fd, &theirs);
	assert_int_equal(shm->conn_pack(s.conn, &mine, NULL), 0);
	send_blob(c->fd, &mine);
	if (!shm->connect(s.conn, &theirs, here))
		SIDE_UNTIL(&s, shm->conn_ready(s.conn, here) < 0);
	assert_int_equal(recv(c->fd, there, sizeof(*there), MSG_WAITALL), sizeof(*there));
	side_close(&s);
	print_message("here: %s\nthere: %s\n", here->text, there->text);
}

static int nobody_main(int fd)
{
	assert_int_equal(setuid(65534), 0);
	return refused_main(fd);
}

static void who_may_not_read_us_is_refused_on_both_sides(void **state)
{
	struct slime_error here = {0}, there = {0};
	struct child c;

	(void)state;
	if (geteuid()) {
		print_message("only root can become somebody else\n");
		skip();
	}
	child_start(&c, nobody_main);
	meet_refused(&c, &here, &there);
	assert_int_equal(here.code, -EACCES);
	assert_int_equal(there.code, -EACCES);
	assert_non_null(strstr(here.text, "the peer may not read"));
	assert_non_null(strstr(there.text, "this process may not read"));
	child_end(&c);
}

static int netns_main(int fd)
{
	return unshare(CLONE_NEWNET) ? 77 : refused_main(fd);
}

static void another_network_namespace_is_refused_on_both_sides(void **state)
{
	struct slime_error here = {0}, there = {0};
	struct child c;

	(void)state;
	if (geteuid()) {
		print_message("only root can make a network namespace\n");
		skip();
	}
	child_start(&c, netns_main);
	meet_refused(&c, &here, &there);
	assert_non_null(strstr(here.text, "network namespace"));
	assert_non_null(strstr(there.text, "network namespace"));
	child_end(&c);
}

static int pidns_main(int fd)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		return 77;
	pid = fork();
	if (pid == 0)
		_exit(refused_main(fd));
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

static void a_pid_namespace_that_sees_nothing_is_refused_on_both_sides(void **state)
{
	struct slime_error here = {0}, there = {0};
	struct child c;

	(void)state;
	if (geteuid()) {
		print_message("only root can make a pid namespace\n");
		skip();
	}
	child_start(&c, pidns_main);
	meet_refused(&c, &here, &there);
	assert_non_null(strstr(here.text, "pid namespace"));
	assert_non_null(strstr(there.text, "pid namespace"));
	child_end(&c);
}

/* The same without CMA: memory that both map needs no pid. */
static int pidns_no_cma_main(int fd)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID))
		return 77;
	pid = fork();
	if (pid == 0) {
		static struct job j;
		struct side s;

		side_open(&s, SLIME_CTX_NO_CMA, true, 0);
		side_meet(&s, fd);
		assert_int_equal(start_recv_imm(&j, &s), 0);
		SIDE_UNTIL(&s, j.done); /* and give the memfd meanwhile */
		assert_filled(s.mem, 100, 9);
		side_close(&s);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

static void without_cma_pid_namespaces_do_not_matter(void **state)
{
	static struct job j;
	struct child c;
	struct side s;

	(void)state;
	if (geteuid()) {
		print_message("only root can make a pid namespace\n");
		skip();
	}
	child_start(&c, pidns_no_cma_main);
	side_open(&s, 0, true, 0);
	side_meet(&s, c.fd);
	fill(s.mem, 100, 9);
	assert_int_equal(start_write_imm(&j, &s, 100, 1), 0);
	SIDE_UNTIL(&s, j.done);
	assert_ended(&j, 0);
	child_end(&c);
	side_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(connects_in_either_order_and_says_who_is_waited_for),
	    cmocka_unit_test(nothing_is_left_open_whenever_it_ends),
	    cmocka_unit_test(both_ends_may_be_of_one_domain),
	    cmocka_unit_test(descriptions_that_lead_nowhere_are_refused_at_once),
	    cmocka_unit_test(a_wrong_secret_does_not_connect),
	    cmocka_unit_test(a_peer_that_was_destroyed_refuses),
	    cmocka_unit_test(connecting_twice_is_refused),
	    cmocka_unit_test(cma_is_used_only_if_both_allow_it),
	    cmocka_unit_test(a_replayed_hello_gets_nothing),
	    cmocka_unit_test(unexpected_messages_end_the_connection),
	    cmocka_unit_test(a_killed_process_is_noticed_at_once),
	    cmocka_unit_test(a_killed_process_is_noticed_though_its_child_lives),
	    cmocka_unit_test(a_peer_that_leaves_in_peace_is_noticed),
	    cmocka_unit_test(who_may_not_read_us_is_refused_on_both_sides),
	    cmocka_unit_test(another_network_namespace_is_refused_on_both_sides),
	    cmocka_unit_test(a_pid_namespace_that_sees_nothing_is_refused_on_both_sides),
	    cmocka_unit_test(without_cma_pid_namespaces_do_not_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
