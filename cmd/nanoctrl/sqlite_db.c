/* SPDX-License-Identifier: BSD-3-Clause */
#include "sqlite_db.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "sentence.h"

enum { APPLICATION_ID = 0x6e637472, SCHEMA_VERSION = 1, BUSY_MS = 5000 };

/* How much is looked over at the start, for no longer than this. */
enum { CHECKED_BYTES = 16 << 20, CHECK_MS = 20 };

/* The order of the columns is that in which rows grow: what is looked at most comes first. */
static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE record ("
    " rowid INTEGER PRIMARY KEY, class INTEGER NOT NULL, scope TEXT NOT NULL,"
    " type TEXT NOT NULL, id TEXT NOT NULL, parent INTEGER, revision INTEGER NOT NULL,"
    " born INTEGER NOT NULL, ttl_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " kind TEXT NOT NULL, owner TEXT NOT NULL, value TEXT NOT NULL);"
    "CREATE UNIQUE INDEX record_by_key ON record (class, scope, type, id);"
    "CREATE INDEX record_by_kind ON record (class, scope, kind, type, id) WHERE kind <> '';"
    "CREATE INDEX record_by_parent ON record (parent) WHERE parent IS NOT NULL;"
    "CREATE TABLE population (class INTEGER, scope TEXT, n INTEGER NOT NULL,"
    " PRIMARY KEY (class, scope)) WITHOUT ROWID;"
    "CREATE TRIGGER record_comes AFTER INSERT ON record BEGIN"
    " INSERT INTO population VALUES (new.class, new.scope, 1)"
    " ON CONFLICT DO UPDATE SET n = n + 1; END;"
    "CREATE TRIGGER record_goes AFTER DELETE ON record BEGIN"
    " UPDATE population SET n = n - 1 WHERE class = old.class AND scope = old.scope;"
    " DELETE FROM population WHERE class = old.class AND scope = old.scope AND n <= 0; END;"
    "CREATE TABLE message (position INTEGER PRIMARY KEY, box INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, value TEXT NOT NULL);"
    "CREATE INDEX message_by_box ON message (box, position, bytes);"
    "CREATE TABLE counter (scope TEXT, id TEXT, n INTEGER NOT NULL,"
    " PRIMARY KEY (scope, id)) WITHOUT ROWID;"
    "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL);"
    "INSERT INTO state VALUES (1, 0);"
    "PRAGMA application_id = 1852011634;"
    "PRAGMA user_version = 1;"
    "COMMIT;";
_Static_assert(APPLICATION_ID == 1852011634 && SCHEMA_VERSION == 1, "the schema says the same");

#define COLUMNS \
	"rowid, class, scope, type, id, kind, value, owner, revision, born, ttl_ms, at_ms, parent"

