/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which connections progress() looks at: its cost follows what happens, not how
 * many there are.
 *
 *	woken ----progress----> awake ----no news, bell asked for----> asleep
 *	  ^                                                               |
 *	  +------------- bell of the peer, op that waits, end ------------+
 *
 * Awake: its ring is looked at in each call. Asleep: what comes into its ring
 * comes with a bell, by its socket. A few stay awake whatever they do, for a
 * bell costs either side a system call.
 *
 * What is woken is pushed by any thread, with conn->lock held; all else is done by
 * who holds the progress lock. A connection is freed by that one only, too.
 */
#include "base/clock.h"
#include "transport/shm/shm_impl.h"

static const int64_t keep_ns = 10 * SL_NS_PER_MS;

static bool is_open(const struct sl_conn *conn)
{
	return atomic_load_explicit(&conn->state, memory_order_acquire) == SHM_OPEN;
}

/* Ask the peer for a bell. False: there is no point, for there is work now. */
static bool ask_bell_locked(struct sl_conn *conn) SL_REQUIRES(conn->lock)
{
	bool room = conn->sends.head || conn->imm_sends.head;

	if (atomic_load_explicit(&conn->halt, memory_order_relaxed))
		return !atomic_load_explicit(&conn->busy, memory_order_relaxed);
	if (!is_open(conn))
		return true;
	sl_ring_want(&conn->ring, room ? SL_RING_NEWS | SL_RING_ROOM : SL_RING_NEWS);
	return !sl_shm_has_work_locked(conn);
}

void sl_shm_wake_locked(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;

	if (conn->awake)
		return;
	/* who sleeps need not be woken for what a bell will tell */
	if (atomic_load(&dom->armed) && ask_bell_locked(conn))
		return;
	conn->awake = true;
	conn->woken_next = atomic_load_explicit(&dom->woken, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&dom->woken, &conn->woken_next, conn))
		;
	/* either arm() sees what was pushed, or it is seen here that somebody went to sleep */
	if (atomic_load(&dom->armed))
		sl_shm_kick(dom);
}

static void link_awake(struct sl_dom *dom, struct sl_conn *conn)
{
	struct sl_conn *next = dom->awake;

	if (!next) {
		conn->awake_prev = conn->awake_next = conn;
		dom->awake = conn;
	} else { /* last in turn */
		conn->awake_next = next;
		conn->awake_prev = next->awake_prev;
		next->awake_prev->awake_next = conn;
		next->awake_prev = conn;
	}
	conn->news_ns = dom->looked_ns;
	dom->n_awake++;
}

static void unlink_awake(struct sl_dom *dom, struct sl_conn *conn)
{
	if (dom->awake == conn)
		dom->awake = conn->awake_next == conn ? NULL : conn->awake_next;
	conn->awake_prev->awake_next = conn->awake_next;
	conn->awake_next->awake_prev = conn->awake_prev;
	conn->awake_prev = conn->awake_next = NULL;
	dom->n_awake--;
}

/* Have all that were woken stand in the list. */
static void take_woken(struct sl_dom *dom)
{
	struct sl_conn *conn;

	if (!atomic_load(&dom->woken))
		return;
	conn = atomic_exchange(&dom->woken, NULL);
	while (conn) {
		struct sl_conn *next = conn->woken_next;

		link_awake(dom, conn);
		conn = next;
	}
}

void sl_shm_wake_forget(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;

	sl_lock_take(&conn->lock);
	take_woken(dom);
	if (conn->awake_next)
		unlink_awake(dom, conn);
	conn->awake = true; /* so that nothing wakes it any more */
	sl_lock_drop(&conn->lock);
}

static bool has_news(const struct sl_conn *conn)
{
	if (atomic_load_explicit(&conn->busy, memory_order_relaxed))
		return true;
	if (!is_open(conn))
		return false;
	return sl_ring_has_notes(&conn->ring) || sl_ring_has_ping(&conn->ring);
}

int sl_shm_serve(struct sl_dom *dom, unsigned budget)
{
	struct sl_conn *conn;
	int n = 0;

	take_woken(dom);
	conn = dom->awake;
	for (uint32_t left = dom->n_awake; left && n < (int)budget; left--) {
		if (has_news(conn)) {
			int done = sl_shm_poll(conn);

			if (done || !atomic_load_explicit(&conn->busy, memory_order_relaxed))
				conn->news_ns = dom->looked_ns;
			n += done;
		}
		conn = conn->awake_next;
	}
	dom->awake = conn; /* when the budget ran out, the next call goes on from there */
	return n;
}

/* Let CONN fall asleep if it has nothing to do. True: it has. */
static bool doze(struct sl_dom *dom, struct sl_conn *conn)
{
	bool dozed;

	sl_lock_take(&conn->lock);
	dozed = ask_bell_locked(conn);
	if (dozed) {
		conn->awake = false;
		unlink_awake(dom, conn);
	}
	sl_lock_drop(&conn->lock);
	return !dozed;
}

/* Have the peer ring for what comes from now on. True: there is work. */
static bool stay_and_ask(struct sl_conn *conn)
{
	bool asked;

	/* it has asked since the last bell, so what came after that has rung */
	if (!atomic_load_explicit(&conn->busy, memory_order_relaxed) &&
	    (!is_open(conn) || sl_ring_wants(&conn->ring, SL_RING_NEWS)))
		return false;
	sl_lock_take(&conn->lock);
	asked = ask_bell_locked(conn);
	sl_lock_drop(&conn->lock);
	return !asked;
}

bool sl_shm_arm(struct sl_dom *dom)
{
	bool work = false, many;
	struct sl_conn *conn;

	take_woken(dom);
	many = dom->n_awake > SHM_AWAKE;
	conn = dom->awake;
	for (uint32_t left = dom->n_awake; left; left--) {
		struct sl_conn *next = conn->awake_next;

		work |= many ? doze(dom, conn) : stay_and_ask(conn);
		conn = next;
	}
	return work;
}

void sl_shm_trim(struct sl_dom *dom)
{
	struct sl_conn *conn = dom->awake;

	if (dom->n_awake <= SHM_AWAKE || dom->trimmed_ns == dom->looked_ns)
		return;
	dom->trimmed_ns = dom->looked_ns;
	for (uint32_t left = dom->n_awake; left && dom->n_awake > SHM_AWAKE; left--) {
		struct sl_conn *next = conn->awake_next;

		if (dom->looked_ns - conn->news_ns >= keep_ns)
			(void)doze(dom, conn);
		conn = next;
	}
}
