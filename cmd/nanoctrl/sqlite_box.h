/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/sqlite_box.h - boxes and their messages as SQL: operation I of REQ, as in sqlite_ops.h.
 */
#ifndef NANOCTRL_SQLITE_BOX_H
#define NANOCTRL_SQLITE_BOX_H

#include "sqlite_db.h"

int sqlite_box_append(struct sqlite_db *db, struct request *req, size_t i);
int sqlite_box_read(struct sqlite_db *db, struct request *req, size_t i);
int sqlite_box_trim(struct sqlite_db *db, struct request *req, size_t i);

#endif
