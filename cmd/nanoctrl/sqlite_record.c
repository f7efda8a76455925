/* SPDX-License-Identifier: BSD-3-Clause */
#include "sqlite_record.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int64_t sqlite_unix_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int sqlite_broken(const struct sqlite_db *db, struct request *req, size_t i)
{
	req->broken = true;
	req->failed = i;
	return req->status = sqlite_db_error(db, &req->err);
}

int sqlite_no_memory(struct request *req, size_t i)
{
	return request_fail(req, i, -ENOMEM, "no memory for the answer of the store");
}

void sqlite_bind(sqlite3_stmt *st, int i, const char *text)
{
	(void)sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

void sqlite_bind_key(sqlite3_stmt *st, const struct store_key *key)
{
	(void)sqlite3_bind_int(st, 1, (int)key->class);
	sqlite_bind(st, 2, key->scope);
	sqlite_bind(st, 3, key->type);
	sqlite_bind(st, 4, key->id);
}

const char *sqlite_column(sqlite3_stmt *st, int i, struct request *req, size_t *len)
{
	const char *bytes = (const char *)sqlite3_column_text(st, i);
	size_t n = (size_t)sqlite3_column_bytes(st, i);

	if (!bytes)
		return NULL;
	if (len)
		*len = n;
	return request_text(req, bytes, n);
}

bool sqlite_column_key(sqlite3_stmt *st, int first, struct request *req, struct store_key *out)
{
	out->class = (enum store_class)sqlite3_column_int(st, first);
	out->scope = sqlite_column(st, first + 1, req, NULL);
	out->type = sqlite_column(st, first + 2, req, NULL);
	out->id = sqlite_column(st, first + 3, req, NULL);
	return out->class < STORE_CLASSES && out->scope && out->type && out->id;
}

bool sqlite_column_record(sqlite3_stmt *st, struct request *req, struct sqlite_record *out)
{
	struct store_row *row = &out->row;

	out->rowid = sqlite3_column_int64(st, COL_ROWID);
	out->parent = sqlite3_column_int64(st, COL_PARENT);
	row->kind = sqlite_column(st, COL_KIND, req, NULL);
	row->value = sqlite_column(st, COL_VALUE, req, &row->value_len);
	row->owner = sqlite_column(st, COL_OWNER, req, NULL);
	row->revision = (uint64_t)sqlite3_column_int64(st, COL_REVISION);
	row->born = (uint64_t)sqlite3_column_int64(st, COL_BORN);
	row->ttl_ms = sqlite3_column_int64(st, COL_TTL);
	row->at_ms = sqlite3_column_int64(st, COL_AT);
	return sqlite_column_key(st, COL_CLASS, req, &row->key) && row->kind && row->value &&
	       row->owner;
}

int sqlite_find(struct sqlite_db *db, struct request *req, size_t i, const struct store_key *key,
                struct sqlite_record *out)
{
	sqlite3_stmt *st = sqlite_db_use(db, SQL_FIND);
	int code, rc = 0;

	*out = (struct sqlite_record){0};
	sqlite_bind_key(st, key);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		rc = sqlite_column_record(st, req, out) ? 1 : sqlite_no_memory(req, i);
	else if (code != SQLITE_DONE)
		rc = sqlite_broken(db, req, i);
	(void)sqlite3_reset(st);
	return rc;
}

int sqlite_tell(struct request *req, size_t i, enum store_change what, const struct store_row *row,
                uint64_t revision)
{
	struct change *c = request_change(req);

	if (!c)
		return sqlite_no_memory(req, i);
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

int sqlite_find_parent(struct sqlite_db *db, struct request *req, size_t i,
                       struct sqlite_record *out)
{
	const struct store_key *parent = req->ops[i].parent;
	int found;

	*out = (struct sqlite_record){0};
	if (!parent)
		return 0;
	found = sqlite_find(db, req, i, parent, out);
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

int sqlite_put(struct sqlite_db *db, struct request *req, size_t i, enum statement how,
               int64_t parent, const char *value)
{
	const struct store_op *op = &req->ops[i];
	sqlite3_stmt *st = sqlite_db_use(db, how);
	int code;

	sqlite_bind_key(st, &op->key);
	if (parent)
		(void)sqlite3_bind_int64(st, 5, parent);
	else
		(void)sqlite3_bind_null(st, 5);
	(void)sqlite3_bind_int64(st, 6, (int64_t)db->revision);
	if (how == SQL_INSERT)
		(void)sqlite3_bind_int64(st, 7, (int64_t)db->revision);
	(void)sqlite3_bind_int64(st, 8, op->ttl_ms);
	(void)sqlite3_bind_int64(st, 9, sqlite_unix_ms());
	sqlite_bind(st, 10, op->kind);
	sqlite_bind(st, 11, op->owner);
	sqlite_bind(st, 12, value);
	code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return code == SQLITE_DONE ? 0 : sqlite_broken(db, req, i);
}

struct store_row *sqlite_add_row(struct request *req, struct sqlite_rows *rows)
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
