/* SPDX-License-Identifier: BSD-3-Clause */
#include "sqlite_box.h"

#include <errno.h>
#include <string.h>

#include "sqlite_record.h"

static int64_t as_signed(uint64_t number)
{
	return number > INT64_MAX ? INT64_MAX : (int64_t)number;
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
		return sqlite_broken(db, req, i);
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
	(void)sqlite3_bind_int64(st, 3, sqlite_unix_ms());
	(void)sqlite3_bind_int64(st, 4, (int64_t)strlen(req->ops[i].value));
	sqlite_bind(st, 5, req->ops[i].value);
	code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	return code == SQLITE_DONE ? 0 : sqlite_broken(db, req, i);
}

int sqlite_box_append(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	struct store_row now = {.key = op->key, .kind = "", .value = op->value};
	struct sqlite_record box = {0}, parent;
	int found = 1, rc = sqlite_find_parent(db, req, i, &parent);

	if (rc >= 0 && op->key.class == STORE_BOX) {
		found = sqlite_find(db, req, i, &op->key, &box);
		rc = found < 0 ? found : check_room(db, req, i, box.rowid);
	}
	if (rc < 0)
		return rc;
	db->revision++;
	rc = 0;
	if (!found) {
		rc = sqlite_put(db, req, i, SQL_INSERT, parent.rowid, "{}");
		box.rowid = sqlite3_last_insert_rowid(db->sql);
	}
	/* Streams and inboxes are for those who read Redis. */
	if (!rc && op->key.class == STORE_BOX)
		rc = add_message(db, req, i, box.rowid);
	if (rc)
		return rc;
	req->res[i] = (struct store_res){.found = found, .number = db->revision};
	return sqlite_tell(req, i, STORE_WAS_APPENDED, &now, db->revision);
}

int sqlite_box_read(struct sqlite_db *db, struct request *req, size_t i)
{
	const struct store_op *op = &req->ops[i];
	struct sqlite_record box;
	struct sqlite_rows rows = {0};
	int found = sqlite_find(db, req, i, &op->key, &box), code;
	sqlite3_stmt *st = sqlite_db_use(db, SQL_READ);
	uint64_t bytes = 0;

	if (found < 0)
		return found;
	(void)sqlite3_bind_int64(st, 1, box.rowid);
	(void)sqlite3_bind_int64(st, 2, as_signed(op->position));
	(void)sqlite3_bind_int64(st, 3, op->limit ? op->limit : INT64_C(-1));
	while ((code = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_row *row = sqlite_add_row(req, &rows);

		if (row)
			*row = (struct store_row){
			    .key = op->key,
			    .kind = "",
			    .owner = "",
			    .revision = (uint64_t)sqlite3_column_int64(st, 0),
			    .at_ms = sqlite3_column_int64(st, 1),
			    .value = sqlite_column(st, 2, req, NULL),
			};
		if (!row || !row->value) {
			(void)sqlite3_reset(st);
			return sqlite_no_memory(req, i);
		}
		row->value_len = strlen(row->value);
		bytes += row->value_len;
		if (op->limit_bytes && bytes >= op->limit_bytes)
			break;
	}
	if (code != SQLITE_DONE && code != SQLITE_ROW)
		return sqlite_broken(db, req, i);
	(void)sqlite3_reset(st);
	req->res[i] = (struct store_res){.found = found, .n = rows.n, .row = rows.row};
	return 0;
}

int sqlite_box_trim(struct sqlite_db *db, struct request *req, size_t i)
{
	struct sqlite_record box;
	int found = sqlite_find(db, req, i, &req->ops[i].key, &box), code;
	sqlite3_stmt *st = sqlite_db_use(db, SQL_TRIM);

	if (found <= 0)
		return found;
	(void)sqlite3_bind_int64(st, 1, box.rowid);
	(void)sqlite3_bind_int64(st, 2, as_signed(req->ops[i].position));
	code = sqlite3_step(st);
	(void)sqlite3_reset(st);
	req->res[i].found = true;
	return code == SQLITE_DONE ? 0 : sqlite_broken(db, req, i);
}
