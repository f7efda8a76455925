/* SPDX-License-Identifier: BSD-3-Clause */
#include "fakes/nanoctrl/fake_records.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *must(void *memory)
{
	assert(memory);
	return memory;
}

static char *copy(const char *text)
{
	return must(strdup(text ? text : ""));
}

static struct store_key copy_key(const struct store_key *key)
{
	return (struct store_key){key->class, copy(key->scope), copy(key->type), copy(key->id)};
}

/* The strings of a key that copy_key() made. */
static void free_text(const char *text)
{
	union {
		const char *in;
		void *out;
	} text_of = {.in = text};

	free(text_of.out);
}

static void free_key(struct store_key *key)
{
	free_text(key->scope);
	free_text(key->type);
	free_text(key->id);
}

static int order(const struct store_key *a, const struct store_key *b)
{
	int by_scope = strcmp(a->scope, b->scope), by_type = strcmp(a->type, b->type);

	if (a->class != b->class)
		return a->class < b->class ? -1 : 1;
	return by_scope ? by_scope : by_type ? by_type : strcmp(a->id, b->id);
}

static struct fake_record **place_of(struct fake_records *r, const struct store_key *key)
{
	struct fake_record **at = &r->first;

	while (*at && order(&(*at)->key, key) < 0)
		at = &(*at)->next;
	return at;
}

static struct fake_record *find(struct fake_records *r, const struct store_key *key)
{
	struct fake_record *record = *place_of(r, key);

	return record && !order(&record->key, key) ? record : NULL;
}

static bool is_box(enum store_class class)
{
	return class == STORE_BOX || class == STORE_STREAM || class == STORE_INBOX;
}

static void drop_first_message(struct fake_record *box)
{
	struct fake_message *message = box->messages;

	box->messages = message->next;
	free(message->value);
	free(message);
}

static void free_record(struct fake_record *record)
{
	while (record->messages)
		drop_first_message(record);
	free_key(&record->key);
	if (record->has_parent)
		free_key(&record->parent);
	free(record->kind);
	free(record->value);
	free(record->owner);
	free(record);
}

static void tell(struct fake_records *r, enum store_change change, const struct fake_record *record,
                 uint64_t revision)
{
	const struct store_event event = {.change = change,
	                                  .revision = revision,
	                                  .key = record->key,
	                                  .kind = record->kind,
	                                  .value = record->value,
	                                  .born = record->born,
	                                  .ttl_ms = record->ttl_ms};

	if (r->event && (!is_box(record->key.class) || change == STORE_WAS_APPENDED))
		r->event(r->arg, &event);
}

static void remove_at(struct fake_records *r, struct fake_record **at, enum store_change change,
                      bool quiet)
{
	struct fake_record *record = *at;
	const struct store_key *key = &record->key;

	*at = record->next;
	r->revision++;
	if (!quiet)
		tell(r, change, record, r->revision);
	for (struct fake_record **child = &r->first; *child;) {
		if ((*child)->has_parent && !order(&(*child)->parent, key)) {
			remove_at(r, child, change, quiet);
			child = &r->first;
		} else
			child = &(*child)->next;
	}
	free_record(record);
}

static int64_t ends(const struct fake_records *r, int64_t ttl_ms)
{
	return ttl_ms ? r->now_ms + ttl_ms : 0;
}

static int64_t wall_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* -ENOENT -EEXIST -ESTALE: what OP wants of the record does not hold. */
static int check(const struct store_op *op, const struct fake_record *record)
{
	if (op->expect == STORE_ABSENT && record)
		return -EEXIST;
	if (!record && (op->expect == STORE_PRESENT || op->expect > 0 || op->born))
		return -ENOENT;
	if (op->expect > 0 && record->revision != (uint64_t)op->expect)
		return -ESTALE;
	return op->born && record->born != op->born ? -ESTALE : 0;
}

static int check_parent(struct fake_records *r, const struct store_op *op)
{
	const struct fake_record *parent = op->parent ? find(r, op->parent) : NULL;

	return op->parent && (!parent || parent->has_parent) ? -ENOENT : 0;
}

static struct fake_record *make_record(struct fake_records *r, const struct store_op *op)
{
	struct fake_record **at = place_of(r, &op->key);
	struct fake_record *record = must(calloc(1, sizeof(*record)));

	record->key = copy_key(&op->key);
	record->kind = copy("");
	record->value = copy("{}");
	record->owner = copy("");
	if (op->parent) {
		record->has_parent = true;
		record->parent = copy_key(op->parent);
	}
	record->next = *at;
	*at = record;
	return record;
}

static void replace_text(char **text, const char *with)
{
	free(*text);
	*text = copy(with);
}

