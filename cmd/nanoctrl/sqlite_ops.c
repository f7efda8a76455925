/* SPDX-License-Identifier: BSD-3-Clause */
#include "sqlite_ops.h"

#include <errno.h>

#include "sqlite_box.h"
#include "sqlite_record.h"

/* sqlite_find() for what the operation names, and what it expects. */
static int find_expected(struct sqlite_db *db, struct request *req, size_t i,
                         struct sqlite_record *out)
{
	int found = sqlite_find(db, req, i, &req->ops[i].key, out), rc;

	if (found < 0)
		return found;
	rc = request_expect(req, i, found, out->row.revision, out->row.born);
	return rc ? rc : found;
}

static int tell_life(struct request *req, size_t i, const struct life *life)
{
	struct life *l = request_life(req);
	struct life *next;

	if (!l)
		return sqlite_no_memory(req, i);
	next = l->next;
	*l = *life;
	l->next = next;
	return 0;
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
	return code == SQLITE_DONE ? 0 : sqlite_broken(db, req, i);
}

static int run_put(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	struct sqlite_record old, parent;
	struct life life = {.what = LIFE_BEGINS, .key = op->key, .ttl_ms = op->ttl_ms};
	struct store_row now = {.key = op->key, .kind = op->kind, .value = op->value};
	int found = find_expected(db, req, i, &old), rc;

	rc = found < 0 ? found : sqlite_find_parent(db, req, i, &parent);
	if (rc > 0 && found > 0)
		rc = check_childless(db, req, i, old.rowid);
	if (rc < 0)
		return rc;
	db->revision++;
	rc = sqlite_put(db, req, i, found ? SQL_UPDATE : SQL_INSERT, parent.rowid, op->value);
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
	return rc ? rc : sqlite_tell(req, i, STORE_WAS_PUT, &now, db->revision);
}

/* Its messages go as well. */
static int erase(struct sqlite_db *db, struct request *req, size_t i, const struct sqlite_record *r)
{
	enum store_change what = req->expiry ? STORE_HAS_EXPIRED : STORE_WAS_DELETED;
	struct life life = {.what = LIFE_ENDS, .key = r->row.key};
	sqlite3_stmt *st = sqlite_db_use(db, SQL_DELETE);
	int rc;

	(void)sqlite3_bind_int64(st, 1, r->rowid);
	if (sqlite3_step(st) != SQLITE_DONE)
		return sqlite_broken(db, req, i);
	(void)sqlite3_reset(st);
	if (r->row.key.class == STORE_BOX) {
		st = sqlite_db_use(db, SQL_TRIM);
		(void)sqlite3_bind_int64(st, 1, r->rowid);
		(void)sqlite3_bind_int64(st, 2, INT64_MAX);
		if (sqlite3_step(st) != SQLITE_DONE)
			return sqlite_broken(db, req, i);
		(void)sqlite3_reset(st);
	}
	rc = tell_life(req, i, &life);
	return rc ? rc : sqlite_tell(req, i, what, &r->row, ++db->revision);
}

/* All children first: nothing is seen without its parent. */
static int erase_children(struct sqlite_db *db, struct request *req, size_t i, int64_t rowid)
{
	for (;;) {
		sqlite3_stmt *st = sqlite_db_use(db, SQL_CHILDREN);
		struct sqlite_record child = {0};
		int code, rc = 0;

		(void)sqlite3_bind_int64(st, 1, rowid);
		code = sqlite3_step(st);
		if (code == SQLITE_DONE)
			return 0;
		if (code != SQLITE_ROW)
			return sqlite_broken(db, req, i);
		if (!sqlite_column_record(st, req, &child))
			rc = sqlite_no_memory(req, i);
		(void)sqlite3_reset(st);
		if (!rc)
			rc = erase(db, req, i, &child);
		if (rc)
			return rc;
	}
}

static int run_del(struct sqlite_db *db, struct request *req, size_t i)
{
	struct sqlite_record r;
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
	struct sqlite_record *r = request_alloc(req, sizeof(*r));
	int found;

	if (!r)
		return sqlite_no_memory(req, i);
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
		rc = sqlite_broken(db, req, i);
	else if (!sqlite_column_key(st, 0, req, out))
		rc = sqlite_no_memory(req, i);
	(void)sqlite3_reset(st);
	return rc;
}

/* What is there lives on; when it would end is for lifetimes.c to know. */
static int run_touch(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	struct sqlite_record r;
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
	return code == SQLITE_ROW ? 0 : sqlite_broken(db, req, i);
}

