/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct sl_transport *const rdma = &sl_transport_rdma;

void sl_op_done(struct sl_op *op, int status, uint64_t bytes, uint32_t imm)
{
	struct job *job = (struct job *)op;

	job->done++;
	job->status = status;
	job->bytes = bytes;
	job->imm = imm;
}

/* A side has one domain and one peer, so its handles are those of each of its lanes. */
void sl_op_aim(struct sl_op *op, uint32_t lane)
{
	(void)op;
	(void)lane;
}

void config_init(struct fake_verbs_config *config)
{
	fake_verbs_config_init(config);
	config->synchronous = true;
}

struct sl_dom *dom_make(const char *device)
{
	struct sl_dom_opts opts = {.device = device, .peer_timeout_ms = 2000};
	struct sl_dom *dom = NULL;
	struct slime_error err = {0};

	assert_int_equal(rdma->dom_open(&opts, &dom, &err), 0);
	return dom;
}

void side_make(struct side *s, const char *device)
{
	struct sl_conn_opts opts = {.depth = 256};
	struct sl_mem mem = {.len = SIDE_LEN, .kind = SLIME_MEM_HOST};

	*s = (struct side){.dom = dom_make(device), .mem = calloc(1, SIDE_LEN)};
	assert_non_null(s->mem);
	mem.addr = s->mem;
	assert_int_equal(rdma->reg(s->dom, &mem, SLIME_ACCESS_REMOTE, &s->reg, NULL), 0);
	assert_int_equal(rdma->conn_create(s->dom, &opts, &s->conn, NULL), 0);
}

void side_free(struct side *s)
{
	if (s->rreg)
		rdma->rreg_free(s->rreg);
	if (s->conn) {
		rdma->conn_close(s->conn);
		rdma->conn_destroy(s->conn);
	}
	rdma->unreg(s->reg);
	rdma->dom_close(s->dom);
	free(s->mem);
	*s = (struct side){0};
}

struct sl_blob blob_of(struct side *s)
{
	struct sl_blob blob = {0};

	assert_int_equal(rdma->conn_pack(s->conn, &blob, NULL), 0);
	return blob;
}

void pair_begin(struct pair *p, const struct fake_verbs_config *config)
{
	static struct fake_verbs_config usual;

	config_init(&usual);
	fake_verbs_install(config ? config : &usual);
	side_make(&p->a, "fake0");
	side_make(&p->b, "fake1");
}

static void import(struct side *s, const struct side *peer)
{
	struct sl_blob blob = {0};

	assert_int_equal(rdma->reg_pack(peer->reg, &blob, NULL), 0);
	assert_int_equal(rdma->rreg_unpack(s->conn, &blob, &s->rreg, NULL), 0);
}

void pair_connect(struct pair *p)
{
	struct sl_blob a = blob_of(&p->a), b = blob_of(&p->b);

	assert_int_equal(rdma->connect(p->a.conn, &b, NULL), 0);
	assert_int_equal(rdma->connect(p->b.conn, &a, NULL), 0);
	UNTIL(p, rdma->conn_ready(p->a.conn, NULL) == SL_CONN_READY &&
	             rdma->conn_ready(p->b.conn, NULL) == SL_CONN_READY);
	import(&p->a, &p->b);
	import(&p->b, &p->a);
}

void pair_connected(struct pair *p, const struct fake_verbs_config *config)
{
	pair_begin(p, config);
	pair_connect(p);
}

void pair_end(struct pair *p)
{
	const char *leaks;

	side_free(&p->a);
	side_free(&p->b);
	leaks = fake_verbs_leaks();
	if (leaks)
		fail_msg("%s", leaks);
	fake_verbs_uninstall();
}

void step(struct pair *p)
{
	(void)rdma->progress(p->a.dom, 64);
	(void)rdma->progress(p->b.dom, 64);
}

void job_make(struct job *job, enum sl_opcode code)
{
	memset(&job->op, 0, sizeof(job->op));
	job->op.code = code;
	job->op.iov = job->iov;
	job->done = 0;
	job->status = 1;
}

struct sl_iov *add_run(struct job *job, struct side *s, uint64_t off, uint64_t roff, uint64_t len)
{
	struct sl_iov *v = &job->iov[job->op.niov++];

	*v = (struct sl_iov){.addr = s->mem + off,
	                     .reg = s->reg,
	                     .rreg = s->rreg,
	                     .roff = roff,
	                     .len = len,
	                     .count = 1};
	job->op.bytes += len;
	job->op.imm_bytes += len;
	return v;
}

void start(struct side *s, struct job *job)
{
	assert_int_equal(rdma->submit(s->conn, &job->op), 0);
}

void run(struct pair *p, struct side *s, struct job *job, int status)
{
	start(s, job);
	UNTIL(p, job->done);
	assert_int_equal(job->status, status);
}

void start_one(struct side *s, struct job *job, enum sl_opcode code, uint64_t off, uint64_t roff,
               uint64_t len)
{
	job_make(job, code);
	(void)add_run(job, s, off, roff, len);
	start(s, job);
}

void stop(struct side *s, struct job *job)
{
	atomic_fetch_or(&job->op.state, UINT64_C(1) << SL_OP_STOP_SHIFT);
	for (int i = 0; i < 2 && !job->done; i++)
		rdma->cancel(s->conn, &job->op);
}

static void check_one_way(struct pair *p, struct side *from, struct side *to)
{
	static struct job write, read, send, recv, imm, got;

	memset(from->mem, 7, 5000);
	start_one(from, &write, SL_OP_WRITE, 0, 8192, 5000);
	UNTIL(p, write.done);
	assert_int_equal(write.status, 0);
	assert_memory_equal(from->mem, to->mem + 8192, 5000);
	start_one(from, &read, SL_OP_READ, 16384, 8192, 5000);
	UNTIL(p, read.done);
	assert_int_equal(read.status, 0);
	assert_memory_equal(from->mem, from->mem + 16384, 5000);
	start_one(to, &recv, SL_OP_RECV, 32768, 0, 6000);
	start_one(from, &send, SL_OP_SEND, 0, 0, 5000);
	job_make(&got, SL_OP_RECV_IMM);
	start(to, &got);
	job_make(&imm, SL_OP_WRITE_IMM);
	(void)add_run(&imm, from, 0, 0, 100);
	imm.op.imm = 77;
	start(from, &imm);
	UNTIL(p, send.done && recv.done && imm.done && got.done);
	assert_int_equal(send.status | recv.status | imm.status | got.status, 0);
	assert_int_equal(recv.bytes, 5000);
	assert_int_equal(got.imm, 77);
	assert_int_equal(got.bytes, 100);
	assert_memory_equal(from->mem, to->mem + 32768, 5000);
}

void check_works(struct pair *p)
{
	check_one_way(p, &p->a, &p->b);
	check_one_way(p, &p->b, &p->a);
}
