/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/case_checked.c - memory of somebody else's that goes while it is
 * registered: SLIME_MR_CHECKED. Here it goes by losing its rights, or its file.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contract.h"

enum { PAGE = 4096 };
/* Of each side: sound, but for HOLE bytes from HOLE_AT on once they went. */
#define FOREIGN (4 * MIB)
#define HOLE_AT (2 * MIB)
#define HOLE    (16 * PAGE)

/* A pair whose ends also have FOREIGN bytes each, registered as checked. */
struct rig {
	struct pair *p;
	struct side a, b; /* as those of P, with the foreign memory in place of their own */
	int fd[2];
};

static void foreign_create(struct side *s, const struct side *of, int *out_fd)
{
	struct slime_mr_opts opts = {
	    .size = sizeof(opts), .access = SLIME_ACCESS_REMOTE, .flags = SLIME_MR_CHECKED};

	*s = *of;
	s->len = FOREIGN;
	*out_fd = memfd_create("foreign", MFD_CLOEXEC);
	CHECK(*out_fd >= 0);
	CHECK_EQ(ftruncate(*out_fd, FOREIGN), 0);
	s->mem = mmap(NULL, FOREIGN, PROT_READ | PROT_WRITE, MAP_SHARED, *out_fd, 0);
	CHECK(s->mem != MAP_FAILED);
	CHECK_OK(slime_mr_register(s->ctx, s->mem, s->len, &opts, &s->mr, &test_err));
	s->rmr = NULL;
}

static void foreign_import(struct side *s, const struct side *from)
{
	struct slime_desc desc;

	CHECK_OK(slime_mr_export(from->mr, &desc, &test_err));
	CHECK_OK(slime_ep_import(s->ep, &desc, &s->rmr, &test_err));
}

static void rig_open(struct rig *r)
{
	if (over("rdma"))
		test_skip("a device moves the bytes, not this process");
	r->p = pair_create(NULL);
	foreign_create(&r->a, &r->p->a, &r->fd[0]);
	foreign_create(&r->b, &r->p->b, &r->fd[1]);
	foreign_import(&r->a, &r->b);
	foreign_import(&r->b, &r->a);
}

static void foreign_destroy(struct side *s, int fd)
{
	slime_rmr_release(s->rmr);
	slime_mr_deregister(s->mr);
	CHECK_EQ(munmap(s->mem, FOREIGN), 0);
	CHECK_EQ(close(fd), 0);
}

/* The pair still works: memory of its own, and what is left of the foreign memory. */
static void rig_close(struct rig *r)
{
	pair_ping(r->p, 100);
	fill(r->b.mem, 5000, 77);
	CHECK_ENDS(r->p, start_read(&r->a, 0, 0, 5000), 0);
	CHECK_FILLED(r->a.mem, 5000, 77);
	foreign_destroy(&r->a, r->fd[0]);
	foreign_destroy(&r->b, r->fd[1]);
	pair_destroy(r->p);
}

static void lose(const struct side *s)
{
	CHECK_EQ(mprotect(s->mem + HOLE_AT, HOLE, PROT_NONE), 0);
}

static void restore(const struct side *s)
{
	CHECK_EQ(mprotect(s->mem + HOLE_AT, HOLE, PROT_READ | PROT_WRITE), 0);
}

/* From inside the hole, and into it: small, of pages, and larger than any one step of a copy. */
static const struct {
	uint64_t off, len;
} holed[] = {
    {HOLE_AT + 100, 8},
    {HOLE_AT - 100, 5000},
    {HOLE_AT - PAGE, PAGE + HOLE + PAGE},
    {100, FOREIGN - 200},
};
enum { N_HOLED = sizeof(holed) / sizeof(holed[0]) };

/* Transfers of A that reach the hole of SIDE end with WANT, those beside it well. */
static void one_sided(struct rig *r, const struct side *holey, int want)
{
	lose(holey);
	for (int i = 0; i < N_HOLED; i++) {
		slime_op *read = start_read(&r->a, holed[i].off, holed[i].off, holed[i].len);
		slime_op *write, *beside;

		CHECK_ENDS(r->p, read, want); /* before others read what it writes */
		write = start_write(&r->a, holed[i].off, holed[i].off, holed[i].len);
		beside = start_write(&r->a, 0, 0, HOLE_AT);
		CHECK_ENDS(r->p, write, want);
		CHECK_ENDS(r->p, beside, 0);
	}
	restore(holey);
}

