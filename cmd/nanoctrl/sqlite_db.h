/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/sqlite_db.h - a connection to the database: the file, its schema, the
 * statements, and what SQLite's errors mean to us.
 *
 * Threads: one at a time.
 */
#ifndef NANOCTRL_SQLITE_DB_H
#define NANOCTRL_SQLITE_DB_H

#include <sqlite3.h>

#include "store_request.h"

enum statement {
	SQL_BEGIN,
	SQL_BEGIN_WRITE,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_SAVE,
	SQL_RELEASE,
	SQL_UNDO,
	SQL_REVISION,
	SQL_SET_REVISION,
	SQL_FIND,
	SQL_NAME,
	SQL_INSERT,
	SQL_UPDATE,
	SQL_DELETE,
	SQL_CHILDREN,
	SQL_LIST,
	SQL_LIST_TYPE,
	SQL_LIST_KIND,
	SQL_LIST_TYPE_KIND,
	SQL_COUNT,
	SQL_NEXT,
	SQL_CENSUS,
	SQL_BOX_SIZE,
	SQL_APPEND,
	SQL_READ,
	SQL_TRIM,
	SQL_LIFETIMES,
	SQL_STATEMENTS
};

/* Columns of SQL_FIND, SQL_CHILDREN and the lists. */
enum record_column {
	COL_ROWID,
	COL_CLASS,
	COL_SCOPE,
	COL_TYPE,
	COL_ID,
	COL_KIND,
	COL_VALUE,
	COL_OWNER,
	COL_REVISION,
	COL_BORN,
	COL_TTL,
	COL_AT,
	COL_PARENT,
	COL_COUNT
};

struct sqlite_db {
	sqlite3 *sql;
	sqlite3_stmt *statement[SQL_STATEMENTS];
	const char *path;  /* not ours */
	uint64_t revision; /* the last one given out; the writer's */
	uint64_t saved;    /* the one in the file */
};

/*
 * Open the file PATH or ":memory:", make its schema if it has none, prepare. PATH must
 * stay. -EIO with a sentence that names the file: damaged, not ours, newer than us.
 */
int sqlite_db_open(struct sqlite_db *db, const char *path, struct slime_error *err);
/* A further connection to a file that is open, which only reads. */
int sqlite_db_open_reader(struct sqlite_db *db, const char *path, struct slime_error *err);
void sqlite_db_close(struct sqlite_db *db);

/* Negative errno of what went wrong last, with the sentence. */
int sqlite_db_error(const struct sqlite_db *db, struct slime_error *err);

/* STATEMENT, ready for its values. */
sqlite3_stmt *sqlite_db_use(struct sqlite_db *db, enum statement statement);
/* Run one that gives no rows. An SQLite code: SQLITE_DONE. */
int sqlite_db_do(struct sqlite_db *db, enum statement statement);

#endif
