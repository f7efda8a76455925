/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_life.c - a lane that fails, recovers, falls silent, and ends.
 *
 * Three things may be wrong. A channel: it is drained and made anew. The way: requests find no
 * answer, but the peer is heard on another lane, or our port is down; then the lane is out,
 * and its reads and writes go over others until it is up again. The peer: it is gone, or
 * nobody hears of it; then the lane ends.
 */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "transport/rdma/rdma_impl.h"

/*
 * How old a packet gets, for a peer that does not say that it takes none any more: three times the
 * age at which our device takes one for lost.
 */
static const int64_t late_ns = 200 * SL_NS_PER_MS;

static int64_t min_ns(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

void sl_rdma_await_late(struct sl_conn *conn)
{
	if (conn->gone)
		sl_rdma_end_late(conn);
	if (!conn->late.head || conn->late_at != SL_NEVER) /* all went over one queue pair */
		return;
	conn->late_at = sl_clock_ns() + late_ns;
	sl_rdma_tick_by(conn->dom, conn->late_at);
}

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
	sl_rdma_take_all_locked(conn, conn->ending, &over);
	sl_lock_drop(&conn->lock);
	sl_rdma_await_late(conn);
	if (conn->late.head)
		sl_rdma_tell_on(conn);
	(void)sl_rdma_end(&over);
	sl_rdma_home_look(conn);
}

/* What waits, but for immediates to come, ends with STATUS as soon as no queue pair has it. */
static void doom(struct sl_conn *conn, int status)
{
	struct sl_op_queue over = {0};
	bool more;

	sl_lock_take(&conn->lock);
	more = sl_rdma_doom_locked(conn, status, &over);
	sl_lock_drop(&conn->lock);
	sl_rdma_await_late(conn);
	(void)sl_rdma_end(&over);
	if (more)
		sl_rdma_chan_drain(conn, RDMA_MSG);
}

/* Lane 0 ends, and with it what has an order, wherever it is at home: nothing more is taken. */
static void end_streams(struct sl_conn *first, int status)
{
	for (struct sl_conn *c = first->next_lane; c; c = c->next_lane) {
		if (sl_rdma_home_is_at(c) && !c->ending)
			doom(c, status);
	}
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
	for (int i = 0; i < RDMA_CHANS; i++)
		sl_rdma_chan_drain(conn, i);
	if (conn->connecting) /* now it is true */
		sl_rdma_tell(conn, RDMA_GONE);
	finish(conn);
	if (conn == conn->first)
		end_streams(conn, status);
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
			sl_rdma_tell(c, RDMA_PING);
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
		if (c->ready && !c->ending && c->heard_ns > last)
			last = c->heard_ns;
	}
	return last;
}

static void go_out(struct sl_conn *conn, int64_t now)
{
	struct sl_op_queue over = {0};
	bool other = sl_rdma_home_has_other(conn);

	if (other && conn->chan[RDMA_MSG].phase != RDMA_FRESH)
		sl_rdma_chan_drain(conn, RDMA_MSG);
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
	sl_rdma_take_one_sided_locked(conn, &over, other ? NULL : &conn->late);
	sl_lock_drop(&conn->lock);
	sl_rdma_await_late(conn);
	(void)sl_rdma_end(&over);
	if (other) {
		conn->roundabout = true;
		sl_rdma_tell_on(conn);
		sl_rdma_home_look(conn);
	}
}

void sl_rdma_conn_leave(struct sl_conn *conn)
{
	int64_t now = sl_clock_ns();

	if (!conn->doubt_ns)
		conn->doubt_ns = heard_ns(conn) - 1; /* it lives, that is known */
	go_out(conn, now);
	sl_rdma_tick_by(conn->dom, conn->answer_by);
}

void sl_rdma_conn_lost(struct sl_conn *conn, int status)
{
	if (sl_rdma_home_has_other(conn)) {
		sl_rdma_conn_leave(conn);
		return;
	}
	for (struct sl_conn *c = conn->first; c; c = c->next_lane) {
		if (c->dom->dead)
			sl_rdma_conn_end(c, status);
	}
}

