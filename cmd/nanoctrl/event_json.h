/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/event_json.h - a change of the store as /v1/watch tells it, and which ones are wanted.
 */
#ifndef NANOCTRL_EVENT_JSON_H
#define NANOCTRL_EVENT_JSON_H

#include <jansson.h>

#include "fields.h"
#include "store.h"

enum { WANTED_NAMES_MAX = 256 };

/* What a watcher wants to hear of. */
struct wanted {
	const char *scope;
	unsigned classes;  /* bits 1 << enum store_class */
	const char *kind;  /* NULL: any */
	size_t n_names;    /* agents; 0: any */
	const char **name; /* sorted */
};

/* Of the query. Its memory goes with the call. */
struct wanted wanted_of(struct fields *fields, const char *scope);
bool is_wanted(const struct wanted *wanted, const struct store_event *event);

/* "put", "delete", "expire". */
const char *event_change(const struct store_event *event);
/* NULL: no memory. */
json_t *event_json(const struct store_event *event);

#endif
