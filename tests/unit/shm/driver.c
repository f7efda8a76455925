/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

const struct sl_transport *const shm = &sl_transport_shm;

void sl_op_done(struct sl_op *op, int status, uint64_t bytes, uint32_t imm)
{
	struct job *j = (struct job *)op;

	j->status = status;
	j->bytes = bytes;
	j->imm = imm;
	atomic_fetch_add(&j->done, 1);
}

int sl_op_overdue(struct sl_op *op)
{
	return sl_op_stop(op);
}

int64_t deadline(void)
{
	return sl_clock_after(PATIENCE_MS * SL_NS_PER_MS);
}

void check_deadline(int64_t until_ns, const char *what, int line)
{
	if (sl_clock_ns() > until_ns)
		fail_msg("line %d: never: %s", line, what);
}

void side_open(struct side *s, uint32_t flags, bool shared, uint32_t peer_timeout_ms)
{
	const struct sl_dom_opts opts = {
	    .flags = flags, .peer_timeout_ms = peer_timeout_ms ? peer_timeout_ms : 3000};
	const struct sl_conn_opts conn_opts = {.depth = 64};
	struct sl_mem mem = {.len = SIDE_LEN, .kind = SLIME_MEM_HOST};
	struct slime_error err = {0};
	void *p;

	*s = (struct side){.shared = shared};
	assert_int_equal(shm->dom_open(&opts, &s->dom, &err), 0);
	assert_int_equal(shm->conn_create(s->dom, &conn_opts, &s->conn, &err), 0);
	if (shared)
		assert_int_equal(sl_shm_mem_alloc(SIDE_LEN, 0, -1, &p, &err), 0);
	else
		p = calloc(1, SIDE_LEN);
	assert_non_null(p);
	s->mem = p;
	mem.addr = p;
	assert_int_equal(shm->reg(s->dom, &mem, SLIME_ACCESS_REMOTE, &s->reg, &err), 0);
}

void side_close(struct side *s)
{
	shm->rreg_free(s->rreg);
	shm->conn_destroy(s->conn);
	shm->unreg(s->reg);
	shm->dom_close(s->dom);
	if (s->shared)
		assert_int_equal(sl_shm_mem_free(s->mem), 0);
	else
		free(s->mem);
}

int pair_turn(struct pair *p)
{
	return shm->progress(p->a.dom, 64) + shm->progress(p->b.dom, 64);
}

void pair_connect(struct pair *p)
{
	struct sl_blob a, b;
	struct slime_error err = {0};

	assert_int_equal(shm->conn_pack(p->a.conn, &a, &err), 0);
	assert_int_equal(shm->conn_pack(p->b.conn, &b, &err), 0);
	assert_int_equal(shm->connect(p->a.conn, &b, &err), 0);
	assert_int_equal(shm->connect(p->b.conn, &a, &err), 0);
	PAIR_UNTIL(p, shm->conn_ready(p->a.conn, &err) == SL_CONN_READY &&
	                  shm->conn_ready(p->b.conn, &err) == SL_CONN_READY);
}

void pair_import(struct pair *p)
{
	struct slime_error err = {0};
	struct sl_blob blob;

	assert_int_equal(shm->reg_pack(p->b.reg, &blob, &err), 0);
	assert_int_equal(shm->rreg_unpack(p->a.conn, &blob, &p->a.rreg, &err), 0);
	assert_int_equal(shm->reg_pack(p->a.reg, &blob, &err), 0);
	assert_int_equal(shm->rreg_unpack(p->b.conn, &blob, &p->b.rreg, &err), 0);
}

void pair_map(struct pair *p)
{
	PAIR_UNTIL(p, atomic_load(&p->a.rreg->base) && atomic_load(&p->b.rreg->base));
}

struct pair *pair_open(const struct pair_opts *opts)
{
	static const struct pair_opts none;
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	if (!opts)
		opts = &none;
	side_open(&p->a, opts->a_flags, !opts->malloced, opts->peer_timeout_ms);
	side_open(&p->b, opts->b_flags, !opts->malloced && !opts->b_malloced,
	          opts->peer_timeout_ms);
	if (!opts->apart) {
		pair_connect(p);
		pair_import(p);
	}
	return p;
}

void pair_close(struct pair *p)
{
	side_close(&p->a);
	side_close(&p->b);
	free(p);
}

static void reset(struct job *j)
{
	memset(&j->op, 0, sizeof(j->op));
	atomic_store(&j->done, 0);
	j->status = 12345;
	j->op.iov = j->iov;
}

