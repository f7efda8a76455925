/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cursor in the op says how far it is, so that a copy can stop after any
 * piece and go on later, in another thread.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/foreign.h"
#include "transport/shm/shm_impl.h"

/* Runs that one system call takes. Longer lists gain nothing and cost stack. */
enum { RUNS_MAX = 256 };
_Static_assert(RUNS_MAX <= IOV_MAX, "the kernel takes them");

/* Where in op->priv the cursor is. */
enum { AT_IOV, AT_RUN, AT_OFF, AT_MOVED };

void sl_shm_move_start(struct sl_op *op)
{
	memset(op->priv, 0, sizeof(op->priv));
}

uint64_t sl_shm_moved(const struct sl_op *op)
{
	return op->priv[AT_MOVED];
}

static uint32_t right_of(const struct sl_op *op)
{
	return op->code == SL_OP_READ ? SLIME_ACCESS_REMOTE_READ : SLIME_ACCESS_REMOTE_WRITE;
}

/* Is run I of V inside the peer's region? */
static bool in_range(const struct sl_iov *v)
{
	uint64_t len = v->rreg->len;
	uint64_t last;

	if (v->roff > len || v->len > len - v->roff)
		return false;
	if (v->count <= 1)
		return true;
	return !__builtin_mul_overflow(v->count - 1, v->rstride, &last) &&
	       last <= len - v->roff - v->len;
}

static int check(const struct sl_op *op, const struct sl_iov *v)
{
	const struct sl_rreg *r = v->rreg;

	if (!(r->access & right_of(op)) ||
	    atomic_load_explicit(r->live, memory_order_relaxed) != r->live_number)
		return -EACCES;
	return in_range(v) ? 0 : -ERANGE;
}

static char *base_of(const struct sl_iov *v)
{
	return atomic_load_explicit(&v->rreg->base, memory_order_acquire);
}

/* Between MINE of V, and THEIRS, which is mapped here and stays. */
static inline int copy(const struct sl_op *op, const struct sl_iov *v, char *mine, char *theirs,
                       uint64_t len)
{
	bool read = op->code == SL_OP_READ;

	if (v->reg->checked)
		return sl_foreign_copy(read ? mine : theirs, read ? theirs : mine, len) ? -EFAULT
		                                                                        : 0;
	if (read)
		memcpy(mine, theirs, len);
	else
		memcpy(theirs, mine, len);
	return 0;
}

static ssize_t cma(pid_t pid, bool read, const struct iovec *mine, const struct iovec *theirs,
                   unsigned long n)
{
	return read ? process_vm_readv(pid, mine, n, theirs, n, 0)
	            : process_vm_writev(pid, mine, n, theirs, n, 0);
}

/* A system call failed with CODE when it began at MINE and ADDR: what does that mean for the op? */
static int meaning_of(int code, const char *mine)
{
	struct iovec from = {.iov_base = (void *)(uintptr_t)mine, .iov_len = 1};
	char byte;
	struct iovec to = {.iov_base = &byte, .iov_len = 1};

	switch (code) {
	case ESRCH:
		return -ECONNRESET;
	case EPERM:
		return -EACCES;
	case EFAULT: /* whose memory is not there? */
		if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1)
			return -EREMOTEIO;
		return -EFAULT;
	default:
		return -code;
	}
}

static void *pointer_to(uint64_t addr)
{
	return (void *)(uintptr_t)addr;
}

int64_t sl_shm_cma(pid_t pid, bool read, char *mine, uint64_t addr, uint64_t len)
{
	struct iovec here = {.iov_base = mine, .iov_len = len};
	struct iovec there = {.iov_base = pointer_to(addr), .iov_len = len};
	ssize_t n = cma(pid, read, &here, &there, 1);

	return n < 0 ? meaning_of(errno, mine) : n;
}

bool sl_shm_move_simple(const struct sl_conn *conn, const struct sl_op *op)
{
	const struct sl_iov *v = op->iov;
	struct iovec here, there;
	char *base;

	if (op->niov != 1 || v->count != 1 || v->len > SHM_PIECE || check(op, v))
		return false;
	base = base_of(v);
	if (base)
		return copy(op, v, v->addr, base + v->roff, v->len) == 0 && sl_shm_peer_lived(conn);
	if (!conn->cma_pid)
		return false;
	here = (struct iovec){.iov_base = v->addr, .iov_len = v->len};
	there = (struct iovec){.iov_base = pointer_to(v->rreg->addr + v->roff), .iov_len = v->len};
	return cma(conn->cma_pid, op->code == SL_OP_READ, &here, &there, 1) == (ssize_t)v->len;
}

