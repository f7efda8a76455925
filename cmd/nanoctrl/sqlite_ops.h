/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/sqlite_ops.h - the operations of a request as SQL. Threads: as the connection. */
#ifndef NANOCTRL_SQLITE_OPS_H
#define NANOCTRL_SQLITE_OPS_H

#include "sqlite_db.h"

/*
 * Run REQ within the transaction that is open. 0, or what it failed with, which is
 * filled in; then what it did so far is to be undone, and if it is the database
 * that failed, REQ->broken is set.
 */
int sqlite_ops_run(struct sqlite_db *db, struct request *req);

/*
 * Put the lifetimes of at most LIMIT records behind *ROWID into REQ, and the last one's
 * into *ROWID. The number of them, or a negative errno as above.
 */
int sqlite_ops_lifetimes(struct sqlite_db *db, struct request *req, int64_t *rowid, int limit);

#endif
