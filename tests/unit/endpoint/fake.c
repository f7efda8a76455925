/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "transport/transports.h"

enum { CONNS = 64 };

struct sl_dom {
	const char *name;
	unsigned side;
	int fd;
};

struct sl_reg {
	const struct sl_dom *dom;
	char *addr;
};

struct sl_rreg {
	const struct sl_conn *conn;
	char *addr;
};

struct sl_conn {
	struct sl_dom *dom;
	struct sl_conn *peer;
	uint32_t lane;
	uint32_t depth, inflight;
	uint64_t id;
	bool called, closed;
};

struct fake fake;
static unsigned sides[2][FAKE_DEVICES + 1]; /* how often a device of 'fast', 'slow' was opened */
static struct sl_conn *conns[CONNS];
static uint64_t next_id;

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	memset(sides, 0, sizeof(sides));
	fake_fast.max_iov = UINT32_MAX;
	fake_fast.max_len = UINT64_MAX;
	fake_fast.kinds = 1u << SLIME_MEM_HOST;
	fake_fast.caps = SL_CAP_LANES;
}

static bool is_fast(const struct sl_dom *dom)
{
	return dom->name[0] == 'f';
}

static int fake_probe(struct sl_dev_info *out, size_t cap, struct slime_error *err)
{
	(void)err;
	if (cap && !fake.ndevices)
		out[0] = (struct sl_dev_info){.name = "fake", .numa = -1, .up = true};
	for (unsigned i = 0; i < fake.ndevices && i < cap; i++)
		out[i] = fake.device[i];
	return fake.ndevices ? (int)fake.ndevices : 1;
}

/* Which of them DEVICE is; FAKE_DEVICES: none is named; -1: there is none such. */
static int device_of(const char *device)
{
	if (!device)
		return FAKE_DEVICES;
	for (unsigned i = 0; i < fake.ndevices; i++) {
		char name[80];
		int len = snprintf(name, sizeof(name), "%s", fake.device[i].name);

		if (fake.device[i].port > 1)
			(void)snprintf(name + len, 16, ":%u", fake.device[i].port);
		if (!strcmp(name, device))
			return (int)i;
	}
	return -1;
}

/* The first context that opens a device is side 0. */
static int side_of(const struct sl_dom_opts *opts, unsigned transport, unsigned *side,
                   struct slime_error *err)
{
	int device = device_of(opts->device);

	if (device < 0)
		return sl_fail(err, -ENODEV, "there is no device '%s'", opts->device);
	(void)snprintf(fake.opened[fake.nopened++ % 16], sizeof(fake.opened[0]), "%s",
	               opts->device ? opts->device : "");
	*side = sides[transport][device]++ % FAKE_SIDES;
	return 0;
}

static int open_named(const char *name, unsigned side, struct sl_dom **out)
{
	struct sl_dom *dom = calloc(1, sizeof(*dom));

	if (!dom)
		return -ENOMEM;
	*dom = (struct sl_dom){.name = name, .side = side % FAKE_SIDES};
	dom->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*out = dom;
	return 0;
}

static int fast_open(const struct sl_dom_opts *opts, struct sl_dom **out, struct slime_error *err)
{
	unsigned side = 0;
	int rc = side_of(opts, 0, &side, err);

	if (rc)
		return rc;
	if (fake.refuse_to_open[side])
		return sl_fail(err, -ENODEV, "its device is not plugged in");
	return open_named("fast", side, out);
}

static int slow_open(const struct sl_dom_opts *opts, struct sl_dom **out, struct slime_error *err)
{
	unsigned side = 0;
	int rc = side_of(opts, 1, &side, err);

	return rc ? rc : open_named("slow", side, out);
}

static void fake_dom_close(struct sl_dom *dom)
{
	(void)close(dom->fd);
	free(dom);
}

static int fake_reg(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access,
                    struct sl_reg **out, struct slime_error *err)
{
	struct sl_reg *reg = malloc(sizeof(*reg));

	(void)access;
	(void)err;
	if (!reg)
		return -ENOMEM;
	reg->dom = dom;
	reg->addr = mem->addr;
	*out = reg;
	return 0;
}

static void fake_unreg(struct sl_reg *reg)
{
	free(reg);
}

static int fake_reg_pack(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err)
{
	(void)err;
	memcpy(out->bytes, &reg->addr, sizeof(reg->addr));
	out->len = sizeof(reg->addr);
	return 0;
}

static int fake_rreg_unpack(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
                            struct slime_error *err)
{
	struct sl_rreg *r = malloc(sizeof(*r));

	(void)err;
	if (!r)
		return -ENOMEM;
	r->conn = conn;
	memcpy(&r->addr, blob->bytes, sizeof(r->addr));
	*out = r;
	return 0;
}

