/* SPDX-License-Identifier: BSD-3-Clause */
#include "sqlite_ops.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* A record as it is in the database. */
struct record {
	int64_t rowid, parent; /* 0: none */
	struct store_row row;
};

static int64_t unix_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The database failed at operation I. */
static int broken(const struct sqlite_db *db, struct request *req, size_t i)
{
	req->broken = true;
	req->failed = i;
	return req->status = sqlite_db_error(db, &req->err);
}

static int no_memory(struct request *req, size_t i)
{
	return request_fail(req, i, -ENOMEM, "no memory for the answer of the store");
}

static void bind_text(sqlite3_stmt *st, int i, const char *text)
{
	(void)sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

static void bind_key(sqlite3_stmt *st, const struct store_key *key)
{
	(void)sqlite3_bind_int(st, 1, (int)key->class);
	bind_text(st, 2, key->scope);
	bind_text(st, 3, key->type);
	bind_text(st, 4, key->id);
}

static int64_t as_signed(uint64_t number)
{
	return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

/* A column's text, copied; NULL: no memory. */
static const char *column(sqlite3_stmt *st, int i, struct request *req, size_t *len)
{
	const char *bytes = (const char *)sqlite3_column_text(st, i);
	size_t n = (size_t)sqlite3_column_bytes(st, i);

	if (!bytes)
		return NULL;
	if (len)
		*len = n;
	return request_text(req, bytes, n);
}

static bool column_key(sqlite3_stmt *st, int first, struct request *req, struct store_key *out)
{
	out->class = (enum store_class)sqlite3_column_int(st, first);
	out->scope = column(st, first + 1, req, NULL);
	out->type = column(st, first + 2, req, NULL);
	out->id = column(st, first + 3, req, NULL);
	return out->class < STORE_CLASSES && out->scope && out->type && out->id;
}

static bool column_record(sqlite3_stmt *st, struct request *req, struct record *out)
{
	struct store_row *row = &out->row;

	out->rowid = sqlite3_column_int64(st, COL_ROWID);
	out->parent = sqlite3_column_int64(st, COL_PARENT);
	row->kind = column(st, COL_KIND, req, NULL);
	row->value = column(st, COL_VALUE, req, &row->value_len);
	row->owner = column(st, COL_OWNER, req, NULL);
	row->revision = (uint64_t)sqlite3_column_int64(st, COL_REVISION);
	row->born = (uint64_t)sqlite3_column_int64(st, COL_BORN);
	row->ttl_ms = sqlite3_column_int64(st, COL_TTL);
	row->at_ms = sqlite3_column_int64(st, COL_AT);
	return column_key(st, COL_CLASS, req, &row->key) && row->kind && row->value && row->owner;
}

/* 1: it is in *OUT; 0: there is none; negative: filled in. */
static int find(struct sqlite_db *db, struct request *req, size_t i, const struct store_key *key,
                struct record *out)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_FIND);
	int code, rc = 0;

	*out = (struct record){0};
	bind_key(st, key);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		rc = column_record(st, req, out) ? 1 : no_memory(req, i);
	else if (code != SQLITE_DONE)
		rc = broken(db, req, i);
	(void)sqlite3_reset(st);
	return rc;
}

/* find() for what the operation names, and what it expects. */
static int find_expected(struct sqlite_db *db, struct request *req, size_t i, struct record *out)
{
	int found = find(db, req, i, &req->ops[i].key, out), rc;

	if (found < 0)
		return found;
	rc = request_expect(req, i, found, out->row.revision, out->row.born);
	return rc ? rc : found;
}

static int tell(struct request *req, size_t i, enum store_change what, const struct store_row *row,
                uint64_t revision)
{
	struct change *c = request_change(req);

	if (!c)
		return no_memory(req, i);
	c->quiet = req->ops[i].quiet;
	c->event = (struct store_event){.change = what,
	                                .revision = revision,
	                                .key = row->key,
	                                .kind = row->kind,
	                                .value = row->value,
	                                .born = row->born,
	                                .ttl_ms = row->ttl_ms};
	return 0;
}

static int tell_life(struct request *req, size_t i, const struct life *life)
{
	struct life *l = request_life(req);
	struct life *next;

	if (!l)
		return no_memory(req, i);
	next = l->next;
	*l = *life;
	l->next = next;
	return 0;
}

