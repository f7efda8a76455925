/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/devices.h"

#include <errno.h>

const struct sl_device_ops *const sl_devices[] = {
    &sl_device_host,
    NULL,
};

int sl_device_probe(const void *addr, size_t len, const struct sl_device_ops **out_ops,
                    struct sl_mem *out)
{
	for (size_t i = 0; sl_devices[i]; i++) {
		if (sl_devices[i]->probe(addr, len, out) == 0) {
			*out_ops = sl_devices[i];
			return 0;
		}
	}
	return -ENODEV;
}
