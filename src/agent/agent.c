/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/agent.c - an agent's life: its thread, and how other threads ask it for something. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent_impl.h"
#include "agent/listen.h"
#include "base/error.h"
#include "base/random.h"

enum {
	LOOK_MS = 1000,        /* how often links are looked at when nobody says anything */
	CONNECTING_MAX = 1024, /* links that connect at the same time; more of them take turns */
};

void sl_agent_kick(slime_agent *agent)
{
	uint64_t one = 1;

	if (write(agent->wake_fd, &one, sizeof(one)) < 0)
		return; /* it is full: the loop is about to look */
}

void sl_job_done(slime_agent *agent, struct sl_job *job, int status, const struct slime_error *err)
{
	sl_lock_take(&agent->lock);
	TAILQ_REMOVE(&agent->running, job, entry);
	job->status = status;
	if (err)
		job->err = *err;
	job->done = true;
	(void)pthread_cond_broadcast(&agent->changed);
	sl_lock_drop(&agent->lock);
}

int sl_agent_run(slime_agent *agent, struct sl_job *job, struct slime_error *err)
{
	job->done = false;
	sl_lock_take(&agent->lock);
	if (agent->closing) {
		sl_lock_drop(&agent->lock);
		return sl_fail(err, -ECANCELED, "the agent is closed");
	}
	TAILQ_INSERT_TAIL(&agent->jobs, job, entry);
	sl_agent_kick(agent);
	while (!job->done) /* every conversation has a limit, and closing ends them all */
		(void)pthread_cond_wait(&agent->changed, &agent->lock.mutex);
	sl_lock_drop(&agent->lock);
	if (job->status < 0)
		return sl_fail(err, job->status, "%s", job->err.text);
	return job->status;
}

static void start_jobs(slime_agent *agent)
{
	struct sl_job *job;

	for (;;) {
		sl_lock_take(&agent->lock);
		job = TAILQ_FIRST(&agent->jobs);
		if (job) {
			TAILQ_REMOVE(&agent->jobs, job, entry);
			TAILQ_INSERT_TAIL(&agent->running, job, entry);
		}
		sl_lock_drop(&agent->lock);
		if (!job)
			return;
		job->start(agent, job);
	}
}

/*
 * Free lost sessions, but not at once: what is in flight on them had better end with what
 * its transport says, -ECONNRESET, than with the -ECANCELED of a destroyed endpoint.
 */
