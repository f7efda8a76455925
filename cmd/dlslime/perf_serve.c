/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The serving side of perf. Each connection is a session: the client says what
 * it wants, gets a region and an endpoint, and from then on does as it likes
 * until it hangs up. Immediates and messages are consumed by a second thread.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <slime/slime.h>

#include "perf.h"
#include "perf_wire.h"
#include "say.h"

static const int64_t second = 1000000000;

enum { CLIENTS_MAX = 128, SILENCE_S = 60 };

struct server {
	slime_ctx *ctx;
	_Atomic uint64_t memory_left;
};

struct session {
	struct server *server;
	struct chan *chan;
	struct perf_shape shape;
	uint64_t taken; /* of the server's memory_left */
	char *mem;
	slime_mr *mr;
	slime_ep *ep;
	slime_cq *cq;
	pthread_t consumer;
	bool consuming;
	_Atomic bool stop;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t came;
	int status;       /* what ended the consumer */
	uint64_t base;    /* operations before this one have been checked */
	uint64_t n_seen;  /* immediates or messages that came */
	uint64_t n_wrong; /* of them */
};

static bool take_memory(struct server *server, uint64_t len)
{
	uint64_t left = atomic_load(&server->memory_left);

	do {
		if (left < len)
			return false;
	} while (!atomic_compare_exchange_weak(&server->memory_left, &left, left - len));
	return true;
}

static int session_memory(struct session *s, struct slime_error *err)
{
	const struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	uint64_t len;
	int rc = perf_shape_check(&s->shape, atomic_load(&s->server->memory_left), err);

	if (rc < 0)
		return rc;
	len = perf_region_len(&s->shape);
	if (!take_memory(s->server, len))
		return refuse(err, -ENOMEM, "other clients hold the memory, try again later");
	s->taken = len;
	rc = perf_mem_get(s->server->ctx, &s->shape, &s->mem, err);
	if (rc < 0)
		return rc;
	for (uint64_t b = 0; s->shape.op == PERF_READ && b < s->shape.blocks; b++)
		perf_fill(&s->shape, s->mem, b, 0);
	return slime_mr_register(s->server->ctx, s->mem, len, &opts, &s->mr, err);
}

static int session_endpoint(struct session *s, struct slime_error *err)
{
	int rc = perf_ep_create(s->server->ctx, &s->shape, &s->ep, err);

	if (rc < 0)
		return rc;
	return slime_cq_create(s->server->ctx, s->shape.depth + 1, &s->cq, err);
}

static int session_grant(struct session *s, struct slime_error *err)
{
	struct slime_desc desc;
	struct msg m;
	int rc;

	msg_begin(&m, PERF_GRANT);
	rc = slime_ep_export(s->ep, &desc, err);
	if (rc < 0)
		return rc;
	put_desc(&m, &desc);
	rc = slime_mr_export(s->mr, &desc, err);
	if (rc < 0)
		return rc;
	put_desc(&m, &desc);
	return chan_send(s->chan, &m, 5 * second, err);
}

/* Keep room for the K-th immediate or message. */
static int post_receive(struct session *s, uint64_t k)
{
	const struct slime_submit how = {.size = sizeof(how), .cq = s->cq, .user_data = k};
	struct slime_span span = {.mr = s->mr, .len = s->shape.size};

	if (s->shape.op == PERF_WRITE_IMM)
		return slime_ep_recv_imm(s->ep, &how, NULL);
	span.off = k % s->shape.blocks * perf_step(&s->shape);
	return slime_ep_recv(s->ep, &span, &how, NULL);
}

/* Which operation RES belongs to: messages come in order, immediates say it. */
static uint64_t operation_of(const struct session *s, const struct slime_result *res, uint64_t base)
{
	if (s->shape.op == PERF_SEND)
		return res->user_data;
	return base + (uint32_t)(res->imm - (uint32_t)base);
}

static bool is_right(const struct session *s, const struct slime_result *res, uint64_t base)
{
	uint64_t index = operation_of(s, res, base);

	if (res->bytes != perf_op_bytes(&s->shape))
		return false;
	return !s->shape.verify || perf_right(&s->shape, s->mem, index % s->shape.blocks, index);
}

