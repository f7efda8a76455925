/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/introduce.c - tickets as users have them: one of our own, and somebody else's. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent_impl.h"
#include "agent/listen.h"
#include "base/error.h"

/* A peer that is being met, at one of its places after the other. */
struct meeting {
	struct sl_ticket ticket;
	unsigned at;
	struct sl_ctrl_client *client;
	slime_agent *agent;
	char own[SL_TICKET_PLACE]; /* where to listen, if it does not yet; "": nowhere */
	struct slime_error no_own; /* and why */
};

/* Ours; NULL: no memory. Loop. */
static char *own_ticket(slime_agent *agent)
{
	struct sl_ticket t = {.nplaces = 0};

	memcpy(t.alias, agent->alias, sizeof(t.alias));
	(void)snprintf(t.scope, sizeof(t.scope), "%s", agent->scope);
	memcpy(t.life, agent->life, sizeof(t.life));
	memcpy(t.secret, agent->secret, sizeof(t.secret));
	sl_door_places(agent->door, &t);
	return sl_ticket_text(&t);
}

static void start_ticket(slime_agent *agent, struct sl_job *job)
{
	struct slime_error err;
	int rc = 0;

	if (agent->door) {
		job->state = own_ticket(agent);
		if (!job->state)
			rc = sl_fail(&err, -ENOMEM, "no memory for a ticket");
	} else {
		rc = sl_fail(&err, -EINVAL,
		             "the agent does not listen: slime_agent_opts.listen says where to");
	}
	sl_job_done(agent, job, rc, &err);
}

int slime_agent_ticket(slime_agent *agent, char **out, struct slime_error *err)
{
	struct sl_job job = {.start = start_ticket};
	int rc = agent && out ? sl_agent_run(agent, &job, err)
	                      : sl_fail(err, -EINVAL, "no agent, or no place for the ticket");

	if (!rc)
		*out = job.state;
	return rc;
}

/* Our address on the way to AT as "HOST:0"; no packet is sent. */
static int address_towards(const struct addrinfo *at, char out[static SL_TICKET_PLACE])
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	char host[INET6_ADDRSTRLEN + IF_NAMESIZE];
	int fd = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	rc = fd < 0 || connect(fd, at->ai_addr, at->ai_addrlen) ||
	     getsockname(fd, (struct sockaddr *)&own, &len) ||
	     getnameinfo((struct sockaddr *)&own, len, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
	if (fd >= 0)
		(void)close(fd);
	if (!rc)
		(void)snprintf(out, SL_TICKET_PLACE, own.ss_family == AF_INET6 ? "[%s]:0" : "%s:0",
		               host);
	return rc ? -EHOSTUNREACH : 0;
}

/*
 * Where the peer can answer: our address on the way to the first of its places that there is a way
 * to. Names are looked up here, on the user's thread.
 */
static void find_own(struct meeting *m)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};

	for (unsigned i = 0; i < m->ticket.nplaces && !m->own[0]; i++) {
		char host[SL_TICKET_HOST];
		struct addrinfo *list;
		unsigned port;
		bool numeric;
		int rc;

		if (sl_place_read("the address", m->ticket.place[i], host, &port, &numeric, NULL))
			continue;
		rc = getaddrinfo(host, "9", &hints, &list);
		if (rc) {
			(void)sl_fail(&m->no_own, -EHOSTUNREACH,
			              "the ticket's address '%.100s': %s", m->ticket.place[i],
			              gai_strerror(rc));
			continue;
		}
		for (const struct addrinfo *at = list; at && !m->own[0]; at = at->ai_next)
			(void)address_towards(at, m->own);
		freeaddrinfo(list);
		if (!m->own[0])
			(void)sl_fail(&m->no_own, -EHOSTUNREACH, "there is no way to '%.100s'",
			              m->ticket.place[i]);
	}
}

static void meet(struct sl_job *job);

static void on_met(void *arg, const struct sl_ctrl_reply *reply)
{
	struct sl_job *job = arg;
	struct meeting *m = job->arg;
	const char *life = json_string_value(json_object_get(reply->body, "life"));
	struct slime_error err = reply->err;
	int rc = reply->status;

	if (!rc && (!life || strcmp(life, m->ticket.life) != 0))
		rc = sl_fail(&err, -EPROTO, "what answers at %s is not the agent of the ticket",
		             m->ticket.place[m->at]);
	if (rc) {
		sl_ctrl_end(m->client);
		if (!reply->http && ++m->at < m->ticket.nplaces) {
			meet(job);
			return;
		}
	} else {
		rc = sl_friend_add(m->agent, &m->ticket, m->client, &err);
	}
	sl_job_done(m->agent, job, rc, &err);
}

/* Show our ticket at the next of its places. */
static void meet(struct sl_job *job)
{
	struct meeting *m = job->arg;
	struct sl_ctrl_opts opts = {.loop = m->agent->loop,
	                            .url = m->ticket.place[m->at],
	                            .token = m->ticket.secret,
	                            .who = "the agent",
	                            .of = &m->agent->clients};
	char *own = own_ticket(m->agent);
	char *path = sl_agent_path(m->agent, m->ticket.alias, "introduce", NULL);
	struct sl_ctrl_call *call = NULL;
	struct slime_error err;
	int rc = sl_ctrl_create(&opts, &m->client, &err);

	if (!rc && own && path)
		call = sl_ctrl_call(m->client, "POST", path, json_pack("{ss}", "ticket", own),
		                    (int)m->agent->timeout_ms, on_met, job);
	if (!rc && !call) {
		sl_ctrl_end(m->client);
		rc = sl_fail(&err, -ENOMEM, "no memory for an introduction");
	}
	free(own);
	free(path);
	if (rc)
		sl_job_done(m->agent, job, rc, &err);
}

static void start_meeting(slime_agent *agent, struct sl_job *job)
{
	struct meeting *m = job->arg;
	struct slime_error err = m->no_own;
	int rc = 0;

	if (!agent->door) /* the peer must be able to answer */
		rc = m->own[0] ? sl_door_open(agent, m->own, &err) : -EHOSTUNREACH;
	if (rc)
		sl_job_done(agent, job, rc, &err);
	else
		meet(job);
}

static int check_ticket(const slime_agent *agent, const struct sl_ticket *t,
                        struct slime_error *err)
{
	if (strcmp(t->scope, agent->scope) != 0)
		return sl_fail(err, -EACCES,
		               "the ticket is of the scope '%.80s', this agent of '%.80s'",
		               t->scope, agent->scope);
	if (strcmp(t->alias, agent->alias) == 0)
		return sl_fail(err, -EEXIST, "the ticket is of '%.100s', as is this agent itself",
		               t->alias);
	return 0;
}

int slime_agent_introduce(slime_agent *agent, const char *ticket, char **alias_out,
                          struct slime_error *err)
{
	struct meeting m = {.agent = agent};
	struct sl_job job = {.start = start_meeting, .arg = &m};
	char *alias;
	int rc;

	if (!agent || !ticket)
		return sl_fail(err, -EINVAL, "no agent, or no ticket");
	rc = sl_ticket_read(ticket, strnlen(ticket, SL_TICKET_MAX + 8), &m.ticket, err);
	if (!rc)
		rc = check_ticket(agent, &m.ticket, err);
	if (rc)
		return rc;
	alias = strdup(m.ticket.alias);
	if (!alias)
		return sl_fail(err, -ENOMEM, "no memory for an alias");
	find_own(&m);
	rc = sl_agent_run(agent, &job, err);
	if (!rc && alias_out)
		*alias_out = alias;
	else
		free(alias);
	return rc;
}
