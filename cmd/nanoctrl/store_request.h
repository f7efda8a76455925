/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/store_request.h - one store_run() from the call to its answer: the
 * copied operations, the results, and the memory for all of it. For the stores.
 *
 * Threads: one at a time; a request is handed from thread to thread.
 */
#ifndef NANOCTRL_STORE_REQUEST_H
#define NANOCTRL_STORE_REQUEST_H

#include "store.h"

/* An event that is to be told when the request is answered. */
struct change {
	struct change *next;
	struct store_event event;
	bool quiet; /* not told after all */
};

/* What the request means for the lifetime of a record: see lifetimes.h. */
struct life {
	struct life *next;
	enum { LIFE_BEGINS, LIFE_GOES_ON, LIFE_ENDS } what;
	struct store_key key, parent; /* parent.id NULL: none */
	int64_t ttl_ms;               /* of the record */
	int64_t once_ms;              /* of this touch; 0: ttl_ms */
	uint64_t revision, born;
};

struct request {
	struct request *next; /* whoever has it may queue it */
	struct store_op *ops;
	size_t n;
	store_done *done; /* NULL: the store's own */
	void *arg;
	int64_t began_ns;

	/* The answer. */
	int status;
	size_t failed;
	struct slime_error err;
	struct store_res *res;
	struct change *changes, **last_change;
	struct life *lives, **last_life;

	struct sqlite_load *load; /* sqlite_worker.h; NULL: it is operations */
	bool broken;              /* the store failed, not the request */
	bool expiry;              /* what it deletes has expired */
	bool writes;              /* PUT DEL APPEND TRIM NEXT */
	bool reads;               /* GET LIST READ COUNT CENSUS */
	bool held;                /* lifetimes_hold() was called for its keys */
	struct arena *arena;
};

/* Copy OPS. -EINVAL, -EMSGSIZE, -ENOMEM, with the sentence. */
int request_create(const struct store_op *ops, size_t n, store_done *done, void *arg,
                   struct request **out, struct slime_error *err);
void request_destroy(struct request *req);

/* Zeroed and aligned, lives as long as the request. NULL: no memory. */
void *request_alloc(struct request *req, size_t size);
/* LEN bytes with a NUL behind. NULL: no memory. */
char *request_text(struct request *req, const char *bytes, size_t len);

/* Operation I could not be: fills status, failed and err. Returns CODE, negative. */
__attribute__((format(printf, 4, 5))) int request_fail(struct request *req, size_t i, int code,
                                                       const char *fmt, ...);
/* Forget what has been done so far, to run it again. */
void request_reset(struct request *req);
/* Tell how long it took, call done, and free it. On the loop. */
void request_answer(struct request *req, const struct store_opts *opts);

/* Zeroed, at the end of the lists. NULL: no memory. */
struct change *request_change(struct request *req);
struct life *request_life(struct request *req);

/*
 * EXPECT and BORN of operation I against what is there (FOUND, with these numbers):
 * 0, or the failure, which is filled in.
 */
int request_expect(struct request *req, size_t i, bool found, uint64_t revision, uint64_t born);

/* For sentences: "entity 'cache:0'". */
const char *class_name(enum store_class class);

#endif
