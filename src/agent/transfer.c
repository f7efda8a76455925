/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/transfer.c - transfers by name.
 *
 * The way of one that finds everything in place: one lock, a lookup for each name,
 * and the endpoint's submit. The rest (a link that is down, a region not known yet)
 * waits in the caller's thread.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_impl.h"

enum { SEGS_INLINE = 64 };

typedef int submit_fn(slime_ep *ep, const struct slime_seg *segs, size_t n, uint32_t imm,
                      const struct slime_submit *how, slime_op **out);

static int submit_read(slime_ep *ep, const struct slime_seg *segs, size_t n, uint32_t imm,
                       const struct slime_submit *how, slime_op **out)
{
	(void)imm;
	return slime_ep_read(ep, segs, n, how, out);
}

static int submit_write(slime_ep *ep, const struct slime_seg *segs, size_t n, uint32_t imm,
                        const struct slime_submit *how, slime_op **out)
{
	(void)imm;
	return slime_ep_write(ep, segs, n, how, out);
}

static int submit_write_imm(slime_ep *ep, const struct slime_seg *segs, size_t n, uint32_t imm,
                            const struct slime_submit *how, slime_op **out)
{
	return slime_ep_write_imm(ep, segs, n, imm, how, out);
}

/* How long a transfer may wait before it is submitted, and whether it had to. */
struct patience {
	int64_t began_ns, until_ns;
	bool waited;
};

static struct patience patience_of(const slime_agent *agent, const struct slime_submit *how)
{
	int64_t limit =
	    how && how->timeout_ns > 0 ? how->timeout_ns : agent->timeout_ms * SL_NS_PER_MS;
	int64_t now = sl_clock_ns();

	return (struct patience){.began_ns = now,
	                         .until_ns = limit > SL_NEVER - now ? SL_NEVER : now + limit};
}

/*
 * Names to handles. 0; or -ENOENT: one of ours is not published; or 1: *WHO is a
 * name of the peer's that is not known (yet, or any more: then *STALE).
 */
static int translate_locked(slime_agent *agent, struct sl_session *s,
                            const struct slime_named_seg *in, size_t n, struct slime_seg *out,
                            const char **who, bool *stale)
{
	const char *local = NULL, *remote = NULL;
	slime_mr *mr = NULL;
	slime_rmr *rmr = NULL;

	for (size_t i = 0; i < n; i++) {
		if (in[i].local && in[i].local != local) {
			local = in[i].local;
			mr = sl_published_find_locked(agent, local);
			if (!mr)
				return -ENOENT;
		}
		if (in[i].remote != remote) {
			struct sl_known *k = sl_session_find_locked(s, in[i].remote);

			if (!k || k->stale) {
				*who = in[i].remote;
				*stale = k != NULL;
				return 1;
			}
			remote = in[i].remote;
			rmr = k->rmr;
		}
		out[i] = (struct slime_seg){
		    .local = in[i].local ? mr : in[i].local_mr,
		    .remote = rmr,
		    .local_off = in[i].local_off,
		    .remote_off = in[i].remote_off,
		    .len = in[i].len,
		    .count = in[i].count,
		    .local_stride = in[i].local_stride,
		    .remote_stride = in[i].remote_stride,
		};
	}
	return 0;
}

/* The session, when the link is up, or comes up in time. */
static int session_until(slime_link *link, struct patience *p, struct sl_session **out)
{
	int rc = 0;

	while (!(*out = sl_link_session(link))) {
		int64_t left = p->until_ns - sl_clock_ns();

		p->waited = true;
		rc = slime_link_wait(link, left, NULL);
		if (rc)
			return rc == -ETIMEDOUT ? -ENOTCONN : rc;
	}
	return 0;
}

/* Which counter of slime_link_info.waited a wait of NS belongs to. */
static unsigned bucket_of(int64_t ns)
{
	uint64_t us = (uint64_t)(ns > 0 ? ns : 0) / 1000;
	unsigned b = 1;

	while (b < SLIME_LINK_WAITS - 1 && us >> b)
		b++;
	return b;
}

/* One that moves BYTES ended with RC, and had to wait on the way if WAITED. */
static void count(slime_link *link, int rc, uint64_t bytes, const struct patience *p)
{
	int64_t now = p->waited || rc ? sl_clock_ns() : 0;

	sl_lock_take(&link->agent->lock);
	link->failed += rc != 0;
	link->transfers += rc == 0;
	link->bytes += rc == 0 ? bytes : 0;
	link->waited[p->waited ? bucket_of(now - p->began_ns) : 0]++;
	sl_lock_drop(&link->agent->lock);
	if (rc && now >= p->until_ns)
		sl_flight_log(link, "a transfer waited until its time was over");
}

static void check_result(slime_link *link, struct sl_session *s, int rc)
{
	if (rc == -ECONNRESET) {
		atomic_store(&s->dead, true);
		sl_agent_kick(link->agent);
	}
}

