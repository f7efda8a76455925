/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slime/agent.h - find peers by name, connect to them, reach their memory by name.
 *
 * An agent is an endpoint factory with an address book. It has one thread, which
 * talks to the control plane (nanoctrl) over HTTP and keeps links alive; no
 * transfer waits for that conversation once its link is up and its regions are
 * known. Programs that have their own address book use slime/ep.h and never
 * create one. In libdlslime-agent.
 *
 * Threads: any thread, any function. Calls that ask the control plane block, for
 * at most slime_agent_opts.timeout_ms: -ETIMEDOUT, or -ECONNREFUSED and the like
 * when nobody is there.
 */
#ifndef SLIME_AGENT_H
#define SLIME_AGENT_H

#include <slime/ep.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct slime_agent slime_agent;
typedef struct slime_link slime_link;

/* Zero in any field but SIZE means "the default". Strings are copied. */
struct slime_agent_opts {
	uint32_t size;
	uint32_t flags;      /* none yet */
	uint32_t ttl_ms;     /* silent for so long, it is forgotten; renewed at a third; 0: 15000 */
	uint32_t timeout_ms; /* of a call that blocks; 0: 5000 */
	const char *ctrl_url; /* "http://127.0.0.1:3000", "https://ctrl:3000"; NULL: tickets only */
	const char *alias;    /* NULL: NAME_PREFIX and a number of the control plane's */
	const char *name_prefix; /* NULL: "agent" */
	const char *scope;       /* agents see only agents of their scope; NULL: "" */
	const char *token;       /* goes with every call; NULL: none */
	/*
	 * For https, a PEM file: the authorities of which one must have signed nanoctrl's
	 * certificate, which must be for the host in ctrl_url; NULL: $DLSLIME_CTRL_CA_FILE, or
	 * those that this system trusts
	 */
	const char *ca_file;
	const char
	    *resource; /* JSON object to publish about this agent in place of what is found */
	/*
	 * "host:port" where peers with a ticket of this agent find it (0.0.0.0 and [::]: at
	 * every address; port 0: one of the system's choice); NULL: nowhere, until a ticket
	 * of another is taken
	 */
	const char *listen;
	/* for https, PEM: what this agent shows of itself; NULL: $DLSLIME_CTRL_CERT_FILE and
	 * $DLSLIME_CTRL_KEY_FILE, or nothing */
	const char *cert_file;
	const char *key_file;
};

struct slime_names {
	size_t n;
	char **name;
};

/*
 * Register with the control plane and begin to serve peers. -EEXIST: the alias is
 * in use by a living agent (one whose process on this host has ended is replaced).
 * -EINVAL: an option is wrong. -EACCES: the token does not allow it, or a certificate is not
 * trusted, theirs or ours. -EPROTO: no nanoctrl answers there, or no TLS. -ENODEV: https, and no
 * OpenSSL on this system (it is loaded when it is needed).
 */
SLIME_API int slime_agent_create(slime_ctx *ctx, const struct slime_agent_opts *opts,
                                 slime_agent **out, struct slime_error *err);

/* The alias in use, and which life of it this is. Live as long as AGENT. */
SLIME_API const char *slime_agent_alias(const slime_agent *agent);
SLIME_API uint64_t slime_agent_incarnation(const slime_agent *agent);

/*
 * Without a control plane, or past it: a ticket is one line of text that introduces
 * this agent. Whoever has it may talk to the agent and use its regions' rights as
 * long as the agent lives: it is a password, and goes over the wire as it is. Free
 * with slime_text_free(). -EINVAL: the agent does not listen.
 */
SLIME_API int slime_agent_ticket(slime_agent *agent, char **out, struct slime_error *err);

/*
 * Meet the agent of TICKET: from now on both know each other by alias, and all of the
 * functions below are for that peer as well, from both sides. A peer that restarts has
 * another ticket; to introduce that one replaces the old. ALIAS (may be NULL) is the
 * peer's; free with slime_text_free(). -EPROTO: no ticket, or damaged. -EACCES: of
 * another scope, or of an agent that is no more. -EEXIST: the alias is this agent's
 * own, or the peer knows another of this agent's alias that is alive. -ENOSPC: the peer
 * knows too many. -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH: it cannot be reached.
 */
SLIME_API int slime_agent_introduce(slime_agent *agent, const char *ticket, char **alias,
                                    struct slime_error *err);

/* Who else is there, and what a peer publishes. Free with slime_names_free(). -ENOENT: no such
 * peer. */
SLIME_API int slime_agent_peers(slime_agent *agent, struct slime_names **out,
                                struct slime_error *err);
