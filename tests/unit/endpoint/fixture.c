/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake.h"

enum { TRIES = 2000 };

static void end_create(struct end *e, size_t len, uint32_t lanes)
{
	struct slime_ctx_opts ctx_opts = {
	    .size = sizeof(ctx_opts),
	    .flags = SLIME_CTX_MANUAL_PROGRESS,
	};
	struct slime_ep_opts opts = {.size = sizeof(opts), .lanes = lanes};
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = SLIME_ACCESS_REMOTE};

	*e = (struct end){.mem = calloc(1, len)};
	assert_non_null(e->mem);
	assert_int_equal(slime_ctx_create(&ctx_opts, &e->ctx, NULL), 0);
	assert_int_equal(slime_mr_register(e->ctx, e->mem, len, &mr_opts, &e->mr, NULL), 0);
	assert_int_equal(slime_ep_create(e->ctx, &opts, &e->ep, NULL), 0);
}

void fixture_create(struct fixture *f, size_t len, uint32_t lanes)
{
	f->len = len;
	end_create(&f->a, len, lanes);
	end_create(&f->b, len, lanes);
}

static void import_from(struct end *to, const struct end *from)
{
	struct slime_desc desc;

	assert_int_equal(slime_mr_export(from->mr, &desc, NULL), 0);
	assert_int_equal(slime_ep_import(to->ep, &desc, &to->rmr, &to->err), 0);
}

void fixture_connect(struct fixture *f)
{
	struct slime_desc a, b;

	assert_int_equal(slime_ep_export(f->a.ep, &a, NULL), 0);
	assert_int_equal(slime_ep_export(f->b.ep, &b, NULL), 0);
	f->a.rc = f->b.rc = -ETIMEDOUT;
	for (int i = 0; i < TRIES && (f->a.rc == -ETIMEDOUT || f->b.rc == -ETIMEDOUT); i++) {
		if (f->a.rc == -ETIMEDOUT)
			f->a.rc = slime_ep_connect(f->a.ep, &b, 1000000, &f->a.err);
		if (f->b.rc == -ETIMEDOUT)
			f->b.rc = slime_ep_connect(f->b.ep, &a, 1000000, &f->b.err);
	}
	if (f->a.rc || f->b.rc)
		return;
	import_from(&f->a, &f->b);
	import_from(&f->b, &f->a);
}

static void end_destroy(struct end *e)
{
	slime_rmr_release(e->rmr);
	slime_ep_destroy(e->ep);
	slime_mr_deregister(e->mr);
	slime_ctx_destroy(e->ctx);
	free(e->mem);
}

void fixture_destroy(struct fixture *f)
{
	end_destroy(&f->a);
	end_destroy(&f->b);
}

struct slime_seg fixture_seg(const struct fixture *f, uint64_t off, uint64_t len)
{
	return (struct slime_seg){
	    .local = f->a.mr,
	    .remote = f->a.rmr,
	    .local_off = off,
	    .remote_off = off,
	    .len = len,
	};
}
