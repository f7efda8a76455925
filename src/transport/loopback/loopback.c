/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/loopback/loopback.c - endpoints of one process.
 *
 * The reference implementation of transport.h: no hardware, no threads, every
 * rule of the contract in one page. Read this before writing another.
 *
 * The submitter copies, under the one lock of all loopback, a piece at a time;
 * so whoever closes a connection or lets go of a region has to wait for one
 * piece at most, and nothing touches the memory after that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/error.h"
#include "base/foreign.h"
#include "base/lock.h"
#include "base/random.h"
#include "base/wire.h"
#include "transport/imm_queue.h"
#include "transport/op_queue.h"
#include "transport/transports.h"

struct sl_dom {
	int fd;            /* eventfd: there are ops to end */
	_Atomic bool work; /* likewise, for progress() without a system call */
	struct sl_op_queue cancelled, reset;
};

struct sl_rreg {
	struct sl_reg *reg; /* NULL once the owner let go of it */
	struct sl_rreg *next;
};

struct sl_reg {
	struct sl_reg *next; /* in regs */
	uint64_t id;
	struct sl_mem mem;
	uint32_t access;
	struct sl_rreg *rregs;
};

struct sl_conn {
	LIST_ENTRY(sl_conn) entry; /* in conns */
	struct sl_dom *dom;
	struct sl_conn *peer; /* when both sides have called connect() */
	uint64_t id;
	uint64_t peer_id; /* 0: connect() was not called */
	unsigned callers; /* that have called connect() with our address, and are there */
	bool closed;      /* on this side */
	bool broken;      /* on the other */
	struct sl_op_queue sends, recvs, imm_recvs;
	struct sl_op_queue
	    imm_writers; /* their bytes are there, but not their immediates: no room */
	struct sl_imm_queue imms;
};

enum { BUCKETS = 1024 };

/* Guards everything in this file. Never held across sl_op_done(). */
static struct sl_lock lock = SL_LOCK_INIT;
static LIST_HEAD(conn_list, sl_conn) conns[BUCKETS]; /* by id, which is random */
static struct sl_reg *regs;
static uint8_t process_id[SL_SECRET_LEN]; /* zero until needed */

static const uint64_t piece = 1 << 20;

static int lo_probe(struct sl_dev_info *out, size_t cap, struct slime_error *err)
{
	(void)err;
	if (cap)
		out[0] = (struct sl_dev_info){.name = "loopback", .numa = -1, .up = true};
	return 1;
}

static int lo_dom_open(const struct sl_dom_opts *opts, struct sl_dom **out, struct slime_error *err)
{
	struct sl_dom *dom;
	int rc = 0;

	if (opts->device && strcmp(opts->device, "loopback"))
		return sl_fail(err, -ENODEV, "loopback has no device '%s'", opts->device);
	dom = calloc(1, sizeof(*dom));
	if (!dom)
		return sl_fail(err, -ENOMEM, "no memory for a loopback domain");
	dom->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dom->fd < 0) {
		rc = sl_fail(err, -errno, "cannot make an eventfd: too many open files?");
		goto err_free;
	}
	sl_lock_take(&lock);
	if (sl_wire_is_zero(process_id, sizeof(process_id)))
		rc = sl_random(process_id, sizeof(process_id));
	sl_lock_drop(&lock);
	if (rc) {
		(void)sl_fail(err, rc, "the system gives no random bytes");
		goto err_close;
	}
	*out = dom;
	return 0;

err_close:
	(void)close(dom->fd);
err_free:
	free(dom);
	return rc;
}

static void lo_dom_close(struct sl_dom *dom)
{
	(void)close(dom->fd);
	free(dom);
}

/* Ids are random, so that one from an earlier life of the process names nothing. */
static int make_id(uint64_t *out, struct slime_error *err)
{
	int rc = sl_random(out, sizeof(*out));

	*out |= 1; /* never 0 */
	return rc ? sl_fail(err, rc, "the system gives no random bytes") : 0;
}

static int lo_reg(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access,
                  struct sl_reg **out, struct slime_error *err)
{
	struct sl_reg *reg = calloc(1, sizeof(*reg));
	int rc;

	(void)dom;
	if (!reg)
		return sl_fail(err, -ENOMEM, "no memory for a region");
	rc = make_id(&reg->id, err);
	if (rc) {
		free(reg);
		return rc;
	}
	reg->mem = *mem;
	reg->access = access;
	sl_lock_take(&lock);
	reg->next = regs;
	regs = reg;
	sl_lock_drop(&lock);
	*out = reg;
	return 0;
}

