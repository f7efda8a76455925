/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_dom.c - the domain: a port of a device, one completion queue, its events.
 *
 * progress() polls the completion queue and, while nobody has slept, nothing else: no
 * system call. What wakes a sleeper (the completion channel, an asynchronous event,
 * another thread's kick) is looked after once progress() runs again.
 *
 * The completion queue has a place for every request and receive that is, or may be,
 * posted, so it cannot overrun.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/env.h"
#include "base/error.h"
#include "base/log.h"
#include "transport/rdma/rdma_impl.h"

enum {
	CQ_FIRST = 1024,
	CLOCK_EVERY = 16, /* calls of progress() */
	WAKES_EVERY = 16,
	CHUNK_SHIFT_MAX = 30,
	CHUNK_SHIFT_MIN = 12,
	FAREWELLS = 1000, /* polls for the last datagrams to leave */
};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

void sl_rdma_tick_by(struct sl_dom *dom, int64_t when_ns)
{
	if (when_ns < dom->next_tick)
		dom->next_tick = when_ns;
}

void sl_rdma_todo(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;
	uint64_t one = 1;
	ssize_t n;

	atomic_store(&conn->todo, true);
	if (atomic_exchange(&dom->work, true))
		return;
	n = write(dom->kick_fd, &one, sizeof(one));
	(void)n; /* can only fail when it is readable already */
}

int sl_rdma_cq_take(struct sl_dom *dom, uint32_t n, struct slime_error *err)
{
	uint32_t most = dom->env.cqes;
	uint32_t need = dom->cq_used + dom->cq_stale + n;
	uint32_t size = (uint32_t)dom->cq->cqe;

	if (need > most)
		return sl_fail(err, -ENOSPC,
		               "the completion queue of '%s' has no room for more connections (%u "
		               "places at most): choose smaller SLIME_MAX_SEND_WR "
		               "or SLIME_MAX_RECV_WR, or a larger SLIME_MAX_CQ_DEPTH",
		               dom->name, most);
	while (size < need)
		size = size > most / 2 ? most : 2 * size;
	if (size > (uint32_t)dom->cq->cqe && dom->v->resize_cq(dom->cq, (int)size))
		return sl_fail(err, -ENOMEM, "'%s' cannot make its completion queue %u long",
		               dom->name, size);
	dom->cq_used += n;
	return 0;
}

/* Completions of queue pairs that are gone may be in the queue until it is seen empty. */
void sl_rdma_cq_give(struct sl_dom *dom, uint32_t n)
{
	dom->cq_used -= n;
	dom->cq_stale += n;
}

static void each_conn(struct sl_dom *dom, void (*what)(struct sl_conn *conn, int64_t arg),
                      int64_t arg)
{
	sl_lock_take(&dom->lock);
	for (struct sl_conn *c = dom->conns; c;) {
		struct sl_conn *next = c->next; /* who takes one out holds the progress lock */

		sl_lock_drop(&dom->lock);
		what(c, arg);
		sl_lock_take(&dom->lock);
		c = next;
	}
	sl_lock_drop(&dom->lock);
}

static void todo_one(struct sl_conn *conn, int64_t unused)
{
	(void)unused;
	if (atomic_exchange(&conn->todo, false))
		sl_rdma_conn_todo(conn);
}

static void do_todo(struct sl_dom *dom)
{
	uint64_t seen;
	ssize_t n = read(dom->kick_fd, &seen, sizeof(seen));

	(void)n; /* -EAGAIN: it was not readable yet, and wakes a sleeper in vain */
	atomic_store(&dom->work, false);
	each_conn(dom, todo_one, 0);
}

/*
 * Asynchronous events.
 */

static const struct {
	enum ibv_event_type type;
	enum slime_log_level level;
	const char *text;
} events[] = {
    {IBV_EVENT_PORT_ERR, SLIME_LOG_WARN,
     "the port is down: transfers wait, or fail as their retries run out"},
    {IBV_EVENT_PORT_ACTIVE, SLIME_LOG_INFO, "the port is active again"},
    {IBV_EVENT_LID_CHANGE, SLIME_LOG_WARN, "the LID changed: new connections are needed"},
    {IBV_EVENT_GID_CHANGE, SLIME_LOG_WARN, "the GID table changed: new connections may be needed"},
    {IBV_EVENT_CQ_ERR, SLIME_LOG_ERROR,
     "the completion queue failed: the device cannot be used any more"},
    {IBV_EVENT_DEVICE_FATAL, SLIME_LOG_ERROR, "the device failed or was removed"},
};

static void end_one(struct sl_conn *conn, int64_t status)
{
	if (conn->connecting && !conn->ready && !conn->refused)
		conn->refused =
		    sl_fail(&conn->why, (int)status, "device '%s' is gone", conn->dom->name);
	else if (conn->connecting)
		sl_rdma_conn_lost(conn, (int)status);
}

/* A queue pair that failed tells by its completions as well; this one may have none. */
static void qp_failed(struct sl_dom *dom, const struct ibv_qp *qp)
{
	for (uint32_t i = 0; i < dom->nslots; i++) {
		struct sl_conn *conn = dom->slots[i].conn;

		for (int kind = 0; conn && kind < RDMA_CHANS; kind++) {
			if (conn->chan[kind].qp == qp)
				sl_rdma_conn_strike(conn, kind, 0);
		}
	}
}

static void port_one(struct sl_conn *conn, int64_t now)
{
	sl_rdma_conn_port(conn, now);
}

static void on_event(struct sl_dom *dom, const struct ibv_async_event *event)
{
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (events[i].type == event->event_type)
			sl_log(events[i].level, "rdma: '%s': %s", dom->name, events[i].text);
	}
	switch (event->event_type) {
	case IBV_EVENT_QP_FATAL:
	case IBV_EVENT_QP_REQ_ERR:
	case IBV_EVENT_QP_ACCESS_ERR:
		qp_failed(dom, event->element.qp);
		break;
	case IBV_EVENT_PORT_ERR:
	case IBV_EVENT_PORT_ACTIVE:
		if (event->element.port_num != dom->port.number)
			break;
		dom->port_down = event->event_type == IBV_EVENT_PORT_ERR;
		each_conn(dom, port_one, sl_clock_ns());
		break;
	case IBV_EVENT_CQ_ERR:
	case IBV_EVENT_DEVICE_FATAL:
		dom->dead = true;
		each_conn(dom, end_one, -ENODEV);
		break;
	default:
		break;
	}
}

