/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/store_end.c - closing, opening again, and what goes wrong outside. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_rig.h"

static void skip_in_memory(void)
{
	if (in_memory())
		test_skip("nothing outlives a store in memory");
}

static void only_in_a_file(void)
{
	if (!over("sqlite"))
		test_skip("only a store in a file can have this");
}

struct tally {
	int answered, failed;
};

static void count_answer(void *arg, int status, size_t failed, const struct store_res *res,
                         const struct slime_error *err)
{
	struct tally *t = arg;

	(void)failed;
	(void)res;
	(void)err;
	t->answered++;
	t->failed += status != 0;
}

/* N puts at once, none waited for. */
static void put_many(struct rig *r, int n, struct tally *t)
{
	for (int i = 0; i < n; i++) {
		struct store_op op = put_of(key_of(STORE_LEASE, "s", "", "x"), "{\"a\":1}");
		char id[16];

		(void)snprintf(id, sizeof(id), "%d", i);
		op.key.id = id;
		CHECK_OK(r->store->table->run(r->store, &op, 1, count_answer, t, &test_err));
	}
}

static void many_requests_in_flight_are_each_answered_once(void)
{
	struct rig *r = rig_create();
	struct tally t = {0};

	put_many(r, 5000, &t);
	CHECK_EQ(t.answered, 0);
	rig_until(r, t.answered == 5000);
	rig_run(r, 20 * NS_PER_MS);
	CHECK_EQ(t.answered, 5000);
	CHECK_EQ(t.failed, 0);
	rig_close(r);
}

struct verdict {
	int status;
	uint64_t number;
	bool done;
};

static void keep_verdict(void *arg, int status, size_t failed, const struct store_res *res,
                         const struct slime_error *err)
{
	struct verdict *v = arg;

	(void)failed;
	(void)err;
	CHECK(!v->done);
	*v = (struct verdict){status, res ? res[0].number : 0, true};
}

/* Two of three take what is there already: they are refused, and those beside them done. */
static void of_many_requests_at_once_only_the_refused_fail(void)
{
	enum { N = 300 };
	struct rig *r = rig_create();
	struct verdict v[N] = {0};
	struct store_key key = key_of(STORE_ENTITY, "s", "t", "");
	char id[16];
	size_t at = 0;

	for (int i = 0; i < N; i++) {
		struct store_op op = put_of(key, "{\"n\":1}");

		(void)snprintf(id, sizeof(id), "e%d", i / 3);
		op.key.id = id;
		op.expect = STORE_ABSENT;
		op.kind = i % 2 ? "odd" : "even";
		op.ttl_ms = 60000;
		CHECK_OK(r->store->table->run(r->store, &op, 1, keep_verdict, &v[i], &test_err));
	}
	for (int i = 0; i < N; i++) {
		rig_until(r, v[i].done);
		CHECK_EQ(v[i].status, i % 3 ? -EEXIST : 0);
	}
	for (int i = 0; i < N; i += 3) {
		CHECK(i == 0 || v[i].number > v[i - 3].number);
		(void)snprintf(id, sizeof(id), "e%d", i / 3);
		CHECK_EQ(rig_event(r, &at, id)->revision, v[i].number);
		key.id = id;
		CHECK(is_there(r, key));
		CHECK_EQ(r->answer.row->revision, v[i].number);
	}
	rig_close(r);
}

static void closing_answers_what_is_in_flight(void)
{
	struct rig *r = rig_create();
	struct tally t = {0};

	put_many(r, 500, &t);
	rig_close(r);
	CHECK_EQ(t.answered, 500);
	CHECK_EQ(t.failed, 0);
	if (in_memory())
		return;
	r = rig_again();
	CHECK(is_there(r, key_of(STORE_LEASE, "s", "", "499")));
	rig_close(r);
}

