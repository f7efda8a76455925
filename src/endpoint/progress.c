/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/progress.c - who moves transfers along, and who sleeps.
 *
 * At any time one thread at most drives: it holds the progress lock and calls
 * progress() of every domain. The thread that waits does the work:
 *
 *	                    progress lock        sleeps on
 *	a waiting thread    takes it if free     doms_epfd, as driver, lock held
 *	                    else                 the futex of what it waits for
 *	the library thread  when nobody waits    lib_epfd, lock free
 *	                    else                 lib_fd
 *
 * So that an arriving packet does not wake the library thread under a driver,
 * the driver takes doms_epfd out of lib_epfd ("disarms") and puts it back when
 * it leaves: two system calls a wait. Threads that poll (a wait of 0 again and
 * again) do not put it back at all; the library thread then looks every
 * millisecond whether they still do, or are in the middle of a post. Nor does a thread that waits
 *again and again on a contended core, where each call counts and the library thread would be one
 *more that wants the core; then it looks after a tenth of that.
 *
 * Everybody polls for spin_ns before sleeping, and yields while polling. A
 * yield that takes long means that the core is wanted by others: then nobody
 * polls for a while.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/futex.h"
#include "base/log.h"
#include "endpoint/internal.h"

static const int64_t watch_ns = SL_NS_PER_MS;
static const int64_t post_max_ns = 10 * SL_NS_PER_MS; /* of a post, until it is taken for lost */
static const int64_t watch_waits_ns = 100 * SL_NS_PER_US;
static const int64_t connects_max_ns = 10 * SL_NS_PER_MS;
static const int64_t long_yield_ns = 30 * SL_NS_PER_US;
static const int64_t no_spin_min_ns = 5 * SL_NS_PER_MS;
static const int64_t no_spin_max_ns = 640 * SL_NS_PER_MS;

enum {
	BUDGET = 64,
	YIELD_EVERY = 8, /* polls */
	CALM_AFTER = 16, /* short yields in a row */
};

static void ring(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* can only fail when it is readable already */
}

/*
 * Ring FD unless it has been rung, and take that back. Who rings does so after he stored his
 * wish; who drains looks at the wishes afterwards. One that is about to ring has set RUNG and
 * has not written yet: then it stays, and the next sleep on FD is a short one.
 */
static void ring_once(int fd, _Atomic bool *rung)
{
	if (!atomic_exchange(rung, true))
		ring(fd);
}

static void drain(int fd, _Atomic bool *rung)
{
	uint64_t seen;

	if (atomic_load(rung) && read(fd, &seen, sizeof(seen)) == (ssize_t)sizeof(seen))
		atomic_store(rung, false);
}

void sl_kick(slime_ctx *ctx)
{
	ring_once(ctx->engine.kick_fd, &ctx->engine.kicked);
}

static void ring_lib(struct sl_engine *e)
{
	ring_once(e->lib_fd, &e->lib_rung);
}

void sl_kick_before(slime_ctx *ctx, int64_t when_ns)
{
	if (when_ns < atomic_load(&ctx->engine.driver_until) ||
	    when_ns < atomic_load(&ctx->engine.lib_until))
		sl_kick(ctx);
}

static void drain_kick(struct sl_engine *e)
{
	drain(e->kick_fd, &e->kicked);
}

