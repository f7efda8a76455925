/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/agent_impl.h - the structs behind slime/agent.h. This directory only.
 *
 * An agent has one thread of its own, "the loop": libevent, all HTTP, and every
 * step of every link. User threads read the address book under agent->lock, and
 * ask the loop for what takes a conversation (struct sl_job). Fields marked "loop"
 * are touched by the loop alone, "lock" ones under agent->lock; what the loop writes
 * and users read is written by the loop under the lock.
 *
 * agent->lock is held for lookups only: never across a call into an endpoint, a
 * callback, or HTTP.
 */
#ifndef SL_AGENT_IMPL_H
#define SL_AGENT_IMPL_H

#include <event2/event.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include <slime/agent.h>

#include "agent/flight.h"
#include "agent/message.h"
#include "agent/ticket.h"
#include "base/clock.h"
#include "base/lock.h"
#include "ctrl/ctrl_client.h"

struct slime_agent;

/*
 * What a user thread asks of the loop, and waits for. START runs on the loop; the
 * job is over when sl_job_done() is called, there or later.
 */
struct sl_job {
	void (*start)(struct slime_agent *agent, struct sl_job *job);
	void *arg;
	void *state; /* START's own */
	int status;
	bool done;   /* lock */
	bool queued; /* lock */
	struct slime_error err;
	TAILQ_ENTRY(sl_job) entry;
};

/* A peer that a ticket introduced. The loop's. */
struct sl_friend {
	slime_agent *agent;
	char alias[SL_ALIAS_MAX];
	char life[SL_LIFE_LEN];
	uint64_t incarnation; /* which of those that we have met */
	struct sl_ctrl_client *client;
	json_t *told, *names; /* names of our regions that changed: underway, and then */
	size_t ntold;         /* in NAMES, if they all had room */
	struct sl_ctrl_call *telling;
	struct event *timer;
	uint32_t failures;
	LIST_ENTRY(sl_friend) entry;
};

/* What a rate is made of. */
struct sl_observed {
	uint64_t bytes;
	int64_t at_ns;
	double bps;
};

/* A name of ours and the region behind it. */
struct sl_published {
	char *name;
	char *note; /* NULL: none */
	slime_mr *mr;
	LIST_ENTRY(sl_published) entry;
};

/* A region of the peer's, as this session knows it. */
struct sl_known {
	char *name;
	char *desc; /* as its owner describes it; NULL: not kept */
	slime_rmr *rmr;
	bool doubted;    /* it may have changed unheard: doubt.c asks */
	bool stale;      /* the name means something else by now: the next transfer asks anew */
	bool handed_out; /* slime_link_region() gave it away: freed with the session */
	LIST_ENTRY(sl_known) entry;
};

/*
 * A name that a user is asking for. The news that come until the answer is kept may be younger
 * than the answer, so what is kept then is asked for anew before it is used.
 */
struct sl_asking {
	const char *name;
	bool overtaken; /* lock */
	LIST_ENTRY(sl_asking) entry;
};

enum { SL_BUCKETS = 64, SL_NOTHING_NEW_US = 50000 /* before a long question is asked again */ };

/* One connection of a link, from its endpoint's creation to its loss. Counted. */
struct sl_session {
	_Atomic uint32_t refs;
	slime_ep *ep;
	uint64_t serial;        /* by which the queue of settled endpoints names it */
	char life[SL_LIFE_LEN]; /* of the peer; "": not known yet */
	bool pinned;            /* lock: the user has EP: it is freed with the link */
	int64_t buried_ns;      /* when the last user left it */
	_Atomic bool dead;      /* a transfer, or a look, found the peer gone */
	LIST_HEAD(, sl_known) known[SL_BUCKETS]; /* lock */
	LIST_HEAD(, sl_asking) asking;           /* lock */
	/* lock: of regions that moved; a transfer that found one before may be about to use it */
	LIST_HEAD(, sl_known) retired;
	TAILQ_ENTRY(sl_session) entry;
};
TAILQ_HEAD(sl_sessions, sl_session);

/* The link's peer, its options, and where it stands: see link.c. */
struct slime_link {
	struct slime_agent *agent;
	uint32_t users;     /* lock: handles given out */
	bool listed;        /* lock: in agent->links */
	bool kept;          /* lock: one of USERS is the agent itself */
	_Atomic bool asked; /* a transfer wants it up */
	char peer[SL_ALIAS_MAX];
	char key[SL_KEY_MAX];
	char transport[16], device[128];
	uint32_t lanes, depth;

