/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "driver.h"

static int knock_on(struct sl_dom *dom)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	socklen_t len =
	    (socklen_t)(sizeof(sa.sun_family) + sl_shm_door_name(dom->card.door, sa.sun_path));
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sa, len)) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static bool hung_up(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1 && pfd.revents & POLLHUP;
}

static void there_is_one_device(void **state)
{
	struct sl_dev_info info[2];
	const struct sl_dom_opts wrong = {.device = "mlx5_0", .peer_timeout_ms = 1000};
	const struct sl_dom_opts right = {.device = "shm", .peer_timeout_ms = 1000};
	struct slime_error err = {0};
	struct sl_dom *dom;

	(void)state;
	assert_int_equal(shm->probe(info, 2, &err), 1);
	assert_string_equal(info[0].name, "shm");
	assert_true(info[0].up);
	assert_int_equal(shm->probe(NULL, 0, NULL), 1);
	assert_int_equal(shm->dom_open(&wrong, &dom, &err), -ENODEV);
	assert_non_null(strstr(err.text, "mlx5_0"));
	assert_int_equal(shm->dom_open(&right, &dom, &err), 0);
	shm->dom_close(dom);
}

static void a_domain_leaves_nothing_open(void **state)
{
	const struct sl_dom_opts opts = {.peer_timeout_ms = 1000};
	int fds = count_fds(), maps = count_maps();
	struct sl_dom *dom;

	(void)state;
	assert_int_equal(shm->dom_open(&opts, &dom, NULL), 0);
	for (int i = 0; i < 10; i++)
		(void)knock_on(dom);
	for (int i = 0; i < 10; i++)
		(void)shm->progress(dom, 64);
	shm->dom_close(dom);
	assert_int_equal(count_maps(), maps);
	assert_int_equal(count_fds(), fds + 10); /* our own ends */
	for (int i = 3; i < 100; i++)
		if (i >= fds - 1 && i < fds + 20)
			(void)close(i);
}

/* Say LEN bytes of BUF and expect to be sent away without a word. */
static void expect_nothing(struct side *s, const void *buf, size_t len)
{
	int fd = knock_on(s->dom);
	char byte;

	assert_true(fd >= 0);
	assert_int_equal(send(fd, buf, len, 0), len);
	SIDE_UNTIL(s, hung_up(fd));
	assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
	(void)close(fd);
}

static void strangers_get_nothing_for_noise(void **state)
{
	uint8_t buf[4096];
	unsigned seed = 1;
	struct shm_msg msg = {0};
	struct side s;
	int fds;

	(void)state;
	side_open(&s, 0, true, 0);
	(void)shm->progress(s.dom, 64);
	fds = count_fds();
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)rand_r(&seed);
	expect_nothing(&s, buf, 1);
	expect_nothing(&s, buf, SHM_MSG_MAX);
	expect_nothing(&s, buf, sizeof(buf));
	for (int type = SHM_KNOCK; type <= SHM_BELL; type++) {
		msg.type = (enum shm_msg_type)type;
		memcpy(msg.to, s.conn->id, SHM_ID_LEN); /* known, but not the secret */
		expect_nothing(&s, buf, sl_shm_msg_put(&msg, buf));
	}
	assert_int_equal(shm->conn_ready(s.conn, NULL), SL_CONN_WAITING);
	assert_int_equal(count_fds(), fds);
	side_close(&s);
}

/* Even with the secret: a hello must have its memfds, and they must be what they should. */
static void a_hello_with_the_wrong_things_is_refused(void **state)
{
	struct shm_msg msg = {.type = SHM_HELLO};
	struct side s;
	int fds;

	(void)state;
	side_open(&s, 0, true, 0);
	(void)shm->progress(s.dom, 64);
	fds = count_fds();
	memcpy(msg.to, s.conn->id, SHM_ID_LEN);
	memcpy(msg.to_secret, s.conn->secret, SHM_ID_LEN);
	for (int n = 0; n < 2; n++) {
		int fd = knock_on(s.dom);

		assert_int_equal(sl_shm_say(fd, &msg, n ? (int[2]){fd, -1} : NULL), 0);
		SIDE_UNTIL(&s, hung_up(fd));
		(void)close(fd);
		assert_int_equal(shm->conn_ready(s.conn, NULL), SL_CONN_WAITING);
	}
	assert_int_equal(count_fds(), fds);
	side_close(&s);
}

static int still_open(const int *fd, int n)
{
	int open = 0;

	for (int i = 0; i < n; i++)
		open += !hung_up(fd[i]);
	return open;
}