static int put(struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	struct fake_record *record = find(r, &op->key);
	int rc = check_parent(r, op);

	if (rc)
		return rc;
	r->revision++;
	if (!record) {
		record = make_record(r, op);
		record->born = r->revision;
	}
	replace_text(&record->kind, op->kind);
	replace_text(&record->value, op->value);
	replace_text(&record->owner, op->owner);
	record->revision = r->revision;
	record->ttl_ms = op->ttl_ms;
	record->ends_ms = ends(r, op->ttl_ms);
	record->at_ms = wall_ms();
	res->number = r->revision;
	if (!op->quiet)
		tell(r, STORE_WAS_PUT, record, r->revision);
	return 0;
}

static void touch(struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	struct fake_record *record = find(r, &op->key);

	res->found = record;
	if (!record)
		return;
	record->ends_ms = ends(r, op->ttl_ms && record->ttl_ms ? op->ttl_ms : record->ttl_ms);
	for (struct fake_record *child = r->first; child; child = child->next)
		if (child->has_parent && !order(&child->parent, &record->key))
			child->ends_ms = ends(r, child->ttl_ms);
}

static void add_row(struct store_res *res, const struct fake_record *record,
                    const struct fake_message *message)
{
	union {
		const struct store_row *in;
		struct store_row *out;
	} rows = {.in = res->row};
	struct store_row *row;

	rows.out = must(realloc(rows.out, (res->n + 1) * sizeof(*rows.out)));
	res->row = rows.out;
	row = &rows.out[res->n++];
	*row = (struct store_row){.key = copy_key(&record->key),
	                          .kind = copy(record->kind),
	                          .value = copy(message ? message->value : record->value),
	                          .owner = copy(record->owner),
	                          .revision = message ? message->position : record->revision,
	                          .born = record->born,
	                          .ttl_ms = record->ttl_ms,
	                          .at_ms = message ? message->at_ms : record->at_ms};
	row->value_len = strlen(row->value);
}

static bool is_listed(const struct store_op *op, const struct fake_record *record)
{
	return record->key.class == op->key.class && !strcmp(record->key.scope, op->key.scope) &&
	       (!op->key.type || !strcmp(record->key.type, op->key.type)) &&
	       (!op->key.id || strcmp(record->key.id, op->key.id) > 0) &&
	       (!op->kind || !strcmp(record->kind, op->kind));
}

static void list(struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	for (const struct fake_record *record = r->first; record; record = record->next)
		if (is_listed(op, record) && (!op->limit || res->n < op->limit))
			add_row(res, record, NULL);
	res->number = r->revision;
}

static void count(struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	for (const struct fake_record *record = r->first; record; record = record->next)
		res->number +=
		    record->key.class == op->key.class && !strcmp(record->key.scope, op->key.scope);
}

static int append(struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	struct fake_record *box = find(r, &op->key);
	struct fake_message **end, *message;
	size_t n = 0, bytes = 0, len = strlen(op->value);
	int rc = check_parent(r, op);

	if (rc)
		return rc;
	for (message = box ? box->messages : NULL; message; message = message->next) {
		n++;
		bytes += strlen(message->value);
	}
	if (op->key.class != STORE_BOX && op->limit && n >= op->limit)
		drop_first_message(box);
	else if ((op->limit && n >= op->limit) ||
	         (op->limit_bytes && bytes + len > op->limit_bytes))
		return -ENOSPC;
	r->revision++;
	if (!box) {
		box = make_record(r, op);
		box->born = box->revision = r->revision;
	}
	for (end = &box->messages; *end;)
		end = &(*end)->next;
	*end = must(calloc(1, sizeof(**end)));
	(*end)->position = res->number = r->revision;
	(*end)->at_ms = wall_ms();
	(*end)->value = copy(op->value);
	tell(r, STORE_WAS_APPENDED, box, r->revision);
	return 0;
}

static void read_box(struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	const struct fake_record *box = find(r, &op->key);
	size_t bytes = 0;

	for (const struct fake_message *m = box ? box->messages : NULL; m; m = m->next) {
		if (m->position <= op->position)
			continue;
		if ((op->limit && res->n >= op->limit) ||
		    (op->limit_bytes && bytes >= op->limit_bytes))
			return;
		bytes += strlen(m->value);
		add_row(res, box, m);
	}
}

/* The list is sorted: records of one class and scope lie side by side. */
static void census(struct fake_records *r, struct store_res *res)
{
	for (const struct fake_record *record = r->first; record; record = record->next) {
		struct store_op op = {.key = {record->key.class, record->key.scope, NULL, NULL}};
		struct store_res number = {0};
		struct fake_record row = {.key = {record->key.class, record->key.scope, "", ""}};

		if (res->n && res->row[res->n - 1].key.class == op.key.class &&
		    !strcmp(res->row[res->n - 1].key.scope, op.key.scope))
			continue;
		count(r, &op, &number);
		row.revision = number.number;
		add_row(res, &row, NULL);
	}
}