	enum slime_link_state state; /* loop writes, lock reads */
	struct sl_session *session;  /* likewise; NULL but when connecting or up */
	struct sl_sessions old;      /* loop: lost, but pinned */
	uint64_t reconnects;         /* loop writes, lock reads */
	uint64_t peer_incarnation;   /* likewise */
	bool recount; /* loop: whatever the peer's next incarnation is, it counts from there on */
	uint64_t transfers, bytes, failed, waited[SLIME_LINK_WAITS]; /* lock */
	int64_t logged_ns;                                           /* lock */
	char said[1024]; /* likewise: why this transport, or what went wrong */

	/* loop */
	char id[SL_LINK_ID_LEN];
	char peer_life[SL_LIFE_LEN];
	bool caller;            /* the last call was ours */
	bool unanswered;        /* it was the peer's, and our answer did not get there */
	uint64_t attempt;       /* of the caller, whoever that is */
	uint64_t peer_seq;      /* of the peer's last message in this life */
	struct slime_desc desc; /* of our endpoint */
	struct slime_desc peer_desc;
	struct event *timer;
	int64_t since_ns; /* when this attempt began to connect, or the link came up */
	uint32_t failures;
	uint32_t calls;            /* made in this attempt */
	struct sl_ctrl_call *post; /* of a call */
	int64_t called_ns;         /* when it was said */
	uint64_t called;           /* the peer's incarnation that has our call; 0: not known */
	uint64_t seen;             /* ... that was heard of while it was underway; 0: none */
	struct sl_flight flight;   /* own lock */
	TAILQ_ENTRY(slime_link) entry;
};

struct slime_agent {
	slime_ctx *ctx;
	slime_cq *settled; /* endpoints that have connected, or cannot; it also keeps CTX alive */
	struct event *settled_event;
	uint64_t serial;       /* loop: of the last session */
	_Atomic uint32_t refs; /* the user and each link's handles */
	uint32_t ttl_ms, timeout_ms;
	char alias[SL_ALIAS_MAX]; /* constant once created */
	char *wanted_alias, *prefix, *scope, *scope_query, *resource;
	char life[SL_LIFE_LEN];
	struct event_base *loop;
	struct sl_ctrl_client *ctrl;    /* NULL: no control plane */
	struct sl_ctrl_clients clients; /* all of them */
	int wake_fd;
	struct event *wake;
	pthread_t thread;
	bool has_thread;

	struct sl_lock lock;
	pthread_cond_t changed;       /* of jobs, of links */
	TAILQ_HEAD(, sl_job) jobs;    /* lock: not started yet */
	TAILQ_HEAD(, sl_job) running; /* lock */
	TAILQ_HEAD(, slime_link) links;
	LIST_HEAD(, sl_published) published[SL_BUCKETS];
	struct sl_sessions graves; /* lock: the loop frees them, a while after the last use */
	bool closing;              /* lock */
	uint64_t seq;              /* loop: of our last message */
	int64_t looked_ns;         /* loop: when links were last looked at */
	_Atomic uint64_t incarnation;
	_Atomic uint64_t registered; /* so many times */

	/* loop: register.c */
	struct event *renew_timer;
	struct sl_ctrl_call *renew_call;
	uint32_t renew_failures;
	uint64_t replace;
	struct sl_job *register_job;
	struct sl_observed observed[17]; /* observe.c: in all, then of each device */
	/* loop: mailbox.c */
	struct sl_ctrl_call *mail_call;
	struct event *mail_timer;
	uint64_t mail_after;
	uint32_t mail_failures;
	/* loop: follow.c */
	struct sl_ctrl_call *follow_call;
	struct event *follow_timer;
	uint64_t follow_after;
	uint32_t follow_failures;
	bool follow_changed;
	struct sl_doubt *doubt; /* loop: doubt.c */
	/* presence.c */
	struct sl_presence *presence; /* lock to set, then its own */
	/* loop: friend.c, listen.c */
	char secret[SL_TICKET_SECRET]; /* constant: of our tickets */
	struct sl_flight_door *flight_door;
	char *listen; /* constant; NULL: not before it is needed */
	struct sl_door *door;
	LIST_HEAD(, sl_friend) friends;
	_Atomic unsigned nfriends;
	uint64_t met;
	struct event *leave_timer;
	unsigned leave_tries;
};

