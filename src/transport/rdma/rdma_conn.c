/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_conn.c - a lane: connecting, connecting anew, and its end.
 *
 * Both sides tell each other the state of both channels until each knows that the
 * other's queue pairs are connected to its own (the drawing is in rdma_impl.h). What
 * a state says holds whether or not it comes twice, late, or after others were lost.
 * Until all is known it is told again after 1, 2, 4, ... 64 ms, with the wish for an answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "transport/rdma/rdma_impl.h"
#include "transport/transports.h"

static const int64_t ask_first_ns = SL_NS_PER_MS;
static const int64_t ask_most_ns = 64 * SL_NS_PER_MS;
/* How long a peer that was never heard of may take to answer: its library does that by itself. */
static const int64_t first_answer_ns = 750 * SL_NS_PER_MS;
/* What a packet may still take from the device to the peer's memory. */
static const int64_t late_ns = 5 * SL_NS_PER_MS;

static int64_t min_ns(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

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
		    .qpn = c->qp->qp_num,
		    .psn = c->psn,
		    .count = c->fresh_count,
		};
	}
}

static void tell(struct sl_conn *conn, uint16_t flags)
{
	struct rdma_state state;

	fill_state(conn, flags | RDMA_CALLING, &state);
	sl_rdma_box_send(conn->dom, conn->ah, &conn->mail, &state);
}

static void ask_at(struct sl_conn *conn, int64_t when)
{
	conn->ask_at = when;
	sl_rdma_tick_by(conn->dom, when);
}

/* Is there anything of the peer's that we wait to hear? */
static bool is_asking(const struct sl_conn *conn)
{
	for (int i = 0; i < RDMA_CHANS; i++) {
		if (conn->chan[i].phase == RDMA_FRESH || conn->chan[i].phase == RDMA_LINKED)
			return true;
	}
	return false;
}

/* Tell now, and again until we know all. */
static void tell_on(struct sl_conn *conn)
{
	tell(conn, 0);
	conn->ask_ns = ask_first_ns;
	ask_at(conn, is_asking(conn) ? sl_clock_ns() + conn->ask_ns : SL_NEVER);
}

static void ask_again(struct sl_conn *conn, int64_t now)
{
	if (!is_asking(conn)) {
		conn->ask_at = SL_NEVER;
		return;
	}
	tell(conn, RDMA_PING);
	conn->ask_ns = min_ns(2 * conn->ask_ns, ask_most_ns);
	ask_at(conn, now + conn->ask_ns);
}

/* To somebody whom no connection here answers for: RC, and life at least if it is 0. */
static void answer_stranger(struct sl_dom *dom, const struct rdma_state *in, int rc)
{
	struct rdma_state out = {.to = in->from, .from = in->to};
	struct ibv_ah_attr attr;
	struct ibv_ah *ah;

	if (in->flags & RDMA_GONE || sl_rdma_route(&dom->port, &dom->env, &in->mail, &attr, NULL))
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
}

/* Before the lane was up a failure is a refusal; after, it is its end. */
static void fail(struct sl_conn *conn, int rc, const char *why)
{
	if (!conn->ready) {
		refuse(conn, rc, why);
		return;
	}
	sl_log(SLIME_LOG_INFO, "rdma: a lane over '%s' is given up: %s", conn->dom->name, why);
	sl_rdma_conn_end(conn, rc);
}

static void end_late(struct sl_conn *conn)
{
	conn->late_at = SL_NEVER;
	(void)sl_rdma_end(&conn->late);
}

/* The peer's fresh generation is known, and so is what its earlier ones received: connect. */
static bool link_chan(struct sl_conn *conn, int kind)
{
	struct rdma_chan *c = &conn->chan[kind];
	struct sl_op_queue over = {0};
	struct slime_error why = {0};
	int rc = sl_rdma_chan_link(conn, kind, &why);

	if (rc) {
		fail(conn, rc, why.text);
		return false;
	}
	sl_lock_take(&conn->lock);
	rc = sl_rdma_chan_settle_locked(conn, kind, c->far.count, &over);
	sl_lock_drop(&conn->lock);
	if (kind == RDMA_DATA) /* its old queue pair is gone: no write of ours comes late */
		end_late(conn);
	(void)sl_rdma_end(&over);
	if (rc)
		fail(conn, rc, "the peer counts transfers that were not made");
	return !rc;
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
		conn->out_ns = 0;
		conn->next_credit = conn->recvs.head;
		conn->credits_told = conn->recvs_ended;
	}
	sl_rdma_push_data_locked(conn, &over);
	sl_rdma_push_msgs_locked(conn);
	sl_rdma_tell_credits_locked(conn);
	sl_lock_drop(&conn->lock);
	(void)sl_rdma_end(&over);
}

