/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint/mem.c - memory that a peer on this host can map. */
#include <errno.h>

#include "base/error.h"
#include "endpoint/internal.h"
#include "transport/shm_mem.h"

static const uint32_t known_flags = SLIME_MEM_HUGE | SLIME_MEM_LOCK;

int slime_mem_alloc(slime_ctx *ctx, size_t len, const struct slime_mem_opts *opts, void **out,
                    struct slime_error *err)
{
	if (!ctx || !out || !len)
		return sl_fail(
		    err, -EINVAL,
		    "%zu bytes: a context, a length and a place for the address are needed", len);
	if (opts && opts->size != sizeof(*opts))
		return sl_fail(err, -EINVAL,
		               "size of the memory options is %u, this library's is %zu",
		               opts->size, sizeof(*opts));
	if (opts && (opts->flags & ~known_flags))
		return sl_fail(err, -EINVAL, "memory flags 0x%x are not known",
		               opts->flags & ~known_flags);
	return sl_shm_mem_alloc(len, opts ? opts->flags : 0,
	                        opts && opts->numa > 0 ? opts->numa - 1 : -1, out, err);
}

void slime_mem_free(slime_ctx *ctx, void *addr)
{
	(void)ctx;
	if (addr)
		(void)sl_shm_mem_free(addr);
}
