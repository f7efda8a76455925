/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/routes.h - the handlers behind the tables of routes; see nanoctrl.h and
 * docs/http-api.md. */
#ifndef NANOCTRL_ROUTES_H
#define NANOCTRL_ROUTES_H

#include "http.h"
#include "store.h"

/* Entities and agents of the contract live so long without a heartbeat. */
enum { COMPAT_TTL_MS = 60000 };
/* Messages that wait for an agent of the reference: the oldest go. */
enum { INBOX_MESSAGES = 1000 };

/* routes_compat_agent.c */
void compat_start_peer_agent(struct call *call);
void compat_query(struct call *call);
void compat_cleanup(struct call *call);
void compat_get_redis_address(struct call *call);
/* routes_compat_region.c */
void compat_register_mr(struct call *call);
void compat_get_mr_info(struct call *call);
/* routes_compat_topology.c */
void compat_desired_topology(struct call *call);

/* The limits of an agent's TTL in /v1, and of how long a call may wait. */
enum { TTL_MIN_MS = 1000, TTL_MAX_MS = 600000, TTL_DEFAULT_MS = 15000, WAIT_MAX_MS = 60000 };

/* routes_v1_agent.c */
void v1_post_agent(struct call *call);
void v1_list_agents(struct call *call);
void v1_get_agent(struct call *call);
void v1_renew_agent(struct call *call);
void v1_put_resource(struct call *call);
void v1_delete_agent(struct call *call);
void v1_list_resources(struct call *call);
/* routes_v1_region.c */
void v1_post_regions(struct call *call);
void v1_list_regions(struct call *call);
void v1_get_region(struct call *call);
/* routes_v1_mailbox.c */
void v1_post_mailbox(struct call *call);
void v1_get_mailbox(struct call *call);
/* routes_v1_lease.c */
void v1_post_lease(struct call *call);
void v1_renew_lease(struct call *call);
void v1_delete_lease(struct call *call);
void v1_list_leases(struct call *call);
/* routes_v1_obs.c */
void v1_put_obs(struct call *call);
void v1_list_obs(struct call *call);
void v1_get_topology(struct call *call);
/* routes_v1_batch.c */
void v1_post_batch(struct call *call);
/* routes_v1_watch.c */
void v1_get_watch(struct call *call);

#endif
