/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/sqlite_record.h - records as rows of SQL: bound, read, found, put and told of. For
 * operation I of REQ; what fails is filled in there, and its negative errno returned.
 */
#ifndef NANOCTRL_SQLITE_RECORD_H
#define NANOCTRL_SQLITE_RECORD_H

#include "sqlite_db.h"

/* A record as it is in the database. */
struct sqlite_record {
	int64_t rowid, parent; /* 0: none */
	struct store_row row;
};

/* Rows that come one by one, in an array that grows. */
struct sqlite_rows {
	struct store_row *row;
	size_t n, cap;
};

int64_t sqlite_unix_ms(void);

/* The database failed at operation I. */
int sqlite_broken(const struct sqlite_db *db, struct request *req, size_t i);
int sqlite_no_memory(struct request *req, size_t i);

void sqlite_bind(sqlite3_stmt *st, int i, const char *text);
void sqlite_bind_key(sqlite3_stmt *st, const struct store_key *key);

/* A column's text, copied; NULL: no memory. */
const char *sqlite_column(sqlite3_stmt *st, int i, struct request *req, size_t *len);
bool sqlite_column_key(sqlite3_stmt *st, int first, struct request *req, struct store_key *out);
bool sqlite_column_record(sqlite3_stmt *st, struct request *req, struct sqlite_record *out);

/* 1: it is in *OUT; 0: there is none; negative: filled in. */
int sqlite_find(struct sqlite_db *db, struct request *req, size_t i, const struct store_key *key,
                struct sqlite_record *out);
/* The parent of operation I; 1: it is in *OUT; 0: the operation has none; or filled in. */
int sqlite_find_parent(struct sqlite_db *db, struct request *req, size_t i,
                       struct sqlite_record *out);

/* SQL_INSERT or SQL_UPDATE of the record KEY with what the operation says. */
int sqlite_put(struct sqlite_db *db, struct request *req, size_t i, enum statement how,
               int64_t parent, const char *value);

int sqlite_tell(struct request *req, size_t i, enum store_change what, const struct store_row *row,
                uint64_t revision);

/* Another one at the end. NULL: no memory. */
struct store_row *sqlite_add_row(struct request *req, struct sqlite_rows *rows);

#endif
