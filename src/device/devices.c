/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/devices.h"

#include <errno.h>
#include <stdatomic.h>

const struct sl_device_ops *const sl_devices[] = {
    &sl_device_host,
    NULL,
};

static _Atomic(const struct sl_device_ops *) first;

void sl_devices_use(const struct sl_device_ops *ops)
{
	atomic_store(&first, ops);
}

int sl_device_probe(const void *addr, size_t len, const struct sl_device_ops **out_ops,
                    struct sl_mem *out)
{
	const struct sl_device_ops *ops = atomic_load_explicit(&first, memory_order_relaxed);

	if (ops && ops->probe(addr, len, out) == 0) {
		*out_ops = ops;
		return 0;
	}
	for (size_t i = 0; sl_devices[i]; i++) {
		if (sl_devices[i]->probe(addr, len, out) == 0) {
			*out_ops = sl_devices[i];
			return 0;
		}
	}
	return -ENODEV;
}