static void fake_rreg_free(struct sl_rreg *rreg)
{
	free(rreg);
}

static int fake_conn_create(struct sl_dom *dom, const struct sl_conn_opts *opts,
                            struct sl_conn **out, struct slime_error *err)
{
	struct sl_conn *conn = calloc(1, sizeof(*conn));
	unsigned i = 0;

	while (i < CONNS && conns[i])
		i++;
	if (!conn || i == CONNS) {
		free(conn);
		return sl_fail(err, -ENOMEM, "too many fake connections");
	}
	*conn =
	    (struct sl_conn){.dom = dom, .lane = opts->lane, .depth = opts->depth, .id = ++next_id};
	conns[i] = conn;
	*out = conn;
	return 0;
}

static int fake_conn_pack(const struct sl_conn *conn, struct sl_blob *out, struct slime_error *err)
{
	(void)err;
	memcpy(out->bytes, &conn->id, sizeof(conn->id));
	out->len = sizeof(conn->id);
	return 0;
}

static int fake_connect(struct sl_conn *conn, const struct sl_blob *peer, struct slime_error *err)
{
	uint64_t id;

	if (is_fast(conn->dom) && fake.refuse_to_connect[conn->dom->side])
		return sl_fail(err, -EACCES, "its rules forbid it");
	memcpy(&id, peer->bytes, sizeof(id));
	for (unsigned i = 0; i < CONNS; i++)
		if (conns[i] && conns[i]->id == id) {
			conn->peer = conns[i];
			conns[i]->peer = conn;
		}
	conn->called = true;
	return conn->peer ? 0 : sl_fail(err, -ECONNREFUSED, "its peer is gone");
}

static int fake_conn_ready(struct sl_conn *conn, struct slime_error *err)
{
	if (!conn->called)
		return conn->peer && conn->peer->called ? SL_CONN_CALLED : SL_CONN_WAITING;
	if (is_fast(conn->dom) && fake.refuse_when_ready[conn->dom->side])
		return sl_fail(err, -EACCES, "its check has failed");
	return conn->peer && conn->peer->called ? SL_CONN_READY : SL_CONN_WAITING;
}

static void wake(struct sl_dom *dom)
{
	uint64_t one = 1;

	(void)!write(dom->fd, &one, sizeof(one));
}

static void fake_conn_close(struct sl_conn *conn)
{
	conn->closed = true;
	wake(conn->dom);
}

static void fake_conn_destroy(struct sl_conn *conn)
{
	for (unsigned i = 0; i < CONNS; i++) {
		if (conns[i] == conn)
			conns[i] = NULL;
		else if (conns[i] && conns[i]->peer == conn)
			conns[i]->peer = NULL;
	}
	free(conn);
}

static void move(const struct sl_op *op)
{
	for (uint32_t i = 0; i < op->niov; i++) {
		const struct sl_iov *v = &op->iov[i];

		for (uint64_t k = 0; k < v->count; k++) {
			char *here = v->addr + k * v->stride;
			char *there = v->rreg->addr + v->roff + k * v->rstride;

			memcpy(op->code == SL_OP_READ ? here : there,
			       op->code == SL_OP_READ ? there : here, v->len);
		}
	}
}

static bool is_one_sided(const struct sl_op *op)
{
	return op->code <= SL_OP_WRITE_IMM;
}

static struct sl_conn *conn_of(const struct sl_op *op)
{
	return (struct sl_conn *)(uintptr_t)op->priv[0];
}

void fake_end(unsigned i, int status)
{
	struct fake_op *f = &fake.ops[i];

	f->over = true;
	conn_of(f->op)->inflight--;
	if (!status && is_one_sided(f->op))
		move(f->op);
	sl_op_done(f->op, status, status ? 0 : f->op->bytes, 0);
}

void fake_lane_down(uint32_t lane)
{
	unsigned n = fake.nops;

	fake.lanes_down |= 1u << lane;
	for (unsigned i = 0; i < n; i++) {
		struct fake_op *f = &fake.ops[i];

		if (!f->over && f->lane == lane && f->op->code <= SL_OP_WRITE)
			fake_end(i, -ENETDOWN);
	}
}

void fake_lane_up(uint32_t lane)
{
	fake.lanes_down &= ~(1u << lane);
}

static void must(bool so, const char *what)
{
	if (so)
		return;
	(void)fprintf(stderr, "fake transport: not so: %s\n", what);
	abort();
}