static int64_t min_ns(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Sleep until EPFD has something or UNTIL_NS. */
static void nap(int epfd, int64_t until_ns)
{
	struct pollfd pfd = {.fd = epfd, .events = POLLIN};
	int64_t left = until_ns == SL_NEVER ? 0 : until_ns - sl_clock_ns();
	struct timespec ts;

	if (until_ns != SL_NEVER && left <= 0)
		return;
	ts = (struct timespec){.tv_sec = left / SL_NS_PER_S, .tv_nsec = left % SL_NS_PER_S};
	(void)ppoll(&pfd, 1, until_ns == SL_NEVER ? NULL : &ts, NULL);
}

/* Progress lock held, from here to the next such line. */

/*
 * Endpoints that are connecting say nothing when they change, so all are looked at; but when many
 * wait for their peers, no more than every ninth moment; a look that lost its core is no measure.
 */
static int connect_some_locked(slime_ctx *ctx)
{
	struct sl_engine *e = &ctx->engine;
	int64_t now = sl_clock_ns();
	int changed;

	e->connects_due = now < e->connects_ns;
	if (e->connects_due)
		return 0;
	changed = sl_connect_step(ctx);
	if (!changed)
		e->connects_ns = now + min_ns(9 * (sl_clock_ns() - now), connects_max_ns);
	return changed;
}

static int progress_locked(slime_ctx *ctx)
{
	struct sl_engine *e = &ctx->engine;
	uint32_t n = atomic_load_explicit(&ctx->ndoms, memory_order_acquire);
	int64_t scan;
	int done = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (ctx->doms[i].fd >= 0)
			done += ctx->doms[i].tr->progress(ctx->doms[i].dom, BUDGET);
	}
	if (atomic_load_explicit(&ctx->nconnecting, memory_order_relaxed))
		done += connect_some_locked(ctx);
	scan = atomic_load(&e->next_scan);
	if ((scan != SL_NEVER && sl_clock_ns() >= scan) ||
	    (atomic_load_explicit(&e->work, memory_order_relaxed) &&
	     atomic_exchange(&e->work, false)))
		sl_ops_scan(ctx);
	return done;
}

/* Is there work already? Else lower *WAKE to when there will be. */
static bool arm_locked(slime_ctx *ctx, int64_t *wake)
{
	uint32_t n = atomic_load_explicit(&ctx->ndoms, memory_order_acquire);
	bool work = false;

	for (uint32_t i = 0; i < n; i++) {
		if (ctx->doms[i].fd >= 0 && ctx->doms[i].tr->arm(ctx->doms[i].dom, wake) > 0)
			work = true;
	}
	if (ctx->engine.connects_due && atomic_load(&ctx->nconnecting))
		*wake = min_ns(*wake, ctx->engine.connects_ns);
	*wake = min_ns(*wake, atomic_load(&ctx->engine.next_scan));
	return work || atomic_load(&ctx->engine.work);
}

static void show_doms_locked(struct sl_engine *e, bool show)
{
	struct epoll_event ev = {.events = show ? EPOLLIN : 0, .data.fd = e->doms_epfd};

	if (e->armed == show)
		return;
	e->armed = show;
	(void)epoll_ctl(e->lib_epfd, EPOLL_CTL_MOD, e->doms_epfd, &ev);
}

/* The lock is not held any more. */

static bool take_over(slime_ctx *ctx) SL_UNCHECKED
{
	struct sl_engine *e = &ctx->engine;

	if (atomic_load_explicit(&e->wanted, memory_order_relaxed) || !sl_lock_try(&e->lock))
		return false;
	if (e->has_thread)
		show_doms_locked(e, false);
	return true;
}

/*
 * Stop driving. Who is to drive next is told after the lock is free: had he found it
 * taken just before, he would go to sleep, and what he was told earlier be lost.
 */
static void leave(slime_ctx *ctx) SL_UNCHECKED
{
	struct sl_engine *e = &ctx->engine;
	int64_t wake = SL_NEVER;

	if (e->has_thread) {
		if (arm_locked(ctx, &wake))
			wake = 0;
		show_doms_locked(e, true);
	}
	sl_lock_drop(&e->lock);
	if (e->has_thread) {
		atomic_thread_fence(memory_order_seq_cst); /* pairs with lib_sleep() */
		if (atomic_load(&e->lib_aside))
			ring_lib(e);
		else if (wake < atomic_load(&e->lib_until))
			sl_kick(ctx);
	} else {
		atomic_fetch_add(&e->event, 1); /* another waiter must drive now */
		sl_futex_wake(&e->event, 1);
	}
}

/* As leave(), for EVERY_NS at most: who drove will be back before that, it seems. */
static void step_back(struct sl_engine *e, int64_t every_ns) SL_UNCHECKED
{
	sl_lock_drop(&e->lock);
	if (e->has_thread) { /* after the lock: who finds it taken counts on us to wake him */
		atomic_fetch_add(&e->visits, 1);
		if (!atomic_exchange(&e->watch_ns, every_ns))
			ring_lib(e);
	}
}

