/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/listen.h - the agent's own door: see listen.c. The loop's only. */
#ifndef SL_LISTEN_H
#define SL_LISTEN_H

#include "agent/ticket.h"

struct evhttp_request;
struct sl_door;
struct slime_agent;

/* Listen at PLACE, "host:port", as agent->door. Port 0 is one of the system's choice. */
int sl_door_open(struct slime_agent *agent, const char *place, struct slime_error *err);
/* Where it can be reached. */
void sl_door_places(const struct sl_door *door, struct sl_ticket *out);
/* Who sent REQ has shown the secret. */
void sl_door_knows(struct sl_door *door, struct evhttp_request *req);
void sl_door_close(struct slime_agent *agent);

/* answer_peer.c: a request at the door of AGENT, which is ARG. */
void sl_answer_peer(struct evhttp_request *req, void *arg);

#endif
