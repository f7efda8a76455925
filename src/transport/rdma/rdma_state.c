/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_state.c - what the two ends of a lane tell each other.
 *
 * Both tell the state of both channels until each knows that the other's queue pairs are
 * connected to its own (the drawing is in rdma_impl.h). What a state says holds whether
 * or not it comes twice, late, or after others were lost. Until all is known it is told
 * again after 1, 2, 4, ... 64 ms, with the wish for an answer.
 *
 * A lane that is out also tells its state by the mailboxes of another one, "roundabout". That
 * brings no queue pair to connect to, but what the peer received, and so what was
 * in flight is settled, and can go over the other lane (rdma_home.c).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "transport/rdma/rdma_impl.h"

static const int64_t ask_first_ns = SL_NS_PER_MS;
static const int64_t ask_most_ns = 64 * SL_NS_PER_MS;

/*
 * Telling.
 */

static void fill_state(const struct sl_conn *conn, uint16_t flags, struct rdma_state *out)
{
	*out = (struct rdma_state){.flags = flags, .to = conn->peer, .from = conn->me, .status = 0};
	if (flags & RDMA_GONE)
		out->status = -ECONNRESET;
	for (int i = 0; i < RDMA_CHANS; i++) {
		const struct rdma_chan *c = &conn->chan[i];
		bool open =
		    c->phase == RDMA_FRESH || c->phase == RDMA_LINKED || c->phase == RDMA_UP;

		if (!open)
			continue;
		out->chan[i] = (struct rdma_chan_state){
		    .gen = c->gen,
		    .linked = c->phase == RDMA_FRESH ? 0 : c->linked,
		    .qpn = c->qp ? c->qp->qp_num : 0,
		    .psn = c->psn,
		    .count = c->fresh_count,
		};
	}
}

/* The next lane, of those that are well, for what is told roundabout. NULL: there is none. */
static struct sl_conn *next_way(struct sl_conn *conn)
{
	struct sl_conn *first = NULL, *next = NULL;

	for (struct sl_conn *c = conn->first; c; c = c->next_lane) {
		if (c == conn || !c->ready || c->ending || c->out_ns)
			continue;
		if (!first)
			first = c;
		if (!next && c->lane > conn->last_way)
			next = c;
	}
	next = next ? next : first;
	conn->last_way = next ? next->lane : 0;
	return next;
}

static void tell_roundabout(struct sl_conn *conn, uint16_t flags)
{
	struct sl_conn *way = next_way(conn);
	struct rdma_state state;

	if (!way)
		return;
	fill_state(conn, flags | RDMA_CALLING | RDMA_ROUNDABOUT, &state);
	for (int i = 0; i < RDMA_CHANS; i++)
		state.chan[i].linked = state.chan[i].gen ? conn->chan[i].linked : 0;
	sl_rdma_box_send(way->dom, way->ah, &way->mail, &state);
}

void sl_rdma_tell(struct sl_conn *conn, uint16_t flags)
{
	struct rdma_state state;

	fill_state(conn, flags | RDMA_CALLING, &state);
	sl_rdma_box_send(conn->dom, conn->ah, &conn->mail, &state);
	if (conn->roundabout)
		tell_roundabout(conn, flags);
}

void sl_rdma_ask_at(struct sl_conn *conn, int64_t when)
{
	conn->ask_at = when;
	sl_rdma_tick_by(conn->dom, when);
}

/* Is there anything of the peer's that we wait to hear? */
static bool is_asking(const struct sl_conn *conn)
{
	if (conn->ending)
		return conn->late.head;
	for (int i = 0; i < RDMA_CHANS; i++) {
		if (conn->chan[i].phase == RDMA_FRESH || conn->chan[i].phase == RDMA_LINKED)
			return true;
	}
	return false;
}

static uint16_t gone(const struct sl_conn *conn)
{
	return conn->ending ? RDMA_GONE : 0;
}