static void bury(slime_agent *agent, int64_t grace_ns)
{
	struct sl_session *s;

	for (;;) {
		sl_lock_take(&agent->lock);
		s = TAILQ_FIRST(&agent->graves);
		if (s && s->buried_ns + grace_ns > sl_clock_ns())
			s = NULL;
		if (s)
			TAILQ_REMOVE(&agent->graves, s, entry);
		sl_lock_drop(&agent->lock);
		if (!s)
			return;
		sl_session_free(s);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	slime_agent *agent = arg;
	bool closing;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	start_jobs(agent);
	sl_link_look(agent);
	bury(agent, SL_NS_PER_S / 2);
	sl_lock_take(&agent->lock);
	closing = agent->closing;
	sl_lock_drop(&agent->lock);
	if (closing)
		(void)event_base_loopbreak(agent->loop);
}

/* What was asked and not answered when the loop ended. */
static void cancel_jobs(slime_agent *agent)
{
	struct slime_error err;
	struct sl_job *job;

	start_jobs(agent);
	for (;;) {
		sl_lock_take(&agent->lock);
		job = TAILQ_FIRST(&agent->running);
		sl_lock_drop(&agent->lock);
		if (!job)
			return;
		sl_job_done(agent, job, sl_fail(&err, -ECANCELED, "the agent is closed"), &err);
	}
}

static void on_settled(evutil_socket_t fd, short what, void *arg)
{
	slime_agent *agent = arg;
	enum { TAKE = 32 };
	struct slime_result res[TAKE];
	int n;

	(void)fd;
	(void)what;
	do { /* one that takes less than it may has emptied the queue: to look again is to drive */
		n = slime_cq_take(agent->settled, res, TAKE);
		for (int i = 0; i < n; i++)
			sl_link_settled(agent, res[i].user_data);
	} while (n == TAKE);
}

static void *loop_main(void *arg)
{
	slime_agent *agent = arg;

	(void)event_base_loop(agent->loop, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

unsigned sl_bucket_of(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a: names are short */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h % SL_BUCKETS;
}

uint32_t sl_backoff_ms(uint32_t failures)
{
	uint32_t ms = failures > 5 ? 2000 : 50u << failures;
	uint32_t dice = 0;

	(void)sl_random(&dice, sizeof(dice));
	return ms - ms / 4 + dice % (ms / 2 + 1);
}

void sl_timer_in(struct event *timer, int64_t us)
{
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	(void)event_add(timer, &tv);
}

int sl_name_check(const char *what, const char *name, struct slime_error *err)
{
	size_t len = name ? strnlen(name, SL_ALIAS_MAX) : 0;
	json_t *text;

	if (!len)
		return sl_fail(err, -EINVAL, "%s is empty", what);
	if (len >= SL_ALIAS_MAX)
		return sl_fail(err, -EINVAL, "%s has more than %d bytes", what, SL_ALIAS_MAX - 1);
	for (const char *c = name; *c; c++) {
		if ((uint8_t)*c < 0x20 || *c == 0x7f)
			return sl_fail(err, -EINVAL, "%s has a control character in it", what);
	}
	text = json_string(name); /* which knows what UTF-8 is */
	if (!text)
		return sl_fail(err, -EINVAL, "%s is not UTF-8", what);
	json_decref(text);
	return 0;
}

char *sl_agent_path(const slime_agent *agent, const char *alias, const char *tail,
                    const char *query)
{
	char *quoted = alias ? sl_ctrl_quote(alias) : NULL;
	char *path = NULL;

	if (alias && !quoted)
		return NULL;
	if (asprintf(&path, "/v1/agents%s%s%s%s?%s%s", alias ? "/" : "", alias ? quoted : "",
	             tail ? "/" : "", tail ? tail : "", agent->scope_query, query ? query : "") < 0)
		path = NULL;
	free(quoted);
	return path;
}

void sl_agent_ref(slime_agent *agent)
{
	atomic_fetch_add(&agent->refs, 1);
}

static void agent_free(slime_agent *agent)
{
	sl_friends_free(agent);
	while (!LIST_EMPTY(&agent->clients))
		sl_ctrl_destroy(LIST_FIRST(&agent->clients));
	if (agent->settled_event)
		event_free(agent->settled_event);
	if (agent->wake)
		event_free(agent->wake);
	if (agent->loop)
		event_base_free(agent->loop);
	if (agent->wake_fd >= 0)
		(void)close(agent->wake_fd);
	slime_cq_destroy(agent->settled);
	free(agent->wanted_alias);
	free(agent->prefix);
	free(agent->scope);
	free(agent->scope_query);
	free(agent->resource);
	free(agent->listen);
	(void)pthread_cond_destroy(&agent->changed);
	sl_lock_free(&agent->lock);
	free(agent);
}

void sl_agent_unref(slime_agent *agent)
{
	if (atomic_fetch_sub(&agent->refs, 1) == 1)
		agent_free(agent);
}

static const char *env_text(const char *name)
{
	const char *text = getenv(name);

	return text && *text ? text : NULL;
}

/* What is set for all of a job is of no use to those in it who do without TLS. */
static void take_certificates(struct sl_ctrl_opts *out, const struct slime_agent_opts *opts)
{
	bool tls = opts->ctrl_url && strncasecmp(opts->ctrl_url, "https://", 8) == 0;
	bool shows = opts->cert_file || opts->key_file;

	out->ca_file = opts->ca_file || !tls ? opts->ca_file : env_text("DLSLIME_CTRL_CA_FILE");
	out->cert_file = shows || !tls ? opts->cert_file : env_text("DLSLIME_CTRL_CERT_FILE");
	out->key_file = shows || !tls ? opts->key_file : env_text("DLSLIME_CTRL_KEY_FILE");
}

static int make_loop(slime_agent *agent, const struct slime_agent_opts *opts,
                     struct slime_error *err)
{
	struct event_config *config = event_config_new();
	struct sl_ctrl_opts ctrl = {
	    .url = opts->ctrl_url, .token = opts->token, .of = &agent->clients, .batches = true};
	int fd;

	/* microseconds count while a link is connecting */
	if (config) {
		(void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
		(void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
		agent->loop = event_base_new_with_config(config);
		event_config_free(config);
	}
	agent->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!agent->loop || agent->wake_fd < 0)
		return sl_fail(err, -EMFILE, "no event loop to be had for an agent: %s",
		               strerror(errno));
	agent->wake = event_new(agent->loop, agent->wake_fd, EV_READ | EV_PERSIST, on_wake, agent);
	if (!agent->wake)
		return sl_fail(err, -ENOMEM, "no memory for an agent");
	sl_timer_in(agent->wake, LOOK_MS * 1000);
	fd = slime_cq_fd(agent->settled);
	if (fd < 0)
		return sl_fail(err, fd, "no descriptor to be had for an agent");
	agent->settled_event = event_new(agent->loop, fd, EV_READ | EV_PERSIST, on_settled, agent);
	if (!agent->settled_event || event_add(agent->settled_event, NULL))
		return sl_fail(err, -ENOMEM, "no memory for an agent");
	ctrl.loop = agent->loop;
	take_certificates(&ctrl, opts);
	return ctrl.url ? sl_ctrl_create(&ctrl, &agent->ctrl, err) : 0;
}

static char *copy_or(const char *given, const char *fallback)
{
	return strdup(given ? given : fallback);
}

static int take_opts(slime_agent *agent, const struct slime_agent_opts *opts,
                     struct slime_error *err)
{
	char *scope;

	agent->ttl_ms = opts->ttl_ms ? opts->ttl_ms : 15000;
	agent->timeout_ms = opts->timeout_ms ? opts->timeout_ms : 5000;
	agent->wanted_alias = opts->alias ? strdup(opts->alias) : NULL;
	agent->prefix = copy_or(opts->name_prefix, "agent");
	agent->scope = copy_or(opts->scope, "");
	agent->resource = opts->resource ? strdup(opts->resource) : NULL;
	agent->listen = opts->listen ? strdup(opts->listen) : NULL;
	scope = sl_ctrl_quote(agent->scope ? agent->scope : "");
	if (!scope || asprintf(&agent->scope_query, "scope=%s", scope) < 0)
		agent->scope_query = NULL;
	free(scope);
	if (!agent->prefix || !agent->scope || !agent->scope_query ||
	    (opts->alias && !agent->wanted_alias) || (opts->resource && !agent->resource) ||
	    (opts->listen && !agent->listen))
		return sl_fail(err, -ENOMEM, "no memory for an agent");
	if (sl_hex_random(agent->life, SL_LIFE_LEN - 1) ||
	    sl_hex_random(agent->secret, SL_TICKET_SECRET - 1))
		return sl_fail(err, -EIO, "the system gives no random numbers");
	return 0;
}

static int check_opts(slime_ctx *ctx, const struct slime_agent_opts *opts, struct slime_error *err)
{
	int rc = 0;

	if (!ctx || opts->flags)
		return sl_fail(err, -EINVAL, "no context, or flags that there are not");
	if (opts->ttl_ms && (opts->ttl_ms < 1000 || opts->ttl_ms > 600000))
		return sl_fail(err, -EINVAL, "a TTL of %u ms is not within 1000 and 600000",
		               opts->ttl_ms);
	if (opts->timeout_ms > 600000)
		return sl_fail(err, -EINVAL, "a timeout of %u ms is more than 600000",
		               opts->timeout_ms);
	if (opts->alias)
		rc = sl_name_check("the alias", opts->alias, err);
	if (!rc && opts->name_prefix)
		rc = sl_name_check("the prefix of the name", opts->name_prefix, err);
	if (!rc && opts->scope && opts->scope[0])
		rc = sl_name_check("the scope", opts->scope, err);
	return rc;
}

static slime_agent *agent_new(slime_ctx *ctx)
{
	slime_agent *agent = calloc(1, sizeof(*agent));
	pthread_condattr_t attr;

	if (!agent)
		return NULL;
	agent->ctx = ctx;
	agent->wake_fd = -1;
	atomic_store(&agent->refs, 1);
	sl_lock_init(&agent->lock);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&agent->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	TAILQ_INIT(&agent->jobs);
	TAILQ_INIT(&agent->running);
	TAILQ_INIT(&agent->links);
	TAILQ_INIT(&agent->graves);
	LIST_INIT(&agent->clients);
	LIST_INIT(&agent->friends);
	return agent;
}

/*
 * A description of a region covers the transports that are open when it is made, so all that a
 * link may choose are opened before the first region is published. Which of them fail, links tell.
 */
static void open_transports(slime_ctx *ctx)
{
	slime_ep *ep = NULL;

	if (slime_ep_create(ctx, NULL, &ep, NULL) == 0)
		slime_ep_destroy(ep);
}

/* Handlers of the user's are not for a thread of ours, and who hangs up does not end the process.
 */
static int start_loop(slime_agent *agent, struct slime_error *err)
{
	sigset_t most, old;
	int rc;

	(void)sigfillset(&most);
	(void)sigdelset(&most, SIGSEGV);
	(void)sigdelset(&most, SIGBUS);
	(void)sigdelset(&most, SIGFPE);
	(void)sigdelset(&most, SIGILL);
	(void)pthread_sigmask(SIG_SETMASK, &most, &old);
	rc = pthread_create(&agent->thread, NULL, loop_main, agent);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? sl_fail(err, -EAGAIN, "no thread to be had for an agent") : 0;
}

/* Of a caller that knows fewer fields, too. */
static int read_opts(const struct slime_agent_opts *opts, struct slime_agent_opts *out,
                     struct slime_error *err)
{
	size_t first = offsetof(struct slime_agent_opts, cert_file);

	if (!opts || (opts->size != sizeof(*opts) && opts->size != first))
		return sl_fail(err, -EINVAL, "no options, or options of another version");
	memset(out, 0, sizeof(*out));
	memcpy(out, opts, opts->size);
	return 0;
}

int slime_agent_create(slime_ctx *ctx, const struct slime_agent_opts *given, slime_agent **out,
                       struct slime_error *err)
{
	struct sl_job job = {.start = sl_register_start};
	struct slime_agent_opts copy, *opts = &copy;
	slime_agent *agent;
	int rc = read_opts(given, opts, err);

	if (!rc)
		rc = check_opts(ctx, opts, err);
	if (rc)
		return rc;
	agent = agent_new(ctx);
	if (!agent)
		return sl_fail(err, -ENOMEM, "no memory for an agent");
	open_transports(ctx);
	rc = take_opts(agent, opts, err);
	if (!rc)
		rc = slime_cq_create(ctx, CONNECTING_MAX, &agent->settled, err);
	if (!rc)
		rc = make_loop(agent, opts, err);
	if (!rc)
		rc = start_loop(agent, err);
	if (rc) {
		agent_free(agent);
		return rc;
	}
	agent->has_thread = true;
	rc = sl_agent_run(agent, &job, err);
	if (rc) {
		slime_agent_destroy(agent);
		return rc;
	}
	*out = agent;
	return 0;
}

const char *slime_agent_alias(const slime_agent *agent)
{
	return agent->alias;
}

uint64_t slime_agent_incarnation(const slime_agent *agent)
{
	return atomic_load(&agent->incarnation);
}

static void stop_job(slime_agent *agent, struct sl_job *job)
{
	sl_link_stop_all(agent);
	sl_mailbox_stop(agent);
	sl_follow_stop(agent);
	sl_doubt_stop(agent);
	sl_door_close(agent);
	sl_register_leave(agent, job);
}

void slime_agent_destroy(slime_agent *agent)
{
	struct sl_job job = {.start = stop_job};

	if (!agent)
		return;
	(void)sl_agent_run(agent, &job, NULL);
	sl_lock_take(&agent->lock);
	agent->closing = true;
	sl_lock_drop(&agent->lock);
	sl_agent_kick(agent);
	(void)pthread_join(agent->thread, NULL);
	cancel_jobs(agent);
	sl_register_stop(agent);
	sl_door_close(agent);
	sl_flight_door_close(agent->flight_door);
	bury(agent, 0);
	sl_presence_free(agent);
	sl_publish_free(agent);
	sl_agent_unref(agent);
}