static int run_list(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	bool type = op->key.type, kind = op->kind;
	sqlite3_stmt *st = sqlite_db_use(db, kind   ? type ? SQL_LIST_TYPE_KIND : SQL_LIST_KIND
	                                     : type ? SQL_LIST_TYPE
	                                            : SQL_LIST);
	struct sqlite_rows rows = {0};
	uint64_t revision = 0;
	int code, rc;

	(void)sqlite3_bind_int(st, 1, (int)op->key.class);
	sqlite_bind(st, 2, op->key.scope);
	if (type) {
		sqlite_bind(st, 3, op->key.type);
		sqlite_bind(st, 4, op->key.id ? op->key.id : "");
	}
	if (kind)
		sqlite_bind(st, 5, op->kind);
	(void)sqlite3_bind_int64(st, 6, op->limit ? op->limit : INT64_C(-1));
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_row *row = sqlite_add_row(req, &rows);
		struct sqlite_record r;

		if (!row || !sqlite_column_record(st, req, &r)) {
			(void)sqlite3_reset(st);
			return sqlite_no_memory(req, i);
		}
		*row = r.row;
	}
	if (code != SQLITE_DONE)
		return sqlite_broken(db, req, i);
	(void)sqlite3_reset(st);
	rc = see_revision(db, req, i, &revision);
	req->res[i] = (struct store_res){.number = revision, .n = rows.n, .row = rows.row};
	return rc;
}

static int run_count(struct sqlite_db *db, struct request *req, size_t i)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_COUNT);
	int code;

	(void)sqlite3_bind_int(st, 1, (int)req->ops[i].key.class);
	sqlite_bind(st, 2, req->ops[i].key.scope);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		req->res[i].number = (uint64_t)sqlite3_column_int64(st, 0);
	(void)sqlite3_reset(st);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : sqlite_broken(db, req, i);
}

static int run_next(struct sqlite_db *db, struct request *req, size_t i)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_NEXT);
	int code;

	sqlite_bind(st, 1, req->ops[i].key.scope);
	sqlite_bind(st, 2, req->ops[i].key.id);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		req->res[i].number = (uint64_t)sqlite3_column_int64(st, 0);
	/* The row is there before the insertion is over. */
	if (code == SQLITE_ROW)
		code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return code == SQLITE_DONE ? 0 : sqlite_broken(db, req, i);
}

static int run_census(struct sqlite_db *db, struct request *req, size_t i)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_CENSUS);
	struct sqlite_rows rows = {0};
	int code;

	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_row *row = sqlite_add_row(req, &rows);
		const char *scope = row ? sqlite_column(st, 1, req, NULL) : NULL;

		if (!scope) {
			(void)sqlite3_reset(st);
			return sqlite_no_memory(req, i);
		}
		*row = (struct store_row){.kind = "", .value = "", .owner = ""};
		row->key =
		    (struct store_key){(enum store_class)sqlite3_column_int(st, 0), scope, "", ""};
		row->revision = (uint64_t)sqlite3_column_int64(st, 2);
	}
	(void)sqlite3_reset(st);
	req->res[i] = (struct store_res){.n = rows.n, .row = rows.row};
	return code == SQLITE_DONE ? 0 : sqlite_broken(db, req, i);
}

int sqlite_ops_run(struct sqlite_db *db, struct request *req)
{
	static int (*const run[])(struct sqlite_db *, struct request *, size_t) = {
	    [STORE_GET] = run_get,          [STORE_PUT] = run_put,
	    [STORE_DEL] = run_del,          [STORE_TOUCH] = run_touch,
	    [STORE_LIST] = run_list,        [STORE_APPEND] = sqlite_box_append,
	    [STORE_READ] = sqlite_box_read, [STORE_TRIM] = sqlite_box_trim,
	    [STORE_COUNT] = run_count,      [STORE_NEXT] = run_next,
	    [STORE_CENSUS] = run_census,
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
	if (!sqlite_column_key(st, 1, req, &life->key))
		return false;
	return sqlite3_column_type(st, 8) == SQLITE_NULL ||
	       sqlite_column_key(st, 8, req, &life->parent);
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
			return sqlite_no_memory(req, 0);
		}
		*rowid = sqlite3_column_int64(st, 0);
		n++;
	}
	(void)sqlite3_reset(st);
	return code == SQLITE_DONE ? n : sqlite_broken(db, req, 0);
}
