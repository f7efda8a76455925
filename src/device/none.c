/* SPDX-License-Identifier: BSD-3-Clause */
/* device/none.c - what a kind of memory cannot do. */
#include <errno.h>

#include "device/devices.h"

int sl_dev_no_ipc_export(const struct sl_mem *mem, struct sl_ipc *out)
{
	(void)mem;
	(void)out;
	return -EOPNOTSUPP;
}

int sl_dev_no_ipc_open(const struct sl_ipc *ipc, int device, void **out_base)
{
	(void)ipc;
	(void)device;
	(void)out_base;
	return -EOPNOTSUPP;
}

void sl_dev_no_ipc_close(void *base)
{
	(void)base;
}

int sl_dev_no_dmabuf(const struct sl_mem *mem, int *out_fd, uint64_t *out_off)
{
	(void)mem;
	(void)out_fd;
	(void)out_off;
	return -EOPNOTSUPP;
}

int sl_dev_no_mark(int device, void *stream, struct sl_mark **out)
{
	(void)device;
	(void)stream;
	(void)out;
	return -EOPNOTSUPP;
}

int sl_dev_no_mark_done(struct sl_mark *mark)
{
	(void)mark;
	return -EOPNOTSUPP;
}

void sl_dev_no_mark_free(struct sl_mark *mark)
{
	(void)mark;
}