SLIME_API int slime_agent_regions(slime_agent *agent, const char *peer, struct slime_names **out,
                                  struct slime_error *err);
SLIME_API void slime_names_free(struct slime_names *names);

/*
 * What is known of a peer's region: a JSON object, its owner's note with "name",
 * "desc" (what slime_ep_import() takes, in base64) and "revision". -ENOENT: there
 * is none. Free with slime_text_free().
 */
SLIME_API int slime_agent_region(slime_agent *agent, const char *peer, const char *name, char **out,
                                 struct slime_error *err);

/* What a peer (NULL: this agent) tells of itself, a JSON object. Free with slime_text_free(). */
SLIME_API int slime_agent_resource(slime_agent *agent, const char *peer, char **out,
                                   struct slime_error *err);
SLIME_API void slime_text_free(char *text);

/*
 * What every agent of the scope last told of its traffic and its links: a JSON
 * array of snapshots, schema 1 of the reference. Free with slime_text_free().
 */
SLIME_API int slime_agent_snapshots(slime_agent *agent, char **out, struct slime_error *err);

/*
 * Let peers find MR under NAME; the agent uses MR until it is withdrawn, so
 * deregister it after that. To publish a name again replaces it: peers' transfers
 * by the old meaning end with -ESTALE. Several in one call take effect together.
 */
struct slime_named_mr {
	const char *name;
	slime_mr *mr;
	const char *note; /* a JSON object for slime_agent_region(); NULL: none */
};
SLIME_API int slime_agent_publish(slime_agent *agent, const struct slime_named_mr *regions,
                                  size_t n, struct slime_error *err);
SLIME_API int slime_agent_withdraw(slime_agent *agent, const char *const *names, size_t n,
                                   struct slime_error *err);

/* Who came and went. The fd (owned by AGENT) is readable while slime_agent_next_event() has some.
 */
enum slime_agent_change { SLIME_AGENT_JOINED = 1, SLIME_AGENT_LEFT, SLIME_AGENT_MISSED };
struct slime_agent_event {
	uint32_t change; /* MISSED: more than could be kept, call slime_agent_peers() */
	uint32_t reserved;
	uint64_t incarnation;
	char alias[520];
};
SLIME_API int slime_agent_event_fd(slime_agent *agent, struct slime_error *err);
/* 1: OUT is the next one. 0: none now. -EINVAL. */
SLIME_API int slime_agent_next_event(slime_agent *agent, struct slime_agent_event *out);

/*
 * The link to PEER with endpoints as EP says (NULL: defaults; strings are
 * copied): a new one, or the one that there is with the same options. Returns at
 * once; the link connects, and connects again after a loss, by itself until it is
 * closed on both sides. The peer takes part by itself. PEER need not be there yet.
 */
SLIME_API int slime_agent_connect(slime_agent *agent, const char *peer,
                                  const struct slime_ep_opts *ep, slime_link **out,
                                  struct slime_error *err);

/*
 * The links that there are, also those that peers have begun: the first CAP into
 * OUT, each a handle of yours as from slime_agent_connect(). Returns how many
 * there are.
 */
SLIME_API size_t slime_agent_links(slime_agent *agent, slime_link **out, size_t cap);

enum slime_link_state {
	SLIME_LINK_IDLE,
	SLIME_LINK_RESOLVING,
	SLIME_LINK_CONNECTING,
	SLIME_LINK_UP,
	SLIME_LINK_LOST,
	SLIME_LINK_RECONNECTING,
	SLIME_LINK_CLOSED,
};

enum { SLIME_LINK_WAITS = 24 };

/*
 * TRANSFERS, BYTES and FAILED count transfers by name, of this life of LINK, as they
 * are submitted: those that were accepted, and those that were not; what becomes of an
 * accepted one is in slime_ctx_stats(). WAITED says how long they waited before that, for
 * the link or for a region to be found: [0] not at all, [i] less than 2^i us, the last
 * one longer as well.
 */
struct slime_link_info {
	uint32_t size;
	uint32_t state;            /* enum slime_link_state */
	uint64_t peer_incarnation; /* 0: never met */
	uint64_t reconnects;
	uint64_t transfers, bytes, failed;
	uint64_t waited[SLIME_LINK_WAITS];
	char peer[520];
	char transport[16]; /* "" while not up */
	char device[128];
	char because[1024]; /* why this transport; while not up: what went wrong last */
};