static void lo_unreg(struct sl_reg *reg)
{
	sl_lock_take(&lock);
	for (struct sl_reg **p = &regs; *p; p = &(*p)->next) {
		if (*p == reg) {
			*p = reg->next;
			break;
		}
	}
	for (struct sl_rreg *r = reg->rregs; r; r = r->next)
		r->reg = NULL;
	sl_lock_drop(&lock);
	free(reg);
}

static int lo_reg_pack(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err)
{
	(void)err;
	memcpy(out->bytes, &reg->id, sizeof(reg->id));
	out->len = sizeof(reg->id);
	return 0;
}

static int lo_rreg_unpack(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
                          struct slime_error *err)
{
	struct sl_rreg *r;
	uint64_t id;

	(void)conn;
	if (blob->len != sizeof(id))
		return sl_fail(err, -EPROTO, "a loopback region of %u bytes", blob->len);
	memcpy(&id, blob->bytes, sizeof(id));
	r = calloc(1, sizeof(*r));
	if (!r)
		return sl_fail(err, -ENOMEM, "no memory for a remote region");
	sl_lock_take(&lock);
	for (r->reg = regs; r->reg && r->reg->id != id;)
		r->reg = r->reg->next;
	if (r->reg) {
		r->next = r->reg->rregs;
		r->reg->rregs = r;
	}
	sl_lock_drop(&lock);
	if (!r->reg) {
		free(r);
		return sl_fail(err, -EACCES, "the region is no longer registered");
	}
	*out = r;
	return 0;
}

static void lo_rreg_free(struct sl_rreg *rreg)
{
	sl_lock_take(&lock);
	for (struct sl_rreg **p = rreg->reg ? &rreg->reg->rregs : NULL; p && *p; p = &(*p)->next) {
		if (*p == rreg) {
			*p = rreg->next;
			break;
		}
	}
	sl_lock_drop(&lock);
	free(rreg);
}

static int lo_conn_create(struct sl_dom *dom, const struct sl_conn_opts *opts, struct sl_conn **out,
                          struct slime_error *err)
{
	struct sl_conn *conn = calloc(1, sizeof(*conn));
	int rc;

	(void)opts;
	if (!conn)
		return sl_fail(err, -ENOMEM, "no memory for a connection");
	rc = make_id(&conn->id, err);
	if (rc) {
		free(conn);
		return rc;
	}
	conn->dom = dom;
	sl_lock_take(&lock);
	LIST_INSERT_HEAD(&conns[conn->id % BUCKETS], conn, entry);
	sl_lock_drop(&lock);
	*out = conn;
	return 0;
}

/* The process (its random id, and its pid for what a fork copied), then the connection. */
static int lo_conn_pack(const struct sl_conn *conn, struct sl_blob *out, struct slime_error *err)
{
	struct sl_wire w = sl_wire_on(out->bytes, sizeof(out->bytes));

	(void)err;
	sl_wire_put(&w, process_id, sizeof(process_id));
	sl_wire_put_uint(&w, (uint64_t)getpid(), 4);
	sl_wire_put_uint(&w, conn->id, 8);
	out->len = (uint32_t)(w.p - out->bytes);
	return 0;
}

static struct sl_conn *find_locked(uint64_t id)
{
	struct sl_conn *c;

	LIST_FOREACH(c, &conns[id % BUCKETS], entry)
	{
		if (c->id == id)
			return c;
	}
	return NULL;
}

static int lo_connect(struct sl_conn *conn, const struct sl_blob *peer, struct slime_error *err)
{
	struct sl_blob copy = *peer;
	struct sl_wire w = sl_wire_on(copy.bytes, copy.len);
	uint8_t process[SL_SECRET_LEN];
	struct sl_conn *other;
	uint64_t pid, id;
	int rc = 0;

	sl_wire_get(&w, process, sizeof(process));
	pid = sl_wire_get_uint(&w, 4);
	id = sl_wire_get_uint(&w, 8);
	if (w.bad || sl_wire_left(&w))
		return sl_fail(err, -EPROTO, "a loopback address of %u bytes", peer->len);
	if (pid != (uint64_t)getpid() || memcmp(process, process_id, sizeof(process)))
		return sl_fail(err, -EOPNOTSUPP, "the peer is another process");
	sl_lock_take(&lock);
	other = find_locked(id);
	if (!other || other == conn || other->closed) {
		rc = sl_fail(err, -ECONNREFUSED, "the peer's endpoint is gone");
	} else if (other->peer_id && other->peer_id != conn->id) {
		rc = sl_fail(err, -ECONNREFUSED, "the peer's endpoint has another peer");
	} else {
		conn->peer_id = id;
		other->callers++;
		if (other->peer_id == conn->id) {
			conn->peer = other;
			other->peer = conn;
		}
	}
	sl_lock_drop(&lock);
	return rc;
}