/* Tell now, and again until we know all. */
void sl_rdma_tell_on(struct sl_conn *conn)
{
	sl_rdma_tell(conn, gone(conn));
	conn->ask_ns = ask_first_ns;
	sl_rdma_ask_at(conn, is_asking(conn) ? sl_clock_ns() + conn->ask_ns : SL_NEVER);
}

void sl_rdma_ask_again(struct sl_conn *conn, int64_t now)
{
	if (!is_asking(conn)) {
		conn->ask_at = SL_NEVER;
		return;
	}
	sl_rdma_tell(conn, RDMA_PING | gone(conn));
	conn->ask_ns = 2 * conn->ask_ns < ask_most_ns ? 2 * conn->ask_ns : ask_most_ns;
	sl_rdma_ask_at(conn, now + conn->ask_ns);
}

/* To somebody whom no connection here answers for: RC, and life at least if it is 0. */
static void answer_stranger(struct sl_dom *dom, const struct rdma_state *in, int rc)
{
	struct rdma_state out = {.to = in->from, .from = in->to};
	struct ibv_ah_attr attr;
	struct ibv_ah *ah;

	if ((in->flags & (RDMA_GONE | RDMA_PING)) == RDMA_GONE ||
	    sl_rdma_route(&dom->port, &dom->env, &in->mail, &attr, NULL))
		return;
	ah = dom->v->create_ah(dom->pd, &attr);
	out.flags = rc ? RDMA_GONE : 0;
	out.status = rc;
	sl_rdma_box_send(dom, ah, &in->mail, &out);
	sl_rdma_box_bury(dom, ah);
}

/*
 * Hearing.
 */

static void refuse(struct sl_conn *conn, int rc, const char *why)
{
	if (!conn->refused)
		conn->refused = sl_fail(&conn->why, rc, "%s", why);
	for (int i = 0; i < RDMA_CHANS; i++) /* the peer may be up, and is told that we are gone */
		sl_rdma_chan_drain(conn, i);
}

/* Before the lane was up a failure is a refusal; after, it is its end. */
void sl_rdma_lane_fail(struct sl_conn *conn, int rc, const char *why)
{
	if (!conn->ready) {
		refuse(conn, rc, why);
		return;
	}
	if (!conn->dom->dead && sl_rdma_dom_is_dead(conn->dom))
		return;
	sl_log(SLIME_LOG_INFO, "rdma: a lane over '%s' is given up: %s", conn->dom->name, why);
	sl_rdma_conn_end(conn, rc);
}

void sl_rdma_end_late(struct sl_conn *conn)
{
	conn->late_at = SL_NEVER;
	(void)sl_rdma_end(&conn->late);
}

/* The peer's last queue pair is gone, and received COUNT. False: that cannot be. */
static bool settle(struct sl_conn *conn, int kind, uint64_t count)
{
	struct sl_op_queue over = {0};
	int rc;

	sl_lock_take(&conn->lock);
	rc = sl_rdma_chan_settle_locked(conn, kind, count, &over);
	if (kind == RDMA_DATA && conn->out)
		sl_rdma_take_one_sided_locked(conn, &over, NULL);
	sl_lock_drop(&conn->lock);
	if (kind == RDMA_DATA)
		sl_rdma_end_late(conn);
	(void)sl_rdma_end(&over);
	if (rc)
		sl_rdma_lane_fail(conn, rc, "the peer counts transfers that were not made");
	return !rc;
}

/* The peer's fresh generation is known, and so is what its earlier ones received: connect. */
bool sl_rdma_link(struct sl_conn *conn, int kind)
{
	struct slime_error why = {0};
	int rc = sl_rdma_chan_link(conn, kind, &why);

	if (!rc)
		return settle(conn, kind, conn->chan[kind].far.count);
	sl_rdma_lane_fail(conn, rc, why.text);
	return false;
}

void sl_rdma_settle_told(struct sl_conn *conn, int kind)
{
	struct rdma_chan *c = &conn->chan[kind];

	if (c->phase == RDMA_FRESH && c->told.gen > c->linked && settle(conn, kind, c->told.count))
		sl_rdma_home_look(conn);
}