/* Look at N results and post as many receives anew. */
static int consume(struct session *s, const struct slime_result *res, int n)
{
	uint64_t n_wrong = 0;
	uint64_t base;
	int rc = 0;

	(void)pthread_mutex_lock(&s->lock);
	base = s->base;
	(void)pthread_mutex_unlock(&s->lock);
	for (int i = 0; rc == 0 && i < n; i++) {
		rc = res[i].status;
		if (rc < 0)
			break;
		n_wrong += !is_right(s, &res[i], base);
		rc = post_receive(s, res[i].user_data + s->shape.depth);
	}
	(void)pthread_mutex_lock(&s->lock);
	s->n_seen += (uint64_t)n;
	s->n_wrong += n_wrong;
	(void)pthread_cond_signal(&s->came);
	(void)pthread_mutex_unlock(&s->lock);
	return rc;
}

/*
 * The consumer cannot go on: wake the session, which tells the client. A client
 * that left makes its endpoint fail as well, and is not there to be told.
 */
static void give_up(struct session *s, int rc)
{
	(void)pthread_mutex_lock(&s->lock);
	s->status = rc;
	(void)pthread_cond_signal(&s->came);
	(void)pthread_mutex_unlock(&s->lock);
	(void)shutdown(s->chan->fd, SHUT_RD);
}

static void *consumer_main(void *arg)
{
	struct session *s = arg;
	struct slime_result res[64];
	int rc = 0;

	while (rc == 0 && !atomic_load(&s->stop)) {
		int n = slime_cq_wait(s->cq, res, 64, second / 10);

		if (n > 0)
			rc = consume(s, res, n);
		else if (n != -ETIMEDOUT)
			rc = n;
	}
	if (rc < 0)
		give_up(s, rc);
	return NULL;
}

static int session_consume(struct session *s, struct slime_error *err)
{
	char name[64];
	int rc = 0;

	if (s->shape.op != PERF_WRITE_IMM && s->shape.op != PERF_SEND)
		return 0;
	for (uint32_t k = 0; rc == 0 && k < s->shape.depth; k++)
		rc = post_receive(s, k);
	if (rc == 0)
		rc = -pthread_create(&s->consumer, NULL, consumer_main, s);
	if (rc < 0)
		return refuse(err, rc, "the server cannot receive: %s",
		              errno_name(rc, name, sizeof(name)));
	s->consuming = true;
	return 0;
}

/* Everything up to the point where the client may begin. */
static int session_open(struct session *s, struct msg *wish, struct slime_error *err)
{
	struct slime_desc peer;
	struct msg m;
	int rc;

	perf_shape_get(wish, &s->shape);
	get_desc(wish, &peer);
	if (!msg_ok(wish))
		return refuse(err, -EPROTO, "the client's wish cannot be read");
	rc = session_memory(s, err);
	if (rc == 0)
		rc = session_endpoint(s, err);
	if (rc == 0)
		rc = session_grant(s, err);
	if (rc == 0)
		rc = slime_ep_connect(s->ep, &peer, 10 * second, err);
	if (rc == 0)
		rc = session_consume(s, err);
	if (rc < 0)
		return rc;
	msg_begin(&m, PERF_CONNECTED);
	return chan_send(s->chan, &m, 5 * second, err);
}

static void session_close(struct session *s)
{
	atomic_store(&s->stop, true);
	if (s->consuming) {
		slime_ep_close(s->ep);
		(void)pthread_join(s->consumer, NULL);
	}
	slime_ep_destroy(s->ep);
	slime_cq_destroy(s->cq);
	slime_mr_deregister(s->mr);
	perf_mem_put(s->server->ctx, &s->shape, s->mem);
	atomic_fetch_add(&s->server->memory_left, s->taken);
}