static void read_events(struct sl_dom *dom)
{
	struct ibv_async_event event;

	while (!dom->v->get_async_event(dom->ctx, &event)) {
		struct ibv_async_event copy = event;

		dom->v->ack_async_event(
		    &event); /* first: a queue pair with one open is not destroyed */
		on_event(dom, &copy);
	}
}

bool sl_rdma_dom_is_dead(struct sl_dom *dom)
{
	read_events(dom);
	return dom->dead;
}

/* Somebody slept: what woke him? */
static void look_for_wakes(struct sl_dom *dom)
{
	struct ibv_cq *cq;
	void *unused;

	if (!dom->v->get_cq_event(dom->channel, &cq, &unused)) {
		dom->v->ack_cq_events(cq, 1);
		dom->armed = false;
	}
	read_events(dom);
}

/*
 * Progress.
 */

static void tick_one(struct sl_conn *conn, int64_t now)
{
	sl_rdma_conn_tick(conn, now);
}

/* We did not run for long, so who was silent meanwhile may not have been. */
static void forgive_one(struct sl_conn *conn, int64_t now)
{
	conn->alive_ns = now;
}

/* ... nor did we ask, or look for an answer, when we ought to have. */
static void wait_on_one(struct sl_conn *conn, int64_t late)
{
	if (!conn->ready && conn->answer_by != SL_NEVER)
		conn->answer_by += late;
}

static void tick(struct sl_dom *dom, int64_t now)
{
	bool any = atomic_load(&dom->nconns) > 0;

	each_conn(dom, wait_on_one, now - dom->next_tick);
	dom->next_tick = any ? now + rdma_tick_ns(dom) : SL_NEVER;
	if (now - dom->last_tick > 2 * rdma_tick_ns(dom))
		each_conn(dom, forgive_one, now);
	dom->last_tick = now;
	each_conn(dom, tick_one, now);
	read_events(dom);
}

/* The first N of dom->wc. */
static inline uint32_t look_at(struct sl_dom *dom, int n)
{
	for (int i = 0; i < n; i++)
		(void)sl_rdma_wc(dom, &dom->wc[i]);
	return n > 0 ? (uint32_t)n : 0;
}