void sl_progress_enter(slime_ctx *ctx) SL_UNCHECKED
{
	struct sl_engine *e = &ctx->engine;

	if (sl_lock_try(&e->lock))
		return;
	atomic_fetch_add(&e->wanted, 1);
	if (atomic_load(&e->driver_sleeps))
		sl_kick(ctx);
	sl_lock_take(&e->lock);
	atomic_fetch_sub(&e->wanted, 1);
}

void sl_progress_exit(slime_ctx *ctx) SL_UNCHECKED
{
	leave(ctx);
}

int sl_progress_poll(slime_ctx *ctx) SL_UNCHECKED
{
	struct sl_engine *e = &ctx->engine;
	int n;

	if (!take_over(ctx))
		return 0;
	n = progress_locked(ctx);
	step_back(e, watch_ns);
	return n;
}

void sl_progress_polled(slime_ctx *ctx)
{
	struct sl_engine *e = &ctx->engine;
	int64_t now;

	if (!e->has_thread)
		return;
	if (atomic_load_explicit(&e->watch_ns, memory_order_relaxed)) {
		atomic_fetch_add_explicit(&e->visits, 1, memory_order_relaxed);
		return;
	}
	now = sl_clock_ns();
	if (now - atomic_exchange_explicit(&e->polled_ns, now, memory_order_relaxed) <
	    (atomic_load_explicit(&e->posts_long, memory_order_relaxed) ? post_max_ns : watch_ns))
		(void)sl_progress_poll(ctx);
}