static void next_number(struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	struct fake_counter *c = r->counters;

	while (c && (strcmp(c->scope, op->key.scope) || strcmp(c->id, op->key.id)))
		c = c->next;
	if (!c) {
		c = must(calloc(1, sizeof(*c)));
		c->scope = copy(op->key.scope);
		c->id = copy(op->key.id);
		c->next = r->counters;
		r->counters = c;
	}
	res->number = ++c->number;
}

static void trim(struct fake_records *r, const struct store_op *op)
{
	struct fake_record *box = find(r, &op->key);

	while (box && box->messages && box->messages->position <= op->position)
		drop_first_message(box);
}

static void delete (struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	struct fake_record **at = place_of(r, &op->key);

	res->found = *at && !order(&(*at)->key, &op->key);
	if (res->found)
		remove_at(r, at, STORE_WAS_DELETED, op->quiet);
	res->number = r->revision;
}

int fake_apply(struct fake_records *r, const struct store_op *op, struct store_res *res)
{
	const struct fake_record *record = op->verb <= STORE_TOUCH ? find(r, &op->key) : NULL;
	int rc = op->verb <= STORE_TOUCH ? check(op, record) : 0;

	*res = (struct store_res){0};
	if (rc)
		return rc;
	switch (op->verb) {
	case STORE_GET:
		res->found = record;
		if (record)
			add_row(res, record, NULL);
		break;
	case STORE_PUT:
		return put(r, op, res);
	case STORE_DEL:
		delete (r, op, res);
		break;
	case STORE_TOUCH:
		touch(r, op, res);
		break;
	case STORE_LIST:
		list(r, op, res);
		break;
	case STORE_APPEND:
		return append(r, op, res);
	case STORE_READ:
		read_box(r, op, res);
		break;
	case STORE_TRIM:
		trim(r, op);
		break;
	case STORE_COUNT:
		count(r, op, res);
		break;
	case STORE_NEXT:
		next_number(r, op, res);
		break;
	case STORE_CENSUS:
		census(r, res);
		break;
	}
	return 0;
}

void fake_free_res(struct store_res *res)
{
	union {
		const struct store_row *in;
		struct store_row *out;
	} rows = {.in = res->row};

	for (size_t i = 0; i < res->n; i++) {
		free_key(&rows.out[i].key);
		free_text(rows.out[i].kind);
		free_text(rows.out[i].value);
		free_text(rows.out[i].owner);
	}
	free(rows.out);
}

int64_t fake_expire(struct fake_records *r)
{
	int64_t next = 0;

	for (struct fake_record **at = &r->first; *at;) {
		int64_t end = (*at)->ends_ms;

		if (end && end <= r->now_ms) {
			remove_at(r, at, STORE_HAS_EXPIRED, false);
			at = &r->first;
			next = 0;
			continue;
		}
		if (end && (!next || end < next))
			next = end;
		at = &(*at)->next;
	}
	return next;
}

static struct fake_record *clone_record(const struct fake_record *record)
{
	struct fake_record *out = must(malloc(sizeof(*out)));
	struct fake_message **end = &out->messages;

	*out = *record;
	out->key = copy_key(&record->key);
	if (record->has_parent)
		out->parent = copy_key(&record->parent);
	out->kind = copy(record->kind);
	out->value = copy(record->value);
	out->owner = copy(record->owner);
	for (const struct fake_message *m = record->messages; m; m = m->next) {
		*end = must(malloc(sizeof(**end)));
		**end = *m;
		(*end)->value = copy(m->value);
		end = &(*end)->next;
	}
	*end = NULL;
	return out;
}

void fake_clone(const struct fake_records *r, struct fake_records *out)
{
	struct fake_record **end = &out->first;
	struct fake_counter **last = &out->counters;

	*out = *r;
	for (const struct fake_record *record = r->first; record; record = record->next) {
		*end = clone_record(record);
		end = &(*end)->next;
	}
	*end = NULL;
	for (const struct fake_counter *c = r->counters; c; c = c->next) {
		*last = must(malloc(sizeof(**last)));
		**last = *c;
		(*last)->scope = copy(c->scope);
		(*last)->id = copy(c->id);
		last = &(*last)->next;
	}
	*last = NULL;
}

void fake_free(struct fake_records *r)
{
	while (r->first) {
		struct fake_record *record = r->first;

		r->first = record->next;
		free_record(record);
	}
	while (r->counters) {
		struct fake_counter *c = r->counters;

		r->counters = c->next;
		free(c->scope);
		free(c->id);
		free(c);
	}
}
