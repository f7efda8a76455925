/* SPDX-License-Identifier: BSD-3-Clause */
/* device/devices.h - every kind of memory there is, and what a kind cannot do. */
#ifndef SL_DEVICES_H
#define SL_DEVICES_H

#include "device/device.h"

extern const struct sl_device_ops sl_device_host;

/* Tests: ask OPS before all others; NULL: nobody. Before any context exists. */
void sl_devices_use(const struct sl_device_ops *ops);

int sl_dev_no_ipc_export(const struct sl_mem *mem, struct sl_ipc *out);
int sl_dev_no_ipc_open(const struct sl_ipc *ipc, int device, void **out_base);
void sl_dev_no_ipc_close(void *base);
int sl_dev_no_dmabuf(const struct sl_mem *mem, int *out_fd, uint64_t *out_off);
int sl_dev_no_mark(int device, void *stream, struct sl_mark **out);
int sl_dev_no_mark_done(struct sl_mark *mark);
void sl_dev_no_mark_free(struct sl_mark *mark);

#endif