static inline int poll_some(struct sl_dom *dom, uint32_t budget)
{
	uint32_t done = look_at(dom, dom->found);
	int n;

	dom->found = 0;
	do {
		n = dom->v->poll_cq(dom->cq, RDMA_POLL, dom->wc);
		done += look_at(dom, n);
	} while (n == RDMA_POLL && done < budget);
	if (n >= 0 && n < RDMA_POLL)
		dom->cq_stale = 0;
	return (int)done;
}

int sl_rdma_progress(struct sl_dom *dom, unsigned budget)
{
	int done = poll_some(dom, min_u32(budget, dom->env.polls));

	dom->calls++;
	if (dom->armed && (done || dom->calls % WAKES_EVERY == 0))
		look_for_wakes(dom);
	if (atomic_load_explicit(&dom->work, memory_order_relaxed)) {
		do_todo(dom);
		done++;
	}
	if (dom->next_tick != SL_NEVER && (dom->slept || dom->calls % CLOCK_EVERY == 0)) {
		int64_t now = sl_clock_ns();

		dom->slept = false;
		if (now >= dom->next_tick)
			tick(dom, now);
	}
	return done;
}

int sl_rdma_fd(struct sl_dom *dom)
{
	return dom->epfd;
}

bool sl_rdma_posts(const struct sl_dom *dom)
{
	return atomic_load_explicit(&dom->posts, memory_order_relaxed);
}

/* Order matters: what comes after the notification was asked for is told, what came before is
 * found. */
int sl_rdma_arm(struct sl_dom *dom, int64_t *wake_ns)
{
	if (dom->next_tick < *wake_ns)
		*wake_ns = dom->next_tick;
	dom->slept = true;
	if (dom->found || atomic_load(&dom->work))
		return 1;
	if (!dom->armed && !dom->v->req_notify_cq(dom->cq, 0))
		dom->armed = true;
	dom->found = dom->v->poll_cq(dom->cq, RDMA_POLL, dom->wc);
	if (dom->found < 0)
		dom->found = 0;
	return dom->found > 0;
}

/*
 * Open and close.
 */

static int watch(struct sl_dom *dom, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ||
	    epoll_ctl(dom->epfd, EPOLL_CTL_ADD, fd, &ev))
		return -errno;
	return 0;
}

static int open_fds(struct sl_dom *dom, struct slime_error *err)
{
	char text[64];
	int rc = 0;

	dom->epfd = epoll_create1(EPOLL_CLOEXEC);
	dom->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dom->epfd < 0 || dom->kick_fd < 0)
		rc = -errno;
	if (!rc)
		rc = watch(dom, dom->kick_fd);
	if (!rc)
		rc = watch(dom, dom->channel->fd);
	if (!rc)
		rc = watch(dom, dom->ctx->async_fd);
	return rc ? sl_fail(err, rc, "cannot watch '%s': %s", dom->name,
	                    sl_error_name(rc, text, sizeof(text)))
	          : 0;
}

static int open_objects(struct sl_dom *dom, struct slime_error *err)
{
	const struct sl_verbs *v = dom->v;

	errno = 0;
	dom->pd = v->alloc_pd(dom->ctx);
	if (dom->pd)
		dom->channel = v->create_comp_channel(dom->ctx);
	if (dom->channel)
		dom->cq =
		    v->create_cq(dom->ctx, dom->env.cqes < CQ_FIRST ? (int)dom->env.cqes : CQ_FIRST,
		                 NULL, dom->channel, 0);
	if (!dom->cq)
		return sl_fail(err, errno ? -errno : -EIO,
		               "'%s' gives no %s: out of locked memory (see 'ulimit -l') or of "
		               "its resources",
		               dom->name,
		               dom->channel ? "completion queue"
		               : dom->pd    ? "completion channel"
		                            : "protection domain");
	return 0;
}