/* agent.c */
int sl_agent_run(slime_agent *agent, struct sl_job *job, struct slime_error *err);
void sl_job_done(slime_agent *agent, struct sl_job *job, int status, const struct slime_error *err);
/* Have the loop look around soon. Any thread. */
void sl_agent_kick(slime_agent *agent);
void sl_agent_ref(slime_agent *agent);
void sl_agent_unref(slime_agent *agent);
/* "/v1/agents/ALIAS/TAIL?scope=..&QUERY" malloc()ed; ALIAS, TAIL, QUERY may be NULL. */
char *sl_agent_path(const slime_agent *agent, const char *alias, const char *tail,
                    const char *query);
/* After N failures in a row: 50 ms doubled to 2 s, give or take a quarter. */
uint32_t sl_backoff_ms(uint32_t failures);
void sl_timer_in(struct event *timer, int64_t us);
unsigned sl_bucket_of(const char *name);
/* -EINVAL with a sentence: no name for WHAT ("an alias"): empty, long, or with control characters.
 */
int sl_name_check(const char *what, const char *name, struct slime_error *err);

/* identity.c: who this process is, and whether another still lives. */
json_t *sl_identity_process(const char *life);
bool sl_identity_is_dead(json_t *process, const char *life);
json_t *sl_identity_resource(slime_ctx *ctx);

/* register.c */
void sl_register_start(slime_agent *agent, struct sl_job *job);
/* We are unknown to the control plane, or somebody else took the name: register anew. */
void sl_register_again(slime_agent *agent);
/*
 * Wait until it has happened more than TIMES; false: not in time. Any thread but the loop. (An
 * incarnation does not tell: it is the same with another control plane that has just begun.)
 */
bool sl_register_wait(slime_agent *agent, uint64_t times, int64_t until_ns);
/* Take leave of the control plane; ends JOB. */
void sl_register_leave(slime_agent *agent, struct sl_job *job);
void sl_register_stop(slime_agent *agent);

/* What this agent tells of itself, counted. */
json_t *sl_agent_resource(slime_agent *agent);

/* friend.c. Who answers for PEER (NULL: for all): his own door, or the control plane, or NULL. */
struct sl_ctrl_client *sl_ctrl_of(slime_agent *agent, const char *peer);
/* Why sl_ctrl_call() of that was NULL. */
int sl_not_asked(slime_agent *agent, const char *peer, struct slime_error *err);
struct sl_friend *sl_friend_find(slime_agent *agent, const char *alias);
/* From now on CLIENT, which is stolen, answers for the agent of TICKET. */
int sl_friend_add(slime_agent *agent, const struct sl_ticket *ticket, struct sl_ctrl_client *client,
                  struct slime_error *err);
struct evhttp_connection;
/* Somebody shows TICKET at our door. -EACCES, -EEXIST, -ENOSPC. */
int sl_friend_comes(slime_agent *agent, const struct sl_ticket *ticket,
                    struct evhttp_connection *from, struct slime_error *err);
void sl_friend_message(slime_agent *agent, const char *from, json_t *in);
/* Regions of ours that NAMES names are gone or elsewhere. Any thread. */
void sl_friends_tell(slime_agent *agent, json_t *names);
/* Let what is being said to them get there, then end JOB. */
void sl_friends_leave(slime_agent *agent, struct sl_job *job);
void sl_friends_free(slime_agent *agent);

/* presence.c: slime_agent_next_event() */
void sl_presence_joined(slime_agent *agent, const char *alias, uint64_t incarnation);
void sl_presence_free(slime_agent *agent);

/* observe.c: a snapshot for whoever looks on; NULL: no memory. Loop. */
json_t *sl_observe(slime_agent *agent);

/* publish.c */
json_t *sl_publish_all(slime_agent *agent);
/* As the control plane has it; NULL: no such name. */
json_t *sl_publish_record(slime_agent *agent, const char *name);
slime_mr *sl_published_find_locked(slime_agent *agent, const char *name);
void sl_publish_free(slime_agent *agent);

