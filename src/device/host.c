/* SPDX-License-Identifier: BSD-3-Clause */
/* device/host.c - plain memory: what nobody else claims is the host's. */
#include <errno.h>
#include <string.h>

#include "device/devices.h"

static int host_load(struct slime_error *err)
{
	(void)err;
	return 0;
}

static int host_probe(const void *addr, size_t len, struct sl_mem *out)
{
	union {
		const void *in;
		void *out;
	} u = {.in = addr};

	*out = (struct sl_mem){.addr = u.out, .len = len, .kind = SLIME_MEM_HOST, .device = -1};
	return 0;
}

static int host_copy(const struct sl_mem *mem, void *dst, const void *src, size_t len)
{
	(void)mem;
	memcpy(dst, src, len);
	return 0;
}

const struct sl_device_ops sl_device_host = {
    .name = "host",
    .kind = SLIME_MEM_HOST,
    .load = host_load,
    .probe = host_probe,
    .copy = host_copy,
    .ipc_export = sl_dev_no_ipc_export,
    .ipc_open = sl_dev_no_ipc_open,
    .ipc_close = sl_dev_no_ipc_close,
    .dmabuf = sl_dev_no_dmabuf,
    .mark = sl_dev_no_mark,
    .mark_done = sl_dev_no_mark_done,
    .mark_free = sl_dev_no_mark_free,
};
