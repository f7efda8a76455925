/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * named_file.h - a file that an agent serves, by the names of both: who has it now, and reading it
 * over a link. One thread.
 */
#ifndef DLSLIME_NAMED_FILE_H
#define DLSLIME_NAMED_FILE_H

#include <errno.h>

#include "address.h"
#include "by_name.h"

/* All strings are the caller's. */
struct named_file {
	struct by_name *names;
	const char *peer;
	const char *file;
	char only[NAME_BYTES_MAX]; /* what FILE is when the peer has no other */
	slime_link *link;          /* NULL: none */
};

#ifdef DLSLIME_WITH_AGENT

/* The ticket of the file as of now. FILE NULL: the only one that the peer publishes. -ENOENT. */
int named_file_find(struct named_file *f, struct ticket *out, struct slime_error *err);

/* A link to the peer, of so many reads at once; named_file_wait() says when it is up. */
int named_file_connect(struct named_file *f, const char *transport, uint32_t depth,
                       struct slime_error *err);
int named_file_wait(struct named_file *f, int64_t timeout_ns, struct slime_error *err);

/* The endpoint below, while it is up; else NULL. */
slime_ep *named_file_ep(struct named_file *f);

/* As slime_ep_read(), of bytes of the file; SEG->remote is not looked at. */
int named_file_read(struct named_file *f, const struct slime_seg *seg,
                    const struct slime_submit *how);

void named_file_close(struct named_file *f);

#else

static inline int named_file_find(struct named_file *f, struct ticket *out, struct slime_error *err)
{
	(void)f;
	(void)out;
	return refuse(err, -EOPNOTSUPP, "this build is without agents");
}

static inline int named_file_connect(struct named_file *f, const char *transport, uint32_t depth,
                                     struct slime_error *err)
{
	(void)f;
	(void)transport;
	(void)depth;
	return refuse(err, -EOPNOTSUPP, "this build is without agents");
}

static inline int named_file_wait(struct named_file *f, int64_t timeout_ns, struct slime_error *err)
{
	(void)f;
	(void)timeout_ns;
	return refuse(err, -EOPNOTSUPP, "this build is without agents");
}

static inline slime_ep *named_file_ep(struct named_file *f)
{
	(void)f;
	return NULL;
}

static inline int named_file_read(struct named_file *f, const struct slime_seg *seg,
                                  const struct slime_submit *how)
{
	(void)f;
	(void)seg;
	(void)how;
	return -EOPNOTSUPP;
}

static inline void named_file_close(struct named_file *f)
{
	(void)f;
}

#endif
#endif