static void checked_memory_that_goes_ends_with_an_error(void)
{
	struct rig r;

	rig_open(&r);
	one_sided(&r, &r.a, -EFAULT);
	one_sided(&r, &r.b, -EREMOTEIO);
	rig_close(&r);
}

/* A file that is cut is a signal for who touches what was behind its end. */
static void checked_memory_of_a_file_that_is_cut_ends_with_an_error(void)
{
	struct rig r;

	rig_open(&r);
	CHECK_EQ(ftruncate(r.fd[0], HOLE_AT), 0);
	CHECK_ENDS(r.p, start_read(&r.a, HOLE_AT - 8, 0, 16), -EFAULT);
	CHECK_ENDS(r.p, start_write(&r.a, HOLE_AT - 8, 0, MIB), -EFAULT);
	CHECK_EQ(ftruncate(r.fd[1], HOLE_AT), 0);
	CHECK_ENDS(r.p, start_read(&r.a, 0, HOLE_AT - 8, 16), -EREMOTEIO);
	CHECK_ENDS(r.p, start_write(&r.a, 0, HOLE_AT - 8, MIB), -EREMOTEIO);
	rig_close(&r);
}

/* Many pieces, of which some are in memory that stays; the others of the batch may be moved. */
static void a_batch_with_checked_memory_that_goes_ends_with_an_error(void)
{
	enum { N = 64 };
	struct slime_seg segs[N], strided;
	slime_op *op = NULL;
	struct rig r;

	rig_open(&r);
	lose(&r.a);
	for (uint64_t i = 0; i < N; i++) {
		segs[i] = seg_of(&r.a, HOLE_AT - (N / 2 - i) * PAGE, i * PAGE, 300);
		if (i % 2)
			segs[i].local = r.p->a.mr;
		if (i % 2)
			segs[i].local_off = i * PAGE;
	}
	CHECK_OK(slime_ep_write(r.p->a.ep, segs, N, NULL, &op));
	CHECK_ENDS(r.p, op, -EFAULT);
	CHECK_OK(slime_ep_read(r.p->a.ep, segs, N, NULL, &op));
	CHECK_ENDS(r.p, op, -EFAULT);
	strided = seg_of(&r.a, HOLE_AT - 20 * PAGE, 0, 10);
	strided.count = 40;
	strided.local_stride = strided.remote_stride = PAGE;
	CHECK_OK(slime_ep_write(r.p->a.ep, &strided, 1, NULL, &op));
	CHECK_ENDS(r.p, op, -EFAULT);
	CHECK_OK(slime_ep_write(r.p->a.ep, segs, N / 2, NULL, &op)); /* up to the hole */
	CHECK_ENDS(r.p, op, 0);
	restore(&r.a);
	CHECK_OK(slime_ep_read(r.p->a.ep, segs, N, NULL, &op));
	CHECK_ENDS(r.p, op, 0);
	rig_close(&r);
}

static void checked_memory_that_stays_is_moved_whole(void)
{
	static const uint64_t lens[] = {1, 8, 100, 5000, MIB + 1, FOREIGN};
	struct slime_result res;
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint64_t len = lens[i];
		slime_op *recv;

		fill(r.a.mem, len, i);
		CHECK_ENDS(r.p, start_write_imm(&r.a, 0, 0, len, 7), 0);
		CHECK_FILLED(r.b.mem, len, i);
		CHECK_OK(pair_finish(r.p, start_recv_imm(&r.b), &res));
		CHECK_EQ(res.bytes, len);
		CHECK_EQ(res.imm, 7);
		memset(r.a.mem, 0, len);
		CHECK_ENDS(r.p, start_read(&r.a, 0, 0, len), 0);
		CHECK_FILLED(r.a.mem, len, i);
		memset(r.b.mem, 0, len);
		recv = start_recv(&r.b, 0, len);
		CHECK_ENDS(r.p, start_send(&r.a, 0, len), 0);
		CHECK_OK(pair_finish(r.p, recv, &res));
		CHECK_EQ(res.bytes, len);
		CHECK_FILLED(r.b.mem, len, i);
	}
	rig_close(&r);
}