void sl_rdma_conn_up(struct sl_conn *conn, int kind)
{
	struct sl_op_queue over = {0};
	bool ready = true;

	sl_lock_take(&conn->lock);
	if (conn->chan[kind].phase == RDMA_LINKED)
		conn->chan[kind].phase = RDMA_UP;
	for (int i = 0; i < RDMA_CHANS; i++)
		ready = ready && conn->chan[i].phase == RDMA_UP;
	if (ready && !conn->ending)
		conn->ready = true;
	if (kind == RDMA_DATA) { /* records of the last generation may be lost */
		conn->out = false;
		conn->out_ns = conn->doubt_ns = 0;
		conn->answer_by = SL_NEVER;
		conn->roundabout = false;
		conn->next_credit = conn->recvs.head;
		conn->credits_told = conn->recvs_ended;
	}
	sl_rdma_push_data_locked(conn, &over);
	sl_rdma_push_msgs_locked(conn);
	sl_rdma_tell_credits_locked(conn);
	sl_lock_drop(&conn->lock);
	(void)sl_rdma_end(&over);
	if (ready)
		sl_rdma_home_look(conn);
}

/*
 * Can the peer's queue pair become the other end of ours? Not one that we, in an earlier
 * generation, were connected to, and not one that is connected to an earlier one of ours.
 */
bool sl_rdma_is_free(const struct rdma_chan *c)
{
	return c->qp && c->far.gen > c->linked && (!c->far.linked || c->far.linked == c->gen);
}

/* What the peer says of channel KIND. True: we have news for it. */
static bool hear_chan(struct sl_conn *conn, int kind, const struct rdma_chan_state *far)
{
	struct rdma_chan *c = &conn->chan[kind];
	bool news = false;

	if (far->gen < c->far.gen || !far->gen)
		return false;
	c->far = *far;
	if (c->phase == RDMA_FRESH && sl_rdma_is_free(c))
		news = sl_rdma_link(conn, kind);
	else if (c->phase == RDMA_FRESH && far->linked == c->gen) /* by one that we used before */
		sl_rdma_chan_drain(conn, kind);
	else if ((c->phase == RDMA_LINKED || c->phase == RDMA_UP) && far->gen > c->linked)
		sl_rdma_chan_drain(conn, kind);
	if (c->phase == RDMA_LINKED && far->gen == c->linked && far->linked == c->gen)
		sl_rdma_conn_up(conn, kind);
	return news;
}

/* What the peer says of channel KIND of a lane that is out. */
static void hear_count(struct sl_conn *conn, int kind, const struct rdma_chan_state *far)
{
	struct rdma_chan *c = &conn->chan[kind];
	bool linked = c->phase == RDMA_LINKED || c->phase == RDMA_UP;

	if (far->gen < c->told.gen || !far->gen)
		return;
	c->told = *far;
	/* ours is of no use to the peer; also one that is fresh here, and was connected to there */
	if ((linked && far->gen > c->linked) || (c->phase == RDMA_FRESH && far->linked >= c->gen))
		sl_rdma_chan_drain(conn, kind);
	else
		sl_rdma_settle_told(conn, kind);
}

static struct sl_conn *find(struct sl_dom *dom, const struct rdma_name *name)
{
	struct sl_conn *c;

	sl_lock_take(&dom->lock);
	for (c = dom->by_id[name->id % RDMA_BUCKETS]; c && c->me.id != name->id;)
		c = c->next_same;
	sl_lock_drop(&dom->lock); /* who destroys it holds the progress lock, as we do */
	return c && sl_same_secret(c->me.secret, name->secret, SL_SECRET_LEN) ? c : NULL;
}

static struct sl_conn *find_lane(struct sl_conn *any, const struct rdma_name *name)
{
	for (struct sl_conn *c = any->first; c; c = c->next_lane) {
		if (c->me.id == name->id)
			return sl_same_secret(c->me.secret, name->secret, SL_SECRET_LEN) ? c : NULL;
	}
	return NULL;
}