/* The mailbox did not answer in time. */
static void no_answer(struct sl_conn *conn, int64_t now)
{
	static const char nobody[] =
	    "nobody answers at the peer's mailbox: its process is gone, does not make "
	    "progress, or the network between drops datagrams";

	if (!conn->ready)
		sl_rdma_lane_fail(conn, -ECONNREFUSED, nobody);
	else if (conn->dom->port_down || heard_ns(conn) > conn->doubt_ns)
		go_out(conn, now);
	else if (now < conn->doubt_ns + conn->dom->peer_timeout_ns / 4)
		conn->answer_by = conn->doubt_ns + conn->dom->peer_timeout_ns / 4;
	else
		sl_rdma_lane_fail(conn, -ECONNRESET, nobody);
}

/* Out for so long that messages and immediates, if they had no lane to go to, are not kept waiting
 * either. */
static void out_for_long(struct sl_conn *conn)
{
	struct sl_op_queue over = {0};

	doom(conn, -EHOSTUNREACH);
	if (sl_rdma_home_has_other(conn))
		return;
	sl_lock_take(&conn->first->lock);
	sl_rdma_take_imm_recvs_locked(conn->first, -EHOSTUNREACH, &over);
	sl_lock_drop(&conn->first->lock);
	(void)sl_rdma_end(&over);
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
			sl_rdma_ask_at(conn, now);
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
		sl_rdma_lane_fail(conn, status, "its queue pairs fail again and again");
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

	if (rc && conn->ready && sl_rdma_dom_is_dead(conn->dom) && !conn->ending)
		rc = sl_rdma_chan_open(conn, kind, NULL);
	if (rc) {
		sl_rdma_lane_fail(conn, rc, why.text);
		return;
	}
	if (sl_rdma_is_free(&conn->chan[kind]))
		(void)sl_rdma_link(conn, kind);
	if (!conn->ending)
		sl_rdma_tell_on(conn);
}

void sl_rdma_conn_drained(struct sl_conn *conn, int kind)
{
	struct sl_op_queue over = {0};

	if (conn->chan[kind].phase != RDMA_DRAIN)
		return;
	sl_rdma_chan_free(conn, kind);
	if (conn->refused)
		return;
	if (conn->ending) {
		finish(conn);
		return;
	}
	sl_lock_take(&conn->lock);
	sl_rdma_sift_locked(conn, kind, &over);
	if (kind == RDMA_MSG)
		sl_rdma_reset_recvs_locked(conn, &over);
	sl_lock_drop(&conn->lock);
	if (kind == RDMA_MSG)
		sl_rdma_home_leave(conn);
	sl_rdma_await_late(conn);
	reopen(conn, kind);
	(void)sl_rdma_end(&over);
	if (!conn->ending)
		sl_rdma_settle_told(conn, kind);
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
	       sl_rdma_has_room_locked(conn)) {
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
	if (conn->connecting)
		sl_rdma_home_look(conn);
}

static void ping(struct sl_conn *conn, bool by_all)
{
	if (!by_all) {
		sl_rdma_tell(conn, RDMA_PING);
		return;
	}
	for (struct sl_conn *c = conn->first; c; c = c->next_lane) {
		if (c->ready && !c->ending)
			sl_rdma_tell(c, RDMA_PING);
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
	silent = now - conn->alive_ns;
	if (conn->out_ns && now - heard_ns(conn) < silent)
		silent = now - heard_ns(conn);
	if (work && silent > timeout * 3 / 4 && conn->dom->port_down)
		go_out(conn, now);
	else if (work && silent > timeout * 3 / 4 && now - heard_ns(conn) < timeout / 2)
		sl_rdma_conn_leave(conn);
	else if (work && silent > timeout * 3 / 4)
		sl_rdma_lane_fail(conn, -ECONNRESET, "its program does not answer");
	else if (work && silent > timeout / 5) /* if others alone answer, this one leads nowhere */
		ping(conn, conn->out_ns || silent > timeout / 2);
}

void sl_rdma_conn_tick(struct sl_conn *conn, int64_t now)
{
	if (!conn->connecting)
		return;
	if (now >= conn->late_at)
		sl_rdma_end_late(conn);
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
	if (conn->refused)
		return;
	if (now >= conn->answer_by)
		no_answer(conn, now);
	else if (now >= conn->ask_at)
		sl_rdma_ask_again(conn, now);
	if (conn->ready && !conn->ending)
		check_life(conn, now);
	if (conn->out_ns && !conn->ending)
		sl_rdma_home_look(conn);
	sl_rdma_tick_by(conn->dom, min_ns(conn->ask_at, conn->answer_by));
}
