/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/fields.h - what a request says, checked field by field.
 *
 * A handler asks for all its fields, one after the other, and then once whether
 * all was well. The first fault is kept and answered; what is asked for after it
 * comes back as if it were absent. Everything returned is valid until the call is
 * answered.
 */
#ifndef NANOCTRL_FIELDS_H
#define NANOCTRL_FIELDS_H

#include "http.h"

enum { NAME_MAX_BYTES = 512 };

/* Whose words a fault is answered with: those of the contract (plain text), or those of /v1. */
enum fields_style { FIELDS_COMPAT, FIELDS_V1 };

struct fields {
	struct call *call;
	json_t *body; /* an object, or NULL */
	enum fields_style style;
	int status; /* of the answer to the first fault; 0: none yet */
	const char *code;
	char why[256];
};

struct fields fields_begin(struct call *call, enum fields_style style);
/* Whether all was well. If not, the call has been answered. */
bool fields_end(struct fields *fields);
/* Says what is wrong, unless something was before. */
void fields_fault(struct fields *fields, int status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The scope: a member of the body or, in /v1, of the query. The caller must have RIGHT in it. */
const char *field_scope(struct fields *fields, enum right right);

/* Of the body. A name: 1 to 512 bytes without control characters. */
const char *field_name(struct fields *fields, const char *name);
/* ABSENT when it is not there or null. */
const char *field_name_or(struct fields *fields, const char *name, const char *absent);
const char *field_text_or(struct fields *fields, const char *name, const char *absent);
/* An integer from MIN to MAX. */
int64_t field_int(struct fields *fields, const char *name, int64_t min, int64_t max);
int64_t field_int_or(struct fields *fields, const char *name, int64_t min, int64_t max,
                     int64_t absent);
bool field_bool_or(struct fields *fields, const char *name, bool absent);
/* NULL when it is not there or null. */
json_t *field_object_or_null(struct fields *fields, const char *name);
json_t *field_object(struct fields *fields, const char *name);
/* Whatever it is. */
json_t *field_any_or_null(struct fields *fields, const char *name);
json_t *field_list_or_null(struct fields *fields, const char *name, size_t max);
json_t *field_list(struct fields *fields, const char *name, size_t max);
/* Checks that NAMES is a list of names. */
void field_check_names(struct fields *fields, const char *name, const json_t *names);

/* Of the path and of the query. */
const char *part_name(struct fields *fields, const char *name);
const char *query_name_or(struct fields *fields, const char *name, const char *absent);
int64_t query_int_or(struct fields *fields, const char *name, int64_t min, int64_t max,
                     int64_t absent);

/* NULL, or what is wrong with a name of LEN bytes: the end of a sentence that begins with it. */
const char *name_fault(const char *name, size_t len);
/* A decimal number from MIN to MAX and nothing else. */
bool number_of(const char *text, int64_t min, int64_t max, int64_t *out);

#endif