struct sched_params { /* struct sched_attr of linux/sched/types.h, which glibc 2.36 has not */
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/*
 * Ask for a short slice (Linux 6.12 and later; others say no, and that is fine):
 * we run for microseconds, and whoever computes on our core when an answer comes
 * should let us in at once instead of at the end of its own slice, 4 ms later.
 * A thread's share of the processor is the same. Both calls cost more than a small
 * transfer should, so a thread keeps its short slice from one wait to the next, until
 * one of them finds the core calm.
 */
static bool set_slice(uint64_t ns)
{
	struct sched_params p;

	if (syscall(SYS_sched_getattr, 0, &p, sizeof(p), 0) || p.policy != SCHED_OTHER)
		return false;
	p.runtime = ns;
	return syscall(SYS_sched_setattr, 0, &p, 0) == 0;
}

/* Found without a call into the dynamic loader, which a wheel would then have to name. */
static _Thread_local bool slice_is_short __attribute__((tls_model("initial-exec")));

static void shorten_slice(void)
{
	if (!slice_is_short)
		slice_is_short = set_slice(100 * SL_NS_PER_US);
}

/* The default again, by 0. */
static void restore_slice(void)
{
	if (slice_is_short)
		(void)set_slice(0);
	slice_is_short = false;
}

static bool is_contended(slime_ctx *ctx, int64_t now)
{
	return now < atomic_load_explicit(&ctx->engine.no_spin_until, memory_order_relaxed);
}

/* Polling before sleep: how long still, and politely. */
struct spin {
	int64_t until;
	unsigned n;
};

static void spin_start(slime_ctx *ctx, struct spin *s, int64_t now)
{
	s->n = 0;
	s->until = is_contended(ctx, now) ? 0 : now + ctx->spin_ns;
}

/* Each time that the core is found contended again, twice as long: a yield to others may cost 4 ms.
 */
static void give_up_spinning(slime_ctx *ctx, int64_t now)
{
	struct sl_engine *e = &ctx->engine;
	int64_t ns = atomic_load_explicit(&e->no_spin_ns, memory_order_relaxed);

	atomic_store_explicit(&e->no_spin_until, now + ns, memory_order_relaxed);
	if (ns < no_spin_max_ns)
		atomic_store_explicit(&e->no_spin_ns, 2 * ns, memory_order_relaxed);
}

static bool spin_more(slime_ctx *ctx, struct spin *s, int64_t now)
{
	int64_t took;

	if (now >= s->until)
		return false;
	if (++s->n % YIELD_EVERY)
		return true;
	(void)sched_yield();
	took = sl_clock_ns() - now;
	if (took > long_yield_ns) {
		give_up_spinning(ctx, now + took);
		s->until = 0;
	} else if (s->n == CALM_AFTER * YIELD_EVERY) {
		atomic_store_explicit(&ctx->engine.no_spin_ns, no_spin_min_ns,
		                      memory_order_relaxed);
	}
	return true;
}

void sl_driver_wake(slime_ctx *ctx)
{
	struct sl_engine *e = &ctx->engine;

	if (!e->has_thread) {
		atomic_fetch_add(&e->event, 1);
		sl_futex_wake(&e->event, INT_MAX);
	}
	if (atomic_load(&e->driver_sleeps))
		sl_kick(ctx);
}

/*
 * Sleep with the lock held until a domain has work, a kick comes, or UNTIL_NS. False: the lock
 * was let go for somebody who wants it. Whoever drives next, he or another waiter, may do so
 * for ever, so it is not waited for here.
 */
static bool sleep_as_driver(slime_ctx *ctx, const struct sl_goal *goal,
                            int64_t until_ns) SL_UNCHECKED
{
	struct sl_engine *e = &ctx->engine;
	int64_t wake = until_ns;

	if (goal->nap_ns)
		wake = min_ns(wake, sl_clock_ns() + goal->nap_ns);
	if (arm_locked(ctx, &wake))
		return true;
	atomic_store(&e->driver_until, wake);
	atomic_store(&e->driver_sleeps, true);
	/* only now: who finds the mark takes it away, and must see whom to kick */
	goal->mark(goal->arg, true);
	/* whoever reached the goal or asked for something before that did not see us */
	if (!goal->reached(goal->arg) && !atomic_load(&e->work) && !atomic_load(&e->wanted) &&
	    atomic_load(&e->next_scan) >= wake)
		nap(e->doms_epfd, wake);
	atomic_store(&e->driver_sleeps, false);
	atomic_store(&e->driver_until, 0);
	drain_kick(e);
	if (!atomic_load(&e->wanted))
		return true;
	sl_lock_drop(&e->lock);
	while (atomic_load(&e->wanted))
		(void)sched_yield();
	return false;
}

/* Sleep while another thread drives. Without a library thread, that may be left to us at any time.
 */
static void sleep_aside(slime_ctx *ctx, const struct sl_goal *goal, int64_t until_ns) SL_UNCHECKED
{
	struct sl_engine *e = &ctx->engine;
	uint32_t seen = atomic_load(&e->event);

	if (goal->nap_ns)
		until_ns = min_ns(until_ns, sl_clock_ns() + goal->nap_ns);
	goal->mark(goal->arg, false);
	if (e->has_thread) {
		goal->sleep(goal->arg, until_ns);
	} else if (!goal->reached(goal->arg)) {
		if (sl_lock_try(&e->lock)) /* nobody drives any more, and who left did not see us */
			sl_lock_drop(&e->lock);
		else
			sl_futex_wait(&e->event, seen, until_ns);
	}
}

/* Is this core contended, and did the wait before this one end just now? */
static bool waits_again_locked(slime_ctx *ctx, int64_t now)
{
	struct sl_engine *e = &ctx->engine;
	int64_t since = now - e->waited_ns;

	e->waited_ns = now;
	return e->has_thread && since < watch_waits_ns && is_contended(ctx, now);
}

bool sl_drive(slime_ctx *ctx, const struct sl_goal *goal, int64_t until_ns) SL_UNCHECKED
{
	struct sl_engine *e = &ctx->engine;
	int64_t now = sl_clock_ns();
	bool driving = false;
	bool reached, others;
	struct spin spin;

	atomic_fetch_add_explicit(&e->drivers, 1, memory_order_relaxed);
	spin_start(ctx, &spin, now);
	while (!(reached = goal->reached(goal->arg)) && now < until_ns) {
		if (!driving)
			driving = take_over(ctx);
		if (driving && progress_locked(ctx)) {
			now = sl_clock_ns();
			spin_start(ctx, &spin, now);
			continue;
		}
		if (!spin_more(ctx, &spin, now)) {
			if (is_contended(ctx, now))
				shorten_slice();
			if (driving)
				driving = sleep_as_driver(ctx, goal, until_ns);
			else
				sleep_aside(ctx, goal, until_ns);
		}
		now = sl_clock_ns();
	}
	others = atomic_fetch_sub_explicit(&e->drivers, 1, memory_order_relaxed) > 1;
	if (driving && !others && waits_again_locked(ctx, now))
		step_back(e, watch_waits_ns);
	else if (driving)
		leave(ctx);
	if (!is_contended(ctx, now))
		restore_slice();
	return reached;
}

/*
 * The library thread.
 */

/* What the library thread saw of who drives in its place. */
struct watch {
	uint32_t visits;
	int64_t since_ns; /* when there were so many first */
};

/* Where a post takes a millisecond, as on emulated devices, who polls comes by less often. */
static bool somebody_posts(slime_ctx *ctx)
{
	uint32_t n = atomic_load_explicit(&ctx->ndoms, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++) {
		const struct sl_ctx_dom *d = &ctx->doms[i];

		if (d->tr->dom_posts && d->tr->dom_posts(d->dom))
			return true;
	}
	return false;
}

/* How long to leave the driving to who comes by again and again; 0: nobody did since we looked. */
static int64_t visited(slime_ctx *ctx, struct watch *w)
{
	struct sl_engine *e = &ctx->engine;
	int64_t every_ns = atomic_load(&e->watch_ns);
	uint32_t visits = atomic_load(&e->visits);
	int64_t now;

	if (!every_ns)
		return 0;
	now = sl_clock_ns();
	if (visits == w->visits) {
		if (now - w->since_ns < post_max_ns && somebody_posts(ctx)) {
			atomic_store_explicit(&e->posts_long, true, memory_order_relaxed);
			return every_ns;
		}
		atomic_store(&e->watch_ns, 0);
		visits = atomic_load(&e->visits); /* a visit before that store did not ring */
		if (visits == w->visits)
			return 0;
		atomic_store(&e->watch_ns, every_ns);
	}
	*w = (struct watch){.visits = visits, .since_ns = now};
	return every_ns;
}

/* Who drives now rings when he leaves; if he left already, he did not see us. */
static bool driver_left(struct sl_engine *e) SL_UNCHECKED
{
	if (!sl_lock_try(&e->lock))
		return false;
	sl_lock_drop(&e->lock);
	return true;
}

/*
 * ASIDE: somebody else drives. What has come is his until he leaves, and he may have lost his
 * core with the domains shown to us already: then it must not keep us awake on it.
 */
static void lib_sleep(slime_ctx *ctx, int64_t until_ns, bool aside)
{
	struct sl_engine *e = &ctx->engine;

	atomic_store(&e->lib_until, until_ns);
	atomic_store(&e->lib_aside, aside);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with leave() */
	if (!atomic_load(&e->stop) && !(aside && driver_left(e)) &&
	    (aside || (!atomic_load(&e->work) && atomic_load(&e->next_scan) >= until_ns)))
		nap(aside ? e->lib_fd : e->lib_epfd, until_ns);
	atomic_store(&e->lib_aside, false);
	atomic_store(&e->lib_until, 0);
	drain(e->lib_fd, &e->lib_rung);
}

enum lib_turn { LIB_AGAIN, LIB_SLEEP, LIB_ASIDE };

/* Drive once. LIB_SLEEP: *WAKE is when to come back. LIB_ASIDE: another thread drives. */
static enum lib_turn lib_turn(slime_ctx *ctx, struct spin *spin, bool woken,
                              int64_t *wake) SL_UNCHECKED
{
	struct sl_engine *e = &ctx->engine;
	enum lib_turn next = LIB_AGAIN;
	int64_t now;
	int work;

	*wake = SL_NEVER;
	if (atomic_load_explicit(&e->wanted, memory_order_relaxed)) {
		(void)sched_yield();
		return LIB_AGAIN;
	}
	if (!sl_lock_try(&e->lock))
		return LIB_ASIDE;
	if (woken && e->armed)
		drain_kick(e);
	work = progress_locked(ctx);
	now = sl_clock_ns();
	if (work) {
		spin_start(ctx, spin, now);
	} else if (atomic_load_explicit(&e->drivers, memory_order_relaxed) || now >= spin->until) {
		if (!arm_locked(ctx, wake))
			next = LIB_SLEEP;
		show_doms_locked(e, true);
	}
	sl_lock_drop(&e->lock);
	if (next == LIB_AGAIN && !work)
		(void)spin_more(ctx, spin, now);
	return next;
}

/* Tell domains from number N on that this thread stays with them; returns how many there are. */
static uint32_t keep_doms(slime_ctx *ctx, uint32_t n)
{
	for (; n < atomic_load_explicit(&ctx->ndoms, memory_order_acquire); n++)
		if (ctx->doms[n].tr->dom_keep)
			ctx->doms[n].tr->dom_keep(ctx->doms[n].dom);
	return n;
}

static void *lib_run(void *arg)
{
	slime_ctx *ctx = arg;
	struct sl_engine *e = &ctx->engine;
	struct spin spin = {0};
	struct watch watch = {0};
	uint32_t kept = 0;
	bool woken = false;
	int64_t wake;

	shorten_slice();
	while (!atomic_load(&e->stop)) {
		enum lib_turn next = LIB_ASIDE;
		int64_t stay_ns = visited(ctx, &watch);

		kept = keep_doms(ctx, kept);
		if (stay_ns)
			wake = sl_clock_ns() + stay_ns;
		else
			next = lib_turn(ctx, &spin, woken, &wake);
		woken = next != LIB_AGAIN;
		if (woken)
			lib_sleep(ctx, wake, next == LIB_ASIDE && wake == SL_NEVER);
	}
	if (atomic_load(&e->orphan)) {
		(void)pthread_detach(pthread_self());
		sl_ctx_free(ctx);
	}
	return NULL;
}

int sl_engine_add(slime_ctx *ctx, int fd, struct slime_error *err)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	char buf[64];