/* Wait until END immediates or messages came, and take how many were wrong or are missing. */
static uint64_t wait_for_operations(struct session *s, uint64_t end)
{
	struct timespec until;
	uint64_t n_bad;
	int rc = 0;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 5;
	(void)pthread_mutex_lock(&s->lock);
	while (s->n_seen < end && s->status == 0 && rc == 0)
		rc = pthread_cond_timedwait(&s->came, &s->lock, &until);
	n_bad = s->n_wrong + (s->n_seen > end ? s->n_seen - end : end - s->n_seen);
	s->n_wrong = 0;
	s->base = end;
	(void)pthread_mutex_unlock(&s->lock);
	return n_bad;
}

/* Compare what the operations [first, first + n) should have brought. */
static int session_check(struct session *s, struct msg *m, struct slime_error *err)
{
	uint64_t first = get_uint(m, 8);
	uint64_t n = get_uint(m, 4);
	uint64_t n_bad = 0;

	if (!msg_ok(m) || n > s->shape.depth || first > UINT64_MAX - n)
		return refuse(err, -EPROTO, "the client's check cannot be read");
	if (s->consuming)
		n_bad = wait_for_operations(s, first + n);
	for (uint64_t i = first; !s->consuming && i < first + n; i++)
		n_bad += !perf_right(&s->shape, s->mem, i % s->shape.blocks, i);
	msg_begin(m, PERF_CHECKED);
	put_uint(m, n_bad, 8);
	return chan_send(s->chan, m, 5 * second, err);
}

/* The client hung up, which is how it should end, or the consumer gave up. */
static int session_end(struct session *s, struct slime_error *err)
{
	char name[64];
	int rc;

	(void)pthread_mutex_lock(&s->lock);
	rc = s->status;
	(void)pthread_mutex_unlock(&s->lock);
	return rc < 0 ? refuse(err, rc, "receiving failed: %s", errno_name(rc, name, sizeof(name)))
	              : 0;
}

/* Until the client hangs up (0) or misbehaves. */
static int session_run(struct session *s, struct slime_error *err)
{
	struct msg m;
	int rc;

	for (;;) {
		rc = chan_recv(s->chan, &m, SILENCE_S * second, err);
		if (rc < 0)
			return rc == -ECONNRESET ? session_end(s, err) : rc;
		if (m.type == PERF_CHECK)
			rc = session_check(s, &m, err);
		else if (m.type != PERF_PING)
			rc = refuse(err, -EPROTO, "message %u makes no sense here", m.type);
		if (rc < 0)
			return rc;
	}
}

/* The client only wants to know that this process lives. */
static void watch_session(struct chan *chan)
{
	struct msg m;
	int rc;

	do {
		msg_begin(&m, PERF_ALIVE);
		if (chan_send(chan, &m, second, NULL) < 0)
			return;
		rc = chan_recv(chan, &m, second / 4, NULL);
	} while (rc == -ETIMEDOUT);
}

static void serve_client(struct chan *chan, int token, void *arg)
{
	struct session s = {.server = arg,
	                    .chan = chan,
	                    .lock = PTHREAD_MUTEX_INITIALIZER,
	                    .came = PTHREAD_COND_INITIALIZER};
	struct slime_error err = {0};
	struct msg m;
	int rc = chan_recv(chan, &m, 5 * second, &err);

	(void)token;
	if (rc < 0)
		return;
	if (m.type == PERF_WATCH) {
		watch_session(chan);
		return;
	}
	if (m.type != PERF_WISH)
		return;
	rc = session_open(&s, &m, &err);
	if (rc == 0)
		rc = session_run(&s, &err);
	if (rc < 0)
		chan_send_error(chan, &err);
	session_close(&s);
}

static int know_client(const uint8_t *hello, void *arg)
{
	(void)arg;
	return memcmp(hello, perf_hello, PERF_HELLO_LEN) == 0 ? 0 : -EPROTO;
}

int perf_serve(slime_ctx *ctx, struct door *door)
{
	const struct door_rules rules = {
	    .hello_len = PERF_HELLO_LEN,
	    .max_guests = CLIENTS_MAX,
	    .know = know_client,
	    .serve = serve_client,
	};
	struct server server = {.ctx = ctx, .memory_left = perf_mem_limit()};

	return door_run(door, &rules, &server);
}