static void all_is_there_again_after_a_restart(void)
{
	struct rig *r = rig_create();
	struct store_key agent = key_of(STORE_AGENT, "s", "", "a"),
			 region = {STORE_REGION, "s", "a", "m"};
	struct store_key box = key_of(STORE_BOX, "s", "1", "a");
	struct store_op next = {.verb = STORE_NEXT, .key = agent}, op;
	uint64_t born, revision;

	skip_in_memory();
	born = put(r, agent, "{\"addr\":\"1\"}");
	op = put_of(region, "{\"addr\":1}");
	op.parent = &agent;
	CHECK_ASK(r, op, 0);
	CHECK_ASK(r, next, 0);
	op = (struct store_op){.verb = STORE_APPEND, .key = box, .value = "{\"m\":1}"};
	CHECK_ASK(r, op, 0);
	CHECK_ASK(r, del_of(key_of(STORE_LEASE, "s", "", "none")), 0);
	revision = put(r, key_of(STORE_LEASE, "s", "", "l"), "{}");
	rig_close(r);
	r = rig_again();
	CHECK(r->store->table->revision(r->store) >= revision);
	CHECK(is_there(r, agent));
	CHECK_EQ(r->answer.row->born, born);
	CHECK(is_there(r, region));
	op = (struct store_op){.verb = STORE_READ, .key = box};
	CHECK_ASK(r, op, 0);
	CHECK_EQ(r->answer.n, 1);
	CHECK_ASK(r, next, 0);
	CHECK_EQ(r->answer.res[0].number, 2);
	CHECK(put(r, agent, "{}") > revision);
	CHECK_ASK(r, del_of(agent), 0);
	CHECK(!is_there(r, region));
	rig_close(r);
}

static void lifetimes_go_on_after_a_restart(void)
{
	struct rig *r = rig_create();
	struct store_key agent = key_of(STORE_AGENT, "s", "", "a"),
			 region = {STORE_REGION, "s", "a", "m"};
	struct store_op op = put_of(agent, "{\"addr\":\"1\"}");

	skip_in_memory();
	op.ttl_ms = 300;
	CHECK_ASK(r, op, 0);
	op = put_of(region, "{\"addr\":1}");
	op.parent = &agent;
	CHECK_ASK(r, op, 0);
	op = put_of(key_of(STORE_LEASE, "s", "", "lasting"), "{}");
	op.ttl_ms = 600000;
	CHECK_ASK(r, op, 0);
	rig_close(r);
	r = rig_again();
	rig_until(r, !is_there(r, agent));
	rig_until(r, !is_there(r, region));
	CHECK_ASK(r, touch_of(op.key), 0);
	CHECK(r->answer.res[0].found);
	rig_close(r);
}

/* Acknowledged PUTs go to a pipe; the process is killed; what was acknowledged is there. */
static void a_killed_daemon_loses_nothing_that_was_answered(void)
{
	int from[2];
	uint64_t acknowledged = 0, revision;
	struct rig *r;
	char id[32];
	pid_t pid;

	skip_in_memory();
	if (on_redis())
		redis_start();
	for (int round = 0; round < 5; round++) {
		uint64_t until = acknowledged + 200;

		CHECK_EQ(pipe(from), 0);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			r = rig_again();
			for (uint64_t i = acknowledged;; i++) {
				(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)i);
				(void)put(r, key_of(STORE_LEASE, "s", "", id), "{\"a\":1}");
				CHECK(write(from[1], &i, sizeof(i)) == sizeof(i));
			}
		}
		(void)close(from[1]);
		while (acknowledged < until) {
			uint64_t i;

			CHECK(read(from[0], &i, sizeof(i)) == sizeof(i));
			acknowledged = i + 1;
		}
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		(void)close(from[0]);
		r = rig_again();
		revision = r->store->table->revision(r->store);
		CHECK(revision >= acknowledged);
		for (uint64_t i = 0; i < acknowledged; i++) {
			(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)i);
			CHECK(is_there(r, key_of(STORE_LEASE, "s", "", id)));
		}
		rig_close(r);
	}
}

static void check_refused(const char *path)
{
	struct rig *r = NULL;

	CHECK(rig_try(path, &r) < 0);
	if (!strstr(test_err.text, path))
		test_fail("'%s' is not named in '%s'", path, test_err.text);
}

static void write_file(const char *path, const char *bytes, size_t len, off_t at)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK(pwrite(fd, bytes, len, at) == (ssize_t)len);
	CHECK_EQ(close(fd), 0);
}