/* The parent of operation I; 1: it is in *OUT; 0: the operation has none; or filled in. */
static int find_parent(struct sqlite_db *db, struct request *req, size_t i, struct record *out)
{
	const struct store_key *parent = req->ops[i].parent;
	int found;

	*out = (struct record){0};
	if (!parent)
		return 0;
	found = find(db, req, i, parent, out);
	if (found < 0)
		return found;
	if (!found)
		return request_fail(req, i, -ENOENT, "there is no %s '%.128s'",
		                    class_name(parent->class), parent->id);
	if (out->parent)
		return request_fail(req, i, -EINVAL, "%s '%.128s' has a parent and can be none",
		                    class_name(parent->class), parent->id);
	return 1;
}

/* SQL_INSERT or SQL_UPDATE of the record KEY with what the operation says. */
static int store(struct sqlite_db *db, struct request *req, size_t i, enum statement how,
                 int64_t parent, const char *value)
{
	const struct store_op *op = &req->ops[i];
	sqlite3_stmt *st = sqlite_db_use(db, how);
	int code;

	bind_key(st, &op->key);
	if (parent)
		(void)sqlite3_bind_int64(st, 5, parent);
	else
		(void)sqlite3_bind_null(st, 5);
	(void)sqlite3_bind_int64(st, 6, (int64_t)db->revision);
	if (how == SQL_INSERT)
		(void)sqlite3_bind_int64(st, 7, (int64_t)db->revision);
	(void)sqlite3_bind_int64(st, 8, op->ttl_ms);
	(void)sqlite3_bind_int64(st, 9, unix_ms());
	bind_text(st, 10, op->kind);
	bind_text(st, 11, op->owner);
	bind_text(st, 12, value);
	code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return code == SQLITE_DONE ? 0 : broken(db, req, i);
}

/* A record that has children cannot become one. */
static int check_childless(struct sqlite_db *db, struct request *req, size_t i, int64_t rowid)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_CHILDREN);
	int code;

	(void)sqlite3_bind_int64(st, 1, rowid);
	code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	if (code == SQLITE_ROW)
		return request_fail(req, i, -EINVAL, "%s '%.128s' is a parent and can have none",
		                    class_name(req->ops[i].key.class), req->ops[i].key.id);
	return code == SQLITE_DONE ? 0 : broken(db, req, i);
}

static int run_put(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	struct record old, parent;
	struct life life = {.what = LIFE_BEGINS, .key = op->key, .ttl_ms = op->ttl_ms};
	struct store_row now = {.key = op->key, .kind = op->kind, .value = op->value};
	int found = find_expected(db, req, i, &old), rc;

	rc = found < 0 ? found : find_parent(db, req, i, &parent);
	if (rc > 0 && found > 0)
		rc = check_childless(db, req, i, old.rowid);
	if (rc < 0)
		return rc;
	db->revision++;
	rc = store(db, req, i, found ? SQL_UPDATE : SQL_INSERT, parent.rowid, op->value);
	if (rc)
		return rc;
	if (op->parent)
		life.parent = *op->parent;
	life.revision = db->revision;
	life.born = found ? old.row.born : db->revision;
	now.born = life.born;
	now.ttl_ms = op->ttl_ms;
	req->res[i] = (struct store_res){.found = found, .number = db->revision};
	rc = tell_life(req, i, &life);
	return rc ? rc : tell(req, i, STORE_WAS_PUT, &now, db->revision);
}

/* Its messages go as well. */
static int erase(struct sqlite_db *db, struct request *req, size_t i, const struct record *r)
{
	enum store_change what = req->expiry ? STORE_HAS_EXPIRED : STORE_WAS_DELETED;
	struct life life = {.what = LIFE_ENDS, .key = r->row.key};
	sqlite3_stmt *st = sqlite_db_use(db, SQL_DELETE);
	int rc;

	(void)sqlite3_bind_int64(st, 1, r->rowid);
	if (sqlite3_step(st) != SQLITE_DONE)
		return broken(db, req, i);
	(void)sqlite3_reset(st);
	if (r->row.key.class == STORE_BOX) {
		st = sqlite_db_use(db, SQL_TRIM);
		(void)sqlite3_bind_int64(st, 1, r->rowid);
		(void)sqlite3_bind_int64(st, 2, INT64_MAX);
		if (sqlite3_step(st) != SQLITE_DONE)
			return broken(db, req, i);
		(void)sqlite3_reset(st);
	}
	rc = tell_life(req, i, &life);
	return rc ? rc : tell(req, i, what, &r->row, ++db->revision);
}

