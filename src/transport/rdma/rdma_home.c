/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_home.c - which lane carries what has an order.
 *
 * The endpoint gives immediates, messages and receives to lane 0. Each of the three is a stream and
 *at home on one lane at a time: there its ops wait, are posted, and are numbered. It moves when its
 *lane is out and nothing of it is in doubt there:
 *
 *	immediates sent      what was in flight is settled: the peer told what it received,
 *	                     by way of another lane, after its own queue pair was empty
 *	messages sent        likewise; and to where the peer's receives are, when it told of some on
 *	                     another lane and there is nothing more to be done on this one
 *	receives             the queue pair that had them is empty, so none can be filled any more
 *
 * So the next lane begins after the last thing that arrived over the old one, and nothing comes
 *twice or early. The ends need not agree: who sends immediates chooses for them, who receives
 *messages for those. Immediates that arrive go to lane 0's group, whichever lane brought them.
 *
 * A stream does not move back when its old lane is well again.
 *
 * Ops are moved by progress(); what is submitted meanwhile is held in the group, behind them.
 */
#include "base/log.h"
#include "transport/rdma/rdma_impl.h"

static const char *const names[] = {"immediates", "messages", "receives"};

void sl_rdma_home_init(struct sl_conn *conn)
{
	sl_lock_init(&conn->group.lock);
	if (conn->first != conn)
		return;
	conn->holds = (1u << RDMA_STREAMS) - 1;
	for (int s = 0; s < RDMA_STREAMS; s++)
		atomic_init(&conn->group.home[s], conn);
}

static void add_locked(struct sl_conn *conn, enum rdma_stream s, struct sl_op *op,
                       struct sl_op_queue *over)
{
	if (s == RDMA_RECVS) {
		sl_rdma_add_recv_locked(conn, op, over);
	} else if (s == RDMA_SENDS) {
		sl_op_push(&conn->chan[RDMA_MSG].waiting, op);
		sl_rdma_push_msgs_locked(conn);
	} else {
		sl_op_push(&conn->chan[RDMA_DATA].waiting, op);
		sl_rdma_push_data_locked(conn, over);
	}
}

/* NULL: the stream is moving, and OP is held until it has. */
static struct sl_conn *home_or_hold(struct rdma_group *group, enum rdma_stream s, struct sl_op *op)
{
	struct sl_conn *home = atomic_load_explicit(&group->home[s], memory_order_acquire);

	if (home)
		return home;
	sl_lock_take(&group->lock);
	home = atomic_load(&group->home[s]);
	if (!home)
		sl_op_push(&group->held[s], op);
	sl_lock_drop(&group->lock);
	return home;
}

static int submit_away(struct sl_conn *first, enum rdma_stream s, struct sl_op *op,
                       struct sl_op_queue *over)
{
	int rc;

	sl_lock_take(&first->lock);
	rc = sl_rdma_usable_locked(first);
	sl_lock_drop(&first->lock);
	while (!rc) {
		struct sl_conn *home = home_or_hold(&first->group, s, op);
		bool here;

		if (!home)
			return 0;
		sl_op_aim(op, home->lane);
		sl_lock_take(&home->lock);
		here = home->holds & 1u << s;
		if (here)
			rc = sl_rdma_usable_locked(home);
		if (here && !rc)
			add_locked(home, s, op, over);
		sl_lock_drop(&home->lock);
		if (here)
			break;
	}
	return rc;
}

int sl_rdma_home_submit(struct sl_conn *first, enum rdma_stream s, struct sl_op *op,
                        struct sl_op_queue *over)
{
	bool here;
	int rc = 0;

	sl_lock_take(&first->lock);
	here = first->holds & 1u << s;
	if (here)
		rc = sl_rdma_usable_locked(first);
	if (here && !rc)
		add_locked(first, s, op, over);
	sl_lock_drop(&first->lock);
	return here ? rc : submit_away(first, s, op, over);
}

/*
 * Moving; progress.
 */

static bool is_well(const struct sl_conn *conn)
{
	return conn->ready && !conn->ending && !conn->out_ns && !conn->dom->dead;
}

bool sl_rdma_home_has_other(const struct sl_conn *conn)
{
	for (const struct sl_conn *c = conn->first; c; c = c->next_lane) {
		if (c != conn && is_well(c))
			return true;
	}
	return false;
}

/* A lane to move to: rather one over another device. NULL: there is none. */
static struct sl_conn *choose(const struct sl_conn *from)
{
	struct sl_conn *same = NULL;

	for (struct sl_conn *c = from->first; c; c = c->next_lane) {
		if (c == from || !is_well(c) || c->chan[RDMA_DATA].phase != RDMA_UP)
			continue;
		if (c->dom != from->dom)
			return c;
		same = same ? same : c;
	}
	return same;
}

/* All of the stream that FROM has. Messages and immediates wait there, and nothing else does. */
static struct sl_op_queue take_locked(struct sl_conn *from, enum rdma_stream s)
{
	struct sl_op_queue *q = s == RDMA_RECVS   ? &from->recvs
	                        : s == RDMA_SENDS ? &from->chan[RDMA_MSG].waiting
	                                          : &from->chan[RDMA_DATA].waiting;
	struct sl_op_queue all = *q;

