/* SPDX-License-Identifier: BSD-3-Clause */
/* A user's program: open a context, register memory, describe it, say the version. */
#include <stdio.h>
#include <string.h>

#include <slime/slime.h>

static int fail(const char *what, const struct slime_error *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	return 1;
}

int main(void)
{
	static char memory[4096];
	struct slime_mr_opts opts = {.size = sizeof opts, .access = SLIME_ACCESS_REMOTE};
	struct slime_error err;
	struct slime_desc desc;
	slime_ctx *ctx;
	slime_mr *mr;

	if (slime_ctx_create(NULL, &ctx, &err) != 0)
		return fail("slime_ctx_create", &err);
	if (slime_mr_register(ctx, memory, sizeof memory, &opts, &mr, &err) != 0)
		return fail("slime_mr_register", &err);
	if (slime_mr_export(mr, &desc, &err) != 0)
		return fail("slime_mr_export", &err);
	if (desc.len == 0 || desc.len > sizeof desc.bytes)
		return 1;
	slime_mr_deregister(mr);
	slime_ctx_destroy(ctx);
	puts(slime_version());
	return 0;
}