/* Ask what the peer's WHO is. STALE: it was there before. */
static int resolve(slime_link *link, struct sl_session *s, const char *who, bool stale)
{
	struct slime_error err;
	int rc = sl_session_resolve(link, s, who, &err);

	if (rc == -ENOENT && stale)
		return -ESTALE; /* it was withdrawn */
	if (rc != -ETIMEDOUT)
		return rc;
	/* a transfer does not end with "not yet" */
	sl_flight_note(&link->flight, "the region '%.30s' was asked for: %s", who, err.text);
	return -ENOTCONN;
}

/* Once, on session S. 1: nothing was done, and the peer's names must be looked up. */
static int try_once(slime_link *link, struct sl_session *s, submit_fn *submit,
                    const struct slime_named_seg *in, struct slime_seg *segs, size_t n,
                    uint32_t imm, const struct slime_submit *how, slime_op **out,
                    struct patience *p)
{
	const char *who = NULL;
	bool stale = false;
	int rc;

	for (;;) {
		sl_lock_take(&link->agent->lock);
		rc = translate_locked(link->agent, s, in, n, segs, &who, &stale);
		sl_lock_drop(&link->agent->lock);
		if (rc <= 0)
			break;
		p->waited = true;
		rc = resolve(link, s, who, stale);
		if (rc)
			break;
		if (sl_clock_ns() > p->until_ns) {
			rc = -ENOTCONN;
			break;
		}
	}
	if (!rc)
		rc = submit(s->ep, segs, n, imm, how, out);
	check_result(link, s, rc);
	return rc;
}

/* One that found everything in place is counted before it is submitted. It was not: take it back.
 */
static void count_back(slime_link *link, uint64_t bytes, bool failed)
{
	sl_lock_take(&link->agent->lock);
	link->transfers--;
	link->bytes -= bytes;
	link->failed += failed;
	link->waited[0] -= !failed;
	sl_lock_drop(&link->agent->lock);
}

/*
 * The way of all but the first: everything is in place, so one lock and no clock. 1: it is not, or
 * the session was lost before anything was on its way; nothing was done.
 */
static int transfer_at_once(slime_link *link, submit_fn *submit, const struct slime_named_seg *in,
                            struct slime_seg *segs, size_t n, uint32_t imm,
                            const struct slime_submit *how, slime_op **out, uint64_t bytes)
{
	struct sl_session *s = NULL;
	const char *who;
	bool stale;
	int rc;

	sl_lock_take(&link->agent->lock);
	if (link->state == SLIME_LINK_UP &&
	    translate_locked(link->agent, link->session, in, n, segs, &who, &stale) == 0) {
		s = link->session;
		sl_session_ref(s);
		link->transfers++;
		link->bytes += bytes;
		link->waited[0]++;
	}
	sl_lock_drop(&link->agent->lock);
	if (!s)
		return 1;
	rc = submit(s->ep, segs, n, imm, how, out);
	if (rc) {
		count_back(link, bytes, rc != -ECONNRESET);
		check_result(link, s, rc);
	}
	sl_session_unref(link->agent, s);
	return rc == -ECONNRESET ? 1 : rc;
}

/* The way of one that may have to wait. */
static int transfer_in_time(slime_link *link, submit_fn *submit, const struct slime_named_seg *in,
                            struct slime_seg *segs, size_t n, uint32_t imm,
                            const struct slime_submit *how, slime_op **out, uint64_t bytes)
{
	struct patience p = patience_of(link->agent, how);
	int rc;

	do {
		struct sl_session *s;

		rc = session_until(link, &p, &s);
		if (rc)
			break;
		rc = try_once(link, s, submit, in, segs, n, imm, how, out, &p);
		sl_session_unref(link->agent, s);
		/* lost before anything of it was on its way: the next session will do */
	} while (rc == -ECONNRESET && sl_clock_ns() < p.until_ns);
	count(link, rc, bytes, &p);
	return rc;
}

static int transfer(slime_link *link, submit_fn *submit, const struct slime_named_seg *in, size_t n,
                    uint32_t imm, const struct slime_submit *how, slime_op **out)
{
	struct slime_seg inside[SEGS_INLINE], *segs = inside;
	uint64_t bytes = 0;
	int rc;

	if (!link || (n && !in) || n > 65536)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (!in[i].remote || (!in[i].local && !in[i].local_mr))
			return -EINVAL;
		bytes += in[i].len * (in[i].count ? in[i].count : 1);
	}
	if (n > SEGS_INLINE)
		segs = malloc(n * sizeof(*segs));
	if (!segs)
		return -ENOMEM;
	rc = transfer_at_once(link, submit, in, segs, n, imm, how, out, bytes);
	if (rc == 1)
		rc = transfer_in_time(link, submit, in, segs, n, imm, how, out, bytes);
	if (segs != inside)
		free(segs);
	return rc;
}