static void strangers_are_few_and_short_lived(void **state)
{
	enum { MANY = 200 };
	int fd[MANY];
	struct side s;
	int fds;
	int64_t wake = SL_NEVER, began;

	(void)state;
	side_open(&s, 0, true, 60000);
	(void)shm->progress(s.dom, 64);
	fds = count_fds();
	for (int i = 0; i < MANY; i++) {
		fd[i] = knock_on(s.dom);
		assert_true(fd[i] >= 0);
	}
	(void)shm->arm(s.dom, &wake);
	SIDE_UNTIL(&s, still_open(fd, MANY) <= SHM_STRANGERS);
	assert_true(count_fds() - fds <= MANY + SHM_STRANGERS);
	began = sl_clock_ns();
	while (count_fds() - fds > MANY) { /* asleep most of the time: the clock sends them away */
		struct pollfd pfd = {.fd = shm->fd(s.dom), .events = POLLIN};
		int64_t left;

		wake = SL_NEVER;
		(void)shm->arm(s.dom, &wake);
		assert_true(wake <= began + 2 * SL_NS_PER_S);
		left = wake - sl_clock_ns();
		(void)poll(&pfd, 1, left > 0 ? (int)(left / SL_NS_PER_MS) + 1 : 0);
		(void)shm->progress(s.dom, 64);
		check_deadline(began + 5 * SL_NS_PER_S, "sent away", __LINE__);
	}
	for (int i = 0; i < MANY; i++)
		(void)close(fd[i]);
	side_close(&s);
}

/* A door that is besieged still opens for who has the secret. */
static void a_full_backlog_only_delays(void **state)
{
	struct pair *p = pair_open(&(struct pair_opts){.apart = true});
	struct slime_error err = {0};
	struct sl_blob a, b;
	int fd[2][1000];

	(void)state;
	memset(fd, 0xff, sizeof(fd));
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < 1000; i++)
			if ((fd[k][i] = knock_on(k ? p->a.dom : p->b.dom)) < 0)
				break;
	assert_int_equal(shm->conn_pack(p->a.conn, &a, NULL), 0);
	assert_int_equal(shm->conn_pack(p->b.conn, &b, NULL), 0);
	assert_int_equal(shm->connect(p->a.conn, &b, &err), 0);
	assert_int_equal(shm->connect(p->b.conn, &a, &err), 0);
	assert_int_equal(atomic_load(&p->a.dom->redials) + atomic_load(&p->b.dom->redials), 2);
	PAIR_UNTIL(p, shm->conn_ready(p->a.conn, &err) == SL_CONN_READY &&
	                  shm->conn_ready(p->b.conn, &err) == SL_CONN_READY);
	assert_int_equal(atomic_load(&p->a.dom->redials) + atomic_load(&p->b.dom->redials), 0);
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < 1000 && fd[k][i] >= 0; i++)
			(void)close(fd[k][i]);
	pair_close(p);
}

enum { CONNS = 100 };

static void many_connections_are_served(void **state)
{
	const struct sl_conn_opts opts = {.depth = 8};
	struct sl_conn *a[CONNS], *b[CONNS];
	static struct job recv[CONNS], send;
	struct pair *p = pair_open(NULL);
	struct side s = p->a, t = p->b;
	int fds = count_fds();

	(void)state;
	for (int i = 0; i < CONNS; i++) {
		struct sl_blob x, y;

		assert_int_equal(shm->conn_create(p->a.dom, &opts, &a[i], NULL), 0);
		assert_int_equal(shm->conn_create(p->b.dom, &opts, &b[i], NULL), 0);
		assert_int_equal(shm->conn_pack(a[i], &x, NULL), 0);
		assert_int_equal(shm->conn_pack(b[i], &y, NULL), 0);
		assert_int_equal(shm->connect(a[i], &y, NULL), 0);
		assert_int_equal(shm->connect(b[i], &x, NULL), 0);
	}
	for (int i = 0; i < CONNS; i++)
		PAIR_UNTIL(p, shm->conn_ready(a[i], NULL) == SL_CONN_READY &&
		                  shm->conn_ready(b[i], NULL) == SL_CONN_READY);
	for (int i = 0; i < CONNS; i++) {
		s.conn = a[i];
		assert_int_equal(start_recv(&recv[i], &s, (uint64_t)i * 64, 64), 0);
	}
	for (int i = CONNS - 1; i >= 0; i--) {
		t.conn = b[i];
		t.mem[0] = (char)i;
		assert_int_equal(start_send(&send, &t, 0, 64), 0);
		assert_ended(&send, 0);
	}
	for (int i = 0; i < CONNS; i++) {
		PAIR_UNTIL(p, recv[i].done);
		assert_int_equal(p->a.mem[i * 64], (char)i);
	}
	for (int i = 0; i < CONNS; i++) {
		shm->conn_destroy(i % 2 ? a[i] : b[i]);
		shm->conn_destroy(i % 2 ? b[i] : a[i]);
	}
	assert_int_equal(count_fds(), fds);
	pair_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_is_one_device),
	    cmocka_unit_test(a_domain_leaves_nothing_open),
	    cmocka_unit_test(strangers_get_nothing_for_noise),
	    cmocka_unit_test(a_hello_with_the_wrong_things_is_refused),
	    cmocka_unit_test(strangers_are_few_and_short_lived),
	    cmocka_unit_test(a_full_backlog_only_delays),
	    cmocka_unit_test(many_connections_are_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