static int lo_conn_ready(struct sl_conn *conn, struct slime_error *err)
{
	int rc = SL_CONN_WAITING;

	sl_lock_take(&lock);
	if (conn->peer) {
		rc = SL_CONN_READY;
	} else if (!conn->peer_id) {
		rc = conn->callers ? SL_CONN_CALLED : SL_CONN_WAITING;
	} else if (!find_locked(conn->peer_id)) {
		rc = sl_fail(err, -ECONNREFUSED, "the peer's endpoint is gone");
	}
	sl_lock_drop(&lock);
	return rc;
}

static void lo_conn_name(struct sl_conn *conn, char *out, size_t cap)
{
	(void)conn;
	(void)snprintf(out, cap, "loopback");
}

/* Hand what waits on CONN to progress() of its domain. */
static void end_all_locked(struct sl_conn *conn, struct sl_op_queue *where)
{
	struct sl_dom *dom = conn->dom;
	uint64_t one = 1;
	struct sl_op *op;
	ssize_t n;

	while ((op = sl_op_pop(&conn->sends)) || (op = sl_op_pop(&conn->recvs)) ||
	       (op = sl_op_pop(&conn->imm_recvs)) || (op = sl_op_pop(&conn->imm_writers)))
		sl_op_push(where, op);
	if (!where->head)
		return;
	atomic_store(&dom->work, true);
	n = write(dom->fd, &one, sizeof(one));
	(void)n; /* can only fail when it is readable already */
}

static void lo_conn_close(struct sl_conn *conn)
{
	sl_lock_take(&lock);
	conn->closed = true;
	end_all_locked(conn, &conn->dom->cancelled);
	if (conn->peer && !conn->peer->broken) {
		conn->peer->broken = true;
		end_all_locked(conn->peer, &conn->peer->dom->reset);
	}
	sl_lock_drop(&lock);
}

static void lo_conn_destroy(struct sl_conn *conn)
{
	struct sl_conn *called;

	sl_lock_take(&lock);
	LIST_REMOVE(conn, entry);
	called = conn->peer_id ? find_locked(conn->peer_id) : NULL;
	if (called)
		called->callers--;
	if (conn->peer)
		conn->peer->peer = NULL;
	sl_lock_drop(&lock);
	sl_imm_free(&conn->imms);
	free(conn);
}

static int usable_locked(const struct sl_conn *conn)
{
	if (conn->closed)
		return -ECANCELED;
	if (conn->broken)
		return -ECONNRESET;
	return conn->peer ? 0 : -ENOTCONN;
}

/* CHECKED: either end of it may not be there. */
static inline enum sl_hole copy(char *dst, const char *src, uint64_t len, bool checked)
{
	if (checked)
		return sl_foreign_copy(dst, src, len);
	memcpy(dst, src, len);
	return SL_HOLE_NONE;
}

/* After each piece others may have the lock, and the deadline is looked at. */
static void take_turns_locked(struct sl_op *op, uint64_t *turn) SL_UNCHECKED
{
	*turn = 0;
	sl_lock_drop(&lock);
	(void)sl_op_overdue(op);
	sl_lock_take(&lock);
}

