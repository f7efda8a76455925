// SPDX-License-Identifier: BSD-3-Clause
// A user's program in C++; slime.hpp compiles under the flags of a foreign project.
#include <cstdio>

#if __has_include(<slime/slime.hpp>)
#include <slime/slime.hpp>
#endif
#include <slime/slime.h>

int main()
{
	slime_error err;
	slime_ctx *ctx;
	if (slime_ctx_create(nullptr, &ctx, &err) != 0) {
		std::fprintf(stderr, "slime_ctx_create: %s\n", err.text);
		return 1;
	}
	slime_ctx_destroy(ctx);
	std::puts(slime_version());
	return 0;
}