/* All children first: nothing is seen without its parent. */
static int erase_children(struct sqlite_db *db, struct request *req, size_t i, int64_t rowid)
{
	for (;;) {
		sqlite3_stmt *st = sqlite_db_use(db, SQL_CHILDREN);
		struct record child = {0};
		int code, rc = 0;

		(void)sqlite3_bind_int64(st, 1, rowid);
		code = sqlite3_step(st);
		if (code == SQLITE_DONE)
			return 0;
		if (code != SQLITE_ROW)
			return broken(db, req, i);
		if (!column_record(st, req, &child))
			rc = no_memory(req, i);
		(void)sqlite3_reset(st);
		if (!rc)
			rc = erase(db, req, i, &child);
		if (rc)
			return rc;
	}
}

static int run_del(struct sqlite_db *db, struct request *req, size_t i)
{
	struct record r;
	struct life gone = {.what = LIFE_ENDS, .key = req->ops[i].key};
	int found = find_expected(db, req, i, &r), rc;

	if (found < 0)
		return found;
	if (!found)
		return tell_life(req, i, &gone);
	rc = erase_children(db, req, i, r.rowid);
	if (!rc)
		rc = erase(db, req, i, &r);
	if (!rc)
		req->res[i] = (struct store_res){.found = true, .number = db->revision};
	return rc;
}

static int run_get(struct sqlite_db *db, struct request *req, size_t i)
{
	struct record *r = request_alloc(req, sizeof(*r));
	int found;

	if (!r)
		return no_memory(req, i);
	found = find_expected(db, req, i, r);
	if (found < 0)
		return found;
	if (found)
		req->res[i] = (struct store_res){.found = true, .n = 1, .row = &r->row};
	return 0;
}

/* The key of the record ROWID. */
static int find_name(struct sqlite_db *db, struct request *req, size_t i, int64_t rowid,
                     struct store_key *out)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_NAME);
	int rc = 0;

	(void)sqlite3_bind_int64(st, 1, rowid);
	if (sqlite3_step(st) != SQLITE_ROW)
		rc = broken(db, req, i);
	else if (!column_key(st, 0, req, out))
		rc = no_memory(req, i);
	(void)sqlite3_reset(st);
	return rc;
}

/* What is there lives on; when it would end is for lifetimes.c to know. */
static int run_touch(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	struct record r;
	struct life life = {.what = LIFE_GOES_ON, .key = op->key, .once_ms = op->ttl_ms};
	int found = find_expected(db, req, i, &r), rc = 0;

	if (found <= 0)
		return found;
	if (r.parent)
		rc = find_name(db, req, i, r.parent, &life.parent);
	if (rc)
		return rc;
	life.ttl_ms = r.row.ttl_ms;
	life.revision = r.row.revision;
	life.born = r.row.born;
	req->res[i].found = true;
	return tell_life(req, i, &life);
}

/* Rows that come one by one, in an array that grows. */
struct rows {
	struct store_row *row;
	size_t n, cap;
};

static struct store_row *add_row(struct request *req, struct rows *rows)
{
	if (rows->n == rows->cap) {
		size_t cap = rows->cap ? 2 * rows->cap : 16;
		struct store_row *row = request_alloc(req, cap * sizeof(*row));

		if (!row)
			return NULL;
		if (rows->n)
			memcpy(row, rows->row, rows->n * sizeof(*row));
		rows->row = row;
		rows->cap = cap;
	}
	return &rows->row[rows->n++];
}

/* The revision of what this connection sees. */
static int see_revision(struct sqlite_db *db, struct request *req, size_t i, uint64_t *out)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_REVISION);
	int code = sqlite3_step(st);

	if (code == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(st, 0);
	(void)sqlite3_reset(st);
	if (*out < db->revision)
		*out = db->revision; /* the writer's own, not saved yet */
	return code == SQLITE_ROW ? 0 : broken(db, req, i);
}

static int run_list(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	bool type = op->key.type, kind = op->kind;
	sqlite3_stmt *st = sqlite_db_use(db, kind   ? type ? SQL_LIST_TYPE_KIND : SQL_LIST_KIND
	                                     : type ? SQL_LIST_TYPE
	                                            : SQL_LIST);
	struct rows rows = {0};
	uint64_t revision = 0;
	int code, rc;

	(void)sqlite3_bind_int(st, 1, (int)op->key.class);
	bind_text(st, 2, op->key.scope);
	if (type) {
		bind_text(st, 3, op->key.type);
		bind_text(st, 4, op->key.id ? op->key.id : "");
	}
	if (kind)
		bind_text(st, 5, op->kind);
	(void)sqlite3_bind_int64(st, 6, op->limit ? op->limit : INT64_C(-1));
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_row *row = add_row(req, &rows);
		struct record r;

		if (!row || !column_record(st, req, &r)) {
			(void)sqlite3_reset(st);
			return no_memory(req, i);
		}
		*row = r.row;
	}
	if (code != SQLITE_DONE)
		return broken(db, req, i);
	(void)sqlite3_reset(st);
	rc = see_revision(db, req, i, &revision);
	req->res[i] = (struct store_res){.number = revision, .n = rows.n, .row = rows.row};
	return rc;
}