/* Likewise, of another domain perhaps: a lane beside one that is here. */
static struct sl_conn *find_roundabout(struct sl_dom *dom, const struct rdma_name *name)
{
	struct sl_conn *found = NULL;

	sl_lock_take(&dom->lock);
	for (struct sl_conn *c = dom->conns; c && !found; c = c->next)
		found = c->ready ? find_lane(c, name) : NULL;
	sl_lock_drop(&dom->lock);
	return found;
}

static void hear_gone(struct sl_conn *conn, const struct rdma_state *in)
{
	char text[80], why[64];

	conn->gone = true;
	sl_rdma_await_late(conn);
	if (conn->ending && in->flags & RDMA_PING)
		sl_rdma_tell(conn, RDMA_GONE);
	if (conn->ending)
		return;
	(void)snprintf(text, sizeof(text), "the peer's end is gone: %s",
	               sl_error_name(in->status, why, sizeof(why)));
	sl_rdma_lane_fail(conn, conn->ready ? -ECONNRESET : -ECONNREFUSED, text);
}

static void hear_peer(struct sl_conn *conn, const struct rdma_state *in)
{
	bool news = false;

	conn->alive_ns = conn->heard_ns = sl_clock_ns();
	conn->answer_by = SL_NEVER;
	conn->doubt_ns = 0;
	conn->roundabout = false;
	if (in->flags & RDMA_GONE) {
		hear_gone(conn, in);
		return;
	}
	for (int i = 0; i < RDMA_CHANS && in->flags & RDMA_CALLING; i++)
		news = hear_chan(conn, i, &in->chan[i]) || news;
	if (conn->ending || conn->refused)
		sl_rdma_tell(conn, RDMA_GONE);
	else if (news)
		sl_rdma_tell_on(conn);
	else if (in->flags & RDMA_PING)
		sl_rdma_tell(conn, 0);
}

/* It came by another lane, as this one leads nowhere, one way at least. */
static void hear_roundabout(struct sl_conn *conn, const struct rdma_state *in)
{
	const struct rdma_chan *data = &conn->chan[RDMA_DATA];

	conn->alive_ns = conn->heard_ns = sl_clock_ns();
	conn->roundabout = true;
	if (in->flags & RDMA_GONE)
		hear_gone(conn, in);
	for (int i = 0; i < RDMA_CHANS && !conn->ending; i++)
		hear_count(conn, i, &in->chan[i]);
	if (conn->ending && in->flags & RDMA_GONE)
		return;
	if (conn->ending)
		sl_rdma_tell(conn, RDMA_GONE);
	else if (!conn->out_ns && data->phase != RDMA_LINKED && data->phase != RDMA_UP)
		sl_rdma_conn_leave(conn);
	else if (in->flags & RDMA_PING)
		sl_rdma_tell(conn, 0);
}

static bool is_from_peer(const struct sl_conn *conn, const struct rdma_state *in)
{
	return conn->connecting && conn->peer.id == in->from.id &&
	       sl_same_secret(conn->peer.secret, in->from.secret, SL_SECRET_LEN);
}

void sl_rdma_conn_state(struct sl_dom *dom, const struct rdma_state *in)
{
	struct sl_conn *conn;
	bool closed;

	if (in->flags & RDMA_ROUNDABOUT) {
		conn = find_roundabout(dom, &in->to);
		if (conn && conn->ready && is_from_peer(conn, in))
			hear_roundabout(conn, in);
		return;
	}
	conn = find(dom, &in->to);
	if (!conn) {
		answer_stranger(dom, in, -ECONNREFUSED);
		return;
	}
	sl_lock_take(&conn->lock);
	closed = conn->closed;
	sl_lock_drop(&conn->lock);
	if (is_from_peer(conn, in)) {
		hear_peer(conn, in);
	} else if (closed || conn->connecting) {
		answer_stranger(dom, in, closed ? -ECONNREFUSED : -EISCONN);
	} else {
		conn->called = true;
		answer_stranger(dom, in, 0);
	}
}