static void no_immediate_follows_checked_memory_that_went(void)
{
	struct slime_result res;
	struct rig r;
	slime_op *recv;

	rig_open(&r);
	recv = start_recv_imm(&r.b);
	lose(&r.a);
	for (uint32_t i = 0; i < N_HOLED; i++)
		CHECK_ENDS(r.p, start_write_imm(&r.a, holed[i].off, holed[i].off, holed[i].len, i),
		           -EFAULT);
	restore(&r.a);
	lose(&r.b);
	for (uint32_t i = 0; i < N_HOLED; i++)
		CHECK_ENDS(r.p, start_write_imm(&r.a, holed[i].off, holed[i].off, holed[i].len, i),
		           -EREMOTEIO);
	restore(&r.b);
	CHECK_ENDS(r.p, start_write_imm(&r.a, 0, 0, 8, 99), 0);
	CHECK_OK(pair_finish(r.p, recv, &res));
	CHECK_EQ(res.imm, 99);
	rig_close(&r);
}

static void a_send_from_checked_memory_that_went_ends_with_an_error_on_both_sides(void)
{
	struct rig r;

	rig_open(&r);
	lose(&r.a);
	for (int i = 0; i < N_HOLED; i++) {
		slime_op *recv = start_recv(&r.b, holed[i].off, holed[i].len);
		slime_op *next = start_recv(&r.b, 0, 64);

		CHECK_ENDS(r.p, start_send(&r.a, holed[i].off, holed[i].len), -EFAULT);
		CHECK_ENDS(r.p, recv, -EREMOTEIO);
		CHECK_ENDS(r.p, start_send(&r.a, 0, 64), 0);
		CHECK_ENDS(r.p, next, 0);
	}
	restore(&r.a);
	rig_close(&r);
}

/* A sender is done when its message is on the way, which a small one may be before it arrives. */
static void a_recv_into_checked_memory_that_went_ends_with_an_error(void)
{
	struct rig r;

	rig_open(&r);
	lose(&r.b);
	for (int i = 0; i < N_HOLED; i++) {
		slime_op *recv = start_recv(&r.b, holed[i].off, holed[i].len);
		slime_op *next = start_recv(&r.b, 0, 64);
		int status = pair_finish(r.p, start_send(&r.a, holed[i].off, holed[i].len), NULL);

		CHECK(status == -EREMOTEIO || (status == 0 && holed[i].len < MIB));
		CHECK_ENDS(r.p, recv, -EFAULT);
		CHECK_ENDS(r.p, start_send(&r.a, 0, 64), 0);
		CHECK_ENDS(r.p, next, 0);
	}
	restore(&r.b);
	rig_close(&r);
}

const struct contract_case checked_cases[] = {
    {"checked_memory_that_goes_ends_with_an_error", checked_memory_that_goes_ends_with_an_error,
     IN_ALL},
    {"checked_memory_of_a_file_that_is_cut_ends_with_an_error",
     checked_memory_of_a_file_that_is_cut_ends_with_an_error, IN_BASIC},
    {"a_batch_with_checked_memory_that_goes_ends_with_an_error",
     a_batch_with_checked_memory_that_goes_ends_with_an_error, IN_BASIC | IN(LANES)},
    {"checked_memory_that_stays_is_moved_whole", checked_memory_that_stays_is_moved_whole, IN_ALL},
    {"no_immediate_follows_checked_memory_that_went", no_immediate_follows_checked_memory_that_went,
     IN_BASIC | IN(LANES)},
    {"a_send_from_checked_memory_that_went_ends_with_an_error_on_both_sides",
     a_send_from_checked_memory_that_went_ends_with_an_error_on_both_sides, IN_BASIC | IN(MANUAL)},
    {"a_recv_into_checked_memory_that_went_ends_with_an_error",
     a_recv_into_checked_memory_that_went_ends_with_an_error, IN_BASIC | IN(MANUAL)},
    {0},
};