static const char *const text[SQL_STATEMENTS] = {
    [SQL_BEGIN] = "BEGIN",
    [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SAVE] = "SAVEPOINT request",
    [SQL_RELEASE] = "RELEASE request",
    [SQL_UNDO] = "ROLLBACK TO request",
    [SQL_REVISION] = "SELECT revision FROM state",
    [SQL_SET_REVISION] = "UPDATE state SET revision = ?1",
    [SQL_FIND] = "SELECT " COLUMNS " FROM record"
		 " WHERE class = ?1 AND scope = ?2 AND type = ?3 AND id = ?4",
    [SQL_NAME] = "SELECT class, scope, type, id FROM record WHERE rowid = ?1",
    [SQL_INSERT] = "INSERT INTO record (class, scope, type, id, parent, revision, born, ttl_ms,"
		   " at_ms, kind, owner, value)"
		   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    [SQL_UPDATE] = "UPDATE record SET parent = ?5, revision = ?6, ttl_ms = ?8, at_ms = ?9,"
		   " kind = ?10, owner = ?11, value = ?12"
		   " WHERE class = ?1 AND scope = ?2 AND type = ?3 AND id = ?4",
    [SQL_DELETE] = "DELETE FROM record WHERE rowid = ?1",
    [SQL_CHILDREN] = "SELECT " COLUMNS " FROM record WHERE parent = ?1",
    [SQL_LIST] = "SELECT " COLUMNS " FROM record WHERE class = ?1 AND scope = ?2"
		 " ORDER BY type, id LIMIT ?6",
    [SQL_LIST_TYPE] = "SELECT " COLUMNS " FROM record WHERE class = ?1 AND scope = ?2"
		      " AND type = ?3 AND id > ?4 ORDER BY id LIMIT ?6",
    [SQL_LIST_KIND] = "SELECT " COLUMNS " FROM record WHERE class = ?1 AND scope = ?2"
		      " AND kind = ?5 AND kind <> '' ORDER BY type, id LIMIT ?6",
    [SQL_LIST_TYPE_KIND] = "SELECT " COLUMNS " FROM record WHERE class = ?1 AND scope = ?2"
			   " AND kind = ?5 AND kind <> '' AND type = ?3 AND id > ?4"
			   " ORDER BY id LIMIT ?6",
    [SQL_COUNT] = "SELECT n FROM population WHERE class = ?1 AND scope = ?2",
    [SQL_NEXT] = "INSERT INTO counter VALUES (?1, ?2, 1)"
		 " ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n",
    [SQL_CENSUS] = "SELECT class, scope, n FROM population ORDER BY class, scope",
    [SQL_BOX_SIZE] = "SELECT count(*), ifnull(sum(bytes), 0) FROM message WHERE box = ?1",
    [SQL_APPEND] = "INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_READ] = "SELECT position, at_ms, value FROM message WHERE box = ?1 AND position > ?2"
		 " ORDER BY position LIMIT ?3",
    [SQL_TRIM] = "DELETE FROM message WHERE box = ?1 AND position <= ?2",
    [SQL_LIFETIMES] = "SELECT r.rowid, r.class, r.scope, r.type, r.id, r.revision, r.born,"
		      " r.ttl_ms, p.class, p.scope, p.type, p.id"
		      " FROM record r LEFT JOIN record p ON r.parent = p.rowid"
		      " WHERE r.rowid > ?1 AND r.ttl_ms > 0 ORDER BY r.rowid LIMIT ?2",
};

static int code_of(const struct sqlite_db *db)
{
	switch (sqlite3_errcode(db->sql) & 0xff) {
	case SQLITE_FULL:
		return -EDQUOT;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EAGAIN;
	case SQLITE_IOERR: /* only ENOSPC is SQLITE_FULL; quotas and limits end up here */
		return sqlite3_extended_errcode(db->sql) == SQLITE_IOERR_WRITE ? -EDQUOT : -EIO;
	default:
		return -EIO;
	}
}

int sqlite_db_error(const struct sqlite_db *db, struct slime_error *err)
{
	int code;

	if (!db->sql)
		return refuse(err, -ENOMEM, "no memory for the database '%s'", db->path);
	code = code_of(db);
	switch (sqlite3_errcode(db->sql) & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return refuse(
		    err, -EIO,
		    "'%.128s' is damaged, or no database of ours (%s); put a copy back, or "
		    "move it away to begin anew",
		    db->path, sqlite3_errmsg(db->sql));
	case SQLITE_FULL:
		return refuse(err, code, "there is no space for '%.128s'", db->path);
	case SQLITE_BUSY:
		return refuse(err, code, "'%.128s' is in use by another program", db->path);
	default:
		return refuse(err, code, "the database '%.128s': %s%s", db->path,
		              sqlite3_errmsg(db->sql),
		              code == -EDQUOT ? " on writing; is there space for it?" : "");
	}
}

sqlite3_stmt *sqlite_db_use(struct sqlite_db *db, enum statement statement)
{
	sqlite3_stmt *st = db->statement[statement];

	/* A statement that failed says so again here; it has been heard. */
	(void)sqlite3_reset(st);
	return st;
}

int sqlite_db_do(struct sqlite_db *db, enum statement statement)
{
	sqlite3_stmt *st = sqlite_db_use(db, statement);
	int code = sqlite3_step(st);

	(void)sqlite3_reset(st);
	return code;
}

static int connect(struct sqlite_db *db, const char *path, struct slime_error *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

	*db = (struct sqlite_db){.path = path};
	if (sqlite3_open_v2(path, &db->sql, flags, NULL) != SQLITE_OK)
		return sqlite_db_error(db, err);
	(void)sqlite3_extended_result_codes(db->sql, 1);
	(void)sqlite3_busy_timeout(db->sql, BUSY_MS);
	(void)sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	return 0;
}

static int prepare(struct sqlite_db *db, struct slime_error *err)
{
	for (int i = 0; i < SQL_STATEMENTS; i++)
		if (sqlite3_prepare_v3(db->sql, text[i], -1, SQLITE_PREPARE_PERSISTENT,
		                       &db->statement[i], NULL) != SQLITE_OK)
			return sqlite_db_error(db, err);
	return 0;
}

