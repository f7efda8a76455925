/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/env.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* MIN over MAX: text, and no number. The words of FALLBACK are for people if it is none. */
struct row {
	const char *name;
	const char *fallback;
	int64_t number, min, max;
	const char *help;
};

#define TEXT                0, 1, 0
#define NUMBER(n, min, max) #n, n, min, max

static const struct row rows[SL_ENV_COUNT] = {
    [SL_ENV_LOG_LEVEL] = {"SLIME_LOG_LEVEL", "errors and warnings", -1, 0, 2,
                          "log lines to stderr: 0 errors, 1 also warnings and information, 2 all"},
    [SL_ENV_TRANSPORT] = {"DLSLIME_TRANSPORT", "all", TEXT,
                          "transports to choose from where the program names none: 'shm,tcp'"},
    [SL_ENV_VISIBLE_DEVICES] = {"SLIME_VISIBLE_DEVICES", "all", TEXT,
                                "rdma devices that may be used: 'mlx5_0,mlx5_1'"},
    [SL_ENV_GID_INDEX] = {"SLIME_GID_INDEX", NUMBER(-1, -1, 65535),
                          "rdma: entry of the port's GID table; -1: the best RoCE v2 address"},
    [SL_ENV_SERVICE_LEVEL] = {"SLIME_SERVICE_LEVEL", NUMBER(0, 0, 15),
                              "rdma: service level of connections"},
    [SL_ENV_TRAFFIC_CLASS] = {"SLIME_TRAFFIC_CLASS", NUMBER(0, 0, 255),
                              "rdma: traffic class of connections, DSCP in the upper six bits"},
    [SL_ENV_MAX_LENGTH] = {"SLIME_MAX_LENGTH_PER_ASSIGNMENT", NUMBER(1073741824, 4096, 2147483647),
                           "rdma: bytes that one work request moves at most"},
    [SL_ENV_MAX_SEND_WR] = {"SLIME_MAX_SEND_WR", NUMBER(256, 16, 32768),
                            "rdma: work requests that wait in one send queue at most"},
    [SL_ENV_MAX_RECV_WR] = {"SLIME_MAX_RECV_WR", NUMBER(128, 16, 32768),
                            "rdma: work requests that wait in one receive queue at most"},
    [SL_ENV_MAX_RD_ATOMIC] = {"SLIME_MAX_RD_ATOMIC", NUMBER(16, 1, 255),
                              "rdma: reads that a connection has outstanding at most"},
    [SL_ENV_MAX_DEST_RD_ATOMIC] = {"SLIME_MAX_DEST_RD_ATOMIC", NUMBER(16, 1, 255),
                                   "rdma: reads of the peer that a connection serves at once"},
    [SL_ENV_MAX_CQ_DEPTH] = {"SLIME_MAX_CQ_DEPTH", NUMBER(4194304, 1024, 4194304),
                             "rdma: entries of a completion queue at most"},
    [SL_ENV_POLL_COUNT] = {"SLIME_POLL_COUNT", NUMBER(256, 1, 4096),
                           "rdma: completions taken by one look at most"},
    [SL_ENV_ODP] = {"SLIME_ODP", NUMBER(0, 0, 1),
                    "rdma: 1: register memory on demand where the device can, without locking it"},
    [SL_ENV_FIRST_ANSWER] = {"DLSLIME_FIRST_ANSWER_MS", NUMBER(750, 10, 3600000),
                             "rdma: a peer whose first answer takes longer is refused"},
    [SL_ENV_CTRL_CA_FILE] = {"DLSLIME_CTRL_CA_FILE", "what the system trusts", TEXT,
                             "https to nanoctrl: PEM file of the authorities that are trusted"},
    [SL_ENV_CTRL_CERT_FILE] = {"DLSLIME_CTRL_CERT_FILE", "none", TEXT,
                               "https to nanoctrl: PEM file of the client certificate to show"},
    [SL_ENV_CTRL_KEY_FILE] = {"DLSLIME_CTRL_KEY_FILE", "none", TEXT,
                              "https to nanoctrl: PEM file of the key of that certificate"},
};

static _Atomic uint32_t complained; /* bit (1 << enum sl_env) */
_Static_assert(SL_ENV_COUNT <= 32, "a bit for each");

const char *sl_env_text(enum sl_env var)
{
	const char *text = getenv(rows[var].name);

	return text && *text ? text : NULL;
}

int64_t sl_env_int(enum sl_env var)
{
	const struct row *r = &rows[var];
	const char *text = sl_env_text(var);
	char *end;
	long long n;

	if (!text)
		return r->number;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (!errno && end != text && !*end && n >= r->min && n <= r->max)
		return n;
	if (!(atomic_fetch_or(&complained, UINT32_C(1) << var) & UINT32_C(1) << var))
		sl_log(SLIME_LOG_WARN,
		       "%s is '%.64s', which is no whole number from %" PRId64 " to %" PRId64
		       ": the default is taken, %s",
		       r->name, text, r->min, r->max, r->fallback);
	return r->number;
}

bool sl_env_lists(enum sl_env var, const char *name)
{
	const char *at = sl_env_text(var);
	size_t len = strlen(name);

	if (!at)
		return true;
	for (;;) {
		size_t word = strcspn(at, ",");

		if (word == len && !memcmp(at, name, len))
			return true;
		if (!at[word])
			return false;
		at += word + 1;
	}
}

int slime_env_list(struct slime_env *out, size_t cap)
{
	if (cap && !out)
		return -EINVAL;
	for (size_t i = 0; i < SL_ENV_COUNT && i < cap; i++)
		out[i] = (struct slime_env){rows[i].name, rows[i].fallback, rows[i].help};
	return SL_ENV_COUNT;
}