static void limit_to_device(struct sl_dom *dom)
{
	const struct ibv_device_attr *attr = &dom->attr.orig_attr;
	struct rdma_env *env = &dom->env;
	uint32_t most = min_u32(dom->port.attr.max_msg_sz, env->chunk);

	dom->chunk_shift = CHUNK_SHIFT_MIN;
	while (dom->chunk_shift < CHUNK_SHIFT_MAX && (most >> dom->chunk_shift) > 1)
		dom->chunk_shift++;
	dom->chunk = UINT64_C(1) << dom->chunk_shift;
	env->reads_in = min_u32(env->reads_in, (uint32_t)attr->max_qp_rd_atom);
	env->reads_out = min_u32(env->reads_out, (uint32_t)attr->max_qp_init_rd_atom);
	env->reads_in = env->reads_in ? env->reads_in : 1;
	env->reads_out = env->reads_out ? env->reads_out : 1;
	env->cqes = min_u32(env->cqes, (uint32_t)attr->max_cqe);
}

/* Closing, a last word to the peers may be on its way. */
static void say_farewell(struct sl_dom *dom)
{
	struct ibv_wc wc;

	for (int i = 0; i < FAREWELLS && dom->box.out_done < dom->box.out_posted && !dom->dead;
	     i++) {
		if (dom->v->poll_cq(dom->cq, 1, &wc) == 1 && wc.wr_id >> 44 == RDMA_SLOT_BOX)
			sl_rdma_box_wc(dom, &wc);
		else
			(void)poll(NULL, 0, 0);
	}
}

void sl_rdma_dom_close(struct sl_dom *dom)
{
	const struct sl_verbs *v = dom->v;

	if (dom->box.qp)
		say_farewell(dom);
	sl_rdma_box_close(dom);
	if (dom->cq)
		(void)v->destroy_cq(dom->cq);
	if (dom->channel)
		(void)v->destroy_comp_channel(dom->channel);
	if (dom->pd)
		(void)v->dealloc_pd(dom->pd);
	if (dom->ctx)
		(void)v->close_device(dom->ctx);
	if (dom->kick_fd >= 0)
		(void)close(dom->kick_fd);
	if (dom->epfd >= 0)
		(void)close(dom->epfd);
	sl_lock_free(&dom->lock);
	free(dom->slots);
	free(dom);
}

static void read_env(struct rdma_env *out)
{
	*out = (struct rdma_env){
	    .gid_index = (int)sl_env_int(SL_ENV_GID_INDEX),
	    .service_level = (uint32_t)sl_env_int(SL_ENV_SERVICE_LEVEL),
	    .traffic_class = (uint32_t)sl_env_int(SL_ENV_TRAFFIC_CLASS),
	    .reads_out = (uint32_t)sl_env_int(SL_ENV_MAX_RD_ATOMIC),
	    .reads_in = (uint32_t)sl_env_int(SL_ENV_MAX_DEST_RD_ATOMIC),
	    .send_wr = (uint32_t)sl_env_int(SL_ENV_MAX_SEND_WR),
	    .recv_wr = (uint32_t)sl_env_int(SL_ENV_MAX_RECV_WR),
	    .cqes = (uint32_t)sl_env_int(SL_ENV_MAX_CQ_DEPTH),
	    .polls = (uint32_t)sl_env_int(SL_ENV_POLL_COUNT),
	    .chunk = (uint32_t)sl_env_int(SL_ENV_MAX_LENGTH),
	    .odp = sl_env_int(SL_ENV_ODP) == 1,
	    .first_answer_ns = sl_env_int(SL_ENV_FIRST_ANSWER) * SL_NS_PER_MS,
	};
}

int sl_rdma_dom_open(const struct sl_dom_opts *opts, struct sl_dom **out, struct slime_error *err)
{
	struct sl_dom *dom = calloc(1, sizeof(*dom));
	int rc;

	if (!dom)
		return sl_fail(err, -ENOMEM, "no memory for an rdma domain");
	sl_lock_init(&dom->lock);
	dom->epfd = dom->kick_fd = -1;
	dom->next_tick = SL_NEVER;
	dom->last_tick = sl_clock_ns();
	dom->peer_timeout_ns = opts->peer_timeout_ms * SL_NS_PER_MS;
	read_env(&dom->env);
	rc = sl_verbs_get(&dom->v, err);
	if (!rc)
		rc = sl_rdma_dev_open(dom, opts->device, err);
	if (!rc) {
		limit_to_device(dom);
		rc = open_objects(dom, err);
	}
	if (!rc)
		rc = open_fds(dom, err);
	if (!rc)
		rc = sl_rdma_box_open(dom, err);
	if (rc) {
		sl_rdma_dom_close(dom);
		return rc;
	}
	*out = dom;
	return 0;
}
