/* SPDX-License-Identifier: BSD-3-Clause */
#include "json_span.h"

#include <stdbool.h>
#include <string.h>

static const char *skip_space(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

/* AT is behind the opening quote. Behind the closing one, or the end of the text. */
static const char *skip_string(const char *at)
{
	for (at += strcspn(at, "\"\\"); *at == '\\'; at += strcspn(at, "\"\\"))
		at += at[1] ? 2 : 1;
	return *at ? at + 1 : at;
}

/* Behind a value: a string, what is in brackets, or a word. */
static const char *skip_value(const char *at)
{
	size_t depth = 0;

	do {
		if (*at == '"') {
			at = skip_string(at + 1);
		} else if (*at == '{' || *at == '[') {
			depth++;
			at++;
		} else if (depth && (*at == '}' || *at == ']')) {
			depth--;
			at++;
		} else if (depth) {
			at += strcspn(at, "\"{}[]");
		} else {
			return at + strcspn(at, ",}] \t\r\n");
		}
	} while (depth && *at);
	return at;
}

struct json_span json_span_member(const char *object, const char *name)
{
	const char *at = skip_space(object);
	size_t len = strlen(name);

	while (*at == '{' || *at == ',') {
		const char *key = skip_space(at + 1), *end, *value;
		bool found;

		if (*key++ != '"')
			break;
		end = skip_string(key);
		found = (size_t)(end - key) == len + 1 && !memcmp(key, name, len);
		at = skip_space(end);
		if (*at != ':')
			break;
		value = skip_space(at + 1);
		at = skip_value(value);
		if (found && at > value)
			return (struct json_span){value, (size_t)(at - value)};
		at = skip_space(at);
	}
	return (struct json_span){0};
}

char *json_quote(char *to, const char *text)
{
	static const char hex[] = "0123456789abcdef";

	*to++ = '"';
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20) {
			to = mempcpy(to, "\\u00", 4);
			*to++ = hex[c >> 4];
			*to++ = hex[c & 15];
			continue;
		}
		if (c == '"' || c == '\\')
			*to++ = '\\';
		*to++ = (char)c;
	}
	*to++ = '"';
	return to;
}