static void a_file_that_is_no_database_is_refused_by_name(void)
{
	char junk[8192];
	struct rig *r;

	only_in_a_file();
	fill(junk, sizeof(junk), 1);
	write_file(rig_file("junk.db"), junk, sizeof(junk), 0);
	check_refused(rig_file("junk.db"));
	check_refused(rig_file("no/such/folder.db"));
	CHECK_EQ(mkdir(rig_file("folder"), 0700), 0);
	check_refused(rig_file("folder"));
	/* A damaged one of ours. */
	r = rig_again();
	(void)put(r, key_of(STORE_LEASE, "s", "", "l"), "{}");
	rig_close(r);
	write_file(rig_file("state.db"), junk, 200, 0);
	check_refused(rig_file("state.db"));
}

static void a_database_of_another_program_is_left_alone(void)
{
	char command[400];
	struct stat before, after;

	only_in_a_file();
	(void)snprintf(command, sizeof(command),
	               "python3 -c \"import sqlite3,sys; c=sqlite3.connect(sys.argv[1]);"
	               "c.execute('create table t (a)'); c.commit()\" '%s'",
	               rig_file("other.db"));
	if (system(command))
		test_skip("no python3 with sqlite3 to make a database with");
	CHECK_EQ(stat(rig_file("other.db"), &before), 0);
	check_refused(rig_file("other.db"));
	CHECK_EQ(stat(rig_file("other.db"), &after), 0);
	CHECK_EQ(before.st_size, after.st_size);
}

static void a_file_belongs_to_one_daemon(void)
{
	struct rig *r = rig_create(), *second = NULL;

	only_in_a_file();
	CHECK_RC(rig_try(rig_where(), &second), -EBUSY);
	CHECK(strstr(test_err.text, rig_where()) != NULL);
	(void)put(r, key_of(STORE_LEASE, "s", "", "l"), "{}");
	rig_close(r);
	second = rig_again();
	rig_close(second);
}

static void a_full_disk_is_said_and_the_old_state_stays(void)
{
	struct rig *r = rig_create();
	struct store_key key = key_of(STORE_LEASE, "s", "", "old");
	struct rlimit limit = {64 * KIB, RLIM_INFINITY};
	static char value[200000];
	struct store_op op;

	only_in_a_file();
	(void)put(r, key, "{\"a\":1}");
	memset(value, 'x', sizeof(value) - 1);
	op = put_of(key, value);
	(void)signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	CHECK_ASK(r, op, -EDQUOT);
	CHECK(strstr(r->answer.err.text, "state.db") != NULL);
	CHECK(!r->up && strstr(r->reason, "state.db") != NULL);
	CHECK_ASK(r, op, -EDQUOT);
	CHECK(is_there(r, key));
	CHECK_JSON(r->answer.row->value, "{\"a\":1}");
	CHECK_ASK(r, touch_of(key), 0);
	CHECK(r->answer.res[0].found);
	limit.rlim_cur = RLIM_INFINITY;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	CHECK_ASK(r, op, 0);
	CHECK(r->up);
	rig_close(r);
	r = rig_again();
	CHECK(is_there(r, key));
	CHECK_EQ(r->answer.row->value_len, sizeof(value) - 1);
	rig_close(r);
}

const struct contract_case store_end_cases[] = {
    {"many_requests_in_flight_are_each_answered_once",
     many_requests_in_flight_are_each_answered_once, 1},
    {"of_many_requests_at_once_only_the_refused_fail",
     of_many_requests_at_once_only_the_refused_fail, 1},
    {"closing_answers_what_is_in_flight", closing_answers_what_is_in_flight, 1},
    {"all_is_there_again_after_a_restart", all_is_there_again_after_a_restart, 1},
    {"lifetimes_go_on_after_a_restart", lifetimes_go_on_after_a_restart, 1},
    {"a_killed_daemon_loses_nothing_that_was_answered",
     a_killed_daemon_loses_nothing_that_was_answered, 1},
    {"a_file_that_is_no_database_is_refused_by_name", a_file_that_is_no_database_is_refused_by_name,
     1},
    {"a_database_of_another_program_is_left_alone", a_database_of_another_program_is_left_alone, 1},
    {"a_file_belongs_to_one_daemon", a_file_belongs_to_one_daemon, 1},
    {"a_full_disk_is_said_and_the_old_state_stays", a_full_disk_is_said_and_the_old_state_stays, 1},
    {0},
};