/* Move one run, a piece at a time. TURN: bytes since the lock was let go. */
static int copy_run_locked(struct sl_conn *conn, struct sl_op *op, const struct sl_iov *v,
                           uint64_t run, uint64_t *bytes, uint64_t *turn)
{
	bool read = op->code == SL_OP_READ;
	uint32_t need = read ? SLIME_ACCESS_REMOTE_READ : SLIME_ACCESS_REMOTE_WRITE;
	uint64_t roff = v->roff + run * v->rstride;
	char *mine = v->addr + run * v->stride;

	for (uint64_t off = 0; off < v->len;) {
		uint64_t n = v->len - off < piece ? v->len - off : piece;
		const struct sl_reg *reg = v->rreg->reg;
		enum sl_hole hole;
		char *theirs;
		int rc = usable_locked(conn);

		if (!rc)
			rc = sl_op_stop(op);
		if (rc)
			return rc;
		if (!reg || !(reg->access & need))
			return -EACCES;
		if (roff > reg->mem.len || v->len > reg->mem.len - roff)
			return -ERANGE;
		theirs = (char *)reg->mem.addr + roff + off;
		hole = copy(read ? mine + off : theirs, read ? theirs : mine + off, n,
		            reg->mem.checked || v->reg->mem.checked);
		if (hole)
			return read == (hole == SL_HOLE_DST) ? -EFAULT : -EREMOTEIO;
		off += n;
		*bytes += n;
		*turn += n;
		if (*turn >= piece)
			take_turns_locked(op, turn);
	}
	return 0;
}

static int copy_all_locked(struct sl_conn *conn, struct sl_op *op, uint64_t *bytes)
{
	uint64_t turn = 0;

	for (uint32_t i = 0; i < op->niov; i++) {
		for (uint64_t run = 0; run < op->iov[i].count; run++) {
			int rc = copy_run_locked(conn, op, &op->iov[i], run, bytes, &turn);

			if (rc)
				return rc;
		}
	}
	return 0;
}

/* A send that has met its receive, and how each ended. */
struct match {
	struct sl_op *send, *recv;
	int send_status, recv_status;
};

static void copy_message(struct match *m)
{
	const struct sl_iov *s = m->send->iov, *r = m->recv->iov;
	enum sl_hole hole = SL_HOLE_NONE;

	if (s->len > r->len) {
		m->send_status = m->recv_status = -EMSGSIZE;
		return;
	}
	if (s->len)
		hole = copy(r->addr, s->addr, s->len, s->reg->mem.checked || r->reg->mem.checked);
	if (!hole)
		return;
	m->send_status = hole == SL_HOLE_SRC ? -EFAULT : -EREMOTEIO;
	m->recv_status = hole == SL_HOLE_SRC ? -EREMOTEIO : -EFAULT;
}

/* Pair the oldest send of FROM with the oldest receive of its peer, if both are there. */
static bool match_locked(struct sl_conn *from, struct match *out)
{
	if (!from->sends.head || !from->peer->recvs.head)
		return false;
	*out =
	    (struct match){.send = sl_op_pop(&from->sends), .recv = sl_op_pop(&from->peer->recvs)};
	copy_message(out);
	return true;
}

/* Each of the following is called with the lock held and drops it, since a completion may submit.
 */

static void submit_message(struct sl_conn *conn, struct sl_op *op) SL_UNCHECKED
{
	struct sl_conn *from = op->code == SL_OP_SEND ? conn : conn->peer;
	struct match m;
	uint64_t bytes;
	bool matched;

	sl_op_push(op->code == SL_OP_SEND ? &conn->sends : &conn->recvs, op);
	matched = match_locked(from, &m);
	sl_lock_drop(&lock);
	if (matched) {
		bytes = m.send_status ? 0 : m.send->bytes;
		sl_op_done(m.send, m.send_status, bytes, 0);
		sl_op_done(m.recv, m.recv_status, bytes, 0);
	}
}

static int submit_recv_imm(struct sl_conn *conn, struct sl_op *op) SL_UNCHECKED
{
	struct sl_op *writer = NULL;
	struct sl_imm imm;
	int rc = 0;
	bool have = !conn->closed && sl_imm_pop(&conn->imms, &imm); /* also of a peer that went */

	if (!have) {
		rc = usable_locked(conn);
		if (!rc)
			sl_op_push(&conn->imm_recvs, op);
	} else if (conn->peer) {
		writer = sl_op_pop(&conn->peer->imm_writers);
		if (writer)
			sl_imm_push(&conn->imms, writer->imm, writer->imm_bytes);
	}
	sl_lock_drop(&lock);
	if (have)
		sl_op_done(op, 0, imm.bytes, imm.value);
	if (writer)
		sl_op_done(writer, 0, writer->bytes, 0);
	return rc;
}

