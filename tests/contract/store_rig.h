/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/store_rig.h - a store under test on a loop of its own, and questions
 * that wait for their answer. Cases as in contract.h; env.transport names the store.
 */
#ifndef STORE_RIG_H
#define STORE_RIG_H

#include "contract.h"
#include "store.h"

/* A copy of an event. */
struct seen {
	enum store_change change;
	uint64_t revision, born;
	int64_t ttl_ms;
	enum store_class class;
	char scope[64], type[64], id[64], kind[64];
	char *value; /* NULL: none */
};

/* A copy of the answer to the last ask(); rows of the last operation that had some. */
struct answer {
	bool done;
	int status;
	size_t failed;
	struct slime_error err;
	size_t n_res;
	struct store_res res[16]; /* without rows */
	size_t n;
	struct store_row *row;
};

struct rig {
	struct event_base *loop;
	struct store *store;
	struct answer answer;
	struct seen *seen;
	size_t n_seen, cap_seen;
	uint64_t gap;
	bool up;
	int told; /* calls of health() */
	char reason[256];
};

/* The store in an empty place; rig_again(): a further daemon on it, or one after rig_close(). */
struct rig *rig_create(void);
struct rig *rig_again(void);
int rig_try(const char *where, struct rig **out); /* the open function's result */
void rig_close(struct rig *r);

/* Of the subject "redis": its server. */
bool on_redis(void);
bool in_memory(void);
const char *rig_where(void);
const char *rig_file(const char *name); /* a path in the private folder */
void redis_start(void);
void redis_kill(void);      /* SIGKILL, and wait */
void redis_stop(bool stop); /* SIGSTOP, SIGCONT */
/* Run a command by redis-cli; what it prints, valid until the next. */
const char *redis_says(const char *command);

/* Run OPS and wait for the answer; its status. */
int ask(struct rig *r, const struct store_op *ops, size_t n);
int ask1(struct rig *r, struct store_op op);
#define CHECK_ASK(r, op, want) CHECK_RC(ask1(r, op), want)

/* Run the loop until COND or the end of patience. */
#define rig_until(r, cond)                                  \
	do {                                                \
		int64_t rig_end = now_ns() + patience_ns(); \
		while (!(cond) && now_ns() < rig_end)       \
			rig_step(r);                        \
		CHECK(cond);                                \
	} while (0)
void rig_step(struct rig *r); /* one event, or some milliseconds */
void rig_run(struct rig *r, int64_t ns);

/* The event about ID from number *FROM on, which goes behind it; waits for it. */
const struct seen *rig_event(struct rig *r, size_t *from, const char *id);

struct store_key key_of(enum store_class class, const char *scope, const char *type,
                        const char *id);
struct store_op get_of(struct store_key key);
struct store_op put_of(struct store_key key, const char *value);
struct store_op del_of(struct store_key key);
struct store_op touch_of(struct store_key key);

/* Put and get the numbers of it. */
uint64_t put(struct rig *r, struct store_key key, const char *value);
bool is_there(struct rig *r, struct store_key key);

/* Are these the same JSON? */
void check_json(const char *have, const char *want, const char *file, int line);
#define CHECK_JSON(have, want) check_json(have, want, __FILE__, __LINE__)

extern const struct contract_case store_record_cases[];
extern const struct contract_case store_list_cases[];
extern const struct contract_case store_box_cases[];
extern const struct contract_case store_time_cases[];
extern const struct contract_case store_end_cases[];
extern const struct contract_case store_shared_cases[];

#endif