static int execute(struct sqlite_db *db, const char *sql, struct slime_error *err)
{
	if (sqlite3_exec(db->sql, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_db_error(db, err);
	return 0;
}

/* The one number that SQL answers. */
static int ask_number(struct sqlite_db *db, const char *sql, int64_t *out, struct slime_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(db->sql, sql, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		rc = sqlite_db_error(db, err);
	else
		*out = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return rc;
}

/* Whose file is it? Makes the schema in an empty one. */
static int check_schema(struct sqlite_db *db, struct slime_error *err)
{
	int64_t tables = 0, application = 0, version = 0;
	int rc = ask_number(db, "SELECT count(*) FROM sqlite_master", &tables, err);

	if (!rc)
		rc = ask_number(db, "PRAGMA application_id", &application, err);
	if (!rc)
		rc = ask_number(db, "PRAGMA user_version", &version, err);
	if (rc)
		return rc;
	if (!tables && !application && !version)
		return execute(db, schema, err);
	if (application != APPLICATION_ID)
		return refuse(err, -EIO, "'%.128s' is a database of another program", db->path);
	if (version != SCHEMA_VERSION)
		return refuse(err, -EIO,
		              "'%.128s' was written by another version of nanoctrl (schema %lld, "
		              "this one knows %d)",
		              db->path, (long long)version, SCHEMA_VERSION);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int is_late(void *end_ms)
{
	return now_ms() > *(const int64_t *)end_ms;
}

/* As much of it as there is time for: what is damaged elsewhere is said when it is met. */
static int look_over(struct sqlite_db *db, struct slime_error *err)
{
	int64_t end_ms = now_ms() + CHECK_MS, bytes = 0;
	sqlite3_stmt *st = NULL;
	int code, rc = ask_number(db,
	                          "SELECT page_count * page_size"
	                          " FROM pragma_page_count, pragma_page_size",
	                          &bytes, err);

	if (rc || bytes > CHECKED_BYTES)
		return rc;
	sqlite3_progress_handler(db->sql, 1000, is_late, &end_ms);
	code = sqlite3_prepare_v2(db->sql, "PRAGMA quick_check(1)", -1, &st, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(st);
	if (code == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0)
		rc = refuse(err, -EIO,
		            "'%.128s' is damaged (%.200s); put a copy back, or move it away to "
		            "begin anew",
		            db->path, (const char *)sqlite3_column_text(st, 0));
	else if (code != SQLITE_ROW && code != SQLITE_INTERRUPT)
		rc = sqlite_db_error(db, err);
	(void)sqlite3_finalize(st);
	sqlite3_progress_handler(db->sql, 0, NULL, NULL);
	return rc;
}

static int read_revision(struct sqlite_db *db, struct slime_error *err)
{
	int64_t revision = 0;
	int rc = ask_number(db, text[SQL_REVISION], &revision, err);

	db->revision = db->saved = (uint64_t)revision;
	return rc;
}

int sqlite_db_open(struct sqlite_db *db, const char *path, struct slime_error *err)
{
	/* The write-ahead log is on the disk before a commit returns: synchronous is FULL. */
	static const char pragmas[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				      "PRAGMA wal_autocheckpoint = 4000;"
				      "PRAGMA journal_size_limit = 67108864;"
				      "PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;"
				      "PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF;";
	int rc = connect(db, path, err);

	if (!rc)
		rc = execute(db, pragmas, err);
	if (!rc)
		rc = check_schema(db, err);
	if (!rc)
		rc = look_over(db, err);
	if (!rc)
		rc = prepare(db, err);
	if (!rc)
		rc = read_revision(db, err);
	if (rc)
		sqlite_db_close(db);
	return rc;
}

int sqlite_db_open_reader(struct sqlite_db *db, const char *path, struct slime_error *err)
{
	int rc = connect(db, path, err);

	if (!rc)
		rc = execute(db, "PRAGMA query_only = ON; PRAGMA cache_size = -16384;", err);
	if (!rc)
		rc = prepare(db, err);
	if (rc)
		sqlite_db_close(db);
	return rc;
}

void sqlite_db_close(struct sqlite_db *db)
{
	for (int i = 0; i < SQL_STATEMENTS; i++)
		(void)sqlite3_finalize(db->statement[i]);
	(void)sqlite3_close(db->sql);
	*db = (struct sqlite_db){.path = db->path};
}