/*
 * Can the peer's queue pair become the other end of ours? Not one that we, in an earlier
 * generation, were connected to, and not one that is connected to an earlier one of ours.
 */
static bool is_free(const struct rdma_chan *c)
{
	return c->far.gen > c->linked && (!c->far.linked || c->far.linked == c->gen);
}

/* What the peer says of channel KIND. True: we have news for it. */
static bool hear_chan(struct sl_conn *conn, int kind, const struct rdma_chan_state *far)
{
	struct rdma_chan *c = &conn->chan[kind];
	bool news = false;

	if (far->gen < c->far.gen || !far->gen)
		return false;
	c->far = *far;
	if (c->phase == RDMA_FRESH && is_free(c))
		news = link_chan(conn, kind);
	else if ((c->phase == RDMA_LINKED || c->phase == RDMA_UP) && far->gen > c->linked)
		sl_rdma_chan_drain(conn, kind);
	if (c->phase == RDMA_LINKED && far->gen == c->linked && far->linked == c->gen)
		sl_rdma_conn_up(conn, kind);
	return news;
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

static void hear_gone(struct sl_conn *conn, int status)
{
	char text[80], why[64];

	if (conn->ending)
		return;
	(void)snprintf(text, sizeof(text), "the peer's end is gone: %s",
	               sl_error_name(status, why, sizeof(why)));
	fail(conn, conn->ready ? -ECONNRESET : -ECONNREFUSED, text);
}

static void hear_peer(struct sl_conn *conn, const struct rdma_state *in)
{
	bool news = false;

	conn->alive_ns = sl_clock_ns();
	conn->answer_by = SL_NEVER;
	conn->doubt_ns = 0;
	if (in->flags & RDMA_GONE) {
		hear_gone(conn, in->status);
		return;
	}
	for (int i = 0; i < RDMA_CHANS && in->flags & RDMA_CALLING; i++)
		news = hear_chan(conn, i, &in->chan[i]) || news;
	if (conn->ending || conn->refused)
		tell(conn, RDMA_GONE);
	else if (news)
		tell_on(conn);
	else if (in->flags & RDMA_PING)
		tell(conn, 0);
}

void sl_rdma_conn_state(struct sl_dom *dom, const struct rdma_state *in)
{
	struct sl_conn *conn = find(dom, &in->to);
	bool closed;

	if (!conn) {
		answer_stranger(dom, in, -ECONNREFUSED);
		return;
	}
	sl_lock_take(&conn->lock);
	closed = conn->closed;
	sl_lock_drop(&conn->lock);
	if (conn->connecting && conn->peer.id == in->from.id &&
	    sl_same_secret(conn->peer.secret, in->from.secret, SL_SECRET_LEN)) {
		hear_peer(conn, in);
	} else if (closed || conn->connecting) {
		answer_stranger(dom, in, closed ? -ECONNREFUSED : -EISCONN);
	} else {
		conn->called = true;
		answer_stranger(dom, in, 0);
	}
}

/*
 * Connecting.
 */

static int take_slot(struct sl_conn *conn, struct slime_error *err)
{
	struct sl_dom *dom = conn->dom;
	uint32_t n = dom->nslots ? 2 * dom->nslots : 64;
	struct rdma_slot *slots;
	uint32_t i = 0;

	while (i < dom->nslots && dom->slots[i].conn)
		i++;
	if (i == dom->nslots) {
		slots = n > RDMA_SLOTS_MAX ? NULL : realloc(dom->slots, n * sizeof(*slots));
		if (!slots)
			return sl_fail(err, -ENOMEM, "no memory for %u connections", n);
		memset(slots + dom->nslots, 0, (n - dom->nslots) * sizeof(*slots));
		dom->slots = slots;
		dom->nslots = n;
	}
	dom->slots[i].conn = conn;
	conn->slot = i;
	conn->wr_owner = rdma_wr_owner(i, ++dom->slots[i].used);
	return 0;
}

static int make_records(struct sl_conn *conn, struct slime_error *err)
{
	size_t len = (RDMA_WINDOW + conn->chan[RDMA_DATA].sq_cap) * (size_t)RDMA_RECORD_STEP;

	conn->records = calloc(1, len);
	if (!conn->records)
		return sl_fail(err, -ENOMEM, "no memory for a connection");
	errno = 0;
	conn->records_mr =
	    conn->dom->v->reg_mr(conn->dom->pd, conn->records, len, IBV_ACCESS_LOCAL_WRITE);
	if (!conn->records_mr)
		return sl_rdma_reg_failed(conn->dom, len, errno, err);
	return 0;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* What the queue pairs of CONN will hold. */
static void size_chans(struct sl_conn *conn)
{
	const struct rdma_env *env = &conn->dom->env;
	uint32_t most = (uint32_t)conn->dom->attr.orig_attr.max_qp_wr;
	uint32_t recvs = conn->depth < 16 ? 16 : conn->depth;

	conn->chan[RDMA_DATA].sq_cap = min_u32(env->send_wr, most);
	conn->chan[RDMA_DATA].rq_cap = min_u32(RDMA_WINDOW, most);
	conn->chan[RDMA_MSG].sq_cap = min_u32(RDMA_MSG_SENDS, most);
	conn->chan[RDMA_MSG].rq_cap = min_u32(min_u32(env->recv_wr, recvs), most);
	conn->max_sge = min_u32((uint32_t)conn->dom->attr.orig_attr.max_sge, RDMA_SGES);
}

static int make_ends(struct sl_conn *conn, struct slime_error *err)
{
	struct sl_dom *dom = conn->dom;
	struct ibv_ah_attr attr;
	uint32_t share = 0;
	int rc = sl_rdma_route(&dom->port, &dom->env, &conn->mail, &attr, err);
	char text[64];

	if (rc)
		return rc;
	errno = 0;
	conn->ah = dom->v->create_ah(dom->pd, &attr);
	if (!conn->ah && errno == ENOMEM)
		return sl_fail(err, -ENOMEM, "no memory for a way to the peer");
	if (!conn->ah) {
		sl_rdma_gid_text(conn->mail.gid, text, sizeof(text));
		return sl_fail(err, -EHOSTUNREACH, "there is no way from '%s' to %s", dom->name,
		               text);
	}
	size_chans(conn);
	for (int i = 0; i < RDMA_CHANS; i++)
		share += conn->chan[i].sq_cap + conn->chan[i].rq_cap;
	rc = sl_rdma_cq_take(dom, share, err);
	if (rc)
		return rc;
	conn->cq_share = share;
	rc = make_records(conn, err);
	for (int i = 0; !rc && i < RDMA_CHANS; i++)
		rc = sl_rdma_chan_open(conn, i, err);
	return rc;
}

static void free_ends(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;

	for (int i = 0; i < RDMA_CHANS; i++)
		sl_rdma_chan_free(conn, i);
	if (conn->records_mr)
		(void)dom->v->dereg_mr(conn->records_mr);
	free(conn->records);
	sl_rdma_box_bury(dom, conn->ah);
	sl_rdma_cq_give(dom, conn->cq_share);
	if (conn->connecting)
		dom->slots[conn->slot].conn = NULL;
	conn->records_mr = NULL;
	conn->records = NULL;
	conn->ah = NULL;
	conn->cq_share = 0;
}

static int read_peer(struct sl_conn *conn, const struct sl_blob *blob, struct slime_error *err)
{
	struct rdma_lane lane;

	if (sl_rdma_get_lane(blob->bytes, blob->len, &lane))
		return sl_fail(err, -EPROTO, "an rdma address of %u bytes, or of another version",
		               blob->len);
	if (!lane.has_mail && !conn->first->connecting)
		return sl_fail(err, -EPROTO, "an rdma address that refers to one before it");
	conn->peer = lane.name;
	conn->mail = lane.has_mail ? lane.mail : conn->first->mail;
	conn->shift =
	    conn->mail.shift < conn->dom->chunk_shift ? conn->mail.shift : conn->dom->chunk_shift;
	return 0;
}

static int rdma_connect(struct sl_conn *conn, const struct sl_blob *peer, struct slime_error *err)
{
	struct sl_dom *dom = conn->dom;
	int rc = read_peer(conn, peer, err);

	if (!rc && dom->dead)
		rc = sl_fail(err, -ENODEV, "device '%s' is gone", dom->name);
	if (!rc)
		rc = take_slot(conn, err);
	if (rc)
		return rc;
	conn->connecting = true;
	atomic_fetch_add(&dom->nconns, 1);
	conn->alive_ns = sl_clock_ns();
	rc = make_ends(conn, err);
	if (rc)
		return rc;
	conn->answer_by = conn->alive_ns + first_answer_ns;
	sl_rdma_tick_by(dom, conn->alive_ns + rdma_tick_ns(dom));
	tell_on(conn);
	tell(conn, RDMA_PING);
	return 0;
}

static int rdma_conn_ready(struct sl_conn *conn, struct slime_error *err)
{
	if (!conn->connecting)
		return conn->called ? SL_CONN_CALLED : SL_CONN_WAITING;
	if (conn->refused)
		return sl_fail(err, conn->refused, "%s", conn->why.text);
	if (conn->ending)
		return sl_fail(err, conn->ending, "the peer hung up");
	return conn->ready ? SL_CONN_READY : SL_CONN_WAITING;
}

static void rdma_conn_name(struct sl_conn *conn, char *out, size_t cap)
{
	char ours[64], theirs[64];

	if (conn->dom->port.has_gid) {
		sl_rdma_gid_text(conn->dom->port.gid.gid.raw, ours, sizeof(ours));
		sl_rdma_gid_text(conn->mail.gid, theirs, sizeof(theirs));
	} else {
		(void)snprintf(ours, sizeof(ours), "LID %u", conn->dom->port.attr.lid);
		(void)snprintf(theirs, sizeof(theirs), "LID %u", conn->mail.lid);
	}
	(void)snprintf(out, cap, "%s, %s to %s", conn->dom->name, ours, theirs);
}

/*
 * The end, and beginning anew.
 */

/* No queue pair is left: nothing touches memory any more, but for what is on its way to the peer.
 */
static void finish(struct sl_conn *conn)
{
	struct sl_op_queue over = {0};

	for (int i = 0; i < RDMA_CHANS; i++) {
		if (conn->chan[i].phase != RDMA_NONE)
			return;
	}
	sl_lock_take(&conn->lock);
	sl_rdma_take_all_locked(conn, conn->ending, &over, &conn->late);
	sl_lock_drop(&conn->lock);
	if (conn->late.head) {
		conn->late_at = sl_clock_ns() + late_ns;
		sl_rdma_tick_by(conn->dom, conn->late_at);
	}
	(void)sl_rdma_end(&over);
}

void sl_rdma_conn_end(struct sl_conn *conn, int status)
{
	if (conn->ending)
		return;
	conn->ending = status;
	conn->ask_at = conn->answer_by = SL_NEVER;
	sl_lock_take(&conn->lock);
	conn->broken = true;
	sl_lock_drop(&conn->lock);
	if (conn->connecting)
		tell(conn, RDMA_GONE);
	for (int i = 0; i < RDMA_CHANS; i++)
		sl_rdma_chan_drain(conn, i);
	finish(conn);
}

/*
 * Requests find no answer. Is it the way, or the peer? Its mailbox may answer, here or
 * on another lane: then it lives, and if only the others' do, this lane is out.
 */
static void doubt(struct sl_conn *conn, int64_t now)
{
	bool alone = true;

	if (conn->doubt_ns)
		return;
	conn->doubt_ns = now;
	for (struct sl_conn *c = conn->first; c; c = c->next_lane) {
		if (c != conn && c->ready && !c->ending) {
			tell(c, RDMA_PING);
			alone = false;
		}
	}
	conn->answer_by = now + conn->dom->peer_timeout_ns / (alone ? 4 : 16);
	sl_rdma_tick_by(conn->dom, conn->answer_by);
}

/* When the peer last showed life on any lane. */
static int64_t heard_ns(const struct sl_conn *conn)
{
	int64_t last = 0;

	for (const struct sl_conn *c = conn->first; c; c = c->next_lane) {
		if (c->ready && !c->ending && c->alive_ns > last)
			last = c->alive_ns;
	}
	return last;
}

static void go_out(struct sl_conn *conn, int64_t now)
{
	struct sl_op_queue over = {0};

	if (conn->chan[RDMA_DATA].phase == RDMA_UP && !conn->dom->port_down)
		return;
	if (conn->chan[RDMA_DATA].phase != RDMA_FRESH) { /* memory first has to be quiet */
		sl_rdma_chan_drain(conn, RDMA_DATA);
		conn->answer_by = now + SL_NS_PER_MS;
		return;
	}
	if (!conn->out_ns) {
		sl_log(SLIME_LOG_WARN,
		       "rdma: a lane over '%s' is out until its peer can be reached again",
		       conn->dom->name);
		conn->out_ns = now;
	}
	conn->answer_by = SL_NEVER;
	sl_lock_take(&conn->lock);
	conn->out = true;
	sl_rdma_take_one_sided_locked(conn, &over);
	sl_lock_drop(&conn->lock);
	(void)sl_rdma_end(&over);
}

/* The mailbox did not answer in time. */
static void no_answer(struct sl_conn *conn, int64_t now)
{
	static const char nobody[] =
	    "nobody answers at the peer's mailbox: its process is gone, does not make "
	    "progress, or the network between drops datagrams";

	if (!conn->ready)
		fail(conn, -ECONNREFUSED, nobody);
	else if (conn->dom->port_down || heard_ns(conn) > conn->doubt_ns)
		go_out(conn, now);
	else if (now < conn->doubt_ns + conn->dom->peer_timeout_ns / 4)
		conn->answer_by = conn->doubt_ns + conn->dom->peer_timeout_ns / 4;
	else
		fail(conn, -ECONNRESET, nobody);
}

/* Out for so long that messages and immediates are not kept waiting either. */
static void out_for_long(struct sl_conn *conn)
{
	struct sl_op_queue over = {0};
	bool more;

	sl_lock_take(&conn->lock);
	more = sl_rdma_doom_locked(conn, -EHOSTUNREACH, &over);
	sl_lock_drop(&conn->lock);
	(void)sl_rdma_end(&over);
	if (more)
		sl_rdma_chan_drain(conn, RDMA_MSG);
}

void sl_rdma_conn_port(struct sl_conn *conn, int64_t now)
{
	bool rails = false;

	if (!conn->ready || conn->ending)
		return;
	for (const struct sl_conn *c = conn->first; c; c = c->next_lane)
		rails = rails || c->dom != conn->dom;
	if (!conn->dom->port_down) {
		if (conn->ask_at != SL_NEVER)
			ask_at(conn, now);
	} else if (rails) {
		sl_rdma_chan_drain(conn, RDMA_DATA);
		doubt(conn, now);
		conn->answer_by = now;
		sl_rdma_tick_by(conn->dom, now);
	}
}

void sl_rdma_conn_strike(struct sl_conn *conn, int kind, int status)
{
	struct rdma_chan *c = &conn->chan[kind];

	if (c->phase == RDMA_DRAIN || c->phase == RDMA_NONE)
		return;
	if (status && ++c->strikes > RDMA_STRIKES && !conn->ending) {
		fail(conn, status, "its queue pairs fail again and again");
		return;
	}
	if (status == -EHOSTUNREACH)
		doubt(conn, sl_clock_ns());
	sl_rdma_chan_drain(conn, kind);
}

static void reopen(struct sl_conn *conn, int kind)
{
	struct slime_error why = {0};
	int rc = sl_rdma_chan_open(conn, kind, &why);

	if (rc) {
		fail(conn, rc, why.text);
		return;
	}
	if (is_free(&conn->chan[kind]))
		(void)link_chan(conn, kind);
	if (!conn->ending)
		tell_on(conn);
}

void sl_rdma_conn_drained(struct sl_conn *conn, int kind)
{
	struct sl_op_queue over = {0};

	if (conn->chan[kind].phase != RDMA_DRAIN)
		return;
	sl_rdma_chan_free(conn, kind);
	if (conn->ending) {
		finish(conn);
		return;
	}
	sl_lock_take(&conn->lock);
	sl_rdma_chan_sift_locked(conn, kind, &over, &conn->late);
	if (kind == RDMA_MSG)
		sl_rdma_reset_recvs_locked(conn, &over);
	sl_lock_drop(&conn->lock);
	if (conn->late.head && conn->late_at == SL_NEVER) {
		conn->late_at = sl_clock_ns() + late_ns;
		sl_rdma_tick_by(conn->dom, conn->late_at);
	}
	reopen(conn, kind);
	(void)sl_rdma_end(&over);
}

/* What other threads left to do. */
void sl_rdma_conn_todo(struct sl_conn *conn)
{
	bool closed, failed[RDMA_CHANS], empty[RDMA_CHANS];

	sl_lock_take(&conn->lock);
	closed = conn->closed;
	for (int i = 0; i < RDMA_CHANS; i++) {
		failed[i] = conn->chan[i].failed;
		empty[i] =
		    conn->chan[i].phase == RDMA_DRAIN && sl_rdma_chan_is_empty(&conn->chan[i]);
	}
	while (conn->withheld && conn->chan[RDMA_DATA].phase == RDMA_UP &&
	       rdma_imms_have_room(conn)) {
		conn->withheld--;
		sl_rdma_post_window_locked(conn);
	}
	sl_lock_drop(&conn->lock);
	if (closed)
		sl_rdma_conn_end(conn, -ECANCELED);
	for (int i = 0; i < RDMA_CHANS; i++) {
		if (empty[i])
			sl_rdma_conn_drained(conn, i);
		else if (failed[i])
			sl_rdma_conn_strike(conn, i, -EIO);
	}
}

static void ping_all(struct sl_conn *conn)
{
	if (!conn->out_ns) {
		tell(conn, RDMA_PING);
		return;
	}
	for (struct sl_conn *c = conn->first; c; c = c->next_lane) {
		if (c->ready && !c->ending)
			tell(c, RDMA_PING);
	}
}

/* Is the peer's program alive? Asked while something waits for it. */
static void check_life(struct sl_conn *conn, int64_t now)
{
	int64_t timeout = conn->dom->peer_timeout_ns;
	bool work = sl_rdma_has_work(conn);
	int64_t silent;

	if (!conn->had_work)
		conn->alive_ns = now;
	conn->had_work = work;
	if (conn->out_ns && now - conn->out_ns > timeout)
		out_for_long(conn);
	silent = now - (conn->out_ns ? heard_ns(conn) : conn->alive_ns);
	if (work && silent > timeout * 3 / 4 && conn->dom->port_down)
		go_out(conn, now);
	else if (work && silent > timeout * 3 / 4)
		fail(conn, -ECONNRESET, "its program does not answer");
	else if (work && silent > timeout / 5)
		ping_all(conn);
}

void sl_rdma_conn_tick(struct sl_conn *conn, int64_t now)
{
	if (!conn->connecting)
		return;
	if (now >= conn->late_at)
		end_late(conn);
	for (int i = 0; i < RDMA_CHANS; i++) {
		if (conn->chan[i].phase == RDMA_DRAIN && now >= conn->chan[i].drain_by) {
			sl_log(SLIME_LOG_WARN,
			       "rdma: '%s' does not give back a queue pair's requests",
			       conn->dom->name);
			sl_rdma_conn_drained(conn, i);
		} else if (conn->chan[i].phase == RDMA_DRAIN) {
			sl_rdma_tick_by(conn->dom, conn->chan[i].drain_by);
		}
	}
	sl_rdma_tick_by(conn->dom, conn->late_at);
	if (conn->ending || conn->refused)
		return;
	if (now >= conn->answer_by)
		no_answer(conn, now);
	else if (now >= conn->ask_at)
		ask_again(conn, now);
	if (conn->ready && !conn->ending)
		check_life(conn, now);
	sl_rdma_tick_by(conn->dom, min_ns(conn->ask_at, conn->answer_by));
}

/*
 * Made, described, closed, destroyed.
 */

static int rdma_conn_create(struct sl_dom *dom, const struct sl_conn_opts *opts,
                            struct sl_conn **out, struct slime_error *err)
{
	struct sl_conn *conn = calloc(1, sizeof(*conn));
	struct sl_conn **bucket;

	if (!conn || sl_random(&conn->me, sizeof(conn->me))) {
		free(conn);
		return sl_fail(err, -ENOMEM, "no memory or no random bytes for a connection");
	}
	conn->dom = dom;
	conn->depth = opts->depth;
	conn->first = opts->first ? opts->first : conn;
	if (opts->first) {
		conn->next_lane = opts->first->next_lane;
		opts->first->next_lane = conn;
	}
	conn->ask_at = conn->answer_by = conn->late_at = SL_NEVER;
	sl_lock_init(&conn->lock);
	sl_lock_take(&dom->lock);
	bucket = &dom->by_id[conn->me.id % RDMA_BUCKETS];
	conn->next_same = *bucket;
	*bucket = conn;
	conn->next = dom->conns;
	dom->conns = conn;
	sl_lock_drop(&dom->lock);
	*out = conn;
	return 0;
}

static int rdma_conn_pack(const struct sl_conn *conn, struct sl_blob *out, struct slime_error *err)
{
	struct rdma_lane lane = {.has_mail = conn->first == conn || conn->first->dom != conn->dom,
	                         .name = conn->me};

	(void)err;
	if (lane.has_mail)
		sl_rdma_box_mail(conn->dom, &lane.mail);
	out->len = (uint32_t)sl_rdma_put_lane(out->bytes, &lane);
	return 0;
}

static void rdma_conn_close(struct sl_conn *conn)
{
	sl_lock_take(&conn->lock);
	conn->closed = true;
	sl_lock_drop(&conn->lock);
	sl_rdma_todo(conn);
}

static void unlink_conn(struct sl_conn **at, struct sl_conn *conn, size_t next)
{
	while (*at && *at != conn)
		at = (struct sl_conn **)(void *)((char *)*at + next);
	if (*at)
		*at = *(struct sl_conn **)(void *)((char *)conn + next);
}

static void rdma_conn_destroy(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;

	sl_lock_take(&dom->lock);
	unlink_conn(&dom->conns, conn, offsetof(struct sl_conn, next));
	unlink_conn(&dom->by_id[conn->me.id % RDMA_BUCKETS], conn,
	            offsetof(struct sl_conn, next_same));
	sl_lock_drop(&dom->lock);
	if (conn->first != conn)
		unlink_conn(&conn->first->next_lane, conn, offsetof(struct sl_conn, next_lane));
	if (conn->connecting) {
		atomic_fetch_sub(&dom->nconns, 1);
		if (!conn->ending && conn->ah)
			tell(conn, RDMA_GONE);
	}
	free_ends(conn);
	sl_imm_free(&conn->imms);
	free(conn->credits);
	sl_lock_free(&conn->lock);
	free(conn);
}

const struct sl_transport sl_transport_rdma = {
    .name = "rdma",
    .caps = SL_CAP_REMOTE_HOST | SL_CAP_LANES | SL_CAP_RAILS,
    .kinds = 1u << SLIME_MEM_HOST | 1u << SLIME_MEM_CUDA | 1u << SLIME_MEM_ASCEND,
    .max_iov = UINT32_MAX,
    .max_len = UINT64_MAX,
    .probe = sl_rdma_probe,
    .dom_open = sl_rdma_dom_open,
    .dom_close = sl_rdma_dom_close,
    .reg = sl_rdma_reg,
    .unreg = sl_rdma_unreg,
    .reg_pack = sl_rdma_reg_pack,
    .rreg_unpack = sl_rdma_rreg_unpack,
    .rreg_free = sl_rdma_rreg_free,
    .conn_create = rdma_conn_create,
    .conn_pack = rdma_conn_pack,
    .connect = rdma_connect,
    .conn_ready = rdma_conn_ready,
    .conn_close = rdma_conn_close,
    .conn_destroy = rdma_conn_destroy,
    .submit = sl_rdma_submit,
    .cancel = sl_rdma_cancel,
    .progress = sl_rdma_progress,
    .fd = sl_rdma_fd,
    .arm = sl_rdma_arm,
    .conn_name = rdma_conn_name,
};
