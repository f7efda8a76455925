/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * announce.h - the files of 'dlslime serve' as regions of an agent, under their names. What
 * nanoctrl is told of each besides is its ticket, by which a reader asks for what is no read: the
 * size, the hash, whether the file has changed.
 *
 * Threads: any.
 */
#ifndef DLSLIME_ANNOUNCE_H
#define DLSLIME_ANNOUNCE_H

#include <errno.h>

#include "by_name.h"
#include "served_file.h"

struct announce;

#ifdef DLSLIME_WITH_AGENT

/* N files of AGENT, which is on CTX; none of them told yet. */
int announce_create(slime_ctx *ctx, slime_agent *agent, int n, struct announce **out,
                    struct slime_error *err);

/*
 * File I is VERSION now: put it under NAME, which stays the caller's and is the same each time,
 * with TICKET; nothing if that is what is there. -EEXIST: another file has the name.
 */
int announce_file(struct announce *a, int i, const char *name, struct file_version *version,
                  const char *ticket, struct slime_error *err);

/* After the agent's end. */
void announce_destroy(struct announce *a);

#else

static inline int announce_create(slime_ctx *ctx, slime_agent *agent, int n, struct announce **out,
                                  struct slime_error *err)
{
	(void)ctx;
	(void)agent;
	(void)n;
	(void)out;
	return refuse(err, -EOPNOTSUPP, "this build is without agents");
}

static inline int announce_file(struct announce *a, int i, const char *name,
                                struct file_version *version, const char *ticket,
                                struct slime_error *err)
{
	(void)a;
	(void)i;
	(void)name;
	(void)version;
	(void)ticket;
	return refuse(err, -EOPNOTSUPP, "this build is without agents");
}

static inline void announce_destroy(struct announce *a)
{
	(void)a;
}

#endif
#endif
