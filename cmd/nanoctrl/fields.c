/* SPDX-License-Identifier: BSD-3-Clause */
#include "fields.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"

struct fields fields_begin(struct call *call, enum fields_style style)
{
	struct fields f = {.call = call, .style = style, .body = call_body(call)};

	if (f.body && !json_is_object(f.body)) {
		f.body = NULL;
		fields_fault(&f, 422, "EINVAL", "the body must be a JSON object");
	}
	return f;
}

bool fields_end(struct fields *f)
{
	if (!f->status)
		return true;
	if (f->style == FIELDS_V1 || f->status != 422)
		call_reply_error(f->call, f->status, f->style == FIELDS_V1 ? f->code : NULL, "%s",
		                 f->why);
	else
		call_reply_text(f->call, f->status, "text/plain; charset=utf-8", f->why,
		                strlen(f->why));
	return false;
}

void fields_fault(struct fields *f, int status, const char *code, const char *fmt, ...)
{
	va_list args;

	if (f->status)
		return;
	f->status = status;
	f->code = code;
	va_start(args, fmt);
	(void)vsnprintf(f->why, sizeof(f->why), fmt, args);
	va_end(args);
}

static bool has_control(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f)
			return true;
		/* U+0080 to U+009F: a terminal obeys them as well */
		if (c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0)
			return true;
	}
	return false;
}

const char *name_fault(const char *name, size_t len)
{
	if (!len)
		return "is empty";
	if (len > NAME_MAX_BYTES)
		return "is longer than 512 bytes";
	if (has_control(name, len))
		return "has a control character in it";
	return NULL;
}

bool number_of(const char *text, int64_t min, int64_t max, int64_t *out)
{
	char *end;
	long long value;

	if (*text != '-' && (*text < '0' || *text > '9'))
		return false; /* strtoll() would take blanks and a plus */
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || *end || end == text || value < min || value > max)
		return false;
	*out = value;
	return true;
}

static void check_right(struct fields *f, enum right right, const char *scope)
{
	if (!f->status && !call_may(f->call, right, scope))
		fields_fault(f, 403, "EACCES", "the token does not allow this in scope '%.100s'",
		             scope);
}

const char *field_scope(struct fields *f, enum right right)
{
	const char *scope =
	    f->style == FIELDS_V1 ? query_name_or(f, "scope", "") : field_text_or(f, "scope", "");
	const char *fault = *scope ? name_fault(scope, strlen(scope)) : NULL;

	if (fault)
		fields_fault(f, 422, "EINVAL", "'scope' %s", fault);
	check_right(f, right, scope);
	return scope;
}

/* The member, unless it is absent or null. */
static json_t *member(const struct fields *f, const char *name)
{
	json_t *value = json_object_get(f->body, name);

	return f->status || json_is_null(value) ? NULL : value;
}

static json_t *needed(struct fields *f, const char *name)
{
	json_t *value = member(f, name);

	if (!value)
		fields_fault(f, 422, "EINVAL", "'%s' is missing", name);
	return value;
}

const char *field_text_or(struct fields *f, const char *name, const char *absent)
{
	const json_t *value = member(f, name);

	if (!value)
		return absent;
	if (!json_is_string(value)) {
		fields_fault(f, 422, "EINVAL", "'%s' must be a string", name);
		return absent;
	}
	if (!json_text_whole(value)) {
		fields_fault(f, 422, "EINVAL", "'%s' has a NUL in it", name);
		return absent;
	}
	return json_string_value(value);
}

const char *field_name_or(struct fields *f, const char *name, const char *absent)
{
	const char *text = field_text_or(f, name, NULL);
	const char *fault = text ? name_fault(text, strlen(text)) : NULL;

	if (fault)
		fields_fault(f, 422, "EINVAL", "'%s' %s", name, fault);
	return text ? text : absent;
}

const char *field_name(struct fields *f, const char *name)
{
	(void)needed(f, name);
	return field_name_or(f, name, "");
}

int64_t field_int_or(struct fields *f, const char *name, int64_t min, int64_t max, int64_t absent)
{
	const json_t *value = member(f, name);
	int64_t number;

	if (!value)
		return absent;
	if (!json_text_integer(value, &number) || number < min || number > max) {
		fields_fault(f, 422, "EINVAL",
		             "'%s' must be an integer from %" PRId64 " to %" PRId64, name, min,
		             max);
		return absent;
	}
	return number;
}

int64_t field_int(struct fields *f, const char *name, int64_t min, int64_t max)
{
	(void)needed(f, name);
	return field_int_or(f, name, min, max, min);
}

bool field_bool_or(struct fields *f, const char *name, bool absent)
{
	const json_t *value = member(f, name);

	if (!value)
		return absent;
	if (!json_is_boolean(value))
		fields_fault(f, 422, "EINVAL", "'%s' must be true or false", name);
	return json_is_true(value);
}

json_t *field_object_or_null(struct fields *f, const char *name)
{
	json_t *value = member(f, name);

	if (value && !json_is_object(value)) {
		fields_fault(f, 422, "EINVAL", "'%s' must be an object", name);
		return NULL;
	}
	return value;
}

json_t *field_any_or_null(struct fields *f, const char *name)
{
	return member(f, name);
}

json_t *field_object(struct fields *f, const char *name)
{
	return needed(f, name) ? field_object_or_null(f, name) : NULL;
}

json_t *field_list_or_null(struct fields *f, const char *name, size_t max)
{
	json_t *value = member(f, name);

	if (!value)
		return NULL;
	if (!json_is_array(value)) {
		fields_fault(f, 422, "EINVAL", "'%s' must be a list", name);
		return NULL;
	}
	if (json_array_size(value) > max) {
		fields_fault(f, 422, "EINVAL", "'%s' has more than %zu elements", name, max);
		return NULL;
	}
	return value;
}

json_t *field_list(struct fields *f, const char *name, size_t max)
{
	return needed(f, name) ? field_list_or_null(f, name, max) : NULL;
}

void field_check_names(struct fields *f, const char *name, const json_t *names)
{
	for (size_t i = 0; i < json_array_size(names); i++) {
		const json_t *item = json_array_get(names, i);
		const char *fault;

		if (!json_is_string(item)) {
			fields_fault(f, 422, "EINVAL", "'%s' must be a list of strings", name);
			return;
		}
		fault = name_fault(json_string_value(item), json_string_length(item));
		if (fault) {
			fields_fault(f, 422, "EINVAL", "element %zu of '%s' %s", i, name, fault);
			return;
		}
	}
}

static const char *outside_name(struct fields *f, const char *name, const char *text)
{
	const char *fault = name_fault(text, strlen(text));

	if (!fault)
		return text;
	fields_fault(f, 422, "EINVAL", "'%s' %s", name, fault);
	return "";
}

const char *part_name(struct fields *f, const char *name)
{
	const char *text = call_part(f->call, name);

	return f->status ? "" : outside_name(f, name, text ? text : "");
}

const char *query_name_or(struct fields *f, const char *name, const char *absent)
{
	const char *text = call_query(f->call, name);

	return f->status || !text || !*text ? absent : outside_name(f, name, text);
}

int64_t query_int_or(struct fields *f, const char *name, int64_t min, int64_t max, int64_t absent)
{
	const char *text = call_query(f->call, name);
	int64_t value = absent;

	if (!f->status && text && !number_of(text, min, max, &value))
		fields_fault(f, 400, "EINVAL", "'%s' must be a number from %" PRId64 " to %" PRId64,
		             name, min, max);
	return value;
}