/* mailbox.c */
void sl_mailbox_start(slime_agent *agent);
void sl_mailbox_stop(slime_agent *agent);
/* Say MSG to PEER; DONE and ARG as for sl_ctrl_call(). */
struct sl_ctrl_call *sl_mailbox_post(slime_agent *agent, const char *peer,
                                     const struct sl_message *msg, sl_ctrl_done *done, void *arg);

/* follow.c: changes of the peers that we have links to */
void sl_follow_update(slime_agent *agent);
/* We have registered anew, at REVISION: if that is lower than what we have seen, then with another
 * control plane, whose news we have not had. */
void sl_follow_begin_again(slime_agent *agent, uint64_t revision);
void sl_follow_stop(slime_agent *agent);

/* doubt.c: ask the control plane about every region that we know, in time. Loop. */
void sl_doubt_all(slime_agent *agent);
void sl_doubt_stop(slime_agent *agent);

/* link_news.c */
void sl_link_message(slime_agent *agent, const char *from, uint64_t incarnation,
                     struct sl_message *msg);
/* The control plane says: PEER is there, in this life; or it is gone (LIFE NULL). */
void sl_link_peer_seen(slime_agent *agent, const char *peer, const char *life,
                       uint64_t incarnation);
void sl_link_peer_gone(slime_agent *agent, const char *peer);
/* The control plane may be another one, which counts incarnations from the beginning. */
void sl_link_recount(slime_agent *agent);
/* PEER is somebody whom a ticket introduced, whatever was known of the name before. */
void sl_link_introduced(slime_agent *agent, const char *peer, const char *life,
                        uint64_t incarnation);
/* It is described by DESC, in LIFE; what is so already stays. */
void sl_link_region_told(slime_agent *agent, const char *peer, const char *name, const char *life,
                         const char *desc);
/* The peer's region NAME (NULL: any of its regions) means something else by now. */
void sl_link_region_changed(slime_agent *agent, const char *peer, const char *name);
/* The endpoint of session SERIAL has connected, or will not. */
void sl_link_settled(slime_agent *agent, uint64_t serial);
/* Is there a link to PEER that is up, and not just because nobody looked? */
bool sl_link_is_alive(slime_agent *agent, const char *peer);
/* Look at what users have found out or asked for since the last time. */
void sl_link_look(slime_agent *agent);

/* link_list.c */
/* The link of PEER and KEY; loop, or with the lock held. */
slime_link *sl_link_find(slime_agent *agent, const char *peer, const char *key);
/* A new one, listed, IDLE, without users; NULL: no memory. Loop. */
slime_link *sl_link_new(slime_agent *agent, const char *peer, const char *key);
/* No handle is left: close it for good. Loop. */
void sl_link_shut(slime_link *link);
void sl_link_stop_all(slime_agent *agent);
/* Free it: unlisted, and no handle left. Any thread. */
void sl_link_free(slime_link *link);

/* link.c */
void sl_link_ask(slime_link *link);
const char *sl_link_state_name(enum slime_link_state state);

/* link_api.c */
/* LINK's session, counted, if it is up; else NULL. Any thread. */
struct sl_session *sl_link_session(slime_link *link);

/* flight_text.c: WHAT happened, and how it came to that, into the log; seldom. Any thread. */
void sl_flight_log(slime_link *link, const char *what);
/* flight_socket.c: others of the same user may ask for the flight recorder. */
struct sl_flight_door *sl_flight_door_open(slime_agent *agent);
void sl_flight_door_close(struct sl_flight_door *door);

/* session.c */
int sl_session_create(slime_link *link, struct sl_session **out, struct slime_desc *desc,
                      struct slime_error *err);
void sl_session_ref(struct sl_session *s);
void sl_session_unref(slime_agent *agent, struct sl_session *s);
void sl_session_free(struct sl_session *s);
struct sl_known *sl_session_find_locked(struct sl_session *s, const char *name);
/* NAME, NULL: any name, means something else by now. */
void sl_session_forget_locked(struct sl_session *s, const char *name);
/* ... or may do so. */
void sl_session_doubt_locked(struct sl_session *s);
void sl_session_told_locked(struct sl_session *s, const char *name, const char *life,
                            const char *desc);
/* Ask for region NAME of SESSION's peer; blocks. */
int sl_session_resolve(slime_link *link, struct sl_session *s, const char *name,
                       struct slime_error *err);

#endif