static int check_room(struct sqlite_db *db, struct request *req, size_t i, int64_t box)
{
	const struct store_op *op = &req->ops[i];
	sqlite3_stmt *st = sqlite_db_use(db, SQL_BOX_SIZE);
	uint64_t n, bytes;

	if (!op->limit && !op->limit_bytes)
		return 0;
	(void)sqlite3_bind_int64(st, 1, box);
	if (sqlite3_step(st) != SQLITE_ROW)
		return broken(db, req, i);
	n = (uint64_t)sqlite3_column_int64(st, 0);
	bytes = (uint64_t)sqlite3_column_int64(st, 1);
	(void)sqlite3_reset(st);
	if (op->limit && n >= op->limit)
		return request_fail(req, i, -ENOSPC, "mailbox '%.128s' is full: %llu messages",
		                    op->key.id, (unsigned long long)n);
	if (op->limit_bytes && bytes + strlen(op->value) > op->limit_bytes)
		return request_fail(req, i, -ENOSPC, "mailbox '%.128s' is full: %llu bytes",
		                    op->key.id, (unsigned long long)bytes);
	return 0;
}

static int add_message(struct sqlite_db *db, struct request *req, size_t i, int64_t box)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_APPEND);
	int code;

	(void)sqlite3_bind_int64(st, 1, (int64_t)db->revision);
	(void)sqlite3_bind_int64(st, 2, box);
	(void)sqlite3_bind_int64(st, 3, unix_ms());
	(void)sqlite3_bind_int64(st, 4, (int64_t)strlen(req->ops[i].value));
	bind_text(st, 5, req->ops[i].value);
	code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return code == SQLITE_DONE ? 0 : broken(db, req, i);
}

static int run_append(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	struct store_row now = {.key = op->key, .kind = "", .value = op->value};
	struct record box = {0}, parent;
	int found = 1, rc = find_parent(db, req, i, &parent);

	if (rc >= 0 && op->key.class == STORE_BOX) {
		found = find(db, req, i, &op->key, &box);
		rc = found < 0 ? found : check_room(db, req, i, box.rowid);
	}
	if (rc < 0)
		return rc;
	db->revision++;
	rc = 0;
	if (!found) {
		rc = store(db, req, i, SQL_INSERT, parent.rowid, "{}");
		box.rowid = sqlite3_last_insert_rowid(db->sql);
	}
	/* Streams and inboxes are for those who read Redis. */
	if (!rc && op->key.class == STORE_BOX)
		rc = add_message(db, req, i, box.rowid);
	if (rc)
		return rc;
	req->res[i] = (struct store_res){.found = found, .number = db->revision};
	return tell(req, i, STORE_WAS_APPENDED, &now, db->revision);
}

static int run_read(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	struct record box;
	struct rows rows = {0};
	int found = find(db, req, i, &op->key, &box), code;
	sqlite3_stmt *st = sqlite_db_use(db, SQL_READ);
	uint64_t bytes = 0;

	if (found < 0)
		return found;
	(void)sqlite3_bind_int64(st, 1, box.rowid);
	(void)sqlite3_bind_int64(st, 2, as_signed(op->position));
	(void)sqlite3_bind_int64(st, 3, op->limit ? op->limit : INT64_C(-1));
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_row *row = add_row(req, &rows);

		if (row)
			*row = (struct store_row){
			    .key = op->key,
			    .kind = "",
			    .owner = "",
			    .revision = (uint64_t)sqlite3_column_int64(st, 0),
			    .at_ms = sqlite3_column_int64(st, 1),
			    .value = column(st, 2, req, NULL),
			};
		if (!row || !row->value) {
			(void)sqlite3_reset(st);
			return no_memory(req, i);
		}
		row->value_len = strlen(row->value);
		bytes += row->value_len;
		if (op->limit_bytes && bytes >= op->limit_bytes)
			break;
	}
	if (code != SQLITE_DONE && code != SQLITE_ROW)
		return broken(db, req, i);
	(void)sqlite3_reset(st);
	req->res[i] = (struct store_res){.found = found, .n = rows.n, .row = rows.row};
	return 0;
}

