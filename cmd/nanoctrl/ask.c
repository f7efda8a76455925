/* SPDX-License-Identifier: BSD-3-Clause */
#include "ask.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nanoctrl.h"

struct ask {
	struct call *call;
	ask_done *done;
	ask_failed *failed;
};

static void answer_failure(const struct ask *ask, int status, size_t failed,
                           const struct slime_error *err)
{
	if (ask->failed)
		ask->failed(ask->call, status, failed, err);
	else
		call_reply_errno(ask->call, status, err->text);
}

static void answered(void *arg, int status, size_t failed, const struct store_res *res,
                     const struct slime_error *err)
{
	struct ask ask = *(struct ask *)arg;

	free(arg);
	if (status)
		answer_failure(&ask, status, failed, err);
	else
		ask.done(ask.call, res);
}

void ask(struct call *call, const struct store_op *ops, size_t n, ask_done *done,
         ask_failed *failed)
{
	struct ask *self = malloc(sizeof(*self));
	struct slime_error err = {.text = "no memory"};
	int rc = -ENOMEM;

	if (self) {
		*self = (struct ask){call, done, failed};
		rc = nanoctrl.store->table->run(nanoctrl.store, ops, n, answered, self, &err);
	}
	if (rc) {
		free(self);
		answer_failure(&(struct ask){call, done, failed}, rc, 0, &err);
	}
}

void *call_alloc(struct call *call, size_t n, size_t size)
{
	void *memory = call_keep(call, calloc(n ? n : 1, size));

	if (!memory)
		call_reply_errno(call, -ENOMEM, "no memory");
	return memory;
}

const char *call_dump(struct call *call, json_t *value)
{
	const char *text = call_keep(call, json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY));

	json_decref(value);
	if (!text)
		call_reply_errno(call, -ENOMEM, "no memory");
	return text;
}

bool call_owns(const struct call *call, const struct store_row *row)
{
	return !*row->owner || !strcmp(row->owner, call_principal(call)) ||
	       call_may(call, RIGHT_ADMIN, row->key.scope);
}

struct change {
	struct call *call;
	ask_done *done;
	ask_failed *failed;
	unsigned looks;
	size_t n;
	struct store_op ops[];
};

/* Changes that get in between come from others' success; more of them are no race any more. */
enum { LOOKS_MAX = 16 };

static void look_then_change(struct change *change);

static bool raced(const struct change *change, int status, size_t failed)
{
	return !failed && !change->ops[0].born && change->looks < LOOKS_MAX &&
	       (status == -EEXIST || status == -ENOENT || status == -ESTALE);
}

static void change_done(void *arg, int status, size_t failed, const struct store_res *res,
                        const struct slime_error *err)
{
	struct change *change = arg;

	if (!status)
		change->done(change->call, res);
	else if (raced(change, status, failed)) {
		look_then_change(change); /* it changed after we had looked at it */
		return;
	} else if (change->failed)
		change->failed(change->call, status, failed, err);
	else
		call_reply_errno(change->call, status, err->text);
	free(change);
}

static void run_change(struct change *change, const struct store_op *ops, size_t n,
                       store_done *done)
{
	struct slime_error err;
	int rc = nanoctrl.store->table->run(nanoctrl.store, ops, n, done, change, &err);

	if (rc) {
		call_reply_errno(change->call, rc, err.text);
		free(change);
	}
}

static void looked(void *arg, int status, size_t failed, const struct store_res *res,
                   const struct slime_error *err)
{
	struct change *change = arg;

	(void)failed;
	if (!status && (!res->found || call_owns(change->call, res->row))) {
		/* What was born with one number has one owner all its life. */
		if (!change->ops[0].born)
			change->ops[0].expect =
			    res->found ? (int64_t)res->row->revision : STORE_ABSENT;
		run_change(change, change->ops, change->n, change_done);
		return;
	}
	if (status)
		call_reply_errno(change->call, status, err->text);
	else
		call_reply_error(change->call, 403, "EACCES",
		                 "'%.100s' was registered with another token", res->row->key.id);
	free(change);
}

static void look_then_change(struct change *change)
{
	const struct store_op op = {.verb = STORE_GET, .key = change->ops[0].key};

	change->looks++;
	run_change(change, &op, 1, looked);
}

void ask_change(struct call *call, const struct store_op *ops, size_t n, ask_done *done,
                ask_failed *failed)
{
	struct change *change;

	if (!*call_principal(call)) { /* nobody has rights to lose */
		ask(call, ops, n, done, failed);
		return;
	}
	change = malloc(sizeof(*change) + n * sizeof(*ops));
	if (!change) {
		call_reply_errno(call, -ENOMEM, "no memory");
		return;
	}
	*change = (struct change){.call = call, .done = done, .failed = failed, .n = n};
	memcpy(change->ops, ops, n * sizeof(*ops));
	look_then_change(change);
}

struct store_op revision_op(const char *scope)
{
	return (struct store_op){
	    .verb = STORE_LIST,
	    .key = {.class = STORE_LEASE, .scope = scope, .type = ""},
	    .limit = 1,
	};
}

uint64_t store_revision_now(void)
{
	return nanoctrl.store->table->revision(nanoctrl.store);
}

int64_t unix_time_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* What a scope's records are: these classes together. */
static const enum store_class counted[] = {STORE_ENTITY, STORE_AGENT, STORE_REGION, STORE_SPEC,
                                           STORE_LEASE};
enum { COUNTED = sizeof(counted) / sizeof(counted[0]) };

struct room {
	struct call *call;
	size_t n;
	ask_done *then;
};

static void room_known(void *arg, int status, size_t failed, const struct store_res *res,
                       const struct slime_error *err)
{
	struct room room = *(struct room *)arg;
	uint64_t records = 0;

	(void)failed;
	free(arg);
	if (status) {
		call_reply_errno(room.call, status, err->text);
		return;
	}
	for (size_t i = 0; i < COUNTED; i++)
		records += res[i].number;
	for (size_t i = 0; i < room.n; i++)
		records += !res[COUNTED + i].found;
	if (records > nanoctrl.quota.records)
		call_reply_error(room.call, 429, "EDQUOT",
		                 "the scope is full: it may have %" PRIu64 " records",
		                 nanoctrl.quota.records);
	else
		room.then(room.call, NULL);
}

static int ask_counts(struct room *room, const struct store_key *keys, struct slime_error *err)
{
	struct store_op *ops = calloc(COUNTED + room->n, sizeof(*ops));
	int rc;

	if (!ops)
		return -ENOMEM;
	for (size_t i = 0; i < COUNTED; i++)
		ops[i] = (struct store_op){
		    .verb = STORE_COUNT,
		    .key = {.class = counted[i], .scope = keys[0].scope, .type = "", .id = ""}};
	for (size_t i = 0; i < room->n; i++)
		ops[COUNTED + i] = (struct store_op){.verb = STORE_GET, .key = keys[i]};
	rc = nanoctrl.store->table->run(nanoctrl.store, ops, COUNTED + room->n, room_known, room,
	                                err);
	free(ops);
	return rc;
}

void ask_room(struct call *call, const struct store_key *keys, size_t n, ask_done *then)
{
	struct room *room;
	struct slime_error err = {.text = "no memory"};
	int rc = -ENOMEM;

	if (!nanoctrl.quota.records || !n) {
		then(call, NULL);
		return;
	}
	room = malloc(sizeof(*room));
	if (room) {
		*room = (struct room){call, n, then};
		rc = ask_counts(room, keys, &err);
	}
	if (rc) {
		free(room);
		call_reply_errno(call, rc, err.text);
	}
}