	if (epoll_ctl(ctx->engine.doms_epfd, EPOLL_CTL_ADD, fd, &ev))
		return sl_fail(err, -errno, "cannot watch a domain: %s",
		               sl_error_name(-errno, buf, sizeof(buf)));
	sl_kick(ctx); /* whoever sleeps has not armed it */
	return 0;
}

void sl_engine_added(slime_ctx *ctx)
{
	if (ctx->engine.has_thread)
		ring_lib(&ctx->engine);
}

static int add(int epfd, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

int sl_engine_start(slime_ctx *ctx, struct slime_error *err)
{
	struct sl_engine *e = &ctx->engine;
	char buf[64];
	int rc;

	sl_lock_init(&e->lock);
	atomic_store(&e->next_scan, SL_NEVER);
	atomic_store(&e->no_spin_ns, no_spin_min_ns);
	e->doms_epfd = epoll_create1(EPOLL_CLOEXEC);
	e->lib_epfd = epoll_create1(EPOLL_CLOEXEC);
	e->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e->lib_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->doms_epfd < 0 || e->lib_epfd < 0 || e->kick_fd < 0 || e->lib_fd < 0)
		rc = -errno;
	else
		rc = add(e->doms_epfd, e->kick_fd);
	if (!rc)
		rc = add(e->lib_epfd, e->doms_epfd);
	if (!rc)
		rc = add(e->lib_epfd, e->lib_fd);
	if (rc)
		goto err_free;
	e->armed = true;
	if (ctx->flags & SLIME_CTX_MANUAL_PROGRESS)
		return 0;
	e->has_thread = true;
	rc = -pthread_create(&e->thread, NULL, lib_run, ctx);
	if (rc)
		goto err_free;
	(void)pthread_setname_np(e->thread, "slime");
	return 0;

err_free:
	sl_engine_free(ctx);
	return sl_fail(err, rc, "cannot start the progress engine: %s",
	               sl_error_name(rc, buf, sizeof(buf)));
}

bool sl_engine_stop(slime_ctx *ctx)
{
	struct sl_engine *e = &ctx->engine;

	if (!e->has_thread)
		return false;
	if (pthread_equal(pthread_self(), e->thread)) {
		atomic_store(&e->orphan, true);
		atomic_store(&e->stop, true);
		return true;
	}
	atomic_store(&e->stop, true);
	ring_lib(e);
	(void)pthread_join(e->thread, NULL);
	return false;
}

void sl_engine_free(slime_ctx *ctx)
{
	struct sl_engine *e = &ctx->engine;

	if (e->lib_fd >= 0)
		(void)close(e->lib_fd);
	if (e->kick_fd >= 0)
		(void)close(e->kick_fd);
	if (e->lib_epfd >= 0)
		(void)close(e->lib_epfd);
	if (e->doms_epfd >= 0)
		(void)close(e->doms_epfd);
	sl_lock_free(&e->lock);
}