int slime_link_read(slime_link *link, const struct slime_named_seg *segs, size_t n,
                    const struct slime_submit *how, slime_op **out)
{
	return transfer(link, submit_read, segs, n, 0, how, out);
}

int slime_link_write(slime_link *link, const struct slime_named_seg *segs, size_t n,
                     const struct slime_submit *how, slime_op **out)
{
	return transfer(link, submit_write, segs, n, 0, how, out);
}

int slime_link_write_imm(slime_link *link, const struct slime_named_seg *segs, size_t n,
                         uint32_t imm, const struct slime_submit *how, slime_op **out)
{
	return transfer(link, submit_write_imm, segs, n, imm, how, out);
}

typedef int message_fn(slime_ep *ep, const struct slime_span *span, const struct slime_submit *how,
                       slime_op **out);

static int submit_recv_imm(slime_ep *ep, const struct slime_span *none,
                           const struct slime_submit *how, slime_op **out)
{
	(void)none;
	return slime_ep_recv_imm(ep, how, out);
}

static int message(slime_link *link, message_fn *submit, const struct slime_span *span,
                   const struct slime_submit *how, slime_op **out)
{
	struct patience p = patience_of(link->agent, how);
	struct sl_session *s;
	int rc;

	do {
		rc = session_until(link, &p, &s);
		if (rc)
			break;
		rc = submit(s->ep, span, how, out);
		check_result(link, s, rc);
		sl_session_unref(link->agent, s);
	} while (rc == -ECONNRESET && sl_clock_ns() < p.until_ns);
	count(link, rc, span ? span->len : 0, &p);
	return rc;
}

int slime_link_recv_imm(slime_link *link, const struct slime_submit *how, slime_op **out)
{
	return link ? message(link, submit_recv_imm, NULL, how, out) : -EINVAL;
}

int slime_link_send(slime_link *link, const struct slime_span *src, const struct slime_submit *how,
                    slime_op **out)
{
	return link ? message(link, slime_ep_send, src, how, out) : -EINVAL;
}

int slime_link_recv(slime_link *link, const struct slime_span *dst, const struct slime_submit *how,
                    slime_op **out)
{
	return link ? message(link, slime_ep_recv, dst, how, out) : -EINVAL;
}

/*
 * The first link to PEER. Once used by name it is the agent's as well as of those who
 * hold handles, so it stays until the agent goes and needs no counting here.
 */
static int link_to(slime_agent *agent, const char *peer, slime_link **out)
{
	slime_link *link;
	int rc;

	if (!agent || !peer)
		return -EINVAL;
	sl_lock_take(&agent->lock);
	link = sl_link_find(agent, peer, NULL);
	if (link && !link->kept) {
		link->kept = true;
		link->users++;
	}
	sl_lock_drop(&agent->lock);
	if (!link) {
		rc = slime_agent_connect(agent, peer, NULL, &link, NULL);
		if (rc)
			return rc;
		sl_lock_take(&agent->lock);
		if (link->kept)
			link->users--; /* another thread was faster */
		link->kept = true;
		sl_lock_drop(&agent->lock);
	}
	*out = link;
	return 0;
}

int slime_agent_read(slime_agent *agent, const char *peer, const struct slime_named_seg *segs,
                     size_t n, const struct slime_submit *how, slime_op **out)
{
	slime_link *link;
	int rc = link_to(agent, peer, &link);

	return rc ? rc : slime_link_read(link, segs, n, how, out);
}

int slime_agent_write(slime_agent *agent, const char *peer, const struct slime_named_seg *segs,
                      size_t n, const struct slime_submit *how, slime_op **out)
{
	slime_link *link;
	int rc = link_to(agent, peer, &link);

	return rc ? rc : slime_link_write(link, segs, n, how, out);
}

int slime_agent_write_imm(slime_agent *agent, const char *peer, const struct slime_named_seg *segs,
                          size_t n, uint32_t imm, const struct slime_submit *how, slime_op **out)
{
	slime_link *link;
	int rc = link_to(agent, peer, &link);

	return rc ? rc : slime_link_write_imm(link, segs, n, imm, how, out);
}

int slime_agent_recv_imm(slime_agent *agent, const char *peer, const struct slime_submit *how,
                         slime_op **out)
{
	slime_link *link;
	int rc = link_to(agent, peer, &link);

	return rc ? rc : slime_link_recv_imm(link, how, out);
}

int slime_agent_send(slime_agent *agent, const char *peer, const struct slime_span *src,
                     const struct slime_submit *how, slime_op **out)
{
	slime_link *link;
	int rc = link_to(agent, peer, &link);

	return rc ? rc : slime_link_send(link, src, how, out);
}

int slime_agent_recv(slime_agent *agent, const char *peer, const struct slime_span *dst,
                     const struct slime_submit *how, slime_op **out)
{
	slime_link *link;
	int rc = link_to(agent, peer, &link);

	return rc ? rc : slime_link_recv(link, dst, how, out);
}
