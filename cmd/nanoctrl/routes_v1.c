/* SPDX-License-Identifier: BSD-3-Clause */
/* routes_v1.c - the table of /v1; docs/http-api.md says what each of them means. */
#include "nanoctrl.h"
#include "routes.h"

#define AGENT "/v1/agents/{alias}"
#define LEASE "/v1/leases/{name}"

const struct route routes_v1[] = {
    {"POST", "/v1/agents", RIGHT_REGISTER, true, true, v1_post_agent},
    {"GET", "/v1/agents", RIGHT_READ, false, true, v1_list_agents},
    {"GET", AGENT, RIGHT_READ, false, true, v1_get_agent},
    {"DELETE", AGENT, RIGHT_REGISTER, false, true, v1_delete_agent},
    {"POST", AGENT "/renew", RIGHT_REGISTER, true, true, v1_renew_agent},
    {"PUT", AGENT "/resource", RIGHT_REGISTER, true, true, v1_put_resource},
    {"PUT", AGENT "/obs", RIGHT_REGISTER, true, true, v1_put_obs},
    {"POST", AGENT "/regions", RIGHT_REGISTER, true, true, v1_post_regions},
    {"GET", AGENT "/regions", RIGHT_READ, false, true, v1_list_regions},
    {"GET", AGENT "/regions/{name}", RIGHT_READ, false, true, v1_get_region},
    {"POST", AGENT "/mailbox", RIGHT_REGISTER, true, true, v1_post_mailbox},
    {"GET", AGENT "/mailbox", RIGHT_REGISTER, false, true, v1_get_mailbox},
    {"GET", "/v1/watch", RIGHT_READ, false, true, v1_get_watch},
    {"GET", "/v1/desired_topology/{alias}", RIGHT_READ, false, true, v1_get_topology},
    {"GET", "/v1/leases", RIGHT_READ, false, true, v1_list_leases},
    {"POST", LEASE, RIGHT_REGISTER, true, true, v1_post_lease},
    {"DELETE", LEASE, RIGHT_REGISTER, false, true, v1_delete_lease},
    {"POST", LEASE "/renew", RIGHT_REGISTER, true, true, v1_renew_lease},
    {"GET", "/v1/obs", RIGHT_READ, false, true, v1_list_obs},
    {"GET", "/v1/resources", RIGHT_READ, false, true, v1_list_resources},
    {"POST", "/v1/batch", RIGHT_READ, true, true, v1_post_batch},
    {.method = NULL},
};