static int run_trim(struct sqlite_db *db, struct request *req, size_t i)
{
	struct record box;
	int found = find(db, req, i, &req->ops[i].key, &box), code;
	sqlite3_stmt *st = sqlite_db_use(db, SQL_TRIM);

	if (found <= 0)
		return found;
	(void)sqlite3_bind_int64(st, 1, box.rowid);
	(void)sqlite3_bind_int64(st, 2, as_signed(req->ops[i].position));
	code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	req->res[i].found = true;
	return code == SQLITE_DONE ? 0 : broken(db, req, i);
}

static int run_count(struct sqlite_db *db, struct request *req, size_t i)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_COUNT);
	int code;

	(void)sqlite3_bind_int(st, 1, (int)req->ops[i].key.class);
	bind_text(st, 2, req->ops[i].key.scope);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		req->res[i].number = (uint64_t)sqlite3_column_int64(st, 0);
	(void)sqlite3_reset(st);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : broken(db, req, i);
}

static int run_next(struct sqlite_db *db, struct request *req, size_t i)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_NEXT);
	int code;

	bind_text(st, 1, req->ops[i].key.scope);
	bind_text(st, 2, req->ops[i].key.id);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		req->res[i].number = (uint64_t)sqlite3_column_int64(st, 0);
	/* The row is there before the insertion is over. */
	if (code == SQLITE_ROW)
		code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return code == SQLITE_DONE ? 0 : broken(db, req, i);
}

static int run_census(struct sqlite_db *db, struct request *req, size_t i)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_CENSUS);
	struct rows rows = {0};
	int code;

	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_row *row = add_row(req, &rows);
		const char *scope = row ? column(st, 1, req, NULL) : NULL;

		if (!scope) {
			(void)sqlite3_reset(st);
			return no_memory(req, i);
		}
		*row = (struct store_row){.kind = "", .value = "", .owner = ""};
		row->key =
		    (struct store_key){(enum store_class)sqlite3_column_int(st, 0), scope, "", ""};
		row->revision = (uint64_t)sqlite3_column_int64(st, 2);
	}
	(void)sqlite3_reset(st);
	req->res[i] = (struct store_res){.n = rows.n, .row = rows.row};
	return code == SQLITE_DONE ? 0 : broken(db, req, i);
}

int sqlite_ops_run(struct sqlite_db *db, struct request *req)
{
	static int (*const run[])(struct sqlite_db *, struct request *, size_t) = {
	    [STORE_GET] = run_get,     [STORE_PUT] = run_put,       [STORE_DEL] = run_del,
	    [STORE_TOUCH] = run_touch, [STORE_LIST] = run_list,     [STORE_APPEND] = run_append,
	    [STORE_READ] = run_read,   [STORE_TRIM] = run_trim,     [STORE_COUNT] = run_count,
	    [STORE_NEXT] = run_next,   [STORE_CENSUS] = run_census,
	};

	for (size_t i = 0; i < req->n; i++) {
		int rc;

		req->res[i] = (struct store_res){0};
		rc = run[req->ops[i].verb](db, req, i);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool column_life(sqlite3_stmt *st, struct request *req, struct life *life)
{
	life->what = LIFE_BEGINS;
	life->revision = (uint64_t)sqlite3_column_int64(st, 5);
	life->born = (uint64_t)sqlite3_column_int64(st, 6);
	life->ttl_ms = sqlite3_column_int64(st, 7);
	if (!column_key(st, 1, req, &life->key))
		return false;
	return sqlite3_column_type(st, 8) == SQLITE_NULL || column_key(st, 8, req, &life->parent);
}

int sqlite_ops_lifetimes(struct sqlite_db *db, struct request *req, int64_t *rowid, int limit)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_LIFETIMES);
	int code, n = 0;

	(void)sqlite3_bind_int64(st, 1, *rowid);
	(void)sqlite3_bind_int(st, 2, limit);
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		struct life *life = request_life(req);

		if (!life || !column_life(st, req, life)) {
			(void)sqlite3_reset(st);
			return no_memory(req, 0);
		}
		*rowid = sqlite3_column_int64(st, 0);
		n++;
	}
	(void)sqlite3_reset(st);
	return code == SQLITE_DONE ? n : broken(db, req, 0);
}