/* What the contract promises a transport. */
static void check_op(const struct sl_conn *conn, const struct sl_op *op)
{
	uint64_t bytes = 0;

	must(conn->inflight < conn->depth, "no more ops than depth");
	must(!op->niov || op->niov <= fake_fast.max_iov, "no more iovs than max_iov");
	must(op->code <= SL_OP_WRITE || !conn->lane, "messages and immediates on lane 0");
	for (uint32_t i = 0; i < op->niov; i++) {
		const struct sl_iov *v = &op->iov[i];

		bytes += v->len * v->count;
		must(v->reg->dom == conn->dom, "memory is registered with the lane's domain");
		must(!is_one_sided(op) || v->rreg->conn == conn, "remote handles are the lane's");
		must(!is_one_sided(op) || v->len <= fake_fast.max_len, "no run over max_len");
		must(v->count >= 1, "a count of one at least");
	}
	must(bytes == op->bytes, "bytes is their sum");
}

static int fake_submit(struct sl_conn *conn, struct sl_op *op)
{
	if (conn->closed)
		return -ECANCELED;
	check_op(conn, op);
	if (op->code <= SL_OP_WRITE && fake.lanes_down & 1u << conn->lane) {
		fake.submissions++;
		return -ENETDOWN;
	}
	if (++fake.submissions == fake.refuse_op)
		return fake.refuse_op_rc;
	if (fake.nops == FAKE_OPS)
		return -ENOMEM;
	op->priv[0] = (uintptr_t)conn;
	if (++conn->inflight > fake.deepest_lane)
		fake.deepest_lane = conn->inflight;
	fake.ops[fake.nops++] = (struct fake_op){
	    .op = op,
	    .lane = conn->lane,
	    .side = conn->dom->side,
	    .code = op->code,
	    .bytes = op->bytes,
	    .niov = op->niov,
	};
	if (!fake.at_once)
		return 0;
	if (++fake.depth > fake.deepest)
		fake.deepest = fake.depth;
	fake_end(fake.nops - 1, fake.at_once_rc);
	fake.depth--;
	return 0;
}

static void fake_cancel(struct sl_conn *conn, struct sl_op *op)
{
	for (unsigned i = 0; i < fake.nops; i++) {
		int stop = fake.ops[i].over ? 0 : sl_op_stop(fake.ops[i].op);

		if (fake.ops[i].op == op && stop && op->priv[0] == (uintptr_t)conn) {
			fake_end(i, stop);
			return;
		}
	}
}

/* What is left to do here is ending the ops of closed connections. */
static int fake_progress(struct sl_dom *dom, unsigned budget)
{
	uint64_t seen;
	int done = 0;

	(void)budget;
	(void)!read(dom->fd, &seen, sizeof(seen));
	for (unsigned i = 0; i < fake.nops; i++) {
		const struct sl_conn *conn;

		if (fake.ops[i].over)
			continue;
		conn = conn_of(fake.ops[i].op);
		if (conn->dom == dom && conn->closed) {
			fake_end(i, -ECANCELED);
			done++;
		}
	}
	return done;
}

static int fake_fd(struct sl_dom *dom)
{
	return dom->fd;
}

static int fake_arm(struct sl_dom *dom, int64_t *wake_ns)
{
	(void)dom;
	(void)wake_ns;
	return 0;
}

static void fake_conn_name(struct sl_conn *conn, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s thing", conn->dom->name);
}

#define FAKE_SLOTS                                                                                 \
	.caps = SL_CAP_LANES, .kinds = 1u << SLIME_MEM_HOST, .max_iov = UINT32_MAX,                \
	.max_len = UINT64_MAX, .probe = fake_probe, .dom_close = fake_dom_close, .reg = fake_reg,  \
	.unreg = fake_unreg, .reg_pack = fake_reg_pack, .rreg_unpack = fake_rreg_unpack,           \
	.rreg_free = fake_rreg_free, .conn_create = fake_conn_create, .conn_pack = fake_conn_pack, \
	.connect = fake_connect, .conn_ready = fake_conn_ready, .conn_close = fake_conn_close,     \
	.conn_destroy = fake_conn_destroy, .submit = fake_submit, .cancel = fake_cancel,           \
	.progress = fake_progress, .fd = fake_fd, .arm = fake_arm, .conn_name = fake_conn_name

struct sl_transport fake_fast = {
    .name = "fast",
    .dom_open = fast_open,
    FAKE_SLOTS,
};
static const struct sl_transport slow = {
    .name = "slow",
    .dom_open = slow_open,
    FAKE_SLOTS,
};

/* Instead of src/transport/transports.c: the linker takes the first that it sees. */
const struct sl_transport *const sl_transports[] = {&fake_fast, &slow, NULL};
const struct sl_transport_absent sl_transports_absent[] = {
    {"gone", "it is not part of this test"},
    {NULL, NULL},
};