bool sl_shm_movable(const struct sl_conn *conn, const struct sl_op *op)
{
	if (conn->cma_pid)
		return true;
	for (uint32_t i = 0; i < op->niov; i++) {
		const struct sl_iov *v = &op->iov[i];

		if (!base_of(v) && !atomic_load_explicit(&v->rreg->status, memory_order_acquire))
			return false;
	}
	return true;
}

static void advance(const struct sl_op *op, uint64_t *at, uint64_t n)
{
	at[AT_MOVED] += n;
	while (n) {
		const struct sl_iov *v = &op->iov[at[AT_IOV]];
		uint64_t left = v->len - at[AT_OFF];

		if (n < left) {
			at[AT_OFF] += n;
			return;
		}
		n -= left;
		at[AT_OFF] = 0;
		if (++at[AT_RUN] >= v->count) {
			at[AT_RUN] = 0;
			at[AT_IOV]++;
		}
	}
}

/* Copy runs of the cursor's iov, which is mapped at BASE, up to a piece. */
static int move_mapped(const struct sl_op *op, uint64_t *at, char *base)
{
	const struct sl_iov *v = &op->iov[at[AT_IOV]];
	uint64_t room = SHM_PIECE;

	do {
		uint64_t off = at[AT_OFF];
		uint64_t n = v->len - off < room ? v->len - off : room;
		int rc = copy(op, v, v->addr + at[AT_RUN] * v->stride + off,
		              base + v->roff + at[AT_RUN] * v->rstride + off, n);

		if (rc)
			return rc;
		advance(op, at, n);
		room -= n;
	} while (room && &op->iov[at[AT_IOV]] == v);
	return 0;
}

/* The next runs that are not mapped, from the cursor, up to a piece. */
static unsigned long gather(const struct sl_op *op, const uint64_t *from, struct iovec *mine,
                            struct iovec *theirs)
{
	uint64_t at[4] = {from[0], from[1], from[2], from[3]};
	uint64_t room = SHM_PIECE;
	unsigned long n = 0;

	while (n < RUNS_MAX && room && at[AT_IOV] < op->niov) {
		const struct sl_iov *v = &op->iov[at[AT_IOV]];
		uint64_t off = at[AT_OFF];
		uint64_t len = v->len - off < room ? v->len - off : room;

		if (at[AT_IOV] != from[AT_IOV] && (!v->len || base_of(v) || check(op, v)))
			break; /* the caller's next turn sees to it */
		mine[n].iov_base = v->addr + at[AT_RUN] * v->stride + off;
		mine[n].iov_len = len;
		theirs[n].iov_base =
		    pointer_to(v->rreg->addr + v->roff + at[AT_RUN] * v->rstride + off);
		theirs[n].iov_len = len;
		n++;
		room -= len;
		advance(op, at, len);
	}
	return n;
}

static int move_cma(const struct sl_conn *conn, const struct sl_op *op, uint64_t *at)
{
	const struct sl_iov *v = &op->iov[at[AT_IOV]];
	struct iovec mine[RUNS_MAX], theirs[RUNS_MAX];
	unsigned long n = gather(op, at, mine, theirs);
	ssize_t done = cma(conn->cma_pid, op->code == SL_OP_READ, mine, theirs, n);

	if (done < 0)
		return meaning_of(errno, v->addr + at[AT_RUN] * v->stride + at[AT_OFF]);
	advance(op, at, (uint64_t)done);
	return 0;
}

/* Move the next piece. */
static int step(const struct sl_conn *conn, const struct sl_op *op, uint64_t *at)
{
	const struct sl_iov *v = &op->iov[at[AT_IOV]];
	char *base;
	int rc = check(op, v);

	if (rc)
		return rc;
	if (!v->len) {
		at[AT_IOV]++;
		return 0;
	}
	base = base_of(v);
	if (base)
		return move_mapped(op, at, base);
	if (conn->cma_pid)
		return move_cma(conn, op, at);
	rc = atomic_load_explicit(&v->rreg->status, memory_order_acquire);
	return rc ? rc : -EREMOTEIO; /* not 0: the caller asked sl_shm_movable() */
}

int sl_shm_move(struct sl_conn *conn, struct sl_op *op, uint64_t budget)
{
	uint64_t *at = op->priv;
	uint64_t end = budget > UINT64_MAX - at[AT_MOVED] ? UINT64_MAX : at[AT_MOVED] + budget;
	int rc;

	while (at[AT_IOV] < op->niov) {
		rc = sl_op_overdue(op);
		if (!rc)
			rc = atomic_load_explicit(&conn->halt, memory_order_relaxed);
		if (!rc && at[AT_MOVED] >= end)
			return 1;
		if (!rc)
			rc = step(conn, op, at);
		if (rc)
			return rc;
	}
	return sl_shm_peer_lived(conn) ? 0 : -ECONNRESET;
}
