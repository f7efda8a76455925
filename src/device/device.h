/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device/device.h - what the rest of the library may ask of a kind of memory.
 *
 * One file per vendor fills in one table. Vendor libraries are opened at run
 * time, so every file is compiled everywhere; a machine without the vendor
 * gets -ENODEV from load() and the kind is never asked again.
 */
#ifndef SL_DEVICE_H
#define SL_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slime/mr.h>

/* Where a pointer lives. */
struct sl_mem {
	void *addr;
	size_t len;
	enum slime_mem_kind kind;
	int device;
	bool checked; /* SLIME_MR_CHECKED: copied by base/foreign.h, never touched */
};

enum { SL_IPC_MAX = 128 };

/* What another process needs to map the allocation that holds an address. */
struct sl_ipc {
	uint8_t handle[SL_IPC_MAX];
	uint32_t handle_len;
	uint64_t base; /* start of the allocation */
	uint64_t size; /* its size */
	uint8_t device_uuid[16];
};

/* A point in a device stream. Opaque to everyone but the device module. */
struct sl_mark;

/*
 * Every function may be called from any thread. All but load() are called only
 * after load() returned 0. Fill every slot: use the sl_dev_no_*() functions of
 * device/none.c for what a kind cannot do; they return -EOPNOTSUPP.
 */
struct sl_device_ops {
	const char *name; /* "host", "cuda", "ascend" */
	enum slime_mem_kind kind;

	/* Open the vendor library. 0, or -ENODEV. Called once. */
	int (*load)(struct slime_error *err);

	/* Fill OUT if the pointer is of this kind, else -ENOENT. Must be cheap. */
	int (*probe)(const void *addr, size_t len, struct sl_mem *out);

	/* Copy between this kind and host memory; returns when done. */
	int (*copy)(const struct sl_mem *mem, void *dst, const void *src, size_t len);

	/* Share an allocation with another process of this host. */
	int (*ipc_export)(const struct sl_mem *mem, struct sl_ipc *out);
	int (*ipc_open)(const struct sl_ipc *ipc, int device, void **out_base);
	void (*ipc_close)(void *base);

	/* A dma-buf for an RDMA device to register. The caller closes *OUT_FD. */
	int (*dmabuf)(const struct sl_mem *mem, int *out_fd, uint64_t *out_off);

	/* Remember "everything queued on STREAM until now", then ask if it happened. */
	int (*mark)(int device, void *stream, struct sl_mark **out);
	int (*mark_done)(struct sl_mark *mark); /* 1 yes, 0 not yet, negative errno */
	void (*mark_free)(struct sl_mark *mark);
};

/* The table of kinds, NULL-terminated, host last. device/devices.c */
extern const struct sl_device_ops *const sl_devices[];

/* Whose pointer is it? -ENODEV if nobody's. */
int sl_device_probe(const void *addr, size_t len, const struct sl_device_ops **out_ops,
                    struct sl_mem *out);

#endif