int start(struct job *j, struct side *s, enum sl_opcode code, uint32_t niov)
{
	reset(j);
	j->op.code = code;
	j->op.niov = niov;
	for (uint32_t i = 0; i < niov; i++)
		j->op.bytes += j->iov[i].len * j->iov[i].count;
	return shm->submit(s->conn, &j->op);
}

struct sl_iov piece(const struct side *s, uint64_t off, uint64_t roff, uint64_t len)
{
	return (struct sl_iov){.addr = s->mem + off,
	                       .reg = s->reg,
	                       .rreg = s->rreg,
	                       .roff = roff,
	                       .len = len,
	                       .count = 1};
}

int start_move(struct job *j, struct side *s, enum sl_opcode code, uint64_t off, uint64_t roff,
               uint64_t len)
{
	j->iov[0] = piece(s, off, roff, len);
	return start(j, s, code, 1);
}

int start_write_imm(struct job *j, struct side *s, uint64_t len, uint32_t imm)
{
	reset(j);
	j->iov[0] = piece(s, 0, 0, len);
	j->op.code = SL_OP_WRITE_IMM;
	j->op.niov = len ? 1 : 0;
	j->op.bytes = j->op.imm_bytes = len;
	j->op.imm = imm;
	return shm->submit(s->conn, &j->op);
}

int start_send(struct job *j, struct side *s, uint64_t off, uint64_t len)
{
	return start_move(j, s, SL_OP_SEND, off, 0, len);
}

int start_recv(struct job *j, struct side *s, uint64_t off, uint64_t len)
{
	return start_move(j, s, SL_OP_RECV, off, 0, len);
}

int start_recv_imm(struct job *j, struct side *s)
{
	return start(j, s, SL_OP_RECV_IMM, 0);
}

void ask_stop(struct job *j, struct side *s, int status)
{
	uint64_t bits = status == -ECANCELED ? 1 : 2;

	atomic_fetch_or(&j->op.state, bits << SL_OP_STOP_SHIFT);
	shm->cancel(s->conn, &j->op);
}

int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

int count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "memfd:dlslime") != NULL;
	(void)fclose(f);
	return n;
}

void fill(char *mem, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		mem[i] = (char)(i * 131 + i / 251 + seed);
}

void assert_filled(const char *mem, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		if (mem[i] != (char)(i * 131 + i / 251 + seed))
			fail_msg("byte %zu of %zu is wrong", i, len);
}

void child_start(struct child *c, int (*child_main)(int fd))
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0) {
		(void)close(fds[0]);
		(void)alarm(60);
		_exit(child_main(fds[1]));
	}
	(void)close(fds[1]);
	c->fd = fds[0];
}

void child_end(struct child *c)
{
	int status;

	(void)close(c->fd);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	assert_int_equal(status, 0);
}

void child_kill(struct child *c)
{
	int status;

	assert_int_equal(kill(c->pid, SIGKILL), 0);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	(void)close(c->fd);
}

static void read_all(int fd, void *buf, size_t len)
{
	for (char *p = buf; len;) {
		ssize_t n = read(fd, p, len);

		if (n <= 0)
			fail_msg("the other process is gone");
		p += n;
		len -= (size_t)n;
	}
}

void send_blob(int fd, const struct sl_blob *blob)
{
	assert_int_equal(write(fd, blob, sizeof(*blob)), sizeof(*blob));
}

void recv_blob(int fd, struct sl_blob *out)
{
	read_all(fd, out, sizeof(*out));
}

void say_byte(int fd, char byte)
{
	assert_int_equal(write(fd, &byte, 1), 1);
}

char hear_byte(int fd)
{
	char byte;

	read_all(fd, &byte, 1);
	return byte;
}

void side_meet(struct side *s, int fd)
{
	struct slime_error err = {0};
	struct sl_blob blob;

	assert_int_equal(shm->conn_pack(s->conn, &blob, &err), 0);
	send_blob(fd, &blob);
	assert_int_equal(shm->reg_pack(s->reg, &blob, &err), 0);
	send_blob(fd, &blob);
	recv_blob(fd, &blob);
	assert_int_equal(shm->connect(s->conn, &blob, &err), 0);
	SIDE_UNTIL(s, shm->conn_ready(s->conn, &err) == SL_CONN_READY);
	recv_blob(fd, &blob);
	assert_int_equal(shm->rreg_unpack(s->conn, &blob, &s->rreg, &err), 0);
}
