/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/nanoctrl.h - the daemon's parts and how they meet. The loop's thread only. */
#ifndef NANOCTRL_NANOCTRL_H
#define NANOCTRL_NANOCTRL_H

#include "http.h"
#include "store.h"

#define NANOCTRL_TEXT_(x) #x
#define NANOCTRL_TEXT(x)  NANOCTRL_TEXT_(x)
#define NANOCTRL_VERSION                   \
	NANOCTRL_TEXT(SLIME_VERSION_MAJOR) \
	"." NANOCTRL_TEXT(SLIME_VERSION_MINOR) "." NANOCTRL_TEXT(SLIME_VERSION_PATCH)

/* What one daemon is called and how it answers: two names for one program. */
struct persona {
	const char *name;      /* "nanoctrl", "dlslime-ctrl" */
	const char *root_body; /* of GET / */
	uint16_t port;
	const char *env; /* prefix of its variables: "NANOCTRL", "DLSLIME_CTRL" */
	bool cleanup_drops_stream;
};

/* Limits of one scope; 0: none. */
struct quota {
	uint64_t records;
	uint64_t box_bytes;
	uint32_t box_messages; /* of one box */
};

struct daemon {
	struct event_base *loop;
	const struct persona *persona;
	struct store *store;
	struct watch *watch; /* watch.c: who waits for what to change */
	struct quota quota;
	const char *public_redis; /* what agents of the reference are told; NULL: by the rules */
};

/* One daemon in a process; set before the first request. */
extern struct daemon nanoctrl;

/* Who is called so: by ARGV[0] of the process. */
const struct persona *persona_of(const char *argv0);

/* Tables that end with a NULL method. */
extern const struct route routes_compat[]; /* the thirteen of the contract */
extern const struct route routes_v1[];     /* agents, regions, mailboxes, watch, leases, obs */
extern const struct route routes_ops[];    /* /healthz /readyz /metrics */

/* watch.c: changes of the store, kept for a while, for those who wait for them. */
struct watch *watch_create(struct event_base *loop);
void watch_event(void *watch, const struct store_event *event);
void watch_gap(void *watch, uint64_t revision);
void watch_destroy(struct watch *watch); /* ends every call that waits, with what there is */

/* metrics.c: one line of /metrics each; LABEL is a constant string or NULL. */
void metric_add(const char *name, const char *label, uint64_t n);
void metric_time(const char *name, const char *label, int64_t ns);

#endif
