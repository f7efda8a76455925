/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/store_rig.c - a store on a loop, and a real redis-server where it needs one. */
#include "store_rig.h"

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t redis;

bool on_redis(void)
{
	return over("redis");
}

bool in_memory(void)
{
	return over("sqlite_memory");
}

const char *rig_file(const char *name)
{
	static char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", getenv("STORE_RIG_DIR"), name);
	return path;
}

const char *rig_where(void)
{
	static char url[300];

	if (in_memory())
		return ":memory:";
	if (!on_redis())
		return rig_file("state.db");
	(void)snprintf(url, sizeof(url), "unix://%s", rig_file("redis.sock"));
	return url;
}

/* Not from a package's folder: what the machine has, or nothing. */
static void become_redis(void)
{
	char socket[256];

	(void)snprintf(socket, sizeof(socket), "%s", rig_file("redis.sock"));
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket,
	             "--save", "", "--appendonly", "no", "--loglevel", "warning", "--logfile",
	             rig_file("redis.log"), (char *)NULL);
	_exit(errno == ENOENT ? TEST_SKIPPED : 1);
}

static bool redis_listens(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	CHECK(strlen(rig_file("redis.sock")) < sizeof(addr.sun_path));
	(void)strcpy(addr.sun_path, rig_file("redis.sock"));
	ok = fd >= 0 && !connect(fd, (const struct sockaddr *)&addr, sizeof(addr));
	(void)close(fd);
	return ok;
}

void redis_start(void)
{
	int64_t end = now_ns() + patience_ns();
	int status;

	redis = fork();
	CHECK(redis >= 0);
	if (redis == 0)
		become_redis();
	while (!redis_listens()) {
		if (waitpid(redis, &status, WNOHANG) == redis) {
			redis = 0;
			if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED)
				test_skip("redis-server is not installed (tools/setup test)");
			test_fail("redis-server ended with status %d", status);
		}
		CHECK(now_ns() < end);
		(void)usleep(5000);
	}
}

void redis_kill(void)
{
	if (redis > 0) {
		(void)kill(redis, SIGKILL);
		(void)waitpid(redis, NULL, 0);
	}
	redis = 0;
}

void redis_stop(bool stop)
{
	CHECK_EQ(kill(redis, stop ? SIGSTOP : SIGCONT), 0);
}

const char *redis_says(const char *command)
{
	static char text[65536];
	char line[1024];
	FILE *f;
	size_t n;

	(void)snprintf(line, sizeof(line), "redis-cli -s '%s' %s", rig_file("redis.sock"), command);
	f = popen(line, "r");
	CHECK(f != NULL);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	CHECK_EQ(pclose(f), 0);
	while (n && text[n - 1] == '\n')
		text[--n] = '\0';
	return text;
}

static void on_event(void *arg, const struct store_event *event)
{
	struct rig *r = arg;
	struct seen *s;

	if (r->n_seen == r->cap_seen) {
		r->cap_seen = r->cap_seen ? 2 * r->cap_seen : 64;
		r->seen = reallocarray(r->seen, r->cap_seen, sizeof(*r->seen));
		CHECK(r->seen != NULL);
	}
	s = &r->seen[r->n_seen++];
	*s = (struct seen){.change = event->change,
	                   .revision = event->revision,
	                   .class = event->key.class,
	                   .born = event->born,
	                   .ttl_ms = event->ttl_ms};
	(void)snprintf(s->scope, sizeof(s->scope), "%s", event->key.scope);
	(void)snprintf(s->type, sizeof(s->type), "%s", event->key.type);
	(void)snprintf(s->id, sizeof(s->id), "%s", event->key.id);
	(void)snprintf(s->kind, sizeof(s->kind), "%s", event->kind);
	s->value = event->value ? strdup(event->value) : NULL;
}

static void on_gap(void *arg, uint64_t revision)
{
	struct rig *r = arg;

	r->gap = revision;
}

static void on_health(void *arg, bool up, const char *reason)
{
	struct rig *r = arg;

	r->up = up;
	r->told++;
	(void)snprintf(r->reason, sizeof(r->reason), "%s", reason);
}

