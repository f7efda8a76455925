/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/identity.c - who this process is, so that others can tell whether it still lives.
 *
 * A process is named by the boot of its host, its pid namespace, its pid in there
 * and its start time: nobody gets all four again. An agent is one life in a process.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_impl.h"
#include "base/file.h"

/* "BOOT/NAMESPACE": where pids mean the same. "" when the system does not tell. */
static void host_id(char *out, size_t cap)
{
	char boot[64] = "", space[64] = "";
	ssize_t n = readlink("/proc/self/ns/pid", space, sizeof(space) - 1);

	*out = '\0';
	if (n <= 0 || sl_file_read("/proc/sys/kernel/random/boot_id", boot, sizeof(boot)) < 0)
		return;
	space[n] = '\0';
	boot[strcspn(boot, "\n")] = '\0';
	(void)snprintf(out, cap, "%s/%s", boot, space);
}

/* Start time of PID in clock ticks since boot; 0: no such process. */
static uint64_t start_of(long long pid)
{
	char path[64], line[1024];
	const char *at;
	unsigned long long start = 0;

	/* of its first thread, for which the kernel does not look through the others */
	(void)snprintf(path, sizeof(path), "/proc/%lld/task/%lld/stat", pid, pid);
	if (sl_file_read(path, line, sizeof(line)) < 0)
		return 0;
	at = strrchr(line, ')'); /* the name may hold anything */
	if (!at || sscanf(at + 1,
	                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
	                  "%*d %*d %llu",
	                  &start) != 1)
		return 0;
	return start;
}

json_t *sl_identity_process(const char *life)
{
	char host[160], name[256] = "";
	uint64_t start = start_of(getpid());

	host_id(host, sizeof(host));
	(void)gethostname(name, sizeof(name) - 1);
	return json_pack("{ss, sI, sI, ss, ss}", "host_id", host, "pid", (json_int_t)getpid(),
	                 "start", (json_int_t)start, "life", life, "host", name);
}

bool sl_identity_is_dead(json_t *process, const char *life)
{
	const char *theirs = json_string_value(json_object_get(process, "host_id"));
	const char *lived = json_string_value(json_object_get(process, "life"));
	json_int_t pid = json_integer_value(json_object_get(process, "pid"));
	json_int_t start = json_integer_value(json_object_get(process, "start"));
	char host[160];

	if (lived && strcmp(lived, life) == 0)
		return true; /* it is this very agent: the answer was lost */
	host_id(host, sizeof(host));
	if (!theirs || !host[0] || strcmp(theirs, host) || pid <= 0)
		return false;
	return start_of(pid) != (uint64_t)start;
}

json_t *sl_identity_resource(slime_ctx *ctx)
{
	struct slime_device devices[32];
	int n = slime_ctx_devices(ctx, devices, sizeof(devices) / sizeof(devices[0]));
	json_t *list = json_array();
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	for (int i = 0; i < n && i < (int)(sizeof(devices) / sizeof(devices[0])); i++) {
		const struct slime_device *d = &devices[i];

		(void)json_array_append_new(
		    list, json_pack("{ss, ss, si, si, sI, sb, ss}", "transport", d->transport,
		                    "name", d->name, "port", (int)d->port, "numa_node",
		                    (int)d->numa, "bytes_per_s", (json_int_t)d->bytes_per_s,
		                    "usable", d->status == 0, "reason", d->reason));
	}
	return json_pack("{si, s{ss}, so, ss}", "schema_version", 1, "host", "hostname", host,
	                 "devices", list, "version", slime_version());
}