	*q = (struct sl_op_queue){0};
	if (s == RDMA_RECVS)
		from->next_recv = from->next_credit = NULL;
	from->holds &= ~(1u << s);
	return all;
}

/* ALL goes to TO, in order. */
static void put(struct sl_conn *to, enum rdma_stream s, struct sl_op_queue *all)
{
	struct sl_op_queue over = {0};
	struct sl_op *op;

	for (op = all->head; op; op = op->next)
		sl_op_aim(op, to->lane);
	sl_lock_take(&to->lock);
	to->holds |= 1u << s;
	while ((op = sl_op_pop(all)))
		add_locked(to, s, op, &over);
	sl_lock_drop(&to->lock);
	(void)sl_rdma_end(&over);
}

static void move(struct sl_conn *from, enum rdma_stream s, struct sl_conn *to)
{
	struct rdma_group *group = &from->first->group;
	struct sl_op_queue all;
	bool more;

	sl_log(SLIME_LOG_INFO, "rdma: %s go over lane %u ('%s') instead of lane %u ('%s')",
	       names[s], to->lane, to->dom->name, from->lane, from->dom->name);
	sl_lock_take(&group->lock);
	atomic_store(&group->home[s], NULL);
	sl_lock_drop(&group->lock);
	sl_lock_take(&from->lock);
	all = take_locked(from, s);
	sl_lock_drop(&from->lock);
	do {
		put(to, s, &all);
		sl_lock_take(&group->lock);
		all = group->held[s];
		group->held[s] = (struct sl_op_queue){0};
		more = all.head != NULL;
		if (!more)
			atomic_store(&group->home[s], to);
		sl_lock_drop(&group->lock);
	} while (more);
}

static bool holds(struct sl_conn *conn, enum rdma_stream s)
{
	return atomic_load(&conn->first->group.home[s]) == conn;
}

bool sl_rdma_home_is_at(struct sl_conn *conn)
{
	return holds(conn, RDMA_IMMS) || holds(conn, RDMA_SENDS) || holds(conn, RDMA_RECVS);
}

/* Is nothing of the channel in doubt that the stream goes over? */
static bool may_leave(struct sl_conn *conn, int kind)
{
	bool fresh = conn->chan[kind].phase == RDMA_FRESH;
	bool settled;

	sl_lock_take(&conn->lock);
	settled = sl_rdma_chan_is_settled_locked(&conn->chan[kind]);
	sl_lock_drop(&conn->lock);
	return fresh && settled;
}

void sl_rdma_home_leave(struct sl_conn *conn)
{
	struct sl_conn *to = conn->out_ns && holds(conn, RDMA_RECVS) ? choose(conn) : NULL;

	if (to)
		move(conn, RDMA_RECVS, to);
}

static void leave(struct sl_conn *conn)
{
	struct sl_conn *to = choose(conn);

	if (!to)
		return;
	if (holds(conn, RDMA_IMMS) && may_leave(conn, RDMA_DATA))
		move(conn, RDMA_IMMS, to);
	if (holds(conn, RDMA_SENDS) && may_leave(conn, RDMA_MSG))
		move(conn, RDMA_SENDS, to);
	if (holds(conn, RDMA_RECVS)) /* see sl_rdma_home_leave() */
		sl_rdma_chan_drain(conn, RDMA_MSG);
}

/* The lane has ended, and what it had with it: what comes goes over another. */
static void abandon(struct sl_conn *conn)
{
	struct sl_conn *to = conn->first->ending ? NULL : choose(conn);

	for (int i = 0; i < RDMA_CHANS; i++) {
		if (conn->chan[i].phase != RDMA_NONE)
			return;
	}
	for (int s = 0; s < RDMA_STREAMS && to; s++) {
		if (holds(conn, (enum rdma_stream)s))
			move(conn, (enum rdma_stream)s, to);
	}
}

/* Has the lane nothing to do for messages, and no receive of the peer's to send one into? */
static bool sends_idle(struct sl_conn *conn)
{
	bool idle;

	sl_lock_take(&conn->lock);
	idle = sl_rdma_chan_is_settled_locked(&conn->chan[RDMA_MSG]) &&
	       conn->credit_head == conn->credit_tail;
	sl_lock_drop(&conn->lock);
	return idle;
}

static bool has_credits(struct sl_conn *conn)
{
	bool some;

	sl_lock_take(&conn->lock);
	some = conn->credit_head < conn->credit_tail;
	sl_lock_drop(&conn->lock);
	return some;
}

/* The peer's receives are where it told of some. */
static void follow(struct sl_conn *conn)
{
	struct sl_conn *home = atomic_load(&conn->first->group.home[RDMA_SENDS]);
	struct sl_conn *to = conn->first;

	while (to && (to == home || !is_well(to) || !has_credits(to)))
		to = to->next_lane;
	if (to && !home->ending && sends_idle(home))
		move(home, RDMA_SENDS, to);
}

void sl_rdma_home_look(struct sl_conn *conn)
{
	if (!conn->first->next_lane)
		return;
	for (struct sl_conn *c = conn->first; c; c = c->next_lane) {
		if (c->ending)
			abandon(c);
		else if (c->out_ns)
			leave(c);
	}
	follow(conn);
}