int rig_try(const char *where, struct rig **out)
{
	struct rig *r = calloc(1, sizeof(*r));
	const struct store_table *table = on_redis() ? &store_redis : &store_sqlite;
	struct store_opts opts = {
	    .where = where, .event = on_event, .gap = on_gap, .health = on_health, .arg = r};
	int rc;

	CHECK(r != NULL);
	r->up = true;
	r->loop = event_base_new();
	CHECK(r->loop != NULL);
	opts.loop = r->loop;
	rc = table->open(&opts, &r->store, &test_err);
	if (rc) {
		event_base_free(r->loop);
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

struct rig *rig_again(void)
{
	struct rig *r = NULL;

	CHECK_OK(rig_try(rig_where(), &r));
	return r;
}

struct rig *rig_create(void)
{
	if (on_redis() && !redis)
		redis_start();
	return rig_again();
}

static void forget_answer(struct answer *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free((void *)(uintptr_t)a->row[i].key.type);
		free((void *)(uintptr_t)a->row[i].key.id);
		free((void *)(uintptr_t)a->row[i].key.scope);
		free((void *)(uintptr_t)a->row[i].kind);
		free((void *)(uintptr_t)a->row[i].value);
		free((void *)(uintptr_t)a->row[i].owner);
	}
	free(a->row);
	*a = (struct answer){0};
}

void rig_close(struct rig *r)
{
	r->store->table->close(r->store);
	event_base_free(r->loop);
	forget_answer(&r->answer);
	for (size_t i = 0; i < r->n_seen; i++)
		free(r->seen[i].value);
	free(r->seen);
	free(r);
}

static void copy_rows(struct answer *a, const struct store_res *res)
{
	a->row = calloc(res->n ? res->n : 1, sizeof(*a->row));
	CHECK(a->row != NULL);
	a->n = res->n;
	for (size_t i = 0; i < res->n; i++) {
		const struct store_row *from = &res->row[i];
		struct store_row *to = &a->row[i];

		CHECK(from->value_len == strlen(from->value));
		*to = *from;
		to->key.scope = strdup(from->key.scope);
		to->key.type = strdup(from->key.type);
		to->key.id = strdup(from->key.id);
		to->kind = strdup(from->kind);
		to->value = strdup(from->value);
		to->owner = strdup(from->owner);
	}
}

static void on_done(void *arg, int status, size_t failed, const struct store_res *res,
                    const struct slime_error *err)
{
	struct rig *r = arg;
	struct answer *a = &r->answer;

	CHECK(!a->done);
	CHECK((status == 0) == (res != NULL));
	CHECK((status == 0) == (err == NULL));
	if (err) {
		a->err = test_err = *err;
		CHECK_EQ(err->code, status);
		CHECK(err->text[0]);
	}
	for (size_t i = 0; res && i < a->n_res; i++) {
		if (i < 16)
			a->res[i] = res[i];
		if (res[i].n && !a->row)
			copy_rows(a, &res[i]);
	}
	a->failed = failed;
	a->status = status;
	a->done = true;
}

int ask(struct rig *r, const struct store_op *ops, size_t n)
{
	int rc;

	forget_answer(&r->answer);
	r->answer.n_res = n;
	rc = r->store->table->run(r->store, ops, n, on_done, r, &test_err);
	CHECK(!r->answer.done);
	if (rc)
		return rc;
	rig_until(r, r->answer.done);
	return r->answer.status;
}

int ask1(struct rig *r, struct store_op op)
{
	return ask(r, &op, 1);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

void rig_step(struct rig *r)
{
	static const struct timeval tick = {.tv_usec = 5000};
	struct event *timer = evtimer_new(r->loop, on_tick, NULL);

	CHECK(timer != NULL);
	CHECK_EQ(event_add(timer, &tick), 0);
	CHECK(event_base_loop(r->loop, EVLOOP_ONCE) >= 0);
	event_free(timer);
}

void rig_run(struct rig *r, int64_t ns)
{
	int64_t end = now_ns() + ns;

	while (now_ns() < end)
		rig_step(r);
}

const struct seen *rig_event(struct rig *r, size_t *from, const char *id)
{
	int64_t end = now_ns() + patience_ns();

	for (;;) {
		while (*from < r->n_seen) {
			const struct seen *s = &r->seen[(*from)++];

			if (!strcmp(s->id, id))
				return s;
		}
		if (now_ns() > end)
			test_fail("no event about '%s' came", id);
		rig_step(r);
	}
}

struct store_key key_of(enum store_class class, const char *scope, const char *type, const char *id)
{
	return (struct store_key){.class = class, .scope = scope, .type = type, .id = id};
}

struct store_op get_of(struct store_key key)
{
	return (struct store_op){.verb = STORE_GET, .key = key};
}

struct store_op put_of(struct store_key key, const char *value)
{
	return (struct store_op){.verb = STORE_PUT, .key = key, .value = value};
}

struct store_op del_of(struct store_key key)
{
	return (struct store_op){.verb = STORE_DEL, .key = key};
}

struct store_op touch_of(struct store_key key)
{
	return (struct store_op){.verb = STORE_TOUCH, .key = key};
}

uint64_t put(struct rig *r, struct store_key key, const char *value)
{
	CHECK_ASK(r, put_of(key, value), 0);
	CHECK(r->answer.res[0].number > 0);
	return r->answer.res[0].number;
}

bool is_there(struct rig *r, struct store_key key)
{
	CHECK_ASK(r, get_of(key), 0);
	CHECK_EQ(r->answer.n, r->answer.res[0].found);
	return r->answer.res[0].found;
}

void check_json(const char *have, const char *want, const char *file, int line)
{
	json_t *a = json_loads(have, 0, NULL), *b = json_loads(want, 0, NULL);

	if (!a || !b || !json_equal(a, b))
		test_fail("%s:%d: the value is %.400s, not %.400s", file, line, have, want);
	json_decref(a);
	json_decref(b);
}
