/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/env.h - the environment variables that the library reads, all of them.
 *
 * A variable is one row in the table of env.c: name, default, range, help. Who
 * reads one says so here and nowhere calls getenv() himself; `dlslime info --env`
 * prints the rows. A row without a reader does not belong here. Read a value when
 * what it is for is made (a context, a domain), not on the way of a transfer.
 * Any thread, as far as nobody calls setenv() meanwhile.
 */
#ifndef SL_ENV_H
#define SL_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include <slime/base.h>

enum sl_env {
	SL_ENV_LOG_LEVEL,          /* int: base/log.c */
	SL_ENV_TRANSPORT,          /* list: endpoint */
	SL_ENV_VISIBLE_DEVICES,    /* list: rdma; so is all that follows */
	SL_ENV_GID_INDEX,          /* int; -1: by rule */
	SL_ENV_SERVICE_LEVEL,      /* int */
	SL_ENV_TRAFFIC_CLASS,      /* int */
	SL_ENV_MAX_LENGTH,         /* int: bytes of one work request */
	SL_ENV_MAX_SEND_WR,        /* int */
	SL_ENV_MAX_RECV_WR,        /* int */
	SL_ENV_MAX_RD_ATOMIC,      /* int */
	SL_ENV_MAX_DEST_RD_ATOMIC, /* int */
	SL_ENV_MAX_CQ_DEPTH,       /* int */
	SL_ENV_POLL_COUNT,         /* int */
	SL_ENV_ODP,                /* int */
	SL_ENV_FIRST_ANSWER,       /* int: milliseconds */
	/* text: agent/agent.c, which asks for them by name, as its library does not see this table
	 */
	SL_ENV_CTRL_CA_FILE,
	SL_ENV_CTRL_CERT_FILE,
	SL_ENV_CTRL_KEY_FILE,
	SL_ENV_COUNT,
};

/*
 * The number that VAR is set to, or its default: when it is unset or empty, and,
 * with a sentence in the log the first time, when it is no number or out of range.
 */
int64_t sl_env_int(enum sl_env var);

/* What VAR is set to; NULL: unset or empty. The environment's own memory. */
const char *sl_env_text(enum sl_env var);

/* Is NAME one of the words, with commas between them, of VAR? Unset or empty: any name is. */
bool sl_env_lists(enum sl_env var, const char *name);

#endif
