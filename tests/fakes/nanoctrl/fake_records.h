/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/nanoctrl/fake_records.h - the state of a store as a sorted list, with no thought of
 * speed.
 *
 * fake_apply() follows the words of nanoctrl/store.h; time comes from outside.
 */
#ifndef FAKES_FAKE_RECORDS_H
#define FAKES_FAKE_RECORDS_H

#include "store.h"

struct fake_message {
	struct fake_message *next;
	uint64_t position;
	int64_t at_ms;
	char *value;
};

struct fake_record {
	struct fake_record *next;
	struct store_key key; /* its strings are the record's own */
	struct store_key parent;
	bool has_parent;
	char *kind, *value, *owner;
	uint64_t revision, born;
	int64_t ttl_ms, at_ms, ends_ms; /* ENDS_MS 0: never */
	struct fake_message *messages;  /* of a box */
};

struct fake_counter {
	struct fake_counter *next;
	char *scope, *id;
	uint64_t number;
};

struct fake_records {
	struct fake_record *first;
	struct fake_counter *counters;
	uint64_t revision;
	int64_t now_ms; /* monotonic */
	/* told of each change, with strings that are valid during the call */
	void (*event)(void *arg, const struct store_event *event);
	void *arg;
};

/* Does OP and fills in RES, whose rows and strings the caller frees with fake_free_res(). */
int fake_apply(struct fake_records *records, const struct store_op *op, struct store_res *res);
void fake_free_res(struct store_res *res);
/* Drops what has ended at NOW_MS. Returns when the next one ends; 0: none does. */
int64_t fake_expire(struct fake_records *records);
/* A copy to go back to. */
void fake_clone(const struct fake_records *records, struct fake_records *out);
void fake_free(struct fake_records *records);

#endif