/* Wait until LINK is up. -ETIMEDOUT: not yet, wait again; the sentence says what it waits for. */
SLIME_API int slime_link_wait(slime_link *link, int64_t timeout_ns, struct slime_error *err);
SLIME_API int slime_link_get_info(slime_link *link, struct slime_link_info *out);

/*
 * The flight recorder: the last events of LINK (of every link of AGENT), a line
 * each, oldest first, with how many seconds ago it was; "who is stuck, and on
 * whom". Free with slime_text_free(). -ENOMEM. 'dlslime doctor --pid' shows the same of a
 * running process of the same user, and a link that is lost, or a transfer that waits in
 * vain, leaves it in the log: a warning, and the events at level info.
 */
SLIME_API int slime_link_flight(slime_link *link, char **out);
SLIME_API int slime_agent_flight(slime_agent *agent, char **out);

/*
 * The endpoint of LINK while it is up (else NULL). It is good until the link is
 * lost, from when on its transfers fail, and is freed with the link.
 */
SLIME_API slime_ep *slime_link_ep(slime_link *link);

/* The peer's region NAME on slime_link_ep(): asked for once, freed with the link. -ENOENT,
 * -ENOTCONN. */
SLIME_API int slime_link_region(slime_link *link, const char *name, slime_rmr **out,
                                struct slime_error *err);

/*
 * Whoever is done with an endpoint that slime_link_ep() gave may say so when the link has
 * another: EP, if it is not the present one, is freed now and not with the link.
 */
SLIME_API void slime_link_drop_ep(slime_link *link, slime_ep *ep);

/* Give the handle back; the last one closes the link on both sides. NULL is fine. */
SLIME_API void slime_link_close(slime_link *link);

/*
 * Transfers by name. LOCAL is a region that this agent has published, or NULL
 * with LOCAL_MR. A link that is not up, or a region that is not known yet, is
 * waited for, at most HOW->timeout_ns or else slime_agent_opts.timeout_ms
 * (-ENOTCONN, -ENOENT); after that it is as with slime_ep_read(), whose errors
 * these have, and -ESTALE: the peer has withdrawn REMOTE or put it elsewhere; a
 * new transfer means the new place.
 */
struct slime_named_seg {
	const char *local;
	slime_mr *local_mr;
	const char *remote;
	uint64_t local_off;
	uint64_t remote_off;
	uint64_t len;
	uint64_t count;
	uint64_t local_stride;
	uint64_t remote_stride;
};
SLIME_API int slime_link_read(slime_link *link, const struct slime_named_seg *segs, size_t n,
                              const struct slime_submit *how, slime_op **out);
SLIME_API int slime_link_write(slime_link *link, const struct slime_named_seg *segs, size_t n,
                               const struct slime_submit *how, slime_op **out);
SLIME_API int slime_link_write_imm(slime_link *link, const struct slime_named_seg *segs, size_t n,
                                   uint32_t imm, const struct slime_submit *how, slime_op **out);
SLIME_API int slime_link_recv_imm(slime_link *link, const struct slime_submit *how, slime_op **out);
SLIME_API int slime_link_send(slime_link *link, const struct slime_span *src,
                              const struct slime_submit *how, slime_op **out);
SLIME_API int slime_link_recv(slime_link *link, const struct slime_span *dst,
                              const struct slime_submit *how, slime_op **out);

/* The same on the first link to PEER, which is made with the defaults if there is none. */
SLIME_API int slime_agent_read(slime_agent *agent, const char *peer,
                               const struct slime_named_seg *segs, size_t n,
                               const struct slime_submit *how, slime_op **out);
SLIME_API int slime_agent_write(slime_agent *agent, const char *peer,
                                const struct slime_named_seg *segs, size_t n,
                                const struct slime_submit *how, slime_op **out);
SLIME_API int slime_agent_write_imm(slime_agent *agent, const char *peer,
                                    const struct slime_named_seg *segs, size_t n, uint32_t imm,
                                    const struct slime_submit *how, slime_op **out);
SLIME_API int slime_agent_recv_imm(slime_agent *agent, const char *peer,
                                   const struct slime_submit *how, slime_op **out);
SLIME_API int slime_agent_send(slime_agent *agent, const char *peer, const struct slime_span *src,
                               const struct slime_submit *how, slime_op **out);
SLIME_API int slime_agent_recv(slime_agent *agent, const char *peer, const struct slime_span *dst,
                               const struct slime_submit *how, slime_op **out);

/* Deregister, close every link. Handles of links stay valid, closed. NULL is fine. */
SLIME_API void slime_agent_destroy(slime_agent *agent);

#ifdef __cplusplus
}
#endif
#endif
