/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "transport/rdma/rdma_impl.h"

static long number(const char *name, long least, long most, long otherwise)
{
	const char *text = getenv(name);
	char *end;
	long v;

	if (!text || !*text)
		return otherwise;
	errno = 0;
	v = strtol(text, &end, 10);
	if (!errno && !*end && v >= least && v <= most)
		return v;
	sl_log(SLIME_LOG_WARN, "rdma: %s is '%.40s', not a number from %ld to %ld: taking %ld",
	       name, text, least, most, otherwise);
	return otherwise;
}

void sl_rdma_env_read(struct rdma_env *out)
{
	const char *visible = getenv("SLIME_VISIBLE_DEVICES");

	out->gid_index = (int)number("SLIME_GID_INDEX", -1, 65535, -1);
	out->service_level = (uint32_t)number("SLIME_SERVICE_LEVEL", 0, 15, 0);
	out->traffic_class = (uint32_t)number("SLIME_TRAFFIC_CLASS", 0, 255, 0);
	out->reads_out = (uint32_t)number("SLIME_MAX_RD_ATOMIC", 1, 255, 16);
	out->reads_in = (uint32_t)number("SLIME_MAX_DEST_RD_ATOMIC", 1, 255, 16);
	out->send_wr = (uint32_t)number("SLIME_MAX_SEND_WR", 16, 1 << 15, 256);
	out->recv_wr = (uint32_t)number("SLIME_MAX_RECV_WR", 1, 1 << 15, 128);
	out->odp = number("SLIME_ODP", 0, 1, 0) == 1;
	out->visible[0] = '\0';
	if (visible && *visible &&
	    (size_t)snprintf(out->visible, sizeof(out->visible), ",%s,", visible) >=
	        sizeof(out->visible)) {
		sl_log(SLIME_LOG_WARN, "rdma: SLIME_VISIBLE_DEVICES is over %zu bytes: not used",
		       sizeof(out->visible) - 3);
		out->visible[0] = '\0';
	}
}

/* Blanks around a name do not count. */
bool sl_rdma_env_sees(const struct rdma_env *env, const char *device)
{
	size_t len = strlen(device);

	if (!env->visible[0])
		return true;
	for (const char *p = env->visible; *p;) {
		size_t n;

		p += strspn(p, ", ");
		n = strcspn(p, ", ");
		if (n && n == len && !memcmp(p, device, n))
			return true;
		p += n;
	}
	return false;
}
