/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/page.h - lists of /v1, page by page: "limit" and "after" of the query. */
#ifndef NANOCTRL_PAGE_H
#define NANOCTRL_PAGE_H

#include "fields.h"
#include "store.h"

/* The operation for a page of CLASS; TYPE is "" where the class has none. */
struct store_op page_op(struct fields *fields, enum store_class class, const char *scope,
                        const char *type);

/* A row as it is answered. NULL: not in this list. */
typedef json_t *page_row(const struct store_row *row);
/* {NAME: [...], "revision": ..., "next": ...}. NULL: no memory. */
json_t *page_json(const struct call *call, const struct store_res *res, const char *name,
                  page_row *row);

#endif