/* What becomes of the immediate of OP: its receiver, or NULL; -EAGAIN: there is no room for it. */
static int deliver_locked(struct sl_conn *peer, const struct sl_op *op, struct sl_op **out)
{
	int rc;

	*out = sl_op_pop(&peer->imm_recvs);
	if (*out)
		return 0;
	rc = sl_imm_reserve(&peer->imms);
	if (!rc)
		sl_imm_push(&peer->imms, op->imm, op->imm_bytes);
	return rc;
}

static void submit_one_sided(struct sl_conn *conn, struct sl_op *op) SL_UNCHECKED
{
	struct sl_op *waiter = NULL;
	uint64_t imm_bytes = op->imm_bytes;
	uint32_t imm = op->imm;
	uint64_t bytes = 0;
	int status = copy_all_locked(conn, op, &bytes);

	if (op->code == SL_OP_WRITE_IMM && !status)
		status = usable_locked(conn);
	if (op->code == SL_OP_WRITE_IMM && !status) {
		status = deliver_locked(conn->peer, op, &waiter);
		if (status == -EAGAIN) {
			sl_op_push(&conn->imm_writers, op);
			sl_lock_drop(&lock);
			return;
		}
	}
	sl_lock_drop(&lock);
	if (waiter)
		sl_op_done(waiter, 0, imm_bytes, imm);
	sl_op_done(op, status, bytes, 0);
}

static int lo_submit(struct sl_conn *conn, struct sl_op *op) SL_UNCHECKED
{
	int rc;

	sl_lock_take(&lock);
	if (op->code == SL_OP_RECV_IMM)
		return submit_recv_imm(conn, op);
	rc = usable_locked(conn);
	if (rc) {
		sl_lock_drop(&lock);
		return rc;
	}
	if (op->code == SL_OP_SEND || op->code == SL_OP_RECV)
		submit_message(conn, op);
	else
		submit_one_sided(conn, op);
	return 0;
}

static void lo_cancel(struct sl_conn *conn, struct sl_op *op)
{
	bool found;

	sl_lock_take(&lock);
	found = sl_op_take_stopped(&conn->sends, op) || sl_op_take_stopped(&conn->recvs, op) ||
	        sl_op_take_stopped(&conn->imm_recvs, op) ||
	        sl_op_take_stopped(&conn->imm_writers, op);
	sl_lock_drop(&lock);
	if (found)
		sl_op_done(op, sl_op_stop(op), 0, 0);
}

static int lo_progress(struct sl_dom *dom, unsigned budget)
{
	struct sl_op_queue cancelled, reset;
	uint64_t seen;
	ssize_t n;

	(void)budget;
	if (!atomic_load_explicit(&dom->work, memory_order_relaxed))
		return 0;
	sl_lock_take(&lock);
	cancelled = dom->cancelled;
	reset = dom->reset;
	dom->cancelled = dom->reset = (struct sl_op_queue){0};
	atomic_store(&dom->work, false);
	n = read(dom->fd, &seen, sizeof(seen));
	(void)n; /* -EAGAIN: it was not readable */
	sl_lock_drop(&lock);
	return sl_op_end_all(&cancelled, -ECANCELED) + sl_op_end_all(&reset, -ECONNRESET);
}

static int lo_fd(struct sl_dom *dom)
{
	return dom->fd;
}

static int lo_arm(struct sl_dom *dom, int64_t *wake_ns)
{
	(void)wake_ns;
	return atomic_load(&dom->work);
}

const struct sl_transport sl_transport_loopback = {
    .name = "loopback",
    .caps = SL_CAP_ORDERED,
    .kinds = 1u << SLIME_MEM_HOST,
    .max_iov = UINT32_MAX,
    .max_len = UINT64_MAX,
    .probe = lo_probe,
    .dom_open = lo_dom_open,
    .dom_close = lo_dom_close,
    .reg = lo_reg,
    .unreg = lo_unreg,
    .reg_pack = lo_reg_pack,
    .rreg_unpack = lo_rreg_unpack,
    .rreg_free = lo_rreg_free,
    .conn_create = lo_conn_create,
    .conn_pack = lo_conn_pack,
    .connect = lo_connect,
    .conn_ready = lo_conn_ready,
    .conn_close = lo_conn_close,
    .conn_destroy = lo_conn_destroy,
    .submit = lo_submit,
    .cancel = lo_cancel,
    .progress = lo_progress,
    .fd = lo_fd,
    .arm = lo_arm,
    .conn_name = lo_conn_name,
};
